//! Who is drilled: the daemon under test, or another program for the same work (`peer.rs`), behind the same few verbs.
//!
//! Both count plainly, three failures within a day, and log and ban on the same host in the same way.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::daemon::{CONFIG, CONTROL, Daemon, DaemonOptions, STATE_DIR, binary, pillory};
use super::host::{Host, Running};
use super::kernel::Kernel;
use super::scene::{LOG, SOON, failed_lines};
use super::wait::wait_until;

/// What is not the same in all drills.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Attempts that ban.
    pub maxretry: u32,
    /// How long, in seconds.
    pub bantime_s: u32,
    /// The log of a second jail with the same filter.
    pub other_log: Option<&'static str>,
    /// A word that no configuration may have.
    pub is_spoilt: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { maxretry: 3, bantime_s: 3600, other_log: None, is_spoilt: false }
    }
}

/// A program that bans, on a host of its own.
pub trait Subject {
    /// Its host.
    fn host(&self) -> &Host;
    /// What it is configured by at the next start or reload.
    fn settings(&mut self) -> &mut Settings;
    /// Begins to run it through these words (`prlimit --nofile=32`, or none).
    fn spawn(&self, through: &[&str]) -> Running;
    /// What it says on standard error once it is at work.
    fn is_ready(&self, said: &str) -> bool;
    /// Where the running one is kept.
    fn slot(&mut self) -> &mut Option<Running>;
    /// Rereads the configuration; the exit status of the command.
    fn reload(&self) -> Option<i32>;
    /// One more of it on the same host with the same files.
    fn second(&self) -> Running;
    /// Its table in nftables, and the sets of single IPv4 and IPv6 addresses in it.
    fn table(&self) -> (&'static str, &'static str, &'static str);
    /// The directory of its database, and the name of that.
    fn database(&self) -> (&'static str, &'static str);
}

/// What drills do with every subject.
impl dyn Subject + '_ {
    /// Starts it through these words, or through none; false if it is not at work soon.
    pub fn start_through(&mut self, through: &[&str]) -> bool {
        let mut running = self.spawn(through);
        let is_ready = wait_until(2 * SOON, || {
            let is_ready = self.is_ready(&running.errors());
            (is_ready || !running.is_running()).then_some(is_ready)
        });
        *self.slot() = Some(running);
        is_ready == Some(true)
    }

    /// The last line that it said.
    pub fn last_words(&mut self) -> String {
        let said = self.slot().as_ref().map(Running::errors).unwrap_or_default();
        said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
    }

    /// Ends it with a signal; true if it has ended soon.
    pub fn end(&mut self, signal: Signal) -> bool {
        let Some(mut running) = self.slot().take() else { return true };
        running.signal(signal);
        wait_until(2 * SOON, || (!running.is_running()).then_some(())).is_some()
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.slot().iter().for_each(|running| running.signal(signal));
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.slot().as_mut().is_some_and(Running::is_running)
    }

    /// The most memory that was ever resident, in MiB; nothing if it does not run.
    pub fn peak_rss_mib(&mut self) -> f64 {
        let pid = self.slot().as_ref().map_or(0, Running::pid);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // proc(5): "VmHWM:      5120 kB".
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kib: f64 = line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default();
        kib / 1024.0
    }

    /// True if the kernel holds an address as banned.
    pub fn holds(&self, addr: &str) -> bool {
        let (table, set4, set6) = self.table();
        let set = if addr.contains(':') { set6 } else { set4 };
        Kernel::new(self.host().clone()).holds_in(table, set, addr)
    }

    /// All that the kernel holds as banned.
    pub fn banned(&self) -> Vec<String> {
        let all = Kernel::new(self.host().clone()).all_of(self.table().0);
        all.iter().map(ToString::to_string).collect()
    }

    /// How long until the kernel holds an address, from now on.
    pub fn ban_after(&self, addr: &str, limit: Duration) -> Option<Duration> {
        let began = Instant::now();
        wait_until(limit, || self.holds(addr).then(|| began.elapsed()))
    }

    /// Somebody fails as often as it takes; how long until the kernel holds the address.
    pub fn attack(&self, first_pid: u32, addr: &str) -> Option<Duration> {
        self.host().append(LOG, failed_lines(first_pid, 3, "root", addr));
        self.ban_after(addr, SOON)
    }
}

/// The daemon under test.
#[derive(Debug)]
pub struct Pillory {
    host: Host,
    settings: Settings,
    running: Option<Running>,
}

impl Pillory {
    /// Not started yet.
    pub fn new(host: Host) -> Pillory {
        Pillory { host, settings: Settings::default(), running: None }
    }

    fn config(&self) -> String {
        let Settings { maxretry, bantime_s, other_log, is_spoilt } = &self.settings;
        let points = ["bad_user", "unknown_user", "root", "known_user", "good_user", "probe", "scan"];
        let points = points.map(|class| format!("{class} = 1")).join(", ");
        let mut text = format!(
            "decoys = 0\nwiden = false\nmaxretry = {maxretry}\npoints = {{ {points}, penalty = 1, web = 1 }}\n"
        );
        text +=
            &if *is_spoilt { "bantime = \"10x\"\n".to_owned() } else { format!("bantime = {bantime_s}\n") };
        text += &format!("[jail.sshd]\nbackend = \"file\"\nlogpath = \"{LOG}\"\n");
        if let Some(log) = other_log {
            text += &format!("[jail.other]\nfilter = \"sshd\"\nlogpath = \"{log}\"\n");
        }
        text
    }
}

impl Subject for Pillory {
    fn host(&self) -> &Host {
        &self.host
    }

    fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }

    fn spawn(&self, through: &[&str]) -> Running {
        let through = through.iter().map(|word| (*word).to_owned()).collect();
        let options = DaemonOptions { config: Some(self.config()), through, ..DaemonOptions::default() };
        Daemon::spawn(&self.host, &options)
    }

    fn is_ready(&self, said: &str) -> bool {
        said.lines().any(|line| line.starts_with("ready"))
    }

    fn slot(&mut self) -> &mut Option<Running> {
        &mut self.running
    }

    fn reload(&self) -> Option<i32> {
        self.host.write(CONFIG, self.config());
        pillory(&self.host, &["reload", "--control", CONTROL]).code
    }

    fn second(&self) -> Running {
        let mut command = self.host.command(&binary().display().to_string());
        command.args(["run", "--state-dir", STATE_DIR, "--control", CONTROL, "--config", CONFIG]);
        Running::start("a second one", command)
    }

    fn table(&self) -> (&'static str, &'static str, &'static str) {
        ("pillory", "ban4", "ban6n")
    }

    fn database(&self) -> (&'static str, &'static str) {
        (STATE_DIR, "pillory.db")
    }
}
