//! No way of rotating a log loses a line of it, or counts one twice.
//!
//! Every line names a user of its own, so the attempts tell exactly which lines were read.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::lab::{Daemon, Host, Logging, SOON, World, failed_line, quiet_server, wait_until};
use crate::meddling::rename;

const LOG: &str = "/var/log/auth.log";
const FROM: &str = "198.51.100.7";
/// Nobody is banned, however much they try.
const COUNT_ONLY: &str = "maxretry = 1000\npoints = { known_user = 0.01 }\n";

/// The line of attempt `number`.
fn line(number: u32) -> String {
    failed_line(1000 + number, &user(number), FROM)
}

fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(line).collect()
}

fn user(number: u32) -> String {
    format!("u{number}")
}

/// The users of all attempts that the daemon recorded, in its order.
fn seen(daemon: &Daemon) -> Vec<String> {
    let answer = daemon.ask(&["attempts", "--ip", FROM, "-n", "0", "--json"]);
    let rows = answer.json();
    let users = rows.as_array().into_iter().flatten().filter_map(|row| row["user"].as_str());
    users.map(str::to_owned).collect()
}

/// Waits until every line up to `count` was read, and fails unless each was read once.
#[track_caller]
fn expect_all(daemon: &Daemon, count: u32) {
    let wanted: Vec<String> = (0..count).map(user).collect();
    let mut last = Vec::new();
    let complete = wait_until(SOON, || {
        last = seen(daemon);
        (last.len() >= wanted.len()).then_some(())
    });
    let missing: Vec<&String> = wanted.iter().filter(|user| !last.contains(user)).collect();
    let mut twice = last.clone();
    twice.sort();
    twice = twice.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    assert!(
        complete.is_some() && missing.is_empty() && twice.is_empty(),
        "{} of {count} lines; missing: {:?}; twice: {:?}\nthe daemon said:\n{}",
        last.len(),
        ends(&missing),
        ends(&twice),
        daemon.errors()
    );
}

/// The first and the last of many, for a message.
fn ends<T: std::fmt::Debug>(all: &[T]) -> String {
    match all {
        [first, .., last] => format!("{} from {first:?} to {last:?}", all.len()),
        few => format!("{few:?}"),
    }
}

/// A writer that keeps its file open, as most do.
struct Writer {
    file: std::fs::File,
}

impl Writer {
    fn open(path: PathBuf) -> Writer {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("it opens");
        Writer { file }
    }

    fn write(&mut self, numbers: std::ops::Range<u32>) {
        for number in numbers {
            self.file.write_all(line(number).as_bytes()).expect("the log takes a line");
        }
    }
}

/// A real rsyslogd, told of a rotation the way logrotate does.
fn rsyslogd(rotate: impl Fn(&World, u32)) {
    let Some(world) = World::with(Logging::Rsyslog.needs()) else { return };
    let syslog = Logging::Rsyslog.start(&world.server);
    let daemon = Daemon::start(&world.server, COUNT_ONLY);
    let mut next = 0;
    let log = |next: &mut u32, count: u32| {
        for number in *next..*next + count {
            let message = format!("Failed password for {} from {FROM} port 4000 ssh2", user(number));
            syslog.log(1000 + number, &message);
        }
        *next += count;
    };
    for round in 1..=3 {
        log(&mut next, 50);
        rotate(&world, round);
        // rsyslogd writes on to the old file, under whatever name, until it is told to open its files anew.
        log(&mut next, 50);
        syslog.reopen();
        log(&mut next, 50);
        crate::lab::wait_for(SOON, "rsyslogd to open a new file", || {
            log(&mut next, 1);
            world.server.path(LOG).exists().then_some(())
        });
        expect_all(&daemon, next);
    }
}

#[test]
fn renaming_and_creating_anew_loses_no_line_of_rsyslogd() {
    rsyslogd(|world, round| {
        rename(&world.server, LOG, &format!("{LOG}.{round}"));
        world.server.write(LOG, "");
    });
}

#[test]
fn renaming_without_creating_loses_no_line_of_rsyslogd() {
    rsyslogd(|world, round| rename(&world.server, LOG, &format!("{LOG}.{round}")));
}

#[test]
fn deleting_loses_no_line_of_rsyslogd() {
    rsyslogd(|world, _| std::fs::remove_file(world.server.path(LOG)).expect("the log is deleted"));
}

#[test]
fn shifting_numbered_logs_loses_no_line() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, COUNT_ONLY);
    let mut writer = Writer::open(server.path(LOG));
    for round in 0..5 {
        let first = round * 40;
        writer.write(first..first + 20);
        // As logrotate does: .2 becomes .3, .1 becomes .2, the log becomes .1.
        for number in (1..=round).rev() {
            rename(&server, &format!("{LOG}.{number}"), &format!("{LOG}.{}", number + 1));
        }
        rename(&server, LOG, &format!("{LOG}.1"));
        writer.write(first + 20..first + 30);
        writer = Writer::open(server.path(LOG));
        writer.write(first + 30..first + 40);
        expect_all(&daemon, first + 40);
    }
}

