//! The kernel's table of TCP sockets: lists them, and destroys those of banned sources.
//!
//! A packet filter drops what arrives, but connections that are there already stay and hold their places (in
//! sshd's `MaxStartups`, for one) until they time out; destroying them frees the places at once.
//! Only sockets of this network namespace are seen.
//! Source: `include/uapi/linux/inet_diag.h`, `sock_diag.h`; sock_diag(7).

use std::net::{IpAddr, SocketAddr};

use pillory_core::net::{PrefixSet, canonical};
use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;

use super::decode::{Message, addr, array};
use super::socket::{Dump, Socket};
use super::{NetlinkError, route};

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const TCP: u8 = 6;
/// Bytes of `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// Bytes of `struct inet_diag_msg`.
const ANSWER_BYTES: usize = 72;
/// Bytes of `struct inet_diag_sockid`.
const ID_BYTES: usize = 48;
/// Where it stands in requests, and in answers one half as far.
const ID_AT_IN_REQUEST: usize = 8;
const ID_AT_IN_ANSWER: usize = 4;
/// Destroyed at once; so many refusals fit into the socket.
const DESTROYED_A_BATCH: usize = 1_000;

/// The state of a TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Data flows.
    Established,
    /// This host asked and waits for the answer.
    SynSent,
    /// The other side asked and has not completed the handshake.
    SynReceived,
    /// Waits for connections.
    Listening,
    /// On its way to being closed.
    Closing,
}

/// One TCP socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpSocket {
    /// Its state.
    pub state: State,
    /// This host's end; IPv4 addresses folded from IPv6 sockets. Unspecified where it listens on all.
    pub local: SocketAddr,
    /// The other end; unspecified while it listens.
    pub remote: SocketAddr,
    /// Whose it is.
    pub uid: u32,
    /// Its inode, to find the process in `/proc/*/fd`; 0 while no process has accepted it.
    pub inode: u32,
    /// The kernel's own name of it.
    id: Identity,
}

/// Names a socket to the kernel: its family and the bytes of `struct inet_diag_sockid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    family: u8,
    bytes: [u8; ID_BYTES],
}

/// Which sockets to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that wait for connections.
    Listening,
    /// Those with another end, however far the handshake or the farewell has come.
    Connected,
}

impl Which {
    /// A bit for each state; numbers as in `include/net/tcp_states.h`.
    fn mask(self) -> u32 {
        const LISTENING: u32 = 1 << 10;
        const TIME_WAIT: u32 = 1 << 6;
        const CLOSED: u32 = 1 << 7;
        const ALL: u32 = 0x1ffe;
        match self {
            Which::Listening => LISTENING,
            // In TIME_WAIT there is no socket any more, only its memory.
            Which::Connected => ALL & !(LISTENING | TIME_WAIT | CLOSED),
        }
    }
}

/// Why sockets could not be listed or destroyed.
#[derive(Debug, thiserror::Error)]
pub enum SockDiagError {
    /// This kernel cannot destroy sockets (`CONFIG_INET_DIAG_DESTROY`).
    #[error("cannot destroy the connections of banned sources: this kernel does not offer it")]
    CannotDestroy,
    /// This kernel cannot list sockets (`CONFIG_INET_DIAG`).
    #[error("cannot list TCP connections: this kernel does not offer it (inet_diag)")]
    CannotList,
    /// Any other trouble.
    #[error("cannot {tried} TCP connections: {cause}")]
    Netlink {
        /// `list`, `destroy`.
        tried: &'static str,
        /// What went wrong.
        #[source]
        cause: NetlinkError,
    },
}

/// The way to the socket table.
#[derive(Debug)]
pub struct SockDiag {
    socket: Socket,
}

impl SockDiag {
    /// Opens the way.
    /// # Errors
    /// [`SockDiagError::CannotList`].
    pub fn open() -> Result<SockDiag, SockDiagError> {
        let socket = Socket::open(Some(SOCK_DIAG), 0).map_err(list_error)?;
        Ok(SockDiag { socket })
    }

