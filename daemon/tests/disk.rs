//! A disk that is full, read-only, or loses the state: bans go on, and nothing that was ordered is lost.

use std::fs::File;
use std::io::Write;

use crate::lab::{CONTROL, Daemon, Host, SOON, STATE_DIR, World, failed_lines, pillory, quiet_server};

const LOG: &str = "/var/log/auth.log";
const FIRST: &str = "198.51.100.7/32";
const SECOND: &str = "198.51.100.8/32";

/// A server whose state directory is a disk of its own.
pub fn small_disk() -> Option<(World, Host)> {
    let (world, server) = quiet_server()?;
    server.run("mount", &["-t", "tmpfs", "-o", "size=1m,mode=755", "small", STATE_DIR]);
    Some((world, server))
}

pub fn fill(server: &Host) {
    let mut file = File::create(server.path(format!("{STATE_DIR}/filler"))).expect("it opens");
    while file.write_all(&[b'x'; 4096]).is_ok() {}
}

pub fn make_room(server: &Host) {
    std::fs::remove_file(server.path(format!("{STATE_DIR}/filler"))).expect("it is removed");
}

fn warns(daemon: &Daemon) -> bool {
    let warnings = daemon.status()["warnings"].to_string();
    warnings.contains(STATE_DIR) && warnings.contains("bans go on in the kernel")
}

fn wait_until_it_warns(daemon: &Daemon, expected: bool) {
    daemon.wait_for(SOON, "the warning to come or go", || (warns(daemon) == expected).then_some(()));
}

/// The prefixes listed, which have to be those in the kernel.
#[track_caller]
fn banned(world: &World, daemon: &Daemon) -> Vec<String> {
    let mut listed: Vec<String> =
        daemon.list().iter().map(|ban| ban["prefix"].as_str().expect("a prefix").to_owned()).collect();
    let mut shut_out: Vec<String> = world.kernel().banned().iter().map(ToString::to_string).collect();
    listed.sort();
    shut_out.sort();
    assert_eq!(listed, shut_out);
    listed
}

#[test]
fn what_was_ordered_on_a_full_disk_outlives_a_crash() {
    let Some((world, server)) = small_disk() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", FIRST, "--for", "1h"]).code, Some(0));
    fill(&server);
    // The first order that meets the full disk is answered like all later ones.
    let answer = daemon.ask(&["ban", SECOND, "--for", "1h", "--reason", "by me"]);
    assert!(answer.code == Some(0) && answer.err.contains("not on disk"), "{answer:?}");
    let answer = daemon.ask(&["unban", FIRST]);
    assert!(answer.code == Some(0) && answer.err.contains("not on disk"), "{answer:?}");
    assert!(warns(&daemon));
    let before = daemon.ban_of(SECOND);
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [SECOND]);
    assert_eq!(daemon.ban_of(SECOND), before);
    assert!(warns(&daemon), "{}", daemon.errors());
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [SECOND]);
    make_room(&server);
    wait_until_it_warns(&daemon, false);
    // Now the store knows it, and nothing lies beside it.
    assert!(!server.path(format!("{CONTROL}.unwritten")).exists());
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [SECOND]);
}

#[test]
fn off_on_a_full_disk_outlives_a_crash() {
    let Some((world, server)) = small_disk() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", FIRST, "--for", "1h"]).code, Some(0));
    fill(&server);
    let answer = daemon.ask(&["off"]);
    let said = format!("{}{}", answer.out, answer.err);
    assert!(answer.code == Some(0) && said.contains("not on disk"), "{answer:?}");
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert!(world.kernel().banned().is_empty());
    assert_eq!(daemon.ask(&["on"]).code, Some(0));
    assert_eq!(banned(&world, &daemon), [FIRST]);
}

#[test]
fn a_daemon_starts_and_bans_on_a_disk_that_was_full_before() {
    let Some((world, server)) = small_disk() else { return };
    fill(&server);
    let daemon = Daemon::start(&server, "");
    assert!(warns(&daemon), "{}", daemon.errors());
    let warnings = daemon.status()["warnings"].to_string();
    assert!(warnings.contains(&format!("kept in {CONTROL}.unwritten")), "{warnings}");
    server.append(LOG, failed_lines(9000, 3, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || daemon.lists(FIRST).then_some(()));
    make_room(&server);
    wait_until_it_warns(&daemon, false);
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [FIRST]);
    assert_eq!(daemon.attempts_of("198.51.100.7"), 3);
}

