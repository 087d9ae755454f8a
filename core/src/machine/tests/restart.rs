//! What a restart finds is what going on would have found.

use super::*;
use crate::jail::policy::Ladder;
use crate::jail::replay::{PastBan, Turn};

const DAY: i64 = 86_400;

fn sshd() -> JailName {
    JailName::new("sshd").unwrap()
}

/// A host of Alice's whose first bans last an hour.
fn host(findtime: i64) -> Machine {
    let names = Names::new(["alice".to_owned()].into(), HashSet::new(), false);
    let findtime = Span::from_secs(findtime.unsigned_abs());
    let policy = Policy { findtime, bantime: Ladder::public(), ..Policy::default() };
    let jail = Jail { name: sshd(), policy, lines: None };
    Machine::new(Judge::new(vec![jail], names, PrefixSet::default(), 1_000), Vec::new(), ScopeRule::All)
}

/// Somebody fails, in a line of that time which is read at `now`.
fn read(
    machine: &mut Machine,
    (addr, user, class): (&str, &str, Class),
    phase: Phase,
    times: (i64, i64),
) -> Vec<Effect> {
    let (time, now) = times;
    let event = Event {
        stamp: Some(Timestamp::from_secs(time)),
        addr: addr.parse().unwrap(),
        user: Some(user.into()),
        outcome: fails(class),
        connection: None,
        forwarded: Vec::new(),
    };
    let mut out = Vec::new();
    machine.event(0, &event, phase, Timestamp::from_secs(now), &mut out);
    out
}

/// The same host after a restart that knows only what `before` recorded.
fn restarted(before: &Machine, out: &[Effect], first_start: i64, now: i64) -> Machine {
    let findtime = before.judge.jails()[0].policy.findtime.secs();
    let mut after = host(findtime.cast_signed());
    let (mut attempts, mut turns) = (Vec::new(), Vec::new());
    for effect in out {
        let (ban, time, turn) = match effect {
            Effect::Record(Record::Attempt(attempt)) => {
                attempts.push(attempt.clone());
                continue;
            }
            Effect::Record(Record::Banned(ban)) => (ban, ban.since, Turn::Began),
            Effect::Record(Record::Tried(names)) => {
                after.judge.names.restore_tried(names.iter().copied());
                continue;
            }
            Effect::Record(Record::Missed(ban)) => (ban, ban.since, Turn::Missed),
            Effect::Record(Record::Ended(ban, Ended::Lifted, time)) => (ban, *time, Turn::Lifted),
            Effect::Record(Record::Ended(ban, _, time)) => (ban, *time, Turn::Expired),
            _ => continue,
        };
        if turn == Turn::Began || turn == Turn::Missed {
            after.judge.past.began(ban.prefix, &ban.jail, ban.since);
        }
        turns.push(PastBan { time, prefix: ban.prefix, jail: ban.jail.clone(), turn });
    }
    after.judge.first_start = Timestamp::from_secs(first_start);
    let bans = before.ledger.iter().collect();
    after.restore(bans, &attempts, &turns, Timestamp::from_secs(now));
    after
}

/// What is on: members of a campaign, and places that guess at an account in use.
fn on(machine: &Machine, now: i64) -> (Option<usize>, Option<usize>) {
    let alarms = &machine.judge.alarms;
    let campaign = alarms.campaigns.on(&sshd(), Timestamp::from_secs(now));
    (campaign.map(|campaign| campaign.members), alarms.stealth.on(&sshd()).map(|attack| attack.places))
}

#[test]
fn what_was_history_at_the_first_start_is_not_on() {
    let mut before = host(DAY);
    let mut out = seen(&mut before, "192.0.2.7", "alice", Outcome::Success, 0);
    for number in 0..60 {
        let (sven, alice) = (format!("198.51.100.{number}"), format!("203.0.113.{number}"));
        let times = (100 + i64::from(number) * 60, 5_000);
        out.extend(read(&mut before, (&sven, "sven", Class::UnknownUser), Phase::History, times));
        out.extend(read(&mut before, (&alice, "alice", Class::KnownUser), Phase::History, times));
    }
    assert_eq!(on(&before, 5_000), (None, None));
    assert_eq!(on(&restarted(&before, &out, 5_000, 5_000), 5_000), (None, None));
    let as_if_seen = on(&restarted(&before, &out, 0, 5_000), 5_000);
    assert!(as_if_seen.0.is_some() && as_if_seen.1.is_some(), "it would have been: {as_if_seen:?}");
}

#[test]
fn a_ban_that_was_over_before_it_could_be_made_is_an_earlier_one_and_uses_up_its_count() {
    let mut before = host(DAY);
    let source = "203.0.113.9";
    // The first brings a ban of an hour, the second counts anew, both while nobody watched.
    let mut out = Vec::new();
    for (user, class, time) in [("oracle", Class::UnknownUser, 100), ("alice", Class::KnownUser, 200)] {
        out.extend(read(&mut before, (source, user, class), Phase::CatchUp, (time, 9_000)));
    }
    let after = restarted(&before, &out, 0, 9_000);
    let known = |machine: &Machine| {
        let prefix: Prefix = source.parse().unwrap();
        let now = Timestamp::from_secs(9_000);
        (machine.judge.past.all(prefix), machine.judge.counted(prefix, now), machine.ledger.len())
    };
    assert_eq!((known(&before).0, known(&before).2), (1, 0));
    assert_eq!(known(&after), known(&before));
}

