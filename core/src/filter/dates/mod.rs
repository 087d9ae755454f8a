//! fail2ban's date detection: where the date of a line is, and which point in time it says.
//!
//! A [`Detector`] holds templates: those of a filter's `datepattern`, or all the usual stamps. It learns from every
//! line (`order`), so it belongs to one filter, and lines must come in their order. It reads no clock.
//!
//! ```
//! use jiff::tz::TimeZone;
//! use pillory_core::filter::Clock;
//! use pillory_core::filter::dates::{Detector, Options};
//! use pillory_core::time::Timestamp;
//!
//! let mut detector = Detector::new(&Options { datepattern: None, logtimezone: None, year: 2026 })?;
//! let clock = Clock { now: Timestamp::from_secs(1_795_334_231), zone: TimeZone::UTC };
//! let found = detector.find(b"Nov 22 07:57:11 vm sshd[7]: hello", &clock).ok_or("no date")?;
//! assert_eq!(found.range, 0..15);
//! assert_eq!(found.time, Ok(Timestamp::from_secs(1_795_334_231)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The language of `datepattern`
//!
//! One pattern a line; the first that matches need not be the one that is taken. A pattern is a regular expression in
//! Python's syntax in which `%`-codes stand for the parts of a date; its first group, or else all of it, is cut out of
//! the line. Groups may be named after codes instead: `(?P<Y>\d{4})`. It matches where no word is cut apart.
//!
//! | word | means |
//! |---|---|
//! | `^` first | at the beginning of the line |
//! | `{^LN-BEG}` first | there, behind at most two characters that are no letters |
//! | `{^LN-BEG}` alone | all the usual stamps that begin a line |
//! | `**` first or last | may begin or end within a word |
//! | `{UNB}` first | both |
//! | `{DATE}` | any of the usual stamps |
//! | `{DEFAULT}` alone | all the usual stamps, if it is the only pattern |
//! | `{NONE}` | lines have no date |
//! | `EPOCH`, `LEPOCH` | seconds since 1970; with milliseconds or microseconds |
//! | `{EPOCH}`, `{LEPOCH}` | the same within a pattern |
//! | `TAI64N` | labels as multilog writes them |
//!
//! Source: the behaviour of fail2ban 1.0.2, run as a peer in `core/tests/dates.rs`.

mod class;
mod codes;
mod defaults;
mod epoch;
mod error;
mod expression;
mod order;
mod parse;
mod quick;
mod sieve;
mod stamp;
mod template;
#[cfg(test)]
mod tests;
mod text;
mod tokens;
mod tree;
mod zone;

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::Clock;
use super::datepattern::offset_at;
use crate::time::Timestamp;

pub use error::{DatePatternError, Problem, ZoneError};
pub use stamp::Undated;
pub use zone::UtcOffset;

use order::Order;
use sieve::Sieve;
use stamp::{Fields, Reading};
use template::{Search, Template};
use text::Text;

/// What a detector is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options<'a> {
    /// The filter's `datepattern`, one pattern a line; nothing, or blanks only: all the usual stamps.
    pub datepattern: Option<&'a str>,
    /// The jail's `logtimezone`: the zone of stamps that show none; without it, the clock's.
    pub logtimezone: Option<UtcOffset>,
    /// This year. The usual stamps take years from 2000 to the end of the decade in which the third year from now
    /// lies.
    pub year: i16,
}

/// Finds the date of one line after the other.
///
/// With all the usual stamps it takes milliseconds to make and little to clone: filters that are alike share the work if
/// each gets a clone of one that has seen no line yet.
#[derive(Debug, Clone)]
pub struct Detector {
    templates: Vec<Template>,
    order: Order,
    zone: Option<UtcOffset>,
    sieve: Sieve,
    known: Option<Known>,
    repeat: Option<Repeat>,
}

/// The last stamp that was read by hand: many lines share a second.
#[derive(Debug, Clone, Copy)]
struct Known {
    fields: Fields,
    now: Timestamp,
    /// Seconds east of UTC at that time.
    east: i32,
    time: Timestamp,
}

/// The stamp at the begin of the last line, if it was read by hand: many lines share that too.
#[derive(Debug, Clone)]
struct Repeat {
    /// The line up to the last byte that was looked at, all of it ASCII.
    bytes: Vec<u8>,
    range: Range<usize>,
    template: usize,
    fields: Fields,
}

/// So many bytes behind a stamp are looked at when it is read by hand.
const LOOKED_BEHIND: usize = 2;

/// A date that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateMatch {
    /// The bytes of the line to cut out; empty if the pattern matched no text.
    pub range: Range<usize>,
    /// The point in time; whole seconds, but for EPOCH with a fraction.
    pub time: Result<Timestamp, Undated>,
    /// Which template, for [`Detector::name`].
    pub template: usize,
}

/// The detector of all the usual stamps, which most filters have in common: they share what is compiled of it.
///
/// Remembers what it made for the last year that was asked for; that changes no answer.
/// # Errors
/// None, for the stamps are our own; a test holds it.
fn usual(year: i16) -> Result<Detector, DatePatternError> {
    static LAST: Mutex<Option<(i16, Detector)>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((of, detector)) = &*last
        && *of == year
    {
        return Ok(detector.clone());
    }
    let detector = Detector::of(defaults::all(year)?, None);
    *last = Some((year, detector.clone()));
    Ok(detector)
}

