//! What every kind of action must do, tried with each of [`KINDS`] against the real kernel, each time in a
//! network namespace of its own.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pillory_core::time::{End, Span};

use pillory_core::event::Scope;

use super::*;
use crate::netlink::lab::{in_new_namespace, scattered};

const NOW: Timestamp = Timestamp::from_secs(1_750_000_000);

/// nftables as on older kernels (before Linux 6.3, and from there to 6.11), and sockets with little room.
const UNDER_HARDSHIP: &[Kind] = &[
    Kind {
        name: "nftables that cannot destroy",
        about: "",
        is_automatic: false,
        ends_bans: true,
        restricts: true,
        open: || Ok(Box::new(nftables::Nftables::open_with(false, false)?)),
        probe: || Ok(()),
    },
    Kind {
        name: "nftables that cannot update",
        about: "",
        is_automatic: false,
        ends_bans: true,
        restricts: true,
        open: || Ok(Box::new(nftables::Nftables::open_with(true, false)?)),
        probe: || Ok(()),
    },
    Kind {
        name: "nftables with a small socket",
        about: "",
        is_automatic: false,
        ends_bans: true,
        restricts: true,
        open: || Ok(Box::new(nftables::Nftables::open_small()?)),
        probe: || Ok(()),
    },
    Kind {
        name: "nullroute with a small socket",
        about: "",
        is_automatic: false,
        ends_bans: true,
        restricts: true,
        open: || Ok(Box::new(nullroute::NullRoute::open_small()?)),
        probe: || Ok(()),
    },
];

/// Runs a test with every kind, each in a fresh namespace.
fn with_every_kind(test: fn(&'static Kind)) {
    for kind in KINDS.iter().chain(UNDER_HARDSHIP) {
        let done = in_new_namespace(move || {
            eprintln!("{}", kind.name);
            test(kind);
        });
        if done.is_none() {
            return;
        }
    }
}

fn open(kind: &Kind) -> Box<dyn Action> {
    let mut action = (kind.open)().unwrap();
    action.prepare(&ports()).unwrap();
    action
}

fn jail(name: &str) -> JailName {
    JailName::new(name).unwrap()
}

fn ports() -> Vec<(JailName, Vec<Port>)> {
    let port = |protocol, low, high| Port::dropped(protocol, (low, high));
    vec![
        (jail("sshd"), vec![port(6, 22, 22)]),
        (jail("a-jail-whose-name-is-much-too-long-for-a-set"), vec![port(6, 80, 80), port(17, 5000, 5100)]),
        (jail("no-ports"), Vec::new()),
    ]
}

fn all(prefix: &str) -> Element {
    Element { scope: Scope::All, prefix: prefix.parse().unwrap() }
}

fn on_ports(jail_name: &str, prefix: &str) -> Element {
    Element { scope: Scope::Ports(jail(jail_name)), prefix: prefix.parse().unwrap() }
}

/// One of each sort.
fn every_sort() -> Vec<Element> {
    [
        "192.0.2.7",
        "2001:db8::7",
        "2001:db8:0:1::/64",
        "198.51.100.0/24",
        "198.51.101.0/25",
        "0.0.0.0/9",
        "192.0.0.0/31",
        "255.128.0.0/9",
        "2001:db8:7::/48",
        "2001:db8:0:2::/65",
        "ffff:ff00::/24",
    ]
    .map(all)
    .to_vec()
}

fn set(element: &Element) -> Change {
    Change::Set(element.clone(), End::At(NOW + Span::from_secs(3600)))
}

fn sets(elements: &[Element]) -> Vec<Change> {
    elements.iter().map(set).collect()
}

fn removes(elements: &[Element]) -> Vec<Change> {
    elements.iter().cloned().map(Change::Remove).collect()
}

fn there(action: &mut dyn Action) -> BTreeSet<Element> {
    action.installed(NOW).unwrap().into_keys().collect()
}

fn expected(elements: &[Element]) -> BTreeSet<Element> {
    elements.iter().cloned().collect()
}

/// Waits for a fact, at most ten seconds.
#[allow(clippy::disallowed_methods)]
fn eventually(what: &str, mut fact: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !fact() {
        assert!(Instant::now() < deadline, "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_probe_finds_that_it_works_here_and_leaves_nothing() {
    with_every_kind(|kind| {
        (kind.probe)().unwrap();
        assert!(there((kind.open)().unwrap().as_mut()).is_empty());
    });
}

#[test]
fn bans_are_read_back_and_banning_twice_changes_nothing() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        for _ in 0..2 {
            action.apply(&sets(&every_sort()), NOW).unwrap();
            assert_eq!(there(action.as_mut()), expected(&every_sort()));
        }
    });
}

