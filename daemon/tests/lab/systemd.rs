//! A host of the lab with the machine's own systemd as its first process, and the shipped unit installed, or to be.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::daemon::{Answer, binary};
use super::host::Host;
use super::sshd::{SshdOptions, write_config};
use super::tools;
use super::wait::wait_until;

/// Programs that must be here for it.
pub const SYSTEMD: [&str; 5] = ["systemd", "systemctl", "systemd-journald", "sshd", "journalctl"];

/// How long a state may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A systemd that runs `ssh.service`, journald and `pillory.service`. It shares the network of a server of the lab, and
/// has files, processes and cgroups of its own. All of it ends when this is dropped.
#[derive(Debug)]
pub struct Systemd {
    keeper: Child,
    /// Process id of the first process, as seen by the real host.
    pub pid: u32,
}

impl Systemd {
    /// Boots it with files that are written before: path and text. `None` if it cannot be, and why was said.
    pub fn boot(server: &Host, files: &[(&str, &str)]) -> Option<Systemd> {
        Systemd::boot_with(server, files, Some(&binary()))
    }

    /// The same without the daemon, for a test that installs it.
    pub fn bare(server: &Host, files: &[(&str, &str)]) -> Option<Systemd> {
        Systemd::boot_with(server, files, None)
    }

    fn boot_with(server: &Host, files: &[(&str, &str)], program: Option<&Path>) -> Option<Systemd> {
        write_config(server, &SshdOptions { use_pam: false, ..SshdOptions::default() });
        for (path, text) in files {
            server.write(path, text);
        }
        // Its own systemd makes it, from the package's sysusers.d.
        assert!(!server.read("/etc/passwd").contains("pillory"));
        server.write("/run/systemd.sh", include_str!("systemd.sh"));
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut keeper = server
            .command("sh")
            .arg("/run/systemd.sh")
            .env("BINARY", program.unwrap_or(Path::new("")))
            .env("PACKAGING", manifest.join("../packaging"))
            .env("TOOLS", tools::tools_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let mut said = String::new();
        let output = keeper.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut said).expect("the script says a line");
        let pid = said.trim().strip_prefix("booting ").and_then(|pid| pid.parse().ok());
        let host = Systemd { keeper, pid: pid.unwrap_or_default() };
        if pid.is_none() {
            tools::say_skipped(&format!("a systemd cannot be booted here: {}", said.trim()));
            return None;
        }
        host.wait("the boot to end", || {
            (host.property("multi-user.target", "ActiveState") == "active").then_some(())
        });
        Some(host)
    }

    /// Where a path of this host is found by the test itself.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.pid))
    }

    /// A command that will run on this host, with nothing of this environment.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let namespaces = ["--all", "env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"];
        command.arg(format!("--target={}", self.pid)).args(namespaces).args(words).stdin(Stdio::null());
        command
    }

    /// Runs a program on this host to its end.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> Answer {
        self.command(words).output().expect("nsenter starts").into()
    }

    /// The same, which has to succeed. Returns standard output.
    #[track_caller]
    pub fn must(&self, words: &[&str]) -> String {
        let answer = self.run(words);
        assert_eq!(answer.code, Some(0), "{words:?}: {answer:?}\n{}", self.journal());
        answer.out
    }

    /// A property of a unit: `systemctl show`.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", "--property", name, unit]).out.trim().to_owned()
    }

    /// Process id of the daemon as seen by the real host, 0 while there is none.
    pub fn daemon_pid(&self) -> u32 {
        let inside = self.property("pillory.service", "MainPID");
        if inside == "0" {
            return 0;
        }
        // proc_pid_status(5): ids from this namespace inwards.
        let is_it = |status: &str| {
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            ids.split_whitespace().count() > 1 && ids.split_whitespace().last() == Some(&inside)
        };
        let own = std::fs::read_link(format!("/proc/{}/ns/pid", self.pid)).expect("it runs");
        let processes = std::fs::read_dir("/proc").expect("/proc is there").flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| std::fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|link| link == own))
            .find(|pid| is_it(&std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default()))
            .unwrap_or_default()
    }

    /// Everything that was logged since the boot.
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "--quiet"]).out
    }

    /// Waits for something; fails the test with the journal.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, ask: impl FnMut() -> Option<T>) -> T {
        wait_until(PATIENCE, ask).unwrap_or_else(|| panic!("{what} was waited for\n{}", self.journal()))
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // The script ends every process of that host as soon as its input is closed.
        drop(self.keeper.stdin.take());
        if wait_until(Duration::from_secs(10), || self.keeper.try_wait().ok().flatten()).is_none() {
            let _ = self.keeper.kill();
            let _ = self.keeper.wait();
        }
    }
}
