//! Drills: nobody takes the daemon's log, or part of the daemon has a fault. Bans go on, or the process ends at once.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use serde_json::Value;

use crate::drills_load::{crowd, far_apart};
use crate::lab::{
    Answer, CONFIG, CONTROL, Daemon, DaemonOptions, Host, Running, SOON, STATE_DIR, World, binary,
    failed_lines, pillory, quiet_server, wait_for,
};
use crate::meddling::fill;

const LOG: &str = "/var/log/auth.log";

/// Where a log fills a disk.
const DISK: &str = "/run/disk";

/// A daemon whose log goes where the test says.
struct Quiet {
    world: World,
    server: Host,
    running: Running,
}

impl Quiet {
    /// `to`: a redirection of the shell.
    fn start(to: &str) -> Option<Quiet> {
        Some(Quiet::on(prepared()?, to, &[]))
    }

    fn on((world, server): (World, Host), to: &str, args: &[&str]) -> Quiet {
        let mut command = server.command("sh");
        command.args(["-c", &format!("exec \"$@\" {to}"), "sh"]).arg(binary());
        command.args(["run", "--state-dir", STATE_DIR, "--control", CONTROL, "--config", CONFIG]).args(args);
        let mut quiet = Quiet { world, server, running: Running::start("pillory", command) };
        wait_for(SOON, "the daemon to enforce", || {
            assert!(quiet.running.is_running(), "it ended: {:?}", quiet.running.wait(SOON));
            let said = quiet.ask(&["status", "--json"]).out;
            serde_json::from_str(&said).ok().filter(|status: &Value| status["enforcing"] == true).map(drop)
        });
        quiet
    }

    fn ask(&self, args: &[&str]) -> Answer {
        pillory(&self.server, &[args, &["--control", CONTROL]].concat())
    }

    fn warnings(&self) -> String {
        self.ask(&["status", "--json"]).json()["warnings"].to_string()
    }

    /// A new attacker is shut out within the time that any ban takes.
    #[track_caller]
    fn bans(&self, number: u8) {
        self.bans_in("ban4", number);
    }

    /// The same in a set of a jail.
    #[track_caller]
    fn bans_in(&self, set: &str, number: u8) {
        let addr = format!("198.51.100.{number}");
        self.server.append(LOG, failed_lines(5000, 3, "root", &addr));
        wait_for(SOON, &format!("a ban of {addr}"), || {
            let set = self.world.kernel().set(set);
            set.iter().any(|element| element.prefix.to_string() == format!("{addr}/32")).then_some(())
        });
    }

    fn warns(&self, text: &str) {
        wait_for(SOON, &format!("a warning {text:?}"), || self.warnings().contains(text).then_some(()));
    }

    /// Ends it; a log that nobody takes holds that up by a second or two.
    fn stop(mut self) {
        self.running.signal(Signal::TERM);
        assert_eq!(self.running.wait(Duration::from_secs(8)), Some(0));
    }
}

/// A server with a small disk.
fn prepared() -> Option<(World, Host)> {
    let (world, server) = quiet_server()?;
    server.run("mkdir", &["-p", DISK, "/run/pillory"]);
    server.run("mount", &["-t", "tmpfs", "-o", "size=1m,mode=755", "disk", DISK]);
    server.write(CONFIG, "decoys = 0\nwiden = false\nmaxretry = 1\n");
    Some((world, server))
}

/// A FIFO of this host, opened for reading.
fn fifo(server: &Host, path: &str) -> File {
    server.run("mkfifo", &[path]);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let opened = rustix::fs::open(server.path(path), flags, rustix::fs::Mode::empty());
    File::from(opened.expect("it opens"))
}

#[test]
fn a_log_on_a_disk_that_fills_stops_no_ban_and_is_warned_about_until_it_goes_on() {
    let Some(quiet) = Quiet::start(&format!("2>>{DISK}/log")) else { return };
    quiet.bans(1);
    let filler = fill(&quiet.server, DISK);
    (2..40).for_each(|number| quiet.bans(number));
    quiet.warns("the log cannot be written: No space left on device");
    filler.set_len(0).expect("there is room again");
    quiet.bans(40);
    wait_for(SOON, "a word about lost lines", || {
        quiet.server.read(format!("{DISK}/log")).contains("lines of the log are lost").then_some(())
    });
    assert!(!quiet.warnings().contains("the log cannot be written"), "{}", quiet.warnings());
    quiet.stop();
}

#[test]
fn a_log_that_cannot_be_written_at_all_keeps_no_daemon_from_starting() {
    for to in ["2>/dev/full", ">/dev/full 2>&1", "2>&-"] {
        let Some(quiet) = Quiet::start(to) else { return };
        quiet.bans(1);
        quiet.bans(2);
        quiet.stop();
    }
}

