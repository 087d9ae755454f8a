//! Exact sliding windows: the failures of each source within `findtime`, in bounded memory.
//!
//! Nearly all sources of a crowd fail once, so the first failure lies in the table itself, and further ones in a row
//! of their own: 36 bytes a source, 32 each further failure, and five to fourteen of the table's index.

use std::cmp::Ordering;

use crate::event::Points;
use crate::net::Prefix;
use crate::reason::Counted;
use crate::table::PrefixMap;
use crate::table::slab::Slab;
use crate::time::{Span, Timestamp};

use super::policy::Policy;
use super::room::lowest;
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
    /// The connection, see [`part_of`]; 0 if unknown.
    pub connection: u32,
}

/// What a window keeps of a connection's number: enough to tell those of one source apart.
pub fn part_of(connection: u64) -> u32 {
    // Invariant: the mask leaves 32 bits.
    ((connection & 0xffff_ffff) as u32).max(1)
}

/// A failure as it is kept, without gaps, and where the next one of its source lies.
#[derive(Debug, Clone, Copy)]
#[repr(Rust, packed(4))]
struct Kept {
    time: Timestamp,
    user: u64,
    points: Points,
    tries: u32,
    connection: u32,
    next: u32,
}

/// No further failure.
const LAST: u32 = u32::MAX;

/// The windows of all jails. At most `max_tracked` sources are counted at once, and `FURTHER` times as many failures;
/// beyond that, those with the fewest points and the oldest failures are dropped first.
#[derive(Debug)]
pub struct Windows {
    /// The first failure of each source, by the jails' indexes.
    jails: Vec<PrefixMap<Kept>>,
    /// Failures after the first.
    more: Slab<Kept>,
    max_tracked: usize,
}

/// Bytes of a source of IPv6, with its first failure, and of each further one.
pub(crate) const EACH: [usize; 2] = [size_of::<(Prefix, Kept)>(), size_of::<Kept>()];

/// More failures than this are merged inside one window; reached only with a very large `maxretry`.
const MAX_FAILURES: usize = 1024;

/// So many further failures each source may have on average.
const FURTHER: usize = 4;

impl Windows {
    /// Empty windows.
    pub fn new(max_tracked: usize) -> Windows {
        Windows { jails: Vec::new(), more: Slab::default(), max_tracked: max_tracked.max(16) }
    }

    /// Adds a failure and returns the points that stand now. Failures older than `findtime` before it are dropped.
    pub fn add(&mut self, jail: JailIndex, source: Prefix, failure: Failure, policy: &Policy) -> Points {
        let is_new = self.of(jail).is_none_or(|sources| !sources.contains(source));
        let most = self.max_tracked.saturating_mul(FURTHER).max(FURTHER * MAX_FAILURES);
        if is_new && self.len() >= self.max_tracked {
            self.make_room();
        }
        // Who has the fewest points has the fewest failures: it may take several eighths of the sources.
        let is_full = self.more.len() >= most;
        while is_full && self.more.len() > most - most / 8 {
            self.make_room();
        }
        if is_new && policy.findtime > Span::default() {
            self.of_mut(jail).entry(source, || Kept::new(&failure, LAST));
            return failure.points;
        }
        let mut failures: Vec<Failure> = self.all(jail, source).collect();
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
        self.keep(jail, source, &failures);
        sum(failures.into_iter()).0
    }

    /// Removes a source's window and returns what was in it, oldest first.
    pub fn take(&mut self, jail: JailIndex, source: Prefix) -> Vec<Failure> {
        let failures = self.all(jail, source).collect();
        self.keep(jail, source, &[]);
        failures
    }

    /// Forgets the failures of one connection: it ended in a good login.
    pub fn forget_connection(&mut self, jail: JailIndex, source: Prefix, connection: u64) {
        let gone = part_of(connection);
        self.forget(jail, source, |failure| failure.connection == gone);
    }

    /// Forgets the failures for one user: that user logged in from there.
    pub fn forget_user(&mut self, jail: JailIndex, source: Prefix, user: u64) {
        self.forget(jail, source, |failure| failure.user == user);
    }

