//! A host of the lab: a process that holds namespaces, and programs that run in them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::network;
use super::tools;
use super::wait::{wait_for, wait_until};

const SERVER: &str = concat!(include_str!("server.sh"), include_str!("keep.sh"));
const INSTALLED: &str = include_str!("installed.sh");
const CLIENT: &str = concat!(include_str!("client.sh"), include_str!("keep.sh"));

/// A host of the lab. Cheap to clone; the last clone that is dropped ends it and everything that runs on it.
#[derive(Debug, Clone)]
pub struct Host {
    holder: Arc<Holder>,
}

#[derive(Debug)]
struct Holder {
    child: Mutex<Child>,
    input: Mutex<Option<ChildStdin>>,
    pid: u32,
}

impl Host {
    /// A host that looks like a Debian server: own /dev, /etc, /run, /var/lib and /var/log.
    pub fn server() -> Host {
        Host::start(SERVER)
    }

    /// A host that has nothing of its own but its network.
    pub fn client() -> Host {
        Host::start(CLIENT)
    }

    fn start(script: &str) -> Host {
        let mut child = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "sh", "-c", script])
            .env("PATH", tools::HOST_PATH)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare starts");
        let mut first = String::new();
        let output = child.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut first).expect("the host says a line");
        assert_eq!(first.trim(), "ready", "the host's script failed; its reason stands above");
        let input = child.stdin.take();
        let pid = child.id();
        Host { holder: Arc::new(Holder { child: Mutex::new(child), input: Mutex::new(input), pid }) }
    }

    /// Process id of the namespaces' holder, as seen by the real host.
    pub fn pid(&self) -> u32 {
        self.holder.pid
    }

    /// Where a path of this host is found by the test itself, which lives outside.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        PathBuf::from(format!("/proc/{}/root", self.pid())).join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// The text of a file of this host, empty if it is not there; bad UTF-8 is replaced.
    pub fn read(&self, inside: impl AsRef<Path>) -> String {
        String::from_utf8_lossy(&self.read_bytes(inside)).into_owned()
    }

    /// The bytes of a file of this host, none if it is not there.
    pub fn read_bytes(&self, inside: impl AsRef<Path>) -> Vec<u8> {
        std::fs::read(self.path(inside)).unwrap_or_default()
    }

    /// Writes a file of this host; makes its directory.
    pub fn write(&self, inside: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(inside);
        std::fs::create_dir_all(path.parent().expect("a file has a directory"))
            .expect("the directory is made");
        std::fs::write(&path, content).expect("the file is written");
    }

    /// Appends to a file of this host, in one write.
    pub fn append(&self, inside: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path(inside);
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("opens");
        file.write_all(content.as_ref()).expect("the file takes a line");
    }

    /// A command that will run on this host; its process id is the program's own.
    ///
    /// `program`: a name, found among the host's programs or the unpacked ones, or an absolute path.
    pub fn command(&self, program: &str) -> Command {
        let tool = if program.starts_with('/') {
            tools::Tool { path: PathBuf::from(program), libraries: None }
        } else {
            tools::find(program).unwrap_or_else(|| panic!("{program} is needed; scripts/fetch-test-tools.sh"))
        };
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.pid())).args(["--net", "--mount", "--uts", "--"]);
        if let Some(libraries) = tool.libraries {
            command.arg("env").arg(format!("LD_LIBRARY_PATH={libraries}"));
            command.args(tools::module_dir("xtables").map(|dir| format!("XTABLES_LIBDIR={}", dir.display())));
            command.args(tools::unpacked_environment());
        }
        command.arg(tool.path).stdin(Stdio::null());
        command.env("PATH", tools::HOST_PATH);
        command
    }

    /// Runs a program on this host to its end; fails the test unless it succeeds. Returns standard output.
    #[track_caller]
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program).args(args).output().expect("nsenter starts");
        assert!(
            output.status.success(),
            "{program} {args:?} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Makes the unpacked packages look installed here; `None`, with a word, if that cannot be.
    pub fn install_tools(&self) -> Option<()> {
        let tools = tools::tools_dir().canonicalize().unwrap_or_default().display().to_string();
        let output =
            self.command("sh").args(["-c", INSTALLED, "sh", &tools]).output().expect("nsenter starts");
        if output.status.success() {
            return Some(());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        tools::say_skipped(&format!("the unpacked packages cannot be installed in the lab: {}", why.trim()));
        None
    }

    /// Runs `ip -batch` with these lines.
    #[track_caller]
    pub fn ip_batch(&self, lines: &str) {
        let mut command = self.command("ip");
        let mut child = command
            .args(["-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip starts");
        let mut input = child.stdin.take().expect("standard input is piped");
        input.write_all(lines.as_bytes()).expect("ip reads its lines");
        drop(input);
        let output = child.wait_with_output().expect("ip ends");
        assert!(output.status.success(), "ip -batch failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs `work` on a thread that is in this host's network namespace; sockets made there stay there.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.pid())).expect("the host lives");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("setns");
                work()
            });
            match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// True if something listens on this TCP port.
    pub fn listens(&self, port: u16) -> bool {
        network::sockets(self.pid()).iter().any(|socket| socket.is_listener && socket.local.port() == port)
    }

    /// How many TCP connections this host has with `peer`, half open ones and those of nobody included.
    pub fn connections_with(&self, peer: IpAddr) -> usize {
        network::sockets(self.pid()).iter().filter(|socket| socket.remote.ip() == peer).count()
    }

    /// Waits until something listens on this TCP port.
    #[track_caller]
    pub fn wait_listening(&self, port: u16) {
        wait_for(Duration::from_secs(10), &format!("a listener on port {port}"), || {
            self.listens(port).then_some(())
        });
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The script ends every process in the namespace as soon as its input is closed.
        drop(self.input.get_mut().map(Option::take));
        if let Ok(child) = self.child.get_mut() {
            let ended = wait_until(Duration::from_secs(10), || child.try_wait().ok().flatten());
            if ended.is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A program that runs on a host in the background; killed when dropped. Its standard error is kept.
#[derive(Debug)]
pub struct Running {
    child: Child,
    errors: Arc<Mutex<String>>,
    reader: std::thread::JoinHandle<()>,
    name: String,
}

impl Running {
    /// Starts it, reading its standard error on a thread of its own.
    pub fn start(name: &str, mut command: Command) -> Running {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let errors = Arc::new(Mutex::new(String::new()));
        let pipe = child.stderr.take().expect("standard error is piped");
        let kept = Arc::clone(&errors);
        let reader = std::thread::spawn(move || collect(pipe, &kept));
        Running { child, errors, reader, name: name.to_owned() }
    }

    /// Its process id, as seen by the real host.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub fn errors(&self) -> String {
        self.errors.lock().expect("the reader does not panic").clone()
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal; a process that has ended is no error.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        // A child that was not waited for keeps its id, so this cannot hit another process.
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// Waits for its end and returns its exit code, `None` if a signal ended it.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> Option<i32> {
        let ended = wait_until(deadline, || self.child.try_wait().ok().flatten());
        // Its last words are read when its end is known, unless what it started still holds the pipe.
        let _ = wait_until(Duration::from_secs(2), || self.reader.is_finished().then_some(()));
        match ended {
            Some(status) => status.code(),
            None => panic!("{} did not end within {deadline:?}; it said:\n{}", self.name, self.errors()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies whole lines, as they come, until the pipe is closed.
fn collect(pipe: impl Read, kept: &Mutex<String>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while let Ok(1..) = reader.read_until(b'\n', &mut line) {
        kept.lock().expect("nobody panics holding it").push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
}