#[test]
fn points_are_found_one_by_one_and_networks_listed_without_them() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        let (points, networks): (Vec<_>, Vec<_>) =
            every_sort().into_iter().partition(|element| is_point(element.prefix));
        action.apply(&sets(&points), NOW).unwrap();
        action.apply(&sets(&networks), NOW).unwrap();
        let listed: BTreeSet<Element> = action.networks(NOW).unwrap().into_keys().collect();
        assert_eq!(listed, expected(&networks));
        let found = action.find(&points, NOW).unwrap();
        // As many as can tell a start that counts that the kernel kept all.
        assert_eq!(found.is_some(), kind.name.starts_with("nftables"), "{}", kind.name);
        let Some(found) = found else { return };
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), expected(&points));
        let all = action.installed(NOW).unwrap();
        assert!(found.iter().all(|(point, end)| match (end, all[point]) {
            (Some(found), listed) => is_near(listed, *found),
            (None, listed) => listed.is_none(),
        }));
    });
}

#[test]
fn points_are_found_behind_others_that_are_not_there() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        let of = |prefix| Element { scope: Scope::All, prefix };
        let asked: Vec<Element> = (0..300).map(|n| of(Prefix::host(scattered(n)))).collect();
        // The first and the last lack, several in a row, and all of one question.
        let is_there = |n: &usize| n % 3 == 1 && !(100..200).contains(n);
        let there: Vec<Element> = (0..300).filter(is_there).map(|n| asked[n].clone()).collect();
        for wanted in [there, Vec::new()] {
            action.remove_all().unwrap();
            action.prepare(&ports()).unwrap();
            action.apply(&sets(&wanted), NOW).unwrap();
            let Some(found) = action.find(&asked, NOW).unwrap() else { return };
            assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), expected(&wanted));
        }
    });
}

#[test]
fn unbanning_takes_away_that_one_and_is_no_error_twice() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        action.apply(&sets(&every_sort()), NOW).unwrap();
        for n in 0..every_sort().len() {
            for _ in 0..2 {
                action.apply(&removes(&every_sort()[n..=n]), NOW).unwrap();
                assert_eq!(there(action.as_mut()), expected(&every_sort()[n + 1..]));
            }
        }
    });
}

#[test]
fn unbanning_what_was_never_banned_is_no_error_beside_a_ban() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        let (absent, wanted) = every_sort().into_iter().partition::<Vec<_>, _>(|e| e.prefix.is_ipv4());
        let changes: Vec<Change> = removes(&absent).into_iter().chain(sets(&wanted)).collect();
        action.apply(&changes, NOW).unwrap();
        assert_eq!(there(action.as_mut()), expected(&wanted));
    });
}

#[test]
fn of_two_changes_of_one_element_the_last_counts() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        let [first, second] = ["192.0.2.7", "192.0.2.8"].map(all);
        let changes =
            [set(&first), Change::Remove(second.clone()), Change::Remove(first.clone()), set(&second)];
        action.apply(&changes, NOW).unwrap();
        assert_eq!(there(action.as_mut()), expected(&[second]));
    });
}

