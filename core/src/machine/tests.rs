mod restart;
mod web;

use super::*;
use crate::event::{Class, Event, Origin, Outcome, Scope};
use crate::jail::names::Names;
use crate::jail::never::{NeverBan, Why};
use crate::jail::policy::Policy;
use crate::jail::{Jail, stealth};
use crate::ledger::{Element, Installed};
use crate::net::PrefixSet;
use crate::time::{End, Span};

fn machine() -> Machine {
    let names = Names::new(HashSet::new(), HashSet::new(), false);
    Machine::new(Judge::new(Vec::new(), names, PrefixSet::default(), 10), Vec::new(), ScopeRule::All)
}

fn element(prefix: &str) -> Element {
    Element { scope: Scope::All, prefix: prefix.parse().unwrap() }
}

#[test]
fn what_is_in_the_kernel_becomes_bans_but_for_who_is_never_banned() {
    let now = Timestamp::from_secs(1_000);
    let mut machine = machine();
    let never = NeverBan::new(vec![("192.0.2.9".parse().unwrap(), Why::Session)]);
    machine.set_never(never, &mut Vec::new());
    let end = End::At(Timestamp::from_secs(2_000));
    let routes_know_no_end = (element("198.51.100.0/24"), None);
    let installed: Installed = [
        (element("192.0.2.7"), Some(end)),
        (element("192.0.2.8"), Some(End::Never)),
        (element("192.0.2.9"), Some(end)),
        routes_know_no_end,
    ]
    .into();
    assert_eq!(machine.adopt_installed(&installed, now), 3);
    // The kernel loses who is never banned and keeps the rest as it is.
    assert_eq!(machine.reconcile(&installed, now), [Change::Remove(element("192.0.2.9"))]);
    let gone = |machine: &mut Machine, secs| {
        let mut out = Vec::new();
        machine.tick(Timestamp::from_secs(secs), &mut out);
        out.iter().filter(|effect| matches!(effect, Effect::Kernel(Change::Remove(_)))).count()
    };
    assert_eq!(gone(&mut machine, 2_000), 1);
    assert_eq!(gone(&mut machine, 1_000 + 86_400), 1);
    assert_eq!(machine.ledger.len(), 1);
}

#[test]
fn of_who_is_never_banned_the_64_around_may_be_left_in_the_kernel_too_and_what_shuts_nobody_out_is_nowhere() {
    let mut machine = machine();
    let never = ["192.0.2.9", "2001:db8::9"].map(|addr| (addr.parse().unwrap(), Why::Session));
    machine.set_never(NeverBan::new(never.to_vec()), &mut Vec::new());
    machine.ban(ban(7, Origin::Manual, 100), &mut Vec::new());
    machine.ban(Ban { scope: Scope::Nothing, ..ban(8, Origin::Manual, 100) }, &mut Vec::new());
    let spared = machine.spared_points().unwrap();
    for wanted in ["192.0.2.9", "2001:db8::9", "2001:db8::/64"] {
        assert_eq!(spared.iter().filter(|point| **point == element(wanted)).count(), 1, "{wanted}");
    }
    assert!(spared.iter().all(|point| point.scope == Scope::All));
}

#[test]
fn who_is_in_the_kernel_for_several_jails_stays_out_of_all_their_ports() {
    let mut machine = machine();
    let [until, longer] = [2_000, 3_000].map(|secs| End::At(Timestamp::from_secs(secs)));
    let of =
        |jail: &str| Element { scope: Scope::Ports(JailName::new(jail).unwrap()), ..element("192.0.2.7") };
    let installed: Installed = [(of("sshd"), Some(longer)), (of("mail"), Some(until))].into();
    machine.adopt_installed(&installed, Timestamp::from_secs(1_000));
    assert_eq!(machine.projection().elements().collect::<Vec<_>>(), [(element("192.0.2.7"), longer)]);
}

#[test]
fn what_the_kernel_holds_for_longer_than_every_ban_known_stays_that_long() {
    let mut machine = machine();
    machine.ban(ban(7, Origin::Manual, 100), &mut Vec::new());
    let end = End::At(Timestamp::from_secs(9_000));
    let installed: Installed = [(element("192.0.2.7"), Some(end))].into();
    assert_eq!(machine.adopt_installed(&installed, Timestamp::from_secs(1_000)), 1);
    assert_eq!(machine.projection().elements().collect::<Vec<_>>(), [(element("192.0.2.7"), end)]);
}

#[test]
fn of_a_network_in_the_kernel_with_somebody_who_is_never_banned_the_rest_stays_banned() {
    let mut machine = machine();
    let never = NeverBan::new(vec![("192.0.2.1".parse().unwrap(), Why::Session)]);
    machine.set_never(never, &mut Vec::new());
    let installed: Installed = [(element("192.0.2.0/31"), Some(End::Never))].into();
    let now = Timestamp::from_secs(1_000);
    assert_eq!(machine.adopt_installed(&installed, now), 1);
    let changes = machine.reconcile(&installed, now);
    let rest = Change::Set(element("192.0.2.0"), End::Never);
    assert_eq!(changes, [Change::Remove(element("192.0.2.0/31")), rest]);
}

