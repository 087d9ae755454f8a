//! `fail2ban_log`: written as fail2ban writes its own log, and read by tools that read that.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::lab::{
    Daemon, Fail2ban, Host, LOG, SOON, Subject as _, failed_lines, need, quiet_server, say_skipped,
    tools_dir, wait_for,
};

const WRITTEN: &str = "/var/log/f2b/fail2ban.log";

const CONFIG: &str = "widen = false\nfail2ban_log = \"/var/log/f2b/fail2ban.log\"\n\
                      [jail.sshd]\nmaxretry = 6\npoints = { unknown_user = 1, root = 1 }\n";

fn started(server: &Host) -> Daemon {
    std::fs::create_dir_all(server.path("/var/log/f2b")).expect("a directory is made");
    Daemon::start(server, CONFIG)
}

/// What is told of an address, without what differs each time: stamps, the process.
fn told(text: &str, addr: &str) -> Vec<String> {
    let stamp = |word: &str| {
        jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", word).is_ok_and(|at| at.year() > 2000)
    };
    let mut lines = Vec::new();
    for line in text.lines().filter(|line| line.contains(addr)) {
        let (when, rest) = line.split_at(19);
        assert!(stamp(when), "{line}");
        let (millis, rest) = rest.split_at(4);
        assert!(millis.starts_with(',') && millis[1..].bytes().all(|b| b.is_ascii_digit()), "{line}");
        let (begin, rest) = rest.split_once('[').expect("a process");
        let (pid, rest) = rest.split_once(']').expect("a process");
        assert!(pid.parse::<u32>().is_ok(), "{line}");
        let rest = match rest.split_once(" - ") {
            Some((found, at)) => {
                assert!(stamp(at), "{line}");
                format!("{found} - STAMP")
            }
            None => rest.to_owned(),
        };
        lines.push(format!("{begin}[PID]{rest}"));
    }
    lines
}

fn waits_for(server: &Host, text: &str) {
    wait_for(SOON, text, || server.read(WRITTEN).contains(text).then_some(()));
}

#[test]
fn failures_bans_and_unbans_are_written_as_fail2ban_writes_them() {
    let Some((_world, server)) = quiet_server() else { return };
    let addr = "198.51.100.7";
    let lines = failed_lines(5000, 6, "root", addr);
    let daemon = started(&server);
    assert!(server.path(WRITTEN).exists(), "it is there before there is a ban");
    server.append(LOG, &lines);
    waits_for(&server, &format!("NOTICE  [sshd] Ban {addr}"));
    assert_eq!(daemon.stop().0, Some(0));
    let daemon = started(&server);
    waits_for(&server, &format!("NOTICE  [sshd] Restore Ban {addr}"));
    assert_eq!(daemon.ask(&["unban", addr]).code, Some(0));
    waits_for(&server, &format!("NOTICE  [sshd] Unban {addr}"));
    daemon.stop();
    let ours = told(&server.read(WRITTEN), addr);
    let found = "fail2ban.filter         [PID]: INFO    [sshd] Found 198.51.100.7 - STAMP";
    let acts = |what: &str| format!(" fail2ban.actions        [PID]: NOTICE  [sshd] {what} {addr}");
    let mut expected = vec![format!(" {found}"); 6];
    expected.extend(["Ban", "Restore Ban", "Unban"].map(acts));
    assert_eq!(ours, expected);
    // The real one, with the same lines.
    let Some(mut peer) = Fail2ban::new(server.clone()) else { return };
    server.write(LOG, "");
    peer.settings().maxretry = 6;
    let running = peer.spawn(&[]);
    wait_for(SOON * 3, "its start", || peer.is_ready(&running.errors()).then_some(()));
    server.append(LOG, &lines);
    wait_for(SOON * 3, "its ban", || running.errors().contains(&format!("Ban {addr}")).then_some(()));
    let theirs = told(&running.errors(), addr);
    assert_eq!(theirs, expected[..7], "{}", running.errors());
}

#[test]
fn a_log_that_is_rotated_goes_on_in_a_new_file_and_one_without_a_directory_is_a_warning() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = started(&server);
    assert_eq!(daemon.ask(&["ban", "203.0.113.5", "--jail", "sshd"]).code, Some(0));
    waits_for(&server, "Ban 203.0.113.5");
    let old = server.path(format!("{WRITTEN}.1"));
    std::fs::rename(server.path(WRITTEN), &old).expect("it is renamed");
    assert_eq!(daemon.ask(&["ban", "203.0.113.6", "--jail", "sshd"]).code, Some(0));
    waits_for(&server, "Ban 203.0.113.6");
    assert!(!std::fs::read_to_string(&old).expect("it is there").contains("203.0.113.6"));
    std::fs::rename(server.path("/var/log/f2b"), server.path("/var/log/gone")).expect("it is renamed");
    assert_eq!(daemon.ask(&["ban", "203.0.113.7", "--jail", "sshd"]).code, Some(0));
    assert!(daemon.lists("203.0.113.7/32"));
    daemon.wait_for(SOON, "a warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("cannot write bans to fail2ban's log").then_some(())
    });
}

