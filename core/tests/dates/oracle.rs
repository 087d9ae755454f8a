//! Runs fail2ban's detector, and ours in the same form.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use jiff::tz::TimeZone;
use pillory_core::filter::Clock;
use pillory_core::filter::dates::{Detector, Options, Undated};
use pillory_core::time::Timestamp;
use serde_json::{Value, json};

/// Lines for one detector.
pub struct Case {
    pub pattern: Option<String>,
    pub zone: Option<String>,
    pub now: i64,
    pub lines: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// Milliseconds since 1970.
    At(i64),
    Empty,
    NoDate,
    Broken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Characters.
    pub range: (usize, usize),
    pub time: Time,
    /// The place of the template in the order of then.
    pub order: usize,
}

pub struct Oracle {
    pub tools: PathBuf,
    zone: TimeZone,
    year: i16,
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Oracle {
    /// Nothing if there is no peer here; says why.
    pub fn start(zone: &str) -> Option<Oracle> {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
        let library = tools.join("usr/lib/python3/dist-packages");
        if !library.join("fail2ban/server/datedetector.py").exists() {
            eprintln!("skipped: no fail2ban below {}; run scripts/fetch-test-tools.sh", tools.display());
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dates/oracle.py");
        let started = Command::new("python3")
            .arg("-B")
            .arg(script)
            .env("PYTHONPATH", library)
            .env("TZ", zone)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            Err(error) => {
                eprintln!("skipped: python3: {error}");
                return None;
            }
        };
        let to = child.stdin.take().expect("piped");
        let from = BufReader::new(child.stdout.take().expect("piped"));
        let zone = TimeZone::posix(zone).expect("a zone");
        let mut oracle = Oracle { tools, zone, year: 0, child, to, from };
        oracle.year = i16::try_from(oracle.read()["year"].as_i64().expect("a year")).expect("a year");
        Some(oracle)
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.from.read_line(&mut line).expect("the oracle answers");
        serde_json::from_str(&line).expect("the oracle answers in JSON")
    }

    /// What fail2ban finds; its error if it cannot use the pattern.
    pub fn ask(&mut self, case: &Case) -> Result<Vec<Option<Answer>>, String> {
        let asked = json!({"pattern": case.pattern, "zone": case.zone, "now": case.now, "lines": case.lines});
        writeln!(self.to, "{asked}").expect("the oracle listens");
        let answer = self.read();
        if let Some(error) = answer["error"].as_str() {
            return Err(error.to_owned());
        }
        Ok(answer["dates"].as_array().expect("dates").iter().map(answer_of).collect())
    }

    /// What we find, in the same form.
    pub fn own(&self, case: &Case) -> Result<Vec<Option<Answer>>, String> {
        let logtimezone = match &case.zone {
            Some(zone) => Some(zone.parse().map_err(|error| format!("{error}"))?),
            None => None,
        };
        let options = Options { datepattern: case.pattern.as_deref(), logtimezone, year: self.year };
        let mut detector = Detector::new(&options).map_err(|error| error.to_string())?;
        let clock = Clock { now: Timestamp::from_secs(case.now), zone: self.zone.clone() };
        let find = |line: &String| {
            let found = detector.find(line.as_bytes(), &clock)?;
            let place = |at: usize| line[..at].chars().count();
            let time = match found.time {
                Ok(time) => Time::At(time.millis()),
                Err(Undated::Empty) => Time::Empty,
                Err(Undated::NoDate) => Time::NoDate,
                Err(Undated::Unreadable) => Time::Broken,
            };
            let order = detector.order().position(|template| template == found.template).expect("a template");
            Some(Answer { range: (place(found.range.start), place(found.range.end)), time, order })
        };
        Ok(case.lines.iter().map(find).collect())
    }

    /// In the hour that clocks show twice, libc takes one or the other by what it converted before; we take the first.
    pub fn is_twice(&self, own: &Option<Answer>, theirs: &Option<Answer>) -> bool {
        let shown = |answer: &Option<Answer>| match answer {
            Some(Answer { time: Time::At(at), .. }) => {
                let at = jiff::Timestamp::from_millisecond(*at).ok()?;
                Some(self.zone.to_datetime(at))
            }
            _ => None,
        };
        shown(own).is_some() && shown(own) == shown(theirs)
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer_of(value: &Value) -> Option<Answer> {
    let parts = value.as_array()?;
    let place = |at: usize| usize::try_from(parts[at].as_u64().expect("a place")).expect("a place");
    let time = match parts[2].as_str() {
        Some("empty") => Time::Empty,
        Some("nodate") => Time::NoDate,
        Some(_) => Time::Broken,
        // The float of a time with microseconds lies a little above or below it.
        None => Time::At((parts[2].as_f64().expect("a time") * 1000.0 + 1e-3).floor() as i64),
    };
    Some(Answer { range: (place(0), place(1)), time, order: place(3) })
}
