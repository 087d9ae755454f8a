//! The control socket: who may use it, who waits for whom, and where it may lie.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::lab::{
    Answer, CONTROL, Daemon, DaemonOptions, Running, SOON, STATE_DIR, World, binary, failed_line,
    quiet_server, say_figure, wait_for,
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

/// Descriptors and threads of the daemon.
fn held(daemon: &Daemon) -> [usize; 2] {
    ["fd", "task"]
        .map(|what| std::fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).expect("it runs").count())
}

/// Ends those who drip when it goes, with a test that fails, too: it would wait for them for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn ten_thousand_connections_and_senders_of_a_byte_at_a_time_hold_nothing_up() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["status"]).code, Some(0));
    let (before, rss_kib) = (held(&daemon), daemon.peak_rss_kib());
    let path = server.path(CONTROL);
    let dripping = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let over = Over(&dripping);
        // Sixteen, as many as are served at once, never come to an end of their request.
        let drip = || {
            while dripping.load(Ordering::Relaxed) {
                let Ok(mut stream) = UnixStream::connect(&path) else { continue };
                while dripping.load(Ordering::Relaxed) && stream.write_all(b"[").is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
        };
        let drips: Vec<_> = (0..16).map(|_| scope.spawn(drip)).collect();
        for first in 0..100u32 {
            let crowd: Vec<_> = (0..100).map(|_| UnixStream::connect(&path).expect("it accepts")).collect();
            if first.is_multiple_of(20) {
                server.append("/var/log/auth.log", failed_line(6000 + first, "root", "198.51.100.7"));
            }
            drop(crowd);
        }
        let asked = std::time::Instant::now();
        daemon.wait_for(SOON, "an answer between them", || {
            (daemon.ask(&["status"]).code == Some(0)).then_some(())
        });
        say_figure(&format!("control socket: answered {:?} after 10,000 connections", asked.elapsed()));
        let now = held(&daemon);
        assert!(now.iter().zip(before).all(|(now, before)| *now <= before + 2 * 16), "{before:?} {now:?}");
        drop(over);
        drips.into_iter().for_each(|drip| drip.join().expect("it does not panic"));
    });
    let grown_kib = daemon.peak_rss_kib() - rss_kib;
    assert!(grown_kib < 8 * 1024, "{grown_kib} KiB more");
    daemon.wait_for(SOON, "the ban of who attacked meanwhile", || {
        world.kernel().is_banned("198.51.100.7".parse().unwrap()).then_some(())
    });
    daemon.wait_for(SOON, "everything to be given back", || {
        let now = held(&daemon);
        now.iter().zip(before).all(|(now, before)| *now <= before).then_some(())
    });
}

#[test]
fn a_request_without_an_end_takes_bounded_memory_and_one_at_a_time() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["status"]).code, Some(0));
    let rss_kib = daemon.peak_rss_kib();
    let path = server.path(CONTROL);
    // A gigabyte each, without a newline.
    let endless = || {
        let mut stream = UnixStream::connect(&path).expect("it accepts");
        let chunk = vec![b'['; 1024 * 1024];
        let sent = (0..1024).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        let mut said = String::new();
        // What was not read may have taken the answer away with it.
        let _ = stream.read_to_string(&mut said);
        (sent, said)
    };
    let ends: Vec<(usize, String)> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..6).map(|_| scope.spawn(endless)).collect();
        assert_eq!(daemon.ask(&["status"]).code, Some(0));
        senders.into_iter().map(|sender| sender.join().expect("it does not panic")).collect()
    });
    assert!(ends.iter().all(|(sent, _)| *sent < 300), "{ends:?}");
    let grown_kib = daemon.peak_rss_kib() - rss_kib;
    say_figure(&format!("control socket: six requests of a gigabyte take {} MiB", grown_kib / 1024));
    assert!(grown_kib < 300 * 1024, "{grown_kib} KiB more");
    assert_eq!(daemon.ask(&["ban", "198.51.100.7"]).code, Some(0));
}

