//! The password database is down: the owner's retries are told of and ban nobody, an attacker's ban as always.

use std::time::Duration;

use pillory_core::net::Prefix;

use crate::lab::{Daemon, World};

const SOON: Duration = Duration::from_secs(15);
const LOG: &str = "/var/log/access.log";
const CONFIG: &str = "[jail.wordpress]\nlogpath = [\"/var/log/access.log\"]\n";
const OWNER: &str = "192.0.2.77";

/// A line of a login form's answer, `when` as date(1) takes it: 302 lets in, 200 shows the form again.
fn answer(world: &World, addr: &str, status: u16, when: &str) -> String {
    let stamp = world.server.run("date", &["+%d/%b/%Y:%H:%M:%S %z", "-d", when]);
    format!("{addr} - - [{}] \"POST /wp-login.php HTTP/1.1\" {status} 9 \"-\" \"x\"\n", stamp.trim())
}

#[test]
fn the_owner_retries_ten_times_while_the_password_database_is_down() {
    let Some(world) = World::new() else { return };
    let past: String =
        ["4 days ago", "3 days ago", "2 days ago"].map(|day| answer(&world, OWNER, 302, day)).concat();
    world.server.write(LOG, past);
    let daemon = Daemon::start(&world.server, CONFIG);
    let fail = |addr: &str| world.server.append(LOG, answer(&world, addr, 200, "now").repeat(10));
    fail(OWNER);
    // The stranger's ban shows that the owner's lines have been judged.
    fail("203.0.113.1");
    let is_banned = |addr: &str| {
        let addr: Prefix = addr.parse().expect("an address");
        world.kernel().banned().contains(&addr)
    };
    daemon.wait_for(SOON, "the stranger's ban", || is_banned("203.0.113.1").then_some(()));
    assert!(!is_banned(OWNER));
    let warned =
        || daemon.status()["warnings"].to_string().contains("jail wordpress: 192.0.2.77 fails again");
    assert!(warned(), "{}", daemon.status());
    assert!(daemon.errors().contains("is the service's password database down"), "{}", daemon.errors());
    let explained = daemon.ask(&["explain", OWNER]).out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(explained.contains("10 of 5 points") && explained.contains("held back"), "{explained}");
    assert!(explained.contains("it is a regular place"), "{explained}");
    // Somebody got in, so the database is up: whoever still fails there guesses.
    world.server.append(LOG, answer(&world, OWNER, 302, "now"));
    daemon.wait_for(SOON, "the warning to go", || (!warned()).then_some(()));
    fail(OWNER);
    daemon.wait_for(SOON, "a ban while others can log in", || is_banned(OWNER).then_some(()));
}

#[test]
fn owners_who_retry_a_minute_after_a_login_are_not_banned_either() {
    let Some(world) = World::new() else { return };
    const OWNERS: [&str; 3] = [OWNER, "198.51.100.77", "198.51.100.78"];
    let days = ["4 days ago", "3 days ago", "2 days ago"];
    let mut past: String =
        days.map(|day| OWNERS.map(|addr| answer(&world, addr, 302, day)).concat()).concat();
    past.push_str(&answer(&world, OWNER, 302, "1 minute ago"));
    world.server.write(LOG, past);
    let daemon = Daemon::start(&world.server, CONFIG);
    let retries = OWNERS.map(|addr| answer(&world, addr, 200, "now")).concat().repeat(10);
    world.server.append(LOG, retries + &answer(&world, "203.0.113.1", 200, "now").repeat(10));
    let banned = || -> Vec<String> { world.kernel().banned().iter().map(|prefix| prefix.short()).collect() };
    daemon.wait_for(SOON, "the stranger's ban", || (!banned().is_empty()).then_some(()));
    assert_eq!(banned(), ["203.0.113.1"]);
    let warnings = daemon.status()["warnings"].to_string();
    assert!(warnings.contains("so do users from 3 places in all"), "{warnings}");
    // A network over one of them is refused as one over any other place with good logins.
    let refused = daemon.ask(&["ban", "198.51.100.64/27"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let said = refused.out + &refused.err;
    assert!(said.contains("2 addresses from which people logged in"), "{said}");
}
