use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::event::{Class, Connection, Event, Outcome};
use crate::jail::names::Names;
use crate::jail::never::{NeverBan, Why};
use crate::jail::policy::{Ladder, Policy};
use crate::jail::{Jail, Judge};
use crate::machine::{Phase, ScopeRule};
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

    /// True if the kernel shuts the address out.
    fn is_shut_out(&self, addr: &str) -> bool {
        let addr: IpAddr = addr.parse().unwrap();
        self.machine.projection().elements().any(|(element, _)| element.prefix.contains_addr(addr))
    }

    /// The same host after a restart: what the store keeps is all that is left.
    fn restart(&mut self) {
        let bans: Vec<Ban> = self.machine.ledger.iter().cloned().collect();
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

#[test]
fn two_neighbours_become_one_network_in_the_kernel() {
    let mut host = Host::new(widen::BUDGET);
    host.attack("43.229.53.13");
    assert_eq!(host.nets(), [""; 0]);
    host.attack("43.229.53.14");
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    assert!(host.is_shut_out("43.229.53.9") && !host.is_shut_out("43.229.53.16"));
    let ban = &host.machine.ledger.of(prefix("43.229.53.8/29"))[0];
    assert_eq!(ban.reason, "2 neighbours offended (43.229.53.13, 43.229.53.14); 6 innocent addresses");
    assert_eq!((ban.failures, ban.origin), (4, Origin::Local));
    // As long as the later of the two.
    assert_eq!(ban.until, End::At(host.time() + Span::from_secs(86_400)));
}

#[test]
fn neighbours_need_not_come_on_the_same_day() {
    let mut host = Host::new(widen::BUDGET);
    host.attack("43.229.53.13");
    host.wait(3 * DAY);
    assert!(!host.is_shut_out("43.229.53.13"));
    host.attack("43.229.53.14");
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    host.wait(DAY);
    assert_eq!(host.nets(), [""; 0]);
    host.wait(8 * DAY);
    host.attack("43.229.53.12");
    assert_eq!(host.nets(), [""; 0], "what was a week ago is no evidence");
}

#[test]
fn a_wider_network_takes_the_place_of_a_narrower_one() {
    let mut host = Host::new(widen::BUDGET);
    ["185.165.29.197", "185.165.29.198"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["185.165.29.192/29"]);
    host.attack("185.165.29.69");
    assert_eq!(host.nets(), ["185.165.29.0/24"]);
    let ended =
        host.out.iter().filter(|effect| matches!(effect, Effect::Say(Notice::Ended(_, Ended::Narrowed))));
    assert_eq!(ended.count(), 1);
}

#[test]
fn it_narrows_when_its_evidence_ages() {
    let mut host = Host::with_bantime(widen::BUDGET, 2);
    host.attack("185.165.29.200");
    host.wait(6 * DAY);
    ["185.165.29.70", "185.165.29.75"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["185.165.29.0/24"]);
    host.wait(DAY - 1);
    assert_eq!(host.nets(), ["185.165.29.0/24"]);
    host.wait(1);
    assert_eq!(host.nets(), ["185.165.29.64/28"], "the first is a week old, the others are still banned");
    host.wait(DAY);
    assert_eq!(host.nets(), [""; 0]);
}

#[test]
fn it_ends_in_the_kernel_without_a_daemon() {
    let mut host = Host::with_bantime(widen::BUDGET, 2);
    host.attack("185.165.29.200");
    host.wait(6 * DAY);
    ["185.165.29.70", "185.165.29.75"].iter().for_each(|addr| host.attack(addr));
    let told = |effect: &Effect| match effect {
        Effect::Kernel(crate::ledger::Change::Set(element, end))
            if element.prefix == prefix("185.165.29.0/24") =>
        {
            Some(*end)
        }
        _ => None,
    };
    assert_eq!(host.out.iter().find_map(told), Some(End::At(host.time() + Span::from_secs(86_400))));
}

#[test]
fn nothing_is_widened_over_an_address_that_logged_in_lately() {
    let mut host = Host::new(widen::BUDGET);
    host.log_in("43.229.53.9");
    ["43.229.53.13", "43.229.53.14", "43.229.53.2", "43.229.53.3"].iter().for_each(|addr| host.attack(addr));
    // The /28 and the /29 above are out of the question.
    assert_eq!(host.nets(), ["43.229.53.0/29"]);
    assert!(!host.is_shut_out("43.229.53.9") && !host.is_shut_out("43.229.53.10"));
}

#[test]
fn a_login_from_inside_narrows_the_network_at_once() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    host.log_in("43.229.53.9");
    assert_eq!(host.nets(), [""; 0]);
    assert!(host.is_shut_out("43.229.53.13") && !host.is_shut_out("43.229.53.9"));
}

