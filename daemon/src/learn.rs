//! What a first start learns from the time before it: who logged in within the last 30 days, and from where.
//!
//! It reads what the jails' services wrote, rotated and packed parts too: the journal first, then the logs, of each the
//! newest file first; wtmp was read before anything was judged. It begins when the daemon is ready, so it delays
//! nothing, on a thread of its own at the lowest priority, and sends what it finds to the engine as it finds it.
//!
//! Only logins before a moment that the store keeps are learnt, so whoever begins anew after a crash learns the same; the
//! store keeps each of them once. Failures teach nothing; those of the last week are counted, to compare with what comes.

mod before;
mod found;
mod plan;

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tracing::debug;

use pillory_core::event::{Event, JailName, Line, Outcome};
use pillory_core::filter::{Clock, Filter, FilterSpec, Verdict};
use pillory_core::jail::trust;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::discover::ActiveJail;
use crate::engine::Input;
use crate::sources::offline::{Alternatives, Entries};
use crate::sources::{FeedId, past};
use crate::wake::Wake;

use before::{Before, WEEK};
use found::{Found, Told};
use plan::{Kind, Part};

/// How much is read at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Of a log, all its parts together and unpacked.
    bytes: u64,
    /// Entries of the journal.
    entries: u64,
    /// In so much time.
    time: Duration,
}

/// Measured with a release build: 0.41 s of CPU for five parts of an auth.log, 125 MB unpacked, with 20,000 logins, and
/// 0.6 s for a journal of a million entries; so at most some 15 s for what one jail reads.
pub(crate) const BOUNDS: Bounds =
    Bounds { bytes: 1024 * 1024 * 1024, entries: 16_000_000, time: Duration::from_secs(600) };

/// So many logins go to the engine together.
const TOGETHER: usize = 500;

/// Whether to stop is asked once in so many entries of the journal.
const ASKED_EVERY: u64 = 4_096;

/// What is sent to the engine.
#[derive(Debug)]
pub(crate) enum Learnt {
    /// Good logins, each with the jail that would have seen it.
    Logins(Vec<(JailName, Event)>),
    /// That was all.
    Done(Report),
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// From where logins are known, in words: `wtmp`, `journal`, `5 rotated logs`.
    pub(crate) from: Vec<String>,
    /// What was not read, and why.
    pub(crate) left_out: Vec<String>,
    /// How many attempts failed in the week before, and from when on; nothing if no record is of that week.
    pub(crate) failed: Option<(u64, Timestamp)>,
    /// The jails whose attempts these are.
    pub(crate) of: Vec<JailName>,
}

/// What a first start is to read.
#[derive(Debug)]
pub(crate) struct Learner {
    /// The jails that run.
    pub(crate) jails: Vec<ActiveJail>,
    /// Good logins that wtmp told of.
    pub(crate) wtmp: Vec<Event>,
    /// Only what happened before is learnt.
    pub(crate) before: Timestamp,
    /// How much of it.
    pub(crate) bounds: Bounds,
}

/// A jail whose filter knows good logins.
struct Jail {
    name: JailName,
    is_sshd: bool,
    matches: Vec<Vec<(String, String)>>,
    spec: FilterSpec,
    /// Made when the first line comes.
    filters: Option<Option<Filters>>,
}

struct Filters {
    /// Knows nothing but good logins, so it is done with most lines soon.
    quick: Filter,
    /// The jail's own: what it takes for something else is no login.
    whole: Filter,
}

impl Jail {
    fn new(jail: &ActiveJail) -> Option<Jail> {
        let spec = &jail.config.filter;
        // Jails that count lines as fail2ban does know of no logins.
        let counts_lines = jail.config.lines.as_ref().is_some_and(|lines| !lines.rules.by_attempts);
        if spec.successregex.is_empty() || spec.own || counts_lines {
            return None;
        }
        Some(Jail {
            name: jail.config.name.clone(),
            is_sshd: spec.name == "sshd",
            matches: spec.journalmatch.clone(),
            spec: spec.clone(),
            filters: None,
        })
    }

    /// The good login that a line shows; with `failures` also a failed one.
    fn event(
        &mut self,
        line: &Line<'_>,
        date: Option<&Date>,
        clock: &Clock,
        failures: bool,
    ) -> Option<Event> {
        let filters = self.filters()?;
        let is_one = failures || matches!(filters.quick.judge_dated(line, date, clock), Verdict::Event(_));
        let verdict = is_one.then(|| filters.whole.judge_dated(line, date, clock))?;
        let Verdict::Event(event) = verdict else { return None };
        (failures || event.outcome == Outcome::Success).then_some(event)
    }

