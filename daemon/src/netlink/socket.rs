//! A netlink socket: sends messages, collects acknowledgements, lists, and notices.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};

use super::decode::{KIND_DONE, KIND_ERROR, Message, messages};
use super::encode::Messages;
use super::{DUMP, NetlinkError};

/// Asked of the kernel for sending: one transaction of a million bans fits.
const SEND_BUFFER_BYTES: usize = 64 << 20;
/// Asked of the kernel for receiving: 10,000 refusals at once fit.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// Notices are shorter, and the kernel hands lists over in pieces of at most so much.
/// Source: `net/netlink/af_netlink.c`, `netlink_recvmsg`.
const PIECE_BYTES: usize = 32 << 10;
/// A refusal carries the refused message along: this is above the longest one that is sent.
const REFUSAL_BYTES: usize = 256 << 10;
/// What stands before it there is shorter.
const BEFORE_REFUSED_BYTES: usize = 64;
/// How often a list is begun anew if it changed while being read.
const DUMP_TRIES: u32 = 10;

/// A socket of one netlink family.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    next_sequence: u32,
    buffer: Vec<u8>,
}

/// A refused message of a batch.
#[derive(Debug)]
pub struct Refusal {
    /// Which message.
    pub sequence: u32,
    /// Why.
    pub cause: io::Error,
}

