//! `pillory check --fail2ban`, and the daemon on a directory of which a part is wrong.

use crate::lab::{Daemon, Place, SOON, quiet_server, stock_fail2ban};

/// One good jail, and one for each thing that can be wrong.
const JAILS: &str = "\
[DEFAULT]
bantime = 1h
maxretry = 2
logpath = /var/log/app.log

[good]
enabled = true
filter =
port = ssh
logencoding = latin-1
failregex = ^\\s*Abgewiesen: M\u{fc}ller\\S* von <HOST>$

[broken-regex]
enabled = true
filter = broken

[own-regex]
enabled = true
filter = sound
failregex = ^one <HOST>$
 ^two (<HOST>$

[circle]
enabled = true
filter = sound
action = circle

[odd]
enabled = true
filter = sound
port = nosuchport
logtimezone = Mars/Olympus
logencoding = ebcdic

[deaf]
enabled = true
filter = sound
logpath =
";

const FILES: [(&str, &str); 4] = [
    ("jail.local", JAILS),
    ("filter.d/broken.conf", "[Definition]\n\nfailregex = ^fine <HOST>$\n   ^never (closed <HOST>$\n"),
    ("filter.d/sound.conf", "[Definition]\nfailregex = ^no from <HOST>$\n"),
    (
        "action.d/circle.conf",
        "[Definition]\nactionban = <first>\n[Init]\nfirst = a <second>\nsecond = b <first>\n",
    ),
];

#[test]
fn every_problem_is_told_with_its_file_and_line_and_the_good_jails_remain() {
    let place = Place::new("check");
    for folder in ["filter.d", "action.d"] {
        std::fs::create_dir_all(place.0.join(folder)).expect("a folder");
    }
    for (name, text) in FILES {
        place.write(name, text);
    }
    let directory = place.0.display().to_string();
    let answer = place.run(&["check", "--fail2ban", &directory]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    for said in [
        "filter.d/broken.conf:3: jail \"broken-regex\": filter \"broken\": failregex 1, \"^never (closed <HOST>$\": column 8: ",
        "jail.local:20: jail \"own-regex\": filter \"sound\": failregex 1, \"^two (<HOST>$\": column 6: ",
        "action.d/circle.conf:2: jail \"circle\": ",
        "jail.local:31: jail \"odd\": port \"nosuchport/tcp\" has no number",
        "jail.local:32: jail \"odd\": logtimezone \"Mars/Olympus\": ",
        "jail.local:33: jail \"odd\": logencoding: encoding \"ebcdic\" is not supported; write auto, ",
        "jail.local:38: jail \"deaf\": nothing says what it reads; give it a logpath",
        ": 7 problems",
    ] {
        assert!(answer.err.contains(said), "{said:?} is not in\n{}", answer.err);
    }
    assert!(answer.out.contains("jail \"good\": action iptables-multiport: done natively"), "{answer:?}");
    assert!(answer.out.contains("unlike fail2ban: nobody is banned who is never banned"), "{answer:?}");
    let said = place.run(&["check", "--json", "--fail2ban", &directory]).json();
    assert_eq!(said["jails"], serde_json::json!(["good", "odd"]));
    assert_eq!(said["problems"].as_array().map(Vec::len), Some(7));
    assert_eq!((&said["problems"][0]["jail"], &said["problems"][0]["line"]), (&"circle".into(), &2.into()));
    // The same by way of a configuration that names the directory.
    let config = place.write("pillory.toml", format!("fail2ban = \"{directory}\"\n"));
    let named = place.run(&["check", "--json", "--config", &config]);
    assert_eq!(named.code, Some(2));
    assert_eq!(named.json()["problems"], said["problems"]);
}

#[test]
fn the_stock_directory_is_fine_and_a_missing_one_is_not() {
    let place = Place::new("stock");
    assert_eq!(place.run(&["check", "--fail2ban", "/nowhere"]).code, Some(2));
    let Some(stock) = stock_fail2ban() else { return };
    let answer = place.run(&["check", "--fail2ban", &stock.display().to_string()]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.out.contains("fine, 1 jail configured"), "{answer:?}");
}

#[test]
fn what_every_jail_takes_from_one_place_is_said_once() {
    let place = Place::new("once");
    let jails = "[DEFAULT]\nignoreip = 192.0.2.1/99\nfilter = sshd\nlogpath = /var/log/auth.log\nenabled = true\n\
        [a]\n[b]\n[c]\nbackend = systemd[journalpath=/srv/journal]\n";
    place.write("jail.local", jails);
    let answer = place.run(&["check", "--fail2ban", &place.0.display().to_string()]);
    let said: Vec<&str> = answer.err.lines().filter(|line| line.contains("192.0.2.1/99")).collect();
    assert!(matches!(said[..], [one] if one.contains("more jails")), "{answer:?}");
    assert!(answer.err.contains("jail.local:9: jail \"c\": backend"), "{answer:?}");
}

#[test]
fn a_jail_that_counts_bans_needs_no_log_wherever_it_looks_for_them() {
    let Some(stock) = stock_fail2ban() else { return };
    let place = Place::new("recidive");
    for folder in ["filter.d", "action.d"] {
        std::os::unix::fs::symlink(stock.join(folder), place.0.join(folder)).expect("a link");
    }
    let jail = "[sshd]\nenabled = true\nlogpath = /var/log/auth.log\nport = 22\n\
        [recidive]\nenabled = true\nlogpath = /var/log/fail2ban.log\n";
    for (target, backend) in [
        ("/var/log/fail2ban.log", "auto"),
        ("/var/log/other.log", "auto"),
        ("SYSLOG", "auto"),
        ("/var/log/fail2ban.log", "systemd"),
    ] {
        place.write("jail.local", format!("{jail}backend = {backend}\n"));
        place.write("fail2ban.conf", format!("[Definition]\nlogtarget = {target}\n"));
        let answer = place.run(&["check", "--fail2ban", &place.0.display().to_string()]);
        let said = answer.out.contains("jail \"recidive\" counts the bans of other jails as they are made");
        assert!(said && !answer.err.contains("recidive"), "{target} {backend}: {answer:?}");
    }
}

#[test]
fn a_bad_jail_stops_no_other_and_a_log_is_read_in_its_encoding() {
    let Some((world, server)) = quiet_server() else { return };
    for (name, text) in FILES {
        server.write(format!("/etc/fail2ban/{name}"), text);
    }
    server.write("/var/log/app.log", "");
    let daemon = Daemon::start(&server, "fail2ban = \"/etc/fail2ban\"\n");
    let errors = daemon.errors();
    assert!(errors.contains("broken.conf:3: jail \"broken-regex\""), "{errors}");
    server.append("/var/log/app.log", b"Abgewiesen: M\xfcller von 198.51.100.7\n".repeat(2));
    let banned = daemon.wait_for(SOON, "the ban", || daemon.list().first().cloned());
    assert_eq!((&banned["prefix"], &banned["jail"]), (&"198.51.100.7/32".into(), &"good".into()));
    drop(world);
}
