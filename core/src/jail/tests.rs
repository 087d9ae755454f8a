mod oracle;
mod standing;

use super::*;
use crate::event::Connection;
use crate::jail::policy::PointTable;
use crate::time::{BanTime, End};

pub(super) fn judge(policy: Policy) -> Judge {
    let accounts = ["root", "alice"].map(str::to_owned).into_iter().collect();
    let names = Names::new(accounts, ["drjohn1".to_owned()].into_iter().collect(), false);
    let jail = Jail { name: JailName::new("sshd").unwrap(), policy, lines: None };
    Judge::new(vec![jail], names, PrefixSet::default(), 1000)
}

pub(super) fn failure(addr: &str, user: &str, class: Class, pid: u32) -> Event {
    Event {
        stamp: None,
        addr: addr.parse().unwrap(),
        user: Some(user.into()),
        outcome: Outcome::Failure { class, kind: 0, attempts: 1 },
        forwarded: Vec::new(),
        connection: Some(Connection { host: 0, pid: Some(pid), port: None }),
    }
}

pub(super) fn good(addr: &str, user: &str, pid: u32) -> Event {
    Event { outcome: Outcome::Success, ..failure(addr, user, Class::KnownUser, pid) }
}

pub(super) fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

/// Feeds failures of one source until it is banned; returns how many attempts that took.
fn attempts_until_ban(judge: &mut Judge, addr: &str, user: &str, class: Class) -> u32 {
    for number in 1..100 {
        let event = failure(addr, user, class, number);
        if judge.observe(0, &event, at(i64::from(number)), Mode::Judge).decision.is_some() {
            return number;
        }
    }
    panic!("{addr} was never banned");
}

#[test]
fn the_default_points_ban_after_as_many_attempts_as_they_say() {
    let mut judge = judge(Policy::default());
    assert_eq!(attempts_until_ban(&mut judge, "192.0.2.1", "oracle", Class::UnknownUser), 1);
    assert_eq!(attempts_until_ban(&mut judge, "192.0.2.2", "somebody", Class::UnknownUser), 2);
    assert_eq!(attempts_until_ban(&mut judge, "192.0.2.3", "root", Class::KnownUser), 3);
    assert_eq!(attempts_until_ban(&mut judge, "192.0.2.4", "alice", Class::KnownUser), 5);
    assert_eq!(attempts_until_ban(&mut judge, "192.0.2.5", "drjohn1", Class::KnownUser), 10);
}

#[test]
fn a_threshold_that_jitters_differs_from_source_to_source_and_after_a_ban() {
    let plain = Policy { points: PointTable::plain(), jitter: secret::Percent(40), ..Policy::default() };
    let mut judge = judge(plain);
    judge.secret = Some(secret::Secret::new([3; 16]));
    let source = |number: u32| format!("192.0.{}.{}", number / 250, number % 250);
    let tries: Vec<u32> = (1_000..1_300)
        .map(|number| attempts_until_ban(&mut judge, &source(number), "real", Class::KnownUser))
        .collect();
    let (least, most) = (tries.iter().min(), tries.iter().max());
    assert_eq!((least, most), (Some(&3), Some(&7)), "5 points, 40 % more or less");
    let mut after_bans = std::collections::BTreeSet::new();
    for _ in 0..30 {
        after_bans.insert(attempts_until_ban(&mut judge, "192.0.2.9", "real", Class::KnownUser));
        judge.past.began("192.0.2.9".parse().unwrap(), &JailName::new("sshd").unwrap(), at(1));
    }
    assert!(after_bans.len() > 2, "{after_bans:?}");
}

#[test]
fn plain_counting_counts_attempts() {
    let policy = Policy { maxretry: Points(300), points: PointTable::plain(), ..Policy::default() };
    let mut judge = judge(policy);
    assert_eq!(attempts_until_ban(&mut judge, "192.0.2.2", "somebody", Class::UnknownUser), 3);
    assert_eq!(attempts_until_ban(&mut judge, "192.0.2.3", "root", Class::KnownUser), 3);
}

#[test]
fn a_slow_attacker_is_remembered_for_a_day_but_not_longer() {
    let mut judge = judge(Policy::default());
    let mut try_at = |secs, pid| {
        judge.observe(0, &failure("192.0.2.1", "root", Class::KnownUser, pid), at(secs), Mode::Judge)
    };
    assert!(try_at(0, 1).decision.is_none());
    assert!(try_at(40_000, 2).decision.is_none());
    assert!(try_at(86_401, 3).decision.is_none(), "the first try is more than a day old");
    assert!(try_at(86_500, 4).decision.is_some());
}

