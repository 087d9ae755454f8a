//! `allow`: who is never banned, added while the daemon runs; kept, listed, followed, removed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use crate::ignoreip_names::{Home, serve_dns};
use crate::lab::{CONFIG, Daemon, DaemonOptions, SOON, World, failed_lines};

const HOME: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const NEW_HOME: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 8);

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
    let Some((world, home, daemon)) = world(Some(HOME), "") else { return };
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
fn a_name_without_an_address_is_said_to_be_followed_and_to_spare_nobody_yet() {
    let Some((world, home, daemon)) = world(None, "") else { return };
    let said = done(&daemon, &["allow", "home.example.net", "198.51.100.8"]);
    let begin = "home.example.net is followed, but no address of it is known yet, so it spares nobody now: ";
    assert!(said.contains(begin) && said.contains("cannot be resolved"), "{said}");
    assert!(
        said.contains("198.51.100.8 is never banned\n") && !said.contains("net is never banned"),
        "{said}"
    );
    *home.lock().expect("nobody panics holding it") = Some(HOME);
    done(&daemon, &["ban", "198.51.100.7"]);
    wait(&world, &daemon, HOME, false);
}

#[test]
fn the_first_name_is_followed_at_once_by_command_and_by_reload() {
    let Some((world, _home, daemon)) = world(Some(HOME), "") else { return };
    let first = "home.example.net";
    let [by_command, by_reload] =
        [(vec!["allow", first], ""), (vec!["reload"], "ignoreip = \"home.example.net\"\n")];
    for (command, config) in [by_command, by_reload] {
        done(&daemon, &["ban", "198.51.100.7"]);
        world.server.write(CONFIG, config);
        done(&daemon, &command);
        wait(&world, &daemon, HOME, false);
        let _ = daemon.ask(&["allow", first, "--remove"]);
    }
}

#[test]
fn no_socket_of_the_internet_is_made_before_a_name_is_listed() {
    let Some(world) = World::with(&["strace"]) else { return };
    serve_dns(&world, &Arc::new(Mutex::new(Some(HOME))));
    world.server.write("/var/log/auth.log", "");
    let through = ["strace", "-f", "-qq", "-e", "trace=socket", "-o", "/run/sockets"].map(str::to_owned);
    let options =
        DaemonOptions { config: Some(String::new()), through: through.to_vec(), ..DaemonOptions::default() };
    let daemon = Daemon::start_with(&world.server, &options);
    world.server.append("/var/log/auth.log", failed_lines(100, 5, "root", "198.51.100.8"));
    wait(&world, &daemon, NEW_HOME, true);
    for command in [&["status"][..], &["doctor"], &["explain", "198.51.100.8"], &["reload"]] {
        daemon.ask(command);
    }
    let made = || world.server.read("/run/sockets").matches("AF_INET").count();
    let local = world.server.read("/run/sockets");
    assert!(local.contains("AF_NETLINK") && made() == 0, "{local}");
    done(&daemon, &["allow", "home.example.net"]);
    daemon.wait_for(SOON, "a question to the name server", || (made() > 0).then_some(()));
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
