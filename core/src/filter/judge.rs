//! A built-in filter, compiled: one line in, one [`Verdict`] out.
//!
//! The order of work: cut the date out, unfold rsyslog's `message repeated`, apply `prefregex`, find the first
//! expression that matches, parse the address by code, look whether an `ignoreregex` matches too.

use std::net::IpAddr;
use std::ops::Range;

use super::addr;
use super::dated::Dates;
use super::datepattern::{self, Calendar, Found};
use super::dates::DatePatternError;
use super::header::{self, Header, Headers};
use super::needles::needle;
use super::program::{Captured, Program};
use super::regex::RegexError;
use super::{Clock, ConnectionKey, FilterSpec, Verdict};
use crate::event::{Class, Connection, Event, Line, MAX_USER_BYTES, Outcome, UserName};
use crate::time::Timestamp;

/// Why a filter cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// An expression that cannot be used.
    #[error("filter \"{filter}\": {key} {index}, \"{expression}\": {cause}")]
    Pattern {
        /// The filter.
        filter: String,
        /// `failregex`, `ignoreregex` ..
        key: &'static str,
        /// Which one of that key, from 0.
        index: usize,
        /// Its text, cut if it is long.
        expression: String,
        /// What is wrong with it.
        #[source]
        cause: RegexError,
    },
    /// An expression that captures no address.
    #[error("filter \"{filter}\": {key} {index} captures no address; write <HOST> where it stands")]
    NoHost {
        /// The filter.
        filter: String,
        /// `failregex` or `successregex`.
        key: &'static str,
        /// Which one of that key, from 0.
        index: usize,
    },
    /// A date pattern that cannot be used.
    #[error("filter \"{filter}\": datepattern: {cause}")]
    DatePattern {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        cause: DatePatternError,
    },
}

impl FilterError {
    /// The key that is to blame: `failregex`, `datepattern` ..
    pub fn key(&self) -> &'static str {
        match self {
            FilterError::Pattern { key, .. } | FilterError::NoHost { key, .. } => key,
            FilterError::DatePattern { .. } => "datepattern",
        }
    }
}

/// A built-in filter that is ready to judge lines.
#[derive(Debug)]
pub struct BuiltIn {
    prefix: Option<Program>,
    /// The failregexes, then the successregexes.
    rules: Program,
    ignore: Option<Program>,
    /// Class of each failregex.
    classes: Vec<Class>,
    connection: ConnectionKey,
    /// The filter's own date patterns; nothing if the usual stamps are to be found.
    dates: Option<Box<Dates>>,
    calendar: Calendar,
    /// A line whose date has been cut out of its middle.
    cut: Vec<u8>,
    /// A message that was unfolded from `message repeated`.
    unfolded: Vec<u8>,
    /// The host that wrote the last line, and its hash: nearly always it is the same.
    host: (Vec<u8>, u64),
    headers: Headers,
}

/// A verdict with what led to it, for people who write filters.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// The expression that matched: its index among the failregexes.
    pub failregex: Option<usize>,
    /// The expression that matched: its index among the successregexes.
    pub successregex: Option<usize>,
    /// The named groups of the match, in the order of the expression.
    pub captures: Vec<(String, String)>,
    /// The bytes of the line that were taken for its date.
    pub date: Option<Range<usize>>,
    /// The point in time that the line gives itself.
    pub stamp: Option<Timestamp>,
}

/// A match before it is judged.
struct Match {
    rule: usize,
    /// From the rules.
    captured: Captured,
    /// The address, from the rules or from the prefregex; nothing if what stands there is none.
    addr: Option<IpAddr>,
    /// The user, from the rules or from the prefregex.
    user: Option<UserName>,
}

