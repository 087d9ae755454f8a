//! Bans end: by themselves when their time is over, by hand, and all at once by `pillory off`.

use std::time::{Duration, Instant};

use crate::lab::{
    CONTROL, Daemon, Host, Running, SHORT, SOON, STATE_DIR, Scene, binary, failed_line, failed_lines,
    pillory, quiet_server, wait_for, wait_until,
};

const LOG: &str = "/var/log/auth.log";
const BANNED: &str = "198.51.100.7";
const PREFIX: &str = "198.51.100.7/32";

/// A scene in which [`BANNED`] is banned by the jail sshd.
fn banned(config: &str) -> Option<Scene> {
    let scene = Scene::new(config)?;
    ban_by_attack(&scene, 5000);
    Some(scene)
}

fn ban_by_attack(scene: &Scene, first_pid: u32) {
    scene.world.server.append(LOG, failed_lines(first_pid, 3, "root", BANNED));
    scene.wait_banned(PREFIX);
}

#[test]
fn a_ban_leaves_kernel_and_ledger_soon_after_its_end_and_not_before() {
    let Some(scene) = banned("bantime = \"3s\"\n") else { return };
    let attacker = scene.world.attacker(BANNED);
    let asked = Instant::now();
    let left = scene.world.kernel().left("ban4", BANNED).expect("its time in the kernel is limited");
    let answered = Instant::now();
    assert!(left <= Duration::from_secs(3), "{left:?}");
    assert_eq!(attacker.banner(SHORT), None);
    scene.wait_free(PREFIX, SOON);
    let free = Instant::now();
    // The kernel counted what is left at some moment between question and answer; its clock ticks every few
    // milliseconds, and the ledger's own end is as exact.
    let early = (asked + left).saturating_duration_since(free);
    let late = free.saturating_duration_since(answered + left);
    assert!(early <= Duration::from_millis(100), "it was free {early:?} before its end");
    assert!(late <= Duration::from_secs(5), "it was free {late:?} after its end");
    assert!(attacker.is_served(SOON));
    let history = scene.daemon.ask_json(&["history", "--ip", BANNED]);
    let what: Vec<_> = history.as_array().into_iter().flatten().map(|row| row["what"].clone()).collect();
    assert_eq!(what, ["ban", "expire"]);
}

#[test]
fn an_unbanned_source_begins_to_count_anew() {
    let Some(scene) = banned("") else { return };
    assert_eq!(scene.daemon.ask(&["unban", BANNED]).code, Some(0));
    scene.wait_free(PREFIX, SOON);
    assert_eq!(scene.daemon.counted(BANNED), (0.0, 0));
    scene.world.server.append(LOG, failed_lines(5100, 2, "root", BANNED));
    scene.daemon.wait_for(SOON, "two attempts", || (scene.daemon.counted(BANNED) == (4.0, 2)).then_some(()));
    assert!(!scene.daemon.lists(PREFIX));
    scene.world.server.append(LOG, failed_line(5102, "root", BANNED));
    scene.wait_banned(PREFIX);
}

