//! Tells when somebody else touches our table.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::netlink::NETFILTER;

use crate::netlink::socket::Socket;
use crate::netlink::{KernelWatch, NetlinkError, Seen};

use super::frame::is_of_table;
use super::wire::kind;

/// Multicast group of nf_tables (`NFNLGRP_NFTABLES`), as a bit.
const GROUP: u32 = 1 << (7 - 1);

/// Notices of nf_tables about one table. The kernel's own ending of bans makes no notice.
#[derive(Debug)]
pub struct NftWatch {
    socket: Socket,
    table: String,
    own_port: u32,
}

impl NftWatch {
    /// Begins to listen. `own_port`: changes made by the socket of that port are not told.
    /// # Errors
    /// [`NetlinkError`].
    pub fn open(table: &str, own_port: u32) -> Result<NftWatch, NetlinkError> {
        Ok(NftWatch { socket: Socket::open(Some(NETFILTER), GROUP)?, table: table.to_owned(), own_port })
    }
}

impl KernelWatch for NftWatch {
    fn read(&mut self) -> Result<Seen, NetlinkError> {
        let (table, own_port) = (self.table.as_str(), self.own_port);
        let mut seen = Seen::Nothing;
        let is_complete = self.socket.notices(&mut |message| {
            let is_change = kind::is_ours(message.kind) && message.kind != kind::NEW_GENERATION;
            if seen == Seen::Nothing && is_change && message.port != own_port && is_of_table(message, table)?
            {
                seen = Seen::Touched;
            }
            Ok(())
        })?;
        Ok(if is_complete { seen } else { Seen::Lost })
    }
}

impl AsFd for NftWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
