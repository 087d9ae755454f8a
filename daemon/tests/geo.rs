//! A database of networks: campaigns told by operator, and what becomes of a file that cannot be used.

use crate::lab::{Daemon, SOON, failed_line, quiet_server};
use crate::mmdb::{self, Width};

const LOG: &str = "/var/log/auth.log";
const CONFIG: &str = "widen = false\n[geo]\nasn = \"/var/lib/asn.mmdb\"\n[jail.sshd]\nbackend = \"file\"\n";

fn database(width: Width) -> Vec<u8> {
    mmdb::written(width, "Made-Up-ASN", &mmdb::OPERATORS)
}

#[test]
fn networks_of_one_operator_that_attack_together_are_told_and_banned_at_their_first_try() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write("/var/lib/asn.mmdb", database(Width::Bits24));
    let daemon = Daemon::start(&server, CONFIG);
    let tries = |number: u32, net: &str| {
        let addr = format!("{net}.{number}.9");
        server.append(LOG, failed_line(5000 + number, &format!("invalid user nobody{number}"), &addr));
        addr
    };
    for number in 0..15 {
        tries(number, "11.7");
    }
    daemon.wait_for(SOON, "the warning", || {
        let warnings = daemon.status()["warnings"].to_string();
        warnings.contains("15 networks of AS64500 attack together").then_some(())
    });
    let member = tries(20, "11.7");
    daemon.wait_for(SOON, "its ban", || daemon.lists(&format!("{member}/32")).then_some(()));
    // What is shown is what is known now.
    let campaign = daemon.status()["jails"][0]["campaign"].clone();
    let system = &campaign["systems"][0];
    assert!(system["asn"] == 64_500 && system["networks"] == 16 && campaign["members"] == 2, "{campaign}");
    let other = tries(21, "11.8");
    daemon.wait_for(SOON, "all failures", || (daemon.status()["jails"][0]["failures"] == 17).then_some(()));
    assert!(!daemon.lists(&format!("{other}/32")), "{:?}", daemon.list());
    let explained = daemon.ask(&["explain", &member]);
    assert!(explained.out.contains("Its network belongs to AS64500, Example Hosting."), "{explained:?}");
    assert!(explained.out.contains("5 points, a campaign"), "{explained:?}");
}

#[test]
fn a_database_that_cannot_be_used_is_a_warning_and_a_reload_takes_a_good_one() {
    let Some((_world, server)) = quiet_server() else { return };
    let mut cut = database(Width::Bits32);
    cut.truncate(cut.len() / 2);
    server.write("/var/lib/asn.mmdb", cut);
    let daemon = Daemon::start(&server, CONFIG);
    let warns = || daemon.status()["warnings"].to_string().contains("geo.asn: cannot use /var/lib/asn.mmdb");
    assert!(warns(), "{}", daemon.status());
    let network = || daemon.ask(&["explain", "11.7.1.2", "-j"]).json()["network"].clone();
    assert!(network().is_null());
    server.write("/var/lib/asn.mmdb", database(Width::Bits28));
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    assert!(!warns(), "{}", daemon.status());
    assert_eq!(network(), serde_json::json!({"asn": 64_500, "operator": "Example Hosting", "country": null}));
    std::fs::remove_file(server.path("/var/lib/asn.mmdb")).expect("it was there");
    assert_eq!(daemon.ask(&["reload"]).code, Some(0), "it is no reason to refuse a policy");
    assert!(warns() && network().is_null(), "{}", daemon.status());
}
