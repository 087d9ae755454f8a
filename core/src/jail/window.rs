//! Exact sliding windows: the failures of each source within `findtime`, in bounded memory.

use crate::event::Points;
use crate::hash::FastMap;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::policy::Policy;
use super::room::make_room;
use super::{JailIndex, names};

/// One counted failure inside a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// When.
    pub time: Timestamp,
    /// Points of all its tries.
    pub points: Points,
    /// How many tries it stands for.
    pub tries: u32,
    /// Hash of the user that was tried; 0 if unknown.
    pub user: u64,
    /// Hash of the connection; 0 if unknown.
    pub connection: u64,
}

/// The windows of all jails. At most `max_tracked` sources are counted at once; beyond that, those with the
/// fewest points and the oldest failures are dropped first.
#[derive(Debug)]
pub struct Windows {
    sources: FastMap<(JailIndex, Prefix), Vec<Failure>>,
    max_tracked: usize,
}

/// Bytes of a source in the table, and of each of its failures beside it.
pub(crate) const EACH: [usize; 2] = [size_of::<((JailIndex, Prefix), Vec<Failure>)>(), size_of::<Failure>()];

/// More failures than this are merged inside one window; reached only with a very large `maxretry`.
const MAX_FAILURES: usize = 1024;

impl Windows {
    /// Empty windows.
    pub fn new(max_tracked: usize) -> Windows {
        Windows { sources: FastMap::default(), max_tracked: max_tracked.max(16) }
    }

    /// Adds a failure and returns the points that stand now. Failures older than `findtime` before it are dropped.
    pub fn add(&mut self, jail: JailIndex, source: Prefix, failure: Failure, policy: &Policy) -> Points {
        if self.sources.len() >= self.max_tracked && !self.sources.contains_key(&(jail, source)) {
            make_room(&mut self.sources, |_, failures| {
                (sum(failures).0, failures.last().map(|last| last.time))
            });
        }
        // Most sources fail once; a growing vector would begin with room for four.
        let failures = self.sources.entry((jail, source)).or_insert_with(|| Vec::with_capacity(1));
        // Lines may arrive slightly out of order; the window stays sorted by time.
        let at = failures.partition_point(|known| known.time <= failure.time);
        failures.insert(at, failure);
        let newest = failures.last().map_or(failure.time, |last| last.time);
        let start = newest - policy.findtime;
        failures.retain(|known| known.time > start);
        if failures.len() > MAX_FAILURES {
            let oldest = failures.remove(0);
            failures[0].points = failures[0].points.plus(oldest.points);
            failures[0].tries = failures[0].tries.saturating_add(oldest.tries);
        }
        sum(failures).0
    }

    /// Removes a source's window and returns what was in it, oldest first.
    pub fn take(&mut self, jail: JailIndex, source: Prefix) -> Vec<Failure> {
        self.sources.remove(&(jail, source)).unwrap_or_default()
    }

    /// Forgets the failures of one connection: it ended in a good login.
    pub fn forget_connection(&mut self, jail: JailIndex, source: Prefix, connection: u64) {
        self.forget(jail, source, |failure| failure.connection == connection);
    }

    /// Forgets the failures for one user: that user logged in from there.
    pub fn forget_user(&mut self, jail: JailIndex, source: Prefix, user: u64) {
        self.forget(jail, source, |failure| failure.user == user);
    }

    /// Forgets the failures for one user who logged in from there, for the names that this one may have mistyped, and
    /// for those that nobody has.
    pub fn forget_owner(&mut self, jail: JailIndex, source: Prefix, user: &str) {
        if self.sources.contains_key(&(jail, source)) {
            let slips = names::slips_of(user);
            let is_gone = |user| user == names::NOBODY || slips.binary_search(&user).is_ok();
            self.forget(jail, source, |failure| is_gone(failure.user));
        }
    }

    /// Lowers what a source's failures cost to at most so many points a try.
    pub fn soften(&mut self, jail: JailIndex, source: Prefix, each: Points) {
        for failure in self.sources.get_mut(&(jail, source)).into_iter().flatten() {
            failure.points = failure.points.min(each.times(failure.tries));
        }
    }

    fn forget(&mut self, jail: JailIndex, source: Prefix, gone: impl Fn(&Failure) -> bool) {
        if let Some(failures) = self.sources.get_mut(&(jail, source)) {
            failures.retain(|failure| !gone(failure));
            if failures.is_empty() {
                self.sources.remove(&(jail, source));
            }
        }
    }

