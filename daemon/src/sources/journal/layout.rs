//! One journal file, read by `pread`: its header, the chain of entry arrays, entries and their data.
//!
//! journald writes through a memory map and counts `n_entries` up after everything else of an entry is in its
//! place, so what the count covers is complete; the kernel keeps map and `pread` coherent.
//! Source: systemd, `docs/JOURNAL_FILE_FORMAT.md`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::sources::read::read_up_to;

use super::unpack;

/// An object of another kind, or one that is larger than this, is no part of a sound file.
const MAX_OBJECT: u64 = 1 << 30;

/// An entry has at most so many fields; journald itself takes 1024.
const MAX_FIELDS: u64 = 4096;

/// Far behind the end so much of a file is read at once: entries and most of their values stand one behind the other.
const AHEAD_BYTES: u64 = 64 * 1024;

/// So much of it before the entry, where its own values stand.
const BEFORE_BYTES: u64 = 4096;

/// So many entries before the end this is not worth it.
const FAR_BEHIND: u64 = 64;

/// So many numbers of entries are fetched at once.
const MAX_ITEMS: u64 = 512;

const DATA: u8 = 1;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;

/// Bits of the header's incompatible flags: compressed data of three kinds, keyed hashes, compact offsets.
const KNOWN_FLAGS: u32 = 0b1_1111;
const COMPACT: u32 = 1 << 4;

/// State of a file that is never written to again.
const ARCHIVED: u8 = 2;

/// What identifies a file and tells how far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The file's own number, kept through renaming.
    pub(super) id: u128,
    /// Nobody writes to it any more.
    pub(super) archived: bool,
    /// Complete entries.
    pub(super) n_entries: u64,
    /// Microseconds since the epoch of the last entry; 0 if there is none.
    pub(super) tail_realtime: u64,
    compact: bool,
    first_array: u64,
}

/// Fixed fields of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Where it stands in its file.
    pub(super) offset: u64,
    /// Microseconds since the epoch.
    pub(super) realtime: u64,
    /// A number that is the same for copies of the entry in other files, and only for them.
    pub(super) key: u64,
    size: u64,
}

/// A value of an entry.
pub(super) struct Data {
    /// `FIELD=value`, unpacked; cut at the wanted length.
    pub(super) payload: Vec<u8>,
    /// How many entries share it.
    pub(super) shared_by: u64,
}

/// An open journal file.
#[derive(Debug)]
pub(super) struct JournalFile {
    pub(super) path: PathBuf,
    file: File,
    compact: bool,
    first_array: u64,
    /// The array that holds the entry looked up last: where it is, its first entry's number, how many it holds.
    array: Option<(u64, u64, u64)>,
    /// Offsets of entries, from the one with this number on.
    ahead: (u64, Vec<u64>),
    /// A piece of the file and where it begins, read when there were so many entries: all of them are complete there.
    piece: (u64, Vec<u8>, u64),
}

impl JournalFile {
    /// Takes an open file.
    /// # Errors
    /// What the kernel says to a read; [`io::ErrorKind::InvalidData`] if it is no journal file that we know.
    pub(super) fn new(path: PathBuf, file: File) -> io::Result<(JournalFile, Header)> {
        let header = read_header(&file)?;
        let (compact, first_array) = (header.compact, header.first_array);
        let (ahead, piece) = ((0, Vec::new()), (0, Vec::new(), 0));
        Ok((JournalFile { path, file, compact, first_array, array: None, ahead, piece }, header))
    }

    /// The open file, for watches.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Whether it is still in some directory.
    pub(super) fn has_name(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        self.file.metadata().is_ok_and(|status| status.nlink() > 0)
    }

    /// The header as it is now.
    /// # Errors
    /// As [`JournalFile::new`].
    pub(super) fn header(&self) -> io::Result<Header> {
        read_header(&self.file)
    }

