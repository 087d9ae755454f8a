//! `pillory test-filter`: each line's verdict, for people who write filters.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use pillory_core::event::{Line, Outcome as LoginOutcome};
use pillory_core::filter::{Clock, Filter, FilterSpec, Finding, Verdict, catalog};
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::logging::escape;
use crate::sources::MAX_LINE_BYTES;

use super::{Failure, Outcome, exit};

/// `pillory test-filter`
#[derive(Debug, clap::Args)]
pub(crate) struct TestFilter {
    /// A built-in filter's name, or the path of a filter file.
    #[arg(value_name = "FILTER")]
    filter: String,
    /// Log lines; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What time it is, in seconds since 1970; completes stamps without a year.
    #[arg(long, value_name = "EPOCH")]
    now: Option<f64>,
    /// Zone of stamps without one: an IANA name or a POSIX TZ string.
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    tz: Option<TimeZone>,
    /// The lines are journal messages: no stamp of their own, their time is now.
    #[arg(long)]
    journal: bool,
    /// JSON instead of text: one object a line, then a summary.
    #[arg(long, short = 'j')]
    json: bool,
}

fn parse_zone(text: &str) -> Result<TimeZone, String> {
    let posix = |_| TimeZone::posix(text);
    TimeZone::get(text).or_else(posix).map_err(|_| {
        format!(
            "{text:?} is no time zone; write for example Europe/Berlin, UTC or CET-1CEST,M3.5.0,M10.5.0/3"
        )
    })
}

/// What all lines came to.
#[derive(Debug, Default)]
struct Summary {
    lines: u64,
    failures: u64,
    success: u64,
    ignored: u64,
    misses: u64,
}

impl TestFilter {
    pub(crate) fn run(&self) -> Outcome {
        let spec = read_filter(&self.filter)?;
        let mut filter = Filter::compile(&spec).map_err(|errors| all_of(errors.iter()))?;
        let millis = |epoch: f64| Timestamp::from_millis((epoch * 1000.0) as i64);
        let now = self.now.map_or_else(clock::now, millis);
        let clock = Clock { now, zone: self.tz.clone().unwrap_or_else(clock::zone) };
        let mut lines = self.open()?;
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let mut summary = Summary::default();
        let mut bytes = Vec::new();
        while self.next(&mut lines, &mut bytes)? {
            summary.lines += 1;
            let line = Line { bytes: &bytes, stamp: self.journal.then_some(now) };
            let finding = filter.examine(&line, &clock);
            let verdict = summary.count(&finding.verdict);
            let said = match self.json {
                true => format!("{}\n", value(summary.lines, verdict, &finding)),
                false => text(summary.lines, verdict, &finding, &bytes),
            };
            written(out.write_all(said.as_bytes()))?;
        }
        let said = if self.json { format!("{}\n", summary.value()) } else { summary.text(filter.name()) };
        written(out.write_all(said.as_bytes()).and_then(|()| out.flush()))?;
        Ok(if summary.lines == summary.misses { exit::NO } else { 0 })
    }

    fn open(&self) -> Result<BufReader<Box<dyn Read>>, Failure> {
        let reader: Box<dyn Read> = match self.file.as_path() {
            path if path == Path::new("-") => Box::new(std::io::stdin()),
            path => Box::new(std::fs::File::open(path).map_err(|error| self.unreadable(&error))?),
        };
        Ok(BufReader::new(reader))
    }

    fn unreadable(&self, error: &std::io::Error) -> Failure {
        let name = escape(&self.file.display().to_string());
        Failure::new(exit::USAGE, format!("cannot read {name}: {error}"))
    }

    /// The next line without its newline; what is longer than a source would hand out is skipped.
    fn next(&self, lines: &mut BufReader<Box<dyn Read>>, bytes: &mut Vec<u8>) -> Result<bool, Failure> {
        bytes.clear();
        let failed = |error| self.unreadable(&error);
        let count = lines.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', bytes).map_err(failed)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        } else if count == MAX_LINE_BYTES {
            lines.skip_until(b'\n').map_err(failed)?;
        }
        Ok(count > 0)
    }
}

/// A reader that went away (`| head`) ends the program quietly.
fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::new(0, ""),
        _ => Failure::new(exit::NO, format!("cannot write to standard output: {error}")),
    })
}