#[test]
fn rotations_that_follow_each_other_at_once_lose_no_line() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, COUNT_ONLY);
    server.append(LOG, lines(0..10));
    expect_all(&daemon, 10);
    for round in 1..=4 {
        for number in (1..round).rev() {
            rename(&server, &format!("{LOG}.{number}"), &format!("{LOG}.{}", number + 1));
        }
        rename(&server, LOG, &format!("{LOG}.1"));
        server.append(LOG, lines(round * 10..round * 10 + 10));
    }
    expect_all(&daemon, 50);
}

/// Copies the log away and empties it.
fn copytruncate(server: &Host) {
    std::fs::copy(server.path(LOG), server.path(format!("{LOG}.1"))).expect("the log is copied");
    let file = std::fs::OpenOptions::new().write(true).open(server.path(LOG)).expect("it opens");
    file.set_len(0).expect("it is emptied");
}

#[test]
fn copytruncate_loses_no_line() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, COUNT_ONLY);
    let mut writer = Writer::open(server.path(LOG));
    for round in 0..5 {
        let first = round * 100;
        writer.write(first..first + 20);
        expect_all(&daemon, first + 20);
        // The daemon may or may not have read these when they are cut away; the copy has them.
        writer.write(first + 20..first + 40);
        copytruncate(&server);
        // More than there was before: its size alone does not tell that the file began anew.
        writer.write(first + 40..first + 100);
        expect_all(&daemon, first + 100);
    }
}

#[test]
fn copytruncate_of_a_real_rsyslogds_log_loses_no_line() {
    let Some(world) = World::with(Logging::Rsyslog.needs()) else { return };
    let syslog = Logging::Rsyslog.start(&world.server);
    let daemon = Daemon::start(&world.server, COUNT_ONLY);
    let message = |number: u32| format!("Failed password for {} from {FROM} port 4000 ssh2", user(number));
    for round in 0..3 {
        for number in round * 50..round * 50 + 50 {
            syslog.log(1000 + number, &message(number));
        }
        // What is written between copy and cut is lost to everybody, so rsyslogd has to be done.
        crate::lab::wait_for(SOON, "rsyslogd to have written it", || {
            syslog.text().contains(&message(round * 50 + 49)).then_some(())
        });
        copytruncate(&world.server);
        expect_all(&daemon, round * 50 + 50);
    }
}

#[test]
fn a_switched_symlink_loses_no_line() {
    let Some((_world, server)) = quiet_server() else { return };
    std::fs::remove_file(server.path(LOG)).expect("the log is deleted");
    let target = |number: u32| format!("/var/log/auth.{number}.log");
    let point_to = |number: u32| {
        // The way of `ln -sf`: a new link is renamed over the old one.
        let fresh = server.path("/var/log/fresh");
        std::os::unix::fs::symlink(format!("auth.{number}.log"), &fresh).expect("a link is made");
        std::fs::rename(fresh, server.path(LOG)).expect("it takes the old one's place");
    };
    let mut writer = Writer::open(server.path(target(0)));
    point_to(0);
    let daemon = Daemon::start(&server, COUNT_ONLY);
    for round in 0..4 {
        let first = round * 60;
        writer.write(first..first + 20);
        let mut next = Writer::open(server.path(target(round + 1)));
        next.write(first + 20..first + 30);
        point_to(round + 1);
        // The old file is written to a little longer.
        writer.write(first + 30..first + 40);
        next.write(first + 40..first + 60);
        writer = next;
        expect_all(&daemon, first + 60);
    }
}

#[test]
fn a_writer_that_keeps_the_old_file_for_long_is_still_heard() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, COUNT_ONLY);
    let mut old = Writer::open(server.path(LOG));
    old.write(0..10);
    rename(&server, LOG, &format!("{LOG}.1"));
    let mut new = Writer::open(server.path(LOG));
    new.write(10..20);
    expect_all(&daemon, 20);
    // Both go on, in turn, each waited for: the old file is watched although the new one is being read.
    for round in 0..3 {
        let first = 20 + round * 20;
        old.write(first..first + 10);
        expect_all(&daemon, first + 10);
        new.write(first + 10..first + 20);
        expect_all(&daemon, first + 20);
    }
}

#[test]
fn a_log_that_appears_late_is_read_from_its_beginning() {
    let Some((_world, server)) = quiet_server() else { return };
    std::fs::remove_file(server.path(LOG)).expect("the log is deleted");
    let daemon = Daemon::start(&server, &format!("{COUNT_ONLY}[jail.sshd]\nlogpath = \"{LOG}\"\n"));
    server.append(LOG, lines(0..20));
    expect_all(&daemon, 20);
}

