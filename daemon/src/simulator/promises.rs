//! What must hold: kept beside the daemon, from what it sent and was answered, never from what it believes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pillory_core::event::JailName;
use pillory_core::ledger::{Ban, Change, Element};
use pillory_core::machine::Record;
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::time::Timestamp;

use crate::allowed::META_ALLOWED;
use crate::store::writer::{Write, Written};

/// Bans by what identifies them.
pub(super) type Bans = BTreeMap<(Prefix, JailName), Ban>;

/// Who is allowed by command, until when.
pub(super) type AllowedNow = Vec<(Prefix, Option<Timestamp>)>;

/// How many failures of a source had been read when a jail banned it last.
pub(super) type UsedUp = BTreeMap<(Prefix, JailName), usize>;

/// What one write says of bans.
#[derive(Debug, Clone)]
struct Told {
    /// Who is allowed from then on, if it says that.
    allowed: Option<AllowedNow>,
    used_up: UsedUp,
    number: u64,
    snapshot: Option<Vec<Ban>>,
    records: Vec<Record>,
}

impl Told {
    fn apply(&self, bans: &mut Bans) {
        if let Some(snapshot) = &self.snapshot {
            *bans = snapshot.iter().map(|ban| (key(ban), ban.clone())).collect();
        }
        for record in &self.records {
            match record {
                Record::Banned(ban) => drop(bans.insert(key(ban), ban.clone())),
                Record::Ended(ban, ..) => drop(bans.remove(&key(ban))),
                Record::Attempt(_)
                | Record::Learnt(_)
                | Record::Listed(_)
                | Record::Missed(_)
                | Record::Tried(_) => {}
            }
        }
    }
}

pub(super) fn key(ban: &Ban) -> (Prefix, JailName) {
    (ban.prefix, ban.jail.clone())
}

/// What the store was told, and what of it outlives a crash.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// After everything that was sent.
    pub(super) told: Bans,
    /// Something was committed: until then a store is taken for one that begins anew.
    pub(super) has_begun: bool,
    /// On disk.
    on_disk: Bans,
    allowed_on_disk: AllowedNow,
    /// Of bans that were sent, and of those that are on disk.
    pub(super) used_up: UsedUp,
    used_up_on_disk: UsedUp,
    /// Beside the store, in order.
    aside: Vec<Told>,
    /// Sent, and its fate unknown.
    under_way: VecDeque<Told>,
}

impl Kept {
    /// `allowed`: who is, after all that was done before it. `used_up`: by the bans in it.
    pub(super) fn sent(&mut self, write: &Write, allowed: &AllowedNow, used_up: UsedUp) {
        self.used_up.extend(used_up.clone());
        let tells_allowed = write.meta.iter().any(|(key, _)| key == META_ALLOWED);
        let told = Told {
            allowed: tells_allowed.then(|| allowed.clone()),
            used_up,
            number: write.number,
            snapshot: write.snapshot.clone(),
            records: write.records.clone(),
        };
        told.apply(&mut self.told);
        self.under_way.push_back(told);
    }

    pub(super) fn answered(&mut self, written: &Written) {
        let (Written::UpTo(number, _) | Written::Aside(number, ..)) = written else { return };
        self.set_aside(*number);
        if matches!(written, Written::UpTo(..)) {
            self.has_begun = true;
            self.aside_reaches_disk();
        }
    }

    /// What was sent up to this number outlives the daemon.
    pub(super) fn set_aside(&mut self, number: u64) {
        let known = self.under_way.partition_point(|told| told.number <= number);
        self.aside.extend(self.under_way.drain(..known));
    }

    /// A start has taken over what lay beside the store.
    pub(super) fn aside_reaches_disk(&mut self) {
        for told in std::mem::take(&mut self.aside) {
            told.apply(&mut self.on_disk);
            self.used_up_on_disk.extend(told.used_up);
            self.allowed_on_disk = told.allowed.unwrap_or(std::mem::take(&mut self.allowed_on_disk));
        }
    }

    /// The daemon is gone, and with a reboot what lay beside the store: this must come back.
    pub(super) fn crashed(&mut self, is_reboot: bool) {
        self.under_way.clear();
        if is_reboot {
            self.aside.clear();
        }
        self.told = self.on_disk.clone();
        self.used_up = self.used_up_on_disk.clone();
        for told in &self.aside {
            told.apply(&mut self.told);
            self.used_up.extend(told.used_up.clone());
        }
    }

    /// The store was damaged, and this is what a start made of it and of the kernel.
    pub(super) fn begun_anew(&mut self, bans: Bans, allowed: AllowedNow) {
        let (told, on_disk) = (bans.clone(), bans);
        *self = Kept { told, on_disk, allowed_on_disk: allowed, ..Kept::default() };
    }

    /// Who is allowed by what outlives a crash.
    pub(super) fn allowed(&self) -> AllowedNow {
        let aside = self.aside.iter().rev().find_map(|told| told.allowed.as_ref());
        aside.unwrap_or(&self.allowed_on_disk).clone()
    }
}

/// What a client was told of a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// Banned, at least until then by the clock that never steps, or until the wall clock is set forward.
    Banned(u64),
    /// Banned by no hand.
    Unbanned,
}

