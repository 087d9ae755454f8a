use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::event::{Origin, Scope};
use crate::jail::never::{NeverBan, Why};
use crate::time::End;

fn ban(text: &str, jail: &str, until: i64) -> Ban {
    Ban {
        prefix: text.parse().unwrap(),
        jail: JailName::new(jail).unwrap(),
        since: Timestamp::from_secs(0),
        until: End::At(Timestamp::from_secs(until)),
        failures: 1,
        reason: "".into(),
        origin: Origin::Local,
        scope: Scope::All,
        forced: false,
    }
}

#[test]
fn a_second_jail_keeps_the_address_banned_when_the_first_lets_go() {
    let mut ledger = Ledger::default();
    ledger.ban(ban("192.0.2.7", "sshd", 100));
    ledger.ban(ban("192.0.2.7", "nginx", 50));
    let prefix = "192.0.2.7".parse().unwrap();
    ledger.unban(prefix, Some(&JailName::new("sshd").unwrap()));
    let projection = Projection::of(&ledger, &NeverBan::default());
    let ends: Vec<End> = projection.elements().map(|(_, end)| end).collect();
    assert_eq!(ends, [End::At(Timestamp::from_secs(50))]);
}

#[test]
fn an_outline_has_all_that_hold_a_prefix_and_of_those_inside_the_widest() {
    let mut ledger = Ledger::default();
    for jail in ["a", "b", "c"] {
        for net in ["192.0.2.0/24", "192.0.2.7", "192.0.0.0/16"] {
            ledger.ban(ban(net, jail, 100));
        }
    }
    for inside in ["192.0.2.0/28", "192.0.2.9", "192.0.2.64/27"] {
        ledger.ban(ban(inside, "a", 100));
    }
    ledger.ban(Ban { forced: true, ..ban("198.51.100.7", "a", 100) });
    let told = |text: &str, most| {
        let (bans, count) = ledger.outline(text.parse().unwrap(), most);
        (bans.iter().map(|ban| ban.prefix.to_string()).collect::<Vec<_>>(), count)
    };
    let (of_host, count) = told("192.0.2.7", 2);
    assert_eq!((of_host.len(), count), (10, 10), "{of_host:?}");
    let (of_net, count) = told("192.0.2.0/24", 7);
    let wide = ["192.0.0.0/16", "192.0.2.0/24"].into_iter().flat_map(|net| [net; 3]);
    assert_eq!((of_net, count), (wide.chain(["192.0.2.64/27"]).map(str::to_owned).collect(), 12));
    assert_eq!(told("192.0.2.0/24", 2).0.len(), 6);
    assert_eq!(ledger.count_overlapping("0.0.0.0/0".parse().unwrap(), |_, forced| forced), 1);
}

#[test]
fn a_sample_leaves_out_what_the_kernel_may_let_go_already() {
    let mut ledger = Ledger::default();
    for (host, until) in [(1, 99), (2, 100), (3, 102), (4, 103), (5, 200)] {
        ledger.ban(ban(&format!("192.0.2.{host}"), "sshd", until));
    }
    let projection = Projection::of(&ledger, &NeverBan::default());
    let now = Timestamp::from_secs(100);
    let mut sampled: Vec<String> =
        projection.sample(10, now).iter().map(|point| point.prefix.short()).collect();
    sampled.sort();
    assert_eq!(sampled, ["192.0.2.4", "192.0.2.5"]);
    assert_eq!(projection.points_at(now), 2..=5);
}

#[test]
fn a_shorter_ban_does_not_shorten_nor_a_repeated_one_lengthen() {
    let mut ledger = Ledger::default();
    assert!(ledger.ban(ban("192.0.2.7", "sshd", 100)).is_some());
    assert!(ledger.ban(ban("192.0.2.7", "sshd", 90)).is_none());
    assert_eq!(ledger.next_end(), Some(Timestamp::from_secs(100)));
}

#[test]
fn forcing_a_ban_changes_it_and_shortens_it_not() {
    let forced = |until| Ban { forced: true, ..ban("192.0.2.7", "sshd", until) };
    let mut ledger = Ledger::default();
    ledger.ban(ban("192.0.2.7", "sshd", 100));
    assert_eq!(ledger.ban(forced(90)), Some(forced(100)));
    assert_eq!(ledger.ban(forced(100)), None);
    assert_eq!(ledger.ban(ban("192.0.2.7", "sshd", 110)), Some(forced(110)));
}

