//! What commands print on a terminal of 80 and of 120 columns, with and without colour, compared with files under
//! `golden`: the real program's words, with a mark for what differs from one time to the next. `GOLDEN=write cargo test
//! -p pillory golden` writes them anew; look at what has changed before you commit it. What needs days and a crowd to
//! be seen is rendered in `src/cli/golden.rs`.
//!
//! Where width or colour make no difference one file has both: `NAME.txt` holds for all four forms.

use std::process::Command;

use rustix::process::Signal;

use crate::forms::{compare, marked};
use crate::lab::{
    Daemon, Host, LOG, PASSWORD, ROWS, SOON, Scene, Terminal, WebServer, binary, failed_line, failed_lines,
    pillory, quiet_server, wait_for, without_colour,
};
use crate::sessions::{
    APPLY_CONFIRM, CONFIG, FAIL2BAN, HELPS, LIST, SESSIONS, SLIPS, SSHD, Session, UNCONFIGURED,
    WITHOUT_A_DAEMON,
};
use crate::whois::{RDAP, registry};

#[test]
fn what_commands_say_is_as_it_was() {
    let Some((_world, server)) = quiet_server() else { return };
    let (_web, _registry, _daemon) = (WebServer::start(&server, 8080), asked(&server), scene(&server));
    let command = |line: &str| {
        let mut command = server.command("sh");
        command.args(["-c", line]);
        command
    };
    for session in SESSIONS {
        play(session, command, || ());
    }
}

#[test]
fn what_is_said_where_no_daemon_runs_is_as_it_was() {
    let Some((_world, server)) = quiet_server() else { return };
    let command = |line: &str| {
        let mut command = server.command("sh");
        command.args(["-c", line]);
        command
    };
    play(&WITHOUT_A_DAEMON, command, || ());
    play(&HELPS, command, || ());
    // What ends every help is a line for each command, so that none is left out here.
    let help = pillory(&server, &["--help"]).out;
    let listed =
        help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("commands");
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: Vec<&str> = names.filter(|name| !["", "help"].contains(name)).collect();
    for name in &names {
        assert!(HELPS.1.contains(&format!("pillory {name} --help").as_str()), "{name} has no golden help");
    }
    assert_eq!(names.len(), HELPS.1.len(), "{names:?}");
}

#[test]
fn what_is_said_where_nothing_is_configured_is_as_it_was() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    daemon.wait_for(SOON, "what the logs of before tell", || {
        (daemon.status()["learnt"]["done"] == true).then_some(())
    });
    let command = |line: &str| {
        let mut command = server.command("sh");
        command.args(["-c", line]);
        command
    };
    play(&UNCONFIGURED, command, || ());
}

#[test]
fn what_apply_and_confirm_say_is_as_it_was() {
    let Some(scene) = Scene::new("maxretry = 7\n") else { return };
    scene.world.server.write("/run/new.toml", "maxretry = 9\n");
    let friend = scene.world.friend("203.0.113.9");
    // What is confirmed is in the file from then on.
    let before = || scene.world.server.write(crate::lab::CONFIG, "maxretry = 7\n");
    play(&APPLY_CONFIRM, |line| friend.in_terminal("root", PASSWORD, line), before);
}

#[test]
fn the_screen_of_run_is_as_it_was() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write(LOG, "");
    server.write(crate::lab::CONFIG, "");
    std::fs::create_dir_all(server.path("/run/pillory")).expect("it is made");
    for (name, line) in [("run", "pillory run"), ("run-dry", "pillory run --dry-run")] {
        let mut forms = Vec::new();
        for columns in [80, 120] {
            for (colour, switch) in [("", "NO_COLOR=1"), (".colour", "TZ=UTC")] {
                let screen =
                    format!("$ {line}\n{}", marked(line, &screen_of(&server, line, switch, columns)));
                forms.push((format!(".{columns}"), colour, screen));
            }
        }
        compare(name, &forms);
    }
}

