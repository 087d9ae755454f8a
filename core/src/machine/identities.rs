//! Bans of whom no address names: what `<F-ID>` captured, for jails of a fail2ban directory that run commands.
//!
//! They are counted as addresses are, but the kernel has nothing to do with them: the jail's commands are told of each
//! ban and of its end. They live beside the ledger, and the daemon keeps them over a restart.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::event::JailName;
use crate::filter::fail2ban::{Hit, Subject};
use crate::jail::JailIndex;
use crate::ledger::Ended;
use crate::net::Prefix;
use crate::time::{End, Timestamp};

use super::{Effect, Evidence, Machine, Notice};

/// So many are banned at once in all jails; more are left out. Fewer than a jail counts: each is a command.
const MOST: usize = 10_000;

/// A longer text is no identity.
const MAX_BYTES: usize = 256;

/// A ban of an identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityBan {
    /// Whom; hostile text.
    pub id: SmolStr,
    /// The address that the first failure showed beside it.
    pub addr: Option<Prefix>,
    /// For which jail.
    pub jail: JailName,
    /// From when.
    pub since: Timestamp,
    /// Until when.
    pub until: End,
    /// Failures that led to it.
    pub failures: u32,
}

/// Every ban of an identity that is in force.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    bans: BTreeMap<(JailName, SmolStr), IdentityBan>,
    ends: BTreeSet<(Timestamp, JailName, SmolStr)>,
}

impl Identities {
    /// The bans in force, by jail.
    pub fn iter(&self) -> impl Iterator<Item = &IdentityBan> {
        self.bans.values()
    }

    /// When the next ban ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.ends.first().map(|(end, ..)| *end)
    }

    /// Takes over what was kept; what is over at `now` is left out.
    pub fn restore(&mut self, bans: Vec<IdentityBan>, now: Timestamp) {
        for ban in bans.into_iter().filter(|ban| !ban.until.is_over(now)).take(MOST) {
            self.insert(ban);
        }
    }

    fn insert(&mut self, ban: IdentityBan) {
        let key = (ban.jail.clone(), ban.id.clone());
        if let End::At(end) = ban.until {
            self.ends.insert((end, ban.jail.clone(), ban.id.clone()));
        }
        self.bans.insert(key, ban);
    }

    fn remove(&mut self, jail: &JailName, id: &SmolStr) -> Option<IdentityBan> {
        let ban = self.bans.remove(&(jail.clone(), id.clone()))?;
        if let End::At(end) = ban.until {
            self.ends.remove(&(end, jail.clone(), id.clone()));
        }
        Some(ban)
    }

    fn remove_if(&mut self, gone: impl Fn(&IdentityBan) -> bool) -> Vec<IdentityBan> {
        let keys: Vec<_> =
            self.iter().filter(|ban| gone(ban)).map(|ban| (ban.jail.clone(), ban.id.clone())).collect();
        keys.iter().filter_map(|(jail, id)| self.remove(jail, id)).collect()
    }
}

impl Machine {
    /// Counts a failure of somebody who is no address. False if nobody could do anything about it.
    pub(super) fn identity_failure(
        &mut self,
        (jail, reader): (JailIndex, usize),
        id: &SmolStr,
        hit: Hit,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> bool {
        let now = self.now(now);
        let runs_commands = self.judge.line_rules(jail).is_some_and(|rules| rules.runs_commands);
        let Some(name) = self.judge.jails().get(usize::from(jail)).map(|jail| jail.name.clone()) else {
            return false;
        };
        if !runs_commands || id.len() > MAX_BYTES || !self.is_identity((jail, reader)) {
            return false;
        }
        if let Some(counters) = self.counters.get_mut(usize::from(jail)) {
            counters.failures += 1;
        }
        let subject = Subject::Id(id.clone());
        let beside = match hit.ip {
            Some(Subject::Net(prefix)) => Some(prefix),
            _ => None,
        };
        self.keep((jail, reader), subject.clone(), hit.matches, beside);
        let Some((failures, since, until)) =
            self.judge.subject_failure(jail, &subject, hit.time.unwrap_or(now), now)
        else {
            return true;
        };
        let evidence = self.evidence(jail, &name, subject.clone());
        let addr = self.matches.remove(&(jail, subject)).and_then(|kept| kept.addr);
        let is_known = self.identities.bans.contains_key(&(name.clone(), id.clone()));
        if is_known || until.is_over(now) || self.identities.bans.len() >= MOST {
            return true;
        }
        if let Some(counters) = self.counters.get_mut(usize::from(jail)) {
            counters.bans += 1;
        }
        let ban = IdentityBan { id: id.clone(), addr, jail: name, since, until, failures };
        self.identities.insert(ban.clone());
        out.push(Effect::Evidence(Box::new(evidence)));
        out.push(Effect::Say(Notice::IdentityBanned(ban)));
        true
    }

    /// What only looks like an address is none, and no identity either.
    fn is_identity(&self, (jail, reader): (JailIndex, usize)) -> bool {
        self.captures((jail, reader)).iter().any(|(name, _)| name == "fid" || name == "dns")
    }

    pub(super) fn end_identities(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        while let Some((end, jail, id)) = self.identities.ends.first().cloned() {
            if end > now {
                return;
            }
            let ban = self.identities.remove(&jail, &id);
            out.extend(ban.map(|ban| Effect::Say(Notice::IdentityEnded(ban, Ended::Expired))));
        }
    }

    /// Lifts every ban of an identity, of one jail or of all; returns them.
    pub fn unban_identities(&mut self, jail: Option<&JailName>, out: &mut Vec<Effect>) -> Vec<IdentityBan> {
        self.lift_identities(|ban| jail.is_none_or(|jail| ban.jail == *jail), Ended::Lifted, out)
    }

    pub(super) fn lift_identities(
        &mut self,
        which: impl Fn(&IdentityBan) -> bool,
        how: Ended,
        out: &mut Vec<Effect>,
    ) -> Vec<IdentityBan> {
        let gone = self.identities.remove_if(which);
        out.extend(gone.iter().map(|ban| Effect::Say(Notice::IdentityEnded(ban.clone(), how))));
        gone
    }

    pub(super) fn evidence(&self, jail: JailIndex, name: &JailName, subject: Subject) -> Evidence {
        let kept = self.matches.get(&(jail, subject.clone())).cloned().unwrap_or_default();
        Evidence { jail: name.clone(), subject, matches: kept.lines, captures: kept.captures }
    }
}
