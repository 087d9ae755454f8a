//! Commands that work without a daemon, as a user runs them: what they print, and their exit status.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::lab::{Answer, Daemon, Host, Place, World, need};

const BRUTE_FORCE: &str = "\
Nov 21 10:00:00 web sshd[100]: Invalid user oracle from 192.0.2.7 port 1000
Nov 21 10:00:00 web sshd[100]: pam_unix(sshd:auth): check pass; user unknown
Nov 21 10:00:00 web sshd[100]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7 
Nov 21 10:00:02 web sshd[100]: Failed password for invalid user oracle from 192.0.2.7 port 1000 ssh2
Nov 21 10:00:02 web sshd[100]: Connection closed by invalid user oracle 192.0.2.7 port 1000 [preauth]
Nov 21 10:05:00 web sshd[101]: Failed password for root from 192.0.2.7 port 1001 ssh2
Nov 21 10:06:00 web sshd[102]: Failed password for alice from 198.51.100.9 port 1002 ssh2
Nov 21 10:06:30 web sshd[102]: Accepted password for alice from 198.51.100.9 port 1002 ssh2
";

#[test]
fn scan_counts_attempts_and_says_who_would_be_banned() {
    let place = Place::new("scan");
    let log = place.write("auth.log", BRUTE_FORCE);
    let answer = place.run(&["scan", "--json", &log]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let found = answer.json();
    assert_eq!(found["failures"], 3);
    assert_eq!(found["files"][0]["format"], "text");
    assert_eq!(found["files"][0]["records"], 8);
    assert_eq!(found["files"][0]["bytes"], BRUTE_FORCE.len());
    let worst = &found["offenders"][0];
    assert_eq!(worst["prefix"], "192.0.2.7/32");
    assert_eq!(worst["failures"], 2);
    assert_eq!(worst["users"], serde_json::json!(["oracle", "root"]));
    assert_eq!(worst["would_ban"], true);
    assert!(worst["would_ban_at"].as_str().is_some_and(|at| at.ends_with("-11-21T10:00:00Z")), "{worst}");
    assert_eq!(found["offenders"][1]["would_ban"], false);
    let text = place.run(&["scan", &log]).out;
    assert!(text.contains("3 attempts by 2 sources, 1 good login\n"), "{text}");
}

#[test]
fn scan_reads_packed_logs_and_login_records_and_goes_on_after_what_it_cannot_read() {
    let place = Place::new("formats");
    let mut record = vec![0u8; 384];
    record[0] = 6;
    record[4..8].copy_from_slice(&77u32.to_le_bytes());
    record[8..17].copy_from_slice(b"ssh:notty");
    record[44..48].copy_from_slice(b"root");
    record[76..86].copy_from_slice(b"192.0.2.66");
    record[340..344].copy_from_slice(&1_790_000_000u32.to_le_bytes());
    record[348..352].copy_from_slice(&[192, 0, 2, 66]);
    let mut records = record.repeat(3);
    records.extend_from_slice(&record[..100]);
    let btmp = place.write("btmp", &records);
    let answer = place.run(&["scan", "--json", &btmp, "/nowhere", &place.0.display().to_string()]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("/nowhere") && answer.err.contains("directory"), "{answer:?}");
    let found = answer.json();
    assert_eq!((&found["files"][0]["format"], &found["files"][0]["records"]), (&"btmp".into(), &3.into()));
    assert_eq!((&found["failures"], &found["offenders"][0]["prefix"]), (&3.into(), &"192.0.2.66/32".into()));
}

#[test]
fn scan_says_what_it_could_not_read_and_counts_what_it_could() {
    let place = Place::new("unread");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Enough of it to be unpacked in several blocks.
    let filler =
        (0..20_000).map(|at| format!("Nov 21 11:00:00 web cron[{at}]: job {}\n", at * 7919 % 10_007));
    packed
        .write_all((BRUTE_FORCE.to_owned() + &filler.collect::<String>()).as_bytes())
        .expect("memory takes it");
    let packed = packed.finish().expect("memory takes it");
    let torn = place.write("auth.log.1.gz", &packed[..packed.len() / 2]);
    let answer = place.run(&["scan", "--json", &torn]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("not all of") && answer.err.contains("read to its end"), "{answer:?}");
    let found = answer.json();
    assert_eq!(found["failures"], 3, "{found}");
    assert!(found["files"][0]["trouble"].is_string(), "{found}");
    let zstd = place.write("auth.log.2.zst", b"\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00");
    for (path, words) in
        [("/nowhere", "No such file"), (zstd.as_str(), "zstd -dc"), ("/dev/zero", "a device")]
    {
        let answer = place.run(&["scan", path]);
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(answer.err.contains(words), "{answer:?}");
        assert!(
            answer.out.contains("nothing was scanned") && !answer.out.contains("no failed"),
            "{answer:?}"
        );
        let found = place.run(&["scan", "--json", path]).json();
        assert_eq!(found["unread"][0]["path"], path, "{found}");
    }
}

#[test]
fn scan_reads_logs_that_xz_packed() {
    let place = Place::new("xz");
    // Three wrong passwords for root, as `xz` packs them.
    let packed = b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01\x16\0\0\0t/\xe5\xa3\xe0\x01\x04\0d]\0'\x1b\xca\xc2\x01\x1c\xf1\xa1\\S\xb3tM'\xa3a\x8aAa\xb4\xd90J\x10!x=\xfd`\xfa\xf1\xeav\xc5uj<o\xb7\x1b\xb6\xbe_\xf2\xbd\x135\xa9\x8f\xbc\x94S\x95uS\xa5\xb3a@w\xfeg\x88\xfaXk\xf9[\x1c'\x9fu\x7f\xd9\x96P7=\xbb\x08j\x028\x8a\x85y\x82\x82=\x88\x9dX\xcc\xf2|\x9c\x1d\xfd\xcc\0\0\x96\xd0\xfb\xc2\x0b\x96\x15\x81\0\x01\x80\x01\x85\x02\0\0\xd2{\x869\xb1\xc4g\xfb\x02\0\0\0\0\x04YZ";
    let log = place.write("auth.log.1.xz", packed);
    let found = place.run(&["scan", "--json", &log]).json();
    assert_eq!((&found["failures"], &found["files"][0]["records"]), (&3.into(), &3.into()), "{found}");
    assert_eq!(found["files"][0]["trouble"], serde_json::Value::Null, "{found}");
    let torn = place.run(&["scan", &place.write("torn.xz", &packed[..packed.len() / 2])]);
    assert_eq!(torn.code, Some(2), "{torn:?}");
}

#[test]
fn scan_reads_a_file_once_whatever_it_is_called() {
    let place = Place::new("twice");
    let log = place.write("auth.log", BRUTE_FORCE);
    let link = place.0.join("link");
    std::os::unix::fs::symlink(&log, &link).expect("a link");
    let answer = place.run(&["scan", "--json", &log, &log, &link.display().to_string()]);
    assert_eq!(answer.json()["failures"], 3, "{answer:?}");
    assert_eq!(answer.err.matches("named twice").count(), 2, "{answer:?}");
}

#[test]
fn scan_says_that_a_misaligned_btmp_cannot_be_read() {
    let place = Place::new("misaligned");
    let mut record = vec![0u8; 384];
    (record[0], record[8]) = (6, b's');
    record[340..344].copy_from_slice(&1_790_000_000u32.to_le_bytes());
    record[348..352].copy_from_slice(&[192, 0, 2, 66]);
    let btmp = place.write("btmp", [&b"xx"[..], &record.repeat(50)].concat());
    let answer = place.run(&["scan", &btmp]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("50 of its 50 records are none"), "{answer:?}");
    assert!(answer.out.contains("no failed login found in what could be read"), "{answer:?}");
    let empty = place.write("btmp", "");
    assert_eq!(place.run(&["scan", &empty]).code, Some(1));
}

#[test]
fn scan_counts_what_auth_log_and_btmp_both_record_once() {
    let place = Place::new("both");
    let log = "2026-09-21T14:13:20+00:00 web sshd[77]: Failed password for root from 192.0.2.66 port 1000 ssh2\n\
        2026-09-21T14:14:20+00:00 web sshd[78]: Failed password for root from 192.0.2.66 port 1001 ssh2\n";
    let log = place.write("auth.log", log);
    let record = |pid: u32, secs: u32| {
        let mut record = vec![0u8; 384];
        record[0] = 6;
        record[4..8].copy_from_slice(&pid.to_le_bytes());
        record[8..17].copy_from_slice(b"ssh:notty");
        record[44..48].copy_from_slice(b"root");
        record[340..344].copy_from_slice(&secs.to_le_bytes());
        record[344..348].copy_from_slice(&500_000u32.to_le_bytes());
        record[348..352].copy_from_slice(&[192, 0, 2, 66]);
        record
    };
    // 2026-09-21 14:13:20 UTC is 1 790 000 000: one before the log, two in it, one behind it.
    let begin = 1_790_000_000u32;
    let records =
        [record(76, begin - 3600), record(77, begin), record(78, begin + 60), record(79, begin + 3600)];
    let btmp = place.write("btmp", records.concat());
    assert_eq!(place.run(&["scan", "--json", &btmp]).json()["failures"], 4);
    for files in [[&btmp, &log], [&log, &btmp]] {
        let found = place.run(&["scan", "--json", files[0], files[1]]).json();
        assert_eq!(found["failures"], 4, "{found}");
        let login_records =
            found["files"].as_array().and_then(|files| files.iter().find(|file| file["format"] == "btmp"));
        assert_eq!(login_records.expect("the btmp")["in_log"], 2, "{found}");
    }
    let text = place.run(&["scan", &btmp, &log]).out;
    assert!(text.contains("2 of them are passed over"), "{text}");
    // A log of something else covers nothing.
    let other =
        place.write("access.log", "192.0.2.1 - - [21/Sep/2026:14:13:20 +0000] \"GET / HTTP/1.1\" 200 5\n");
    assert_eq!(place.run(&["scan", "--json", &btmp, &other]).json()["failures"], 4);
}

#[test]
fn scan_of_a_log_without_failures_answers_no() {
    let place = Place::new("nothing");
    let log = place.write("auth.log", "\0\0\u{fffd}\nhello\n");
    assert_eq!(place.run(&["scan", &log]).code, Some(1));
}

#[test]
fn check_names_every_problem_with_its_line() {
    let place = Place::new("check");
    let bad = place.write("bad.toml", "bantime = \"10x\"\n[jail.sshd]\nmaxretry = -1\ncolour = 1\n");
    let answer = place.run(&["check", "--config", &bad]);
    assert_eq!(answer.code, Some(2));
    for line in ["bad.toml:1:", "bad.toml:3:", "bad.toml:4:"] {
        assert!(answer.err.contains(line), "{answer:?}");
    }
    let good = place.write("good.toml", "maxretry = 3\n");
    assert_eq!(place.run(&["check", "--config", &good]).code, Some(0));
    let json = place.run(&["check", "--json", "--config", &bad]).json();
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(3), "{json}");
}

#[test]
fn check_names_every_problem_of_every_stage_with_its_line() {
    let place = Place::new("check-all");
    let text = r#"banaction = "iptables"
ignoreip = ["0.0.0.0/0", "::/0", "192.0.2.1"]
points = { foo = 1, root = -2, bar = 2 }

[jail.x]
logpath = ["/tmp/x.log"]
port = ["nosuchport", 99999, "22:10", "8000:8010", "ssh"]
failregex = ['^bad( from <HOST>$', '^blind$', '^worse) from <HOST>$', '^good from <HOST>$']

[jail.pam-generic]
enabled = true
backend = "journal"

[jail.y]
backend = "file"
journalmatch = "_COMM=y"
failregex = ['^no from <HOST>$']
"#;
    let answer = place.run(&["check", "--config", &place.write("bad.toml", text)]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    let expected = [
        (1, "banaction \"iptables\" is not known"),
        (2, "\"0.0.0.0/0\" is every address"),
        (2, "\"::/0\" is every address"),
        (3, "no class \"bar\""),
        (3, "no class \"foo\""),
        (3, "root -2"),
        (7, "port \"nosuchport\" has no number"),
        (7, "\"99999\" is no port"),
        (7, "\"22:10\" is no port"),
        (8, "failregex 0"),
        (8, "failregex 1 captures no address"),
        (8, "failregex 2"),
        (12, "nothing says which of its entries"),
        (15, "nothing says which files"),
    ];
    for (line, what) in expected {
        let at = format!("bad.toml:{line}: ");
        assert!(
            answer.err.lines().any(|said| said.contains(&at) && said.contains(what)),
            "{at}{what}: {answer:?}"
        );
    }
    assert!(answer.err.ends_with(&format!("{} problems\n", expected.len())), "{answer:?}");
    // A daemon names them too, but for the port that has only no number here.
    let daemon =
        place.run(&["run", "--dry-run", "--config", &place.0.join("bad.toml").display().to_string()]);
    assert_eq!(daemon.code, Some(2), "{daemon:?}");
    assert!(daemon.err.contains("bad.toml:1: banaction") && daemon.err.contains("failregex 2"), "{daemon:?}");
}

#[test]
fn a_configuration_that_is_no_regular_file_is_refused_at_once() {
    let place = Place::new("check-kinds");
    let fifo = place.0.join("fifo").display().to_string();
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo starts").success());
    for path in [fifo.as_str(), "/dev/zero", "/proc", &place.0.display().to_string()] {
        let answer = place.run(&["check", "--config", path]);
        assert_eq!(answer.code, Some(2), "{path}: {answer:?}");
        assert!(answer.err.contains(path) && answer.err.contains("--config"), "{path}: {answer:?}");
    }
    let link = place.0.join("link");
    std::os::unix::fs::symlink(place.write("good.toml", "maxretry = 3\n"), &link).expect("a link");
    assert_eq!(place.run(&["check", "--config", &link.display().to_string()]).code, Some(0));
}

#[test]
fn test_filter_gives_each_lines_verdict_and_a_summary() {
    let place = Place::new("filter");
    let log = place.write("auth.log", BRUTE_FORCE);
    let answer = place.run(&["test-filter", "--json", "--now", "1795334400", "--tz", "UTC", "sshd", &log]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let lines: Vec<Value> =
        answer.out.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    assert_eq!(lines.len(), 9);
    assert_eq!(lines[0]["verdict"], "failure");
    assert_eq!(lines[0]["prefix"], "192.0.2.7/32");
    assert_eq!(lines[0]["class"], "unknown_user");
    assert_eq!(lines[0]["time"], 1_795_255_200.0);
    assert_eq!(lines[1]["verdict"], "miss");
    assert_eq!(lines[7]["verdict"], "success");
    assert_eq!(lines[8]["summary"]["lines"], 8);
    assert_eq!(lines[8]["summary"]["success"], 1);
    assert_eq!(place.run(&["test-filter", "no-such-filter", &log]).code, Some(2));
}

#[test]
fn import_without_a_daemon_keeps_bans_for_its_start() {
    let place = Place::new("import");
    let list = place.write(
        "list.txt",
        "192.0.2.7\n198.51.100.155/24 - 12/2016. WP login attempts\n203.0.0.0/16\n127.0.0.1\nnonsense\n0.0.0.0/0\n\
         203.1.0.0/16 - 12/2016. too wide to be banned, and too old\n",
    );
    let dry = place.offline(&["import", "--json", "--dry-run", &list]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert_eq!(place.offline(&["export"]).code, Some(69));
    let answer = place.offline(&["import", "--json", &list]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let said = answer.json();
    assert_eq!(said["banned"], serde_json::json!(["192.0.2.7/32"]));
    assert_eq!((&said["changed"], &said["history_only"]), (&1.into(), &2.into()));
    assert_eq!(said["refused"][0]["prefix"], "127.0.0.1/32");
    assert_eq!((&said["unreadable"][0]["line"], &said["wide"][0]["line"]), (&5.into(), &3.into()));
    assert_eq!(said["normalised"][0]["prefix"], "198.51.100.0/24");
    assert_eq!(place.offline(&["export"]).out, "192.0.2.7\n");
    let again = place.offline(&["import", "--json", "--ban", "--wide", &list]).json();
    // Taking a list over again renews its bans.
    assert_eq!((&again["changed"], &again["history_only"]), (&4.into(), &0.into()));
    assert_eq!(place.offline(&["export"]).out, "192.0.2.7\n198.51.100.0/24\n203.0.0.0/16\n203.1.0.0/16\n");
    assert_eq!(place.offline(&["export", "--json"]).json().as_array().map(Vec::len), Some(4));
}

#[test]
fn import_without_a_daemon_spares_the_ignoreip_of_the_configuration_that_is_named() {
    let place = Place::new("import-ignoreip");
    let list = place.write("list.txt", "192.0.2.7\n198.51.100.7\n");
    let config = place.write("pillory.toml", "ignoreip = [\"192.0.2.0/24\"]\n");
    let said = place.offline(&["import", "--json", "--config", &config, &list]).json();
    assert_eq!(said["banned"], serde_json::json!(["198.51.100.7/32"]));
    assert_eq!(said["refused"][0]["prefix"], "192.0.2.7/32");
    let broken = place.write("broken.toml", "ignoreip = 7 7\n");
    assert_eq!(place.offline(&["import", "--config", &broken, &list]).code, Some(2));
}

#[test]
fn import_says_no_if_it_takes_nothing() {
    let place = Place::new("import-nothing");
    let lists = ["127.0.0.1\n", "203.0.0.0/16\n", "nonsense\n", "# nobody\n"];
    for text in lists {
        let list = place.write("list.txt", text);
        let answer = place.offline(&["import", "--json", &list]);
        assert_eq!(answer.code, Some(1), "{text}: {answer:?}");
    }
    for old in ["192.0.2.7 - 12/2016. ssh\n", "192.0.2.8\n", "192.0.2.8\n"] {
        let list = place.write("list.txt", old);
        assert_eq!(place.offline(&["import", &list]).code, Some(0), "{old}");
    }
}

#[test]
fn import_takes_every_address_of_a_line_and_its_note_as_it_is() {
    let place = Place::new("import-notes");
    let list = place.write("list.txt", "192.0.2.21,192.0.2.22 - noted\n");
    assert_eq!(
        place.offline(&["import", "--json", &list]).json()["banned"],
        serde_json::json!(["192.0.2.21/32", "192.0.2.22/32"])
    );
    let list = place.write("list.txt", "192.0.2.23 - 10/2026 ssh\n");
    assert_eq!(place.offline(&["import", "--ban", &list]).code, Some(0));
    let exported = place.offline(&["export", "--json"]).json();
    let noted = exported.as_array().and_then(|bans| bans.iter().find(|ban| ban["prefix"] == "192.0.2.23/32"));
    assert_eq!(noted.expect("it is banned")["reason"], "10/2026 ssh");
}

#[test]
fn import_goes_to_the_running_daemon_with_its_reasons() {
    let Some(world) = World::new() else { return };
    let daemon = Daemon::start(&world.server, "");
    world.server.write("/var/lib/list", "203.0.113.7 - web spam\n198.51.100.9 - 12/2016. ssh\n192.0.2.1\n");
    let answer = daemon.ask(&["import", "/var/lib/list", "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let said = answer.json();
    assert_eq!((&said["changed"], &said["history_only"]), (&1.into(), &1.into()), "{said}");
    assert_eq!(said["refused"][0]["prefix"], "192.0.2.1/32");
    let list = daemon.list();
    assert_eq!(
        (list.len(), &list[0]["reason"], &list[0]["origin"]),
        (1, &"web spam".into(), &"import".into())
    );
    assert!(world.kernel().is_banned("203.0.113.7".parse().expect("an address")));
    let history = daemon.ask_json(&["history"]);
    let listed = history.as_array().and_then(|rows| rows.iter().find(|row| row["what"] == "listed"));
    assert_eq!(listed.map(|row| &row["time"]), Some(&"2016-12-01T00:00:00Z".into()), "{history}");
    assert_eq!(daemon.ask(&["export"]).out, "203.0.113.7\n");
    world.server.write("/var/lib/list", "192.0.2.1\n");
    assert_eq!(daemon.ask(&["import", "/var/lib/list"]).code, Some(1));
}

#[test]
fn doctor_finds_what_another_tool_left_in_the_kernel_and_the_daemon_able_to_ban() {
    let Some(world) = World::new() else { return };
    let daemon = Daemon::start(&world.server, "");
    let ids = || -> Vec<String> {
        let findings = daemon.ask(&["doctor", "--json"]).json()["findings"].as_array().cloned();
        findings.iter().flatten().filter_map(|found| found["id"].as_str().map(str::to_owned)).collect()
    };
    let before = ids();
    world.kernel().nft("add table inet f2b-table");
    let after: Vec<String> = ids().into_iter().filter(|id| !before.contains(id)).collect();
    assert_eq!(after, ["rival_bans"], "before: {before:?}");
    assert!(!before.contains(&"daemon_not_permitted".to_owned()));
}

#[test]
fn off_on_and_unban_work_without_a_daemon() {
    if !need(&["unshare", "nsenter", "ip", "nft"]) {
        return;
    }
    let host = Host::server();
    host.write("/var/lib/list", "192.0.2.7\n198.51.100.0/24\n");
    let run = |args: &[&str]| crate::lab::pillory(&host, args);
    assert_eq!(run(&["import", "/var/lib/list"]).code, Some(0));
    let unbanned = run(&["unban", "192.0.2.7", "--json"]);
    assert_eq!(unbanned.code, Some(0), "{unbanned:?}");
    assert_eq!(unbanned.json()["unbanned"][0]["prefix"], "192.0.2.7/32");
    assert_eq!(run(&["unban", "192.0.2.7"]).code, Some(1));
    host.run("nft", &["add table inet pillory"]);
    host.run("nft", &["add set inet pillory ban4 { type ipv4_addr; flags timeout; }"]);
    host.run("nft", &["add element inet pillory ban4 { 203.0.113.9 timeout 1h }"]);
    host.run("ip", &["route", "add", "blackhole", "203.0.113.77"]);
    assert_eq!(run(&["off"]).code, Some(0));
    assert!(!host.run("nft", &["list", "tables"]).contains("pillory"));
    assert!(host.run("ip", &["route"]).contains("203.0.113.77"), "a foreign route stays");
    assert_eq!(run(&["doctor"]).code, Some(1));
    assert!(run(&["doctor"]).out.contains("switched off"));
    let on = run(&["on"]);
    assert_eq!(on.code, Some(0), "{on:?}");
    assert!(on.out.contains("1 bans are kept"), "{on:?}");
}

#[test]
fn without_rights_the_missing_privilege_is_named() {
    let place = Place::new("rights");
    if !rustix::process::geteuid().is_root() || Path::new("/usr/bin/setpriv").metadata().is_err() {
        println!("skipped: needs root and setpriv");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let state = place.0.join("state");
    std::fs::create_dir_all(&state).expect("a directory");
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).expect("closed");
    std::fs::set_permissions(&place.0, std::fs::Permissions::from_mode(0o755)).expect("open");
    let program = place.0.join("pillory");
    // Copied by a program of its own: a child that another test starts meanwhile would hold a copy that is being
    // written here open, and what is open for writing cannot be run.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_pillory")).arg(&program).status();
    assert!(copied.expect("cp starts").success(), "a copy that anybody may run");
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program).arg("off");
    command.arg("--state-dir").arg(&state).arg("--control").arg(place.0.join("no.sock"));
    let answer: Answer = command.output().expect("setpriv starts").into();
    assert_eq!(answer.code, Some(77), "{answer:?}");
    assert!(answer.err.contains("root"), "{answer:?}");
}

#[test]
fn no_time_at_all_is_refused() {
    let place = Place::new("nothing");
    for args in
        [&["ban", "192.0.2.7", "--for", "0"][..], &["off", "--for", "0s"], &["import", "--for", "0", "-"]]
    {
        let answer = place.run(args);
        assert_eq!(answer.code, Some(2), "{args:?}: {answer:?}");
    }
}
