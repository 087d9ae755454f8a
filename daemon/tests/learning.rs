//! The first start learns from what was written before it; those that follow need not.

use std::io::Write;

use rusqlite::Connection;
use serde_json::Value;

use crate::lab::{Daemon, Host, Place, SOON, STATE_DIR, failed_line, failed_lines, quiet_server};

const LOG: &str = "/var/log/auth.log";
const OWNER: &str = "198.51.100.20";
const STRANGER: &str = "203.0.113.9";

fn days_ago(days: i64) -> jiff::Zoned {
    jiff::Zoned::now().checked_sub(jiff::Span::new().hours(24 * days)).expect("a time")
}

/// A login with a key as sshd writes it, so many days ago.
fn accepted(days: i64, addr: &str) -> String {
    let stamp = days_ago(days).strftime("%b %e %H:%M:%S").to_string();
    let key = "ED25519 SHA256:DSJvGj3fuCTV5IVwTsTdMKmTBAfFCsBgAYwMcQLjN7U";
    format!(
        "{stamp} server sshd[4242]: Accepted publickey for alice from {addr} port 50122 ssh2: {key}\n\
         {stamp} server sshd[4242]: pam_unix(sshd:session): session opened for user alice(uid=1000) by (uid=0)\n"
    )
}

/// Writes a file that was written to last so many days ago.
fn write_old(server: &Host, path: &str, content: impl AsRef<[u8]>, days: i64) {
    server.write(path, content);
    let at = std::time::SystemTime::from(days_ago(days).timestamp());
    let file = std::fs::File::options().write(true).open(server.path(path)).expect("it is there");
    file.set_modified(at).expect("its time is set");
}

fn packed(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).expect("it is packed");
    packed.finish().expect("it is packed")
}

fn wait_learnt(daemon: &Daemon) -> Value {
    daemon.wait_for(SOON, "everything to be learnt", || {
        let learnt = daemon.status()["learnt"].clone();
        (learnt["done"] == true).then_some(learnt)
    })
}

/// Both try the same three notorious names: the stranger is banned, and the owner is not.
fn check_judged(server: &Host, daemon: &Daemon, first_pid: u32) {
    for (pid, user) in (first_pid..).step_by(10).zip(["oracle", "admin", "test"]) {
        for (pid, addr) in [(pid, OWNER), (pid + 1, STRANGER)] {
            server.append(LOG, failed_line(pid, &format!("invalid user {user}"), addr));
        }
    }
    let banned = format!("{STRANGER}/32");
    daemon.wait_for(SOON, "the stranger to be banned", || daemon.lists(&banned).then_some(()));
    daemon.wait_for(SOON, "the owner's tries", || (daemon.attempts_of(OWNER) >= 3).then_some(()));
    assert_eq!(daemon.list().len(), 1, "{:?}", daemon.list());
    assert_eq!(daemon.counted(OWNER), (3.0, 3), "a point each at a known place");
}

fn logins(daemon: &Daemon) -> Vec<Value> {
    let all = daemon.ask_json(&["attempts", "--user", "alice"]);
    all.as_array().cloned().expect("an array")
}

/// Changes the store of a daemon that does not run; `SQLite` cannot open it in another root, so a copy is changed.
pub fn edit_store(server: &Host, edit: impl FnOnce(&Connection) -> rusqlite::Result<()>) {
    let place = Place::new("learnt");
    let inside = server.path(STATE_DIR);
    let (file, log) = (place.0.join("pillory.db"), place.0.join("pillory.db-wal"));
    std::fs::copy(inside.join("pillory.db"), &file).expect("it is copied");
    std::fs::copy(inside.join("pillory.db-wal"), &log).expect("kill -9 leaves it there");
    let store = Connection::open(&file).expect("the store opens");
    edit(&store).expect("the store takes it");
    // With the last connection the log goes into the file.
    store.close().expect("it closes");
    assert!(!log.exists());
    std::fs::copy(&file, inside.join("pillory.db")).expect("it is copied");
    std::fs::remove_file(inside.join("pillory.db-wal")).expect("it is removed");
    std::fs::remove_file(inside.join("pillory.db-shm")).expect("it is removed");
}

#[test]
fn an_owner_who_logged_in_twenty_days_ago_is_known_from_a_packed_log_and_a_stranger_is_not() {
    let Some((_world, server)) = quiet_server() else { return };
    write_old(&server, "/var/log/auth.log.2.gz", packed(&accepted(20, OWNER)), 14);
    // Neither of these teaches anything: it is too long ago, or not yet.
    write_old(&server, "/var/log/auth.log.1", accepted(31, STRANGER) + &accepted(-2, STRANGER), 7);
    let daemon = Daemon::start(&server, "");
    let learnt = wait_learnt(&daemon);
    assert_eq!((&learnt["logins"], &learnt["networks"]), (&1.into(), &1.into()), "{learnt}");
    let said = daemon.ask(&["status"]).out;
    let line = "learnt 1 good login from 1 network in 30 d (1 log, 2 rotated logs)";
    assert!(said.contains(line), "{said}");
    assert!(daemon.errors().contains("learnt the good logins of the last 30 days"), "{}", daemon.errors());
    check_judged(&server, &daemon, 5000);
}