impl BuiltIn {
    /// Compiles a filter.
    /// # Errors
    /// Every expression that cannot be used.
    pub fn compile(spec: &FilterSpec) -> Result<BuiltIn, Vec<FilterError>> {
        let mut problems = Vec::new();
        let filter = || spec.name.clone();
        let dates = match spec.datepattern.as_deref().map(Dates::compile).transpose() {
            Ok(dates) => dates.map(Box::new),
            Err(cause) => {
                problems.push(FilterError::DatePattern { filter: filter(), cause });
                None
            }
        };
        let mut program = |expressions: Vec<&str>, key_of: &dyn Fn(usize) -> (&'static str, usize)| {
            Program::compile(&expressions)
                .map_err(|found| {
                    problems.extend(found.into_iter().map(|(at, cause)| {
                        let (key, index) = key_of(at);
                        let expression = shortened(expressions.get(at).copied().unwrap_or_default());
                        FilterError::Pattern { filter: filter(), key, index, expression, cause }
                    }));
                })
                .ok()
        };
        let failures = spec.failregex.len();
        let key_of = |index: usize| match index.checked_sub(failures) {
            None => ("failregex", index),
            Some(index) => ("successregex", index),
        };
        let all: Vec<&str> = spec.failregex.iter().chain(&spec.successregex).map(String::as_str).collect();
        let rules = program(all.clone(), &key_of);
        let prefix = spec.prefregex.as_deref().map(|text| program(vec![text], &|_| ("prefregex", 0)));
        let ignore = match spec.ignoreregex.as_slice() {
            [] => None,
            list => Some(program(list.iter().map(String::as_str).collect(), &|index| ("ignoreregex", index))),
        };
        let found_before =
            prefix.as_ref().is_some_and(|prefix| prefix.as_ref().is_none_or(has_address_everywhere));
        let blind = match &rules {
            _ if found_before => Vec::new(),
            Some(rules) => rules.without_address().collect(),
            None => blind(&all),
        };
        problems.extend(blind.into_iter().map(|index| {
            let (key, index) = key_of(index);
            FilterError::NoHost { filter: filter(), key, index }
        }));
        let (true, Some(rules), Some(prefix), Some(ignore)) =
            (problems.is_empty(), rules, transpose(prefix), transpose(ignore))
        else {
            return Err(problems);
        };
        let mut classes = vec![Class::KnownUser; failures];
        for (index, class) in &spec.failclass {
            if let Some(slot) = classes.get_mut(*index) {
                *slot = *class;
            }
        }
        Ok(BuiltIn {
            prefix,
            rules,
            ignore,
            classes,
            connection: spec.connection,
            dates,
            calendar: Calendar::default(),
            cut: Vec::new(),
            unfolded: Vec::new(),
            host: Default::default(),
            headers: Headers::default(),
        })
    }

    /// How often an expression took too many steps to tell whether it matches, since the last call.
    pub fn take_limits(&mut self) -> u64 {
        let others = self.prefix.iter_mut().chain(&mut self.ignore).map(Program::take_limits).sum::<u64>();
        others + self.rules.take_limits()
    }

    /// Judges one line. Allocates nothing for lines that do not match.
    pub fn judge(&mut self, line: &Line<'_>, clock: &Clock) -> Verdict {
        let usual = self.usual_date(line);
        self.run(line, usual.as_ref(), clock, None)
    }

    /// Judges one line whose usual stamp was looked for before with [`BuiltIn::find_date`], for all its filters at once.
    pub fn judge_dated(&mut self, line: &Line<'_>, usual: Option<&Found>, clock: &Clock) -> Verdict {
        self.run(line, usual, clock, None)
    }

    /// The date of a line in one of the usual forms. A source that records the time itself hands out messages
    /// without a date.
    pub fn find_date(line: &Line<'_>) -> Option<Found> {
        match line.stamp {
            Some(_) => None,
            None => datepattern::find(trim_line_end(line.bytes)),
        }
    }

    /// Words of which one stands in every line that is no miss; nothing if there are none.
    pub(super) fn needles(&self) -> Option<Vec<String>> {
        if self.dates.is_some() {
            // They may cut out anything.
            return None;
        }
        let all = |program: &Program| program.trees().map(needle).collect::<Option<Vec<String>>>();
        all(&self.rules).or_else(|| all(self.prefix.as_ref()?))
    }

    /// True if no line matches whose text begins so, the usual date cut out.
    pub(super) fn dies_behind(&mut self, head: &[u8]) -> bool {
        // Its own date patterns may cut out what `head` holds.
        self.dates.is_none() && self.prefix.as_mut().unwrap_or(&mut self.rules).dies_behind(head)
    }

    /// Leaves only the way that needs no beginnings.
    #[cfg(test)]
    fn forget_beginnings(&mut self) {
        let all = self.prefix.iter_mut().chain(&mut self.ignore).chain([&mut self.rules]);
        for program in all {
            program.forget_beginnings(true);
        }
    }

    fn usual_date(&self, line: &Line<'_>) -> Option<Found> {
        if self.dates.is_none() { BuiltIn::find_date(line) } else { None }
    }

