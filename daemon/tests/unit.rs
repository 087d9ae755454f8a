//! The shipped unit: what it says, and how it does under a real systemd: its user, what it is left, readiness, reload, restart, and what comes after a
//! kill or a hang.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::ignoreip_names::serve_dns;
use crate::lab::{
    CONFIG, SOON, SYSTEMD, Systemd, WebServer, World, failed_lines, find, say_skipped, wait_until,
};
use crate::web::get;

const PILLORY: &str = "pillory.service";
const DROP_INS: &str = "/etc/systemd/system/pillory.service.d";

/// A server with the unit running on it; `None` if that is not possible here.
fn booted(files: &[(&str, &str)]) -> Option<(World, Systemd)> {
    let world = World::with(&SYSTEMD)?;
    let host = Systemd::boot(&world.server, files)?;
    assert_eq!(host.property(PILLORY, "ActiveState"), "active", "{}", host.journal());
    Some((world, host))
}

/// The configuration without decoys, which would make the count of tries a matter of luck.
fn plain(config: &str) -> String {
    format!("decoys = 0\n{config}")
}

fn is_banned(world: &World, addr: &str) -> Option<()> {
    world.kernel().is_banned(addr.parse::<IpAddr>().expect("an address")).then_some(())
}

/// A field of each thread's status.
fn of_threads(pid: u32, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let value =
        |text: String| text.lines().find_map(|line| line.strip_prefix(field)).map(|v| v.trim().to_owned());
    texts.filter_map(value).collect()
}

#[test]
fn under_systemd_it_bans_a_real_sshds_attacker_as_its_own_user_with_one_capability_on_one_thread() {
    let Some((world, host)) = booted(&[(CONFIG, &plain(""))]) else { return };
    // Ready was said by itself, and only by the daemon.
    assert_eq!(host.property(PILLORY, "Type"), "notify");
    assert_eq!(host.property(PILLORY, "WatchdogUSec"), "2min");
    let status = host.must(&["pillory", "status", "--json"]);
    assert!(status.contains("\"journal\"") && status.contains("\"enforcing\":true"), "{status}");
    let attacker = world.attacker("198.51.100.7");
    for _ in 0..5 {
        attacker.try_password("root", "wrong");
    }
    host.wait("the ban", || is_banned(&world, "198.51.100.7"));
    assert!(world.friend("198.51.100.8").is_served(SOON));
    let pid = host.daemon_pid();
    let passwd = std::fs::read_to_string(host.path("/etc/passwd")).expect("it is there");
    let own = passwd.lines().find_map(|line| line.strip_prefix("pillory:")).expect("sysusers made it");
    let uid = own.split(':').nth(1).expect("a user has an id");
    for (field, wanted) in [
        ("Uid:", [uid; 4].join("\t")),
        ("NoNewPrivs:", "1".to_owned()),
        ("Seccomp:", "2".to_owned()),
        ("CapBnd:", "0000000000001000".to_owned()),
    ] {
        let found = of_threads(pid, field);
        assert!(found.len() > 8 && found.iter().all(|value| *value == wanted), "{field} {found:?}");
    }
    // Thread by thread: one has CAP_NET_ADMIN, which is bit 12, and nobody else has anything.
    let sets = of_threads(pid, "CapPrm:");
    let (holders, others): (Vec<_>, Vec<_>) = sets.iter().partition(|set| *set == "0000000000001000");
    assert_eq!(holders.len(), 1, "{sets:?}");
    assert!(others.iter().all(|set| *set == "0000000000000000"), "{sets:?}");
    let sandbox = host.must(&["pillory", "doctor"]);
    assert!(sandbox.contains("- the daemon is sandboxed by "), "{sandbox}");
}

