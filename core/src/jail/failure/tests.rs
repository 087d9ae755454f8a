//! What campaigns make of the price of a try, and whom they leave alone.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::tests::{at, failure, good, judge};
use super::*;
use crate::jail::networks::Networks;
use crate::jail::never::Why;
use crate::jail::policy::{PointTable, Policy};
use crate::jail::secret;
use crate::time::{End, Span};

const DAY: u64 = 86_400;

fn jail() -> crate::event::JailName {
    crate::event::JailName::new("sshd").unwrap()
}

/// Addresses in networks of their own.
fn from(number: u32) -> String {
    std::net::Ipv4Addr::from_bits(0x0b00_0000 + (number << 8)).to_string()
}

/// One try: what it cost, and how long the ban is that it brought.
fn tries(judge: &mut Judge, addr: &str, user: &str, secs: i64) -> (Points, Option<u64>) {
    let is_account = judge.names.is_account(user);
    let class = if is_account { Class::KnownUser } else { Class::UnknownUser };
    // A connection of its own.
    let pid = secs as u32 * 4_096 + (names::hash(user) % 4_096) as u32;
    let judgement = judge.observe(0, &failure(addr, user, class, pid), at(secs), Mode::Judge);
    let ban = judgement.decision.map(|decision| match decision.until {
        End::At(end) => end.since(at(secs)).secs(),
        End::Never => u64::MAX,
    });
    (judgement.attempt.unwrap().points, ban)
}

/// So many strangers try a name, one after the other.
fn strangers(judge: &mut Judge, count: u32, user: &str) {
    for number in 0..count {
        tries(judge, &from(number), user, i64::from(number));
    }
}

#[test]
fn a_listed_name_costs_more_and_a_hunted_one_bans_at_once_as_a_notorious_one_does() {
    let mut judge = judge(Policy::default());
    let prices: Vec<(Points, Option<u64>)> =
        (0..12).map(|number| tries(&mut judge, &from(number), "zhangwei", number.into())).collect();
    assert_eq!(prices[..5], [(Points(300), None); 5]);
    assert_eq!(prices[5..10], [(Points(400), None); 5]);
    assert_eq!(prices[10..], [(Points(500), Some(DAY)); 2]);
}

#[test]
fn while_a_campaign_is_on_its_names_ban_at_once_and_for_as_long_as_a_second_ban() {
    let mut judge = judge(Policy::default());
    strangers(&mut judge, 100, "sven");
    assert!(judge.alarms.campaigns.is_on(&jail()));
    assert_eq!(tries(&mut judge, "192.0.2.1", "sven", 200), (Points(500), Some(7 * DAY)));
    assert_eq!(tries(&mut judge, "192.0.2.2", "marion", 200), (Points(300), None), "nobody else tries that");
    // The next one is as long as a third.
    judge.past.began("192.0.2.3".parse().unwrap(), &jail(), at(200));
    assert_eq!(tries(&mut judge, "192.0.2.3", "sven", 201).1, Some(30 * DAY));
}

#[test]
fn a_threshold_of_its_own_is_reached_at_once_too() {
    let mut judge = judge(Policy { maxretry: Points(2_000), ..Policy::default() });
    strangers(&mut judge, 100, "sven");
    assert_eq!(tries(&mut judge, "192.0.2.1", "sven", 200), (Points(2_000), Some(7 * DAY)));
}

#[test]
fn names_that_exist_logins_of_cloud_images_and_root_cost_what_they_always_cost() {
    let mut judge = judge(Policy::default());
    judge.observe(0, &good("192.0.2.9", "bernd", 1), at(0), Mode::Judge);
    for (user, price) in [("alice", 100), ("bernd", 100), ("brend", 100), ("root", 200), ("ubuntu", 300)] {
        strangers(&mut judge, 200, user);
        assert_eq!(tries(&mut judge, "198.51.100.1", user, 300), (Points(price), None), "{user}");
        judge.forget("198.51.100.1".parse().unwrap(), None);
        judge.alarms = Default::default();
    }
}

