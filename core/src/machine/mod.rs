//! The whole of Pillory's judgement as one state machine: lines and commands in, [`Effect`]s out.
//!
//! It composes filters, jails and the ledger. It does no I/O and reads no clock: `now` comes in with every call,
//! and what the world shall do comes out as values. The daemon's engine carries them out.

mod alerts;
mod bans;
mod fuse;
mod identities;
mod judging;
mod learning;
mod lines;
mod stamps;
mod unmatched;
mod widening;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use smol_str::SmolStr;

use crate::event::{Attempt, Decision, JailName, Origin};
use crate::filter::fail2ban::{Fail2banFilter, Subject};
use crate::filter::{Filter, btmp};
use crate::jail::alarms::Alarm;
use crate::jail::names::Tried;
use crate::jail::replay::PastBan;
use crate::jail::widen::neighbours::Neighbours;
use crate::jail::{JailIndex, Judge, Soon, proxies};
use crate::ledger::{Ban, Change, Ended, Ledger, Projection};
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

pub use alerts::{Alert, Reason};
pub use fuse::{Fuse, Level};
pub use identities::{Identities, IdentityBan};
pub use learning::Learnt;
pub use unmatched::Unmatched;
pub use widening::{Spared, Widening};

/// How a line relates to the daemon's life; decides by which clock it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Read before anything was ever read from its stream: teaches, bans nobody.
    History,
    /// Written while the daemon was down: judged by its own stamp, clipped to now.
    CatchUp,
    /// Written now: judged by the time of arrival.
    Live,
}

/// What the edges must do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Tell the kernel.
    Kernel(Change),
    /// Keep in the store, in the same transaction as the position of the line that caused it.
    Record(Record),
    /// Tell people.
    Say(Notice),
    /// Somebody logged in from this address and port: as long as the connection lasts it is a session.
    LoggedIn(IpAddr, Option<u16>),
    /// A name stands where an address was expected: [`Machine::resolved`] takes its addresses.
    Resolve(Box<Unresolved>),
    /// The jail's own command is asked whether this ban shall be: [`Machine::confirmed`] takes its answer.
    Ask(Box<Decision>),
    /// What led to the ban that follows, for the jail's commands.
    Evidence(Box<Evidence>),
}

/// What the store keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A counted attempt or a good login.
    Attempt(Attempt),
    /// A good login of before the first start; several sources may tell of it, and it is kept once.
    Learnt(Attempt),
    /// A ban began, or its end changed.
    Banned(Ban),
    /// A ban that was over before it could be made; it counts as an earlier one.
    Missed(Ban),
    /// A ban ended.
    Ended(Ban, Ended, Timestamp),
    /// What is known of names that a source tried before it was banned.
    Tried(Vec<Tried>),
    /// Stood on an imported list too long ago to be banned for it; history only, at the time of `since`.
    Listed(Ban),
}

/// A failure of somebody who is only known by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Unresolved {
    /// The jail that counts it.
    pub jail: JailName,
    /// The name as the line shows it; hostile text.
    pub name: SmolStr,
    /// When it counts.
    pub time: Timestamp,
    /// The user that was tried.
    pub user: Option<SmolStr>,
}

/// What a filter saw of the failure that led to a ban.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The jail that banned.
    pub jail: JailName,
    /// Whom.
    pub subject: Subject,
    /// The last matched lines; hostile text.
    pub matches: Vec<SmolStr>,
    /// What the filter captured, by the names of its groups; hostile text.
    pub captures: Vec<(SmolStr, SmolStr)>,
}

/// What people are told.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A ban began.
    Banned(Ban),
    /// A ban ended.
    Ended(Ban, Ended),
    /// A ban of somebody who is no address began.
    IdentityBanned(IdentityBan),
    /// Such a ban ended.
    IdentityEnded(IdentityBan, Ended),
    /// A jail counts somebody who is no address, and whom nothing can shut out; said once a jail.
    NoAddress(JailName, SmolStr),
    /// A line's stamp is this many seconds off the time of its arrival; said once a jail.
    StampOff(JailName, i64),
    /// Lines still come from an address that has been banned for a while.
    NoEffect(JailName, Prefix),
    /// An address that carries most of a web log's good traffic is taken for something else than before.
    Proxy(proxies::Change),
    /// A ban was earned and not made.
    Spared(Box<Alert>),
    /// Somebody who belongs here, it seems, is soon banned.
    Soon(Box<Soon>),
    /// The fuse withholds this from now on.
    Fuse(Level),
    /// So many bans are in force that a new one takes the place of another; said once.
    Full(usize),
    /// What no single source shows began, or is over.
    Alarm(Alarm),
    /// A jail's budget for networks of neighbours does not hold all that would be worth it, of one family; said once
    /// a day at most.
    NoRoomToWiden {
        /// Whose budget.
        jail: JailName,
        /// Of which family.
        ipv4: bool,
        /// How many innocents it is.
        budget: u64,
    },
}

