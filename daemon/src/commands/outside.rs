//! The process outside of the sandbox: the only one that runs commands, and only those of its fail2ban directory.
//!
//! The daemon starts itself once more before it gives up its rights, as `pillory run-commands DIRECTORY`, with a socket as
//! standard input. For each command it sends one end of a new pair of sockets there, writes an [`Order`] to the other,
//! says that this was all, and reads the [`Outcome`]. Values of a ban come as values: this side knows by itself which
//! commands there are, and fills the values in so that no shell takes them for more, so a daemon that was taken over
//! can run nothing else. It ends when the daemon does, not when it is told to by a signal, for there are commands that
//! run at a stop.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use pillory_core::config::fail2ban::render;
use pillory_core::filter::settings::Options;

use super::process;

/// An order with its values takes no more.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// So much longer than a command may take, its outcome is waited for.
const MARGIN: Duration = Duration::from_secs(10);

/// A command, and what a ban brings into it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// As it stands in the directory, with its parameters filled in and the tags of bans left.
    pub(crate) command: String,
    pub(crate) tags: Options,
    pub(crate) captures: Options,
    pub(crate) limit: Duration,
}

/// Nothing if the command did its work, else what went wrong.
type Outcome = Option<String>;

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// It was run or refused, and this was said.
    #[error("{0}")]
    Failed(String),
    /// Nobody is there to run it.
    #[error("the process that runs commands cannot be reached ({0}); restart the daemon")]
    Gone(#[from] std::io::Error),
}

/// The daemon's end. The process ends with the last clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outside {
    there: Option<Arc<UnixStream>>,
    directory: PathBuf,
}

impl Outside {
    /// Starts the process for the commands of this directory, with all rights that the caller has.
    /// # Errors
    /// The system's, if it cannot be started.
    pub(crate) fn start(directory: &Path) -> std::io::Result<Outside> {
        let there = start_self(&["run-commands".as_ref(), directory.as_os_str()])?;
        Ok(Outside { there: Some(Arc::new(there)), directory: directory.to_owned() })
    }

    /// Why commands of a directory cannot be run, if they cannot.
    pub(crate) fn lacks(&self, directory: &Path) -> Option<String> {
        let serves = self.there.is_some() && self.directory == directory;
        let directory = directory.display();
        (!serves).then(|| {
            format!("restart needed: the running daemon gave up the right to run commands of {directory}")
        })
    }

    /// Has a command run and waits for its end.
    /// # Errors
    /// [`OrderError`] unless it ended with status 0.
    pub(crate) fn run(&self, order: &Order) -> Result<(), OrderError> {
        let there = self.there.as_ref().ok_or_else(|| std::io::Error::from(ErrorKind::NotConnected))?;
        let (mut ours, theirs) = UnixStream::pair()?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let passed = [theirs.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&passed));
        sendmsg(there, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)
            .map_err(std::io::Error::from)?;
        drop(theirs);
        serde_json::to_writer(&ours, order).map_err(std::io::Error::from)?;
        ours.shutdown(Shutdown::Write)?;
        ours.set_read_timeout(Some(order.limit + MARGIN))?;
        let mut said = Vec::new();
        ours.read_to_end(&mut said)?;
        let outcome: Outcome = serde_json::from_slice(&said).map_err(std::io::Error::from)?;
        outcome.map_or(Ok(()), |why| Err(OrderError::Failed(why)))
    }
}

/// Starts this program once more with these arguments and all rights that the caller has. Returns the other end of its
/// standard input. Nobody waits for its end: it ends when that is closed.
/// # Errors
/// The system's, if it cannot be started.
#[expect(clippy::disallowed_methods, reason = "the daemon itself, for what its sandbox forbids")]
pub(crate) fn start_self(arguments: &[&OsStr]) -> std::io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    Command::new(std::env::current_exe()?)
        .args(arguments)
        .stdin(OwnedFd::from(theirs))
        .process_group(0)
        .spawn()?;
    Ok(ours)
}

