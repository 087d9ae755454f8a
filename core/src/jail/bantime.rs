//! Memory of past bans: how far up the ladder a prefix has climbed, and how far down again since.
//!
//! A ban counts for the very prefix that was counted: an address (or an IPv6 /64) answers for itself. A network of
//! neighbours says nothing about each of its addresses, innocent ones among them, and lasts as long as its evidence,
//! so neither's bans count for the other.
//!
//! On the ladder (`bantime`) the past is forgiven evenly: of n bans one for each n-th part of `retention` that passes
//! without another. So nobody who was on top yesterday is a stranger today, and the last ban is forgotten when the store
//! forgets it, too. Where bans grow as fail2ban's do, all of them count until `retention` has passed without another.
//! A restart counts anew what the store still has: the bans of the last `retention`.

use std::hash::BuildHasher as _;

use crate::event::JailName;
use crate::hash::{FastMap, FastState};
use crate::net::Prefix;
use crate::table::PrefixMap;
use crate::time::{Span, Timestamp};

use super::room::{lowest, make_room};

/// So many prefixes are remembered, and as many more by jail, in some 20 and 24 MiB.
/// Beyond it those with the fewest bans go first, and of these the ones that were banned longest ago.
pub const MOST: usize = (1 << 20) / 8 * 7;

/// What is remembered of a prefix.
#[derive(Debug, Clone, Copy)]
struct Past {
    /// When its last ban began, in seconds: half of a [`Timestamp`].
    last: u32,
    /// Its bans so far.
    all: u16,
    /// How many of them were not forgiven at `last`.
    standing: u16,
}

/// Bytes of a prefix in the table, and of a count of a single jail in the other.
pub(crate) const EACH: [usize; 2] = [size_of::<(Prefix, Past)>(), size_of::<((u16, Prefix), u16)>()];

/// How often each prefix was banned, as far as remembered.
#[derive(Debug)]
pub struct PastBans {
    bans: PrefixMap<Past>,
    /// Bans by single jails, for those that ask for it: by their place in `jails`.
    by_jail: FastMap<(u16, Prefix), u16>,
    jails: Vec<JailName>,
    /// No ban of `bans` began before, in seconds.
    oldest: u32,
    memory: Span,
    most: usize,
    seed: FastState,
}

impl Default for PastBans {
    fn default() -> PastBans {
        PastBans {
            bans: PrefixMap::default(),
            by_jail: FastMap::default(),
            jails: Vec::new(),
            oldest: u32::MAX,
            memory: Span::from_secs(90 * 86_400),
            most: MOST,
            seed: FastState::default(),
        }
    }
}

impl Past {
    /// How many of its bans are not forgiven at `now`.
    fn standing_at(self, now: u32, memory: Span) -> u16 {
        let (quiet, memory) = (u64::from(now.saturating_sub(self.last)), memory.secs().max(1));
        let forgiven = u64::from(self.standing) * quiet.min(memory) / memory;
        self.standing.saturating_sub(u16::try_from(forgiven).unwrap_or(u16::MAX))
    }

    fn is_over(self, now: u32, memory: Span) -> bool {
        u64::from(now.saturating_sub(self.last)) >= memory.secs()
    }
}

impl PastBans {
    /// Sets how long a ban is remembered after it began (`retention`).
    pub fn set_memory(&mut self, memory: Span) {
        self.memory = memory;
    }

    /// How long a ban is remembered.
    pub fn memory(&self) -> Span {
        self.memory
    }

    /// Sets how many prefixes are remembered, [`MOST`] if it was never said.
    pub fn set_most(&mut self, most: usize) {
        self.most = most.max(8);
    }

    /// Counts the bans of these jails for each of them, too.
    pub fn set_jails(&mut self, jails: impl IntoIterator<Item = JailName>) {
        let old = std::mem::replace(&mut self.jails, jails.into_iter().collect());
        let place = |jail: &JailName| self.jails.iter().position(|known| known == jail);
        let moved: Vec<Option<u16>> = old.iter().map(|jail| place(jail)?.try_into().ok()).collect();
        let bans = std::mem::take(&mut self.by_jail).into_iter().filter_map(|((jail, prefix), count)| {
            Some(((moved.get(usize::from(jail)).copied()??, prefix), count))
        });
        self.by_jail = bans.collect();
    }

    /// The jails whose bans are counted for each of them.
    pub fn jails(&self) -> Vec<JailName> {
        self.jails.clone()
    }