impl Detector {
    /// Compiles the patterns.
    /// # Errors
    /// The first pattern that cannot be used, with its line and column.
    pub fn new(options: &Options<'_>) -> Result<Detector, DatePatternError> {
        let datepattern = options.datepattern.unwrap_or_default();
        if datepattern.trim().is_empty() {
            return Ok(Detector { zone: options.logtimezone, ..usual(options.year)? });
        }
        Ok(Detector::of(defaults::collect(datepattern, options.year)?, options.logtimezone))
    }

    fn of(templates: Vec<Template>, zone: Option<UtcOffset>) -> Detector {
        let order = Order::new(templates.len());
        Detector { templates, order, zone, sieve: Sieve::default(), known: None, repeat: None }
    }

    /// Finds the date of a line, and learns from it; nothing if the line has none, or is
    /// empty.
    ///
    /// `line`: without its line end. `clock`: completes stamps without a year or a day, and gives their zone.
    pub fn find(&mut self, line: &[u8], clock: &Clock) -> Option<DateMatch> {
        if line.is_empty() {
            return None;
        }
        if let Some(Repeat { bytes, range, template, fields }) = &self.repeat
            && line.starts_with(bytes)
        {
            let (range, template, fields) = (range.clone(), *template, *fields);
            self.order.repeat(clock.now.millis());
            return Some(DateMatch { range, time: self.resolve(fields, clock), template });
        }
        let text = Text::new(line);
        let sieve = &mut self.sieve;
        let sift = |templates: &[Template]| sieve.candidates(templates, text.bytes());
        let (template, hit) = self.order.find(&mut self.templates, &text, clock.now.millis(), sift)?;
        let time = match hit.quick {
            Some(fields) => self.resolve(fields, clock),
            None => read(&self.templates[template], &text, &hit.date, self.zone, clock),
        };
        let range = text.in_line(&hit.date);
        self.keep(line, &range, template, hit.quick);
        Some(DateMatch { range, time, template })
    }

    /// Keeps a stamp for the next line: where this template must begin the line, its reading by hand is all that is
    /// asked, and that is the same if the line begins the same.
    fn keep(&mut self, line: &[u8], range: &Range<usize>, template: usize, quick: Option<Fields>) {
        let bytes = line.get(..range.end + LOOKED_BEHIND).filter(|bytes| bytes.is_ascii());
        let begins_line = self.templates[template].begins_line;
        let Some((bytes, fields)) = bytes.zip(quick).filter(|_| begins_line) else {
            self.repeat = None;
            return;
        };
        let mut kept = self.repeat.take().map(|repeat| repeat.bytes).unwrap_or_default();
        kept.clear();
        kept.extend_from_slice(bytes);
        self.repeat = Some(Repeat { bytes: kept, range: range.clone(), template, fields });
    }

    fn resolve(&mut self, fields: Fields, clock: &Clock) -> Result<Timestamp, Undated> {
        if let Some(known) = &self.known
            && (known.fields, known.now) == (fields, clock.now)
            && offset_at(&clock.zone, known.time) == Some(known.east)
        {
            return Ok(known.time);
        }
        let time = fields.resolve(clock, self.zone)?;
        self.known = offset_at(&clock.zone, time).map(|east| Known { fields, now: clock.now, east, time });
        Ok(time)
    }

    /// How many templates there are.
    pub fn len(&self) -> usize {
        self.templates.len()
    }

    /// True if there is none; there always is one.
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }

    /// The name of a template: the pattern that it came from.
    pub fn name(&self, template: usize) -> Option<&str> {
        self.templates.get(template).map(|template| template.name.as_str())
    }

    /// The templates in the order in which they are tried now, by their numbers.
    pub fn order(&self) -> impl Iterator<Item = usize> {
        self.order.templates()
    }
}

/// What the template that was just found says.
fn read(
    template: &Template,
    text: &Text<'_>,
    date: &Range<usize>,
    zone: Option<UtcOffset>,
    clock: &Clock,
) -> Result<Timestamp, Undated> {
    if date.is_empty() {
        return Err(Undated::Empty);
    }
    let bytes = text.bytes();
    let shown = |range: Range<usize>| bytes.get(range).unwrap_or_default();
    let Search::Expression(expression) = &template.search else {
        return match template.reading {
            Reading::Epoch(seconds, _) => seconds.read(shown(date.clone())),
            _ => Err(Undated::Unreadable),
        };
    };
    match template.reading {
        Reading::Epoch(seconds, group) => {
            seconds.read(expression.group(group).map(shown).ok_or(Undated::Unreadable)?)
        }
        Reading::Tai64n => stamp::tai64n(shown(date.clone())),
        Reading::Fields => {
            let pm = expression.names().find(|(_, name)| *name == "p");
            let pm = pm.and_then(|(number, _)| expression.group(number)).map(shown);
            let mut fields = Fields::default();
            for (number, name) in expression.names() {
                if let Some(range) = expression.group(number) {
                    fields.set(name, shown(range), pm)?;
                }
            }
            fields.resolve(clock, zone)
        }
    }
}
