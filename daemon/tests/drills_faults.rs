//! Drills: the host itself is in trouble. The disk, the kernel, memory or descriptors fail; bans go on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::drills_load::{crowd, far_apart};
use crate::lab::{
    CONTROL, Daemon, DaemonOptions, Host, Kernel, Place, Running, SOON, STATE_DIR, World, failed_line,
    failed_lines, need, quiet_server, say_figure, say_skipped, wait_until,
};

const LOG: &str = "/var/log/auth.log";
const FROM: &str = "198.51.100.7";
const PREFIX: &str = "198.51.100.7/32";

/// A program that makes system calls of the daemon fail; it lets go when dropped.
struct Fault {
    tracer: Running,
}

impl Fault {
    /// `what`: as strace's `inject=` takes it. `None`, with a word, if nobody may trace here.
    fn inject(host: &Host, daemon: &Daemon, what: &str) -> Option<Fault> {
        let calls = what.split(':').next().unwrap_or_default();
        let mut command = host.command("strace");
        command.args(["-f", "-q", "-p", &daemon.pid().to_string(), "-o", "/dev/null"]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={what}")]);
        let mut tracer = Running::start("strace", command);
        let tasks = format!("/proc/{}/task", daemon.pid());
        let is_traced = |task: std::fs::DirEntry| {
            let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
            // proc(5): 0 if nobody traces it. A thread that has just ended has no status.
            status.is_empty() || !status.contains("TracerPid:\t0\n")
        };
        let attached = wait_until(SOON, || {
            if !tracer.is_running() {
                return Some(false);
            }
            let mut all = std::fs::read_dir(&tasks).expect("the daemon runs").flatten();
            all.all(is_traced).then_some(true)
        });
        if attached == Some(true) {
            return Some(Fault { tracer });
        }
        say_skipped(&format!("nobody may trace a process here: {}", tracer.errors().trim()));
        None
    }

    /// Lets go of the daemon, which runs on; a call that was delayed goes on at once.
    fn end(mut self) {
        self.tracer.signal(Signal::KILL);
        self.tracer.wait(SOON);
    }
}

fn traced() -> Option<(World, Host, Daemon)> {
    if !need(&["strace"]) {
        return None;
    }
    let (world, server) = quiet_server()?;
    let daemon = Daemon::start(&server, "");
    Some((world, server, daemon))
}

/// Attacks, and returns how long the kernel had to wait for the ban.
#[track_caller]
fn attack(host: &Host, daemon: &Daemon, (first_pid, addr): (u32, &str)) -> Duration {
    host.append(LOG, failed_lines(first_pid, 3, "root", addr));
    let began = Instant::now();
    let kernel = Kernel::new(host.clone());
    // Not the daemon's word: its own calls may be those that fail.
    let there = wait_until(SOON, || kernel.holds("ban4", addr).then_some(()));
    assert!(there.is_some(), "{addr} is not banned; the daemon said:\n{}", daemon.errors());
    began.elapsed()
}

fn warns(daemon: &Daemon, words: &str) -> bool {
    daemon.status()["warnings"].to_string().contains(words)
}

const UNWRITTEN: &str = "bans go on in the kernel";

#[test]
fn a_disk_that_answers_eio_keeps_no_ban_from_the_kernel_and_nothing_is_lost() {
    let Some((_world, server, daemon)) = traced() else { return };
    assert_eq!(daemon.ask(&["ban", "198.51.100.6", "--for", "1h"]).code, Some(0));
    let Some(fault) = Fault::inject(&server, &daemon, "fdatasync,fsync,pwrite64:error=EIO") else { return };
    attack(&server, &daemon, (5000, FROM));
    daemon.wait_for(SOON, "the operator to be told", || warns(&daemon, UNWRITTEN).then_some(()));
    assert!(daemon.errors().contains("the store cannot be written"), "{}", daemon.errors());
    attack(&server, &daemon, (5100, "198.51.100.8"));
    // A crash now: what could not be written lies beside the socket.
    drop(fault);
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    for prefix in ["198.51.100.6/32", PREFIX, "198.51.100.8/32"] {
        assert!(daemon.lists(prefix), "{prefix}: {:?}", daemon.list());
    }
    assert_eq!(daemon.attempts_of(FROM), 3);
}

#[test]
fn a_disk_that_answers_eio_for_a_while_is_written_again() {
    let Some((_world, server, daemon)) = traced() else { return };
    let Some(fault) = Fault::inject(&server, &daemon, "fdatasync,fsync,pwrite64:error=EIO") else { return };
    attack(&server, &daemon, (5000, FROM));
    daemon.wait_for(SOON, "the operator to be told", || warns(&daemon, UNWRITTEN).then_some(()));
    fault.end();
    daemon.wait_for(SOON, "the warning to go", || (!warns(&daemon, UNWRITTEN)).then_some(()));
    assert!(!server.path(format!("{CONTROL}.unwritten")).exists());
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert!(daemon.lists(PREFIX) && daemon.attempts_of(FROM) == 3, "{:?}", daemon.list());
}

#[test]
fn an_fsync_that_hangs_delays_no_ban_and_no_answer() {
    let Some((_world, server, daemon)) = traced() else { return };
    let stall = "fdatasync,fsync:delay_enter=60000000";
    let Some(fault) = Fault::inject(&server, &daemon, stall) else { return };
    // The first attack's records are what hangs, then one more comes.
    let first = attack(&server, &daemon, (5000, FROM));
    let second = attack(&server, &daemon, (5100, "198.51.100.8"));
    let slowest = first.max(second);
    let began = Instant::now();
    assert!(daemon.lists(PREFIX));
    let answered = began.elapsed();
    let ordered = daemon.ask(&["ban", "198.51.100.9", "--for", "1h"]);
    assert!(ordered.code == Some(0) && ordered.err.contains("not on disk yet"), "{ordered:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    say_figure(&format!(
        "fsync hangs: ban {:.2} s after its line, list answered after {:.1} s",
        slowest.as_secs_f64(),
        answered.as_secs_f64()
    ));
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    fault.end();
    daemon.wait_for(SOON, "the records", || (daemon.attempts_of("198.51.100.8") == 3).then_some(()));
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert!(daemon.lists("198.51.100.9/32") && daemon.lists(PREFIX));
}

