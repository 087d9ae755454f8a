//! The lab itself: what the other tests rely on.

use std::time::Duration;

use crate::lab::{
    Logging, Outcome, PASSWORD, Sshd, SshdOptions, Syslog, Try, VOLATILE_JOURNAL, World, find, say_skipped,
    sshd_writes_btmp, wait_for,
};

const SOON: Duration = Duration::from_secs(10);

/// A world with a server that logs and serves ssh.
fn world(logging: Logging) -> Option<(World, Syslog, Sshd)> {
    let world = World::with(logging.needs())?;
    let syslog = logging.start(&world.server);
    let sshd = Sshd::start(&world.server);
    Some((world, syslog, sshd))
}

#[test]
fn a_wrong_password_is_recorded_in_auth_log() {
    let Some((world, syslog, _sshd)) = world(Logging::Rsyslog) else { return };
    assert_eq!(world.attacker("192.0.2.10").try_password("root", "wrong"), Outcome::Denied);
    wait_for(SOON, "the line of sshd in auth.log", || {
        syslog.text().contains("Failed password for root from 192.0.2.10 port ").then_some(())
    });
    assert_eq!(world.attacker("2001:db8:1::10").try_password("oracle", "wrong"), Outcome::Denied);
    wait_for(SOON, "the line of sshd in auth.log", || {
        syslog.text().contains("Invalid user oracle from 2001:db8:1::10 port ").then_some(())
    });
}

#[test]
fn a_wrong_password_is_recorded_in_the_journal() {
    for logging in [Logging::Journald, Logging::JournaldPersistent] {
        let Some((world, syslog, _sshd)) = world(logging) else { return };
        assert_eq!(world.attacker("192.0.2.11").try_password("root", "wrong"), Outcome::Denied);
        wait_for(SOON, "the line of sshd in the journal", || {
            syslog.text().contains("Failed password for root from 192.0.2.11 port ").then_some(())
        });
    }
}

