//! Dates as fail2ban finds them: its own package is run as a peer (`oracle.py`) and asked the same.
//!
//! `scripts/fetch-test-tools.sh` unpacks the package under `target/tools`; without it, or without python3, there is
//! nothing to do, and the tests say so.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, clippy::expect_used, reason = "the peer is a program, and must answer")]

mod generate;
mod oracle;

use std::path::{Path, PathBuf};

use oracle::{Answer, Case, Oracle, Time};
use serde_json::Value;

/// 2005-08-14 12:00:00 in the zone of the corpus.
const NOW: i64 = 1_124_013_600;
const ZONE: &str = "CET-01CEST-02,M3.5.0,M10.5.0";

/// Compares a case; every difference is shown, and counts.
fn compare(oracle: &mut Oracle, case: &Case) -> usize {
    let (own, theirs) = (oracle.own(case), oracle.ask(case));
    match (own, theirs) {
        (Err(_), Err(_)) => 0,
        (Ok(own), Ok(theirs)) => {
            let mut count = 0;
            for ((line, own), theirs) in case.lines.iter().zip(own).zip(theirs) {
                if own != theirs && !is_ancient(&own, &theirs) && !oracle.is_twice(&own, &theirs) {
                    println!(
                        "{:?} now {}: {line:?}\n  fail2ban {theirs:?}\n  pillory  {own:?}",
                        case.pattern, case.now
                    );
                    count += 1;
                }
            }
            count
        }
        (own, theirs) => {
            println!("{:?}: fail2ban {:?}, pillory {:?}", case.pattern, theirs.err(), own.err());
            1
        }
    }
}

/// glibc takes the summer times of years before 1970 for those of 1970; nobody's log is as old.
fn is_ancient(own: &Option<Answer>, theirs: &Option<Answer>) -> bool {
    let before =
        |answer: &Option<Answer>| matches!(answer, Some(Answer { time: Time::At(at), .. }) if *at < 0);
    before(own) && before(theirs)
}

fn texts(folder: &Path) -> Vec<(String, String)> {
    let mut paths: Vec<PathBuf> = walk(folder);
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem()?.to_str()?.to_owned();
        Some((name, String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned()))
    };
    paths.into_iter().filter_map(read).collect()
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

fn lines_of(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

/// The date patterns of the stock filters, by the names of their files.
fn stock_patterns(oracle: &Oracle) -> Vec<(String, String)> {
    let filters = texts(&oracle.tools.join("etc/fail2ban/filter.d"));
    let of_file = |(name, text): (String, String)| {
        let lines: Vec<&str> = text.lines().collect();
        let starts = (0..lines.len()).filter(|at| lines[*at].starts_with("datepattern"));
        let all = starts.filter_map(|at| {
            let (_, first) = lines[at].split_once('=')?;
            let more = lines[at + 1..].iter().take_while(|line| line.starts_with([' ', '\t']));
            let pattern: Vec<&str> = std::iter::once(first).chain(more.copied()).map(str::trim).collect();
            Some(pattern.join("\n").replace("%%", "%").replace("<W>", r"\W*"))
        });
        // Some are put together from options.
        let all = all.filter(|pattern| !["<L_", "<lt_", ")s"].iter().any(|part| pattern.contains(part)));
        all.map(|pattern| (name.clone(), pattern)).collect::<Vec<_>>()
    };
    filters.into_iter().flat_map(of_file).collect()
}

fn case(pattern: Option<&str>, lines: Vec<String>) -> Case {
    Case { pattern: pattern.map(str::to_owned), zone: None, now: NOW, lines }
}

#[test]
fn finds_the_dates_of_the_sample_logs() {
    let Some(mut oracle) = Oracle::start(ZONE) else { return };
    let logs = texts(&oracle.tools.join("usr/lib/python3/dist-packages/fail2ban/tests/files"));
    let mut all = Vec::new();
    let mut differences = 0;
    for (_, text) in &logs {
        let lines = lines_of(text);
        differences += compare(&mut oracle, &case(None, lines.clone()));
        all.extend(lines);
    }
    assert!(all.len() > 1500, "only {} sample lines", all.len());
    println!("{} sample lines in {} files", all.len(), logs.len());
    assert_eq!(differences + compare(&mut oracle, &case(None, all)), 0);
}

#[test]
fn finds_dates_by_the_patterns_of_the_stock_filters() {
    let Some(mut oracle) = Oracle::start(ZONE) else { return };
    let logs = texts(&oracle.tools.join("usr/lib/python3/dist-packages/fail2ban/tests/files/logs"));
    let mixed: Vec<String> = logs.iter().flat_map(|(_, text)| lines_of(text).into_iter().take(4)).collect();
    let patterns = stock_patterns(&oracle);
    assert!(patterns.len() > 30, "only {} patterns", patterns.len());
    let mut differences = 0;
    for (name, pattern) in patterns {
        let own = logs.iter().filter(|(log, _)| *log == name).flat_map(|(_, text)| lines_of(text));
        let lines: Vec<String> = own.chain(mixed.iter().cloned()).collect();
        differences += compare(&mut oracle, &case(Some(&pattern), lines));
    }
    assert_eq!(differences, 0);
}

#[test]
fn finds_the_times_of_the_corpus() {
    let folder = std::env::var_os("PILLORY_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"), PathBuf::from);
    let files = walk(&folder.join("fail2ban"));
    if files.is_empty() {
        eprintln!(
            "skipped: no {}; set PILLORY_CORPUS to the corpus folder",
            folder.join("fail2ban").display()
        );
        return;
    }
    let Some(mut oracle) = Oracle::start(ZONE) else { return };
    let patterns = stock_patterns(&oracle);
    let (mut compared, mut wrong, mut missing) = (0, 0, Vec::new());
    for path in files.iter().filter(|path| path.extension().is_some_and(|end| end == "jsonl")) {
        let text = std::fs::read_to_string(path).expect("the corpus is readable");
        let mut instances: std::collections::BTreeMap<String, Vec<Value>> = Default::default();
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).expect("a record");
            let is_text = record["via_journal"] == false && record["debian"]["match"] == true;
            if is_text && record["debian"]["expected_time"].is_number() {
                instances.entry(record["instance"].to_string()).or_default().push(record);
            }
        }
        for records in instances.values() {
            let name = records[0]["filter"].as_str().unwrap_or_default();
            let pattern =
                patterns.iter().filter(|(filter, _)| filter == name).map(|(_, pattern)| pattern.clone());
            let pattern: Vec<String> = pattern.collect();
            // A filter that takes its pattern by its options is left to the tests of whole filters.
            if pattern.len() > 1 {
                continue;
            }
            let lines =
                records.iter().filter_map(|record| record["line"].as_str().map(str::to_owned)).collect();
            let case = case(pattern.first().map(String::as_str), lines);
            let own = oracle.own(&case).expect("a stock pattern");
            for (record, own) in records.iter().zip(own) {
                let wanted = record["debian"]["expected_time"].as_f64().unwrap_or_default();
                compared += 1;
                // Of an entry of several lines the date stands in the first; fail2ban takes it from there.
                let Some(own) = own.filter(|own| own.time != Time::Empty) else {
                    missing.push(format!("{name}: {}", record["line"]));
                    continue;
                };
                if own.time != Time::At((wanted * 1000.0).floor() as i64) {
                    println!("{name}: {} wanted {wanted}, got {own:?}", record["line"]);
                    wrong += 1;
                }
            }
        }
        differences_of_file(&mut oracle, &instances, &mut wrong);
    }
    println!("{compared} times of the corpus, {missing:#?} without a date of their own");
    assert!(compared > 800, "only {compared} times");
    assert!(missing.len() < 3, "{missing:#?}");
    assert_eq!(wrong, 0);
}

