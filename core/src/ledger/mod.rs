//! The ledger: every ban in force, by (prefix, jail); and its projection onto the kernel.

pub mod projection;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::{Decision, JailName, Origin};
use crate::hash::FastMap;
use crate::net::Prefix;
use crate::time::{End, Timestamp};

pub use projection::{Change, Element, Installed, Projection};

/// A ban in force is a decision that was taken over.
pub type Ban = Decision;

/// Why a ban ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Its time was over.
    Expired,
    /// Somebody lifted it.
    Lifted,
    /// It was a network of neighbours, and what is known now asks for another one or for none.
    Narrowed,
    /// There was no room for all bans, and it would have ended before the others.
    Displaced,
    /// It should not have been, as was learnt only after it began; it counts for nothing.
    Mistaken,
}

/// How many prefixes there are of each length, by family; only lengths that there are, the shortest first.
#[derive(Debug, Default)]
struct Lengths {
    v4: Vec<(u8, usize)>,
    v6: Vec<(u8, usize)>,
}

impl Lengths {
    fn of(&mut self, prefix: Prefix) -> &mut Vec<(u8, usize)> {
        if prefix.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }

    fn add(&mut self, prefix: Prefix) {
        let counts = self.of(prefix);
        match counts.binary_search_by_key(&prefix.prefix_len(), |(len, _)| *len) {
            Ok(at) => counts[at].1 += 1,
            Err(at) => counts.insert(at, (prefix.prefix_len(), 1)),
        }
    }

    fn remove(&mut self, prefix: Prefix) {
        self.of(prefix).retain_mut(|(len, count)| {
            *count -= usize::from(*len == prefix.prefix_len());
            *count > 0
        });
    }

    /// The lengths up to that of `prefix`.
    fn up_to(&self, prefix: Prefix) -> impl Iterator<Item = u8> {
        let counts = if prefix.is_ipv4() { &self.v4 } else { &self.v6 };
        counts.iter().map(|(len, _)| *len).take_while(move |len| *len <= prefix.prefix_len())
    }
}

/// So many bans are in force at once, in some 400 MB with all that belongs to them; the kernel's sets have no limit of their own. Beyond it a new ban
/// takes the place of another, see [`Ledger::weakest`]. A restart takes over what the store holds, even if it is more.
pub const MOST: usize = 1_000_000;

/// Bytes of a prefix in the table, of a ban beside it without its text, and of its end in the order of ends.
pub(crate) const EACH: [usize; 3] =
    [size_of::<(Prefix, Box<[Ban]>)>(), size_of::<Ban>(), size_of::<(Timestamp, Prefix)>()];

/// How easily a ban gives way to another: the lower, the sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// A jail made it.
    Jail,
    /// It stood on a list.
    List,
    /// Somebody made it by hand or insisted: it gives way to none.
    Person,
}

impl Worth {
    fn of(ban: &Ban) -> Worth {
        match ban.origin {
            _ if ban.forced => Worth::Person,
            Origin::Local => Worth::Jail,
            Origin::Import | Origin::Fleet => Worth::List,
            Origin::Manual => Worth::Person,
        }
    }
}

/// Every ban in force.
#[derive(Debug)]
pub struct Ledger {
    /// Boxed, not vectors: nearly always one jail bans a prefix.
    bans: FastMap<Prefix, Box<[Ban]>>,
    /// How many prefixes of each length are banned: most look-ups end here.
    lengths: Lengths,
    /// When bans end, by their [`Worth`].
    ends: [BTreeSet<(Timestamp, Prefix)>; 3],
    count: usize,
    most: usize,
}

impl Default for Ledger {
    fn default() -> Ledger {
        let (bans, lengths) = (FastMap::default(), Lengths::default());
        Ledger { bans, lengths, ends: Default::default(), count: 0, most: MOST }
    }
}

impl Ledger {
    /// Takes over a ban and returns it as it stands now. Nothing, and no change, if the same jail bans the same prefix
    /// at least as long already in the same scope: a failure while banned never lengthens a ban, a decision by hand
    /// may. One that is forced stays forced, and forcing shortens no ban. A ban without failures of its own, as by hand,
    /// that takes the place of one with failures keeps these, with its reason behind the old one.
    pub fn ban(&mut self, mut ban: Ban) -> Option<Ban> {
        let bans = self.bans.entry(ban.prefix).or_default();
        if bans.is_empty() {
            self.lengths.add(ban.prefix);
        }
        if let Some(known) = bans.iter_mut().find(|known| known.jail == ban.jail) {
            if outlasts(known, &ban) {
                return None;
            }
            if ban.failures == 0 && known.failures > 0 {
                ban.failures = known.failures;
                if !known.reason.ends_with(&ban.reason) {
                    ban.reason = format!("{}; {}", known.reason, ban.reason);
                }
            }
            if ban.forced && !known.forced {
                ban.until = ban.until.max(known.until);
            }
            ban.forced |= known.forced;
            let old = std::mem::replace(known, ban.clone());
            self.forget_end(&old);
        } else {
            let mut all = std::mem::take(bans).into_vec();
            all.reserve_exact(1);
            all.push(ban.clone());
            *bans = all.into_boxed_slice();
            self.count += 1;
        }
        if let End::At(at) = ban.until {
            self.ends[Worth::of(&ban) as usize].insert((at, ban.prefix));
        }
        Some(ban)
    }

