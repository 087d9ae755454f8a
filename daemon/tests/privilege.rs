//! Least privilege: the daemon as its own user with one capability, what its threads may do, and what a sandboxed one
//! refuses to take over.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use crate::lab::{
    CONFIG, Daemon, DaemonOptions, Host, Logging, SHORT, SOON, STATE_DIR, Sshd, SshdOptions, World,
    failed_lines, quiet_server, say_skipped, wait_for,
};

/// nobody, with what `User=`, `SupplementaryGroups=`, `AmbientCapabilities=`, `CapabilityBoundingSet=` and
/// `NoNewPrivileges=` of the unit give it. Groups adm, utmp and systemd-journal of the lab.
const AS_NOBODY: [&str; 9] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--groups=4,43,101",
    "--inh-caps=-all,+net_admin",
    "--ambient-caps=-all,+net_admin",
    "--bounding-set=-all,+net_admin",
    "--no-new-privs",
    "--",
];

const NET_ADMIN: u64 = 1 << 12;
/// CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
const DAC: u64 = 1 << 1 | 1 << 2;

fn as_nobody() -> DaemonOptions {
    DaemonOptions { through: AS_NOBODY.map(str::to_owned).to_vec(), ..DaemonOptions::default() }
}

/// What `StateDirectory=` and `RuntimeDirectory=` do, and the modes that Debian's logs have.
fn give_directories(server: &Host) {
    std::fs::create_dir_all(server.path("/run/pillory")).expect("it is made");
    server.run("chown", &["65534:65534", STATE_DIR, "/run/pillory"]);
    server.run("chmod", &["700", STATE_DIR]);
}

fn set_mode(server: &Host, path: &str, mode: u32) {
    std::fs::set_permissions(server.path(path), std::fs::Permissions::from_mode(mode))
        .expect("the mode is set");
}

/// A field of each thread's status: proc_pid_status(5).
fn of_threads(pid: u32, field: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let texts = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let value =
        |text: String| text.lines().find_map(|line| line.strip_prefix(field)).map(|v| v.trim().to_owned());
    texts.filter_map(value).collect()
}

fn capabilities(pid: u32) -> Vec<u64> {
    let sets = of_threads(pid, "CapEff:").into_iter().chain(of_threads(pid, "CapPrm:"));
    sets.map(|set| u64::from_str_radix(&set, 16).expect("a set of bits")).collect()
}

/// One thread holds the capability that bans need, and no other thread a capability but those in `others`.
fn assert_one_holds_net_admin(daemon: &Daemon, others: u64) {
    let sets = capabilities(daemon.pid());
    // Effective and permitted.
    assert_eq!(sets.iter().filter(|set| **set & NET_ADMIN != 0).count(), 2, "{sets:x?}");
    assert!(sets.len() > 16 && sets.iter().filter(|set| **set & !others != 0).count() == 2, "{sets:x?}");
    let limited = ["Seccomp:", "NoNewPrivs:"].map(|field| of_threads(daemon.pid(), field));
    assert!(
        limited[0].iter().all(|mode| mode == "2") && limited[1].iter().all(|on| on == "1"),
        "{limited:?}"
    );
}

