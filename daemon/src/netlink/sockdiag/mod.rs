//! The kernel's table of TCP sockets: lists them, and destroys those of banned sources.
//!
//! A packet filter drops what arrives, but connections that are there already stay and hold their places (in
//! sshd's `MaxStartups`, for one) until they time out; destroying them frees the places at once.
//! Only sockets of this network namespace are seen.
//! Source: `include/uapi/linux/inet_diag.h`, `sock_diag.h`; sock_diag(7).

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use pillory_core::net::{Prefix, PrefixSet, canonical};
use rustix::io::Errno;
use rustix::net::netlink::SOCK_DIAG;

use crate::netlink::decode::{Message, addr, array};
use crate::netlink::encode::Attributes;
use crate::netlink::socket::{Dump, Socket};
use crate::netlink::{NetlinkError, route};

/// Lists the sockets of one family.
const BY_FAMILY: u16 = 20;
/// Lists the TCP sockets of both families (`TCPDIAG_GETSOCK`): older, and walks the kernel's whole table only once.
const BOTH_FAMILIES: u16 = 18;
const DESTROY: u16 = 21;
const TCP: u8 = 6;
/// Bytes of `struct inet_diag_req_v2`.
const REQUEST_BYTES: usize = 56;
/// Bytes of `struct inet_diag_req`, and where its states stand.
const REQUEST_OF_BOTH_BYTES: usize = 60;
const STATES_AT_IN_REQUEST_OF_BOTH: usize = 52;
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
        self.list_matching(which, None).map_err(list_error)
    }

    /// `condition`: a programme that the kernel runs on each socket, so that few of many need to be handed out.
    fn list_matching(
        &mut self,
        which: Which,
        condition: Option<&[u8]>,
    ) -> Result<Vec<TcpSocket>, NetlinkError> {
        let mut found = Vec::new();
        // A walk costs a millisecond on a host with much memory, whose table has many empty places.
        match self.list_kind(BOTH_FAMILIES, &request_of_both(which.mask()), condition, &mut found) {
            Err(NetlinkError::Refused { .. }) => found.clear(),
            listed => return listed.map(|()| found),
        }
        for family in [route::IPV4, route::IPV6] {
            let fixed = request(family, which.mask(), &[0; ID_BYTES]);
            self.list_kind(BY_FAMILY, &fixed, condition, &mut found)?;
        }
        Ok(found)
    }

    fn list_kind(
        &mut self,
        kind: u16,
        fixed: &[u8],
        condition: Option<&[u8]>,
        into: &mut Vec<TcpSocket>,
    ) -> Result<(), NetlinkError> {
        const REQUEST_BYTECODE: u16 = 1;
        let body = |a: &mut Attributes<'_>| {
            if let Some(programme) = condition {
                a.put(REQUEST_BYTECODE, programme);
            }
        };
        // A list that begins anew takes back only what it brought itself.
        let before = into.len();
        let found = std::cell::RefCell::new(into);
        self.socket.dump(
            &Dump { kind, fixed, body: &body },
            &mut |message| {
                if message.kind == kind {
                    found.borrow_mut().extend(read_socket(message)?);
                }
                Ok(())
            },
            &mut || found.borrow_mut().truncate(before),
        )
    }

    /// Destroys those of this host's connections with anyone in `banned` that `also` meets: both ends see a reset.
    ///
    /// Returns how many there were.
    /// # Errors
    /// [`SockDiagError::CannotDestroy`] if the kernel cannot; those it can are destroyed all the same.
    pub fn destroy(
        &mut self,
        banned: &PrefixSet,
        also: impl Fn(&TcpSocket) -> bool,
    ) -> Result<usize, SockDiagError> {
        let condition = remote_in(banned.prefixes());
        let listed = match self.list_matching(Which::Connected, condition.as_deref()) {
            // A kernel that does not take the programme.
            Err(error) if error.errno() == Some(Errno::INVAL) => self.list_matching(Which::Connected, None),
            listed => listed,
        };
        let mut sockets = listed.map_err(list_error)?;
        sockets.retain(|socket| banned.contains_addr(socket.remote.ip()) && also(socket));
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

/// The kernel's programme for "the remote address is in one of these"; nothing if there are too many.
///
/// Each condition is followed by a jump to the end, which means yes; the last one's "no" leads behind the end.
/// Source: `struct inet_diag_bc_op`, `struct inet_diag_hostcond`.
fn remote_in(prefixes: &[Prefix]) -> Option<Vec<u8>> {
    const MAX_CONDITIONS: usize = 64;
    const JUMP: u8 = 1;
    const REMOTE_CONDITION: u8 = 8;
    const OPERATION_BYTES: u16 = 4;
    const ANY_PORT: i32 = -1;
    if prefixes.is_empty() || prefixes.len() > MAX_CONDITIONS {
        return None;
    }
    // From the end to the beginning, so that what remains is known.
    let mut programme: Vec<u8> = Vec::new();
    for prefix in prefixes.iter().rev() {
        let (family, addr) = match prefix.addr() {
            IpAddr::V4(v4) => (route::IPV4, v4.octets().to_vec()),
            IpAddr::V6(v6) => (route::IPV6, v6.octets().to_vec()),
        };
        // Invariant: 64 conditions of at most 32 bytes fit into 16 bits, and so does each of them.
        let length = OPERATION_BYTES + 8 + addr.len() as u16;
        let remaining = programme.len() as u16;
        let mut step = vec![REMOTE_CONDITION, length as u8];
        step.extend((length + OPERATION_BYTES).to_ne_bytes());
        step.extend([family, prefix.prefix_len(), 0, 0]);
        step.extend(ANY_PORT.to_ne_bytes());
        step.extend(addr);
        if remaining > 0 {
            step.extend([JUMP, OPERATION_BYTES as u8]);
            step.extend((OPERATION_BYTES + remaining).to_ne_bytes());
        }
        programme.splice(0..0, step);
    }
    Some(programme)
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

fn request_of_both(states: u32) -> [u8; REQUEST_OF_BOTH_BYTES] {
    let mut fixed = [0; REQUEST_OF_BOTH_BYTES];
    fixed[STATES_AT_IN_REQUEST_OF_BOTH..STATES_AT_IN_REQUEST_OF_BOTH + 4]
        .copy_from_slice(&states.to_ne_bytes());
    fixed
}

/// The socket that a message tells of; nothing if its family or state is unknown.
/// # Errors
/// [`NetlinkError::Malformed`].
pub fn read_socket(message: &Message<'_>) -> Result<Option<TcpSocket>, NetlinkError> {
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