fn ban(number: u8, origin: Origin, secs: u64) -> Ban {
    let prefix = Prefix::host(IpAddr::from([192, 0, 2, number]));
    let now = Timestamp::from_secs(1_000);
    let until = End::At(now + Span::from_secs(secs));
    let jail = JailName::new(if origin == Origin::Manual { "manual" } else { "sshd" }).unwrap();
    Machine::manual_ban(prefix, jail, now, until, (String::new(), origin))
}

#[test]
fn what_ends_as_it_is_switched_off_goes_too() {
    let mut machine = machine();
    machine.ban(ban(7, Origin::Manual, 100), &mut Vec::new());
    let mut out = Vec::new();
    machine.set_enforcing(false, Timestamp::from_secs(1_100), &mut out);
    assert_eq!(out, [Effect::Kernel(Change::Remove(element("192.0.2.7")))]);
}

/// A machine with room for three bans, which jails made: of .1 for 100 s, of .2 for 200 s, of .3 for 300 s.
fn full() -> Machine {
    let mut machine = machine();
    machine.ledger.set_most(3);
    let bans = (1..=3).map(|number| ban(number, Origin::Local, u64::from(number) * 100)).collect();
    assert_eq!(machine.ban_all(bans, &mut Vec::new()), 3);
    machine
}

