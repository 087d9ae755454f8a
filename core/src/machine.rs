//! The whole of Pillory's judgement as one state machine: lines and commands in, [`Effect`]s out.
//!
//! It composes filters, jails and the ledger. It does no I/O and reads no clock: `now` comes in with every call,
//! and what the world shall do comes out as values. The daemon's engine carries them out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::event::{Attempt, Decision, Event, JailName, Line, Origin, Outcome, Scope};
use crate::filter::{Clock, Filter, Verdict, btmp};
use crate::jail::never::NeverBan;
use crate::jail::replay::PastBan;
use crate::jail::{JailIndex, Judge, Mode, proxies};
use crate::ledger::{Ban, Change, Ended, Installed, Ledger, Projection};
use crate::net::Prefix;
use crate::time::{End, Span, Timestamp};

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
}

/// What the store keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Record {
    /// A counted attempt or a good login.
    Attempt(Attempt),
    /// A ban began, or its end changed.
    Banned(Ban),
    /// A ban ended.
    Ended(Ban, Ended, Timestamp),
    /// Stood on an imported list too long ago to be banned for it; history only, at the time of `since`.
    Listed(Ban),
}

/// What people are told.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A ban began.
    Banned(Ban),
    /// A ban ended.
    Ended(Ban, Ended),
    /// A line's stamp is this many seconds off the time of its arrival; said once a jail.
    StampOff(JailName, i64),
    /// Lines still come from an address that has been banned for a while.
    NoEffect(JailName, Prefix),
    /// An address that carries most of a web log's good traffic is taken for something else than before.
    Proxy(proxies::Change),
}