#[test]
fn what_a_rotated_part_held_before_the_first_start_is_never_judged() {
    let Some((_world, server)) = quiet_server() else { return };
    // The new log was made before the writer let go of the old one, and takes its place only later.
    let fresh = "/var/log/fresh";
    rename(&server, LOG, fresh);
    let made = std::time::SystemTime::now() - Duration::from_secs(60);
    let file = std::fs::OpenOptions::new().write(true).open(server.path(fresh)).expect("it opens");
    file.set_modified(made).expect("its time is set");
    server.write(format!("{LOG}.1"), lines(100..120));
    let daemon = Daemon::start(&server, &format!("{COUNT_ONLY}[jail.sshd]\nlogpath = \"{LOG}\"\n"));
    rename(&server, fresh, LOG);
    daemon.wait_for(SOON, "the log to be seen", || {
        let status = daemon.status();
        let mut sources =
            status["jails"].as_array()?.iter().flat_map(|jail| jail["sources"].as_array()).flatten();
        sources.any(|source| source["path"] == LOG && source["problem"].is_null()).then_some(())
    });
    server.append(LOG, lines(0..10));
    expect_all(&daemon, 10);
    assert_eq!(seen(&daemon).len(), 10, "{:?}", seen(&daemon));
}

#[test]
fn a_line_that_is_written_in_pieces_is_one_line() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, COUNT_ONLY);
    let mut writer = Writer::open(server.path(LOG));
    for number in 0..20 {
        let line = line(number);
        let (head, tail) = line.split_at(line.len() / 2);
        writer.file.write_all(head.as_bytes()).expect("the log takes it");
        std::thread::sleep(Duration::from_millis(2));
        writer.file.write_all(tail.as_bytes()).expect("the log takes it");
    }
    expect_all(&daemon, 20);
}

/// Lines before the stop, `meanwhile`, and lines after the start; none may be lost or read twice.
fn while_down(end: impl Fn(Daemon), meanwhile: impl Fn(&Host)) {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, COUNT_ONLY);
    server.append(LOG, lines(0..20));
    expect_all(&daemon, 20);
    end(daemon);
    // Writes 20 to 59, rotating somewhere in between.
    meanwhile(&server);
    let daemon = Daemon::start(&server, COUNT_ONLY);
    expect_all(&daemon, 60);
    server.append(LOG, lines(60..80));
    expect_all(&daemon, 80);
}

fn stop(daemon: Daemon) {
    drop(daemon.stop());
}

fn kill(daemon: Daemon) {
    drop(daemon.kill());
}

#[test]
fn lines_written_while_the_daemon_was_down_are_read() {
    for end in [stop, kill] {
        while_down(end, |server| server.append(LOG, lines(20..60)));
    }
}

#[test]
fn a_log_renamed_while_the_daemon_was_down_loses_no_line() {
    for end in [stop, kill] {
        while_down(end, |server| {
            server.append(LOG, lines(20..40));
            rename(server, LOG, &format!("{LOG}.1"));
            server.append(LOG, lines(40..60));
        });
    }
}

/// Two rotations while the daemon is down; `then`: what happens to the older part.
fn rotated_twice_while_down(then: impl Fn(&Host, &str)) {
    while_down(stop, |server| {
        server.append(LOG, lines(20..30));
        rename(server, LOG, &format!("{LOG}.1"));
        server.append(LOG, lines(30..45));
        rename(server, &format!("{LOG}.1"), &format!("{LOG}.2"));
        rename(server, LOG, &format!("{LOG}.1"));
        then(server, &format!("{LOG}.2"));
        server.append(LOG, lines(45..60));
    });
}

#[test]
fn a_log_renamed_twice_while_the_daemon_was_down_loses_no_line() {
    rotated_twice_while_down(|_, _| {});
}

#[test]
fn a_log_rotated_and_compressed_while_the_daemon_was_down_loses_no_line() {
    rotated_twice_while_down(|server, older| drop(server.run("gzip", &[older])));
}

#[test]
fn a_log_copied_and_cut_while_the_daemon_was_down_loses_no_line() {
    while_down(stop, |server| {
        server.append(LOG, lines(20..40));
        copytruncate(server);
        server.append(LOG, lines(40..60));
    });
}

#[test]
fn kill_9_in_the_midst_of_a_flood_loses_no_line_and_doubles_none() {
    let Some((_world, server)) = quiet_server() else { return };
    let mut daemon = Daemon::start(&server, COUNT_ONLY);
    let mut writer = Writer::open(server.path(LOG));
    for round in 0..5 {
        writer.write(round * 300..round * 300 + 200);
        daemon.kill();
        writer.write(round * 300 + 200..round * 300 + 300);
        daemon = Daemon::start(&server, COUNT_ONLY);
    }
    expect_all(&daemon, 1500);
}
