//! Counting as fail2ban counts: lines, not attempts, and a rate where failures are spread over more than `findtime`.
//!
//! One source has a first and a last time and a count. Once its first failure is older than `findtime`, the count
//! becomes what the same rate would have made in one `findtime` (rounded, halves to even), and one more for the
//! line at hand. Source: the behaviour of fail2ban 1.0.2.

use crate::filter::fail2ban::Subject;
use crate::hash::FastMap;
use crate::time::{Span, Timestamp};

/// The counts of one source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tally {
    /// The first failure that still counts.
    pub first: Timestamp,
    /// The last one.
    pub last: Timestamp,
    /// The count.
    pub retry: u32,
}

/// The counts of every source in one jail. At most `max_tracked` are kept: beyond that, those with the smallest counts
/// and the oldest failures are dropped first.
#[derive(Debug)]
pub struct Rates {
    tallies: FastMap<Subject, Tally>,
    maxretry: u32,
    findtime: Span,
    max_tracked: usize,
    lines: u32,
    next_sweep: Timestamp,
}

/// Bytes of a source in the table.
pub(crate) const EACH: usize = size_of::<(Subject, Tally)>();

/// Old counts are looked for after so many lines and with every ban, but no more often than this.
const SWEEP_EVERY: (u32, Span) = (100, Span::from_secs(5));

impl Rates {
    /// Nothing counted. `maxretry` failures within `findtime` ban.
    pub fn new(maxretry: u32, findtime: Span, max_tracked: usize) -> Rates {
        Rates {
            tallies: FastMap::default(),
            maxretry,
            findtime,
            max_tracked: max_tracked.max(16),
            lines: 0,
            next_sweep: Timestamp::default(),
        }
    }

    /// Takes over the counts of `old`, whose jail has been configured anew.
    pub fn adopt(&mut self, old: Rates) {
        self.tallies = old.tallies;
    }

    /// Counts a failure. If that is one too many, returns the tally, and the source begins anew.
    pub fn failure(&mut self, source: &Subject, time: Timestamp, now: Timestamp) -> Option<Tally> {
        let retry = self.count(source, time).retry;
        if retry < self.maxretry {
            return None;
        }
        let tally = self.tallies.remove(source);
        self.service(now);
        tally
    }

    /// Counts a failure and decides nothing.
    pub fn count(&mut self, source: &Subject, time: Timestamp) -> Tally {
        let findtime = self.findtime;
        if let Some(tally) = self.tallies.get_mut(source) {
            tally.reach(time, findtime);
            tally.retry = tally.retry.saturating_add(1);
            return *tally;
        }
        if self.tallies.len() >= self.max_tracked {
            self.evict();
        }
        let tally = Tally { first: time, last: time, retry: 1 };
        self.tallies.insert(source.clone(), tally);
        tally
    }

    /// Notes that a line was judged, whatever it said.
    pub fn line(&mut self, now: Timestamp) {
        self.lines = (self.lines + 1) % SWEEP_EVERY.0;
        if self.lines == 0 {
            self.service(now);
        }
    }

    /// Drops sources whose last failure is older than `findtime`, unless that was done just now.
    pub fn service(&mut self, now: Timestamp) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_EVERY.1;
        let start = now - self.findtime;
        self.tallies.retain(|_, tally| tally.last > start);
    }

    /// Removes a source's tally: it was banned by hand, or is forgiven.
    pub fn take(&mut self, source: &Subject) -> Option<Tally> {
        self.tallies.remove(source)
    }

    /// A source's tally.
    pub fn get(&self, source: &Subject) -> Option<Tally> {
        self.tallies.get(source).copied()
    }

    /// How many sources are counted.
    pub fn tracked(&self) -> usize {
        self.tallies.len()
    }

    /// Makes room: drops the sixteenth that matters least.
    fn evict(&mut self) {
        let rank = |tally: &Tally| (tally.retry, tally.last);
        let mut ranks: Vec<_> = self.tallies.values().map(rank).collect();
        let at = (ranks.len() / 16).min(ranks.len().saturating_sub(1));
        let (_, limit, _) = ranks.select_nth_unstable(at);
        let limit = *limit;
        self.tallies.retain(|_, tally| rank(tally) > limit);
    }
}

impl Tally {
    /// Moves the tally on to `time`; an earlier one changes nothing.
    fn reach(&mut self, time: Timestamp, findtime: Span) {
        if time <= self.last {
            return;
        }
        let start = time - findtime;
        if self.first < start {
            let elapsed = time.since(self.first).millis() as f64 / 1000.0;
            let rate = f64::from(self.retry) / elapsed * (findtime.millis() as f64 / 1000.0);
            self.retry = rate.round_ties_even() as u32;
            self.first = start;
        }
        self.last = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(number: u8) -> Subject {
        Subject::Net(crate::net::Prefix::host(std::net::IpAddr::from([192, 0, 2, number])))
    }

    fn count(times: &[i64], findtime: u64) -> Vec<u32> {
        let mut rates = Rates::new(u32::MAX, Span::from_secs(findtime), 100);
        times.iter().map(|secs| rates.count(&source(1), Timestamp::from_secs(*secs)).retry).collect()
    }

    #[test]
    fn beyond_findtime_the_count_is_a_rate() {
        // 3 in 700 s are 2.57 in 600 s, rounded 3, and one more.
        assert_eq!(count(&[0, 10, 20, 700], 600), [1, 2, 3, 4]);
        // 1 in 1200 s is 0.5 in 600 s: halves go to the even number.
        assert_eq!(count(&[0, 1200], 600), [1, 1]);
        // 3 in 1200 s are 1.5 in 600 s, which is 2.
        assert_eq!(count(&[0, 1, 2, 1200], 600), [1, 2, 3, 3]);
    }

    #[test]
    fn a_late_line_counts_and_moves_nothing() {
        assert_eq!(count(&[100, 50, 100], 60), [1, 2, 3]);
    }

    proptest! {
        #[test]
        fn a_source_below_the_rate_never_reaches_it(gap in 61u64..1_000, rounds in 1usize..200) {
            let times: Vec<i64> = (0..rounds as i64).map(|n| n * gap as i64).collect();
            prop_assert!(count(&times, 60).iter().all(|retry| *retry <= 2));
        }

        #[test]
        fn within_findtime_every_line_is_one(mut times in prop::collection::vec(0i64..600, 1..50)) {
            times.sort_unstable();
            let counted = count(&times, 600);
            prop_assert_eq!(counted.last().copied(), Some(times.len() as u32));
        }
    }

    #[test]
    fn the_worst_outlive_eviction() {
        let mut rates = Rates::new(10, Span::from_secs(600), 64);
        for _ in 0..4 {
            rates.count(&source(9), Timestamp::from_secs(1));
        }
        for number in 0..2_000u32 {
            let id = Subject::Id(number.to_string().into());
            rates.count(&id, Timestamp::from_secs(2 + i64::from(number)));
        }
        assert!(rates.tracked() <= 64);
        assert_eq!(rates.get(&source(9)).map(|tally| tally.retry), Some(4));
    }

    #[test]
    fn who_is_banned_begins_anew() {
        let mut rates = Rates::new(2, Span::from_secs(600), 64);
        let at = Timestamp::from_secs(1);
        assert_eq!(rates.failure(&source(1), at, at), None);
        assert_eq!(rates.failure(&source(1), at, at).map(|tally| tally.retry), Some(2));
        assert_eq!((rates.failure(&source(1), at, at), rates.tracked()), (None, 1));
    }
}
