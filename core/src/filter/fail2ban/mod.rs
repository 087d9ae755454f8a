//! A line judged as fail2ban judges it: lines are counted, not attempts, and what one connection has said before
//! (`<F-MLFID>`) or the lines before this one (`maxlines`) may decide.
//!
//! The built-in filters count attempts and are judged by [`super::judge`]; the language is the same. Here the order
//! of things is fail2ban's: the date is cut out, `prefregex` may replace what is searched, the first failregex that
//! matches wins, then `ignoreregex`, then the connection. Source: the behaviour of fail2ban 1.0.2, held by the
//! tests that run its own samples.

mod buffer;
mod compile;
mod connections;
mod encoding;
mod groups;
mod openings;
mod stamp;
mod subject;

use std::sync::Arc;

use smol_str::SmolStr;

use super::Clock;
use super::dates::{DateMatch, UtcOffset};
use super::program::Program;
use super::regex::HostNames;
use crate::event::Line;
use crate::time::{Span, Timestamp};

use buffer::{Buffer, Piece};
use connections::Connections;
use groups::{CIDR, CONTENT, DNS, FID, Groups, IP4, IP6, MLFID, NOFAIL, Name, Names, Shape, USER};
use openings::Openings;
use stamp::{Cut, Stamps};

pub use encoding::{Encoding, EncodingError};
pub use groups::Value;
pub use subject::Subject;

/// Which of fail2ban's rules hold for the time of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// The line was written just now: a stamp more than 60 s off is taken for now.
    Operation,
    /// The line was there at the start: it counts by its stamp, unless that is older than this.
    Start(Span),
    /// Any stamp is believed: a file is read for its own sake.
    Any,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// No failregex matches, or what it would count is too old.
    Miss,
    /// An ignoreregex matches.
    Ignored,
    /// It belongs to a failure but is none itself, or nobody knows yet whose it is.
    NoFail(Hit),
    /// A failure.
    Failure(Subject, Hit),
}

/// A failregex that matched.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its index.
    pub failregex: usize,
    /// When it counts; nothing if the line has no date and nobody knows a better one.
    pub time: Option<Timestamp>,
    /// The user, of this line or of its connection.
    pub user: Option<SmolStr>,
    /// The address, where `<F-ID>` names somebody else.
    pub ip: Option<Subject>,
    /// The lines that led to it; empty unless [`Options::keep_matches`].
    pub matches: Vec<SmolStr>,
}

/// What a filter is told besides its expressions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many lines an expression may span, at least 1.
    pub maxlines: usize,
    /// Whether `<HOST>` is a name too (`usedns`).
    pub names: HostNames,
    /// Every identity is text (`usedns = raw`).
    pub raw: bool,
    /// The zone of stamps that show none (`logtimezone`); nothing for the clock's.
    pub zone: Option<UtcOffset>,
    /// This year: see [`super::dates::Options::year`].
    pub year: i16,
    /// How its logs are written (`logencoding`); what comes from the journal is UTF-8 in any case.
    pub encoding: Encoding,
    /// Keep the text of matched lines: actions and reports want it.
    pub keep_matches: bool,
}

/// Captures with what belongs to them.
#[derive(Debug, Clone, Default, PartialEq)]
struct Fail {
    groups: Groups,
    matches: Vec<SmolStr>,
    nofail_matches: Vec<SmolStr>,
}

/// Expressions with the shapes of their groups.
#[derive(Debug)]
struct Expressions {
    program: Program,
    shapes: Vec<Shape>,
}

/// A filter with what it remembers between lines.
#[derive(Debug)]
pub struct Fail2banFilter {
    prefix: Option<Expressions>,
    /// Refuses lines before the prefregex does, and knows what it makes of most others.
    openings: Option<Openings>,
    rules: Expressions,
    ignore: Option<Program>,
    /// A few ignoreregexes are tried before everything else. Source: fail2ban 1.0.
    ignore_first: bool,
    options: Options,
    names: Names,
    stamps: Stamps,
    connections: Connections,
    buffer: Buffer,
    /// The groups of `<SKIPLINES>`.
    skiplines: Vec<Name>,
    /// What expressions search, and what `<F-CONTENT>` made of it; kept between lines for their memory.
    searched: Vec<u8>,
    content: Vec<u8>,
    /// What the last line captured.
    last: Groups,
    /// Its connection, if it has one: then this is what the last ruling was made of.
    joined: Option<Arc<Fail>>,
    /// The ignoreregex that matched the last line.
    ignored_by: Option<usize>,
}

/// A failregex that matches, before anybody looked at what it captured.
struct Match {
    rule: usize,
    /// Its lines, if they are wanted.
    lines: Vec<SmolStr>,
}

/// Why there is no match to count.
enum Unmatched {
    Miss,
    Ignored,
}

