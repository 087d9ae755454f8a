//! A host with one jail, and what it makes of neighbours.

mod properties;
mod rules;

use std::collections::HashSet;
use std::net::IpAddr;

use super::*;
use crate::event::{Class, Connection, Event, Outcome};
use crate::jail::names::Names;
use crate::jail::never::{NeverBan, Why};
use crate::jail::policy::{Ladder, Policy};
use crate::jail::widen::Net;
use crate::jail::widen::neighbours::Neighbours;
use crate::jail::{Jail, Judge};
use crate::machine::alerts::Reason;
use crate::machine::{Phase, ScopeRule};
use crate::net::PrefixSet;
use crate::time::{BanTime, Span};

const DAY: i64 = 86_400;

/// A machine with one jail, its clock, and everything that it ever said.
struct Host {
    machine: Machine,
    now: i64,
    pid: u32,
    out: Vec<Effect>,
    never: NeverBan,
}

fn sshd() -> JailName {
    JailName::new("sshd").unwrap()
}

fn empty_machine(budget: u64, days: u64) -> Machine {
    let bantime = Ladder::new(vec![BanTime::For(Span::from_secs(days * 86_400))]).unwrap();
    let policy = Policy { bantime, ..Policy::default() };
    let jails = vec![Jail { name: sshd(), policy, lines: None }];
    let judge = Judge::new(jails, Names::default(), PrefixSet::default(), 10_000);
    let mut machine = Machine::new(judge, Vec::new(), ScopeRule::Auto);
    machine.set_widening([(sshd(), budget)]);
    machine
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

impl Host {
    fn new(budget: u64) -> Host {
        Host::with_bantime(budget, 1)
    }

    fn with_bantime(budget: u64, days: u64) -> Host {
        let machine = empty_machine(budget, days);
        Host { machine, now: 1_000 * DAY, pid: 0, out: Vec::new(), never: NeverBan::default() }
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_secs(self.now)
    }

    fn event(&mut self, addr: IpAddr, outcome: Outcome) {
        self.pid += 1;
        let connection = Some(Connection { host: 0, pid: Some(self.pid), port: None });
        let user = Some(if outcome == Outcome::Success { "alice" } else { "oracle" }.into());
        let event = Event { stamp: None, addr, user, outcome, connection, forwarded: Vec::new() };
        self.machine.event(0, &event, Phase::Live, self.time(), &mut self.out);
    }

    /// Tries a name that is worth a ban.
    fn attack(&mut self, addr: &str) {
        let outcome = Outcome::Failure { class: Class::UnknownUser, kind: 0, attempts: 2 };
        self.event(addr.parse().unwrap(), outcome);
    }

    fn log_in(&mut self, addr: &str) {
        self.event(addr.parse().unwrap(), Outcome::Success);
        self.machine.tick(self.time(), &mut self.out);
    }

    /// Lets time pass, as the daemon does: a tick whenever something is due, and a sweep.
    fn wait(&mut self, secs: i64) {
        let until = Timestamp::from_secs(self.now + secs);
        while let Some(due) = self.machine.next_deadline().filter(|due| *due <= until) {
            self.machine.tick(due, &mut self.out);
        }
        self.now += secs;
        self.machine.sweep(self.time(), &mut self.out);
        self.machine.tick(self.time(), &mut self.out);
    }

    fn unban(&mut self, text: &str) -> Vec<String> {
        let gone = self.machine.unban(Some(&[prefix(text)]), None, self.time(), &mut self.out);
        gone.iter().map(|ban| ban.prefix.short()).collect()
    }

    fn ban_by_hand(&mut self, text: &str, jail: &str) {
        let told = ("by hand".to_owned(), Origin::Manual);
        let until = End::At(Timestamp::from_secs(self.now + 30 * DAY));
        let jail = JailName::new(jail).unwrap();
        let ban = Machine::manual_ban(prefix(text), jail, self.time(), until, told);
        self.machine.ban(ban, &mut self.out);
    }

    /// The networks in force, by address.
    fn nets(&self) -> Vec<String> {
        let mut nets: Vec<Prefix> =
            self.machine.ledger.iter().map(|ban| ban.prefix).filter(|prefix| !prefix.is_host()).collect();
        nets.sort();
        nets.iter().map(ToString::to_string).collect()
    }

    /// Those of one length.
    fn nets_of(&self, len: u8) -> Vec<String> {
        self.nets().into_iter().filter(|net| prefix(net).prefix_len() == len).collect()
    }

    /// True if the kernel shuts the address out.
    fn is_shut_out(&self, addr: &str) -> bool {
        let addr: IpAddr = addr.parse().unwrap();
        self.machine.projection().elements().any(|(element, _)| element.prefix.contains_addr(addr))
    }

    /// The same host after a restart: what the store keeps is all that is left.
    fn restart(&mut self) {
        let bans: Vec<Ban> = self.machine.ledger.iter().collect();
        let mut turns = Vec::new();
        for effect in &self.out {
            let (turn, ban, time) = match effect {
                Effect::Record(Record::Banned(ban)) if ban.origin == Origin::Local => {
                    (Turn::Began, ban, ban.since)
                }
                Effect::Record(Record::Ended(ban, Ended::Lifted, time)) => (Turn::Lifted, ban, *time),
                Effect::Record(Record::Ended(ban, _, time)) => (Turn::Expired, ban, *time),
                _ => continue,
            };
            turns.push(PastBan { time, prefix: ban.prefix, jail: ban.jail.clone(), turn });
        }
        let attempts: Vec<_> = self
            .out
            .iter()
            .filter_map(|effect| match effect {
                Effect::Record(Record::Attempt(attempt)) => Some(attempt.clone()),
                _ => None,
            })
            .collect();
        let days = self.machine.judge.jails()[0].policy.bantime.steps()[0];
        let BanTime::For(span) = days else { panic!("bans have an end here") };
        let budget = self.machine.neighbours[&sshd()].budget();
        let talks = self.machine.talks_to.iter().copied().collect();
        self.machine = empty_machine(budget, span.secs() / 86_400);
        self.machine.set_talks_to(talks);
        self.machine.set_never(self.never.clone(), &mut Vec::new());
        self.machine.restore(bans, &attempts, &turns, self.time());
    }
}

fn neighbours_of(host: &Host) -> &Neighbours {
    &host.machine.neighbours[&sshd()]
}