#[test]
fn a_disk_that_hangs_in_a_flood_fills_no_memory() {
    const LINES: u32 = 150_000;
    let Some((_world, server, daemon)) = traced() else { return };
    let Some(fault) = Fault::inject(&server, &daemon, "fdatasync,fsync:delay_enter=60000000") else { return };
    crowd(&server, LINES, "alice", |number| far_apart(number % 1000));
    server.append(LOG, failed_lines(5000, 3, "root", FROM));
    let kernel = Kernel::new(server.clone());
    let banned = wait_until(Duration::from_secs(50), || kernel.holds("ban4", FROM).then_some(()));
    assert!(banned.is_some(), "not banned behind the flood; the daemon said:\n{}", daemon.errors());
    let told = wait_until(SOON, || warns(&daemon, "attempts are no longer recorded").then_some(()));
    assert!(told.is_some(), "{}", daemon.status());
    fault.end();
    let told = wait_until(SOON, || (!warns(&daemon, "attempts are no longer recorded")).then_some(()));
    assert!(told.is_some(), "{}", daemon.status());
    // What was banned meanwhile is kept, whatever else was let go.
    daemon.kill();
    let daemon = Daemon::start(&server, "");
    assert!(daemon.lists(PREFIX));
}

#[test]
fn what_the_kernel_refuses_for_a_while_is_told_and_made_up_for() {
    for error in ["EPERM", "ENOBUFS"] {
        let Some((_world, server, daemon)) = traced() else { return };
        assert_eq!(daemon.ask(&["ban", "198.51.100.6", "--for", "1h"]).code, Some(0));
        // One refusal, of the message that carries the ban.
        let what = format!("sendto,sendmsg:error={error}:when=1");
        let Some(fault) = Fault::inject(&server, &daemon, &what) else { return };
        server.append(LOG, failed_lines(5000, 3, "root", FROM));
        daemon.wait_for(SOON, "the refusal to be told", || {
            daemon.errors().contains("the kernel refused a change").then_some(())
        });
        fault.end();
        let kernel = Kernel::new(server.clone());
        // The next change that the kernel takes makes it look whether anything lacks.
        attack(&server, &daemon, (5100, "198.51.100.8"));
        daemon.wait_for(SOON, "the ban that was refused", || kernel.holds("ban4", FROM).then_some(()));
        daemon.wait_for(SOON, "no warning", || {
            (daemon.status()["warnings"] == serde_json::json!([])).then_some(())
        });
    }
}

