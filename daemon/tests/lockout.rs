//! Who owns the host is not locked out of it: sessions, own addresses, refusals, alerts in the place of bans, the fuse.

use crate::lab::{Daemon, Outcome, PASSWORD, SOON, Scene, binary, failed_line, failed_lines, quiet_server};

const LOG: &str = "/var/log/auth.log";
const FRIEND: &str = "203.0.113.9";

/// The warnings of `status` as one text.
fn warnings(scene: &Scene) -> String {
    scene.daemon.status()["warnings"].to_string()
}

fn refused(scene: &Scene, args: &[&str], why: &str) {
    let answer = scene.daemon.ask(args);
    assert!(answer.code == Some(1) && answer.out.contains(why), "{args:?}: {answer:?}");
}

#[test]
fn whatever_is_done_to_get_the_admins_session_banned_is_an_alert_and_no_ban() {
    let Some(scene) = Scene::new("") else { return };
    let friend = scene.world.friend(FRIEND);
    let mut session = friend.log_in("bob", PASSWORD);
    scene.settle_beside(1);
    // Wrong passwords from the same address, by a real client.
    for user in ["root", "root", "oracle", "admin", "test", "bob"] {
        assert_eq!(friend.try_password(user, "wrong"), Outcome::Denied, "{user}");
    }
    let alert = "203.0.113.9 earned a ban (5 failures";
    scene.daemon.wait_for(SOON, "the alert in status", || warnings(&scene).contains(alert).then_some(()));
    let said = scene.daemon.errors();
    let line = said.lines().find(|line| line.contains("a ban was earned and not made"));
    assert!(line.is_some_and(|line| line.contains(FRIEND) && line.contains("WARN")), "{said}");
    // A flood, by hand, from a list, by its network.
    scene.world.server.append(LOG, failed_lines(5000, 50, "root", FRIEND));
    refused(&scene, &["ban", FRIEND], "it is the far end of an open authenticated session");
    refused(&scene, &["ban", "203.0.113.0/24"], "it holds 203.0.113.9");
    scene.world.server.write("/run/list", "203.0.113.9\n203.0.113.0/24\n198.51.100.7\n");
    let imported = scene.daemon.ask_json(&["import", "/run/list"]);
    assert_eq!(imported["banned"], serde_json::json!(["198.51.100.7/32"]), "{imported}");
    scene
        .daemon
        .wait_for(SOON, "the flood to be noted", || (scene.daemon.attempts_of(FRIEND) == 56).then_some(()));
    assert!(session.is_alive());
    assert_eq!(scene.daemon.list().len(), 1, "{:?}", scene.daemon.list());
    assert_eq!(friend.try_password("alice", PASSWORD), Outcome::Accepted);
}

#[test]
fn an_address_or_gateway_that_comes_while_the_daemon_runs_is_freed_and_never_banned() {
    let Some(scene) = Scene::new("") else { return };
    let server = &scene.world.server;
    for (pid, addr) in [(5000, "198.51.100.77"), (5100, "2001:db8:9::77"), (5200, "192.0.2.200")] {
        server.append(LOG, failed_lines(pid, 3, "root", addr));
        let addr: std::net::IpAddr = addr.parse().expect("an address");
        scene.daemon.wait_for(SOON, "the ban", || scene.world.kernel().is_banned(addr).then_some(()));
    }
    server.ip_batch(
        "addr add 198.51.100.77/32 dev eth0\naddr add 2001:db8:9::77/128 dev eth0 nodad\n\
         route replace default via 192.0.2.200\n",
    );
    for (pid, addr) in [(6000, "198.51.100.77"), (6100, "2001:db8:9::77"), (6200, "192.0.2.200")] {
        let known: std::net::IpAddr = addr.parse().expect("an address");
        scene.daemon.wait_for(SOON, "it out of the kernel", || {
            (!scene.world.kernel().is_banned(known)).then_some(())
        });
        refused(&scene, &["ban", addr], "of this host");
        scene.daemon.ask(&["unban", "--all"]);
        server.append(LOG, failed_lines(pid, 20, "root", addr));
    }
    server.append(LOG, failed_lines(7000, 3, "root", "198.51.100.7"));
    scene.wait_banned("198.51.100.7/32");
    assert_eq!(scene.daemon.list().len(), 1, "{:?}", scene.daemon.list());
}

#[test]
fn an_attacker_in_the_hosts_own_64_is_banned_alone() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    // The host is 2001:db8::1, its gateway 2001:db8::fe.
    server.append(LOG, failed_lines(5000, 3, "root", "2001:db8::bad"));
    daemon.wait_for(SOON, "the ban", || daemon.lists("2001:db8::bad/128").then_some(()));
    let kernel = world.kernel();
    let is_banned = |addr: &str| kernel.is_banned(addr.parse().expect("an address"));
    daemon.wait_for(SOON, "the kernel", || is_banned("2001:db8::bad").then_some(()));
    for spared in ["2001:db8::1", "2001:db8::fe", "2001:db8::c0de"] {
        assert!(!is_banned(spared), "{spared} is banned, too");
    }
    assert_eq!(daemon.list().len(), 1, "{:?}", daemon.list());
}

