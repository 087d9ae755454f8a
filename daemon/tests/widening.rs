//! Neighbours that attack together become one ban of their network.

use pillory_core::net::Prefix;

use crate::lab::{
    CONTROL, Daemon, Outcome, PASSWORD, SHORT, SOON, STATE_DIR, Scene, failed_lines, pillory, quiet_server,
};

const LOG: &str = "/var/log/auth.log";
const NET: &str = "198.51.100.32/28";

fn wait_in_net4(scene: &Scene, net: &str) {
    scene.daemon.wait_for(SOON, &format!("{net} in net4"), || {
        let wanted: Prefix = net.parse().expect("a prefix");
        scene.world.kernel().set("net4").iter().any(|element| element.prefix == wanted).then_some(())
    });
}

/// Two neighbours guess until each is shut out.
fn neighbours_attack(scene: &Scene) {
    for addr in ["198.51.100.34", "198.51.100.45"] {
        let guesses = scene.guess(&scene.world.attacker(addr), "oracle");
        assert!(guesses <= 5, "{addr} had {guesses} guesses");
        scene.wait_banned(&format!("{addr}/32"));
    }
}

#[test]
fn neighbours_of_two_attackers_are_shut_out_before_their_first_try() {
    let Some(scene) = Scene::new("") else { return };
    let third = scene.world.attacker("198.51.100.40");
    let outside = scene.world.attacker("198.51.100.48");
    assert!(third.is_served(SOON) && outside.is_served(SOON));
    neighbours_attack(&scene);
    wait_in_net4(&scene, NET);
    assert_eq!(third.banner(SHORT), None);
    assert!(outside.is_served(SOON));
    let ban = scene.daemon.ban_of(NET).expect("it is listed");
    assert_eq!((&ban["origin"], &ban["jail"]), (&"local".into(), &"sshd".into()));
    assert!(
        ban["reason"].to_string().contains("(198.51.100.34, 198.51.100.45); 14 innocent addresses"),
        "{ban}"
    );
    let told = scene.daemon.ask(&["explain", "198.51.100.40"]).out;
    assert!(told.contains("1 ban fewer for 14 innocents, and each may cost 252"), "{told}");
    assert!(scene.daemon.ask(&["history"]).out.contains(NET));
    assert!(scene.daemon.errors().contains(&format!("[sshd] Ban {NET}")));
}

#[test]
fn a_neighbour_that_logged_in_lately_is_still_served() {
    let Some(scene) = Scene::new("") else { return };
    let friend = scene.world.friend("198.51.100.36");
    assert_eq!(friend.try_password("alice", PASSWORD), Outcome::Accepted);
    scene.wait_no_session("198.51.100.36");
    neighbours_attack(&scene);
    scene.world.server.append(LOG, failed_lines(5000, 3, "root", "198.51.100.46"));
    // The /28 would hold the friend, so it is the /29 beside it.
    wait_in_net4(&scene, "198.51.100.40/29");
    assert!(!scene.daemon.lists(NET), "{:?}", scene.daemon.list());
    assert_eq!(friend.try_password("alice", PASSWORD), Outcome::Accepted);
    let told = scene.daemon.ask(&["explain", "198.51.100.46"]).out;
    assert!(told.contains("not over 198.51.100.36: somebody logged in from there"), "{told}");
}

