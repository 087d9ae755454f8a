//! What commands print where somebody reads it: made for the terminal's size, through a pager if it is longer; and what
//! is told of the time before the first start.

use rustix::process::Signal;

use crate::lab::{
    Answer, CONTROL, Daemon, Host, LOG, SOON, STATE_DIR, Terminal, binary, failed_line, failed_lines,
    quiet_server, sshd_line, wait_for, without_colour,
};

/// `pillory` in a terminal of 80 columns.
fn terminal(host: &Host, args: &[&str], environment: &[(&str, &str)]) -> Terminal {
    let mut command = host.command(&binary().display().to_string());
    command.args(args).args(["--control", CONTROL]).env("TERM", "xterm").env_remove("NO_COLOR");
    for name in ["PAGER", "SSH_CONNECTION", "SSH_CLIENT"] {
        command.env_remove(name);
    }
    command.envs(environment.iter().copied());
    Terminal::start(command, 80)
}

fn at_terminal(host: &Host, args: &[&str], environment: &[(&str, &str)]) -> String {
    let (code, text) = terminal(host, args, environment).end();
    assert_eq!(code, Some(0), "{args:?}: {text}");
    text
}

/// True if the first of these words stands before the second.
fn is_before(text: &str, first: &str, second: &str) -> bool {
    match (text.find(first), text.find(second)) {
        (Some(first), Some(second)) => first < second,
        _ => false,
    }
}

