//! From what a date says to a point in time.

use jiff::civil;
use jiff::tz::TimeZone;

use super::super::Clock;
use super::{Date, Minute};
use crate::time::{Span, Timestamp};

/// Turns dates into points in time; remembers the last minute, which most lines share.
#[derive(Debug, Clone, Default)]
pub struct Calendar {
    last: Option<Known>,
}

#[derive(Debug, Clone)]
struct Known {
    minute: Minute,
    /// Seconds east of UTC at that time.
    east: i32,
    start: Timestamp,
}

/// A stamp without a year may be that far ahead of now before it is taken for last year's.
const AHEAD: Span = Span::from_secs(24 * 3600);
const SHORTEST_YEAR: Span = Span::from_secs(365 * 24 * 3600);

impl Calendar {
    /// The point in time of a date; nothing if no such day exists.
    ///
    /// Without a zone the clock's zone holds. Without a year it is this year, or last year if that would be more
    /// than 24 h ahead of now.
    pub fn resolve(&mut self, date: Date, clock: &Clock) -> Option<Timestamp> {
        match date {
            Date::Epoch(millis) => Some(Timestamp::from_millis(millis)),
            Date::Civil(civil) => {
                let start = self.minute(civil.minute, clock)?;
                let millis = u64::from(civil.second) * 1000 + u64::from(civil.millis);
                Some(start + Span::from_millis(millis))
            }
        }
    }

    fn minute(&mut self, minute: Minute, clock: &Clock) -> Option<Timestamp> {
        if let Some(known) = &self.last
            && known.minute == minute
            && (minute.offset.is_some() || offset_at(&clock.zone, known.start) == Some(known.east))
            && (minute.year.is_some() || is_nearest(known.start, clock.now))
        {
            return Some(known.start);
        }
        let start = match minute.year {
            Some(year) => in_year(minute, year, &clock.zone),
            None => in_nearest_year(minute, clock),
        }?;
        let east = minute.offset.or_else(|| offset_at(&clock.zone, start))?;
        self.last = Some(Known { minute, east, start });
        Some(start)
    }
}

/// Comparing whole zones costs more than everything else here.
pub(in crate::filter) fn offset_at(zone: &TimeZone, at: Timestamp) -> Option<i32> {
    Some(zone.to_offset(jiff::Timestamp::from_second(at.secs()).ok()?).seconds())
}

/// True if a year-less stamp read as `start` would be read so at `now` as well.
fn is_nearest(start: Timestamp, now: Timestamp) -> bool {
    start <= now + AHEAD && now + AHEAD < start + SHORTEST_YEAR
}

fn in_nearest_year(minute: Minute, clock: &Clock) -> Option<Timestamp> {
    let now = jiff::Timestamp::from_millisecond(clock.now.millis()).ok()?;
    // A stamp of tomorrow may already lie in the next year. The 29th of February may lie eight years back.
    let latest = now.to_zoned(clock.zone.clone()).year() + 1;
    (0..=9)
        .filter_map(|back| in_year(minute, latest - back, &clock.zone))
        .find(|start| *start <= clock.now + AHEAD)
}

fn in_year(minute: Minute, year: i16, zone: &TimeZone) -> Option<Timestamp> {
    let local = civil::Date::new(year, minute.month, minute.day).ok()?.at(minute.hour, minute.minute, 0, 0);
    timestamp(local, minute.offset, zone)
}

/// From what a clock on the wall shows to a point in time. `east`: seconds east of UTC; without them the zone holds.
pub(in crate::filter) fn timestamp(
    local: civil::DateTime,
    east: Option<i32>,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let secs = match east {
        Some(east) => {
            let utc = TimeZone::UTC.to_timestamp(local).ok()?;
            utc.as_second() - i64::from(east)
        }
        None => zone.to_timestamp(local).ok()?.as_second(),
    };
    Some(Timestamp::from_secs(secs))
}
