//! `pillory import --fail2ban`: from a fail2ban directory and its real database to ours.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::lab::{Daemon, Place, SOON, pillory, quiet_server, say_skipped, stock_fail2ban};

const JAILS: &str = "\
[DEFAULT]
bantime = 1h
ignoreip = 127.0.0.1/8 203.0.113.0/24
bantime.increment = true
bantime.maxtime = 8h
[sshd]
enabled = true
maxretry = 3
[own]
enabled = true
filter =
failregex = ^\\s*it's \\\\ no from <HOST>$
            ^\\s*neither from <HOST>$
port = 8000:8010
logpath = /srv/own.log
action = %(action_)s
         tell
[span]
enabled = true
filter = spanning
logpath = /srv/span.log
";

const SPANNING: &str = "\
[Definition]
maxlines = 3
datepattern = {NONE}
failregex = ^open<SKIPLINES>^close <HOST>$
";

/// Makes the database as fail2ban's own server would: jail, address, seconds since the ban, its length.
const MAKE: &str = r#"
import json, sys, time
from fail2ban.server.database import Fail2BanDb
from fail2ban.server.ticket import FailTicket

class Jail:
    def __init__(self, name): self.name, self.actions = name, self
    def getBanTime(self): return 600

database = Fail2BanDb(sys.argv[1])
jails = {}
for name, address, ago, length in json.load(sys.stdin):
    if name not in jails:
        jails[name] = Jail(name)
        database.addJail(jails[name])
    ticket = FailTicket(address, time.time() - ago, ["a line"])
    ticket.setBanTime(length)
    database.addBan(jails[name], ticket)
database.close()
"#;

/// Runs fail2ban's own code; false if it is not here.
fn make(stock: &Path, database: &Path, bans: &Value) -> bool {
    let packages = stock.join("../../usr/lib/python3/dist-packages");
    let mut command = Command::new("python3");
    command.args(["-c", MAKE]).arg(database).env("PYTHONPATH", packages);
    command.stdin(std::process::Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        say_skipped("no python3 here to run fail2ban's own code");
        return false;
    };
    let mut input = child.stdin.take().expect("standard input is piped");
    std::io::Write::write_all(&mut input, bans.to_string().as_bytes()).expect("it reads");
    drop(input);
    assert!(child.wait().expect("it was ours").success(), "fail2ban's own code failed");
    true
}

/// A directory with those jails over the stock ones.
fn directory(place: &Place, stock: &Path) -> String {
    let directory = place.0.join("fail2ban");
    let copied = Command::new("cp").arg("-r").arg(stock).arg(&directory).status().expect("cp starts");
    assert!(copied.success());
    place.write("fail2ban/jail.local", JAILS);
    place.write("fail2ban/action.d/tell.conf", "[Definition]\nactionban = tell <ip>\n");
    place.write("fail2ban/filter.d/spanning.conf", SPANNING);
    directory.display().to_string()
}

fn bans() -> Value {
    json!([
        ["sshd", "192.0.2.7", 600, 3600],
        ["sshd", "2001:db8::7", 600, 3600],
        ["sshd", "192.0.2.8", 7200, 3600],
        ["sshd", "192.0.2.9", 600, -1],
        ["sshd", "203.0.113.5", 600, 3600],
        ["own", "198.51.100.7", 60, 14_400],
        ["own", "some-session", 60, 14_400],
        ["gone", "198.51.100.8", 60, 14_400],
    ])
}

#[test]
fn the_bans_in_force_come_along_with_the_rest_of_their_time_and_only_once() {
    let Some(stock) = stock_fail2ban() else { return };
    let place = Place::new("moving");
    let directory = directory(&place, &stock);
    let database = place.0.join("fail2ban.sqlite3");
    if !make(&stock, &database, &bans()) {
        return;
    }
    let before = std::fs::read(&database).expect("it is there");
    let out = place.0.join("pillory.toml").display().to_string();
    let named = database.display().to_string();
    let args = ["import", "--json", "--fail2ban", &directory, "--fail2ban-db", &named, "--out", &out];
    let dry: Vec<&str> = args.iter().copied().chain(["--dry-run"]).collect();
    let answer = place.offline(&dry);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(answer.json()["changed"], 4);
    assert!(!Path::new(&out).exists() && place.offline(&["export"]).code == Some(69));

    let answer = place.offline(&args);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let said = answer.json();
    assert_eq!((&said["changed"], &said["unchanged"]), (&4.into(), &0.into()), "{said}");
    let mut skipped: Vec<&str> =
        said["skipped"].as_array().into_iter().flatten().filter_map(|one| one["ip"].as_str()).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, ["198.51.100.8", "203.0.113.5", "some-session"]);
    let list = place.offline(&["export", "--json"]).json();
    let mut list: Vec<Value> = list.as_array().cloned().expect("an array");
    list.sort_by_key(|ban| ban["prefix"].to_string());
    let told: Vec<Value> =
        list.iter().map(|ban| json!([ban["prefix"], ban["jail"], ban["origin"]])).collect();
    assert_eq!(
        Value::from(told),
        json!([
            ["192.0.2.7/32", "sshd", "import"],
            ["192.0.2.9/32", "sshd", "import"],
            ["198.51.100.7/32", "own", "import"],
            ["2001:db8::7/128", "sshd", "import"],
        ])
    );
    for (ban, length) in list.iter().zip([3_600, 28_800, 14_400, 3_600]) {
        let time = |key: &str| ban[key].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let (since, until) = (time("since").expect("a time"), time("until").expect("a time"));
        assert_eq!(until.as_second() - since.as_second(), length, "{ban}");
        assert!(since < jiff::Timestamp::now(), "{ban}");
    }

    let again = place.offline(&args);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!((&again.json()["changed"], &again.json()["unchanged"]), (&0.into(), &4.into()));
    assert_eq!(place.offline(&["export", "--json"]).json().as_array().map(Vec::len), Some(4));
    assert!(std::fs::read(&database).expect("it is there") == before, "the database was changed");
}

