//! Drills: somebody else changes the firewall or the routes, by every way that is common; the bans are back at once.

use std::time::{Duration, Instant};

use crate::lab::{
    Daemon, Host, Notices, SHORT, SOON, Scene, World, failed_lines, package_file, quiet_server, say_figure,
    wait_for,
};

const LOG: &str = "/var/log/auth.log";
pub(crate) const BANNED: &str = "198.51.100.7";
const PREFIX: &str = "198.51.100.7/32";
/// The aim is 0.1 s on an idle machine. This one may do a dozen things at once; the check that comes every 30 s
/// would still be too late for it.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A guarded server that has banned somebody.
pub(crate) fn banned(config: &str) -> Option<Scene> {
    let scene = Scene::new(config)?;
    scene.world.server.append(LOG, failed_lines(5000, 3, "root", BANNED));
    scene.wait_banned(PREFIX);
    Some(scene)
}

/// Times from the begin of what `meddle` runs, its start included, to the last thing that the daemon does about it,
/// as the kernel tells both.
#[track_caller]
fn time_healing(notices: &Notices, drill: &str, meddle: impl FnOnce(), is_whole: impl Fn() -> bool) {
    let began = Instant::now();
    meddle();
    let ended = began.elapsed();
    wait_for(SOON, &format!("the ban to be back after: {drill}"), || is_whole().then_some(()));
    let took = wait_for(SOON, "the kernel's notices", || notices.answered()).duration_since(began);
    let ms = |span: Duration| span.as_secs_f64() * 1e3;
    say_figure(&format!(
        "{drill}: healed {:.0} ms after the command was started, which ran for {:.0} ms",
        ms(took),
        ms(ended)
    ));
    assert!(took < ended + AT_ONCE, "{drill}: healed after {took:?}");
}

fn heals_nft(drill: &str, meddle: impl FnOnce(&Scene)) {
    let Some(scene) = banned("") else { return };
    let kernel = scene.world.kernel();
    let is_whole = || kernel.holds("ban4", BANNED) && kernel.ruleset().contains("ip saddr @ban4 ");
    assert!(is_whole(), "{}", kernel.ruleset());
    time_healing(&Notices::of_nftables(&scene.world.server), drill, || meddle(&scene), is_whole);
    assert_eq!(scene.world.attacker(BANNED).banner(SHORT), None);
    scene.wait_banned(PREFIX);
}

fn by_nft(commands: &str) -> impl FnOnce(&Scene) {
    |scene| drop(scene.world.kernel().nft(commands))
}

#[test]
fn bans_are_back_at_once_after_a_flushed_ruleset() {
    heals_nft("nft flush ruleset", by_nft("flush ruleset"));
}

#[test]
fn bans_are_back_at_once_after_our_table_is_deleted() {
    heals_nft("our table deleted", by_nft("delete table inet pillory"));
}

#[test]
fn bans_are_back_at_once_after_a_set_is_deleted() {
    let commands = "flush chain inet pillory prerouting; delete set inet pillory ban4";
    heals_nft("our set deleted", by_nft(commands));
}

#[test]
fn bans_are_back_at_once_after_an_element_is_deleted() {
    heals_nft("one element deleted", by_nft("delete element inet pillory ban4 { 198.51.100.7 }"));
}

#[test]
fn rules_are_back_at_once_after_our_chain_is_flushed() {
    heals_nft("our chain flushed", by_nft("flush chain inet pillory prerouting"));
}

/// What `systemctl restart nftables` runs, by the package's unit, on the package's own ruleset.
#[test]
fn bans_are_back_at_once_after_the_nftables_service_is_restarted() {
    let Some(rules) = package_file("etc/nftables.conf") else { return };
    heals_nft("nftables service restarted", |scene| {
        let server = &scene.world.server;
        server.write("/etc/nftables.conf", &rules);
        server.run("nft", &["flush", "ruleset"]);
        server.run("nft", &["-f", "/etc/nftables.conf"]);
        // The rules of others are none of our business.
        assert!(scene.world.kernel().ruleset().contains("table inet filter"));
    });
}

