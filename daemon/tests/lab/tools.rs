//! Finds the programs that tests run: the host's own, or those unpacked under `target/tools/`.
//!
//! The tests of single modules include this file too (`netlink/lab.rs`).

use std::fmt;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where the host's own programs are; `PATH` of an unprivileged user often lacks the sbin ones.
const HOST_DIRS: [&str; 9] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/lib/systemd",
    "/lib/systemd",
    "/usr/libexec",
];

/// `PATH` of what runs on a host of the lab.
pub const HOST_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The same below `target/tools/`.
const UNPACKED_DIRS: [&str; 6] = ["usr/sbin", "usr/bin", "sbin", "bin", "usr/lib/systemd", "lib/systemd"];

/// Something that the lab needs is not here.
#[derive(Debug, Clone)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A program and how to start it.
#[derive(Debug, Clone)]
pub struct Tool {
    /// Absolute path.
    pub path: PathBuf,
    /// `LD_LIBRARY_PATH` for an unpacked one.
    pub libraries: Option<String>,
}

impl Tool {
    /// A command that starts it here.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }
}

/// Scratch space of the lab that outlives a test: host keys, the askpass program.
pub fn lab_dir() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/lab");
    std::fs::create_dir_all(&dir).expect("target/lab can be made");
    dir.canonicalize().expect("target/lab is there")
}

/// Where `scripts/fetch-test-tools.sh` unpacks what it fetches.
pub fn tools_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools")
}

/// Finds `name`, the host's own program first.
pub fn find(name: &str) -> Option<Tool> {
    let own = HOST_DIRS.iter().map(|dir| Path::new(dir).join(name)).find(|path| is_program(path));
    if let Some(path) = own {
        return Some(Tool { path, libraries: None });
    }
    let root = tools_dir().canonicalize().ok()?;
    let path = UNPACKED_DIRS.iter().map(|dir| root.join(dir).join(name)).find(|path| is_program(path))?;
    Some(Tool { path, libraries: Some(library_path(&root)) })
}

/// Directory `name` below a library directory of the unpacked packages or of the host, as `rsyslog` has one.
pub fn module_dir(name: &str) -> Option<PathBuf> {
    let mut dirs = Vec::new();
    if let Ok(root) = tools_dir().canonicalize() {
        dirs.extend(library_dirs(&root));
    }
    dirs.extend(library_dirs(Path::new("/")));
    dirs.into_iter().map(|dir| dir.join(name)).find(|dir| dir.is_dir())
}

/// What an unpacked program needs to find the programs and Python modules that were unpacked with it.
pub fn unpacked_environment() -> Vec<String> {
    let Ok(root) = tools_dir().canonicalize() else { return Vec::new() };
    let dirs = UNPACKED_DIRS.map(|dir| root.join(dir).display().to_string()).join(":");
    let modules = root.join("usr/lib/python3/dist-packages");
    let mut set = vec![format!("PATH={HOST_PATH}:{dirs}"), "PYTHONDONTWRITEBYTECODE=1".to_owned()];
    set.extend(modules.is_dir().then(|| format!("PYTHONPATH={}", modules.display())));
    set
}

/// True if the path leads to an executable file.
fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn library_path(root: &Path) -> String {
    let mut dirs = Vec::new();
    for dir in library_dirs(root) {
        dirs.extend(["systemd", "pulseaudio"].map(|inside| dir.join(inside)));
        dirs.push(dir);
    }
    let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
    dirs.join(":")
}

/// `lib`, `lib64` and the multiarch directories below `root` and `root/usr`.
fn library_dirs(root: &Path) -> Vec<PathBuf> {
    let arch = std::env::consts::ARCH;
    ["usr/lib64", "lib64", "usr/lib", "lib"]
        .into_iter()
        .flat_map(|dir| {
            let dir = root.join(dir);
            [dir.join(format!("{arch}-linux-gnu")), dir]
        })
        .filter(|dir| dir.is_dir())
        .collect()
}

/// True if all of `programs` are here and we are root; otherwise says once per test that it is skipped, and why.
pub fn need(programs: &[&str]) -> bool {
    match check(programs) {
        Ok(()) => true,
        Err(why) => {
            say_skipped(&why.to_string());
            false
        }
    }
}

/// Like [`need`], without saying anything.
pub fn check(programs: &[&str]) -> Result<(), Missing> {
    if !rustix::process::geteuid().is_root() {
        return Err(Missing("not root".into()));
    }
    let absent: Vec<&str> = programs.iter().copied().filter(|name| find(name).is_none()).collect();
    if !absent.is_empty() {
        return Err(Missing(format!(
            "no {} here; scripts/fetch-test-tools.sh fetches them",
            absent.join(", ")
        )));
    }
    namespaces()
}

/// Ok if the kernel lets us make namespaces, which a container may forbid, and speaks IPv6; asked once.
fn namespaces() -> Result<(), Missing> {
    static ASKED: OnceLock<Result<(), Missing>> = OnceLock::new();
    let ask = || {
        if !Path::new("/proc/sys/net/ipv6").exists() {
            return Err(Missing("this kernel has no IPv6".into()));
        }
        let output = Command::new("unshare")
            .args(["--net", "--mount", "--uts", "sh", "-c", "mount -t tmpfs lab /run && ip link set lo up"])
            .output()
            .map_err(|error| Missing(format!("cannot start unshare: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(Missing(format!("no namespaces can be made here: {}", why.trim())))
    };
    ASKED.get_or_init(ask).clone()
}

/// The directory of Debian's fail2ban package as unpacked; says that the test is skipped if it is not there.
pub fn stock_fail2ban() -> Option<PathBuf> {
    let directory = tools_dir().canonicalize().ok().map(|tools| tools.join("etc/fail2ban"));
    let found = directory.filter(|directory| directory.join("jail.conf").exists());
    if found.is_none() {
        say_skipped("no fail2ban here; scripts/fetch-test-tools.sh fetches it");
    }
    found
}

/// A file as a package ships it; says that the test is skipped if that package is not unpacked here.
pub fn package_file(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(tools_dir().join(path)).ok();
    if text.is_none() {
        say_skipped(&format!("no /{path} of a package here; scripts/fetch-test-tools.sh fetches it"));
    }
    text
}

/// Says that a test leaves something out, and why.
pub fn say_skipped(why: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    say(&format!("skipped: {name} ({why})"));
}

/// Says what a drill measured; `make test` prints it below the table of drills.
pub fn say_figure(figure: &str) {
    say(&format!("measured: {figure}"));
}

/// Prints past the test runner's capture, which would hide it because the test passes.
fn say(text: &str) {
    let line = format!("{text}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error takes a line");
}
