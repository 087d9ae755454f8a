//! The ledger: every ban in force, by (prefix, jail); and its projection onto the kernel.

mod ends;
mod kept;
pub mod projection;

use std::hash::BuildHasher;

use serde::{Deserialize, Serialize};

use crate::event::{Decision, JailName, Origin};
use crate::hash::FastState;
use crate::net::Prefix;
use crate::table::index::Index;
use crate::table::slab::Slab;
use crate::time::{End, Timestamp};

use ends::Ends;
use kept::{Kept, NONE, Texts};
pub use projection::{Change, Element, Installed, Projection};

/// A ban in force is a decision that was taken over.
pub type Ban = Decision;

/// Why a ban ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Its jail is no longer configured, or has another name now; that says nothing of whom it banned.
    Retired,
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

/// So many bans are in force at once, in some 130 MB with all that belongs to them; the kernel's sets have no limit of
/// their own. Beyond it a new ban takes the place of another, see [`Ledger::weakest`]. A restart takes over what the
/// store holds, even if it is more.
pub const MOST: usize = 1_000_000;

/// Bytes of a ban without a text of its own, and of its place in the order of ends.
pub(crate) const EACH: [usize; 2] = [size_of::<Kept>(), size_of::<u32>()];

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
    fn of(origin: Origin, forced: bool) -> Worth {
        match origin {
            _ if forced => Worth::Person,
            Origin::Local => Worth::Jail,
            Origin::Import | Origin::Fleet => Worth::List,
            Origin::Manual => Worth::Person,
        }
    }
}

/// Every ban in force.
#[derive(Debug)]
pub struct Ledger {
    bans: Slab<Kept>,
    texts: Texts,
    /// The first ban of each prefix, which names the next one: nearly always one jail bans a prefix.
    index: Index,
    hasher: FastState,
    /// How many prefixes of each length are banned: most look-ups end here.
    lengths: Lengths,
    /// When bans end, by their [`Worth`].
    ends: [Ends; 3],
    most: usize,
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger {
            bans: Slab::default(),
            texts: Texts::default(),
            index: Index::default(),
            hasher: FastState::default(),
            lengths: Lengths::default(),
            ends: Default::default(),
            most: MOST,
        }
    }
}

impl Ledger {
    /// Takes over a ban and returns it as it stands now. Nothing, and no change, if the same jail bans the same prefix
    /// at least as long already in the same scope: a failure while banned never lengthens a ban, a decision by hand
    /// may. One that is forced stays forced, and forcing shortens no ban. A ban without failures of its own, as by hand,
    /// that takes the place of one with failures keeps these, with its reason behind the old one.
    pub fn ban(&mut self, mut ban: Ban) -> Option<Ban> {
        let Some(number) = self.number(ban.prefix, &ban.jail) else {
            self.add(&ban);
            return Some(ban);
        };
        let known = self.texts.unpack(self.bans.of(number));
        if outlasts(&known, &ban) {
            return None;
        }
        if ban.failures == 0 && known.failures > 0 {
            ban.failures = known.failures;
            let (old, new) = (known.reason.to_string(), ban.reason.to_string());
            if !old.ends_with(&new) {
                ban.reason = format!("{old}; {new}").into();
            }
        }
        if ban.forced && !known.forced {
            ban.until = ban.until.max(known.until);
        }
        ban.forced |= known.forced;
        self.forget(number);
        let mut kept = self.texts.pack(&ban);
        kept.next = self.bans.of(number).next;
        *self.bans.of_mut(number) = kept;
        self.note_end(number);
        Some(ban)
    }

    /// Keeps a ban that is not there yet, behind those of its prefix.
    fn add(&mut self, ban: &Ban) {
        let number = self.bans.add(self.texts.pack(ban));
        match self.numbers(ban.prefix).last() {
            Some(last) => self.bans.of_mut(last).next = number,
            None => {
                self.lengths.add(ban.prefix);
                let (bans, hasher) = (&self.bans, &self.hasher);
                let hash_of = |number| hasher.hash_one(bans.of(number).prefix);
                self.index.insert(hasher.hash_one(ban.prefix), number, hash_of);
            }
        }
        self.note_end(number);
    }

