//! The daemon being measured: its start, its memory, its CPU time.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use rustix::process::Signal;

use crate::lab::{self, CONFIG, CONTROL, Host, Running};

/// A directory for one measurement, empty, below `target/bench/`: on a disk, not in memory.
pub fn scratch(name: &str) -> PathBuf {
    let dir = directory(name);
    std::fs::remove_dir_all(&dir).expect("the old directory can be removed");
    directory(name)
}

/// The same with what it holds.
pub fn directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench").join(name);
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

    /// How often its threads have slept so far.
    pub fn wake_ups(&self) -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.running.pid())).expect("it runs");
        let slept = threads.flatten().filter_map(|thread| {
            let text = std::fs::read_to_string(thread.path().join("status")).ok()?;
            text.lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?
                .trim()
                .parse::<u64>()
                .ok()
        });
        slept.sum()
    }

    /// A figure of `/proc/PID/status` in KiB: `VmRSS`, `RssAnon`, `VmHWM`.
    pub fn memory_kib(&self, what: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.running.pid())).expect("it runs");
        kib_in(&text, what).expect("the kernel says it")
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

/// Waits for the end of a program; the most memory it had (`VmHWM`), as asked every few milliseconds.
pub fn peak_kib(child: &mut Child) -> u64 {
    let mut peak = 0;
    while child.try_wait().expect("it is our child").is_none() {
        let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        peak = kib_in(&text, "VmHWM").unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    peak
}

/// A figure of `/proc/PID/status`.
fn kib_in(status: &str, what: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
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
    let (cpu, output) = cpu_of(Command::new(binary()).args(args));
    (started.elapsed(), cpu, output.expect("the binary starts"))
}

/// Runs a program to its end; its CPU time.
fn cpu_of(command: &mut Command) -> (Duration, std::io::Result<std::process::Output>) {
    let before = cpu_of_children();
    let output = command.output();
    (cpu_of_children() - before, output)
}

/// User and system time of our children that have ended, and of theirs.
fn cpu_of_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the kernel keeps count");
    let microseconds = |time: TimeVal| u64::try_from(time.num_microseconds()).expect("time passes");
    Duration::from_micros(microseconds(usage.user_time()) + microseconds(usage.system_time()))
}

/// A program that has read a file.
#[derive(Debug)]
pub struct Ran {
    /// User and system time.
    pub cpu: Duration,
    /// From its start to its end.
    pub wall: Duration,
    /// How many lines it has printed.
    pub lines: u64,
    /// The begin and the end of what it has printed.
    pub said: String,
}

/// So much is kept of the begin and of the end of what a program prints.
const KEPT_BYTES: usize = 16 << 10;

/// A command line.
pub type Words = Vec<OsString>;

/// Stands in a command line for the file to read; where it does not, the file is standard input.
pub const FILE: &str = "FILE";

impl Ran {
    /// Runs a command on a file. What it prints goes through a pipe and is counted.
    /// # Errors
    /// That it cannot be started, in words.
    pub fn read(words: &Words, file: &Path) -> Result<Ran, String> {
        let failed = |error: std::io::Error| format!("cannot run {words:?}: {error}");
        let mut command = command(words, file);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(std::fs::File::open(file).map_err(failed)?);
        let (before, started) = (cpu_of_children(), Instant::now());
        let mut child = command.spawn().map_err(failed)?;
        let (lines, said) = drain(child.stdout.take().expect("it is piped")).map_err(failed)?;
        child.wait().map_err(failed)?;
        let wall = started.elapsed();
        Ok(Ran { cpu: cpu_of_children() - before, wall, lines, said })
    }

    /// The number that stands in front of this.
    pub fn number_before(&self, word: &str) -> Option<u64> {
        let (before, _) = self.said.split_once(word)?;
        before.split([' ', '\n']).next_back()?.replace(',', "").parse().ok()
    }

    /// The number that stands behind this.
    pub fn number_behind(&self, word: &str) -> Option<u64> {
        let (_, behind) = self.said.split_once(word)?;
        behind.trim_start().split([',', ' ', '\n']).next()?.parse().ok()
    }
}

/// A command line with this file put in; what was unpacked below `target/tools/` finds what was unpacked with it.
pub fn command(words: &Words, file: &Path) -> Command {
    let put_in = |word: &OsString| if word == FILE { file.as_os_str().to_owned() } else { word.clone() };
    let mut command = Command::new(words.first().expect("a program"));
    command.args(words[1..].iter().map(put_in));
    if words.iter().any(|word| word.to_string_lossy().contains("target/tools/")) {
        let set = lab::unpacked_environment();
        command.envs(set.iter().filter_map(|pair| pair.split_once('=')));
    }
    command
}

/// A program of this host or an unpacked one, with options.
/// # Errors
/// That it is not here.
pub fn words(program: &str, options: &[&str]) -> Result<Words, String> {
    let tool = lab::find(program).ok_or_else(|| format!("not here: no {program}"))?;
    let mut words = Words::new();
    if let Some(libraries) = tool.libraries {
        words.extend(["env".into(), format!("LD_LIBRARY_PATH={libraries}").into()]);
    }
    words.push(tool.path.into());
    words.extend(options.iter().map(OsString::from));
    Ok(words)
}

/// Counts lines, and keeps the begin and the end of what is printed.
fn drain(mut pipe: impl Read) -> std::io::Result<(u64, String)> {
    let (mut lines, mut begin, mut end) = (0, Vec::new(), Vec::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = pipe.read(&mut buffer)?;
        if count == 0 {
            begin.append(&mut end);
            return Ok((lines, String::from_utf8_lossy(&begin).into_owned()));
        }
        let printed = &buffer[..count];
        lines += memchr::memchr_iter(b'\n', printed).count() as u64;
        let (first, rest) = printed.split_at(count.min(KEPT_BYTES.saturating_sub(begin.len())));
        begin.extend_from_slice(first);
        end.extend_from_slice(rest);
        end.drain(..end.len().saturating_sub(KEPT_BYTES));
    }
}

/// A world with a server, for measurements.
pub fn world() -> lab::World {
    lab::World::new().expect("it could be made at the start")
}
