//! Who offended lately, of each jail that widens; whom somebody pardoned; and the networks that are banned for it.
//!
//! All of it follows from the ledger and its history, so a restart knows the same.

use std::collections::BTreeMap;

use crate::net::Prefix;
use crate::time::{End, Span, Timestamp};

use super::{EVIDENCE, Net, innocents, is_offender, levels};

/// At most so many offenders of a jail are kept; the oldest go first.
pub const MAX_OFFENDERS: usize = 1_000_000;

/// Bytes of an offender in the tree.
pub(crate) const EACH: usize = size_of::<(Prefix, Offence)>();

/// At most so many pardons of a jail are kept; the oldest go first.
const MAX_PARDONS: usize = 10_000;

/// So long it is told that a budget was short.
const SHORT: Span = Span::from_secs(86_400);

/// From so many offenders on a network is not looked at for each new one.
const MANY: usize = 128;

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
    budget: u64,
    offenders: BTreeMap<Prefix, Offence>,
    /// Nobody of these is evidence for a shorter time.
    first_end: Option<Timestamp>,
    pardons: BTreeMap<Prefix, Timestamp>,
    nets: BTreeMap<Prefix, Net>,
    /// Innocents in all of `nets`, of IPv4 and of IPv6.
    used: [u64; 2],
    /// When the budget of each was short last.
    short: [Option<Timestamp>; 2],
    /// How many more offenders it takes until a network with many of them is looked at again.
    rests: BTreeMap<Prefix, usize>,
}

impl Neighbours {
    /// The same with another budget: how many innocents all networks of a family may hold together. Without any nothing
    /// is noted.
    pub fn with_budget(mut self, budget: u64) -> Neighbours {
        if self.budget != budget {
            self.short = [None; 2];
        }
        self.budget = budget;
        if budget == 0 {
            self.offenders.clear();
            self.pardons.clear();
        }
        self
    }

    /// How many innocents all networks of a family may hold together.
    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// Notes a ban. What is neither a single address nor a /64 of IPv6 is no offender.
    pub fn offended(&mut self, prefix: Prefix, offence: Offence) {
        if !is_offender(prefix) || self.budget == 0 {
            return;
        }
        if !self.offenders.contains_key(&prefix) {
            make_room(&mut self.offenders, MAX_OFFENDERS, |offence| offence.began);
        }
        self.pardons.remove(&prefix);
        self.first_end = self.first_end.into_iter().chain(offence.holds_until().timestamp()).min();
        self.offenders.insert(prefix, offence);
    }

    /// Somebody lifted a ban of `prefix`, or asked to: nothing is widened over it for [`EVIDENCE`].
    pub fn pardon(&mut self, prefix: Prefix, now: Timestamp) {
        if self.budget == 0 {
            return;
        }
        self.offenders.remove(&prefix);
        if !self.pardons.contains_key(&prefix) {
            make_room(&mut self.pardons, MAX_PARDONS, |time| *time);
        }
        self.pardons.insert(prefix, now);
    }

    /// Takes back the pardons inside `prefix` of until `since`: somebody banned it by hand then.
    pub fn unpardon(&mut self, prefix: Prefix, since: Timestamp) {
        let before = within(&self.pardons, prefix).filter(|(_, time)| **time <= since);
        let inside: Vec<Prefix> = before.map(|(pardoned, _)| *pardoned).collect();
        for pardoned in inside {
            self.pardons.remove(&pardoned);
        }
    }

    /// The pardons that hold at `now` and share an address with `prefix`.
    pub fn pardoned(&self, prefix: Prefix, now: Timestamp) -> impl Iterator<Item = Prefix> {
        let around = (0..prefix.prefix_len()).map(move |len| prefix.widened(len));
        let around = around.filter_map(|wider| self.pardons.get_key_value(&wider));
        let all = around.chain(within(&self.pardons, prefix));
        all.filter(move |(_, time)| now.since(**time) < EVIDENCE).map(|(pardoned, _)| *pardoned)
    }

    /// The offenders inside `prefix` who are evidence at `now`, sorted.
    pub fn offenders(&self, prefix: Prefix, now: Timestamp) -> impl Iterator<Item = (Prefix, Offence)> {
        let all = within(&self.offenders, prefix).map(|(offender, offence)| (*offender, *offence));
        all.filter(move |(_, offence)| !offence.holds_until().is_over(now))
    }

    /// The widest network around `subject` that has as many offenders as one of its length takes.
    ///
    /// No wider network is ever worth a ban, so a cover of this one says all there is to say about `subject`.
    pub fn region(&self, subject: Prefix, now: Timestamp) -> Option<Prefix> {
        let nets = levels(subject.is_ipv4()).iter().map(|level| (subject.widened(level.len), level.least));
        let mut enough = nets.filter(|(net, least)| self.offenders(*net, now).take(*least).count() == *least);
        enough.next().map(|(net, _)| net)
    }

