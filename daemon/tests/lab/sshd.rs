//! A real sshd on a host of the lab.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use super::host::{Host, Running};
use super::tools;

/// How sshd is configured; everything else is OpenSSH's default.
#[derive(Debug, Clone)]
pub struct SshdOptions {
    /// Debian says yes: more lines per failure, and two seconds of delay.
    pub use_pam: bool,
    /// Port.
    pub port: u16,
    /// More lines for its configuration: `MaxStartups 3:50:10`.
    pub more: Vec<String>,
}

impl Default for SshdOptions {
    fn default() -> Self {
        SshdOptions { use_pam: true, port: 22, more: Vec::new() }
    }
}

/// A running sshd; killed when dropped, its sessions when the host ends.
#[derive(Debug)]
pub struct Sshd {
    running: Running,
}

impl Sshd {
    /// Starts one as Debian configures it, and waits until it listens.
    #[track_caller]
    pub fn start(host: &Host) -> Sshd {
        Sshd::start_with(host, &SshdOptions::default())
    }

    /// Starts one and waits until it listens.
    #[track_caller]
    pub fn start_with(host: &Host, options: &SshdOptions) -> Sshd {
        let config = write_config(host, options);
        let mut command = host.command("sshd");
        command.args(["-D", "-f", &config]);
        let mut running = Running::start("sshd", command);
        super::wait_for(std::time::Duration::from_secs(10), "sshd to listen", || {
            assert!(running.is_running(), "sshd ended: {}", running.errors());
            host.listens(options.port).then_some(())
        });
        Sshd { running }
    }

    /// Process id of the listener.
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// How many connections it serves now. Once one is over, everything about it has been logged.
    pub fn serving(&self) -> usize {
        let parent = self.pid().to_string();
        let pids = std::fs::read_dir("/proc").expect("/proc is there").flatten();
        let stats = pids.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        // proc(5): the fourth field of stat is the parent; the second, a name in brackets, may hold anything.
        let parents = stats.filter_map(|stat| Some(stat.rsplit_once(") ")?.1.split(' ').nth(1)?.to_owned()));
        parents.filter(|found| *found == parent).count()
    }
}

/// Writes what an sshd needs to start. Returns the path of its configuration.
#[track_caller]
pub(super) fn write_config(host: &Host, options: &SshdOptions) -> String {
    let key = std::fs::read(host_key()).expect("the host key was made");
    host.write("/etc/ssh/ssh_host_ed25519_key", key);
    let file = host.path("/etc/ssh/ssh_host_ed25519_key");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(file, private).expect("the key's mode is set");
    let config = format!("/etc/ssh/sshd_config_{}", options.port);
    host.write(&config, text(options));
    config
}

fn text(options: &SshdOptions) -> String {
    let pam = if options.use_pam { "yes" } else { "no" };
    let mut text = format!(
        "Port {}\nHostKey /etc/ssh/ssh_host_ed25519_key\nUsePAM {pam}\nPidFile none\nPermitRootLogin yes\n\
         KbdInteractiveAuthentication no\nPasswordAuthentication yes\nX11Forwarding no\nPrintMotd no\n",
        options.port
    );
    for line in &options.more {
        writeln!(text, "{line}").expect("a string takes it");
    }
    text
}

/// True if this sshd was built to write `/var/log/btmp`; Debian 13's is not.
pub fn sshd_writes_btmp() -> bool {
    let path = tools::find("sshd").expect("sshd was looked for").path;
    let program = std::fs::read(path).expect("sshd can be read");
    program.windows(13).any(|bytes| bytes == b"/var/log/btmp")
}

/// The host key of every sshd of the lab; made once and kept under `target/`.
fn host_key() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = tools::lab_dir().join("ssh_host_ed25519_key");
        if path.exists() {
            return path;
        }
        let fresh = path.with_extension(std::process::id().to_string());
        let program = tools::find("ssh-keygen").expect("ssh-keygen was looked for");
        let made = program
            .command()
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"])
            .arg(&fresh)
            .status()
            .expect("ssh-keygen starts");
        assert!(made.success(), "ssh-keygen failed: {made}");
        let _ = std::fs::remove_file(format!("{}.pub", fresh.display()));
        std::fs::rename(&fresh, &path).expect("the key is put in place");
        path
    })
}
