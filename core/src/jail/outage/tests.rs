use super::*;

const DAY: i64 = 86_400;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn jail() -> JailName {
    JailName::new("wordpress").unwrap()
}

/// A jail whose owner logged in on two days.
fn guard() -> Guard {
    let mut guard = Guard::default();
    guard.good_login(&jail(), addr("192.0.2.7"), None, at(0));
    guard.good_login(&jail(), addr("192.0.2.7"), None, at(DAY));
    guard.good_login(&jail(), addr("192.0.2.8"), None, at(DAY));
    guard
}

fn asks(guard: &mut Guard, from: &str, points: u32, is_owner: bool, when: i64) -> (bool, bool) {
    let points = (Points(points * 100), Points(500));
    let (held, told) = guard.holds_back(&jail(), addr(from), points, is_owner, at(when));
    (held, matches!(told, Some(Change::Began(..))))
}

#[test]
fn a_regular_place_is_held_back_while_nobody_logs_in_and_it_is_told_once() {
    let mut guard = guard();
    assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY), (true, true));
    assert_eq!(asks(&mut guard, "192.0.2.7", 6, false, 3 * DAY + 1), (true, false));
    assert_eq!(asks(&mut guard, "192.0.2.7", 20, false, 3 * DAY + 2), (false, false), "the rope has an end");
}

#[test]
fn strangers_and_places_with_one_login_are_judged_as_always() {
    let mut guard = guard();
    assert_eq!(asks(&mut guard, "198.51.100.1", 5, false, 3 * DAY), (false, false));
    assert_eq!(asks(&mut guard, "192.0.2.8", 5, false, 3 * DAY), (false, false));
    assert_eq!(asks(&mut guard, "192.0.2.8", 5, true, 3 * DAY), (true, true), "its own account");
    assert_eq!(asks(&mut Guard::default(), "192.0.2.7", 5, true, 3 * DAY), (false, false));
}

#[test]
fn nobody_is_held_back_while_others_log_in_and_a_login_ends_the_outage() {
    let mut guard = guard();
    assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, DAY + 60), (false, false));
    assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY), (true, true));
    assert_eq!(
        guard.good_login(&jail(), addr("192.0.2.9"), Some(7), at(3 * DAY + 60)),
        Some(Change::Ended(jail()))
    );
    assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY + 90), (false, false));
}

#[test]
fn a_login_of_a_stranger_that_names_nobody_ends_no_outage() {
    let mut guard = guard();
    assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY), (true, true));
    assert_eq!(guard.good_login(&jail(), addr("198.51.100.9"), None, at(3 * DAY + 60)), None);
    assert_eq!(asks(&mut guard, "192.0.2.7", 6, false, 3 * DAY + 90), (true, false));
    let ended = guard.good_login(&jail(), addr("192.0.2.7"), None, at(3 * DAY + 120));
    assert_eq!(ended, Some(Change::Ended(jail())));
}

#[test]
fn an_outage_of_which_nothing_is_seen_is_over_and_old_places_are_forgotten() {
    let mut guard = guard();
    asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY);
    assert_eq!(guard.sweep(at(3 * DAY + 60)), []);
    assert_eq!(guard.sweep(at(3 * DAY + 900)), [Change::Ended(jail())]);
    guard.sweep(at(32 * DAY));
    assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 32 * DAY), (false, false));
}

/// A host with five people at places of their own, and a robot that gets in with a key every ten minutes.
struct Host(Guard);

const ROBOT: &str = "198.51.100.99";

impl Host {
    fn new() -> Host {
        let mut guard = Guard::default();
        for person in 1..=5 {
            guard.good_login(&jail(), Host::place(person), Some(person.into()), at(0));
        }
        Host(guard)
    }

    fn place(person: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, person])
    }

    /// The robot's logins from one time to another; true if they end an outage.
    fn robot(&mut self, from: i64, to: i64) -> bool {
        let logins = (from..to).step_by(600);
        logins
            .map(|when| self.0.good_login(&jail(), addr(ROBOT), Some(99), at(when)))
            .any(|told| told.is_some())
    }

    /// Each of these people fails so often, a minute apart, and then reaches the threshold; true if held back.
    fn fail(&mut self, people: std::ops::RangeInclusive<u8>, times: i64, when: i64) -> bool {
        for time in 0..times {
            for person in people.clone() {
                self.0.owner_failed(&jail(), Host::place(person), person.into(), at(when + time * 60));
            }
        }
        let last = Host::place(*people.end());
        self.0.holds_back(&jail(), last, (Points(500), Points(500)), true, at(when + times * 60)).0
    }
}

#[test]
fn owners_who_fail_from_three_places_are_an_outage_though_a_robot_gets_in() {
    let mut host = Host::new();
    host.robot(0, DAY + 1);
    assert!(!host.fail(1..=1, 5, DAY), "one person mistypes");
    host.robot(DAY + 600, DAY + 1_900);
    assert!(!host.fail(1..=2, 5, DAY + 1_000), "so do two");
    assert!(host.fail(1..=3, 3, DAY + 2_000));
    assert!(!host.robot(DAY + 2_300, DAY + 2_900), "the robot ends nothing");
    assert!(host.fail(1..=3, 2, DAY + 2_900));
    assert!(
        host.robot(DAY + 3_600, DAY + 4_600),
        "it is over once nobody has failed for a quarter of an hour"
    );
}

