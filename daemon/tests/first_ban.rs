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