#[test]
fn nothing_is_widened_over_an_address_that_this_host_talks_to() {
    let mut host = Host::new(widen::BUDGET);
    let talk_to = |host: &mut Host, addr: &str| {
        host.machine.set_talks_to(HashSet::from([addr.parse().unwrap()]));
        host.machine.tick(host.time(), &mut host.out);
    };
    talk_to(&mut host, "43.229.53.9");
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), [""; 0]);
    talk_to(&mut host, "198.51.100.1");
    host.attack("43.229.53.12");
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    talk_to(&mut host, "43.229.53.10");
    assert_eq!(host.nets(), [""; 0]);
}

#[test]
fn who_is_never_banned_is_left_out_of_the_network() {
    let mut host = Host::new(widen::BUDGET);
    host.never = NeverBan::new(vec![(prefix("43.229.53.9"), Why::Gateway)]);
    host.machine.set_never(host.never.clone(), &mut host.out);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    assert!(host.is_shut_out("43.229.53.8") && !host.is_shut_out("43.229.53.9"));
}

#[test]
fn unban_of_an_address_lifts_the_network_for_a_week_over_a_restart_too() {
    let mut host = Host::with_bantime(widen::BUDGET, 9);
    ["43.229.53.13", "43.229.53.14", "43.229.53.15"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.unban("43.229.53.9"), ["43.229.53.8/29"], "an innocent neighbour complained");
    assert!(!host.is_shut_out("43.229.53.9") && host.is_shut_out("43.229.53.13"));
    host.attack("43.229.53.12");
    assert_eq!(host.nets(), [""; 0]);
    host.restart();
    host.attack("43.229.53.11");
    assert_eq!(host.nets(), [""; 0]);
    host.wait(7 * DAY);
    host.attack("43.229.53.10");
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
}

#[test]
fn unban_of_an_offender_lets_it_in() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.unban("43.229.53.13"), ["43.229.53.13", "43.229.53.8/29"]);
    assert!(!host.is_shut_out("43.229.53.13") && host.is_shut_out("43.229.53.14"));
}

#[test]
fn a_ban_by_hand_over_the_network_makes_a_widened_one_needless() {
    let mut host = Host::new(widen::BUDGET);
    host.ban_by_hand("221.194.44.0/24", "manual");
    ["221.194.44.219", "221.194.44.231"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["221.194.44.0/24"]);
}

#[test]
fn a_ban_by_hand_of_the_same_jail_and_network_stays() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    host.ban_by_hand("43.229.53.8/29", "sshd");
    host.wait(2 * DAY);
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    let ban = &host.machine.ledger.of(prefix("43.229.53.8/29"))[0];
    assert_eq!((ban.origin, ban.failures), (Origin::Manual, 4));
    assert_eq!(host.machine.neighbours[&sshd()].used(), 0);
}

#[test]
fn a_restart_changes_nothing() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    host.wait(100);
    host.restart();
    let said = host.out.len();
    host.wait(0);
    assert_eq!((host.nets(), host.out.len()), (vec!["43.229.53.8/29".to_owned()], said));
}

#[test]
fn switched_off_the_networks_are_lifted_and_none_comes() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    host.machine.set_widening([(sshd(), 0)]);
    host.wait(0);
    assert_eq!(host.nets(), [""; 0]);
    host.attack("43.229.53.12");
    assert_eq!(host.nets(), [""; 0]);
}

#[test]
fn the_arithmetic_is_told() {
    let mut host = Host::new(widen::BUDGET);
    host.log_in("43.229.53.100");
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    let told = host.machine.widening(prefix("43.229.53.14"), host.time());
    let [found] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(found.offenders, [prefix("43.229.53.13"), prefix("43.229.53.14")]);
    assert_eq!(found.cover.nets, [Net { prefix: prefix("43.229.53.8/29"), offenders: 2, innocents: 6 }]);
    assert_eq!((found.used, found.budget, found.cover.price), (6, widen::BUDGET, widen::PRICE));
    assert!(host.machine.widening(prefix("198.51.100.1"), host.time()).is_empty());
    host.attack("198.51.100.1");
    let told = host.machine.widening(prefix("198.51.100.9"), host.time());
    assert_eq!((told[0].region, told[0].offenders.len()), (prefix("198.51.100.0/24"), 1));
}

fn neighbours_of(host: &Host) -> &Neighbours {
    &host.machine.neighbours[&sshd()]
}

#[derive(Debug, Clone)]
enum Step {
    Attack(u32),
    LogIn(u32),
    TalkTo(Vec<u32>),
    Never(Vec<u32>),
    Unban(u32),
    BanByHand(u32, u8),
    Wait(i64),
    Restart,
}

fn addr(low: u32) -> String {
    Ipv4Addr::from_bits(0xC000_0200 + low).to_string()
}