#[test]
fn status_fits_the_terminal_and_a_word_says_how_to_see_all() {
    let Some((_world, server)) = quiet_server() else { return };
    let jail = |number: u32| {
        let name = format!("app{number:02}");
        server.write(format!("/var/log/{name}.log"), "");
        format!("[jail.{name}]\nlogpath = [\"/var/log/{name}.log\"]\nfailregex = ['^failed from <HOST>$']\n")
    };
    let jails: String = (1..=30).map(jail).collect();
    let daemon = Daemon::start(&server, &jails);
    for number in 1..=4 {
        assert_eq!(
            daemon.ask(&["ban", &format!("198.51.100.{number}"), "--reason", &"why ".repeat(40)]).code,
            Some(0)
        );
    }
    daemon.wait_for(SOON, "the bans in the store", || {
        (daemon.status()["latest"][0]["prefix"] == "198.51.100.4/32").then_some(())
    });
    let coloured = at_terminal(&server, &["status"], &[]);
    let text = without_colour(&coloured);
    assert!(coloured.contains("\x1b[1m"), "{coloured:?}");
    assert!(text.lines().count() < 24 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    for (first, second) in [
        ("protected by", "app01"),
        ("app01", "more jails"),
        ("more jails", "you: no ssh session"),
        ("you: no ssh session", "now: 4 bans in force"),
        ("198.51.100.4 ", "198.51.100.3 "),
        ("198.51.100.2 ", "attempts a day:"),
        ("attempts a day:", "status --all` shows all"),
    ] {
        assert!(is_before(&text, first, second), "{first:?} before {second:?}:\n{text}");
    }
    assert!(!text.contains("198.51.100.1 "), "the last three are enough:\n{text}");
    let all = at_terminal(&server, &["status", "--all"], &[("PAGER", "cat")]);
    assert!(all.contains("app30") && all.lines().count() > 30 && !all.contains("shows all"), "{all}");
    let piped = daemon.ask(&["status"]).out;
    assert!(
        piped.contains("app30") && !piped.contains('\x1b') && piped.contains(&"why ".repeat(30)),
        "{piped}"
    );
}

#[test]
fn the_first_screen_of_run_is_the_look_of_status() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write("/etc/pillory/pillory.toml", "");
    std::fs::create_dir_all(server.path("/run/pillory")).expect("it is made");
    let seat = [("SSH_CONNECTION", "192.0.2.254 50000 192.0.2.1 22")];
    let terminal = terminal(&server, &["run", "--state-dir", STATE_DIR], &seat);
    let text = wait_for(SOON, "the first screen", || {
        Some(without_colour(&terminal.text())).filter(|text| text.contains("attempts a day: "))
    });
    // What is wrong may stand above it, and nothing else of the log does.
    assert!(!text.contains(" INFO "), "{text}");
    let screen = text.split_once("ready: ").and_then(|(_, text)| text.split_once("\npillory "));
    let (_, screen) = screen.unwrap_or_else(|| panic!("it was not ready: {text}"));
    assert!(screen.lines().count() < 24 && screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    for words in ["protected by nftables", "you come from 192.0.2.254: never banned", "now: nobody is banned"]
    {
        assert!(screen.contains(words), "{words}:\n{screen}");
    }
    terminal.signal(Signal::TERM);
    let (code, text) = terminal.end();
    assert!(code == Some(0) && text.contains("stopped: "), "{text}");
}

#[test]
fn long_listings_go_through_a_pager_where_somebody_reads_and_nowhere_else() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    server.append(LOG, failed_lines(5000, 40, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "all attempts", || (daemon.attempts_of("198.51.100.7") == 40).then_some(()));
    server.write("/run/pager", "#!/bin/sh\necho \"paged $1\"\nexec cat\n");
    server.run("chmod", &["755", "/run/pager"]);
    let pager = [("PAGER", "/run/pager softly")];
    let paged = at_terminal(&server, &["attempts"], &pager);
    assert!(paged.starts_with("paged softly\n") && paged.lines().count() == 41, "{paged}");
    assert!(paged.lines().all(|line| line.chars().count() <= 80), "{paged}");
    for args in
        [&["attempts", "--no-pager"][..], &["attempts", "-n", "5"], &["attempts", "--json"], &["list"]]
    {
        let text = at_terminal(&server, args, &pager);
        assert!(!text.contains("paged") && !text.is_empty(), "{args:?}: {text}");
    }
    for none in ["cat", "", "/run/nowhere"] {
        let text = at_terminal(&server, &["attempts"], &[("PAGER", none)]);
        assert_eq!(text.lines().count(), 40, "{text}");
    }
    let following = terminal(&server, &["attempts", "-f"], &pager);
    wait_for(SOON, "what there is", || (following.text().lines().count() == 40).then_some(()));
    server.append(LOG, failed_line(6000, "alice", "198.51.100.8"));
    let text =
        wait_for(SOON, "what comes", || Some(following.text()).filter(|text| text.contains("198.51.100.8")));
    assert!(!text.contains("paged"), "{text}");
    let piped = daemon.ask(&["attempts"]).out;
    assert!(piped.lines().count() == 41 && !piped.contains("paged"), "{piped}");
}

#[test]
fn attempts_of_the_week_before_are_counted_once_and_compared() {
    let Some((_world, server)) = quiet_server() else { return };
    let days_ago =
        |days: i64| jiff::Zoned::now().checked_sub(jiff::Span::new().hours(24 * days)).expect("a time");
    let failed = |days: i64, pid: i64| {
        let stamp = days_ago(days).strftime("%b %e %H:%M:%S").to_string();
        let begin = format!("{stamp} server sshd[{pid}]: ");
        let from = "invalid user admin from 198.51.100.7 port 50122";
        format!(
            "{begin}Invalid user admin from 198.51.100.7 port 50122\n{begin}Failed password for {from} ssh2\n"
        )
    };
    // Eight days ago is not in the week; each of the others leaves two lines and is one attempt.
    let old: String = (1..=8)
        .rev()
        .flat_map(|day| (0..14).map(move |n| (day, n)))
        .map(|(day, n)| failed(day, 100 * day + n))
        .collect();
    server.write("/var/log/auth.log.1", old);
    server.write(LOG, "");
    let daemon = Daemon::start(&server, "");
    let a_day = daemon.wait_for(SOON, "the week before", || {
        Some(daemon.status()["effect"]["a_day"].clone()).filter(|a_day| a_day["counted"] == true)
    });
    let counted = a_day["before"]["attempts"].as_u64().expect("it is counted");
    // Those of a week ago may be a moment too old.
    assert!((6 * 14..=7 * 14).contains(&counted), "{a_day}");
    assert_eq!(a_day["since"]["attempts"], 0, "{a_day}");
    // Of its first second nothing is said.
    daemon.wait_for(SOON, "the effect", || {
        let text = daemon.ask(&["status"]).out;
        (text.contains("in the week before, none in the ") && text.contains("attempts a day: 1"))
            .then_some(())
    });
    server.append(LOG, sshd_line(7000, "Failed password for root from 198.51.100.9 port 1 ssh2"));
    daemon.wait_for(SOON, "one since", || {
        (daemon.status()["effect"]["a_day"]["since"]["attempts"] == 1).then_some(())
    });
}

#[test]
fn who_may_not_ask_is_told_the_command_that_works() {
    let Some((_world, server)) = quiet_server() else { return };
    let _daemon = Daemon::start(&server, "");
    let program = binary().display().to_string();
    let mut command = server.command("setpriv");
    command.args([
        "--reuid=1001",
        "--regid=1001",
        "--clear-groups",
        &program,
        "status",
        "--control",
        CONTROL,
    ]);
    let answer: Answer = command.output().expect("setpriv starts").into();
    assert_eq!((answer.code, answer.out.as_str()), (Some(77), ""), "{answer:?}");
    let cure = format!("run it as root: `sudo {program} status --control {CONTROL}`");
    assert!(answer.err.contains(&cure), "{answer:?}");
}

#[test]
fn a_log_is_as_old_as_what_was_written_last_to_it() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write(LOG, failed_lines(5000, 2, "root", "203.0.113.7"));
    server.run("touch", &["-d", "21 days ago", LOG]);
    let daemon = Daemon::start(&server, "");
    daemon
        .wait_for(SOON, "the log's age", || daemon.ask(&["status"]).out.contains("(21 d ago)").then_some(()));
    let doctor = daemon.ask(&["doctor"]);
    let said = format!("jail sshd: the last line of {LOG} is 21 d old; does anything still write it?");
    assert!(doctor.code == Some(1) && doctor.out.matches(&said).count() == 1, "{doctor:?}");
    assert!(!daemon.ask(&["status"]).out.contains("does anything still write it"), "quiet hosts are many");
    // A restart that finds nothing new knows it, too.
    assert_eq!(daemon.stop().0, Some(0));
    let daemon = Daemon::start(&server, "");
    daemon
        .wait_for(SOON, "the log's age", || daemon.ask(&["status"]).out.contains("(21 d ago)").then_some(()));
    server.append(LOG, failed_lines(6000, 1, "root", "203.0.113.8"));
    daemon.wait_for(SOON, "a new line", || daemon.ask(&["status"]).out.contains(" s ago)").then_some(()));
    assert!(!daemon.ask(&["doctor"]).out.contains("does anything still write it"));
}