impl Fail2banFilter {
    /// Judges one line.
    ///
    /// `arrived`: when it was read; what connections said is forgotten five minutes later by this clock, so that a
    /// file which is read at once forgets nothing. `clock`: completes stamps and says what now is.
    pub fn judge(&mut self, line: &Line<'_>, clock: &Clock, timing: Timing, arrived: Timestamp) -> Ruling {
        // Only a journal gives the time of a line, and its messages are UTF-8.
        let encoding = if line.stamp.is_some() { Encoding::Utf8 } else { self.options.encoding };
        let decoded = encoding.decode(line.bytes);
        let bytes = super::judge::trim_line_end(&decoded);
        self.last.clear();
        self.joined = None;
        self.ignored_by = None;
        let Some(cut) = self.stamps.cut(bytes, line.stamp, clock, timing) else { return Ruling::Miss };
        let mut time = cut.time;
        match (timing, time) {
            (Timing::Operation, Some(stamp)) if is_far(stamp, clock.now) => {
                self.stamps.simulate(clock.now);
                time = Some(clock.now);
            }
            (Timing::Start(findtime), Some(stamp)) if stamp < clock.now - findtime => return Ruling::Miss,
            _ => {}
        }
        let found = match self.find(bytes, &cut) {
            Ok(found) => found,
            Err(Unmatched::Miss) => return Ruling::Miss,
            Err(Unmatched::Ignored) => return Ruling::Ignored,
        };
        if timing != Timing::Any {
            time = time.map(|time| time.min(clock.now));
            if time.is_none() {
                return Ruling::Miss;
            }
        }
        self.rule(found, time, arrived)
    }

    /// Names and values of what the last ruling captured, its connection's included.
    pub fn captures(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.known().iter().map(|(name, value)| (self.names.text(name), value))
    }

    /// The date that the last line says; nothing if it has none, or if its source gave the time.
    pub fn date(&self) -> Option<&DateMatch> {
        self.stamps.seen.as_ref()
    }

    /// The name of a date template, by [`DateMatch::template`]: the pattern that it came from.
    pub fn date_template(&self, template: usize) -> Option<&str> {
        self.stamps.detector.name(template)
    }

    /// The index of the ignoreregex that matched the last line.
    pub fn ignored_by(&self) -> Option<usize> {
        self.ignored_by
    }

    /// How often an expression took too many steps to tell whether it matches, since the last call.
    pub fn take_limits(&mut self) -> u64 {
        let prefix = self.prefix.as_mut().map_or(0, |prefix| prefix.program.take_limits());
        let ignore = self.ignore.as_mut().map_or(0, Program::take_limits);
        prefix + ignore + self.rules.program.take_limits()
    }