#[test]
fn as_its_own_user_with_one_capability_it_does_all_its_work_on_a_real_sshds_log() {
    let Some(world) = World::with(&[Logging::Rsyslog.needs(), &["setpriv"]].concat()) else { return };
    let _syslog = Logging::Rsyslog.start(&world.server);
    let _sshd = Sshd::start_with(&world.server, &SshdOptions { use_pam: false, ..SshdOptions::default() });
    give_directories(&world.server);
    world.server.run("chgrp", &["adm", "/var/log/auth.log"]);
    set_mode(&world.server, "/var/log/auth.log", 0o640);
    let daemon = Daemon::start_with(&world.server, &as_nobody());
    assert_one_holds_net_admin(&daemon, 0);
    let attacker = world.attacker("198.51.100.7");
    let _held = attacker.hold_preauth(4);
    assert_eq!(world.server.connections_with(attacker.addr), 4);
    let is_banned = || world.kernel().is_banned(attacker.addr).then_some(());
    for _ in 0..5 {
        attacker.try_password("root", "wrong");
    }
    daemon.wait_for(SOON, "the ban in the kernel", is_banned);
    daemon.wait_for(SOON, "the connections to be cut", || {
        (world.server.connections_with(attacker.addr) == 0).then_some(())
    });
    assert!(world.friend("198.51.100.8").is_served(SOON));
    assert!(daemon.status()["effect"]["packets_dropped"].is_u64(), "{}", daemon.status());
    let (code, said) = daemon.stop();
    assert_eq!(code, Some(0), "{said}");
    let owner = std::os::unix::fs::MetadataExt::uid(
        &std::fs::metadata(world.server.path(format!("{STATE_DIR}/pillory.db"))).expect("the store is there"),
    );
    assert_eq!(owner, 65_534);
    world.kernel().nft("delete table inet pillory");
    let daemon = Daemon::start_with(&world.server, &as_nobody());
    daemon.wait_for(SOON, "the ban after a restart", is_banned);
    assert!(daemon.lists("198.51.100.7/32"));
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    daemon.wait_for(SOON, "a banner for the unbanned", || attacker.is_served(SHORT).then_some(()));
    // A flush is healed by the thread that may.
    assert_eq!(daemon.ask(&["ban", "198.51.100.7"]).code, Some(0));
    world.kernel().nft("flush ruleset");
    daemon.wait_for(SOON, "the healed ban", is_banned);
}

#[test]
fn as_its_own_user_it_reads_btmp_and_the_journal() {
    for logging in [Logging::BtmpOnly, Logging::Journald] {
        if logging == Logging::BtmpOnly && !crate::lab::sshd_writes_btmp() {
            say_skipped("this sshd does not write btmp");
            continue;
        }
        let Some(world) = World::with(&[logging.needs(), &["setpriv"]].concat()) else { return };
        let _syslog = logging.start(&world.server);
        let _sshd =
            Sshd::start_with(&world.server, &SshdOptions { use_pam: false, ..SshdOptions::default() });
        give_directories(&world.server);
        let daemon = Daemon::start_with(&world.server, &as_nobody());
        let attacker = world.attacker("198.51.100.7");
        for _ in 0..5 {
            attacker.try_password("root", "wrong");
        }
        daemon.wait_for(SOON, &format!("the ban by {logging:?}"), || {
            world.kernel().is_banned(attacker.addr).then_some(())
        });
    }
}

#[test]
fn as_root_no_thread_but_the_kernels_keeps_more_than_the_right_to_read_files() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_one_holds_net_admin(&daemon, DAC);
    let sandbox = daemon.status()["sandbox"].clone();
    assert!(sandbox["on"] == true && sandbox["seccomp"] == true, "{sandbox}");
    let has_landlock = sandbox["landlock"].is_u64();
    assert_eq!(sandbox["why"].is_null(), has_landlock, "{sandbox}");
    let doctor = daemon.ask(&["doctor"]);
    assert!(doctor.out.contains("- the daemon is sandboxed by "), "{doctor:?}");
    assert!(!doctor.out.contains("CAP_NET_ADMIN"), "{doctor:?}");
    let status = daemon.ask(&["status"]);
    assert!(status.out.contains("the daemon is sandboxed by "), "{status:?}");
}

#[test]
fn the_sandbox_can_be_switched_off() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "sandbox = false\n");
    assert!(of_threads(daemon.pid(), "Seccomp:").iter().all(|mode| mode == "0"));
    let sandbox = daemon.status()["sandbox"].clone();
    assert!(sandbox["on"] == false && sandbox["why"] == "sandbox = false", "{sandbox}");
    // Capabilities are given up all the same.
    let holders = capabilities(daemon.pid()).into_iter().filter(|set| set & NET_ADMIN != 0);
    assert_eq!(holders.count(), 2);
    // And what it did not need at the start can be taken over.
    server.write("/run/app/app.log", "");
    server.write(CONFIG, format!("sandbox = false\n{APP}"));
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    // What is there before it is first looked at bans nobody.
    daemon.wait_for(SOON, "the log to be watched", || {
        daemon.status()["jails"].to_string().contains("/run/app/app.log").then_some(())
    });
    server.append("/run/app/app.log", failed_lines(100, 3, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || {
        world.kernel().is_banned("198.51.100.7".parse().unwrap()).then_some(())
    });
}

