//! `allow`: who is never banned, added while the daemon runs; kept, listed, followed, removed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use crate::ignoreip_names::{Home, serve_dns};
use crate::lab::{CONFIG, Daemon, DaemonOptions, SOON, World};

const HOME: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const NEW_HOME: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 8);

/// Some name is followed, so the daemon may ask name servers.
const FOLLOWS: &str = "ignoreip = [\"elsewhere.example.net\"]\n";

fn world(home: Option<Ipv4Addr>, config: &str) -> Option<(World, Home, Daemon)> {
    let world = World::new()?;
    let home = Arc::new(Mutex::new(home));
    serve_dns(&world, &home);
    world.server.write("/var/log/auth.log", "");
    let daemon = Daemon::start(&world.server, config);
    Some((world, home, daemon))
}

fn wait(world: &World, daemon: &Daemon, addr: Ipv4Addr, banned: bool) {
    daemon.wait_for(SOON, &format!("{addr} banned {banned}"), || {
        (world.kernel().is_banned(IpAddr::V4(addr)) == banned).then_some(())
    });
}

fn done(daemon: &Daemon, args: &[&str]) -> String {
    let answer = daemon.ask(args);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    answer.out
}

#[test]
fn a_name_is_followed_listed_and_kept_over_kill_9_until_it_is_removed() {
    let Some((world, home, daemon)) = world(Some(HOME), FOLLOWS) else { return };
    done(&daemon, &["ban", "198.51.100.7", "198.51.100.8"]);
    let said = done(&daemon, &["allow", "home.example.net"]);
    assert!(said.contains("home.example.net is never banned"), "{said}");
    wait(&world, &daemon, HOME, false);
    let status = done(&daemon, &["status"]);
    assert!(status.contains("allowed: home.example.net (198.51.100.7)\n"), "{status}");
    assert_eq!(daemon.ask(&["ban", "198.51.100.7"]).code, Some(1));
    daemon.kill();
    *home.lock().expect("nobody panics holding it") = Some(NEW_HOME);
    let args = vec!["--config".to_owned(), CONFIG.to_owned()];
    let options = DaemonOptions { args, ..DaemonOptions::default() };
    let daemon = Daemon::start_with(&world.server, &options);
    wait(&world, &daemon, NEW_HOME, false);
    assert!(world.kernel().is_banned(IpAddr::V4(HOME)), "the old place is anybody's");
    done(&daemon, &["allow", "home.example.net", "--remove"]);
    wait(&world, &daemon, NEW_HOME, true);
    assert_eq!(daemon.ask(&["allow", "home.example.net", "--remove"]).code, Some(1));
    assert_eq!(done(&daemon, &["allow"]), "nobody is allowed by command\n");
}

#[test]
fn the_first_name_is_followed_after_a_restart_for_the_right_to_ask_was_given_up() {
    let Some((world, _home, daemon)) = world(Some(HOME), "") else { return };
    done(&daemon, &["ban", "198.51.100.7"]);
    let answer = daemon.ask(&["allow", "home.example.net"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.err.contains("restart needed"), "{answer:?}");
    daemon.wait_for(SOON, "a warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("home.example.net").then_some(())
    });
    assert!(world.kernel().is_banned(IpAddr::V4(HOME)));
    daemon.stop();
    let daemon = Daemon::start(&world.server, "");
    wait(&world, &daemon, HOME, false);
}

#[test]
fn an_address_is_allowed_at_once_and_for_its_time_only() {
    let Some((world, _home, daemon)) = world(None, "") else { return };
    done(&daemon, &["ban", "198.51.100.7", "198.51.100.0/24"]);
    done(&daemon, &["allow", "198.51.100.7", "2001:db8:5::/48", "--for", "3s"]);
    assert!(!world.kernel().is_banned(IpAddr::V4(HOME)), "a hole in the network, too");
    assert!(world.kernel().is_banned(IpAddr::V4(NEW_HOME)));
    assert_eq!(daemon.ask_json(&["allow"])["allowed"].as_array().map(Vec::len), Some(2));
    wait(&world, &daemon, HOME, true);
    assert_eq!(daemon.status()["allowed"], serde_json::json!([]));
    let everybody = daemon.ask(&["allow", "0.0.0.0/0"]);
    assert!(everybody.code == Some(2) && everybody.err.contains("pillory off"), "{everybody:?}");
}
