//! Whose network an address is in: asked of a registry, which may answer anything.

use serde_json::json;

use crate::lab::{Answering, CONFIG, Daemon, LOG, SOON, STATE_DIR, WebServer, failed_lines, quiet_server};

/// What a registry answers about 198.51.100.0/25.
pub fn registry() -> String {
    let card =
        |name: &str, mail: &str| json!(["vcard", [["fn", {}, "text", name], ["email", {}, "text", mail]]]);
    json!({"objectClassName": "ip network", "startAddress": "198.51.100.0", "endAddress": "198.51.100.127",
        "name": "EXAMPLE", "handle": "NET-1", "country": "DE", "entities": [
            {"roles": ["registrant"], "vcardArray": card("Example \u{1b}[31mHosting", "noc@example.org"), "entities": [
                {"roles": ["abuse"], "vcardArray": card("Abuse", "abuse@example.org")}]}]})
    .to_string()
}

/// The section that has it asked.
pub const RDAP: &str = "[rdap]\nurl = \"http://127.0.0.1:8081/rdap\"\n";

/// Leads elsewhere.
pub fn leads_to(place: &'static str) -> Answering {
    Answering::With(302, place, String::new())
}

#[test]
fn explain_and_ban_ask_whose_network_it_is_and_show_who_logs_in_there() {
    let Some((_world, server)) = quiet_server() else { return };
    let rdap = WebServer::start(&server, 8081);
    rdap.says(&registry());
    let daemon = Daemon::start(&server, RDAP);
    assert!(rdap.asked().is_empty(), "nobody asked");
    let registry = ["--config", CONFIG, "--state-dir", STATE_DIR];
    let explained = daemon.ask(&[&["explain", "198.51.100.7", "--whois"], &registry[..]].concat());
    for words in [
        "registered",
        "198.51.100.0 - 198.51.100.127 (198.51.100.0/25)",
        "Example [31mHosting",
        "abuse@example.org",
    ] {
        assert!(explained.out.contains(words), "{words}: {explained:?}");
    }
    assert!(!explained.out.contains('\u{1b}'));
    assert_eq!(rdap.asked()[0].path, "/rdap/ip/198.51.100.7");
    let value =
        daemon.ask(&[&["explain", "198.51.100.7", "--whois", "--json"], &registry[..]].concat()).json();
    assert_eq!(value["whois"]["prefixes"], json!(["198.51.100.0/25"]));
    let ban = |more: &[&str]| daemon.ask(&[&["ban", "198.51.100.7", "--net"], more, &registry[..]].concat());
    let asked = ban(&[]);
    assert_eq!(asked.code, Some(2), "{asked:?}");
    assert!(
        asked.err.contains("198.51.100.7 is in 198.51.100.0/25 (128 addresses), held by Example"),
        "{asked:?}"
    );
    assert!(
        asked.err.contains("no good login from there is kept") && asked.err.contains("--yes bans it"),
        "{asked:?}"
    );
    let login =
        failed_lines(8000, 1, "alice", "198.51.100.99").replace("Failed password", "Accepted password");
    server.append(LOG, login);
    daemon.wait_for(SOON, "the login", || {
        ban(&[]).err.contains("1 good login from there:\n  198.51.100.99").then_some(())
    });
    // Somebody logs in from there: that is refused as any such network is.
    let refused = ban(&["--yes"]);
    assert_eq!((refused.code, daemon.lists("198.51.100.0/25")), (Some(1), false), "{refused:?}");
    assert_eq!(ban(&["--yes", "--force"]).code, Some(0));
    assert!(daemon.lists("198.51.100.0/25"));
    let wide = daemon.ask(&[&["ban", "198.51.100.0/24", "--net"], &registry[..]].concat());
    assert_eq!(wide.code, Some(2), "{wide:?}");
}

