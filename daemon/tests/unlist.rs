//! Who asks to be left out of the wall is on no page and no list from then on, whoever makes them, and however it is with the
//! daemon and its disk.

use rustix::process::Signal;

use crate::disk::{fill, make_room, small_disk};
use crate::lab::{
    CONFIG, Daemon, DaemonOptions, LOG, Running, SOON, STATE_DIR, binary, failed_lines, need, pillory,
    wait_for,
};
use crate::learning::edit_store;
use crate::wall::{OUT, read, with_an_attacker};
use crate::web::{WEB, get};

/// Pages of all who are banned, at once and as they are.
const OPEN: &str =
    "[wall]\nout = \"/srv/wall\"\ncontact = \"abuse@example.net\"\nmask = false\ndelay = \"0s\"\n";

#[test]
fn who_asks_is_left_out_at_once_and_after_a_restart() {
    let open = OPEN.to_owned() + WEB;
    let Some((world, daemon)) = with_an_attacker(&open) else { return };
    let shows = |wanted: bool| {
        let read =
            |file| std::fs::read_to_string(world.server.path(format!("{OUT}/{file}"))).unwrap_or_default();
        let (page, feed) = (read("index.html"), read("feeds/offenders.txt"));
        let is_there = page.contains("198.51.100.7") || feed.contains("198.51.100.7");
        (page.contains("</html>") && is_there == wanted).then_some(())
    };
    let shows_live = || get(&world.server, "/wall/").contains("198.51.100.7");
    // An edition is made when there is something to tell, such as this.
    let unlist = |arguments: &[&str]| daemon.ask(&[&["unlist"], arguments].concat());
    assert!(unlist(&[]).out.contains("nobody is left out"), "{:?}", unlist(&[]));
    assert_eq!(unlist(&["203.0.113.9"]).code, Some(0));
    daemon.wait_for(SOON, "the offender on the wall", || shows(true));
    assert!(shows_live());
    let answer = unlist(&["198.51.100.7"]);
    assert!(answer.out.starts_with("198.51.100.7 is left out of the wall from now on"), "{answer:?}");
    assert!(!shows_live(), "at once where it is made when somebody looks");
    daemon.wait_for(SOON, "a wall without it", || shows(false));
    daemon.kill();
    let daemon = Daemon::start(&world.server, &open);
    assert_eq!(daemon.ask(&["unlist"]).out, "198.51.100.7\n203.0.113.9\n");
    let by_hand = pillory(&world.server, &["wall", "--text", "--state-dir", STATE_DIR, "--config", CONFIG]);
    assert!(!by_hand.out.contains("198.51.100.7"), "{by_hand:?}");
    assert_eq!(daemon.ask(&["unlist", "--remove", "198.51.100.7"]).code, Some(0));
    daemon.wait_for(SOON, "the offender once more", || shows(true));
    let unknown = daemon.ask(&["unlist", "--remove", "198.51.100.7"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    // What nobody can read is not passed over.
    daemon.kill();
    edit_store(&world.server, |db| {
        db.execute("UPDATE meta SET value = '[1' WHERE key = 'unlisted'", []).map(drop)
    });
    let by_hand = pillory(&world.server, &["wall", "--text", "--state-dir", STATE_DIR, "--config", CONFIG]);
    assert_eq!(by_hand.code, Some(1), "{by_hand:?}");
    let daemon = Daemon::start(&world.server, &open);
    let warned = || {
        let warnings = daemon.status()["warnings"].to_string();
        (warnings.contains("asked to be left out") && warnings.contains("cannot be read")).then_some(())
    };
    daemon.wait_for(SOON, "a warning", warned);
    assert!(by_hand.err.contains("asked to be left out"), "{by_hand:?}");
    // Looking at it, or taking somebody out of it, puts nothing aside.
    assert_eq!(unlist_with(&daemon, &[]), Some(1));
    assert_eq!(unlist_with(&daemon, &["--remove", "203.0.113.9"]), Some(1));
    assert_eq!(warned(), Some(()));
    assert_eq!(unlist_with(&daemon, &["203.0.113.9"]), Some(0));
    assert_eq!(warned(), None);
    daemon.wait_for(SOON, "pages again", || shows(true));
    daemon.kill();
    edit_store(&world.server, |db| {
        let sql = "SELECT value FROM meta WHERE key = 'unlisted_unreadable'";
        db.query_row(sql, [], |row| row.get::<_, String>(0)).map(|kept| assert_eq!(kept, "[1"))
    });
}

#[test]
fn who_asks_while_no_daemon_runs_is_left_out_by_the_command_and_by_the_daemon_that_starts() {
    let Some((world, daemon)) = with_an_attacker(OPEN) else { return };
    daemon.kill();
    let server = &world.server;
    let (place, shows) = (["--state-dir", STATE_DIR], || read(&world, "index.html").contains("198.51.100.7"));
    assert_eq!(pillory(server, &[&["wall"], &place[..]].concat()).code, Some(0));
    assert!(shows());
    let unlist = |arguments: &[&str]| pillory(server, &[&["unlist"], arguments, &place].concat());
    assert!(unlist(&[]).out.contains("nobody is left out"));
    let answer = unlist(&["198.51.100.7"]);
    let said = "198.51.100.7 is left out of the wall from now on; the pages were made anew";
    assert!(answer.code == Some(0) && answer.out.contains(said), "{answer:?}");
    assert!(answer.err.contains("no daemon runs") && !shows(), "{answer:?}");
    assert!(!read(&world, "feeds/offenders.txt").contains("198.51.100.7"));
    assert_eq!(unlist(&["--remove", "192.0.2.1"]).code, Some(1));
    // A dry run has a state of its own, and makes no pages.
    let all = Daemon::start(server, OPEN);
    assert_eq!(all.ask(&["unlist"]).out, "198.51.100.7\n");
    assert_eq!(all.ask(&["unlist", "--remove", "198.51.100.7"]).code, Some(0));
    all.wait_for(SOON, "the offender once more", || shows().then_some(()));
    all.kill();
    let dry = Daemon::start_with(
        server,
        &DaemonOptions {
            config: Some(OPEN.to_owned()),
            args: vec!["--dry-run".to_owned()],
            ..DaemonOptions::default()
        },
    );
    let answer = dry.ask(&["unlist", "198.51.100.7"]);
    assert!(
        answer.out.contains("the pages were made anew") && answer.err.contains("a dry run"),
        "{answer:?}"
    );
    assert!(!shows());
    dry.kill();
    // It is kept, and said, whatever is wrong with the pages.
    server.write("/run/wrong.toml", "maxretri = 3\n");
    let answer = unlist(&["203.0.113.9", "--config", "/run/wrong.toml"]);
    assert!(answer.code == Some(2) && answer.err.contains("that is remembered, but"), "{answer:?}");
    assert!(answer.out.contains("203.0.113.9 is left out"), "{answer:?}");
    assert_eq!(unlist(&[]).out, "198.51.100.7\n203.0.113.9\n");
}

#[test]
fn who_is_left_out_while_others_make_pages_is_on_none_afterwards() {
    if !need(&["flock"]) {
        return;
    }
    let Some((world, daemon)) = with_an_attacker(OPEN) else { return };
    daemon.kill();
    let server = &world.server;
    let wall = ["wall", "--state-dir", STATE_DIR];
    assert_eq!(pillory(server, &wall).code, Some(0));
    let mark = format!("{OUT}/.pillory-wall");
    // Nobody but the pages' owner can be in the way.
    let mut nobody = server.command("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "flock", "--nonblock", &mark, "true"]);
    assert!(!nobody.status().expect("it starts").success());
    let mut holder = server.command("flock");
    holder.args(["--no-fork", &mark, "sleep", "60"]);
    let mut holder = Running::start("flock", holder);
    wait_for(SOON, "the lock", || {
        let mut other = server.command("flock");
        let status = other.args(["--nonblock", &mark, "true"]).status().expect("it starts");
        (!status.success()).then_some(())
    });
    let mut command = server.command(&binary().display().to_string());
    command.args(wall);
    let mut maker = Running::start("pillory wall", command);
    let fds = format!("/proc/{}/fd", maker.pid());
    wait_for(SOON, "who makes pages waits", || {
        let open = std::fs::read_dir(&fds).ok()?.flatten();
        let mut open = open.filter_map(|fd| std::fs::read_link(fd.path()).ok());
        open.any(|file| file.ends_with(".pillory-wall")).then_some(())
    });
    edit_store(server, |db| {
        let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('unlisted', '[\"198.51.100.7/32\"]')";
        db.execute(sql, []).map(drop)
    });
    holder.signal(Signal::KILL);
    holder.wait(SOON);
    assert_eq!(maker.wait(SOON), Some(0));
    assert!(!read(&world, "feeds/offenders.txt").contains("198.51.100.7"));
    assert!(read(&world, "index.html").contains("Nobody is listed"));
}

#[test]
fn no_page_is_made_while_the_store_does_not_know_whom_it_must_not_show() {
    let Some((world, daemon)) = with_an_attacker(OPEN) else { return };
    daemon.kill();
    let server = &world.server;
    let wall = || pillory(server, &["wall", "--state-dir", STATE_DIR]);
    assert_eq!(wall().code, Some(0));
    edit_store(server, |db| {
        let sql = "UPDATE meta SET value = json_set(value, '$.is_done', json('false')) WHERE key = 'learnt'";
        db.execute(sql, []).map(|rows| assert_eq!(rows, 1))
    });
    let refused = wall();
    assert!(refused.code == Some(1) && refused.err.contains("has not yet learnt"), "{refused:?}");
    // Who asks does not wait for that.
    let answer = pillory(server, &["unlist", "198.51.100.7", "--state-dir", STATE_DIR]);
    assert!(answer.code == Some(0) && answer.out.contains("are taken down"), "{answer:?}");
    assert_eq!(read(&world, "index.html"), "");
}

#[test]
fn what_the_disk_has_not_taken_is_waited_for() {
    let Some((world, server)) = small_disk() else { return };
    let daemon = Daemon::start(&server, OPEN);
    server.append(LOG, failed_lines(9000, 11, "root", "198.51.100.7"));
    daemon.wait_for(SOON, "a ban", || daemon.lists("198.51.100.7/32").then_some(()));
    daemon.wait_for(SOON, "all attempts", || (daemon.attempts_of("198.51.100.7") == 11).then_some(()));
    fill(&server);
    assert_eq!(daemon.ask(&["unlist", "198.51.100.7"]).code, Some(0));
    let wall = || pillory(&server, &["wall", "--state-dir", STATE_DIR]);
    let refused = wall();
    assert!(refused.code == Some(1) && refused.err.contains("control.sock.unwritten"), "{refused:?}");
    daemon.kill();
    assert!(!read(&world, "feeds/offenders.txt").contains("198.51.100.7"));
    make_room(&server);
    let daemon = Daemon::start(&server, OPEN);
    daemon.wait_for(SOON, "a store that knows all", || (wall().code == Some(0)).then_some(()));
    assert!(!read(&world, "feeds/offenders.txt").contains("198.51.100.7"));
}

#[test]
fn who_asks_just_before_the_end_is_on_no_page_after_it() {
    let Some((world, daemon)) = with_an_attacker(OPEN) else { return };
    let shows = || read(&world, "feeds/offenders.txt").contains("198.51.100.7");
    daemon.ask(&["unlist", "203.0.113.9"]);
    daemon.wait_for(SOON, "the offender on the wall", || shows().then_some(()));
    assert_eq!(daemon.ask(&["unlist", "198.51.100.7"]).code, Some(0));
    assert_eq!(daemon.stop().0, Some(0));
    assert!(!shows());
}

fn unlist_with(daemon: &Daemon, arguments: &[&str]) -> Option<i32> {
    daemon.ask(&[&["unlist"], arguments].concat()).code
}
