//! The client's side of the control socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::service;

use super::{Reply, Request};

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Nobody listens there.
    #[error("cannot reach the daemon at {}: {cause}; {}", .path.display(), does_it_run())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The socket may not be used.
    #[error("cannot use the control socket {}: permission denied; run it as root", .path.display())]
    NotAllowed {
        /// The socket.
        path: PathBuf,
    },
    /// It broke off.
    #[error("the daemon at {} broke off: {cause}", .path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// What to look at where nobody listens.
fn does_it_run() -> &'static str {
    match service::has_unit() {
        true => {
            "does its service run (`systemctl status pillory`, `journalctl -u pillory`), and is this its --control?"
        }
        false => "is `pillory run` running, and is this its --control?",
    }
}

/// Sends a request and hands each reply to `take`, until the stream ends or `take` returns false.
/// # Errors
/// [`ClientError`].
pub(crate) fn ask(
    path: &Path,
    request: &Request,
    mut take: impl FnMut(Reply) -> bool,
) -> Result<(), ClientError> {
    let mut stream = UnixStream::connect(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::PermissionDenied => ClientError::NotAllowed { path: path.to_owned() },
        _ => ClientError::Unreachable { path: path.to_owned(), cause },
    })?;
    let broken = |cause| ClientError::Broken { path: path.to_owned(), cause };
    let mut line = serde_json::to_vec(request).map_err(|error| broken(error.into()))?;
    line.push(b'\n');
    // A daemon that refuses somebody says so and hangs up, whatever is asked: then its words are what counts.
    let mut unsent = stream.write_all(&line).err();
    for line in BufReader::new(stream).split(b'\n') {
        let line = line.map_err(|cause| broken(unsent.take().unwrap_or(cause)))?;
        unsent = None;
        let reply = serde_json::from_slice(&line).map_err(|error| broken(error.into()))?;
        if !take(reply) {
            return Ok(());
        }
    }
    unsent.map_or(Ok(()), |cause| Err(broken(cause)))
}

/// Sends a request that has one reply.
/// # Errors
/// [`ClientError`].
pub(crate) fn ask_once(path: &Path, request: &Request) -> Result<Reply, ClientError> {
    let mut found = None;
    ask(path, request, |reply| {
        found = Some(reply);
        false
    })?;
    let nothing =
        || ClientError::Broken { path: path.to_owned(), cause: std::io::ErrorKind::UnexpectedEof.into() };
    found.ok_or_else(nothing)
}
