//! One rule each.

use super::*;

#[test]
fn two_neighbours_become_one_network_in_the_kernel() {
    let mut host = Host::new(widen::BUDGET);
    host.attack("43.229.53.13");
    assert_eq!(host.nets(), [""; 0]);
    host.attack("43.229.53.14");
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    assert!(host.is_shut_out("43.229.53.9") && !host.is_shut_out("43.229.53.16"));
    let ban = &host.machine.ledger.of(prefix("43.229.53.8/29"))[0];
    assert_eq!(ban.reason, "2 neighbours offended (43.229.53.13, 43.229.53.14); 6 innocent addresses");
    assert_eq!((ban.failures, ban.origin), (4, Origin::Local));
    // As long as the later of the two.
    assert_eq!(ban.until, End::At(host.time() + Span::from_secs(86_400)));
}

#[test]
fn neighbours_need_not_come_on_the_same_day() {
    let mut host = Host::new(widen::BUDGET);
    host.attack("43.229.53.13");
    host.wait(3 * DAY);
    assert!(!host.is_shut_out("43.229.53.13"));
    host.attack("43.229.53.14");
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    host.wait(DAY);
    assert_eq!(host.nets(), [""; 0]);
    host.wait(8 * DAY);
    host.attack("43.229.53.12");
    assert_eq!(host.nets(), [""; 0], "what was a week ago is no evidence");
}

#[test]
fn a_wider_network_takes_the_place_of_a_narrower_one() {
    let mut host = Host::new(widen::BUDGET);
    ["185.165.29.197", "185.165.29.198"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["185.165.29.192/29"]);
    host.attack("185.165.29.69");
    assert_eq!(host.nets(), ["185.165.29.0/24"]);
    let ended =
        host.out.iter().filter(|effect| matches!(effect, Effect::Say(Notice::Ended(_, Ended::Narrowed))));
    assert_eq!(ended.count(), 1);
}

#[test]
fn it_narrows_when_its_evidence_ages() {
    let mut host = Host::with_bantime(widen::BUDGET, 2);
    host.attack("185.165.29.200");
    host.wait(6 * DAY);
    ["185.165.29.70", "185.165.29.75"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["185.165.29.0/24"]);
    host.wait(DAY - 1);
    assert_eq!(host.nets(), ["185.165.29.0/24"]);
    host.wait(1);
    assert_eq!(host.nets(), ["185.165.29.64/28"], "the first is a week old, the others are still banned");
    host.wait(DAY);
    assert_eq!(host.nets(), [""; 0]);
}

#[test]
fn it_ends_in_the_kernel_without_a_daemon() {
    let mut host = Host::with_bantime(widen::BUDGET, 2);
    host.attack("185.165.29.200");
    host.wait(6 * DAY);
    ["185.165.29.70", "185.165.29.75"].iter().for_each(|addr| host.attack(addr));
    let told = |effect: &Effect| match effect {
        Effect::Kernel(crate::ledger::Change::Set(element, end))
            if element.prefix == prefix("185.165.29.0/24") =>
        {
            Some(*end)
        }
        _ => None,
    };
    assert_eq!(host.out.iter().find_map(told), Some(End::At(host.time() + Span::from_secs(86_400))));
}

#[test]
fn nothing_is_widened_over_an_address_that_logged_in_lately() {
    let mut host = Host::new(widen::BUDGET);
    host.log_in("43.229.53.9");
    ["43.229.53.13", "43.229.53.14", "43.229.53.2", "43.229.53.3"].iter().for_each(|addr| host.attack(addr));
    // The /28 and the /29 above are out of the question.
    assert_eq!(host.nets(), ["43.229.53.0/29"]);
    assert!(!host.is_shut_out("43.229.53.9") && !host.is_shut_out("43.229.53.10"));
}

#[test]
fn a_login_from_inside_narrows_the_network_at_once() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    host.log_in("43.229.53.9");
    assert_eq!(host.nets(), [""; 0]);
    assert!(host.is_shut_out("43.229.53.13") && !host.is_shut_out("43.229.53.9"));
}

#[test]
fn nothing_is_widened_over_an_address_that_this_host_talks_to() {
    let mut host = Host::new(widen::BUDGET);
    let talk_to = |host: &mut Host, addr: &str| {
        host.machine.set_talks_to(HashSet::from([addr.parse().unwrap()]));
        host.machine.tick(host.time(), &mut host.out);
    };
    talk_to(&mut host, "43.229.53.9");
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), [""; 0]);
    talk_to(&mut host, "198.51.100.1");
    host.attack("43.229.53.12");
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    talk_to(&mut host, "43.229.53.10");
    assert_eq!(host.nets(), [""; 0]);
}