    fn note_end(&mut self, number: u32) {
        let ban = self.bans.of(number);
        if ban.until() != End::Never {
            self.ends[ban.worth() as usize].add(&mut self.bans, number);
        }
    }

    /// Takes a ban out of whatever refers to it, but for those of its prefix.
    fn forget(&mut self, number: u32) {
        let ban = *self.bans.of(number);
        self.ends[ban.worth() as usize].remove(&mut self.bans, number);
        self.texts.forget(&ban);
    }

    /// The ban that stays as it is if `ban` came, since it covers it; nothing if it would change.
    pub fn standing(&self, ban: &Ban) -> Option<Ban> {
        let known = self.texts.unpack(self.bans.of(self.number(ban.prefix, &ban.jail)?));
        Some(known).filter(|known| outlasts(known, ban))
    }

    /// Takes out the bans of exactly `prefix`, of one jail or of all; returns them.
    pub fn unban(&mut self, prefix: Prefix, jail: Option<&JailName>) -> Vec<Ban> {
        let Some(slot) = self.slot(prefix) else { return Vec::new() };
        let mut gone = Vec::new();
        let mut before = None;
        for number in self.numbers(prefix).collect::<Vec<_>>() {
            let kept = *self.bans.of(number);
            let ban = self.texts.unpack(&kept);
            if jail.is_some_and(|jail| *jail != ban.jail) {
                before = Some(number);
                continue;
            }
            match before {
                Some(before) => self.bans.of_mut(before).next = kept.next,
                None if kept.next == NONE => {
                    self.index.remove(slot);
                    self.lengths.remove(prefix);
                }
                None => self.index.set(slot, kept.next),
            }
            self.forget(number);
            self.bans.of_mut(number).jail = NONE;
            self.bans.remove(number);
            gone.push(ban);
        }
        self.shrink();
        gone
    }

    /// Gives back what a crowd that is gone had needed.
    fn shrink(&mut self) {
        if self.bans.is_sparse() {
            let all: Vec<Ban> = self.iter().collect();
            *self = Ledger { most: self.most, ..Ledger::default() };
            all.iter().for_each(|ban| self.add(ban));
        }
    }

