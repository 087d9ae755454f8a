//! Jails: from events to counted attempts, and from attempts to decisions.
//!
//! [`Judge`] holds every jail's windows and what all jails share: the never-ban set, trust in known places,
//! names, connections, and the memory of past bans. The order of judgement is the order of [`Judge::observe`].

pub mod alarms;
pub mod bantime;
pub mod campaign;
pub mod connections;
mod failure;
pub mod growth;
pub mod lines;
pub mod names;
pub mod networks;
pub mod never;
pub mod outage;
pub mod policy;
pub mod proxies;
pub mod rate;
pub mod replay;
mod room;
pub mod secret;
mod soon;
mod spared;
mod standing;
pub mod stealth;
mod success;
#[cfg(test)]
mod testing;
pub mod trust;
pub mod widen;
pub mod window;

use std::net::IpAddr;
use std::sync::Arc;

use crate::event::{Attempt, Class, Decision, Event, JailName, Outcome, Points};
use crate::filter::Verdict;
use crate::filter::fail2ban::Subject;
use crate::net::{Prefix, PrefixSet};
use crate::time::{Span, Timestamp};

use alarms::{Alarm, Alarms};
use bantime::PastBans;
use connections::Connections;
use failure::Failed;
use growth::Growth;
use lines::LineRules;
use names::{Names, Tried};
use networks::Networks;
use never::NeverBan;
use policy::Policy;
use proxies::{Known, Proxies};
use rate::Rates;
use secret::{Percent, Secret};
pub use soon::Soon;
use spared::MAX_SPARED;
pub use spared::Spared;
use trust::Trust;
use window::Windows;

/// Number of a jail in its [`Judge`].
pub type JailIndex = u16;

/// A jail as the judge needs it.
#[derive(Debug, Clone)]
pub struct Jail {
    /// Its name.
    pub name: JailName,
    /// Its counting.
    pub policy: Policy,
    /// The rules of a jail that counts lines as fail2ban does; its `policy` only says the same for people.
    pub lines: Option<LineRules>,
}

impl Jail {
    /// How its bans grow with earlier ones; nothing if they do not.
    pub fn growth(&self) -> Option<&Growth> {
        match &self.lines {
            Some(rules) => rules.growth.as_ref(),
            None => self.policy.growth.as_deref(),
        }
    }
}

/// What became of one event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// The attempt to record; nothing if the line added none.
    pub attempt: Option<Attempt>,
    /// The ban to make.
    pub decision: Option<Decision>,
    /// What is to be kept of the names that led to it.
    pub tried: Vec<Tried>,
    /// The ban that would be made if its source could be banned at all.
    pub spared: Option<Spared>,
    /// Somebody who belongs here, it seems, is soon banned.
    pub soon: Option<Soon>,
    /// What people are told at once.
    pub alarms: Vec<Alarm>,
}

/// What happens to the count when the event's source is banned already, or only history is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Count and decide.
    Judge,
    /// Record the attempt, count nothing: the source is banned already.
    Banned,
    /// Count, but never decide.
    Learn,
}

/// Counts failures of all jails and decides.
#[derive(Debug)]
pub struct Judge {
    jails: Vec<Jail>,
    windows: Windows,
    /// Failures of who is never banned, counted apart: nobody is banned for them, now or later.
    spared: Windows,
    /// Counts of the jails that count lines, in the order of the jails.
    rates: Vec<Option<Rates>>,
    connections: Connections,
    /// Who is never banned.
    pub never: NeverBan,
    /// Places and accounts with good logins.
    pub trust: Trust,
    /// What is known about user names.
    pub names: Names,
    /// How often each prefix was banned before.
    pub past: PastBans,
    /// Addresses that carry most of a web log's good traffic.
    pub proxies: Proxies,
    /// What no single source shows.
    pub alarms: Alarms,
    /// Whose network an address belongs to, if there is a database.
    pub networks: Option<Arc<dyn Networks>>,
    /// What nobody outside knows; without it there are neither decoys nor shifted thresholds.
    pub secret: Option<Secret>,
    /// The share of names without an account that are judged as if they had one.
    pub decoys: Percent,
    /// When somebody first watched: attempts before it were history even then. The epoch if that is not known.
    pub first_start: Timestamp,
    trusted_proxies: PrefixSet,
}

impl Judge {
    /// A judge with empty windows.
    pub fn new(jails: Vec<Jail>, names: Names, trusted_proxies: PrefixSet, max_tracked: usize) -> Judge {
        let rates = jails.iter().map(|jail| Some(jail.lines.as_ref()?.rates(max_tracked))).collect();
        let mut past = PastBans::default();
        past.set_jails(jails.iter().filter(|jail| jail.growth().is_some()).map(|jail| jail.name.clone()));
        Judge {
            jails,
            rates,
            windows: Windows::new(max_tracked),
            spared: Windows::new(MAX_SPARED.min(max_tracked)),
            connections: Connections::default(),
            never: NeverBan::default(),
            trust: Trust::default(),
            names,
            past,
            proxies: Proxies::default(),
            alarms: Alarms::default(),
            networks: None,
            secret: None,
            decoys: Percent(0),
            first_start: Timestamp::default(),
            trusted_proxies,
        }
    }