#[test]
fn who_is_never_banned_is_left_out_of_the_network() {
    let mut host = Host::new(widen::BUDGET);
    host.never = NeverBan::new(vec![(prefix("43.229.53.9"), Why::Gateway)]);
    host.machine.set_never(host.never.clone(), &mut host.out);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    assert!(host.is_shut_out("43.229.53.8") && !host.is_shut_out("43.229.53.9"));
}

#[test]
fn unban_of_an_address_lifts_the_network_for_a_week_over_a_restart_too() {
    let mut host = Host::with_bantime(widen::BUDGET, 9);
    ["43.229.53.13", "43.229.53.14", "43.229.53.15"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.unban("43.229.53.9"), ["43.229.53.8/29"], "an innocent neighbour complained");
    assert!(!host.is_shut_out("43.229.53.9") && host.is_shut_out("43.229.53.13"));
    host.attack("43.229.53.12");
    assert_eq!(host.nets(), [""; 0]);
    host.restart();
    host.attack("43.229.53.11");
    assert_eq!(host.nets(), [""; 0]);
    host.wait(7 * DAY);
    host.attack("43.229.53.10");
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
}

#[test]
fn unban_of_who_is_banned_by_its_network_only_is_kept_of_it_and_of_nobody_else() {
    let mut host = Host::new(widen::BUDGET);
    host.attack("43.229.53.13");
    host.wait(3 * DAY);
    host.attack("43.229.53.14");
    let before = host.out.len();
    let both = ["43.229.53.13", "43.229.53.14"].map(prefix);
    let gone = host.machine.unban(Some(&both), None, host.time(), &mut host.out);
    let gone: Vec<String> = gone.iter().map(|ban| ban.prefix.short()).collect();
    assert_eq!(gone, ["43.229.53.8/29", "43.229.53.14"]);
    let kept = host.out[before..].iter().filter_map(|effect| match effect {
        Effect::Record(Record::Ended(ban, Ended::Lifted, _)) => Some((ban.prefix.short(), ban.origin)),
        _ => None,
    });
    let of = |text: &str| (text.to_owned(), Origin::Local);
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept, [of("43.229.53.8/29"), of("43.229.53.14"), of("43.229.53.13")]);
    assert!(!host.out[before..].iter().any(|effect| {
        matches!(effect, Effect::Say(Notice::Ended(ban, _)) if ban.prefix == prefix("43.229.53.13"))
    }));
}

#[test]
fn unban_of_an_offender_lets_it_in() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.unban("43.229.53.13"), ["43.229.53.13", "43.229.53.8/29"]);
    assert!(!host.is_shut_out("43.229.53.13") && host.is_shut_out("43.229.53.14"));
}

#[test]
fn a_ban_by_hand_over_the_network_makes_a_widened_one_needless() {
    let mut host = Host::new(widen::BUDGET);
    host.ban_by_hand("221.194.44.0/24", "manual");
    ["221.194.44.219", "221.194.44.231"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["221.194.44.0/24"]);
}

#[test]
fn a_ban_by_hand_that_comes_later_takes_the_place_of_the_network() {
    let mut host = Host::new(widen::BUDGET);
    ["221.194.44.219", "221.194.44.231"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["221.194.44.192/26"]);
    host.ban_by_hand("221.194.44.0/24", "manual");
    host.wait(0);
    assert_eq!(host.nets(), ["221.194.44.0/24"]);
    let narrowed = |effect: &Effect| match effect {
        Effect::Record(Record::Ended(ban, Ended::Narrowed, _)) => Some(ban.prefix),
        _ => None,
    };
    assert_eq!(host.out.iter().find_map(narrowed), Some(prefix("221.194.44.192/26")));
    assert!(host.is_shut_out("221.194.44.1") && host.is_shut_out("221.194.44.219"));
    assert_eq!(neighbours_of(&host).used(prefix("221.194.44.0/24")), 0);
    // Who lifts it means all of it; who attacked stays banned.
    host.unban("221.194.44.0/24");
    host.attack("221.194.44.220");
    assert_eq!(host.nets(), [""; 0]);
    assert!(host.is_shut_out("221.194.44.219") && !host.is_shut_out("221.194.44.1"));
}

