//! `make soak`: the daemon among attackers, rotations and faults for an hour, or for as many `MINUTES`.
//!
//! A writer logs attackers, a friend and somebody who fails rarely, and rotates its log by renaming and by copying and
//! truncating. Our table is flushed, the daemon reloads, and in the first quarter it is killed, stopped and started again,
//! with lines written meanwhile. At the end: what became of every line and every ban, and whether memory and descriptors
//! grew. Exit status 1 if something is not as it must be. Everything happens in network namespaces.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a soak starts programs and looks at the clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a soak that cannot go on ends")]

mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use lab::{CONFIG, Daemon, Host, SOON, World, failed_lines, quiet_server};
use rustix::process::Signal;

const LOG: &str = "/var/log/auth.log";
const FRIEND: &str = "192.0.2.20";

/// So many attackers take turns: what is remembered of each is not to be taken for a leak.
const ATTACKERS: u32 = 400;
const EVERY: Duration = Duration::from_millis(400);

/// Nobody comes back before the ban and its window are over: 400 attackers take 160 seconds.
const POLICY: &str = "decoys = 0\nwiden = false\nbantime = \"1m\"\nfindtime = \"1m\"\n";

fn policy(number: u64) -> String {
    format!("{POLICY}ignoreip = [\"{FRIEND}\", \"203.0.113.{}\"]\n", number % 200 + 1)
}

