use pillory_core::time::End;

use super::*;
use crate::netlink::lab::{in_new_namespace, must_run};

const NOW: Timestamp = Timestamp::from_secs(1_750_000_000);

fn element(prefix: &str) -> Element {
    Element { scope: Scope::All, prefix: prefix.parse().unwrap() }
}

fn ip(arguments: &str) -> String {
    must_run("ip", &arguments.split(' ').collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_route_that_is_not_ours_is_an_error_and_stays() {
    in_new_namespace(|| {
        for (foreign, mine) in [
            ("route add 192.0.2.7/32 dev lo", "192.0.2.7"),
            ("route add blackhole 192.0.2.8/32", "192.0.2.8"),
            ("route add unreachable 198.51.100.0/24 proto 199", "198.51.100.0/24"),
            ("-6 route add 2001:db8::/64 dev lo", "2001:db8::/64"),
            ("-6 route add blackhole 2001:db8::7/128", "2001:db8::7"),
        ] {
            ip(foreign);
            let before = ip("route show table main") + &ip("-6 route show table main");
            let mut action = NullRoute::open().unwrap();
            let changes =
                [Change::Set(element(mine), End::Never), Change::Set(element("203.0.113.9"), End::Never)];
            let error = action.apply(&changes, NOW).unwrap_err();
            assert!(
                matches!(error, ActionError::ForeignRoute { prefix } if prefix == element(mine).prefix),
                "{foreign}: {error}"
            );
            // The other one is in.
            assert_eq!(action.installed(NOW).unwrap().len(), 1);
            action.apply(&[Change::Remove(element(mine))], NOW).unwrap();
            assert_eq!(action.remove_all().unwrap(), 1);
            assert_eq!(ip("route show table main") + &ip("-6 route show table main"), before, "{foreign}");
        }
    });
}

#[test]
fn routes_carry_our_number_and_let_nothing_out() {
    in_new_namespace(|| {
        let mut action = NullRoute::open().unwrap();
        let bans = ["192.0.2.7", "2001:db8::/64"].map(|p| Change::Set(element(p), End::Never));
        action.apply(&bans, NOW).unwrap();
        assert_eq!(ip("route show proto 199").trim(), "blackhole 192.0.2.7");
        assert!(ip("-6 route show proto 199").starts_with("blackhole 2001:db8::/64 dev lo"));
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let error = socket.send_to(b"reply", "192.0.2.7:22").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::INVAL.raw_os_error()));
    });
}

#[test]
fn a_route_that_others_took_away_is_noticed_and_comes_back() {
    in_new_namespace(|| {
        let mut action = NullRoute::open().unwrap();
        let ban = [Change::Set(element("192.0.2.7"), End::Never)];
        action.apply(&ban, NOW).unwrap();
        let mut watch = action.watch().unwrap().unwrap();
        ip("route add 203.0.113.0/24 dev lo");
        assert_eq!(watch.read().unwrap(), Seen::Nothing);
        for meddling in ["route del blackhole 192.0.2.7", "route replace 192.0.2.7 dev lo"] {
            ip(meddling);
            assert_eq!(watch.read().unwrap(), Seen::Touched, "{meddling}");
            assert!(action.installed(NOW).unwrap().is_empty());
            if meddling.contains("replace") {
                assert!(action.apply(&ban, NOW).is_err());
            } else {
                action.apply(&ban, NOW).unwrap();
                assert_eq!(action.installed(NOW).unwrap().len(), 1);
            }
        }
    });
}

#[test]
fn a_route_of_the_same_prefix_that_goes_first_is_an_error_until_it_goes() {
    in_new_namespace(|| {
        let mut action = NullRoute::open().unwrap();
        let bans = ["2001:db8:1::/64", "2001:db8:2::/64", "192.0.2.7"];
        let bans = bans.map(|prefix| Change::Set(element(prefix), End::Never));
        action.apply(&bans, NOW).unwrap();
        // Ours goes first among those of IPv4, and before a larger metric.
        ip("route add 192.0.2.7 dev lo metric 100");
        ip("-6 route add 2001:db8:2::/64 dev lo metric 2000");
        assert_eq!(action.installed(NOW).unwrap().len(), 3);
        ip("-6 route add 2001:db8:1::/64 dev lo metric 100");
        let there = action.installed(NOW).unwrap();
        assert!(there.len() == 2 && !there.contains_key(&element("2001:db8:1::/64")), "{there:?}");
        for change in &bans {
            let Change::Set(element, _) = change else { continue };
            let is_first = element.prefix == "2001:db8:1::/64".parse().unwrap();
            match action.apply(std::slice::from_ref(change), NOW) {
                Err(ActionError::ForeignRoute { prefix }) => assert!(is_first && prefix == element.prefix),
                other => assert!(other.is_ok() && !is_first, "{element:?}: {other:?}"),
            }
        }
        ip("-6 route del 2001:db8:1::/64 dev lo metric 100");
        action.apply(&bans, NOW).unwrap();
        assert_eq!(action.installed(NOW).unwrap().len(), 3);
        ip("-6 route add 2001:db8:1::/64 dev lo metric 100");
        assert_eq!(action.remove_all().unwrap(), 3);
    });
}

#[test]
fn a_ban_of_a_prefix_whose_route_goes_before_ours_is_an_error() {
    in_new_namespace(|| {
        ip("-6 route add 2001:db8:1::/64 dev lo metric 100");
        let mut action = NullRoute::open().unwrap();
        let bans = ["2001:db8:1::/64", "203.0.113.9"].map(|prefix| Change::Set(element(prefix), End::Never));
        let error = action.apply(&bans, NOW).unwrap_err();
        assert!(matches!(error, ActionError::ForeignRoute { .. }), "{error}");
        assert_eq!(action.installed(NOW).unwrap().len(), 1);
    });
}
