//! What a policy would have done: records of the past replayed through the machine, with each record's time as now.
//!
//! It drives [`Machine`] as the daemon does and judges nothing itself; it only looks, before each record, whether a
//! ban covers its source. [`good`] says which bans would have hit somebody who belongs here, [`curve`] tries other
//! settings and recommends one.

pub mod curve;
pub mod good;

use std::collections::HashSet;

use crate::event::{Attempt, Class, Decision, Event, JailName, Origin, Outcome, Scope};
use crate::hash::FastSet;
use crate::jail::{JailIndex, connections};
use crate::machine::{Effect, Machine, Phase, Record};
use crate::net::Prefix;
use crate::time::{End, Span, Timestamp};

use good::{GoodUser, Logins};

/// One record of the past that a filter made something of.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// When it happened.
    pub time: Timestamp,
    /// Which jail reads it.
    pub jail: JailIndex,
    /// What the filter read.
    pub event: Event,
    /// It is a login record of btmp: the machine knows how sshd means these.
    pub is_login_record: bool,
}

impl Seen {
    /// A kept attempt as the record that it came from. What the jail made of the name is undone, for another policy
    /// may make something else of it.
    pub fn of_attempt(jail: JailIndex, attempt: &Attempt) -> Seen {
        let class = match attempt.class {
            Some(Class::BadUser) => Some(Class::UnknownUser),
            Some(Class::GoodUser) => Some(Class::KnownUser),
            other => other,
        };
        let outcome = class.map_or(Outcome::Success, |class| Outcome::Failure {
            class,
            kind: 0,
            attempts: attempt.tries,
        });
        let event = Event {
            stamp: Some(attempt.time),
            addr: attempt.addr,
            user: attempt.user.clone(),
            outcome,
            connection: None,
            forwarded: Vec::new(),
        };
        Seen { time: attempt.time, jail, event, is_login_record: false }
    }
}

/// What is added up, over all jails or for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Attempts in the records.
    pub attempts: u64,
    /// Attempts of sources that no ban covered at the time; the one that brings a ban about is among them.
    pub let_through: u64,
    /// Bans made.
    pub bans: u64,
    /// Sources that tried.
    pub offenders: u64,
    /// Those of them that no ban of the whole time covered.
    pub never_banned: u64,
    /// Sources of good users that a ban hit; see [`good`].
    pub good_users_hit: u64,
}

/// A ban that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Whom.
    pub prefix: Prefix,
    /// By which jail.
    pub jail: JailIndex,
    /// From when.
    pub since: Timestamp,
    /// Until when.
    pub until: End,
    /// It covers the jail's own service only.
    pub is_limited: bool,
}

/// What came of a rehearsal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Over all jails.
    pub total: Sums,
    /// For each jail, by its index.
    pub jails: Vec<(JailName, Sums)>,
    /// Good logins in the records.
    pub good_logins: u64,
    /// The good users that were hit, one entry a source, by time.
    pub good_users: Vec<GoodUser>,
    /// The times of the first and the last attempt.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Every ban, in the order in which they were made.
    pub bans: Vec<Made>,
}

/// What became of one record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Attempts that it added.
    pub attempts: u32,
    /// A ban covered its source.
    pub is_stopped: bool,
    /// It brought a ban about.
    pub bans: bool,
}

/// A rehearsal under way. Records come in order of time; slight disorder, as in logs, is borne.
#[derive(Debug)]
pub struct Rehearsal<'l> {
    machine: Machine,
    logins: &'l Logins,
    tried: good::Tried,
    report: Report,
    offenders: FastSet<(JailIndex, Prefix)>,
    effects: Vec<Effect>,
    now: Timestamp,
    swept: Timestamp,
    connections_swept: Timestamp,
}

/// Tables are swept once in so much time of the records; what they decide does not hang on it. Once an hour was a fifth
/// of the time of a rehearsal of 12,000 sources with one try each.
const SWEEP_EVERY: Span = Span::from_secs(6 * 3_600);

/// Connections come and go faster.
const SWEEP_CONNECTIONS_EVERY: Span = Span::from_secs(1_200);

/// Replays all of `seen`, which is in order of time, through a machine with nothing counted yet.
pub fn replay(machine: Machine, seen: &[Seen], logins: &Logins) -> Report {
    let mut rehearsal = Rehearsal::new(machine, logins);
    for record in seen {
        rehearsal.see(record);
    }
    rehearsal.finish()
}