fn main() -> std::process::ExitCode {
    let minutes: f64 = std::env::var("MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(60.0);
    let Some((world, server)) = quiet_server() else { return 77.into() };
    let mut soak = Soak::new(world, server);
    let end = Duration::from_secs_f64(minutes * 60.0);
    println!("make soak: {minutes} minutes, the first quarter with deaths and restarts");
    while soak.began.elapsed() < end {
        let is_calm = soak.began.elapsed() > end / 4;
        soak.turn(is_calm);
    }
    soak.report().into()
}

struct Soak {
    daemon: Option<Daemon>,
    server: Host,
    world: World,
    began: Instant,
    turns: u64,
    /// The next connection's process number.
    pid: u32,
    /// Lines written of each address.
    written: BTreeMap<String, u64>,
    /// Attacks of each attacker: each must end in a ban of its own.
    attacks: BTreeMap<String, u64>,
    last_attack: BTreeMap<String, Instant>,
    counts: BTreeMap<&'static str, u64>,
    /// Seconds and resident KiB of the process that lives on, and its descriptors.
    memory: Vec<(f64, f64)>,
    descriptors: Vec<usize>,
}

impl Soak {
    fn new(world: World, server: Host) -> Soak {
        let daemon = Daemon::start(&server, &policy(0));
        Soak {
            daemon: Some(daemon),
            server,
            world,
            began: Instant::now(),
            turns: 0,
            pid: 1_000,
            written: BTreeMap::new(),
            attacks: BTreeMap::new(),
            last_attack: BTreeMap::new(),
            counts: BTreeMap::new(),
            memory: Vec::new(),
            descriptors: Vec::new(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// One attacker comes, and whatever else is due.
    fn turn(&mut self, is_calm: bool) {
        let due = self.began + EVERY * self.turns as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        self.turns += 1;
        let number = (self.turns % u64::from(ATTACKERS)) as u32;
        let attacker = format!("10.66.{}.{}", number / 200, number % 200 + 1);
        self.write(&attacker, "root", 3);
        *self.attacks.entry(attacker.clone()).or_default() += 1;
        self.last_attack.insert(attacker, Instant::now());
        if self.turns.is_multiple_of(10) {
            self.write(FRIEND, "alice", 2);
        }
        // One try in three minutes is none too many.
        if self.turns.is_multiple_of(450) {
            self.write("198.51.100.9", "bob", 1);
        }
        match self.turns % 60 {
            13 => self.rename(),
            37 => self.copy_and_truncate(),
            5 | 45 => self.flush(),
            25 => self.reload(),
            17 | 49 if !is_calm => self.die(),
            33 if !is_calm => self.restart(),
            _ => {}
        }
        if is_calm && self.turns.is_multiple_of(10) {
            self.sample();
        }
    }

    fn write(&mut self, addr: &str, user: &str, count: u32) {
        self.server.append(LOG, failed_lines(self.pid, count, user, addr));
        self.pid += count;
        *self.written.entry(addr.to_owned()).or_default() += u64::from(count);
    }

    fn rename(&mut self) {
        std::fs::rename(self.server.path(LOG), self.server.path(format!("{LOG}.1"))).expect("it is renamed");
        self.server.write(LOG, "");
        self.count("renamed");
    }

    fn copy_and_truncate(&mut self) {
        let path = self.server.path(LOG);
        std::fs::copy(&path, self.server.path(format!("{LOG}.1"))).expect("it is copied");
        std::fs::OpenOptions::new().write(true).truncate(true).open(path).expect("it is truncated");
        self.count("truncated");
    }

    fn flush(&mut self) {
        self.world.kernel().nft("flush ruleset");
        self.count("flushed");
    }

    fn reload(&mut self) {
        self.server.write(CONFIG, policy(self.turns));
        if let Some(daemon) = &self.daemon {
            daemon.signal(Signal::HUP);
        }
        self.count("reloaded");
    }

    fn die(&mut self) {
        drop(self.daemon.take().map(Daemon::kill));
        self.start();
        self.count("killed");
    }

    fn restart(&mut self) {
        let ended = self.daemon.take().map(Daemon::stop);
        assert_eq!(ended.as_ref().and_then(|(code, _)| *code), Some(0), "{ended:?}");
        self.start();
        self.count("restarted");
    }

    /// An attack and a rotation, and then it starts.
    fn start(&mut self) {
        self.write("10.66.9.9", "root", 1);
        if self.turns.is_multiple_of(2) {
            self.rename();
        }
        self.daemon = Some(Daemon::start(&self.server, &policy(self.turns)));
    }

    fn sample(&mut self) {
        let Some(daemon) = &self.daemon else { return };
        let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        let kib = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number");
        self.memory.push((self.began.elapsed().as_secs_f64(), kib));
        let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count();
        self.descriptors.push(open);
    }

    /// Prints what became of everything; 1 if something is not as it must be.
    fn report(mut self) -> u8 {
        // Judged last, so everything before was.
        self.write("10.66.9.10", "root", 3);
        let daemon = self.daemon.take().expect("it runs");
        daemon.wait_for(SOON, "the last ban", || daemon.lists("10.66.9.10/32").then_some(()));
        let (lost, doubled) = self.compare_lines(&daemon);
        let (missing, wrong) = self.compare_bans(&daemon);
        let differs = self.compare_kernel(&daemon);
        // Half of the time is for tables to fill.
        let late = self.memory.get(self.memory.len() / 2..).unwrap_or_default();
        let slope = slope(late).unwrap_or(0.0);
        let (first, last) =
            (self.memory.first().map_or(0.0, |at| at.1), self.memory.last().map_or(0.0, |at| at.1));
        let open =
            (self.descriptors.first().copied().unwrap_or(0), self.descriptors.last().copied().unwrap_or(0));
        let faults: Vec<String> = self.counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
        let attacks: u64 = self.attacks.values().sum();
        println!("faults        {}", faults.join(", "));
        println!(
            "lines         {} written, {lost} lost, {doubled} doubled",
            self.written.values().sum::<u64>()
        );
        println!(
            "bans          {attacks} expected, {} present, {missing} missing, {wrong} wrong",
            attacks - missing
        );
        println!("kernel        {differs} differences from the ledger");
        println!(
            "memory        {first} KiB at first, {last} KiB at last, {slope:+.0} KiB/h in the second half"
        );
        println!("descriptors   {} at first, {} at last", open.0, open.1);
        let (code, said) = daemon.stop();
        let is_well =
            [lost, doubled, missing, wrong, differs] == [0; 5] && open.1 <= open.0 + 2 && code == Some(0);
        if !is_well {
            println!(
                "the daemon said at last:\n{}",
                said.lines().rev().take(20).collect::<Vec<_>>().join("\n")
            );
        }
        u8::from(!is_well)
    }

    /// Every line is a connection, and counts once.
    fn compare_lines(&self, daemon: &Daemon) -> (u64, u64) {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for row in daemon.ask_json(&["attempts", "-n", "0"]).as_array().expect("an array") {
            let addr = row["ip"].as_str().expect("an address").to_owned();
            *found.entry(addr).or_default() += row["attempts"].as_u64().expect("a number");
        }
        let of = |counts: &BTreeMap<String, u64>, addr: &String| counts.get(addr).copied().unwrap_or(0);
        let lost = self.written.iter().map(|(addr, count)| count.saturating_sub(of(&found, addr))).sum();
        let doubled = found.iter().map(|(addr, count)| count.saturating_sub(of(&self.written, addr))).sum();
        (lost, doubled)
    }

    /// Attacks without a ban, and bans without an attack.
    fn compare_bans(&self, daemon: &Daemon) -> (u64, u64) {
        let mut bans: BTreeMap<String, u64> = BTreeMap::new();
        for row in daemon.ask_json(&["history", "-n", "0"]).as_array().expect("an array") {
            if row["what"] == "ban" {
                let prefix = row["prefix"].as_str().expect("a prefix").trim_end_matches("/32");
                *bans.entry(prefix.to_owned()).or_default() += 1;
            }
        }
        let of = |addr: &String| bans.get(addr).copied().unwrap_or(0);
        let mut missing = self.attacks.iter().map(|(addr, count)| count.saturating_sub(of(addr))).sum();
        let listed: BTreeSet<String> =
            daemon.list().iter().filter_map(|ban| Some(ban["prefix"].as_str()?.to_owned())).collect();
        // Ten seconds are left of the youngest bans' minute.
        let young = self.last_attack.iter().filter(|(_, when)| when.elapsed() < Duration::from_secs(50));
        missing += young.filter(|(addr, _)| !listed.contains(&format!("{addr}/32"))).count() as u64;
        let surplus = bans.iter().filter(|(addr, _)| !addr.starts_with("10.66.9."));
        let surplus =
            surplus.map(|(addr, count)| count.saturating_sub(self.attacks.get(addr).copied().unwrap_or(0)));
        (missing, surplus.sum())
    }

    fn compare_kernel(&self, daemon: &Daemon) -> u64 {
        let differences = || {
            let listed: BTreeSet<String> =
                daemon.list().iter().filter_map(|ban| Some(ban["prefix"].as_str()?.to_owned())).collect();
            let held: BTreeSet<String> =
                self.world.kernel().banned().iter().map(ToString::to_string).collect();
            listed.symmetric_difference(&held).count() as u64
        };
        // A ban may end between one look and the other.
        (0..3).map(|_| differences()).min().unwrap_or(0)
    }
}

/// Growth by least squares, an hour.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |sums, (x, y)| (sums.0 + x, sums.1 + y));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let over: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let under: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    (under > 0.0).then(|| over / under * 3_600.0)
}