    /// When this line was written, if it says so.
    fn stamp(&mut self, line: &Line<'_>, clock: &Clock) -> Option<Timestamp> {
        self.filters()?.whole.examine(line, clock).stamp
    }

    fn filters(&mut self) -> Option<&mut Filters> {
        self.filters.get_or_insert_with(|| Filters::of(&self.spec)).as_mut()
    }
}

impl Filters {
    /// Nothing if they cannot be used, but the engine uses the second.
    fn of(spec: &FilterSpec) -> Option<Filters> {
        let logins = FilterSpec { failregex: Vec::new(), failclass: Vec::new(), ..spec.clone() };
        Some(Filters { quick: Filter::compile(&logins).ok()?, whole: Filter::compile(spec).ok()? })
    }
}

type Date = pillory_core::filter::datepattern::Found;

/// Reading under way.
struct Reading<'r> {
    jails: Vec<Jail>,
    found: Found,
    week: Before,
    since: Timestamp,
    before: Timestamp,
    inputs: &'r Sender<Input>,
    wake: &'r Wake,
    begun: clock::Stopwatch,
    waiting: Vec<(JailName, Event)>,
    /// Bytes that may still be read of each log.
    bytes: Vec<u64>,
    entries: u64,
    bounds: Bounds,
    report: Report,
}

impl Learner {
    /// Reads everything once `go` says so; ends without a word if the engine ends first.
    pub(crate) fn run(self, go: &Receiver<()>, inputs: &Sender<Input>, wake: &Wake) {
        if go.recv().is_err() {
            return;
        }
        // Of this thread only. If it cannot be, the bounds still hold.
        let _ = rustix::process::setpriority_process(None, 19)
            .inspect_err(|error| debug!(%error, "learning at the usual priority"));
        let since = self.before - trust::MEMORY;
        let active: Vec<(Jail, &ActiveJail)> =
            self.jails.iter().filter_map(|jail| Some((Jail::new(jail)?, jail))).collect();
        let (jails, active): (Vec<Jail>, Vec<&ActiveJail>) = active.into_iter().unzip();
        let plan = plan::plan(&active, since);
        let of = jails.iter().map(|jail| jail.name.clone()).collect();
        let mut reading = Reading {
            found: Found::new(jails.len()),
            week: Before::new(self.before),
            jails,
            since,
            before: self.before,
            inputs,
            wake,
            begun: clock::Stopwatch::start(),
            waiting: Vec::new(),
            bytes: vec![self.bounds.bytes; plan.logs],
            entries: self.bounds.entries,
            bounds: self.bounds,
            // It stays, so it is made before the filters: behind them it would keep their memory from the system.
            report: Report { from: plan.in_words(!self.wtmp.is_empty()), of, ..Report::default() },
        };
        if reading.read_all(&plan.parts, self.wtmp).is_continue() {
            reading.report.failed = reading.week.total();
            let _ = inputs.send(Input::Learnt(Learnt::Done(reading.report)));
        }
    }
}