#[test]
fn a_network_is_replaced_by_its_parts_and_back_in_one_step() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        for (whole, parts) in [
            ("198.51.100.0/24", ["198.51.100.0/25", "198.51.100.128/25"]),
            ("2001:db8::/48", ["2001:db8::/49", "2001:db8:0:8000::/49"]),
        ] {
            let (whole, parts) = ([all(whole)], parts.map(all));
            action.apply(&sets(&whole), NOW).unwrap();
            let apart: Vec<Change> = sets(&parts).into_iter().chain(removes(&whole)).collect();
            action.apply(&apart, NOW).unwrap();
            assert_eq!(there(action.as_mut()), expected(&parts));
            let together: Vec<Change> = sets(&whole).into_iter().chain(removes(&parts)).collect();
            action.apply(&together, NOW).unwrap();
            assert_eq!(there(action.as_mut()), expected(&whole));
            action.apply(&removes(&whole), NOW).unwrap();
        }
    });
}

#[test]
fn neighbouring_networks_stay_apart() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        let neighbours =
            ["10.0.0.0/25", "10.0.0.128/25", "10.0.1.0/24", "2001:db8::/63", "2001:db8:0:2::/63"];
        let neighbours = neighbours.map(all);
        action.apply(&sets(&neighbours), NOW).unwrap();
        assert_eq!(there(action.as_mut()), expected(&neighbours));
        action.apply(&removes(&neighbours[1..2]), NOW).unwrap();
        assert!(!there(action.as_mut()).contains(&neighbours[1]));
        assert_eq!(there(action.as_mut()).len(), 4);
    });
}

#[test]
fn a_ban_ends_when_its_time_is_over() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        if kind.name != "nftables" {
            return;
        }
        let short: Vec<Change> = every_sort()
            .into_iter()
            .map(|element| Change::Set(element, End::At(NOW + Span::from_millis(500))))
            .collect();
        action.apply(&short, NOW).unwrap();
        action.apply(&[set(&all("203.0.113.1"))], NOW).unwrap();
        assert_eq!(there(action.as_mut()).len(), short.len() + 1);
        eventually("the bans end", || there(action.as_mut()) == expected(&[all("203.0.113.1")]));
        action.apply(&sets(&every_sort()), NOW).unwrap();
        assert_eq!(there(action.as_mut()).len(), short.len() + 1);
    });
}

#[test]
fn an_end_that_is_over_removes() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        action.apply(&sets(&every_sort()), NOW).unwrap();
        let over: Vec<Change> = every_sort().into_iter().map(|e| Change::Set(e, End::At(NOW))).collect();
        action.apply(&over, NOW).unwrap();
        assert!(there(action.as_mut()).is_empty());
    });
}

#[test]
fn an_end_is_moved_in_both_directions_and_to_never() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        let hours = |n: u64| End::At(NOW + Span::from_secs(n * 3600));
        for end in [hours(1), hours(5), hours(2), End::Never, hours(3), hours(3)] {
            let changes: Vec<Change> = every_sort().into_iter().map(|e| Change::Set(e, end)).collect();
            action.apply(&changes, NOW).unwrap();
            let installed = action.installed(NOW).unwrap();
            assert_eq!(installed.len(), every_sort().len());
            for (element, read) in installed {
                assert!(is_near(read, end), "{element:?}: {read:?}, not {end:?}");
            }
        }
    });
}

/// Within a minute, or unknown.
fn is_near(read: Option<End>, wanted: End) -> bool {
    match (read, wanted) {
        (None, _) | (Some(End::Never), End::Never) => true,
        (Some(End::At(read)), End::At(wanted)) => (read.secs() - wanted.secs()).abs() < 60,
        _ => false,
    }
}

#[test]
fn another_instance_sees_and_lifts_what_the_first_one_banned() {
    with_every_kind(|kind| {
        if kind.name == "dryrun" {
            return;
        }
        let mut first = open(kind);
        first.apply(&sets(&every_sort()), NOW).unwrap();
        drop(first);
        let mut second = (kind.open)().unwrap();
        assert_eq!(there(second.as_mut()), expected(&every_sort()));
        second.apply(&removes(&every_sort()[..3]), NOW).unwrap();
        assert_eq!(there(second.as_mut()), expected(&every_sort()[3..]));
    });
}

