//! No line takes a filter long: known catastrophes, hostile lines, and lines of up to 64 KiB that are made to be slow.
//!
//! What is measured is the time that this thread has computed, so that a busy machine changes little. The aim of
//! 20 ms is for a release build (`cargo test --release -p pillory-core --test fail2ban hang`), which also tries more
//! lines. `PILLORY_HANG_LINES` says how many are grown for each filter, `PILLORY_HANG_SEED` grows others.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use pillory_core::event::Line;
use pillory_core::filter::fail2ban::{Fail2banFilter, Timing};
use pillory_core::filter::regex::{self, HostNames, Tree};
use pillory_core::filter::{Clock, FilterSpec};
use pillory_core::time::Timestamp;
use rustix::time::{ClockId, clock_gettime};

use crate::corpus::zone;
use crate::grow::{Dice, LONGEST, from_expression, from_line};
use crate::{filters, loads, notes, peer};

/// What no line may take: several times the aim, because busy neighbours slow a thread too, and far more without
/// optimisation.
const MOST: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 100 });
/// How many lines are grown for each variant of a filter.
const LINES: usize = if cfg!(debug_assertions) { 4 } else { 100 };

/// Dates in front of messages, as different sources write them.
const DATES: [&str; 6] = [
    "",
    "Aug 14 11:59:59 host ",
    "2005-08-14 11:59:59 ",
    "<86>1 2005-08-14T11:59:59Z host ",
    "[Sun Aug 14 11:59:59 2005] ",
    "192.0.2.7 - - [14/Aug/2005:11:59:59 +0200] ",
];

