//! The daemon under test and its command line.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::host::{Host, Running};
use super::wait::wait_until;

/// Where a daemon of the lab keeps its state.
pub const STATE_DIR: &str = "/var/lib/pillory";
/// Where a daemon of the lab takes commands.
pub const CONTROL: &str = "/run/pillory/control.sock";
/// What a daemon of the lab is configured by.
pub const CONFIG: &str = "/etc/pillory/pillory.toml";

/// How long a daemon may take to be ready.
const READY: Duration = Duration::from_secs(20);

/// How the daemon is started.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// Text of its configuration; none is written if `None`.
    pub config: Option<String>,
    /// More arguments of `run`: `--dry-run`.
    pub args: Vec<String>,
    /// More environment: `PILLORY_LOG=debug`.
    pub env: Vec<(String, String)>,
    /// A program that starts it, with its arguments: `setpriv --reuid=65534`.
    pub through: Vec<String>,
}

impl DaemonOptions {
    /// The same without decoys: which of the unknown names are judged like accounts the host's secret says, and tests
    /// count attempts. Not if the configuration says `decoys` itself, or there is none.
    fn without_decoys(&self) -> DaemonOptions {
        let mut options = self.clone();
        for config in options.config.iter_mut().filter(|config| !config.contains("decoys")) {
            config.insert_str(0, "decoys = 0\n");
        }
        options
    }
}

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    host: Host,
    running: Running,
    /// From start to `ready`.
    pub ready_after: Duration,
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Answer {
    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}) in {self:?}"))
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Answer {
        Answer {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Daemon {
    /// Starts it with this configuration and waits until it is ready.
    #[track_caller]
    pub fn start(host: &Host, config: &str) -> Daemon {
        Daemon::start_with(
            host,
            &DaemonOptions { config: Some(config.to_owned()), ..DaemonOptions::default() },
        )
    }

    /// Starts it and waits until it is ready.
    #[track_caller]
    pub fn start_with(host: &Host, options: &DaemonOptions) -> Daemon {
        let started = Instant::now();
        let mut running = Daemon::spawn(host, &options.without_decoys());
        let ready = wait_until(READY, || {
            let is_ready = running.errors().lines().any(|line| line.starts_with("ready"));
            if !is_ready && !running.is_running() {
                return Some(false);
            }
            is_ready.then_some(true)
        });
        match ready {
            Some(true) => Daemon { host: host.clone(), running, ready_after: started.elapsed() },
            Some(false) => panic!(
                "the daemon ended ({:?}) before it was ready; it said:\n{}",
                running.wait(READY),
                running.errors()
            ),
            None => panic!("the daemon was not ready within {READY:?}; it said:\n{}", running.errors()),
        }
    }

    /// Starts it and does not wait for anything, for a test of what it refuses.
    #[track_caller]
    pub fn spawn(host: &Host, options: &DaemonOptions) -> Running {
        let program = binary().display().to_string();
        let mut words = options.through.iter().chain([&program]);
        let mut command = host.command(words.next().expect("the program, if nothing else"));
        command.args(words).args(["run", "--state-dir", STATE_DIR, "--control", CONTROL]);
        if let Some(config) = &options.config {
            host.write(CONFIG, config);
            command.args(["--config", CONFIG]);
        }
        std::fs::create_dir_all(host.path("/run/pillory")).expect("/run/pillory is made");
        command.args(&options.args).envs(options.env.iter().cloned());
        Running::start("pillory", command)
    }

    /// Runs a command of this daemon: `daemon.ask(&["unban", "192.0.2.7"])`.
    #[track_caller]
    pub fn ask(&self, args: &[&str]) -> Answer {
        let mut all = args.to_vec();
        all.extend(["--control", CONTROL]);
        pillory(&self.host, &all)
    }

    /// Runs a command with `--json`, which has to succeed, and returns what it printed.
    #[track_caller]
    pub fn ask_json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let answer = self.ask(&all);
        assert_eq!(answer.code, Some(0), "pillory {args:?}: {answer:?}\nthe daemon said:\n{}", self.errors());
        answer.json()
    }

    /// `pillory status --json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.ask_json(&["status"])
    }

    /// `pillory list --json`.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        self.ask_json(&["list"]).as_array().cloned().expect("list prints an array")
    }

    /// The most memory that was ever resident, in KiB.
    #[track_caller]
    pub fn peak_rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        // proc(5): "VmHWM:      5120 kB".
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it has memory");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Its process id, as seen by the real host.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.running.is_running()
    }

    /// What it has written to standard error so far.
    pub fn errors(&self) -> String {
        self.running.errors()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Ends it with SIGTERM; returns its exit code and what it said in its life.
    #[track_caller]
    pub fn stop(mut self) -> (Option<i32>, String) {
        self.running.signal(Signal::TERM);
        let code = self.running.wait(Duration::from_secs(20));
        (code, self.running.errors())
    }

    /// Ends it with SIGKILL, as a crash would; returns what it said in its life.
    #[track_caller]
    pub fn kill(mut self) -> String {
        self.running.signal(Signal::KILL);
        self.running.wait(Duration::from_secs(20));
        self.running.errors()
    }

    /// Waits for it to end by itself; returns its exit code and what it said in its life.
    #[track_caller]
    pub fn ends(mut self) -> (Option<i32>, String) {
        let code = self.running.wait(Duration::from_secs(20));
        (code, self.running.errors())
    }

    /// Waits for an event; on failure says what the daemon said.
    #[track_caller]
    pub fn wait_for<T>(&self, deadline: Duration, what: &str, event: impl FnMut() -> Option<T>) -> T {
        match wait_until(deadline, event) {
            Some(found) => found,
            None => panic!(
                "waited {deadline:?} in vain for: {what}\nthe daemon said:\n{}\nauth.log:\n{}",
                self.errors(),
                self.host.read("/var/log/auth.log")
            ),
        }
    }
}

/// Runs the program on a host, with or without a daemon, to its end.
#[track_caller]
pub fn pillory(host: &Host, args: &[&str]) -> Answer {
    let program = binary().display().to_string();
    host.command(&program).args(args).output().expect("nsenter starts").into()
}

/// The binary under test: `PILLORY_BIN`, or the one that cargo built with this program.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PILLORY_BIN") {
        return PathBuf::from(path);
    }
    if let Some(path) = option_env!("CARGO_BIN_EXE_pillory") {
        return PathBuf::from(path);
    }
    // An example lies in target/<profile>/examples/, the binary one level up.
    let own = std::env::current_exe().expect("this program has a path");
    own.parent().and_then(Path::parent).expect("it lies two levels deep").join("pillory")
}
