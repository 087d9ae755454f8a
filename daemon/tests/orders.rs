//! Orders that are a slip of the pen, lists on standard input, and what is said of them.

use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::lab::{
    Answer, CONFIG, CONTROL, Daemon, DaemonOptions, Host, SOON, binary, failed_lines, pillory, quiet_server,
};

const LOG: &str = "/var/log/auth.log";

/// Runs a command of the daemon with these bytes on standard input.
fn fed(host: &Host, args: &[&str], input: &[u8]) -> Answer {
    let mut command = host.command(&binary().display().to_string());
    command.args(args).args(["--control", CONTROL]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("nsenter starts");
    child.stdin.take().expect("it is piped").write_all(input).expect("it reads");
    child.wait_with_output().expect("it ends").into()
}

fn prefixes(daemon: &Daemon) -> Vec<String> {
    daemon.list().iter().filter_map(|ban| ban["prefix"].as_str().map(str::to_owned)).collect()
}

#[test]
fn a_jail_that_does_not_run_gets_no_bans_and_is_not_listed() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let answer = daemon.ask(&["ban", "203.0.113.7", "--jail", "nope"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("no jail nope runs") && answer.err.contains("sshd"), "{answer:?}");
    assert_eq!(prefixes(&daemon), [""; 0]);
    let answer = daemon.ask(&["list", "--jail", "nope"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.err.contains("nope") && answer.out.is_empty(), "{answer:?}");
    for known in ["sshd", "manual"] {
        assert_eq!(daemon.ask(&["list", "--jail", known]).code, Some(0), "{known}");
        assert_eq!(daemon.ask(&["ban", "203.0.113.7", "--jail", known]).code, Some(0), "{known}");
    }
}

#[test]
fn a_jail_may_not_have_the_name_of_bans_that_no_jail_makes() {
    let file = std::env::temp_dir().join(format!("pillory-orders-{}.toml", std::process::id()));
    for name in ["manual", "import", "kernel"] {
        let text = format!("\n[jail.{name}]\nfilter = \"sshd\"\nlogpath = \"/var/log/x\"\n");
        std::fs::write(&file, text).expect("a file for the test");
        let output = Command::new(binary()).arg("check").arg("--config").arg(&file).output();
        let answer: Answer = output.expect("the program starts").into();
        assert_eq!(answer.code, Some(2), "{name}: {answer:?}");
        assert!(answer.err.contains(".toml:2: ") && answer.err.contains("rename it"), "{name}: {answer:?}");
    }
    std::fs::remove_file(file).expect("it was there");
}

#[test]
fn a_list_on_standard_input_may_have_comments_of_any_encoding() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let answer = fed(&server, &["ban", "-"], b"# gef\xe4hrlich\n203.0.113.7 b\xf6se\n\n203.0.113.8\n");
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(prefixes(&daemon), ["203.0.113.7/32", "203.0.113.8/32"]);
    let answer = fed(&server, &["ban", "-"], b"203.0.113.9\n203.0.\xff113.10\nnobody\n");
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.err.contains("line 2") && answer.err.contains("line 3"), "{answer:?}");
    assert_eq!(prefixes(&daemon).len(), 2, "all or nothing");
    for order in ["ban", "unban"] {
        let answer = fed(&server, &[order, "-"], b"# nobody\n");
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.err.contains("names no address"), "{answer:?}");
    }
}

#[test]
fn unbanning_a_network_names_the_bans_inside_it() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", "203.0.113.7", "203.0.113.8", "198.51.100.9"]).code, Some(0));
    let answer = daemon.ask(&["unban", "203.0.113.0/24"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.out.contains("`pillory unban 203.0.113.7 203.0.113.8`"), "{answer:?}");
    assert!(!answer.out.contains("198.51.100.9"), "{answer:?}");
    daemon.stop();
    let answer = pillory(&server, &["unban", "203.0.113.0/24", "--json", "--control", CONTROL]);
    let inside = answer.json()["still_banned_inside"].as_array().map(Vec::len);
    assert_eq!((answer.code, inside), (Some(1), Some(2)), "{answer:?}");
}

#[test]
fn lengths_of_time_are_understood_or_named() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let answer = daemon.ask(&["off", "--for", "forever"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let status = daemon.status();
    assert!(status["enforcing"] == false && status["off_until"].is_null(), "{status}");
    for order in [&["off"][..], &["ban", "203.0.113.7"], &["import", "/tmp/list"]] {
        let answer = daemon.ask(&[order, &["--for", "-5"]].concat());
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(answer.err.contains("\"-5\""), "{answer:?}");
    }
}

#[test]
fn a_refused_reload_says_so_in_json_too() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "maxretry = 5\n");
    server.write(CONFIG, "maxretry = -1\n");
    let answer = daemon.ask(&["reload", "--json"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    let said = answer.json();
    assert_eq!(said["done"], false);
    assert!(said["message"].as_str().is_some_and(|text| text.contains("pillory.toml:1:")), "{said}");
    let answer = daemon.ask(&["reload"]);
    assert!(answer.code == Some(2) && answer.err.contains("pillory.toml:1:"), "{answer:?}");
}

#[test]
fn after_a_refused_sighup_the_old_policy_still_bans_and_status_warns_until_one_is_accepted() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "widen = false\n[jail.sshd]\nmaxretry = 9\n");
    let warned = || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("the last reload was refused").then_some(warnings)
    };
    assert_eq!(warned(), None);
    server.write(CONFIG, "maxretry = -1\nfindtime = \"soon\"\n");
    daemon.signal(Signal::HUP);
    let warning = daemon.wait_for(SOON, "a warning", warned);
    assert!(warning.contains("pillory.toml:1:") && warning.contains("pillory.toml:2:"), "{warning}");
    assert!(daemon.ask(&["status"]).out.contains("the last reload was refused"));
    // A try at root costs 2 points, so it takes five by the old policy, and three by that of a daemon without one.
    server.append(LOG, failed_lines(5000, 4, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "the attempts", || (daemon.attempts_of("198.51.100.7") == 4).then_some(()));
    assert!(!daemon.lists("198.51.100.7/32"));
    server.append(LOG, failed_lines(5004, 1, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "a ban by the old policy", || daemon.lists("198.51.100.7/32").then_some(()));
    assert!(warned().is_some());
    server.write(CONFIG, "widen = false\n[jail.sshd]\nmaxretry = 3\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for(SOON, "the warning to go", || warned().is_none().then_some(()));
    server.append(LOG, failed_lines(6000, 2, "root", "198.51.100.9"));
    daemon.wait_for(SOON, "a ban by the new one", || daemon.lists("198.51.100.9/32").then_some(()));
}

#[test]
fn the_status_of_a_jail_has_the_warnings_of_this_jail_only() {
    let Some((_world, server)) = quiet_server() else { return };
    let config = "[jail.other]\nfilter = \"sshd\"\nlogpath = \"/var/log/other\"\n";
    let options = DaemonOptions { config: Some(config.to_owned()), ..DaemonOptions::default() };
    let daemon = Daemon::start_with(&server, &options);
    let warned = |args: &[&str]| daemon.ask(args).out.contains("/var/log/other does not exist");
    daemon.wait_for(SOON, "the warning", || warned(&["status"]).then_some(()));
    assert!(warned(&["status", "other"]));
    assert!(!warned(&["status", "sshd"]));
}