    /// The ban that stays as it is if `ban` came, since it covers it; nothing if it would change.
    pub fn standing(&self, ban: &Ban) -> Option<&Ban> {
        self.of(ban.prefix).iter().find(|known| known.jail == ban.jail && outlasts(known, ban))
    }

    /// Takes out the bans of exactly `prefix`, of one jail or of all; returns them.
    pub fn unban(&mut self, prefix: Prefix, jail: Option<&JailName>) -> Vec<Ban> {
        let Some(bans) = self.bans.get_mut(&prefix) else { return Vec::new() };
        let (gone, kept): (Vec<Ban>, Vec<Ban>) = std::mem::take(bans)
            .into_vec()
            .into_iter()
            .partition(|ban| jail.is_none_or(|jail| *jail == ban.jail));
        if kept.is_empty() {
            self.bans.remove(&prefix);
            self.lengths.remove(prefix);
        } else {
            *bans = kept.into_boxed_slice();
        }
        gone.iter().for_each(|ban| self.forget_end(ban));
        self.count -= gone.len();
        gone
    }

    /// Takes out the end of a ban that is gone, unless another of its prefix ends then, too.
    fn forget_end(&mut self, gone: &Ban) {
        let End::At(at) = gone.until else { return };
        let worth = Worth::of(gone);
        let ends_alike = |ban: &Ban| ban.until == gone.until && Worth::of(ban) == worth;
        if !self.of(gone.prefix).iter().any(ends_alike) {
            self.ends[worth as usize].remove(&(at, gone.prefix));
        }
    }

    /// Takes out the bans whose time is over at `now`; returns them, the earliest end first.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Ban> {
        let mut gone = Vec::new();
        while let Some((at, prefix)) = self.first_end().filter(|(at, _)| *at <= now) {
            let over = self.of(prefix).iter().filter(|ban| ban.until == End::At(at));
            for jail in over.map(|ban| ban.jail.clone()).collect::<Vec<_>>() {
                gone.extend(self.unban(prefix, Some(&jail)));
            }
        }
        gone
    }

    /// When the next ban ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.first_end().map(|(at, _)| at)
    }

    fn first_end(&self) -> Option<(Timestamp, Prefix)> {
        self.ends.iter().filter_map(BTreeSet::first).min().copied()
    }

    /// Sets how many bans may be in force, [`MOST`] if it was never said.
    pub fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// How many bans may be in force.
    pub fn most(&self) -> usize {
        self.most
    }

    /// True if there is room for a ban of this prefix and jail; one that takes the place of its like needs none.
    pub fn has_room(&self, prefix: Prefix, jail: &JailName) -> bool {
        self.count < self.most || self.of(prefix).iter().any(|ban| ban.jail == *jail)
    }

    /// The ban that gives way first: of those that jails made the one that ends first, then of those from lists. Bans by
    /// hand, forced ones, and those without an end give way to none.
    pub fn weakest(&self) -> Option<&Ban> {
        let (worth, (at, prefix)) = [Worth::Jail, Worth::List]
            .into_iter()
            .find_map(|worth| Some((worth, *self.ends[worth as usize].first()?)))?;
        self.of(prefix).iter().find(|ban| ban.until == End::At(at) && Worth::of(ban) == worth)
    }

    /// The bans of exactly this prefix.
    pub fn of(&self, prefix: Prefix) -> &[Ban] {
        self.bans.get(&prefix).map_or(&[], |bans| bans)
    }

    /// Every ban whose prefix holds `prefix`, the widest first.
    pub fn covering(&self, prefix: Prefix) -> Vec<&Ban> {
        self.lengths.up_to(prefix).flat_map(|len| self.of(prefix.widened(len))).collect()
    }

    /// Every ban that shares an address with `prefix`.
    pub fn overlapping(&self, prefix: Prefix) -> Vec<&Ban> {
        if prefix.is_host() {
            return self.covering(prefix);
        }
        self.iter().filter(|ban| ban.prefix.overlaps(prefix)).collect()
    }

    /// True if a ban of this jail holds `prefix`.
    pub fn is_banned(&self, prefix: Prefix, jail: &JailName) -> bool {
        self.lengths.up_to(prefix).any(|len| self.of(prefix.widened(len)).iter().any(|ban| ban.jail == *jail))
    }

    /// Every ban, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Ban> {
        self.bans.values().flat_map(|bans| bans.iter())
    }

    /// How many bans are in force.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if nobody is banned.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// True if `ban`, of the same prefix and jail, brings nothing beyond `known`.
fn outlasts(known: &Ban, ban: &Ban) -> bool {
    let forces = ban.forced && !known.forced;
    known.until >= ban.until && known.scope == ban.scope && !forces
}

#[cfg(test)]
mod tests;
