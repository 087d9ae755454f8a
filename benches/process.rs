//! The daemon being measured: its start, its memory, its CPU time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::{self, CONFIG, CONTROL, Host, Running};

/// A directory for one measurement, empty, below `target/bench/`: on a disk, not in memory.
pub fn scratch(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    let dir = target.join(name);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).expect("the old directory can be removed");
    }
    std::fs::create_dir_all(&dir).expect("target/bench can be made");
    dir.canonicalize().expect("it was made")
}

/// The binary being measured.
pub fn binary() -> PathBuf {
    std::env::var_os("PILLORY_BIN").map(PathBuf::from).expect("PILLORY_BIN names the release binary")
}

/// A running daemon.
#[derive(Debug)]
pub struct Measured {
    running: Running,
    /// From exec to `ready`.
    pub ready_after: Duration,
    /// CPU time until `ready`.
    pub ready_cpu: Duration,
}

impl Measured {
    /// Starts the daemon on `host` and waits until it is ready; `None` if it ends before.
    pub fn start(host: &Host, config: &str, state_dir: &Path) -> Result<Measured, String> {
        // Which unknown names are judged like accounts differs from host to host, and neighbours become a network:
        // here every try shall be a ban of its own.
        host.write(CONFIG, format!("decoys = 0\nwiden = false\n{config}"));
        std::fs::create_dir_all(host.path("/run/pillory")).expect("/run/pillory is made");
        let mut command = host.command(&binary().display().to_string());
        command.args(["run", "--config", CONFIG, "--control", CONTROL, "--state-dir"]).arg(state_dir);
        let started = Instant::now();
        let mut running = Running::start("pillory", command);
        let end = started + Duration::from_secs(60);
        loop {
            if running.errors().lines().any(|line| line.starts_with("ready")) {
                let ready_after = started.elapsed();
                let ready_cpu = cpu(running.pid());
                return Ok(Measured { running, ready_after, ready_cpu });
            }
            if !running.is_running() || Instant::now() > end {
                return Err(running.errors());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// CPU time of all its threads so far.
    pub fn cpu(&self) -> Duration {
        cpu(self.running.pid())
    }

    /// A figure of `/proc/PID/status` in KiB: `VmRSS`, `RssAnon`, `VmHWM`.
    pub fn memory_kib(&self, what: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.running.pid())).expect("it runs");
        let line = text.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("the kernel says it")
    }

    /// What it has said.
    pub fn errors(&self) -> String {
        self.running.errors()
    }

    /// Ends it with SIGTERM.
    pub fn stop(mut self) {
        self.running.signal(Signal::TERM);
        let code = self.running.wait(Duration::from_secs(30));
        assert_eq!(code, Some(0), "the daemon ends well; it said:\n{}", self.running.errors());
    }
}

/// The scheduler's own count for each thread, in nanoseconds; `stat` counts in hundredths of a second.
fn cpu(pid: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs").flatten();
    let nanos = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Runs the binary to its end outside of any namespace; its wall and CPU time, and if it succeeded.
pub fn run(args: &[&str]) -> (Duration, Duration, std::process::Output) {
    let started = Instant::now();
    let (cpu, output) = cpu_of(std::process::Command::new(binary()).args(args));
    (started.elapsed(), cpu, output.expect("the binary starts"))
}

/// Runs a program to its end; its CPU time.
pub fn cpu_of(command: &mut std::process::Command) -> (Duration, std::io::Result<std::process::Output>) {
    let before = cpu_of_children();
    let output = command.output();
    (cpu_of_children() - before, output)
}

/// CPU time of our children that have ended, to a hundredth of a second: proc(5), fields 16 and 17 of `stat`.
fn cpu_of_children() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("it is there");
    let after_name = text.rsplit(')').next().unwrap_or_default();
    // The first of these is field 3.
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<u64>().expect("a number of ticks");
    Duration::from_millis((ticks(16) + ticks(17)) * 10)
}

/// A world with a server, for measurements.
pub fn world() -> lab::World {
    lab::World::new().expect("it could be made at the start")
}
