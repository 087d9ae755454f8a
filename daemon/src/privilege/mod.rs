//! What the daemon may do, and gives up: capabilities of its threads, files (Landlock) and system calls (seccomp).
//!
//! [`Sandbox::enter`] is called once, when everything is open and before threads are started, for a thread takes over
//! the rights of the one that starts it. Nothing is ever got back, so what a later policy needs beyond that needs a
//! restart, which [`Sandbox::lacks`] says.

mod capabilities;
mod files;
mod needs;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[path = "syscalls.rs"]
mod syscalls;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[path = "nosyscalls.rs"]
mod syscalls;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tracing::{info, warn};

pub(crate) use capabilities::shed;
pub(crate) use needs::Needs;

/// What was given up.
#[derive(Debug)]
pub(crate) struct Sandbox {
    state: State,
    /// What may be read, and in what may be written, as real paths; of no meaning unless files are limited.
    reads: Vec<PathBuf>,
    writes: Vec<PathBuf>,
    /// In which directories files may be appended to, beside those.
    appends: Vec<PathBuf>,
}

#[derive(Debug)]
enum State {
    /// Nothing, and why.
    Off(&'static str),
    /// Which of both the kernel took, or why not.
    On { files: Result<u8, String>, calls: Result<(), String> },
}

impl Sandbox {
    /// Gives up what is not needed. What this kernel does not offer is warned about in one line, and kept.
    ///
    /// `on_trial`: the policy may be taken back, and what the one before needs is not known here.
    pub(crate) fn enter(wanted: bool, on_trial: bool, needs: &Needs) -> Sandbox {
        let off = match () {
            () if !wanted => Some("sandbox = false"),
            () if on_trial => {
                Some("a policy was on trial at the start, and the one before must be able to come back")
            }
            () => None,
        };
        let mut sandbox = Sandbox { state: State::Off(off.unwrap_or_default()), ..Sandbox::default() };
        if off.is_some() {
            info!(why = off, "no sandbox");
            return sandbox;
        }
        let (files, calls) = (files::restrict(needs), syscalls::restrict());
        let problems: Vec<String> =
            [files.as_ref().err(), calls.as_ref().err()].into_iter().flatten().cloned().collect();
        if problems.is_empty() {
            info!(landlock = files.as_ref().ok(), "sandboxed");
        } else {
            warn!(reason = %problems.join("; "), "not fully sandboxed");
        }
        (sandbox.reads, sandbox.writes) = (needs.real_reads(), needs.real_writes());
        sandbox.appends = needs.real_appends();
        sandbox.appends.extend(sandbox.writes.iter().cloned());
        sandbox.state = State::On { files, calls };
        sandbox
    }

    /// What a policy needs and this process gave up, if anything is.
    pub(crate) fn lacks(&self, wanted: bool, needs: &Needs) -> Option<String> {
        let State::On { files, .. } = &self.state else { return None };
        let restart = "restart needed: the running daemon gave up the right to";
        if !wanted {
            return Some("restart needed: what the sandbox took cannot be got back while running".to_owned());
        }
        files.as_ref().ok()?;
        let closed = |wanted: Vec<PathBuf>, open: &[PathBuf]| {
            wanted.into_iter().find(|path| !open.iter().any(|open| path.starts_with(open)))
        };
        let unread = closed(needs.real_reads(), &self.reads).map(|path| ("read", path));
        let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
        let unwritten =
            || closed(needs.writes.iter().map(real).collect(), &self.writes).map(|path| ("write in", path));
        let unappended = || closed(needs.real_appends(), &self.appends).map(|path| ("write a log in", path));
        let (what, path) = unread.or_else(unwritten).or_else(unappended)?;
        Some(format!("{restart} {what} {}", path.display()))
    }

    /// True if the open files of other processes cannot be seen: Landlock lets nobody look into a process outside.
    pub(crate) fn hides_processes(&self) -> bool {
        matches!(self.state, State::On { files: Ok(_), .. })
    }

    /// What to do about a file that may not be read, if the sandbox may be why.
    pub(crate) fn hint(&self, error: &str) -> Option<&'static str> {
        let is_denied = error.contains("ermission denied");
        (is_denied && self.hides_processes()).then_some(
            "restart needed, if it is a file that the daemon did not read so far: it gave up the right to read others",
        )
    }

    /// For `status`: the version of Landlock in use, if it is; whether system calls are limited; why not all is.
    pub(crate) fn value(&self) -> Value {
        match &self.state {
            State::Off(why) => json!({"on": false, "landlock": null, "seccomp": false, "why": why}),
            State::On { files, calls } => {
                let why: Vec<&str> = [files.as_ref().err(), calls.as_ref().err()]
                    .into_iter()
                    .flatten()
                    .map(String::as_str)
                    .collect();
                json!({"on": files.is_ok() || calls.is_ok(), "landlock": files.as_ref().ok(), "seccomp": calls.is_ok(),
                    "why": (!why.is_empty()).then(|| why.join("; "))})
            }
        }
    }
}

impl Default for Sandbox {
    fn default() -> Sandbox {
        Sandbox {
            state: State::Off("not entered yet"),
            reads: Vec::new(),
            writes: Vec::new(),
            appends: Vec::new(),
        }
    }
}

/// What [`Sandbox::value`] says, in words.
pub(crate) fn words(value: &Value) -> String {
    let why = value["why"].as_str().map_or_else(String::new, |why| format!(" ({why})"));
    match (value["landlock"].as_u64(), value["seccomp"] == true) {
        (Some(version), true) => {
            format!("the daemon is sandboxed by Landlock (version {version}) and seccomp")
        }
        (Some(version), false) => {
            format!("the daemon is sandboxed by Landlock (version {version}) only{why}")
        }
        (None, true) => format!("the daemon is sandboxed by seccomp only{why}"),
        (None, false) => format!("the daemon is not sandboxed{why}"),
    }
}

/// What to do if there can be no sockets of the Internet, because the unit forbids them.
pub(crate) fn network_cure(error: &std::io::Error) -> Option<&'static str> {
    let is_forbidden = rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::AFNOSUPPORT);
    is_forbidden.then_some(
        "; the unit keeps the daemon off the network: `systemctl edit pillory`, write `[Service]`, \
         `RestrictAddressFamilies=AF_INET AF_INET6` and `IPAddressDeny=`, each on a line of its own, and restart it",
    )
}

/// The nearest directory on the way to `path` that is there, as a real path; nothing if that is the root.
fn nearest(path: &Path) -> Option<PathBuf> {
    let there = path.ancestors().find_map(|path| path.canonicalize().ok())?;
    let directory = if there.is_dir() { there } else { there.parent()?.to_owned() };
    (directory != Path::new("/")).then_some(directory)
}