#[test]
fn clients_that_do_not_read_take_little_memory_and_are_hung_up_on() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "widen = false\n");
    let list: String = (0..20_000).map(|n| format!("11.0.{}.{}\n", n / 250, n % 250)).collect();
    server.write("/run/list", list);
    assert_eq!(daemon.ask(&["import", "/run/list"]).code, Some(0));
    daemon.list();
    let (before, rss_kib) = (held(&daemon), daemon.peak_rss_kib());
    let history = "{\"command\":\"history\",\"with\":[{\"last\":0,\"after_id\":0},true]}\n";
    let path = server.path(CONTROL);
    // As many as are served at once, but for one.
    let mut stalled: Vec<UnixStream> = (0..15)
        .map(|n| {
            let mut stream = UnixStream::connect(&path).expect("it accepts");
            let asked = if n % 2 == 0 { "{\"command\":\"list\"}\n" } else { history };
            stream.write_all(asked.as_bytes()).expect("it is heard");
            stream
        })
        .collect();
    let mut first = [0; 1];
    for stream in &mut stalled {
        // They have begun to be answered.
        stream.read_exact(&mut first).expect("it answers");
    }
    assert_eq!(daemon.list().len(), 20_000);
    let grown_kib = daemon.peak_rss_kib() - rss_kib;
    say_figure(&format!("control socket: 15 that do not read 20,000 bans take {} KiB", grown_kib));
    assert!(grown_kib < 24 * 1024, "{grown_kib} KiB more");
    // Ten seconds each for what fits half and for the rest; descriptors are SQLite's to keep.
    daemon.wait_for(SOON * 3, "them to be hung up on", || (held(&daemon)[1] <= before[1]).then_some(()));
    // What was written until then can be read, and is half an answer.
    let mut text = Vec::new();
    let _ = stalled[0].read_to_end(&mut text);
    assert!(text.starts_with(b"\"exit\":0") && !text.ends_with(b"\n"), "{} bytes", text.len());
}

#[test]
fn what_is_no_request_is_answered_and_changes_nothing() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let deep = format!("{{\"command\":\"ban\",\"with\":{}", "[".repeat(500_000));
    let wide = format!("{{\"command\":\"explain\",\"with\":\"{}\"}}", "1.".repeat(400_000));
    let wrong: [&[u8]; 8] = [
        b"",
        b"\0\0\0\0",
        b"null",
        br#"{"command":"of"}"#,
        br#"{"command":"unban","with":{"prefixes":["0.0.0.0/0"]}} {"command":"off"}"#,
        br#"{"command":"ban","with":[[{"prefix":"198.51.100.7/99","reason":""}],{}]}"#,
        deep.as_bytes(),
        wide.as_bytes(),
    ];
    for request in wrong {
        let mut stream = UnixStream::connect(server.path(CONTROL)).expect("it accepts");
        stream.write_all(request).and_then(|()| stream.write_all(b"\n")).expect("it listens");
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("an answer");
        let reply: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert!(reply["exit"] == 2 && reply["message"].as_str().is_some_and(|why| !why.is_empty()), "{said}");
    }
    assert!(daemon.status()["enforcing"] == true && daemon.list().is_empty());
}

#[test]
fn of_those_who_are_let_in_the_daemons_group_commands_and_does_not_apply() {
    let Some(world) = World::with(&["setpriv"]) else { return };
    let server = &world.server;
    std::fs::create_dir_all(server.path("/run/pillory")).expect("it is made");
    server.run("chown", &["65534:4242", "/run/pillory", STATE_DIR]);
    // With a user and a group of its own, as the unit gives it.
    let through = [
        "setpriv",
        "--reuid=65534",
        "--regid=4242",
        "--clear-groups",
        "--inh-caps=-all,+net_admin",
        "--ambient-caps=-all,+net_admin",
        "--bounding-set=-all,+net_admin",
        "--",
    ];
    let through = through.map(str::to_owned).to_vec();
    let daemon = Daemon::start_with(server, &DaemonOptions { through, ..DaemonOptions::default() });
    let program = binary().display().to_string();
    server.write("/run/new.toml", "maxretry = 9\n");
    let as_user = |ids: [&str; 2], args: &[&str]| -> Answer {
        let mut command = server.command("setpriv");
        command.arg("--reuid=1001").args(ids).arg(&program).args(args).args(["--control", CONTROL]);
        command.output().expect("setpriv starts").into()
    };
    // By their primary group; another group of theirs opens the socket, and is told so.
    let (own, other) = (["--regid=4242", "--clear-groups"], ["--regid=1001", "--groups=4242"]);
    let nobody = ["--regid=1001", "--clear-groups"];
    assert_eq!(as_user(own, &["ban", "198.51.100.7"]).code, Some(0));
    let applied = as_user(own, &["apply", "/run/new.toml"]);
    assert!(applied.code == Some(77) && applied.err.contains("apply"), "{applied:?}");
    for ids in [other, nobody] {
        for command in [&["status"][..], &["off"], &["unban", "--all"], &["attempts"]] {
            let answer = as_user(ids, command);
            assert!(matches!(answer.code, Some(69 | 77)) && answer.out.is_empty(), "{ids:?} {answer:?}");
        }
    }
    assert!(daemon.lists("198.51.100.7/32") && daemon.status()["enforcing"] == true);
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
    assert!(
        line.contains(
            "reads=/var/log/auth.log why=\"no journal is here that may be read, but its log file\""
        ),
        "{line}"
    );
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
