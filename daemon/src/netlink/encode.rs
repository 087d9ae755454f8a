//! Writes netlink messages: a buffer of one or many, each a header, a fixed part and attributes.
//!
//! Numbers of netlink itself are in the machine's byte order; what stands inside attributes is the caller's.

use super::{ACK, NetlinkError, REQUEST};

/// Attribute type bit that marks nested attributes.
const NESTED: u16 = 0x8000;
/// Bytes of a message header (`struct nlmsghdr`).
pub const HEADER_BYTES: usize = 16;

/// Messages that are sent together.
#[derive(Debug)]
pub struct Messages {
    bytes: Vec<u8>,
    first: u32,
    count: u32,
    last_at: usize,
    too_long: bool,
}

impl Messages {
    /// No messages yet; they will be numbered from `first`.
    pub fn numbered_from(first: u32) -> Messages {
        Messages { bytes: Vec::new(), first, count: 0, last_at: 0, too_long: false }
    }

    /// Adds one message: `kind` and `flags` of its header (`NLM_F_REQUEST` is added), the fixed part that
    /// follows the header, and whatever attributes `body` writes.
    ///
    /// Returns its sequence number.
    pub fn message(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        body: impl FnOnce(&mut Attributes<'_>),
    ) -> u32 {
        let sequence = self.first.wrapping_add(self.count);
        self.count = self.count.wrapping_add(1);
        let start = self.bytes.len();
        self.last_at = start;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        body(&mut Attributes { bytes: &mut self.bytes, too_long: &mut self.too_long });
        match u32::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
        sequence
    }

    /// Asks for an acknowledgement of the last message, and returns its sequence number; 0 without a message.
    pub fn acknowledge_last(&mut self) -> u32 {
        let Some(flags) = self.bytes.get_mut(self.last_at + 6..self.last_at + 8) else { return 0 };
        // Invariant: the slice has two bytes.
        let with_ack = u16::from_ne_bytes([flags[0], flags[1]]) | ACK;
        flags.copy_from_slice(&with_ack.to_ne_bytes());
        self.first.wrapping_add(self.count).wrapping_sub(1)
    }

    /// Bytes so far.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Sequence number of the first message.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// How many messages there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The bytes to send.
    /// # Errors
    /// [`NetlinkError::TooLong`] if an attribute or a message became too long for its length field.
    pub fn bytes(&self) -> Result<&[u8], NetlinkError> {
        if self.too_long { Err(NetlinkError::TooLong) } else { Ok(&self.bytes) }
    }
}

/// Writes the attributes of one message.
#[derive(Debug)]
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
    too_long: &'a mut bool,
}

impl Attributes<'_> {
    /// An attribute with these bytes.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        self.enclose(kind, |bytes| bytes.extend_from_slice(value));
    }

    /// A text with its closing NUL.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.enclose(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
    }

    /// A number in network byte order, as netfilter wants it.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A number in network byte order, as netfilter wants it.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A number in the machine's byte order, as rtnetlink wants it.
    pub fn ne32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// An attribute that holds attributes.
    pub fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.open(kind | NESTED);
        body(&mut Attributes { bytes: self.bytes, too_long: self.too_long });
        self.close(start);
    }

    fn enclose(&mut self, kind: u16, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.open(kind);
        write(self.bytes);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => *self.too_long = true,
        }
        pad(self.bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
