//! A ban ends the connections that its source holds already, so that they cannot keep friends out.

use crate::lab::{Outcome, PASSWORD, SHORT, SOON, Scene, SceneOptions, Try, failed_lines, wait_for};

const LOG: &str = "/var/log/auth.log";

/// sshd's MaxStartups is 10:30:100 unless configured: with 30 connections that have not logged in yet, a new one
/// is refused about half of the time.
fn held_connections_are_cut(addr: &str, prefix: &str, friend: &str) {
    let Some(scene) = Scene::new("") else { return };
    let attacker = scene.world.attacker(addr);
    let _held = attacker.hold_preauth(30);
    assert!(scene.world.server.connections_with(attacker.addr) >= 10);
    scene.world.server.append(LOG, failed_lines(5000, 3, "root", addr));
    scene.wait_banned(prefix);
    wait_for(SOON, "the attacker's connections to be gone", || {
        (scene.world.server.connections_with(attacker.addr) == 0).then_some(())
    });
    let friend = scene.world.friend(friend);
    let outcomes: Vec<Outcome> = (0..20).map(|_| friend.try_password("alice", PASSWORD)).collect();
    let accepted = outcomes.iter().filter(|outcome| **outcome == Outcome::Accepted).count();
    assert_eq!(accepted, 20, "{outcomes:?}");
}

#[test]
fn thirty_connections_of_a_banned_source_are_gone_and_a_friend_gets_in_20_of_20_times() {
    held_connections_are_cut("198.51.100.7", "198.51.100.7/32", "192.0.2.200");
}

#[test]
fn thirty_ipv6_connections_of_a_banned_source_are_gone_and_a_friend_gets_in_20_of_20_times() {
    held_connections_are_cut("2001:db8:1::10", "2001:db8:1::/64", "2001:db8:f::1");
}

#[test]
fn connections_are_cut_with_null_routes_too() {
    let Some(scene) = Scene::new("banaction = \"nullroute\"\n") else { return };
    let attacker = scene.world.attacker("198.51.100.7");
    let _held = attacker.hold_preauth(15);
    assert_eq!(scene.daemon.ask(&["ban", "198.51.100.7", "--for", "1h"]).code, Some(0));
    wait_for(SOON, "the attacker's connections to be gone", || {
        (scene.world.server.connections_with(attacker.addr) == 0).then_some(())
    });
}

#[test]
fn connections_of_others_are_left_alone() {
    let Some(scene) = Scene::new("") else { return };
    let attacker = scene.world.attacker("198.51.100.7");
    let neighbour = scene.world.attacker("198.51.100.8");
    let (_held, _kept) = (attacker.hold_preauth(3), neighbour.hold_preauth(3));
    let mut session = scene.world.friend("192.0.2.200").log_in("alice", PASSWORD);
    assert_eq!(scene.daemon.ask(&["ban", "198.51.100.7", "--for", "1h"]).code, Some(0));
    wait_for(SOON, "the attacker's connections to be gone", || {
        (scene.world.server.connections_with(attacker.addr) == 0).then_some(())
    });
    assert_eq!(scene.world.server.connections_with(neighbour.addr), 3);
    assert!(session.is_alive());
}

#[test]
fn the_try_that_brings_the_ban_gets_no_second_password() {
    // With PAM the ban falls while sshd still thinks about the first password.
    let Some(scene) = Scene::with(&SceneOptions { use_pam: true, ..SceneOptions::default() }) else { return };
    let attacker = scene.world.attacker("198.51.100.7");
    let mut login =
        attacker.start_login(&Try { user: "oracle", password: "wrong", prompts: 3, ..Try::default() });
    scene.wait_banned("198.51.100.7/32");
    wait_for(SOON, "its connection to be gone", || {
        (scene.world.server.connections_with(attacker.addr) == 0).then_some(())
    });
    assert_eq!(scene.daemon.attempts_of("198.51.100.7"), 1);
    assert_eq!(attacker.banner(SHORT), None);
    let outcome = login.outcome();
    assert!(matches!(outcome, Outcome::Broken(_)), "{outcome:?}");
}
