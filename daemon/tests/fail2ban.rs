//! The daemon on a fail2ban directory: its filters and jails as Debian ships them, a real sshd, the real kernel.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::lab::{
    Daemon, DaemonOptions, Host, Logging, Outcome, SHORT, SOON, Sshd, SshdOptions, World, failed_line,
    quiet_server, sshd_line, stock_fail2ban,
};

const DIRECTORY: &str = "/etc/fail2ban";

/// Puts the package's directory on the host, with this jail.local.
pub(crate) fn install(host: &Host, jail_local: &str) -> Option<()> {
    copy(&stock_fail2ban()?, host, DIRECTORY);
    // Debian's own file only switches sshd on.
    host.write("/etc/fail2ban/jail.d/defaults-debian.conf", "");
    host.write("/etc/fail2ban/jail.local", jail_local);
    Some(())
}

fn copy(from: &Path, host: &Host, to: &str) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = format!("{to}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            copy(&entry.path(), host, &target);
        } else {
            host.write(&target, std::fs::read(entry.path()).unwrap());
        }
    }
}

pub(crate) fn start(host: &Host) -> Daemon {
    let args = vec!["--fail2ban".to_owned(), DIRECTORY.to_owned()];
    Daemon::start_with(host, &DaemonOptions { args, ..DaemonOptions::default() })
}

/// A server without sshd, whose auth.log the test writes, guarded by these jails.
fn guarded(jail_local: &str) -> Option<(World, Host, Daemon)> {
    let (world, host) = quiet_server()?;
    install(&host, jail_local)?;
    let daemon = start(&host);
    Some((world, host, daemon))
}

pub(crate) fn wait_in(world: &World, daemon: &Daemon, set: &str, prefix: &str) {
    daemon.wait_for(SOON, &format!("{prefix} in {set}"), || {
        let set = world.kernel().set(set);
        set.iter().any(|element| element.prefix.to_string() == prefix).then_some(())
    });
}

pub(crate) fn wait_text(daemon: &Daemon, host: &Host, file: &str, text: &str) {
    daemon.wait_for(SOON, &format!("{text:?} in {file}"), || host.read(file).contains(text).then_some(()));
}

fn wait_lines(daemon: &Daemon, jail: &str, count: u64) {
    daemon.wait_for(SOON, &format!("{count} lines of {jail}"), || {
        let status = daemon.status();
        let jails = status["jails"].as_array()?.clone();
        let lines = jails.iter().find(|known| known["name"] == jail)?["lines"].as_u64()?;
        (lines >= count).then_some(())
    });
}

const SSHD: &str = "[DEFAULT]\nbantime = 1h\nbackend = polling\n[sshd]\nenabled = true\nmaxretry = 3\n";

#[test]
fn debians_own_sshd_jail_shuts_out_single_addresses_on_its_port() {
    let Some(world) = World::with(Logging::Rsyslog.needs()) else { return };
    let host = world.server.clone();
    if install(&host, SSHD).is_none() {
        return;
    }
    let _syslog = Logging::Rsyslog.start(&host);
    let _sshd = Sshd::start_with(&host, &SshdOptions { use_pam: false, ..SshdOptions::default() });
    let daemon = start(&host);
    for (addr, set, banned) in [
        ("198.51.100.7", "ban4_sshd", "198.51.100.7/32"),
        ("2001:db8:1::10", "ban6_sshd", "2001:db8:1::10/128"),
    ] {
        let attacker = world.attacker(addr);
        let answered =
            (0..10).take_while(|_| attacker.try_password("root", "wrong") == Outcome::Denied).count();
        wait_in(&world, &daemon, set, banned);
        // The third failure bans; its own connection may or may not get its answer.
        assert!((2..=3).contains(&answered), "{answered} connections were answered");
        assert_eq!(attacker.banner(SHORT), None);
        let left = world.kernel().left(set, addr).expect("it has an end");
        assert!(left > Duration::from_secs(3_500) && left <= Duration::from_secs(3_600), "{left:?}");
    }
    // fail2ban bans addresses, not their networks.
    assert!(world.friend("2001:db8:1::11").is_served(SOON));
    assert!(daemon.errors().contains("done natively by nftables"), "{}", daemon.errors());
    let listed = daemon.list();
    let mut prefixes: Vec<&str> = listed.iter().filter_map(|ban| ban["prefix"].as_str()).collect();
    prefixes.sort_unstable();
    assert_eq!(prefixes, ["198.51.100.7/32", "2001:db8:1::10/128"]);
}