    /// The same for a new offender, where work is saved: a network with `MANY` offenders is looked at again when it has an
    /// eighth more of them, or at the next [`Neighbours::sweep`], and until then only narrower ones are. So a ban costs
    /// the same however many neighbours there are.
    pub fn due_region(&mut self, subject: Prefix, now: Timestamp) -> Option<Prefix> {
        for level in levels(subject.is_ipv4()) {
            let net = subject.widened(level.len);
            if let Some(rest) = self.rests.get_mut(&net) {
                *rest = rest.saturating_sub(1);
                if *rest > 0 {
                    continue;
                }
            }
            let enough = self.offenders(net, now).take(level.least).count();
            if enough < 2 {
                // Alone here is alone in everything narrower.
                return None;
            }
            if enough == level.least {
                let count = self.offenders(net, now).count();
                if count >= MANY {
                    self.rests.insert(net, count / 8);
                }
                return Some(net);
            }
            if enough >= MANY {
                self.rests.insert(net, level.least - enough);
            }
        }
        None
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
    pub fn widened(&mut self, prefix: Prefix, now: Timestamp) {
        let inside: Vec<Prefix> = self.offenders(prefix, now).map(|(offender, _)| offender).collect();
        let net = Net { prefix, offenders: inside.len(), innocents: innocents(prefix, &inside) };
        let before = self.nets.insert(prefix, net).map_or(0, |net| net.innocents);
        let used = &mut self.used[family(prefix)];
        *used = *used + net.innocents - before;
    }

    /// Notes that a widened ban has ended. False if it was none.
    pub fn narrowed(&mut self, prefix: Prefix) -> bool {
        let gone = self.nets.remove(&prefix);
        self.used[family(prefix)] -= gone.map_or(0, |net| net.innocents);
        gone.is_some()
    }

    /// Innocents in all widened bans of the family of `prefix`.
    pub fn used(&self, prefix: Prefix) -> u64 {
        self.used[family(prefix)]
    }

    /// Innocents in all widened bans of the family of `prefix` but those inside it.
    pub fn used_outside(&self, prefix: Prefix) -> u64 {
        self.used(prefix) - self.nets_inside(prefix).map(|net| net.innocents).sum::<u64>()
    }

    /// The widened bans inside `prefix`, as they were noted last.
    pub fn nets_inside(&self, prefix: Prefix) -> impl Iterator<Item = Net> {
        within(&self.nets, prefix).map(|(_, net)| *net)
    }

    /// The widened bans of the family of `prefix` that do not lie inside it, as they were noted last.
    pub fn elsewhere(&self, prefix: Prefix) -> impl Iterator<Item = Net> {
        let others = self
            .nets
            .values()
            .filter(move |net| family(net.prefix) == family(prefix) && !prefix.contains(net.prefix));
        others.copied()
    }

    /// Notes that the budget of the family of `prefix` was short. True if it had not been for a day.
    pub fn ran_short(&mut self, prefix: Prefix, now: Timestamp) -> bool {
        let before = self.short[family(prefix)].replace(now);
        before.is_none_or(|before| now.since(before) >= SHORT)
    }

    /// When the budget was short last, of IPv4 and of IPv6; nothing if that is a day ago.
    pub fn short(&self, now: Timestamp) -> [Option<Timestamp>; 2] {
        self.short.map(|last| last.filter(|last| now.since(*last) < SHORT))
    }

    /// Drops offenders and pardons that are too old to matter; returns the widened bans that lost evidence.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Prefix> {
        self.rests.clear();
        self.pardons.retain(|_, time| now.since(*time) < EVIDENCE);
        if self.first_end.is_none_or(|first| first > now) {
            return Vec::new();
        }
        let mut gone = Vec::new();
        let mut first_end = None;
        for (prefix, offence) in &self.offenders {
            match offence.holds_until() {
                End::At(at) if at <= now => gone.push(*prefix),
                End::At(at) => first_end = first_end.into_iter().chain([at]).min(),
                End::Never => {}
            }
        }
        self.first_end = first_end;
        let nets: Vec<Prefix> = gone.iter().flat_map(|prefix| self.nets(*prefix)).collect();
        for prefix in gone {
            self.offenders.remove(&prefix);
        }
        nets
    }
}

/// The place of a family in an array of both.
fn family(prefix: Prefix) -> usize {
    usize::from(!prefix.is_ipv4())
}

/// Drops the oldest sixteenth of a map that is full.
fn make_room<T>(map: &mut BTreeMap<Prefix, T>, most: usize, time: impl Fn(&T) -> Timestamp) {
    if map.len() < most {
        return;
    }
    let mut ages: Vec<(Timestamp, Prefix)> =
        map.iter().map(|(prefix, value)| (time(value), *prefix)).collect();
    let count = ages.len() / 16;
    ages.select_nth_unstable(count);
    for (_, prefix) in ages.into_iter().take(count + 1) {
        map.remove(&prefix);
    }
}

/// The entries of a map whose prefixes lie inside `prefix`.
fn within<T>(map: &BTreeMap<Prefix, T>, prefix: Prefix) -> impl Iterator<Item = (&Prefix, &T)> {
    map.range(prefix..=Prefix::host(prefix.last_addr()))
}
