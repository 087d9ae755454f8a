//! A proxy in front of a web server that nobody listed: not banned, warned about, also after a restart.

use std::fmt::Write;
use std::time::Duration;

use pillory_core::net::Prefix;

use crate::lab::{Daemon, World};

const SOON: Duration = Duration::from_secs(15);
const LOG: &str = "/var/log/access.log";
const CONFIG: &str = "[jail.wordpress]\nlogpath = [\"/var/log/access.log\"]\n";
const PROXY: &str = "10.66.0.9";

/// Lets the proxy fail ten times, then a stranger, whose ban shows that the lines have been judged.
fn fail(world: &World, daemon: &Daemon, stranger: &str) {
    let now = world.server.run("date", &["+%d/%b/%Y:%H:%M:%S %z"]);
    for addr in [PROXY, stranger] {
        let line = format!("{addr} - - [{}] \"POST /wp-login.php HTTP/1.1\" 200 9 \"-\" \"x\"\n", now.trim());
        world.server.append(LOG, line.repeat(10));
    }
    let wanted: Prefix = stranger.parse().expect("an address");
    daemon.wait_for(SOON, "the stranger's ban", || world.kernel().banned().contains(&wanted).then_some(()));
}

#[test]
fn an_unlisted_proxy_is_warned_about_and_not_banned_also_after_a_restart() {
    let Some(world) = World::new() else { return };
    world.server.write(LOG, "");
    let daemon = Daemon::start(&world.server, CONFIG);
    let now = world.server.run("date", &["+%d/%b/%Y:%H:%M:%S %z"]);
    let mut traffic = String::new();
    for page in 0..640 {
        writeln!(traffic, "{PROXY} - - [{}] \"GET /{page} HTTP/1.1\" 200 9 \"-\" \"x\"", now.trim())
            .expect("a string takes it");
    }
    world.server.append(LOG, traffic);
    daemon.wait_for(SOON, "the warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("jail wordpress: 10.66.0.9 (100 %) presumed to be a proxy").then_some(())
    });
    fail(&world, &daemon, "203.0.113.1");
    assert!(!world.kernel().is_banned(PROXY.parse().expect("an address")));
    let explained = daemon.ask(&["explain", PROXY, "--json"]).json();
    assert_eq!(explained["never_banned"][0]["why"], "presumed to be a proxy", "{explained}");

    daemon.stop();
    let daemon = Daemon::start(&world.server, CONFIG);
    fail(&world, &daemon, "203.0.113.2");
    assert!(!world.kernel().is_banned(PROXY.parse().expect("an address")));
}