#[test]
fn unban_of_an_address_lifts_its_network_and_is_kept_of_it_without_a_daemon_too() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let attacked = |daemon: &Daemon, first_pid: u32, net: &str| {
        for (n, last) in [(0, 34), (50, 45)] {
            let addr = format!("{}.{last}", net.rsplit_once('.').expect("an address").0);
            server.append(LOG, failed_lines(first_pid + n, 3, "root", &addr));
        }
        daemon.wait_for(SOON, net, || daemon.lists(net).then_some(()));
    };
    let is_kept = |daemon: &Daemon, prefix: &str| {
        let rows = daemon.ask_json(&["history"]);
        let mut rows = rows.as_array().expect("a list").iter();
        rows.any(|row| row["what"] == "unban" && row["prefix"] == prefix && row["jail"] == "sshd")
    };
    attacked(&daemon, 5000, NET);
    assert_eq!(daemon.ask(&["unban", "198.51.100.40"]).code, Some(0));
    assert!(!daemon.lists(NET) && is_kept(&daemon, NET) && is_kept(&daemon, "198.51.100.40/32"));
    attacked(&daemon, 6000, "203.0.113.32/28");
    daemon.stop();
    let unban = ["unban", "203.0.113.40", "--control", CONTROL, "--state-dir", STATE_DIR];
    let answer = pillory(&server, &unban);
    assert_eq!((answer.code, answer.out.contains("203.0.113.32/28")), (Some(0), true), "{answer:?}");
    let daemon = Daemon::start(&server, "");
    assert!(!daemon.lists("203.0.113.32/28"), "{:?}", daemon.list());
    assert!(is_kept(&daemon, "203.0.113.40/32") && daemon.lists("203.0.113.34/32"));
}

/// The arithmetic of `explain --json` for a neighbourhood, checked with nothing but its own numbers: offenders, the
/// size of the network in units that count, and how many innocents one ban fewer may cost.
fn check_arithmetic(found: &serde_json::Value, net: &str, (offenders, units): (u64, u64)) {
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    let [network] = found["networks"].as_array().expect("networks").as_slice() else { panic!("{found}") };
    assert_eq!(network["prefix"], net, "{found}");
    let (saved, innocents) = (number(&network["bans_saved"]), number(&network["innocents"]));
    assert_eq!((saved + 1, innocents + offenders), (offenders, units), "{found}");
    assert_eq!(network["offenders"].as_array().map(Vec::len), Some(saved as usize + 1), "{found}");
    assert!(innocents < saved * number(&found["innocents_a_ban_saved"]), "it is worth it: {found}");
    assert_eq!((number(&found["budget_used"]), number(&found["budget"])), (innocents, 16_384), "{found}");
}

#[test]
fn explain_shows_the_arithmetic_of_both_families() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    for (pid, addr) in (0..).zip(["198.51.100.3", "198.51.100.70", "198.51.100.200"]) {
        server.append(LOG, failed_lines(5000 + pid * 10, 3, "root", addr));
    }
    for (pid, addr) in (0..).zip(["2001:db8:7:1::5", "2001:db8:7:2::5", "2001:db8:7:ff::5"]) {
        server.append(LOG, failed_lines(6000 + pid * 10, 3, "root", addr));
    }
    for (asked, net, units, told) in [
        ("198.51.100.9", "198.51.100.0/24", 256, "of the 16384 innocents are hit that all IPv4 networks"),
        (
            "2001:db8:7:33::1",
            "2001:db8:7::/56",
            256,
            "(/64s, and an untouched /56 counts as one) are hit that all IPv6",
        ),
    ] {
        daemon.wait_for(SOON, net, || daemon.ban_of(net));
        let value = daemon.ask_json(&["explain", asked]);
        let [found] = value["widening"].as_array().expect("a list").as_slice() else { panic!("{value}") };
        check_arithmetic(found, net, (3, units));
        let text = daemon.ask(&["explain", asked]).out;
        let line = format!("{net} for ");
        assert!(
            text.contains(&line) && text.contains("2 bans fewer for 253 innocents, and each may cost 252"),
            "{text}"
        );
        assert!(text.contains("253 of the 16384 innocents") && text.contains(told), "{text}");
    }
}

