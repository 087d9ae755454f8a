//! Bans that were earned and not made, and why: what the owner has to look at.
//!
//! Somebody who is never banned goes on guessing; a network to be banned has addresses from which people logged in; the
//! fuse has blown. Each alert stands for an hour after it was raised last, and is said once an hour.

pub(super) mod soon;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use crate::event::{Decision, JailName};
use crate::jail::never::Why;
use crate::jail::{JailIndex, Spared};
use crate::ledger::projection::is_point;
use crate::net::Prefix;
use crate::time::{End, Span, Timestamp};

use super::fuse::{Fuse, Level};
use super::{Effect, Machine, Notice};

/// How long an alert stands after it was raised last, and how often it is said.
const STANDS: Span = Span::from_secs(3_600);

/// At most so many alerts stand; the oldest go first.
const MOST_ALERTS: usize = 500;

/// At most so many bans that the fuse withheld are made later; the rest must be earned anew.
const MOST_WITHHELD: usize = 10_000;

/// Why a ban was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// This prefix is never banned.
    Never(Prefix, Why),
    /// A network, and so many of its addresses had good logins lately; this one had the last, then.
    GoodLogins(usize, IpAddr, Timestamp),
}

/// A ban that was earned and not made.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Which jail would have banned.
    pub jail: JailName,
    /// Whom.
    pub prefix: Prefix,
    /// Why not.
    pub reason: Reason,
    /// The evidence in words.
    pub evidence: String,
    /// How often it was earned.
    pub times: u32,
    /// When first and last.
    pub since: Timestamp,
    /// See `since`.
    pub last: Timestamp,
    said: Timestamp,
}

/// The alerts that stand.
#[derive(Debug, Default)]
pub struct Alerts {
    standing: BTreeMap<(JailName, Prefix), Alert>,
}

impl Alerts {
    /// Raises one; returns it as it stands now if it is to be said.
    fn raise(
        &mut self,
        jail: JailName,
        prefix: Prefix,
        why: (Reason, String),
        now: Timestamp,
    ) -> Option<Alert> {
        self.forget(now);
        let key = (jail.clone(), prefix);
        if self.standing.len() >= MOST_ALERTS && !self.standing.contains_key(&key) {
            let oldest = self.standing.iter().min_by_key(|(_, alert)| alert.last).map(|(key, _)| key.clone());
            oldest.and_then(|key| self.standing.remove(&key));
        }
        let (reason, evidence) = why;
        let fresh = || {
            let evidence = String::new();
            Alert { jail, prefix, reason, evidence, times: 0, since: now, last: now, said: now - STANDS }
        };
        let alert = self.standing.entry(key).or_insert_with(fresh);
        alert.times = alert.times.saturating_add(1);
        (alert.last, alert.reason, alert.evidence) = (now, reason, evidence);
        if now.since(alert.said) < STANDS {
            return None;
        }
        alert.said = now;
        Some(alert.clone())
    }

    fn forget(&mut self, now: Timestamp) {
        self.standing.retain(|_, alert| now.since(alert.last) < STANDS);
    }
}

/// Bans that the fuse withheld; made at the next failure once it lets them through.
pub(super) type Withheld = HashMap<(JailName, Prefix), Decision>;

impl Machine {
    /// The alerts that stand at `now`, by jail and prefix.
    pub fn alerts(&self, now: Timestamp) -> impl Iterator<Item = &Alert> {
        self.alerts.standing.values().filter(move |alert| now.since(alert.last) < STANDS)
    }

    /// The fuse as it stands.
    pub fn fuse(&self) -> &Fuse {
        &self.fuse
    }

    /// Sets how many prefixes the jails may ban within a minute before the fuse blows; 0 switches it off.
    pub fn set_fuse(&mut self, bans_per_minute: u32) {
        self.fuse.set_limit(bans_per_minute);
        if bans_per_minute == 0 {
            self.withheld.clear();
        }
    }

