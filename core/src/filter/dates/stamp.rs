//! From what a template took to a point in time, with fail2ban's rules for what the line leaves out.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, ToSpan as _};

use super::zone::UtcOffset;
use crate::filter::Clock;
use crate::filter::datepattern::timestamp;
use crate::time::Timestamp;

/// How what a template took is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Named groups: `Y`, `m`, `d` and so on.
    Fields,
    /// A number of seconds in the group of that number.
    Epoch(Seconds, usize),
    /// A label of TAI64N.
    Tai64n,
}

/// Forms of the seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seconds {
    /// Ten or eleven digits, perhaps a fraction.
    Short,
    /// Also with milliseconds or microseconds as further digits.
    Long,
}

/// A date was found, but gives no point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undated {
    /// The pattern matched nothing: the line has no date. fail2ban takes the last line's, or now.
    #[error("the date pattern matched an empty text")]
    Empty,
    /// It says what is no date, such as the 30th of February. fail2ban reads the line as one without a date.
    #[error("what the date pattern matched is no date")]
    NoDate,
    /// It names no known zone, or a month without a day. fail2ban drops the line.
    #[error("what the date pattern matched cannot be read")]
    Unreadable,
}

impl Seconds {
    /// What it takes, in Python's syntax.
    pub(super) fn expression(self) -> &'static str {
        match self {
            Seconds::Short => r"[0-9]{10,11}\b(?:\.[0-9]{3,6})?",
            Seconds::Long => r"[0-9]{10,11}(?:[0-9]{3}(?:\.[0-9]{1,6}|[0-9]{3})?)?",
        }
    }

    /// Reads such a number.
    pub(super) fn read(self, shown: &[u8]) -> Result<Timestamp, Undated> {
        let (whole, fraction) = match shown.iter().position(|b| *b == b'.') {
            Some(at) => (&shown[..at], &shown[at + 1..]),
            None => (shown, &[][..]),
        };
        let whole = decimal(whole).ok_or(Undated::NoDate)?;
        if self == Seconds::Long && shown.len() >= 16 && fraction.is_empty() {
            return Ok(Timestamp::from_millis(whole / 1000));
        }
        if self == Seconds::Long && shown.len() >= 13 {
            return Ok(Timestamp::from_millis(whole));
        }
        let digit = |at: usize| fraction.get(at).map_or(0, |b| i64::from(b.saturating_sub(b'0')));
        let millis = digit(0) * 100 + digit(1) * 10 + digit(2);
        Ok(Timestamp::from_millis(whole.saturating_mul(1000).saturating_add(millis)))
    }
}

/// Reads a label such as `@4000000052f2a1f2075bcd15`: 2^62 and seconds, then nanoseconds. fail2ban leaves out the
/// seconds by which writers set it ahead of UTC, and the nanoseconds.
pub(super) fn tai64n(shown: &[u8]) -> Result<Timestamp, Undated> {
    let hex = shown.get(2..17).and_then(|hex| std::str::from_utf8(hex).ok()).ok_or(Undated::NoDate)?;
    i64::from_str_radix(hex, 16).map(Timestamp::from_secs).map_err(|_| Undated::NoDate)
}

/// What the groups of a line say; nothing where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) year: Option<i64>,
    pub(super) month: Option<i64>,
    pub(super) day: Option<i64>,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) weekday: Option<i64>,
    pub(super) yearday: Option<i64>,
    /// The week, and whether it begins on Monday.
    pub(super) week: Option<(i64, bool)>,
    /// Minutes east of UTC.
    pub(super) east: Option<i64>,
}

/// The months by their names.
pub(super) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

impl Fields {
    /// Takes in what the group `name` says. `pm`: what the group `p` says, where a pattern has one.
    pub(super) fn set(&mut self, name: &str, shown: &[u8], pm: Option<&[u8]>) -> Result<(), Undated> {
        let number = || number(shown).ok_or(Undated::NoDate);
        match name {
            "y" => self.year = Some(number().map(|year| if year <= 2000 { year + 2000 } else { year })?),
            "Y" => self.year = Some(number()?),
            "m" => self.month = Some(number()?),
            "B" => self.month = Some(name_in(&MONTHS, shown, usize::MAX)? + 1),
            "b" => self.month = Some(name_in(&MONTHS, shown, 3)? + 1),
            "d" => self.day = Some(number()?),
            "H" => self.hour = number()?,
            "I" => self.hour = half_day(number()?, pm),
            "M" => self.minute = number()?,
            "S" => self.second = number()?,
            "A" => self.weekday = Some(name_in(&DAYS, shown, usize::MAX)?),
            "a" => self.weekday = Some(name_in(&DAYS, shown, 3)?),
            "w" => self.weekday = Some(number().map(|day| if day < 1 { 6 } else { day - 1 })?),
            "j" => self.yearday = Some(number()?),
            "U" => self.week = Some((number()?, false)),
            "W" => self.week = Some((number()?, true)),
            "z" | "Z" => self.east = Some(UtcOffset::read(shown)?.minutes()),
            _ => {}
        }
        Ok(())
    }