    /// Takes out the bans whose time is over at `now`, those of some `most` prefixes; returns them, the earliest end first.
    pub fn expire(&mut self, now: Timestamp, most: usize) -> Vec<Ban> {
        let mut gone = Vec::new();
        while let Some((at, prefix)) = self.first_end().filter(|(at, _)| *at <= now && gone.len() < most) {
            let over = self.of(prefix).into_iter().filter(|ban| ban.until == End::At(at));
            for jail in over.map(|ban| ban.jail).collect::<Vec<_>>() {
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
        self.ends.iter().filter_map(|ends| ends.first_end(&self.bans)).min()
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
        self.len() < self.most || self.number(prefix, jail).is_some()
    }

    /// The ban that gives way first: of those that jails made the one that ends first, then of those from lists. Bans by
    /// hand, forced ones, and those without an end give way to none.
    pub fn weakest(&self) -> Option<Ban> {
        let first =
            [Worth::Jail, Worth::List].into_iter().find_map(|worth| self.ends[worth as usize].first());
        let first = self.bans.of(first?);
        let alike = |ban: &&Kept| ban.until() == first.until() && ban.worth() == first.worth();
        let weakest = self.numbers(first.prefix).map(|number| self.bans.of(number)).find(alike);
        weakest.map(|ban| self.texts.unpack(ban))
    }

    /// The slot of the index where the bans of a prefix begin.
    fn slot(&self, prefix: Prefix) -> Option<usize> {
        self.index.find(self.hasher.hash_one(prefix), |number| self.bans.of(number).prefix == prefix)
    }

    /// The numbers of the bans of exactly this prefix.
    fn numbers(&self, prefix: Prefix) -> impl Iterator<Item = u32> {
        let first = self.slot(prefix).map(|slot| self.index.at(slot));
        std::iter::successors(first, |number| Some(self.bans.of(*number).next).filter(|next| *next != NONE))
    }

    fn number(&self, prefix: Prefix, jail: &JailName) -> Option<u32> {
        let jail = self.texts.jail(jail)?;
        self.numbers(prefix).find(|number| self.bans.of(*number).jail == jail)
    }

    /// The bans of exactly this prefix.
    pub fn of(&self, prefix: Prefix) -> Vec<Ban> {
        self.numbers(prefix).map(|number| self.texts.unpack(self.bans.of(number))).collect()
    }

    /// Every ban whose prefix holds `prefix`, the widest first.
    pub fn covering(&self, prefix: Prefix) -> Vec<Ban> {
        self.lengths.up_to(prefix).flat_map(|len| self.of(prefix.widened(len))).collect()
    }

    /// Every ban that shares an address with `prefix`.
    pub fn overlapping(&self, prefix: Prefix) -> Vec<Ban> {
        if prefix.is_host() {
            return self.covering(prefix);
        }
        self.kept_within(prefix).map(|ban| self.texts.unpack(ban)).collect()
    }

    /// Those of them that hold all of `prefix`, and of those inside it as many as make up `most`, the widest first; and how
    /// many there are.
    pub fn outline(&self, prefix: Prefix, most: usize) -> (Vec<Ban>, usize) {
        let mut told = self.covering(prefix);
        if prefix.is_host() {
            let count = told.len();
            return (told, count);
        }
        let mut inside: Vec<&Kept> =
            self.kept_within(prefix).filter(|ban| !ban.prefix.contains(prefix)).collect();
        let (count, order) =
            (told.len() + inside.len(), |ban: &&Kept| (ban.prefix.prefix_len(), ban.prefix, ban.jail));
        let room = most.saturating_sub(told.len());
        if inside.len() > room {
            inside.select_nth_unstable_by_key(room, order);
            inside.truncate(room);
        }
        inside.sort_unstable_by_key(order);
        told.extend(inside.into_iter().map(|ban| self.texts.unpack(ban)));
        (told, count)
    }

    /// How many of [`Ledger::overlapping`] are so, by prefix and whether they are forced.
    pub fn count_overlapping(&self, prefix: Prefix, is_so: impl Fn(Prefix, bool) -> bool) -> usize {
        self.kept_within(prefix).filter(|ban| is_so(ban.prefix, ban.forced)).count()
    }

    fn kept_within(&self, prefix: Prefix) -> impl Iterator<Item = &Kept> {
        self.bans.iter().filter(move |ban| ban.jail != NONE && ban.prefix.overlaps(prefix))
    }

    /// True if a ban of this jail holds `prefix` that is not over at `now`: of a crowd that ends together some are taken out
    /// a moment later.
    pub fn is_banned(&self, prefix: Prefix, jail: &JailName, now: Timestamp) -> bool {
        let lasts = |number| !self.bans.of(number).until().is_over(now);
        self.lengths.up_to(prefix).any(|len| self.number(prefix.widened(len), jail).is_some_and(lasts))
    }

    /// Every ban, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Ban> {
        let taken = self.bans.iter().filter(|ban| ban.jail != NONE);
        taken.map(|ban| self.texts.unpack(ban))
    }

    /// Every banned prefix, in order.
    pub fn prefixes(&self) -> Vec<Prefix> {
        let mut prefixes: Vec<Prefix> = self.iter().map(|ban| ban.prefix).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    }

    /// How many bans of a jail are in force.
    pub fn count_of(&self, jail: &JailName) -> usize {
        let number = self.texts.jail(jail);
        number.map_or(0, |number| self.bans.iter().filter(|ban| ban.jail == number).count())
    }

    /// How many bans are in force.
    pub fn len(&self) -> usize {
        self.bans.len()
    }

    /// True if nobody is banned.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// True if `ban`, of the same prefix and jail, brings nothing beyond `known`.
fn outlasts(known: &Ban, ban: &Ban) -> bool {
    let forces = ban.forced && !known.forced;
    known.until >= ban.until && known.scope == ban.scope && !forces
}

#[cfg(test)]
mod tests;
