//! Date patterns of a filter's own, read by fail2ban's rules, whatever year it is.

use super::Clock;
use super::datepattern::{Date, Found};
use super::dates::{DatePatternError, Detector, Options};
use crate::time::Timestamp;

/// Until a line shows what time it is.
pub(super) const FIRST_YEAR: i16 = 2000;

/// Finds dates by patterns.
#[derive(Debug)]
pub(super) struct Dates {
    datepattern: String,
    detector: Detector,
    years: Years,
}

impl Dates {
    /// Compiles patterns, one a line.
    /// # Errors
    /// The first pattern that cannot be used.
    pub(super) fn compile(datepattern: &str) -> Result<Dates, DatePatternError> {
        let detector = detector(Some(datepattern), FIRST_YEAR)?;
        Ok(Dates { datepattern: datepattern.to_owned(), detector, years: Years::default() })
    }

    /// Finds the date of a line; nothing if it has none, or one that is no point in time.
    pub(super) fn find(&mut self, line: &[u8], clock: &Clock) -> Option<Found> {
        if let Some(year) = self.years.turned(clock.now) {
            // Invariant: patterns that could be used in one year can be used in every year.
            self.detector = detector(Some(&self.datepattern), year).unwrap_or(self.detector.clone());
        }
        let found = self.detector.find(line, clock)?;
        Some(Found { range: found.range, date: Date::Epoch(found.time.ok()?.millis()) })
    }
}

/// A detector of that year.
/// # Errors
/// The first pattern that cannot be used.
pub(super) fn detector(datepattern: Option<&str>, year: i16) -> Result<Detector, DatePatternError> {
    Detector::new(&Options { datepattern, logtimezone: None, year })
}

/// Notices that another year has begun: a detector knows the years about its own only.
#[derive(Debug, Default)]
pub(super) struct Years {
    day: Option<i64>,
    year: Option<i16>,
}

impl Years {
    /// The year, if it is not the one that was told last.
    pub(super) fn turned(&mut self, now: Timestamp) -> Option<i16> {
        let day = now.secs().div_euclid(86_400);
        if self.day.replace(day) == Some(day) {
            return None;
        }
        let now = jiff::Timestamp::from_second(now.secs()).ok()?;
        let year = jiff::tz::TimeZone::UTC.to_datetime(now).year();
        (self.year.replace(year) != Some(year)).then_some(year)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(now: &str) -> Clock {
        let now: jiff::Timestamp = now.parse().unwrap();
        Clock { now: Timestamp::from_secs(now.as_second()), zone: jiff::tz::TimeZone::UTC }
    }

    #[test]
    fn dates_are_found_in_whatever_year_it_is() {
        let mut dates = Dates::compile("^%ExY-%m-%d %H:%M:%S").unwrap();
        for (now, line, is_date) in [
            ("2026-11-22T12:00:00Z", "2026-11-22 07:57:11 x", true),
            ("2026-11-22T12:00:00Z", "2077-11-22 07:57:11 x", false),
            ("2077-11-22T12:00:00Z", "2077-11-22 07:57:11 x", true),
        ] {
            assert_eq!(dates.find(line.as_bytes(), &clock(now)).is_some(), is_date, "{now} {line}");
        }
    }

    #[test]
    fn a_year_is_told_once() {
        let mut years = Years::default();
        let mut told = |now| years.turned(clock(now).now);
        assert_eq!(told("2026-12-31T10:00:00Z"), Some(2026));
        assert_eq!((told("2026-12-31T11:00:00Z"), told("2026-12-30T11:00:00Z")), (None, None));
        assert_eq!(told("2027-01-01T00:00:00Z"), Some(2027));
    }
}
