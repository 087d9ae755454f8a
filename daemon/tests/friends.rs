//! Nobody who belongs here is shut out.

use crate::lab::{Outcome, PASSWORD, SHORT, SOON, Scene, failed_line, failed_lines};

const LOG: &str = "/var/log/auth.log";
const FRIEND: &str = "203.0.113.9";
const PREFIX: &str = "203.0.113.9/32";

/// Three names that are worth a ban each, from the friend's address, by a real ssh client.
fn try_three_wrong_names(scene: &Scene, sessions: usize) {
    for user in ["oracle", "admin", "test"] {
        assert_eq!(scene.world.friend(FRIEND).try_password(user, "wrong"), Outcome::Denied, "{user}");
    }
    scene.settle_beside(sessions);
    assert_eq!(scene.daemon.attempts_of(FRIEND), 3, "they are noted");
}

fn assert_gets_in(scene: &Scene) {
    assert_eq!(scene.world.friend(FRIEND).try_password("alice", PASSWORD), Outcome::Accepted);
    assert_eq!(scene.daemon.list(), Vec::<serde_json::Value>::new());
    assert!(scene.world.kernel().banned().is_empty(), "{:?}", scene.world.kernel().banned());
}

#[test]
fn a_good_user_who_mistypes_is_not_banned_and_starts_anew_after_each_login() {
    let Some(scene) = Scene::new("") else { return };
    let alice = scene.world.friend(FRIEND);
    for round in 0..3 {
        for _ in 0..4 {
            assert_eq!(alice.try_password("alice", "wrong"), Outcome::Denied);
        }
        scene.settle();
        assert_eq!(scene.daemon.counted(FRIEND), (4.0, 4), "round {round}");
        assert_gets_in(&scene);
        scene.wait_no_session(FRIEND);
        assert_eq!(scene.daemon.counted(FRIEND), (0.0, 0), "round {round}");
    }
}

#[test]
fn a_mistyped_name_of_an_account_that_logged_in_here_is_a_typing_error() {
    let Some(scene) = Scene::new("") else { return };
    assert_gets_in(&scene);
    let elsewhere = scene.world.friend("203.0.113.10");
    // Beside her place whatever is close to her name is hers, at half a point; elsewhere what has the same letters.
    for user in ["alcie", "alic", "alicee", "slice"] {
        assert_eq!(elsewhere.try_password(user, "wrong"), Outcome::Denied, "{user}");
    }
    let abroad = scene.world.friend("198.51.100.10");
    for user in ["alcie", "alicee", "allice"] {
        assert_eq!(abroad.try_password(user, "wrong"), Outcome::Denied, "{user}");
    }
    scene.settle();
    assert_eq!(scene.daemon.counted("203.0.113.10"), (2.0, 4));
    assert_eq!(scene.daemon.counted("198.51.100.10"), (3.0, 3));
    for place in [&elsewhere, &abroad] {
        assert_eq!(place.try_password("alice", PASSWORD), Outcome::Accepted);
    }
}

#[test]
fn an_admin_with_a_live_session_tries_three_wrong_names_and_still_gets_in() {
    let Some(scene) = Scene::new("") else { return };
    let mut session = scene.world.friend(FRIEND).log_in("bob", PASSWORD);
    try_three_wrong_names(&scene, 1);
    assert!(session.is_alive());
    let explained = scene.daemon.explain(FRIEND);
    assert!(explained["never_banned"].to_string().contains("session"), "{explained}");
    assert_gets_in(&scene);
}

#[test]
fn a_live_session_that_began_before_the_daemon_counts_as_well() {
    let Some(mut scene) = Scene::new("") else { return };
    scene.daemon.stop();
    scene.world.server.run("rm", &["-r", "/var/lib/pillory"]);
    let _session = scene.world.friend(FRIEND).log_in("bob", PASSWORD);
    // Nothing but the session tells of the friend: no log, no wtmp.
    scene.world.server.write("/var/log/wtmp", "");
    scene.world.server.write(LOG, "");
    scene.daemon = crate::lab::Daemon::start(&scene.world.server, "");
    try_three_wrong_names(&scene, 1);
    assert_gets_in(&scene);
}

#[test]
fn an_unauthenticated_connection_protects_nobody() {
    let Some(scene) = Scene::new("") else { return };
    let attacker = scene.world.attacker("198.51.100.7");
    let _held = attacker.hold_preauth(3);
    scene.world.server.append(LOG, failed_lines(5000, 3, "root", "198.51.100.7"));
    scene.wait_banned("198.51.100.7/32");
    assert_eq!(attacker.banner(SHORT), None);
}

#[test]
fn an_admin_at_a_known_address_tries_three_wrong_names_and_still_gets_in() {
    let Some(scene) = Scene::new("") else { return };
    assert_gets_in(&scene);
    scene.wait_no_session(FRIEND);
    try_three_wrong_names(&scene, 0);
    assert_eq!(scene.daemon.counted(FRIEND), (3.0, 3), "a point each at a known address");
    assert_gets_in(&scene);
}