    /// How many complete entries there are now; a single small read.
    /// # Errors
    /// What the kernel says to a read.
    pub(super) fn n_entries(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 152)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// The entry with a number (from 0) below `n_entries`.
    /// # Errors
    /// What the kernel says to a read; [`io::ErrorKind::InvalidData`] if the file is damaged there.
    pub(super) fn entry(&mut self, number: u64, n_entries: u64) -> io::Result<Entry> {
        if self.piece.2 != n_entries {
            self.piece = (0, Vec::new(), n_entries);
        }
        let offset = self.entry_offset(number, n_entries)?;
        if n_entries.saturating_sub(number) > FAR_BEHIND && self.in_piece(offset, 512).is_none() {
            let begin = offset.saturating_sub(BEFORE_BYTES);
            self.piece = (begin, self.read(begin, AHEAD_BYTES)?, n_entries);
        }
        let bytes = self.object(offset, ENTRY, 64)?;
        let size = u64_at(&bytes, 8);
        // xor_hash covers the fields; with the times it tells entries with equal fields apart.
        let key = [24, 32, 40, 48, 56].iter().fold(0u64, |key, &at| {
            (key ^ u64_at(&bytes, at)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        });
        Ok(Entry { offset, realtime: u64_at(&bytes, 24), key, size })
    }

    /// Where an entry's data stand.
    /// # Errors
    /// As [`JournalFile::entry`].
    pub(super) fn data_offsets(&self, entry: &Entry) -> io::Result<Vec<u64>> {
        let step = if self.compact { 4 } else { 16 };
        let count = entry.size.saturating_sub(64) / step;
        if count > MAX_FIELDS {
            return Err(damaged("an entry has too many fields"));
        }
        let bytes = self.read(entry.offset + 64, count * step)?;
        Ok(bytes
            .chunks_exact(step as usize)
            .map(|item| self.offset_in(item))
            .take_while(|&at| at != 0)
            .collect())
    }

    /// The data at an offset, at most `max` bytes of it.
    /// # Errors
    /// As [`JournalFile::entry`]; also what cannot be unpacked.
    pub(super) fn data(&self, offset: u64, max: usize) -> io::Result<Data> {
        let begin = if self.compact { 72 } else { 64 };
        // One read is enough for nearly all of them.
        let mut bytes = self.object(offset, DATA, 320)?;
        let size = u64_at(&bytes, 8);
        let packed = bytes.get(1).map_or(0, |flags| flags & 0b111);
        let want = if packed == 0 { size.min(begin + max as u64) } else { size };
        if (bytes.len() as u64) < want {
            // Compressed data never needs more than what it unpacks to, plus a little.
            let most = begin + max as u64 + 4096;
            bytes = self.read(offset, want.min(if packed == 0 { want } else { most.max(1 << 20) }))?;
        }
        bytes.truncate(usize::try_from(want).unwrap_or(usize::MAX));
        let shared_by = u64_at(&bytes, 56);
        let payload = bytes.get(begin as usize..).unwrap_or(&[]);
        let payload = if packed == 0 { payload.to_vec() } else { unpack::unpack(packed, payload, max)? };
        Ok(Data { payload, shared_by })
    }

    fn entry_offset(&mut self, number: u64, n_entries: u64) -> io::Result<u64> {
        let in_hand =
            number.checked_sub(self.ahead.0).and_then(|at| self.ahead.1.get(usize::try_from(at).ok()?));
        if let Some(offset) = in_hand {
            return Ok(*offset);
        }
        let (at, first, _) = self.array_of(number)?;
        let step = if self.compact { 4 } else { 8 };
        let (_, _, holds) = self.array.unwrap_or((at, first, 0));
        let count = (first + holds).min(n_entries).saturating_sub(number).min(MAX_ITEMS);
        // An array is filled up where it stands: what was read before of it may be old.
        let count_bytes = usize::try_from(count * step).map_err(|_| damaged("an array is too large"))?;
        let bytes = read_up_to(&self.file, at + 24 + (number - first) * step, count_bytes)?;
        self.ahead = (number, bytes.chunks_exact(step as usize).map(|item| self.offset_in(item)).collect());
        self.ahead.1.first().copied().ok_or_else(|| damaged("an entry array ends early"))
    }

    /// Walks the chain to the array that holds an entry.
    fn array_of(&mut self, number: u64) -> io::Result<(u64, u64, u64)> {
        let step = if self.compact { 4 } else { 8 };
        let mut place = match self.array.filter(|(_, first, _)| *first <= number) {
            Some(place) => place,
            None => {
                if self.first_array == 0 {
                    self.first_array = self.header()?.first_array;
                }
                (self.first_array, 0, self.array_holds(self.first_array, step)?)
            }
        };
        while number - place.1 >= place.2 {
            // Where the chain is broken, nobody walks up to there again for each entry behind it.
            self.array = Some(place);
            let next = u64_at(&self.object(place.0, ENTRY_ARRAY, 24)?, 16);
            if next <= place.0 {
                return Err(damaged("the chain of entry arrays is broken"));
            }
            place = (next, place.1 + place.2, self.array_holds(next, step)?);
        }
        self.array = Some(place);
        Ok(place)
    }

    fn array_holds(&self, at: u64, step: u64) -> io::Result<u64> {
        let size = u64_at(&self.object(at, ENTRY_ARRAY, 24)?, 8);
        match size.saturating_sub(24) / step {
            0 => Err(damaged("an entry array is empty")),
            holds => Ok(holds),
        }
    }

    /// The first number of an entry that is not older than a time, about: entries before it are older, but some
    /// behind it may be too. Skips whole arrays, so that old files cost little.
    /// # Errors
    /// As [`JournalFile::entry`].
    pub(super) fn first_since(&mut self, realtime: u64, n_entries: u64) -> io::Result<u64> {
        let (mut low, mut high) = (0, n_entries);
        // Entries are nearly in the order of their times; where the clock was set back, more are read.
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle, n_entries)?.realtime < realtime {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn offset_in(&self, item: &[u8]) -> u64 {
        if self.compact { u64::from(u32_at(item, 0)) } else { u64_at(item, 0) }
    }

    /// At most `len` bytes of the object at an offset, at least its fixed part.
    fn object(&self, offset: u64, kind: u8, len: u64) -> io::Result<Vec<u8>> {
        if offset == 0 || !offset.is_multiple_of(8) {
            return Err(damaged("an offset points nowhere"));
        }
        let bytes = self.read(offset, len)?;
        let size = u64_at(&bytes, 8);
        if bytes.first() != Some(&kind)
            || !(24..=MAX_OBJECT).contains(&size)
            || (bytes.len() as u64) < len.min(size)
        {
            return Err(damaged("an object is not what it should be"));
        }
        Ok(bytes)
    }

    fn read(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(len).map_err(|_| damaged("an object is too large"))?;
        match self.in_piece(offset, len) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => read_up_to(&self.file, offset, len),
        }
    }

    fn in_piece(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let begin = usize::try_from(offset.checked_sub(self.piece.0)?).ok()?;
        self.piece.1.get(begin..begin.checked_add(len)?)
    }
}

fn read_header(file: &File) -> io::Result<Header> {
    let mut bytes = [0; 208];
    file.read_exact_at(&mut bytes, 0)?;
    if bytes.get(..8) != Some(b"LPKSHHRH") {
        return Err(damaged("it is no journal file"));
    }
    let flags = u32_at(&bytes, 12);
    if flags & !KNOWN_FLAGS != 0 {
        return Err(damaged("it is of a newer format"));
    }
    let mut id = [0; 16];
    id.copy_from_slice(bytes.get(24..40).unwrap_or(&[0; 16]));
    Ok(Header {
        id: u128::from_be_bytes(id),
        archived: bytes.get(16) == Some(&ARCHIVED),
        n_entries: u64_at(&bytes, 152),
        tail_realtime: u64_at(&bytes, 192),
        compact: flags & COMPACT != 0,
        first_array: u64_at(&bytes, 176),
    })
}

pub(super) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A number in the file's byte order; 0 beyond its end.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes
        .get(at..at + 8)
        .map_or(0, |bytes| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |bytes| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
}