fn setting(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

/// How long this thread has computed.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// A filter under trial, and the worst line so far.
struct Trial {
    name: String,
    filter: Fail2banFilter,
    lines: usize,
    worst: Duration,
    line: Vec<u8>,
}

impl Trial {
    fn new(tools: &Path, name: &str) -> Trial {
        let filter = filters::compile(&filters::read(tools, name, false).unwrap()).unwrap();
        Trial { name: name.to_owned(), filter, lines: 0, worst: Duration::ZERO, line: Vec::new() }
    }

    fn judge(&mut self, bytes: &[u8]) {
        let now = Timestamp::from_secs(1_124_013_600);
        let clock = Clock { now, zone: zone() };
        let start = computed();
        self.filter.judge(&Line { bytes, stamp: None }, &clock, Timing::Operation, now);
        let took = computed() - start;
        self.lines += 1;
        if took > self.worst {
            (self.worst, self.line) = (took, bytes.to_vec());
        }
    }

    fn shown(&self) -> String {
        let line = String::from_utf8_lossy(&self.line);
        let (head, length): (String, usize) = (line.chars().take(160).collect(), self.line.len());
        format!("{:8.2} ms  {}, {length} bytes: {head:?}", self.worst.as_secs_f64() * 1e3, self.name)
    }
}

/// Prints the worst and holds all to the limit.
fn check(what: &str, mut trials: Vec<Trial>) {
    trials.sort_by_key(|trial| std::cmp::Reverse(trial.worst));
    let lines: usize = trials.iter().map(|trial| trial.lines).sum();
    eprintln!("{what}: {lines} lines by {} filters; the slowest:", trials.len());
    trials.iter().take(5).for_each(|trial| eprintln!("{}", trial.shown()));
    assert!(trials.iter().all(|trial| trial.worst <= MOST), "a line took more than {MOST:?}");
}

#[test]
fn the_catastrophes_of_stock_expressions_take_no_time() {
    let Some(tools) = peer::tools() else { return };
    let mut trials = Vec::new();
    let blanks = format!("   []:{}<", " ".repeat(1_994));
    // fail2ban takes minutes and more for most of these, from 16 to 60 times on.
    let cases = [
        ("pam-generic[logtype=rfc5424]", "2005-08-14T11:59:59Z host pam 7 - ", "[a]"),
        ("pam-generic[logtype=rfc5424]", "2005-08-14T11:59:59Z host pam 7 - [", "a "),
        ("pam-generic[logtype=rfc5424]", "2005-08-14T11:59:59Z host pam 7 - ", "[\"]\"]"),
        ("dovecot", "Aug 14 11:59:59 host dovecot: imap-login: Disconnected", ": a"),
        ("dovecot", "Aug 14 11:59:59 host dovecot: imap-login: Aborted login", ": a(b) c"),
        ("domino-smtp", "2005-08-14 11:59:59   smtp: ", "A "),
        // Found here: long runs of letters above ASCII, looked up one by one for each of many beginnings.
        ("roundcube-auth[logtype=rfc5424]", blanks.as_str(), "éaéé"),
    ];
    for (name, before, piece) in cases {
        let mut trial = Trial::new(&tools, name);
        for times in [8, 16, 40, 100, 1_000, (LONGEST - before.len() - 20) / piece.len()] {
            for end in ["192.0.2.5", "x", ""] {
                trial.judge(format!("{before}{}{end}", piece.repeat(times)).as_bytes());
            }
        }
        trials.push(trial);
    }
    check("catastrophes", trials);
}

#[test]
fn no_hostile_or_grown_line_takes_a_stock_filter_long() {
    let Some(tools) = peer::tools() else { return };
    let hostile = hostile();
    let mut dice = Dice(setting("PILLORY_HANG_SEED").unwrap_or(11) as u64);
    let mut different: BTreeMap<String, (String, FilterSpec)> = BTreeMap::new();
    let names = notes::filters(&tools);
    for name in names.iter().flat_map(|filter| loads::variants(&tools, filter)) {
        let spec = filters::read(&tools, &name, false).unwrap().spec();
        different.entry(format!("{spec:?}")).or_insert((name, spec));
    }
    let mut trials = Vec::new();
    for (name, spec) in different.values() {
        let mut trial = Trial::new(&tools, name);
        let known = notes::samples(&tools, &spec.name);
        let known: Vec<&[u8]> = known.iter().map(|sample| sample.line.as_bytes()).collect();
        // Each hostile line meets every filter, if not every variant of it.
        for line in hostile.iter().filter(|_| !name.contains('[')) {
            trial.judge(line);
        }
        for _ in 0..setting("PILLORY_HANG_LINES").unwrap_or(LINES) {
            trial.judge(&from_line(dice.pick(&known).unwrap(), &mut dice));
            let line = expression_line(spec, &mut dice);
            trial.judge(&line);
            // What was slow once is made slower.
            let slowest = from_line(&trial.line, &mut dice);
            trial.judge(&slowest);
        }
        trials.push(trial);
    }
    check("hostile and grown lines", trials);
}

/// A line grown from one of the filter's expressions, behind its prefix if it has one.
fn expression_line(spec: &FilterSpec, dice: &mut Dice) -> Vec<u8> {
    let mut before = dice.pick(&DATES).unwrap().as_bytes().to_vec();
    if let (Some(prefix), true) = (&spec.prefregex, dice.roll(4) > 0) {
        let content = prefix.find("<F-CONTENT>").unwrap_or(prefix.len());
        if let Some(tree) = tree(&prefix[..content]) {
            let mut start = from_expression(&tree.root, b"", dice);
            start.truncate(2_000);
            before.extend(start);
        }
    }
    let all: Vec<&String> = spec.failregex.iter().chain(&spec.prefregex).chain(&spec.ignoreregex).collect();
    let text = all[dice.roll(all.len())];
    let tree = tree(text).unwrap_or_else(|| panic!("{text}"));
    from_expression(&tree.root, &before, dice)
}

fn tree(text: &str) -> Option<Tree> {
    let expanded = regex::expand(text, HostNames::Match).ok()?;
    regex::parse(&expanded.pattern, regex::Options { multiline: true }).ok()
}

/// The lines that attackers wrote, if the corpus is there.
fn hostile() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus/hostile.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: {}: no hostile lines there; grown ones only", path.display());
        return Vec::new();
    };
    let rows = text.lines().map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap());
    rows.filter_map(|row| Some(row["line"].as_str()?.as_bytes().to_vec())).collect()
}