#[test]
fn preparing_again_keeps_the_bans() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        action.apply(&sets(&every_sort()), NOW).unwrap();
        action.prepare(&ports()).unwrap();
        action.prepare(&[]).unwrap();
        assert_eq!(there(action.as_mut()), expected(&every_sort()));
    });
}

#[test]
fn everything_is_taken_away_at_once_and_nothing_twice() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        action.apply(&sets(&every_sort()), NOW).unwrap();
        assert_eq!(action.remove_all().unwrap(), every_sort().len());
        assert_eq!(action.remove_all().unwrap(), 0);
        assert!(there(action.as_mut()).is_empty());
        action.prepare(&ports()).unwrap();
        action.apply(&sets(&every_sort()), NOW).unwrap();
        assert_eq!(there(action.as_mut()), expected(&every_sort()));
    });
}

#[test]
fn lifting_when_nothing_was_ever_made_is_no_error() {
    with_every_kind(|kind| {
        let mut action = (kind.open)().unwrap();
        assert_eq!(action.remove_all().unwrap(), 0);
        assert!(there(action.as_mut()).is_empty());
        action.apply(&removes(&every_sort()), NOW).unwrap();
    });
}

#[test]
fn twenty_thousand_bans_are_set_read_back_and_lifted() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        let many: Vec<Element> =
            (0..20_000).map(|n| Element { scope: Scope::All, prefix: Prefix::host(scattered(n)) }).collect();
        action.apply(&sets(&many), NOW).unwrap();
        assert_eq!(there(action.as_mut()), expected(&many));
        if kind.name != "dryrun" {
            // One that knows of none of them bans them all again.
            let mut other = open(kind);
            other.apply(&sets(&many), NOW).unwrap();
            assert_eq!(there(other.as_mut()), expected(&many));
        }
        let (gone, left) = many.split_at(15_000);
        action.apply(&removes(gone), NOW).unwrap();
        assert_eq!(there(action.as_mut()), expected(left));
        assert_eq!(action.remove_all().unwrap(), left.len());
    });
}

#[test]
fn a_ban_on_a_jails_ports_lives_beside_one_on_all() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        let long = "a-jail-whose-name-is-much-too-long-for-a-set";
        let elements = [
            all("192.0.2.7"),
            on_ports("sshd", "192.0.2.7"),
            on_ports(long, "192.0.2.7"),
            on_ports(long, "2001:db8::/64"),
            on_ports(long, "198.51.100.0/24"),
        ];
        action.apply(&sets(&elements), NOW).unwrap();
        assert_eq!(there(action.as_mut()), expected(&elements));
        action.apply(&removes(&elements[..2]), NOW).unwrap();
        assert_eq!(there(action.as_mut()), expected(&elements[2..]));
        // A jail that is gone from the configuration loses no ban by that alone.
        action.prepare(&ports()[..1]).unwrap();
        assert_eq!(there(action.as_mut()), expected(&elements[2..]));
        action.apply(&removes(&elements[2..]), NOW).unwrap();
        action.prepare(&ports()[..1]).unwrap();
        assert!(there(action.as_mut()).is_empty());
    });
}

#[test]
fn every_watch_tells_of_others_and_not_of_ourselves() {
    with_every_kind(|kind| {
        let mut action = open(kind);
        let Some(mut watch) = action.watch().unwrap() else { return };
        action.apply(&sets(&every_sort()), NOW).unwrap();
        assert_eq!(watch.read().unwrap(), crate::netlink::Seen::Nothing);
        let mut other = (kind.open)().unwrap();
        other.apply(&removes(&every_sort()[..1]), NOW).unwrap();
        assert_eq!(watch.read().unwrap(), crate::netlink::Seen::Touched);
        assert_eq!(watch.read().unwrap(), crate::netlink::Seen::Nothing);
        other.remove_all().unwrap();
        assert_eq!(watch.read().unwrap(), crate::netlink::Seen::Touched);
    });
}