#[test]
fn a_store_that_was_closed_well_is_read_on_a_full_and_on_a_read_only_disk() {
    let Some((world, server)) = small_disk() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", FIRST, "--for", "1h"]).code, Some(0));
    assert_eq!(daemon.stop().0, Some(0));
    fill(&server);
    let daemon = Daemon::start(&server, "");
    assert!(warns(&daemon), "{}", daemon.errors());
    assert_eq!(banned(&world, &daemon), [FIRST]);
    assert_eq!(daemon.stop().0, Some(0));
    make_room(&server);
    server.run("mount", &["-o", "remount,ro", STATE_DIR]);
    let daemon = Daemon::start(&server, "");
    assert!(warns(&daemon), "{}", daemon.errors());
    assert_eq!(daemon.ask(&["ban", SECOND, "--for", "1h"]).code, Some(0));
    assert_eq!(daemon.ask(&["unban", FIRST]).code, Some(0));
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [SECOND]);
    server.run("mount", &["-o", "remount,rw", STATE_DIR]);
    wait_until_it_warns(&daemon, false);
    assert_eq!(daemon.stop().0, Some(0));
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [SECOND]);
}

#[test]
fn bans_in_the_kernel_stay_if_the_store_cannot_be_read() {
    let Some((world, server)) = small_disk() else { return };
    let daemon = Daemon::start(&server, "ignoreip = \"198.51.100.20\"\n");
    assert_eq!(daemon.ask(&["ban", FIRST, SECOND, "--for", "1h"]).code, Some(0));
    daemon.kill();
    world.kernel().nft("add element inet pillory ban4 { 198.51.100.20 timeout 1h }");
    // Without this file the log of changes cannot be read where nothing can be made.
    std::fs::remove_file(server.path(format!("{STATE_DIR}/pillory.db-shm"))).expect("it is removed");
    server.run("mount", &["-o", "remount,ro", STATE_DIR]);
    let daemon = Daemon::start(&server, "ignoreip = \"198.51.100.20\"\n");
    assert_eq!(banned(&world, &daemon), [FIRST, SECOND]);
    let ban = daemon.ban_of(FIRST).expect("it is listed");
    assert_eq!(ban["reason"], "found in the kernel, not in the store", "{ban}");
    server.run("mount", &["-o", "remount,rw", STATE_DIR]);
    wait_until_it_warns(&daemon, false);
    daemon.kill();
    world.kernel().nft("flush ruleset");
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [FIRST, SECOND]);
}

#[test]
fn an_element_that_a_readable_store_does_not_know_is_removed() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", FIRST, "--for", "1h"]).code, Some(0));
    daemon.kill();
    // As if an old ruleset had been loaded.
    world.kernel().nft("add element inet pillory ban4 { 198.51.100.8 timeout 1h }");
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [FIRST]);
}

#[test]
fn a_store_removed_while_the_daemon_runs_is_made_anew() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", FIRST, "--for", "1h"]).code, Some(0));
    server.append(LOG, failed_lines(9000, 1, "root", "198.51.100.9"));
    daemon.wait_for(SOON, "the attempt", || (daemon.attempts_of("198.51.100.9") == 1).then_some(()));
    std::fs::remove_dir_all(server.path(STATE_DIR)).expect("it is removed");
    assert_eq!(daemon.ask(&["ban", SECOND, "--for", "1h"]).code, Some(0));
    daemon.wait_for(SOON, "a word about it", || {
        daemon.errors().contains("was removed while running").then_some(())
    });
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [FIRST, SECOND]);
    // Where the log was read up to is known again: no line is taken for new or for history.
    server.append(LOG, failed_lines(9100, 3, "root", "198.51.100.10"));
    daemon.wait_for(SOON, "a ban", || daemon.lists("198.51.100.10/32").then_some(()));
    assert!(!daemon.errors().contains("would have banned"), "{}", daemon.errors());
}

