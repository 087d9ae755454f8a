use super::*;
use crate::event::JailName;
use crate::jail::names::Names;
use crate::jail::never::{NeverBan, Why};
use crate::jail::policy::Policy;
use crate::jail::{Jail, Judge};
use crate::machine::{Phase, ScopeRule};
use crate::net::PrefixSet;

const DAY: i64 = 86_400;
const NOW: i64 = 100 * DAY;
const OWNER: &str = "198.51.100.7";
const STRANGER: &str = "203.0.113.9";

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn sshd() -> JailName {
    JailName::new("sshd").unwrap()
}

fn machine() -> Machine {
    let names = Names::new(["root".to_owned()].into(), [].into(), false);
    let jail = Jail { name: sshd(), policy: Policy::default(), lines: None };
    let judge = Judge::new(vec![jail], names, PrefixSet::default(), 1_000);
    Machine::new(judge, vec![Vec::new()], ScopeRule::All)
}

fn event(addr: &str, user: Option<&str>, outcome: Outcome, secs: i64) -> Event {
    Event {
        stamp: Some(at(secs)),
        addr: addr.parse().unwrap(),
        user: user.map(Into::into),
        outcome,
        connection: None,
        forwarded: Vec::new(),
    }
}

fn learn(machine: &mut Machine, addr: &str, secs: i64) -> Option<Learnt> {
    let login = event(addr, Some("alice"), Outcome::Success, secs);
    machine.learn(&sshd(), &login, at(NOW), at(NOW + 10), &mut Vec::new())
}

/// Wrong names of a notorious kind, each worth a ban to a stranger.
fn guess(machine: &mut Machine, addr: &str, tries: usize) {
    let outcome = Outcome::Failure { class: Class::UnknownUser, kind: 0, attempts: 1 };
    for user in ["oracle", "admin", "test", "guest"].into_iter().take(tries) {
        machine.event(
            0,
            &event(addr, Some(user), outcome, NOW + 5),
            Phase::Live,
            at(NOW + 5),
            &mut Vec::new(),
        );
    }
}

fn is_banned(machine: &Machine, addr: &str) -> bool {
    machine.ledger.is_banned(Prefix::host(addr.parse().unwrap()), &sshd(), Timestamp::default())
}

#[test]
fn a_place_with_a_login_of_before_is_judged_mildly_and_a_stranger_as_always() {
    let mut machine = machine();
    assert_eq!(learn(&mut machine, OWNER, NOW - 20 * DAY).unwrap().lifted, []);
    guess(&mut machine, OWNER, 4);
    guess(&mut machine, STRANGER, 1);
    assert!(!is_banned(&machine, OWNER) && is_banned(&machine, STRANGER));
}

#[test]
fn a_ban_of_a_place_that_turns_out_to_be_known_is_lifted_and_older_ones_stay() {
    let mut machine = machine();
    guess(&mut machine, OWNER, 1);
    assert!(is_banned(&machine, OWNER));
    let mut out = Vec::new();
    let login = event(OWNER, Some("alice"), Outcome::Success, NOW - 20 * DAY);
    let learnt = machine.learn(&sshd(), &login, at(NOW), at(NOW + 10), &mut out).unwrap();
    assert_eq!(learnt.lifted.len(), 1);
    let is_mistake = |effect: &Effect| matches!(effect, Effect::Record(Record::Ended(_, Ended::Mistaken, _)));
    assert!(out.iter().any(is_mistake), "a restart does not count it: {out:?}");
    assert!(!is_banned(&machine, OWNER));
    assert_eq!(machine.judge.past.all(Prefix::host(OWNER.parse().unwrap())), 0);

    // What was decided before anything was to be learnt stays, and so does what was ordered by hand.
    guess(&mut machine, STRANGER, 1);
    let login = event(STRANGER, Some("alice"), Outcome::Success, NOW - DAY);
    let learnt = machine.learn(&sshd(), &login, at(NOW + 11), at(NOW + 12), &mut Vec::new());
    assert_eq!(learnt.unwrap().lifted, []);
    assert!(is_banned(&machine, STRANGER));
}

