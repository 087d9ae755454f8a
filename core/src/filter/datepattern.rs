//! Finds the date of a line, so that it can be cut out, and turns it into a point in time.
//!
//! Only the usual stamps are known, and only where programs write them: at the start of the line (behind a priority
//! or a bracket) or in the brackets of an access log. A date that a hostile text holds further on is never taken.

mod calendar;

use std::ops::Range;

use memchr::memchr;

pub use calendar::Calendar;
pub(in crate::filter) use calendar::{offset_at, timestamp};

/// A date as a line shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The bytes of the date; brackets around it are not part of it.
    pub range: Range<usize>,
    /// What it says.
    pub date: Date,
}

/// What a date says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Date {
    /// Milliseconds since 1970.
    Epoch(i64),
    /// A calendar date and a time.
    Civil(Civil),
}

/// A calendar date and a time, as far as the line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// To the minute, packed for comparison.
    minute: Minute,
    second: u8,
    millis: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Minute {
    year: Option<i16>,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    /// Seconds east of UTC.
    offset: Option<i32>,
}

/// Longest part of a line in which the date of an access log is looked for.
const ACCESS_HEAD_BYTES: usize = 1024;

/// Finds the date of a line; nothing if it has none in the usual places.
pub fn find(text: &[u8]) -> Option<Found> {
    let start = start_of_date(text);
    if let Some((date, len)) = any_shape(text.get(start..)?) {
        return Some(Found { range: start..start + len, date });
    }
    in_brackets(text)
}

/// Finds dates as [`find`] does; most lines have that of the line before.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// The last line's date at its start, and two bytes that show its end.
    head: Vec<u8>,
    last: Option<Found>,
}

impl Finder {
    /// The date of a line; nothing if it has none in the usual places.
    pub(super) fn find(&mut self, text: &[u8]) -> Option<Found> {
        if !self.head.is_empty() && text.starts_with(&self.head) {
            return self.last.clone();
        }
        let found = find(text)?;
        let behind = text.get(found.range.end..found.range.end + 2);
        // No year follows, no zone, and no fraction.
        let is_end = |behind: &[u8]| matches!(behind, [b' ', b'a'..=b'z']);
        if found.range.start == 0 && behind.is_some_and(is_end) {
            self.head.clear();
            self.head.extend_from_slice(&text[..found.range.end + 2]);
            self.last = Some(found.clone());
        }
        Some(found)
    }
}

