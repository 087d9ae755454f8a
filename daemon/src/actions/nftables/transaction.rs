//! A transaction of nf_tables: all of its messages take effect at once, or none does.
//!
//! What does not fit into one `send` becomes several transactions; the daemon's usual limit of 64 MiB holds
//! more than a million elements.

use crate::netlink::NetlinkError;
use crate::netlink::encode::Messages;
use crate::netlink::socket::Socket;

use super::wire;

/// No message is longer: an attribute around elements has at most 65,535 bytes.
const LONGEST_MESSAGE_BYTES: usize = 66_000;

/// A transaction being written.
pub(super) struct Transaction<'a> {
    socket: &'a mut Socket,
    batch: Option<Messages>,
    max_bytes: usize,
}

impl<'a> Transaction<'a> {
    /// An empty transaction.
    pub(super) fn new(socket: &'a mut Socket) -> Transaction<'a> {
        let max_bytes = socket.max_send_bytes().saturating_sub(LONGEST_MESSAGE_BYTES);
        Transaction { socket, batch: None, max_bytes }
    }

    /// Adds the message that `write` writes; what is written so far is committed if it would not fit.
    /// # Errors
    /// As [`Transaction::commit`].
    pub(super) fn write(&mut self, write: impl FnOnce(&mut Messages) -> u32) -> Result<(), NetlinkError> {
        if self.batch.as_ref().is_some_and(|batch| batch.byte_len() > self.max_bytes) {
            self.flush()?;
        }
        let batch = self.batch.get_or_insert_with(|| {
            let mut batch = self.socket.messages();
            wire::begin(&mut batch);
            batch
        });
        write(batch);
        Ok(())
    }

    /// True if nothing has been written that was not sent yet.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_none()
    }

    /// Sends it; an empty one is not sent.
    /// # Errors
    /// [`NetlinkError::Refused`] with the kernel's first refusal, or any other trouble with the socket.
    pub(super) fn commit(mut self) -> Result<(), NetlinkError> {
        self.flush()
    }

    /// Lets the kernel check it, and nothing come of it: the last message cannot succeed.
    ///
    /// `impossible`: writes that message.
    /// # Errors
    /// The kernel's first refusal of any other message.
    pub(super) fn rehearse(
        mut self,
        impossible: impl FnOnce(&mut Messages) -> u32,
    ) -> Result<(), NetlinkError> {
        let mut last = 0;
        self.write(|batch| {
            last = impossible(batch);
            last
        })?;
        match self.flush() {
            Err(NetlinkError::Refused { sequence, .. }) if sequence == last => Ok(()),
            other => other,
        }
    }

    fn flush(&mut self) -> Result<(), NetlinkError> {
        let Some(mut batch) = self.batch.take() else { return Ok(()) };
        let last = batch.acknowledge_last();
        wire::end(&mut batch);
        let refusals = self.socket.exchange(&batch, last)?;
        match refusals.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(NetlinkError::Refused { sequence: first.sequence, cause: first.cause }),
        }
    }
}
