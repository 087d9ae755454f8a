//! What a known place, its neighbours and a good user's name are worth, to their owners and to others.

use super::*;

/// A source that fails at these names in turn, a try a second, until it is banned.
///
/// Returns how many tries it took and how long the ban lasts, in seconds.
fn until_banned(judge: &mut Judge, addr: &str, names: &[&str], start: i64) -> (u32, u64) {
    for (number, user) in (1u32..).zip(names.iter().cycle().take(100)) {
        let class = if judge.names.is_known(user) { Class::KnownUser } else { Class::UnknownUser };
        let when = at(start + i64::from(number));
        let event = failure(addr, user, class, number);
        if let Some(decision) = judge.observe(0, &event, when, Mode::Judge).decision {
            judge.past.began(decision.prefix, &decision.jail, when);
            let End::At(end) = decision.until else { panic!("it ends") };
            return (number, end.since(when).secs());
        }
    }
    panic!("{addr} was never banned");
}

const DAY: u64 = 86_400;

/// Alice logged in from 192.0.2.7.
fn with_alice() -> Judge {
    let mut judge = judge(Policy::default());
    judge.observe(0, &good("192.0.2.7", "alice", 1), at(1), Mode::Judge);
    judge
}

#[test]
fn an_owner_who_got_another_address_of_the_network_has_a_longer_rope_and_a_short_first_ban() {
    assert_eq!(until_banned(&mut with_alice(), "192.0.2.99", &["alice"], 2), (10, 600));
    assert_eq!(until_banned(&mut with_alice(), "192.0.2.99", &["alic", "alice", "slice"], 2), (10, 600));
    assert_eq!(
        until_banned(&mut with_alice(), "198.51.100.99", &["alice"], 2),
        (5, DAY),
        "elsewhere as ever"
    );
}

#[test]
fn whoever_else_lives_in_the_network_gains_nothing() {
    for (names, expected) in [(&["root"][..], (3, DAY)), (&["somebody"], (2, DAY)), (&["oracle"], (1, DAY))] {
        assert_eq!(until_banned(&mut with_alice(), "192.0.2.99", names, 2), expected, "{names:?}");
    }
    let mut judge = with_alice();
    judge.observe(0, &good("192.0.2.7", "root", 1), at(1), Mode::Judge);
    assert_eq!(until_banned(&mut judge, "192.0.2.99", &["root"], 2), (3, DAY), "though root logs in there");
    // One try of another name, and the ban is no longer short.
    assert_eq!(
        until_banned(&mut with_alice(), "192.0.2.99", &["alice", "root", "alice", "alice"], 2),
        (5, DAY)
    );
}

/// What all addresses of alice's network but her own get to try at her account within a day, without her login and
/// with it: all at first one after the other, then all in turns.
#[test]
fn the_whole_network_has_five_tries_a_day_more_at_the_account_and_one_short_ban() {
    let addrs: Vec<String> = (8..108).map(|host| format!("192.0.2.{host}")).collect();
    let mut judge = with_alice();
    let one_by_one: Vec<(u32, u64)> =
        addrs.iter().map(|addr| until_banned(&mut judge, addr, &["alice"], 2)).collect();
    assert_eq!(one_by_one.iter().map(|(tries, _)| tries).sum::<u32>(), 100 * 5 + 5);
    assert_eq!(one_by_one.iter().filter(|(_, length)| *length < DAY).count(), 1);

    let (mut judge, mut tries, mut short) = (with_alice(), 0, 0);
    let mut left = addrs;
    for round in 0..20 {
        left.retain(|addr| {
            tries += 1;
            let event = failure(addr, "alice", Class::KnownUser, round);
            let decision = judge.observe(0, &event, at(100 + i64::from(round)), Mode::Judge).decision;
            short += u32::from(decision.as_ref().is_some_and(|ban| ban.until < End::At(at(DAY as i64))));
            decision.is_none()
        });
    }
    assert!(left.is_empty());
    assert!(tries <= 100 * 5 + 10 && short == 0, "{tries} tries, {short} short bans");
}