/// What stands on the terminal of a daemon that starts, sees nothing, and is told to stop.
fn screen_of(server: &Host, line: &str, switch: &str, columns: u16) -> String {
    let mut command = server.command("sh");
    let seat = "SSH_CONNECTION='192.0.2.254 50000 192.0.2.1 22'";
    command.args(["-c", &format!("{} {seat}; exec {line}", environment(switch))]);
    let terminal = Terminal::start(command, columns);
    wait_for(SOON, "the first screen", || {
        terminal.text().contains("so far: no attempt was seen\n").then_some(())
    });
    let shown = without_colour(&terminal.text());
    let rows = shown.lines().map(|line| line.chars().count().div_ceil(columns.into()).max(1)).sum::<usize>();
    assert!(rows < usize::from(ROWS), "{rows} rows of {columns} columns: {shown}");
    terminal.signal(Signal::INT);
    let (code, text) = terminal.end();
    assert_eq!(code, Some(0), "{text}");
    // Where a start takes seconds it says of how many that is.
    let line = text.lines().find(|line| line.contains("attempts a day")).expect("it is told").to_owned();
    text.replace(&line, &format!("{}: ..", line.split(": ").next().unwrap_or_default()))
}

/// A registry that knows one network.
fn asked(server: &Host) -> WebServer {
    let rdap = WebServer::start(server, 8081);
    rdap.says(&registry());
    rdap
}

/// A daemon that has seen logins, one of them by an attacker who is banned and waits to be reported.
fn scene(server: &Host) -> Daemon {
    for (path, text) in
        [("/run/slips.toml", SLIPS), ("/run/list", LIST), ("/run/sshd.log", SSHD), ("/srv/key", "key\n")]
    {
        server.write(path, text);
    }
    for (name, text) in FAIL2BAN {
        server.write(format!("/run/fail2ban/{name}"), text);
    }
    server.write("/srv/shop.log", "");
    server.run("mkdir", &["-m", "700", "/run/closed"]);
    for name in ["pillory.toml", "jail.local", "auth.log"] {
        server.write(format!("/run/closed/{name}"), "");
    }
    let daemon = Daemon::start(server, &format!("{CONFIG}{RDAP}"));
    // What is written before that is counted as of the time before.
    daemon.wait_for(SOON, "what the logs of before tell", || {
        let status = daemon.status();
        (status["learnt"]["done"] == true && status["effect"]["a_day"]["counted"] == true).then_some(())
    });
    let good = |first, addr| failed_lines(first, 3, "alice", addr).replace("Failed", "Accepted");
    server.append(LOG, good(5000, "203.0.113.9") + &good(5100, "2001:db8:5::9"));
    // All of one second, so that they are told in one way.
    let line = failed_line(6000, "root", "198.51.100.7");
    let of = |pid: u32| line.replace("[6000]", &format!("[{pid}]")).replace("36000", &format!("3{pid}"));
    server.append(LOG, (6000..6006).map(of).collect::<String>());
    daemon.wait_for(2 * SOON, "a report that waits for its review", || {
        let reports = crate::lab::pillory(server, &["reports", "--json"]).json();
        (reports[0]["counts"]["held"] == 1).then_some(())
    });
    daemon
}

/// What a shell is told first, so that it finds the program by its name.
fn environment(switch: &str) -> String {
    let program = binary().display().to_string();
    format!(
        "mkdir -p /run/bin; ln -sf '{program}' /run/bin/pillory; \
         export PATH=/run/bin:\"$PATH\" TERM=xterm PAGER=cat TZ=UTC {switch}"
    )
}

/// Types all of it in each form, and compares.
fn play((name, lines): &Session, command: impl Fn(&str) -> Command, before: impl Fn()) {
    let mut forms = Vec::new();
    for columns in [80, 120] {
        for (colour, switch) in [("", "NO_COLOR=1"), (".colour", "TZ=UTC")] {
            let typed = |line: &&str| {
                let line_here = format!("{}; {line}", environment(switch));
                let (_, text) = Terminal::start(command(&line_here), columns).end();
                assert!(!colour.is_empty() || text == without_colour(&text), "{line}: coloured: {text:?}");
                format!("$ {line}\n{}", marked(line, &text))
            };
            before();
            let text: String = lines.iter().map(typed).collect();
            forms.push((format!(".{columns}"), colour, text));
        }
    }
    compare(name, &forms);
}