#[test]
fn a_network_of_ipv6_narrows_when_its_evidence_ages() {
    let mut host = Host::with_bantime(widen::BUDGET, 2);
    (0..6).for_each(|at| host.attack(&format!("2001:db8:0:{:x}::1", (at / 3) << 8 | at)));
    host.wait(6 * DAY);
    (0..3).for_each(|at| host.attack(&format!("2001:db8:0:{:x}::1", 0x200 | at)));
    assert_eq!(host.nets_of(48), ["2001:db8::/48"]);
    host.wait(DAY);
    assert_eq!((host.nets_of(48).len(), host.nets_of(56)), (0, vec!["2001:db8:0:200::/56".to_owned()]));
    host.wait(DAY);
    assert_eq!(host.nets_of(56), [""; 0]);
}

#[test]
fn a_ban_by_hand_of_the_same_jail_and_network_stays() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    host.ban_by_hand("43.229.53.8/29", "sshd");
    host.wait(2 * DAY);
    assert_eq!(host.nets(), ["43.229.53.8/29"]);
    let ban = &host.machine.ledger.of(prefix("43.229.53.8/29"))[0];
    assert_eq!((ban.origin, ban.failures), (Origin::Manual, 4));
    assert_eq!(host.machine.neighbours[&sshd()].used(prefix("43.229.53.8/29")), 0);
}

#[test]
fn a_restart_changes_nothing() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    host.wait(100);
    host.restart();
    let said = host.out.len();
    host.wait(0);
    assert_eq!((host.nets(), host.out.len()), (vec!["43.229.53.8/29".to_owned()], said));
}

#[test]
fn switched_off_the_networks_are_lifted_and_none_comes() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    host.machine.set_widening([(sshd(), 0)]);
    host.wait(0);
    assert_eq!(host.nets(), [""; 0]);
    host.attack("43.229.53.12");
    assert_eq!(host.nets(), [""; 0]);
}

#[test]
fn the_arithmetic_is_told() {
    let mut host = Host::new(widen::BUDGET);
    host.log_in("43.229.53.100");
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    let told = host.machine.widening(prefix("43.229.53.14"), host.time());
    let [found] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(found.offenders, [prefix("43.229.53.13"), prefix("43.229.53.14")]);
    assert_eq!(found.cover.nets, [Net { prefix: prefix("43.229.53.8/29"), offenders: 2, innocents: 6 }]);
    assert_eq!((found.used, found.budget, found.cover.price), (6, widen::BUDGET, widen::PRICE));
    assert!(host.machine.widening(prefix("198.51.100.1"), host.time()).is_empty());
    host.attack("198.51.100.1");
    let told = host.machine.widening(prefix("198.51.100.9"), host.time());
    assert_eq!((told[0].region, told[0].offenders.len()), (prefix("198.51.100.0/24"), 1));
}

/// So many attackers of one /56 after another: three make a network with 253 innocents.
fn fill_with_networks_of_ipv6(host: &mut Host, networks: u16) {
    for net in 0..networks {
        (0..3).for_each(|at| host.attack(&format!("2001:db8:{net:x}:{at:x}::1")));
    }
}

#[test]
fn networks_of_ipv6_leave_the_budget_of_ipv4_alone() {
    let mut host = Host::new(300);
    fill_with_networks_of_ipv6(&mut host, 3);
    assert_eq!(host.nets_of(56), ["2001:db8::/56"], "one has room");
    ["185.165.29.69", "185.165.29.130", "185.165.29.200"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets_of(24), ["185.165.29.0/24"]);
    let used = |net: &str| neighbours_of(&host).used(prefix(net));
    assert_eq!((used("185.165.29.0/24"), used("2001:db8::/56")), (253, 253));
}

#[test]
fn where_the_budget_is_short_better_evidence_takes_the_place_of_weaker() {
    let mut host = Host::new(500);
    ["198.51.100.1", "198.51.100.90", "198.51.100.170"].iter().for_each(|addr| host.attack(addr));
    ["203.0.113.1", "203.0.113.90", "203.0.113.170", "203.0.113.250"]
        .iter()
        .for_each(|addr| host.attack(addr));
    // 253 + 252 innocents are too many: three that were first give way to four.
    assert_eq!(host.nets_of(24), ["203.0.113.0/24"]);
    let ended = host.out.iter().filter_map(|effect| match effect {
        Effect::Record(Record::Ended(ban, Ended::Narrowed, _)) => Some(ban.prefix.to_string()),
        _ => None,
    });
    assert!(ended.collect::<Vec<_>>().contains(&"198.51.100.0/24".to_owned()));
    assert!(host.is_shut_out("198.51.100.90") && !host.is_shut_out("198.51.100.91"), "single bans stay");
    // Equal evidence takes nobody's place, and two close ones cost so little that they have room.
    ["192.0.2.1", "192.0.2.90", "192.0.2.170", "192.0.2.250"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets_of(24), ["203.0.113.0/24"]);
    ["192.0.2.2"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets_of(24), ["192.0.2.0/24"], "five beat four");
}

