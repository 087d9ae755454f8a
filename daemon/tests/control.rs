//! The control socket: who may use it, who waits for whom, and where it may lie.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use crate::lab::{
    Answer, CONTROL, Daemon, DaemonOptions, Running, SOON, STATE_DIR, World, binary, failed_line,
    quiet_server, wait_for,
};

#[test]
fn a_stranger_at_the_socket_is_told_that_root_is_wanted() {
    let Some(world) = World::with(&["setpriv"]) else { return };
    let server = &world.server;
    let daemon = Daemon::start(server, "");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(server.path(CONTROL), open).expect("the socket is opened to all");
    let program = binary().display().to_string();
    let list = "203.0.113.7 ".repeat(20_000);
    let long: Vec<&str> = std::iter::once("ban").chain(list.split_whitespace()).collect();
    // Whether the refusal or the request is first is a race; both ends of it have to be told.
    for args in std::iter::repeat_n(&["status"][..], 20).chain([&["attempts"][..], &long]) {
        let mut command = server.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", &program]).args(args);
        let answer: Answer = command.args(["--control", CONTROL]).output().expect("setpriv starts").into();
        assert_eq!(answer.code, Some(77), "{answer:?}");
        assert!(answer.err.contains("root") && answer.out.is_empty(), "{answer:?}");
    }
    assert_eq!(daemon.list().len(), 0);
}

#[test]
fn idle_connections_keep_nobody_out_and_hurt_nobody_who_is_served() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let mut command = server.command("/bin/sh");
    let program = binary().display().to_string();
    command.args(["-c", &format!("exec {program} attempts -f --control {CONTROL} >/run/followed")]);
    let follower = Running::start("a follower", command);
    let followed = |pid: u32, user: &str| {
        server.append("/var/log/auth.log", failed_line(pid, user, "198.51.100.7"));
        wait_for(SOON, "the follower to print the attempt", || {
            server.read("/run/followed").contains(user).then_some(())
        });
    };
    followed(5000, "alice");
    let idle: Vec<UnixStream> =
        (0..200).map(|_| UnixStream::connect(server.path(CONTROL)).expect("it accepts")).collect();
    let asked = std::time::Instant::now();
    for _ in 0..5 {
        assert_eq!(daemon.ask(&["status"]).code, Some(0));
    }
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    followed(5001, "bob");
    drop((idle, follower));
}

/// A daemon that refuses to run: its exit code and what it said.
#[track_caller]
fn refused(world: &World, control: &str) -> (Option<i32>, String) {
    let mut command = world.server.command(&binary().display().to_string());
    command.args(["run", "--dry-run", "--state-dir", STATE_DIR, "--control", control]);
    let mut running = Running::start("a daemon", command);
    let code = running.wait(SOON);
    wait_for(SOON, "a word about it", || running.errors().contains("pillory: ").then_some(()));
    (code, running.errors())
}

#[test]
fn a_place_where_no_socket_can_be_is_bad_usage() {
    let Some((world, server)) = quiet_server() else { return };
    let long = format!("/run/{}", "x".repeat(120));
    for control in ["/run/mistyped/deep/control.sock", &long, "/etc/passwd/control.sock"] {
        let (code, said) = refused(&world, control);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(control) && said.contains("--control"), "{said}");
    }
    assert!(!server.path("/run/mistyped").exists());
}

#[test]
fn the_directory_of_the_socket_is_made_and_that_is_said() {
    let Some((_world, server)) = quiet_server() else { return };
    let mut command = server.command(&binary().display().to_string());
    command.args(["run", "--dry-run", "--state-dir", STATE_DIR, "--control", "/run/mine/control.sock"]);
    let running = Running::start("a daemon", command);
    wait_for(SOON, "ready", || running.errors().contains("\nready").then_some(()));
    assert!(running.errors().contains("path=/run/mine"), "{}", running.errors());
}

#[test]
fn the_start_says_why_a_jail_reads_what_it_reads() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start_with(&server, &DaemonOptions::default());
    let said = daemon.errors();
    let line = said.lines().find(|line| line.contains("jail=sshd")).expect("a line of the jail");
    assert!(line.contains("reads=/var/log/auth.log why=\"no journal is here, but its log file\""), "{line}");
    let (starting, jail) = (said.find(" starting "), said.find("jail=sshd"));
    assert!(starting.is_some() && starting < jail, "{said}");
}

#[test]
fn a_service_without_logs_gives_one_warning_with_the_cure_until_a_log_comes() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write("/var/log/auth.log", "");
    let daemon =
        Daemon::start(&server, "[jail.postfix-sasl]\nenabled = true\n[jail.sshd]\nbackend = \"file\"\n");
    let warnings = || -> Vec<String> {
        let status = daemon.status();
        let all = status["warnings"].as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let found = daemon.wait_for(SOON, "a warning", || Some(warnings()).filter(|found| !found.is_empty()));
    let [one] = found.as_slice() else { panic!("{found:?}") };
    for words in
        ["jail postfix-sasl: ", "/var/log/mail.log", "/var/log/maillog", "set logpath", "enabled = false"]
    {
        assert!(one.contains(words), "{words} in {one}");
    }
    server.write("/var/log/maillog", "");
    daemon.wait_for(SOON, "the warning to go", || warnings().is_empty().then_some(()));
}