#[test]
fn what_the_log_held_at_the_start_counts_within_findtime() {
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, SSHD) else { return };
    let lines: String = (1..=3).map(|pid| failed_line(pid, "root", "198.51.100.7")).collect();
    host.append("/var/log/auth.log", lines);
    let daemon = start(&host);
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
}

#[test]
fn ignoreip_of_a_jail_and_the_never_ban_set_both_hold() {
    let jails = format!("{SSHD}ignoreip = 203.0.113.0/24\n");
    let Some((world, host, daemon)) = guarded(&jails) else { return };
    for (pid, addr) in [(1, "203.0.113.9"), (2, "127.0.0.9"), (3, "198.51.100.9")] {
        host.append("/var/log/auth.log", failed_line(pid, "root", addr).repeat(4));
    }
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.9/32");
    assert_eq!(daemon.list().len(), 1);
}

#[test]
fn an_offender_is_rejected_or_dropped_as_the_action_says() {
    for (blocktype, expected) in [
        ("", std::io::ErrorKind::ConnectionRefused),
        ("blocktype=\"REJECT --reject-with tcp-reset\"", std::io::ErrorKind::ConnectionRefused),
        ("blocktype=DROP", std::io::ErrorKind::TimedOut),
    ] {
        let jails = format!("{SSHD}action = iptables-multiport[port=ssh, {blocktype}]\n");
        let Some((world, host, daemon)) = guarded(&jails) else { return };
        let _listener = host.in_network(|| std::net::TcpListener::bind("[::]:22").expect("a port"));
        for (pid, addr) in [(1, "198.51.100.7"), (2, "2001:db8:1::10")] {
            assert!(world.attacker(addr).connect(22, SOON).is_ok());
            host.append("/var/log/auth.log", failed_line(pid, "root", addr).repeat(3));
        }
        wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
        wait_in(&world, &daemon, "ban6_sshd", "2001:db8:1::10/128");
        for addr in ["198.51.100.7", "2001:db8:1::10"] {
            let limit = if expected == std::io::ErrorKind::TimedOut { SHORT } else { SOON };
            let error = world.attacker(addr).connect(22, limit).expect_err("it is shut out");
            assert_eq!(error.kind(), expected, "{blocktype}: {addr}: {error}");
        }
    }
}

#[test]
fn a_jail_local_alone_works_with_the_filters_of_our_own() {
    let Some((world, host)) = quiet_server() else { return };
    host.write(
        "/etc/fail2ban/jail.local",
        "[DEFAULT]\nbantime = 2h\nignoreip = 203.0.113.9\nmaxretry = 3\n[sshd]\nenabled = true\n",
    );
    let daemon = start(&host);
    for addr in ["203.0.113.9", "198.51.100.7"] {
        // Unknown names count one like all others.
        let tries = (1..=3).map(|pid| {
            let shown = format!("Invalid user oracle from {addr} port 4{pid}00");
            sshd_line(pid, &shown)
        });
        host.append("/var/log/auth.log", tries.take(2).collect::<String>());
    }
    wait_lines(&daemon, "sshd", 4);
    assert_eq!(daemon.list(), Vec::<Value>::new());
    host.append("/var/log/auth.log", failed_line(9, "root", "198.51.100.7"));
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
    assert_eq!(daemon.list().len(), 1);
    assert!(daemon.errors().contains("stands in"), "{}", daemon.errors());
}

const RECIDIVE: &str = "[DEFAULT]\nbackend = polling\nmaxretry = 2\nfindtime = 1h\n[sshd]\nenabled = true\nbantime = 1s\n\
    [recidive]\nenabled = true\nbantime = 1w\n";

/// Bans by sshd for a second, and waits for its end.
fn short_ban(daemon: &Daemon, host: &Host, pid: u32) {
    host.append("/var/log/auth.log", failed_line(pid, "root", "198.51.100.7").repeat(2));
    daemon.wait_for(SOON, "a ban by sshd and its end", || {
        let status = daemon.status();
        let jails = status["jails"].as_array().cloned().unwrap_or_default();
        let sshd = jails.iter().find(|jail| jail["name"] == "sshd")?;
        (sshd["bans_total"] == u64::from(pid) && sshd["banned"] == 0).then_some(())
    });
}

fn wait_recidive(world: &World, daemon: &Daemon) {
    daemon.wait_for(SOON, "the ban by recidive", || {
        daemon.list().iter().any(|ban| ban["jail"] == "recidive").then_some(())
    });
    wait_in(world, daemon, "ban4_recidive", "198.51.100.7/32");
}

