//! What somebody types who does not know the program yet: no command at all, fail2ban's words, slips of the pen, the
//! examples of the helps; and several addresses where one is taken.

use std::io::Write;
use std::process::Stdio;

use rustix::process::Signal;

use crate::lab::{
    Answer, CONTROL, Daemon, Host, LOG, Place, Running, SOON, STATE_DIR, binary, failed_lines, find, need,
    pillory, quiet_server, sshd_line, stock_fail2ban, wait_for,
};

/// Runs a command of the daemon with this text on standard input.
fn fed(server: &Host, args: &[&str], input: &str) -> Answer {
    let mut command = server.command(&binary().display().to_string());
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("nsenter starts");
    child.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends").into()
}

#[test]
fn without_a_command_it_shows_the_status_or_the_next_step() {
    let Some((_world, server)) = quiet_server() else { return };
    let answer = pillory(&server, &[]);
    assert_eq!(answer.code, Some(69), "{answer:?}");
    for step in ["not protected", CONTROL, "pillory run", "pillory scan /var/log/auth.log", "pillory --help"]
    {
        assert!(answer.err.contains(step), "{step}: {answer:?}");
    }
    assert!(!answer.err.contains("systemctl"), "there is no systemd here: {answer:?}");
    std::fs::create_dir_all(server.path("/run/systemd/system")).expect("a directory");
    assert!(!pillory(&server, &[]).err.contains("systemctl"), "it has no unit of ours");
    server.write("/run/systemd/system/pillory.service", "[Service]\n");
    let answer = pillory(&server, &[]);
    for step in ["systemctl enable --now pillory", "`systemctl status pillory`", "`journalctl -u pillory`"] {
        assert!(answer.err.contains(step), "{step}: {answer:?}");
    }
    // What is named is there.
    server.run("rm", &[LOG]);
    assert!(!pillory(&server, &[]).err.contains("pillory scan"), "there is nothing to look at");
    server.run("mkdir", &["-p", "/var/log/journal/0123"]);
    server.write("/var/log/journal/0123/system.journal", "x");
    assert!(pillory(&server, &[]).err.contains("pillory scan /var/log/journal "));
    server.write("/var/log/secure", "x\n");
    assert!(pillory(&server, &[]).err.contains("pillory scan /var/log/secure "));
    let daemon = Daemon::start(&server, "");
    let answer = pillory(&server, &[]);
    assert!(answer.code == Some(0) && answer.out.contains("protected by"), "{answer:?}");
    // Bans outlive the daemon.
    assert_eq!(daemon.ask(&["ban", "203.0.113.7"]).code, Some(0));
    assert_eq!(daemon.stop().0, Some(0));
    let answer = pillory(&server, &[]);
    let said = "no daemon answers, so nobody new is banned; 1 ban of before stays in force";
    assert!(answer.code == Some(69) && answer.err.contains(said), "{answer:?}");
    assert!(!answer.err.contains("not protected"), "{answer:?}");
}