#[test]
fn a_good_users_name_is_worth_ten_tries_and_a_short_first_ban() {
    let mut judge = judge(Policy::default());
    // What a stranger gets who types it, from one address within a week: twice ten tries, where an account has twice
    // five.
    assert_eq!(until_banned(&mut judge, "192.0.2.1", &["drjohn1"], 0), (10, 600));
    assert_eq!(until_banned(&mut judge, "192.0.2.1", &["drjohn1"], 1_000), (10, 7 * DAY));
    assert_eq!(until_banned(&mut judge, "192.0.2.1", &["drjohn1"], 8 * DAY as i64), (10, 30 * DAY));
    assert_eq!(until_banned(&mut judge, "192.0.2.2", &["alice"], 0), (5, DAY));
    assert_eq!(until_banned(&mut judge, "192.0.2.2", &["alice"], 2 * DAY as i64), (5, 7 * DAY));
}

/// All sequences of up to eleven tries of the good user and of an account, and where the last of them bans.
#[test]
fn once_another_name_is_tried_the_mildness_ends() {
    let banned_after = |mixed: u32| {
        let mut judge = judge(Policy::default());
        let names: Vec<&str> =
            (0..11).map(|bit| if mixed >> bit & 1 == 1 { "alice" } else { "drjohn1" }).collect();
        until_banned(&mut judge, "192.0.2.1", &names, 0)
    };
    for mixed in 0..1 << 11 {
        let (tries, length) = banned_after(mixed);
        // Half a point each before the other name, one each as long as that is the only one, two each once both are tried.
        let (mut points, mut good, mut other, mut expected) = (0, false, false, 0);
        while points < 500 {
            let is_other = mixed >> expected & 1 == 1;
            (good, other, expected) = (good || !is_other, other || is_other, expected + 1);
            points += if good && other {
                200
            } else if other {
                100
            } else {
                50
            };
        }
        assert_eq!(tries, expected, "{mixed:b}");
        assert_eq!(length, if other { DAY } else { 600 }, "{mixed:b}");
    }
    let mut judge = judge(Policy::default());
    assert_eq!(until_banned(&mut judge, "192.0.2.3", &["drjohn1", "drjohn1", "oracle"], 0), (3, DAY));
}

fn told(judge: &mut Judge, addr: &str, user: &str, number: u32) -> Option<(Option<String>, u32)> {
    let class = if judge.names.is_known(user) { Class::KnownUser } else { Class::UnknownUser };
    let event = failure(addr, user, class, number);
    let soon = judge.observe(0, &event, at(10), Mode::Judge).soon?;
    Some((soon.user.map(String::from), soon.left))
}

#[test]
fn people_are_told_before_somebody_is_banned_who_belongs_here() {
    let mut judge = with_alice();
    let of = |judge: &mut Judge, addr: &str, user: &str| -> Vec<_> {
        let tries = if addr == "192.0.2.7" { 4 } else { 9 };
        (100..100 + tries).map(|number| told(judge, addr, user, number)).collect()
    };
    let alice = || Some("alice".to_owned());
    let place = [None, None, None, Some((alice(), 1))];
    assert_eq!(
        of(&mut judge, "192.0.2.7", "alice"),
        place,
        "from her own place four points are one from five"
    );
    let mut near = [const { None }; 9];
    (near[7], near[8]) = (Some((alice(), 2)), Some((alice(), 1)));
    assert_eq!(of(&mut judge, "192.0.2.99", "alice"), near);
    let good = near.clone().map(|told| told.map(|(_, left)| (Some("drjohn1".to_owned()), left)));
    assert_eq!(of(&mut judge, "198.51.100.1", "drjohn1"), good);
    assert_eq!(of(&mut judge, "198.51.100.2", "alice"), [const { None }; 9], "a stranger");
}

#[test]
fn what_may_be_a_password_is_not_told() {
    let mut judge = with_alice();
    let all: Vec<_> = (100..104).map(|number| told(&mut judge, "192.0.2.7", "hunter2", number)).collect();
    assert_eq!(all[3], Some((None, 1)));
}

#[test]
fn a_login_from_a_new_place_clears_what_its_owner_mistyped_there() {
    let mut judge = with_alice();
    told(&mut judge, "198.51.100.9", "alic", 1);
    let points = |judge: &Judge| judge.counted("198.51.100.9".parse().unwrap(), at(20));
    assert_eq!(points(&judge)[0].1, Points(300), "three for whoever it may be");
    judge.observe(0, &good("198.51.100.9", "alice", 2), at(12), Mode::Judge);
    assert_eq!(points(&judge), []);
}
