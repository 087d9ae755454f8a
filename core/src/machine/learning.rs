//! Good logins of before the first start, learnt beside live judging: in any order, mostly the newest first.
//!
//! Such a login clears no counts, ends no outage and raises no alarm, for all of that may be of later. It makes its
//! place and its name known, and tells from where people come regularly.

use std::net::IpAddr;

use crate::event::{Attempt, Class, Event, JailName, Origin, Outcome, Points};
use crate::jail::alarms::Alarm;
use crate::jail::{names, trust};
use crate::ledger::{Ban, Ended};
use crate::net::Prefix;
use crate::time::Timestamp;

use super::{Effect, Machine, Notice, Record};

/// What became of a login of before.
#[derive(Debug, Clone, PartialEq)]
pub struct Learnt {
    /// From where it came.
    pub addr: IpAddr,
    /// Bans that would not have been had its place been known.
    pub lifted: Vec<Ban>,
}

impl Machine {
    /// Learns a good login that `jail` saw before the first start. Nothing if that jail does not run, or if the login
    /// has no time, a later one than `now`, or one that is longer ago than [`trust::MEMORY`].
    ///
    /// A place that becomes known by it is taken for one that always was: what it counts costs no more than failures at an
    /// account, and bans that jails made of it since `unaware` are lifted.
    pub fn learn(
        &mut self,
        jail: &JailName,
        login: &Event,
        unaware: Timestamp,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Option<Learnt> {
        let now = self.now(now);
        let time = login.stamp.filter(|time| *time <= now && now.since(*time) < trust::MEMORY)?;
        let runs = self.judge.jails().iter().any(|known| known.name == *jail);
        let addr = self.judge.client(login).filter(|_| runs && login.outcome == Outcome::Success)?;
        let account = login.user.as_deref().map(names::hash);
        self.judge.alarms.learn(jail, addr, account, time);
        if self.judge.alarms.outages.is_regular(jail, addr, now) {
            self.spare_from_nets(Prefix::host(addr));
        }
        let mut lifted = Vec::new();
        // A login that names nobody can be forged by a request: two of them, a day apart, spare from networks only.
        if let Some(user) = &login.user {
            self.judge.names.learn(user);
            if self.judge.trust.learn(addr, Some(user), time, now) {
                let (place, asn) = (self.judge.subject(addr), self.judge.asn(addr));
                let over = self.judge.alarms.campaigns.good_login(jail, place, asn, now);
                out.extend(
                    over.into_iter().map(|change| Effect::Say(Notice::Alarm(Alarm::Campaign(change)))),
                );
                lifted = self.is_known_after_all(addr, unaware, now, out);
            }
        }
        out.push(Effect::Record(Record::Learnt(Attempt {
            time,
            jail: jail.clone(),
            addr,
            user: login.user.clone(),
            class: None,
            points: Points(0),
            tries: 1,
            connection: None,
        })));
        Some(Learnt { addr, lifted })
    }

    /// Takes back what was judged of a place since `unaware`, as if it had been unknown.
    fn is_known_after_all(
        &mut self,
        addr: IpAddr,
        unaware: Timestamp,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Vec<Ban> {
        let subject = self.judge.subject(addr);
        // Jails that count lines judge everybody alike.
        let by_attempts = self.judge.jails().iter().filter(|jail| jail.lines.is_none());
        let names: Vec<JailName> = by_attempts.map(|jail| jail.name.clone()).collect();
        self.judge.soften(subject, Class::KnownUser);
        let is_hasty = |ban: &Ban| {
            ban.prefix == subject
                && ban.origin == Origin::Local
                && ban.since >= unaware
                && names.contains(&ban.jail)
        };
        let hasty: Vec<JailName> =
            self.ledger.covering(subject).into_iter().filter(is_hasty).map(|ban| ban.jail).collect();
        let lifted: Vec<Ban> = hasty.iter().flat_map(|jail| self.ledger.unban(subject, Some(jail))).collect();
        for ban in &lifted {
            self.judge.past.undo(ban.prefix, &ban.jail);
        }
        self.ended(&lifted, Ended::Mistaken, now, out);
        self.spare_from_nets(Prefix::host(addr));
        lifted
    }
}

#[cfg(test)]
mod tests;
