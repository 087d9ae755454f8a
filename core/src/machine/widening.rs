//! Widened bans: neighbours that offended become one ban of their network, and it narrows as its evidence goes.
//!
//! A widened ban stands in the ledger by (network, jail) like others, of local origin, beside the single bans that
//! led to it. It follows from who offended lately, who is to be spared, and the jail's budget: whenever one of these
//! changes for a network it is looked at again, at once after a ban and otherwise in [`Machine::tick`]. It lasts while
//! one of its offenders is banned and as many as it takes are evidence, so it ends in time without a daemon too.

mod judged;

use std::collections::BTreeSet;

use crate::event::{JailName, Origin};
use crate::jail::replay::{PastBan, Turn};
use crate::jail::widen;
use crate::jail::widen::neighbours::Offence;
use crate::ledger::{Ban, Ended};
use crate::net::Prefix;
use crate::time::{End, Timestamp};

use super::{Effect, Machine, Notice, Record};

pub use judged::{Spared, Widening};

impl Machine {
    /// Sets which jails ban networks of neighbours, each with its budget of innocents; 0 is none. Jails that count lines
    /// ban single addresses in any case.
    pub fn set_widening(&mut self, budgets: impl IntoIterator<Item = (JailName, u64)>) {
        let mut old = std::mem::take(&mut self.neighbours);
        let counts_attempts = |jail: &JailName| {
            self.judge.jails().iter().any(|known| known.name == *jail && known.lines.is_none())
        };
        let mut began = Vec::new();
        for (jail, budget) in budgets.into_iter().filter(|(jail, _)| counts_attempts(jail)) {
            let known = old.remove(&jail);
            if known.as_ref().is_none_or(|known| known.budget() == 0) && budget > 0 {
                began.push(jail.clone());
            }
            let neighbours = known.unwrap_or_default().with_budget(budget);
            self.stale.extend(neighbours.all_nets().map(|net| (jail.clone(), net)));
            self.neighbours.insert(jail, neighbours);
        }
        let bans = self.ledger.iter().filter(|ban| began.contains(&ban.jail) && ban.origin == Origin::Local);
        for ban in bans {
            if let Some(neighbours) = self.neighbours.get_mut(&ban.jail) {
                neighbours.offended(ban.prefix, Offence { began: ban.since, until: ban.until });
            }
        }
    }

    /// How many networks of neighbours a jail bans.
    pub fn widened(&self, jail: &JailName) -> usize {
        self.neighbours.get(jail).map_or(0, |neighbours| neighbours.all_nets().count())
    }

    /// Notes a jail's ban as evidence; false if the jail widens nothing.
    pub(super) fn offended(&mut self, ban: &Ban) -> bool {
        let Some(neighbours) = self.neighbours.get_mut(&ban.jail).filter(|known| known.budget() > 0) else {
            return false;
        };
        neighbours.offended(ban.prefix, Offence { began: ban.since, until: ban.until });
        true
    }

    /// A ban by hand takes back what was pardoned inside, and may make widened bans needless; one of a widened ban's own
    /// network and jail is that ban now.
    pub(super) fn banned_by_hand(&mut self, ban: &Ban) {
        if ban.origin == Origin::Local {
            return;
        }
        for (jail, neighbours) in &mut self.neighbours {
            neighbours.unpardon(ban.prefix, ban.since);
            self.stale.extend(neighbours.nets(ban.prefix).map(|net| (jail.clone(), net)));
        }
        if let Some(neighbours) = self.neighbours.get_mut(&ban.jail) {
            neighbours.narrowed(ban.prefix);
        }
    }

    /// Takes out of the ledger the widened bans that hold `prefix`, which somebody lets in again.
    pub(super) fn lift_nets(&mut self, prefix: Prefix, jail: Option<&JailName>) -> Vec<Ban> {
        let mut gone = Vec::new();
        for (name, neighbours) in
            self.neighbours.iter().filter(|(name, _)| jail.is_none_or(|jail| jail == *name))
        {
            let around = neighbours.nets(prefix).filter(|net| net.contains(prefix));
            gone.extend(around.flat_map(|net| self.ledger.unban(net, Some(name))));
        }
        gone
    }

    /// Notes that somebody lifted a ban: nothing is widened over it for a while, by its jail, or by any if no jail made it.
    pub(super) fn pardon(&mut self, prefix: Prefix, jail: &JailName, when: Timestamp) {
        match self.neighbours.get_mut(jail) {
            Some(neighbours) => neighbours.pardon(prefix, when),
            None => self.neighbours.values_mut().for_each(|neighbours| neighbours.pardon(prefix, when)),
        }
    }