#[test]
fn what_a_place_counts_costs_less_once_it_turns_out_to_be_known() {
    let mut machine = machine();
    let outcome = Outcome::Failure { class: Class::UnknownUser, kind: 0, attempts: 1 };
    let try_once = event(OWNER, Some("peter"), outcome, NOW + 5);
    machine.event(0, &try_once, Phase::Live, at(NOW + 5), &mut Vec::new());
    let points =
        |machine: &Machine| machine.judge.counted(Prefix::host(OWNER.parse().unwrap()), at(NOW + 6))[0].1;
    assert_eq!(points(&machine), Points(300));
    learn(&mut machine, OWNER, NOW - 20 * DAY);
    assert_eq!(points(&machine), Points(100));
}

#[test]
fn after_a_restart_they_cost_the_same() {
    let mut out = Vec::new();
    let mut before = machine();
    let outcome = Outcome::Failure { class: Class::UnknownUser, kind: 0, attempts: 1 };
    before.event(0, &event(OWNER, Some("peter"), outcome, NOW), Phase::Live, at(NOW), &mut out);
    let login = event(OWNER, Some("alice"), Outcome::Success, NOW - DAY);
    before.learn(&sshd(), &login, at(NOW), at(NOW), &mut out);
    let records = out.into_iter().filter_map(|effect| match effect {
        Effect::Record(Record::Attempt(attempt) | Record::Learnt(attempt)) => Some(attempt),
        _ => None,
    });
    let mut attempts: Vec<Attempt> = records.collect();
    attempts.sort_by_key(|attempt| attempt.time);
    assert_eq!(attempts.len(), 2);
    let mut after = machine();
    after.restore(Vec::new(), &attempts, &[], at(NOW));
    let counted =
        |machine: &Machine| machine.judge.counted(Prefix::host(OWNER.parse().unwrap()), at(NOW + 6));
    assert_eq!(counted(&after), counted(&before));
}

#[test]
fn logins_of_the_future_of_long_ago_and_of_nobody_make_no_place_known() {
    let mut machine = machine();
    assert_eq!(learn(&mut machine, OWNER, NOW + 11), None);
    assert_eq!(learn(&mut machine, OWNER, NOW - 31 * DAY), None);
    let mut out = Vec::new();
    let failed = Outcome::Failure { class: Class::KnownUser, kind: 0, attempts: 1 };
    let failure = event(OWNER, Some("alice"), failed, NOW - DAY);
    assert_eq!(machine.learn(&sshd(), &failure, at(NOW), at(NOW), &mut out), None);
    let other = JailName::new("other").unwrap();
    let login = event(OWNER, Some("alice"), Outcome::Success, NOW - DAY);
    assert_eq!(machine.learn(&other, &login, at(NOW), at(NOW), &mut out), None);
    assert_eq!(out, []);
    let nameless = event(OWNER, None, Outcome::Success, NOW - DAY);
    assert!(machine.learn(&sshd(), &nameless, at(NOW), at(NOW), &mut out).is_some());
    guess(&mut machine, OWNER, 1);
    assert!(is_banned(&machine, OWNER));
}

#[test]
fn who_is_never_banned_stays_so_and_a_login_of_before_frees_no_guesses_of_today() {
    let mut machine = machine();
    let never = NeverBan::new(vec![(STRANGER.parse().unwrap(), Why::Session)]);
    machine.set_never(never.clone(), &mut Vec::new());
    let outcome = Outcome::Failure { class: Class::KnownUser, kind: 0, attempts: 1 };
    for secs in 0..3 {
        let failure = event(OWNER, Some("alice"), outcome, NOW + secs);
        machine.event(0, &failure, Phase::Live, at(NOW + secs), &mut Vec::new());
    }
    learn(&mut machine, OWNER, NOW - DAY);
    learn(&mut machine, STRANGER, NOW - DAY);
    assert_eq!(machine.judge.never, never);
    let counted = machine.judge.counted(Prefix::host(OWNER.parse().unwrap()), at(NOW + 6));
    assert_eq!(counted[0].2, 3, "a login of yesterday clears nothing of today");
}