const APP: &str = "[jail.app]\nfilter = \"sshd\"\nlogpath = [\"/run/app/app.log\"]\n";

#[test]
fn a_reload_that_needs_more_than_the_sandbox_allows_is_refused_and_says_restart_needed() {
    let Some((world, server)) = quiet_server() else { return };
    server.write("/run/app/app.log", "");
    let commands = commanded(&server, "echo ban <ip> >> /run/said");
    let daemon = Daemon::start(&server, "");
    if !daemon.status()["sandbox"]["landlock"].is_u64() {
        say_skipped("this kernel has no Landlock");
        return;
    }
    let cases = [(APP, "read /run/app"), (commands, "run commands"), ("sandbox = false\n", "the sandbox")];
    for (config, what) in cases {
        server.write(CONFIG, config);
        for command in [&["reload"][..], &["apply", CONFIG]] {
            let answer = daemon.ask(command);
            assert_eq!(answer.code, Some(2), "{config}: {answer:?}");
            assert!(
                answer.err.contains("restart needed") && answer.err.contains(what),
                "{config}: {answer:?}"
            );
        }
    }
    // The old policy goes on.
    server.append("/var/log/auth.log", failed_lines(100, 3, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || {
        world.kernel().is_banned("198.51.100.7".parse().unwrap()).then_some(())
    });
    daemon.stop();
    let daemon = Daemon::start(&server, APP);
    server.append("/run/app/app.log", failed_lines(200, 3, "root", "198.51.100.8"));
    daemon.wait_for(SOON, "the ban after the restart", || {
        world.kernel().is_banned("198.51.100.8".parse().unwrap()).then_some(())
    });
}

/// A directory with one jail whose action is `ban`, and the daemon's configuration that names it.
fn commanded(server: &Host, ban: &str) -> &'static str {
    server.write("/etc/f2b/filter.d/own.conf", "[Definition]\nfailregex = ^failed from <HOST>$\n");
    server.write("/etc/f2b/action.d/tell.conf", format!("[Definition]\nactionban = {ban}\n"));
    server.write(
        "/etc/f2b/jail.conf",
        "[own]\nenabled = true\nfilter = own\nbackend = polling\nlogpath = /var/log/auth.log\naction = tell\n",
    );
    "fail2ban = \"/etc/f2b\"\n"
}

/// The process beside the daemon that runs its commands.
fn runner_of(daemon: &Daemon) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
    let children = std::fs::read_to_string(children).expect("it runs");
    let [runner] = children.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{children:?}") };
    runner.parse().expect("a number")
}

#[test]
fn commands_keep_their_rights_while_the_daemon_that_orders_them_is_sandboxed() {
    let Some((_world, server)) = quiet_server() else { return };
    let config = commanded(&server, "grep -e CapEff -e Seccomp: -e NoNewPrivs /proc/self/status > /run/said");
    let daemon = Daemon::start(&server, config);
    assert_one_holds_net_admin(&daemon, DAC);
    let sandbox = daemon.status()["sandbox"].clone();
    assert!(sandbox["on"] == true && sandbox["seccomp"] == true, "{sandbox}");
    let said = |addr: &str| {
        assert_eq!(daemon.ask(&["ban", addr, "--jail", "own"]).code, Some(0));
        daemon.wait_for(SOON, "what the command says", || {
            Some(server.read("/run/said")).filter(|said| said.lines().count() == 3)
        })
    };
    let first = said("198.51.100.7");
    let field =
        |name: &str| first.lines().find_map(|line| line.strip_prefix(name)).expect("it is there").trim();
    assert!(u64::from_str_radix(field("CapEff:"), 16).expect("a set of bits") & NET_ADMIN != 0, "{first}");
    assert!(field("Seccomp:") == "0" && field("NoNewPrivs:") == "0", "{first}");
    // A reload may bring other commands of the same directory.
    commanded(&server, "echo one two three | tr ' ' '\\n' > /run/said");
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    daemon
        .wait_for(SOON, "the new command", || (server.read("/run/said").starts_with("one\n")).then_some(()));
    // But not of another one.
    server.run("cp", &["-r", "/etc/f2b", "/etc/f2c"]);
    server.write(CONFIG, "fail2ban = \"/etc/f2c\"\n");
    let answer = daemon.ask(&["reload"]);
    assert!(answer.code == Some(2) && answer.err.contains("restart needed"), "{answer:?}");
}