#[test]
fn what_was_learnt_is_kept_and_a_second_start_reads_nothing_again() {
    let Some((_world, server)) = quiet_server() else { return };
    write_old(&server, "/var/log/auth.log.2.gz", packed(&accepted(20, OWNER)), 14);
    let daemon = Daemon::start(&server, "");
    let first = wait_learnt(&daemon);
    assert_eq!(logins(&daemon).len(), 1, "{:?}", logins(&daemon));
    drop(daemon.stop());
    // What comes to light later is not read.
    write_old(&server, "/var/log/auth.log.1", accepted(10, STRANGER), 7);
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.status()["learnt"], first);
    check_judged(&server, &daemon, 5000);
    let (_, said) = daemon.stop();
    assert!(!said.contains("learnt the good logins"), "{said}");
}

#[test]
fn a_crash_before_all_was_learnt_makes_the_next_start_learn_again_and_nothing_twice() {
    let Some((_world, server)) = quiet_server() else { return };
    write_old(&server, "/var/log/auth.log.2.gz", packed(&accepted(20, OWNER)), 14);
    let daemon = Daemon::start(&server, "");
    wait_learnt(&daemon);
    daemon.kill();
    // As it stands while learning goes on: what was found so far is there, the end is not.
    edit_store(&server, |store| {
        let kept: String =
            store.query_row("SELECT value FROM meta WHERE key = 'learnt'", [], |row| row.get(0))?;
        let unfinished = kept.replace("\"is_done\":true", "\"is_done\":false");
        assert_ne!(kept, unfinished);
        store.execute("UPDATE meta SET value = ?1 WHERE key = 'learnt'", [unfinished]).map(drop)
    });
    write_old(&server, "/var/log/auth.log.1", accepted(10, OWNER), 7);
    let daemon = Daemon::start(&server, "");
    let learnt = wait_learnt(&daemon);
    assert_eq!(learnt["logins"], 2, "{learnt}");
    assert_eq!(logins(&daemon).len(), 2, "each once: {:?}", logins(&daemon));
}

#[test]
fn a_rotated_wtmp_tells_of_logins_that_no_log_knows() {
    let Some((_world, server)) = quiet_server() else { return };
    let mut record = vec![0u8; 384];
    record[0] = 7;
    record[4..8].copy_from_slice(&4242u32.to_ne_bytes());
    record[8..13].copy_from_slice(b"pts/0");
    record[44..49].copy_from_slice(b"alice");
    record[76..76 + OWNER.len()].copy_from_slice(OWNER.as_bytes());
    let at = i32::try_from(days_ago(20).timestamp().as_second()).expect("before 2038");
    record[340..344].copy_from_slice(&at.to_ne_bytes());
    record[348..352].copy_from_slice(&[198, 51, 100, 20]);
    write_old(&server, "/var/log/wtmp.1", record, 10);
    let daemon = Daemon::start(&server, "");
    // No waiting: wtmp is read before anything is judged.
    check_judged(&server, &daemon, 5000);
    let learnt = wait_learnt(&daemon);
    assert_eq!((&learnt["logins"], &learnt["from"][0]), (&1.into(), &"wtmp".into()), "{learnt}");
    // The ledger knows it, too.
    server.run("rm", &["/var/log/wtmp.1"]);
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.explain(OWNER)["last_good_login"]["user"], "alice");
}

/// Four points warn that a ban is near; from the fifth on the outage holds it back, and that is what is told.
#[test]
fn who_is_held_back_by_an_outage_is_no_longer_said_to_be_near_a_ban() {
    let Some((_world, server)) = quiet_server() else { return };
    server.write(LOG, [3, 2, 1].map(|days| accepted(days, OWNER)).concat());
    let daemon = Daemon::start(&server, "");
    wait_learnt(&daemon);
    let warnings = || daemon.status()["warnings"].to_string();
    server.append(LOG, failed_lines(5000, 4, "alice", OWNER));
    daemon.wait_for(SOON, "the warning", || warnings().contains("is one failure from a ban").then_some(()));
    server.append(LOG, failed_lines(5100, 3, "alice", OWNER));
    daemon.wait_for(SOON, "all tries", || (daemon.attempts_of(OWNER) == 7).then_some(()));
    let said = warnings();
    assert!(said.contains("alice from 198.51.100.20 has earned a ban and is not banned yet"), "{said}");
    assert!(!said.contains("one failure from a ban"), "{said}");
    let told = daemon.ask(&["explain", OWNER]).out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("7 of 5 points") && told.contains("held back until that is over"), "{told}");
}