#[test]
fn a_good_login_clears_what_its_name_mistyped_had_counted_and_names_of_nobody_and_no_other_account() {
    let mut judge = judge(Policy::default());
    judge.observe(0, &good("192.0.2.1", "alice", 1), at(1), Mode::Judge);
    let (unknown, known) = (Class::UnknownUser, Class::KnownUser);
    for (pid, name, class) in [(2, "alcie", unknown), (3, "laptop", unknown), (4, "bob", known)] {
        judge.observe(0, &failure("192.0.2.1", name, class, pid), at(2), Mode::Judge);
    }
    let points = |judge: &Judge| judge.counted("192.0.2.1".parse().unwrap(), at(4))[0].1;
    assert_eq!(points(&judge), Points(300));
    judge.observe(0, &good("192.0.2.1", "alice", 5), at(3), Mode::Judge);
    assert_eq!(points(&judge), Points(100), "bob is an account");
}

#[test]
fn a_good_login_clears_that_users_points_and_makes_the_place_known() {
    let mut judge = judge(Policy::default());
    for pid in 1..5 {
        judge.observe(0, &failure("192.0.2.1", "alice", Class::KnownUser, pid), at(1), Mode::Judge);
    }
    judge.observe(0, &good("192.0.2.1", "alice", 9), at(2), Mode::Judge);
    assert!(judge.counted("192.0.2.1".parse().unwrap(), at(3)).is_empty());
    // Known places: one point a failure; ten minutes, then an hour, and never longer than a stranger's first ban.
    for (number, secs) in [600, 3_600, 86_400, 86_400].into_iter().enumerate() {
        let mut last = None;
        for pid in 10..15 {
            let event = failure("192.0.2.1", "root", Class::KnownUser, pid + 10 * number as u32);
            last = judge.observe(0, &event, at(3), Mode::Judge).decision;
        }
        let decision = last.unwrap();
        assert_eq!(decision.until, crate::time::End::At(at(3) + Span::from_secs(secs)));
        judge.past.began(decision.prefix, &decision.jail, at(3));
    }
}

#[test]
fn a_login_makes_the_whole_64_a_known_place_and_of_ipv4_the_address_only() {
    let mut judge = judge(Policy::default());
    judge.observe(0, &good("2001:db8:1:2::7", "alice", 1), at(1), Mode::Judge);
    judge.observe(0, &good("192.0.2.7", "alice", 2), at(1), Mode::Judge);
    assert_eq!(attempts_until_ban(&mut judge, "2001:db8:1:2:aaaa::9", "oracle", Class::UnknownUser), 5);
    assert_eq!(attempts_until_ban(&mut judge, "2001:db8:1:3::7", "oracle", Class::UnknownUser), 1);
    assert_eq!(attempts_until_ban(&mut judge, "192.0.2.7", "oracle", Class::UnknownUser), 5);
    assert_eq!(attempts_until_ban(&mut judge, "192.0.2.8", "oracle", Class::UnknownUser), 1);
    assert!(judge.trust.is_owner("2001:db8:1:2::ffff".parse().unwrap(), Some("alice"), at(9)));
}

#[test]
fn bans_climb_the_ladder() {
    let mut judge = judge(Policy::default());
    let mut days = Vec::new();
    for round in 0..4 {
        for pid in 0..3 {
            let event = failure("192.0.2.1", "root", Class::KnownUser, round * 10 + pid);
            if let Some(decision) = judge.observe(0, &event, at(0), Mode::Judge).decision {
                judge.past.began(decision.prefix, &decision.jail, at(0));
                days.push(decision.until.timestamp().unwrap().secs() / 86_400);
            }
        }
    }
    assert_eq!(days, [1, 7, 30, 30]);
}

#[test]
fn ipv6_is_counted_by_network() {
    let mut judge = judge(Policy::default());
    let first =
        judge.observe(0, &failure("2001:db8:1:2::1", "bob", Class::UnknownUser, 1), at(1), Mode::Judge);
    let second =
        judge.observe(0, &failure("2001:db8:1:2:ffff::9", "bob", Class::UnknownUser, 2), at(2), Mode::Judge);
    assert!(first.decision.is_none());
    assert_eq!(second.decision.unwrap().prefix.to_string(), "2001:db8:1:2::/64");
}