    /// The places of `prefix` with good logins lately: how many, and from which address and when the last of them was.
    pub fn good_logins_in(&self, prefix: Prefix, now: Timestamp) -> Option<(usize, IpAddr, Timestamp)> {
        let places = self.judge.good_places(prefix, now);
        let last = places.iter().map(|(_, addr, at)| (*at, *addr)).max();
        last.map(|(at, addr)| (places.len(), addr, at))
    }

    /// Somebody who is never banned has earned a ban.
    pub(super) fn spare(&mut self, spared: Spared, now: Timestamp, out: &mut Vec<Effect>) {
        let reasons = self.judge.never.reasons(spared.prefix);
        let Some((entry, why)) = reasons.into_iter().min_by_key(|(_, why)| *why) else { return };
        self.alert(spared.jail, spared.prefix, (Reason::Never(entry, why), spared.evidence), now, out);
    }

    fn alert(
        &mut self,
        jail: JailName,
        prefix: Prefix,
        why: (Reason, String),
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let said = self.alerts.raise(jail, prefix, why, now);
        out.extend(said.map(|alert| Effect::Say(Notice::Spared(Box::new(alert)))));
    }

    /// Tells of a network that is not banned because somebody logged in from it lately, if somebody did. An alert of a
    /// part of it is of no more use.
    pub(super) fn alert_good_logins(
        &mut self,
        decision: &Decision,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> bool {
        let (jail, prefix) = (&decision.jail, decision.prefix);
        let Some((count, addr, at)) = self.good_logins_in(prefix, now) else { return false };
        self.alerts.standing.retain(|(of, part), alert| {
            let is_part = *part != prefix && prefix.contains(*part) && of == jail;
            !(is_part && matches!(alert.reason, Reason::GoodLogins(..)))
        });
        let why = (Reason::GoodLogins(count, addr, at), decision.reason.to_string());
        self.alert(jail.clone(), prefix, why, now, out);
        true
    }

    /// True if a jail's ban must not be made now.
    pub(super) fn withholds(&mut self, decision: &Decision, now: Timestamp, out: &mut Vec<Effect>) -> bool {
        let is_network = !is_point(decision.prefix);
        if is_network && self.alert_good_logins(decision, now, out) {
            return true;
        }
        // By the time of the failures: what is caught up after a stop did not come at once.
        let (is_withheld, level) = self.fuse.wants(decision.prefix, is_network, decision.since.min(now));
        out.extend(level.map(|level| Effect::Say(Notice::Fuse(level))));
        let key = (decision.jail.clone(), decision.prefix);
        if !is_withheld {
            self.withheld.remove(&key);
        } else if self.withheld.len() < MOST_WITHHELD {
            self.withheld.insert(key, decision.clone());
        }
        is_withheld
    }

    /// Makes a ban that the fuse withheld, now that its source failed again, if the fuse lets it.
    pub(super) fn retry_withheld(
        &mut self,
        jail: JailIndex,
        (name, subject): (&JailName, Prefix),
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let key = (name.clone(), subject);
        let Some(decision) = self.withheld.get(&key).filter(|_| !self.judge.never.overlaps(subject)) else {
            return;
        };
        let until = match decision.until {
            End::At(end) => End::At(now + end.since(decision.since)),
            End::Never => End::Never,
        };
        let decision = Decision { since: now, until, ..decision.clone() };
        self.take_ban(jail, decision, now, out);
        // What led to it is used up, as by every ban, with the failure that asked again.
        if self.ledger.is_banned(subject, name, now) {
            self.judge.forget(subject, Some(name));
        }
    }

    /// Closes the fuse if it is time, and forgets what it withheld too long ago.
    pub(super) fn tick_fuse(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if self.fuse.tick(now) {
            out.push(Effect::Say(Notice::Fuse(Level::Closed)));
        }
    }

    /// Forgets alerts and withheld bans that are too old.
    pub(super) fn sweep_alerts(&mut self, now: Timestamp) {
        self.alerts.forget(now);
        self.sweep_soon(now);
        self.withheld.retain(|_, decision| now.since(decision.since) < STANDS);
    }
}

#[cfg(test)]
mod tests;