#[test]
fn the_ban_that_gives_way_is_a_jails_before_one_from_a_list_and_the_one_that_ends_first() {
    let of = |origin, until| Ban { origin, ..ban("192.0.2.7", "x", until) };
    let mut ledger = Ledger::default();
    let bans = [
        Ban { forced: true, ..ban("192.0.2.1", "sshd", 10) },
        Ban { prefix: "192.0.2.2".parse().unwrap(), ..of(Origin::Manual, 20) },
        Ban { prefix: "192.0.2.3".parse().unwrap(), ..of(Origin::Import, 30) },
        Ban { until: End::Never, ..ban("192.0.2.4", "sshd", 0) },
        ban("192.0.2.5", "sshd", 50),
        ban("192.0.2.6", "sshd", 40),
    ];
    bans.into_iter().for_each(|ban| drop(ledger.ban(ban)));
    let mut order = Vec::new();
    while let Some(ban) = ledger.weakest() {
        let prefix = ban.prefix;
        order.push(prefix.short());
        ledger.unban(prefix, None);
    }
    assert_eq!(order, ["192.0.2.6", "192.0.2.5", "192.0.2.3"]);
    assert_eq!(ledger.len(), 3);
}

#[test]
fn two_jails_whose_bans_of_an_address_end_together_end_both() {
    let mut ledger = Ledger::default();
    ledger.ban(ban("192.0.2.7", "sshd", 100));
    ledger.ban(ban("192.0.2.7", "nginx", 100));
    ledger.unban("192.0.2.7".parse().unwrap(), Some(&JailName::new("sshd").unwrap()));
    assert_eq!(ledger.next_end(), Some(Timestamp::from_secs(100)));
    ledger.ban(ban("192.0.2.7", "sshd", 100));
    assert_eq!(ledger.expire(Timestamp::from_secs(100), usize::MAX).len(), 2);
    assert_eq!((ledger.next_end(), ledger.len()), (None, 0));
}

#[test]
fn bans_end_in_order_of_their_ends() {
    let mut ledger = Ledger::default();
    ledger.ban(ban("192.0.2.7", "sshd", 100));
    ledger.ban(ban("192.0.2.8", "sshd", 50));
    ledger.ban(ban("192.0.2.9", "sshd", 150));
    let gone: Vec<String> =
        ledger.expire(Timestamp::from_secs(100), usize::MAX).iter().map(|ban| ban.prefix.short()).collect();
    assert_eq!(gone, ["192.0.2.8", "192.0.2.7"]);
    assert_eq!(ledger.len(), 1);
}

#[test]
fn a_forced_network_holds_who_is_never_banned_and_another_leaves_them_out() {
    let never = NeverBan::new(vec![("2001:db8::7".parse().unwrap(), Why::Session)]);
    let spared: IpAddr = "2001:db8::7".parse().unwrap();
    let mut ledger = Ledger::default();
    ledger.ban(ban("2001:db8::/64", "sshd", 100));
    assert_eq!(as_told(&Projection::of(&ledger, &never), spared, &Scope::All), None);
    ledger.ban(Ban { forced: true, ..ban("2001:db8::/64", "manual", 50) });
    let projection = Projection::of(&ledger, &never);
    assert_eq!(as_told(&projection, spared, &Scope::All), Some(End::At(Timestamp::from_secs(50))));
    let other = "2001:db8::8".parse().unwrap();
    assert_eq!(as_told(&projection, other, &Scope::All), Some(End::At(Timestamp::from_secs(100))));
}

/// What the kernel would do to `addr` in `scope` by the meaning of bans: the latest end of all that cover it.
fn meaning(ledger: &Ledger, never: &NeverBan, addr: IpAddr, scope: &Scope) -> Option<End> {
    let counts = |ban: &Ban| ban.forced || !never.contains_addr(addr);
    ledger
        .iter()
        .filter(|ban| ban.scope == *scope && ban.prefix.contains_addr(addr))
        .filter(counts)
        .map(|ban| ban.until)
        .max()
}

