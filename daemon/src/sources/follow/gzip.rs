//! A compressed log, read from its beginning to its end in pieces.

use std::fs::File;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

use super::place::{HEAD_BYTES, Print};

/// A gzip file that is being unpacked; holds the bytes that nobody has used yet.
pub(crate) struct Gunzip {
    decoder: MultiGzDecoder<File>,
    ahead: Vec<u8>,
    head: Vec<u8>,
    ended: bool,
}

impl Gunzip {
    /// Unpacks the beginning.
    /// # Errors
    /// What the kernel says to a read, and what is no gzip.
    pub(crate) fn open(file: File) -> io::Result<Gunzip> {
        let decoder = MultiGzDecoder::new(file);
        let mut unpack = Gunzip { decoder, ahead: Vec::new(), head: Vec::new(), ended: false };
        unpack.head = unpack.peek(8 * 1024)?.to_vec();
        Ok(unpack)
    }

    /// The first bytes of the plain form.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// The next bytes: `len` of them, fewer only at the end.
    /// # Errors
    /// What the kernel says to a read, and broken compression.
    pub(crate) fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        if self.ahead.len() < len && !self.ended {
            let missing = (len - self.ahead.len()) as u64;
            self.ended = self.decoder.by_ref().take(missing).read_to_end(&mut self.ahead)? == 0;
        }
        Ok(self.ahead.get(..len).unwrap_or(&self.ahead))
    }

    /// Drops the next bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.ahead.drain(..len.min(self.ahead.len()));
    }

    /// Goes to `offset` of the plain form, if it begins with `head` and the bytes before the offset are `near`.
    /// # Errors
    /// What the kernel says to a read, and broken compression.
    pub(crate) fn goes_on(&mut self, head: Print, near: Print, offset: u64) -> io::Result<bool> {
        if !head.begins(self.head.get(..HEAD_BYTES).unwrap_or(&self.head)) || near.len > offset {
            return Ok(false);
        }
        let mut left = offset - near.len;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(64 * 1024);
            let have = self.peek(piece)?.len();
            if have == 0 {
                return Ok(false);
            }
            self.consume(have);
            left -= have as u64;
        }
        let near_len = usize::try_from(near.len).unwrap_or(0);
        let holds = near.begins(self.peek(near_len)?);
        self.consume(near_len);
        Ok(holds)
    }
}
