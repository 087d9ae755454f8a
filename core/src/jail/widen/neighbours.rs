//! Who offended lately, of each jail that widens; whom somebody pardoned; and the networks that are banned for it.
//!
//! All of it follows from the ledger and its history, so a restart knows the same.

use std::collections::BTreeMap;

use crate::net::Prefix;
use crate::time::{End, Timestamp};

use super::{EVIDENCE, innocents, is_offender, levels};

/// At most so many offenders of a jail are kept; the oldest go first.
const MAX_OFFENDERS: usize = 1_000_000;

/// At most so many pardons of a jail are kept; the oldest go first.
const MAX_PARDONS: usize = 10_000;

/// A ban that makes its source an offender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offence {
    /// When the ban began.
    pub began: Timestamp,
    /// When it ends.
    pub until: End,
}

impl Offence {
    /// Until when it is evidence: as long as the ban lasts, and for [`EVIDENCE`] after it began.
    pub fn holds_until(&self) -> End {
        self.until.max(End::At(self.began + EVIDENCE))
    }
}

/// Offenders, pardons and widened bans of one jail.
#[derive(Debug, Default)]
pub struct Neighbours {
    /// How many innocents all networks together may hold.
    pub budget: u64,
    offenders: BTreeMap<Prefix, Offence>,
    pardons: BTreeMap<Prefix, Timestamp>,
    nets: BTreeMap<Prefix, u64>,
}

impl Neighbours {
    /// Notes a ban. What is neither a single address nor a /64 of IPv6 is no offender.
    pub fn offended(&mut self, prefix: Prefix, offence: Offence) {
        if !is_offender(prefix) {
            return;
        }
        if self.offenders.len() >= MAX_OFFENDERS && !self.offenders.contains_key(&prefix) {
            let mut began: Vec<Timestamp> = self.offenders.values().map(|offence| offence.began).collect();
            let at = began.len() / 16;
            let (_, oldest, _) = began.select_nth_unstable(at);
            let oldest = *oldest;
            self.offenders.retain(|_, offence| offence.began > oldest);
        }
        self.pardons.remove(&prefix);
        self.offenders.insert(prefix, offence);
    }

    /// Somebody lifted a ban of `prefix`, or asked to: nothing is widened over it for [`EVIDENCE`].
    pub fn pardon(&mut self, prefix: Prefix, now: Timestamp) {
        self.offenders.remove(&prefix);
        if self.pardons.len() >= MAX_PARDONS && !self.pardons.contains_key(&prefix) {
            let oldest = self.pardons.iter().min_by_key(|(_, time)| **time).map(|(prefix, _)| *prefix);
            oldest.and_then(|oldest| self.pardons.remove(&oldest));
        }
        self.pardons.insert(prefix, now);
    }

    /// Takes back the pardons inside `prefix`: somebody banned it by hand.
    pub fn unpardon(&mut self, prefix: Prefix) {
        let inside: Vec<Prefix> = within(&self.pardons, prefix).map(|(pardoned, _)| *pardoned).collect();
        for pardoned in inside {
            self.pardons.remove(&pardoned);
        }
    }

    /// The pardons that share an address with `prefix`.
    pub fn pardoned(&self, prefix: Prefix) -> impl Iterator<Item = Prefix> {
        let around = (0..prefix.prefix_len()).map(move |len| prefix.widened(len));
        let around = around.filter(|wider| self.pardons.contains_key(wider));
        around.chain(within(&self.pardons, prefix).map(|(pardoned, _)| *pardoned))
    }

    /// The offenders inside `prefix`, sorted.
    pub fn offenders(&self, prefix: Prefix) -> impl Iterator<Item = (Prefix, Offence)> {
        within(&self.offenders, prefix).map(|(offender, offence)| (*offender, *offence))
    }

    /// The widest network around `subject` that has as many offenders as one of its length takes.
    ///
    /// No wider network is ever worth a ban, so a cover of this one says all there is to say about `subject`.
    pub fn region(&self, subject: Prefix) -> Option<Prefix> {
        let nets = levels(subject.is_ipv4()).iter().map(|level| (subject.widened(level.len), level.least));
        let mut enough = nets.filter(|(net, least)| self.offenders(*net).take(*least).count() == *least);
        enough.next().map(|(net, _)| net)
    }

    /// The widened bans that hold `prefix`, the widest first; and those inside.
    pub fn nets(&self, prefix: Prefix) -> impl Iterator<Item = Prefix> {
        let lens = levels(prefix.is_ipv4()).iter().map(|level| level.len);
        let around = lens.filter(move |len| *len < prefix.prefix_len()).map(move |len| prefix.widened(len));
        let around = around.filter(|net| self.nets.contains_key(net));
        around.chain(within(&self.nets, prefix).map(|(net, _)| *net))
    }

    /// Every widened ban.
    pub fn all_nets(&self) -> impl Iterator<Item = Prefix> {
        self.nets.keys().copied()
    }

    /// Notes that a widened ban stands, with the innocents that it hits by what is known now.
    pub fn widened(&mut self, net: Prefix) {
        let inside: Vec<Prefix> = self.offenders(net).map(|(offender, _)| offender).collect();
        self.nets.insert(net, innocents(net, &inside));
    }

    /// Notes that a widened ban has ended. False if it was none.
    pub fn narrowed(&mut self, net: Prefix) -> bool {
        self.nets.remove(&net).is_some()
    }

    /// Innocents in all widened bans but those inside `prefix`.
    pub fn used_outside(&self, prefix: Prefix) -> u64 {
        self.nets.iter().filter(|(net, _)| !prefix.contains(**net)).map(|(_, innocents)| innocents).sum()
    }

    /// Drops offenders and pardons that are too old to matter; returns the widened bans that lost evidence.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Prefix> {
        let old = |offence: &Offence| offence.holds_until().is_over(now);
        let gone = self.offenders.iter().filter(|(_, offence)| old(offence)).map(|(prefix, _)| *prefix);
        let nets: Vec<Prefix> = gone.flat_map(|prefix| self.nets(prefix)).collect();
        self.offenders.retain(|_, offence| !old(offence));
        self.pardons.retain(|_, time| now.since(*time) < EVIDENCE);
        nets
    }
}

/// The entries of a map whose prefixes lie inside `prefix`.
fn within<T>(map: &BTreeMap<Prefix, T>, prefix: Prefix) -> impl Iterator<Item = (&Prefix, &T)> {
    map.range(prefix..=Prefix::host(prefix.last_addr()))
}
