//! Restrict mode: who is on the list connects, with whoever is never banned, and nobody else; established connections
//! stay; and it cannot lock the owner out for long.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::ignoreip_names::serve_dns;
use crate::lab::{
    CONFIG, Daemon, DaemonOptions, Outcome, PASSWORD, SHORT, SOON, Scene, binary, quiet_server,
};

const FRIEND: &str = "203.0.113.9";
const FRIEND6: &str = "2001:db8:5::9";
const HOME: &str = "198.51.100.7";
const STRANGER: &str = "198.51.100.8";
const STRANGER6: &str = "2001:db8:6::9";

const RESTRICT: &str = "[restrict.ssh]\nport = 22\n\
    allow = [\"203.0.113.0/24\", \"2001:db8:5::/48\", \"home.example.net\"]\n";

fn served(scene: &Scene, addr: &str) -> bool {
    let timeout = if addr.contains("113") || addr == HOME { SOON } else { SHORT };
    scene.world.attacker(addr).is_served(timeout)
}

fn admin(scene: &Scene, line: &str) -> crate::lab::Answer {
    let line = line.replace("pillory ", &format!("{} ", binary().display()));
    scene.world.friend(FRIEND).run("root", PASSWORD, &line)
}

#[test]
fn the_listed_and_the_never_banned_connect_and_nobody_else() {
    // Some name is followed, or the right to ask for others would be given up.
    let Some(mut scene) = Scene::new("ignoreip = \"elsewhere.example.net\"\n") else { return };
    serve_dns(&scene.world, &Arc::new(Mutex::new(Some(Ipv4Addr::new(198, 51, 100, 7)))));
    let mut held = scene.world.attacker(STRANGER).connect(22, SOON).expect("everybody may connect yet");
    // A reload brings no such thing: it could shut out whoever typed it.
    scene.world.server.write(CONFIG, RESTRICT);
    let reloaded = scene.daemon.ask(&["reload"]);
    assert!(reloaded.code == Some(2) && reloaded.err.contains("pillory apply"), "{reloaded:?}");
    assert!(served(&scene, STRANGER));

    scene.daemon.stop();
    let args = vec!["--config".to_owned(), CONFIG.to_owned()];
    scene.daemon =
        Daemon::start_with(&scene.world.server, &DaemonOptions { args, ..DaemonOptions::default() });
    assert!(scene.daemon.errors().contains("only these and who is never banned may connect"));
    for (addr, may) in [
        (FRIEND, true),
        (FRIEND6, true),
        (HOME, true),
        ("192.0.2.254", true),
        (STRANGER, false),
        (STRANGER6, false),
        ("192.0.2.10", false),
    ] {
        assert_eq!(scene.world.attacker(addr).is_served(if may { SOON } else { SHORT }), may, "{addr}");
    }
    held.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    held.write_all(b"SSH-2.0-held\r\n").expect("it is established");
    let mut banner = [0; 7];
    held.read_exact(&mut banner).expect("an established connection stays");
    assert_eq!(&banner, b"SSH-2.0");
    let status = scene.daemon.ask(&["status"]).out;
    assert!(
        status
            .contains("restricted: ssh (port 22) to 203.0.113.0/24, 2001:db8:5::/48, home.example.net (now"),
        "{status}"
    );
    // Bans go on inside the list.
    assert_eq!(scene.daemon.ask(&["ban", FRIEND]).code, Some(0));
    assert!(!scene.world.attacker(FRIEND).is_served(SHORT));
    // Who is allowed by command comes in at once.
    assert_eq!(scene.daemon.ask(&["allow", STRANGER]).code, Some(0));
    assert!(scene.world.attacker(STRANGER).is_served(SOON));
}

