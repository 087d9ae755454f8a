//! What fail2ban itself decides for its sample lines, line by line, from the shared corpus, by Debian's filters.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use pillory_core::event::Line;
use pillory_core::filter::Clock;
use pillory_core::filter::fail2ban::{Fail2banFilter, Ruling, Timing, Value as Captured};
use pillory_core::time::Timestamp;
use serde_json::Value;

use crate::{filters, peer};

/// 2005-08-14 12:00:00 CEST, the clock of every line.
const NOW: i64 = 1_124_013_600;

pub fn zone() -> jiff::tz::TimeZone {
    jiff::tz::TimeZone::posix("CET-01CEST-02,M3.5.0,M10.5.0").unwrap()
}

/// The corpus, if it is there; says so if not.
pub fn corpus() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/fail2ban");
    if !root.exists() {
        eprintln!("skipped: no corpus of fail2ban's decisions beside the project ({})", root.display());
    }
    root.exists().then_some(root)
}

pub fn records(root: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort();
    let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    let mut records: Vec<Value> = files
        .iter()
        .flat_map(|path| std::fs::read_to_string(path).unwrap().lines().map(parse).collect::<Vec<_>>())
        .collect();
    records.sort_by_key(|record| record["order"].as_u64());
    records
}

fn filter_of(tools: &Path, record: &Value) -> Result<Fail2banFilter, String> {
    let options = record["filter_options"].as_object().unwrap();
    let options: Vec<String> =
        options.iter().map(|(key, value)| format!("{key}=\"{}\"", value.as_str().unwrap())).collect();
    let name = record["filter"].as_str().unwrap();
    let name = if options.is_empty() { name.to_owned() } else { format!("{name}[{}]", options.join(",")) };
    filters::compile(&filters::read(tools, &name, record["via_journal"] == true)?)
}

/// What the filter makes of the record, in the corpus' words.
fn decided(filter: &mut Fail2banFilter, record: &Value) -> Value {
    let now = Timestamp::from_secs(NOW);
    let clock = Clock { now, zone: zone() };
    let stamp = (record["via_journal"] == true).then_some(now);
    let line = Line { bytes: record["line"].as_str().unwrap().as_bytes(), stamp };
    let Ruling::Failure(subject, hit) = filter.judge(&line, &clock, Timing::Any, now) else {
        return Value::Null;
    };
    let data: BTreeMap<String, String> = filter
        .captures()
        .map(|(name, value): (&str, &Captured)| (name.to_owned(), value.text().to_string()))
        .collect();
    let mut data = serde_json::to_value(data).unwrap();
    let users: Vec<&str> = filter.users().collect();
    if !users.is_empty() {
        data["users"] = serde_json::to_value(users).unwrap();
    }
    serde_json::json!({
        "regex": hit.failregex,
        "fid": subject.to_string(),
        "time": hit.time.map(|time| time.millis() as f64 / 1000.0),
        "matches": hit.matches.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "data": data,
    })
}

/// The corpus' own words: what took no part is left out.
fn expected(record: &Value) -> Value {
    let mut first = record["debian"]["results_first"].get(0).cloned().unwrap_or(Value::Null);
    if let Some(time) = first.get_mut("time") {
        *time = serde_json::json!(time.as_f64());
    }
    if let (true, Some(Value::Array(lines))) = (record["via_journal"] == true, first.get_mut("matches")) {
        // fail2ban shows a journal entry's time in front of its message; it is no part of the line.
        for line in lines {
            *line = line.as_str().unwrap().trim_start_matches("2005-08-14T10:00:00").into();
        }
    }
    if let Some(data) = first.get_mut("data").and_then(Value::as_object_mut) {
        data.retain(|_, value| !value.is_null());
        if let Some(Value::Array(users)) = data.get_mut("users") {
            users.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    first
}

#[test]
fn every_record_of_the_corpus_is_decided_as_by_fail2ban() {
    let (Some(tools), Some(root)) = (peer::tools(), corpus()) else { return };
    let mut filters: HashMap<String, Result<Fail2banFilter, String>> = HashMap::new();
    let mut differences = Vec::new();
    let (mut records_seen, mut matches) = (0, 0);
    for record in records(&root) {
        if record["debian"].get("match").is_none() {
            continue;
        }
        records_seen += 1;
        let key = format!("{}/{}", record["file"], record["instance"]);
        let filter = filters.entry(key).or_insert_with(|| filter_of(&tools, &record));
        let ours = match filter {
            Ok(filter) => decided(filter, &record),
            Err(error) => Value::String(error.clone()),
        };
        let theirs = expected(&record);
        matches += usize::from(!theirs.is_null());
        if ours != theirs {
            differences.push(format!(
                "{} line {}: {}\n  theirs {theirs}\n  ours   {ours}",
                record["instance"], record["lineno"], record["line"]
            ));
        }
    }
    eprintln!("{records_seen} records, {matches} matches, {} differences", differences.len());
    assert!(records_seen >= 1_300 && matches >= 1_000, "the corpus is not complete");
    assert!(differences.is_empty(), "{}", differences[..differences.len().min(25)].join("\n"));
}