#[test]
fn what_the_kernel_refused_once_is_made_up_for_though_nobody_attacks() {
    let Some((_world, server, daemon)) = traced() else { return };
    assert_eq!(daemon.ask(&["ban", "198.51.100.6", "--for", "1h"]).code, Some(0));
    let Some(fault) = Fault::inject(&server, &daemon, "sendto,sendmsg:error=ENOBUFS:when=1") else { return };
    server.append(LOG, failed_lines(5000, 3, "root", FROM));
    daemon.wait_for(SOON, "the refusal to be told", || {
        daemon.errors().contains("the kernel refused a change").then_some(())
    });
    let refused = Instant::now();
    fault.end();
    let kernel = Kernel::new(server.clone());
    daemon.wait_for(SOON, "the ban that was refused", || kernel.holds("ban4", FROM).then_some(()));
    say_figure(&format!("a ban that the kernel refused: there {:?} later", refused.elapsed()));
    daemon.wait_for(SOON, "no warning", || {
        (daemon.status()["warnings"] == serde_json::json!([])).then_some(())
    });
}

/// A control group that limits memory; removed when dropped.
struct Limited {
    directory: PathBuf,
}

impl Limited {
    /// `None`, with a word, if none can be made here.
    fn new(bytes: u64, server: &Host) -> Option<Limited> {
        let name = format!("pillory-lab-{}", server.pid());
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let (directory, limit) = match v1.join("memory.limit_in_bytes").exists() {
            true => (v1.join(name), "memory.limit_in_bytes"),
            false => (Path::new("/sys/fs/cgroup").join(name), "memory.max"),
        };
        let made = std::fs::create_dir(&directory);
        let group = Limited { directory };
        match made.and_then(|()| std::fs::write(group.directory.join(limit), bytes.to_string())) {
            Ok(()) => Some(group),
            Err(error) => {
                say_skipped(&format!("no memory cgroup can be made here: {error}"));
                None
            }
        }
    }

