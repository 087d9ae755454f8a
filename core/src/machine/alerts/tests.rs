use super::*;
use crate::event::{Event, Origin, Outcome, Scope};
use crate::jail::names::Names;
use crate::jail::never::NeverBan;
use crate::jail::policy::Policy;
use crate::jail::{Jail, Judge};
use crate::machine::{Phase, Record, ScopeRule};
use crate::net::PrefixSet;

const START: i64 = 1_000_000;

fn machine(bans_per_minute: u32) -> Machine {
    let names = Names::new(["root".to_owned(), "alice".to_owned()].into(), [].into(), false);
    let jail = Jail { name: JailName::new("sshd").unwrap(), policy: Policy::default(), lines: None };
    let judge = Judge::new(vec![jail], names, PrefixSet::default(), 1_000);
    let mut machine = Machine::new(judge, vec![Vec::new()], ScopeRule::All);
    machine.set_fuse(bans_per_minute);
    machine
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(START + secs)
}

/// `tries` wrong passwords for root, 2 points each, at once.
fn fail(machine: &mut Machine, addr: &str, tries: u32, secs: i64) -> Vec<Effect> {
    let mut out = Vec::new();
    for _ in 0..tries {
        let event = Event {
            stamp: None,
            addr: addr.parse().unwrap(),
            user: Some("root".into()),
            outcome: Outcome::Failure { class: crate::event::Class::Root, kind: 0, attempts: 1 },
            connection: None,
            forwarded: Vec::new(),
        };
        machine.event(0, &event, Phase::Live, at(secs), &mut out);
    }
    out
}

fn log_in(machine: &mut Machine, addr: &str, secs: i64) {
    let event = Event {
        stamp: None,
        addr: addr.parse().unwrap(),
        user: Some("root".into()),
        outcome: Outcome::Success,
        connection: None,
        forwarded: Vec::new(),
    };
    machine.event(0, &event, Phase::Live, at(secs), &mut Vec::new());
}

fn banned(out: &[Effect]) -> Vec<String> {
    let bans = out.iter().filter_map(|effect| match effect {
        Effect::Record(Record::Banned(ban)) => Some(ban.prefix.short()),
        _ => None,
    });
    bans.collect()
}

fn said(out: &[Effect]) -> Vec<&Alert> {
    let alerts = out.iter().filter_map(|effect| match effect {
        Effect::Say(Notice::Spared(alert)) => Some(&**alert),
        _ => None,
    });
    alerts.collect()
}

fn levels(out: &[Effect]) -> Vec<Level> {
    let levels = out.iter().filter_map(|effect| match effect {
        Effect::Say(Notice::Fuse(level)) => Some(*level),
        _ => None,
    });
    levels.collect()
}

fn network_ban(prefix: &str, secs: i64) -> Decision {
    Decision {
        prefix: prefix.parse().unwrap(),
        jail: JailName::new("sshd").unwrap(),
        since: at(secs),
        until: End::At(at(secs + 3_600)),
        failures: 9,
        reason: "9 neighbours".into(),
        origin: Origin::Local,
        scope: Scope::All,
        forced: false,
    }
}

fn with_session(addr: &str) -> Machine {
    let mut machine = machine(0);
    machine.set_never(NeverBan::new(vec![(addr.parse().unwrap(), Why::Session)]), &mut Vec::new());
    machine
}

#[test]
fn who_is_never_banned_and_earns_it_is_an_alert_once_an_hour() {
    let mut machine = with_session("192.0.2.7");
    assert!(said(&fail(&mut machine, "192.0.2.7", 2, 0)).is_empty(), "four points are no ban");
    let out = fail(&mut machine, "192.0.2.7", 1, 10);
    let alert = said(&out)[0];
    assert_eq!(alert.reason, Reason::Never("192.0.2.7".parse().unwrap(), Why::Session));
    assert_eq!(alert.evidence, "3 failures in 10s, 6 points");
    assert!(said(&fail(&mut machine, "192.0.2.7", 30, 20)).is_empty(), "said an hour ago at most");
    assert_eq!(machine.alerts(at(20)).map(|alert| alert.times).collect::<Vec<_>>(), [11]);
    assert_eq!(said(&fail(&mut machine, "192.0.2.7", 3, 3_700)).len(), 1);
    assert_eq!(machine.alerts(at(3_700 + 3_600)).count(), 0, "it is over an hour after the last");
    assert!(machine.ledger.is_empty());
}