/// What clients were told and nobody has ordered otherwise since.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// How often something was ordered of a prefix, or of all.
    orders: BTreeMap<Prefix, u64>,
    of_all: u64,
    /// For bans of no jail. True if a reboot may lose it.
    given: BTreeMap<Prefix, (Word, bool)>,
    /// Switched off, at least until then by the clock that never steps; and how often it was switched at all.
    off_until: Option<(u64, bool)>,
    switched: u64,
    /// Who is allowed, the same way.
    allowed: BTreeMap<Prefix, (u64, bool)>,
    /// Forced by somebody, ever.
    pub(super) forced: BTreeSet<Prefix>,
}

impl Words {
    /// An order comes that concerns this prefix; returns its number, to be named when it is answered.
    pub(super) fn ordered(&mut self, prefix: Prefix) -> u64 {
        self.given.remove(&prefix);
        let count = self.orders.entry(prefix).or_default();
        *count += 1;
        *count + self.of_all
    }

    /// One comes that concerns every prefix.
    pub(super) fn ordered_all(&mut self) {
        self.given.clear();
        self.of_all += 1;
    }

    /// Nothing that concerns this prefix was ordered since.
    pub(super) fn is_latest(&self, prefix: Prefix, number: u64) -> bool {
        self.orders.get(&prefix).map_or(0, |count| count + self.of_all) == number
    }

    /// It was answered; if another one came since, this one says nothing.
    pub(super) fn answered(&mut self, prefix: Prefix, number: u64, word: Word, until_reboot: bool) {
        if self.is_latest(prefix, number) {
            self.given.insert(prefix, (word, until_reboot));
        }
    }

    /// It is ordered to be switched off or on; returns the number of the order.
    pub(super) fn switched(&mut self) -> u64 {
        self.off_until = None;
        self.switched += 1;
        self.switched
    }

    /// `off` was answered; nothing if it was switched again since.
    pub(super) fn answered_off(&mut self, number: u64, until: u64, until_reboot: bool) {
        if self.switched == number {
            self.off_until = Some((until, until_reboot));
        }
    }

    /// Somebody is to be allowed until then, or no longer.
    pub(super) fn allows(&mut self, prefix: Prefix, until: Option<(u64, bool)>) {
        match until {
            Some(until) => drop(self.allowed.insert(prefix, until)),
            None => drop(self.allowed.remove(&prefix)),
        }
    }

    /// Says what of `off` and `allow` does not hold.
    pub(super) fn check_settings(
        &self,
        is_enforcing: bool,
        is_never: impl Fn(Prefix) -> bool,
        elapsed: u64,
    ) -> Result<(), String> {
        if self.off_until.is_some_and(|(until, _)| elapsed < until) && is_enforcing {
            return Err("an acknowledged `off` is forgotten".to_owned());
        }
        let gone = self.allowed.iter().find(|(prefix, (until, _))| elapsed < *until && !is_never(**prefix));
        gone.map_or(Ok(()), |(prefix, _)| Err(format!("an acknowledged `allow {prefix}` is forgotten")))
    }

    /// The store was damaged: nothing that was said holds, but that nobody comes in who was shut out.
    pub(super) fn damaged(&mut self) {
        self.ordered_all();
        self.switched();
        self.allowed.clear();
    }

    pub(super) fn rebooted(&mut self) {
        self.off_until = self.off_until.filter(|(_, until_reboot)| !until_reboot);
        self.allowed.retain(|_, (_, until_reboot)| !*until_reboot);
        self.given.retain(|_, (_, until_reboot)| !*until_reboot);
    }

    /// The wall clock was set forward: bans may end, those of orders that were not answered yet, too.
    pub(super) fn leapt(&mut self) {
        self.of_all += 1;
        self.given.retain(|_, (word, _)| *word == Word::Unbanned);
        self.switched();
        self.allowed.clear();
    }

    /// Says what of it does not hold. `elapsed`: what the clock shows that never steps.
    pub(super) fn check(&self, of: impl Fn(Prefix) -> Vec<Ban>, elapsed: u64) -> Result<(), String> {
        for (prefix, (word, _)) in &self.given {
            let bans = of(*prefix);
            let by_hand = bans.iter().find(|ban| ban.jail.as_str() == "manual");
            match word {
                Word::Banned(until) if elapsed < *until && by_hand.is_none() => {
                    return Err(format!("an acknowledged ban of {prefix} until {until} is lost: {bans:?}"));
                }
                Word::Unbanned if by_hand.is_some() => {
                    return Err(format!("an acknowledged unban of {prefix} is lost: {by_hand:?}"));
                }
                Word::Banned(_) | Word::Unbanned => {}
            }
        }
        Ok(())
    }
}

/// What the kernel was told to hold, whether it obeyed or not.
#[derive(Debug, Default)]
pub(super) struct Ordered(pub(super) BTreeSet<Element>);

impl Ordered {
    pub(super) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Set(element, _) => drop(self.0.insert(element.clone())),
                Change::Remove(element) => drop(self.0.remove(element)),
            }
        }
    }

    /// An element that holds somebody who is never banned, and no ban that was forced.
    pub(super) fn wrong<'a>(
        &'a self,
        never: &PrefixSet,
        is_forced: impl Fn(&Element) -> bool,
    ) -> Option<&'a Element> {
        self.0.iter().find(|element| never.overlaps(element.prefix) && !is_forced(element))
    }
}
