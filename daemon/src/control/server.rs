//! The daemon's side of the control socket: one thread that accepts, one short-lived thread a client.
//!
//! Clients that connect and say nothing make room for those that come after them.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::kernel::Job;
use crate::store::query;

use super::listing::{self, Table};
use super::room::Room;
use super::{Reply, Request, past};

/// A request on its way to the engine, with the way back.
pub(crate) type Order = (Request, Sender<Reply>);

/// At most so many clients at once.
const MAX_CLIENTS: usize = 16;

/// A request longer than this is refused; a list of a million addresses fits.
const MAX_REQUEST_BYTES: u64 = 256 * 1024 * 1024;

/// Longer ones are read one at a time, so that all clients together cannot fill the memory.
const LARGE_BYTES: u64 = 1024 * 1024;

/// How long nobody is accepted after it failed.
const ACCEPT_AGAIN: Duration = Duration::from_secs(1);

/// Where clients' requests are brought, whichever way they came.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    /// To the engine.
    pub(crate) orders: Sender<Order>,
    /// To the thread that may ask the kernel for counters.
    pub(crate) kernel: Sender<Job>,
    /// Where the store is.
    pub(crate) state_dir: PathBuf,
    /// So many orders were answered that may have changed who is shown in public.
    pub(crate) reviews: Arc<AtomicU64>,
}

impl Desk {
    /// The engine's answer, with what the store adds to it.
    pub(crate) fn ask(&self, request: Request) -> Reply {
        self.ask_within(request, None)
    }

    /// The same; that there is none if it takes longer than `patience`, as while a disk hangs.
    pub(crate) fn ask_within(&self, request: Request, patience: Option<Duration>) -> Reply {
        let (mut reply, more) = self.ask_engine(request, patience);
        self.complete(&mut reply, more);
        reply
    }

    /// The engine's answer alone, and what [`Desk::complete`] adds to it.
    pub(crate) fn ask_engine(&self, request: Request, patience: Option<Duration>) -> (Reply, past::About) {
        let (about, (reply, replies)) = (past::About::of(&request), bounded(1));
        let is_review = matches!(
            request,
            Request::Unlist { .. } | Request::Unban { .. } | Request::Allow { .. } | Request::Reload
        );
        let gone = || Reply::say(69, "the daemon is stopping");
        let late = || {
            let what = "the daemon is busy, or its disk takes nothing, and has not answered yet; what was ordered may \
                        still be done: look before you order it again";
            Reply::say(69, what)
        };
        let reply = match (self.orders.send((request, reply)), patience) {
            (Err(_), _) => gone(),
            (Ok(()), None) => replies.recv().unwrap_or_else(|_| gone()),
            (Ok(()), Some(patience)) => replies.recv_timeout(patience).unwrap_or_else(|why| match why {
                RecvTimeoutError::Timeout => late(),
                RecvTimeoutError::Disconnected => gone(),
            }),
        };
        if is_review {
            self.reviews.fetch_add(1, Ordering::SeqCst);
        }
        (reply, about)
    }

    /// Adds what the store knows, which may take a while where much is kept.
    pub(crate) fn complete(&self, reply: &mut Reply, about: past::About) {
        about.tell(&mut reply.value, &self.state_dir, &self.kernel);
    }
}

/// The control socket, listening.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens at `path`, see [`listen`].
    /// # Errors
    /// The system's; those of [`listen`].
    pub(crate) fn bind(path: &Path) -> std::io::Result<Server> {
        Ok(Server { listener: listen(path)?, path: path.to_owned() })
    }

    /// Serves until `stop` is raised and one more client (the daemon itself) knocks.
    pub(crate) fn run(self, desk: &Desk, stop: &Arc<AtomicBool>) {
        let room = Room::new(MAX_CLIENTS);
        std::thread::scope(|scope| {
            for stream in self.listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let stream = match stream {
                    Ok(stream) => Arc::new(stream),
                    Err(error) => {
                        // No descriptor is left, say; it would fail again at once, for as long as that lasts.
                        warn!(%error, "cannot accept a client");
                        std::thread::sleep(ACCEPT_AGAIN);
                        continue;
                    }
                };
                if let Some(refusal) = refusal(&stream, &room) {
                    // A client that went away needs no answer. The first words fit into an empty socket.
                    drop(stream.set_nonblocking(true).and_then(|()| answer(&stream, &refusal)));
                    continue;
                }
                let room = &room;
                scope.spawn(move || {
                    // A client that went away needs no answer.
                    drop(serve(&stream, desk, (stop, room)));
                    room.leave(&stream);
                });
            }
            room.close_silent();
        });
        drop(std::fs::remove_file(&self.path));
    }
}

/// Listens at `path`, for the daemon's user and its group; a socket file that nobody answers at is replaced, anything else
/// stays as it is.
/// # Errors
/// The system's, from making the socket or its directory (whose own directory must be there); `AddrInUse` if a
/// daemon answers there, `AlreadyExists` if something is there that is no socket.
pub(crate) fn listen(path: &Path) -> std::io::Result<UnixListener> {
    // /run is empty after a boot; but a mistyped path must not become a tree of directories.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists());
    if let Some(parent) = parent {
        std::fs::create_dir(parent)?;
        info!(path = %parent.display(), "made the directory of a socket");
    }
    match std::fs::symlink_metadata(path) {
        // A mistyped --control must not cost anybody a file.
        Ok(status) if !status.file_type().is_socket() => {
            let what = "something that is no socket is there";
            return Err(std::io::Error::new(std::io::ErrorKind::AlreadyExists, what));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "another pillory answers there"));
        }
        Ok(_) => std::fs::remove_file(path)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    let_group_in(path)?;
    Ok(listener)
}

