use super::*;
use crate::event::{Class, Event, Outcome, Scope};
use crate::jail::names::Names;
use crate::jail::never::{NeverBan, Why};
use crate::jail::policy::Policy;
use crate::jail::{Jail, stealth};
use crate::ledger::{Element, Installed};
use crate::net::PrefixSet;
use crate::time::End;

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
    assert_eq!(alarms(&out).len(), 2, "an attack on alice and a campaign: {:?}", alarms(&out));
    let attempts: Vec<Attempt> = out
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Record(Record::Attempt(attempt)) => Some(attempt),
            _ => None,
        })
        .collect();
    let mut after = sshd_machine();
    after.restore(before.ledger.iter().cloned().collect(), &attempts, &[], attempts[120].time);
    let jail = JailName::new("sshd").unwrap();
    let attack = after.judge.alarms.stealth.on(&jail);
    assert_eq!(attack, before.judge.alarms.stealth.on(&jail));
    assert_eq!(attack.map(|attack| attack.places), Some(60));
    // The next of both is told by neither; of the campaign it is banned at its first try.
    for machine in [&mut before, &mut after] {
        let alice = seen(machine, "203.0.113.99", "alice", fails(Class::KnownUser), 4_000);
        let sven = seen(machine, "198.51.100.99", "sven", fails(Class::UnknownUser), 4_001);
        assert_eq!((alarms(&alice), alarms(&sven)), (vec![], vec![]));
        assert!(machine.ledger.is_banned("198.51.100.99".parse().unwrap(), &jail));
        // A stranger who gets in meanwhile is.
        let got_in = seen(machine, "198.51.100.150", "alice", Outcome::Success, 4_002);
        assert!(matches!(alarms(&got_in)[..], [Alarm::Stealth(stealth::Change::GotIn { .. })]), "{got_in:?}");
    }
}
