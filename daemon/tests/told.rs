//! What `status` and `explain` tell the one who asks: about himself, the effect so far, evidence and history.

use serde_json::Value;

use crate::lab::{
    Answer, CONTROL, Daemon, Host, SHORT, SOON, Scene, World, binary, failed_line, failed_lines, quiet_server,
};

const LOG: &str = "/var/log/auth.log";
const FROM: &str = "198.51.100.7";
const PREFIX: &str = "198.51.100.7/32";

/// Asks as somebody whose ssh session comes from `addr`; nobody's if that is empty.
fn ask_from(host: &Host, addr: &str, args: &[&str]) -> Answer {
    let mut command = host.command(&binary().display().to_string());
    command.args(args).args(["--control", CONTROL]);
    command.env("SSH_CONNECTION", format!("{addr} 50000 192.0.2.1 22"));
    command.output().expect("nsenter starts").into()
}

fn attacked() -> Option<(World, Host, Daemon)> {
    let (world, server) = quiet_server()?;
    let daemon = Daemon::start(&server, "ignoreip = \"198.51.100.200\"\n");
    Some((world, server, daemon))
}

#[test]
fn status_says_whether_you_could_be_shut_out() {
    let Some((_world, server, daemon)) = attacked() else { return };
    for (addr, words) in [
        ("198.51.100.200", "never banned, it is listed in ignoreip"),
        ("198.51.100.9", "not banned, but could be"),
        ("192.0.2.254", "never banned, it is a default gateway"),
    ] {
        let text = ask_from(&server, addr, &["status"]).out;
        assert!(text.contains(&format!("you come from {addr}: {words}")), "{text}");
    }
    let you = ask_from(&server, "198.51.100.200", &["status", "--json"]).json()["you"].clone();
    assert_eq!((&you["address"], &you["banned"]), (&"198.51.100.200".into(), &false.into()), "{you}");
    assert_eq!(you["never_banned"][0]["prefix"], "198.51.100.200/32", "{you}");
    assert_eq!(daemon.ask(&["ban", "198.51.100.9"]).code, Some(0));
    let text = ask_from(&server, "198.51.100.9", &["status"]).out;
    assert!(text.contains("you come from 198.51.100.9: banned!"), "{text}");
}

#[test]
fn status_tells_attempts_bans_and_dropped_packets_over_a_restart() {
    let Some(scene) = Scene::new("") else { return };
    scene
        .world
        .server
        .append(LOG, failed_lines(5000, 3, "root", FROM) + &failed_line(5010, "bob", "198.51.100.8"));
    scene.wait_banned(PREFIX);
    assert_eq!(scene.world.attacker(FROM).banner(SHORT), None);
    let effect = |daemon: &Daemon| daemon.status()["effect"].clone();
    let told = scene.daemon.wait_for(SOON, "the effect", || {
        Some(effect(&scene.daemon)).filter(|told| told["attempts"] == 4 && told["bans"] == 1)
    });
    assert!(told["packets_dropped"].as_u64().is_some_and(|packets| packets > 0), "{told}");
    assert!(told["bytes_dropped"].as_u64().is_some_and(|bytes| bytes >= 40), "{told}");
    scene.daemon.kill();
    let daemon = Daemon::start(&scene.world.server, "");
    let again = effect(&daemon);
    assert_eq!((&again["attempts"], &again["bans"], &again["since"]), (&4.into(), &1.into(), &told["since"]));
    assert!(daemon.ask(&["status"]).out.contains(": 4 attempts, 1 ban, "), "{:?}", daemon.ask(&["status"]));
}

/// One line of a field of each row.
fn all<'a>(value: &'a Value, list: &str, field: &str) -> Vec<&'a Value> {
    value[list].as_array().into_iter().flatten().map(|row| &row[field]).collect()
}

#[test]
fn explain_shows_the_attempts_that_led_to_a_ban_and_how_many_came_after_it() {
    let Some((_world, server, daemon)) = attacked() else { return };
    let lines = failed_line(5000, "alice", FROM) + &failed_lines(5001, 2, "root", FROM);
    server.append(LOG, lines + &failed_lines(5100, 57, "root", FROM));
    daemon.wait_for(SOON, "all attempts", || (daemon.attempts_of(FROM) == 60).then_some(()));
    let told = daemon.explain(FROM);
    assert_eq!(told["bans"][0]["failures"], 3, "{told}");
    assert_eq!(all(&told, "evidence", "user"), ["alice", "root", "root"], "{told}");
    assert_eq!(all(&told, "evidence", "jail"), ["sshd"; 3], "{told}");
    assert_eq!(all(&told, "evidence", "points"), [1.0, 2.0, 2.0], "{told}");
    assert_eq!(told["seen"]["attempts"], 60, "{told}");
    assert_eq!(all(&told, "history", "what"), ["ban"], "{told}");
    let text = daemon.ask(&["explain", FROM]).out;
    for words in ["5 of 5 points within 1d", "Seen in all: 60 attempts", "root (59)", "history", ", until "] {
        assert!(text.contains(words), "{words} in {text}");
    }
    // A second ban is explained by what came after the first one.
    assert_eq!(daemon.ask(&["unban", FROM]).code, Some(0));
    server.append(LOG, failed_lines(5200, 3, "root", FROM));
    daemon.wait_for(SOON, "the second ban", || daemon.lists(PREFIX).then_some(()));
    let told = daemon.explain(FROM);
    assert_eq!(all(&told, "evidence", "user"), ["root"; 3], "{told}");
    assert_eq!(all(&told, "history", "what"), ["ban", "unban", "ban"], "{told}");
}

