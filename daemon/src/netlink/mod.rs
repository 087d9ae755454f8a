//! Netlink: framing shared by nftables, null routes, socket tables and the facts about this host.
//!
//! [`encode`] writes requests, [`decode`] reads answers and survives garbage, [`socket`] sends the one and
//! receives the other. No unsafe: the system calls are rustix's, the framing is plain bytes.
//!
//! The kernel works a request off while it is being sent, so every answer waits in the socket when `send`
//! returns. That is why nothing here blocks: an answer that is not there is an error, not a reason to wait.

pub mod decode;
pub mod encode;
pub mod netfilter;
pub mod route;
pub mod sockdiag;
pub mod socket;

#[cfg(test)]
pub mod lab;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::AsFd;

/// `NLM_F_REQUEST`: every message to the kernel carries it.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`: answer even if all is well.
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP`: list everything.
pub const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`: override what exists.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: fail if it exists.
pub const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: create if it does not exist.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: put it at the end.
pub const APPEND: u16 = 0x800;

/// Why a conversation with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call on the socket failed.
    #[error("netlink: cannot {tried}: {cause}")]
    Socket {
        /// `open`, `send`, `receive`.
        tried: &'static str,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// The kernel refused a request.
    #[error("netlink: message {sequence}: {cause}")]
    Refused {
        /// Sequence number of the refused message.
        sequence: u32,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
    /// The kernel gave no answer at all.
    #[error("netlink: the kernel gave no answer to message {sequence}")]
    NoAnswer {
        /// Sequence number of the message.
        sequence: u32,
    },
    /// An answer that does not follow the format.
    #[error("netlink: malformed answer: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// An attribute became longer than 65,535 bytes.
    #[error("netlink: an attribute of a request is longer than 65535 bytes")]
    TooLong,
    /// What was being listed changed all the time.
    #[error("netlink: what is being listed changed during each of {tries} tries")]
    Unsteady {
        /// How often it was tried.
        tries: u32,
    },
}

impl NetlinkError {
    /// The kernel's error number, if this came from the kernel.
    pub fn errno(&self) -> Option<rustix::io::Errno> {
        match self {
            NetlinkError::Socket { cause, .. } | NetlinkError::Refused { cause, .. } => {
                rustix::io::Errno::from_io_error(cause)
            }
            _ => None,
        }
    }

    /// The cause as an I/O error, for callers that have their own words around it.
    pub fn into_io(self) -> io::Error {
        match self {
            NetlinkError::Socket { cause, .. } | NetlinkError::Refused { cause, .. } => cause,
            other => io::Error::other(other.to_string()),
        }
    }
}

/// What a watch saw since it was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Nothing that concerns us.
    Nothing,
    /// Somebody else changed something of ours.
    Touched,
    /// Notices were lost (too many at once): look for yourself.
    Lost,
}

/// A socket that the kernel tells about changes. Readable (poll it) when there is something to read.
pub trait KernelWatch: AsFd + Send {
    /// Reads all notices that wait and never blocks.
    /// # Errors
    /// [`NetlinkError`] if the socket is broken; a flood of notices is [`Seen::Lost`] and no error.
    fn read(&mut self) -> Result<Seen, NetlinkError>;
}
