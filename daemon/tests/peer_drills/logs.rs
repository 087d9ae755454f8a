//! What becomes of a log: rotation by every way, and a log that is not there or not readable.

use std::io::Write;
use std::time::Duration;

use rustix::process::Signal;

use super::{Drill, FROM, It, Outcome, banned, start, start_through, within};
use crate::lab::{Host, LOG, SOON, failed_lines};
use crate::meddling::{overflow_notices, rename, set_mode};

/// Where the log goes.
const OLD: &str = "/var/log/auth.log.1";
/// The log of the second jail.
const OTHER_LOG: &str = "/var/log/other";
/// Attackers of whom each meets a rotation of the log.
const ROTATIONS: u32 = 10;

pub(super) const DRILLS: &[Drill] = &[
    ("rotated: renamed and made anew", |it| {
        rotated(it, |host, lines| {
            rename(host, LOG, OLD);
            host.write(LOG, lines);
        })
    }),
    ("rotated: copied and truncated", |it| {
        rotated(it, |host, lines| {
            std::fs::copy(host.path(LOG), host.path(OLD)).expect("it is copied");
            std::fs::File::create(host.path(LOG)).expect("it is truncated");
            host.append(LOG, lines);
        })
    }),
    ("rotated: deleted and made anew", |it| {
        rotated(it, |host, lines| {
            std::fs::remove_file(host.path(LOG)).expect("it is deleted");
            host.write(LOG, lines);
        })
    }),
    ("rotated: the writer keeps the old file", |it| {
        rotated(it, |host, lines| {
            let mut writer = std::fs::File::options().append(true).open(host.path(LOG)).expect("it opens");
            rename(host, LOG, OLD);
            host.write(LOG, "");
            writer.write_all(lines.as_bytes()).expect("it takes lines");
        })
    }),
    ("rotated while it is down, an attack on both sides", rotated_while_down),
    ("log replaced by one of the same size", same_size),
    ("SIGSTOP until inotify overflows, a rotation meanwhile", overflowed),
    ("log of a second jail missing at the start", |it| second_log(it, &[], |_| {})),
    ("log of a second jail unreadable at the start", |it| {
        let through = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"];
        second_log(it, &through, |host| {
            host.write(OTHER_LOG, "");
            set_mode(host, OTHER_LOG, 0);
        })
    }),
    ("log of a second jail is a directory at the start", |it| {
        second_log(it, &[], |host| std::fs::create_dir(host.path(OTHER_LOG)).expect("it is made"))
    }),
    ("log of a second jail vanishes and comes back", vanishing),
];

/// Each attacker fails once before a rotation and twice at once behind it.
fn rotated(it: &mut It, rotate: impl Fn(&Host, String)) -> Outcome {
    start(it)?;
    let (mut count, mut slowest) = (0, Duration::ZERO);
    for number in 0..ROTATIONS {
        let addr = format!("10.77.2.{}", number + 1);
        let pid = 5000 + 10 * number;
        it.host().append(LOG, failed_lines(pid, 1, "root", &addr));
        rotate(it.host(), failed_lines(pid + 1, 2, "root", &addr));
        if let Some(after) = it.ban_after(&addr, SOON / 2) {
            count += 1;
            slowest = slowest.max(after);
        }
    }
    Ok(format!("{count} of {ROTATIONS} attackers banned, the slowest after {:.2} s", slowest.as_secs_f64()))
}

fn rotated_while_down(it: &mut It) -> Outcome {
    start(it)?;
    it.host().append(LOG, failed_lines(4000, 1, "root", "10.77.3.1"));
    it.attack(4100, "10.77.3.2").ok_or("no ban to begin with")?;
    it.end(Signal::TERM);
    it.host().append(LOG, failed_lines(5000, 1, "root", FROM));
    rename(it.host(), LOG, OLD);
    it.host().write(LOG, failed_lines(5100, 2, "root", FROM));
    start(it)?;
    Ok(banned(it.ban_after(FROM, SOON)))
}

fn same_size(it: &mut It) -> Outcome {
    start(it)?;
    it.attack(5000, "198.51.100.6").ok_or("no ban to begin with")?;
    it.host().write("/var/log/fresh", failed_lines(5100, 3, "root", FROM));
    rename(it.host(), "/var/log/fresh", LOG);
    Ok(format!("its attacker {}", banned(it.ban_after(FROM, SOON))))
}

fn overflowed(it: &mut It) -> Outcome {
    start(it)?;
    it.attack(4000, "198.51.100.6").ok_or("no ban to begin with")?;
    it.signal(Signal::STOP);
    let host = it.host().clone();
    host.append(LOG, failed_lines(5000, 1, "root", FROM));
    overflow_notices(&host).ok_or("too many notices are kept here")?;
    host.append(LOG, failed_lines(5100, 1, "root", FROM));
    rename(&host, LOG, OLD);
    host.write(LOG, failed_lines(5200, 1, "root", FROM));
    it.signal(Signal::CONT);
    let first = it.ban_after(FROM, SOON);
    Ok(format!("{}; the next attacker {}", banned(first), banned(it.attack(5300, "198.51.100.8"))))
}

/// How long until somebody of the second jail's log is banned.
fn other_attack(it: &It, pid: u32, addr: &str) -> Option<Duration> {
    let began = std::time::Instant::now();
    it.host().append(OTHER_LOG, failed_lines(pid, 3, "root", addr));
    let is_there = || it.banned().iter().any(|prefix| prefix.starts_with(addr));
    crate::lab::wait_until(SOON, || is_there().then(|| began.elapsed()))
}

fn second_log(it: &mut It, through: &[&str], spoil: impl Fn(&Host)) -> Outcome {
    it.settings().other_log = Some(OTHER_LOG);
    spoil(it.host());
    start_through(it, through)?;
    let first = it.attack(5000, FROM);
    // Now it is a log as it should be.
    let path = it.host().path(OTHER_LOG);
    let _ = std::fs::remove_dir(&path);
    it.host().append(OTHER_LOG, "");
    set_mode(it.host(), OTHER_LOG, 0o640);
    // What stands in a log at its first reading may be history.
    let _ = other_attack(it, 5100, "10.77.4.1");
    let second = other_attack(it, 5200, "10.77.4.2");
    Ok(format!(
        "runs; the first jail's attacker {}; mended, the second jail's {}",
        banned(first),
        banned(second)
    ))
}

fn vanishing(it: &mut It) -> Outcome {
    it.settings().other_log = Some(OTHER_LOG);
    it.host().write(OTHER_LOG, "");
    start(it)?;
    std::fs::remove_file(it.host().path(OTHER_LOG)).expect("it is removed");
    let first = it.attack(5000, FROM);
    let second = other_attack(it, 5100, "10.77.4.1");
    Ok(format!(
        "the first jail's attacker {}; the second jail's {}",
        banned(first),
        within("banned", second, SOON)
    ))
}