/// How a jail reads records.
#[derive(Debug)]
pub enum Extractor {
    /// Text lines through a filter.
    Text(Box<Filter>),
    /// Text lines through a filter that judges as fail2ban does.
    Lines(Box<Fail2banFilter>),
    /// Login records of a btmp file.
    Btmp(btmp::Layout),
}

/// Live counters of a jail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records that the jail was given.
    pub lines: u64,
    /// Attempts that it counted.
    pub failures: u64,
    /// Good logins that it saw.
    pub successes: u64,
    /// Bans that it made, those that [`Machine::banned_before`] told of included.
    pub bans: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Machine {
    extractors: Vec<Vec<Extractor>>,
    /// The counting; public so that the daemon can ask it.
    pub judge: Judge,
    /// The bans in force.
    pub ledger: Ledger,
    /// The bans in force of whom no address names.
    pub identities: Identities,
    projection: Projection,
    enforcing: bool,
    limit_to_ports: ScopeRule,
    counters: Vec<Counters>,
    stamps: Vec<stamps::Stamps>,
    misses: Vec<unmatched::Misses>,
    /// Jails for which it was said that somebody is no address.
    identity_warned: HashSet<JailName>,
    /// What led to the failures of each source, for jails that run commands.
    matches: HashMap<(JailIndex, Subject), lines::Kept>,
    after_ban: HashMap<Prefix, u32>,
    talks_to: BTreeSet<IpAddr>,
    /// Who offended lately, of each jail that counts attempts.
    neighbours: BTreeMap<JailName, Neighbours>,
    /// Networks of neighbours to be looked at again.
    stale: BTreeSet<(JailName, Prefix)>,
    alerts: alerts::Alerts,
    warned: alerts::soon::Warned,
    fuse: Fuse,
    withheld: alerts::Withheld,
    full_said: bool,
    now: Timestamp,
    ahead: Span,
}

/// Which traffic of a banned source is dropped (`scope`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeRule {
    /// All of it.
    All,
    /// What goes to the jail's ports.
    Ports,
    /// All, but only the jail's ports for an address that this host itself talks to.
    Auto,
}

impl Machine {
    /// A machine with nothing counted and nobody banned. `extractors`: for each jail of the judge, its readers.
    pub fn new(judge: Judge, extractors: Vec<Vec<Extractor>>, limit_to_ports: ScopeRule) -> Machine {
        let jails = judge.jails().len();
        Machine {
            extractors,
            judge,
            ledger: Ledger::default(),
            identities: Identities::default(),
            projection: Projection::default(),
            enforcing: true,
            limit_to_ports,
            counters: vec![Counters::default(); jails],
            stamps: vec![stamps::Stamps::default(); jails],
            misses: vec![unmatched::Misses::default(); jails],
            identity_warned: HashSet::new(),
            matches: HashMap::new(),
            after_ban: HashMap::new(),
            talks_to: BTreeSet::new(),
            neighbours: BTreeMap::new(),
            stale: BTreeSet::new(),
            alerts: alerts::Alerts::default(),
            warned: alerts::soon::Warned::default(),
            fuse: Fuse::default(),
            withheld: alerts::Withheld::new(),
            full_said: false,
            now: Timestamp::default(),
            ahead: Span::default(),
        }
    }

    /// How far the time that comes in is ahead of the clock by which logs are stamped.
    pub fn set_ahead(&mut self, ahead: Span) {
        self.ahead = ahead;
    }

    /// The time that stands: it never steps back.
    pub fn now(&mut self, clock: Timestamp) -> Timestamp {
        self.now = self.now.max(clock);
        self.now
    }