#[test]
fn what_was_tried_from_a_session_counts_for_nothing_when_it_is_over() {
    let mut machine = with_session("192.0.2.7");
    fail(&mut machine, "192.0.2.7", 2, 0);
    machine.set_never(NeverBan::default(), &mut Vec::new());
    assert_eq!(banned(&fail(&mut machine, "192.0.2.7", 2, 1)), [""; 0]);
    assert_eq!(banned(&fail(&mut machine, "192.0.2.7", 1, 2)), ["192.0.2.7"]);
}

#[test]
fn alerts_are_bounded() {
    let mut machine = machine(0);
    machine.set_never(NeverBan::new(vec![("10.0.0.0/8".parse().unwrap(), Why::Ignoreip)]), &mut Vec::new());
    for number in 0..700 {
        fail(&mut machine, &format!("10.0.{}.{}", number / 250, number % 250), 3, number);
    }
    assert_eq!(machine.alerts(at(700)).count(), MOST_ALERTS);
}

#[test]
fn a_network_with_good_logins_is_not_banned_and_others_are() {
    let mut machine = machine(0);
    log_in(&mut machine, "198.51.100.7", 0);
    log_in(&mut machine, "198.51.100.9", 5);
    let mut out = Vec::new();
    machine.take_ban(0, network_ban("198.51.100.0/24", 10), at(10), &mut out);
    machine.take_ban(0, network_ban("203.0.113.0/24", 10), at(10), &mut out);
    assert_eq!(banned(&out), ["203.0.113.0/24"]);
    assert_eq!(said(&out)[0].reason, Reason::GoodLogins(2, "198.51.100.9".parse().unwrap(), at(5)));
    // Thirty days later nobody remembers them.
    let later = 31 * 86_400;
    let mut out = Vec::new();
    machine.take_ban(0, network_ban("198.51.100.0/24", later), at(later), &mut out);
    assert_eq!(banned(&out), ["198.51.100.0/24"]);
}

#[test]
fn the_fuse_withholds_networks_first_then_everybody_and_thaws() {
    let mut machine = machine(2);
    let mut out = Vec::new();
    for number in 1..=3 {
        out.extend(fail(&mut machine, &format!("192.0.2.{number}"), 3, number));
    }
    assert_eq!((banned(&out).len(), levels(&out)), (3, vec![Level::Networks]));
    let mut out = Vec::new();
    machine.take_ban(0, network_ban("203.0.113.0/24", 4), at(4), &mut out);
    assert_eq!(banned(&out), [""; 0], "a network is withheld");
    let out = fail(&mut machine, "192.0.2.5", 3, 5);
    assert_eq!((banned(&out).len(), levels(&out)), (0, vec![Level::All]));
    assert_eq!((machine.fuse().level(), machine.fuse().withheld()), (Level::All, 2));
    assert_eq!(machine.next_deadline(), Some(at(65)));
    let mut out = Vec::new();
    machine.tick(at(65), &mut out);
    assert_eq!(levels(&out), [Level::Closed]);
}

#[test]
fn who_was_withheld_is_banned_at_the_next_failure_after_the_thaw() {
    let mut machine = machine(1);
    for number in 1..=3 {
        fail(&mut machine, &format!("192.0.2.{number}"), 3, 0);
    }
    let sshd = JailName::new("sshd").unwrap();
    assert!(!machine.ledger.is_banned("192.0.2.3".parse().unwrap(), &sshd, Timestamp::default()));
    assert_eq!(banned(&fail(&mut machine, "192.0.2.3", 1, 30)), [""; 0], "it is frozen still");
    machine.tick(at(100), &mut Vec::new());
    let out = fail(&mut machine, "192.0.2.3", 1, 100);
    assert_eq!(banned(&out), ["192.0.2.3"]);
    let until = machine.ledger.of("192.0.2.3".parse().unwrap())[0].until;
    assert_eq!(until, End::At(at(100 + 86_400)), "for as long as if it had been banned then");
    let counted = machine.judge.counted("192.0.2.3".parse().unwrap(), at(100));
    assert_eq!(counted, [], "what led to it is used up");
}

