//! Timed sequences of sshd lines: the same bans at the same step as fail2ban's own filter and counter.

use pillory_core::config::fail2ban::seconds;
use pillory_core::event::Line;
use pillory_core::filter::Clock;
use pillory_core::filter::fail2ban::{Ruling, Timing};
use pillory_core::jail::rate::Rates;
use pillory_core::net::Prefix;
use pillory_core::time::{Span, Timestamp};
use serde_json::{Value, json};

use crate::corpus::{corpus, zone};
use crate::{filters, peer};

fn span(value: &Value) -> Span {
    match value.as_u64() {
        Some(secs) => Span::from_secs(secs),
        None => seconds::span(value.as_str().unwrap()).unwrap(),
    }
}

/// Plays a scenario; gives the first step that ends otherwise.
fn play(tools: &std::path::Path, scenario: &Value) -> (usize, Option<String>) {
    let options = scenario["options"].as_object().unwrap();
    let options: Vec<String> =
        options.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap())).collect();
    let name = format!("{}[{}]", scenario["filter"].as_str().unwrap(), options.join(","));
    let name = if options.is_empty() { name.trim_end_matches("[]").to_owned() } else { name };
    let mut filter = filters::compile(&filters::read(tools, &name, false).unwrap()).unwrap();
    let findtime = span(&scenario["findtime"]);
    let mut rates = Rates::new(scenario["maxretry"].as_u64().unwrap() as u32, findtime, 1_000);
    let timing = if scenario["in_operation"] == true { Timing::Operation } else { Timing::Start(findtime) };
    let ignored: Vec<Prefix> = scenario["ignoreip"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ip| ip.as_str().unwrap().parse().unwrap())
        .collect();
    let mut bans = 0;
    for (number, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
        let now = Timestamp::from_millis((step["now"].as_f64().unwrap() * 1000.0) as i64);
        let clock = Clock { now, zone: zone() };
        let line = Line { bytes: step["line"].as_str().unwrap().as_bytes(), stamp: None };
        // The peer's memory of connections goes by the wall clock, which stood still here.
        let ruling = filter.judge(&line, &clock, timing, Timestamp::from_secs(0));
        let mut ours = Vec::new();
        if let Ruling::Failure(subject, hit) = ruling {
            let spared = matches!(&subject, pillory_core::filter::fail2ban::Subject::Net(prefix)
                if ignored.iter().any(|ignored| ignored.contains(*prefix)));
            let banned = if spared { None } else { rates.failure(&subject, hit.time.unwrap(), now) };
            ours.extend(
                banned.map(|tally| json!([subject.to_string(), tally.last.millis() / 1000, tally.retry])),
            );
        }
        rates.line(now);
        let theirs: Vec<Value> = step["bans"]
            .as_array()
            .unwrap()
            .iter()
            .map(|ban| json!([ban["id"], ban["time"].as_f64().unwrap() as i64, ban["retry"]]))
            .collect();
        bans += theirs.len();
        if ours != theirs {
            let shown = format!(
                "{} step {number}: theirs {theirs:?} ours {ours:?}\n  {}",
                scenario["name"], step["line"]
            );
            return (bans, Some(shown));
        }
    }
    (bans, None)
}

#[test]
fn every_scenario_bans_at_the_same_step() {
    let (Some(tools), Some(root)) = (peer::tools(), corpus()) else { return };
    let text = std::fs::read_to_string(root.join("_decisions/scenarios.jsonl")).unwrap();
    let scenarios: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut differences = Vec::new();
    let mut bans = 0;
    for scenario in &scenarios {
        let (seen, difference) = play(&tools, scenario);
        bans += seen;
        differences.extend(difference);
    }
    eprintln!("{} scenarios, {bans} bans, {} differ", scenarios.len(), differences.len());
    assert!(scenarios.len() >= 168 && bans > 500, "the corpus is not complete");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