impl<'l> Rehearsal<'l> {
    /// Begins with a machine with nothing counted yet. `logins`: the good logins among the records to come.
    pub fn new(machine: Machine, logins: &'l Logins) -> Rehearsal<'l> {
        let jails = machine.judge.jails().iter().map(|jail| (jail.name.clone(), Sums::default())).collect();
        Rehearsal {
            machine,
            logins,
            tried: good::Tried::default(),
            report: Report { jails, ..Report::default() },
            offenders: FastSet::default(),
            effects: Vec::new(),
            now: Timestamp::default(),
            swept: Timestamp::default(),
            connections_swept: Timestamp::default(),
        }
    }

    /// The machine as it stands.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Judges one record.
    pub fn see(&mut self, seen: &Seen) -> Step {
        self.pass_time(seen.time);
        if !seen.is_login_record {
            return self.judge(seen.jail, &seen.event);
        }
        let mut event = seen.event.clone();
        let client = self.machine.judge.client(&event);
        let connection = client.and_then(|addr| connections::tied(addr, event.connection.as_ref()));
        self.machine.judge.login_record(seen.jail, &mut event, connection, self.now);
        self.judge(seen.jail, &event)
    }

    fn pass_time(&mut self, time: Timestamp) {
        self.now = self.now.max(time);
        while self.machine.next_deadline().is_some_and(|end| end <= self.now) {
            self.machine.tick(self.now, &mut self.effects);
            self.effects.clear();
        }
        if self.now.since(self.connections_swept) >= SWEEP_CONNECTIONS_EVERY {
            self.connections_swept = self.now;
            self.machine.judge.sweep_connections(self.now);
        }
        if self.now.since(self.swept) >= SWEEP_EVERY {
            self.swept = self.now;
            self.machine.sweep(self.now, &mut self.effects);
            self.effects.clear();
        }
    }

    fn judge(&mut self, jail: JailIndex, event: &Event) -> Step {
        let Some(addr) = self.machine.judge.client(event) else { return Step::default() };
        let when = event.stamp.unwrap_or(self.now).min(self.now);
        let step = if self.is_covered(jail, Prefix::host(addr)) {
            // What a ban stops reaches no service, so no other jail counts it either.
            let connection = connections::tied(addr, event.connection.as_ref());
            let counted = self.machine.judge.count_only(jail, event, connection, when);
            Step {
                attempts: counted.map_or(0, |counted| counted.new_attempts),
                is_stopped: true,
                bans: false,
            }
        } else {
            self.let_through(jail, event)
        };
        if matches!(event.outcome, Outcome::Success) {
            self.report.good_logins += 1;
        } else if step.attempts > 0 {
            self.count(jail, self.machine.judge.subject(addr), step, when);
        }
        step
    }

    fn is_covered(&self, jail: JailIndex, source: Prefix) -> bool {
        let Some(name) = self.machine.judge.jails().get(usize::from(jail)).map(|jail| &jail.name) else {
            return false;
        };
        let stops = |ban: &Decision| match &ban.scope {
            Scope::All => true,
            Scope::Ports(of) => of == name,
            Scope::Nothing => false,
        };
        self.machine.ledger.covering(source).iter().any(stops)
            && !self.machine.judge.never.contains_addr(source.addr())
    }

    fn let_through(&mut self, jail: JailIndex, event: &Event) -> Step {
        let mut step = Step::default();
        self.machine.event(jail, event, Phase::CatchUp, self.now, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Record(Record::Attempt(attempt)) if attempt.class.is_some() => {
                    step.attempts += attempt.tries;
                    self.tried.note(jail, &attempt, self.logins);
                }
                Effect::Record(Record::Banned(ban)) if ban.origin == Origin::Local => {
                    step.bans = true;
                    self.report.bans.push(Made {
                        prefix: ban.prefix,
                        jail,
                        since: ban.since,
                        until: ban.until,
                        is_limited: ban.scope != Scope::All,
                    });
                }
                _ => {}
            }
        }
        step
    }

    fn count(&mut self, jail: JailIndex, source: Prefix, step: Step, when: Timestamp) {
        let through = if step.is_stopped { 0 } else { u64::from(step.attempts) };
        let of_jail = self.report.jails.get_mut(usize::from(jail)).map(|(_, sums)| sums);
        for sums in of_jail.into_iter().chain([&mut self.report.total]) {
            sums.attempts += u64::from(step.attempts);
            sums.let_through += through;
        }
        self.offenders.insert((jail, source));
        let (first, last) = self.report.span.unwrap_or((when, when));
        self.report.span = Some((first.min(when), last.max(when)));
    }

    /// Adds up what is known only at the end.
    pub fn finish(self) -> Report {
        let Rehearsal { machine, logins, tried, mut report, offenders, .. } = self;
        let findtimes: Vec<Span> = machine.judge.jails().iter().map(|jail| jail.policy.findtime).collect();
        let hits = good::hits(&report.bans, logins, &tried, &findtimes);
        let subject = |hit: &GoodUser| machine.judge.subject(hit.addr);
        let mut covered = Covered::default();
        report.bans.iter().for_each(|ban| covered.add(ban.prefix));
        let mut all = FastSet::default();
        for (jail, source) in &offenders {
            let never = u64::from(!covered.holds(*source));
            let is_new = all.insert(*source);
            let of_jail = report.jails.get_mut(usize::from(*jail)).map(|(_, sums)| sums);
            for sums in of_jail.into_iter().chain(is_new.then_some(&mut report.total)) {
                sums.offenders += 1;
                sums.never_banned += never;
            }
        }
        for (at, (_, sums)) in report.jails.iter_mut().enumerate() {
            sums.bans = report.bans.iter().filter(|ban| usize::from(ban.jail) == at).count() as u64;
            let of_jail = hits.iter().filter(|hit| usize::from(hit.jail) == at);
            sums.good_users_hit = of_jail.map(subject).collect::<HashSet<Prefix>>().len() as u64;
        }
        report.total.bans = report.bans.len() as u64;
        let mut told = HashSet::new();
        report.good_users = hits.iter().filter(|hit| told.insert(subject(hit))).cloned().collect();
        report.total.good_users_hit = report.good_users.len() as u64;
        report
    }
}

/// Every prefix that was banned at any time.
#[derive(Debug, Default)]
struct Covered {
    prefixes: FastSet<Prefix>,
    lengths: Vec<u8>,
}

impl Covered {
    fn add(&mut self, prefix: Prefix) {
        self.prefixes.insert(prefix);
        if !self.lengths.contains(&prefix.prefix_len()) {
            self.lengths.push(prefix.prefix_len());
        }
    }

    fn holds(&self, source: Prefix) -> bool {
        self.lengths.iter().any(|len| self.prefixes.contains(&source.widened(*len)))
    }
}

#[cfg(test)]
mod tests;