#[test]
fn once_each_is_no_outage_and_owners_who_get_in_end_it() {
    let mut host = Host::new();
    host.robot(0, 2_000);
    assert!(!host.fail(1..=5, 1, 2_000), "everybody mistypes once");
    assert!(host.fail(1..=3, 2, 2_100));
    let gets_in = |host: &mut Host, person: u8, when| {
        host.0.good_login(&jail(), Host::place(person), Some(person.into()), at(when))
    };
    assert_eq!(gets_in(&mut host, 5, 2_300), None, "five still are more than those who got in");
    assert_eq!(gets_in(&mut host, 4, 2_310), None);
    assert_eq!(gets_in(&mut host, 3, 2_320), Some(Change::Ended(jail())));
    assert!(!host.fail(1..=2, 2, 2_400));
}

#[test]
fn three_who_fail_are_no_outage_where_many_get_in_meanwhile() {
    let mut host = Host::new();
    for other in 1..=9 {
        host.0.good_login(&jail(), IpAddr::from([192, 0, 2, other]), Some(9), at(1_990 + i64::from(other)));
    }
    assert!(host.fail(1..=3, 3, 2_000), "they got in before");
    let mut host = Host::new();
    for other in 1..=9 {
        host.0.owner_failed(&jail(), Host::place(1), 1, at(2_000));
        host.0.good_login(&jail(), IpAddr::from([192, 0, 2, other]), Some(9), at(2_010));
    }
    assert!(!host.fail(1..=3, 3, 2_020));
}

#[test]
fn a_telephone_with_an_old_password_is_no_sign_of_an_outage() {
    let mut host = Host::new();
    host.robot(0, DAY);
    for when in (1_000..DAY).step_by(300) {
        for person in 1..=3 {
            host.0.owner_failed(&jail(), Host::place(person), person.into(), at(when));
        }
    }
    assert!(!host.fail(1..=3, 3, DAY));
    host.robot(DAY, DAY + 300);
    assert!(!host.fail(4..=5, 3, DAY + 300), "nor with two who began to fail");
}

#[test]
fn forged_logins_push_no_regular_place_out() {
    let mut guard = guard();
    for number in 0..MAX_PLACES as u32 + 10 {
        let addr = IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0b00_0000 + number));
        guard.good_login(&jail(), addr, None, at(2 * DAY));
    }
    assert!(guard.jails[&jail()].places.len() <= MAX_PLACES);
    assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY), (true, true));
}

#[test]
fn who_fails_is_bounded_and_an_ipv6_network_is_one_place() {
    let mut host = Host::new();
    for account in 0..1_000 {
        host.0.owner_failed(&jail(), Host::place(1), account, at(2_000));
    }
    assert!(host.0.jails[&jail()].failing.len() <= MAX_COMPARED);
    let mut guard = Guard::default();
    guard.good_login(&jail(), addr("2001:db8::1"), None, at(0));
    guard.good_login(&jail(), addr("2001:db8::2"), None, at(DAY));
    assert_eq!(asks(&mut guard, "2001:db8::3", 5, false, 3 * DAY), (true, true));
}

#[test]
fn logins_of_before_make_a_place_regular_in_any_order_and_end_no_outage() {
    let mut guard = Guard::default();
    for when in [2 * DAY, DAY] {
        guard.learn(&jail(), addr("192.0.2.7"), Some(7), at(when));
    }
    guard.learn(&jail(), addr("192.0.2.8"), Some(8), at(DAY));
    assert_eq!(asks(&mut guard, "192.0.2.8", 5, false, 3 * DAY), (false, false));
    assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY), (true, true));
    guard.learn(&jail(), addr("192.0.2.9"), Some(9), at(2 * DAY));
    assert_eq!(asks(&mut guard, "192.0.2.7", 6, false, 3 * DAY + 1), (true, false), "it goes on");
}

#[test]
fn two_who_fail_are_an_outage_where_they_are_all_who_come_but_for_a_robot() {
    let owners = |accounts: [u64; 2]| {
        let mut guard = Guard::default();
        for person in 1..=2u8 {
            let account = accounts[usize::from(person) - 1];
            guard.good_login(&jail(), Host::place(person), Some(account), at(i64::from(person)));
        }
        Host(guard)
    };
    let mut host = owners([1, 2]);
    host.0.good_login(&jail(), Host::place(1), Some(1), at(DAY - 1));
    assert!(host.fail(1..=2, 2, DAY));
    let mut host = owners([1, 2]);
    host.robot(0, DAY);
    host.0.owner_failed(&jail(), Host::place(1), 1, at(DAY));
    host.robot(DAY + 1, DAY + 2);
    assert!(host.fail(1..=2, 2, DAY + 3), "the robot gets in meanwhile, and is not missed");
    let mut host = owners([1, 1]);
    for turn in 0..3 {
        (1..=2).for_each(|place| host.0.owner_failed(&jail(), Host::place(place), 1, at(60 + turn)));
    }
    let held = host.0.holds_back(&jail(), Host::place(1), (Points(500), Points(500)), true, at(70)).0;
    assert!(!held, "one person at two places");
}
