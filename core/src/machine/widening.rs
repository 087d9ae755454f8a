//! Widened bans: neighbours that offended become one ban of their network, and it narrows as its evidence goes.
//!
//! A widened ban stands in the ledger by (network, jail) like others, of local origin, beside the single bans that
//! led to it. It follows from who offended lately, who is to be spared, and the jail's budget: whenever one of these
//! changes for a network it is looked at again, at once after a ban and otherwise in [`Machine::tick`]. It lasts while
//! one of its offenders is banned and as many as it takes are evidence, so it ends in time without a daemon too.

use std::collections::BTreeSet;

use crate::event::{JailName, Origin};
use crate::jail::proxies::Known;
use crate::jail::replay::{PastBan, Turn};
use crate::jail::widen::neighbours::{Neighbours, Offence};
use crate::jail::widen::{self, Cover, Net};
use crate::ledger::{Ban, Ended};
use crate::net::{Prefix, PrefixSet};
use crate::time::{End, Timestamp};

use super::{Effect, Machine, Notice, Record};

/// So many offenders are named in the reason of a ban.
const NAMED: usize = 4;

/// Why no network is banned over somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spared {
    /// Somebody logged in from there lately.
    LoggedIn,
    /// This host itself talks to it.
    TalksTo,
    /// Presumed to be a proxy.
    Proxy,
    /// Somebody lifted a ban there lately.
    Pardoned,
}

impl Spared {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Spared::LoggedIn => "somebody logged in from there within 30 days",
            Spared::TalksTo => "this host itself talks to it",
            Spared::Proxy => "presumed to be a proxy",
            Spared::Pardoned => "a ban there was lifted by hand within 7 days",
        }
    }
}

