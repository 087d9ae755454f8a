//! The dashboard: pages about this host for its administrator, events as they happen, metrics.
//!
//! A caller has [`request::PATIENCE`] to ask, and one answer; then the connection ends. [`Room`] holds so many, and who has
//! asked nothing yet makes way for who comes. It knows the engine by the [`Desk`] that serves the control socket, too.

mod access;
mod bans;
mod charts;
mod events;
mod forms;
mod overview;
mod request;
mod response;
mod routes;
mod wall;

use std::io::Read;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use pillory_core::config::{Listen, Web};
use pillory_core::net::canonical;
use tracing::warn;

use crate::control::room::Room;
use crate::control::server::{Desk, listen};
use crate::wake::{Wake, wait_readable};
use crate::{fault, privilege};

#[cfg(any(test, fuzzing))]
pub(crate) use request::whatever::request;

use access::Guard;
use response::Response;
use routes::Site;

/// At most so many are inside.
const MOST_GUESTS: usize = 32;

/// How long nobody is accepted after it failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// So long, and for so much, what was not read is taken from who was refused: a connection that is closed before loses the
/// answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Where callers come in; open before the daemon gives up the right to.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Listener,
    guard: Guard,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Who calls, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The other end; nothing at a socket file.
    peer: Option<IpAddr>,
    /// This one.
    own: Option<IpAddr>,
}

impl Door {
    /// Listens, and reads the token.
    /// # Errors
    /// Why not, in words, with the cure.
    pub(crate) fn open(web: &Web) -> Result<Door, String> {
        let guard = Guard::of(web)?;
        let opened = match &web.listen {
            Listen::Tcp(addr) => TcpListener::bind(addr).map(Listener::Tcp),
            Listen::Unix(path) => listen(path).map(Listener::Unix),
        };
        let listener = opened.and_then(|listener| listener.set_nonblocking().map(|()| listener));
        let listener = listener.map_err(|cause| {
            let cure =
                privilege::network_cure(&cause).unwrap_or("; choose another `listen`, or stop who has it");
            format!("cannot listen at {}: {cause}{cure}", web.listen)
        })?;
        Ok(Door { listener, guard })
    }

    /// Serves until `wake` is raised.
    pub(crate) fn run(self, desk: &Desk, wake: &Wake) {
        let room = Room::new(MOST_GUESTS);
        let site = Site::new(desk.clone(), self.guard);
        std::thread::scope(|scope| {
            while !wake.is_raised() {
                if wait_readable(&[self.listener.as_fd(), wake.as_fd()]).is_err() {
                    break;
                }
                if wake.is_raised() {
                    break;
                }
                let (stream, line) = match self.listener.accept() {
                    Ok((stream, line)) => (Arc::new(stream), line),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                    Err(error) => {
                        warn!(%error, "cannot accept a caller at the dashboard");
                        wake.is_raised_within(ACCEPT_AGAIN);
                        continue;
                    }
                };
                if !room.enter(&stream) {
                    continue;
                }
                let (room, site) = (&room, &site);
                scope.spawn(move || {
                    // A fault in a page, which is said already, shall not end the daemon. Who went away needs no answer.
                    drop(fault::outlive(|| serve(&stream, line, site, (room, wake))));
                    room.leave(&stream);
                });
            }
            room.close_silent();
        });
    }
}

impl Listener {
    fn set_nonblocking(&self) -> std::io::Result<()> {
        match self {
            Listener::Tcp(listener) => listener.set_nonblocking(true),
            Listener::Unix(listener) => listener.set_nonblocking(true),
        }
    }

    /// A connection, of either family: what is done with one is the same for both.
    fn accept(&self) -> std::io::Result<(UnixStream, Line)> {
        let (stream, line) = match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                let own = stream.local_addr().ok().map(|own| canonical(own.ip()));
                let line = Line { peer: Some(canonical(peer.ip())), own };
                (UnixStream::from(OwnedFd::from(stream)), line)
            }
            Listener::Unix(listener) => (listener.accept()?.0, Line { peer: None, own: None }),
        };
        stream.set_nonblocking(false)?;
        Ok((stream, line))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }
}

fn serve(
    stream: &Arc<UnixStream>,
    line: Line,
    site: &Site,
    (room, wake): (&Room, &Wake),
) -> std::io::Result<()> {
    let heard = request::read(stream)?;
    if !room.begin(stream) {
        return Ok(());
    }
    let (answer, is_head) = match heard {
        Ok(request) => (site.answer(&request, line), request.is_head()),
        Err(refused) => (routes::Answer::Page(Response::refusal(refused)), false),
    };
    match answer {
        routes::Answer::Events(seat) => events::run(stream, &seat, wake),
        routes::Answer::Page(response) => {
            response.send(stream, is_head)?;
            linger(stream)
        }
    }
}

fn linger(mut stream: &UnixStream) -> std::io::Result<()> {
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.set_read_timeout(Some(LINGER))?;
    let since = crate::clock::Stopwatch::start();
    let (mut taken, mut part) = (0, [0; 8192]);
    while taken < LINGER_BYTES && since.elapsed() < LINGER {
        match stream.read(&mut part)? {
            0 => break,
            count => taken += count,
        }
    }
    Ok(())
}
