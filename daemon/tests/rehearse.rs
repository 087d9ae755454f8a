//! `pillory rehearse`: what a policy would have done with given files, and with all that a host's jails have read.

use std::io::Write;

use serde_json::Value;

use crate::lab::{Daemon, Place, SOON, Terminal, binary, failed_lines, pillory, quiet_server};

/// Root from one address seven times, the last one two days later; somebody logs in while banned.
const LOG: &str = "\
Nov 19 10:00:00 web sshd[100]: Failed password for root from 192.0.2.7 port 1000 ssh2
Nov 19 10:00:10 web sshd[101]: Failed password for root from 192.0.2.7 port 1001 ssh2
Nov 19 10:00:20 web sshd[102]: Failed password for root from 192.0.2.7 port 1002 ssh2
Nov 19 10:00:30 web sshd[103]: Failed password for root from 192.0.2.7 port 1003 ssh2
Nov 19 10:00:40 web sshd[104]: Failed password for root from 192.0.2.7 port 1004 ssh2
Nov 19 10:00:50 web sshd[105]: Failed password for root from 192.0.2.7 port 1005 ssh2
Nov 19 11:00:00 web sshd[106]: Accepted password for alice from 192.0.2.7 port 1006 ssh2
Nov 19 12:00:00 web sshd[107]: Failed password for bob from 198.51.100.9 port 1007 ssh2
Nov 21 10:00:00 web sshd[108]: Failed password for root from 192.0.2.7 port 1008 ssh2
";

/// Plain counting: three failures of any kind in ten minutes, banned for as long.
const PLAIN: &str = "\
maxretry = 10\nfindtime = \"10m\"\nbantime = \"10m\"\n\
points = { bad_user = 1, unknown_user = 1, root = 1, known_user = 1, good_user = 1, probe = 1, scan = 1, penalty = 1, web = 1 }\n";

/// Its figures without those of the curve.
fn figures(value: &Value) -> [u64; 6] {
    ["attempts", "let_through", "bans", "offenders", "never_banned", "good_users_hit"]
        .map(|key| value[key].as_u64().unwrap_or_else(|| panic!("{key} in {value}")))
}

