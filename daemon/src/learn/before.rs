//! How many attempts failed in the week before the first start, by the logs: what the figures since then compare with.
//!
//! A journal and a log may both tell of an attempt, so for each jail and day the one counts that tells of more.

use std::collections::BTreeMap;

use pillory_core::event::{Event, Outcome};
use pillory_core::jail::JailIndex;
use pillory_core::jail::connections::{Connections, Line, tied};
use pillory_core::time::{Span, Timestamp};

use super::found::Told;

/// So far back is counted.
pub(super) const WEEK: Span = Span::from_secs(7 * 86_400);

const DAY_MS: u64 = 86_400_000;

/// See the module. Bounded by the days of a week and the jails.
#[derive(Debug)]
pub(super) struct Before {
    /// The moment of the first start.
    end: Timestamp,
    /// Attempts by jail and day back, as the journal and as the logs tell.
    counts: BTreeMap<(usize, u64), [u64; 2]>,
    connections: Connections,
    /// The first record of that week.
    oldest: Option<Timestamp>,
}

impl Before {
    /// Nothing, of the week before `end`.
    pub(super) fn new(end: Timestamp) -> Before {
        Before { end, counts: BTreeMap::new(), connections: Connections::default(), oldest: None }
    }

    /// Another file begins; true if a file that was `changed` then may hold something of that week.
    pub(super) fn begin(&mut self, changed: Timestamp) -> bool {
        self.connections = Connections::default();
        changed >= self.end - WEEK
    }

    /// The records reach back to this one at least, whatever it tells.
    pub(super) fn reaches(&mut self, stamp: Timestamp) {
        if stamp < self.end {
            let stamp = stamp.max(self.end - WEEK);
            self.oldest = Some(self.oldest.map_or(stamp, |oldest| oldest.min(stamp)));
        }
    }

    /// Counts what failed in that week.
    pub(super) fn count(&mut self, jail: usize, event: &Event, told: Told) {
        let Outcome::Failure { class, kind, attempts } = event.outcome else { return };
        let week = self.end - WEEK..self.end;
        let Some(at) = event.stamp.filter(|at| week.contains(at)) else { return };
        self.reaches(at);
        let line = Line { kind, attempts, class, user: None };
        let connection = tied(event.addr, event.connection.as_ref());
        let index = JailIndex::try_from(jail).unwrap_or(JailIndex::MAX);
        let new = self.connections.count(index, connection, &line, at).new_attempts;
        let day = self.end.since(at).millis() / DAY_MS;
        let counts = self.counts.entry((jail, day)).or_default();
        counts[usize::from(told == Told::Log)] += u64::from(new);
    }

    /// How many there were, and from when on that was counted; nothing if no record is of that week.
    pub(super) fn total(&self) -> Option<(u64, Timestamp)> {
        let attempts = self.counts.values().map(|[journal, log]| (*journal).max(*log)).sum();
        self.oldest.map(|oldest| (attempts, oldest))
    }
}

#[cfg(test)]
mod tests {
    use pillory_core::event::Class;

    use super::*;

    const END: Timestamp = Timestamp::from_secs(1_000_000);
    const HOUR: i64 = 3_600;

    fn failed(hours_ago: i64) -> Event {
        Event {
            stamp: Some(Timestamp::from_secs(END.secs() - hours_ago * HOUR)),
            addr: "198.51.100.7".parse().unwrap(),
            user: None,
            outcome: Outcome::Failure { class: Class::UnknownUser, kind: 0, attempts: 1 },
            connection: None,
            forwarded: Vec::new(),
        }
    }

    #[test]
    fn what_a_journal_and_a_log_tell_of_a_day_counts_once_and_the_larger_one() {
        let mut before = Before::new(END);
        assert_eq!(before.total(), None);
        for (hours, told, times) in
            [(1, Told::Journal, 3), (2, Told::Log, 5), (30, Told::Journal, 4), (31, Told::Log, 1)]
        {
            (0..times).for_each(|_| before.count(0, &failed(hours), told));
        }
        before.count(1, &failed(2), Told::Log);
        assert_eq!(before.total(), Some((5 + 4 + 1, END - Span::from_secs(31 * 3_600))));
    }

    #[test]
    fn records_of_before_the_week_count_nothing_and_show_that_it_is_whole() {
        let mut before = Before::new(END);
        before.count(0, &failed(7 * 24 + 1), Told::Log);
        before.count(0, &failed(-1), Told::Log);
        before.count(0, &Event { outcome: Outcome::Success, ..failed(3) }, Told::Log);
        assert_eq!(before.total(), None);
        before.reaches(END - WEEK - WEEK);
        assert_eq!(before.total(), Some((0, END - WEEK)));
        assert!(before.begin(END - WEEK) && !before.begin(END - WEEK - Span::from_secs(1)));
    }
}