fn gone(out: &[Effect]) -> Vec<(String, Ended)> {
    let ended = out.iter().filter_map(|effect| match effect {
        Effect::Record(Record::Ended(ban, how, _)) => Some((ban.prefix.short(), *how)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn bans_of_a_jail_that_is_no_more_end_for_that_reason_and_not_by_hand() {
    let mut old = machine();
    old.ban_all(vec![ban(7, Origin::Local, 100), ban(8, Origin::Manual, 100)], &mut Vec::new());
    let mut out = Vec::new();
    old.adopt(machine(), Timestamp::from_secs(1_010), &mut out);
    assert_eq!(gone(&out), [("192.0.2.7".to_owned(), Ended::Retired)]);
    assert_eq!(old.ledger.len(), 1);
}

fn says_full(out: &[Effect]) -> usize {
    out.iter().filter(|effect| matches!(effect, Effect::Say(Notice::Full(3)))).count()
}

#[test]
fn without_room_a_new_ban_takes_the_place_of_the_one_that_ends_first_and_that_is_said_once() {
    let mut machine = full();
    let mut out = Vec::new();
    assert!(machine.ban(ban(4, Origin::Local, 50), &mut out));
    assert!(machine.ban(ban(5, Origin::Manual, 50), &mut out));
    let displaced = |addr: &str| (addr.to_owned(), Ended::Displaced);
    assert_eq!(gone(&out), [displaced("192.0.2.1"), displaced("192.0.2.4")]);
    assert_eq!((machine.ledger.len(), says_full(&out)), (3, 1));
    let kernel: BTreeSet<String> =
        machine.projection().elements().map(|(element, _)| element.prefix.short()).collect();
    assert_eq!(kernel, ["192.0.2.2", "192.0.2.3", "192.0.2.5"].map(str::to_owned).into());
}

#[test]
fn without_room_a_list_displaces_nobody_and_nothing_displaces_a_ban_by_hand() {
    let mut machine = full();
    let mut out = Vec::new();
    assert!(!machine.ban(ban(4, Origin::Import, 9_000), &mut out));
    machine.unban(None, None, Timestamp::from_secs(1_000), &mut Vec::new());
    machine.ban_all((1..=3).map(|number| ban(number, Origin::Manual, 100)).collect(), &mut out);
    assert!(!machine.ban(ban(5, Origin::Local, 100), &mut out));
    assert_eq!((gone(&out), machine.ledger.len()), (Vec::new(), 3));
}

#[test]
fn a_ban_that_changes_nothing_or_lengthens_its_like_needs_no_room() {
    let mut machine = full();
    let mut out = Vec::new();
    assert!(!machine.ban(ban(2, Origin::Local, 150), &mut out));
    assert!(machine.ban(ban(2, Origin::Local, 250), &mut out));
    assert_eq!((gone(&out), says_full(&out)), (Vec::new(), 0));
}

#[test]
fn it_is_said_again_after_there_was_room() {
    let mut machine = full();
    let mut out = Vec::new();
    machine.ban(ban(4, Origin::Local, 500), &mut out);
    machine.tick(Timestamp::from_secs(1_300), &mut Vec::new());
    machine.ban_all((5..=9).map(|number| ban(number, Origin::Local, 500)).collect(), &mut out);
    assert_eq!(says_full(&out), 2);
}

#[test]
fn a_crowd_whose_bans_end_together_goes_in_rounds_the_next_of_which_is_due_at_once() {
    let mut machine = machine();
    let bans = (0..10_000_u32)
        .map(|number| ban_of(Prefix::host(IpAddr::from((0x0a00_0000 + number).to_be_bytes()))));
    machine.ban_all(bans.collect(), &mut Vec::new());
    let end = Timestamp::from_secs(2_000);
    let mut rounds = Vec::new();
    while let Some(due) = machine.next_deadline() {
        assert_eq!(due, end);
        let mut out = Vec::new();
        machine.tick(end, &mut out);
        let lifted = out.iter().filter(|effect| matches!(effect, Effect::Kernel(Change::Remove(_))));
        let told = out.iter().filter(|effect| matches!(effect, Effect::Say(Notice::Ended(..))));
        rounds.push((lifted.count(), told.count()));
        // Whoever waits for a later round is banned no longer: its failures count.
        let jail = JailName::new("sshd").unwrap();
        let last = machine.ledger.prefixes().last().copied();
        assert!(last.is_none_or(|last| !machine.ledger.is_banned(last, &jail, end)));
    }
    assert_eq!(rounds, [(4_096, 4_096), (4_096, 4_096), (1_808, 1_808)]);
    assert!(machine.ledger.is_empty() && machine.projection().is_empty());
}

fn ban_of(prefix: Prefix) -> Ban {
    let (jail, end) = (JailName::new("sshd").unwrap(), End::At(Timestamp::from_secs(2_000)));
    Machine::manual_ban(prefix, jail, Timestamp::from_secs(1_000), end, ("by hand", Origin::Manual))
}

fn sshd_machine() -> Machine {
    let names = Names::new(["alice".to_owned()].into(), HashSet::new(), false);
    let jail = Jail { name: JailName::new("sshd").unwrap(), policy: Policy::default(), lines: None };
    Machine::new(Judge::new(vec![jail], names, PrefixSet::default(), 1_000), Vec::new(), ScopeRule::All)
}

/// Somebody logs in or fails, once from each address.
fn seen(machine: &mut Machine, addr: &str, user: &str, outcome: Outcome, secs: i64) -> Vec<Effect> {
    let (time, mut out) = (Timestamp::from_secs(secs), Vec::new());
    let event = Event {
        stamp: Some(time),
        addr: addr.parse().unwrap(),
        user: Some(user.into()),
        outcome,
        connection: None,
        forwarded: Vec::new(),
    };
    machine.event(0, &event, Phase::Live, time, &mut out);
    out
}

fn alarms(effects: &[Effect]) -> Vec<&Alarm> {
    let told = effects.iter().filter_map(|effect| match effect {
        Effect::Say(Notice::Alarm(alarm)) => Some(alarm),
        _ => None,
    });
    told.collect()
}

const fn fails(class: Class) -> Outcome {
    Outcome::Failure { class, kind: 0, attempts: 1 }
}

#[test]
fn what_was_on_is_on_after_a_restart_and_not_told_again() {
    let mut before = sshd_machine();
    let mut out = seen(&mut before, "192.0.2.7", "alice", Outcome::Success, 0);
    for number in 0..60 {
        let time = 100 + i64::from(number) * 60;
        let (sven, alice) = (format!("198.51.100.{number}"), format!("203.0.113.{number}"));
        out.extend(seen(&mut before, &sven, "sven", fails(Class::UnknownUser), time));
        out.extend(seen(&mut before, &alice, "alice", fails(Class::KnownUser), time));
    }
    assert_eq!(alarms(&out).len(), 3, "an attack on alice, a spray and a campaign: {:?}", alarms(&out));
    let attempts: Vec<Attempt> = out
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Record(Record::Attempt(attempt)) => Some(attempt),
            _ => None,
        })
        .collect();
    let mut after = sshd_machine();
    after.restore(before.ledger.iter().collect(), &attempts, &[], attempts[120].time);
    let jail = JailName::new("sshd").unwrap();
    let attack = after.judge.alarms.stealth.on(&jail);
    assert_eq!(attack, before.judge.alarms.stealth.on(&jail));
    assert_eq!(attack.map(|attack| attack.places), Some(60));
    let spray = |machine: &Machine| machine.judge.alarms.campaigns.spray(&jail, attempts[120].time);
    assert_eq!(spray(&after).map(|spray| spray.places), Some(60));
    assert_eq!(spray(&after), spray(&before));
    // The next of each is told by neither; of the campaign it is banned at its first try.
    for machine in [&mut before, &mut after] {
        let alice = seen(machine, "203.0.113.99", "alice", fails(Class::KnownUser), 4_000);
        let sven = seen(machine, "198.51.100.99", "sven", fails(Class::UnknownUser), 4_001);
        assert_eq!((alarms(&alice), alarms(&sven)), (vec![], vec![]));
        assert!(machine.ledger.is_banned("198.51.100.99".parse().unwrap(), &jail, Timestamp::default()));
        // A stranger who gets in meanwhile is.
        let got_in = seen(machine, "198.51.100.150", "alice", Outcome::Success, 4_002);
        assert!(matches!(alarms(&got_in)[..], [Alarm::Stealth(stealth::Change::GotIn { .. })]), "{got_in:?}");
    }
}