#[test]
fn a_known_address_is_still_known_after_a_restart() {
    let Some(mut scene) = Scene::new("") else { return };
    assert_gets_in(&scene);
    scene.wait_no_session(FRIEND);
    scene.daemon.kill();
    scene.daemon = crate::lab::Daemon::start(&scene.world.server, "");
    try_three_wrong_names(&scene, 0);
    assert_gets_in(&scene);
}

#[test]
fn the_first_start_learns_known_addresses_from_the_log() {
    let Some(mut scene) = Scene::new("") else { return };
    assert_gets_in(&scene);
    scene.wait_no_session(FRIEND);
    scene.daemon.stop();
    scene.world.server.run("rm", &["-r", "/var/lib/pillory"]);
    scene.daemon = crate::lab::Daemon::start(&scene.world.server, "");
    try_three_wrong_names(&scene, 0);
    assert_gets_in(&scene);
}

#[test]
fn a_known_address_that_goes_on_guessing_is_banned_for_ten_minutes_only() {
    let Some(scene) = Scene::new("") else { return };
    assert_gets_in(&scene);
    scene.wait_no_session(FRIEND);
    scene.world.server.append(LOG, failed_lines(5000, 5, "root", FRIEND));
    scene.wait_banned(PREFIX);
    let left = scene.world.kernel().set("ban4").first().and_then(|element| element.expires_s);
    assert!(left.is_some_and(|left| (590..=600).contains(&left)), "{left:?}");
}

#[test]
fn ignoreip_is_never_banned() {
    let config = "ignoreip = [\"203.0.113.9\", \"10.66.0.0/16\", \"2001:db8:5::/48\"]\n";
    let Some(scene) = Scene::new(config) else { return };
    for (pid, addr) in [(5000, FRIEND), (5100, "10.66.1.1"), (5200, "2001:db8:5:1::7")] {
        scene.world.server.append(LOG, failed_lines(pid, 20, "root", addr));
        scene.daemon.wait_for(SOON, "the attempts to be noted", || {
            (scene.daemon.attempts_of(addr) == 20).then_some(())
        });
        let answer = scene.daemon.ask(&["ban", addr]);
        assert_eq!(answer.code, Some(1), "by hand it is refused: {answer:?}");
    }
    assert_gets_in(&scene);
    // Somebody else is banned all the same.
    scene.world.server.append(LOG, failed_lines(5300, 3, "root", "203.0.113.10"));
    scene.wait_banned("203.0.113.10/32");
}

#[test]
fn the_hosts_own_addresses_gateway_and_resolver_are_never_banned() {
    let Some(scene) = Scene::new("") else { return };
    let never = ["192.0.2.1", "192.0.2.254", "127.0.0.1", "2001:db8::1", "2001:db8::fe", "fe80::1"];
    for (index, addr) in (0u32..).zip(never) {
        scene.world.server.append(LOG, failed_lines(5000 + index * 100, 20, "root", addr));
    }
    scene.world.server.append(LOG, failed_lines(9000, 3, "root", "198.51.100.7"));
    scene.wait_banned("198.51.100.7/32");
    assert_eq!(scene.daemon.list().len(), 1, "{:?}", scene.daemon.list());
    assert_eq!(scene.world.kernel().banned().len(), 1);
}

#[test]
fn a_good_user_counts_half_a_point_even_without_an_account() {
    let Some(scene) = Scene::new("goodusers = [\"drjohn1\", \"user57\"]\n") else { return };
    scene.world.server.append(LOG, failed_lines(5000, 9, "user57", FRIEND));
    scene.daemon.wait_for(SOON, "nine attempts", || (scene.daemon.counted(FRIEND) == (4.5, 9)).then_some(()));
    assert!(!scene.daemon.lists(PREFIX));
    let warned = || scene.daemon.status()["warnings"].to_string();
    let words = "user57 from 203.0.113.9 is one failure from a ban";
    scene.daemon.wait_for(SOON, "the warning", || warned().contains(words).then_some(()));
    assert!(scene.daemon.errors().contains("user57 from 203.0.113.9 is two failures from a ban"));
    scene.world.server.append(LOG, failed_line(5100, "drjohn1", FRIEND));
    scene.wait_banned(PREFIX);
    assert_eq!(scene.daemon.ban_of(PREFIX).expect("it is listed")["failures"], 10);
    let left = scene.world.kernel().set("ban4").first().and_then(|element| element.expires_s);
    assert!(left.is_some_and(|left| (590..=600).contains(&left)), "ten minutes at first: {left:?}");
    assert!(!warned().contains("failure from a ban"), "it is over: {}", warned());
}

#[test]
fn goodusers_never_ban_spares_them_altogether() {
    let Some(scene) = Scene::new("goodusers = \"user57\"\ngoodusers_never_ban = true\n") else { return };
    scene.world.server.append(LOG, failed_lines(5000, 30, "user57", FRIEND));
    scene.daemon.wait_for(SOON, "thirty attempts", || (scene.daemon.attempts_of(FRIEND) == 30).then_some(()));
    assert!(!scene.daemon.lists(PREFIX));
    scene.world.server.append(LOG, failed_lines(5100, 3, "root", FRIEND));
    scene.wait_banned(PREFIX);
}