#[test]
fn who_runs_commands_outlives_a_signal_that_stops_the_daemon_and_not_the_daemon() {
    let Some((_world, server)) = quiet_server() else { return };
    let config = commanded(&server, "true\nactionstop = sleep 0.2; echo stopped > /run/said");
    for kills in [false, true] {
        let daemon = Daemon::start(&server, config);
        let runner = runner_of(&daemon);
        let status = format!("/proc/{runner}/status");
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
            let pid = rustix::process::Pid::from_raw(runner.cast_signed()).expect("not 0");
            rustix::process::kill_process(pid, signal).expect("it is there");
        }
        if kills {
            daemon.signal(rustix::process::Signal::KILL);
        } else {
            // systemd tells every process of a unit at once.
            daemon.stop();
            assert_eq!(server.read("/run/said"), "stopped\n");
        }
        let is_gone = || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            (status.is_empty() || status.contains("State:\tZ")).then_some(())
        };
        wait_for(SOON, "the end of what runs commands", is_gone);
    }
}

#[test]
fn commands_that_cannot_be_run_any_more_are_said_and_bans_go_on() {
    let Some((world, server)) = quiet_server() else { return };
    let config = commanded(&server, "true");
    let daemon = Daemon::start(&server, config);
    let pid = rustix::process::Pid::from_raw(runner_of(&daemon).cast_signed()).expect("not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is there");
    assert_eq!(daemon.ask(&["ban", "198.51.100.7", "--jail", "own"]).code, Some(0));
    assert!(world.kernel().is_banned("198.51.100.7".parse().unwrap()));
    daemon.wait_for(SOON, "a warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        (warnings.contains("process that runs commands") && warnings.contains("restart")).then_some(())
    });
}

#[test]
fn a_log_that_moves_out_of_reach_is_said_and_the_others_are_read() {
    let Some((world, server)) = quiet_server() else { return };
    server.write("/run/elsewhere/app.log", "");
    server.write("/var/log/app.log", "");
    let daemon = Daemon::start(&server, &APP.replace("/run/app", "/var/log"));
    if !daemon.status()["sandbox"]["landlock"].is_u64() {
        say_skipped("this kernel has no Landlock");
        return;
    }
    std::fs::remove_file(server.path("/var/log/app.log")).expect("it is removed");
    std::os::unix::fs::symlink("/run/elsewhere/app.log", server.path("/var/log/app.log"))
        .expect("a link is made");
    daemon.wait_for(SOON, "a warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        (warnings.contains("/var/log/app.log") && warnings.contains("denied") && warnings.contains("restart"))
            .then_some(())
    });
    std::fs::remove_file(server.path("/var/log/app.log")).expect("it is removed");
    server.append("/var/log/app.log", failed_lines(100, 3, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || {
        world.kernel().is_banned("198.51.100.7".parse().unwrap()).then_some(())
    });
}