#[test]
fn unbanning_who_is_not_banned_says_no() {
    let Some(scene) = banned("") else { return };
    let answer = scene.daemon.ask(&["unban", "198.51.100.99"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(scene.daemon.lists(PREFIX));
}

#[test]
fn unbanning_for_one_jail_keeps_the_ban_of_the_other() {
    let config = "[jail.blog]\nfilter = \"wordpress\"\nlogpath = \"/var/log/blog\"\n";
    let Some(scene) = banned(config) else { return };
    assert_eq!(scene.daemon.ask(&["ban", BANNED, "--jail", "blog", "--for", "1h"]).code, Some(0));
    assert_eq!(scene.daemon.list().len(), 2);
    assert_eq!(scene.daemon.ask(&["unban", BANNED, "--jail", "sshd"]).code, Some(0));
    let left = scene.daemon.list();
    assert_eq!(left.iter().map(|ban| ban["jail"].clone()).collect::<Vec<_>>(), ["blog"]);
    assert_eq!(scene.world.attacker(BANNED).banner(SHORT), None);
    assert_eq!(scene.daemon.ask(&["unban", BANNED, "--jail", "blog"]).code, Some(0));
    scene.wait_free(PREFIX, SOON);
    assert!(scene.world.attacker(BANNED).is_served(SOON));
}

#[test]
fn unbanning_all_empties_the_kernel() {
    let Some(scene) = banned("") else { return };
    let more = ["ban", "203.0.113.0/28", "2001:db8:7::/48", "2001:db8:8::5", "--for", "1h"];
    assert_eq!(scene.daemon.ask(&more).code, Some(0));
    assert_eq!(scene.world.kernel().banned().len(), 4);
    assert_eq!(scene.daemon.ask(&["unban", "--all"]).code, Some(0));
    assert_eq!(scene.daemon.list().len(), 0);
    assert_eq!(scene.world.kernel().banned().len(), 0);
}

/// The lines of the daemon's log that hold this.
fn lines_with(daemon: &Daemon, text: &str) -> Vec<String> {
    daemon.errors().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[test]
fn many_bans_that_end_together_are_one_line_of_the_log_and_few_are_one_each() {
    let Some(scene) = Scene::new("") else { return };
    let daemon = &scene.daemon;
    let ban = |host: &str, count: u32, span: &str| {
        let addresses: String = (1..=count).map(|last| format!("{host}.{last}\n")).collect();
        scene.world.server.write("/run/list", addresses);
        assert_eq!(daemon.ask(&["import", "--ban", "--for", span, "/run/list"]).code, Some(0));
    };
    ban("203.0.113", 40, "2s");
    let told =
        daemon.wait_for(SOON, "a line of all that are over", || lines_with(daemon, "unban of many").pop());
    assert!(told.contains("bans=40 first_ip=203.0.113.1 last_ip=203.0.113.40"), "{told}");
    assert!(lines_with(daemon, "Unban 203.0.113.").is_empty());
    ban("203.0.113", 16, "1h");
    let answer = daemon.ask_json(&["unban", "--all"]);
    assert_eq!(answer["unbanned"].as_array().map(Vec::len), Some(16));
    // The log is written by a thread of its own.
    daemon.wait_for(SOON, "a line of each", || {
        (lines_with(daemon, "Unban 203.0.113.").len() == 16).then_some(())
    });
    assert_eq!(lines_with(daemon, "unban of many").len(), 1);
}

#[test]
fn unbanning_more_than_one_piece_is_answered_once_all_are_out() {
    let Some(scene) = Scene::new("") else { return };
    let addresses: String = (0..10_000).map(|n| format!("203.{}.{}.7\n", n / 200, n % 200)).collect();
    scene.world.server.write("/run/list", addresses);
    assert_eq!(scene.daemon.ask(&["import", "--ban", "--for", "1h", "/run/list"]).code, Some(0));
    let answer = scene.daemon.ask_json(&["unban", "--all"]);
    assert_eq!(answer["unbanned"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(scene.world.kernel().banned().len(), 0);
    let history = scene.daemon.ask_json(&["history", "-n", "0"]);
    let lifted = history.as_array().into_iter().flatten().filter(|row| row["what"] == "unban");
    assert_eq!(lifted.count(), 10_000);
}

#[test]
fn off_lifts_everything_and_on_brings_it_back() {
    let Some(scene) = banned("") else { return };
    let attacker = scene.world.attacker(BANNED);
    assert_eq!(scene.daemon.ask(&["off"]).code, Some(0));
    assert_eq!(scene.world.kernel().banned().len(), 0);
    assert!(attacker.is_served(SOON));
    assert_eq!(scene.daemon.status()["enforcing"], false);
    // Somebody new attacks meanwhile: it is noted, and nothing is enforced.
    scene.world.server.append(LOG, failed_lines(5200, 3, "root", "198.51.100.8"));
    scene.daemon.wait_for(SOON, "the attempts to be noted", || {
        (scene.daemon.attempts_of("198.51.100.8") == 3).then_some(())
    });
    assert_eq!(scene.world.kernel().banned().len(), 0);
    assert_eq!(scene.daemon.ask(&["on"]).code, Some(0));
    assert_eq!(scene.daemon.status()["enforcing"], true);
    scene.wait_banned(PREFIX);
    assert_eq!(attacker.banner(SHORT), None);
}

#[test]
fn off_for_a_while_ends_by_itself() {
    let Some(scene) = banned("") else { return };
    assert_eq!(scene.daemon.ask(&["off", "--for", "1s"]).code, Some(0));
    assert_eq!(scene.world.kernel().banned().len(), 0);
    scene.wait_banned(PREFIX);
    assert_eq!(scene.daemon.status()["enforcing"], true);
}

#[test]
fn off_survives_a_restart() {
    let Some(mut scene) = banned("") else { return };
    assert_eq!(scene.daemon.ask(&["off"]).code, Some(0));
    scene.daemon.kill();
    scene.daemon = Daemon::start(&scene.world.server, "");
    assert_eq!(scene.daemon.status()["enforcing"], false);
    assert_eq!(scene.world.kernel().banned().len(), 0);
    assert!(scene.world.attacker(BANNED).is_served(SOON));
    assert_eq!(scene.daemon.ask(&["on"]).code, Some(0));
    scene.wait_banned(PREFIX);
}

/// Runs a command while no daemon runs.
fn alone(scene_server: &crate::lab::Host, args: &[&str]) -> crate::lab::Answer {
    let mut all = args.to_vec();
    all.extend(["--control", CONTROL, "--state-dir", STATE_DIR]);
    pillory(scene_server, &all)
}

#[test]
fn off_and_on_work_without_a_daemon() {
    let Some(mut scene) = banned("") else { return };
    let server = scene.world.server.clone();
    scene.daemon.stop();
    assert_eq!(scene.world.attacker(BANNED).banner(SHORT), None);
    let answer = alone(&server, &["off"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(scene.world.kernel().banned().len(), 0);
    assert!(scene.world.attacker(BANNED).is_served(SOON));
    scene.daemon = Daemon::start(&server, "");
    assert_eq!(scene.daemon.status()["enforcing"], false);
    assert_eq!(scene.world.kernel().banned().len(), 0);
    scene.daemon.stop();
    let answer = alone(&server, &["on"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    scene.daemon = Daemon::start(&server, "");
    assert_eq!(scene.daemon.status()["enforcing"], true);
    scene.wait_banned(PREFIX);
}

#[test]
fn unban_works_without_a_daemon() {
    let Some(mut scene) = banned("") else { return };
    let server = scene.world.server.clone();
    scene.daemon.stop();
    let answer = alone(&server, &["unban", BANNED]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let served =
        wait_until(Duration::from_secs(2), || scene.world.attacker(BANNED).is_served(SHORT).then_some(()));
    assert!(served.is_some(), "the ban is still in the kernel: {:?}", scene.world.kernel().banned());
    scene.daemon = Daemon::start(&server, "");
    assert!(!scene.daemon.lists(PREFIX));
    assert!(scene.world.attacker(BANNED).is_served(SOON));
}

/// A daemon with its own socket and state, as somebody runs it who tries it out.
fn with_own_places(server: &Host) -> Running {
    let mut command = server.command(&binary().display().to_string());
    command.args(["run", "--state-dir", "/var/lib/own", "--control", "/run/own.sock"]);
    let daemon = Running::start("a daemon of its own", command);
    wait_for(SOON, "the daemon to be ready", || {
        daemon.errors().lines().any(|line| line.starts_with("ready")).then_some(())
    });
    daemon
}

#[test]
fn a_command_that_misses_the_running_daemon_is_refused_and_told_its_socket() {
    let Some((world, server)) = quiet_server() else { return };
    let mut daemon = with_own_places(&server);
    let answer = pillory(&server, &["ban", BANNED, "--control", "/run/own.sock"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    server.write("/run/list", "198.51.100.9\n");
    for command in [&["off"][..], &["on"], &["unban", BANNED], &["unban", "--all"], &["import", "/run/list"]]
    {
        let answer = pillory(&server, command);
        assert_eq!(answer.code, Some(75), "{command:?}: {answer:?}");
        assert!(answer.err.contains("--control /run/own.sock"), "{command:?}: {answer:?}");
    }
    assert!(!server.path(STATE_DIR).join("pillory.db").exists());
    assert_eq!(world.kernel().banned().len(), 1);
    // What the daemon tells people to type works.
    world.kernel().nft("flush set inet pillory ban4");
    wait_for(SOON, "the daemon to heal", || daemon.errors().contains("has been healed").then_some(()));
    let named = "`pillory off --control /run/own.sock --state-dir /var/lib/own`";
    assert!(daemon.errors().contains(named), "{}", daemon.errors());
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.wait(SOON), Some(0));
    wait_for(SOON, "its last line", || daemon.errors().contains("stopped: ").then_some(()));
    let last =
        daemon.errors().lines().rfind(|line| line.starts_with("stopped: ")).unwrap_or_default().to_owned();
    assert!(last.contains(named), "{last}");
    // Nobody holds the namespace any more.
    let answer = pillory(&server, &["off", "--control", "/run/own.sock", "--state-dir", "/var/lib/own"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(world.kernel().banned().is_empty());
}

#[test]
fn a_mistyped_state_directory_is_named_and_not_made() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", BANNED, "--for", "1h"]).code, Some(0));
    assert_eq!(daemon.stop().0, Some(0));
    for command in [&["on"][..], &["unban", BANNED], &["off"]] {
        let mut all = command.to_vec();
        all.extend(["--control", CONTROL, "--state-dir", "/var/lib/pilory"]);
        let answer = pillory(&server, &all);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.err.contains("/var/lib/pilory") && answer.err.contains("--state-dir"), "{answer:?}");
        assert!(!server.path("/var/lib/pilory").exists(), "{command:?}");
        // Whoever is locked out is let in by `off`, which says that it cannot be remembered.
        assert_eq!(world.kernel().banned().is_empty(), command == ["off"], "{command:?}");
    }
}

#[test]
fn that_no_daemon_runs_is_said_once() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", BANNED, "--for", "1h"]).code, Some(0));
    assert_eq!(daemon.stop().0, Some(0));
    server.write("/run/list", "198.51.100.9\n");
    for command in [&["unban", BANNED][..], &["import", "/run/list"]] {
        let answer = alone(&server, command);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let said = format!("{}{}", answer.out, answer.err);
        assert_eq!(said.matches("no daemon runs").count(), 1, "{answer:?}");
    }
}

#[test]
fn a_ban_says_what_stands_and_what_is_not_enforced() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", BANNED, "--for", "forever"]).out, "banned 198.51.100.7 forever\n");
    let shorter = daemon.ask(&["ban", BANNED, "--for", "10s"]);
    assert!(shorter.out.contains("is banned forever already") && !shorter.out.contains("10s"), "{shorter:?}");
    assert!(!daemon.ask(&["list"]).err.contains("switched off"));
    assert_eq!(daemon.ask(&["off"]).code, Some(0));
    assert!(daemon.ask(&["ban", "198.51.100.8"]).out.contains("nothing is enforced now"));
    assert!(daemon.ask(&["explain", BANNED]).out.contains("nothing is enforced now"));
    assert!(daemon.ask(&["list"]).err.contains("switched off: none of these bans is enforced"));
}

#[test]
fn a_ban_that_is_made_longer_by_hand_keeps_its_evidence() {
    let Some(scene) = banned("bantime = \"1h\"\n") else { return };
    let before = scene.daemon.ban_of(PREFIX).expect("it is listed");
    let longer = ["ban", BANNED, "--jail", "sshd", "--for", "2d", "--reason", "again he"];
    assert_eq!(scene.daemon.ask(&longer).code, Some(0));
    let after = scene.daemon.ban_of(PREFIX).expect("it is listed");
    assert_eq!(after["failures"], before["failures"]);
    let reason = format!("{}; again he", before["reason"].as_str().unwrap_or_default());
    assert_eq!(after["reason"].as_str(), Some(reason.as_str()));
    assert_ne!(after["until"], before["until"]);
}