fn all_of<E: std::fmt::Display>(errors: impl Iterator<Item = E>) -> Failure {
    let lines: Vec<String> = errors.map(|error| error.to_string()).collect();
    Failure::new(exit::USAGE, lines.join("\npillory: "))
}

/// A built-in filter, or one from a file; what it includes lies beside it or is built in.
fn read_filter(name: &str) -> Result<FilterSpec, Failure> {
    if let Some(spec) = catalog::builtin(name) {
        return Ok(spec);
    }
    let path = Path::new(name);
    if let (true, false) = (name.ends_with(']'), path.exists()) {
        return Err(Failure::new(exit::USAGE, format!("{name}: options of a filter cannot be given yet")));
    }
    let bytes = std::fs::read(path).map_err(|error| {
        let known: Vec<&str> = catalog::names().collect();
        Failure::new(
            exit::USAGE,
            format!(
                "cannot read {}: {error}; name a file or a built-in filter: {}",
                escape(name),
                known.join(", ")
            ),
        )
    })?;
    let beside = |included: &str| {
        let file = path.parent().unwrap_or(Path::new(".")).join(included);
        std::fs::read(file).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let include = |included: &str| beside(included).or_else(|| catalog::include(included));
    let stem = path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    FilterSpec::parse(&stem, &String::from_utf8_lossy(&bytes), &include)
        .map_err(|errors| all_of(errors.iter()))
}

impl Summary {
    fn count(&mut self, verdict: &Verdict) -> &'static str {
        let (word, count) = match verdict {
            Verdict::Miss => ("miss", &mut self.misses),
            Verdict::Ignored => ("ignored", &mut self.ignored),
            Verdict::Event(event) => match event.outcome {
                LoginOutcome::Failure { .. } => ("failure", &mut self.failures),
                LoginOutcome::Success => ("success", &mut self.success),
            },
        };
        *count += 1;
        word
    }

    fn value(&self) -> Value {
        json!({"summary": {"lines": self.lines, "failures": self.failures, "nofail": 0,
            "success": self.success, "ignored": self.ignored, "misses": self.misses}})
    }

    fn text(&self, filter: &str) -> String {
        format!(
            "{} lines by filter {filter}: {} failures, {} good logins, {} ignored, {} misses\n",
            self.lines, self.failures, self.success, self.ignored, self.misses
        )
    }
}

fn value(number: u64, verdict: &str, finding: &Finding) -> Value {
    let captures: Map<String, Value> =
        finding.captures.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
    let event = match &finding.verdict {
        Verdict::Event(event) => Some(event),
        _ => None,
    };
    let (class, attempts) = match event.map(|event| event.outcome) {
        Some(LoginOutcome::Failure { class, attempts, .. }) => (Some(class.name()), attempts),
        _ => (None, 0),
    };
    json!({
        "line": number,
        "verdict": verdict,
        "prefix": event.map(|event| Prefix::host(event.addr).to_string()),
        "id": null,
        "user": event.and_then(|event| event.user.as_deref()),
        "class": class,
        "time": finding.stamp.map(|stamp| stamp.millis() as f64 / 1000.0),
        "attempts": attempts,
        "failregex": finding.failregex,
        "captures": captures,
    })
}

fn text(number: u64, verdict: &str, finding: &Finding, bytes: &[u8]) -> String {
    const SHOWN_CHARS: usize = 200;
    let shown: String = escape(&String::from_utf8_lossy(bytes)).chars().take(SHOWN_CHARS).collect();
    let which = match (finding.failregex, finding.successregex) {
        (Some(index), _) => format!(" failregex {index}"),
        (None, Some(index)) => format!(" successregex {index}"),
        (None, None) => String::new(),
    };
    let Verdict::Event(event) = &finding.verdict else {
        return format!("{number:>6} {verdict:<8} {shown}\n");
    };
    let user = event.user.as_deref().map_or_else(String::new, |user| format!(" user {}", escape(user)));
    let class = match event.outcome {
        LoginOutcome::Failure { class, attempts: 1, .. } => format!(" {}", class.name()),
        LoginOutcome::Failure { class, attempts, .. } => format!(" {} x{attempts}", class.name()),
        LoginOutcome::Success => String::new(),
    };
    let time = finding.stamp.map_or_else(|| " no time".to_owned(), |stamp| format!(" {stamp}"));
    format!("{number:>6} {verdict:<8} {shown}\n       = {}{user}{class}{time}{which}\n", event.addr)
}