#[test]
fn ban_refuses_everybody_own_networks_gateways_and_the_caller() {
    let Some(scene) = Scene::new("") else { return };
    for (prefix, why) in [
        ("0.0.0.0/0", "every address there is"),
        ("::/0", "every address there is"),
        ("192.0.2.0/24", "it holds 192.0.2.1"),
        ("192.0.2.1", "an address of this host"),
        ("2001:db8::/64", "it holds 2001:db8::1"),
        ("192.0.2.254", "a default gateway"),
        ("192.0.2.192/26", "it holds 192.0.2.254"),
        ("127.0.0.1", "127.0.0.0/8"),
    ] {
        refused(&scene, &["ban", prefix], why);
    }
    let mut command = scene.world.server.command(&binary().display().to_string());
    command.args(["ban", "198.51.100.0/24", "--control", crate::lab::CONTROL]);
    command.env("SSH_CONNECTION", "198.51.100.20 50000 192.0.2.1 22");
    let answer = crate::lab::Answer::from(command.output().expect("it starts"));
    assert!(answer.code == Some(1) && answer.out.contains("you yourself come from there"), "{answer:?}");
    assert!(scene.world.kernel().banned().is_empty());
    // One's neighbour in the same network is no part of oneself, but half of the network is nobody's attacker.
    for prefix in ["192.0.2.64/31", "192.0.2.64/27", "2001:db8::8000:0:0:0/65", "2001:db8::ff:0/112"] {
        refused(
            &scene,
            &["ban", prefix],
            "a network that this host is in, where only single addresses are banned; --force",
        );
    }
    scene.world.server.write("/run/list", "192.0.2.64/27\n192.0.2.67\n");
    let imported = scene.daemon.ask_json(&["import", "/run/list"]);
    assert_eq!(imported["banned"], serde_json::json!(["192.0.2.67/32"]), "{imported}");
    assert_eq!(scene.daemon.ask(&["ban", "192.0.2.66", "2001:db8::66"]).code, Some(0));
    let forced = scene.daemon.ask(&["ban", "192.0.2.64/27", "--force"]);
    assert!(forced.code == Some(0) && forced.out.contains("neighbours in it are shut out"), "{forced:?}");
    assert_eq!(scene.world.kernel().banned().len(), 4, "{:?}", scene.world.kernel().banned());
}

#[test]
fn a_network_from_which_people_log_in_is_not_banned_by_hand_or_from_a_list() {
    let Some(scene) = Scene::new("") else { return };
    assert_eq!(scene.world.friend(FRIEND).try_password("alice", PASSWORD), Outcome::Accepted);
    scene.wait_no_session(FRIEND);
    refused(&scene, &["ban", "203.0.113.0/24"], "it holds 203.0.113.9, from which somebody logged in");
    scene.world.server.write("/run/list", "203.0.113.0/24\n203.0.113.9\n203.0.113.10\n198.51.100.0/24\n");
    let imported = scene.daemon.ask_json(&["import", "/run/list"]);
    assert_eq!(imported["banned"], serde_json::json!(["203.0.113.10/32", "198.51.100.0/24"]), "{imported}");
    assert_eq!(imported["refused"].as_array().map(Vec::len), Some(2), "{imported}");
    // Who names the one address, or insists, means it.
    assert_eq!(scene.daemon.ask(&["ban", FRIEND]).code, Some(0));
    assert_eq!(scene.daemon.ask(&["ban", "203.0.113.0/24", "--force"]).code, Some(0));
}

#[test]
fn the_fuse_stops_at_twice_its_rate_and_says_so() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = crate::lab::Daemon::start(&server, "fuse = { bans_per_minute = 3 }\n");
    let text: String = (1..=10)
        .map(|number| failed_lines(5000 + number * 10, 3, "root", &format!("10.66.{number}.7")))
        .collect();
    server.append(LOG, text + &failed_line(9000, "root", "203.0.113.1"));
    daemon.wait_for(SOON, "the last line", || (daemon.attempts_of("203.0.113.1") == 1).then_some(()));
    assert_eq!(daemon.list().len(), 6, "{:?}", daemon.list());
    assert_eq!(world.kernel().banned().len(), 6);
    let status = daemon.status()["warnings"].to_string();
    assert!(status.contains("nobody new is banned") && status.contains("4 withheld so far"), "{status}");
    assert!(daemon.errors().contains("the fuse has blown: more bans"), "{}", daemon.errors());
    // By hand it goes on.
    assert_eq!(daemon.ask(&["ban", "10.66.10.7"]).code, Some(0));
    assert_eq!(world.kernel().banned().len(), 7);
}