    /// All users that the last ruling's connection tried, sorted.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.known().users.iter().map(SmolStr::as_str)
    }

    /// The captures of the last ruling.
    fn known(&self) -> &Groups {
        self.joined.as_ref().map_or(&self.last, |fail| &fail.groups)
    }

    /// Looks for the first failregex that matches, and takes its captures down.
    fn find(&mut self, bytes: &[u8], cut: &Cut) -> Result<Match, Unmatched> {
        let lines = self.gather(bytes, cut);
        if self.ignore_first && is_ignored(&mut self.ignore, &self.searched, &mut self.ignored_by) {
            return Err(Unmatched::Ignored);
        }
        let mut content = None;
        if let Some(prefix) = &mut self.prefix {
            let (program, text) = (&mut prefix.program, &self.searched);
            let rule = match &mut self.openings {
                Some(openings) => openings.search(program, text),
                None => program.search(text),
            };
            rule.ok_or(Unmatched::Miss)?;
            content = prefix.program.content(0).filter(|content| !content.is_empty());
        }
        if let Some(content) = &content {
            if self.options.maxlines > 1 {
                self.buffer.pieces = vec![Piece::plain(&self.searched[content.clone()])];
            }
            if self.searched[content.end..] != *b"\n" {
                self.content.clear();
                self.content.extend_from_slice(&self.searched[content.clone()]);
                self.content.push(b'\n');
            }
        }
        let searched = match &content {
            None => self.searched.as_slice(),
            // Nearly always it is the rest of the line.
            Some(content) if self.searched[content.end..] == *b"\n" => &self.searched[content.start..],
            Some(_) => &self.content,
        };
        let rule = self.rules.program.search(searched).ok_or(Unmatched::Miss)?;
        if let Some(prefix) = &self.prefix {
            prefix.fill(0, &self.searched, Some(CONTENT), &mut self.last);
            self.last.take(CONTENT);
        }
        self.rules.fill(rule, searched, None, &mut self.last);
        if self.options.maxlines == 1 {
            if is_ignored(&mut self.ignore, searched, &mut self.ignored_by) {
                return Err(Unmatched::Ignored);
            }
            let lines = if self.options.keep_matches { vec![cut.whole(bytes)] } else { Vec::new() };
            return Ok(Match { rule, lines });
        }
        let whole = self.rules.program.captured(rule).whole;
        let skipped = self.skipped();
        let (matched, left) = buffer::split(&lines, searched, &whole, &skipped);
        self.buffer.pieces = left;
        buffer::joined(matched.iter(), &mut self.searched);
        if is_ignored(&mut self.ignore, &self.searched, &mut self.ignored_by) {
            return Err(Unmatched::Ignored);
        }
        let shown = matched.iter().filter(|_| self.options.keep_matches);
        Ok(Match { rule, lines: shown.map(|piece| lossy(&piece.whole)).collect() })
    }

    /// Writes what expressions search; returns the lines, if there may be several.
    fn gather(&mut self, bytes: &[u8], cut: &Cut) -> Vec<Piece> {
        if self.options.maxlines > 1 {
            self.buffer.push(cut.piece(bytes), self.options.maxlines);
            buffer::joined(self.buffer.pieces.iter(), &mut self.searched);
            return self.buffer.pieces.clone();
        }
        self.searched.clear();
        cut.write(bytes, &mut self.searched);
        self.searched.push(b'\n');
        Vec::new()
    }

    /// What `<SKIPLINES>` passed over.
    fn skipped(&self) -> Vec<u8> {
        let parts = self.skiplines.iter().filter_map(|name| self.last.text(*name));
        parts.flat_map(|part| part.as_bytes().to_vec()).collect()
    }

    /// Joins a match with what its connection said, and says whose failure it is.
    fn rule(&mut self, found: Match, time: Option<Timestamp>, arrived: Timestamp) -> Ruling {
        let connection = self.last.text(MLFID);
        let matches = match &connection {
            Some(id) => {
                let fail = self.connections.merge(id.clone(), &mut self.last, found.lines, arrived);
                self.joined.insert(fail).matches.clone()
            }
            None => found.lines,
        };
        let groups = self.known();
        let waits = connection.is_some() && groups.has(NOFAIL);
        let (subject, ip) = if waits { (None, None) } else { self.subject(groups) };
        let user = groups.filled(USER);
        if let (None, false, Some(id)) = (&subject, waits, &connection) {
            self.connections.pending(id, arrived);
        }
        let hit = Hit { failregex: found.rule, time, user, ip, matches };
        match subject {
            Some(subject) => Ruling::Failure(subject, hit),
            None => Ruling::NoFail(hit),
        }
    }

    /// Whom a failure is counted for, and the address behind it if that is somebody else.
    fn subject(&self, groups: &Groups) -> (Option<Subject>, Option<Subject>) {
        let fid = groups.text(FID);
        let text =
            |text: &str| if self.options.raw { Subject::Id(text.into()) } else { subject::identity(text) };
        if let Some(addr) = groups.text(IP4).or_else(|| groups.text(IP6)) {
            let net = subject::network(&addr, groups.filled(CIDR).as_deref());
            return match fid {
                Some(fid) if fid != addr => (Some(text(&fid)), Some(net)),
                _ => (Some(net), None),
            };
        }
        match (groups.text(DNS), fid) {
            (Some(name), _) if self.options.raw => (Some(Subject::Id(name)), None),
            (Some(name), _) => (Some(subject::host(&name)), None),
            (None, Some(fid)) => (Some(text(&fid)), None),
            (None, None) => (None, None),
        }
    }
}

impl Expressions {
    /// Writes what the last search captured over `into`; a group that took no part, or is not wanted, leaves nothing
    /// behind.
    fn fill(&self, rule: usize, text: &[u8], without: Option<Name>, into: &mut Groups) {
        let Some(shape) = self.shapes.get(rule) else { return };
        let wanted = |nth: &usize| without.is_none() || shape.name(*nth) != without;
        let place = |nth: usize| self.program.nth(rule, Some(nth).filter(wanted)?);
        shape.fill(|nth| Some(lossy(text.get(place(nth)?)?)), into);
    }
}

/// A stamp so far off is not believed of a line that was written just now. Source: fail2ban 1.0.
fn is_far(stamp: Timestamp, now: Timestamp) -> bool {
    stamp.since(now).max(now.since(stamp)) >= Span::from_secs(61)
}

fn is_ignored(ignore: &mut Option<Program>, text: &[u8], by: &mut Option<usize>) -> bool {
    *by = ignore.as_mut().and_then(|ignore| ignore.search(text));
    by.is_some()
}

fn lossy(bytes: &[u8]) -> SmolStr {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => String::from_utf8_lossy(bytes).into(),
    }
}
