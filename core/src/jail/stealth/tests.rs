//! When guessing at accounts in use is told, when again, and when it is over.

use super::super::testing::{DAY, Dice, HOUR, at, jail, place};
use super::*;

/// Thirty days in which `users` people mistype, some from where they never were; returns the alarms.
fn month(dice: &mut Dice, users: u64, stealth: &mut Stealth) -> usize {
    let mut alarms = 0;
    let mut moments: Vec<(i64, u64)> = Vec::new();
    for user in 0..users {
        for day in 0..30 {
            // Each mistypes from a new place about once in four days.
            if dice.below(4) == 0 {
                let hour = 8 + dice.below(10) as i64;
                moments.push((day * DAY + hour * HOUR + dice.below(3_600) as i64, user));
            }
        }
    }
    moments.sort_unstable();
    for (number, (when, user)) in (1_000u32..).zip(moments) {
        let (name, place) = (format!("user{user}"), place(number + user as u32 * 10_000));
        let told = stealth.failure(&jail(), place, &name, at(when), true);
        alarms += told.iter().filter(|change| matches!(change, Change::Began(..))).count();
        // Two of three get in within some minutes; the others give up.
        if dice.below(3) > 0 {
            stealth.good_login(&jail(), place, &name, false, at(when + 120));
        }
        stealth.sweep(at(when + 121));
    }
    alarms
}

#[test]
fn people_who_mistype_raise_less_than_one_alarm_in_a_hundred_days() {
    let mut dice = Dice(7);
    for users in [1, 5, 20] {
        let alarms: usize = (0..40).map(|_| month(&mut dice, users, &mut Stealth::default())).sum();
        assert!(alarms * 100 <= 40 * 30, "{users} users: {alarms} alarms in {} days", 40 * 30);
    }
}

#[test]
fn an_attack_on_accounts_in_use_is_flagged_within_ten_tries() {
    for users in [1, 5, 20] {
        let (mut dice, mut stealth) = (Dice(users), Stealth::default());
        month(&mut dice, users, &mut stealth);
        let tries = (0..40u32).position(|number| {
            let when = at(31 * DAY + i64::from(number) * 600);
            let user = format!("user{}", u64::from(number) % users);
            !stealth.failure(&jail(), place(900_000 + number), &user, when, true).is_empty()
        });
        assert!(tries.is_some_and(|tries| tries < 10), "{users} users: {tries:?}");
    }
}

/// `count` strangers, one each `every` seconds; what is told of the attack, each with its number.
fn attack(stealth: &mut Stealth, (first, count): (u32, u32), begin: i64, every: i64) -> Vec<(u32, Change)> {
    let mut told = Vec::new();
    for number in 0..count {
        let when = at(begin + i64::from(number) * every);
        let changes = stealth.failure(&jail(), place(first + number), "alice", when, true);
        told.extend(changes.into_iter().map(|change| (number, change)));
    }
    told
}

fn of_alice(since: i64, places: usize) -> Attack {
    Attack { since: at(since), places, users: vec!["alice".into()] }
}

fn under_attack() -> Stealth {
    let mut stealth = Stealth::default();
    let told = attack(&mut stealth, (0, 9), 0, 1);
    assert_eq!(told, [(6, Change::Began(jail(), of_alice(0, 7)))]);
    assert_eq!(stealth.on(&jail()), Some(of_alice(0, 9)));
    stealth
}

#[test]
fn a_stranger_who_gets_in_during_an_alarm_is_told_of_and_one_who_is_known_is_not() {
    let mut stealth = under_attack();
    let got_in = Change::GotIn { jail: jail(), place: place(99), user: "alice".into() };
    assert_eq!(stealth.good_login(&jail(), place(99), "alice", false, at(HOUR)), [got_in]);
    assert_eq!(stealth.good_login(&jail(), place(98), "alice", true, at(HOUR)), []);
    assert_eq!(stealth.good_login(&jail(), place(97), "bob", false, at(HOUR)), [], "nobody tried bob");
}

#[test]
fn who_got_in_before_the_attack_was_noticed_is_told_of_when_it_is() {
    let mut stealth = Stealth::default();
    let told = attack(&mut stealth, (0, 4), 0, 600);
    assert_eq!(told, []);
    let got_in = [("alice", 50), ("bob", 51)];
    for (user, number) in got_in {
        assert_eq!(stealth.good_login(&jail(), place(number), user, false, at(3_000)), []);
    }
    assert_eq!(stealth.good_login(&jail(), place(52), "alice", true, at(3_000)), [], "her own place");
    let told: Vec<Change> =
        attack(&mut stealth, (10, 4), 4_000, 600).into_iter().map(|(_, change)| change).collect();
    let got_in = Change::GotIn { jail: jail(), place: place(50), user: "alice".into() };
    assert_eq!(told, [Change::Began(jail(), of_alice(0, 7)), got_in]);
}

#[test]
fn logins_of_before_an_attack_are_no_part_of_it() {
    let mut stealth = Stealth::default();
    attack(&mut stealth, (0, 1), 0, 1);
    for number in 100..300 {
        stealth.good_login(&jail(), place(number), "alice", false, at(HOUR));
    }
    assert_eq!(stealth.jails[&jail()].logins.len(), MAX_LOGINS);
    let told = attack(&mut stealth, (10, 9), 5 * DAY, 60);
    assert!(matches!(told[..], [(6, Change::Began(..))]), "{told:?}");
}