impl Reading<'_> {
    /// Breaks off if the daemon ends.
    fn read_all(&mut self, parts: &[Part], wtmp: Vec<Event>) -> ControlFlow<()> {
        for part in parts {
            let begun = clock::Stopwatch::start();
            let read = match part.kind {
                Kind::Journal => self.journal(&part.path, &part.jails).map_err(|error| error.to_string()),
                Kind::Log { number } => self.log(part, number),
            };
            debug!(path = %part.path.display(), took_ms = begun.elapsed().as_millis(), "learnt from");
            if let Err(error) = read {
                self.report.left_out.push(format!("{}: {error}", part.path.display()));
            }
            self.send()?;
            if self.begun.elapsed() >= self.bounds.time {
                self.report.left_out.push(format!("the rest: it took {} s", self.bounds.time.as_secs()));
                break;
            }
        }
        self.wtmp(wtmp);
        self.send()
    }

    /// Breaks off if the daemon ends or it is enough.
    fn goes_on(&self) -> bool {
        !self.wake.is_raised() && self.begun.elapsed() < self.bounds.time
    }

    fn send(&mut self) -> ControlFlow<()> {
        let logins = std::mem::take(&mut self.waiting);
        let is_gone = !logins.is_empty() && self.inputs.send(Input::Learnt(Learnt::Logins(logins))).is_err();
        if is_gone || self.wake.is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn take(&mut self, jail: usize, login: Event, told: Told) {
        if login.outcome != Outcome::Success {
            return self.week.count(jail, &login, told);
        }
        // Most stamps are whole seconds: that of a login right after the start, which is seen live, is before it.
        let before = Timestamp::from_secs(self.before.secs());
        let is_wanted = login.stamp.is_some_and(|at| (self.since..before).contains(&at));
        let name = self.jails.get(jail).map(|jail| jail.name.clone());
        if let Some(name) = name.filter(|_| is_wanted && self.found.is_new(jail, &login, told)) {
            self.waiting.push((name, login));
            if self.waiting.len() >= TOGETHER {
                // Whether to go on is asked at the next piece.
                let _ = self.send();
            }
        }
    }

    fn log(&mut self, part: &Part, number: usize) -> Result<(), String> {
        let left = self.bytes.get(number).copied().unwrap_or_default();
        let most = self.bounds.bytes;
        let too_much = || format!("what is beyond the last {most} bytes of its log");
        if left == 0 {
            return Err(too_much());
        }
        let failures = self.week.begin(part.changed);
        let opened = past::open_last(&part.path, left)?;
        if opened.format != past::Format::Text {
            return Err("it holds no lines".to_owned());
        }
        let clock = Clock { now: opened.clock(), zone: clock::zone() };
        let is_cut = opened.is_cut;
        let mut pieces = opened.into_pieces();
        let mut is_undated = failures;
        while self.goes_on() && pieces.plain_bytes() <= left {
            let Some(lines) = pieces.lines() else { break };
            let mut start = 0;
            let ends = memchr::memchr_iter(b'\n', lines).chain([lines.len()]);
            for end in ends {
                let line = Line { bytes: lines.get(start..end).unwrap_or_default(), stamp: None };
                start = end + 1;
                let date = Filter::find_date(&line);
                for &jail in &part.jails {
                    let Some(reader) = self.jails.get_mut(jail) else { continue };
                    let first = if is_undated { reader.stamp(&line, &clock) } else { None };
                    let event = reader.event(&line, date.as_ref(), &clock, failures);
                    is_undated &= first.is_none();
                    first.into_iter().for_each(|first| self.week.reaches(first));
                    event.into_iter().for_each(|event| self.take(jail, event, Told::Log));
                }
            }
        }
        let read = pieces.plain_bytes();
        if let Some(of_log) = self.bytes.get_mut(number) {
            *of_log = left.saturating_sub(read);
        }
        match pieces.trouble() {
            Some(error) => Err(format!("it cannot be read to its end: {error}")),
            None if is_cut || read > left => Err(too_much()),
            None => Ok(()),
        }
    }

    fn journal(&mut self, path: &Path, jails: &[usize]) -> io::Result<()> {
        let matches: Vec<Vec<Vec<(String, String)>>> =
            jails.iter().filter_map(|jail| Some(self.jails.get(*jail)?.matches.clone())).collect();
        let feeds = jails.iter().map(|jail| FeedId::try_from(*jail).unwrap_or(FeedId::MAX));
        let wanted: Vec<(FeedId, &Alternatives)> = feeds.zip(matches.iter().map(Vec::as_slice)).collect();
        let mut entries = Entries::open(path, &wanted)?;
        let clock = Clock { now: self.before, zone: clock::zone() };
        self.week.begin(self.before);
        entries.since(self.since, &mut |entry| {
            self.week.reaches(entry.stamp);
            let failures = entry.stamp >= self.before - WEEK;
            for feed in entry.feeds {
                let (jail, line) = (usize::from(feed), Line { bytes: entry.line, stamp: Some(entry.stamp) });
                let reader = self.jails.get_mut(jail);
                let event = reader.and_then(|jail| jail.event(&line, None, &clock, failures));
                event.into_iter().for_each(|event| self.take(jail, event, Told::Journal));
            }
            self.entries = self.entries.saturating_sub(1);
            let is_enough =
                self.entries == 0 || (self.entries.is_multiple_of(ASKED_EVERY) && !self.goes_on());
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match self.entries {
            0 => Err(io::Error::other(format!("what is beyond the last {} entries", self.bounds.entries))),
            _ => Ok(()),
        }
    }

    /// What wtmp alone tells of, as logins of sshd, which writes nearly all of it.
    fn wtmp(&mut self, logins: Vec<Event>) {
        let Some(sshd) = self.jails.iter().position(|jail| jail.is_sshd) else { return };
        for login in logins {
            self.take(sshd, login, Told::Wtmp);
        }
    }
}

#[cfg(test)]
mod tests;
