//! Hostile and broken input: a clear word, bounded memory, and the next attack is banned all the same.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::lab::{
    CONFIG, CONTROL, Daemon, DaemonOptions, Host, LOG, Running, SOON, STATE_DIR, World, binary, failed_line,
    failed_lines, quiet_server, say_figure, say_skipped, wait_for,
};
use crate::meddling::{fill, garbage, set_mode, write_garbage, write_long_line};

const FROM: &str = "198.51.100.7";
const PREFIX: &str = "198.51.100.7/32";
/// Until what runs at the lowest priority is done on a busy machine.
const LATE: Duration = Duration::from_secs(120);

/// What has to happen after every kind of bad input.
#[track_caller]
fn assert_still_bans(world: &World, daemon: &Daemon) {
    world.server.append(LOG, failed_lines(9000, 3, "root", FROM));
    daemon.wait_for(SOON, "the ban of a normal attack", || {
        world.kernel().banned().contains(&PREFIX.parse().expect("a prefix")).then_some(())
    });
    assert!(daemon.lists(PREFIX));
}

#[test]
fn binary_garbage_is_passed_over() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    write_garbage(&server);
    assert_still_bans(&world, &daemon);
    assert_eq!(daemon.list().len(), 1, "{:?}", daemon.list());
}

#[test]
fn nuls_and_bad_utf8_in_a_line_of_sshd_hide_nothing() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    for (pid, user) in [(5000, &b"ro\0ot"[..]), (5001, b"\xff\xfe\xc3("), (5002, b"\xed\xa0\x80 \x1b[2J")] {
        let line = failed_line(pid, "USER", "198.51.100.8");
        let (head, tail) = line.split_once("USER").expect("it names the user");
        server.append(LOG, [head.as_bytes(), user, tail.as_bytes()].concat());
    }
    daemon.wait_for(SOON, "three attempts", || (daemon.attempts_of("198.51.100.8") == 3).then_some(()));
    // A power failure leaves NULs before the next line, in the midst of a log.
    server.append(LOG, [&[0; 200_000][..], failed_line(5003, "alice", "198.51.100.8").as_bytes()].concat());
    daemon.wait_for(SOON, "the line behind the NULs", || {
        (daemon.attempts_of("198.51.100.8") == 4).then_some(())
    });
    assert_still_bans(&world, &daemon);
}

#[test]
fn a_line_of_100_mib_costs_no_memory_and_hides_no_line_after_it() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    // Warm first: what reading whole batches of normal lines needs is no growth.
    let normal = "Jan  2 03:04:05 server cron[7]: nothing to see here, move along, move along\n";
    server.append(LOG, normal.repeat(100_000));
    daemon.wait_for(SOON, "the normal lines", || (daemon.lines("sshd") >= 100_000).then_some(()));
    // What learns from the time before the start has the lowest priority, and on a busy machine its turn comes late.
    daemon
        .wait_for(LATE, "the end of learning", || daemon.errors().contains("learnt the good").then_some(()));
    // The first ban, its first query and the store's first pages are no part of it either.
    assert_still_bans(&world, &daemon);
    let before = daemon.peak_rss_kib();
    write_long_line(&server);
    server.append(LOG, failed_lines(9100, 3, "root", "198.51.100.9"));
    let began = Instant::now();
    let kernel = world.kernel();
    daemon.wait_for(SOON, "the ban behind it", || kernel.holds("ban4", "198.51.100.9").then_some(()));
    let (took, growth) = (began.elapsed(), daemon.peak_rss_kib().saturating_sub(before));
    let ms = took.as_millis();
    say_figure(&format!(
        "a line of 100 MiB: peak RSS + {growth} KiB, the attacker behind it banned after {ms} ms"
    ));
    assert!(growth < 1024, "peak memory grew by {growth} KiB");
    assert!(ms < 500, "the attacker behind it was banned after {ms} ms");
}

#[test]
fn the_end_of_a_line_longer_than_the_cap_is_not_taken_for_a_line() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    // Somebody who can write long lines must not be able to forge a line of sshd at their end.
    for pid in 0..5 {
        let forged = failed_line(5000 + pid, "root", "198.51.100.8");
        server.append(LOG, format!("{}{forged}", "A".repeat(64 * 1024 * (1 + pid as usize))));
    }
    assert_still_bans(&world, &daemon);
    assert_eq!(daemon.attempts_of("198.51.100.8"), 0);
}

