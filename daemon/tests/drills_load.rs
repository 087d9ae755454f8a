//! Drills: crowds of attackers. Memory stays small, and whoever attacks behind the crowd is banned soon.
//!
//! `make test` plays them at a tenth of the size; `soak_..` are the full ones, `--ignored`, best with an optimised
//! daemon (`PILLORY_BIN`).

use std::fmt::Write;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::{
    CONTROL, Daemon, Host, World, failed_lines, pillory, quiet_server, say_figure, sshd_line, wait_for,
};

const LOG: &str = "/var/log/auth.log";
/// Lines that are written at once.
const CHUNK: u32 = 10_000;
/// A crowd is worked off within this, whatever else the machine does.
const LONG: Duration = Duration::from_secs(300);

/// One line each of `count` attackers, in chunks as a busy log gets them.
pub(crate) fn crowd(server: &Host, count: u32, user: &str, addr: impl Fn(u32) -> String) {
    for first in (0..count).step_by(CHUNK as usize) {
        let mut text = String::new();
        for number in first..count.min(first + CHUNK) {
            let message = format!("Failed password for {user} from {} port 40000 ssh2", addr(number));
            write!(text, "{}", sshd_line(10_000 + number, &message)).expect("a string takes it");
        }
        server.append(LOG, text);
    }
}

/// Addresses of all over the world, no two in a /24.
pub(crate) fn far_apart(number: u32) -> String {
    // Odd, so that it permutes the 2^23 /24s from 32.0.0.0 on.
    let net = number.wrapping_mul(2_654_435_761) % (1 << 21);
    format!("{}.{}.{}.7", 32 + (net >> 16), (net >> 8) & 0xff, net & 0xff)
}

/// From the attack of somebody behind the crowd to the kernel.
fn ban_behind(world: &World) -> Duration {
    world.server.append(LOG, failed_lines(5000, 3, "root", "198.51.100.7"));
    let began = Instant::now();
    let kernel = world.kernel();
    // Not by the daemon's own waiting, which would print the whole log if it was in vain.
    wait_for(LONG, "the attacker behind the crowd", || kernel.holds("ban4", "198.51.100.7").then_some(()));
    began.elapsed()
}

/// CPU seconds of the daemon so far.
fn cpu_s(daemon: &Daemon) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // proc(5): utime and stime are fields 14 and 15, in ticks, of which there are 100 a second.
    [11, 12].iter().filter_map(|at| fields[*at].parse::<f64>().ok()).sum::<f64>() / 100.0
}

#[track_caller]
fn report(daemon: &Daemon, what: &str, behind: Duration, most_kib: u64) {
    let (peak, cpu) = (daemon.peak_rss_kib(), cpu_s(daemon));
    say_figure(&format!(
        "{what}: peak RSS {:.1} MiB, {cpu:.1} s of CPU, the attacker behind them banned after {:.2} s",
        peak as f64 / 1024.0,
        behind.as_secs_f64(),
    ));
    assert!(peak < most_kib, "{what}: {peak} KiB");
}

/// Everybody earns a ban: by a notorious name, at the first try.
fn crowd_is_banned(count: u32, most_kib: u64) {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "widen = false\n");
    crowd(&server, count, "invalid user admin", far_apart);
    let behind = ban_behind(&world);
    let banned = || daemon.status()["banned"].as_u64();
    daemon
        .wait_for(LONG, "everybody to be banned", || (banned() == Some(u64::from(count) + 1)).then_some(()));
    let kernel = world.kernel();
    for number in [0, count / 2, count - 1] {
        assert!(kernel.holds("ban4", &far_apart(number)), "number {number}");
    }
    report(&daemon, &format!("{count} attackers at once, each banned"), behind, most_kib);
}

/// Nobody earns a ban, and all have to be remembered.
fn crowd_is_counted(count: u32, most_kib: u64) {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "widen = false\n");
    crowd(&server, count, "alice", far_apart);
    let behind = ban_behind(&world);
    assert_eq!(daemon.list().len(), 1);
    for number in [0, count / 2, count - 1] {
        assert_eq!(daemon.counted(&far_apart(number)), (1.0, 1), "number {number}");
    }
    report(&daemon, &format!("{count} sources below maxretry"), behind, most_kib);
}

#[test]
fn ten_thousand_attackers_at_once_are_all_banned_and_the_one_behind_them() {
    // The aim is 32 MiB for ten times as many.
    crowd_is_banned(10_000, 64 * 1024);
}