#[test]
fn a_log_whose_reader_is_gone_stops_no_ban() {
    let Some(quiet) = Quiet::start("2>&1 | true") else { return };
    (1..20).for_each(|number| quiet.bans(number));
    quiet.warns("the log cannot be written: Broken pipe");
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_ban_no_answer_and_no_end() {
    let Some((world, server)) = prepared() else { return };
    let _unread = fifo(&server, "/run/disk/pipe");
    let quiet = Quiet::on((world, server), "2>/run/disk/pipe", &[]);
    // Far more than a pipe holds.
    let many = 600;
    crowd(&quiet.server, many, "root", far_apart);
    wait_for(SOON, "their bans", || (quiet.world.kernel().banned().len() >= many as usize).then_some(()));
    quiet.bans(1);
    quiet.warns("nobody reads the log");
    quiet.stop();
}

#[test]
fn a_log_that_is_read_late_says_how_many_lines_were_lost() {
    let Some((world, server)) = prepared() else { return };
    let late = fifo(&server, "/run/disk/pipe");
    let quiet = Quiet::on((world, server), "2>/run/disk/pipe", &[]);
    let many = 18_000;
    crowd(&quiet.server, many, "root", far_apart);
    quiet.warns("nobody reads the log");
    wait_for(4 * SOON, "their bans", || (quiet.world.kernel().banned().len() >= many as usize).then_some(()));
    let mut said = Vec::new();
    wait_for(SOON, "a word about lost lines", || {
        let mut polled = [PollFd::new(&late, PollFlags::IN)];
        let patience = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while rustix::event::poll(&mut polled, Some(&patience)).is_ok_and(|count| count > 0) {
            // It ends with an error once nothing is there.
            let _ = (&late).read_to_end(&mut said);
        }
        String::from_utf8_lossy(&said).contains("lines of the log are lost").then_some(())
    });
    assert!(!quiet.warnings().contains("nobody reads the log"), "{}", quiet.warnings());
    let text = String::from_utf8_lossy(&said).into_owned();
    let line = text.lines().find(|line| line.contains("lines of the log are lost")).unwrap_or_default();
    let lost = line.rsplit_once("lines=").and_then(|(_, number)| number.trim().parse::<usize>().ok());
    // Each ban has two lines.
    let bans = text.matches(" Ban ").count() + text.matches(" ban jail=").count();
    assert!(lost.is_some_and(|lost| lost + bans >= 2 * many as usize), "{line}; {bans} of {many}");
}

#[test]
fn a_fifo_in_the_place_of_fail2bans_log_holds_up_nothing_and_is_said() {
    for is_read in [false, true] {
        let Some((world, server)) = prepared() else { return };
        let jails = "[DEFAULT]\nbackend = polling\nmaxretry = 3\n[sshd]\nenabled = true\n";
        let Some(()) = crate::fail2ban::install(&server, jails) else { return };
        server.write("/etc/fail2ban/fail2ban.local", "[DEFAULT]\nlogtarget = /run/disk/f2b.log\n");
        let reader = fifo(&server, "/run/disk/f2b.log");
        let _reader = is_read.then_some(reader);
        let quiet = Quiet::on((world, server), "2>/dev/null", &["--fail2ban", "/etc/fail2ban"]);
        (1..4).for_each(|number| quiet.bans_in("ban4_sshd", number));
        quiet.warns("cannot write bans to fail2ban's log /run/disk/f2b.log: it is no regular file");
        quiet.stop();
    }
}

/// What makes a daemon have a fault at this point.
fn fault_at(point: &str) -> Vec<(String, String)> {
    let env = [("PILLORY_CRASH_AT", point), ("PILLORY_CRASH_BY", "panic")];
    env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

#[test]
fn a_fault_in_the_engine_the_kernels_thread_or_the_stores_ends_the_process_with_70_and_no_ban() {
    for point in ["decided", "kernel_told", "ledger_written"] {
        let Some((world, server)) = quiet_server() else { return };
        let before = "203.0.113.5/32".parse().expect("a prefix");
        let daemon = Daemon::start(&server, "widen = false\n");
        assert_eq!(daemon.ask(&["ban", "203.0.113.5", "--for", "1h"]).code, Some(0));
        daemon.kill();
        let (env, config) = (fault_at(point), Some("widen = false\n".to_owned()));
        let daemon = Daemon::start_with(&server, &DaemonOptions { config, env, ..DaemonOptions::default() });
        server.append(LOG, failed_lines(5000, 3, "root", "198.51.100.7"));
        let (code, said) = daemon.ends();
        assert_eq!(code, Some(70), "{point}: {said}");
        assert!(said.contains("a fault in Pillory") && said.contains("daemon/src/crash.rs"), "{said}");
        assert!(world.kernel().banned().contains(&before), "{point}");
        let daemon = Daemon::start(&server, "widen = false\n");
        daemon.wait_for(SOON, "the ban", || daemon.lists("198.51.100.7/32").then_some(()));
    }
}

#[test]
fn a_fault_in_a_source_is_told_and_the_daemon_goes_on() {
    let Some((_world, server)) = quiet_server() else { return };
    let daemon =
        Daemon::start_with(&server, &DaemonOptions { env: fault_at("read"), ..DaemonOptions::default() });
    server.append(LOG, failed_lines(5000, 3, "root", "198.51.100.7"));
    let warned =
        || daemon.status()["warnings"].to_string().contains("source file: a fault in Pillory ended it");
    daemon.wait_for(SOON, "a warning", || warned().then_some(()));
    // It is read again, which in this test is the same fault.
    let faults = || daemon.errors().matches("a fault in Pillory; please report it").count();
    daemon.wait_for(2 * SOON, "another try", || (faults() > 1).then_some(()));
    assert_eq!(daemon.ask(&["ban", "198.51.100.8"]).code, Some(0));
    assert_eq!(daemon.stop().0, Some(0));
}
