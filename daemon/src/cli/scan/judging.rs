//! Judges what is scanned as the daemon would have: the same machine, with each record's stamp as now.

use std::path::Path;

use pillory_core::config::{Config, JailConfig};
use pillory_core::event::Outcome;
use pillory_core::jail::names::Names;
use pillory_core::jail::never::{NeverBan, Why};
use pillory_core::jail::{Jail, JailIndex, Judge, connections};
use pillory_core::machine::{Effect, Machine, Phase, Record};
use pillory_core::net::Prefix;
use pillory_core::rehearse::Seen;
use pillory_core::scan::{Place, Tally};
use pillory_core::time::{Span, Timestamp};

use crate::facts;

use super::reading::Read;

/// At most so many sources are counted at once; the windows of more are forgotten.
const MAX_TRACKED: usize = 1_000_000;

/// At most so many records are collected, the newest; they take some 300 MB.
const MAX_COLLECTED: usize = 2_000_000;

/// Windows are swept once in so much time of the log.
const SWEEP_EVERY: Span = Span::from_secs(3_600);

/// Connections come and go faster: a table that fits the processor's cache is worth the work.
const SWEEP_CONNECTIONS_EVERY: Span = Span::from_secs(300);

/// So many events are counted at a time.
const TOGETHER: usize = 64;

/// The machine and what came of what it has judged so far.
pub(in crate::cli) struct Judging {
    machine: Machine,
    pub(super) tally: Tally,
    effects: Vec<Effect>,
    /// Events that are still to be counted, in their order.
    pending: Vec<Pending>,
    /// When the last one was.
    pub(super) last: Timestamp,
    /// When the machine wants to be told the time.
    deadline: Option<Timestamp>,
    swept: Timestamp,
    connections_swept: Timestamp,
    /// What was read, where nothing is to be judged yet.
    collected: Option<Collected>,
}

/// What the filters made of records, for a rehearsal.
#[derive(Debug, Default)]
pub(in crate::cli) struct Collected {
    /// In the order in which it was read.
    pub(in crate::cli) seen: Vec<Seen>,
    /// So many older ones had to make room.
    pub(in crate::cli) left_out: u64,
}

/// An event that is still to be counted.
struct Pending {
    read: Read,
    /// Whom it is counted for, and the connection it belongs to; nothing if nobody can be blamed.
    subject: Option<Prefix>,
    connection: Option<u64>,
    /// Where that source is counted, once it was looked up.
    place: Option<Place>,
}

impl Judging {
    /// Of these jails of a configuration.
    pub(super) fn new(config: &Config, jails: &[&JailConfig]) -> Judging {
        let jail =
            |jail: &&JailConfig| Jail { name: jail.name.clone(), policy: jail.policy.clone(), lines: None };
        let jails = jails.iter().map(jail).collect();
        let listed = config.ignoreip.iter().map(|prefix| (*prefix, Why::Ignoreip));
        let proxies = config.trusted_proxies.iter().map(|prefix| (*prefix, Why::TrustedProxy));
        let machine = machine(config, jails, &NeverBan::new(listed.chain(proxies).collect()));
        Judging {
            machine,
            tally: Tally::default(),
            effects: Vec::new(),
            pending: Vec::new(),
            last: Timestamp::default(),
            deadline: None,
            swept: Timestamp::default(),
            connections_swept: Timestamp::default(),
            collected: None,
        }
    }

    /// From now on what is read is collected and not judged.
    pub(super) fn collect(&mut self) {
        self.collected = Some(Collected::default());
    }

    /// What was collected.
    pub(super) fn into_collected(self) -> Collected {
        self.collected.unwrap_or_default()
    }

    /// Counts an event later, with others: their sources and connections are looked up all together, so that the
    /// processor waits for memory once and not for each.
    pub(super) fn put_off(&mut self, read: Read) {
        let judge = &self.machine.judge;
        let client = judge.client(&read.event);
        let subject = client.map(|addr| judge.subject(addr));
        let connection = client.and_then(|addr| connections::tied(addr, read.event.connection.as_ref()));
        self.pending.push(Pending { read, subject, connection, place: None });
        if self.pending.len() >= TOGETHER {
            self.count_pending();
        }
    }