    /// Judges one line and tells what led to the verdict.
    pub fn examine(&mut self, line: &Line<'_>, clock: &Clock) -> Finding {
        let mut finding = Finding {
            verdict: Verdict::Miss,
            failregex: None,
            successregex: None,
            captures: Vec::new(),
            date: None,
            stamp: line.stamp,
        };
        let usual = self.usual_date(line);
        finding.verdict = self.run(line, usual.as_ref(), clock, Some(&mut finding));
        finding
    }

    fn run(
        &mut self,
        line: &Line<'_>,
        usual: Option<&Found>,
        clock: &Clock,
        mut trace: Option<&mut Finding>,
    ) -> Verdict {
        let bytes = trim_line_end(line.bytes);
        let own = match &mut self.dates {
            Some(dates) if line.stamp.is_none() => dates.find(bytes, clock),
            _ => None,
        };
        let found = if self.dates.is_some() { own.as_ref() } else { usual };
        if let Some(trace) = trace.as_deref_mut() {
            trace.date = found.map(|found| found.range.clone());
            trace.stamp = line.stamp.or_else(|| self.calendar.resolve(found?.date, clock));
        }
        let mut cut = std::mem::take(&mut self.cut);
        let text = without_date(bytes, found.map(|found| found.range.clone()), &mut cut);
        let mut unfolded = std::mem::take(&mut self.unfolded);
        let times = unfold(text, &mut self.headers, &mut unfolded);
        let text = if times.is_some() { &unfolded } else { text };
        let stamp = |calendar: &mut Calendar| line.stamp.or_else(|| calendar.resolve(found?.date, clock));
        let verdict = self.judge_text(text, times.unwrap_or(1), stamp, trace);
        self.cut = cut;
        self.unfolded = unfolded;
        verdict
    }

    fn judge_text(
        &mut self,
        text: &[u8],
        times: u32,
        stamp: impl FnOnce(&mut Calendar) -> Option<Timestamp>,
        trace: Option<&mut Finding>,
    ) -> Verdict {
        let Some((found, content)) = self.first_match(text) else { return Verdict::Miss };
        if let Some(trace) = trace {
            self.explain(&found, content, trace);
        }
        let Some(addr) = found.addr else { return Verdict::Miss };
        let is_failure = found.rule < self.classes.len();
        if is_failure && self.ignore.as_mut().is_some_and(|ignore| ignore.is_match(content)) {
            return Verdict::Ignored;
        }
        let captured = &found.captured;
        let shown = |place: &Option<Range<usize>>| content.get(place.clone()?);
        let outcome = match self.classes.get(found.rule) {
            None => Outcome::Success,
            Some(class) => Outcome::Failure {
                class: if *class == Class::KnownUser && found.user.as_deref() == Some("root") {
                    Class::Root
                } else {
                    *class
                },
                kind: u16::try_from(found.rule).unwrap_or(u16::MAX),
                attempts: shown(&captured.attempts)
                    .and_then(header::number)
                    .unwrap_or(1)
                    .max(1)
                    .saturating_mul(times),
            },
        };
        let port = shown(&captured.port).and_then(header::number).and_then(|port| u16::try_from(port).ok());
        let pid = shown(&captured.pid).and_then(header::number);
        Verdict::Event(Event {
            stamp: stamp(&mut self.calendar),
            addr,
            user: found.user,
            outcome,
            connection: self.connection(text, pid, port, outcome),
            forwarded: shown(&captured.forwarded).map(addr::forwarded).unwrap_or_default(),
        })
    }

