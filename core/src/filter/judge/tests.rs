//! Filters judged by their samples: every line beside what is expected of it.

use std::net::IpAddr;
use std::path::Path;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::Value;

use super::super::{Filter, catalog};
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

fn built_in() -> Vec<(Filter, Vec<Sample>)> {
    let one = |name| (Filter::compile(&catalog::builtin(name).unwrap()).unwrap(), samples(name));
    catalog::names().map(one).collect()
}

#[test]
fn no_bytes_upset_a_built_in_filter() {
    let mut filters = built_in();
    let runner = &mut proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    });
    // Arbitrary bytes, alone and in the middle of a line that would match.
    let bytes = prop::collection::vec(any::<u8>(), 0..60);
    let shaped = (bytes, any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let filters = std::cell::RefCell::new(&mut filters);
    runner
        .run(&shaped, |(bytes, line, place)| {
            for (filter, samples) in filters.borrow_mut().iter_mut() {
                let mut text = samples[line.index(samples.len())].text.clone().into_bytes();
                let place = place.index(text.len() + 1);
                text.splice(place..place, bytes.iter().copied());
                for bytes in [&bytes, &text] {
                    filter.examine(&Line { bytes, stamp: None }, &clock());
                }
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_long_hostile_line_is_judged() {
    let mut filter = Filter::compile(&catalog::builtin("sshd").unwrap()).unwrap();
    let name = " from 203.0.113.5 port 22 ssh2".repeat(2_000);
    let line = format!("Nov 22 07:57:11 vm sshd[1]: Failed password for {name} from 192.0.2.66 port 5 ssh2");
    let Verdict::Event(event) = filter.judge(&Line { bytes: line.as_bytes(), stamp: None }, &clock()) else {
        panic!("a miss")
    };
    assert_eq!(event.addr.to_string(), "192.0.2.66");
    assert!(event.user.unwrap().len() <= MAX_USER_BYTES);
}

#[test]
fn the_first_of_several_matching_expressions_wins() {
    let spec =
        FilterSpec { failregex: vec!["b <HOST>".to_owned(), "a <HOST>".to_owned()], ..FilterSpec::default() };
    let mut filter = Filter::compile(&spec).unwrap();
    let finding = filter.examine(&Line { bytes: b"a 192.0.2.1 b 192.0.2.2", stamp: None }, &clock());
    assert_eq!(finding.failregex, Some(0));
    assert_eq!(finding.captures, [("ip4".to_owned(), "192.0.2.2".to_owned())]);
}

#[test]
fn what_the_prefregex_captured_counts_too() {
    let spec = FilterSpec {
        prefregex: Some("^<F-USER>\\w+</F-USER> at <HOST>: <F-CONTENT>.+</F-CONTENT>$".to_owned()),
        failregex: vec!["^wrong$".to_owned()],
        ignoreregex: vec!["wrong".to_owned()],
        ..FilterSpec::default()
    };
    let line = Line { bytes: b"alice at 192.0.2.1: wrong", stamp: None };
    assert_eq!(Filter::compile(&spec).unwrap().judge(&line, &clock()), Verdict::Ignored);
    let spec = FilterSpec { ignoreregex: Vec::new(), ..spec };
    let Verdict::Event(event) = Filter::compile(&spec).unwrap().judge(&line, &clock()) else {
        panic!("a miss")
    };
    assert_eq!((event.addr.to_string().as_str(), event.user.as_deref()), ("192.0.2.1", Some("alice")));
}

#[test]
fn compiling_names_every_expression_that_cannot_be_used() {
    let spec = FilterSpec {
        name: "mine".to_owned(),
        failregex: vec!["(?<=a+)<HOST>".to_owned(), "<HOST>".to_owned(), "a(".to_owned()],
        ignoreregex: vec!["\\y".to_owned()],
        datepattern: Some("%Q".to_owned()),
        ..FilterSpec::default()
    };
    let found: Vec<String> = Filter::compile(&spec).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4, "{found:?}");
    let expected = "filter \"mine\": failregex 0, \"(?<=a+)<HOST>\": column 1: a lookbehind";
    assert!(found[1].starts_with(expected), "{}", found[1]);
    let spec = FilterSpec { failregex: vec!["<HOST>".to_owned(), "a".to_owned()], ..FilterSpec::default() };
    let found = Filter::compile(&spec).unwrap_err();
    assert!(matches!(found[..], [FilterError::NoHost { key: "failregex", index: 1, .. }]), "{found:?}");
}

#[test]
fn an_expression_that_takes_too_many_steps_counts_as_a_miss_and_is_counted() {
    let spec = FilterSpec {
        name: "slow".into(),
        failregex: vec![r"^(?P<word>(?:a|aa)+)+(?P=word)!(?P=word)b from <HOST>$".into()],
        ..FilterSpec::default()
    };
    let mut filter = Filter::compile(&spec).unwrap();
    // The automaton takes any text for what a backreference repeats, so the line is looked at closely.
    let line = format!("{}!zb from 192.0.2.7", "a".repeat(20_000));
    assert_eq!(filter.judge(&Line { bytes: line.as_bytes(), stamp: None }, &clock()), Verdict::Miss);
    assert_eq!((filter.take_limits(), filter.take_limits()), (1, 0));
}

/// The lines of all samples, each several times and damaged in another way: cut, put together, with bytes changed.
fn damaged() -> Vec<Vec<u8>> {
    let pieces: [&[u8]; 12] = [
        b" from 192.0.2.7 port 22 ssh2",
        b"message repeated 5 times: [ ",
        b" [preauth]",
        b"]",
        b"\0",
        b"\xff\xfe",
        "\u{f6}\u{661}\u{2028}".as_bytes(),
        b"  ",
        b": ",
        b"sshd[7]: ",
        b"<38>1 ",
        b"Nov 22 07:57:60 2026 ",
    ];
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for name in crate::filter::catalog::names() {
        let path = format!("{}/samples/{name}.log", env!("CARGO_MANIFEST_DIR"));
        lines.extend(std::fs::read(path).unwrap().split(|b| *b == b'\n').map(<[u8]>::to_vec));
    }
    // A linear congruential generator; constants of Knuth's MMIX.
    let mut state = 7u64;
    let mut below = |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % limit.max(1)
    };
    let whole = lines.clone();
    for round in 0..4 {
        for line in &whole {
            let mut line = line.clone();
            for _ in 0..=round % 3 {
                let at = below(line.len() + 1);
                match below(5) {
                    0 => line.truncate(at),
                    1 => drop(line.drain(..at)),
                    2 => line.extend_from_slice(&whole[below(whole.len())]),
                    3 if at < line.len() => line[at] = below(256) as u8,
                    _ => drop(line.splice(at..at, pieces[below(pieces.len())].iter().copied())),
                }
            }
            lines.push(line);
        }
    }
    // The same lines with other digits, behind their dates: what was found once is known by the shape.
    let mut other = |(at, byte): (usize, &u8)| match byte.is_ascii_digit() && at > 26 {
        true => b'0' + below(10) as u8,
        false => *byte,
    };
    let alike: Vec<Vec<u8>> =
        lines.iter().map(|line| line.iter().enumerate().map(&mut other).collect()).collect();
    lines.extend(alike);
    lines
}

#[test]
fn what_is_done_for_speed_changes_no_verdict() {
    let clock = Clock { now: Timestamp::from_secs(1_800_000_000), zone: jiff::tz::TimeZone::UTC };
    let lines = damaged();
    let mut matched = 0;
    for name in crate::filter::catalog::names() {
        let compile = || BuiltIn::compile(&crate::filter::catalog::builtin(name).unwrap()).unwrap();
        let (mut quick, mut plain) = (compile(), compile());
        plain.forget_beginnings();
        for bytes in &lines {
            let line = Line { bytes, stamp: None };
            let verdict = quick.judge(&line, &clock);
            let finding = plain.examine(&line, &clock);
            assert_eq!(verdict, finding.verdict, "{name}: {}", String::from_utf8_lossy(bytes));
            assert_eq!(quick.examine(&line, &clock), finding, "{name}: {}", String::from_utf8_lossy(bytes));
            matched += usize::from(verdict != Verdict::Miss);
        }
    }
    assert!(matched > 200, "{matched} of {}", lines.len());
    let sshd = BuiltIn::compile(&crate::filter::catalog::builtin("sshd").unwrap()).unwrap();
    assert!(sshd.rules.keeps_shapes());
}
