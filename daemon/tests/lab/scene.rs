//! The usual scene: a server that logs, serves ssh and is guarded by the daemon; and what tests ask of it.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pillory_core::net::Prefix;
use serde_json::Value;

use super::client::{Attacker, Try};
use super::daemon::Daemon;
use super::host::Host;
use super::logging::{Logging, Syslog};
use super::sshd::{Sshd, SshdOptions};
use super::wait::wait_for;
use super::world::{PASSWORD, World};

/// The log of sshd that tests write themselves.
pub const LOG: &str = "/var/log/auth.log";
/// Within this something that happens at once has happened, on a machine that does a dozen things at a time.
pub const SOON: Duration = Duration::from_secs(10);
/// A banned source is waited for this long before it counts as unanswered.
pub const SHORT: Duration = Duration::from_millis(500);

/// What stands on the server.
#[derive(Debug, Clone)]
pub struct SceneOptions {
    /// Who records logins.
    pub logging: Logging,
    /// See [`SshdOptions`].
    pub use_pam: bool,
    /// More lines for sshd's configuration: `MaxAuthTries 3`.
    pub sshd: Vec<String>,
    /// The daemon's configuration.
    pub config: String,
}

impl Default for SceneOptions {
    fn default() -> Self {
        SceneOptions { logging: Logging::Rsyslog, use_pam: false, sshd: Vec::new(), config: String::new() }
    }
}

/// A guarded server. Fields are dropped from top to bottom.
#[derive(Debug)]
pub struct Scene {
    /// The daemon under test.
    pub daemon: Daemon,
    /// A real sshd on port 22.
    pub sshd: Sshd,
    /// Who records logins.
    pub syslog: Syslog,
    /// Everything else.
    pub world: World,
    sentinels: AtomicUsize,
}

impl Scene {
    /// A server with auth.log, an sshd without PAM (it answers at once) and the daemon; `None` if skipped.
    pub fn new(config: &str) -> Option<Scene> {
        Scene::with(&SceneOptions { config: config.to_owned(), ..SceneOptions::default() })
    }

    /// The same with other logging or PAM.
    pub fn with(options: &SceneOptions) -> Option<Scene> {
        let world = World::with(options.logging.needs())?;
        let syslog = options.logging.start(&world.server);
        let sshd = Sshd::start_with(
            &world.server,
            &SshdOptions { use_pam: options.use_pam, more: options.sshd.clone(), ..SshdOptions::default() },
        );
        let daemon = Daemon::start(&world.server, &options.config);
        Some(Scene { daemon, sshd, syslog, world, sentinels: AtomicUsize::new(0) })
    }

    /// Waits until the prefix is in the kernel (sets or blackhole routes) and in the ledger.
    #[track_caller]
    pub fn wait_banned(&self, prefix: &str) {
        let wanted: Prefix = prefix.parse().expect("a prefix");
        self.daemon.wait_for(SOON, &format!("{prefix} in the kernel"), || {
            let kernel = self.world.kernel();
            (kernel.banned().contains(&wanted) || kernel.blackholes().contains(&wanted)).then_some(())
        });
        self.daemon
            .wait_for(SOON, &format!("{prefix} in the ledger"), || self.daemon.lists(prefix).then_some(()));
    }

    /// Waits until the prefix is neither in the kernel nor in the ledger.
    #[track_caller]
    pub fn wait_free(&self, prefix: &str, deadline: Duration) {
        let wanted: Prefix = prefix.parse().expect("a prefix");
        self.daemon.wait_for(deadline, &format!("{prefix} to be free"), || {
            let kernel = self.world.kernel();
            let held = kernel.banned().contains(&wanted) || kernel.blackholes().contains(&wanted);
            (!held && !self.daemon.lists(prefix)).then_some(())
        });
    }

    /// Guesses until the server is out of reach; returns how many guesses it answered.
    pub fn guess(&self, attacker: &Attacker, user: &str) -> usize {
        (0..10).take_while(|_| attacker.try_password(user, "wrong") == super::client::Outcome::Denied).count()
    }

    /// Waits until everything that has happened at sshd so far has been judged.
    ///
    /// First sshd has to be done with every connection; then a stranger comes, and is counted after all of them.
    #[track_caller]
    pub fn settle(&self) {
        self.settle_beside(0);
    }