#[test]
fn a_known_place_is_never_a_member() {
    let mut judge = judge(Policy::default());
    judge.observe(0, &good("192.0.2.9", "alice", 1), at(0), Mode::Judge);
    judge.observe(0, &good("2001:db8:1:2::7", "alice", 1), at(0), Mode::Judge);
    strangers(&mut judge, 100, "sven");
    for addr in ["192.0.2.9", "2001:db8:1:2::8"] {
        assert_eq!(tries(&mut judge, addr, "sven", 200), (Points(100), None), "{addr}");
        let place = judge.subject(addr.parse().unwrap());
        assert!(!judge.alarms.campaigns.is_member(&jail(), place, at(200)));
    }
    assert_eq!(tries(&mut judge, "2001:db8:1:3::8", "sven", 200).1, Some(7 * DAY));
}

#[test]
fn where_all_classes_cost_the_same_campaigns_change_nothing() {
    let mut judge = judge(Policy { points: PointTable::plain(), ..Policy::default() });
    strangers(&mut judge, 100, "sven");
    assert_eq!(tries(&mut judge, "192.0.2.1", "sven", 200), (Points(100), None));
}

#[test]
fn each_further_account_costs_more_and_none_more_than_a_name_that_does_not_exist() {
    let mut judge = judge(Policy::default());
    let accounts = ["alice", "bernd", "carla", "dagmar", "emil"];
    let known = accounts.into_iter().chain(["root"]);
    judge.names.set_accounts(known.map(str::to_owned).collect());
    let prices = accounts.map(|user| tries(&mut judge, "192.0.2.1", user, 10).0);
    assert_eq!(prices, [100, 200, 300, 300, 300].map(Points));
    // Whoever tries their own name alone, however it is mistyped, is judged as always.
    judge.names.logged_in("emil");
    let own = [("emil", 20), ("emli", 21), ("root", 22), ("emil", 23)]
        .map(|(user, secs)| tries(&mut judge, "192.0.2.2", user, secs));
    assert_eq!(own.map(|(points, _)| points), [100, 100, 200, 100].map(Points));
}

#[test]
fn where_people_have_several_accounts_none_costs_more() {
    let mut judge = judge(Policy { one_account: false, ..Policy::default() });
    let boxes = ["alice", "bernd", "carla", "dagmar"];
    judge.names.set_accounts(boxes.map(str::to_owned).into_iter().collect());
    assert_eq!(boxes.map(|user| tries(&mut judge, "192.0.2.1", user, 10).0), [Points(100); 4]);
}

#[test]
fn during_a_spray_a_second_account_bans_a_stranger_and_spares_a_known_place() {
    let mut judge = judge(Policy::default());
    judge.names.set_accounts(["alice", "bernd"].map(str::to_owned).into_iter().collect());
    judge.observe(0, &good("192.0.2.9", "alice", 1), at(0), Mode::Judge);
    strangers(&mut judge, 40, "alice");
    assert_eq!(tries(&mut judge, &from(3), "bernd", 50), (Points(500), Some(DAY)));
    assert_eq!(tries(&mut judge, "192.0.2.1", "bernd", 50), (Points(100), None), "a first account");
    assert_eq!(tries(&mut judge, "192.0.2.9", "bernd", 50).0, Points(100));
    assert_eq!(tries(&mut judge, "192.0.2.9", "alice", 51).0, Points(100));
}

/// Whoever tries a name that is known to be judged like an account first, and then another, during a spray, learns of
/// that one what bans tell anyway: it exists, or it is a decoy.
#[test]
fn a_spray_and_a_campaign_tell_no_more_than_bans_do() {
    let mut judge = judge(Policy::default());
    let secret = secret::Secret::new([3; 16]);
    let share = secret::Percent(25);
    (judge.secret, judge.decoys) = (Some(secret.clone()), share);
    judge.names.set_accounts(["alice", "bernd"].map(str::to_owned).into_iter().collect());
    strangers(&mut judge, 40, "alice");
    let mut banned = 0;
    for number in 0..400u32 {
        let name = format!("nobody-{number}");
        tries(&mut judge, &from(1_000 + number), "bernd", 100);
        let is_banned = tries(&mut judge, &from(1_000 + number), &name, 100).1.is_some();
        assert_eq!(is_banned, secret.is_decoy(&names::alike(&name), share), "{name}");
        banned += u32::from(is_banned);
    }
    assert!((70..130).contains(&banned), "{banned}");
    // And a decoy that everybody tries stays one.
    let decoy = (0..)
        .map(|number| format!("decoy-{number}"))
        .find(|name| secret.is_decoy(&names::alike(name), share))
        .unwrap();
    strangers(&mut judge, 200, &decoy);
    assert_eq!(tries(&mut judge, "192.0.2.1", &decoy, 300), (Points(100), None));
}

