//! Time as values: points, lengths and ends.
//!
//! Nothing here knows what time it is now: `now` always comes in as an argument.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01T00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// From whole seconds since the epoch; saturates at the ends of the range.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Span {
        Span::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Span> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_add_unsigned(span.0))
    }
}

impl Sub<Span> for Timestamp {
    type Output = Timestamp;
    fn sub(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_sub_unsigned(span.0))
    }
}

/// RFC 3339 in UTC with whole seconds, as the JSON output carries it.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.secs()) {
            Ok(stamp) => write!(f, "{stamp}"),
            Err(_) => write!(f, "@{}", self.secs()),
        }
    }
}

/// A length of time in milliseconds, never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(u64);

impl Span {
    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// From milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds, rounded down.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// Parses `30`, `"30s"`, `"10m"`, `"1h 30m"`, `"2d"`, fail2ban's units included.
    ///
    /// A bare number is seconds. Units: s, m (minutes), h, d, w, mo (month of 30.4 days), y (365.25 days),
    /// and their long forms.
    /// # Errors
    /// [`SpanError`] names the part that is no length of time.
    pub fn parse(text: &str) -> Result<Span, SpanError> {
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(SpanError::Empty);
        }
        let mut total_ms: f64 = 0.0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let number: f64 =
                rest[..digits].parse().map_err(|_| SpanError::NoNumber { text: text.to_owned() })?;
            rest = rest[digits..].trim_start();
            let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            total_ms += number * unit_ms(&rest[..letters], text)?;
            rest = rest[letters..].trim_start();
        }
        // 10,000 years: whoever means longer writes "forever".
        if total_ms > 3.2e14 {
            return Err(SpanError::TooLong { text: text.to_owned() });
        }
        Ok(Span(total_ms as u64))
    }
}

fn unit_ms(unit: &str, text: &str) -> Result<f64, SpanError> {
    let unknown = || SpanError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() };
    unit_secs(unit).map(|secs| secs * 1000.0).ok_or_else(unknown)
}

/// Seconds of a unit in either case, with all of fail2ban's short forms; nothing if there is no such unit.
pub fn unit_secs(unit: &str) -> Option<f64> {
    let secs = match unit.to_ascii_lowercase().as_str() {
        "" | "s" | "ss" | "se" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "mm" | "mi" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hh" | "ho" | "hou" | "hour" | "hours" => 3_600.0,
        "d" | "dd" | "da" | "day" | "days" => 86_400.0,
        "w" | "ww" | "we" | "wee" | "week" | "weeks" => 604_800.0,
        "mo" | "mon" | "month" | "months" => 2_629_800.0,
        "y" | "yy" | "ye" | "yea" | "year" | "years" => 31_557_600.0,
        _ => return None,
    };
    Some(secs)
}

/// In the largest units that keep it short: `1d`, `1h30m`, `45s`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut secs = self.secs();
        if secs == 0 {
            return write!(f, "0s");
        }
        for (unit, size) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
            if secs >= size {
                write!(f, "{}{unit}", secs / size)?;
                secs %= size;
            }
        }
        Ok(())
    }
}

/// Why a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Nothing was written.
    #[error("an empty text is no length of time; write for example \"10m\"")]
    Empty,
    /// A part does not begin with a number.
    #[error("\"{text}\" is no length of time; write a number and a unit, for example \"10m\"")]
    NoNumber {
        /// The whole text.
        text: String,
    },
    /// A unit that is not known.
    #[error("\"{text}\": unknown unit \"{unit}\"; use s, m, h, d, w, mo or y")]
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Longer than can be counted.
    #[error("\"{text}\" is longer than 10,000 years; write \"forever\"")]
    TooLong {
        /// The whole text.
        text: String,
    },
}

/// How long a ban lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BanTime {
    /// For this long.
    For(Span),
    /// Until somebody lifts it.
    Forever,
}

impl BanTime {
    /// Parses a length of time, `"forever"`, or fail2ban's `-1` for the same.
    /// # Errors
    /// As [`Span::parse`].
    pub fn parse(text: &str) -> Result<BanTime, SpanError> {
        match text.trim() {
            "forever" | "-1" => Ok(BanTime::Forever),
            other => Span::parse(other).map(BanTime::For),
        }
    }

    /// When a ban that begins at `start` ends.
    pub fn end(self, start: Timestamp) -> End {
        match self {
            BanTime::For(span) => End::At(start + span),
            BanTime::Forever => End::Never,
        }
    }
}

impl fmt::Display for BanTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BanTime::For(span) => span.fmt(f),
            BanTime::Forever => f.write_str("forever"),
        }
    }
}

/// When a ban ends. `Never` is later than every point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    /// At this point in time.
    At(Timestamp),
    /// Not by itself.
    Never,
}

impl End {
    /// True once `now` has reached the end.
    pub fn is_over(self, now: Timestamp) -> bool {
        matches!(self, End::At(at) if at <= now)
    }

    /// The point in time, or nothing for `Never`; the shape of `until` in JSON.
    pub fn timestamp(self) -> Option<Timestamp> {
        match self {
            End::At(at) => Some(at),
            End::Never => None,
        }
    }

    /// The reverse of [`End::timestamp`].
    pub fn from_option(at: Option<Timestamp>) -> End {
        at.map_or(End::Never, End::At)
    }

    /// What is left of it at `now`; nothing for `Never`.
    pub fn remaining(self, now: Timestamp) -> Option<Span> {
        self.timestamp().map(|at| at.since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_units_that_fail2ban_users_write() {
        for (text, secs) in [
            ("30", 30),
            ("30s", 30),
            ("10m", 600),
            ("1h 30m", 5_400),
            ("2d", 172_800),
            ("1d12h", 129_600),
            ("1w", 604_800),
        ] {
            assert_eq!(Span::parse(text), Ok(Span::from_secs(secs)), "{text}");
        }
    }

    #[test]
    fn says_which_unit_is_unknown() {
        let error = Span::parse("10x").unwrap_err();
        assert_eq!(error.to_string(), "\"10x\": unknown unit \"x\"; use s, m, h, d, w, mo or y");
    }

    #[test]
    fn a_ban_for_ever_outlasts_every_other() {
        assert!(End::Never > End::At(Timestamp::from_millis(i64::MAX)));
        assert_eq!(BanTime::parse("-1"), Ok(BanTime::Forever));
    }
}
