//! `pillory test-filter`: each line's verdict, for people who write filters.

mod filters;
mod told;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use pillory_core::config::fail2ban::UseDns;
use pillory_core::event::Line;
use pillory_core::filter::{Clock, catalog};
use pillory_core::time::Timestamp;

use crate::clock;
use crate::escape::{self, escape};
use crate::sources::{MAX_LINE_BYTES, past};

use super::configfile::Place;
use super::{Failure, Outcome, complain, count, exit, print, print_json};
use filters::{Judge, Wanted};
use told::{Told, Verdict};

/// `pillory test-filter`
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "pillory test-filter [OPTIONS] <FILTER> <FILE>\n       pillory test-filter [OPTIONS] --jail <J> <FILE>"
)]
pub(crate) struct TestFilter {
    /// A built-in filter's name, or the path of a filter file; with --fail2ban the name of a filter there. Options
    /// stand behind it: 'sshd[mode=aggressive]'. Left out with --jail.
    #[arg(value_name = "FILTER")]
    filter: String,
    /// Log lines; `-` is standard input; or a single line in quotes.
    #[arg(value_name = "FILE", required_unless_present = "jail")]
    file: Option<PathBuf>,
    /// Take the filter of this jail, as the configuration has it.
    #[arg(long, value_name = "J", conflicts_with_all = ["usedns", "journal"])]
    jail: Option<String>,
    /// The configuration that has the jail.
    #[arg(long, value_name = "FILE", requires = "jail", conflicts_with = "fail2ban")]
    config: Option<PathBuf>,
    /// Take the filter from this fail2ban directory, such as /etc/fail2ban, and judge as fail2ban does.
    #[arg(long, value_name = "DIR")]
    fail2ban: Option<PathBuf>,
    /// What time it is, in seconds since 1970; completes stamps without a year.
    #[arg(long, value_name = "EPOCH")]
    now: Option<f64>,
    /// Zone of stamps without one: an IANA name or a POSIX TZ string.
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    tz: Option<TimeZone>,
    /// What a filter of --fail2ban takes for an address: with `no` no names, with `raw` any text; names are not
    /// resolved here. Built-in filters take no names at all.
    #[arg(long, value_name = "yes|warn|no|raw", value_parser = parse_usedns)]
    usedns: Option<UseDns>,
    /// The lines are journal messages: no stamp of their own, their time is now.
    #[arg(long)]
    journal: bool,
    /// JSON instead of text: one object a line, then a summary.
    #[arg(long, short = 'j')]
    json: bool,
}

fn parse_usedns(text: &str) -> Result<UseDns, String> {
    match text {
        "yes" => Ok(UseDns::Yes),
        "warn" => Ok(UseDns::Warn),
        "no" => Ok(UseDns::No),
        "raw" => Ok(UseDns::Raw),
        _ => Err("use yes, warn, no or raw".to_owned()),
    }
}

fn parse_zone(text: &str) -> Result<TimeZone, String> {
    let posix = |_| TimeZone::posix(text);
    TimeZone::get(text).or_else(posix).map_err(|_| {
        format!(
            "{text:?} is no time zone; write for example Europe/Berlin, UTC or CET-1CEST,M3.5.0,M10.5.0/3"
        )
    })
}

impl TestFilter {
    pub(crate) fn run(mut self) -> Outcome {
        let mut judge = match self.jail.take() {
            Some(jail) => self.of_jail(&jail)?,
            None => self.named()?,
        };
        let millis = |epoch: f64| Timestamp::from_millis((epoch * 1000.0) as i64);
        let now = self.now.map_or_else(clock::now, millis);
        let clock = Clock { now, zone: self.tz.clone().unwrap_or_else(clock::zone) };
        let mut lines = self.open()?;
        let mut out = std::io::BufWriter::new(anstream::stdout().lock());
        let mut summary = Summary::new(&judge);
        let mut bytes = Vec::new();
        while self.next(&mut lines, &mut bytes)? {
            let told = judge.tell(&Line { bytes: &bytes, stamp: self.journal.then_some(now) }, &clock);
            summary.add(&told);
            let said = match self.json {
                true => format!("{}\n", escape::json(&told.value(summary.lines))),
                false => told.text(summary.lines, &bytes),
            };
            written(out.write_all(said.as_bytes()))?;
        }
        written(out.flush())?;
        drop(out);
        if self.json { print_json(&summary.value()) } else { print(&summary.text(&judge)) }?;
        Ok(if summary.lines == summary.count(Verdict::Miss) { exit::NO } else { 0 })
    }

    /// With a jail all that is named is the log.
    fn of_jail(&mut self, jail: &str) -> Result<Judge, Failure> {
        if self.file.is_some() {
            let said = "the filter is that of the jail: pillory test-filter --jail JAIL FILE";
            return Err(Failure::new(exit::USAGE, said));
        }
        self.file = Some(std::mem::take(&mut self.filter).into());
        let place = Place { file: self.config.take(), fail2ban: self.fail2ban.take() };
        Judge::of_jail(jail, &place)
    }

    fn named(&mut self) -> Result<Judge, Failure> {
        self.sort();
        Judge::open(&Wanted {
            filter: &self.filter,
            fail2ban: self.fail2ban.as_deref(),
            usedns: self.usedns,
            journal: self.journal,
        })
    }