    /// Lists TCP sockets of both families.
    /// # Errors
    /// [`SockDiagError`].
    pub fn list(&mut self, which: Which) -> Result<Vec<TcpSocket>, SockDiagError> {
        let found = std::cell::RefCell::new(Vec::new());
        for family in [route::IPV4, route::IPV6] {
            // A list that begins anew takes back only what it brought itself.
            let before = found.borrow().len();
            let fixed = request(family, which.mask(), &[0; ID_BYTES]);
            let listed = self.socket.dump(
                &Dump { kind: BY_FAMILY, fixed: &fixed, body: &|_| {} },
                &mut |message| {
                    if message.kind == BY_FAMILY {
                        found.borrow_mut().extend(read_socket(message)?);
                    }
                    Ok(())
                },
                &mut || found.borrow_mut().truncate(before),
            );
            listed.map_err(list_error)?;
        }
        Ok(found.into_inner())
    }

    /// Destroys this host's connections with everyone in `banned`: both ends see a reset.
    ///
    /// Returns how many there were.
    /// # Errors
    /// [`SockDiagError::CannotDestroy`] if the kernel cannot; those it can are destroyed all the same.
    pub fn destroy(&mut self, banned: &PrefixSet) -> Result<usize, SockDiagError> {
        let mut sockets = self.list(Which::Connected)?;
        sockets.retain(|socket| banned.contains_addr(socket.remote.ip()));
        let fail = |cause| SockDiagError::Netlink { tried: "destroy", cause };
        let mut destroyed = sockets.len();
        let mut outcome = Ok(());
        for chunk in sockets.chunks(DESTROYED_A_BATCH) {
            let mut batch = self.socket.messages();
            for socket in chunk {
                batch.message(DESTROY, 0, &request(socket.id.family, 0, &socket.id.bytes), |_| {});
            }
            let last = batch.acknowledge_last();
            for refusal in self.socket.exchange(&batch, last).map_err(fail)? {
                destroyed -= 1;
                match Errno::from_io_error(&refusal.cause) {
                    // It ended by itself meanwhile.
                    Some(Errno::NOENT) => {}
                    Some(Errno::OPNOTSUPP) => outcome = Err(SockDiagError::CannotDestroy),
                    _ => {
                        let (sequence, cause) = (refusal.sequence, refusal.cause);
                        outcome = Err(fail(NetlinkError::Refused { sequence, cause }));
                    }
                }
            }
        }
        outcome.map(|()| destroyed)
    }
}

fn list_error(cause: NetlinkError) -> SockDiagError {
    match cause.errno() {
        // Without the module the kernel finds nobody to ask.
        Some(Errno::NOENT | Errno::PROTONOSUPPORT | Errno::OPNOTSUPP) => SockDiagError::CannotList,
        _ => SockDiagError::Netlink { tried: "list", cause },
    }
}

fn request(family: u8, states: u32, id: &[u8; ID_BYTES]) -> [u8; REQUEST_BYTES] {
    let mut fixed = [0; REQUEST_BYTES];
    fixed[0] = family;
    fixed[1] = TCP;
    fixed[4..8].copy_from_slice(&states.to_ne_bytes());
    fixed[ID_AT_IN_REQUEST..].copy_from_slice(id);
    fixed
}

/// The socket that a message tells of; nothing if its family or state is unknown.
fn read_socket(message: &Message<'_>) -> Result<Option<TcpSocket>, NetlinkError> {
    let (fixed, _) = message.split(ANSWER_BYTES)?;
    let malformed = || NetlinkError::Malformed { what: "a socket's entry is too short" };
    let bytes: [u8; ID_BYTES] = array(fixed, ID_AT_IN_ANSWER).ok_or_else(malformed)?;
    let number = |at| array(fixed, at).map(u32::from_ne_bytes).ok_or_else(malformed);
    let state = match fixed[1] {
        1 => State::Established,
        2 => State::SynSent,
        3 | 12 => State::SynReceived,
        10 => State::Listening,
        4..=9 | 11 => State::Closing,
        _ => return Ok(None),
    };
    let family = fixed[0];
    let (Some(local), Some(remote)) = (endpoint(family, &bytes, 0), endpoint(family, &bytes, 1)) else {
        return Ok(None);
    };
    let id = Identity { family, bytes };
    Ok(Some(TcpSocket { state, local, remote, uid: number(64)?, inode: number(68)?, id }))
}

