//! The ledger: every ban in force, by (prefix, jail); and its projection onto the kernel.

pub mod projection;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::{Decision, JailName};
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

/// Every ban in force.
#[derive(Debug, Default)]
pub struct Ledger {
    bans: FastMap<Prefix, Vec<Ban>>,
    /// How many prefixes of each length are banned: most look-ups end here.
    lengths: Lengths,
    ends: BTreeSet<(Timestamp, Prefix, JailName)>,
    count: usize,
}

impl Ledger {
    /// Takes over a ban and returns it as it stands now. Nothing, and no change, if the same jail bans the same prefix
    /// at least as long already in the same scope: a failure while banned never lengthens a ban, a decision by hand
    /// may. One that is forced stays forced, and forcing shortens no ban. A ban without failures of its own, as by hand,
    /// that takes the place of one with failures keeps these, with its reason behind the old one.
    pub fn ban(&mut self, mut ban: Ban) -> Option<Ban> {
        // Nearly always one jail bans a prefix; a growing vector would begin with room for four.
        let bans = self.bans.entry(ban.prefix).or_insert_with(|| Vec::with_capacity(1));
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
            if let End::At(at) = known.until {
                self.ends.remove(&(at, known.prefix, known.jail.clone()));
            }
            *known = ban.clone();
        } else {
            bans.push(ban.clone());
            self.count += 1;
        }
        if let End::At(at) = ban.until {
            self.ends.insert((at, ban.prefix, ban.jail.clone()));
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
        let (gone, kept): (Vec<Ban>, Vec<Ban>) =
            std::mem::take(bans).into_iter().partition(|ban| jail.is_none_or(|jail| *jail == ban.jail));
        if kept.is_empty() {
            self.bans.remove(&prefix);
            self.lengths.remove(prefix);
        } else {
            *bans = kept;
        }
        for ban in &gone {
            if let End::At(at) = ban.until {
                self.ends.remove(&(at, ban.prefix, ban.jail.clone()));
            }
        }
        self.count -= gone.len();
        gone
    }

    /// Takes out the bans whose time is over at `now`; returns them, the earliest end first.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Ban> {
        let mut gone = Vec::new();
        while let Some((at, prefix, jail)) = self.ends.first().cloned() {
            if at > now {
                break;
            }
            gone.extend(self.unban(prefix, Some(&jail)));
        }
        gone
    }

    /// When the next ban ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.ends.first().map(|(at, _, _)| *at)
    }

    /// The bans of exactly this prefix.
    pub fn of(&self, prefix: Prefix) -> &[Ban] {
        self.bans.get(&prefix).map_or(&[], Vec::as_slice)
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
        self.bans.values().flatten()
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