/// What a jail makes of the neighbourhood of a prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct Widening {
    /// The jail.
    pub jail: JailName,
    /// The network that was looked at: whatever is banned around the prefix lies inside.
    pub region: Prefix,
    /// Who in it offended lately, sorted.
    pub offenders: Vec<Prefix>,
    /// Whom no network may hold.
    pub spared: Vec<(Prefix, Spared)>,
    /// The networks that cost least, and what one ban fewer was worth.
    pub cover: Cover,
    /// Innocents in all widened bans of the jail.
    pub used: u64,
    /// How many that may be.
    pub budget: u64,
}

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

    /// Somebody is to be spared from now on: networks that hold `prefix` are looked at again.
    pub(super) fn spare_from_nets(&mut self, prefix: Prefix) {
        for (jail, neighbours) in &self.neighbours {
            let around = neighbours.nets(prefix).filter(|net| net.contains(prefix));
            self.stale.extend(around.map(|net| (jail.clone(), net)));
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
        let now = self.now;
        for turn in past {
            match turn.turn {
                Turn::Began => {
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

    /// Somebody was banned: bans the network that this makes worth it, if any.
    pub(super) fn widen(&mut self, jail: &JailName, subject: Prefix, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(neighbours) = self.neighbours.get_mut(jail) else { return };
        let held = neighbours.nets(subject).next();
        let region = wider(neighbours.due_region(subject, now), held);
        self.widen_in(jail, region, now, out);
    }

    /// Brings the widened bans in a region to what is known now. No widened ban may hold more than the region.
    fn widen_in(&mut self, jail: &JailName, region: Option<Prefix>, now: Timestamp, out: &mut Vec<Effect>) {
        let Some(found) = region.and_then(|region| self.judge_in(jail, region, now)) else { return };
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
    }

    /// A widened ban counts like every ban of its jail, as it will after a restart.
    fn count_net(&mut self, ban: &Ban) {
        self.judge.past.began(ban.prefix, &ban.jail, ban.since);
        self.banned_before(&ban.jail);
    }

    fn until_of(&self, net: Prefix, jail: &JailName) -> Option<End> {
        self.ledger.of(net).iter().find(|ban| ban.jail == *jail).map(|ban| ban.until)
    }

    /// The ban of a network; nothing if none of its offenders is banned now, or if somebody else's ban does the same.
    fn net_ban(&self, jail: &JailName, net: &Net, now: Timestamp) -> Option<Ban> {
        let neighbours = self.neighbours.get(jail)?;
        let offences: Vec<(Prefix, Offence)> = neighbours.offenders(net.prefix, now).collect();
        let banned_until = offences.iter().map(|(_, offence)| offence.until).max()?;
        let mut holds: Vec<End> = offences.iter().map(|(_, offence)| offence.holds_until()).collect();
        holds.sort_unstable_by(|one, other| other.cmp(one));
        let levels = widen::levels(net.prefix.is_ipv4());
        let least = levels.iter().find(|level| level.len == net.prefix.prefix_len())?.least;
        let until = banned_until.min(*holds.get(least.checked_sub(1)?)?);
        let scope = self.scope_of(net.prefix, jail);
        let by_others = |ban: &&Ban| ban.origin != Origin::Local && ban.scope == scope && ban.until >= until;
        let has_own_key =
            self.ledger.of(net.prefix).iter().any(|ban| ban.jail == *jail && ban.origin != Origin::Local);
        if until.is_over(now) || has_own_key || self.ledger.covering(net.prefix).iter().any(by_others) {
            return None;
        }
        let led = offences.iter().flat_map(|(offender, _)| self.ledger.of(*offender));
        let failures = led.filter(|ban| ban.jail == *jail).map(|ban| ban.failures).sum();
        Some(Ban {
            prefix: net.prefix,
            jail: jail.clone(),
            since: now,
            until,
            failures,
            reason: reason(net, &offences),
            origin: Origin::Local,
            scope,
            forced: false,
        })
    }

    /// What each jail that widens makes of the neighbourhood of `prefix`: jails without an offender there are left out.
    pub fn widening(&self, prefix: Prefix, now: Timestamp) -> Vec<Widening> {
        let found = self.neighbours.keys().filter_map(|jail| {
            // Where nothing is widened, the usual widest network shows how many neighbours there are.
            let usual = prefix.widened(if prefix.is_ipv4() { 24 } else { 56 });
            let neighbours = self.neighbours.get(jail)?;
            let held = neighbours.nets(prefix).next();
            let region = wider(wider(neighbours.region(prefix, now), held), Some(usual));
            self.judge_in(jail, region?, now)
        });
        found.filter(|found| !found.offenders.is_empty()).collect()
    }

    /// The cover of a region, and all that it follows from.
    fn judge_in(&self, jail: &JailName, region: Prefix, now: Timestamp) -> Option<Widening> {
        let neighbours = self.neighbours.get(jail)?;
        let offenders: Vec<Prefix> =
            neighbours.offenders(region, now).map(|(offender, _)| offender).collect();
        let spared = self.spared(neighbours, region, now);
        let blocked = PrefixSet::new(spared.iter().map(|(prefix, _)| *prefix));
        let outside = neighbours.used_outside(region);
        let cover = widen::cover(&offenders, &blocked, neighbours.budget().saturating_sub(outside));
        let used = neighbours.used();
        Some(Widening {
            jail: jail.clone(),
            region,
            offenders,
            spared,
            cover,
            used,
            budget: neighbours.budget(),
        })
    }

    /// Whom no network inside `region` may hold. Who is never banned is taken out of it by the projection instead.
    fn spared(&self, neighbours: &Neighbours, region: Prefix, now: Timestamp) -> Vec<(Prefix, Spared)> {
        let judge = &self.judge;
        let hosts = |spared| move |addr| (Prefix::host(addr), spared);
        let mut all: Vec<(Prefix, Spared)> =
            judge.trust.known_inside(region, now).map(hosts(Spared::LoggedIn)).collect();
        let talks = self.talks_to.range(region.addr()..=region.last_addr()).copied();
        all.extend(talks.map(hosts(Spared::TalksTo)));
        let known = Known { never: &judge.never, trust: &judge.trust };
        let presumed = judge.proxies.presumed(now, known).into_iter();
        all.extend(presumed.filter(|addr| region.contains_addr(*addr)).map(hosts(Spared::Proxy)));
        all.extend(neighbours.pardoned(region, now).map(|prefix| (prefix, Spared::Pardoned)));
        all
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

/// `2 neighbours offended (192.0.2.13, 192.0.2.14); 6 innocent addresses`
fn reason(net: &Net, offences: &[(Prefix, Offence)]) -> String {
    let named: Vec<String> = offences.iter().take(NAMED).map(|(offender, _)| offender.short()).collect();
    let more = match offences.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = if net.prefix.is_ipv4() { "innocent addresses" } else { "innocent networks" };
    format!("{} neighbours offended ({}{more}); {} {what}", net.offenders, named.join(", "), net.innocents)
}

#[cfg(test)]
mod tests;