#[test]
fn bans_in_the_kernel_stay_if_the_store_was_lost() {
    let garbage: fn(&Host) = |server| server.write(format!("{STATE_DIR}/pillory.db"), [0xA5; 8192]);
    let directory: fn(&Host) = |server| server.write(format!("{STATE_DIR}/pillory.db/file"), "");
    let emptied: fn(&Host) = |server| server.write(format!("{STATE_DIR}/pillory.db"), "");
    for (lose, names) in
        [(garbage, "put aside"), (directory, "put aside"), (emptied, "no store"), (|_| {}, "no store")]
    {
        let Some((world, server)) = quiet_server() else { return };
        let config = "ignoreip = \"198.51.100.20\"\n";
        let daemon = Daemon::start(&server, config);
        assert!(!daemon.errors().contains("does not tell who was banned"), "{}", daemon.errors());
        assert_eq!(daemon.ask(&["ban", FIRST, "--for", "1h"]).code, Some(0));
        daemon.kill();
        world.kernel().nft("add element inet pillory ban4 { 198.51.100.20 timeout 1h }");
        std::fs::remove_dir_all(server.path(STATE_DIR)).expect("it is removed");
        lose(&server);
        let daemon = Daemon::start(&server, config);
        assert_eq!(banned(&world, &daemon), [FIRST]);
        let warnings = daemon.status()["warnings"].to_string();
        assert!(
            warnings.contains(names) && warnings.contains("1 bans found in the kernel stay"),
            "{warnings}"
        );
        // From now on the store knows: what was lifted stays so, whatever an old ruleset brings.
        assert_eq!(daemon.ask(&["unban", FIRST]).code, Some(0));
        daemon.kill();
        world.kernel().nft("add element inet pillory ban4 { 198.51.100.7 timeout 1h }");
        let daemon = Daemon::start(&server, config);
        assert!(banned(&world, &daemon).is_empty());
        assert!(!daemon.status()["warnings"].to_string().contains("found in the kernel"));
    }
}

#[test]
fn what_is_adopted_is_remembered_over_a_crash_and_a_flush() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", FIRST, "203.0.113.0/28", "--for", "1h"]).code, Some(0));
    daemon.kill();
    std::fs::remove_dir_all(server.path(STATE_DIR)).expect("it is removed");
    // A command edits the new store first; a daemon has not seen it yet.
    server.write("/run/list", format!("{SECOND}\n"));
    let import = ["import", "/run/list", "--control", CONTROL, "--state-dir", STATE_DIR];
    assert_eq!(pillory(&server, &import).code, Some(0));
    let daemon = Daemon::start(&server, "");
    let all = ["198.51.100.7/32", "198.51.100.8/32", "203.0.113.0/28"];
    assert_eq!(banned(&world, &daemon), all);
    daemon.ask(&["status"]);
    assert_eq!(daemon.stop().0, Some(0));
    world.kernel().nft("flush ruleset");
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), all);
}

#[test]
fn a_damaged_store_keeps_no_daemon_from_starting() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", FIRST, "--for", "1h"]).code, Some(0));
    assert_eq!(daemon.ask(&["off"]).code, Some(0));
    assert_eq!(daemon.ask(&["on"]).code, Some(0));
    assert_eq!(daemon.stop().0, Some(0));
    // The first page says which tables there are; the others are what a broken disk gives.
    let path = server.path(format!("{STATE_DIR}/pillory.db"));
    let mut bytes = std::fs::read(&path).expect("it is read");
    bytes[4096..].fill(0xA5);
    std::fs::write(&path, bytes).expect("it is written");
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [FIRST]);
    let warnings = daemon.status()["warnings"].to_string();
    assert!(
        warnings.contains("the store was damaged") && warnings.contains("pillory.db.broken"),
        "{warnings}"
    );
    assert_eq!(daemon.ask(&["ban", SECOND, "--for", "1h"]).code, Some(0));
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [FIRST, SECOND]);
}

/// Changes the log of changes of the store.
fn change_log(server: &Host, change: impl FnOnce(&mut Vec<u8>)) {
    let path = server.path(format!("{STATE_DIR}/pillory.db-wal"));
    let mut bytes = std::fs::read(&path).expect("it is read");
    change(&mut bytes);
    std::fs::write(&path, bytes).expect("it is written");
}