#[test]
fn explain_shows_what_counts_of_somebody_who_is_not_banned_yet_and_until_when() {
    let Some((_world, server, daemon)) = attacked() else { return };
    server.append(LOG, failed_line(5000, "root", FROM));
    daemon.wait_for(SOON, "the attempt", || (daemon.attempts_of(FROM) == 1).then_some(()));
    let told = daemon.explain(FROM);
    assert_eq!(all(&told, "evidence", "user"), ["root"], "{told}");
    let at = |value: &Value| value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let (time, until) = (at(&told["evidence"][0]["time"]), at(&told["points"][0]["until"]));
    let (time, until) = (time.expect("a time"), until.expect("a time"));
    assert_eq!(until.duration_since(time).as_secs(), 86_400, "{told}");
    let text = daemon.ask(&["explain", FROM]).out;
    assert!(text.contains("is not banned") && text.contains("2 of 5 points, 1 attempt within"), "{text}");
}

#[test]
fn explain_adds_up_the_points_of_the_source_alone_inside_a_banned_network() {
    let Some((_world, server, daemon)) = attacked() else { return };
    for (pid, last) in [(5000, 219), (5100, 231)] {
        server.append(LOG, failed_lines(pid, 3, "root", &format!("221.194.44.{last}")));
    }
    daemon.wait_for(SOON, "the network", || daemon.lists("221.194.44.192/26").then_some(()));
    let told = daemon.explain("221.194.44.219");
    assert_eq!(all(&told, "evidence", "ip"), ["221.194.44.219"; 3], "{told}");
    let text = daemon.ask(&["explain", "221.194.44.219"]).out;
    assert!(text.contains("jail sshd, what banned it: 6 of 5 points"), "{text}");
    assert!(text.contains("221.194.44.192/26, a wider network that covers it"), "{text}");
    // A neighbour that did nothing has no points; the network has those of nobody.
    for innocent in ["221.194.44.220", "221.194.44.192/26"] {
        let text = daemon.ask(&["explain", innocent]).out;
        assert!(text.contains("is banned by jail sshd") && !text.contains("what banned it"), "{text}");
    }
    let told = daemon.explain("221.194.44.220");
    assert!(all(&told, "evidence", "ip").is_empty() && told["seen"].is_null(), "{told}");
}

#[test]
fn a_ban_of_an_address_that_became_this_hosts_own_is_told_to_have_no_effect() {
    let Some((_world, server, daemon)) = attacked() else { return };
    server.append(LOG, failed_lines(5000, 3, "root", FROM));
    daemon.wait_for(SOON, "the ban", || daemon.lists(PREFIX).then_some(()));
    assert_eq!(daemon.ban_of(PREFIX).expect("it is listed")["spared"], false);
    server.run("ip", &["address", "add", PREFIX, "dev", "lo"]);
    let told = daemon.wait_for(SOON, "the host to notice", || {
        Some(daemon.explain(FROM)).filter(|told| told["never_banned"].to_string().contains("this host"))
    });
    assert_eq!(told["banned"], false, "{told}");
    let text = daemon.ask(&["explain", FROM]).out;
    assert!(text.starts_with("198.51.100.7 is not shut out: it is never banned."), "{text}");
    assert!(!text.contains("is banned by"), "{text}");
    assert_eq!(daemon.ban_of(PREFIX).expect("it is listed still")["spared"], true);
    let listed = daemon.ask(&["list"]).out;
    assert!(listed.contains("(local, without effect: it is never banned)"), "{listed}");
}

#[test]
fn explain_shows_what_an_old_list_said_of_an_address() {
    let Some((_world, server, daemon)) = attacked() else { return };
    server.write("/tmp/list", "91.200.12.155/24 – 12/2016. WP login attempts\n");
    assert_eq!(daemon.ask(&["import", "/tmp/list"]).code, Some(0));
    let told = daemon.explain("91.200.12.42");
    assert_eq!(told["banned"], false);
    assert_eq!(all(&told, "history", "what"), ["listed"], "{told}");
    let text = daemon.ask(&["explain", "91.200.12.42"]).out;
    assert!(text.contains("listed") && text.contains("WP login attempts") && text.contains("2016"), "{text}");
}
