//! Filters judged by their samples: every line beside what is expected of it.

use std::net::IpAddr;
use std::path::Path;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::Value;

use super::super::catalog;
use super::*;

/// 2026-11-22T12:00:00Z.
const NOW: i64 = 1_795_348_800;

fn clock() -> Clock {
    Clock { now: Timestamp::from_secs(NOW), zone: TimeZone::UTC }
}

/// A line of a sample file and what is expected of it.
struct Sample {
    number: usize,
    text: String,
    expected: Value,
}

fn samples(filter: &str) -> Vec<Sample> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(format!("{filter}.log"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut samples = Vec::new();
    let mut expected: Option<Value> = None;
    for (index, line) in text.lines().enumerate() {
        if let Some(json) = line.strip_prefix("# failJSON: ") {
            assert!(expected.is_none(), "{filter}:{}: the expectation before has no line", index + 1);
            let value =
                serde_json::from_str(json).unwrap_or_else(|error| panic!("{filter}:{}: {error}", index + 1));
            expected = Some(value);
        } else if let Some(expected) = expected.take() {
            samples.push(Sample { number: index + 1, text: line.to_owned(), expected });
        } else {
            let is_note = line.is_empty() || line.starts_with('#');
            assert!(is_note, "{filter}:{}: a line without an expectation", index + 1);
        }
    }
    samples
}

fn millis(text: &str) -> i64 {
    let local: jiff::civil::DateTime = text.parse().unwrap();
    TimeZone::UTC.to_timestamp(local).unwrap().as_millisecond()
}

fn judge(filter: &mut Filter, sample: &Sample) -> Verdict {
    let stamp = sample.expected["journal"].as_bool().unwrap_or(false).then(|| Timestamp::from_secs(NOW));
    filter.judge(&Line { bytes: sample.text.as_bytes(), stamp }, &clock())
}

/// What a verdict says, in the words of the annotations.
fn facts(verdict: &Verdict) -> Value {
    let event = match verdict {
        Verdict::Miss => return serde_json::json!({"match": false}),
        Verdict::Ignored => return serde_json::json!({"match": false, "ignored": true}),
        Verdict::Event(event) => event,
    };
    let mut facts = serde_json::json!({"match": true, "host": event.addr.to_string()});
    if let Some(stamp) = event.stamp {
        facts["time"] = stamp.millis().into();
    }
    if let Some(user) = &event.user {
        facts["user"] = user.as_str().into();
    }
    if !event.forwarded.is_empty() {
        facts["forwarded"] = event.forwarded.iter().map(IpAddr::to_string).collect::<Vec<_>>().into();
    }
    match event.outcome {
        Outcome::Success => facts["success"] = true.into(),
        Outcome::Failure { class, attempts, .. } => {
            facts["class"] = class.name().into();
            if attempts != 1 {
                facts["attempts"] = attempts.into();
            }
        }
    }
    facts
}

fn expected(sample: &Sample) -> Value {
    let mut expected = sample.expected.clone();
    if let Some(time) = expected["time"].as_str() {
        expected["time"] = millis(time).into();
    }
    if let Some(object) = expected.as_object_mut() {
        object.remove("journal");
        object.retain(|_, value| !value.is_null());
    }
    expected
}

#[test]
fn every_sample_of_every_built_in_filter_is_judged_as_noted() {
    let mut wrong = Vec::new();
    for name in catalog::names() {
        let mut filter = Filter::compile(&catalog::builtin(name).unwrap()).unwrap();
        let samples = samples(name);
        assert!(!samples.is_empty(), "{name} has no samples");
        for sample in &samples {
            let found = facts(&judge(&mut filter, sample));
            if found != expected(sample) {
                wrong.push(format!("{name}:{}: {}\n  found {found}", sample.number, sample.text));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The filter without one of its failregexes; the classes move up with theirs.
fn without(spec: &FilterSpec, index: usize) -> FilterSpec {
    let mut less = spec.clone();
    less.failregex.remove(index);
    less.failclass.retain(|(at, _)| *at != index);
    for (at, _) in &mut less.failclass {
        if *at > index {
            *at -= 1;
        }
    }
    less
}

#[test]
fn every_failregex_has_a_sample_that_needs_it() {
    let mut idle = Vec::new();
    for name in catalog::names() {
        let spec = catalog::builtin(name).unwrap();
        let samples = samples(name);
        for index in 0..spec.failregex.len() {
            let less = without(&spec, index);
            if less.failregex.is_empty() {
                continue;
            }
            let mut filter = Filter::compile(&less).unwrap();
            if samples.iter().all(|sample| facts(&judge(&mut filter, sample)) == expected(sample)) {
                idle.push(format!("{name}: failregex {index}: {}", spec.failregex[index]));
            }
        }
    }
    assert!(idle.is_empty(), "{}", idle.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_bytes_upset_a_built_in_filter(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for name in catalog::names() {
            let mut filter = Filter::compile(&catalog::builtin(name).unwrap()).unwrap();
            filter.judge(&Line { bytes: &bytes, stamp: None }, &clock());
        }
    }
}
