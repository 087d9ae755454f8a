//! `pillory scan`, as a user runs it: what it prints, and its exit status.

use std::io::Write;

use crate::lab::{Answer, LOG, Place, World, binary};

/// What sshd writes of somebody who guesses, and of somebody who mistypes once.
pub const BRUTE_FORCE: &str = "\
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
fn scan_without_rights_counts_what_it_may_and_names_the_command_that_works() {
    use std::os::unix::fs::PermissionsExt;
    let Some(world) = World::with(&["setpriv"]) else { return };
    let server = &world.server;
    server.write(LOG, BRUTE_FORCE);
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(server.path(LOG), closed).expect("its mode is set");
    server.write("/srv/open.log", BRUTE_FORCE);
    let program = binary().display().to_string();
    let scan = |files: &[&str]| -> Answer {
        let mut command = server.command("setpriv");
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            &program,
            "scan",
            "--jail",
            "sshd",
        ]);
        command.args(files).output().expect("setpriv starts").into()
    };
    let answer = scan(&[LOG, "/srv/open.log"]);
    assert_eq!(answer.code, Some(77), "{answer:?}");
    assert!(answer.out.contains("192.0.2.7"), "{answer:?}");
    let works = format!("`sudo {program} scan --jail sshd {LOG} /srv/open.log`");
    assert!(answer.err.contains(&works), "{answer:?}");
    assert_eq!(scan(&[LOG]).code, Some(77));
    assert_eq!(scan(&["/srv/open.log"]).code, Some(0));
    assert_eq!(scan(&["/srv/open.log", "/nowhere"]).code, Some(2));
}
