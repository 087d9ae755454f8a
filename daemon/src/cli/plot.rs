//! Bars on a terminal: attempts along the time.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::tz::TimeZone;

use pillory_core::time::{Span, Timestamp};

use super::rehearse::report::grouped;
use super::scan::report::at;

/// What stands before a bar: when, and how many.
const BEFORE: usize = 25;

/// Attempts in all, and those of them that are drawn solid.
pub(super) type Counts = (u64, u64);

/// A step of time is a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Hour,
    Day,
    Week,
}

impl Step {
    /// So that there are no more bars than somebody looks at.
    fn of(span: Span) -> Step {
        match span.secs() / 3_600 {
            0..=48 => Step::Hour,
            49..=1_488 => Step::Day,
            _ => Step::Week,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Step::Hour => "hour by hour",
            Step::Day => "day by day",
            Step::Week => "week by week",
        }
    }

    /// The number of the step that holds this moment, of local days and of weeks that begin on Monday.
    fn number(self, moment: Timestamp, zone: &TimeZone) -> i64 {
        let offset =
            jiff::Timestamp::from_millisecond(moment.millis()).map(|moment| zone.to_offset(moment).seconds());
        let day = (moment.secs() + i64::from(offset.unwrap_or(0))).div_euclid(86_400);
        match self {
            Step::Hour => moment.secs().div_euclid(3_600),
            Step::Day => day,
            // The first day of 1970 was a Thursday.
            Step::Week => (day + 3).div_euclid(7),
        }
    }

    fn label(self, number: i64, zone: &TimeZone) -> String {
        let day = |day: i64| at(Timestamp::from_secs(day * 86_400), &TimeZone::UTC, "%a %b %e");
        match self {
            Step::Hour => at(Timestamp::from_secs(number * 3_600), zone, "%b %e %H:00"),
            Step::Day => day(number),
            Step::Week => day(number * 7 - 3),
        }
    }
}

/// Attempts by the minute, as numbers of minutes since 1970, as bars of longer steps from the first to the last.
pub(super) fn along_the_time(
    minutes: impl Iterator<Item = (i64, Counts)> + Clone,
    zone: &TimeZone,
    columns: usize,
) -> String {
    let moments = || minutes.clone().map(|(minute, _)| Timestamp::from_secs(minute * 60));
    let (Some(first), Some(last)) = (moments().min(), moments().max()) else { return String::new() };
    let step = Step::of(last.since(first));
    let all = step.number(first, zone)..=step.number(last, zone);
    let mut bars: BTreeMap<i64, Counts> = all.map(|number| (number, (0, 0))).collect();
    for (minute, (all, solid)) in minutes {
        let bar = bars.entry(step.number(Timestamp::from_secs(minute * 60), zone)).or_default();
        *bar = (bar.0 + all, bar.1 + solid);
    }
    let bars: Vec<(String, Counts)> =
        bars.into_iter().map(|(number, counts)| (step.label(number, zone), counts)).collect();
    format!("{}\n{}", step.title(), draw(&bars, columns))
}

/// A bar a line, the longest as long as there is room.
pub(super) fn draw(bars: &[(String, Counts)], columns: usize) -> String {
    let most = bars.iter().map(|(_, (all, _))| *all).max().unwrap_or(0).max(1);
    let mut text = String::new();
    for (label, (all, solid)) in bars {
        let drawn = bar((*all, *solid), most, columns.saturating_sub(BEFORE + 2).max(10));
        let line = format!("{label:>12} {:>11}  {drawn}", grouped(*all));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The solid part in eighths of a character, the rest shaded.
fn bar((all, solid): Counts, most: u64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = |count: u64| (u128::from(count) * (width as u128) * 8).div_ceil(u128::from(most)) as usize;
    let solid = eighths(solid);
    let drawn = format!("{}{}", "█".repeat(solid / 8), EIGHTHS[solid % 8]);
    let shaded = eighths(all).div_ceil(8).saturating_sub(solid.div_ceil(8));
    drawn + &"░".repeat(shaded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUNDAY: i64 = 1_795_910_400 / 60;

    fn plot(minutes: &[(i64, Counts)]) -> String {
        along_the_time(minutes.iter().copied(), &TimeZone::UTC, 50)
    }

    #[test]
    fn steps_without_attempts_have_an_empty_bar_and_a_long_time_has_long_steps() {
        let hours = plot(&[(SUNDAY, (4, 4)), (SUNDAY + 121, (2, 2))]);
        let lines: Vec<&str> = hours.lines().collect();
        assert_eq!(lines.len(), 4, "{hours}");
        assert!(lines[0] == "hour by hour" && lines[2].ends_with(" 0"), "{hours}");
        let days = plot(&[(SUNDAY, (4, 4)), (SUNDAY + 1_440 * 9, (1, 1))]);
        assert!(days.starts_with("day by day\n") && days.lines().count() == 11, "{days}");
        let weeks = plot(&[(SUNDAY, (4, 4)), (SUNDAY + 1_440 * 70, (1, 1))]);
        assert!(weeks.starts_with("week by week\n") && weeks.lines().count() == 12, "{weeks}");
    }

    #[test]
    fn a_bar_is_solid_as_far_as_it_goes_and_shaded_beyond() {
        assert_eq!(bar((8, 8), 8, 4), "████");
        assert_eq!(bar((8, 2), 8, 4), "█░░░");
        assert_eq!(bar((4, 0), 8, 4), "░░");
        assert_eq!(bar((1, 1), 64, 4), "▏");
        assert_eq!(bar((0, 0), 8, 4), "");
    }
}