fn any_step() -> impl Strategy<Value = Step> {
    let low = || prop_oneof![0u32..32, 0u32..300];
    prop_oneof![
        12 => low().prop_map(Step::Attack),
        1 => low().prop_map(Step::LogIn),
        1 => prop::collection::vec(low(), 0..2).prop_map(Step::TalkTo),
        1 => prop::collection::vec(low(), 0..3).prop_map(Step::Never),
        1 => low().prop_map(Step::Unban),
        1 => (low(), 26u8..=32).prop_map(|(low, len)| Step::BanByHand(low, len)),
        3 => (0i64..3 * DAY).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// What the host should know, kept without the code under test.
#[derive(Default)]
struct Model {
    /// Until when each address is evidence.
    evidence: std::collections::BTreeMap<String, i64>,
    good: HashSet<String>,
    talks: HashSet<String>,
}

impl Model {
    fn take(&mut self, host: &mut Host, step: &Step) {
        match step {
            Step::Attack(low) => {
                let before = host.machine.ledger.of(prefix(&addr(*low))).len();
                host.attack(&addr(*low));
                if host.machine.ledger.of(prefix(&addr(*low))).len() > before {
                    self.evidence.insert(addr(*low), host.now + 7 * DAY);
                }
            }
            Step::LogIn(low) => {
                host.log_in(&addr(*low));
                self.good.insert(addr(*low));
            }
            Step::TalkTo(lows) => {
                self.talks = lows.iter().map(|low| addr(*low)).collect();
                host.machine.set_talks_to(self.talks.iter().map(|addr| addr.parse().unwrap()).collect());
            }
            Step::Never(lows) => {
                let entries = lows.iter().map(|low| (prefix(&addr(*low)), Why::Ignoreip)).collect();
                host.never = NeverBan::new(entries);
                host.machine.set_never(host.never.clone(), &mut host.out);
            }
            Step::Unban(low) => {
                if host.unban(&addr(*low)).contains(&addr(*low)) {
                    self.evidence.remove(&addr(*low));
                }
                assert!(!host.nets().iter().any(|net| {
                    let mut bans = host.machine.ledger.of(prefix(net)).iter();
                    bans.any(|ban| ban.origin == Origin::Local) && prefix(net).contains(prefix(&addr(*low)))
                }));
            }
            Step::BanByHand(low, len) => host.ban_by_hand(&format!("{}/{len}", addr(*low)), "manual"),
            Step::Wait(secs) => host.wait(*secs),
            Step::Restart => {
                // What has become free since a network was looked at is used when it is looked at again.
                let all: Vec<_> = neighbours_of(host).all_nets().map(|net| (sshd(), net)).collect();
                host.machine.stale.extend(all);
                host.wait(0);
                let is_short = neighbours_of(host).budget() < 5_000;
                let before = host.nets();
                host.restart();
                host.wait(0);
                assert!(
                    is_short || before == host.nets(),
                    "a restart changes nothing: {before:?}, {:?}",
                    host.nets()
                );
            }
        }
        host.wait(0);
    }

    /// Innocents in the widened bans, and whether one holds somebody who is to be spared.
    fn innocents(&self, host: &Host) -> (u64, bool) {
        let own = |ban: &&Ban| ban.origin == Origin::Local && !ban.prefix.is_host();
        let mut sum = 0;
        let mut hits = false;
        for ban in host.machine.ledger.iter().filter(own) {
            let evidence = self.evidence.iter().filter(|(_, until)| **until > host.now);
            let inside = evidence.filter(|(addr, _)| ban.prefix.contains(prefix(addr))).count() as u64;
            sum += (1u64 << (32 - ban.prefix.prefix_len())) - inside;
            hits |= self.good.iter().chain(&self.talks).any(|addr| ban.prefix.contains(prefix(addr)));
        }
        (sum, hits)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn whatever_happens_budget_and_friends_are_respected(
        steps in prop::collection::vec(any_step(), 1..60), budget in prop_oneof![Just(20u64), Just(100), Just(5_000)]
    ) {
        let mut host = Host::new(budget);
        let mut model = Model::default();
        for step in &steps {
            model.take(&mut host, step);
            let (innocents, hits) = model.innocents(&host);
            prop_assert!(innocents <= budget, "{innocents} of {budget} after {step:?}: {:?}", host.nets());
            prop_assert!(!hits, "after {:?}: {:?}", step, host.nets());
            let never = host.never.entries();
            for (element, _) in host.machine.projection().elements() {
                prop_assert!(!never.iter().any(|(entry, _)| entry.overlaps(element.prefix)));
            }
            let own = |ban: &&Ban| ban.origin == Origin::Local && !ban.prefix.is_host();
            prop_assert_eq!(host.machine.widened(&sshd()), host.machine.ledger.iter().filter(own).count());
        }
        let mut again = Host::new(budget);
        let mut model = Model::default();
        steps.iter().for_each(|step| model.take(&mut again, step));
        prop_assert_eq!(&again.out, &host.out, "the same input gives the same decisions");
    }
}