#[test]
fn a_network_that_gave_way_keeps_its_best_part() {
    let mut host = Host::new(260);
    ["198.51.100.1", "198.51.100.2", "198.51.100.170"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["198.51.100.0/24"]);
    let stronger = ["203.0.113.1", "203.0.113.90", "203.0.113.170", "203.0.113.250"];
    stronger.iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets(), ["198.51.100.0/29", "203.0.113.0/24"]);
    assert_eq!(neighbours_of(&host).used(prefix("203.0.113.0/24")), 252 + 6);
}

#[test]
fn a_short_budget_is_said_once_a_day_and_family() {
    let mut host = Host::new(300);
    fill_with_networks_of_ipv6(&mut host, 4);
    let said = |host: &Host| {
        let said = host.out.iter().filter_map(|effect| match effect {
            Effect::Say(Notice::NoRoomToWiden { ipv4, budget, .. }) => Some((*ipv4, *budget)),
            _ => None,
        });
        said.collect::<Vec<_>>()
    };
    assert_eq!(said(&host), [(false, 300)]);
    let short =
        |host: &Host| host.machine.short_of_budget(host.time()).iter().map(|told| told.1).collect::<Vec<_>>();
    assert_eq!(short(&host), [false]);
    host.wait(DAY);
    assert_eq!(short(&host), [false; 0]);
    fill_with_networks_of_ipv6(&mut host, 4);
    assert_eq!(said(&host), [(false, 300), (false, 300)]);
    host.machine.set_widening([(sshd(), 100_000)]);
    assert_eq!(short(&host), [false; 0]);
}

#[test]
fn nothing_is_widened_over_a_network_that_this_host_is_in() {
    let mut host = Host::new(widen::BUDGET);
    ["43.229.53.13", "43.229.53.14"].iter().for_each(|addr| host.attack(addr));
    (1..4).for_each(|at| host.attack(&format!("2001:db8:0:{at:x}::1")));
    assert_eq!(host.nets_of(29).len() + host.nets_of(56).len(), 2);
    let own = vec![prefix("43.229.53.12/30"), prefix("2001:db8::/48")];
    host.never = NeverBan::default().with_networks(own);
    host.machine.set_never(host.never.clone(), &mut host.out);
    host.wait(0);
    assert_eq!(host.nets_of(29).len() + host.nets_of(56).len(), 0, "{:?}", host.nets());
    assert!(host.is_shut_out("43.229.53.13") && host.is_shut_out("2001:db8:0:1::1"), "single bans stay");
    ["43.229.53.12", "43.229.53.9", "43.229.53.10"].iter().for_each(|addr| host.attack(addr));
    assert_eq!(host.nets_of(30).len() + host.nets_of(28).len(), 0);
}

#[test]
fn a_network_that_a_good_login_keeps_from_being_banned_is_told_once() {
    let mut host = Host::new(widen::BUDGET);
    host.log_in("43.229.53.9");
    let login = host.time();
    host.wait(60);
    let said = |host: &Host| -> Vec<String> {
        let told = host.out.iter().filter_map(|effect| match effect {
            Effect::Say(Notice::Spared(alert)) => Some((alert.prefix.short(), alert.reason)),
            _ => None,
        });
        let at = "43.229.53.9".parse().unwrap();
        told.map(|(net, why)| {
            assert_eq!(why, Reason::GoodLogins(1, at, login));
            net
        })
        .collect()
    };
    host.attack("43.229.53.13");
    assert_eq!(said(&host), [""; 0], "one offender is no network");
    host.attack("43.229.53.14");
    assert_eq!((host.nets(), said(&host)), (vec![], vec!["43.229.53.8/29".to_owned()]));
    host.attack("43.229.53.12");
    assert_eq!(said(&host).len(), 1, "the same again is not said again");
    host.attack("43.229.53.33");
    host.attack("43.229.53.34");
    assert_eq!(said(&host), ["43.229.53.8/29", "43.229.53.0/26"]);
    let stand: Vec<String> = host.machine.alerts(host.time()).map(|alert| alert.prefix.short()).collect();
    assert_eq!(stand, ["43.229.53.0/26"], "what is wider says it all");
    assert_eq!(host.nets(), ["43.229.53.32/29"], "that one only is withheld");
}
