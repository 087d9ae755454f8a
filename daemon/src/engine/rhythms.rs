//! How often logs have lines: what a silence is measured by. The store keeps it, so neither a reload nor a restart forgets
//! that a log has gone silent.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::sources::{Feed, FeedId, Wanted};

/// Of every feed that ever had a line.
#[derive(Debug, Default)]
pub(super) struct Rhythms(HashMap<FeedId, Rhythm>);

impl Rhythms {
    /// As they were kept, of these feeds.
    pub(super) fn restored(feeds: &[Feed], kept: &str) -> Rhythms {
        let known: BTreeMap<String, Rhythm> = match kept {
            "" => BTreeMap::new(),
            kept => serde_json::from_str(kept).unwrap_or_else(|error| {
                warn!(%error, "how often logs have lines cannot be read; it is learnt anew");
                BTreeMap::new()
            }),
        };
        let of = |feed: &Feed| Some((feed.id, *known.get(&name(feed))?));
        Rhythms(feeds.iter().filter_map(of).collect())
    }

    /// To be kept, by the names of these feeds; empty if there is nothing.
    pub(super) fn kept(&self, feeds: &[Feed]) -> String {
        let of = |feed: &Feed| Some((name(feed), *self.0.get(&feed.id)?));
        let known: BTreeMap<String, Rhythm> = feeds.iter().filter_map(of).collect();
        // Invariant: numbers by names always become JSON.
        if known.is_empty() { String::new() } else { serde_json::to_string(&known).unwrap_or_default() }
    }

    pub(super) fn heard(&mut self, feed: FeedId) {
        self.0.entry(feed).or_default().line();
    }

    /// A minute is over.
    pub(super) fn minute(&mut self) {
        self.0.values_mut().for_each(Rhythm::minute);
    }

    /// The rhythm of a feed that is silent.
    pub(super) fn silent(&self, feed: FeedId) -> Option<Rhythm> {
        self.0.get(&feed).copied().filter(|rhythm| rhythm.is_silent())
    }
}

/// What a feed reads: its number changes with the configuration, this does not.
pub(super) fn name(feed: &Feed) -> String {
    match &feed.what {
        Wanted::Lines(pattern) => format!("file:{pattern}"),
        Wanted::Btmp(path) => format!("btmp:{}", path.display()),
        Wanted::Journal { directory, matches } => {
            let directory = directory.iter().map(|path| path.display().to_string()).collect::<String>();
            let pairs = |all: &Vec<(String, String)>| {
                all.iter().map(|(field, value)| format!("{field}={value}")).collect::<Vec<_>>().join(" ")
            };
            let matches: Vec<String> = matches.iter().map(pairs).collect();
            format!("journal:{directory}:{}", matches.join(" + "))
        }
    }
}

/// How often a log has lines, in minutes in which the daemon ran: a host that slept was not silent.
///
/// A log is silent if it had lines for [`Rhythm::KNOWN`] at least and has none for eight times the longest silence before,
/// and six hours at least. So an office whose host is quiet for 14 hours at night may be quiet for more than four days over
/// a holiday, and a host that is idle by nature has silences of its own to be measured by; one that is attacked each
/// minute is missed after six hours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rhythm {
    /// Minutes from its first line to its last.
    known: u32,
    /// Minutes since its last line.
    pub(super) silence: u32,
    /// The longest silence before this one.
    pub(super) longest: u32,
}

impl Rhythm {
    /// Two days, so that two nights are in them.
    const KNOWN: u32 = 2 * 24 * 60;
    const LEAST: u32 = 6 * 60;
    const TIMES: u32 = 8;

    fn line(&mut self) {
        self.longest = self.longest.max(self.silence);
        self.known = self.known.saturating_add(self.silence);
        self.silence = 0;
    }

    fn minute(&mut self) {
        self.silence = self.silence.saturating_add(1);
    }

    fn is_silent(self) -> bool {
        let usual = self.longest.saturating_mul(Self::TIMES);
        self.known >= Self::KNOWN && self.silence >= usual.max(Self::LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays the minutes of so many days; `line`: whether there is a line in that minute. Returns the first minute in
    /// which the log counts as silent.
    fn silent_at(days: u32, line: impl Fn(u32) -> bool) -> Option<u32> {
        let mut rhythm = Rhythm::default();
        (0..days * 24 * 60).find(|minute| {
            rhythm.minute();
            if line(*minute) {
                rhythm.line();
            }
            rhythm.is_silent()
        })
    }

    const DAY: u32 = 24 * 60;

    #[test]
    fn a_log_that_is_written_all_the_time_is_missed_after_six_hours() {
        let stops = 3 * DAY;
        let found = silent_at(10, |minute| minute < stops && minute % 5 == 0).unwrap();
        assert!((stops + 6 * 60 - 6..=stops + 6 * 60).contains(&found), "{found}");
    }

    #[test]
    fn nights_weekends_and_holidays_of_an_office_are_no_silence() {
        let works = |minute: u32| {
            let (day, hour) = (minute / DAY, minute / 60 % 24);
            // From Monday on; Easter from Friday to Monday in the first week.
            let is_off = day % 7 >= 5 || [4, 7].contains(&day);
            !is_off && (8..18).contains(&hour) && minute.is_multiple_of(20)
        };
        assert_eq!(silent_at(60, works), None);
    }

    #[test]
    fn a_host_where_hardly_anything_happens_is_not_missed() {
        for every in [DAY, 3 * DAY, 7 * DAY] {
            assert_eq!(silent_at(60, |minute| minute % every == every - 1), None, "{every}");
        }
        assert_eq!(silent_at(60, |minute| minute == 7), None, "one line only");
    }

    #[test]
    fn a_silence_outlives_a_restart_and_feeds_that_are_numbered_anew() {
        let feed = |id: FeedId, path: &str| Feed { id, what: Wanted::Lines(path.to_owned()) };
        let mut rhythms = Rhythms::default();
        for minute in 0..3 * DAY + 7 * 60 {
            rhythms.minute();
            if minute < 3 * DAY {
                rhythms.heard(0);
            }
            rhythms.heard(1);
        }
        let is_silent = |rhythms: &Rhythms| [0, 1, 2].map(|feed| rhythms.silent(feed).is_some());
        assert_eq!(is_silent(&rhythms), [true, false, false]);
        let kept = rhythms.kept(&[feed(0, "/var/log/auth.log"), feed(1, "/var/log/mail.log")]);
        let new = [feed(0, "/var/log/mail.log"), feed(1, "/var/log/new.log"), feed(2, "/var/log/auth.log")];
        let restored = Rhythms::restored(&new, &kept);
        assert_eq!(is_silent(&restored), [false, false, true]);
        assert_eq!(Rhythms::restored(&new, &restored.kept(&new)).kept(&new), kept);
        assert_eq!(Rhythms::restored(&new, "{").kept(&new), "");
    }

    #[test]
    fn a_log_that_had_lines_for_a_day_only_is_not_known_well_enough() {
        assert_eq!(silent_at(30, |minute| minute < DAY), None);
    }
}