#[test]
fn null_routes_are_back_at_once_after_the_routes_are_flushed() {
    let Some(scene) = banned("banaction = \"nullroute\"\n") else { return };
    let server = &scene.world.server;
    let kernel = scene.world.kernel();
    time_healing(
        &Notices::of_routes(server),
        "ip route flush",
        || drop(server.run("ip", &["route", "flush", "table", "main"])),
        || kernel.is_banned(scene.world.attacker(BANNED).addr),
    );
    // Whoever flushes routes makes their own anew; the ban is among them.
    server.ip_batch("route add 192.0.2.0/24 dev eth0\nroute add default via 192.0.2.254\n");
    scene.wait_banned(PREFIX);
    assert_eq!(scene.world.attacker(BANNED).banner(SHORT), None);
    assert!(scene.world.friend("198.51.100.9").is_served(SOON));
}

/// A server whose saved ruleset is older than what was ordered since: one ban lifted, one made.
fn stale_ruleset() -> Option<(World, Host, Daemon)> {
    let (world, server) = quiet_server()?;
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", "198.51.100.7", "198.51.100.8", "--for", "1h"]).code, Some(0));
    let saved = world.kernel().ruleset();
    assert!(saved.contains("198.51.100.7") && saved.contains("198.51.100.8"), "{saved}");
    server.write("/etc/nftables.conf", format!("flush ruleset\n{saved}"));
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    assert_eq!(daemon.ask(&["ban", "198.51.100.9", "--for", "2h"]).code, Some(0));
    Some((world, server, daemon))
}

fn in_kernel(world: &World) -> Vec<String> {
    world.kernel().banned().iter().map(ToString::to_string).collect()
}

const RIGHT: [&str; 2] = ["198.51.100.8/32", "198.51.100.9/32"];

#[test]
fn a_stale_ruleset_restored_at_boot_brings_back_no_lifted_ban() {
    let Some((world, server, daemon)) = stale_ruleset() else { return };
    daemon.kill();
    server.run("nft", &["-f", "/etc/nftables.conf"]);
    assert_eq!(in_kernel(&world), ["198.51.100.7/32", "198.51.100.8/32"]);
    let daemon = Daemon::start(&server, "");
    assert_eq!(in_kernel(&world), RIGHT);
    assert!(daemon.lists(RIGHT[0]) && daemon.lists(RIGHT[1]) && !daemon.lists(PREFIX));
}

#[test]
fn a_stale_ruleset_restored_while_the_daemon_runs_is_healed_at_once() {
    let Some((world, server, daemon)) = stale_ruleset() else { return };
    time_healing(
        &Notices::of_nftables(&server),
        "stale ruleset restored",
        || drop(server.run("nft", &["-f", "/etc/nftables.conf"])),
        || in_kernel(&world) == RIGHT,
    );
    // And its end is that of the ledger, not of the file.
    let left = world.kernel().left("ban4", "198.51.100.9");
    assert!(left.is_some_and(|left| left > Duration::from_secs(7000)), "{left:?}");
    assert!(!daemon.lists(PREFIX));
}

#[test]
fn a_set_that_somebody_made_too_small_is_made_anew() {
    let Some((world, server)) = quiet_server() else { return };
    // As if written into a ruleset file by hand.
    let small = "add table inet pillory; \
        add set inet pillory ban4 { type ipv4_addr; flags timeout; size 1; }";
    world.kernel().nft(small);
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", "198.51.100.8", "198.51.100.9", "--for", "1h"]).code, Some(0));
    assert_eq!(in_kernel(&world), RIGHT);
    // The same while it runs.
    world.kernel().nft(&format!("delete table inet pillory; {small}"));
    daemon.wait_for(SOON, "the bans to be back", || (in_kernel(&world) == RIGHT).then_some(()));
}