#[test]
fn a_failure_from_who_is_banned_already_is_written_as_such() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = started(&server);
    server.append(LOG, failed_lines(5000, 6, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || daemon.lists("198.51.100.7/32").then_some(()));
    let mut next = 6000;
    wait_for(SOON * 2, "a failure some seconds after the ban", || {
        next += 1;
        server.append(LOG, failed_lines(next, 1, "root", "198.51.100.7"));
        server.read(WRITTEN).contains("NOTICE  [sshd] 198.51.100.7 already banned\n").then_some(())
    });
}

/// How many bans and unbans of each jail logwatch's script for fail2ban counts.
fn logwatch(server: &Host) -> Option<BTreeMap<String, (u64, u64)>> {
    let root = tools_dir().canonicalize().ok()?;
    let home = [root.join("usr/share/logwatch"), "/usr/share/logwatch".into()];
    let home = home.into_iter().find(|home| home.join("scripts/services/fail2ban").exists())?;
    let mut command = server.command("perl");
    command.arg(format!("-I{}", home.join("lib").display())).arg(home.join("scripts/services/fail2ban"));
    command.env("LOGWATCH_DETAIL_LEVEL", "4").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("perl starts");
    let mut input = child.stdin.take().expect("it is piped");
    input.write_all(&server.read_bytes(WRITTEN)).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("**"), "it knows every line\n{text}");
    //    sshd:                                              [  2:1  ]      [  1:0  ]
    let row = |line: &str| {
        let (jail, rest) = line.split_once(": ")?;
        let (bans, unbans) = rest.trim().strip_prefix('[')?.split_once(']')?.0.split_once(':')?;
        Some((jail.trim().to_owned(), (bans.trim().parse().ok()?, unbans.trim().parse().ok()?)))
    };
    Some(text.lines().filter_map(row).collect())
}

/// What netdata's collector makes of it: failures, bans, and who is banned.
fn netdata(server: &Host) -> Option<Value> {
    let home = ["/usr/lib/netdata/python.d".into(), tools_dir().join("usr/lib/netdata/python.d")];
    let Some(home) = home.iter().find(|home| home.join("fail2ban.chart.py").exists()) else {
        say_skipped("no netdata-plugins-python here: what netdata reads is not compared");
        return None;
    };
    let home = home.canonicalize().expect("it is there");
    server.write("/run/netdata/jail.local", "[sshd]\nenabled = true\n[pam-generic]\nenabled = true\n");
    server.write("/run/netdata/jail.d/none.conf", "");
    let mut command = server.command("python3");
    command.args(["-c", include_str!("lab/netdata.py")]).arg(home).args([WRITTEN, "/run/netdata"]);
    let output = command.output().expect("python starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

#[test]
fn logwatch_and_netdata_count_the_bans_that_the_history_has() {
    if !need(&["perl", "python3", "logwatch"]) {
        return;
    }
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = started(&server);
    for (number, addr) in ["198.51.100.7", "198.51.100.8", "2001:db8:1::10"].into_iter().enumerate() {
        server.append(LOG, failed_lines(5000 + 100 * number as u32, 6, "root", addr));
    }
    for prefix in ["198.51.100.7/32", "198.51.100.8/32", "2001:db8:1::/64"] {
        daemon.wait_for(SOON, "the ban", || daemon.lists(prefix).then_some(()));
    }
    assert_eq!(daemon.ask(&["ban", "203.0.113.5", "--jail", "sshd"]).code, Some(0));
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    waits_for(&server, "Unban 198.51.100.7");
    waits_for(&server, "Ban 203.0.113.5");
    let history = daemon.ask_json(&["history"]);
    let of = |what: &str| {
        let rows = history.as_array().expect("a list").iter();
        rows.filter(|row| row["jail"] == "sshd" && row["what"] == what).count() as u64
    };
    let counted = logwatch(&server).expect("its script is there");
    assert_eq!(counted.get("sshd"), Some(&(of("ban"), of("unban"))), "{counted:?}\n{history}");
    assert_eq!((of("ban"), of("unban")), (4, 1), "{history}");
    if let Some(counted) = netdata(&server) {
        assert_eq!(counted["sshd"], of("ban"), "{counted}");
        assert_eq!(counted["sshd_in_jail"], of("ban") - of("unban"), "{counted}");
        assert_eq!(counted["sshd_failed_attempts"], 18, "{counted}");
    }
}