    /// A program and its arguments that start another one inside.
    fn through(&self) -> Vec<String> {
        let script = format!("echo $$ >{}/cgroup.procs && exec \"$@\"", self.directory.display());
        ["sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        // It is busy until the last process in it is reaped.
        wait_until(SOON, || std::fs::remove_dir(&self.directory).is_ok().then_some(()));
    }
}

#[test]
fn a_hundred_thousand_sources_are_counted_within_a_memory_cgroup_of_64_mib() {
    const SOURCES: u32 = 100_000;
    let Some((world, server)) = quiet_server() else { return };
    let Some(group) = Limited::new(64 * 1024 * 1024, &server) else { return };
    // What lies in a tmpfs counts as memory of whoever wrote it, so the state needs a disk.
    let place =
        Place(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/lab/state-{}", server.pid())));
    std::fs::create_dir_all(&place.0).expect("it is made");
    let on_disk = place.0.canonicalize().expect("it is there").display().to_string();
    server.run("mount", &["--bind", &on_disk, STATE_DIR]);
    let options = DaemonOptions {
        config: Some("widen = false\n".to_owned()),
        through: group.through(),
        ..DaemonOptions::default()
    };
    let daemon = Daemon::start_with(&server, &options);
    let inside = std::fs::read_to_string(group.directory.join("cgroup.procs")).expect("it is read");
    assert!(inside.lines().any(|pid| pid == daemon.pid().to_string()), "{inside}");
    let addr = |number: u32| format!("{}.{}.{}.9", 20 + (number >> 16), (number >> 8) & 0xff, number & 0xff);
    for first in (0..SOURCES).step_by(10_000) {
        let lines =
            (first..first + 10_000).map(|number| failed_line(10_000 + number, "alice", &addr(number)));
        server.append(LOG, lines.collect::<String>());
    }
    server.append(LOG, failed_lines(5000, 3, "root", FROM));
    let kernel = world.kernel();
    let alive = || std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap_or_default();
    let banned = wait_until(Duration::from_secs(60), || kernel.holds("ban4", FROM).then_some(()));
    assert!(banned.is_some(), "not banned behind them; the daemon said:\n{}\n{}", daemon.errors(), alive());
    assert_eq!(daemon.counted(&addr(SOURCES - 1)), (1.0, 1));
    say_figure(&format!(
        "memory cgroup of 64 MiB: peak RSS {:.1} MiB",
        daemon.peak_rss_kib() as f64 / 1024.0
    ));
}

#[test]
fn a_kernel_without_landlock_or_seccomp_is_said_and_bans_go_on() {
    if !need(&["strace"]) {
        return;
    }
    for (lacks, words) in [
        ("landlock_create_ruleset", "sandboxed by seccomp only (this kernel has no Landlock"),
        ("seccomp", ") only ("),
        ("landlock_create_ruleset,seccomp", "is not sandboxed (this kernel has no Landlock"),
    ] {
        let Some((_world, server)) = quiet_server() else { return };
        let inject = format!("inject={lacks}:error=ENOSYS");
        let trace = ["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e", &inject];
        let options = DaemonOptions {
            config: Some(String::new()),
            through: trace.map(str::to_owned).to_vec(),
            ..DaemonOptions::default()
        };
        let daemon = Daemon::start_with(&server, &options);
        let said = daemon.errors();
        let warning = said.lines().find(|line| line.contains("not fully sandboxed"));
        assert!(warning.is_some_and(|line| line.contains("WARN")), "{lacks}: {said}");
        for command in ["status", "doctor"] {
            let answer = daemon.ask(&[command]);
            assert!(answer.out.contains(words), "{lacks}: {command}: {answer:?}");
        }
        attack(&server, &daemon, (5000, FROM));
    }
}

#[test]
fn lines_without_text_are_read_within_a_memory_cgroup_of_64_mib() {
    let Some((world, server)) = quiet_server() else { return };
    let Some(group) = Limited::new(64 * 1024 * 1024, &server) else { return };
    let options =
        DaemonOptions { config: Some(String::new()), through: group.through(), ..DaemonOptions::default() };
    let daemon = Daemon::start_with(&server, &options);
    // Each is a record, and what is known of a record is larger than such a line.
    server.append(LOG, "\n".repeat(6 << 20));
    server.append(LOG, failed_lines(5000, 3, "root", FROM));
    let kernel = world.kernel();
    let banned = wait_until(Duration::from_secs(60), || kernel.holds("ban4", FROM).then_some(()));
    assert!(banned.is_some(), "not banned behind them; the daemon said:\n{}", daemon.errors());
    let peak = daemon.peak_rss_kib() as f64 / 1024.0;
    say_figure(&format!("six million empty lines in a memory cgroup of 64 MiB: peak RSS {peak:.1} MiB"));
}

#[test]
fn thirty_two_descriptors_are_enough_or_what_to_do_is_said() {
    if !need(&["prlimit"]) {
        return;
    }
    let Some((_world, server)) = quiet_server() else { return };
    let options = DaemonOptions {
        config: Some(String::new()),
        through: ["prlimit", "--nofile=32"].map(str::to_owned).to_vec(),
        ..DaemonOptions::default()
    };
    let daemon = Daemon::start_with(&server, &options);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).expect("it runs");
    assert!(
        limits.lines().any(|line| line.starts_with("Max open files") && line.contains(" 32 ")),
        "{limits}"
    );
    // More clients at once than there are descriptors: some may be turned away, none may hinder a ban.
    let clients: Vec<_> =
        (0..40).filter_map(|_| std::os::unix::net::UnixStream::connect(server.path(CONTROL)).ok()).collect();
    assert!(!clients.is_empty());
    attack(&server, &daemon, (5000, FROM));
    drop(clients);
    let listed = || {
        let answer = daemon.ask(&["list"]);
        (answer.code == Some(0) && answer.out.contains(FROM)).then_some(())
    };
    daemon.wait_for(SOON, "an answer", listed);
    // The store is opened anew, logs are rotated, facts are read: all of it needs descriptors.
    std::fs::rename(server.path(LOG), server.path("/var/log/auth.log.1")).expect("it is renamed");
    server.write(LOG, "");
    attack(&server, &daemon, (5100, "198.51.100.8"));
    assert!(server.path(format!("{STATE_DIR}/pillory.db")).exists());
}