    /// The jails in the order of their indexes.
    pub fn jails(&self) -> &[Jail] {
        &self.jails
    }

    /// Takes over the jails and settings of a judge that was built from a new configuration; counts of jails
    /// that stay, and everything that was learnt, are kept.
    pub fn adopt(&mut self, new: Judge) {
        let place = |old: &Jail| {
            new.jails.iter().position(|jail| jail.name == old.name).and_then(|at| u16::try_from(at).ok())
        };
        let moved: Vec<Option<JailIndex>> = self.jails.iter().map(place).collect();
        self.windows.renumber(&moved);
        self.spared.renumber(&moved);
        let mut old: Vec<Option<Rates>> = std::mem::replace(&mut self.rates, new.rates);
        for (old, moved) in old.iter_mut().zip(&moved) {
            let new = moved.and_then(|at| self.rates.get_mut(usize::from(at))?.as_mut());
            if let (Some(old), Some(new)) = (old.take(), new) {
                new.adopt(old);
            }
        }
        self.connections = Connections::default();
        self.jails = new.jails;
        self.trusted_proxies = new.trusted_proxies;
        self.decoys = new.decoys;
        self.networks = new.networks;
        self.names.adopt(new.names);
        self.past.set_memory(new.past.memory());
        self.past.set_jails(new.past.jails());
    }

    /// The client behind `event`: its address, or the last untrusted one that a trusted proxy reports.
    ///
    /// Nothing if a trusted proxy reports none: then nobody can be blamed.
    pub fn client(&self, event: &Event) -> Option<IpAddr> {
        if !self.trusted_proxies.contains_addr(event.addr) {
            return Some(event.addr);
        }
        event.forwarded.iter().copied().find(|addr| !self.trusted_proxies.contains_addr(*addr))
    }

    /// Whom failures of `addr` are counted for: the address, or its /64 (IPv6).
    ///
    /// A /64 that holds somebody who is never banned (this host itself, for one) is counted by address.
    pub fn subject(&self, addr: IpAddr) -> Prefix {
        let host = Prefix::host(addr);
        match addr {
            IpAddr::V4(_) => host,
            IpAddr::V6(_) if self.never.overlaps(host.widened(64)) => host,
            IpAddr::V6(_) => host.widened(64),
        }
    }

    /// Counts a line of a web server's log, with what the filter said of it; other lines are passed over.
    pub fn traffic(
        &mut self,
        index: JailIndex,
        line: (&[u8], &Verdict),
        now: (Timestamp, bool),
        changes: &mut Vec<proxies::Change>,
    ) {
        if let Some(jail) = self.jails.get(usize::from(index)) {
            let known = Known { never: &self.never, trust: &self.trust };
            self.proxies.line(&jail.name, line, now, known, changes);
        }
    }

    /// True if a jail presumes that `addr` is a proxy and does not ban it.
    pub fn presumes_proxy(&self, addr: IpAddr, now: Timestamp) -> bool {
        let known = Known { never: &self.never, trust: &self.trust };
        self.jails.iter().any(|jail| self.proxies.spares(&jail.name, addr, now, known))
    }

    /// The number of the AS that an address belongs to, if there is a database.
    pub fn asn(&self, addr: IpAddr) -> Option<u32> {
        self.networks.as_ref()?.asn(addr)
    }

    /// Judges one event of a jail. `when`: the time it is judged by; `mode`: see [`Mode`].
    pub fn observe(&mut self, index: JailIndex, event: &Event, when: Timestamp, mode: Mode) -> Judgement {
        let (Some(addr), Some(jail)) = (self.client(event), self.jails.get(usize::from(index))) else {
            return Judgement::default();
        };
        match event.outcome {
            Outcome::Success => {
                let jail = jail.name.clone();
                self.good_login(index, jail, event, addr, when)
            }
            Outcome::Failure { class, kind, attempts } => {
                let line = connections::Line { kind, attempts, class, user: event.user.as_ref() };
                let connection = connections::tied(addr, event.connection.as_ref());
                let counted = self.connections.count(index, connection, &line, when);
                if counted.new_attempts == 0 {
                    return Judgement::default();
                }
                let failed = Failed {
                    tries: counted.new_attempts,
                    class: counted.class,
                    user: counted.user.cloned(),
                    shown: counted.shown,
                };
                if jail.lines.is_some() {
                    return self.stand_in_failure(index, failed, addr, when, mode);
                }
                let jail = jail.clone();
                self.failed_login((index, &jail), failed, addr, when, mode)
            }
        }
    }