    fn file(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new("-"))
    }

    /// fail2ban-regex takes the log first: if that is what stands here, the two change places.
    fn sort(&mut self) {
        let (first, second) = (PathBuf::from(&self.filter), self.file().to_string_lossy().into_owned());
        let is_log = first.is_file() || is_line(&first);
        if self.is_filter(&self.filter) || !is_log || !self.is_filter(&second) {
            return;
        }
        (self.filter, self.file) = (second, Some(first));
        complain("the filter comes first here: pillory test-filter FILTER FILE");
    }

    /// True for the file of a filter and for a name under which one is known.
    fn is_filter(&self, text: &str) -> bool {
        let name = text.split('[').next().unwrap_or_default();
        let is_theirs = |directory: &PathBuf| directory.join(format!("filter.d/{name}.conf")).is_file();
        match Path::new(text).is_file() {
            true => text.ends_with(".conf"),
            false => catalog::text(name).is_some() || self.fail2ban.as_ref().is_some_and(is_theirs),
        }
    }

    fn open(&self) -> Result<BufReader<Box<dyn Read>>, Failure> {
        let reader: Box<dyn Read> = match self.file() {
            path if path == Path::new("-") => Box::new(std::io::stdin()),
            line if is_line(line) => Box::new(std::io::Cursor::new(line.as_os_str().as_bytes().to_vec())),
            path => Box::new(past::open_finite(path).map_err(|error| self.unreadable(&error))?),
        };
        Ok(BufReader::new(reader))
    }

    fn unreadable(&self, error: &std::io::Error) -> Failure {
        let name = escape(&self.file().display().to_string());
        Failure::unread(name, error)
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

/// True for a line in the place of a file, as fail2ban-regex takes one, too: no file's name, and of several words.
fn is_line(path: &Path) -> bool {
    !path.is_absolute() && path.as_os_str().as_bytes().contains(&b' ') && !path.exists()
}

/// A reader that went away (`| head`) ends the program quietly.
fn written(result: std::io::Result<()>) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::new(0, ""),
        _ => Failure::new(exit::NO, format!("cannot write to standard output: {error}")),
    })
}

/// What all lines came to.
#[derive(Debug, Default)]
struct Summary {
    lines: u64,
    verdicts: [u64; Verdict::ALL.len()],
    failregex: Vec<u64>,
    ignoreregex: Vec<u64>,
    /// How many lines each date template found a date in, by its name; the empty name is any of the usual stamps.
    dates: Vec<(String, u64)>,
    undated: u64,
}

impl Summary {
    fn new(judge: &Judge) -> Summary {
        Summary {
            failregex: vec![0; judge.failregex().len()],
            ignoreregex: vec![0; judge.ignoreregex().len()],
            ..Summary::default()
        }
    }

    fn add(&mut self, told: &Told) {
        self.lines += 1;
        self.verdicts[told.verdict as usize] += 1;
        let hit = |list: &mut Vec<u64>, index: Option<usize>| {
            if let Some(count) = index.and_then(|index| list.get_mut(index)) {
                *count += 1;
            }
        };
        hit(&mut self.failregex, told.failregex);
        hit(&mut self.ignoreregex, told.ignoreregex);
        let Some(date) = &told.date else {
            self.undated += 1;
            return;
        };
        match self.dates.iter_mut().find(|(name, _)| *name == date.template) {
            Some((_, count)) => *count += 1,
            None => self.dates.push((date.template.clone(), 1)),
        }
    }

    fn count(&self, verdict: Verdict) -> u64 {
        self.verdicts[verdict as usize]
    }

    fn value(&self) -> Value {
        let [failures, nofail, success, ignored, misses] = self.verdicts;
        json!({"summary": {"lines": self.lines, "failures": failures, "nofail": nofail,
            "success": success, "ignored": ignored, "misses": misses,
            "failregex": self.failregex, "ignoreregex": self.ignoreregex}})
    }

    fn text(&self, judge: &Judge) -> String {
        let [failures, nofail, success, ignored, misses] = self.verdicts;
        let mut text = String::from("\n");
        hits(&mut text, "failregex", judge.failregex(), &self.failregex);
        let idle = self.failregex.iter().filter(|count| **count == 0).count();
        if idle > 0 {
            text += &format!("         {idle} of {} failregex matched nothing\n", self.failregex.len());
        }
        hits(&mut text, "ignoreregex", judge.ignoreregex(), &self.ignoreregex);
        for (template, count) in &self.dates {
            let template = if template.is_empty() { "one of the usual stamps" } else { template };
            text += &format!("{count:>8} x date by {}\n", shorten(template));
        }
        if self.undated > 0 {
            text += &format!("{:>8} x no date\n", self.undated);
        }
        text += &format!(
            "{} by filter {}: {}, {nofail} that wait or are none by themselves, {}, {ignored} ignored, {}\n",
            count(self.lines, "line"),
            escape(judge.name()),
            count(failures, "failure"),
            count(success, "good login"),
            if misses == 1 { "1 miss".to_owned() } else { format!("{misses} misses") }
        );
        text
    }
}

/// The expressions that matched, each with how often.
fn hits(text: &mut String, key: &str, expressions: &[String], counts: &[u64]) {
    for (index, (expression, count)) in expressions.iter().zip(counts).enumerate() {
        if *count > 0 {
            *text += &format!("{count:>8} x {key} {index}: {}\n", escape(expression));
        }
    }
}

/// Text for a terminal: hostile characters escaped, not too long.
fn shorten(text: &str) -> String {
    const SHOWN_CHARS: usize = 200;
    super::screen::cut(&escape(text), SHOWN_CHARS)
}