#[test]
fn the_configuration_says_what_the_directory_says_and_names_what_it_cannot_say() {
    let Some(stock) = stock_fail2ban() else { return };
    let place = Place::new("moving-config");
    let directory = directory(&place, &stock);
    let answer = place.offline(&["import", "--fail2ban", &directory]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    for said in [
        "ignoreip = [\"127.0.0.0/8\", \"203.0.113.0/24\"]",
        "scope = \"ports\"",
        "[jail.\"sshd\"]",
        "maxretry = 3",
        "bantime = \"1h\"",
        "growth = { increment = true, maxtime = \"8h\" }",
        "\"^\\\\s*it's \\\\\\\\ no from <HOST>$\"",
        "port = [\"8000:8010/tcp\"]",
        "failregex = ['^open<SKIPLINES>^close <HOST>$']\nmaxlines = 3\ndatepattern = '{NONE}'\n",
        "[jail.\"wordpress\"]\nenabled = false",
    ] {
        assert!(answer.out.contains(said), "{said:?} is not in\n{}", answer.out);
    }
    for lost in [
        "jail \"own\": action tell runs its own commands",
        "jail \"sshd\": the built-in filter sshd stands in",
        "0 bans taken over",
    ] {
        assert!(answer.err.contains(lost), "{lost:?} is not in\n{}", answer.err);
    }
    let config = place.write("pillory.toml", &answer.out);
    assert_eq!(place.run(&["check", "--config", &config]).code, Some(0));
    // A file that says something else is somebody's work.
    let mine = place.write("mine.toml", "maxretry = 4\n");
    let refused = place.offline(&["import", "--fail2ban", &directory, "--out", &mine]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&mine).expect("it is there"), "maxretry = 4\n");
    assert_eq!(place.offline(&["import", "--fail2ban", &directory, "--out", &config]).code, Some(0));
}

#[test]
fn what_was_moved_bans_for_lines_that_belong_together_and_longer_the_second_time() {
    let Some((world, host)) = quiet_server() else { return };
    let jail = "[span]\nenabled = true\nfilter = spanning\nlogpath = /srv/span.log\nmaxretry = 4\nbantime = 1h\n\
                bantime.increment = true\nbantime.formula = ban.Time * (ban.Count + 2)\n";
    host.write("/etc/fail2ban/jail.local", jail);
    host.write("/etc/fail2ban/filter.d/spanning.conf", SPANNING);
    host.write("/srv/span.log", "");
    let moved = pillory(&host, &["import", "--fail2ban", "/etc/fail2ban"]);
    assert_eq!(moved.code, Some(0), "{moved:?}");
    let ban = |tries: usize, daemon: &Daemon| {
        host.append("/srv/span.log", "open\nnoise\nclose 198.51.100.7\nclose 198.51.100.8\n".repeat(tries));
        daemon.wait_for(SOON, "the ban", || {
            let set = world.kernel().set("ban4_span");
            set.iter().any(|element| element.prefix.to_string() == "198.51.100.7/32").then_some(())
        });
        world.kernel().left("ban4_span", "198.51.100.7").expect("it has an end").as_secs()
    };
    let daemon = Daemon::start(&host, &moved.out);
    assert!((3_500..=3_600).contains(&ban(4, &daemon)));
    assert_eq!(daemon.list().len(), 1);
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    daemon.stop();
    let daemon = Daemon::start(&host, &moved.out);
    // A known offender counts twice.
    assert!((10_700..=10_800).contains(&ban(2, &daemon)));
}

#[test]
fn of_a_directory_that_cannot_be_read_no_configuration_is_made() {
    let place = Place::new("moving-nothing");
    let (nowhere, out) = (place.0.join("nope").display().to_string(), place.0.join("pillory.toml"));
    let file = place.write("jail.local", "[sshd]\nenabled = true\n");
    for directory in [nowhere, file] {
        let answer = place.run(&["import", "--fail2ban", &directory, "--out", &out.display().to_string()]);
        let said = format!("pillory: {directory}: is no directory that can be read; name the directory with");
        assert!(answer.code == Some(2) && answer.err.starts_with(&said), "{answer:?}");
        assert!(answer.out.is_empty() && answer.err.lines().count() == 1 && !out.exists(), "{answer:?}");
        let answer = place.run(&["import", "--fail2ban", &directory]);
        assert!(answer.code == Some(2) && answer.out.is_empty(), "{answer:?}");
    }
}