#[test]
fn a_journal_entry_of_sshd_carries_trusted_fields() {
    let Some((world, _syslog, _sshd)) = world(Logging::Journald) else { return };
    assert_eq!(world.attacker("192.0.2.11").try_password("oracle", "wrong"), Outcome::Denied);
    let entries = world.server.run("journalctl", &["-D", VOLATILE_JOURNAL, "-q", "-o", "json", "_COMM=sshd"]);
    assert!(entries.contains("Invalid user oracle from 192.0.2.11 port "), "{entries}");
    assert!(entries.contains(r#""_UID":"0""#), "{entries}");
}

#[test]
fn a_wrong_password_leaves_a_btmp_record_of_the_attackers_address() {
    let Some((world, _syslog, _sshd)) = world(Logging::BtmpOnly) else { return };
    if !sshd_writes_btmp() {
        say_skipped("this sshd does not write btmp");
        return;
    }
    assert_eq!(world.attacker("192.0.2.12").try_password("root", "wrong"), Outcome::Denied);
    let records = wait_for(SOON, "a record in btmp", || {
        let records = world.server.read_bytes("/var/log/btmp");
        (!records.is_empty()).then_some(records)
    });
    // utmp(5) on x86_64: 384 bytes, ut_type at 0, ut_addr_v6 at 348.
    if cfg!(target_arch = "x86_64") {
        assert_eq!(records.len(), 384);
        assert_eq!(records.first(), Some(&6));
        assert_eq!(&records[348..352], &[192, 0, 2, 12]);
    }
}

#[test]
fn the_right_password_logs_in() {
    let Some((world, _syslog, _sshd)) = world(Logging::Rsyslog) else { return };
    assert_eq!(world.friend("192.0.2.200").try_password("alice", PASSWORD), Outcome::Accepted);
    assert_eq!(world.friend("2001:db8:f::1").try_password("bob", PASSWORD), Outcome::Accepted);
}

#[test]
fn a_session_lives_until_it_is_dropped_and_shows_in_utmp() {
    let Some((world, _syslog, _sshd)) = world(Logging::Rsyslog) else { return };
    let mut session = world.friend("203.0.113.9").log_in("alice", PASSWORD);
    assert!(session.is_alive());
    assert!(!world.server.read_bytes("/run/utmp").is_empty());
    drop(session);
}

#[test]
fn one_connection_can_try_more_than_once() {
    let Some((world, syslog, _sshd)) = world_without_pam() else { return };
    let attempt = Try { user: "alice", prompts: 3, ..Try::default() };
    assert_eq!(world.attacker("10.66.1.2").try_login(&attempt), Outcome::Denied);
    wait_for(SOON, "three failures in auth.log", || {
        (syslog.text().matches("Failed password for alice from 10.66.1.2").count() == 3).then_some(())
    });
}

#[test]
fn everybody_gets_a_banner_until_the_kernel_drops_them() {
    let Some((world, _syslog, _sshd)) = world_without_pam() else { return };
    let attacker = world.attacker("198.51.100.7");
    let friend = world.friend("192.0.2.201");
    assert!(attacker.is_served(SOON) && friend.is_served(SOON));
    let held = attacker.hold_preauth(5);
    assert_eq!(held.len(), 5);
    world.kernel().nft("add table inet pillory");
    world.kernel().nft("add set inet pillory ban4 { type ipv4_addr; flags timeout; }");
    world.kernel().nft("add set inet pillory ban6n { type ipv6_addr; flags timeout; }");
    world.kernel().nft("add set inet pillory net4 { type ipv4_addr; flags interval, timeout; }");
    world.kernel().nft("add chain inet pillory in { type filter hook prerouting priority -300; }");
    world.kernel().nft("add rule inet pillory in ip saddr @ban4 drop");
    world.kernel().nft("add element inet pillory ban4 { 198.51.100.7 timeout 1h }");
    world.kernel().nft("add element inet pillory ban6n { 2001:db8:1:: timeout 1h }");
    world.kernel().nft("add element inet pillory net4 { 203.0.113.4-203.0.113.11 timeout 1h }");
    world.server.run("ip", &["route", "add", "blackhole", "10.66.7.7"]);
    world.server.run("ip", &["route", "add", "blackhole", "2001:db8:2::/64"]);
    assert_eq!(attacker.banner(Duration::from_millis(300)), None);
    assert!(friend.is_served(SOON));
    assert!(matches!(
        attacker.try_login(&Try { connect_timeout_s: 1, ..Try::default() }),
        Outcome::Unreachable(_)
    ));
    let banned: Vec<String> = world.kernel().banned().iter().map(ToString::to_string).collect();
    assert_eq!(banned, ["198.51.100.7/32", "203.0.113.4/30", "203.0.113.8/30", "2001:db8:1::/64"]);
    let expires_s = world.kernel().set("ban4").first().and_then(|element| element.expires_s);
    assert!(expires_s.is_some_and(|left| (3500..=3600).contains(&left)), "{expires_s:?}");
    let routes: Vec<String> = world.kernel().blackholes().iter().map(ToString::to_string).collect();
    assert_eq!(routes, ["10.66.7.7/32", "2001:db8:2::/64"]);
}

#[test]
fn knocking_tells_a_served_address_from_a_dropped_one() {
    let Some((world, _syslog, _sshd)) = world_without_pam() else { return };
    let kernel = world.kernel();
    let attacker = world.attacker("198.51.100.9");
    kernel.count_packets(attacker.addr);
    let monitor = kernel.monitor();
    let knocking = attacker.knock();
    let mut served = wait_for(SOON, "an answered knock", || {
        let packets = kernel.packets();
        (packets.left > 5).then_some(packets)
    });
    kernel.nft("add table inet pillory");
    kernel.nft("add set inet pillory ban4 { type ipv4_addr; flags timeout; }");
    kernel.nft("add chain inet pillory in { type filter hook prerouting priority -300; }");
    kernel.nft("add rule inet pillory in ip saddr @ban4 drop");
    kernel.nft("add element inet pillory ban4 { 198.51.100.9 timeout 1h }");
    wait_for(SOON, "nft monitor to tell of the element", || monitor.heard("198.51.100.9"));
    // What sshd had under way may still be answered; then silence, while knocks go on arriving.
    wait_for(SOON, "silence", || {
        let before = std::mem::replace(&mut served, kernel.packets());
        (served.arrived > before.arrived && served.left == before.left).then_some(())
    });
    let knocks = knocking.stop();
    assert!(!knocks.answered.is_empty() && knocks.answered.len() < knocks.sent, "{knocks:?}");
}

#[test]
fn connections_of_an_address_are_counted_on_the_server() {
    let Some((world, _syslog, _sshd)) = world_without_pam() else { return };
    for addr in ["198.51.100.10", "2001:db8:3::10"] {
        let attacker = world.attacker(addr);
        assert_eq!(world.server.connections_with(attacker.addr), 0);
        let _held = attacker.hold_preauth(4);
        assert_eq!(world.server.connections_with(attacker.addr), 4);
    }
}

#[test]
fn nothing_of_the_lab_shows_on_the_real_host() {
    let Some((world, _syslog, _sshd)) = world_without_pam() else { return };
    world.kernel().nft("add table inet pillory_lab_check");
    world.server.run("ip", &["route", "add", "blackhole", "10.66.99.99"]);
    world.server.write("/etc/pillory/lab-check", "");
    world.server.write("/var/log/lab-check", "");
    assert!(world.kernel().ruleset().contains("pillory_lab_check"));
    let outside = |program: &str, args: &[&str]| {
        let tool = find(program).expect("the lab needs it too");
        let output = tool.command().args(args).output().expect("it starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(!outside("nft", &["list", "ruleset"]).contains("pillory_lab_check"));
    assert!(!outside("ip", &["route"]).contains("10.66.99.99"));
    assert_ne!(outside("uname", &["-n"]).trim(), "server");
    for path in ["/etc/pillory/lab-check", "/var/log/lab-check"] {
        assert!(!std::path::Path::new(path).exists(), "{path}");
    }
}

#[test]
fn every_process_ends_with_its_world() {
    let Some((world, syslog, sshd)) = world_without_pam() else { return };
    let holder = world.server.pid();
    let mut stray = world.server.command("sleep").arg("1000").spawn().expect("sleep starts");
    let session = world.friend("192.0.2.202").log_in("alice", PASSWORD);
    let network = std::fs::read_link(format!("/proc/{holder}/ns/net")).expect("the holder lives");
    // Held open, for the kernel gives the number of a namespace that is gone to the next one, another test's.
    let _pinned = std::fs::File::open(format!("/proc/{holder}/ns/net")).expect("the holder lives");
    assert!(!processes_in(&network).is_empty());
    drop((session, sshd, syslog, world));
    // The test is the stray's parent, so it stays a zombie, which has no namespaces, until it is waited for.
    assert!(!stray.wait().expect("it was ours").success());
    assert_eq!(processes_in(&network), Vec::<u32>::new());
}

/// A world whose sshd answers a wrong password at once and logs one line for it.
fn world_without_pam() -> Option<(World, Syslog, Sshd)> {
    let world = World::with(Logging::Rsyslog.needs())?;
    let syslog = Logging::Rsyslog.start(&world.server);
    let sshd = Sshd::start_with(&world.server, &SshdOptions { use_pam: false, ..SshdOptions::default() });
    Some((world, syslog, sshd))
}

/// Processes in a network namespace, named by the target of their `/proc/PID/ns/net`.
fn processes_in(network: &std::path::Path) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|link| link == network))
        .collect()
}
