//! The fallback for kernels without nf_tables: blackhole routes. No reply leaves; first packets may arrive.

use std::time::{Duration, Instant};

use crate::lab::{Daemon, SHORT, SOON, Scene, World, failed_lines, quiet_server, wait_for};

const LOG: &str = "/var/log/auth.log";
const CONFIG: &str = "banaction = \"nullroute\"\n";
const BANNED: &str = "198.51.100.7";
const PREFIX: &str = "198.51.100.7/32";

fn attack(scene: &Scene, first_pid: u32, addr: &str) {
    scene.world.server.append(LOG, failed_lines(first_pid, 3, "root", addr));
}

fn routes(world: &World) -> Vec<String> {
    world.kernel().blackholes().iter().map(ToString::to_string).collect()
}

#[test]
fn no_reply_leaves_to_a_banned_source_and_a_friend_is_served() {
    let Some(scene) = Scene::new(CONFIG) else { return };
    let kernel = scene.world.kernel();
    for (pid, addr, prefix) in [(5000, BANNED, PREFIX), (5100, "2001:db8:1::10", "2001:db8:1::/64")] {
        let attacker = scene.world.attacker(addr);
        kernel.count_packets(attacker.addr);
        assert!(attacker.is_served(SOON));
        attack(&scene, pid, addr);
        scene.wait_banned(prefix);
        // What was under way is over once nothing leaves while something arrives; then it has to stay so.
        let knocking = attacker.knock();
        let mut last = kernel.packets();
        wait_for(SOON, "silence", || {
            let before = std::mem::replace(&mut last, kernel.packets());
            (last.arrived > before.arrived && last.left == before.left).then_some(())
        });
        let later = wait_for(SOON, "twenty more packets", || {
            let now = kernel.packets();
            (now.arrived >= last.arrived + 20).then_some(now)
        });
        assert_eq!(later.left, last.left, "replies left");
        let knocks = knocking.stop();
        assert!(knocks.answered.is_empty(), "{knocks:?}");
        kernel.nft("delete table inet lab");
    }
    assert!(scene.world.friend("198.51.100.8").is_served(SOON));
    assert!(scene.world.friend("2001:db8:f::1").is_served(SOON));
    assert!(kernel.nft_json().is_none(), "no table of ours is made");
}

#[test]
fn a_real_attack_ends_in_a_route() {
    let Some(scene) = Scene::new(CONFIG) else { return };
    let attacker = scene.world.attacker(BANNED);
    let answered = scene.guess(&attacker, "root");
    scene.wait_banned(PREFIX);
    assert!((2..=3).contains(&answered), "{answered} guesses were answered");
    assert_eq!(routes(&scene.world), [PREFIX]);
    assert_eq!(scene.daemon.status()["banaction"], "nullroute");
}