    /// Forgets the failures for one user who logged in from there, for the names that this one may have mistyped, and
    /// for those that nobody has.
    pub fn forget_owner(&mut self, jail: JailIndex, source: Prefix, user: &str) {
        if self.of(jail).is_some_and(|sources| sources.contains(source)) {
            let slips = names::slips_of(user);
            let is_gone = |user| user == names::NOBODY || slips.binary_search(&user).is_ok();
            self.forget(jail, source, |failure| is_gone(failure.user));
        }
    }

    /// Lowers what a source's failures cost to at most so many points a try.
    pub fn soften(&mut self, jail: JailIndex, source: Prefix, each: Points) {
        let mut failures: Vec<Failure> = self.all(jail, source).collect();
        for failure in &mut failures {
            failure.points = failure.points.min(each.times(failure.tries));
        }
        self.keep(jail, source, &failures);
    }

    fn forget(&mut self, jail: JailIndex, source: Prefix, gone: impl Fn(&Failure) -> bool) {
        let mut failures = self.take(jail, source);
        failures.retain(|failure| !gone(failure));
        self.keep(jail, source, &failures);
    }

    /// Points and tries of a source within `findtime` before `now`.
    pub fn sum(&self, jail: JailIndex, source: Prefix, now: Timestamp, findtime: Span) -> (Points, u32) {
        sum(self.failures(jail, source, now, findtime))
    }

    /// The failures of a source within `findtime` before `now`, oldest first.
    pub fn failures(
        &self,
        jail: JailIndex,
        source: Prefix,
        now: Timestamp,
        findtime: Span,
    ) -> impl Iterator<Item = Failure> {
        let start = now - findtime;
        self.all(jail, source).skip_while(move |failure| failure.time <= start)
    }

    /// Sources of a jail with at least these points, sorted.
    pub fn at_least(&self, jail: JailIndex, points: Points) -> Vec<Prefix> {
        let all = self.of(jail).into_iter().flat_map(PrefixMap::iter);
        let enough = all.filter(|(_, first)| sum(from(&self.more, **first)).0 >= points);
        let mut sources: Vec<Prefix> = enough.map(|(source, _)| source).collect();
        sources.sort();
        sources
    }

    /// How many sources a jail is counting.
    pub fn tracked(&self, jail: JailIndex) -> usize {
        self.of(jail).map_or(0, PrefixMap::len)
    }

    /// Drops sources whose last failure is older than their jail's `findtime`.
    pub fn sweep(&mut self, now: Timestamp, findtimes: &[Span]) {
        self.retain(|jail, last| findtimes.get(jail).is_some_and(|findtime| last > now - *findtime));
    }

    /// Gives each jail its new index; windows of jails that are gone are dropped.
    pub fn renumber(&mut self, moved: &[Option<JailIndex>]) {
        self.retain(|jail, _| moved.get(jail).copied().flatten().is_some());
        for (old, sources) in std::mem::take(&mut self.jails).into_iter().enumerate() {
            if let Some(new) = moved.get(old).copied().flatten() {
                *self.of_mut(new) = sources;
            }
        }
    }

    fn len(&self) -> usize {
        self.jails.iter().map(PrefixMap::len).sum()
    }

    fn of(&self, jail: JailIndex) -> Option<&PrefixMap<Kept>> {
        self.jails.get(usize::from(jail))
    }

    fn of_mut(&mut self, jail: JailIndex) -> &mut PrefixMap<Kept> {
        let at = usize::from(jail);
        if self.jails.len() <= at {
            self.jails.resize_with(at + 1, PrefixMap::default);
        }
        &mut self.jails[at]
    }

    /// All failures of a source, oldest first.
    fn all(&self, jail: JailIndex, source: Prefix) -> impl Iterator<Item = Failure> {
        let first = self.of(jail).and_then(|sources| sources.get(source));
        first.into_iter().flat_map(|first| from(&self.more, *first))
    }