    /// Counts all that was put off.
    pub(super) fn count_pending(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        for Pending { read, subject, connection, place } in &mut pending {
            *place = subject.and_then(|subject| self.tally.look_up(read.jail, subject));
            connection.inspect(|connection| self.machine.judge.look_up(read.jail, *connection));
        }
        pending.iter_mut().for_each(|one| self.event(one));
        pending.clear();
        self.pending = pending;
    }

    fn event(&mut self, one: &mut Pending) {
        if self.is_collected(&one.read) {
            return;
        }
        let Read { jail, event, is_login_record } = &mut one.read;
        let jail = *jail;
        let now = self.last.max(event.stamp.unwrap_or(self.last));
        if *is_login_record {
            self.machine.judge.login_record(jail, event, one.connection, now);
        }
        self.last = now;
        while self.deadline.is_some_and(|end| end <= now) {
            self.machine.tick(now, &mut self.effects);
            self.take_effects(jail);
            self.deadline = self.machine.next_deadline();
        }
        if now.since(self.swept) >= SWEEP_EVERY {
            self.swept = now;
            self.machine.sweep(now, &mut self.effects);
            self.deadline = self.machine.next_deadline();
        }
        if now.since(self.connections_swept) >= SWEEP_CONNECTIONS_EVERY {
            self.connections_swept = now;
            self.machine.judge.sweep_connections(now);
        }
        if self.counted_while_banned(one, now) {
            return;
        }
        self.machine.event(jail, &one.read.event, Phase::CatchUp, now, &mut self.effects);
        self.deadline = self.machine.next_deadline();
        self.take_effects(jail);
    }

    /// Adds up what came of an event, or of time that passed.
    fn take_effects(&mut self, jail: JailIndex) {
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Record(Record::Attempt(attempt)) => {
                    let subject = self.machine.judge.subject(attempt.addr);
                    self.tally.attempt(jail, subject, &attempt);
                }
                Effect::Record(Record::Banned(ban)) => {
                    self.tally.banned(jail, ban.prefix, ban.since, ban.until)
                }
                _ => {}
            }
        }
    }
}

impl Judging {
    /// Takes up what was read, if it is collected and not judged.
    fn is_collected(&mut self, read: &Read) -> bool {
        let Some(collected) = &mut self.collected else { return false };
        let Read { jail, event, is_login_record } = read;
        let time = event.stamp.unwrap_or(self.last);
        self.last = self.last.max(time);
        if collected.seen.len() >= MAX_COLLECTED {
            collected.seen.drain(..MAX_COLLECTED / 2);
            collected.left_out += (MAX_COLLECTED / 2) as u64;
        }
        collected.seen.push(Seen {
            time,
            jail: *jail,
            event: event.clone(),
            is_login_record: *is_login_record,
        });
        true
    }

    /// The short way for most lines of a flood: a source that would be banned already is counted and no more.
    fn counted_while_banned(&mut self, one: &Pending, now: Timestamp) -> bool {
        let Read { jail, event, .. } = &one.read;
        let is_failure = matches!(event.outcome, Outcome::Failure { .. });
        // One that came first a moment ago has no place here yet.
        let find = |subject| self.tally.look_up(*jail, subject);
        let Some(place) = one.place.or_else(|| find(one.subject?)).filter(|_| is_failure) else {
            return false;
        };
        let (when, judge) = (event.stamp.unwrap_or(now), &mut self.machine.judge);
        self.tally.while_banned(place, now, || {
            let counted = judge.count_only(*jail, event, one.connection, when)?;
            Some((when, counted.new_attempts, counted.user.map(|user| user.as_str())))
        })
    }
}

/// A machine that judges by a configuration, with nothing counted.
pub(in crate::cli) fn machine(config: &Config, jails: Vec<Jail>, never: &NeverBan) -> Machine {
    let accounts = facts::accounts(Path::new("/etc/passwd"));
    let names = Names::new(accounts, config.goodusers.iter().cloned().collect(), config.goodusers_never_ban);
    let mut judge = Judge::new(jails, names, config.proxy_set(), MAX_TRACKED);
    judge.decoys = config.decoys;
    judge.past.set_memory(config.retention);
    let mut machine = Machine::new(judge, Vec::new(), config.scope);
    machine.set_never(never.clone(), &mut Vec::new());
    machine
}