#[test]
fn a_foreign_route_of_the_same_prefix_is_an_error_and_stays() {
    let Some(scene) = Scene::new(CONFIG) else { return };
    scene.world.server.run("ip", &["route", "add", "blackhole", BANNED]);
    let foreign = scene.world.server.run("ip", &["route", "show", BANNED]);
    let answer = scene.daemon.ask(&["ban", BANNED, "--for", "1h"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(format!("{}{}", answer.out, answer.err).contains(BANNED), "{answer:?}");
    let warned = |warnings: &serde_json::Value| {
        warnings
            .as_array()
            .into_iter()
            .flatten()
            .any(|text| text.as_str().is_some_and(|text| text.contains(BANNED)))
    };
    let status = scene.daemon.status();
    assert!(warned(&status["warnings"]), "{status}");
    assert!(scene.daemon.errors().lines().any(|line| line.contains("ERROR") && line.contains(BANNED)));
    // Others are banned all the same.
    attack(&scene, 5000, "198.51.100.8");
    scene.wait_banned("198.51.100.8/32");
    scene.daemon.ask(&["unban", "--all"]);
    scene.wait_free("198.51.100.8/32", SOON);
    assert_eq!(scene.world.server.run("ip", &["route", "show", BANNED]), foreign);
}

#[test]
fn a_route_goes_soon_after_its_bans_end_and_not_before() {
    let Some(scene) = Scene::new("banaction = \"nullroute\"\nbantime = \"2s\"\n") else { return };
    attack(&scene, 5000, BANNED);
    scene.wait_banned(PREFIX);
    let ban = scene.daemon.ban_of(PREFIX).expect("it is listed");
    let until: jiff::Timestamp = ban["until"].as_str().and_then(|at| at.parse().ok()).expect("an end");
    scene.wait_free(PREFIX, SOON);
    let early = until.duration_since(jiff::Timestamp::now()).as_secs_f64();
    // The end that is listed is cut to a second, and looking takes its time.
    assert!((-5.0..0.1).contains(&early), "it was free {early} s before its end");
    assert!(scene.world.attacker(BANNED).is_served(SOON));
}

#[test]
fn unban_takes_the_route_away() {
    let Some(scene) = Scene::new(CONFIG) else { return };
    attack(&scene, 5000, BANNED);
    scene.wait_banned(PREFIX);
    assert_eq!(scene.world.attacker(BANNED).banner(SHORT), None);
    assert_eq!(scene.daemon.ask(&["unban", BANNED]).code, Some(0));
    assert_eq!(routes(&scene.world), Vec::<String>::new());
    assert!(scene.world.attacker(BANNED).is_served(SOON));
}

#[test]
fn off_takes_every_route_away_and_on_brings_them_back() {
    let Some(scene) = Scene::new(CONFIG) else { return };
    let bans = ["ban", BANNED, "203.0.113.0/28", "2001:db8:7::/48", "--for", "1h"];
    assert_eq!(scene.daemon.ask(&bans).code, Some(0));
    let before = routes(&scene.world);
    assert_eq!(before.len(), 3);
    assert_eq!(scene.daemon.ask(&["off"]).code, Some(0));
    assert_eq!(routes(&scene.world), Vec::<String>::new());
    assert_eq!(scene.daemon.ask(&["on"]).code, Some(0));
    assert_eq!(routes(&scene.world), before);
}

#[test]
fn no_knock_is_answered_over_restart_and_kill_with_routes() {
    let Some(mut scene) = Scene::new(CONFIG) else { return };
    attack(&scene, 5000, BANNED);
    scene.wait_banned(PREFIX);
    let attacker = scene.world.attacker(BANNED);
    assert_eq!(attacker.banner(SHORT), None);
    let knocking = attacker.knock();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1500) {
        let (code, said) = scene.daemon.stop();
        assert_eq!(code, Some(0), "{said}");
        scene.daemon = Daemon::start(&scene.world.server, CONFIG);
        scene.daemon.kill();
        scene.daemon = Daemon::start(&scene.world.server, CONFIG);
    }
    let knocks = knocking.stop();
    assert!(knocks.sent > 50 && knocks.answered.is_empty(), "{knocks:?}");
    assert_eq!(routes(&scene.world), [PREFIX]);
}

#[test]
fn routes_whose_bans_ended_while_the_daemon_was_down_are_gone_after_its_start() {
    let config = "banaction = \"nullroute\"\nbantime = \"1s\"\n";
    let Some(mut scene) = Scene::new(config) else { return };
    attack(&scene, 5000, BANNED);
    scene.daemon.wait_for(SOON, "the route", || (routes(&scene.world) == [PREFIX]).then_some(()));
    let until =
        scene.daemon.ban_of(PREFIX).and_then(|ban| ban["until"].as_str()?.parse::<jiff::Timestamp>().ok());
    scene.daemon.kill();
    if let Some(until) = until {
        wait_for(SOON, "the end of the ban", || (jiff::Timestamp::now() > until).then_some(()));
        assert_eq!(routes(&scene.world), [PREFIX], "the kernel ends no route by itself");
    }
    scene.daemon = Daemon::start(&scene.world.server, config);
    scene.wait_free(PREFIX, SOON);
}

#[test]
fn a_route_that_somebody_deletes_is_healed_within_a_second() {
    let Some(scene) = Scene::new(CONFIG) else { return };
    attack(&scene, 5000, BANNED);
    scene.wait_banned(PREFIX);
    scene.world.server.run("ip", &["route", "del", "blackhole", BANNED]);
    scene.daemon.wait_for(Duration::from_secs(1), "the route to be back", || {
        (routes(&scene.world) == [PREFIX]).then_some(())
    });
}

#[test]
fn a_refused_route_is_warned_about_until_it_is_there() {
    let Some(scene) = Scene::new(CONFIG) else { return };
    let server = &scene.world.server;
    let foreign = ["route", "add", "unreachable", "198.51.100.50/32"];
    server.run("ip", &foreign);
    attack(&scene, 5000, "198.51.100.50");
    let refused = || {
        let warnings = scene.daemon.status()["warnings"].clone();
        warnings.as_array().is_some_and(|all| all.iter().any(|one| one.to_string().contains("198.51.100.50")))
    };
    scene.daemon.wait_for(SOON, "a warning", || refused().then_some(()));
    // Another ban, which the kernel takes, does not hide that one.
    attack(&scene, 5100, BANNED);
    scene.wait_banned(PREFIX);
    let unbanned = scene.daemon.ask(&["unban", BANNED]);
    assert_eq!(unbanned.code, Some(0), "{unbanned:?}");
    assert!(refused(), "{}", scene.daemon.status());
    server.run("ip", &["route", "del", "unreachable", "198.51.100.50/32"]);
    let added = scene.daemon.ask(&["ban", "198.51.100.9"]);
    assert_eq!(added.code, Some(0), "{added:?}");
    scene.wait_banned("198.51.100.50/32");
    scene.daemon.wait_for(SOON, "the warning to go", || (!refused()).then_some(()));
}

#[test]
fn the_last_line_says_what_becomes_of_the_bans() {
    let stop = |config: &str, orders: &[&[&str]]| {
        let (_world, server) = quiet_server()?;
        let daemon = Daemon::start(&server, config);
        for order in orders {
            assert_eq!(daemon.ask(order).code, Some(0), "{order:?}");
        }
        let (_, said) = daemon.stop();
        Some(said.lines().rfind(|line| line.starts_with("stopped: ")).unwrap_or_default().to_owned())
    };
    let ban = ["ban", BANNED, "--for", "1h"];
    let forever = ["ban", "198.51.100.8", "--for", "forever"];
    let Some(line) = stop("", &[&ban]) else { return };
    assert!(line.contains("1 ban stays in force by nftables and ends by itself; `pillory off`"), "{line}");
    let line = stop("", &[&ban, &forever]).unwrap_or_default();
    assert!(line.contains("and end by themselves, but for 1 that last forever"), "{line}");
    // The kernel has no time-out for routes.
    let line = stop(CONFIG, &[&ban]).unwrap_or_default();
    assert!(
        line.contains("without an end, until a daemon runs again") && !line.contains("themselves"),
        "{line}"
    );
    let line = stop("", &[&ban, &["off"]]).unwrap_or_default();
    assert!(line.contains("1 ban, not in force") && !line.contains("stay in force"), "{line}");
    let line = stop("on_stop = \"lift\"\n", &[&ban]).unwrap_or_default();
    assert!(line.contains("1 ban lifted from the kernel"), "{line}");
}

#[test]
fn a_refused_ban_is_no_change_by_somebody_else() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, CONFIG);
    server.run("ip", &["route", "add", "blackhole", "8.8.8.8"]);
    assert_eq!(daemon.ask(&["ban", "8.8.8.8"]).code, Some(1));
    // The kernel is read back after each of these, and before the next is answered.
    for addr in ["8.8.4.4", "8.8.4.5", "8.8.4.6"] {
        assert_eq!(daemon.ask(&["ban", addr]).code, Some(0));
    }
    assert!(!daemon.errors().contains("changed by somebody else"), "{}", daemon.errors());
    assert_eq!(world.kernel().blackholes().len(), 4, "three of ours and the foreign one");
}