/// Where a date would begin: behind blanks, a syslog priority, an opening bracket.
fn start_of_date(text: &[u8]) -> usize {
    let mut at = text.iter().take_while(|b| **b == b' ').count();
    if text.get(at) == Some(&b'<') {
        let digits = text[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if (1..=3).contains(&digits) && text.get(at + 1 + digits) == Some(&b'>') {
            at += digits + 2;
            if text[at..].starts_with(b"1 ") {
                at += 2;
            }
        }
    }
    at + usize::from(text.get(at) == Some(&b'['))
}

/// `address ident user [22/Nov/2026:07:57:11 +0000] "request"`: before the first quote, which no user name can hold.
fn in_brackets(text: &[u8]) -> Option<Found> {
    let head = &text[..text.len().min(ACCESS_HEAD_BYTES)];
    let head = &head[..memchr(b'"', head).unwrap_or(head.len())];
    let mut from = 0;
    while let Some(open) = memchr(b'[', &head[from..]) {
        let start = from + open + 1;
        let shape = access(&head[start..]).or_else(|| iso(&head[start..]));
        if let Some((date, len)) = shape
            && head.get(start + len) == Some(&b']')
        {
            return Some(Found { range: start..start + len, date });
        }
        from = start;
    }
    None
}

fn any_shape(text: &[u8]) -> Option<(Date, usize)> {
    let first = *text.first()?;
    let (date, len) = if first.is_ascii_digit() {
        iso(text).or_else(|| access(text)).or_else(|| epoch(text))?
    } else if first == b'@' {
        tai64n(text)?
    } else if first.is_ascii_alphabetic() {
        syslog(text).or_else(|| asctime(text))?
    } else {
        return None;
    };
    // A longer word or number is something else.
    let ends = text.get(len).is_none_or(|b| !b.is_ascii_alphanumeric());
    ends.then_some((date, len))
}

/// A reader of fixed forms: every step yields nothing if the text goes on otherwise.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn byte(&mut self, wanted: &[u8]) -> Option<u8> {
        let b = self.peek().filter(|b| wanted.contains(b))?;
        self.at += 1;
        Some(b)
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for offset in 0..count {
            let b = *self.text.get(self.at + offset)?;
            if !b.is_ascii_digit() {
                return None;
            }
            value = value * 10 + u32::from(b - b'0');
        }
        self.at += count;
        Some(value)
    }

    fn between(&mut self, count: usize, low: u32, high: u32) -> Option<i8> {
        let value = self.digits(count).filter(|value| (low..=high).contains(value))?;
        i8::try_from(value).ok()
    }

    fn year(&mut self) -> Option<i16> {
        let year = self.digits(4).filter(|year| (1970..=9000).contains(year))?;
        i16::try_from(year).ok()
    }

    fn month_name(&mut self) -> Option<i8> {
        let word: [u8; 3] = self.text.get(self.at..self.at + 3)?.try_into().ok()?;
        let month = match &word {
            b"Jan" => 1,
            b"Feb" => 2,
            b"Mar" => 3,
            b"Apr" => 4,
            b"May" => 5,
            b"Jun" => 6,
            b"Jul" => 7,
            b"Aug" => 8,
            b"Sep" => 9,
            b"Oct" => 10,
            b"Nov" => 11,
            b"Dec" => 12,
            _ => return None,
        };
        self.at += 3;
        Some(month)
    }

    /// ` 5`, `05` or `5`.
    fn day(&mut self) -> Option<i8> {
        if self.peek() == Some(b' ') {
            self.at += 1;
            return self.between(1, 1, 9);
        }
        if self.text.get(self.at + 1).is_some_and(u8::is_ascii_digit) {
            return self.between(2, 1, 31);
        }
        self.between(1, 1, 9)
    }

    /// `07:57:11`; a leap second is let through.
    fn clock(&mut self) -> Option<(i8, i8, u8)> {
        let hour = self.between(2, 0, 23)?;
        self.byte(b":")?;
        let minute = self.between(2, 0, 59)?;
        self.byte(b":")?;
        let second = self.between(2, 0, 60)?;
        Some((hour, minute, u8::try_from(second).ok()?))
    }

    /// `.123456` or `,123`, in milliseconds; 0 if there is none.
    fn fraction(&mut self) -> u16 {
        let digits = match self.peek() {
            Some(b'.' | b',') => {
                self.text[self.at + 1..].iter().take_while(|b| b.is_ascii_digit()).take(9).count()
            }
            _ => 0,
        };
        if digits == 0 {
            return 0;
        }
        let shown = &self.text[self.at + 1..self.at + 1 + digits];
        self.at += 1 + digits;
        let digit = |place: usize| shown.get(place).map_or(0, |b| u16::from(b - b'0'));
        digit(0) * 100 + digit(1) * 10 + digit(2)
    }

    /// `Z`, `+01:00`, `+0100`, ` UTC`; nothing if there is no zone.
    fn zone(&mut self) -> Option<i32> {
        let start = self.at;
        let zone = self.zone_here();
        if zone.is_none() {
            self.at = start;
        }
        zone
    }

    fn zone_here(&mut self) -> Option<i32> {
        let _ = self.byte(b" ");
        let rest = &self.text[self.at..];
        if rest.starts_with(b"UTC") || rest.starts_with(b"GMT") {
            self.at += 3;
            return Some(0);
        }
        match self.byte(b"Z+-")? {
            b'Z' => Some(0),
            sign => {
                let hours = i32::from(self.between(2, 0, 23)?);
                let _ = self.byte(b":");
                let minutes = i32::from(self.between(2, 0, 59)?);
                let east = hours * 3600 + minutes * 60;
                Some(if sign == b'-' { -east } else { east })
            }
        }
    }
}

fn scan(text: &[u8]) -> Scan<'_> {
    Scan { text, at: 0 }
}

