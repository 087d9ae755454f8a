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
fn install(host: &Host, jail_local: &str) -> Option<()> {
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

fn start(host: &Host) -> Daemon {
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

fn wait_in(world: &World, daemon: &Daemon, set: &str, prefix: &str) {
    daemon.wait_for(SOON, &format!("{prefix} in {set}"), || {
        let set = world.kernel().set(set);
        set.iter().any(|element| element.prefix.to_string() == prefix).then_some(())
    });
}

fn wait_text(daemon: &Daemon, host: &Host, file: &str, text: &str) {
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

const SCRIPTED: &str = "[Definition]
actionstart = echo start >> /run/said
actionstop = echo stop >> /run/said
actionban = printf '%%s|' ban <ip> <name> <failures> \"<F-USER>\" \"<mark>\" >> /run/said; echo >> /run/said
actionunban = echo unban <ip> >> /run/said
[Init]
mark = none
";

fn scripted(extra: &str) -> String {
    format!(
        "[DEFAULT]\nbackend = polling\n[sshd]\nenabled = true\nmaxretry = 2\nbantime = 1h\naction = %(action_)s\n    script[mark=\"a b\"]\n{extra}"
    )
}

#[test]
fn an_action_of_the_operators_own_is_run_beside_the_kernel() {
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, &scripted("")) else { return };
    host.write("/etc/fail2ban/action.d/script.conf", SCRIPTED);
    let daemon = start(&host);
    let name = "x'`touch /run/pwned`$(touch /run/pwned)\";touch /run/pwned";
    for pid in [1, 2] {
        let line = format!("Invalid user {name} from 198.51.100.7 port 4{pid}000");
        host.append("/var/log/auth.log", sshd_line(pid, &line));
    }
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
    wait_text(&daemon, &host, "/run/said", "ban|198.51.100.7|sshd|2|");
    let said = host.read("/run/said");
    assert!(said.starts_with("start\n") && said.contains(&format!("|{name}|a b|")), "{said}");
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    wait_text(&daemon, &host, "/run/said", "unban 198.51.100.7");
    assert_eq!(daemon.stop().0, Some(0));
    assert!(host.read("/run/said").ends_with("stop\n"), "{}", host.read("/run/said"));
    assert!(!host.path("/run/pwned").exists());
}

#[test]
fn bans_in_force_are_told_to_actions_at_a_start_and_taken_back_at_a_stop() {
    let Some((_world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, &scripted("")) else { return };
    host.write("/etc/fail2ban/action.d/script.conf", SCRIPTED);
    let daemon = start(&host);
    host.append("/var/log/auth.log", failed_line(1, "root", "198.51.100.7").repeat(2));
    wait_text(&daemon, &host, "/run/said", "ban|198.51.100.7|");
    assert_eq!(daemon.stop().0, Some(0));
    assert!(host.read("/run/said").ends_with("unban 198.51.100.7\nstop\n"), "{}", host.read("/run/said"));
    host.write("/run/said", "");
    let daemon = start(&host);
    wait_text(&daemon, &host, "/run/said", "ban|198.51.100.7|sshd|2|");
    drop(daemon);
}

#[test]
fn an_action_that_hangs_delays_nobody_and_is_said() {
    let jails = "[DEFAULT]\nbackend = polling\nmaxretry = 2\n[sshd]\nenabled = true\naction = %(action_)s\n    hang\n\
        [again]\nenabled = true\nfilter = sshd\nlogpath = /var/log/auth.log\naction = script\n";
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, jails) else { return };
    host.write("/etc/fail2ban/action.d/script.conf", SCRIPTED);
    host.write(
        "/etc/fail2ban/action.d/hang.conf",
        "[Definition]\nactionban = sleep 1000\n[Init]\ntimeout = 2\n",
    );
    let daemon = start(&host);
    host.append("/var/log/auth.log", failed_line(1, "root", "198.51.100.7").repeat(2));
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.7/32");
    wait_text(&daemon, &host, "/run/said", "ban|198.51.100.7|again|2|");
    daemon.wait_for(SOON, "the warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("did not end within 2 s").then_some(())
    });
    // Its own jail goes on, too.
    host.append("/var/log/auth.log", failed_line(2, "root", "198.51.100.8").repeat(2));
    wait_in(&world, &daemon, "ban4_sshd", "198.51.100.8/32");
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

const IDENTITIES: &str = "[Definition]
failregex = ^\\s*app: bad token of <F-ID>\\S+</F-ID> from <ADDR>$
    ^\\s*app: no login of <F-ID>\\S+</F-ID>$
";

#[test]
fn an_identity_that_is_no_address_is_banned_by_commands() {
    let jails = "[DEFAULT]\nbackend = polling\nmaxretry = 2\nfilter = app\nlogpath = /var/log/app.log\n\
        [app]\nenabled = true\nbantime = 1h\naction = %(action_)s\n script\n\
        [short]\nenabled = true\nbantime = 1s\naction = script[name=short]\n\
        [netonly]\nenabled = true\n";
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, jails) else { return };
    host.write("/etc/fail2ban/filter.d/app.conf", IDENTITIES);
    host.write("/etc/fail2ban/action.d/script.conf", SCRIPTED.replace("<ip>", "<fid>"));
    host.write("/var/log/app.log", "");
    let daemon = start(&host);
    let now = host.run("date", &["+%Y-%m-%dT%H:%M:%S%:z"]);
    let line = |text: &str| format!("{} app: {text}\n", now.trim());
    // Whoever looks like an address is one, and its subject has the address that stands beside the identity.
    let hostile = "o'x$(touch</run/pwned)";
    for text in ["bad token of alice from 198.51.100.7", &format!("no login of {hostile}")] {
        host.append("/var/log/app.log", line(text).repeat(2));
    }
    wait_text(&daemon, &host, "/run/said", "ban|alice|app|2|");
    wait_text(&daemon, &host, "/run/said", &format!("ban|{hostile}|app|2|"));
    wait_text(&daemon, &host, "/run/said", "unban alice\n");
    assert!(world.kernel().set("ban4_app").is_empty() && daemon.list().is_empty());
    assert!(daemon.errors().contains("nothing of this jail can shut that out"), "{}", daemon.errors());
    let status = daemon.status()["jails"].to_string();
    assert!(status.contains("\"id\":\"alice\""), "{status}");
    // They are told of again after a restart, and lifted with all others.
    assert_eq!(daemon.stop().0, Some(0));
    host.write("/run/said", "");
    let daemon = start(&host);
    wait_text(&daemon, &host, "/run/said", "ban|alice|app|2|");
    let lifted = daemon.ask(&["unban", "--all", "--jail", "app"]);
    assert!(lifted.code == Some(0) && lifted.out.contains("unbanned alice (app)"), "{lifted:?}");
    wait_text(&daemon, &host, "/run/said", "unban alice\n");
    assert!(!host.path("/run/pwned").exists());
}

const TAGS: &str = "[Definition]
actionstart = echo \"start <name> [<family>] [<ip>]\" >> <out>
actionban = echo \"ban <ip> <ip-rev> <family> host=<ip-host> count=<bancount> user=<F-USER> here=<jail.banned>/<jail.banned_total> all=<ipfailures> mine=<ipjailfailures> time=<time> other=[<no-such-tag>]\" >> <out>; echo \"<ipmatches>\" | wc -l >> <out>
actionunban = echo \"unban <ip> user=<F-USER>\" >> <out>
[Init]
out = /run/said
";

#[test]
fn tags_are_filled_in_as_fail2ban_does() {
    let jails = "[DEFAULT]\nbackend = polling\nfilter = sshd\nlogpath = /var/log/auth.log\n\
        [first]\nenabled = true\nmaxretry = 2\nbantime = 1h\nbantime.increment = true\naction = tags[name=first]\n\
        [second]\nenabled = true\nmaxretry = 3\nbantime = 1h\nusedns = no\naction = tags[name=second, out=/run/second]\n";
    let Some((_world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, jails) else { return };
    host.write("/etc/fail2ban/action.d/tags.conf", TAGS);
    host.write("/etc/hosts", "127.0.0.1 localhost\n198.51.100.7 box.example.net box\n");
    let daemon = start(&host);
    for (pid, user) in [(1, "alice"), (2, "bob"), (3, "carol")] {
        host.append("/var/log/auth.log", failed_line(pid, user, "198.51.100.7"));
        if pid == 2 {
            wait_text(&daemon, &host, "/run/said", "\n2\n");
        }
    }
    wait_text(&daemon, &host, "/run/second", "\n5\n");
    let (first, second) = (host.read("/run/said"), host.read("/run/second"));
    // The name of the address, the user of the first failure, the jail's counts; what is no tag stays.
    let said = "start first [] []\nban 198.51.100.7 7.100.51.198. inet4 host=box.example.net count=1 user=alice here=1/1 all=2 mine=2 time=";
    assert!(first.starts_with(said) && first.contains(".0 other=[<no-such-tag>]\n2\n"), "{first}");
    // Names are not looked up with usedns = no; ipmatches and ipfailures are of all jails.
    assert!(second.contains("host=None count=1 user=alice here=1/1 all=5 mine=3 time="), "{second}");
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    wait_text(&daemon, &host, "/run/said", "unban 198.51.100.7 user=alice\n");
    // A second ban knows that it is one: with a known offender a failure counts for two.
    host.append("/var/log/auth.log", failed_line(4, "dave", "198.51.100.7").repeat(2));
    wait_text(&daemon, &host, "/run/said", "count=2 user=dave");
}

#[test]
fn bans_stand_in_fail2bans_log_where_recidive_counts_them() {
    let jails = "[DEFAULT]\nbackend = polling\nmaxretry = 2\nfindtime = 1h\n[sshd]\nenabled = true\nbantime = 1s\n\
        [recidive]\nenabled = true\nbantime = 1w\nlogpath = /var/log/f2b.log\n";
    let Some((world, host)) = quiet_server() else { return };
    let Some(()) = install(&host, jails) else { return };
    host.write("/etc/fail2ban/fail2ban.local", "[DEFAULT]\nlogtarget = /var/log/f2b.log\n");
    let daemon = start(&host);
    for (pid, unban) in [(1, true), (2, false)] {
        host.append("/var/log/auth.log", failed_line(pid, "root", "198.51.100.7").repeat(2));
        if unban {
            wait_text(&daemon, &host, "/var/log/f2b.log", "NOTICE  [sshd] Unban 198.51.100.7\n");
        }
    }
    daemon.wait_for(SOON, "the ban by recidive", || {
        daemon.list().iter().any(|ban| ban["jail"] == "recidive").then_some(())
    });
    wait_in(&world, &daemon, "ban4_recidive", "198.51.100.7/32");
    let log = host.read("/var/log/f2b.log");
    assert!(log.contains(" fail2ban.actions        ["), "{log}");
    assert!(log.contains("]: NOTICE  [recidive] Ban 198.51.100.7\n"), "{log}");
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
