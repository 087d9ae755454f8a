//! Drills: what stands in a log, and what becomes of the log, is not what a daemon likes.

use rustix::process::Signal;

use crate::lab::{Daemon, Kernel, LOG, SOON, failed_lines, quiet_server};
use crate::meddling::{overflow_notices, rename, write_in_another_zone, write_utf_16};

const FROM: &str = "198.51.100.7";
const PREFIX: &str = "198.51.100.7/32";

#[test]
fn a_stopped_daemon_whose_notices_overflowed_loses_no_line() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "widen = false\n");
    daemon.signal(Signal::STOP);
    server.append(LOG, failed_lines(4000, 1, "root", FROM));
    let Some(()) = overflow_notices(&server) else { return };
    // Of what follows there is no notice at all: lines in the old file, a rotation, lines in the new one.
    server.append(LOG, failed_lines(5000, 1, "root", FROM));
    server.append(LOG, failed_lines(5100, 2, "root", "198.51.100.8"));
    rename(&server, LOG, "/var/log/auth.log.1");
    server.write(LOG, failed_lines(5200, 1, "root", FROM) + &failed_lines(5300, 1, "alice", "198.51.100.9"));
    daemon.signal(Signal::CONT);
    let kernel = world.kernel();
    daemon.wait_for(SOON, "the ban", || kernel.holds("ban4", FROM).then_some(()));
    daemon.wait_for(SOON, "every line", || {
        (daemon.counted("198.51.100.8") == (4.0, 2) && daemon.counted("198.51.100.9") == (1.0, 1))
            .then_some(())
    });
    assert_eq!(daemon.attempts_of(FROM), 3);
    // And it hears of what comes after.
    server.append(LOG, failed_lines(5400, 1, "root", "198.51.100.8"));
    daemon.wait_for(SOON, "the next ban", || kernel.holds("ban4", "198.51.100.8").then_some(()));
}

#[test]
fn utf_16_in_a_log_is_passed_over() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    write_utf_16(&server, "198.51.100.8");
    server.append(LOG, failed_lines(6000, 3, "root", FROM));
    daemon.wait_for(SOON, "the ban", || world.kernel().holds("ban4", FROM).then_some(()));
    assert_eq!(daemon.list().len(), 1, "{:?}", daemon.list());
    assert_eq!(world.kernel().banned().len(), 1);
}

#[test]
fn a_log_replaced_by_one_of_the_same_size_is_read_from_its_begin() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    server.append(LOG, failed_lines(5000, 2, "root", FROM));
    daemon.wait_for(SOON, "both lines", || (daemon.counted(FROM) == (4.0, 2)).then_some(()));
    // The same number of bytes, in another file that is put in the place of the first.
    let fresh = failed_lines(5100, 2, "root", "198.51.100.8");
    assert_eq!(fresh.len(), server.read_bytes(LOG).len());
    server.write("/var/log/fresh", fresh);
    rename(&server, "/var/log/fresh", LOG);
    daemon.wait_for(SOON, "the lines of the other file", || {
        (daemon.counted("198.51.100.8") == (4.0, 2)).then_some(())
    });
    assert_eq!(daemon.counted(FROM), (4.0, 2));
}

#[test]
fn a_log_stamped_in_another_zone_is_said_and_its_attackers_are_banned() {
    for hours in [-7_i64, 5] {
        let Some((_world, server)) = quiet_server() else { return };
        let daemon = Daemon::start(&server, "");
        write_in_another_zone(&server, hours, FROM);
        let kernel = Kernel::new(server.clone());
        daemon.wait_for(SOON, "the ban", || kernel.holds("ban4", FROM).then_some(()));
        let off = hours * 3600;
        let said = daemon.errors();
        let line = said.lines().find(|line| line.contains("the log's stamps are off"));
        let line = line.unwrap_or_else(|| panic!("nothing is said of {off} s:\n{said}"));
        // A second may have passed since the stamp was made.
        assert!((0..9).any(|late| line.contains(&format!("off_s={}", off - late))), "{line}");
        let warning = daemon.status()["warnings"][0].as_str().unwrap_or_default().to_owned();
        let way = format!("{}h {}", hours.abs(), if hours < 0 { "behind" } else { "ahead" });
        assert!(warning.starts_with("jail sshd: ") && warning.contains(&way), "{warning}");
        assert!(warning.contains("Environment=TZ="), "the cure: {warning}");
        assert!(daemon.ask(&["status"]).out.contains(&warning));
        let off_s = daemon.status()["jails"][0]["stamps_off_s"].as_i64().expect("a number");
        assert!((0..9).any(|late| off_s == off - late), "{off_s}");
        let until =
            daemon.ban_of(PREFIX).expect("it is listed")["until"].as_str().expect("an end").to_owned();
        let until: jiff::Timestamp = until.parse().expect("a time");
        let left = until.as_second() - jiff::Timestamp::now().as_second();
        assert!((86_000..=86_400).contains(&left), "a day from now on, whatever the stamp: {left}");
        server.append(LOG, failed_lines(6000, 10, "alice", "198.51.100.8"));
        daemon.wait_for(SOON, "the warning to go", || {
            let status = daemon.status();
            (status["warnings"] == serde_json::json!([]) && status["jails"][0]["stamps_off_s"].is_null())
                .then_some(())
        });
    }
}
