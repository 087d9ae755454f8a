//! Accounts in use are guessed at from many places, each too rarely to be banned: people are told, and if somebody
//! gets in then, too.

use crate::lab::{Daemon, SOON, failed_line, quiet_server, sshd_line};

const LOG: &str = "/var/log/auth.log";

#[test]
fn guessing_at_an_account_in_use_from_many_places_is_told_and_so_is_a_stranger_who_gets_in() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "[jail.sshd]\nbackend = \"file\"\n");
    let accepted = |pid: u32, addr: &str| {
        server
            .append(LOG, sshd_line(pid, &format!("Accepted password for alice from {addr} port 30001 ssh2")));
    };
    let warned = |word: &str| daemon.status()["warnings"].to_string().contains(word);
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
        warned("jail sshd: accounts in use are guessed at from 7 places").then_some(())
    });
    accepted(5103, "203.0.113.5");
    daemon.wait_for(SOON, "the alarm", || {
        warned("alice logged in from 203.0.113.5, where nobody did before").then_some(())
    });
    accepted(5104, "192.0.2.7");
    assert!(!warned("192.0.2.7"), "{}", daemon.status());
    assert!(daemon.list().is_empty(), "one try each bans nobody");
}