#[test]
fn an_attacker_in_the_hosts_own_network_is_banned_alone() {
    let mut judge = judge(Policy::default());
    judge.never = NeverBan::new(vec![("2001:db8:1:2::1".parse().unwrap(), never::Why::Own)]);
    let decision = judge
        .observe(0, &failure("2001:db8:1:2::bad", "oracle", Class::UnknownUser, 1), at(1), Mode::Judge)
        .decision;
    assert_eq!(decision.unwrap().prefix.to_string(), "2001:db8:1:2::bad/128");
}

#[test]
fn who_is_never_banned_is_recorded_but_not_counted() {
    let mut judge = judge(Policy::default());
    judge.never = NeverBan::new(vec![("192.0.2.0/24".parse().unwrap(), never::Why::Ignoreip)]);
    for pid in 0..20 {
        let judgement =
            judge.observe(0, &failure("192.0.2.1", "oracle", Class::UnknownUser, pid), at(1), Mode::Judge);
        assert!(judgement.attempt.is_some() && judgement.decision.is_none());
    }
}

#[test]
fn behind_a_trusted_proxy_the_client_is_judged() {
    let mut judge = judge(Policy::default());
    judge.trusted_proxies = PrefixSet::new(["198.51.100.0/24".parse().unwrap()]);
    let mut event = failure("198.51.100.7", "oracle", Class::UnknownUser, 1);
    event.forwarded =
        ["198.51.100.9", "203.0.113.5", "203.0.113.66"].map(|addr| addr.parse().unwrap()).to_vec();
    let decision = judge.observe(0, &event, at(1), Mode::Judge).decision.unwrap();
    assert_eq!(
        decision.prefix.short(),
        "203.0.113.5",
        "what lies behind the nearest untrusted hop is the client's own word"
    );
    event.forwarded.clear();
    assert_eq!(judge.observe(0, &event, at(1), Mode::Judge), Judgement::default());
}

fn growing(growth: growth::Growth) -> Policy {
    Policy {
        maxretry: Points(400),
        points: PointTable::plain(),
        bantime: policy::Ladder::new(vec![BanTime::For(Span::from_secs(60))]).unwrap(),
        growth: Some(growth.into()),
        ..Policy::default()
    }
}

/// How long the bans of one source are, and how many attempts each takes.
fn grown(judge: &mut Judge, addr: &str, bans: u32) -> Vec<(u64, u32)> {
    let mut found = Vec::new();
    for ban in 0..bans {
        for number in 1.. {
            let event = failure(addr, "alice", Class::KnownUser, ban * 100 + number);
            let when = at(i64::from(ban * 100 + number));
            if let Some(decision) = judge.observe(0, &event, when, Mode::Judge).decision {
                judge.past.began(decision.prefix, &decision.jail, decision.since);
                let End::At(end) = decision.until else { panic!("it ends") };
                found.push((end.since(when).secs(), number));
                break;
            }
        }
    }
    found
}

#[test]
fn bans_grow_and_failures_of_an_old_acquaintance_count_more() {
    let formula = growth::formula::Formula::parse("ban.Time * (ban.Count + 1)").ok();
    let mut judge = judge(growing(growth::Growth { formula, ..growth::Growth::default() }));
    assert_eq!(grown(&mut judge, "192.0.2.1", 4), [(60, 4), (120, 2), (180, 2), (240, 1)]);
    // An IPv6 network is one source.
    assert_eq!(grown(&mut judge, "2001:db8::1", 1), [(60, 4)]);
    assert_eq!(grown(&mut judge, "2001:db8::2", 1), [(120, 2)]);
}

#[test]
fn bans_by_other_jails_lengthen_those_of_a_jail_that_says_so() {
    for (overalljails, length) in [(false, 60), (true, 240)] {
        let mut judge = judge(growing(growth::Growth { overalljails, ..growth::Growth::default() }));
        let other = JailName::new("other").unwrap();
        judge.past.began("192.0.2.1".parse().unwrap(), &other, at(0));
        judge.past.began("192.0.2.1".parse().unwrap(), &other, at(1));
        assert_eq!(grown(&mut judge, "192.0.2.1", 1), [(length, 4)]);
    }
}