#[test]
fn explain_names_the_ban_by_hand_that_takes_a_networks_place() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    for (pid, addr) in [(5000, "198.51.100.34"), (5010, "198.51.100.45")] {
        server.append(LOG, failed_lines(pid, 3, "root", addr));
    }
    daemon.wait_for(SOON, NET, || daemon.ban_of(NET));
    assert_eq!(daemon.ask(&["ban", "198.51.100.0/24"]).code, Some(0));
    daemon.wait_for(SOON, "the network to go", || (!daemon.lists(NET)).then_some(()));
    let told = daemon.ask(&["explain", "198.51.100.40"]).out;
    assert!(told.contains(&format!("{NET} for ")), "{told}");
    assert!(told.contains("      in its place: the ban of 198.51.100.0/24 by manual\n"), "{told}");
}

#[test]
fn explain_says_where_only_a_spared_place_keeps_a_network_from_being_banned() {
    let Some(scene) = Scene::new("") else { return };
    let friend = scene.world.friend("198.51.100.36");
    assert_eq!(friend.try_password("alice", PASSWORD), Outcome::Accepted);
    scene.wait_no_session("198.51.100.36");
    for (pid, addr) in [(5000, "198.51.100.34"), (5010, "198.51.100.37")] {
        scene.world.server.append(LOG, failed_lines(pid, 3, "root", addr));
        scene.wait_banned(&format!("{addr}/32"));
    }
    let told = scene.daemon.ask(&["explain", "198.51.100.34"]).out;
    let reason = "no network: 198.51.100.32/29 would be worth it, but somebody in it is spared";
    assert!(told.contains(reason), "{told}");
    assert!(told.contains("not over 198.51.100.36: somebody logged in from there"), "{told}");
}

#[test]
fn a_budget_that_is_short_is_a_warning_with_its_cure() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "widen = 300\n");
    for net in ["198.51.100", "10.66.1"] {
        for (pid, last) in (0..).zip([3, 70, 200]) {
            server.append(LOG, failed_lines(5000 + pid * 10, 3, "root", &format!("{net}.{last}")));
        }
    }
    let warning = daemon.wait_for(SOON, "the warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("(IPv4) attack than may be banned with 300 innocent addresses").then_some(warnings)
    });
    assert!(warning.contains("a larger `widen` bans more of them; last at"), "{warning}");
    let said = daemon.errors();
    assert_eq!(said.matches("more networks of neighbours (IPv4) attack").count(), 1, "{said}");
    assert!(daemon.lists("198.51.100.0/24") && !daemon.lists("10.66.1.0/24"), "{:?}", daemon.list());
    let told = daemon.ask(&["explain", "10.66.1.9"]).out;
    assert!(told.contains("that is too few: networks with the fewest innocents"), "{told}");
}

#[test]
fn unban_of_a_neighbour_lifts_the_network_and_a_restart_knows_it() {
    let Some(mut scene) = Scene::new("") else { return };
    neighbours_attack(&scene);
    wait_in_net4(&scene, NET);
    scene.daemon.kill();
    scene.daemon = Daemon::start(&scene.world.server, "");
    wait_in_net4(&scene, NET);
    let answer = scene.daemon.ask(&["unban", "198.51.100.40"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.out.contains(NET), "{answer:?}");
    assert!(scene.world.attacker("198.51.100.40").is_served(SOON));
    assert_eq!(scene.world.attacker("198.51.100.34").banner(SHORT), None, "who attacked stays banned");
    scene.daemon.kill();
    scene.daemon = Daemon::start(&scene.world.server, "");
    scene.world.server.append(LOG, failed_lines(5000, 3, "root", "198.51.100.46"));
    scene.wait_banned("198.51.100.46/32");
    assert!(!scene.daemon.lists(NET) && scene.world.kernel().set("net4").is_empty());
}

#[test]
fn switched_off_only_single_addresses_are_banned() {
    let Some(scene) = Scene::new("widen = false\n") else { return };
    neighbours_attack(&scene);
    scene.settle();
    assert_eq!(scene.daemon.list().len(), 2, "{:?}", scene.daemon.list());
    assert!(scene.world.kernel().set("net4").is_empty());
}