/// How a jail reads records.
#[derive(Debug)]
pub enum Extractor {
    /// Text lines through a filter.
    Text(Box<Filter>),
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
    /// Bans that it made.
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
    projection: Projection,
    enforcing: bool,
    limit_to_ports: ScopeRule,
    counters: Vec<Counters>,
    stamp_warned: Vec<bool>,
    after_ban: HashMap<Prefix, u32>,
    talks_to: HashSet<IpAddr>,
    now: Timestamp,
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

/// A stamp further off than this is doubted. Source: fail2ban 1.0, log times more than 60 s off.
const STAMP_TOLERANCE_S: u64 = 60;

/// So many attempts this long after a ban began show that it has no effect.
const NO_EFFECT: (u32, Span) = (3, Span::from_secs(30));

impl Machine {
    /// A machine with nothing counted and nobody banned. `extractors`: for each jail of the judge, its readers.
    pub fn new(judge: Judge, extractors: Vec<Vec<Extractor>>, limit_to_ports: ScopeRule) -> Machine {
        let jails = judge.jails().len();
        Machine {
            extractors,
            judge,
            ledger: Ledger::default(),
            projection: Projection::default(),
            enforcing: true,
            limit_to_ports,
            counters: vec![Counters::default(); jails],
            stamp_warned: vec![false; jails],
            after_ban: HashMap::new(),
            talks_to: HashSet::new(),
            now: Timestamp::default(),
        }
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

    /// What the kernel shall hold.
    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// True unless switched off.
    pub fn is_enforcing(&self) -> bool {
        self.enforcing
    }

    /// Judges one record for one jail, by the reader of that number.
    pub fn line(
        &mut self,
        (jail, reader): (JailIndex, usize),
        line: &Line<'_>,
        phase: Phase,
        clock: &Clock,
        out: &mut Vec<Effect>,
    ) {
        let at = usize::from(jail);
        let Some(extractor) = self.extractors.get_mut(at).and_then(|readers| readers.get_mut(reader)) else {
            return;
        };
        if let Some(counters) = self.counters.get_mut(at) {
            counters.lines += 1;
        }
        let event = match extractor {
            Extractor::Text(filter) => {
                let verdict = filter.judge(line, clock);
                let mut changes = Vec::new();
                let now = (clock.now, phase == Phase::Live);
                self.judge.traffic(jail, (line.bytes, &verdict), now, &mut changes);
                out.extend(changes.into_iter().map(|change| Effect::Say(Notice::Proxy(change))));
                let Verdict::Event(event) = verdict else { return };
                event
            }
            Extractor::Btmp(layout) => match btmp::failed_login(*layout, line.bytes) {
                Verdict::Event(event) => self.judge.login_record(jail, event, clock.now),
                _ => return,
            },
        };
        self.event(jail, &event, phase, clock.now, out);
    }

    /// Judges one event of a jail.
    pub fn event(
        &mut self,
        jail: JailIndex,
        event: &Event,
        phase: Phase,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let now = self.now(now);
        let Some(when) = self.judged_at(jail, event, phase, now, out) else { return };
        let Some(name) = self.judge.jails().get(usize::from(jail)).map(|jail| jail.name.clone()) else {
            return;
        };
        let subject = self.judge.client(event).map(|addr| self.judge.subject(addr));
        let banned = subject.is_some_and(|subject| self.ledger.is_banned(subject, &name));
        let mode = match phase {
            _ if banned => Mode::Banned,
            Phase::History => Mode::Learn,
            Phase::CatchUp | Phase::Live => Mode::Judge,
        };
        let judgement = self.judge.observe(jail, event, when, mode);
        if let Some(attempt) = judgement.attempt {
            if let Some(counters) = self.counters.get_mut(usize::from(jail)) {
                match event.outcome {
                    Outcome::Failure { .. } => counters.failures += u64::from(attempt.tries),
                    Outcome::Success => counters.successes += 1,
                }
            }
            if event.outcome == Outcome::Success && event.user.is_some() {
                let port = event.connection.as_ref().and_then(|connection| connection.port);
                out.push(Effect::LoggedIn(attempt.addr, port));
            }
            if let Some(subject) = subject.filter(|_| banned && phase == Phase::Live) {
                self.seen_although_banned(&name, subject, now, out);
            }
            out.push(Effect::Record(Record::Attempt(attempt)));
        }
        if let Some(decision) = judgement.decision {
            self.ban_by_jail(jail, decision, now, out);
        }
    }

    fn judged_at(
        &mut self,
        jail: JailIndex,
        event: &Event,
        phase: Phase,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Option<Timestamp> {
        match (phase, event.stamp) {
            (Phase::Live, stamp) => {
                let off = stamp.map_or(0, |stamp| stamp.since(now).secs().max(now.since(stamp).secs()));
                let at = usize::from(jail);
                if off > STAMP_TOLERANCE_S && !std::mem::replace(self.stamp_warned.get_mut(at)?, true) {
                    let seconds = (stamp?.millis() - now.millis()) / 1000;
                    out.push(Effect::Say(Notice::StampOff(
                        self.judge.jails().get(at)?.name.clone(),
                        seconds,
                    )));
                }
                Some(now)
            }
            (Phase::CatchUp, stamp) => Some(stamp.unwrap_or(now).min(now)),
            (Phase::History, stamp) => stamp.map(|stamp| stamp.min(now)),
        }
    }

    fn seen_although_banned(
        &mut self,
        jail: &JailName,
        subject: Prefix,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let long_ago = |ban: &&Ban| ban.jail == *jail && now.since(ban.since) >= NO_EFFECT.1;
        if !self.enforcing || !self.ledger.covering(subject).iter().any(long_ago) {
            return;
        }
        let count = self.after_ban.entry(subject).or_default();
        *count += 1;
        if *count == NO_EFFECT.0 {
            out.push(Effect::Say(Notice::NoEffect(jail.clone(), subject)));
        }
    }

    fn ban_by_jail(
        &mut self,
        jail: JailIndex,
        mut decision: Decision,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let talks = || self.talks_to.iter().any(|addr| decision.prefix.contains_addr(*addr));
        let limited = match self.limit_to_ports {
            ScopeRule::All => false,
            ScopeRule::Ports => true,
            ScopeRule::Auto => talks(),
        };
        if limited {
            decision.scope = Scope::Ports(decision.jail.clone());
        }
        self.judge.past.began(decision.prefix, decision.since);
        if let Some(counters) = self.counters.get_mut(usize::from(jail)) {
            counters.bans += 1;
        }
        if !decision.until.is_over(now) {
            self.ban(decision, out);
        }
    }

    /// Takes over a ban, whoever decided it. Returns false if it changes nothing.
    pub fn ban(&mut self, ban: Ban, out: &mut Vec<Effect>) -> bool {
        self.ban_all(vec![ban], out) == 1
    }

    /// Takes over many bans at once; returns how many changed something.
    pub fn ban_all(&mut self, bans: Vec<Ban>, out: &mut Vec<Effect>) -> usize {
        let mut dirty = BTreeSet::new();
        for ban in bans {
            if let Some(ban) = self.ledger.ban(ban) {
                dirty.insert(ban.prefix);
                out.push(Effect::Record(Record::Banned(ban.clone())));
                out.push(Effect::Say(Notice::Banned(ban)));
            }
        }
        let changed = dirty.len();
        self.project(&dirty, out);
        changed
    }

    /// Lifts the bans of these prefixes, or every ban if there are none given; of one jail or of all.
    pub fn unban(
        &mut self,
        prefixes: Option<&[Prefix]>,
        jail: Option<&JailName>,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Vec<Ban> {
        let all: Vec<Prefix>;
        let prefixes = match prefixes {
            Some(prefixes) => prefixes,
            None => {
                all = self.ledger.iter().map(|ban| ban.prefix).collect::<BTreeSet<_>>().into_iter().collect();
                &all
            }
        };
        let mut gone = Vec::new();
        for prefix in prefixes {
            gone.extend(self.ledger.unban(*prefix, jail));
            self.judge.forget(*prefix, jail);
        }
        let now = self.now(now);
        self.ended(&gone, Ended::Lifted, now, out);
        gone
    }

    /// Ends bans whose time is over and forgets what is too old. Call it at [`Machine::next_deadline`].
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let now = self.now(now);
        let gone = self.ledger.expire(now);
        self.ended(&gone, Ended::Expired, now, out);
    }

    /// Forgets what is too old in the windows; some work, once a minute is enough.
    pub fn sweep(&mut self, now: Timestamp) {
        let now = self.now(now);
        self.judge.sweep(now);
    }

    /// When [`Machine::tick`] has something to do next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.ledger.next_end()
    }

    fn ended(&mut self, gone: &[Ban], how: Ended, now: Timestamp, out: &mut Vec<Effect>) {
        let mut dirty = BTreeSet::new();
        for ban in gone {
            dirty.insert(ban.prefix);
            self.after_ban.remove(&ban.prefix);
            out.push(Effect::Record(Record::Ended(ban.clone(), how, now)));
            out.push(Effect::Say(Notice::Ended(ban.clone(), how)));
        }
        self.project(&dirty, out);
    }

    fn project(&mut self, dirty: &BTreeSet<Prefix>, out: &mut Vec<Effect>) {
        if dirty.is_empty() {
            return;
        }
        let changes = self.projection.update(dirty, &self.ledger, &self.judge.never);
        if self.enforcing {
            out.extend(changes.into_iter().map(Effect::Kernel));
        }
    }

    /// Replaces the never-ban set; the kernel loses at once what is in it now.
    pub fn set_never(&mut self, never: NeverBan, out: &mut Vec<Effect>) {
        if never == self.judge.never {
            return;
        }
        let old: BTreeSet<Prefix> = self.judge.never.entries().iter().map(|(prefix, _)| *prefix).collect();
        let new: BTreeSet<Prefix> = never.entries().iter().map(|(prefix, _)| *prefix).collect();
        let touches_bans =
            old.symmetric_difference(&new).any(|prefix| !self.ledger.overlapping(*prefix).is_empty());
        self.judge.never = never;
        if touches_bans {
            let changes = self.projection.rebuild(&self.ledger, &self.judge.never);
            if self.enforcing {
                out.extend(changes.into_iter().map(Effect::Kernel));
            }
        }
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
        self.stamp_warned = new.stamp_warned;
        self.extractors = new.extractors;
        self.limit_to_ports = new.limit_to_ports;
        self.judge.adopt(new.judge);
        let names: HashSet<&JailName> = self.judge.jails().iter().map(|jail| &jail.name).collect();
        let orphans =
            self.ledger.iter().filter(|ban| ban.origin == Origin::Local && !names.contains(&ban.jail));
        let orphans: Vec<(Prefix, JailName)> = orphans.map(|ban| (ban.prefix, ban.jail.clone())).collect();
        let gone: Vec<Ban> =
            orphans.iter().flat_map(|(prefix, jail)| self.ledger.unban(*prefix, Some(jail))).collect();
        let now = self.now(now);
        self.ended(&gone, Ended::Lifted, now, out);
    }

    /// Replaces the addresses that this host itself has connections to.
    pub fn set_talks_to(&mut self, addresses: HashSet<IpAddr>) {
        self.talks_to = addresses;
    }

    /// Switches enforcement on or off; off takes everything out of the kernel, the ledger stays.
    pub fn set_enforcing(&mut self, enforcing: bool, now: Timestamp, out: &mut Vec<Effect>) {
        if enforcing == self.enforcing {
            return;
        }
        let now = self.now(now);
        self.enforcing = enforcing;
        let live = self.projection.elements().filter(|(_, end)| !end.is_over(now));
        out.extend(live.map(|(element, end)| {
            Effect::Kernel(match enforcing {
                true => Change::Set(element.clone(), end),
                false => Change::Remove(element.clone()),
            })
        }));
    }

    /// What must change in a kernel that holds `installed`.
    pub fn reconcile(&mut self, installed: &Installed, now: Timestamp) -> Vec<Change> {
        let now = self.now(now);
        if self.enforcing {
            return self.projection.reconcile(installed, now);
        }
        installed.keys().cloned().map(Change::Remove).collect()
    }

    /// Takes over the ledger as it was kept: bans in force, counted attempts, and what became of bans, both in
    /// order of time.
    /// `last_write`: when the store was last written; time never goes behind it. Tells nobody.
    pub fn restore(&mut self, bans: Vec<Ban>, attempts: &[Attempt], past: &[PastBan], last_write: Timestamp) {
        self.now(last_write);
        for ban in bans {
            self.ledger.ban(ban);
        }
        self.judge.replay(attempts, past);
        self.projection.rebuild(&self.ledger, &self.judge.never);
    }

    /// Takes over what is in the kernel where nothing else is known: each element is a ban of its own until its end,
    /// or for a day if the kernel knows none. What is never banned is left out. Returns how many; tells nobody.
    pub fn adopt_installed(&mut self, installed: &Installed, now: Timestamp) -> usize {
        let now = self.now(now);
        let Ok(jail) = JailName::new("kernel") else { return 0 };
        let before = self.ledger.len();
        for (element, end) in
            installed.iter().filter(|(element, _)| !self.judge.never.overlaps(element.prefix))
        {
            let until = end.unwrap_or(End::At(now + Span::from_secs(86_400)));
            let told = ("found in the kernel, not in the store".to_owned(), Origin::Manual);
            let ban = Machine::manual_ban(element.prefix, jail.clone(), now, until, told);
            self.ledger.ban(Ban { scope: element.scope.clone(), ..ban });
        }
        self.projection.rebuild(&self.ledger, &self.judge.never);
        self.ledger.len() - before
    }

    /// A ban by hand or from a list, not yet taken over.
    pub fn manual_ban(
        prefix: Prefix,
        jail: JailName,
        since: Timestamp,
        until: End,
        (reason, origin): (String, Origin),
    ) -> Ban {
        Ban { prefix, jail, since, until, failures: 0, reason, origin, scope: Scope::All, forced: false }
    }
}