impl Socket {
    /// Opens a socket. `family`: nothing for routes. `groups`: bit n - 1 joins multicast group n.
    /// # Errors
    /// [`NetlinkError::Socket`], for instance if the kernel does not know the family.
    pub fn open(family: Option<Protocol>, groups: u32) -> Result<Socket, NetlinkError> {
        let open = || -> rustix::io::Result<(OwnedFd, u32)> {
            let fd = rustix::net::socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                family,
            )?;
            enlarge_buffers(&fd)?;
            rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
            let port = SocketAddrNetlink::try_from(rustix::net::getsockname(&fd)?)?.pid();
            Ok((fd, port))
        };
        let (fd, port) =
            open().map_err(|errno| NetlinkError::Socket { tried: "open", cause: errno.into() })?;
        Ok(Socket { fd, port, next_sequence: 1, buffer: vec![0; PIECE_BYTES] })
    }

    /// Leaves the socket as little room as systems usually allow without privileges.
    #[cfg(test)]
    pub fn shrink_buffers(&self) {
        sockopt::set_socket_send_buffer_size(&self.fd, 212_992).unwrap();
        sockopt::set_socket_recv_buffer_size(&self.fd, 212_992).unwrap();
    }

    /// The port that the kernel names in notices of what this socket caused.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// The most bytes that can be sent at once.
    pub fn max_send_bytes(&self) -> usize {
        // netlink_sendmsg refuses what is longer than sk_sndbuf - 32.
        sockopt::socket_send_buffer_size(&self.fd).unwrap_or(64 << 10).saturating_sub(32)
    }

    /// A buffer for messages with the next free sequence numbers; use [`Socket::exchange`] before the next one.
    pub fn messages(&self) -> Messages {
        Messages::numbered_from(self.next_sequence)
    }

    /// Sends the messages and collects refusals; the last message must have asked for an acknowledgement.
    ///
    /// Returns the messages that the kernel refused, in its order, at most one for each message.
    /// # Errors
    /// [`NetlinkError`] if the answers cannot be had; what became of the messages is unknown then.
    pub fn exchange(&mut self, batch: &Messages, acknowledged: u32) -> Result<Vec<Refusal>, NetlinkError> {
        self.send(batch)?;
        let mut refusals = Vec::new();
        let mut is_acknowledged = false;
        let mut lost = None;
        loop {
            let received = match receive(&self.fd, &mut self.buffer) {
                Ok(Some(received)) => received,
                // Answers were lost; the others are read all the same, to make room for the next ones.
                Err(error) if error.errno() == Some(Errno::NOBUFS) => {
                    lost = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
                // Everything that was answered has been read.
                Ok(None) => match lost {
                    Some(error) => return Err(error),
                    None if is_acknowledged => return Ok(refusals),
                    None => return Err(NetlinkError::NoAnswer { sequence: acknowledged }),
                },
            };
            for message in messages(received) {
                let message = message?;
                if message.kind != KIND_ERROR || !is_of(batch, message.sequence) {
                    continue;
                }
                is_acknowledged |= message.sequence == acknowledged;
                match message.error()? {
                    None => {}
                    // A refusal of the whole (no privilege, no such subsystem) names the first message only.
                    Some(cause) => {
                        is_acknowledged |= message.sequence == batch.first();
                        refusals.push(Refusal { sequence: message.sequence, cause });
                    }
                }
            }
        }
    }

    /// Sends one message that asked for an acknowledgement and hands every answer to `each`.
    /// # Errors
    /// [`NetlinkError::Refused`] if the kernel refused it, or whatever `each` returned.
    pub fn ask(
        &mut self,
        request: &Messages,
        each: &mut dyn FnMut(&Message<'_>) -> Result<(), NetlinkError>,
    ) -> Result<(), NetlinkError> {
        self.talk(request, each).map(|_| ())
    }

    /// Lists: sends a dump request and hands every entry to `each`.
    ///
    /// `kind` and `fixed` are the request's type and fixed part, `body` writes its attributes. `restart` is
    /// called when the list changed meanwhile and is being read anew.
    /// # Errors
    /// [`NetlinkError::Refused`], [`NetlinkError::Unsteady`], or whatever `each` returned.
    pub fn dump(
        &mut self,
        request: &Dump<'_>,
        each: &mut dyn FnMut(&Message<'_>) -> Result<(), NetlinkError>,
        restart: &mut dyn FnMut(),
    ) -> Result<(), NetlinkError> {
        for _ in 0..DUMP_TRIES {
            let mut batch = self.messages();
            batch.message(request.kind, DUMP, request.fixed, |attributes| (request.body)(attributes));
            if self.talk(&batch, each)? {
                return Ok(());
            }
            restart();
        }
        Err(NetlinkError::Unsteady { tries: DUMP_TRIES })
    }

    /// Sends and reads until the acknowledgement or the list's end; false if the list was interrupted.
    fn talk(
        &mut self,
        request: &Messages,
        each: &mut dyn FnMut(&Message<'_>) -> Result<(), NetlinkError>,
    ) -> Result<bool, NetlinkError> {
        self.send(request)?;
        let sequence = request.first();
        let mut is_steady = true;
        // A list that is not read to its end blocks the socket for the next one, so an error waits until then.
        let mut outcome = Ok(());
        loop {
            let received = receive(&self.fd, &mut self.buffer)?;
            let received = received.ok_or(NetlinkError::NoAnswer { sequence })?;
            for message in messages(received) {
                let message = message?;
                if !is_of(request, message.sequence) {
                    continue;
                }
                is_steady &= !message.is_interrupted();
                match message.kind {
                    KIND_DONE => return outcome.map(|()| is_steady),
                    KIND_ERROR => match message.error()? {
                        None => return outcome.map(|()| is_steady),
                        Some(cause) => {
                            return Err(NetlinkError::Refused { sequence: message.sequence, cause });
                        }
                    },
                    _ if outcome.is_ok() => outcome = each(&message),
                    _ => {}
                }
            }
        }
    }

    /// Reads the notices that wait and hands them to `each`; false if some were lost.
    /// # Errors
    /// [`NetlinkError`] if the socket is broken, or whatever `each` returned.
    pub fn notices(
        &mut self,
        each: &mut dyn FnMut(&Message<'_>) -> Result<(), NetlinkError>,
    ) -> Result<bool, NetlinkError> {
        let mut is_complete = true;
        loop {
            match receive(&self.fd, &mut self.buffer) {
                Ok(None) => return Ok(is_complete),
                Ok(Some(received)) => {
                    for message in messages(received) {
                        each(&message?)?;
                    }
                }
                Err(error) if error.errno() == Some(Errno::NOBUFS) => is_complete = false,
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, batch: &Messages) -> Result<(), NetlinkError> {
        self.next_sequence = batch.first().wrapping_add(batch.count());
        let bytes = batch.bytes()?;
        // Once made for a long list of bans it is kept for the next one; most sockets never need it.
        let refused = (bytes.len() + BEFORE_REFUSED_BYTES).min(REFUSAL_BYTES);
        self.buffer.resize(self.buffer.len().max(refused), 0);
        let sent = rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()));
        sent.map(|_| ()).map_err(|errno| NetlinkError::Socket { tried: "send", cause: errno.into() })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A request for a list.
pub struct Dump<'a> {
    /// The request's message type.
    pub kind: u16,
    /// Its fixed part.
    pub fixed: &'a [u8],
    /// Writes its attributes.
    pub body: &'a dyn Fn(&mut super::encode::Attributes<'_>),
}

fn is_of(batch: &Messages, sequence: u32) -> bool {
    sequence.wrapping_sub(batch.first()) < batch.count()
}

/// What waits in the socket; nothing if nothing does.
fn receive<'a>(fd: &OwnedFd, buffer: &'a mut [u8]) -> Result<Option<&'a [u8]>, NetlinkError> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    match rustix::io::retry_on_intr(|| rustix::net::recv(fd, &mut *buffer, flags)) {
        Ok((_, length)) => match buffer.get(..length) {
            Some(received) => Ok(Some(received)),
            None => Err(NetlinkError::Malformed { what: "an answer is longer than any can be" }),
        },
        Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(NetlinkError::Socket { tried: "receive", cause: errno.into() }),
    }
}

/// Takes what may be had: the limits of the system hold for those who may not exceed them.
fn enlarge_buffers(fd: &OwnedFd) -> rustix::io::Result<()> {
    if sockopt::set_socket_send_buffer_size_force(fd, SEND_BUFFER_BYTES).is_err() {
        sockopt::set_socket_send_buffer_size(fd, SEND_BUFFER_BYTES)?;
    }
    if sockopt::set_socket_recv_buffer_size_force(fd, RECEIVE_BUFFER_BYTES).is_err() {
        sockopt::set_socket_recv_buffer_size(fd, RECEIVE_BUFFER_BYTES)?;
    }
    Ok(())
}