#[test]
fn off_lifts_it_on_brings_it_back_and_it_heals() {
    let config = "[restrict.ssh]\nport = \"ssh\"\nallow = \"203.0.113.0/24\"\n";
    let Some(scene) = Scene::new(config) else { return };
    assert!(!served(&scene, STRANGER));
    assert_eq!(scene.daemon.ask(&["off"]).code, Some(0));
    assert!(scene.world.attacker(STRANGER).is_served(SOON));
    assert_eq!(scene.daemon.ask(&["on"]).code, Some(0));
    assert!(!served(&scene, STRANGER));
    for damage in [
        "flush chain inet pillory restrict",
        "delete element inet pillory allow4_ssh { 203.0.113.0/24 }",
        "add element inet pillory allow4_ssh { 198.51.100.0/24 }",
        "delete table inet pillory",
    ] {
        scene.world.kernel().nft(damage);
        scene.daemon.wait_for(SOON, damage, || {
            let rules = scene.world.kernel().ruleset();
            let heals = rules.matches("@allow4_ssh").count() == 1
                && rules.contains("203.0.113.0/24")
                && !rules.contains("198.51.100.0/24");
            heals.then_some(())
        });
        assert!(!served(&scene, STRANGER), "{damage}");
        assert!(served(&scene, FRIEND), "{damage}");
    }
    scene.daemon.stop();
    // Without a daemon, too.
    crate::lab::pillory(&scene.world.server, &["off"]);
    assert!(scene.world.attacker(STRANGER).is_served(SOON));
}

#[test]
fn a_list_that_lacks_the_admin_is_taken_back() {
    let Some(scene) = Scene::new("") else { return };
    scene.world.server.write("/run/new.toml", "[restrict.ssh]\nport = 22\nallow = \"198.51.100.0/24\"\n");
    let applied = admin(&scene, "pillory apply /run/new.toml --confirm 4");
    assert_eq!(applied.code, Some(0), "{applied:?}");
    let late = scene.world.friend(FRIEND).banner(SHORT);
    assert_eq!(late, None, "the admin cannot come in, though a session was just open");
    assert!(scene.world.attacker(STRANGER).is_served(SOON));
    scene.daemon.wait_for(Duration::from_secs(20), "the admin to come in", || {
        scene.world.friend(FRIEND).is_served(SHORT).then_some(())
    });
    assert!(!scene.world.kernel().ruleset().contains("allow4_ssh"), "nothing of it is left");
}

#[test]
fn a_list_with_the_admin_is_confirmed_and_proposed_from_the_logins() {
    let Some(scene) = Scene::new("") else { return };
    for addr in [FRIEND, FRIEND, "198.51.100.7", "198.51.100.9"] {
        assert_eq!(scene.world.friend(addr).try_password("alice", PASSWORD), Outcome::Accepted);
    }
    scene.settle();
    let proposed = scene.daemon.ask(&["restrict", "ssh", "--suggest"]);
    assert!(
        proposed.out.starts_with("# all 4 good logins since 2")
            && proposed.out.contains(" (1 d known) came from 2 networks\n# no login of before that is known"),
        "{proposed:?}"
    );
    assert!(proposed.out.contains("allow = [\"198.51.100.0/24\", \"203.0.113.9\"]\n"), "{proposed:?}");
    scene.world.server.write("/run/new.toml", &proposed.out);
    assert_eq!(admin(&scene, "pillory apply /run/new.toml").code, Some(0));
    let confirmed = admin(&scene, "pillory confirm");
    assert_eq!(confirmed.code, Some(0), "{confirmed:?}");
    assert!(!scene.world.attacker("192.0.2.10").is_served(SHORT));
    assert!(scene.daemon.ask(&["restrict", "ssh"]).out.starts_with("restricted: ssh (port 22) to "));
    assert_eq!(scene.daemon.ask(&["restrict", "web"]).code, Some(1));
    assert_eq!(scene.daemon.ask(&["restrict", "web", "--suggest"]).code, Some(1));
}

#[test]
fn null_routes_know_no_ports_and_refuse() {
    let Some((_world, server)) = quiet_server() else { return };
    let config = Some(format!("banaction = \"nullroute\"\n{RESTRICT}"));
    let mut refused = Daemon::spawn(&server, &DaemonOptions { config, ..DaemonOptions::default() });
    assert_eq!(refused.wait(SOON), Some(2));
    assert!(refused.errors().contains("cannot restrict ports: nullroute knows none"), "{}", refused.errors());
}