#[test]
fn recidive_counts_the_bans_in_the_ledger_over_a_kill_and_bans_stand_in_fail2bans_log() {
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, RECIDIVE) else { return };
    host.write("/etc/fail2ban/fail2ban.local", "[DEFAULT]\nlogtarget = /var/log/f2b.log\n");
    let mut daemon = start(&host);
    short_ban(&daemon, &host, 1);
    // Its stock logpath is another one, and what it knows is in no log.
    daemon.kill();
    daemon = start(&host);
    short_ban(&daemon, &host, 2);
    wait_recidive(&world, &daemon);
    let log = host.read("/var/log/f2b.log");
    assert!(log.contains(" fail2ban.actions        ["), "{log}");
    assert!(log.contains("]: NOTICE  [recidive] Ban 198.51.100.7\n"), "{log}");
}

#[test]
fn recidive_needs_no_filter_of_its_own_and_no_log() {
    let Some((world, host)) = quiet_server() else { return };
    host.write("/etc/fail2ban/jail.local", RECIDIVE);
    host.write("/etc/fail2ban/fail2ban.local", "[DEFAULT]\nlogtarget = SYSLOG\n");
    let daemon = start(&host);
    short_ban(&daemon, &host, 1);
    short_ban(&daemon, &host, 2);
    wait_recidive(&world, &daemon);
}

#[test]
fn one_bad_jail_stops_no_other() {
    let jails =
        format!("{SSHD}[broken]\nenabled = true\nfilter = there-is-none\nlogpath = /var/log/auth.log\n");
    let Some((world, host, daemon)) = guarded(&jails) else { return };
    assert!(daemon.errors().contains("there-is-none"), "{}", daemon.errors());
    host.append("/var/log/auth.log", failed_line(1, "root", "198.51.100.7").repeat(3));
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
}

#[test]
fn names_are_resolved_as_usedns_says() {
    let jails = "[DEFAULT]\nbackend = polling\nmaxretry = 1\n[sshd]\nenabled = true\n[strict]\nenabled = true\n\
        filter = sshd\nlogpath = /var/log/auth.log\nport = 2222\nusedns = no\n";
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, jails) else { return };
    host.write("/etc/hosts", "127.0.0.1 localhost\n198.51.100.77 badhost.example.net\n");
    let daemon = start(&host);
    let line = "error: PAM: Authentication failure for root from badhost.example.net";
    host.append("/var/log/auth.log", sshd_line(1, line));
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.77/32");
    assert_eq!(world.kernel().set("ban4_strict"), Vec::new());
}

#[test]
fn an_ignorecommand_spares_whom_it_says() {
    let jails = format!("{SSHD}ignorecommand = test <ip>.<F-USER> = 198.51.100.8.root\n");
    let Some((world, host, daemon)) = guarded(&jails) else { return };
    for (pid, addr) in [(1, "198.51.100.8"), (2, "198.51.100.9")] {
        host.append("/var/log/auth.log", failed_line(pid, "root", addr).repeat(3));
    }
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.9/32");
    assert_eq!(daemon.list().len(), 1);
}

#[test]
fn bans_grow_as_configured_over_a_restart() {
    let jails = format!("{SSHD}bantime.increment = true\nbantime.maxtime = 3h\n");
    let Some((world, host, daemon)) = guarded(&jails) else { return };
    host.append("/var/log/auth.log", failed_line(1, "root", "198.51.100.7").repeat(3));
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    daemon.stop();
    let daemon = start(&host);
    // A known offender counts twice.
    host.append("/var/log/auth.log", failed_line(2, "root", "198.51.100.7").repeat(2));
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
    let left = world.kernel().left("ban4_sshd", "198.51.100.7").expect("it has an end");
    assert!(left > Duration::from_secs(7_100) && left <= Duration::from_secs(7_200), "{left:?}");
}

#[test]
fn the_journal_is_read_for_a_systemd_backend() {
    let Some(world) = World::with(Logging::Journald.needs()) else { return };
    let host = world.server.clone();
    let Some(()) = install(&host, "[sshd]\nenabled = true\nbackend = systemd\nmaxretry = 3\n") else {
        return;
    };
    let _syslog = Logging::Journald.start(&host);
    let _sshd = Sshd::start_with(&host, &SshdOptions { use_pam: false, ..SshdOptions::default() });
    let daemon = start(&host);
    let attacker = world.attacker("198.51.100.7");
    while attacker.try_password("root", "wrong") == Outcome::Denied {}
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
}