#[test]
fn a_log_closed_to_its_user_is_passed_over_or_said_with_the_drop_in_that_opens_it() {
    let Some(world) = World::with(&["setpriv"]) else { return };
    let server = &world.server;
    give_directories(server);
    server.write("/var/log/auth.log", "");
    set_mode(server, "/var/log/auth.log", 0o600);
    let daemon = Daemon::start_with(server, &as_nobody());
    let sources = |daemon: &Daemon| daemon.status()["jails"][0]["sources"].to_string();
    assert!(sources(&daemon).contains("/var/log/btmp"), "{}", sources(&daemon));
    let drop_in = "`AmbientCapabilities=CAP_DAC_READ_SEARCH` and `CapabilityBoundingSet=CAP_DAC_READ_SEARCH`";
    let says = |daemon: &Daemon, mark: &str, path: &str, cure: &str| {
        let said = daemon.ask(&["doctor"]).out;
        let is_it = |line: &str| line.starts_with(mark) && line.contains(path) && line.contains(cure);
        assert!(said.lines().any(is_it), "{mark} {path} {cure}: {said}");
    };
    says(&daemon, "- the daemon (user 65534) may not read", "/var/log/auth.log", drop_in);
    daemon.stop();
    set_mode(server, "/var/log/btmp", 0o600);
    let daemon = Daemon::start_with(server, &as_nobody());
    assert!(sources(&daemon).contains("/var/log/auth.log"), "{}", sources(&daemon));
    says(&daemon, "! the daemon (user 65534) may not read", "/var/log/auth.log", drop_in);
    daemon.stop();
    // What the drop-in does.
    let through = AS_NOBODY.map(|word| word.replace("net_admin", "net_admin,+dac_read_search"));
    let daemon = Daemon::start_with(server, &DaemonOptions { through: through.to_vec(), ..as_nobody() });
    assert_one_holds_net_admin(&daemon, DAC);
    server.append("/var/log/auth.log", failed_lines(100, 3, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the ban", || {
        world.kernel().is_banned("198.51.100.7".parse().unwrap()).then_some(())
    });
    daemon.stop();
    // A group is enough where the log has one.
    server.run("chgrp", &["adm", "/var/log/auth.log"]);
    set_mode(server, "/var/log/auth.log", 0o640);
    let through = AS_NOBODY.map(|word| word.replace("4,43,101", "43"));
    let daemon = Daemon::start_with(server, &DaemonOptions { through: through.to_vec(), ..as_nobody() });
    says(&daemon, "!", "/var/log/auth.log", "`SupplementaryGroups=adm`");
}

#[test]
fn the_service_manager_hears_of_the_start_reloads_the_watchdog_and_the_end() {
    let Some((_world, server)) = quiet_server() else { return };
    let manager = UnixDatagram::bind(server.path("/run/notify")).expect("a socket is made");
    manager.set_read_timeout(Some(SOON)).expect("a timeout can be set");
    let next = |wanted: &str| {
        let mut text = [0; 512];
        loop {
            let length =
                manager.recv(&mut text).unwrap_or_else(|error| panic!("{wanted} is waited for: {error}"));
            let text = String::from_utf8_lossy(&text[..length]).into_owned();
            if wanted == "WATCHDOG=1" || !text.starts_with("WATCHDOG=1") {
                return text;
            }
        }
    };
    let env = [("NOTIFY_SOCKET", "/run/notify"), ("WATCHDOG_USEC", "400000")];
    let daemon = Daemon::start_with(
        &server,
        &DaemonOptions {
            config: Some(String::new()),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            ..DaemonOptions::default()
        },
    );
    assert_eq!(next("READY=1").trim(), "READY=1");
    for _ in 0..3 {
        assert_eq!(next("WATCHDOG=1").trim(), "WATCHDOG=1");
    }
    for (config, code) in [("maxretry = 3\n", 0), ("maxretry = many\n", 2)] {
        server.write(CONFIG, config);
        assert_eq!(daemon.ask(&["reload"]).code, Some(code));
        let reloading = next("RELOADING=1");
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        assert_eq!(next("READY=1").trim(), "READY=1");
    }
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(next("STOPPING=1").trim(), "STOPPING=1");
}
