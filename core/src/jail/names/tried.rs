//! Names that banned sources tried: one that two of them tried is bad, for who tries it is no person.
//!
//! Of each name the two last sources are known, and forgotten once their bans are as old as the memory of past bans
//! (`retention`). Whatever changes is a [`Tried`] to be kept, so a restart knows what going on would have known.

use serde::{Deserialize, Serialize};

use crate::hash::FastMap;
use crate::jail::room::make_room;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::{NOBODY, hash};

/// So many names are remembered; beyond it those go first that no source was banned for lately. A table of 2^17 places
/// holds them, in 3.1 MiB.
pub const MOST: usize = 100_000;

/// A source that was banned after it had tried a name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// A number of the source. 0 stands for nobody.
    pub source: u32,
    /// When it was banned last, in seconds: half of a [`Timestamp`].
    pub when: u32,
}

/// What is known of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The name's number ([`hash`]).
    pub user: u64,
    /// The two sources that were banned for it last, the latest first.
    pub by: [By; 2],
}

/// Bytes of a name in the table.
pub(crate) const EACH: usize = size_of::<(u64, [By; 2])>();

/// The names; see the module.
#[derive(Debug, Default)]
pub(super) struct TriedNames(FastMap<u64, [By; 2]>);

impl TriedNames {
    /// Notes the names that a source tried which is now banned; returns what is known of them now.
    pub(super) fn banned(
        &mut self,
        source: Prefix,
        users: impl Iterator<Item = u64>,
        when: Timestamp,
    ) -> Vec<Tried> {
        let by = By { source: number(source), when: seconds(when) };
        let mut users: Vec<u64> = users.filter(|user| ![0, NOBODY].contains(user)).collect();
        users.sort_unstable();
        users.dedup();
        users.into_iter().map(|user| Tried { user, by: self.note(user, by) }).collect()
    }

    /// Takes over what was kept, in any order.
    pub(super) fn restore(&mut self, kept: Tried) {
        for by in kept.by.into_iter().filter(|by| by.source != 0) {
            self.note(kept.user, by);
        }
    }

    fn note(&mut self, user: u64, by: By) -> [By; 2] {
        if self.0.len() >= MOST && !self.0.contains_key(&user) {
            make_room(&mut self.0, |_, [last, _]| last.when);
        }
        let known = self.0.entry(user).or_default();
        *known = with(*known, by);
        *known
    }

    /// True for a name that two sources tried which were banned.
    pub(super) fn is_bad(&self, user: u64) -> bool {
        self.0.get(&user).is_some_and(|[_, before]| before.source != 0)
    }

    /// Forgets sources that were banned longer ago than `memory`.
    pub(super) fn sweep(&mut self, now: Timestamp, memory: Span) {
        let is_over = |by: &By| u64::from(seconds(now).saturating_sub(by.when)) >= memory.secs();
        self.0.retain(|_, [last, before]| {
            if is_over(before) {
                *before = By::default();
            }
            !is_over(last)
        });
    }
}

/// The two latest of three, each source once with its last time, whatever their order was.
fn with([last, before]: [By; 2], by: By) -> [By; 2] {
    let rank = |by: &By| (by.when, by.source);
    let same = [last, before].into_iter().find(|known| known.source == by.source);
    let by = same.into_iter().chain([by]).max_by_key(rank).unwrap_or(by);
    let others = [last, before].map(|known| if known.source == by.source { By::default() } else { known });
    let mut all = [by, others[0], others[1]];
    all.sort_unstable_by_key(|by| std::cmp::Reverse(rank(by)));
    [all[0], all[1]]
}

/// A source as a number that is never 0. Two that share one count as one: once in four billion pairs.
fn number(source: Prefix) -> u32 {
    (hash(&source.to_string()) as u32).max(1)
}

fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.secs().max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(number: u8) -> Prefix {
        Prefix::host(std::net::IpAddr::from([192, 0, 2, number]))
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(EACH, 24);
    }

    #[test]
    fn a_name_is_bad_as_long_as_two_bans_for_it_are_remembered() {
        let mut names = TriedNames::default();
        let memory = Span::from_secs(100);
        names.banned(source(1), [7].into_iter(), at(0));
        names.banned(source(2), [7].into_iter(), at(50));
        let bad = [99, 100].map(|now| {
            names.sweep(at(now), memory);
            names.is_bad(7)
        });
        assert_eq!(bad, [true, false]);
        names.banned(source(3), [7].into_iter(), at(120));
        assert!(names.is_bad(7), "the second one is remembered still");
        names.sweep(at(400), memory);
        assert!(names.0.is_empty());
    }

    #[test]
    fn however_many_names_are_tried_the_latest_stay() {
        let mut names = TriedNames::default();
        for user in 1..=3 * MOST as u64 {
            names.banned(source((user % 2) as u8), [user].into_iter(), at(user as i64));
        }
        assert!(names.0.len() <= MOST && names.0.contains_key(&(3 * MOST as u64)));
        assert!(!names.0.contains_key(&1) && names.0.capacity() < 1 << 17);
    }

    proptest! {
        /// Also with what was kept shown again on top, as a start does with the bans of the last `findtime`.
        #[test]
        fn what_was_kept_says_what_was_known(
            bans in prop::collection::vec((1u8..6, 1u64..5, 0i64..300), 0..60),
            again in 0usize..60,
            now in 0i64..400,
        ) {
            let (mut went_on, mut kept) = (TriedNames::default(), std::collections::BTreeMap::new());
            for (from, user, when) in &bans {
                for tried in went_on.banned(source(*from), [*user, 0, NOBODY, *user].into_iter(), at(*when)) {
                    kept.insert(tried.user, tried);
                }
            }
            let mut restarted = TriedNames::default();
            kept.into_values().for_each(|tried| restarted.restore(tried));
            for (from, user, when) in bans.iter().skip(again) {
                restarted.banned(source(*from), [*user].into_iter(), at(*when));
            }
            for names in [&mut went_on, &mut restarted] {
                names.sweep(at(now), Span::from_secs(100));
            }
            prop_assert_eq!(went_on.0, restarted.0);
        }
    }
}
