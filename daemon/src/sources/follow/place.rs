//! What a file is known by, and the form in which its place is kept.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::sources::read::read_up_to;

/// So many first bytes make a file's print.
pub(super) const HEAD_BYTES: usize = 256;

/// So many bytes before the offset are looked at again: at least one btmp record.
pub(super) const NEAR_BYTES: usize = 400;

/// Fewer bytes than these are alike by chance.
pub(super) const MIN_ALIKE: u64 = 32;

/// A file as the kernel knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    /// Device.
    pub(crate) dev: u64,
    /// Inode; used again once the file is gone.
    pub(crate) ino: u64,
}

impl From<&Metadata> for FileId {
    fn from(of: &Metadata) -> FileId {
        FileId { dev: of.dev(), ino: of.ino() }
    }
}

/// Hash of some bytes, with their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Print {
    pub(crate) len: u64,
    pub(crate) hash: u64,
}

impl Print {
    /// FNV-1a, 64 bits: stable over versions, and good enough to tell logs apart.
    pub(crate) fn of(bytes: &[u8]) -> Print {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Print { len: bytes.len() as u64, hash: bytes.iter().fold(0xcbf2_9ce4_8422_2325, step) }
    }

    /// Whether bytes begin so, and not by chance.
    pub(crate) fn is_alike(&self, bytes: &[u8]) -> bool {
        self.len >= MIN_ALIKE && self.begins(bytes)
    }

    /// Whether it is of the same file as a saved place: that one's print may be of fewer bytes.
    pub(crate) fn is_of(&self, saved: &Saved) -> bool {
        self.len > saved.fp_len || *self == saved.head()
    }

    /// Whether these bytes begin with what the print was made of.
    pub(crate) fn begins(&self, bytes: &[u8]) -> bool {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        bytes.get(..len).is_some_and(|bytes| Print::of(bytes) == *self)
    }
}

/// A file's place as the position string keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    /// First byte that is not dealt with.
    pub(crate) offset: u64,
    pub(crate) fp_len: u64,
    pub(crate) fp: u64,
    pub(crate) near_len: u64,
    pub(crate) near: u64,
    /// Nanoseconds since the epoch of its last change when it was read last.
    pub(crate) mtime: i64,
    /// Inside a line longer than the cap.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) skip: bool,
    /// What ends up to here was there before anything was ever read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) history_end: u64,
    /// Where the file really is, if the path is a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) real: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Saved {
    pub(crate) fn id(&self) -> FileId {
        FileId { dev: self.dev, ino: self.ino }
    }

    pub(crate) fn head(&self) -> Print {
        Print { len: self.fp_len, hash: self.fp }
    }

    pub(crate) fn near(&self) -> Print {
        Print { len: self.near_len, hash: self.near }
    }
}

/// Nanoseconds since the epoch of a file's last change.
pub(super) fn changed_at(status: &Metadata) -> i64 {
    status.mtime().saturating_mul(1_000_000_000).saturating_add(status.mtime_nsec())
}

/// Whether a file holds what a saved place says: the first bytes, and those right before the offset.
/// # Errors
/// What the kernel says to a read.
pub(super) fn holds(file: &File, saved: &Saved) -> io::Result<bool> {
    if file.metadata()?.len() < saved.offset || saved.near_len > saved.offset {
        return Ok(false);
    }
    let head = read_up_to(file, 0, usize::try_from(saved.fp_len).unwrap_or(HEAD_BYTES).min(HEAD_BYTES))?;
    let near_len = usize::try_from(saved.near_len).unwrap_or(NEAR_BYTES).min(NEAR_BYTES);
    let near = read_up_to(file, saved.offset - saved.near_len, near_len)?;
    Ok(saved.head().begins(&head) && saved.near().begins(&near))
}