    /// Points and tries of a source within `findtime` before `now`.
    pub fn sum(&self, jail: JailIndex, source: Prefix, now: Timestamp, findtime: Span) -> (Points, u32) {
        sum(self.failures(jail, source, now, findtime))
    }

    /// The failures of a source within `findtime` before `now`.
    pub fn failures(&self, jail: JailIndex, source: Prefix, now: Timestamp, findtime: Span) -> &[Failure] {
        let start = now - findtime;
        let failures = self.sources.get(&(jail, source)).map_or(&[][..], Vec::as_slice);
        &failures[failures.partition_point(|failure| failure.time <= start)..]
    }

    /// Sources of a jail with at least these points, sorted.
    pub fn at_least(&self, jail: JailIndex, points: Points) -> Vec<Prefix> {
        let of_jail =
            self.sources.iter().filter(|((index, _), failures)| *index == jail && sum(failures).0 >= points);
        let mut sources: Vec<Prefix> = of_jail.map(|((_, source), _)| *source).collect();
        sources.sort();
        sources
    }

    /// How many sources a jail is counting.
    pub fn tracked(&self, jail: JailIndex) -> usize {
        self.sources.keys().filter(|(index, _)| *index == jail).count()
    }

    /// Drops sources whose last failure is older than their jail's `findtime`.
    pub fn sweep(&mut self, now: Timestamp, findtimes: &[Span]) {
        self.sources.retain(|(jail, _), failures| {
            let start = findtimes.get(usize::from(*jail)).map(|findtime| now - *findtime);
            start.is_some_and(|start| failures.last().is_some_and(|last| last.time > start))
        });
        self.sources.shrink_to(self.sources.len() * 2);
    }

    /// Gives each jail its new index; windows of jails that are gone are dropped.
    pub fn renumber(&mut self, moved: &[Option<JailIndex>]) {
        let old = std::mem::take(&mut self.sources);
        self.sources = old
            .into_iter()
            .filter_map(|((jail, source), failures)| {
                let new = moved.get(usize::from(jail)).copied().flatten()?;
                Some(((new, source), failures))
            })
            .collect();
    }
}

fn sum(failures: &[Failure]) -> (Points, u32) {
    failures.iter().fold((Points(0), 0u32), |(points, tries), failure| {
        (points.plus(failure.points), tries.saturating_add(failure.tries))
    })
}

/// How many tries these failures stand for, and what they say in words.
pub fn evidence(failures: &[Failure], when: Timestamp) -> (u32, String) {
    let tries: u32 = failures.iter().map(|failure| failure.tries).sum();
    let points = failures.iter().fold(Points(0), |sum, failure| sum.plus(failure.points));
    let first = failures.first().map_or(when, |failure| failure.time);
    let plural = if tries == 1 { "failure" } else { "failures" };
    let span = when.since(first);
    let reason = match span.secs() {
        0 => format!("{tries} {plural} at once, {points} points"),
        _ => format!("{tries} {plural} in {span}, {points} points"),
    };
    (tries, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failure(secs: i64) -> Failure {
        Failure { time: Timestamp::from_secs(secs), points: Points(100), tries: 1, user: 0, connection: 0 }
    }

    fn source(number: u32) -> Prefix {
        Prefix::host(std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(number)))
    }

    proptest! {
        #[test]
        fn the_window_holds_exactly_what_lies_within_findtime(times in prop::collection::vec(0i64..500, 1..60), findtime in 1u64..200) {
            let policy = Policy { findtime: Span::from_secs(findtime), ..Policy::default() };
            let mut windows = Windows::new(100);
            let mut seen: Vec<i64> = Vec::new();
            for time in times {
                let points = windows.add(0, source(1), failure(time), &policy);
                seen.push(time);
                let newest = seen.iter().copied().max().unwrap();
                // What an out-of-order line finds dropped stays dropped; both rules agree on what is kept.
                seen.retain(|known| *known > newest - findtime as i64);
                prop_assert_eq!(points, Points(100 * seen.len() as u32));
            }
        }
    }

    #[test]
    fn the_worst_offenders_outlive_eviction() {
        let mut windows = Windows::new(64);
        let policy = Policy::default();
        for _ in 0..4 {
            windows.add(0, source(9), failure(1), &policy);
        }
        for number in 1000..5000 {
            windows.add(0, source(number), failure(2), &policy);
        }
        assert!(windows.tracked(0) <= 64);
        assert_eq!(windows.sum(0, source(9), Timestamp::from_secs(3), policy.findtime).1, 4);
    }
}
