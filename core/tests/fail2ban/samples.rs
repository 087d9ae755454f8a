//! The package's own sample lines through our filters: each is decided as the note above it says.
//!
//! The package judges a line by every failregex and wants exactly one to report a failure; a jail, theirs as ours,
//! stops at the first that matches. So here the first decides, and what is compared is the decision: a failure or
//! none, whose, when, which user. A failure reported by a later failregex only would show as a difference. That
//! every failregex decides some sample is asked as the package asks it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pillory_core::event::Line;
use pillory_core::filter::Clock;
use pillory_core::filter::fail2ban::{Fail2banFilter, Hit, Options, Ruling, Subject, Timing};
use pillory_core::time::Timestamp;
use serde_json::Value;

use crate::corpus::zone;
use crate::notes::{Opts, Sample, filters as sampled, named, samples};
use crate::{filters, peer};

/// 2005-08-14 12:00:00 CEST, the clock of the package's tests.
const NOW: i64 = 1_124_013_600;

/// A filter that lives as long as its file is read.
struct Long {
    filter: Fail2banFilter,
    failregex: Vec<String>,
    used: BTreeSet<usize>,
}

impl Long {
    fn new(tools: &Path, name: &str) -> Long {
        let read = filters::read(tools, name, false).unwrap_or_else(|error| panic!("{name}: {error}"));
        // Nothing is resolved: names stay names.
        let options = Options { year: 2026, keep_matches: true, raw: true, ..read.options() };
        let filter = Fail2banFilter::compile(&read.spec(), options)
            .unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
        Long { filter, failregex: read.failregex, used: BTreeSet::new() }
    }

    fn judge(&mut self, line: &str, opts: &Opts) -> Ruling {
        let now = Timestamp::from_secs(NOW);
        let journal = opts.get("logtype").is_some_and(|kind| kind == "journal");
        let before = opts.get("test.prefix-line").and_then(Value::as_str).filter(|_| journal);
        let line = format!("{}{line}", before.unwrap_or_default());
        let line = Line { bytes: line.as_bytes(), stamp: journal.then_some(now) };
        let ruling = self.filter.judge(&line, &Clock { now, zone: zone() }, Timing::Any, now);
        if let Ruling::Failure(_, hit) | Ruling::NoFail(hit) = &ruling {
            self.used.insert(hit.failregex);
        }
        ruling
    }

    /// What a group held in the last ruling.
    fn captured(&self, key: &str) -> Option<String> {
        self.filter.captures().find(|(name, _)| *name == key).map(|(_, value)| value.text().to_string())
    }

    /// What is wrong with a failure, by the note.
    fn wrong(&self, subject: &Subject, hit: &Hit, note: &Opts) -> Vec<String> {
        let mut wrong = Vec::new();
        for (key, wanted) in note {
            let ours = match key.as_str() {
                "match" | "desc" | "constraint" => continue,
                "time" if wanted.is_null() => continue,
                "time" => serde_json::json!(hit.time.map(|time| time.millis())),
                "host" => self.captured("host").unwrap_or_else(|| subject.to_string()).into(),
                "attempts" => self.captured("attempts").map_or(hit.matches.len().into(), Value::from),
                "users" => self.filter.users().collect(),
                other => serde_json::json!(self.captured(other)),
            };
            let wanted = if key == "time" { millis(wanted.as_str().unwrap()).into() } else { sorted(wanted) };
            // A note may write an address in another form.
            let same = address(&ours).is_some() && address(&ours) == address(&wanted);
            if ours != wanted && !same {
                wrong.push(format!("{key}: noted {wanted}, ours {ours}"));
            }
        }
        wrong
    }
}

fn address(value: &Value) -> Option<std::net::IpAddr> {
    value.as_str()?.parse().ok()
}

fn sorted(value: &Value) -> Value {
    let Value::Array(items) = value else { return value.clone() };
    let mut items = items.clone();
    items.sort_by_key(ToString::to_string);
    Value::Array(items)
}

fn millis(text: &str) -> i64 {
    // Some days are written with one digit.
    let (date, time) = text.split_once('T').unwrap();
    let date: Vec<i16> = date.split('-').map(|part| part.parse().unwrap()).collect();
    let date = jiff::civil::date(date[0], date[1] as i8, date[2] as i8);
    let time: jiff::civil::Time = time.parse().unwrap();
    date.to_datetime(time).to_zoned(zone()).unwrap().timestamp().as_millisecond()
}

/// What the samples of all filters came to.
#[derive(Default)]
struct Tally {
    decided: usize,
    matches: usize,
    variants: usize,
    /// By place.
    differences: BTreeMap<String, String>,
}

impl Tally {
    fn judge(&mut self, long: &mut Long, name: &str, sample: &Sample, opts: &Opts) {
        let ruling = long.judge(&sample.line, opts);
        let wanted = sample.note.get("match") == Some(&Value::Bool(true));
        self.decided += 1;
        self.matches += usize::from(wanted);
        // Without a connection `<F-NOFAIL>` holds nothing back in a jail; the package's test leaves such a failure out.
        let held_back = long.captured("nofail").is_some_and(|text| !text.is_empty());
        let wrong = match (&ruling, wanted) {
            (Ruling::Failure(..), false) if held_back => return,
            (Ruling::Failure(subject, hit), true) => long.wrong(subject, hit, &sample.note),
            (Ruling::Failure(..), false) | (_, true) => vec![format!("{ruling:?}")],
            _ => return,
        };
        if !wrong.is_empty() {
            let shown = format!("{name}: {}\n  {}\n  {:?}", wrong.join("; "), sample.line, sample.note);
            self.differences.insert(sample.place.clone(), shown);
        }
    }

    fn file(&mut self, tools: &Path, filter: &str) {
        let mut longs: BTreeMap<String, Long> = BTreeMap::new();
        for sample in samples(tools, filter) {
            for opts in &sample.options {
                let name = named(filter, opts);
                let long = longs.entry(name.clone()).or_insert_with(|| Long::new(tools, &name));
                self.judge(long, &name, &sample, opts);
            }
        }
        self.variants += longs.len();
        let used: BTreeSet<String> = longs
            .values()
            .flat_map(|long| long.used.iter().map(|index| long.failregex[*index].clone()))
            .collect();
        for (name, long) in &longs {
            for (index, text) in long.failregex.iter().enumerate().filter(|(_, text)| !used.contains(*text)) {
                self.differences.insert(format!("{name} {index}"), format!("decides no sample: {text}"));
            }
        }
    }
}

#[test]
fn every_sample_of_the_package_is_decided_as_its_note_says() {
    let Some(tools) = peer::tools() else { return };
    let filters = sampled(&tools);
    let mut tally = Tally::default();
    for filter in &filters {
        tally.file(&tools, filter);
    }
    let Tally { variants, decided, matches, differences } = tally;
    eprintln!(
        "{} filters in {variants} variants, {decided} records, {matches} matches, {} differences",
        filters.len(),
        differences.len(),
    );
    let shown: Vec<String> = differences.iter().take(30).map(|(at, what)| format!("{at}: {what}")).collect();
    assert!(shown.is_empty(), "{}", shown.join("\n"));
    assert!(decided >= 1_600 && matches >= 1_300, "samples are missing");
}