    /// How many bans of `prefix` by this jail are remembered; 0 if nobody asked to count them.
    pub fn count_of(&self, prefix: Prefix, jail: &JailName) -> u32 {
        let key = self.place_of(jail).map(|at| (at, prefix));
        key.and_then(|key| self.by_jail.get(&key)).copied().map_or(0, u32::from)
    }

    /// How many bans of `prefix` are remembered, forgiven ones included.
    pub fn all(&self, prefix: Prefix) -> u32 {
        self.bans.get(prefix).map_or(0, |past| u32::from(past.all))
    }

    /// How many bans of `prefix` stand at `now`: those that were not forgiven.
    pub fn standing(&self, prefix: Prefix, now: Timestamp) -> u32 {
        let past = self.bans.get(prefix);
        past.map_or(0, |past| u32::from(past.standing_at(seconds(now), self.memory)))
    }

    /// A number from 0 up to 1 that nobody outside can foresee, another one in each process.
    pub fn chance(&self, prefix: Prefix, when: Timestamp) -> f64 {
        (self.seed.hash_one((prefix, when)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Notes that a ban of `prefix` by `jail` began.
    pub fn began(&mut self, prefix: Prefix, jail: &JailName, when: Timestamp) {
        let (now, memory) = (seconds(when), self.memory);
        if self.bans.get(prefix).is_some_and(|past| past.is_over(now, memory)) {
            self.forget(prefix);
        }
        self.make_room(prefix, now);
        let past = self.bans.entry(prefix, || Past { last: now, all: 0, standing: 0 });
        past.standing = past.standing_at(now, memory).saturating_add(1);
        past.all = past.all.saturating_add(1);
        past.last = past.last.max(now);
        self.oldest = self.oldest.min(now);
        if let Some(at) = self.place_of(jail) {
            let count = self.by_jail.entry((at, prefix)).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Takes one ban of `prefix` by `jail` back: it should not have been.
    pub fn undo(&mut self, prefix: Prefix, jail: &JailName) {
        let key = self.place_of(jail).map(|at| (at, prefix));
        if let Some(count) = key.and_then(|key| self.by_jail.get_mut(&key)) {
            *count = count.saturating_sub(1);
        }
        if let Some(past) = self.bans.get_mut(prefix) {
            past.all = past.all.saturating_sub(1);
            past.standing = past.standing.saturating_sub(1);
        }
    }

    fn place_of(&self, jail: &JailName) -> Option<u16> {
        let at = self.jails.iter().position(|known| known == jail)?;
        u16::try_from(at).ok()
    }

    fn make_room(&mut self, new: Prefix, now: u32) {
        if self.bans.len() >= self.most && !self.bans.contains(new) {
            self.drop_least(now);
            self.by_jail.retain(|(_, prefix), _| self.bans.contains(*prefix));
        }
        if self.by_jail.len() >= self.most {
            let bans = &self.bans;
            let last = |prefix: &Prefix| bans.get(*prefix).map_or(0, |past| past.last);
            make_room(&mut self.by_jail, |(_, prefix), count| (*count, last(prefix)));
        }
    }

    /// Drops an eighth: those with the fewest bans that were banned longest ago; of equals the lower ones.
    fn drop_least(&mut self, now: u32) {
        let memory = self.memory;
        let rank = |past: &Past| (past.standing_at(now, memory), past.last);
        let Some((limit, of_limit)) = lowest(self.bans.iter().map(|(_, past)| rank(past)).collect()) else {
            return;
        };
        let equals = self.bans.iter().filter(|(_, past)| rank(past) == limit);
        let mut gone: Vec<Prefix> = equals.map(|(prefix, _)| prefix).collect();
        gone.sort_unstable();
        gone.truncate(of_limit);
        self.bans.retain(|prefix, past| match rank(past) {
            rank if rank == limit => gone.binary_search(&prefix).is_err(),
            rank => rank > limit,
        });
    }

    fn forget(&mut self, prefix: Prefix) {
        self.bans.remove(prefix);
        for at in (0..).take(self.jails.len()) {
            self.by_jail.remove(&(at, prefix));
        }
    }

    /// Forgets prefixes whose last ban began too long ago.
    pub fn sweep(&mut self, now: Timestamp) {
        let (now, memory) = (seconds(now), self.memory);
        // Ninety days long there is nothing to forget, and most of the time nothing new after that.
        if u64::from(now.saturating_sub(self.oldest)) < memory.secs() {
            return;
        }
        self.bans.retain(|_, past| !past.is_over(now, memory));
        self.oldest = self.bans.iter().map(|(_, past)| past.last).min().unwrap_or(u32::MAX);
        self.by_jail.retain(|(_, prefix), _| self.bans.contains(*prefix));
    }

    /// How many prefixes are remembered, and how many counts of single jails.
    pub fn len(&self) -> (usize, usize) {
        (self.bans.len(), self.by_jail.len())
    }

    /// True if nobody was ever banned, as far as remembered.
    pub fn is_empty(&self) -> bool {
        self.bans.is_empty()
    }
}

fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.secs().max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 86_400;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_secs(days * DAY)
    }

    fn sshd() -> JailName {
        JailName::new("sshd").unwrap()
    }

    fn source(number: u32) -> Prefix {
        Prefix::host(std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(number)))
    }

    fn bans(days: &[i64]) -> PastBans {
        let mut past = PastBans::default();
        days.iter().for_each(|day| past.began(source(1), &sshd(), at(*day)));
        past
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!((size_of::<(u32, Past)>(), EACH), (12, [28, 22]));
    }

    #[test]
    fn of_three_bans_one_is_forgiven_each_third_of_the_memory() {
        let past = bans(&[0, 1, 2]);
        let standing = [2, 31, 32, 61, 62, 91, 92].map(|day| past.standing(source(1), at(day)));
        assert_eq!(standing, [3, 3, 2, 2, 1, 1, 0]);
        assert_eq!(past.all(source(1)), 3);
    }

    #[test]
    fn one_ban_counts_as_long_as_it_is_remembered() {
        let past = bans(&[0]);
        assert_eq!([89, 90].map(|day| past.standing(source(1), at(day))), [1, 0]);
    }

    #[test]
    fn what_was_forgiven_before_the_next_ban_stays_forgiven() {
        let past = bans(&[0, 0, 0, 45]);
        assert_eq!((past.standing(source(1), at(45)), past.all(source(1))), (3, 4));
    }

    #[test]
    fn a_ban_after_the_memory_is_the_first_again_swept_or_not() {
        for sweeps in [false, true] {
            let mut past = PastBans::default();
            past.set_jails([sshd()]);
            past.began(source(1), &sshd(), at(0));
            if sweeps {
                past.sweep(at(90));
            }
            past.began(source(1), &sshd(), at(90));
            let counts = (past.standing(source(1), at(90)), past.all(source(1)));
            assert_eq!((counts, past.count_of(source(1), &sshd())), ((1, 1), 1));
        }
    }

    #[test]
    fn bans_of_one_jail_are_all_counted_until_the_memory_is_over() {
        let mut past = PastBans::default();
        past.set_jails([JailName::new("web").unwrap(), sshd()]);
        (0..3).for_each(|day| past.began(source(1), &sshd(), at(day)));
        past.set_jails([sshd()]);
        past.sweep(at(91));
        assert_eq!(past.count_of(source(1), &sshd()), 3);
        past.sweep(at(92));
        assert_eq!((past.count_of(source(1), &sshd()), past.len()), (0, (0, 0)));
    }

    #[test]
    fn the_worst_outlive_a_flood_of_single_bans() {
        let mut past = PastBans::default();
        past.set_most(64);
        past.set_jails([sshd()]);
        (0..3).for_each(|_| past.began(source(9), &sshd(), at(0)));
        for number in 1_000..5_000 {
            past.began(source(number), &sshd(), at(1));
            assert!(past.len().0 <= 64 && past.len().1 <= 64);
        }
        assert_eq!((past.standing(source(9), at(1)), past.count_of(source(9), &sshd())), (3, 3));
        assert_eq!(past.standing(source(4_999), at(1)), 1, "the newest is there");
    }

    #[test]
    fn a_network_and_its_addresses_answer_each_for_themselves() {
        let past = bans(&[0, 1]);
        assert_eq!(past.standing(source(1).widened(24), at(1)), 0);
        let mut past = PastBans::default();
        past.began(source(1).widened(24), &sshd(), at(0));
        assert_eq!(past.standing(source(1), at(0)), 0);
    }

    proptest! {
        #[test]
        fn the_past_only_fades(days in prop::collection::vec(0i64..200, 1..12), looks in prop::collection::vec(0i64..400, 2..8)) {
            let (mut days, mut looks) = (days, looks);
            days.sort_unstable();
            looks.sort_unstable();
            let past = bans(&days);
            let last = days.last().copied().unwrap_or_default();
            let seen: Vec<u32> = looks.iter().map(|day| past.standing(source(1), at(last + day))).collect();
            prop_assert!(seen.is_sorted_by(|one, next| one >= next));
            prop_assert!(seen.iter().all(|count| *count <= past.all(source(1))));
            prop_assert_eq!(past.standing(source(1), at(last + 90)), 0);
            prop_assert!(past.standing(source(1), at(last)) >= 1);
        }
    }
}
