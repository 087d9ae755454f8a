//! The thinnest path through everything: lines of a real sshd become an element in the kernel.

use std::time::Duration;

use crate::lab::{Attacker, Daemon, Logging, Outcome, Sshd, SshdOptions, Syslog, World};

const SOON: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(500);

/// A server with auth.log, an sshd that answers at once, and the daemon with nothing configured.
fn protected() -> Option<(World, Syslog, Sshd, Daemon)> {
    let world = World::with(Logging::Rsyslog.needs())?;
    let syslog = Logging::Rsyslog.start(&world.server);
    let sshd = Sshd::start_with(&world.server, &SshdOptions { use_pam: false, ..SshdOptions::default() });
    let daemon = Daemon::start(&world.server, "");
    Some((world, syslog, sshd, daemon))
}

/// Tries wrong passwords until the server is out of reach; returns how many connections it answered.
fn guess(attacker: &Attacker, user: &str) -> usize {
    (0..10).take_while(|_| attacker.try_password(user, "wrong") == Outcome::Denied).count()
}

fn wait_until_banned(world: &World, daemon: &Daemon, prefix: &str) {
    let wanted = prefix.parse().expect("a prefix");
    daemon.wait_for(SOON, &format!("{prefix} in a set of the kernel"), || {
        world.kernel().banned().contains(&wanted).then_some(())
    });
}

#[test]
fn an_attacker_is_banned_in_the_kernel_and_a_friend_is_still_served() {
    let Some((world, _syslog, _sshd, daemon)) = protected() else { return };
    let attacker = world.attacker("198.51.100.7");
    let answered = guess(&attacker, "root");
    wait_until_banned(&world, &daemon, "198.51.100.7/32");
    // root is worth 2 points and 5 are needed; the connection that brings them may or may not be answered.
    assert!((2..=3).contains(&answered), "{answered} connections were answered");
    assert_eq!(attacker.banner(SHORT), None);
    assert!(world.friend("198.51.100.8").is_served(SOON));
    assert!(world.friend("2001:db8:f::1").is_served(SOON));
    assert_eq!(world.kernel().banned().len(), 1);
}

#[test]
fn how_long_a_ban_of_a_live_line_took_is_in_status_and_that_of_one_by_hand_is_not() {
    let Some((world, _syslog, _sshd, daemon)) = protected() else { return };
    assert_eq!(daemon.ask(&["ban", "203.0.113.9"]).code, Some(0));
    let before = daemon.status()["latency"].clone();
    assert!(before["kernel_bans"] == 0 && before["kernel_p50_ms"].is_null(), "{before}");
    guess(&world.attacker("198.51.100.7"), "root");
    wait_until_banned(&world, &daemon, "198.51.100.7/32");
    // `status` is answered once the kernel and the disk have what was judged before.
    let latency = daemon.wait_for(SOON, "a ban on the disk", || {
        let latency = daemon.status()["latency"].clone();
        (latency["durable_bans"] == 1).then_some(latency)
    });
    assert_eq!(latency["kernel_bans"], 1, "{latency}");
    for way in ["kernel", "durable"] {
        let took = ["p50", "p99", "max"].map(|which| latency[format!("{way}_{which}_ms")].as_f64().unwrap());
        assert!(took[0] > 0.0 && took[0] <= took[1] && took[1] <= took[2], "{latency}");
        assert!(took[2] < SOON.as_secs_f64() * 1e3, "{latency}");
        let buckets = latency[format!("{way}_buckets")].as_array().unwrap();
        assert!(buckets.len() == 1 && buckets[0]["bans"] == 1, "{latency}");
        assert!(buckets[0]["below_us"].as_f64().unwrap() >= took[2] * 1e3, "{latency}");
    }
    let text = daemon.ask(&["status"]).out;
    assert!(text.contains("1 ban since the start; it was in the kernel"), "{text}");
}

#[test]
fn an_ipv6_attacker_is_banned_with_its_64() {
    let Some((world, _syslog, _sshd, daemon)) = protected() else { return };
    let attacker = world.attacker("2001:db8:1::10");
    guess(&attacker, "root");
    wait_until_banned(&world, &daemon, "2001:db8:1::/64");
    assert_eq!(world.attacker("2001:db8:1::11").banner(SHORT), None);
    assert!(world.friend("2001:db8:1:1::10").is_served(SOON));
}

#[test]
fn a_banned_address_is_listed_and_served_again_after_unban() {
    let Some((world, _syslog, _sshd, daemon)) = protected() else { return };
    let attacker = world.attacker("203.0.113.5");
    guess(&attacker, "root");
    wait_until_banned(&world, &daemon, "203.0.113.5/32");
    let listed = daemon.list();
    let prefixes: Vec<&str> = listed.iter().filter_map(|ban| ban["prefix"].as_str()).collect();
    assert_eq!(prefixes, ["203.0.113.5/32"]);
    assert_eq!(listed.first().map(|ban| ban["jail"] == "sshd"), Some(true));
    assert_eq!(daemon.ask(&["unban", "203.0.113.5"]).code, Some(0));
    daemon.wait_for(SOON, "a banner for the unbanned", || attacker.is_served(SHORT).then_some(()));
    assert_eq!(daemon.list().len(), 0);
}

#[test]
fn on_sigterm_the_daemon_ends_with_0_and_bans_stay() {
    let Some((world, _syslog, _sshd, daemon)) = protected() else { return };
    let attacker = world.attacker("203.0.113.6");
    guess(&attacker, "root");
    wait_until_banned(&world, &daemon, "203.0.113.6/32");
    let (code, said) = daemon.stop();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(attacker.banner(SHORT), None);
}