/// Lets the group connect, too. Not by the name alone: where others can write, it may lead elsewhere by now.
fn let_group_in(path: &Path) -> std::io::Result<()> {
    let bound = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let own = format!("/proc/self/fd/{}", bound.as_raw_fd());
    std::fs::set_permissions(own, std::fs::Permissions::from_mode(0o660))
}

/// Why this client is not served, if it is not.
fn refusal(stream: &Arc<UnixStream>, room: &Room) -> Option<Reply> {
    if !may_command(stream).unwrap_or(false) {
        return Some(Reply::say(
            77,
            "only root and the daemon's own group may give commands; run it as root",
        ));
    }
    let busy = || Reply::say(69, format!("{MAX_CLIENTS} clients are being served already; try again"));
    (!room.enter(stream)).then(busy)
}

fn serve(stream: &Arc<UnixStream>, desk: &Desk, (stop, room): (&AtomicBool, &Room)) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let (line, _large) = match read(stream, room)? {
        Ok(read) => read,
        Err(refusal) => return answer(stream, &refusal),
    };
    if !room.begin(stream) {
        return Ok(());
    }
    match serde_json::from_slice::<Request>(&line) {
        Err(error) => answer(stream, &Reply::say(2, format!("the request is not understood: {error}"))),
        Ok(Request::List) => listing::bans(stream, desk),
        Ok(Request::Attempts(wanted, follow)) => {
            listing::rows((stream, &desk.state_dir), Table::Attempts, wanted, follow, stop)
        }
        Ok(Request::History(wanted, follow)) => {
            listing::rows((stream, &desk.state_dir), Table::History, wanted, follow, stop)
        }
        Ok(Request::Apply(..)) if !is_master(stream).unwrap_or(false) => {
            let why = "only root and the daemon's own user may apply a policy, for it may run commands";
            answer(stream, &Reply::say(77, why))
        }
        Ok(mut request) => {
            if let Request::Confirm { peer, .. } = &mut request {
                *peer = peer_process(stream);
            }
            answer(stream, &desk.ask(request))
        }
    }
}

/// A request with the right to hold it if it is a large one, or why it is refused.
type Heard<'a> = Result<(Vec<u8>, Option<MutexGuard<'a, ()>>), Reply>;

/// Reads a request. A client that is refused is not heard out.
fn read<'a>(stream: &UnixStream, room: &'a Room) -> std::io::Result<Heard<'a>> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream);
    let mut read_on = |limit, line: &mut Vec<u8>| {
        reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', line)
            .map(|count| count as u64 == limit && !line.ends_with(b"\n"))
    };
    if !read_on(LARGE_BYTES, &mut line)? {
        return Ok(Ok((line, None)));
    }
    let Some(large) = room.for_a_large_one() else {
        return Ok(Err(Reply::say(69, "another long request is being served; try again")));
    };
    if read_on(MAX_REQUEST_BYTES - LARGE_BYTES, &mut line)? {
        let most = MAX_REQUEST_BYTES / 1024 / 1024;
        return Ok(Err(Reply::say(2, format!("a request takes {most} MiB at most; make two of it"))));
    }
    Ok(Ok((line, Some(large))))
}

/// Root, the daemon's own user, and members of its group by their primary group. Whoever is the daemon's user could
/// stop it and write its files in any case; so run it as a user that nobody else is.
fn may_command(stream: &UnixStream) -> std::io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    let own_group = rustix::process::getegid();
    Ok(is_master(stream)? || (!own_group.is_root() && peer.gid == own_group))
}

/// Root and the daemon's own user.
fn is_master(stream: &UnixStream) -> std::io::Result<bool> {
    let peer = rustix::net::sockopt::socket_peercred(stream)?;
    Ok(peer.uid.is_root() || peer.uid == rustix::process::geteuid())
}

/// The client's process; nothing if it lives where this one cannot see it.
fn peer_process(stream: &UnixStream) -> Option<u32> {
    let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
    u32::try_from(peer.pid.as_raw_nonzero().get()).ok()
}

pub(super) fn answer(mut stream: &UnixStream, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// An attempt as JSON, the same everywhere.
pub(crate) fn attempt_value(attempt: &pillory_core::event::Attempt) -> Value {
    json!({
        "time": super::stamp(attempt.time),
        "jail": attempt.jail.as_str(),
        "ip": attempt.addr.to_string(),
        "user": attempt.user,
        "class": attempt.class.map(pillory_core::event::Class::name),
        "success": attempt.class.is_none(),
        "points": f64::from(attempt.points.0) / 100.0,
        "attempts": attempt.tries,
    })
}

/// A row of the history as JSON, the same everywhere.
pub(crate) fn history_value(row: &query::HistoryRow) -> Value {
    json!({
        "time": super::stamp(row.time),
        "what": row.what,
        "prefix": row.prefix.to_string(),
        "jail": row.jail,
        "until": row.until.map(super::stamp),
        "failures": row.failures,
        "reason": row.reason,
        "origin": row.origin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_answered_in_time_hears_that_it_may_still_be_done() {
        let ((orders, _engine), (kernel, _jobs)) = (bounded(1), bounded(1));
        let desk = Desk { orders, kernel, state_dir: PathBuf::new(), reviews: Arc::default() };
        let reply = desk.ask_within(Request::On, Some(Duration::from_millis(1)));
        assert!(reply.exit == 69 && reply.message.contains("may still be done"), "{reply:?}");
    }
}