/// The same lines with the usual stamps alone.
fn differences_of_file(
    oracle: &mut Oracle,
    instances: &std::collections::BTreeMap<String, Vec<Value>>,
    wrong: &mut usize,
) {
    for records in instances.values() {
        let lines = records.iter().filter_map(|record| record["line"].as_str().map(str::to_owned)).collect();
        *wrong += compare(oracle, &case(None, lines));
    }
}

#[test]
fn finds_the_dates_of_generated_lines() {
    for zone in [ZONE, "UTC0", "EST5EDT,M3.2.0,M11.1.0"] {
        let Some(mut oracle) = Oracle::start(zone) else { return };
        let (mut differences, mut lines) = (0, 0);
        for seed in 1..=generate::rounds() {
            let case = generate::case(seed);
            lines += case.lines.len();
            differences += compare(&mut oracle, &case);
        }
        println!("{lines} generated lines in {zone}");
        assert_eq!(differences, 0);
    }
}

#[test]
fn reads_patterns_as_fail2ban_does() {
    let Some(mut oracle) = Oracle::start(ZONE) else { return };
    let differences: usize = generate::patterns().iter().map(|case| compare(&mut oracle, case)).sum();
    assert_eq!(differences, 0);
}

/// Where the two are known to differ, each with the reason; an entry that no longer differs must go.
///
/// Two more cannot be shown by one line: the hour that clocks show twice (`Oracle::is_twice`), and zones' rules before
/// 1970 (`is_ancient`). Patterns with lookaround, conditions or characters beyond ASCII are refused.
const KNOWN: [(Option<&str>, &str, &str); 4] = [
    (None, "112\u{663}4006075 x", "a digit beyond ASCII is no digit: no program stamps its lines so"),
    (Some("%b %d %H:%M"), "\u{17f}ep 01 11:59", "a long s is no s: case is free in ASCII only"),
    (Some("(?<=x)%H:%M:%S"), "x11:59:58", "lookbehind is refused"),
    (Some("%d. M\u{e4}rz"), "14. M\u{e4}rz", "a character beyond ASCII in a pattern is refused"),
];

#[test]
fn differs_where_it_is_known_to_and_nowhere_else() {
    let Some(mut oracle) = Oracle::start(ZONE) else { return };
    for (pattern, line, reason) in KNOWN {
        let case = case(pattern, vec![line.to_owned()]);
        assert_ne!(oracle.own(&case).ok(), oracle.ask(&case).ok(), "no longer true: {reason}");
    }
}