/// A record as utmp(5) describes it on x86_64: 384 bytes.
fn btmp_record(pid: u32, user: &str, addr: [u8; 4]) -> Vec<u8> {
    let now = u32::try_from(jiff::Timestamp::now().as_second()).expect("before 2106");
    let mut record = vec![0; 384];
    let mut put = |at: usize, bytes: &[u8]| record[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &6u32.to_le_bytes());
    put(4, &pid.to_le_bytes());
    put(8, b"ssh:notty");
    put(44, &user.as_bytes()[..user.len().min(32)]);
    put(76, format!("{}.{}.{}.{}", addr[0], addr[1], addr[2], addr[3]).as_bytes());
    put(340, &now.to_le_bytes());
    put(348, &addr);
    record
}

#[test]
fn half_a_btmp_record_waits_for_its_other_half() {
    if !cfg!(target_arch = "x86_64") {
        say_skipped("the records here are those of x86_64");
        return;
    }
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "[jail.sshd]\nbackend = \"btmp\"\n");
    let record = |pid: u32| btmp_record(pid, "root", [198, 51, 100, 7]);
    server.append("/var/log/btmp", record(1));
    server.append("/var/log/btmp", &record(2)[..100]);
    daemon.wait_for(SOON, "the whole record", || (daemon.counted(FROM) == (2.0, 1)).then_some(()));
    server.append("/var/log/btmp", &record(2)[100..]);
    daemon.wait_for(SOON, "the other half", || (daemon.counted(FROM) == (4.0, 2)).then_some(()));
    // A name of 32 bytes without NUL, hostile bytes, and a record of garbage.
    server.append("/var/log/btmp", btmp_record(3, "0123456789abcdef0123456789abcdef", [198, 51, 100, 8]));
    server.append("/var/log/btmp", btmp_record(4, "a\nb\u{1b}[2J", [198, 51, 100, 8]));
    server.append("/var/log/btmp", garbage(384));
    server.append("/var/log/btmp", record(5));
    daemon.wait_for(SOON, "the ban", || {
        world.kernel().banned().contains(&PREFIX.parse().expect("a prefix")).then_some(())
    });
    assert_eq!(daemon.attempts_of("198.51.100.8"), 2);
}

#[test]
fn half_a_btmp_record_waits_for_its_other_half_over_a_restart() {
    if !cfg!(target_arch = "x86_64") {
        say_skipped("the records here are those of x86_64");
        return;
    }
    let Some((_world, server)) = quiet_server() else { return };
    let config = "[jail.sshd]\nbackend = \"btmp\"\n";
    let record = |pid: u32| btmp_record(pid, "root", [198, 51, 100, 7]);
    let daemon = Daemon::start(&server, config);
    server.append("/var/log/btmp", record(1));
    server.append("/var/log/btmp", &record(2)[..200]);
    daemon.wait_for(SOON, "the whole record", || (daemon.counted(FROM) == (2.0, 1)).then_some(()));
    daemon.kill();
    server.append("/var/log/btmp", &record(2)[200..]);
    let daemon = Daemon::start(&server, config);
    assert_eq!(daemon.counted(FROM), (4.0, 2));
}

/// A warning of `status` that holds all these words.
fn warns(daemon: &Daemon, words: &[&str]) -> bool {
    let status = daemon.status();
    let warnings = status["warnings"].as_array().cloned().unwrap_or_default();
    warnings
        .iter()
        .filter_map(|warning| warning.as_str())
        .any(|warning| words.iter().all(|word| warning.contains(word)))
}

/// What stands in a log at its first reading is history and bans nobody; what comes then does.
#[track_caller]
fn read_from_now_on(daemon: &Daemon, server: &Host) {
    server.append("/var/log/other", failed_lines(5000, 3, "root", "198.51.100.8"));
    daemon.wait_for(SOON, "the log to be read", || (daemon.attempts_of("198.51.100.8") == 3).then_some(()));
    server.append("/var/log/other", failed_line(5100, "root", "198.51.100.8"));
    daemon.wait_for(SOON, "the ban", || daemon.lists("198.51.100.8/32").then_some(()));
}

const SECOND_JAIL: &str = "[jail.other]\nfilter = \"sshd\"\nlogpath = \"/var/log/other\"\n";

#[test]
fn a_directory_as_a_log_is_said_and_the_other_jails_work() {
    let Some((world, server)) = quiet_server() else { return };
    std::fs::create_dir(server.path("/var/log/other")).expect("a directory is made");
    let daemon = Daemon::start(&server, SECOND_JAIL);
    daemon
        .wait_for(SOON, "a warning", || warns(&daemon, &["/var/log/other", "is a directory"]).then_some(()));
    assert_still_bans(&world, &daemon);
    // Once it is a file, it is read.
    std::fs::remove_dir(server.path("/var/log/other")).expect("it is removed");
    read_from_now_on(&daemon, &server);
    daemon.wait_for(SOON, "the warning to go", || (!warns(&daemon, &["/var/log/other"])).then_some(()));
}