#[test]
fn rehearse_counts_what_a_policy_lets_through_and_whom_it_hits() {
    let place = Place::new("rehearse");
    let (log, empty) = (place.write("auth.log", LOG), place.write("pillory.toml", ""));
    let answer = place.run(&["rehearse", "--json", "--config", &empty, &log]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let found = answer.json();
    // Two points each: the third bans for a day, and the owner of alice is shut out.
    assert_eq!(figures(&found), [8, 5, 1, 2, 1, 1], "{found}");
    let sshd = found["jails"].as_array().and_then(|jails| jails.iter().find(|jail| jail["name"] == "sshd"));
    assert_eq!(sshd.map(figures), Some([8, 5, 1, 2, 1, 1]), "{found}");
    assert_eq!(found["good_users"][0]["user"], "alice", "{found}");
    assert!(found["first"].as_str().is_some_and(|at| at.ends_with("-11-19T10:00:00Z")), "{found}");
    assert!(found["last"].as_str().is_some_and(|at| at.ends_with("-11-21T10:00:00Z")), "{found}");
    assert_eq!(found["curve"].as_array().map(Vec::len), Some(30), "{found}");
    let scanned = place.run(&["scan", "--json", "--config", &empty, &log]).json();
    assert_eq!(scanned["failures"], found["attempts"], "scan and rehearse count the same");
}

#[test]
fn rehearse_sets_two_policies_side_by_side() {
    let place = Place::new("against");
    let (log, empty) = (place.write("auth.log", LOG), place.write("pillory.toml", ""));
    let plain = place.write("plain.toml", PLAIN);
    let args = ["rehearse", "--config", &empty, "--against", &plain, &log];
    let found = place.run(&[&args[..], &["--json"]].concat()).json();
    assert_eq!(figures(&found)[..3], [8, 5, 1], "{found}");
    assert_eq!(figures(&found["against"])[..3], [8, 8, 0], "{found}");
    let text = place.run(&args).out;
    assert!(text.contains("5 (62.5 %)") && text.contains("8 (100.0 %)"), "{text}");
    assert!(text.contains("pillory.toml") && text.contains("plain.toml"), "{text}");
    let prose = text.lines().filter(|line| !line.contains(&log));
    for line in prose {
        assert!(line.chars().count() <= 80, "{line:?} is wider than a terminal");
    }
}

#[test]
fn rehearse_begins_where_it_is_told_and_draws_the_curve() {
    let place = Place::new("since");
    let (log, empty) = (place.write("auth.log", LOG), place.write("pillory.toml", ""));
    let svg = place.0.join("curve.svg").display().to_string();
    let args = ["rehearse", "--json", "--config", &empty, "--since", "1d", "--svg", &svg, &log];
    // Counted back from the last record, not from now.
    assert_eq!(figures(&place.run(&args).json())[..2], [1, 1]);
    let drawn = std::fs::read_to_string(svg).expect("it was drawn");
    assert!(drawn.starts_with("<svg ") && drawn.trim_end().ends_with("</svg>"), "{drawn}");
    assert_eq!(drawn.matches("<polyline").count(), 10, "five lines above and five below");
}

#[test]
fn rehearse_says_with_its_status_that_nothing_was_found_or_not_all_read() {
    let place = Place::new("status");
    let (log, quiet) = (place.write("auth.log", LOG), place.write("quiet.log", "nothing here\n"));
    let empty = place.write("pillory.toml", "");
    let code = |files: &[&str]| place.run(&[&["rehearse", "--config", &empty], files].concat()).code;
    assert_eq!((code(&[&log]), code(&[&quiet]), code(&[&log, "/nowhere"])), (Some(0), Some(1), Some(2)));
    let other = place.write("fail2ban.toml", "fail2ban = \"/etc/fail2ban\"\n");
    let refused = place.run(&["rehearse", "--config", &other, &log]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.err.contains("import --fail2ban"), "{refused:?}");
}

#[test]
fn rehearse_reads_rotated_and_packed_logs_and_what_the_daemon_kept_of_the_time_before() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    // Before the logs that are still there begin; only the daemon knows of it.
    server.append("/var/log/auth.log", failed_lines(5000, 2, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the attempts", || (daemon.attempts_of("198.51.100.7") == 2).then_some(()));
    drop(daemon.stop());
    let now = jiff::Zoned::now();
    let line = |minutes: i64, pid: u32| {
        let at = now.checked_add(jiff::Span::new().minutes(minutes)).expect("a time");
        let stamp = at.strftime("%Y-%m-%dT%H:%M:%S%:z");
        format!("{stamp} server sshd[{pid}]: Failed password for root from 203.0.113.9 port 4000 ssh2\n")
    };
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(line(1, 6000).as_bytes()).expect("it is packed");
    server.write("/var/log/auth.log.2.gz", packed.finish().expect("it is packed"));
    server.write("/var/log/auth.log.1", line(2, 6001));
    server.write("/var/log/auth.log", line(3, 6002));
    let found = pillory(&server, &["rehearse", "--json"]).json();
    assert_eq!(figures(&found)[..4], [5, 5, 1, 2], "{found}");
    assert_eq!(found["from_store"], 2, "{found}");
    assert_eq!(found["files"].as_array().map(Vec::len), Some(3), "{found}");
}

#[test]
fn rehearse_reads_btmp_where_nothing_else_is() {
    let Some((_world, server)) = quiet_server() else { return };
    server.run("rm", &["/var/log/auth.log"]);
    let record = |pid: u32| {
        let mut record = vec![0u8; 384];
        record[0] = 6;
        record[4..8].copy_from_slice(&pid.to_ne_bytes());
        record[8..17].copy_from_slice(b"ssh:notty");
        record[44..48].copy_from_slice(b"root");
        let now = i32::try_from(jiff::Timestamp::now().as_second()).expect("before 2038");
        record[340..344].copy_from_slice(&now.to_ne_bytes());
        record[348..352].copy_from_slice(&[198, 51, 100, 7]);
        record
    };
    server.write("/var/log/btmp.1", record(70));
    server.write("/var/log/btmp", [record(71), record(72)].concat());
    let found = pillory(&server, &["rehearse", "--json"]).json();
    assert_eq!(figures(&found), [3, 3, 1, 1, 0, 0], "{found}");
}

#[test]
fn a_long_rehearsal_shows_how_many_settings_are_replayed() {
    let place = Place::new("rehearse-progress");
    let line = |at: u32| {
        format!(
            "2026-11-{:02}T{:02}:{:02}:{:02}Z web sshd[{at}]: Failed password for root from 198.51.{}.{} port 1000 ssh2\n",
            1 + at / 3_000,
            at / 150 % 20,
            at % 60,
            at % 59,
            at % 200,
            at % 250
        )
    };
    let (log, empty) =
        (place.write("auth.log", (0..60_000).map(line).collect::<String>()), place.write("pillory.toml", ""));
    let mut command = std::process::Command::new(binary());
    command.args(["rehearse", "--config", &empty, &log]).env("TERM", "xterm").env("PAGER", "cat");
    let (code, text) = Terminal::start(command, 80).end();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" % of 30 settings, "), "{text}");
}