    /// Replaces what is kept of a source.
    fn keep(&mut self, jail: JailIndex, source: Prefix, failures: &[Failure]) {
        let old = self.of(jail).and_then(|sources| sources.get(source)).map_or(LAST, |first| first.next);
        drop_from(&mut self.more, old);
        let Some((first, more)) = failures.split_first() else {
            if let Some(sources) = self.jails.get_mut(usize::from(jail)) {
                sources.remove(source);
            }
            return;
        };
        // From the last one on, each names the one behind it.
        let next = more.iter().rev().fold(LAST, |next, failure| self.more.add(Kept::new(failure, next)));
        let first = Kept::new(first, next);
        *self.of_mut(jail).entry(source, || first) = first;
    }

    /// Drops the eighth that matters least.
    fn make_room(&mut self) {
        let more = &self.more;
        let rank = |first: &Kept| {
            let last = from(more, *first).last();
            (sum(from(more, *first)).0, last.map(|last| last.time))
        };
        let all =
            || (0..).zip(&self.jails).flat_map(|(jail, sources)| sources.iter().map(move |all| (jail, all)));
        let Some((limit, of_limit)) = lowest(all().map(|(_, (_, first))| rank(first)).collect()) else {
            return;
        };
        let mut gone: Vec<(JailIndex, Prefix)> = Vec::new();
        let mut equals: Vec<(JailIndex, Prefix)> = Vec::new();
        for (jail, (source, first)) in all() {
            match rank(first).cmp(&limit) {
                Ordering::Less => gone.push((jail, source)),
                Ordering::Equal => equals.push((jail, source)),
                Ordering::Greater => {}
            }
        }
        equals.sort_unstable();
        equals.truncate(of_limit);
        for (jail, source) in gone.into_iter().chain(equals) {
            self.keep(jail, source, &[]);
        }
        self.compact();
    }

    /// Keeps the sources whose jail and last failure are such.
    fn retain(&mut self, keep: impl Fn(usize, Timestamp) -> bool) {
        let Windows { jails, more, .. } = self;
        for (jail, sources) in jails.iter_mut().enumerate() {
            sources.retain(|_, first| {
                let stays = from(more, *first).last().is_some_and(|last| keep(jail, last.time));
                if !stays {
                    drop_from(more, first.next);
                }
                stays
            });
        }
        self.compact();
    }

    /// Gives back what a crowd that is gone had needed.
    fn compact(&mut self) {
        if !self.more.is_sparse() {
            return;
        }
        let old = std::mem::take(&mut self.more);
        let more = &mut self.more;
        for sources in &mut self.jails {
            sources.retain(|_, first| {
                let failures: Vec<Failure> = from(&old, *first).skip(1).collect();
                first.next =
                    failures.iter().rev().fold(LAST, |next, failure| more.add(Kept::new(failure, next)));
                true
            });
        }
    }
}

impl Kept {
    fn new(failure: &Failure, next: u32) -> Kept {
        let Failure { time, points, tries, user, connection } = *failure;
        Kept { time, user, points, tries, connection, next }
    }

    fn failure(self) -> Failure {
        let Kept { time, user, points, tries, connection, .. } = self;
        Failure { time, points, tries, user, connection }
    }
}

/// A failure and those behind it.
fn from(more: &Slab<Kept>, first: Kept) -> impl Iterator<Item = Failure> {
    let next = |kept: &Kept| (kept.next != LAST).then(|| *more.of(kept.next));
    std::iter::successors(Some(first), next).map(Kept::failure)
}

fn drop_from(more: &mut Slab<Kept>, mut next: u32) {
    while next != LAST {
        let gone = next;
        next = more.of(gone).next;
        more.remove(gone);
    }
}

fn sum(failures: impl Iterator<Item = Failure>) -> (Points, u32) {
    failures.fold((Points(0), 0u32), |(points, tries), failure| {
        (points.plus(failure.points), tries.saturating_add(failure.tries))
    })
}

/// What these failures say.
pub fn evidence(failures: &[Failure], when: Timestamp) -> Counted {
    let (points, tries) = sum(failures.iter().copied());
    let first = failures.first().map_or(when, |failure| failure.time);
    Counted::new(tries, when.since(first), Some(points))
}

#[cfg(test)]
mod tests;