fn as_told(projection: &Projection, addr: IpAddr, scope: &Scope) -> Option<End> {
    let covering = projection.elements().filter(|(e, _)| e.scope == *scope && e.prefix.contains_addr(addr));
    covering.map(|(_, end)| end).max()
}

#[derive(Debug, Clone)]
enum Step {
    Ban(Ban),
    Unban(Prefix, Option<JailName>),
    Expire(i64),
    Never(Vec<Prefix>),
}

fn any_prefix() -> impl Strategy<Value = Prefix> {
    (0u32..64, prop_oneof![3 => Just(32u8), 1 => 26u8..=32])
        .prop_map(|(low, len)| Prefix::new(IpAddr::V4(Ipv4Addr::from_bits(0xC000_0200 + low)), len).unwrap())
}

fn any_jail() -> impl Strategy<Value = JailName> {
    prop_oneof![Just("sshd"), Just("nginx")].prop_map(|name| JailName::new(name).unwrap())
}

fn any_step() -> impl Strategy<Value = Step> {
    let ban = (any_prefix(), any_jail(), 0i64..200, any::<bool>(), prop::bool::weighted(0.3)).prop_map(
        |(prefix, jail, until, limited, forced)| {
            let scope = if limited { Scope::Ports(jail.clone()) } else { Scope::All };
            Step::Ban(Ban { prefix, scope, jail, forced, ..self::ban("192.0.2.1", "x", until) })
        },
    );
    prop_oneof![
        6 => ban,
        2 => (any_prefix(), prop::option::of(any_jail())).prop_map(|(prefix, jail)| Step::Unban(prefix, jail)),
        1 => (0i64..200).prop_map(Step::Expire),
        1 => prop::collection::vec(any_prefix(), 0..3).prop_map(Step::Never),
    ]
}

proptest! {
    #[test]
    fn the_kernel_is_told_exactly_what_the_ledger_means(steps in prop::collection::vec(any_step(), 1..40)) {
        let mut ledger = Ledger::default();
        let mut never = NeverBan::default();
        let mut projection = Projection::default();
        let mut kernel = Installed::default();
        for step in steps {
            let mut dirty = BTreeSet::new();
            let changes = match step {
                Step::Ban(ban) => {
                    dirty.insert(ban.prefix);
                    ledger.ban(ban);
                    projection.update(&dirty, &ledger, &never)
                }
                Step::Unban(prefix, jail) => {
                    dirty.insert(prefix);
                    ledger.unban(prefix, jail.as_ref());
                    projection.update(&dirty, &ledger, &never)
                }
                Step::Expire(now) => {
                    dirty.extend(ledger.expire(Timestamp::from_secs(now), usize::MAX).iter().map(|ban| ban.prefix));
                    projection.update(&dirty, &ledger, &never)
                }
                Step::Never(prefixes) => {
                    never = NeverBan::new(prefixes.into_iter().map(|p| (p, Why::Ignoreip)).collect());
                    projection.rebuild(&ledger, &never)
                }
            };
            for change in changes {
                match change {
                    Change::Set(element, end) => kernel.insert(element, Some(end)),
                    Change::Remove(element) => kernel.remove(&element),
                };
            }
            let told: Installed = projection.elements().map(|(element, end)| (element, Some(end))).collect();
            let ends = ledger.iter().filter_map(|ban| ban.until.timestamp());
            prop_assert_eq!(ledger.next_end(), ends.min());
            prop_assert_eq!(&kernel, &told);
            prop_assert!(projection.reconcile(&kernel, Timestamp::from_secs(-1)).is_empty());
            let nets: Vec<&Element> = told.keys().filter(|e| !projection::is_point(e.prefix)).collect();
            for (at, one) in nets.iter().enumerate() {
                prop_assert!(nets[at + 1..].iter().all(|other| one.scope != other.scope || !one.prefix.overlaps(other.prefix)));
            }
            for low in 0..64 {
                let addr = IpAddr::V4(Ipv4Addr::from_bits(0xC000_0200 + low));
                for scope in [Scope::All, Scope::Ports(JailName::new("sshd").unwrap())] {
                    prop_assert_eq!(as_told(&projection, addr, &scope), meaning(&ledger, &never, addr, &scope));
                }
            }
        }
    }
}