/// `2026-11-22T07:57:11.123456+00:00`, a blank for the `T`, slashes for the dashes (nginx's error log).
fn iso(text: &[u8]) -> Option<(Date, usize)> {
    let mut s = scan(text);
    let year = Some(s.year()?);
    let dash = s.byte(b"-/")?;
    let month = s.between(2, 1, 12)?;
    s.byte(&[dash])?;
    let day = s.between(2, 1, 31)?;
    s.byte(b"T ")?;
    let (hour, minute, second) = s.clock()?;
    let millis = s.fraction();
    let offset = s.zone();
    let minute = Minute { year, month, day, hour, minute, offset };
    Some((Date::Civil(Civil { minute, second, millis }), s.at))
}

/// `22/Nov/2026:07:57:11 +0000`, also `22-Nov-2026 07:57:11.123`.
fn access(text: &[u8]) -> Option<(Date, usize)> {
    let mut s = scan(text);
    let day = s.between(2, 1, 31)?;
    let dash = s.byte(b"/-")?;
    let month = s.month_name()?;
    s.byte(&[dash])?;
    let year = Some(s.year()?);
    s.byte(b": ")?;
    let (hour, minute, second) = s.clock()?;
    let millis = s.fraction();
    let offset = s.zone();
    let minute = Minute { year, month, day, hour, minute, offset };
    Some((Date::Civil(Civil { minute, second, millis }), s.at))
}

/// `Nov 22 07:57:11`, with a year before or behind the time, with a fraction.
fn syslog(text: &[u8]) -> Option<(Date, usize)> {
    let mut s = scan(text);
    let month = s.month_name()?;
    s.byte(b" ")?;
    let day = s.day()?;
    s.byte(b" ")?;
    let mut year = None;
    if text.get(s.at + 4) == Some(&b' ') {
        year = Some(s.year()?);
        s.byte(b" ")?;
    }
    let (hour, minute, second) = s.clock()?;
    let millis = s.fraction();
    if year.is_none() {
        year = trailing_year(&mut s);
    }
    let minute = Minute { year, month, day, hour, minute, offset: None };
    Some((Date::Civil(Civil { minute, second, millis }), s.at))
}

/// ` 2026` and then no more digits; a host may well be called 2026a.
fn trailing_year(s: &mut Scan<'_>) -> Option<i16> {
    let start = s.at;
    let year =
        s.byte(b" ").and_then(|_| s.year()).filter(|_| matches!(s.peek(), None | Some(b' ' | b']' | b':')));
    if year.is_none() {
        s.at = start;
    }
    year
}

/// `Sun Nov 22 07:57:11.123456 2026`.
fn asctime(text: &[u8]) -> Option<(Date, usize)> {
    let weekday = text.get(..3)?;
    let known = [&b"Mon"[..], b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"].contains(&weekday);
    if !known || text.get(3) != Some(&b' ') {
        return None;
    }
    let (date, len) = syslog(&text[4..])?;
    Some((date, len + 4))
}

/// Ten or eleven digits, perhaps with a fraction.
fn epoch(text: &[u8]) -> Option<(Date, usize)> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).take(12).count();
    if !(10..=11).contains(&digits) {
        return None;
    }
    let mut s = Scan { text, at: digits };
    let secs = text[..digits].iter().fold(0i64, |sum, b| sum * 10 + i64::from(b - b'0'));
    let millis = i64::from(s.fraction());
    Some((Date::Epoch(secs * 1000 + millis), s.at))
}

/// `@4000000052f2a1f2075bcd15`: a label of 2^62 and seconds of atomic time, then nanoseconds.
///
/// fail2ban leaves out the ten seconds by which writers set it ahead of UTC; so does this, for the same decisions.
/// Source: TAI64N as libtai describes it.
fn tai64n(text: &[u8]) -> Option<(Date, usize)> {
    let hex = |range: Range<usize>| {
        let digits = text.get(range).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let secs = hex(1..17)?.checked_sub(1 << 62).filter(|secs| *secs < 1 << 36)?;
    let nanos = hex(17..25)?;
    let millis = i64::try_from(secs * 1000 + (nanos / 1_000_000).min(999)).ok()?;
    Some((Date::Epoch(millis), 25))
}

#[cfg(test)]
mod tests;
