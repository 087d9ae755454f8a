//! The wall of shame as somebody makes it who runs the daemon: real lines, the real store, the real command.

use crate::lab::{CONFIG, Daemon, LOG, SOON, STATE_DIR, World, failed_lines, pillory, quiet_server};
use crate::mmdb::{self, Width};

pub const OUT: &str = "/srv/wall";

/// A daemon that has banned an attacker, with this in its configuration.
pub fn with_an_attacker(config: &str) -> Option<(World, Daemon)> {
    let (world, server) = quiet_server()?;
    let daemon = Daemon::start(&server, config);
    world.server.append(LOG, failed_lines(9000, 11, "root", "198.51.100.7"));
    world.server.append(LOG, failed_lines(9050, 1, "hunter2", "198.51.100.7"));
    daemon.wait_for(SOON, "a ban", || daemon.lists("198.51.100.7/32").then_some(()));
    daemon.wait_for(SOON, "all attempts", || (daemon.attempts_of("198.51.100.7") == 12).then_some(()));
    // Before that nobody is shown.
    daemon.wait_for(SOON, "who logs in here", || (daemon.status()["learnt"]["done"] == true).then_some(()));
    Some((world, daemon))
}

pub fn read(world: &World, file: &str) -> String {
    world.server.read(format!("{OUT}/{file}"))
}

#[test]
fn who_was_banned_is_on_the_wall_once_it_is_told_at_once_and_as_it_is() {
    let open = "[wall]\ncontact = \"abuse@example.net\"\nmask = false\ndelay = \"0s\"\n\
        [geo]\ncountry = \"/var/lib/country.mmdb\"\n";
    let Some((world, daemon)) = with_an_attacker(open) else { return };
    world.server.write("/var/lib/country.mmdb", mmdb::places(Width::Bits28, "Made-Up-Country"));
    let wall =
        || pillory(&world.server, &["wall", "--out", OUT, "--state-dir", STATE_DIR, "--config", CONFIG]);
    let made = wall();
    assert_eq!(
        (made.code, made.out.starts_with("1 offender in /srv/wall/index.html; ")),
        (Some(0), true),
        "{made:?}"
    );
    assert!(read(&world, "index.html").contains("<a href=\"o/198.51.100.7.html\">198.51.100.7</a>"));
    assert!(read(&world, "index.html").contains("<title>Singapore: 12 attempts</title>"));
    let story = read(&world, "o/198.51.100.7.html");
    assert!(story.contains("<dt>Country</dt><dd>Singapore</dd>"), "{story}");
    assert!(
        story.contains("12 ssh attempts were logged on ")
            && story.contains("It was shut out once, and is until ")
    );
    assert!(read(&world, "feeds/offenders.txt").ends_with("\n198.51.100.7\n"));
    let text = pillory(&world.server, &["wall", "--text", "--state-dir", STATE_DIR, "--config", CONFIG]).out;
    assert!(
        text.starts_with("# Made ")
            && text.contains("\n198.51.100.7 – ")
            && text.ends_with(". 12 ssh attempts\n"),
        "{text}"
    );
    // Neither whose password or account a name could be nor names of jails are told.
    for file in ["index.html", "o/198.51.100.7.html", "feed.atom", "offenders.json", "feeds/offenders.json"] {
        let text = read(&world, file);
        assert!(!text.contains("hunter2") && !text.contains("sshd"), "{file}");
        assert_eq!(text.contains("root"), file == "index.html", "{file}");
    }
    // Somebody logs in from there after all: whoever ever did is not shown.
    let line = failed_lines(9100, 1, "alice", "198.51.100.7").replace("Failed password", "Accepted password");
    world.server.append(LOG, line);
    daemon.wait_for(SOON, "the login", || {
        let logins = daemon.ask_json(&["attempts", "--ip", "198.51.100.7"]);
        logins.as_array().is_some_and(|rows| rows.iter().any(|row| row["class"].is_null())).then_some(())
    });
    assert_eq!(wall().code, Some(0));
    assert!(!read(&world, "index.html").contains("198.51.100"));
    assert!(!world.server.path(format!("{OUT}/o/198.51.100.7.html")).exists());
}

#[test]
fn unless_told_otherwise_it_is_late_and_needs_a_contact() {
    let Some((world, _daemon)) = with_an_attacker("") else { return };
    let wall = ["wall", "--out", OUT, "--state-dir", STATE_DIR, "--config", CONFIG];
    let refused = pillory(&world.server, &wall);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("--contact") && refused.err.contains("[wall]"), "{refused:?}");
    assert!(!world.server.path(OUT).exists());
    let made = pillory(&world.server, &[&wall[..], &["--contact", "https://example.net/abuse"]].concat());
    assert_eq!((made.code, made.out.starts_with("0 offenders")), (Some(0), true), "{made:?}");
    let page = read(&world, "index.html");
    assert!(page.contains("Nobody is listed.") && page.contains("href=\"https://example.net/abuse\""));
    assert!(page.contains("<dt>Today (UTC)</dt><dd><b>12</b> attempts</dd><dd><b>1</b> bans</dd>"), "{page}");
}