    /// A ban has ended: if it was a widened one by its time, a narrower one may still be due.
    pub(super) fn net_ended(&mut self, ban: &Ban, how: Ended) {
        let Some(neighbours) = self.neighbours.get_mut(&ban.jail) else { return };
        if neighbours.narrowed(ban.prefix) && how == Ended::Expired {
            self.stale.insert((ban.jail.clone(), ban.prefix));
        }
    }

    /// Somebody is to be spared from now on: networks that share an address with `prefix` are looked at again.
    pub(super) fn spare_from_nets(&mut self, prefix: Prefix) {
        for (jail, neighbours) in &self.neighbours {
            self.stale.extend(neighbours.nets(prefix).map(|net| (jail.clone(), net)));
        }
    }

    /// Drops evidence that is too old.
    pub(super) fn sweep_neighbours(&mut self, now: Timestamp) {
        for (jail, neighbours) in &mut self.neighbours {
            self.stale.extend(neighbours.sweep(now).into_iter().map(|net| (jail.clone(), net)));
        }
    }

    /// Takes over who offended before a restart, from the ledger and what became of bans; widened bans are looked at
    /// again at the first tick.
    pub(super) fn restore_neighbours(&mut self, past: &[PastBan]) {
        if self.neighbours.is_empty() {
            return;
        }
        let now = self.now;
        for turn in past {
            match turn.turn {
                Turn::Began | Turn::Missed => {
                    if let Some(neighbours) = self.neighbours.get_mut(&turn.jail) {
                        let offence = Offence { began: turn.time, until: End::At(turn.time) };
                        neighbours.offended(turn.prefix, offence);
                    }
                }
                Turn::Lifted => self.pardon(turn.prefix, &turn.jail, turn.time),
                Turn::Expired => {}
            }
        }
        for ban in self.ledger.iter().filter(|ban| ban.origin != Origin::Local) {
            self.neighbours.values_mut().for_each(|neighbours| neighbours.unpardon(ban.prefix, ban.since));
        }
        for ban in self.ledger.iter().filter(|ban| ban.origin == Origin::Local) {
            if let Some(neighbours) = self.neighbours.get_mut(&ban.jail) {
                neighbours.offended(ban.prefix, Offence { began: ban.since, until: ban.until });
            }
        }
        for ban in self.ledger.iter().filter(|ban| ban.origin == Origin::Local && is_net(ban.prefix)) {
            if let Some(neighbours) = self.neighbours.get_mut(&ban.jail) {
                neighbours.widened(ban.prefix, now);
                self.stale.insert((ban.jail.clone(), ban.prefix));
            }
        }
    }

    /// Looks again at every network for which something has changed.
    pub(super) fn widen_anew(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        for (jail, net) in std::mem::take(&mut self.stale) {
            let held = self.neighbours.get(&jail).and_then(|neighbours| neighbours.nets(net).next());
            self.widen_in(&jail, wider(Some(net), held), now, out);
        }
    }

    /// Jails whose budget for networks of IPv4 (true) or IPv6 did not hold all that would have been worth it, when that
    /// was last, and the budget; what is a day ago is left out.
    pub fn short_of_budget(&self, now: Timestamp) -> Vec<(&JailName, bool, Timestamp, u64)> {
        let of_jail = self.neighbours.iter().flat_map(|(jail, neighbours)| {
            let both = [true, false].into_iter().zip(neighbours.short(now));
            both.filter_map(move |(ipv4, last)| Some((jail, ipv4, last?, neighbours.budget())))
        });
        of_jail.collect()
    }

    /// Somebody was banned: bans the network that this makes worth it, if any.
    pub(super) fn widen(&mut self, jail: &JailName, subject: Prefix, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(neighbours) = self.neighbours.get_mut(jail) else { return };
        let held = neighbours.nets(subject).next();
        let region = wider(neighbours.due_region(subject, now), held);
        self.widen_in(jail, region, now, out);
    }

    /// Brings the widened bans in a region to what is known now, and those that give way to them. No widened ban may
    /// hold more than the region.
    fn widen_in(&mut self, jail: &JailName, region: Option<Prefix>, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(found) = region.and_then(|region| self.judge_in(jail, region, now)) else { return };
        let short = found.is_short && found.budget > 0;
        if short && self.neighbours.get_mut(jail).is_some_and(|known| known.ran_short(found.region, now)) {
            let ipv4 = found.region.is_ipv4();
            out.push(Effect::Say(Notice::NoRoomToWiden { jail: jail.clone(), ipv4, budget: found.budget }));
        }
        for ban in self.withheld_for_logins(jail, &found, now) {
            self.alert_good_logins(&ban, now, out);
        }
        for displaced in self.bring_about(jail, &found, now, out) {
            // What of it is worth least may have room left, but takes nobody's place in turn.
            if let Some(found) = self.judge_without_displacing(jail, displaced, now) {
                self.bring_about(jail, &found, now, out);
            }
        }
    }