#[test]
fn a_missing_log_is_said_and_waited_for() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, SECOND_JAIL);
    daemon
        .wait_for(SOON, "a warning", || warns(&daemon, &["/var/log/other", "does not exist"]).then_some(()));
    server.append("/var/log/other", failed_lines(5000, 3, "root", "198.51.100.8"));
    daemon.wait_for(SOON, "the ban from the new log", || daemon.lists("198.51.100.8/32").then_some(()));
    assert_still_bans(&world, &daemon);
}

#[test]
fn a_log_that_vanishes_while_it_is_watched_is_said() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write("/var/log/other", "");
    let daemon = Daemon::start(&server, SECOND_JAIL);
    std::fs::remove_file(server.path("/var/log/other")).expect("it is removed");
    daemon
        .wait_for(SOON, "a warning", || warns(&daemon, &["/var/log/other", "does not exist"]).then_some(()));
    std::fs::create_dir(server.path("/var/log/other")).expect("a directory is made");
    daemon
        .wait_for(SOON, "a warning", || warns(&daemon, &["/var/log/other", "is a directory"]).then_some(()));
    std::fs::remove_dir(server.path("/var/log/other")).expect("it is removed");
    server.append("/var/log/other", failed_lines(5000, 3, "root", "198.51.100.8"));
    daemon.wait_for(SOON, "the ban from the new log", || daemon.lists("198.51.100.8/32").then_some(()));
    daemon.wait_for(SOON, "the warning to go", || (!warns(&daemon, &["/var/log/other"])).then_some(()));
}

/// As root, but bound by file modes like everybody.
fn without_override() -> DaemonOptions {
    let through = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"];
    DaemonOptions {
        config: Some(SECOND_JAIL.to_owned()),
        through: through.map(str::to_owned).to_vec(),
        ..DaemonOptions::default()
    }
}

#[test]
fn an_unreadable_log_is_said_and_read_once_it_can_be() {
    let Some(world) = World::with(&["setpriv"]) else { return };
    let server = &world.server;
    server.write(LOG, "");
    server.write("/var/log/other", "");
    set_mode(server, "/var/log/other", 0);
    let daemon = Daemon::start_with(server, &without_override());
    daemon.wait_for(SOON, "a warning", || warns(&daemon, &["/var/log/other", "denied", "adm"]).then_some(()));
    assert_still_bans(&world, &daemon);
    set_mode(server, "/var/log/other", 0o640);
    read_from_now_on(&daemon, server);
    daemon.wait_for(SOON, "the warning to go", || (!warns(&daemon, &["/var/log/other"])).then_some(()));
}

/// Waits for the end of a daemon that refuses to run; its exit code and what it said.
#[track_caller]
fn refusal(mut running: Running) -> (Option<i32>, String) {
    let code = running.wait(SOON);
    // The pipe is read by a thread of its own, which may be a moment behind.
    wait_for(SOON, "a word about it", || (!running.errors().is_empty()).then_some(()));
    (code, running.errors())
}

#[test]
fn every_problem_of_a_bad_configuration_is_said_at_once_with_its_line() {
    let Some((world, server)) = quiet_server() else { return };
    let config = "maxretri = 3\n\
                  bantime = \"10x\"\n\
                  ignoreip = [\"192.0.2.300\"]\n\
                  \n\
                  [jail.sshd]\n\
                  findtime = \"0\"\n\
                  backend = \"carrier pigeon\"\n\
                  [jail.myapp]\n\
                  logpath = \"relative.log\"\n\
                  failregex = '(unclosed from <HOST>'\n";
    let options = DaemonOptions { config: Some(config.to_owned()), ..DaemonOptions::default() };
    let (code, said) = refusal(Daemon::spawn(&server, &options));
    assert_eq!(code, Some(2), "{said}");
    let about = [
        (1, "maxretry"),
        (2, "10x"),
        (3, "192.0.2.300"),
        (6, "findtime"),
        (7, "carrier pigeon"),
        (9, "relative.log"),
        (10, "the group \"(\" is not closed"),
    ];
    for (line, word) in about {
        let place = format!("{CONFIG}:{line}:");
        let found = said.lines().any(|said| said.contains(word) && said.contains(&place));
        assert!(found, "{place} {word} in\n{said}");
    }
    assert!(world.kernel().nft_json().is_none(), "nothing was touched");
}