#[test]
fn a_damaged_log_of_changes_lifts_no_ban() {
    let flipped: fn(&Host) = |server| {
        change_log(server, |log| {
            let at = log.len() / 2;
            log[at] ^= 1;
        });
    };
    let header: fn(&Host) = |server| change_log(server, |log| log[0] ^= 1);
    let cut: fn(&Host) = |server| change_log(server, |log| log.truncate(log.len() / 2));
    let removed: fn(&Host) = |server| {
        std::fs::remove_file(server.path(format!("{STATE_DIR}/pillory.db-wal"))).expect("it is removed");
    };
    for damage in [flipped, header, cut, removed] {
        let Some((world, server)) = quiet_server() else { return };
        let daemon = Daemon::start(&server, "");
        assert_eq!(daemon.ask(&["ban", FIRST, "--for", "1h"]).code, Some(0));
        assert_eq!(daemon.stop().0, Some(0));
        // The first one is in the database, the second one in its log only.
        let daemon = Daemon::start(&server, "");
        assert_eq!(daemon.ask(&["ban", SECOND, "--for", "1h"]).code, Some(0));
        daemon.kill();
        damage(&server);
        let daemon = Daemon::start(&server, "");
        assert_eq!(banned(&world, &daemon), [FIRST, SECOND]);
        let warnings = daemon.status()["warnings"].to_string();
        let names = ["pillory.db-wal is damaged, cut or gone", "1 bans found in the kernel stay"];
        assert!(names.iter().all(|name| warnings.contains(name)), "{warnings}");
        // From now on the store knows: what was lifted stays so, whatever an old ruleset brings.
        assert_eq!(daemon.ask(&["unban", SECOND]).code, Some(0));
        daemon.kill();
        world.kernel().nft("add element inet pillory ban4 { 198.51.100.8 timeout 1h }");
        let daemon = Daemon::start(&server, "");
        assert_eq!(banned(&world, &daemon), [FIRST]);
        assert!(!daemon.errors().contains("damaged"), "{}", daemon.errors());
    }
}

#[test]
fn what_a_crash_leaves_in_the_log_of_changes_is_no_damage() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", FIRST, "--for", "1h"]).code, Some(0));
    daemon.kill();
    world.kernel().nft("add element inet pillory ban4 { 198.51.100.8 timeout 1h }");
    // Half of a frame, of a transaction that nobody was told of.
    change_log(&server, |log| log.extend_from_within(32..2000));
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [FIRST]);
    assert!(!daemon.errors().contains("damaged"), "{}", daemon.errors());
}

#[test]
fn a_store_that_is_cut_anywhere_lifts_no_ban() {
    for (percent, is_killed) in [(30, false), (70, false), (99, false), (0, true), (50, true), (99, true)] {
        let Some((world, server)) = quiet_server() else { return };
        let daemon = Daemon::start(&server, "");
        assert_eq!(daemon.ask(&["ban", FIRST, SECOND, "--for", "1h"]).code, Some(0));
        assert_eq!(daemon.stop().0, Some(0));
        let daemon = Daemon::start(&server, "");
        assert_eq!(daemon.ask(&["ban", "203.0.113.5", "--for", "1h"]).code, Some(0));
        if is_killed {
            daemon.kill();
        } else {
            assert_eq!(daemon.stop().0, Some(0));
        }
        let path = server.path(format!("{STATE_DIR}/pillory.db"));
        let file = File::options().write(true).open(&path).expect("it opens");
        let length = file.metadata().expect("it has a length").len();
        file.set_len(length * percent / 100).expect("it is cut");
        let daemon = Daemon::start(&server, "");
        let found = banned(&world, &daemon);
        assert_eq!(found, [FIRST, SECOND, "203.0.113.5/32"], "{percent} %, killed {is_killed}");
        let warnings = daemon.status()["warnings"].to_string();
        // What was cut off may stand in the log; and of the last page a start may read nothing, so it is found later.
        let is_silent = is_killed || percent == 99;
        assert!(is_silent || warnings.contains("pillory.db"), "{percent} %: {warnings}");
    }
}

#[test]
fn commands_without_a_daemon_work_on_a_full_disk() {
    let Some((world, server)) = small_disk() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", FIRST, SECOND, "--for", "1h"]).code, Some(0));
    daemon.kill();
    fill(&server);
    let ask = |words: &[&str]| {
        pillory(&server, &[words, &["--control", CONTROL, "--state-dir", STATE_DIR]].concat())
    };
    let answer = ask(&["unban", FIRST]);
    assert!(answer.code == Some(0) && answer.err.contains("not on disk"), "{answer:?}");
    assert_eq!(world.kernel().banned().len(), 1);
    assert_eq!(ask(&["off"]).code, Some(0));
    assert!(world.kernel().banned().is_empty());
    let daemon = Daemon::start(&server, "");
    assert!(world.kernel().banned().is_empty(), "{}", daemon.errors());
    daemon.kill();
    assert_eq!(ask(&["on"]).code, Some(0));
    make_room(&server);
    let daemon = Daemon::start(&server, "");
    assert_eq!(banned(&world, &daemon), [SECOND]);
}