#[test]
fn fail2bans_words_do_what_they_mean_and_say_what_it_is_called() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let banned = || -> Vec<String> {
        daemon
            .list()
            .iter()
            .map(|ban| format!("{} {}", ban["prefix"], ban["jail"]).replace('"', ""))
            .collect()
    };
    let answer = daemon.ask(&["set", "sshd", "banip", "203.0.113.7", "203.0.113.8"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.err.contains("`pillory ban --jail sshd 203.0.113.7 203.0.113.8`"), "{answer:?}");
    assert_eq!(answer.err.lines().count(), 1, "{answer:?}");
    assert_eq!(banned(), ["203.0.113.7/32 sshd", "203.0.113.8/32 sshd"]);
    for (words, what) in [
        (&["banned"][..], "203.0.113.7"),
        (&["banned", "203.0.113.7"], "203.0.113.7 is banned"),
        (&["get", "sshd", "banip"], "203.0.113.8"),
        (&["status", "sshd"], "sshd"),
        (&["ping"], "protected by"),
        (&["get", "sshd", "logpath"], LOG),
    ] {
        let answer = daemon.ask(words);
        assert!(answer.code == Some(0) && answer.out.contains(what), "{words:?}: {answer:?}");
    }
    assert_eq!(daemon.ask(&["set", "sshd", "unbanip", "203.0.113.7"]).code, Some(0));
    assert_eq!(banned(), ["203.0.113.8/32 sshd"]);
    assert_eq!(daemon.ask(&["unban", "--all"]).code, Some(0));
    assert_eq!(banned(), [""; 0]);
    // What means something else is answered and not done.
    let answer = daemon.ask(&["set", "sshd", "addignoreip", "203.0.113.9"]);
    assert!(answer.code == Some(2) && answer.err.contains("`pillory allow 203.0.113.9`"), "{answer:?}");
    assert!(daemon.ask(&["allow"]).out.contains("nobody"));
    let answer = daemon.ask(&["stop", "sshd"]);
    assert!(answer.code == Some(2) && answer.err.contains("enabled = false below [jail.sshd]"), "{answer:?}");
}

#[test]
fn every_command_of_fail2ban_client_is_answered() {
    let Some(client) = find("fail2ban-client").filter(|_| stock_fail2ban().is_some()) else { return };
    let mut command = client.command();
    for pair in crate::lab::unpacked_environment() {
        let (name, value) = pair.split_once('=').expect("a pair");
        command.env(name, value);
    }
    let output = command.arg("--help").output().expect("fail2ban-client starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    // "    set <JAIL> banip <IP> ... <IP>      ban the specified addresses": two blanks part it from its explanation.
    let rows = help.split("Command:").nth(1).expect("commands").lines();
    let rows = rows
        .filter_map(|row| row.strip_prefix("    "))
        .filter(|row| row.starts_with(|c: char| c.is_lowercase()));
    let place = Place::new("fail2ban-words");
    let mut seen = 0;
    for row in rows {
        let written = row.split("  ").next().unwrap_or_default();
        let words: Vec<&str> =
            written.split(' ').filter(|word| *word != "..." && !word.starts_with('[')).collect();
        let words: Vec<&str> = words
            .into_iter()
            .map(|word| match word.trim_matches(['<', '>', ']']) {
                "IP" | "IP/NET" => "192.0.2.7",
                "JAIL" => "sshd",
                other => other.split('|').next().unwrap_or(other),
            })
            .collect();
        // Clap's own; it needs no daemon.
        if words == ["help"] || words.is_empty() {
            continue;
        }
        let answer = place.run(&[&words[..], &["--control", "/nowhere"]].concat());
        let is_ours = answer.code == Some(0) || answer.err.contains("cannot reach the daemon at /nowhere");
        let is_told = answer.code == Some(2) && answer.err.contains("is fail2ban's");
        assert!(is_ours || is_told, "{row:?}, written {words:?}: {answer:?}");
        seen += 1;
    }
    assert!(seen > 60, "{seen} of {help}");
}

#[test]
fn check_is_understood_by_fail2bans_option() {
    let place = Place::new("habits-check");
    let directory = place.0.display().to_string();
    place.write("jail.local", "[sshd]\nenabled = true\n");
    let answer = place.run(&["-c", &directory, "-t"]);
    assert!(answer.code == Some(0) && answer.out.contains("1 jail configured"), "{answer:?}");
    assert!(answer.err.contains("`pillory check --fail2ban"), "{answer:?}");
}

#[test]
fn slips_of_the_pen_are_told_what_was_meant() {
    let place = Place::new("habits-slips");
    let meant = |args: &[&str], meant: &str| {
        let answer = place.run(args);
        assert!(answer.code == Some(2) && answer.err.contains(meant), "{args:?}: {answer:?}");
    };
    meant(&["staus"], "'status'");
    meant(&["list", "--jsno"], "'--json'");
    for (text, what) in [
        ("bantim = \"1d\"\n", "bantim is no key; did you mean bantime?"),
        ("[jial.sshd]\nmaxretry = 3\n", "jial is no key; did you mean jail?"),
        ("[jail.ssdh]\nmaxretry = 3\n", "no built-in filter \"ssdh\"; did you mean sshd?"),
        ("[jail.x]\nfilter = \"ssdh\"\n", "no built-in filter \"ssdh\"; did you mean sshd?"),
        ("[jail.sshd]\nmaxretri = 3\n", "maxretri is no key; did you mean maxretry?"),
        (
            "[web]\nlisten = \"127.0.0.1:1\"\ntokenfile = \"/x\"\n",
            "no key \"tokenfile\"; did you mean token_file?",
        ),
        ("[wall]\ncontct = \"a\"\n", "no key \"contct\"; did you mean contact?"),
        ("[restrict.ssh]\nprt = 22\n", "no key \"prt\"; did you mean port?"),
        ("points = { rot = 2 }\n", "no class \"rot\"; did you mean root?"),
        ("growth = { increment = true, facter = 2 }\n", "did you mean factor?"),
        ("fuse = { bans_per_minut = 2 }\n", "did you mean bans_per_minute?"),
        ("[report.abuseipbd]\nkey_file = \"/k\"\n", "did you mean abuseipdb?"),
    ] {
        meant(&["check", "--config", &place.write("slip.toml", text)], what);
    }
    let log = place.write("auth.log", "nothing\n");
    meant(&["test-filter", "ssdh", &log], "did you mean sshd?");
    meant(&["scan", "--jail", "ssdh", &log], "did you mean sshd?");
}

#[test]
fn a_jail_that_is_none_is_told_which_was_meant() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    for (args, code) in [
        (&["status", "ssdh"][..], 1),
        (&["list", "--jail", "ssdh"], 1),
        (&["ban", "203.0.113.7", "--jail", "ssdh"], 2),
        (&["unban", "203.0.113.7", "--jail", "ssdh"], 1),
        (&["attempts", "--jail", "ssdh"], 1),
        (&["history", "--jail", "ssdh"], 1),
    ] {
        let answer = daemon.ask(args);
        assert_eq!(answer.code, Some(code), "{args:?}: {answer:?}");
        assert!(answer.err.contains("did you mean sshd?"), "{args:?}: {answer:?}");
    }
}