#[test]
fn under_systemd_reload_says_what_is_wrong_and_restart_kill_and_stop_keep_the_bans() {
    let Some((world, host)) = booted(&[(CONFIG, &plain(""))]) else { return };
    host.must(&["pillory", "ban", "198.51.100.7"]);
    let config = host.path(CONFIG);
    std::fs::write(&config, plain("maxretry = 2\n")).expect("it is written");
    host.must(&["systemctl", "reload", PILLORY]);
    // A try at root costs 2 points.
    world.attacker("198.51.100.8").try_password("root", "wrong");
    host.wait("a ban by the new policy", || is_banned(&world, "198.51.100.8"));
    std::fs::write(&config, plain("maxretry = many\n")).expect("it is written");
    let refused = host.run(&["systemctl", "reload", PILLORY]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(host.journal().contains("maxretry"), "the journal says why\n{}", host.journal());
    world.attacker("198.51.100.9").try_password("root", "wrong");
    host.wait("a ban by the policy that stayed", || is_banned(&world, "198.51.100.9"));
    std::fs::write(&config, plain("")).expect("it is written");
    let before = host.daemon_pid();
    host.must(&["systemctl", "restart", PILLORY]);
    let after = host.daemon_pid();
    assert!(before != after && after != 0);
    assert!(host.must(&["pillory", "list"]).contains("198.51.100.7"));
    assert_eq!(is_banned(&world, "198.51.100.7"), Some(()));
    // Killed, and its element gone as after a reboot: it is started again by itself and knows the ban.
    host.must(&["systemctl", "kill", "--signal=KILL", PILLORY]);
    world.kernel().nft("flush ruleset");
    host.wait("a new process", || {
        let pid = host.daemon_pid();
        (pid != 0 && pid != after && host.property(PILLORY, "ActiveState") == "active").then_some(())
    });
    assert_eq!(host.property(PILLORY, "NRestarts"), "1");
    host.wait("the ban after a kill", || is_banned(&world, "198.51.100.7"));
    host.must(&["systemctl", "stop", PILLORY]);
    assert_eq!(host.property(PILLORY, "Result"), "success");
    assert_eq!(host.property(PILLORY, "ActiveState"), "inactive");
    assert_eq!(is_banned(&world, "198.51.100.7"), Some(()));
}

#[test]
fn under_systemd_the_journal_has_fields_and_fail2bans_log_and_motd_are_written() {
    let drop_in =
        std::fs::read_to_string(packaging().join("drop-ins/fail2ban-log.conf")).expect("it is there");
    let config = "fail2ban_log = \"/var/log/pillory/fail2ban.log\"\nmotd = \"/run/pillory/motd\"\n";
    let own = format!("{DROP_INS}/own.conf");
    let Some((world, host)) = booted(&[(CONFIG, &plain(config)), (&own, &drop_in)]) else { return };
    for _ in 0..5 {
        world.attacker("198.51.100.7").try_password("root", "wrong");
    }
    host.wait("the ban", || is_banned(&world, "198.51.100.7"));
    let entries = |fields: &[&str]| -> Vec<Value> {
        let words =
            [&["journalctl", "--no-pager", "--quiet", "-o", "json", "-t", "pillory"], fields].concat();
        host.run(&words).out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let bans = host.wait("its entry", || {
        let found = entries(&["PILLORY_JAIL=sshd", "PILLORY_PREFIX=198.51.100.7"]);
        (found.len() >= 2).then_some(found)
    });
    let said = |entry: &Value| entry["MESSAGE"].as_str().unwrap_or_default().to_owned();
    let ban =
        bans.iter().find(|entry| said(entry).starts_with("ban jail=sshd ip=198.51.100.7")).expect("a ban");
    assert_eq!((&ban["PRIORITY"], &ban["PILLORY_ACTION"]), (&"6".into(), &"nftables".into()), "{ban}");
    assert_eq!(ban["_TRANSPORT"], "journal", "{ban}");
    assert!(bans.iter().any(|entry| said(entry).ends_with("NOTICE  [sshd] Ban 198.51.100.7")), "{bans:?}");
    host.must(&["pillory", "off"]);
    let motd = host.wait("the warning", || {
        let text = std::fs::read_to_string(host.path("/run/pillory/motd")).ok();
        host.must(&["pillory", "status"]);
        text
    });
    assert!(motd.contains("pillory: switched off"), "{motd}");
    let log = std::fs::read_to_string(host.path("/var/log/pillory/fail2ban.log")).expect("it is written");
    assert!(
        log.contains(" NOTICE  [sshd] Ban 198.51.100.7\n")
            && log.contains(" INFO    [sshd] Found 198.51.100.7 - ")
    );
    let warnings = entries(&["PRIORITY=3"]);
    assert_eq!(warnings, Vec::<Value>::new());
}

#[test]
fn under_systemd_a_daemon_that_hangs_is_ended_by_the_watchdog_and_started_anew() {
    let short = "[Service]\nWatchdogSec=2s\nTimeoutAbortSec=2s\n";
    let drop_in = format!("{DROP_INS}/watchdog.conf");
    let Some((world, host)) = booted(&[(CONFIG, &plain("")), (&drop_in, short)]) else { return };
    host.must(&["pillory", "ban", "198.51.100.7"]);
    // It speaks in time while all is well.
    let pid = host.daemon_pid();
    assert_eq!(wait_until(SOON / 2, || (host.daemon_pid() != pid).then_some(())), None, "{}", host.journal());
    host.must(&["systemctl", "kill", "--signal=STOP", PILLORY]);
    host.wait("a new process", || {
        let now = host.daemon_pid();
        (now != 0 && now != pid && host.property(PILLORY, "ActiveState") == "active").then_some(())
    });
    assert!(host.journal().contains("Watchdog timeout"), "{}", host.journal());
    assert!(host.must(&["pillory", "list"]).contains("198.51.100.7"));
    assert_eq!(is_banned(&world, "198.51.100.7"), Some(()));
}

#[test]
fn under_systemd_a_log_of_mode_0600_is_read_with_the_drop_in_that_doctor_prints() {
    let config = plain("[jail.sshd]\nbackend = \"file\"\nlogpath = \"/var/log/secure\"\n");
    let Some((world, host)) = booted(&[(CONFIG, &config)]) else { return };
    let log = host.path("/var/log/secure");
    std::fs::write(&log, "").expect("it is written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&log, mode).expect("the mode is set");
    let finding = host.wait("the finding", || {
        let said = host.run(&["pillory", "doctor"]).out;
        let about =
            said.lines().find(|line| line.contains("may not read") && line.contains("/var/log/secure"));
        about.map(str::to_owned)
    });
    edit(&host, &finding);
    let doctor = host.run(&["pillory", "doctor"]).out;
    assert!(!doctor.contains("may not read"), "{doctor}");
    let mut text = std::fs::read_to_string(&log).expect("root reads it");
    text.push_str(&failed_lines(100, 5, "root", "198.51.100.7"));
    std::fs::write(&log, text).expect("it is written");
    host.wait("the ban", || is_banned(&world, "198.51.100.7"));
}

#[test]
fn under_systemd_a_journal_that_may_not_be_read_is_found_with_the_drop_in_that_opens_it() {
    // The group adm may read the journal, too, by an access list of systemd's.
    let less = "[Service]\nSupplementaryGroups=\nSupplementaryGroups=utmp\n";
    let drop_in = format!("{DROP_INS}/less.conf");
    let Some((world, host)) = booted(&[(CONFIG, &plain("")), (&drop_in, less)]) else { return };
    let said = host.run(&["pillory", "doctor"]).out;
    let finding = said.lines().find(|line| line.starts_with('!') && line.contains("system.journal"));
    edit(&host, finding.unwrap_or_else(|| panic!("no finding: {said}")));
    let attacker = world.attacker("198.51.100.7");
    for _ in 0..5 {
        attacker.try_password("root", "wrong");
    }
    host.wait("the ban", || is_banned(&world, "198.51.100.7"));
}

/// Does what a cure says with `systemctl edit`: what stands between backticks, but for commands, is written.
#[track_caller]
fn edit(host: &Systemd, cure: &str) {
    let words = cure.split('`').skip(1).step_by(2);
    let lines: Vec<&str> = words.filter(|word| word.starts_with('[') || word.contains('=')).collect();
    assert!(lines.first() == Some(&"[Service]") && lines.len() > 1, "{cure}");
    let drop_ins = host.path(DROP_INS);
    std::fs::create_dir_all(&drop_ins).expect("a directory is made");
    std::fs::write(drop_ins.join("override.conf"), lines.join("\n")).expect("it is written");
    host.must(&["systemctl", "daemon-reload"]);
    host.must(&["systemctl", "restart", PILLORY]);
}

#[test]
fn under_systemd_a_first_name_comes_by_reload_and_is_followed_with_the_lines_that_status_prints() {
    let Some((world, host)) = booted(&[(CONFIG, &plain(""))]) else { return };
    serve_dns(&world, &Arc::new(Mutex::new(Some([198, 51, 100, 7].into()))));
    std::fs::write(host.path(CONFIG), plain("ignoreip = \"home.example.net\"\n")).expect("it is written");
    host.must(&["systemctl", "reload", PILLORY]);
    let warning = host.wait("a warning", || {
        let status = host.run(&["pillory", "status"]).out;
        status
            .lines()
            .find(|line| line.contains("home.example.net") && line.contains("AF_INET"))
            .map(str::to_owned)
    });
    edit(&host, &warning);
    host.wait("the name to be followed", || {
        (host.run(&["pillory", "ban", "198.51.100.7"]).code == Some(1)).then_some(())
    });
}

#[test]
fn under_systemd_with_their_drop_in_commands_are_run_as_root_and_the_daemon_stays_in_its_sandbox() {
    let drop_in = std::fs::read_to_string(packaging().join("drop-ins/commands.conf")).expect("it is there");
    // What nobody may but root, outside of every protection; and at a stop, of which systemd tells every process.
    let action = "[Definition]\nactionban = echo <ip> > /root/said; chown nobody /root/said\n\
        actionstop = echo stopped > /root/stopped\n";
    let files = [
        (CONFIG, plain("fail2ban = \"/etc/f2b\"\n")),
        ("/etc/f2b/filter.d/own.conf", "[Definition]\nfailregex = ^failed from <HOST>$\n".to_owned()),
        ("/etc/f2b/action.d/tell.conf", action.to_owned()),
        (
            "/etc/f2b/jail.conf",
            "[own]\nenabled = true\nfilter = own\nlogpath = /var/log/own.log\naction = tell\n".to_owned(),
        ),
        (&*format!("{DROP_INS}/commands.conf"), drop_in),
    ]
    .map(|(path, text)| (path.to_owned(), text));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    let Some((_world, host)) = booted(&files) else { return };
    host.must(&["pillory", "ban", "198.51.100.7", "--jail", "own"]);
    host.wait("what the command does", || {
        let said = host.path("/root/said");
        let owner = std::fs::metadata(&said).ok().map(|file| std::os::unix::fs::MetadataExt::uid(&file));
        (owner == Some(65_534)).then(|| assert_eq!(std::fs::read_to_string(&said).unwrap(), "198.51.100.7\n"))
    });
    let pid = host.daemon_pid();
    for field in ["Seccomp:", "NoNewPrivs:"] {
        let found = of_threads(pid, field);
        assert!(found.iter().all(|value| value != "0"), "{field} {found:?}");
    }
    host.must(&["systemctl", "stop", PILLORY]);
    assert_eq!(
        std::fs::read_to_string(host.path("/root/stopped")).unwrap(),
        "stopped\n",
        "{}",
        host.journal()
    );
}

#[test]
fn under_systemd_with_its_drop_in_a_dashboard_is_served_and_a_ban_is_told() {
    let drop_in = std::fs::read_to_string(packaging().join("drop-ins/network.conf")).expect("it is there");
    let config = plain(
        "[web]\nlisten = \"127.0.0.1:8087\"\n[notify.hook]\nkind = \"webhook\"\n\
        url = \"http://127.0.0.1:8080/hook\"\non = [\"ban\"]\ndigest = \"0s\"\n",
    );
    let files = [(CONFIG, config), (&*format!("{DROP_INS}/network.conf"), drop_in)]
        .map(|(path, text)| (path.to_owned(), text));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    let Some((world, host)) = booted(&files) else { return };
    let receiver = WebServer::start(&world.server, 8080);
    let attacker = world.attacker("198.51.100.7");
    for _ in 0..5 {
        attacker.try_password("root", "wrong");
    }
    let told = host.wait("the ban to be told", || receiver.asked().first().cloned());
    assert!(told.body.contains("198.51.100.7"), "{told:?}");
    assert!(get(&world.server, "/").contains("198.51.100.7"));
    let warnings = host.must(&["pillory", "status", "--json"]);
    assert!(warnings.contains("\"warnings\":[]"), "{warnings}");
}

#[test]
fn under_systemd_without_a_drop_in_a_dashboard_is_served_at_a_socket_file_and_refused_at_a_port() {
    let web = plain("[web]\nlisten = \"/run/pillory/web.sock\"\n");
    let Some((world, host)) = booted(&[(CONFIG, &web)]) else { return };
    let served = UnixStream::connect(host.path("/run/pillory/web.sock"));
    let mut stream = served.expect("it listens");
    stream.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    std::fs::write(host.path(CONFIG), plain("[web]\nlisten = \"127.0.0.1:8087\"\n")).expect("it is written");
    host.must(&["systemctl", "restart", PILLORY]);
    let status = host.wait("a warning", || {
        let status = host.run(&["pillory", "status"]).out;
        status.contains("AF_INET").then_some(status)
    });
    assert!(status.contains("protected by nftables"), "{status}");
    assert!(!world.server.listens(8087));
}

fn packaging() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// The words that come after `Directive=` in the unit, all lines of that name together.
fn directive(unit: &str, name: &str) -> Vec<String> {
    let values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    values.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn the_unit_gives_one_capability_and_exposes_little() {
    let path = packaging().join("pillory.service");
    let unit = std::fs::read_to_string(&path).expect("the unit is there");
    for name in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        assert_eq!(directive(&unit, name), ["CAP_NET_ADMIN"]);
    }
    assert_eq!(directive(&unit, "SupplementaryGroups"), ["adm", "systemd-journal", "utmp"]);
    assert_eq!(directive(&unit, "RuntimeDirectoryPreserve"), ["yes"]);
    // They are in no group of older systemds, and without them the daemon can give up nothing more.
    let served = directive(&unit, "SystemCallFilter");
    for call in
        ["capset", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "seccomp"]
    {
        assert!(served.iter().any(|known| known == call), "{call}");
    }
    let Some(tool) = find("systemd-analyze") else {
        say_skipped("no systemd-analyze here; the unit's exposure is not measured");
        return;
    };
    let mut analyze = tool.command();
    let output = analyze
        .args(["security", "--offline=true", "--no-pager", "--threshold=13"])
        .arg(&path)
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && table.contains("Overall exposure level"), "{table}{output:?}");
}

#[test]
fn the_unit_is_understood_by_systemd() {
    let Some(tool) = find("systemd-analyze") else {
        say_skipped("no systemd-analyze here; the unit is not verified");
        return;
    };
    let directory = std::env::temp_dir().join(format!("pillory-unit-{}", std::process::id()));
    let drop_ins = directory.join("pillory.service.d");
    std::fs::create_dir_all(&drop_ins).unwrap();
    let unit = std::fs::read_to_string(packaging().join("pillory.service")).unwrap();
    // The program and its manual are where the packages put them, not here.
    let unit = unit.replace("/usr/bin/pillory", "/bin/true").replace("Documentation=man:pillory(1)\n", "");
    std::fs::write(directory.join("pillory.service"), unit).unwrap();
    for drop_in in [None, Some("network.conf"), Some("commands.conf"), Some("fail2ban-log.conf")] {
        if let Some(name) = drop_in {
            std::fs::copy(packaging().join("drop-ins").join(name), drop_ins.join("own.conf")).unwrap();
        }
        let output = tool.command().arg("verify").arg(directory.join("pillory.service")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let about_us =
            said.lines().filter(|line| line.contains("pillory.service") || line.contains("own.conf"));
        assert_eq!(about_us.collect::<Vec<_>>(), Vec::<&str>::new(), "{drop_in:?}: {said}");
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
