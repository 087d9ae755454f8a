//! What the daemon writes to standard error.

use serde_json::Value;

use crate::lab::{Daemon, DaemonOptions, SOON, failed_lines, quiet_server};

const LOG: &str = "/var/log/auth.log";

/// One ban and one unban of an IPv4 and an IPv6 source; returns everything that was said.
fn said(args: &[&str]) -> Option<String> {
    let (_world, server) = quiet_server()?;
    let options =
        DaemonOptions { args: args.iter().map(ToString::to_string).collect(), ..DaemonOptions::default() };
    let daemon = Daemon::start_with(&server, &options);
    for (pid, addr, prefix) in
        [(5000, "198.51.100.7", "198.51.100.7/32"), (5100, "2001:db8:1::10", "2001:db8:1::/64")]
    {
        server.append(LOG, failed_lines(pid, 3, "root", addr));
        daemon.wait_for(SOON, "the ban", || daemon.lists(prefix).then_some(()));
        assert_eq!(daemon.ask(&["unban", prefix]).code, Some(0));
    }
    let (code, said) = daemon.stop();
    assert_eq!(code, Some(0), "{said}");
    Some(said)
}

#[test]
fn a_ban_and_an_unban_are_said_in_fail2bans_form() {
    let Some(said) = said(&[]) else { return };
    for (what, ip) in [
        ("Ban", "198.51.100.7"),
        ("Unban", "198.51.100.7"),
        ("Ban", "2001:db8:1::/64"),
        ("Unban", "2001:db8:1::/64"),
    ] {
        let tail = format!("NOTICE  [sshd] {what} {ip}");
        let lines: Vec<&str> = said.lines().filter(|line| line.ends_with(&tail)).collect();
        let [line] = lines.as_slice() else { panic!("{tail}: {lines:?} in\n{said}") };
        // 2026-01-02 03:04:05,678 pillory.actions         [7]: NOTICE  [sshd] Ban 192.0.2.1
        let (stamp, rest) = line.split_at(23);
        assert!(jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", &stamp[..19]).is_ok(), "{line}");
        assert!(
            stamp[19..].starts_with(',') && stamp[20..].bytes().all(|byte| byte.is_ascii_digit()),
            "{line}"
        );
        assert!(rest.starts_with(" pillory.actions "), "{line}");
    }
}

#[test]
fn the_structured_lines_of_a_ban_name_jail_address_time_and_reason() {
    let Some(said) = said(&[]) else { return };
    let line =
        said.lines().find(|line| line.contains("INFO") && line.contains("ip=198.51.100.7")).expect("a line");
    for field in ["jail=sshd", "bantime_s=86400", "failures=3", "reason=", "action=\"nftables\""] {
        assert!(line.contains(field), "{field} in {line}");
    }
}

#[test]
fn every_line_but_ready_is_json_if_asked_for() {
    let Some(said) = said(&["--log-format", "json"]) else { return };
    let parsed: Vec<Value> = said
        .lines()
        .filter(|line| !line.starts_with("ready: "))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let bans: Vec<&Value> = parsed.iter().filter(|line| line["fields"]["message"] == "ban").collect();
    assert_eq!(bans.len(), 2, "{said}");
    assert_eq!(bans[0]["fields"]["jail"], "sshd");
    assert_eq!(bans[0]["fields"]["ip"], "198.51.100.7");
    assert_eq!(bans[0]["fields"]["failures"], 3);
    let of = |message: &str| parsed.iter().find(|line| line["fields"]["message"] == message);
    assert_eq!(of("jail").expect("a line a jail")["fields"]["maxretry"], 5.0, "{said}");
    assert!(of("stopped").is_some(), "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ready: ")).count(), 1, "{said}");
}

#[test]
fn hostile_names_cannot_forge_a_line_of_the_log() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let name = "x\u{1b}[2J\u{202e} NOTICE  [sshd] Ban 192.0.2.1";
    server.append(LOG, failed_lines(5000, 5, name, "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || daemon.lists("198.51.100.7/32").then_some(()));
    let text = daemon.ask(&["attempts"]).out + &daemon.errors();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    assert!(!daemon.errors().lines().any(|line| line.ends_with("Ban 192.0.2.1")), "{text}");
}