#[test]
fn a_time_zone_that_cannot_be_read_is_said_and_utc_is_taken() {
    let Some((world, server)) = quiet_server() else { return };
    server.run("mkfifo", &["/var/log/fifo"]);
    for zone in ["/dev/zero", "/var/log/fifo", ":/dev/zero", "Atlantis/Poseidonis"] {
        let options = DaemonOptions { env: vec![("TZ".into(), zone.into())], ..DaemonOptions::default() };
        let daemon = Daemon::start_with(&server, &options);
        assert!(daemon.errors().contains("time zone"), "{zone}: {}", daemon.errors());
        drop(daemon.stop());
    }
    assert_still_bans(&world, &Daemon::start(&server, ""));
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_with_75() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    // The client's network and the server's files: only the state directory is shared.
    let mut command = std::process::Command::new("nsenter");
    let network = format!("--net=/proc/{}/ns/net", world.client.pid());
    command.args([format!("--target={}", server.pid()), network, "--mount".to_owned(), "--".to_owned()]);
    command.arg(binary()).args(["run", "--state-dir", STATE_DIR, "--control", "/run/other.sock"]);
    let (code, said) = refusal(Running::start("a second daemon", command));
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains(STATE_DIR), "{said}");
    assert_still_bans(&world, &daemon);
}

#[test]
fn a_second_daemon_in_the_same_network_is_refused_with_75() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let mut command = server.command(&binary().display().to_string());
    command.args(["run", "--state-dir", "/var/lib/other", "--control", "/run/other.sock"]);
    let (code, said) = refusal(Running::start("a second daemon", command));
    assert_eq!(code, Some(75), "{said}");
    assert!(said.contains("network namespace"), "{said}");
    assert_still_bans(&world, &daemon);
}

#[test]
fn a_missing_privilege_is_named_and_refused_with_77() {
    let Some(world) = World::with(&["setpriv"]) else { return };
    let server = &world.server;
    server.write(LOG, "");
    for dir in [STATE_DIR, "/run/pillory"] {
        std::fs::create_dir_all(server.path(dir)).expect("it is made");
        std::os::unix::fs::chown(server.path(dir), Some(65534), Some(65534)).expect("it is given away");
    }
    let mut command = server.command("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]);
    command.arg(binary()).args(["run", "--state-dir", STATE_DIR, "--control", CONTROL]);
    let (code, said) = refusal(Running::start("a daemon of nobody", command));
    assert_eq!(code, Some(77), "{said}");
    assert!(said.contains("CAP_NET_ADMIN"), "{said}");
}

#[test]
fn a_damaged_store_is_set_aside_and_said() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    daemon.stop();
    let files: Vec<_> = std::fs::read_dir(server.path(STATE_DIR)).expect("it is there").flatten().collect();
    for file in files.iter().filter(|file| file.file_name() != "lock") {
        let mut open = std::fs::File::create(file.path()).expect("it opens");
        open.write_all(&garbage(8192)).expect("it takes garbage");
    }
    let daemon = Daemon::start(&server, "");
    assert!(daemon.errors().contains("broken"), "{}", daemon.errors());
    assert_still_bans(&world, &daemon);
}

#[test]
fn a_full_disk_keeps_no_ban_from_the_kernel() {
    let Some((world, server)) = quiet_server() else { return };
    server.run("mount", &["-t", "tmpfs", "-o", "size=1m,mode=755", "full", STATE_DIR]);
    let daemon = Daemon::start(&server, "");
    let file = fill(&server, STATE_DIR);
    server.append(LOG, failed_lines(9000, 3, "root", FROM));
    daemon.wait_for(SOON, "the ban in the kernel", || {
        world.kernel().banned().contains(&PREFIX.parse().expect("a prefix")).then_some(())
    });
    assert!(daemon.lists(PREFIX));
    daemon.wait_for(SOON, "a warning", || warns(&daemon, &["disk"]).then_some(()));
    let answer = daemon.ask(&["ban", "198.51.100.9", "--for", "1h"]);
    assert!(answer.err.contains("not on disk"), "{answer:?}");
    // Once there is room again, what was missed is written.
    drop(file);
    std::fs::remove_file(server.path(format!("{STATE_DIR}/filler"))).expect("it is removed");
    daemon.ask(&["ban", "198.51.100.8", "--for", "1h"]);
    daemon.wait_for(SOON, "the warning to go", || (!warns(&daemon, &["disk"])).then_some(()));
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert!(daemon.lists(PREFIX) && daemon.lists("198.51.100.8/32"), "{:?}", daemon.list());
}
