//! What records the logins: rsyslogd as on Debian up to 11, journald as on every newer one, or btmp alone.

use std::process::Stdio;
use std::time::Duration;

use super::host::{Host, Running};
use super::tools;
use super::wait::wait_for;

/// Which records a host keeps. `/var/log/btmp` is written by sshd itself, whichever is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Logging {
    /// A real rsyslogd writes `/var/log/auth.log` with stamps of the traditional kind.
    Rsyslog,
    /// A real journald keeps its journal in `/run/log/journal`.
    Journald,
    /// A real journald keeps its journal in `/var/log/journal`.
    JournaldPersistent,
    /// Nobody listens to syslog.
    BtmpOnly,
}

/// The journal of a host that keeps it in memory.
pub const VOLATILE_JOURNAL: &str = "/run/log/journal";
/// The journal of a host that keeps it on disk.
pub const PERSISTENT_JOURNAL: &str = "/var/log/journal";

const RSYSLOG_CONF: &str = r#"module(load="imuxsock")
$ActionFileDefaultTemplate RSYSLOG_TraditionalFileFormat
$FileOwner root
$FileGroup adm
$FileCreateMode 0640
$DirCreateMode 0755
$Umask 0022
$WorkDirectory /run
auth,authpriv.*  /var/log/auth.log
*.*;auth,authpriv.none  -/var/log/syslog
"#;

/// A running syslog or journal daemon; killed when dropped.
#[derive(Debug)]
pub struct Syslog {
    host: Host,
    which: Logging,
    running: Option<Running>,
}

impl Logging {
    /// Programs that must be here for it.
    pub fn needs(self) -> &'static [&'static str] {
        match self {
            Logging::Rsyslog => &["rsyslogd", "sshd"],
            Logging::Journald | Logging::JournaldPersistent => &["systemd-journald", "journalctl", "sshd"],
            Logging::BtmpOnly => &["sshd"],
        }
    }

    /// Starts it on the host and waits until it listens.
    #[track_caller]
    pub fn start(self, host: &Host) -> Syslog {
        let running = match self {
            Logging::Rsyslog => Some(start_rsyslogd(host)),
            Logging::Journald => Some(start_journald(host, "volatile")),
            Logging::JournaldPersistent => Some(start_journald(host, "persistent")),
            Logging::BtmpOnly => None,
        };
        Syslog { host: host.clone(), which: self, running }
    }
}

impl Syslog {
    /// Everything that was recorded as text: auth.log, or the journal's messages, one a line.
    pub fn text(&self) -> String {
        match self.which {
            Logging::Rsyslog => self.host.read("/var/log/auth.log"),
            Logging::Journald => self.journal(VOLATILE_JOURNAL),
            Logging::JournaldPersistent => self.journal(PERSISTENT_JOURNAL),
            Logging::BtmpOnly => String::new(),
        }
    }

    /// Logs a message as sshd would, through syslog, as its process `pid`.
    #[track_caller]
    pub fn log(&self, pid: u32, message: &str) {
        let socket = std::os::unix::net::UnixDatagram::unbound().expect("a socket can be made");
        let inside = if self.which == Logging::Rsyslog { "/dev/log" } else { "/run/systemd/journal/dev-log" };
        let stamp = jiff::Zoned::now().strftime("%b %e %H:%M:%S");
        // 86: facility authpriv (10), severity info (6), as syslog(3) puts it.
        let line = format!("<86>{stamp} sshd[{pid}]: {message}");
        socket.send_to(line.as_bytes(), self.host.path(inside)).expect("somebody listens to syslog");
    }

    /// Makes rsyslogd open its files anew, as logrotate does.
    pub fn reopen(&self) {
        let running = self.running.as_ref().expect("somebody listens to syslog");
        running.signal(rustix::process::Signal::HUP);
    }

    /// Process id of the daemon that listens to syslog.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Running::pid)
    }

    fn journal(&self, directory: &str) -> String {
        let output = self
            .host
            .command("journalctl")
            .args(["-D", directory, "--no-pager", "-q", "-o", "short"])
            .stderr(Stdio::inherit())
            .output()
            .expect("journalctl starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn start_rsyslogd(host: &Host) -> Running {
    host.write("/etc/rsyslog.conf", RSYSLOG_CONF);
    host.write("/var/log/auth.log", "");
    let mut command = host.command("rsyslogd");
    command.args(["-n", "-f", "/etc/rsyslog.conf", "-i", "/run/rsyslogd.pid"]);
    if let Some(modules) = tools::module_dir("rsyslog") {
        command.arg("-M").arg(modules);
    }
    let mut running = Running::start("rsyslogd", command);
    wait_for(Duration::from_secs(10), "rsyslogd to listen on /dev/log", || {
        assert!(running.is_running(), "rsyslogd ended: {}", running.errors());
        host.path("/dev/log").exists().then_some(())
    });
    running
}

fn start_journald(host: &Host, storage: &str) -> Running {
    host.write(
        "/etc/systemd/journald.conf",
        format!(
            "[Journal]\nStorage={storage}\nRateLimitIntervalSec=0\nAudit=no\nReadKMsg=no\nSplitMode=none\n"
        ),
    );
    host.write("/run/systemd/journal/.lab", "");
    if storage == "persistent" {
        host.write("/var/log/journal/.lab", "");
        host.write("/run/systemd/journal/flushed", "");
    }
    let mut running = Running::start("journald", host.command("systemd-journald"));
    wait_for(Duration::from_secs(10), "journald to listen", || {
        assert!(running.is_running(), "journald ended: {}", running.errors());
        host.path("/run/systemd/journal/dev-log").exists().then_some(())
    });
    let link = host.path("/dev/log");
    std::os::unix::fs::symlink("/run/systemd/journal/dev-log", link).expect("/dev/log is linked");
    running
}