/// It would be ended by a signal at a stop, and commands inherit what is ignored but not what is handled.
/// # Errors
/// The system's.
pub(crate) fn outlive_signals() -> std::io::Result<()> {
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// What the process may run: `read` says it anew, as a reload may have brought more.
struct Known<F> {
    read: F,
    commands: Mutex<HashSet<String>>,
}

/// Runs what is ordered until the daemon is gone. `read`: the commands that may be run.
/// # Errors
/// The system's, if standard input is no socket.
pub(crate) fn serve<F: Fn() -> HashSet<String> + Sync>(read: F) -> std::io::Result<()> {
    outlive_signals()?;
    let known = Known { commands: Mutex::new(read()), read };
    std::thread::scope(|scope| {
        while let Some(asked) = next(&std::io::stdin())? {
            let known = &known;
            // As many at once as the daemon waits for, which are few.
            scope.spawn(move || known.answer(UnixStream::from(asked)));
        }
        Ok(())
    })
}

/// The socket of the next order; nothing once the daemon is gone.
fn next(stdin: &std::io::Stdin) -> std::io::Result<Option<OwnedFd>> {
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = match recvmsg(stdin, &mut [IoSliceMut::new(&mut byte)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => continue,
            got => got?,
        };
        let rights = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        });
        let passed = rights.flatten().next();
        if passed.is_some() || got.bytes == 0 {
            return Ok(passed);
        }
    }
}

impl<F: Fn() -> HashSet<String>> Known<F> {
    fn answer(&self, mut asked: UnixStream) {
        let mut text = Vec::new();
        let order = (&asked).take(MAX_BYTES).read_to_end(&mut text).map_err(serde_json::Error::io);
        let outcome: Outcome = match order.and_then(|_| serde_json::from_slice::<Order>(&text)) {
            Ok(order) => self.run(&order),
            Err(error) => Some(format!("an order cannot be understood: {error}")),
        };
        // Nobody may be there any more to hear it.
        let _ = serde_json::to_vec(&outcome).map(|said| asked.write_all(&said));
    }

    fn run(&self, order: &Order) -> Outcome {
        if !self.has(&order.command) {
            return Some(format!("{:?} is no command of an action of this directory", order.command));
        }
        let command = render::render(&order.command, &order.tags, &order.captures);
        let ran = process::run(&command.script, &command.arguments, order.limit);
        ran.err().map(|error| error.to_string())
    }

    fn has(&self, command: &str) -> bool {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        if !commands.contains(command) {
            // Those of before stay, for an action that went may have to clean up.
            commands.extend((self.read)());
        }
        commands.contains(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(command: &str, ip: &str) -> Order {
        let tags = [("ip".to_owned(), ip.to_owned())].into_iter().collect();
        let limit = Duration::from_secs(20);
        Order { command: command.to_owned(), tags, captures: Options::default(), limit }
    }

    fn known(commands: &[&str]) -> Known<impl Fn() -> HashSet<String>> {
        let commands: HashSet<String> = commands.iter().map(|one| (*one).to_owned()).collect();
        Known { read: move || commands.clone(), commands: Mutex::default() }
    }

    #[test]
    fn only_what_the_directory_says_is_run_whatever_a_ban_brings() {
        let known = known(&["test '<ip>' = 192.0.2.7"]);
        assert_eq!(known.run(&order("test '<ip>' = 192.0.2.7", "192.0.2.7")), None);
        let other = known.run(&order("true", "192.0.2.7")).expect("it is refused");
        assert!(other.contains("no command of an action"), "{other}");
        // What would end the quotes is a value all the same.
        let hostile = known.run(&order("test '<ip>' = 192.0.2.7", "'; exit 0; '")).expect("it fails");
        assert!(hostile.contains("status 1"), "{hostile}");
    }

    #[test]
    fn what_is_no_order_is_answered_with_what_is_wrong() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"{\"command\": 7").unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        known(&[]).answer(theirs);
        let mut said = String::new();
        ours.read_to_string(&mut said).unwrap();
        assert!(said.contains("cannot be understood"), "{said}");
    }

    #[test]
    fn without_such_a_process_nothing_is_run_and_why_is_said() {
        let none = Outside::default();
        assert!(none.run(&order("true", "")).unwrap_err().to_string().contains("restart the daemon"));
        assert!(none.lacks(Path::new("/etc/fail2ban")).unwrap().contains("/etc/fail2ban"));
    }
}