    /// The same while so many sessions stay open.
    #[track_caller]
    pub fn settle_beside(&self, sessions: usize) {
        wait_for(SOON, "sshd to be done with its connections", || {
            (self.sshd.serving() == sessions).then_some(())
        });
        let number = self.sentinels.fetch_add(1, Ordering::Relaxed);
        let sentinel = self.world.attacker(&format!("10.66.{}.{}", 200 + number / 250, 1 + number % 250));
        let user = format!("sentinel{number}");
        let _connection = sentinel.start_login(&Try { user: &user, ..Try::default() });
        self.daemon.wait_for(SOON, "the sentinel to be counted", || {
            (self.daemon.attempts_of(&sentinel.addr.to_string()) > 0).then_some(())
        });
    }
}

impl Scene {
    /// Waits until a session from `addr`, which is over, protects that address no longer.
    ///
    /// The daemon looks at sessions every few seconds, and at once when somebody logs in: so somebody does.
    #[track_caller]
    pub fn wait_no_session(&self, addr: &str) {
        let elsewhere = self.world.friend("192.0.2.209");
        self.daemon.wait_for(SOON, &format!("the session from {addr} to be seen gone"), || {
            elsewhere.try_password("bob", PASSWORD);
            let never = self.daemon.explain(addr)["never_banned"].clone();
            never.as_array().is_some_and(Vec::is_empty).then_some(())
        });
    }
}

impl Daemon {
    /// `pillory explain PREFIX --json`, whose exit status says whether it is banned.
    #[track_caller]
    pub fn explain(&self, prefix: &str) -> Value {
        let answer = self.ask(&["explain", prefix, "--json"]);
        let value = answer.json();
        let code = if value["banned"] == true { 0 } else { 1 };
        assert_eq!(answer.code, Some(code), "{answer:?}");
        value
    }

    /// What the jails count for a source below `maxretry`: points and attempts.
    #[track_caller]
    pub fn counted(&self, prefix: &str) -> (f64, u64) {
        let value = self.explain(prefix);
        let jails = value["points"].as_array().expect("points is an array");
        let points = jails.iter().filter_map(|jail| jail["points"].as_f64()).sum();
        (points, jails.iter().filter_map(|jail| jail["attempts"].as_u64()).sum())
    }

    /// The failed attempts of `pillory attempts --ip PREFIX --json`.
    #[track_caller]
    pub fn attempts_of(&self, prefix: &str) -> u64 {
        let answer = self.ask(&["attempts", "--ip", prefix, "-n", "0", "--json"]);
        assert!(matches!(answer.code, Some(0 | 1)), "{answer:?}");
        let rows = answer.json();
        let failed = rows.as_array().expect("an array").iter().filter(|row| !row["class"].is_null());
        failed.map(|row| row["attempts"].as_u64().expect("attempts is a number")).sum()
    }

    /// The ban of a prefix as `pillory list --json` shows it.
    #[track_caller]
    pub fn ban_of(&self, prefix: &str) -> Option<Value> {
        self.list().into_iter().find(|ban| ban["prefix"] == prefix)
    }

    /// True if `pillory list` shows this prefix.
    #[track_caller]
    pub fn lists(&self, prefix: &str) -> bool {
        self.ban_of(prefix).is_some()
    }

    /// Records that the jail was given so far.
    #[track_caller]
    pub fn lines(&self, jail: &str) -> u64 {
        let status = self.status();
        let jails = status["jails"].as_array().expect("jails is an array");
        let jail = jails.iter().find(|known| known["name"] == jail).expect("the jail runs");
        jail["lines"].as_u64().expect("lines is a number")
    }
}

/// A line of sshd as rsyslogd writes it to auth.log, stamped now.
pub fn sshd_line(pid: u32, message: &str) -> String {
    format!("{} server sshd[{pid}]: {message}\n", jiff::Zoned::now().strftime("%b %e %H:%M:%S"))
}

/// The line of a wrong password; each `pid` is a connection of its own.
pub fn failed_line(pid: u32, user: &str, addr: &str) -> String {
    sshd_line(pid, &format!("Failed password for {user} from {addr} port {} ssh2", 30_000 + pid % 30_000))
}

/// `count` such lines, each of a connection of its own, pids from `first` on.
pub fn failed_lines(first: u32, count: u32, user: &str, addr: &str) -> String {
    (first..first + count).fold(String::new(), |mut text, pid| {
        write!(text, "{}", failed_line(pid, user, addr)).expect("a string takes it");
        text
    })
}

/// A server whose auth.log the test writes itself, with no sshd; for tests of files and of bad input.
pub fn quiet_server() -> Option<(World, Host)> {
    let world = World::new()?;
    let server = world.server.clone();
    server.write(LOG, "");
    Some((world, server))
}