#[test]
fn test_filter_takes_fail2ban_regexs_order_too() {
    let place = Place::new("habits-order");
    let line = failed_lines(5000, 1, "root", "203.0.113.7");
    let log = place.write("auth.log", &line);
    let right = place.run(&["test-filter", "sshd", &log]);
    assert!(right.code == Some(0) && right.err.is_empty(), "{right:?}");
    for first in [log.as_str(), line.trim_end()] {
        let answer = place.run(&["test-filter", first, "sshd"]);
        assert_eq!((answer.code, &answer.out), (Some(0), &right.out), "{answer:?}");
        assert!(answer.err.contains("pillory test-filter FILTER FILE"), "{answer:?}");
    }
    let own = place.write("own.conf", "[Definition]\nfailregex = Failed password for .* from <HOST>\n");
    assert!(place.run(&["test-filter", &log, &own]).err.contains("the filter comes first"));
    assert!(place.run(&["test-filter", &own, &log]).err.is_empty());
}

#[test]
fn several_addresses_are_taken_wherever_one_is() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.ask(&["ban", "203.0.113.7", "203.0.113.8"]).code, Some(0));
    let one = daemon.ask_json(&["explain", "203.0.113.7"]);
    assert!(one.is_object() && one["banned"] == true, "{one}");
    let two = daemon.ask_json(&["explain", "203.0.113.7", "198.51.100.9"]);
    assert_eq!((&two[0]["banned"], &two[1]["banned"]), (&true.into(), &false.into()), "{two}");
    let stories = daemon.ask(&["explain", "203.0.113.7", "198.51.100.9"]).out;
    assert!(stories.starts_with("203.0.113.7 is banned"), "{stories}");
    assert!(stories.contains("\n\n198.51.100.9 is not banned"), "{stories}");
    let listed = "# a list\n203.0.113.8\n203.0.113.9 with a note\n";
    let stories = fed(&server, &["explain", "-"], listed).out;
    assert!(stories.contains("203.0.113.8 is banned") && stories.contains("203.0.113.9 is not"), "{stories}");
    let prefixes = |rows: serde_json::Value| -> Vec<String> {
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["prefix"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let history = daemon.ask_json(&["history", "--ip", "203.0.113.7", "--ip", "203.0.113.9"]);
    assert_eq!(prefixes(history), ["203.0.113.7/32"]);
    let history = fed(&server, &["history", "--json", "--ip", "-"], "203.0.113.7\n203.0.113.8\n").json();
    assert_eq!(prefixes(history), ["203.0.113.7/32", "203.0.113.8/32"]);
    let answer = fed(&server, &["allow", "-"], "192.0.2.77\n192.0.2.78\n");
    assert!(
        answer.out.contains("192.0.2.77 is never") && answer.out.contains("192.0.2.78 is never"),
        "{answer:?}"
    );
    let answer = fed(&server, &["unlist", "-"], "203.0.113.7\n203.0.113.8\n");
    assert!(
        answer.out.contains("203.0.113.7 is left") && answer.out.contains("203.0.113.8 is left"),
        "{answer:?}"
    );
    for command in [&["explain", "-"][..], &["attempts", "--ip", "-"], &["allow", "-"], &["unlist", "-"]] {
        let answer = fed(&server, command, "203.0.113.7\n203.0.113.8/99\n");
        assert!(answer.code == Some(2) && answer.err.contains("line 2"), "{command:?}: {answer:?}");
        assert_eq!(fed(&server, command, "# nobody\n").code, Some(1), "{command:?}");
    }
}

#[test]
fn attempts_of_several_addresses_come_in_the_order_of_time() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    for (pid, from) in
        [(5000, "203.0.113.7"), (5001, "203.0.113.8"), (5002, "203.0.113.9"), (5003, "203.0.113.7")]
    {
        server.append(LOG, failed_lines(pid, 1, "alice", from));
    }
    daemon.wait_for(SOON, "the attempts", || (daemon.attempts_of("203.0.113.7") == 2).then_some(()));
    let of = |ips: &[&str]| -> Vec<String> {
        let named: Vec<&str> = ips.iter().flat_map(|ip| ["--ip", ip]).collect();
        let rows = daemon.ask_json(&[&["attempts"], &named[..]].concat());
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["ip"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(of(&["203.0.113.9", "203.0.113.7"]), ["203.0.113.7", "203.0.113.9", "203.0.113.7"]);
    assert_eq!(of(&["203.0.113.8/31", "203.0.113.8"]), ["203.0.113.8", "203.0.113.9"]);
}

/// What stands below `Examples:` in a help, a command line each.
fn examples(help: &str) -> Vec<String> {
    let below = help.split("\nExamples:\n").nth(1).unwrap_or_default();
    below
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| line.trim().to_owned())
        .collect()
}

/// A configuration that has what examples speak of.
const EXAMPLES: &str = "\
[rescue]
port = 2200
[restrict.ssh]
port = 22
allow = [\"192.0.2.0/24\"]
[wall]
contact = \"abuse@example.net\"
[notify.owner]
kind = \"command\"
command = [\"/bin/true\"]
[report.abuseipdb]
url = \"http://127.0.0.1:8080/api/v2\"
key_file = \"/srv/key\"
";

/// These go on until they are stopped, so they run before the others.
const GO_ON: [&str; 2] = ["pillory run", "pillory run --dry-run"];

/// What this asks for, a new ssh connection, is not here: it says so (`apply.rs` has one).
const REFUSED: &str = "pillory confirm";

/// These say nothing when all is well.
const QUIET: [&str; 1] = ["pillory metrics --out /var/lib/pillory/pillory.prom"];

/// Runs what goes on until it is ready, and stops it.
fn goes_on(server: &Host, line: &str) {
    let program = binary().display().to_string();
    let mut command = server.command(&program);
    command.args(line.split(' ').skip(1));
    std::fs::create_dir_all(server.path("/run/pillory")).expect("a directory");
    let mut running = Running::start(line, command);
    wait_for(SOON * 2, line, || running.errors().contains("ready: ").then_some(()));
    running.signal(Signal::TERM);
    assert_eq!(running.wait(SOON), Some(0), "{line}: {}", running.errors());
}

#[test]
fn every_help_ends_in_two_examples_and_they_work() {
    if !need(&["fail2ban-regex"]) {
        return;
    }
    let Some(((_world, server), stock)) = quiet_server().zip(stock_fail2ban()) else { return };
    server.run("cp", &["-r", &stock.display().to_string(), "/etc/fail2ban"]);
    server.run("ln", &["-s", &binary().display().to_string(), "/run/pillory-itself"]);
    server.write("/srv/key", "the-key\n");
    GO_ON.iter().for_each(|line| goes_on(&server, line));
    server.run("rm", &["-rf", STATE_DIR]);
    server.append(LOG, failed_lines(5000, 3, "root", "203.0.113.7"));
    server.write("/etc/pillory/new.toml", format!("maxretry = 4\n{EXAMPLES}"));
    server.write("/etc/pillory/bad.txt", "203.0.113.99\n");
    server.append(LOG, sshd_line(5009, "Accepted password for alice from 192.0.2.77 port 4000 ssh2"));
    let daemon = Daemon::start(&server, EXAMPLES);
    daemon.wait_for(SOON, "the good login", || {
        (daemon.ask(&["restrict", "ssh", "--suggest"]).code == Some(0)).then_some(())
    });
    let made = daemon.ask_json(&["rescue-code", "-n", "2"]);
    let mut codes = made["codes"].as_array().into_iter().flatten().filter_map(|code| code.as_str());
    let mut failed = Vec::new();
    let help = daemon.ask(&["--help"]).out;
    let commands =
        help.split("Commands:\n").nth(1).and_then(|text| text.split("\n\n").next()).expect("commands");
    let names =
        commands.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    for name in [""].into_iter().chain(names) {
        let args: Vec<&str> = name.split_terminator(' ').chain(["--help"]).collect();
        let help = pillory(&server, &args).out;
        let lines = examples(&help);
        assert_eq!(lines.len(), 2, "{name}: {help}");
        assert!(help.trim_end().ends_with(&lines[1]), "{name}: {help}");
        for line in lines.iter().filter(|line| !GO_ON.contains(&line.as_str())) {
            if line.starts_with("pillory apply") {
                // One policy at a time is on trial.
                daemon.ask(&["confirm", "--take-back"]);
            }
            let typed = match line.contains(" CODE") {
                true => line.replace("CODE", codes.next().expect("another code")),
                false => line.clone(),
            };
            let script = format!("pillory() {{ /run/pillory-itself \"$@\"; }}; {typed}");
            let answer: Answer =
                server.command("sh").args(["-c", &script]).output().expect("sh starts").into();
            let says = match line.as_str() {
                REFUSED => answer.code == Some(1) && answer.err.contains("not confirmed"),
                line => !answer.out.is_empty() || QUIET.contains(&line),
            };
            if !matches!(answer.code, Some(0 | 1)) || !says {
                failed.push(format!("{line}: {answer:?}"));
            }
        }
    }
    assert!(failed.is_empty(), "{}\n{}", failed.join("\n"), daemon.errors());
}