    /// Makes the widened bans of a region what was found. Returns those elsewhere that gave way.
    fn bring_about(
        &mut self,
        jail: &JailName,
        found: &Widening,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Vec<Prefix> {
        let standing: Vec<Prefix> =
            self.neighbours.get(jail).map_or_else(Vec::new, |known| known.nets(found.region).collect());
        let mut wanted: Vec<Ban> =
            found.cover.nets.iter().filter_map(|net| self.net_ban(jail, net, now)).collect();
        let is_as_wanted = |net: &Prefix| {
            wanted.iter().any(|ban| ban.prefix == *net && self.until_of(*net, jail) <= Some(ban.until))
        };
        let mut gone: Vec<Prefix> = standing.into_iter().filter(|net| !is_as_wanted(net)).collect();
        // The fuse may hold a new network back: what it would replace stays, and the next ban in it asks again.
        let new: Vec<Ban> =
            wanted.iter().filter(|ban| self.until_of(ban.prefix, jail).is_none()).cloned().collect();
        for held_back in new.into_iter().filter(|ban| self.withholds(ban, now, out)).collect::<Vec<_>>() {
            gone.retain(|net| !held_back.prefix.contains(*net));
            wanted.retain(|ban| ban.prefix != held_back.prefix);
        }
        let displaced = self.give_way(jail, found, (&wanted, &gone));
        gone.extend(&displaced);
        let mut dirty = BTreeSet::new();
        for ban in gone.iter().flat_map(|net| self.ledger.unban(*net, Some(jail))).collect::<Vec<_>>() {
            dirty.insert(ban.prefix);
            self.net_ended(&ban, Ended::Narrowed);
            out.push(Effect::Record(Record::Ended(ban.clone(), Ended::Narrowed, now)));
            out.push(Effect::Say(Notice::Ended(ban, Ended::Narrowed)));
        }
        for ban in wanted {
            let net = ban.prefix;
            if self.until_of(net, jail).is_none() && !self.admits(&ban, out) {
                continue;
            }
            if let Some(ban) = self.ledger.ban(ban) {
                dirty.insert(net);
                self.count_net(&ban);
                out.push(Effect::Record(Record::Banned(ban.clone())));
                out.push(Effect::Say(Notice::Banned(ban)));
            }
            if let Some(neighbours) = self.neighbours.get_mut(jail) {
                neighbours.widened(net, now);
            }
        }
        self.project(&dirty, out);
        displaced
    }

    /// The networks elsewhere that give way so that what is wanted of the region fits: the weakest, and no more of them
    /// than it takes.
    fn give_way(
        &self,
        jail: &JailName,
        found: &Widening,
        (wanted, gone): (&[Ban], &[Prefix]),
    ) -> Vec<Prefix> {
        let Some(neighbours) = self.neighbours.get(jail).filter(|_| !found.displaced.is_empty()) else {
            return Vec::new();
        };
        let is_wanted = |prefix: Prefix| wanted.iter().any(|ban| ban.prefix == prefix);
        let new = found.cover.nets.iter().filter(|net| is_wanted(net.prefix)).map(|net| net.innocents);
        let kept = neighbours.nets_inside(found.region);
        let kept = kept.filter(|net| !gone.contains(&net.prefix) && !is_wanted(net.prefix));
        let outside = neighbours.used_outside(found.region);
        let mut all = outside + new.sum::<u64>() + kept.map(|net| net.innocents).sum::<u64>();
        let mut displaced = Vec::new();
        for net in &found.displaced {
            if all > found.budget {
                all -= net.innocents;
                displaced.push(net.prefix);
            }
        }
        displaced
    }

    /// A widened ban counts like every ban of its jail, as it will after a restart.
    fn count_net(&mut self, ban: &Ban) {
        self.judge.past.began(ban.prefix, &ban.jail, ban.since);
        self.banned_before(&ban.jail);
    }

    fn until_of(&self, net: Prefix, jail: &JailName) -> Option<End> {
        self.ledger.of(net).iter().find(|ban| ban.jail == *jail).map(|ban| ban.until)
    }
}

/// The wider of two networks that share an address.
fn wider(one: Option<Prefix>, other: Option<Prefix>) -> Option<Prefix> {
    one.into_iter().chain(other).min_by_key(|net| net.prefix_len())
}

/// True for what a widened ban can be of.
fn is_net(prefix: Prefix) -> bool {
    widen::levels(prefix.is_ipv4()).iter().any(|level| level.len == prefix.prefix_len())
}

#[cfg(test)]
mod tests;
