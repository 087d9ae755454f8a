//! One scene, played in network namespaces: a server with a real sshd, an attacker, a friend, and Pillory.
//!
//! `make demo` runs it. Nothing of the real host is touched.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a scene starts programs and looks at the clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a scene that cannot go on ends")]

mod lab;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lab::{Attacker, Daemon, Logging, Outcome, PASSWORD, Sshd, World, wait_for};

const ATTACKER: &str = "198.51.100.66";
const FRIEND: &str = "192.0.2.200";
const SHORT: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(10);

fn main() {
    let started = Instant::now();
    let Some(world) = World::with(Logging::Rsyslog.needs()) else {
        std::process::exit(1);
    };
    scene("A server, its log, and the street outside");
    say("Three hosts in network namespaces of their own; your firewall, routes and logs are not touched.");
    let syslog = Logging::Rsyslog.start(&world.server);
    let _sshd = Sshd::start(&world.server);
    say("server   192.0.2.1, 2001:db8::1: a real sshd, a real rsyslogd that writes /var/log/auth.log");
    say(&format!("attacker {ATTACKER}"));
    say(&format!("friend   {FRIEND}, has an account: alice"));

    scene("Pillory starts, with nothing configured");
    let daemon = Daemon::start(&world.server, "");
    say(&format!("$ pillory run                      (ready after {:.0?})", daemon.ready_after));
    quote(&daemon.errors());

    let attacker = world.attacker(ATTACKER);
    attack(&world, &attacker, &daemon);
    scene("What the log says, and what the kernel says");
    quote(&lines_with(&syslog.text(), ATTACKER));
    say("$ nft list set inet pillory ban4");
    quote(&world.server.run("nft", &["list", "set", "inet", "pillory", "ban4"]));
    say("$ pillory list");
    quote(&daemon.ask(&["list"]).out);
    say(&format!("$ pillory explain {ATTACKER}"));
    quote(&daemon.ask(&["explain", ATTACKER]).out);

    scene("The friend does not notice");
    let outcome = world.friend(FRIEND).try_password("alice", PASSWORD);
    say(&format!("alice logs in from {FRIEND}: {}", in_words(&outcome)));
    let outcome = attacker.try_login(&lab::Try { connect_timeout_s: 1, ..lab::Try::default() });
    say(&format!("the attacker once more: {}", in_words(&outcome)));

    scene("Pardon");
    say(&format!("$ pillory unban {ATTACKER}"));
    quote(&daemon.ask(&["unban", ATTACKER]).out);
    let banner = wait_for(SOON, "a banner for the unbanned", || attacker.banner(SHORT));
    say(&format!("the attacker's next connection is answered again: {banner}"));

    let (code, _) = daemon.stop();
    assert_eq!(code, Some(0), "the daemon ends well");
    drop(world);
    println!("\nThat was all; it took {:.0} s, and nothing is left of it.", started.elapsed().as_secs_f32());
}

/// The attacker guesses until nobody answers.
fn attack(world: &World, attacker: &Attacker, daemon: &Daemon) {
    scene("The attack");
    let addr: IpAddr = attacker.addr;
    let banned = || world.kernel().is_banned(addr);
    for (user, password) in [("root", "123456"), ("root", "toor"), ("admin", "admin"), ("root", "qwerty")] {
        let began = Instant::now();
        let mut login =
            attacker.start_login(&lab::Try { user, password, connect_timeout_s: 2, ..lab::Try::default() });
        let mut banned_after = None;
        while login.is_alive() && banned_after.is_none() {
            if banned() {
                banned_after = Some(began.elapsed());
            }
        }
        let what = format!("{user} with password {password:?}");
        if let Some(after) = banned_after {
            say(&format!("{what}: banned in the kernel {after:.0?} after the connection began"));
            return;
        }
        say(&format!("{what}: {} after {:.1?}", in_words(&login.outcome()), began.elapsed()));
    }
    daemon.wait_for(SOON, "the ban", || banned().then_some(()));
}

fn scene(title: &str) {
    println!("\n== {title}");
}

fn say(line: &str) {
    println!("   {line}");
}

fn quote(text: &str) {
    for line in text.lines() {
        println!("     | {line}");
    }
}

fn lines_with(text: &str, word: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(word)).collect();
    lines.join("\n")
}

fn in_words(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "welcome",
        Outcome::Denied => "wrong password",
        Outcome::Broken(_) => "the line went dead",
        Outcome::Unreachable(_) => "nobody answers",
    }
}