    /// The first expression that matches, and the text that it matched.
    fn first_match<'t>(&mut self, text: &'t [u8]) -> Option<(Match, &'t [u8])> {
        let mut content = text;
        let mut outer = None;
        if let Some(prefix) = &mut self.prefix {
            let index = prefix.search(text)?;
            let captured = prefix.captured(index);
            if prefix.has_content() {
                content = text.get(captured.content.clone()?)?;
            }
            outer = Some(captured);
        }
        let rule = self.rules.search(content)?;
        let captured = self.rules.captured(rule);
        let place = |captured: &Captured, text: &[u8]| {
            captured.addr.as_ref().map(|place| addr::address(text, place, captured.whole.end))
        };
        let addr = place(&captured, content).or_else(|| place(outer.as_ref()?, text)).flatten();
        let user =
            |captured: &Captured, text: &[u8]| captured.user.as_ref().and_then(|place| user(text, place));
        let user = user(&captured, content).or_else(|| user(outer.as_ref()?, text));
        Some((Match { rule, captured, addr, user }, content))
    }

    fn explain(&self, found: &Match, content: &[u8], trace: &mut Finding) {
        match found.rule.checked_sub(self.classes.len()) {
            None => trace.failregex = Some(found.rule),
            Some(index) => trace.successregex = Some(index),
        }
        trace.captures = self
            .rules
            .named(found.rule)
            .filter_map(|(name, place)| Some((name.to_owned(), lossy(content.get(place)?))))
            .collect();
    }

    fn connection(
        &mut self,
        text: &[u8],
        pid: Option<u32>,
        port: Option<u16>,
        outcome: Outcome,
    ) -> Option<Connection> {
        let header = self.headers.parse(text);
        let (pid, port) = match self.connection {
            ConnectionKey::Port => (None, port),
            ConnectionKey::Process => (pid.or(header.and_then(|header| header.pid)), port),
            ConnectionKey::Source => (None, None),
        };
        let tied = match self.connection {
            ConnectionKey::Source => outcome != Outcome::Success,
            _ => pid.is_some() || port.is_some(),
        };
        if !tied {
            return None;
        }
        let header = header.filter(|_| self.connection != ConnectionKey::Source);
        let host = header.map_or(0, |header| self.host_hash(header));
        Some(Connection { host, pid, port })
    }

    /// The number of the header's host: nearly always that of the line before.
    fn host_hash(&mut self, header: Header<'_>) -> u64 {
        let (last, hash) = &mut self.host;
        let host = header.host.unwrap_or_default();
        if last != host || last.is_empty() {
            *hash = header.host_hash();
            last.clear();
            last.extend_from_slice(host);
        }
        *hash
    }
}

/// The beginning of an expression, for messages.
pub(super) fn shortened(expression: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = expression.chars().take(SHOWN).collect();
    if shown.len() < expression.len() {
        shown.push_str("..");
    }
    shown
}

/// `None` stays `None`; a program that failed to compile makes the whole fail.
fn transpose(program: Option<Option<Program>>) -> Option<Option<Program>> {
    match program {
        None => Some(None),
        Some(Some(program)) => Some(Some(program)),
        Some(None) => None,
    }
}

pub(super) fn trim_line_end(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|b| !matches!(b, b'\n' | b'\r')).map_or(0, |last| last + 1);
    &bytes[..end]
}

/// What stands before the date plus what stands after it.
pub(super) fn without_date<'a>(
    bytes: &'a [u8],
    date: Option<Range<usize>>,
    cut: &'a mut Vec<u8>,
) -> &'a [u8] {
    let Some(range) = date else { return bytes };
    if range.start == 0 {
        return &bytes[range.end..];
    }
    cut.clear();
    cut.extend_from_slice(&bytes[..range.start]);
    cut.extend_from_slice(&bytes[range.end..]);
    cut
}

/// Writes the line that `message repeated N times: [ .. ]` stands for, and returns N.
pub(super) fn unfold(text: &[u8], headers: &mut Headers, unfolded: &mut Vec<u8>) -> Option<u32> {
    if text.last() != Some(&b']') {
        return None;
    }
    let header = headers.parse(text)?;
    let (times, inner) = header::repeated(text.get(header.message..)?)?;
    unfolded.clear();
    unfolded.extend_from_slice(&text[..header.message]);
    unfolded.extend_from_slice(inner);
    Some(times)
}

/// The user as text; nothing if it is empty.
pub(super) fn user(text: &[u8], place: &Range<usize>) -> Option<UserName> {
    let shown = text.get(place.clone()).filter(|shown| !shown.is_empty())?;
    let name = String::from_utf8_lossy(&shown[..shown.len().min(MAX_USER_BYTES)]);
    // Replacement characters are longer than the bytes they stand for.
    let end = (0..=MAX_USER_BYTES.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    Some(UserName::from(&name[..end]))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn has_address_everywhere(program: &Program) -> bool {
    program.without_address().next().is_none()
}

/// Which of these expressions, of which not all can be used, can be used and have no group for the address.
fn blind(expressions: &[&str]) -> Vec<usize> {
    let is_blind = |text: &str| Program::compile(&[text]).is_ok_and(|alone| !has_address_everywhere(&alone));
    expressions.iter().enumerate().filter(|(_, text)| is_blind(text)).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests;