    /// Brings what is known of a connection near, for what comes next.
    pub fn look_up(&self, index: JailIndex, connection: u64) {
        self.connections.look_up(index, connection);
    }

    /// Counts a failure of a source that is banned already: what [`Judge::observe`] would record of it, without
    /// the rest. `connection`: the one of its client, see [`connections::tied`].
    pub fn count_only<'a>(
        &'a mut self,
        index: JailIndex,
        event: &'a Event,
        connection: Option<u64>,
        when: Timestamp,
    ) -> Option<connections::Counted<'a>> {
        let Outcome::Failure { class, kind, attempts } = event.outcome else { return None };
        let line = connections::Line { kind, attempts, class, user: event.user.as_ref() };
        let counted = self.connections.count(index, connection, &line, when);
        (counted.new_attempts > 0).then_some(counted)
    }

    /// Reads a btmp record as sshd means it: for a name without an account it writes one record before the first
    /// password and one for each password; for an account one for each password.
    ///
    /// So the first record of a connection for such a name becomes a kind of its own, `Invalid user` in effect.
    /// `connection`: the record's, see [`connections::tied`].
    pub fn login_record(&self, index: JailIndex, event: &mut Event, connection: Option<u64>, now: Timestamp) {
        let unknown = event.user.as_deref().is_none_or(|user| user != "root" && !self.names.is_account(user));
        let when = event.stamp.unwrap_or(now).min(now);
        if let Outcome::Failure { class, kind, .. } = &mut event.outcome
            && unknown
        {
            *class = Class::UnknownUser;
            let first = connection.is_some_and(|connection| !self.connections.knows(index, connection, when));
            *kind = u16::from(!first);
        }
    }

    /// Forgets the counts of `prefix` in one jail or in all: it was banned or unbanned by hand.
    pub fn forget(&mut self, prefix: Prefix, jail: Option<&JailName>) {
        for index in 0..self.jails.len() {
            if jail.is_none_or(|jail| *jail == self.jails[index].name) {
                self.windows.take(index as JailIndex, prefix);
                if let Some(rates) = self.rates_of(index as JailIndex) {
                    rates.take(&Subject::Net(prefix));
                }
            }
        }
    }

    /// Lowers what the counted failures of `subject` cost to what one at this class does, in every jail.
    pub(crate) fn soften(&mut self, subject: Prefix, class: Class) {
        for (index, jail) in (0..).zip(&self.jails) {
            self.windows.soften(index, subject, jail.policy.points.of(class));
        }
    }

    /// What is counted for `prefix` at `now`, per jail: points and tries; jails without any are left out.
    pub fn counted(&self, prefix: Prefix, now: Timestamp) -> Vec<(JailName, Points, u32)> {
        let sums = self.jails.iter().enumerate().map(|(index, jail)| {
            let (points, tries) = match self.rates.get(index).and_then(Option::as_ref) {
                Some(rates) => {
                    let retry = rates.get(&Subject::Net(prefix)).map_or(0, |tally| tally.retry);
                    (Points(100).times(retry), retry)
                }
                None => self.windows.sum(index as JailIndex, prefix, now, jail.policy.findtime),
            };
            (jail.name.clone(), points, tries)
        });
        sums.filter(|(_, _, tries)| *tries > 0).collect()
    }

    /// How many sources each jail is counting, by its index.
    pub fn tracked(&self, index: JailIndex) -> usize {
        let rates = self.rates.get(usize::from(index)).and_then(Option::as_ref);
        rates.map_or_else(|| self.windows.tracked(index), Rates::tracked)
    }

    /// Sources whose points have reached `maxretry` without a ban: whom the history would have banned.
    pub fn would_ban(&self, index: JailIndex) -> Vec<Prefix> {
        self.jails
            .get(usize::from(index))
            .map_or_else(Vec::new, |jail| self.windows.at_least(index, jail.policy.maxretry))
    }

    /// Drops connections that have been silent, a part of [`Judge::sweep`]: the fewer are kept, the faster each line.
    pub fn sweep_connections(&mut self, now: Timestamp) {
        self.connections.sweep(now);
    }

    /// Drops what is too old to matter. Call it now and then, at least once a minute.
    ///
    /// Tells of what is over.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Alarm> {
        let findtimes: Vec<Span> = self.jails.iter().map(|jail| jail.policy.findtime).collect();
        self.windows.sweep(now, &findtimes);
        self.spared.sweep(now, &findtimes);
        self.rates.iter_mut().flatten().for_each(|rates| rates.service(now));
        self.sweep_connections(now);
        self.trust.sweep(now);
        self.past.sweep(now);
        self.names.sweep(now, self.past.memory());
        self.alarms.sweep(now)
    }
}

#[cfg(test)]
mod tests;