/// Everything below 11.0.0.0/8 and 192.0.2.0/24 is one operator's.
#[derive(Debug)]
struct Rented;

impl Networks for Rented {
    fn asn(&self, addr: IpAddr) -> Option<u32> {
        match addr {
            IpAddr::V4(addr) if addr.octets()[0] == 11 => Some(64_500),
            IpAddr::V4(addr) if addr.octets()[..3] == [192, 0, 2] => Some(64_500),
            _ => None,
        }
    }

    fn operator(&self, _: IpAddr) -> Option<String> {
        None
    }
}

/// Networks of one operator try names of their own, and then another does.
fn rented(judge: &mut Judge) -> (Points, Option<u64>) {
    judge.networks = Some(Arc::new(Rented));
    for number in 0..20 {
        tries(judge, &from(number), &format!("nobody-{number}"), number.into());
    }
    tries(judge, &from(900), "somebody", 100)
}

#[test]
fn strangers_of_an_operator_whose_networks_attack_together_are_banned_at_once() {
    let mut judge = judge(Policy::default());
    assert_eq!(rented(&mut judge), (Points(500), Some(7 * DAY)));
    assert_eq!(tries(&mut judge, &from(901), "alice", 100), (Points(100), None), "a name that exists");
    assert_eq!(tries(&mut judge, "198.51.100.1", "somebody", 100).0, Points(300), "one source is no sign");
    assert_eq!(tries(&mut judge, "198.51.100.2", "marion", 100).0, Points(300), "another operator");
}

#[test]
fn an_operator_of_known_places_or_of_the_host_itself_is_none_of_them() {
    let mut known = judge(Policy::default());
    known.observe(0, &good("192.0.2.9", "alice", 1), at(0), Mode::Judge);
    assert_eq!(rented(&mut known), (Points(300), None));
    let mut own = judge(Policy::default());
    own.never = crate::jail::never::NeverBan::new(vec![("192.0.2.1".parse().unwrap(), Why::Own)]);
    assert_eq!(rented(&mut own), (Points(300), None));
}

#[test]
fn the_reason_of_a_ban_says_what_made_it() {
    let mut judge = judge(Policy::default());
    strangers(&mut judge, 100, "sven");
    let event = failure("192.0.2.1", "sven", Class::UnknownUser, 1);
    let decision = judge.observe(0, &event, at(200), Mode::Judge).decision.unwrap();
    assert_eq!(decision.reason, "1 failure at once, 5 points, a campaign");
    assert_eq!(decision.until.timestamp(), Some(at(200) + Span::from_secs(7 * DAY)));
}

#[test]
fn who_comes_back_after_an_hour_during_a_campaign_costs_twice_as_much_but_not_from_a_known_place() {
    let mut judge = judge(Policy::default());
    judge.names.set_accounts(["root", "alice"].map(str::to_owned).into_iter().collect());
    judge.observe(0, &good("192.0.2.9", "alice", 1), at(0), Mode::Judge);
    let root = |judge: &mut Judge, addr, secs| tries(judge, addr, "root", secs).0;
    assert_eq!([10, 3_700].map(|secs| root(&mut judge, "192.0.2.1", secs)), [Points(200); 2]);
    strangers(&mut judge, 100, "sven");
    let prices = [4_000, 5_000, 7_600].map(|secs| root(&mut judge, "192.0.2.2", secs));
    assert_eq!(prices, [200, 200, 400].map(Points));
    assert_eq!([4_000, 7_600].map(|secs| root(&mut judge, "192.0.2.9", secs)), [Points(100); 2]);
}