#[test]
fn an_alarm_is_over_after_a_day_of_silence_and_one_place_is_no_attack() {
    let mut stealth = under_attack();
    assert_eq!(stealth.sweep(at(HOUR)), []);
    assert_eq!(stealth.sweep(at(26 * HOUR)), [Change::Ended(jail())]);
    assert_eq!(stealth.on(&jail()), None);
    let again = (0..50).flat_map(|n| stealth.failure(&jail(), place(1), "alice", at(30 * HOUR + n), true));
    assert_eq!(again.count(), 0);
}

/// A busy host never has a day without a stranger.
#[test]
fn an_alarm_is_over_although_some_strangers_always_come() {
    let mut stealth = Stealth::default();
    let usual = |stealth: &mut Stealth, days: std::ops::Range<i64>| {
        let come = days.flat_map(|day| attack(stealth, (1_000 + day as u32 * 2, 2), day * DAY, DAY / 2));
        come.map(|(_, change)| change).collect::<Vec<_>>()
    };
    assert_eq!(usual(&mut stealth, 0..40), [], "two a day raise no alarm");
    assert_eq!(attack(&mut stealth, (0, 200), 40 * DAY, 60).len(), 1);
    let grew = Change::Grew(jail(), of_alice(40 * DAY, 201));
    assert_eq!(stealth.sweep(at(40 * DAY + 7 * HOUR)), [grew], "the one usual one of that half day too");
    let over = usual(&mut stealth, 41..60);
    assert_eq!(over, [Change::Ended(jail())]);
}

#[test]
fn an_attack_that_goes_on_is_told_when_it_has_doubled_and_a_second_one_within_ten_tries() {
    let mut stealth = Stealth::default();
    let told = attack(&mut stealth, (0, 300), 0, 600);
    // At the seventh; six hours later, with more than twice as many; then at twice that. A day has 144.
    let places: Vec<usize> = told.iter().map(|(_, change)| attack_of(change).places).collect();
    assert_eq!(places, [7, 43, 86]);
    // All but a few have been silent for most of a day.
    let later = 300 * 600 + DAY - 2 * HOUR;
    assert_eq!(attack(&mut stealth, (9_000, 2), later, 60), [], "two are none");
    let told = attack(&mut stealth, (9_100, 60), later + 2 * HOUR, 600);
    assert!(matches!(told[..], [(6, Change::Grew(..)), ..]), "{told:?}");
}

fn attack_of(change: &Change) -> &Attack {
    match change {
        Change::Began(_, attack) | Change::Grew(_, attack) => attack,
        other => panic!("{other:?}"),
    }
}

/// An attacker who grows by 3 % a day and never stops; each day's tries are spread over it.
#[test]
fn who_grows_slowly_is_flagged_before_a_day_has_seven_tries() {
    let mut stealth = Stealth::default();
    let (mut due, mut a_day, mut number) = (0.0, 0.1, 0);
    for day in 0..400 {
        due += a_day;
        let count = due as u32;
        due -= f64::from(count);
        let told = attack(&mut stealth, (number, count), day * DAY, DAY / i64::from(count.max(1)));
        if !told.is_empty() {
            assert!(a_day < 7.0, "{a_day} a day");
            return;
        }
        (number, a_day) = (number + count, a_day * 1.03);
    }
    panic!("never flagged, with {a_day} tries a day");
}

#[test]
fn people_who_come_back_make_room_for_more_and_an_attack_teaches_nothing() {
    let mut stealth = Stealth::default();
    for number in 0..400 {
        let when = i64::from(number) * DAY / 10;
        stealth.failure(&jail(), place(number), "alice", at(when), true);
        stealth.good_login(&jail(), place(number), "alice", false, at(when + 60));
    }
    let allowance = |stealth: &Stealth| stealth.jails[&jail()].allowance();
    let before = allowance(&stealth);
    assert!(before < USUAL + 0.01, "none was lost: {before}");
    attack(&mut stealth, (10_000, 1_000), 40 * DAY, 300);
    assert!(stealth.on(&jail()).is_some());
    assert!(allowance(&stealth) < USUAL + 0.01, "{}", allowance(&stealth));
    let mut alone = Stealth::default();
    attack(&mut alone, (0, 60), 0, DAY / 2);
    assert!(alone.on(&jail()).is_none() && allowance(&alone) <= USUAL + MARGIN * CEILING + 0.01);
}

#[test]
fn history_teaches_and_raises_nothing() {
    let mut stealth = Stealth::default();
    let told =
        (0..60).flat_map(|n| stealth.failure(&jail(), place(n), "alice", at(i64::from(n) * HOUR), false));
    assert_eq!(told.count(), 0);
    assert!(stealth.jails[&jail()].allowance() > USUAL);
}

#[test]
fn memory_is_bounded() {
    let mut stealth = Stealth::default();
    attack(&mut stealth, (0, 20_000), 0, 1);
    let watch = &stealth.jails[&jail()];
    assert!(watch.strangers.len() <= MAX_STRANGERS && watch.places.len() == watch.strangers.len());
}

#[test]
fn who_tried_another_account_first_is_told_of_and_so_is_who_failed_there_and_gets_in_elsewhere() {
    let mut stealth = Stealth::default();
    for number in 0..9 {
        for user in ["alice", "bob"] {
            stealth.failure(&jail(), place(number), user, at(number.into()), true);
        }
    }
    for (number, user) in [(8, "bob"), (7, "alice"), (6, "carol"), (99, "bob")] {
        let got_in = Change::GotIn { jail: jail(), place: place(number), user: user.into() };
        assert_eq!(stealth.good_login(&jail(), place(number), user, false, at(HOUR)), [got_in]);
    }
}