#[test]
fn the_rope_of_a_network_is_as_far_spent_whatever_the_findtime() {
    for findtime in [600, DAY] {
        let mut before = host(findtime);
        let mut out = seen(&mut before, "192.0.2.7", "alice", Outcome::Success, 0);
        for number in 20..29 {
            let addr = format!("192.0.2.{number}");
            out.extend(seen(&mut before, &addr, "alice", fails(Class::KnownUser), 100 + number));
        }
        let after = restarted(&before, &out, 0, 5_000);
        let rope = |machine: &Machine| {
            let now = Timestamp::from_secs(6_000);
            let asks =
                |tries| machine.judge.trust.neighbour("192.0.2.99".parse().unwrap(), "alice", tries, now);
            [1, 2].map(|tries| asks(tries).map(|near| near.has_rope))
        };
        assert_eq!(rope(&before), [Some(true), Some(false)]);
        assert_eq!(rope(&after), [Some(true), Some(false)]);
    }
}

#[test]
fn a_name_is_as_notorious_whenever_the_sources_were_banned_that_tried_it() {
    let tried_on = |days: [i64; 2], now: i64| {
        let mut before = host(600);
        let (mut out, mut addr) = (Vec::new(), 0);
        for (day, user) in days.into_iter().zip([["weird77", "odd1"], ["weird77", "odd2"]]) {
            addr += 1;
            for (second, user) in (0..).zip(user) {
                let source = format!("203.0.113.{addr}");
                out.extend(seen(&mut before, &source, user, fails(Class::UnknownUser), day * DAY + second));
            }
        }
        let after = restarted(&before, &out, 0, now * DAY);
        before.sweep(Timestamp::from_secs(now * DAY), &mut Vec::new());
        [before, after].map(|machine| {
            ["weird77", "odd1"].map(|user| machine.judge.names.refine(Class::UnknownUser, Some(user)))
        })
    };
    let (bad, unknown) = ([Class::BadUser, Class::UnknownUser], [Class::UnknownUser; 2]);
    assert_eq!(tried_on([1, 40], 60), [bad, bad]);
    assert_eq!(tried_on([1, 40], 92), [unknown, unknown], "bans are remembered for ninety days");
}

/// Five people at places of their own log in, then their passwords are refused for an hour while a robot gets in with a
/// key; hours later the silence of all of them is the next outage, through which one of them fails until its rope is used up.
fn outages() -> Vec<(i64, String, String, Outcome)> {
    let mut seen = Vec::new();
    let mut note = |when: i64, host: i64, outcome: Outcome| {
        seen.push((when, format!("203.0.113.{host}"), format!("person{host}"), outcome));
    };
    (1..=5).for_each(|person| note(person, person, Outcome::Success));
    (0..8).for_each(|turn| note(600 * turn + 10, 99, Outcome::Success));
    for (turn, person) in (0..7).flat_map(|turn| (1..=4).map(move |person| (turn, person))) {
        note(1_000 + turn * 400 + person * 20, person, fails(Class::KnownUser));
    }
    note(4_000, 5, Outcome::Success);
    (0..5).for_each(|turn| note(4_100 + turn * 60, 5, fails(Class::KnownUser)));
    (0..14).for_each(|turn| note(20_000 + turn * 60, 2, fails(Class::KnownUser)));
    seen.sort_by_key(|(when, ..)| *when);
    seen
}

#[test]
fn a_restart_at_any_moment_of_an_outage_changes_nothing_that_is_told_or_banned() {
    let all = outages();
    let play = |machine: &mut Machine, (when, addr, user, outcome): &(i64, String, String, Outcome)| {
        let mut out = Vec::new();
        machine.sweep(Timestamp::from_secs(*when), &mut out);
        out.extend(seen(machine, addr, user, *outcome, *when));
        out
    };
    let told = |out: &[Effect]| -> Vec<Effect> {
        let tells = |effect: &&Effect| {
            matches!(effect, Effect::Say(Notice::Alarm(Alarm::Outage(_)) | Notice::Banned(_)))
        };
        out.iter().filter(tells).cloned().collect()
    };
    let mut most = 0;
    for restart in 0..all.len() {
        let (before, after) = all.split_at(restart);
        let mut stayed = host(DAY);
        let out: Vec<Effect> = before.iter().flat_map(|seen| play(&mut stayed, seen)).collect();
        let mut again = restarted(&stayed, &out, 0, before.last().map_or(0, |(when, ..)| *when));
        let [stayed, again] = [&mut stayed, &mut again]
            .map(|machine| -> Vec<Effect> { after.iter().flat_map(|seen| play(machine, seen)).collect() });
        assert_eq!(told(&again), told(&stayed), "restarted before {:?}", after[0]);
        most = most.max(told(&stayed).len());
    }
    assert_eq!(most, 4, "two outages, the end of one, and a ban when its rope is used up");
}
