//! Names in `ignoreip`: who lives behind one is spared, wherever it moves; a name nobody knows is warned about.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pillory_core::net::Prefix;

use crate::lab::{Daemon, World};

const SOON: Duration = Duration::from_secs(15);
const LOG: &str = "/var/log/app.log";
const CONFIG: &str = r#"
ignoreip = ["home.example.net"]
maxretry = 1
[jail.app]
logpath = ["/var/log/app.log"]
failregex = ['^login failed from <HOST>$']
"#;

/// Where home.example.net is at the moment; nobody knows it while that is nothing.
pub type Home = Arc<Mutex<Option<Ipv4Addr>>>;

/// A name server on the server's own 127.0.0.1:53, where its resolv.conf points.
pub fn serve_dns(world: &World, home: &Home) {
    let socket = world.server.in_network(|| UdpSocket::bind("127.0.0.1:53").expect("port 53 is free"));
    let home = Arc::clone(home);
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut query) {
            let now = *home.lock().expect("nobody panics holding it");
            socket.send_to(&answer(&query[..length], now), client).expect("the daemon is there");
        }
    });
}

/// Source: RFC 1035, 4.1. The question ends with its type and class; the answer points back to its name.
fn answer(query: &[u8], home: Option<Ipv4Addr>) -> Vec<u8> {
    let is_a = query.ends_with(&[0, 1, 0, 1]);
    let known = query.windows(18).any(|part| part == b"\x04home\x07example\x03net\0");
    let (code, count) = (if known && home.is_some() { 0x80 } else { 0x83 }, u8::from(is_a && known));
    let mut bytes = query.to_vec();
    bytes[2..4].copy_from_slice(&[0x81, code]);
    if let Some(addr) = home.filter(|_| count == 1) {
        bytes[7] = 1;
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        bytes.extend(addr.octets());
    }
    bytes
}

fn guarded(home: Option<Ipv4Addr>) -> Option<(World, Home, Daemon)> {
    let world = World::new()?;
    let home = Arc::new(Mutex::new(home));
    serve_dns(&world, &home);
    world.server.write(LOG, "");
    let daemon = Daemon::start(&world.server, CONFIG);
    Some((world, home, daemon))
}

/// Lets these addresses fail once each, then a stranger, whose ban shows that the lines have been judged.
fn fail(world: &World, daemon: &Daemon, addrs: &[&str], stranger: &str) {
    for addr in addrs.iter().chain([&stranger]) {
        world.server.append(LOG, format!("login failed from {addr}\n"));
    }
    let wanted: Prefix = stranger.parse().expect("an address");
    daemon.wait_for(SOON, "the stranger's ban", || world.kernel().banned().contains(&wanted).then_some(()));
}

fn banned(world: &World, addr: &str) -> bool {
    world.kernel().is_banned(addr.parse().expect("an address"))
}

#[test]
fn who_lives_behind_a_name_is_spared_wherever_it_moves() {
    let Some((world, home, daemon)) = guarded(Some(Ipv4Addr::new(198, 51, 100, 7))) else { return };
    fail(&world, &daemon, &["198.51.100.7", "198.51.100.8"], "203.0.113.1");
    assert!(!banned(&world, "198.51.100.7"));
    assert!(banned(&world, "198.51.100.8"), "the new place is still anybody's");

    *home.lock().expect("nobody panics holding it") = Some(Ipv4Addr::new(198, 51, 100, 8));
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    daemon.wait_for(SOON, "the new place out of the kernel", || {
        (!banned(&world, "198.51.100.8")).then_some(())
    });
    fail(&world, &daemon, &["198.51.100.7", "198.51.100.8"], "203.0.113.2");
    assert!(banned(&world, "198.51.100.7"), "the old place is anybody's now");
    assert!(!banned(&world, "198.51.100.8"));
    let refused = daemon.ask(&["ban", "198.51.100.8"]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
}

#[test]
fn a_name_nobody_knows_is_warned_about_until_it_is_known() {
    let Some((world, home, daemon)) = guarded(None) else { return };
    let warned = || daemon.status()["warnings"].to_string().contains("home.example.net cannot be resolved");
    daemon.wait_for(SOON, "the warning", || warned().then_some(()));
    *home.lock().expect("nobody panics holding it") = Some(Ipv4Addr::new(198, 51, 100, 9));
    // It is asked for again after five seconds.
    daemon.wait_for(SOON, "the warning to go", || (!warned()).then_some(()));
    fail(&world, &daemon, &["198.51.100.9"], "203.0.113.3");
    assert!(!banned(&world, "198.51.100.9"));
}

#[test]
fn the_hosts_file_is_honoured_and_silence_does_not_hold_up_the_start() {
    let Some(world) = World::new() else { return };
    // Bound and never read: a server that is silent.
    let _silent = world.server.in_network(|| UdpSocket::bind("127.0.0.1:53").expect("port 53 is free"));
    world.server.write(LOG, "");
    world.server.append("/etc/hosts", "198.51.100.10 home.example.net\n");
    let daemon = Daemon::start(&world.server, &CONFIG.replace("[\"home", "[\"nobody.example.net\", \"home"));
    assert!(daemon.ready_after < Duration::from_secs(10), "{:?}", daemon.ready_after);
    daemon.wait_for(SOON, "the warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("nobody.example.net cannot be resolved").then_some(())
    });
    fail(&world, &daemon, &["198.51.100.10"], "203.0.113.4");
    assert!(!banned(&world, "198.51.100.10"));
}