#[test]
fn a_network_is_asked_for_again_where_a_narrower_one_may_be_registered() {
    let Some((_world, server)) = quiet_server() else { return };
    let rdap = WebServer::start(&server, 8081);
    let of = |first: &str, last: &str| {
        let answer = registry().replace("198.51.100.127", last).replace("198.51.100.0", first);
        Answering::With(200, "", answer)
    };
    rdap.next([of("198.51.0.0", "198.51.255.255"), of("198.51.7.0", "198.51.7.255")]);
    // With something to send there is an outbox, which remembers.
    let daemon = Daemon::start(&server, &format!("{RDAP}[notify.a]\nkind = \"syslog\"\non = \"stop\"\n"));
    let registry = ["--config", CONFIG, "--state-dir", STATE_DIR];
    let explained = |addr: &str| daemon.ask(&[&["explain", addr, "--whois"], &registry[..]].concat()).out;
    assert!(explained("198.51.100.9").contains("198.51.0.0/16"));
    let banned = daemon.ask(&[&["ban", "198.51.7.9", "--net", "--yes"], &registry[..]].concat());
    assert_eq!((banned.code, daemon.lists("198.51.7.0/24")), (Some(0), true), "{banned:?}");
    assert!(!daemon.lists("198.51.0.0/16"));
    // Both are known by now, around where they were asked for.
    assert!(explained("198.51.100.200").contains("198.51.0.0/16"));
    assert!(explained("198.51.7.200").contains("198.51.7.0/24"));
    assert_eq!(rdap.asked().len(), 2);
    // Who bans all of a network asks again: a narrower one may be registered beside the first address.
    rdap.next([of("198.51.100.128", "198.51.100.255")]);
    let banned = daemon.ask(&[&["ban", "198.51.100.200", "--net", "--yes"], &registry[..]].concat());
    assert_eq!((banned.code, daemon.lists("198.51.100.128/25")), (Some(0), true), "{banned:?}");
    assert!(!daemon.lists("198.51.0.0/16") && rdap.asked().len() == 3);
}

#[test]
fn a_registry_that_answers_nonsense_hits_nobody() {
    let Some((_world, server)) = quiet_server() else { return };
    let rdap = WebServer::start(&server, 8081);
    let daemon = Daemon::start(&server, RDAP);
    let inside = WebServer::start(&server, 8082);
    inside.says(&registry());
    let loops = "location: http://127.0.0.1:8081/again\r\n";
    let answers = [
        (
            Answering::With(
                200,
                "",
                registry().replace("198.51.100.127", "255.255.255.255").replace("198.51.100.0", "0.0.0.0"),
            ),
            "too wide",
        ),
        (Answering::With(200, "", "<html>".into()), "no JSON"),
        (
            Answering::With(200, "", registry().replace("198.51.100", "203.0.113")),
            "does not hold the address",
        ),
        (Answering::With(404, "", String::new()), "names no network"),
        (Answering::Nothing, "could be asked"),
        (Answering::With(200, "", "[".repeat(2 << 20)), "larger than 1 MiB"),
        (leads_to("location: http://127.0.0.1:8082/ip/198.51.100.7\r\n"), "not public"),
        (Answering::With(200, "", "[".repeat(100_000)), "no JSON"),
    ];
    for (answering, words) in answers {
        rdap.next([answering]);
        let answer = daemon.ask(&[
            "ban",
            "198.51.100.7",
            "--net",
            "--yes",
            "--config",
            CONFIG,
            "--state-dir",
            STATE_DIR,
        ]);
        assert!(answer.code == Some(1) && answer.err.contains(words), "{words}: {answer:?}");
    }
    rdap.next((0..20).map(|_| leads_to(loops)));
    let answer =
        daemon.ask(&["explain", "198.51.100.7", "--whois", "--config", CONFIG, "--state-dir", STATE_DIR]);
    assert!(answer.code == Some(1) && answer.err.contains("elsewhere too often"), "{answer:?}");
    assert!(rdap.asked().len() < 18 && daemon.list().is_empty());
    assert!(inside.asked().is_empty());
}
