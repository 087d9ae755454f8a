//! fail2ban as Debian packages it, with its own nftables action, as a subject of drills.
//!
//! For information only: nothing is judged, and nothing of it is part of the project.

use super::host::{Host, Running};
use super::scene::LOG;
use super::subject::{Settings, Subject};
use super::tools;

const DIRECTORY: &str = "/etc/fail2ban";
/// Its socket, and its database in a directory below; nothing lies where a service of the real host would have it.
const PLACE: &str = "/run/peer";
const DATABASE: &str = "/run/peer/state";

/// See the module.
#[derive(Debug)]
pub struct Fail2ban {
    host: Host,
    settings: Settings,
    running: Option<Running>,
}

impl Fail2ban {
    /// Not started yet; nothing, with a word, if it is not here.
    pub fn new(host: Host) -> Option<Fail2ban> {
        let package = tools::stock_fail2ban()
            .filter(|_| tools::need(&["fail2ban-server", "fail2ban-client", "python3"]))?;
        host.run("cp", &["-r", &package.display().to_string(), DIRECTORY]);
        host.write("/etc/fail2ban/jail.d/defaults-debian.conf", "");
        let database = format!("{DATABASE}/fail2ban.sqlite3");
        host.write(
            "/etc/fail2ban/fail2ban.local",
            format!(
                "[Definition]\nlogtarget = STDERR\nsocket = {PLACE}/socket\npidfile = {PLACE}/pid\ndbfile = {database}\n"
            ),
        );
        std::fs::create_dir_all(host.path(DATABASE)).expect("a directory is made");
        Some(Fail2ban { host, settings: Settings::default(), running: None })
    }

    fn configure(&self) {
        let Settings { maxretry, bantime_s, other_log, is_spoilt } = &self.settings;
        let bantime = if *is_spoilt { "10x".to_owned() } else { bantime_s.to_string() };
        let mut text = format!(
            "[DEFAULT]\nmaxretry = {maxretry}\nfindtime = 1d\nbantime = {bantime}\nusedns = no\nbackend = auto\n\
             banaction = nftables[type=allports]\nbanaction_allports = nftables[type=allports]\n\
             [sshd]\nenabled = true\nlogpath = {LOG}\n"
        );
        if let Some(log) = other_log {
            text += &format!("[other]\nenabled = true\nfilter = sshd\nlogpath = {log}\n");
        }
        self.host.write("/etc/fail2ban/jail.local", text);
    }

    fn words(&self, program: &str, through: &[&str]) -> std::process::Command {
        // A program of the host's own that starts an unpacked one: that one alone gets what it needs.
        let Some((first, rest)) = through.split_first() else { return self.host.command(program) };
        let tool = tools::find(program).expect("it was there");
        let mut command = self.host.command(first);
        command.args(rest);
        if let Some(libraries) = tool.libraries {
            command.arg("env").arg(format!("LD_LIBRARY_PATH={libraries}"));
            command.args(tools::unpacked_environment());
        }
        command.arg(tool.path);
        command
    }
}

impl Subject for Fail2ban {
    fn host(&self) -> &Host {
        &self.host
    }

    fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }

    fn spawn(&self, through: &[&str]) -> Running {
        self.configure();
        let mut command = self.words("fail2ban-server", through);
        // As the unit of the package starts it.
        command.args(["-xf", "-c", DIRECTORY, "start"]);
        Running::start("fail2ban", command)
    }

    fn is_ready(&self, said: &str) -> bool {
        let jails = 1 + usize::from(self.settings.other_log.is_some());
        said.matches("' started").count() >= jails
    }

    fn slot(&mut self) -> &mut Option<Running> {
        &mut self.running
    }

    fn reload(&self) -> Option<i32> {
        self.configure();
        let mut command = self.host.command("fail2ban-client");
        command.args(["-c", DIRECTORY, "reload"]).output().expect("it starts").status.code()
    }

    fn second(&self) -> Running {
        let mut command = self.host.command("fail2ban-server");
        command.args(["-f", "-c", DIRECTORY, "start"]);
        Running::start("a second one", command)
    }

    fn table(&self) -> (&'static str, &'static str, &'static str) {
        ("f2b-table", "addr-set-sshd", "addr6-set-sshd")
    }

    fn database(&self) -> (&'static str, &'static str) {
        (DATABASE, "fail2ban.sqlite3")
    }
}