/// The local (0) or remote (1) end: both ports, then both addresses in 16 bytes each.
fn endpoint(family: u8, id: &[u8; ID_BYTES], end: usize) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(array(id, 2 * end)?);
    let width = match family {
        route::IPV4 => 4,
        route::IPV6 => 16,
        _ => return None,
    };
    let at = 4 + 16 * end;
    let ip: IpAddr = addr(id.get(at..at + width)?)?;
    Some(SocketAddr::new(canonical(ip), port))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::netlink::lab::{in_new_namespace, must_run};
    use proptest::prelude::*;

    fn connect(from: &str, to: SocketAddr) -> TcpStream {
        // The standard library cannot choose the source; a route's preferred source can.
        let to_ip = to.ip().to_string();
        must_run("ip", &["route", "replace", "local", &to_ip, "dev", "lo", "src", from]);
        TcpStream::connect(to).unwrap()
    }

    #[test]
    fn lists_listeners_and_both_ends_of_connections() {
        in_new_namespace(|| {
            let listener = TcpListener::bind("[::]:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (_server, _) = listener.accept().unwrap();
            let mut diag = SockDiag::open().unwrap();
            let listening = diag.list(Which::Listening).unwrap();
            assert_eq!(listening.len(), 1);
            assert_eq!((listening[0].local.port(), listening[0].state), (port, State::Listening));
            assert!(listening[0].local.ip().is_unspecified() && listening[0].inode != 0);
            let connected = diag.list(Which::Connected).unwrap();
            let outgoing = client.local_addr().unwrap();
            // The server's socket is an IPv6 one with a folded address.
            assert!(connected.iter().any(|s| s.local.port() == port && s.remote == outgoing));
            assert!(connected.iter().any(|s| s.local == outgoing && s.remote.port() == port));
            assert!(connected.iter().all(|s| s.state == State::Established));
            assert_eq!(connected.len(), 2);
        });
    }

    #[test]
    fn destroys_the_connections_of_the_banned_and_no_others() {
        in_new_namespace(|| {
            for host in ["192.0.2.1", "192.0.2.7", "198.51.100.7"] {
                must_run("ip", &["addr", "add", host, "dev", "lo"]);
            }
            let listener = TcpListener::bind("[::]:0").unwrap();
            let to = SocketAddr::new("192.0.2.1".parse().unwrap(), listener.local_addr().unwrap().port());
            let mut banned_client = connect("192.0.2.7", to);
            let (_banned_server, peer) = listener.accept().unwrap();
            assert_eq!(canonical(peer.ip()).to_string(), "192.0.2.7");
            let waiting_client = connect("192.0.2.7", to);
            let friend = connect("198.51.100.7", to);
            let mut diag = SockDiag::open().unwrap();
            let before = diag.list(Which::Connected).unwrap().len();
            assert_eq!(before, 6);
            let banned = PrefixSet::new(["192.0.2.7".parse().unwrap()]);
            assert_eq!(diag.destroy(&banned).unwrap(), 2);
            assert!(banned_client.read(&mut [0; 1]).is_err());
            assert!(waiting_client.take_error().unwrap().is_some());
            let left = diag.list(Which::Connected).unwrap();
            assert_eq!(left.len(), 2, "{left:?}");
            assert!(friend.take_error().unwrap().is_none());
            assert_eq!(diag.destroy(&banned).unwrap(), 0);
        });
    }

    proptest! {
        #[test]
        fn garbage_is_no_socket_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let message =
                Message { kind: BY_FAMILY, flags: 0, sequence: 1, port: 0, payload: &bytes };
            let read = read_socket(&message);
            prop_assert_eq!(read.is_err(), bytes.len() < ANSWER_BYTES);
        }
    }
}