#[test]
fn neighbours_become_no_network_while_it_is_frozen_and_one_that_stands_stays() {
    let sshd = || JailName::new("sshd").unwrap();
    let networks = |machine: &Machine| -> Vec<String> {
        let nets = machine.ledger.iter().filter(|ban| !is_point(ban.prefix));
        nets.map(|ban| ban.prefix.short()).collect()
    };
    let mut machine = machine(4);
    machine.set_widening([(sshd(), 1_000)]);
    fail(&mut machine, "192.0.2.17", 3, 0);
    fail(&mut machine, "192.0.2.18", 3, 1);
    let standing = networks(&machine);
    assert_eq!(standing.len(), 1, "two neighbours are a network");
    for number in 1..=2 {
        fail(&mut machine, &format!("10.{number}.0.1"), 3, 2);
    }
    // The fifth prefix blows the fuse; a wider network is the sixth.
    fail(&mut machine, "192.0.2.40", 3, 3);
    assert_eq!(machine.fuse().level(), Level::Networks);
    assert!(machine.ledger.is_banned("192.0.2.40".parse().unwrap(), &sshd(), Timestamp::default()));
    assert_eq!(networks(&machine), standing);
    machine.tick(at(100), &mut Vec::new());
    fail(&mut machine, "192.0.2.41", 3, 100);
    assert_ne!(networks(&machine), standing, "it widens again once the fuse is closed");
}

#[test]
fn bans_by_hand_neither_blow_the_fuse_nor_wait_for_it() {
    let mut machine = machine(1);
    let by_hand =
        |number: u8| Decision { origin: Origin::Import, ..network_ban(&format!("10.{number}.0.0/16"), 0) };
    let mut out = Vec::new();
    assert_eq!(machine.ban_all((0..50).map(by_hand).collect(), &mut out), 50);
    assert_eq!(machine.fuse().level(), Level::Closed);
}

fn told_soon(out: &[Effect]) -> Vec<String> {
    let told = out.iter().filter_map(|effect| match effect {
        Effect::Say(Notice::Soon(soon)) => Some(soon.prefix.short()),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_known_place_is_told_of_before_its_ban_once_a_day_and_no_longer_than_it_is_near() {
    let mut machine = machine(0);
    log_in(&mut machine, "192.0.2.7", 0);
    let soon =
        |machine: &Machine, secs| machine.soon_banned(at(secs)).map(|soon| soon.left).collect::<Vec<_>>();
    assert_eq!(told_soon(&fail(&mut machine, "192.0.2.7", 3, 10)), [""; 0]);
    assert_eq!(told_soon(&fail(&mut machine, "192.0.2.7", 1, 11)), ["192.0.2.7"]);
    assert_eq!(soon(&machine, 12), [1]);
    log_in(&mut machine, "192.0.2.7", 13);
    assert_eq!(soon(&machine, 14), [0; 0], "somebody logged in");
    assert_eq!(told_soon(&fail(&mut machine, "192.0.2.7", 4, 20)), [""; 0], "once a day");
    assert_eq!(soon(&machine, 21), [1], "but it is shown");
    assert_eq!(soon(&machine, 3_700), [0; 0]);
    let out = fail(&mut machine, "192.0.2.7", 1, 22);
    assert_eq!((banned(&out), soon(&machine, 23)), (vec!["192.0.2.7".to_owned()], vec![]));
    machine.tick(at(90_000), &mut Vec::new());
    log_in(&mut machine, "192.0.2.7", 90_000);
    assert_eq!(told_soon(&fail(&mut machine, "192.0.2.7", 4, 90_001)), ["192.0.2.7"]);
}

#[test]
fn whoever_types_a_good_users_name_from_many_addresses_does_not_fill_the_log() {
    let mut machine = machine(0);
    machine.judge.names.adopt(Names::new(["root".to_owned()].into(), ["root".to_owned()].into(), false));
    let told: usize =
        (0..99).map(|number| told_soon(&fail(&mut machine, &format!("10.0.0.{number}"), 9, 5)).len()).sum();
    assert_eq!(told, 20);
    log_in(&mut machine, "192.0.2.7", 6);
    assert_eq!(told_soon(&fail(&mut machine, "192.0.2.7", 9, 7)), ["192.0.2.7"], "who comes here is told of");
}

#[test]
fn good_logins_of_ipv6_are_counted_by_place_and_the_last_address_is_named() {
    let mut machine = machine(0);
    let logins =
        [("2001:db8:1:2::7", 1), ("2001:db8:1:3::7", 5), ("2001:db8:1:2::8", 9), ("2001:db8:2::1", 20)];
    for (host, secs) in logins {
        log_in(&mut machine, host, secs);
    }
    let found = |prefix: &str| machine.good_logins_in(prefix.parse().unwrap(), at(30));
    let last = "2001:db8:1:2::8".parse().unwrap();
    assert_eq!(found("2001:db8:1::/48"), Some((2, last, at(9))));
    for one in ["2001:db8:1:2::/64", "2001:db8:1:2::ffff/128"] {
        assert_eq!(found(one), Some((1, last, at(9))), "{one}");
    }
    assert_eq!(found("2001:db8:3::/48"), None);
}
