//! What a jail makes of a neighbourhood, and the bans that follow from it.

use crate::event::{JailName, Origin};
use crate::jail::proxies::Known;
use crate::jail::widen::neighbours::{Neighbours, Offence};
use crate::jail::widen::share::{Share, share};
use crate::jail::widen::{self, Cover, Net};
use crate::ledger::Ban;
use crate::machine::Machine;
use crate::net::{Prefix, PrefixSet};
use crate::time::{End, Timestamp};

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
    /// This host is in that network itself.
    OwnNetwork,
}

impl Spared {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Spared::LoggedIn => "somebody logged in from there within 30 days",
            Spared::TalksTo => "this host itself talks to it",
            Spared::Proxy => "presumed to be a proxy",
            Spared::Pardoned => "a ban there was lifted by hand within 7 days",
            Spared::OwnNetwork => "this host is in that network itself",
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
    /// Networks elsewhere that give way to these, the weakest first.
    pub displaced: Vec<Net>,
    /// The budget does not hold all that would be worth it.
    pub is_short: bool,
    /// Innocents in all widened bans of the jail and the region's family.
    pub used: u64,
    /// How many that may be.
    pub budget: u64,
}

impl Machine {
    /// The ban of a network; nothing if none of its offenders is banned now, or if somebody else's ban does the same.
    pub(super) fn net_ban(&self, jail: &JailName, net: &Net, now: Timestamp) -> Option<Ban> {
        let neighbours = self.neighbours.get(jail)?;
        let offences: Vec<(Prefix, Offence)> = neighbours.offenders(net.prefix, now).collect();
        let banned_until = offences.iter().map(|(_, offence)| offence.until).max()?;
        let mut holds: Vec<End> = offences.iter().map(|(_, offence)| offence.holds_until()).collect();
        holds.sort_unstable_by(|one, other| other.cmp(one));
        let levels = widen::levels(net.prefix.is_ipv4());
        let least = levels.iter().find(|level| level.len == net.prefix.prefix_len())?.least;
        let until = banned_until.min(*holds.get(least.checked_sub(1)?)?);
        let scope = self.scope_of(net.prefix, jail);
        let by_others = |ban: &Ban| ban.origin != Origin::Local && ban.scope == scope && ban.until >= until;
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
            reason: reason(net, &offences).into(),
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
            let region = super::wider(super::wider(neighbours.region(prefix, now), held), Some(usual));
            self.judge_in(jail, region?, now)
        });
        found.filter(|found| !found.offenders.is_empty()).collect()
    }

    /// The cover of a region, and all that it follows from.
    pub(super) fn judge_in(&self, jail: &JailName, region: Prefix, now: Timestamp) -> Option<Widening> {
        self.judge_against(jail, region, now, |neighbours, offenders, blocked| {
            let elsewhere = (neighbours.used_outside(region), neighbours.elsewhere(region));
            share(offenders, blocked, elsewhere, neighbours.budget())
        })
    }

    /// The same within what is left of the budget.
    pub(super) fn judge_without_displacing(
        &self,
        jail: &JailName,
        region: Prefix,
        now: Timestamp,
    ) -> Option<Widening> {
        self.judge_against(jail, region, now, |neighbours, offenders, blocked| {
            let left = neighbours.budget().saturating_sub(neighbours.used_outside(region));
            Share { cover: widen::cover(offenders, blocked, left), ..Share::default() }
        })
    }

    fn judge_against(
        &self,
        jail: &JailName,
        region: Prefix,
        now: Timestamp,
        share: impl Fn(&Neighbours, &[Prefix], &PrefixSet) -> Share,
    ) -> Option<Widening> {
        let neighbours = self.neighbours.get(jail)?;
        let offenders: Vec<Prefix> =
            neighbours.offenders(region, now).map(|(offender, _)| offender).collect();
        let spared = self.spared(neighbours, region, now);
        let blocked = PrefixSet::new(spared.iter().map(|(prefix, _)| *prefix));
        let Share { cover, displaced, is_short } = share(neighbours, &offenders, &blocked);
        Some(Widening {
            jail: jail.clone(),
            region,
            offenders,
            spared,
            cover,
            displaced,
            is_short,
            used: neighbours.used(region),
            budget: neighbours.budget(),
        })
    }

    /// The bans of networks that `found` would make had nobody logged in from inside them lately.
    pub(super) fn withheld_for_logins(&self, jail: &JailName, found: &Widening, now: Timestamp) -> Vec<Ban> {
        let Some(neighbours) = self.neighbours.get(jail) else { return Vec::new() };
        let (places, others): (Vec<&_>, Vec<&_>) =
            found.spared.iter().partition(|(_, why)| *why == Spared::LoggedIn);
        if places.is_empty() {
            return Vec::new();
        }
        let blocked = PrefixSet::new(others.into_iter().map(|(prefix, _)| *prefix));
        let elsewhere = (neighbours.used_outside(found.region), neighbours.elsewhere(found.region));
        let free = share(&found.offenders, &blocked, elsewhere, neighbours.budget()).cover;
        let holds = |net: &&Net| places.iter().any(|(place, _)| net.prefix.contains(*place));
        free.nets.iter().filter(holds).filter_map(|net| self.net_ban(jail, net, now)).collect()
    }

    /// Whom no network inside `region` may hold. Who is never banned is taken out of it by the projection instead.
    fn spared(&self, neighbours: &Neighbours, region: Prefix, now: Timestamp) -> Vec<(Prefix, Spared)> {
        let judge = &self.judge;
        let hosts = |spared| move |addr| (Prefix::host(addr), spared);
        let mut all: Vec<(Prefix, Spared)> =
            judge.good_places(region, now).into_iter().map(|(place, ..)| (place, Spared::LoggedIn)).collect();
        let talks = self.talks_to.range(region.addr()..=region.last_addr()).copied();
        all.extend(talks.map(hosts(Spared::TalksTo)));
        let known = Known { never: &judge.never, trust: &judge.trust };
        let presumed = judge.proxies.presumed(now, known).into_iter();
        all.extend(presumed.filter(|addr| region.contains_addr(*addr)).map(hosts(Spared::Proxy)));
        all.extend(neighbours.pardoned(region, now).map(|prefix| (prefix, Spared::Pardoned)));
        let own = judge.never.networks().iter().filter(|network| network.overlaps(region));
        all.extend(own.map(|network| (*network, Spared::OwnNetwork)));
        all
    }
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
