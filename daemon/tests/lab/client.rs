//! Who comes to the server: attackers and friends, each from an address of their own.

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::daemon::Answer;
use super::host::Host;
use super::network::{Knocking, connect_from};
use super::tools;
use super::wait::wait_for;
use super::world::{SERVER4, SERVER6};

/// What became of a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Logged in, ran a command, got its exit status.
    Accepted,
    /// The server answered and said no.
    Denied,
    /// The connection broke after it stood: closed or reset by the server, or silent.
    Broken(String),
    /// No connection at all: timed out, refused, unreachable.
    Unreachable(String),
}

/// One connection of an ssh client and what it tries.
#[derive(Debug, Clone)]
pub struct Try<'a> {
    /// Account.
    pub user: &'a str,
    /// Password, the same at each prompt.
    pub password: &'a str,
    /// How many times the password is tried over one connection.
    pub prompts: u32,
    /// Port of the server.
    pub port: u16,
    /// How long the client waits for the connection, in seconds.
    pub connect_timeout_s: u32,
}

impl Default for Try<'_> {
    fn default() -> Self {
        Try { user: "root", password: "wrong", prompts: 1, port: 22, connect_timeout_s: 3 }
    }
}

/// Somebody with an address.
#[derive(Debug, Clone)]
pub struct Attacker {
    host: Host,
    /// Where they come from.
    pub addr: IpAddr,
}

impl Attacker {
    /// Somebody on `host` who comes from `addr`.
    pub fn new(host: Host, addr: IpAddr) -> Attacker {
        Attacker { host, addr }
    }

    /// The server's address of the same family.
    pub fn server(&self) -> IpAddr {
        if self.addr.is_ipv4() { SERVER4 } else { SERVER6 }
    }

    /// One connection, one password, by a real ssh client.
    pub fn try_password(&self, user: &str, password: &str) -> Outcome {
        self.try_login(&Try { user, password, ..Try::default() })
    }

    /// One connection by a real ssh client.
    pub fn try_login(&self, what: &Try<'_>) -> Outcome {
        self.start_login(what).outcome()
    }

    /// Starts a connection by a real ssh client and does not wait for its end; many can run at once.
    pub fn start_login(&self, what: &Try<'_>) -> Session {
        let mut command = self.ssh(what);
        command.args([&format!("{}@{}", what.user, self.server()), "true"]);
        Session::start(command)
    }

    /// Logs in with a terminal and stays until the session is dropped.
    #[track_caller]
    pub fn log_in(&self, user: &str, password: &str) -> Session {
        let mut command = self.ssh(&Try { user, password, connect_timeout_s: 10, ..Try::default() });
        command.args(["-tt", &format!("{user}@{}", self.server()), "echo logged in; cat"]);
        command.stdin(Stdio::piped());
        let mut session = Session::start(command);
        let mut output = session.child.stdout.take().expect("standard output is piped");
        let mut first = [0; 9];
        if output.read_exact(&mut first).is_err() || &first != b"logged in" {
            panic!("{user} cannot log in from {}: {:?}", self.addr, session.outcome());
        }
        session.child.stdout = Some(output);
        session
    }

    /// Logs in, runs a command line on the server, and returns what became of that.
    #[track_caller]
    pub fn run(&self, user: &str, password: &str, line: &str) -> Answer {
        let mut command = self.ssh(&Try { user, password, connect_timeout_s: 10, ..Try::default() });
        command.args([&format!("{user}@{}", self.server()), line]);
        command.output().expect("ssh starts").into()
    }

    /// What runs a command line on the server over ssh, in a terminal of that command.
    pub fn in_terminal(&self, user: &str, password: &str, line: &str) -> Command {
        let mut command = self.ssh(&Try { user, password, connect_timeout_s: 10, ..Try::default() });
        command.args(["-tt", &format!("{user}@{}", self.server()), line]);
        command
    }