    /// The point in time; what is missing comes from the clock.
    pub(super) fn resolve(mut self, clock: &Clock, zone: Option<UtcOffset>) -> Result<Timestamp, Undated> {
        // Stamps that say all need no clock.
        let is_whole = self.year.is_some() && self.month.is_some() && self.day.is_some();
        let now = if is_whole { DateTime::MIN } else { local(clock).ok_or(Undated::NoDate)? };
        let has_year = self.year.is_some();
        let mut year = self.year.unwrap_or_else(|| i64::from(now.year()));
        if self.month.is_none() || self.day.is_none() {
            self.take_yearday(&mut year)?;
        }
        let has_day = self.month.is_some() || self.day.is_some();
        if !has_day {
            (self.month, self.day) = (Some(i64::from(now.month())), Some(i64::from(now.day())));
        }
        let (Some(month), Some(day)) = (self.month, self.day) else { return Err(Undated::Unreadable) };
        let time = civil_time(self.hour, self.minute, self.second).ok_or(Undated::NoDate)?;
        let mut stamp = DateTime::from_parts(civil(year, month, day).ok_or(Undated::NoDate)?, time);
        let east = self.east.or_else(|| zone.map(UtcOffset::minutes));
        stamp = earlier(stamp, SignedDuration::from_mins(east.unwrap_or(0)))?;
        if !has_day && stamp > now {
            stamp = earlier(stamp, SignedDuration::from_hours(24))?;
        }
        if !has_year && now.checked_add(1.day()).is_ok_and(|tomorrow| stamp > tomorrow) {
            stamp = DateTime::from_parts(civil(year - 1, month, day).ok_or(Undated::NoDate)?, stamp.time());
        }
        timestamp(stamp, east.map(|_| 0), &clock.zone).ok_or(Undated::NoDate)
    }

    /// A day of the year, or of a week of the year, stands for month and day.
    fn take_yearday(&mut self, year: &mut i64) -> Result<(), Undated> {
        let first = civil(*year, 1, 1);
        let yearday = match (self.yearday, self.week, self.weekday) {
            (Some(yearday), ..) => yearday,
            (None, Some(week), Some(weekday)) => {
                let first = first.ok_or(Undated::NoDate)?;
                in_week(i64::from(first.weekday().to_monday_zero_offset()), week, weekday)
            }
            _ => return Ok(()),
        };
        let first = first.ok_or(Undated::NoDate)?;
        let day =
            first.checked_add(SignedDuration::from_hours((yearday - 1) * 24)).map_err(|_| Undated::NoDate)?;
        *year = i64::from(day.year());
        (self.month, self.day) = (Some(i64::from(day.month())), Some(i64::from(day.day())));
        Ok(())
    }
}

/// Now, as a clock on the wall shows it there.
fn local(clock: &Clock) -> Option<DateTime> {
    let now = jiff::Timestamp::from_millisecond(clock.now.millis()).ok()?;
    Some(clock.zone.to_datetime(now))
}

fn civil(year: i64, month: i64, day: i64) -> Option<Date> {
    let year = i16::try_from(year).ok().filter(|year| *year >= 1)?;
    Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

fn civil_time(hour: i64, minute: i64, second: i64) -> Option<Time> {
    let [hour, minute, second] = [hour, minute, second].map(|part| i8::try_from(part).ok());
    Time::new(hour?, minute?, second?, 0).ok()
}

/// Python's years end at 1 and 9999; beyond, it fails otherwise than for a date that does not exist.
fn earlier(stamp: DateTime, by: SignedDuration) -> Result<DateTime, Undated> {
    stamp.checked_sub(by).ok().filter(|stamp| stamp.year() >= 1).ok_or(Undated::Unreadable)
}

/// The day of the year of a weekday (Monday is 0) in a week. `first`: the weekday of the 1st of January.
fn in_week(first: i64, (week, from_monday): (i64, bool), weekday: i64) -> i64 {
    let turn = if from_monday { 0 } else { 1 };
    let (first, weekday) = ((first + turn) % 7, (weekday + turn) % 7);
    if week == 0 {
        return 1 + weekday - first;
    }
    1 + (7 - first) % 7 + 7 * (week - 1) + weekday
}

fn half_day(hour: i64, pm: Option<&[u8]>) -> i64 {
    let Some(pm) = pm else { return if hour == 12 { 0 } else { hour } };
    match (hour, pm.to_ascii_lowercase().as_slice()) {
        (12, b"am" | b"") => 0,
        (12, _) => 12,
        (_, b"pm") => hour + 12,
        _ => hour,
    }
}

/// Which of the names, cut to `len`, this is.
fn name_in(names: &[&str], shown: &[u8], len: usize) -> Result<i64, Undated> {
    let is_it = |name: &&str| shown.eq_ignore_ascii_case(&name.as_bytes()[..name.len().min(len)]);
    let index = names.iter().position(is_it).ok_or(Undated::NoDate)?;
    i64::try_from(index).map_err(|_| Undated::NoDate)
}

/// A whole number as Python reads it: blanks around it, a sign before it.
fn number(shown: &[u8]) -> Option<i64> {
    let shown = shown.trim_ascii();
    match shown.strip_prefix(b"-") {
        Some(digits) => decimal(digits).map(|value| -value),
        None => decimal(shown.strip_prefix(b"+").unwrap_or(shown)),
    }
}

fn decimal(digits: &[u8]) -> Option<i64> {
    let fits = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |value, b| value * 10 + i64::from(b - b'0')))
}
