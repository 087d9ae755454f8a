//! Reads netlink messages: iterators over messages and attributes that end with an error on garbage.
//!
//! Nothing here trusts a length: whatever the bytes are, the iterators end and no slice is out of bounds.

use std::io;
use std::net::IpAddr;

use super::NetlinkError;
use super::encode::HEADER_BYTES;

/// `NLMSG_ERROR`: an error or, with number 0, an acknowledgement.
pub const KIND_ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a list.
pub const KIND_DONE: u16 = 3;
/// `NLM_F_DUMP_INTR`: what is being listed changed meanwhile.
const DUMP_INTERRUPTED: u16 = 0x10;
/// Attribute type bits that are flags (nested, network byte order) and no type.
const TYPE_MASK: u16 = 0x3fff;

/// One message as received.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its type.
    pub kind: u16,
    /// Its flags.
    pub flags: u16,
    /// The sequence number of the request that it answers.
    pub sequence: u32,
    /// In notices: the port of the socket that caused the change; 0 is the kernel.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// True if the list that this message is part of is inconsistent.
    pub fn is_interrupted(&self) -> bool {
        self.flags & DUMP_INTERRUPTED != 0
    }

    /// For a message of type [`KIND_ERROR`]: nothing for an acknowledgement, else the error.
    /// # Errors
    /// [`NetlinkError::Malformed`] if the number is missing.
    pub fn error(&self) -> Result<Option<io::Error>, NetlinkError> {
        let malformed = NetlinkError::Malformed { what: "an error message without a number" };
        let number = i32::from_ne_bytes(array(self.payload, 0).ok_or(malformed)?);
        Ok((number != 0).then(|| io::Error::from_raw_os_error(number.saturating_neg())))
    }

    /// The fixed part of `len` bytes and the attributes behind it.
    /// # Errors
    /// [`NetlinkError::Malformed`] if the message is shorter than its fixed part.
    pub fn split(&self, len: usize) -> Result<(&'a [u8], AttributeIter<'a>), NetlinkError> {
        let fixed = self.payload.get(..len);
        let fixed = fixed.ok_or(NetlinkError::Malformed { what: "a message without its fixed part" })?;
        let rest = self.payload.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Ok((fixed, attributes(rest)))
    }
}

/// Iterates over the messages in `bytes`.
pub fn messages(bytes: &[u8]) -> MessageIter<'_> {
    MessageIter { rest: bytes }
}

/// See [`messages`].
#[derive(Debug, Clone)]
pub struct MessageIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for MessageIter<'a> {
    type Item = Result<Message<'a>, NetlinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = self.read();
        if message.is_none() {
            self.rest = &[];
        }
        Some(message.ok_or(NetlinkError::Malformed { what: "a message is longer than what was received" }))
    }
}

impl<'a> MessageIter<'a> {
    fn read(&mut self) -> Option<Message<'a>> {
        let bytes = self.rest;
        let length = usize::try_from(u32::from_ne_bytes(array(bytes, 0)?)).ok()?;
        let message = Message {
            kind: u16::from_ne_bytes(array(bytes, 4)?),
            flags: u16::from_ne_bytes(array(bytes, 6)?),
            sequence: u32::from_ne_bytes(array(bytes, 8)?),
            port: u32::from_ne_bytes(array(bytes, 12)?),
            payload: bytes.get(HEADER_BYTES..length)?,
        };
        self.rest = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    }
}

/// Iterates over the attributes in `bytes`.
pub fn attributes(bytes: &[u8]) -> AttributeIter<'_> {
    AttributeIter { rest: bytes }
}

/// See [`attributes`].
#[derive(Debug, Clone)]
pub struct AttributeIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for AttributeIter<'a> {
    type Item = Result<Attribute<'a>, NetlinkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let attribute = self.read();
        if attribute.is_none() {
            self.rest = &[];
        }
        Some(attribute.ok_or(NetlinkError::Malformed { what: "an attribute's length is wrong" }))
    }
}

impl<'a> AttributeIter<'a> {
    fn read(&mut self) -> Option<Attribute<'a>> {
        let bytes = self.rest;
        let length = usize::from(u16::from_ne_bytes(array(bytes, 0)?));
        let kind = u16::from_ne_bytes(array(bytes, 2)?) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        self.rest = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Attribute { kind, value })
    }
}

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type without flag bits.
    pub kind: u16,
    /// Its bytes.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes inside.
    pub fn nested(&self) -> AttributeIter<'a> {
        attributes(self.value)
    }

    /// The text, up to a NUL.
    /// # Errors
    /// [`NetlinkError::Malformed`] if it is no UTF-8.
    pub fn text(&self) -> Result<&'a str, NetlinkError> {
        let end = self.value.iter().position(|b| *b == 0).unwrap_or(self.value.len());
        std::str::from_utf8(&self.value[..end])
            .map_err(|_| NetlinkError::Malformed { what: "a text is no UTF-8" })
    }

    /// The number in network byte order.
    /// # Errors
    /// [`NetlinkError::Malformed`] if there are too few bytes.
    pub fn be32(&self) -> Result<u32, NetlinkError> {
        array(self.value, 0).map(u32::from_be_bytes).ok_or(SHORT_NUMBER)
    }

    /// The number in network byte order.
    /// # Errors
    /// [`NetlinkError::Malformed`] if there are too few bytes.
    pub fn be64(&self) -> Result<u64, NetlinkError> {
        array(self.value, 0).map(u64::from_be_bytes).ok_or(SHORT_NUMBER)
    }

    /// The number in the machine's byte order.
    /// # Errors
    /// [`NetlinkError::Malformed`] if there are too few bytes.
    pub fn ne32(&self) -> Result<u32, NetlinkError> {
        array(self.value, 0).map(u32::from_ne_bytes).ok_or(SHORT_NUMBER)
    }

    /// The address: 4 bytes are IPv4, 16 are IPv6; not folded.
    /// # Errors
    /// [`NetlinkError::Malformed`] for any other length.
    pub fn addr(&self) -> Result<IpAddr, NetlinkError> {
        addr(self.value).ok_or(NetlinkError::Malformed { what: "an address is neither 4 nor 16 bytes" })
    }
}

const SHORT_NUMBER: NetlinkError = NetlinkError::Malformed { what: "a number is too short" };

/// The `N` bytes of `bytes` from `at` on, if there are so many.
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Four bytes as an IPv4, sixteen as an IPv6 address.
pub fn addr(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
