//! Killed at every boundary between decided, in the kernel, written and answered: after the next start everything that
//! was acknowledged is in force, nothing was judged twice, and the kernel is what the ledger says.
//!
//! `daemon/src/crash.rs` lets the daemon under test die there; a release binary knows nothing of it.

use crate::lab::{Daemon, DaemonOptions, Host, SOON, World, failed_lines, quiet_server, wait_for};

const LOG: &str = "/var/log/auth.log";
/// Who is banned, and somebody who failed too rarely for that.
const BANNED: (&str, &str) = ("198.51.100.7", "198.51.100.7/32");
const RARE: &str = "198.51.100.8";
/// Banned before, by an order that was answered.
const BEFORE: &str = "203.0.113.5/32";

/// A daemon that will die at `point`, after an acknowledged ban by one that would not.
fn armed(point: &str) -> Option<(World, Host, Daemon)> {
    let (world, server) = quiet_server()?;
    let daemon = Daemon::start(&server, "widen = false\n");
    assert_eq!(daemon.ask(&["ban", BEFORE, "--for", "1h"]).code, Some(0));
    server.append(LOG, failed_lines(4000, 2, "alice", RARE));
    daemon.wait_for(SOON, "the rare failures", || (daemon.attempts_of(RARE) == 2).then_some(()));
    daemon.kill();
    let options = DaemonOptions {
        config: Some("widen = false\n".to_owned()),
        env: vec![("PILLORY_CRASH_AT".to_owned(), point.to_owned())],
        ..DaemonOptions::default()
    };
    let daemon = Daemon::start_with(&server, &options);
    Some((world, server, daemon))
}

/// What must hold after the next start. `wanted`: everybody who must be banned.
#[track_caller]
fn check(world: &World, server: &Host, (is_flushed, point): (bool, &str), wanted: &[&str]) -> Daemon {
    if is_flushed {
        world.kernel().nft("flush ruleset");
    }
    let daemon = Daemon::start(server, "widen = false\n");
    let mut listed: Vec<String> =
        daemon.list().iter().map(|ban| ban["prefix"].as_str().expect("a prefix").to_owned()).collect();
    let mut shut_out: Vec<String> = world.kernel().banned().iter().map(ToString::to_string).collect();
    listed.sort();
    shut_out.sort();
    assert_eq!(listed, shut_out, "at {point}, flushed {is_flushed}");
    assert_eq!(listed, wanted, "at {point}, flushed {is_flushed}");
    assert_eq!(daemon.counted(RARE), (2.0, 2), "at {point}");
    daemon
}

fn wait_for_its_death(daemon: &mut Daemon, point: &str) {
    wait_for(SOON, &format!("it to die at {point}"), || (!daemon.is_running()).then_some(()));
}

/// Dies while a jail bans.
fn a_jail_bans(point: &str) {
    for is_flushed in [false, true] {
        let Some((world, server, mut daemon)) = armed(point) else { return };
        server.append(LOG, failed_lines(5000, 3, "root", BANNED.0));
        wait_for_its_death(&mut daemon, point);
        let daemon = check(&world, &server, (is_flushed, point), &[BANNED.1, BEFORE]);
        assert_eq!(daemon.ban_of(BANNED.1).expect("it is listed")["failures"], 3, "at {point}");
        assert_eq!(daemon.attempts_of(BANNED.0), 3, "at {point}");
    }
}

/// Dies while it carries out an order, which nobody was told to be done.
fn an_order_bans(point: &str, is_kept: bool) {
    for is_flushed in [false, true] {
        let Some((world, server, mut daemon)) = armed(point) else { return };
        let answer = daemon.ask(&["ban", BANNED.1, "--for", "1h"]);
        assert_ne!(answer.code, Some(0), "at {point}: {answer:?}");
        wait_for_its_death(&mut daemon, point);
        let wanted: &[&str] = if is_kept { &[BANNED.1, BEFORE] } else { &[BEFORE] };
        check(&world, &server, (is_flushed, point), wanted);
    }
}

#[test]
fn a_jails_ban_outlives_a_death_once_it_is_decided() {
    a_jail_bans("decided");
}

#[test]
fn a_jails_ban_outlives_a_death_between_kernel_and_store() {
    a_jail_bans("kernel_told");
}

#[test]
fn a_jails_ban_outlives_a_death_between_store_and_kernel() {
    a_jail_bans("ledger_written");
}

#[test]
fn an_order_that_nobody_wrote_down_is_not_answered_and_leaves_nothing() {
    an_order_bans("decided", false);
    an_order_bans("kernel_told", false);
}

#[test]
fn an_order_that_was_written_is_carried_out_by_the_next_start() {
    an_order_bans("ledger_written", true);
    an_order_bans("both_done", true);
}

#[test]
fn an_order_that_was_answered_outlives_a_death_right_after() {
    for is_flushed in [false, true] {
        let Some((world, server, daemon)) = armed("nowhere") else { return };
        assert_eq!(daemon.ask(&["ban", BANNED.1, "--for", "1h"]).code, Some(0));
        daemon.kill();
        check(&world, &server, (is_flushed, "acknowledged"), &[BANNED.1, BEFORE]);
    }
}

/// A daemon that died after both had done what `order` wants and before it answered; what comes after it.
fn after_the_unanswered(order: &[&str], is_flushed: bool) -> Option<(World, Daemon)> {
    let (world, server, mut daemon) = armed("both_done")?;
    let answer = daemon.ask(order);
    assert_ne!(answer.code, Some(0), "{order:?}: {answer:?}");
    wait_for_its_death(&mut daemon, "both_done");
    if is_flushed {
        world.kernel().nft("flush ruleset");
    }
    let daemon = Daemon::start(&server, "widen = false\n");
    Some((world, daemon))
}

#[test]
fn an_unban_an_off_and_an_allow_that_were_done_and_not_answered_hold_after_a_death() {
    for is_flushed in [false, true] {
        let Some((world, daemon)) = after_the_unanswered(&["unban", BEFORE], is_flushed) else { return };
        assert!(daemon.list().is_empty() && world.kernel().banned().is_empty());
        let Some((world, daemon)) = after_the_unanswered(&["off"], is_flushed) else { return };
        assert!(daemon.lists(BEFORE) && world.kernel().banned().is_empty());
        assert_eq!(daemon.status()["enforcing"], false);
        let Some((_world, daemon)) = after_the_unanswered(&["allow", BANNED.0], is_flushed) else { return };
        let answer = daemon.ask(&["ban", BANNED.1, "--for", "1h"]);
        assert!(answer.code != Some(0) && !daemon.lists(BANNED.1), "{answer:?}");
    }
}