    /// Counters of a jail.
    pub fn counters(&self, jail: JailIndex) -> Counters {
        self.counters.get(usize::from(jail)).copied().unwrap_or_default()
    }

    /// Jails whose expressions took too many steps on some lines since the last call, and on how many: such a line counts
    /// as one that does not match.
    pub fn take_limits(&mut self) -> Vec<(JailName, u64)> {
        let of_one = |extractor: &mut Extractor| match extractor {
            Extractor::Text(filter) => filter.take_limits(),
            Extractor::Lines(filter) => filter.take_limits(),
            Extractor::Btmp(_) => 0,
        };
        let counts = self.extractors.iter_mut().map(|readers| readers.iter_mut().map(of_one).sum::<u64>());
        let names = self.judge.jails().iter().map(|jail| jail.name.clone());
        names.zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    /// Counts a ban that a jail made before a restart.
    pub fn banned_before(&mut self, jail: &JailName) {
        let at = self.judge.jails().iter().position(|known| known.name == *jail);
        if let Some(counters) = at.and_then(|at| self.counters.get_mut(at)) {
            counters.bans += 1;
        }
    }

    /// What the kernel shall hold.
    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// True unless switched off.
    pub fn is_enforcing(&self) -> bool {
        self.enforcing
    }

    /// Replaces the addresses that this host itself has connections to.
    pub fn set_talks_to(&mut self, addresses: HashSet<IpAddr>) {
        let addresses: BTreeSet<IpAddr> = addresses.into_iter().collect();
        let new: Vec<IpAddr> = addresses.difference(&self.talks_to).copied().collect();
        self.talks_to = addresses;
        new.into_iter().for_each(|addr| self.spare_from_nets(Prefix::host(addr)));
    }

    /// Takes over the jails and settings of a machine that was built from a new configuration. Counts and bans
    /// of jails that stay are kept; bans that a removed jail made are lifted.
    pub fn adopt(&mut self, new: Machine, now: Timestamp, out: &mut Vec<Effect>) {
        let old: Vec<JailName> = self.judge.jails().iter().map(|jail| jail.name.clone()).collect();
        let counters = |jail: &JailName| {
            old.iter().position(|name| name == jail).and_then(|at| self.counters.get(at)).copied()
        };
        self.counters =
            new.judge.jails().iter().map(|jail| counters(&jail.name).unwrap_or_default()).collect();
        self.stamps = new.stamps;
        self.misses = new.misses;
        self.extractors = new.extractors;
        self.matches.clear();
        self.limit_to_ports = new.limit_to_ports;
        self.set_fuse(new.fuse.limit());
        self.judge.adopt(new.judge);
        self.set_widening(new.neighbours.into_iter().map(|(jail, new)| (jail, new.budget())));
        let names: HashSet<&JailName> = self.judge.jails().iter().map(|jail| &jail.name).collect();
        let orphans =
            self.ledger.iter().filter(|ban| ban.origin == Origin::Local && !names.contains(&ban.jail));
        let mut orphans: Vec<(Prefix, JailName)> =
            orphans.map(|ban| (ban.prefix, ban.jail.clone())).collect();
        orphans.sort();
        let gone: Vec<Ban> =
            orphans.iter().flat_map(|(prefix, jail)| self.ledger.unban(*prefix, Some(jail))).collect();
        let now = self.now(now);
        self.ended(&gone, Ended::Retired, now, out);
        let names: HashSet<JailName> = self.judge.jails().iter().map(|jail| jail.name.clone()).collect();
        self.lift_identities(|ban| !names.contains(&ban.jail), Ended::Retired, out);
    }

    /// Takes over the ledger as it was kept: bans in force, counted attempts, and what became of bans, both in
    /// order of time.
    /// `last_write`: when the store was last written; time never goes behind it. Tells nobody.
    pub fn restore(&mut self, bans: Vec<Ban>, attempts: &[Attempt], past: &[PastBan], last_write: Timestamp) {
        self.now(last_write);
        for ban in bans {
            self.ledger.ban(ban);
        }
        self.judge.replay(attempts, past, last_write);
        self.restore_neighbours(past);
        self.projection = Projection::of(&self.ledger, &self.judge.never);
    }
}

#[cfg(test)]
mod tests;