#[test]
#[ignore = "long: a hundred thousand bans"]
fn soak_a_hundred_thousand_attackers_at_once_are_all_banned_and_the_one_behind_them() {
    // The aim is 32 MiB, of a release; `make bench` prints it beside the figure.
    crowd_is_banned(100_000, 112 * 1024);
}

#[test]
fn a_hundred_thousand_sources_below_maxretry_are_remembered_in_little_memory() {
    // The aim is 100 MiB for ten times as many.
    crowd_is_counted(100_000, 100 * 1024);
}

#[test]
#[ignore = "long: a million lines"]
fn soak_a_million_sources_below_maxretry_are_remembered_in_little_memory() {
    // The aim is 100 MiB, of a release. A thousand less than a million, which is where those seen first are forgotten.
    crowd_is_counted(999_000, 144 * 1024);
}

#[test]
fn a_hundred_thousand_addresses_of_one_64_are_one_ban() {
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let base = u128::from("2001:db8:1:1::".parse::<Ipv6Addr>().expect("an address"));
    let addr = |number: u32| {
        let host = u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Ipv6Addr::from(base + u128::from(host)).to_string()
    };
    crowd(&server, 100_000, "root", addr);
    let behind = ban_behind(&world);
    let banned: Vec<String> = world.kernel().banned().iter().map(ToString::to_string).collect();
    assert_eq!(banned, ["198.51.100.7/32", "2001:db8:1:1::/64"]);
    assert_eq!(daemon.list().len(), 2);
    report(&daemon, "100000 addresses of one /64", behind, 64 * 1024);
}

#[test]
fn a_list_of_fifty_thousand_is_banned_in_little_memory_and_outlives_a_kill() {
    const COUNT: u32 = 50_000;
    let Some((world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    let mut list: String = (0..COUNT).map(|number| far_apart(number) + "\n").collect();
    list += "127.0.0.1\n203.0.113.0/25\n2001:db8:7::/64\n";
    server.write("/run/list", list);
    let before = cpu_s(&daemon);
    let said = daemon.ask_json(&["import", "/run/list"]);
    let all = COUNT as usize + 2;
    assert_eq!((&said["changed"], &said["unchanged"]), (&all.into(), &0.into()));
    assert_eq!(said["banned"].as_array().map(Vec::len), Some(all));
    assert_eq!(said["refused"][0]["prefix"], "127.0.0.1/32");
    // Answered means in the kernel ..
    assert_eq!(world.kernel().banned().len(), all);
    let (peak, cpu) = (daemon.peak_rss_kib(), cpu_s(&daemon) - before);
    say_figure(&format!("a list of {COUNT}: peak RSS {:.1} MiB, {cpu:.1} s of CPU", peak as f64 / 1024.0));
    // It takes 42 MiB, of which 25 are there before; it was 84 while all of the list was worked on at once.
    assert!(peak < 64 * 1024, "{peak} KiB");
    let errors = daemon.kill();
    let lines = errors.lines().filter(|line| line.contains("jail=import")).count();
    assert!((1..=20).contains(&lines), "{lines} lines tell of the list");
    // .. and durable.
    let daemon = Daemon::start(&server, "");
    assert_eq!(daemon.status()["banned"], all);
}

#[test]
fn a_list_that_a_kill_cuts_short_is_kept_as_far_as_was_said_and_can_be_taken_again() {
    const COUNT: u32 = 50_000;
    let Some((_world, server)) = quiet_server() else { return };
    let daemon = Daemon::start(&server, "");
    server.write("/run/list", (0..COUNT).map(|number| far_apart(number) + "\n").collect::<String>());
    let answer = std::thread::scope(|scope| {
        let importing = scope.spawn(|| pillory(&server, &["import", "/run/list", "--control", CONTROL]));
        let banned = || daemon.status()["banned"].as_u64();
        // More than two pieces: the first was answered.
        daemon.wait_for(LONG, "a part of the list", || (banned() > Some(8_192)).then_some(()));
        daemon.signal(Signal::KILL);
        importing.join().expect("it ends")
    });
    assert_eq!(answer.code, Some(69), "{answer:?}");
    let said = answer.err.split_once(" of 50000 were handed over before").map(|(before, _)| before);
    let done = said.and_then(|before| before.rsplit(' ').next()?.parse::<u64>().ok());
    let done = done.unwrap_or_else(|| panic!("it says how far it came: {answer:?}"));
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    let kept = daemon.status()["banned"].as_u64().expect("a number");
    assert!((8_192..u64::from(COUNT)).contains(&kept) && kept >= done, "{done} said, {kept} kept");
    assert_eq!(daemon.ask(&["import", "/run/list"]).code, Some(0));
    assert_eq!(daemon.status()["banned"], COUNT);
}