#[test]
fn the_daemon_keeps_the_pages_fresh_and_a_reload_shows_them_at_once() {
    let open = "[wall]\nout = \"/srv/wall\"\ncontact = \"abuse@example.net\"\nmask = false\ndelay = \"0s\"\n";
    let Some((world, daemon)) = with_an_attacker(open) else { return };
    let reload = |config: &str| {
        world.server.write(CONFIG, config);
        let answer = daemon.ask(&["reload"]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
    };
    let shows = |wanted: bool| {
        let page =
            std::fs::read_to_string(world.server.path(format!("{OUT}/index.html"))).unwrap_or_default();
        (page.contains("198.51.100.7") == wanted && page.contains("</html>")).then_some(())
    };
    reload(open);
    daemon.wait_for(SOON, "the offender on the wall", || shows(true));
    reload(&format!("{open}unlisted = [\"198.51.100.7\"]\n"));
    daemon.wait_for(SOON, "a wall without it", || shows(false));
    assert!(!read(&world, "feeds/offenders.txt").contains("198.51.100"));
    assert_eq!(daemon.status()["warnings"].as_array().map(Vec::len), Some(0), "{}", daemon.status());
    // What the running daemon gave up it cannot write to.
    world.server.write(CONFIG, open.replace("/srv/wall", "/srv/other"));
    let refused = daemon.ask(&["reload"]);
    let sandboxed = daemon.status()["sandbox"]["landlock"].is_number();
    assert_eq!(refused.code == Some(0), !sandboxed, "{refused:?}");
    assert!(
        !sandboxed || refused.err.contains("restart needed") && refused.err.contains("/srv/other"),
        "{refused:?}"
    );
}

#[test]
fn whose_jail_has_another_name_now_stays_and_who_was_let_in_goes() {
    let open = "[wall]\ncontact = \"abuse@example.net\"\nmask = false\ndelay = \"0s\"\n";
    let Some((world, daemon)) = with_an_attacker(open) else { return };
    let is_listed = || {
        let wall = ["wall", "--out", OUT, "--state-dir", STATE_DIR, "--config", CONFIG];
        assert_eq!(pillory(&world.server, &wall).code, Some(0));
        read(&world, "feeds/offenders.txt").contains("198.51.100.7")
    };
    let jail = "[jail.sshd]\nenabled = false\n[jail.ssh-login]\nfilter = \"sshd\"\nlogpath = \"/var/log/auth.log\"\n";
    world.server.write(CONFIG, format!("{open}{jail}"));
    let reloaded = daemon.ask(&["reload"]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    daemon.wait_for(SOON, "the end of the ban", || (!daemon.lists("198.51.100.7/32")).then_some(()));
    let ends = || -> Vec<String> {
        let rows = daemon.ask_json(&["history"]);
        let whats = rows.as_array().expect("a list").iter().filter_map(|row| row["what"].as_str());
        whats.filter(|what| *what != "ban").map(str::to_owned).collect()
    };
    assert_eq!(ends(), ["retire"]);
    assert!(is_listed(), "that its jail has another name makes nobody innocent");
    world.server.append(LOG, failed_lines(9200, 11, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "another ban", || daemon.lists("198.51.100.7/32").then_some(()));
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    assert_eq!(ends(), ["retire", "unban"]);
    assert!(!is_listed());
}

#[test]
fn whom_somebody_unbanned_by_hand_is_not_on_the_wall() {
    let open = "[wall]\nmask = false\ndelay = \"0s\"\n";
    let Some((world, daemon)) = with_an_attacker(open) else { return };
    let text =
        || pillory(&world.server, &["wall", "--text", "--state-dir", STATE_DIR, "--config", CONFIG]).out;
    assert!(text().contains("198.51.100.7"), "{}", text());
    assert_eq!(daemon.ask(&["unban", "198.51.100.7"]).code, Some(0));
    daemon.wait_for(SOON, "a wall without it", || (!text().contains("198.51.100.7")).then_some(()));
}

#[test]
fn a_directory_of_others_is_left_alone_and_status_says_so() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write(format!("{OUT}/index.html"), "mine");
    let daemon = Daemon::start(&server, "[wall]\nout = \"/srv/wall\"\ncontact = \"abuse@example.net\"\n");
    let warned = daemon.wait_for(SOON, "a warning", || {
        daemon.status()["warnings"].as_array().and_then(|all| all.first()).map(ToString::to_string)
    });
    assert!(warned.contains("the wall of shame is not fresh: /srv/wall holds other files"), "{warned}");
    assert_eq!(server.read(format!("{OUT}/index.html")), "mine");
}

#[test]
fn a_dry_run_shows_nobody() {
    let Some((_world, server)) = quiet_server() else { return };
    let config = "banaction = \"dryrun\"\n[wall]\nout = \"/srv/wall\"\ncontact = \"abuse@example.net\"\n";
    let daemon = Daemon::start(&server, config);
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    // What a reload brings is done before the next question is answered.
    assert_eq!(daemon.status()["banaction"], "dryrun");
    assert!(!server.path(OUT).exists());
}
