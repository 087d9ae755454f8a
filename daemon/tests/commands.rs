//! Commands that work without a daemon, as a user runs them: what they print, and their exit status.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::lab::{Answer, Daemon, Host, Place, World, need};
use crate::scan::BRUTE_FORCE;

#[test]
fn check_names_every_problem_with_its_line() {
    let place = Place::new("check");
    let bad = place.write("bad.toml", "bantime = \"10x\"\n[jail.sshd]\nmaxretry = -1\ncolour = 1\n");
    let answer = place.run(&["check", "--config", &bad]);
    assert_eq!(answer.code, Some(2));
    for line in ["bad.toml:1:", "bad.toml:3:", "bad.toml:4:"] {
        assert!(answer.err.contains(line), "{answer:?}");
    }
    let good = place.write("good.toml", "maxretry = 3\n");
    assert_eq!(place.run(&["check", "--config", &good]).code, Some(0));
    let json = place.run(&["check", "--json", "--config", &bad]).json();
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(3), "{json}");
}

#[test]
fn check_names_every_problem_of_every_stage_with_its_line() {
    let place = Place::new("check-all");
    let text = r#"banaction = "iptables"
ignoreip = ["0.0.0.0/0", "::/0", "192.0.2.1"]
points = { foo = 1, root = -2, bar = 2 }

[jail.x]
logpath = ["/tmp/x.log"]
port = ["nosuchport", 99999, "22:10", "8000:8010", "ssh"]
failregex = ['^bad( from <HOST>$', '^blind$', '^worse) from <HOST>$', '^good from <HOST>$']

[jail.pam-generic]
enabled = true
backend = "journal"

[jail.y]
backend = "file"
journalmatch = "_COMM=y"
failregex = ['^no from <HOST>$']
"#;
    let answer = place.run(&["check", "--config", &place.write("bad.toml", text)]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    let expected = [
        (1, "banaction \"iptables\" is not known"),
        (2, "\"0.0.0.0/0\" is every address"),
        (2, "\"::/0\" is every address"),
        (3, "no class \"bar\""),
        (3, "no class \"foo\""),
        (3, "root -2"),
        (7, "port \"nosuchport\" has no number"),
        (7, "\"99999\" is no port"),
        (7, "\"22:10\" is no port"),
        (8, "failregex 0"),
        (8, "failregex 1 captures no address"),
        (8, "failregex 2"),
        (12, "nothing says which of its entries"),
        (15, "nothing says which files"),
    ];
    for (line, what) in expected {
        let at = format!("bad.toml:{line}: ");
        assert!(
            answer.err.lines().any(|said| said.contains(&at) && said.contains(what)),
            "{at}{what}: {answer:?}"
        );
    }
    assert!(answer.err.ends_with(&format!("{} problems\n", expected.len())), "{answer:?}");
    // A daemon names them too, but for the port that has only no number here.
    let daemon =
        place.run(&["run", "--dry-run", "--config", &place.0.join("bad.toml").display().to_string()]);
    assert_eq!(daemon.code, Some(2), "{daemon:?}");
    assert!(daemon.err.contains("bad.toml:1: banaction") && daemon.err.contains("failregex 2"), "{daemon:?}");
}

#[test]
fn a_configuration_that_is_no_regular_file_is_refused_at_once() {
    let place = Place::new("check-kinds");
    let fifo = place.0.join("fifo").display().to_string();
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo starts").success());
    for path in [fifo.as_str(), "/dev/zero", "/proc", &place.0.display().to_string()] {
        let answer = place.run(&["check", "--config", path]);
        assert_eq!(answer.code, Some(2), "{path}: {answer:?}");
        assert!(answer.err.contains(path) && answer.err.contains("--config"), "{path}: {answer:?}");
    }
    let link = place.0.join("link");
    std::os::unix::fs::symlink(place.write("good.toml", "maxretry = 3\n"), &link).expect("a link");
    assert_eq!(place.run(&["check", "--config", &link.display().to_string()]).code, Some(0));
}

#[test]
fn test_filter_gives_each_lines_verdict_and_a_summary() {
    let place = Place::new("filter");
    let log = place.write("auth.log", BRUTE_FORCE);
    let answer = place.run(&["test-filter", "--json", "--now", "1795334400", "--tz", "UTC", "sshd", &log]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let lines: Vec<Value> =
        answer.out.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
    assert_eq!(lines.len(), 9);
    assert_eq!(lines[0]["verdict"], "failure");
    assert_eq!(lines[0]["prefix"], "192.0.2.7/32");
    assert_eq!(lines[0]["class"], "unknown_user");
    assert_eq!(lines[0]["time"], 1_795_255_200.0);
    assert_eq!(lines[1]["verdict"], "miss");
    assert_eq!(lines[7]["verdict"], "success");
    assert_eq!(lines[8]["summary"]["lines"], 8);
    assert_eq!(lines[8]["summary"]["success"], 1);
    assert_eq!(place.run(&["test-filter", "no-such-filter", &log]).code, Some(2));
}

#[test]
fn import_without_a_daemon_keeps_bans_for_its_start() {
    let place = Place::new("import");
    let list = place.write(
        "list.txt",
        "192.0.2.7\n198.51.100.155/24 - 12/2016. WP login attempts\n203.0.0.0/16\n127.0.0.1\nnonsense\n0.0.0.0/0\n\
         203.1.0.0/16 - 12/2016. too wide to be banned, and too old\n",
    );
    let dry = place.offline(&["import", "--json", "--dry-run", &list]);
    assert_eq!(dry.code, Some(0), "{dry:?}");
    assert_eq!(place.offline(&["export"]).code, Some(69));
    let answer = place.offline(&["import", "--json", &list]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let said = answer.json();
    assert_eq!(said["banned"], serde_json::json!(["192.0.2.7/32"]));
    assert_eq!((&said["changed"], &said["history_only"]), (&1.into(), &2.into()));
    assert_eq!(said["refused"][0]["prefix"], "127.0.0.1/32");
    assert_eq!((&said["unreadable"][0]["line"], &said["wide"][0]["line"]), (&5.into(), &3.into()));
    assert_eq!(said["normalised"][0]["prefix"], "198.51.100.0/24");
    assert_eq!(place.offline(&["export"]).out, "192.0.2.7\n");
    let again = place.offline(&["import", "--json", "--ban", "--wide", &list]).json();
    // Taking a list over again renews its bans.
    assert_eq!((&again["changed"], &again["history_only"]), (&4.into(), &0.into()));
    assert_eq!(place.offline(&["export"]).out, "192.0.2.7\n198.51.100.0/24\n203.0.0.0/16\n203.1.0.0/16\n");
    assert_eq!(place.offline(&["export", "--json"]).json().as_array().map(Vec::len), Some(4));
}

#[test]
fn import_without_a_daemon_spares_the_ignoreip_of_the_configuration_that_is_named() {
    let place = Place::new("import-ignoreip");
    let list = place.write("list.txt", "192.0.2.7\n198.51.100.7\n");
    let config = place.write("pillory.toml", "ignoreip = [\"192.0.2.0/24\"]\n");
    let said = place.offline(&["import", "--json", "--config", &config, &list]).json();
    assert_eq!(said["banned"], serde_json::json!(["198.51.100.7/32"]));
    assert_eq!(said["refused"][0]["prefix"], "192.0.2.7/32");
    let broken = place.write("broken.toml", "ignoreip = 7 7\n");
    assert_eq!(place.offline(&["import", "--config", &broken, &list]).code, Some(2));
}

#[test]
fn import_says_no_if_it_takes_nothing() {
    let place = Place::new("import-nothing");
    let lists = ["127.0.0.1\n", "203.0.0.0/16\n", "nonsense\n", "# nobody\n"];
    for text in lists {
        let list = place.write("list.txt", text);
        let answer = place.offline(&["import", "--json", &list]);
        assert_eq!(answer.code, Some(1), "{text}: {answer:?}");
    }
    for old in ["192.0.2.7 - 12/2016. ssh\n", "192.0.2.8\n", "192.0.2.8\n"] {
        let list = place.write("list.txt", old);
        assert_eq!(place.offline(&["import", &list]).code, Some(0), "{old}");
    }
}

#[test]
fn import_takes_every_address_of_a_line_and_its_note_as_it_is() {
    let place = Place::new("import-notes");
    let list = place.write("list.txt", "192.0.2.21,192.0.2.22 - noted\n");
    assert_eq!(
        place.offline(&["import", "--json", &list]).json()["banned"],
        serde_json::json!(["192.0.2.21/32", "192.0.2.22/32"])
    );
    let list = place.write("list.txt", "192.0.2.23 - 10/2026 ssh\n");
    assert_eq!(place.offline(&["import", "--ban", &list]).code, Some(0));
    let exported = place.offline(&["export", "--json"]).json();
    let noted = exported.as_array().and_then(|bans| bans.iter().find(|ban| ban["prefix"] == "192.0.2.23/32"));
    assert_eq!(noted.expect("it is banned")["reason"], "10/2026 ssh");
}

#[test]
fn import_goes_to_the_running_daemon_with_its_reasons() {
    let Some(world) = World::new() else { return };
    let daemon = Daemon::start(&world.server, "");
    world.server.write("/var/lib/list", "203.0.113.7 - web spam\n198.51.100.9 - 12/2016. ssh\n192.0.2.1\n");
    let answer = daemon.ask(&["import", "/var/lib/list", "--json"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let said = answer.json();
    assert_eq!((&said["changed"], &said["history_only"]), (&1.into(), &1.into()), "{said}");
    assert_eq!(said["refused"][0]["prefix"], "192.0.2.1/32");
    let list = daemon.list();
    assert_eq!(
        (list.len(), &list[0]["reason"], &list[0]["origin"]),
        (1, &"web spam".into(), &"import".into())
    );
    assert!(world.kernel().is_banned("203.0.113.7".parse().expect("an address")));
    let history = daemon.ask_json(&["history"]);
    let listed = history.as_array().and_then(|rows| rows.iter().find(|row| row["what"] == "listed"));
    assert_eq!(listed.map(|row| &row["time"]), Some(&"2016-12-01T00:00:00Z".into()), "{history}");
    assert_eq!(daemon.ask(&["export"]).out, "203.0.113.7\n");
    world.server.write("/var/lib/list", "192.0.2.1\n");
    assert_eq!(daemon.ask(&["import", "/var/lib/list"]).code, Some(1));
}

#[test]
fn doctor_finds_what_another_tool_left_in_the_kernel_and_the_daemon_able_to_ban() {
    let Some(world) = World::new() else { return };
    let daemon = Daemon::start(&world.server, "");
    let ids = || -> Vec<String> {
        let findings = daemon.ask(&["doctor", "--json"]).json()["findings"].as_array().cloned();
        findings.iter().flatten().filter_map(|found| found["id"].as_str().map(str::to_owned)).collect()
    };
    let before = ids();
    world.kernel().nft("add table inet f2b-table");
    let after: Vec<String> = ids().into_iter().filter(|id| !before.contains(id)).collect();
    assert_eq!(after, ["rival_bans"], "before: {before:?}");
    assert!(!before.contains(&"daemon_not_permitted".to_owned()));
}

#[test]
fn off_on_and_unban_work_without_a_daemon() {
    if !need(&["unshare", "nsenter", "ip", "nft"]) {
        return;
    }
    let host = Host::server();
    host.write("/var/lib/list", "192.0.2.7\n198.51.100.0/24\n");
    let run = |args: &[&str]| crate::lab::pillory(&host, args);
    assert_eq!(run(&["import", "/var/lib/list"]).code, Some(0));
    let unbanned = run(&["unban", "192.0.2.7", "--json"]);
    assert_eq!(unbanned.code, Some(0), "{unbanned:?}");
    assert_eq!(unbanned.json()["unbanned"][0]["prefix"], "192.0.2.7/32");
    assert_eq!(run(&["unban", "192.0.2.7"]).code, Some(1));
    host.run("nft", &["add table inet pillory"]);
    host.run("nft", &["add set inet pillory ban4 { type ipv4_addr; flags timeout; }"]);
    host.run("nft", &["add element inet pillory ban4 { 203.0.113.9 timeout 1h }"]);
    host.run("ip", &["route", "add", "blackhole", "203.0.113.77"]);
    assert_eq!(run(&["off"]).code, Some(0));
    assert!(!host.run("nft", &["list", "tables"]).contains("pillory"));
    assert!(host.run("ip", &["route"]).contains("203.0.113.77"), "a foreign route stays");
    assert_eq!(run(&["doctor"]).code, Some(1));
    assert!(run(&["doctor"]).out.contains("switched off"));
    let on = run(&["on"]);
    assert_eq!(on.code, Some(0), "{on:?}");
    assert!(on.out.contains("1 ban is kept"), "{on:?}");
}

#[test]
fn without_rights_the_missing_privilege_is_named() {
    let place = Place::new("rights");
    if !rustix::process::geteuid().is_root() || Path::new("/usr/bin/setpriv").metadata().is_err() {
        println!("skipped: needs root and setpriv");
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let state = place.0.join("state");
    std::fs::create_dir_all(&state).expect("a directory");
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o700)).expect("closed");
    std::fs::set_permissions(&place.0, std::fs::Permissions::from_mode(0o755)).expect("open");
    let program = place.0.join("pillory");
    // Copied by a program of its own: a child that another test starts meanwhile would hold a copy that is being
    // written here open, and what is open for writing cannot be run.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_pillory")).arg(&program).status();
    assert!(copied.expect("cp starts").success(), "a copy that anybody may run");
    let mut command = Command::new("/usr/bin/setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program).arg("off");
    command.arg("--state-dir").arg(&state).arg("--control").arg(place.0.join("no.sock"));
    let answer: Answer = command.output().expect("setpriv starts").into();
    assert_eq!(answer.code, Some(77), "{answer:?}");
    assert!(answer.err.contains("root"), "{answer:?}");
}

#[test]
fn no_time_at_all_is_refused() {
    let place = Place::new("nothing");
    for args in
        [&["ban", "192.0.2.7", "--for", "0"][..], &["off", "--for", "0s"], &["import", "--for", "0", "-"]]
    {
        let answer = place.run(args);
        assert_eq!(answer.code, Some(2), "{args:?}: {answer:?}");
    }
}

#[test]
fn what_has_no_end_is_read_by_no_command() {
    let place = Place::new("endless");
    for args in [
        &["import", "--dry-run", "/dev/zero"][..],
        &["test-filter", "sshd", "/dev/zero"],
        &["scan", "/dev/zero"],
    ] {
        let answer = if args[0] == "import" { place.offline(args) } else { place.run(args) };
        assert_ne!(answer.code, Some(0), "{args:?}");
        assert!(answer.err.contains("it is a device, which may have no end"), "{args:?}: {answer:?}");
    }
    let long = place.write("long.list", vec![b'#'; (64 << 20) + 1]);
    let answer = place.offline(&["import", "--dry-run", &long]);
    assert!(answer.code == Some(2) && answer.err.contains("is longer than 64 MiB"), "{answer:?}");
}

#[test]
fn a_dry_run_of_an_import_does_not_say_that_its_bans_are_enforced() {
    let place = Place::new("dry-import");
    let list = place.write("bad.list", "198.51.100.7\n");
    let answer = place.offline(&["import", "--dry-run", &list]);
    assert!(answer.out.contains("198.51.100.7") || answer.code == Some(0), "{answer:?}");
    let said = answer.out + &answer.err;
    assert!(
        said.contains("this is a dry run, so nothing was kept") && !said.contains("they are enforced"),
        "{said}"
    );
}
