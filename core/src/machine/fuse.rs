//! The fuse (`fuse = { bans_per_minute = N }`): when jails want to ban more sources than usual, something may be wrong
//! with what they read and not with who is named there, so first networks and then everybody is spared until it is over.
//!
//! What counts is how many different prefixes were to be banned within a minute, whether they were or not: a fuse that
//! counted only what it lets through would close again at once.

use std::collections::{HashMap, VecDeque};

use crate::net::Prefix;
use crate::time::{Span, Timestamp};

/// The minute of `bans_per_minute`.
const MINUTE: Span = Span::from_secs(60);

/// What the fuse withholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Nothing.
    #[default]
    Closed,
    /// New bans of networks: more than N prefixes were to be banned within a minute.
    Networks,
    /// All new bans: more than twice as many.
    All,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Fuse {
    /// `bans_per_minute`; 0 is off.
    limit: u32,
    level: Level,
    /// The prefixes of the last minute, the oldest first; some may have been wanted again since.
    order: VecDeque<(Timestamp, Prefix)>,
    /// When each of them was wanted last.
    wanted: HashMap<Prefix, Timestamp>,
    /// When there were too many last.
    exceeded: Timestamp,
    withheld: u64,
}

impl Fuse {
    /// Sets `bans_per_minute`; 0 switches the fuse off.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
        if limit == 0 {
            *self = Fuse::default();
        }
    }

    /// `bans_per_minute`.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// What is withheld now.
    pub fn level(&self) -> Level {
        self.level
    }

    /// How many bans were withheld since the fuse blew.
    pub fn withheld(&self) -> u64 {
        self.withheld
    }

    /// A jail wants to ban `prefix`, a network or not. True if it must not be, and the new level if that changed.
    pub fn wants(&mut self, prefix: Prefix, is_network: bool, at: Timestamp) -> (bool, Option<Level>) {
        if self.limit == 0 {
            return (false, None);
        }
        let before = self.level;
        self.note(prefix, at);
        let count = self.wanted.len();
        let reached = match count {
            _ if count > self.most() => Level::All,
            _ if count > self.limit as usize => Level::Networks,
            _ => Level::Closed,
        };
        if reached > Level::Closed {
            self.exceeded = at;
        }
        self.level = before.max(reached);
        let is_withheld = self.level == Level::All || (self.level == Level::Networks && is_network);
        self.withheld += u64::from(is_withheld);
        (is_withheld, (self.level != before).then_some(self.level))
    }

    /// Closes it if a minute has passed in which there were never too many; true if it did.
    pub fn tick(&mut self, now: Timestamp) -> bool {
        self.forget(now);
        let closes = self.level > Level::Closed && now.since(self.exceeded) >= MINUTE;
        if closes {
            (self.level, self.withheld) = (Level::Closed, 0);
        }
        closes
    }

    /// When [`Fuse::tick`] may close it.
    pub fn deadline(&self) -> Option<Timestamp> {
        (self.level > Level::Closed).then(|| self.exceeded + MINUTE)
    }

    /// More prefixes than this within a minute withhold everything; one more is all that need be remembered.
    fn most(&self) -> usize {
        self.limit as usize * 2
    }

    fn note(&mut self, prefix: Prefix, at: Timestamp) {
        self.forget(at);
        self.wanted.insert(prefix, at);
        self.order.push_back((at, prefix));
        while self.wanted.len() > self.most() + 1 || self.order.len() > 4 * self.most() + 4 {
            self.drop_oldest();
        }
    }

    fn forget(&mut self, now: Timestamp) {
        while self.order.front().is_some_and(|(at, _)| now.since(*at) >= MINUTE) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((at, prefix)) = self.order.pop_front()
            && self.wanted.get(&prefix) == Some(&at)
        {
            self.wanted.remove(&prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(number: u32) -> Prefix {
        Prefix::host(std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number)))
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    fn fuse(limit: u32) -> Fuse {
        let mut fuse = Fuse::default();
        fuse.set_limit(limit);
        fuse
    }

    #[test]
    fn one_source_wanted_again_and_again_is_one() {
        let mut fuse = fuse(2);
        for second in 0..50 {
            assert_eq!(fuse.wants(source(1), false, at(second)), (false, None));
        }
    }

    #[test]
    fn networks_are_withheld_first_and_everybody_at_twice_the_rate() {
        let mut fuse = fuse(3);
        for number in 0..3 {
            assert_eq!(fuse.wants(source(number), true, at(0)), (false, None), "{number}");
        }
        assert_eq!(fuse.wants(source(3), true, at(1)), (true, Some(Level::Networks)));
        for number in 4..6 {
            assert_eq!(fuse.wants(source(number), false, at(1)), (false, None), "{number}");
        }
        assert_eq!(fuse.wants(source(6), false, at(2)), (true, Some(Level::All)));
        assert_eq!(fuse.wants(source(0), false, at(2)), (true, None));
        assert_eq!(fuse.withheld(), 3);
    }

    #[test]
    fn it_closes_after_a_minute_without_too_many() {
        let mut fuse = fuse(1);
        fuse.wants(source(1), false, at(0));
        fuse.wants(source(2), false, at(10));
        assert_eq!((fuse.level(), fuse.deadline()), (Level::Networks, Some(at(70))));
        assert!(!fuse.tick(at(69)));
        assert!(fuse.tick(at(70)));
        assert_eq!((fuse.level(), fuse.withheld(), fuse.deadline()), (Level::Closed, 0, None));
    }

    proptest! {
        #[test]
        fn it_never_lets_more_than_twice_the_rate_through_within_a_minute(
            limit in 1u32..6, steps in prop::collection::vec((0i64..15, 0u32..40), 1..200)
        ) {
            let mut fuse = fuse(limit);
            let (mut now, mut through) = (0, Vec::new());
            for (step, number) in steps {
                now += step;
                fuse.tick(at(now));
                if !fuse.wants(source(number), false, at(now)).0 {
                    through.push((now, number));
                }
                let mut minute: Vec<u32> =
                    through.iter().filter(|(then, _)| now - then < 60).map(|(_, number)| *number).collect();
                minute.sort_unstable();
                minute.dedup();
                prop_assert!(minute.len() <= 2 * limit as usize);
                prop_assert!(fuse.order.len() <= 8 * limit as usize + 4);
            }
        }
    }
}
