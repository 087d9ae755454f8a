//! One daemon a network namespace: an abstract socket guards it, since two would fight over the same table.
//!
//! Whoever connects to the socket is told, in one line, where the daemon takes commands; so a command that was given
//! another socket learns that a daemon runs, and does not edit the kernel behind its back.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

/// The guarding name.
const NAME: &str = "pillory";

/// How long an answer of the holder is waited for; it answers at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// A longer answer is no path of a socket (unix(7): 108 bytes).
const MAX_ANSWER_BYTES: u64 = 4_096;

/// The daemon of this network namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    /// Where it takes commands; nothing if it did not say.
    pub(crate) control: Option<PathBuf>,
}

/// What came of claiming the namespace.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It is ours until this process ends, or this value does.
    Ours(Held),
    /// A user who is neither root nor ours holds the name, so no daemon does. An abstract name has no permissions:
    /// whoever takes it first must not keep a daemon from starting.
    HeldByOthers,
    /// Another daemon runs here.
    Taken(Holder),
}

/// The namespace, claimed; whoever asks waits until [`Held::answer`] is called.
#[derive(Debug)]
pub(crate) struct Held {
    listener: UnixListener,
    control: PathBuf,
}

/// Claims the network namespace for a daemon that takes commands at `control`.
/// # Errors
/// The system's.
pub(crate) fn claim(control: &Path) -> std::io::Result<Claim> {
    match UnixListener::bind_addr(&SocketAddr::from_abstract_name(NAME)?) {
        Ok(listener) => Ok(Claim::Ours(Held { listener, control: std::path::absolute(control)? })),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            Ok(holder().map_or(Claim::HeldByOthers, Claim::Taken))
        }
        Err(error) => Err(error),
    }
}

impl Held {
    /// Answers whoever asks, from now on. The thread ends with the process, which holds the name until then.
    /// # Errors
    /// The system's, if it has no thread left.
    pub(crate) fn answer(self) -> std::io::Result<()> {
        let Held { listener, control } = self;
        let answer = move || {
            for asker in listener.incoming() {
                match asker {
                    // Who hung up needs no answer, and one that takes none must not hold up the next.
                    Ok(mut asker) => drop(
                        asker
                            .set_nonblocking(true)
                            .and_then(|()| asker.write_all(control.as_os_str().as_bytes())),
                    ),
                    // No descriptor is left, say: that passes.
                    Err(_) => std::thread::park_timeout(PATIENCE),
                }
            }
        };
        std::thread::Builder::new().name("guard".into()).spawn(answer).map(drop)
    }
}

/// The daemon that holds this network namespace, if there is one.
pub(crate) fn holder() -> Option<Holder> {
    match connect() {
        Ok((asked, owner)) if owner.is_root() || owner == rustix::process::geteuid() => {
            Some(Holder { control: answer(asked) })
        }
        // So many ask at this moment that no more can wait.
        Err(Errno::AGAIN) => Some(Holder { control: None }),
        // Another user's, nobody's, or bound without anybody who listens: a daemon always does.
        Ok(_) | Err(_) => None,
    }
}

fn connect() -> rustix::io::Result<(UnixStream, rustix::process::Uid)> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
    // Not to wait for who never accepts.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new_abstract_name(NAME.as_bytes())?)?;
    let owner = rustix::net::sockopt::socket_peercred(&socket)?.uid;
    Ok((UnixStream::from(socket), owner))
}

fn answer(asked: UnixStream) -> Option<PathBuf> {
    asked.set_nonblocking(false).and_then(|()| asked.set_read_timeout(Some(PATIENCE))).ok()?;
    let mut path = Vec::new();
    asked.take(MAX_ANSWER_BYTES).read_to_end(&mut path).ok()?;
    (!path.is_empty()).then(|| PathBuf::from(std::ffi::OsString::from_vec(path)))
}

/// `another pillory runs in this network namespace; it takes commands at /run/pillory/control.sock`
impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "another pillory runs in this network namespace")?;
        match &self.control {
            Some(control) => {
                write!(f, "; it takes commands at {}", crate::escape::escape(&control.to_string_lossy()))
            }
            None => Ok(()),
        }
    }
}

impl Holder {
    /// What to do for who wanted to command it.
    pub(crate) fn cure(&self) -> String {
        let path = self.control.as_ref().map(|path| crate::escape::escape(&path.to_string_lossy()));
        path.map_or_else(
            || "give the command with its --control".to_owned(),
            |path| format!("give the command with --control {path}"),
        )
    }
}
