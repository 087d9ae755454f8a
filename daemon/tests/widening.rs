//! Neighbours that attack together become one ban of their network.

use pillory_core::net::Prefix;

use crate::lab::{Daemon, Outcome, PASSWORD, SHORT, SOON, Scene, failed_lines};

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
