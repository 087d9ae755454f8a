//! What no single source shows: accounts in use are guessed at from many places, each too rarely to be banned, and
//! campaigns with one list of names.

use crate::lab::{Daemon, SOON, failed_line, quiet_server, sshd_line};

const LOG: &str = "/var/log/auth.log";

#[test]
fn guessing_at_an_account_in_use_from_many_places_is_told_and_so_is_a_stranger_who_gets_in() {
    let Some((_world, server)) = quiet_server() else { return };
    let config = "[jail.sshd]\nbackend = \"file\"\n";
    let daemon = Daemon::start(&server, config);
    let accepted = |pid: u32, addr: &str| {
        server
            .append(LOG, sshd_line(pid, &format!("Accepted password for alice from {addr} port 30001 ssh2")));
    };
    let warns = |daemon: &Daemon, word: &str| daemon.status()["warnings"].to_string().contains(word);
    let warned = |word: &str| warns(&daemon, word);
    accepted(4000, "192.0.2.7");
    for number in 1..=6u32 {
        server.append(LOG, failed_line(5000 + number, "alice", &format!("198.51.100.{number}")));
    }
    // Someone who mistypes and then gets in is no attacker.
    accepted(5100, "198.51.100.1");
    server.append(LOG, failed_line(5101, "alice", "198.51.100.101"));
    daemon.wait_for(SOON, "seven failures", || (daemon.status()["jails"][0]["failures"] == 7).then_some(()));
    assert!(!warned("guessed at"), "{}", daemon.status());
    server.append(LOG, failed_line(5102, "alice", "198.51.100.102"));
    daemon.wait_for(SOON, "the warning", || {
        warned("from 7 places within a day, each too rarely to be banned for it: alice").then_some(())
    });
    let stealth = daemon.status()["jails"][0]["stealth"].clone();
    assert!(stealth["places"] == 7 && stealth["users"] == serde_json::json!(["alice"]), "{stealth}");
    accepted(5103, "203.0.113.5");
    daemon.wait_for(SOON, "the alarm", || {
        warned("alice logged in from 203.0.113.5, where nobody did before").then_some(())
    });
    accepted(5104, "192.0.2.7");
    assert!(!warned("192.0.2.7"), "{}", daemon.status());
    assert!(daemon.list().is_empty(), "one try each bans nobody");
    let (_, said) = daemon.stop();
    assert_eq!(said.matches("are guessed at since").count(), 1, "{said}");
    // What was on is on after a restart, with the same beginning, and nobody is told again.
    let daemon = Daemon::start(&server, config);
    assert_eq!(daemon.status()["jails"][0]["stealth"], stealth);
    assert!(warns(&daemon, "from 7 places within a day"));
    server.append(LOG, failed_line(5200, "alice", "198.51.100.103"));
    daemon.wait_for(SOON, "the eighth", || {
        (daemon.status()["jails"][0]["stealth"]["places"] == 8).then_some(())
    });
    let (_, said) = daemon.stop();
    assert!(!said.contains("guessed at"), "{said}");
}

#[test]
fn a_campaign_with_one_list_of_names_bans_its_members_at_their_first_try() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "widen = false\n[jail.sshd]\nbackend = \"file\"\n");
    let try_once = |number: u32| {
        let addr = format!("198.51.{}.{}", 100 + number / 100, 1 + number % 100);
        server.append(LOG, failed_line(5000 + number, "invalid user sven", &addr));
        addr
    };
    for number in 0..55 {
        try_once(number);
    }
    // Here the campaign begins.
    daemon.wait_for(SOON, "the warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("50 addresses within a day try the same names (sven)").then_some(())
    });
    let campaign = daemon.status()["jails"][0]["campaign"].clone();
    assert!(campaign["members"] == 50 && campaign["since"].is_string(), "{campaign}");
    assert_eq!(campaign["names"], serde_json::json!(["sven"]));
    let member = try_once(55);
    daemon.wait_for(SOON, "its ban", || daemon.lists(&format!("{member}/32")).then_some(()));
    let warnings = daemon.status()["warnings"].to_string();
    assert!(warnings.contains("51 addresses within a day"), "as many as there are by now: {warnings}");
    // For as long as others are banned the second time.
    let ban = daemon.ban_of(&format!("{member}/32")).expect("it is listed");
    let day = |key: &str| ban[key].as_str().expect("a time")[..10].to_owned();
    let days = server.run("date", &["-d", &format!("{} +7 days", day("since")), "+%F"]);
    assert_eq!(days.trim(), day("until"), "{ban}");
    // Somebody who tries a name of his own is judged as always.
    server.append(LOG, failed_line(9000, "invalid user marion", "203.0.113.7"));
    server.append(LOG, failed_line(9001, "invalid user oracle", "203.0.113.8"));
    daemon.wait_for(SOON, "the notorious name's ban", || daemon.lists("203.0.113.8/32").then_some(()));
    assert!(!daemon.lists("203.0.113.7/32"));
}