    fn ssh(&self, what: &Try<'_>) -> Command {
        let mut command = self.host.command("ssh");
        command
            .args(["-F", "none", "-b", &self.addr.to_string(), "-p", &what.port.to_string()])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"])
            .args(["-o", "PreferredAuthentications=password,keyboard-interactive"])
            .args(["-o", "PubkeyAuthentication=no", "-o", "GSSAPIAuthentication=no"])
            .args(["-o", &format!("NumberOfPasswordPrompts={}", what.prompts)])
            .args(["-o", &format!("ConnectTimeout={}", what.connect_timeout_s)])
            .args(["-o", "ConnectionAttempts=1", "-o", "ServerAliveInterval=5"]);
        // An askpass program answers every prompt of a connection and needs no terminal.
        command
            .env("SSH_ASKPASS", askpass())
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("DISPLAY", "lab")
            .env("LAB_PASSWORD", what.password);
        command
    }

    /// The server's ssh banner, `None` if none comes within `timeout`.
    pub fn banner(&self, timeout: Duration) -> Option<String> {
        let mut stream = self.connect(22, timeout).ok()?;
        stream.set_read_timeout(Some(timeout)).expect("a timeout can be set");
        let mut banner = Vec::new();
        let mut byte = [0];
        while banner.len() < 255 && stream.read(&mut byte).ok()? == 1 {
            if byte == *b"\n" {
                return Some(String::from_utf8_lossy(&banner).trim_end().to_owned());
            }
            banner.extend(byte);
        }
        None
    }

    /// True if the server's ssh banner comes within `timeout`.
    pub fn is_served(&self, timeout: Duration) -> bool {
        self.banner(timeout).is_some_and(|banner| banner.starts_with("SSH-2.0"))
    }

    /// A plain TCP connection to the server.
    /// # Errors
    /// As the kernel says.
    pub fn connect(&self, port: u16, timeout: Duration) -> std::io::Result<TcpStream> {
        let to = SocketAddr::new(self.server(), port);
        self.host.in_network(|| connect_from(self.addr, to, timeout))
    }

    /// Knocks at port 22 every few milliseconds until told to stop.
    pub fn knock(&self) -> Knocking {
        Knocking::start(self.host.clone(), self.addr, SocketAddr::new(self.server(), 22))
    }

    /// Opens `count` connections to sshd and says nothing over them; they stay until dropped.
    #[track_caller]
    pub fn hold_preauth(&self, count: usize) -> Vec<TcpStream> {
        let to = SocketAddr::new(self.server(), 22);
        self.host.in_network(|| {
            (0..count)
                .map(|n| {
                    connect_from(self.addr, to, Duration::from_secs(3))
                        .unwrap_or_else(|error| panic!("connection {n} from {}: {error}", self.addr))
                })
                .collect()
        })
    }
}

/// A running ssh client; killed when dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
}

impl Session {
    fn start(mut command: Command) -> Session {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start ssh: {error}"));
        Session { child }
    }

    /// True while the client runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the client's end and says what became of it.
    #[track_caller]
    pub fn outcome(&mut self) -> Outcome {
        let status = wait_for(Duration::from_secs(60), "the end of an ssh client", || {
            self.child.try_wait().expect("the child is ours")
        });
        if status.success() {
            return Outcome::Accepted;
        }
        let mut said = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut said).expect("ssh speaks UTF-8");
        }
        judge(&said)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the outcome from the client's words, as OpenSSH has put them for twenty years.
fn judge(said: &str) -> Outcome {
    let said = said.trim().to_owned();
    if said.contains("Permission denied") || said.contains("Too many authentication failures") {
        Outcome::Denied
    } else if said.contains("connect to host") {
        Outcome::Unreachable(said)
    } else {
        Outcome::Broken(said)
    }
}

/// The program that answers password prompts; made once.
fn askpass() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = tools::lab_dir().join("askpass");
        let fresh = path.with_extension(std::process::id().to_string());
        std::fs::write(&fresh, "#!/bin/sh\nprintf '%s\\n' \"$LAB_PASSWORD\"\n").expect("askpass is written");
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).expect("its mode is set");
        // Renamed into place, for another test process may be starting it right now.
        std::fs::rename(&fresh, &path).expect("askpass is put in place");
        path
    })
}
