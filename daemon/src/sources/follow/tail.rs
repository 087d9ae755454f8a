//! One open file, read from an offset on, with what is needed to know it again.
//!
//! A file is known by device and inode, by a [`Print`] of its first bytes, and by a print of the bytes right
//! before the offset: the first two find it after a rotation, the last shows that nobody rewrote it in place.
//! Bytes that do not make a whole record yet are not kept but read again.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use super::gzip::Gunzip;
use super::place::{FileId, HEAD_BYTES, MIN_ALIKE, NEAR_BYTES, Print, Saved, changed_at};
use super::split::{Cut, Format, Splitter};
use crate::sources::read::read_up_to;
use crate::sources::{MAX_BATCH_BYTES, Phase};

enum Bytes {
    Plain(File),
    Gzip(Box<Gunzip>),
}

/// Records that were read together.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: Vec<Range<usize>>,
    pub(crate) phase: Phase,
}

impl Chunk {
    /// No records, only a position.
    pub(crate) fn empty() -> Chunk {
        Chunk { bytes: Vec::new(), records: Vec::new(), phase: Phase::Live }
    }
}

/// What a look at a file found.
#[derive(Debug)]
pub(crate) enum Look {
    /// These records, and perhaps more.
    Records(Chunk),
    /// Nothing that is complete.
    Nothing,
    /// The file is shorter than what was read of it, or other bytes stand there: it was rewritten in place.
    Rewritten,
}

/// One open file with the place up to which it is dealt with.
pub(crate) struct Tail {
    bytes: Bytes,
    format: Format,
    splitter: Splitter,
    pub(crate) id: FileId,
    pub(crate) head: Print,
    near: Print,
    pub(crate) offset: u64,
    pub(crate) history_end: u64,
    pub(crate) catchup_end: u64,
    /// Its last change when it was read last, or that of the newest part before it that was taken up: what is older
    /// than this was seen.
    pub(crate) mtime: i64,
    pub(crate) real: Option<String>,
    /// When it last grew, for files that a rotation left behind.
    pub(crate) busy_at: Instant,
    last_size: u64,
    /// Size and time of change at the last look that found nothing more.
    seen: Option<(u64, i64)>,
    /// A compressed file: nobody writes to it any more.
    pub(crate) finite: bool,
}

impl Tail {
    /// A file from its first byte on.
    /// # Errors
    /// What the kernel says to a look at the file.
    pub(crate) fn begin(file: File, format: Format, now: Instant) -> io::Result<Tail> {
        let status = file.metadata()?;
        let head = read_up_to(&file, 0, 8 * 1024)?;
        Ok(Tail {
            splitter: Splitter::new(format, &head, false),
            bytes: Bytes::Plain(file),
            format,
            id: FileId::from(&status),
            head: Print::of(head.get(..HEAD_BYTES).unwrap_or(&head)),
            near: Print::of(&[]),
            offset: 0,
            history_end: 0,
            catchup_end: 0,
            mtime: changed_at(&status),
            real: None,
            busy_at: now,
            last_size: status.len(),
            seen: seen_empty(&status, &head),
            finite: false,
        })
    }

    /// A file from a saved place on; the caller has made sure that it is the same file.
    /// # Errors
    /// What the kernel says to a look at the file.
    pub(crate) fn resume(file: File, format: Format, saved: &Saved, now: Instant) -> io::Result<Tail> {
        let mut tail = Tail::begin(file, format, now)?;
        tail.near = saved.near();
        tail.offset = saved.offset;
        tail.splitter.skipping = saved.skip;
        tail.history_end = saved.history_end;
        tail.real.clone_from(&saved.real);
        Ok(tail)
    }

    /// A compressed file from a saved place of its plain form on.
    pub(crate) fn unpack(from: Gunzip, format: Format, saved: Option<&Saved>, now: Instant) -> Tail {
        let head = from.head().to_vec();
        let mut splitter = Splitter::new(format, &head, false);
        splitter.skipping = saved.is_some_and(|saved| saved.skip);
        Tail {
            bytes: Bytes::Gzip(Box::new(from)),
            format,
            splitter,
            id: FileId { dev: 0, ino: 0 },
            head: Print::of(head.get(..HEAD_BYTES).unwrap_or(&head)),
            near: saved.map_or(Print::of(&[]), Saved::near),
            offset: saved.map_or(0, |saved| saved.offset),
            history_end: saved.map_or(0, |saved| saved.history_end),
            catchup_end: u64::MAX,
            mtime: 0,
            real: None,
            busy_at: now,
            last_size: 0,
            seen: None,
            finite: true,
        }
    }

    /// Skips all but the last `keep` bytes of what is there.
    /// # Errors
    /// What the kernel says to a look at the file.
    pub(crate) fn keep_last(&mut self, keep: u64) -> io::Result<()> {
        let size = self.size()?;
        self.offset = self.splitter.begin_near_end(size, keep);
        self.remember_near()
    }

    /// Skips the zero bytes at the beginning, which a writer leaves that goes on at its old place after the
    /// file was truncated.
    /// # Errors
    /// What the kernel says to a look at the file.
    pub(crate) fn skip_hole(&mut self) -> io::Result<()> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(()) };
        if self.format == Format::Btmp || read_up_to(file, self.offset, 1)?.first() != Some(&0) {
            return Ok(());
        }
        // Where the file system knows no holes, the zeros are read instead.
        let data = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(self.offset)).unwrap_or(self.offset);
        let mut at = data.max(self.offset);
        loop {
            let bytes = read_up_to(file, at, 64 * 1024)?;
            let zeros = bytes.iter().position(|&byte| byte != 0);
            at += zeros.unwrap_or(bytes.len()) as u64;
            if zeros.is_some() || bytes.is_empty() {
                break;
            }
        }
        self.offset = at;
        self.remember_near()
    }

    /// Goes back to the first byte, because other bytes stand there now.
    /// # Errors
    /// What the kernel says to a look at the file.
    pub(crate) fn begin_again(&mut self, now: Instant) -> io::Result<()> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(()) };
        let status = file.metadata()?;
        let head = read_up_to(file, 0, 8 * 1024)?;
        self.splitter = Splitter::new(self.format, &head, false);
        self.head = Print::of(head.get(..HEAD_BYTES).unwrap_or(&head));
        (self.near, self.offset, self.history_end, self.catchup_end) = (Print::of(&[]), 0, 0, 0);
        (self.busy_at, self.seen, self.mtime) = (now, seen_empty(&status, &head), changed_at(&status));
        self.skip_hole()
    }

    /// Takes note of parts that come before it. One of them may have changed later than this file had when it was
    /// asked, and once it is let go nothing else tells that it was read.
    pub(crate) fn comes_after<'t>(&mut self, parts: impl IntoIterator<Item = &'t Tail>) {
        self.mtime = parts.into_iter().map(|part| part.mtime).fold(self.mtime, i64::max);
    }

    /// The open file, for watches; a compressed one has none.
    pub(crate) fn file(&self) -> Option<&File> {
        match &self.bytes {
            Bytes::Plain(file) => Some(file),
            Bytes::Gzip(_) => None,
        }
    }

    /// Size now.
    /// # Errors
    /// What the kernel says to a look at the file.
    pub(crate) fn size(&self) -> io::Result<u64> {
        match &self.bytes {
            Bytes::Plain(file) => Ok(file.metadata()?.len()),
            Bytes::Gzip(_) => Ok(u64::MAX),
        }
    }

    /// How many names it still has; none: it was deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.file().is_some_and(|file| file.metadata().is_ok_and(|status| status.nlink() == 0))
    }

    /// Reads the next records.
    /// # Errors
    /// What the kernel says to a read.
    pub(crate) fn look(&mut self, now: Instant) -> io::Result<Look> {
        match &self.bytes {
            Bytes::Plain(_) => self.look_plain(now),
            Bytes::Gzip(_) => self.look_gzip(),
        }
    }

    fn look_plain(&mut self, now: Instant) -> io::Result<Look> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(Look::Nothing) };
        let status = file.metadata()?;
        let (size, seen) = (status.len(), (status.len(), changed_at(&status)));
        if size < self.offset || self.offset == 0 && size < self.head.len {
            return Ok(Look::Rewritten);
        }
        if self.seen == Some(seen) {
            return Ok(Look::Nothing);
        }
        if self.seen.is_some() && self.head.len == 0 {
            // It was empty, so there is no telling whether it was filled and truncated since.
            return Ok(Look::Rewritten);
        }
        // Read a little before the offset, in the same call, to see that it is still the same file.
        let near = usize::try_from(self.near.len).unwrap_or(NEAR_BYTES);
        let want =
            usize::try_from(self.bound(size) - self.offset).unwrap_or(MAX_BATCH_BYTES).min(MAX_BATCH_BYTES);
        let bytes = read_up_to(file, self.offset - self.near.len, near + want)?;
        let whole_head = self.offset == 0 && want as u64 >= self.head.len;
        if !self.near.begins(&bytes) || whole_head && !self.head.begins(&bytes) {
            return Ok(Look::Rewritten);
        }
        self.mtime = changed_at(&status);
        if self.last_size != size {
            (self.last_size, self.busy_at) = (size, now);
        }
        let fresh = bytes.len() - near;
        let (ends_in_zeros, read_to) = (bytes.last() == Some(&0), self.offset + fresh as u64);
        let Some(look) = self.take(bytes, near) else {
            if self.bound(size) < size && fresh == want {
                // Half a record at the bound between two phases belongs to the later one.
                self.close_phase();
                return self.look_plain(now);
            }
            self.seen = Some(seen);
            return Ok(Look::Nothing);
        };
        // Neither half a line nor a record of btmp is left before the zeros.
        if ends_in_zeros && self.format == Format::Lines && self.offset == read_to {
            self.leap_over_hole(size)?;
        }
        self.seen = (self.offset == size).then_some(seen);
        Ok(look)
    }

    /// Leaps over the rest of a hole in which what was read ends, as far as the file system knows of holes.
    /// # Errors
    /// What the kernel says to a read.
    fn leap_over_hole(&mut self, size: u64) -> io::Result<()> {
        let Bytes::Plain(file) = &self.bytes else { return Ok(()) };
        let end = match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(self.offset)) {
            Ok(data) => data.min(self.bound(size)),
            // Nothing but the hole is left.
            Err(rustix::io::Errno::NXIO) => self.bound(size),
            Err(_) => return Ok(()),
        };
        if end > self.offset {
            self.offset = end;
            self.remember_near()?;
        }
        Ok(())
    }

    fn look_gzip(&mut self) -> io::Result<Look> {
        let want = usize::try_from(self.bound(u64::MAX) - self.offset)
            .unwrap_or(MAX_BATCH_BYTES)
            .min(MAX_BATCH_BYTES);
        let Bytes::Gzip(from) = &mut self.bytes else { return Ok(Look::Nothing) };
        let bytes = from.peek(want)?.to_vec();
        let (before, fresh) = (self.offset, bytes.len());
        let look = self.take(bytes, 0);
        if look.is_none() && want < MAX_BATCH_BYTES && fresh == want {
            self.close_phase();
            return self.look_gzip();
        }
        let used = usize::try_from(self.offset - before).unwrap_or(0);
        if let Bytes::Gzip(from) = &mut self.bytes {
            from.consume(used);
        }
        Ok(look.unwrap_or(Look::Nothing))
    }

    /// Cuts what stands behind the first `near` bytes; nothing if no byte of it could be used.
    fn take(&mut self, mut bytes: Vec<u8>, near: usize) -> Option<Look> {
        let Cut { mut records, used } = self.splitter.cut(bytes.get(near..).unwrap_or(&[]));
        if used == 0 {
            return None;
        }
        for record in &mut records {
            *record = record.start + near..record.end + near;
        }
        let end = near + used;
        let phase = self.phase();
        // Made of the bytes in hand: the file may have been truncated since they were read, and a log whose first
        // bytes are not known is not found again in its copy.
        if self.offset == near as u64 && self.head.len < HEAD_BYTES as u64 {
            self.head = Print::of(bytes.get(..HEAD_BYTES).unwrap_or(&bytes));
        }
        self.offset += used as u64;
        self.near = Print::of(bytes.get(end.saturating_sub(NEAR_BYTES)..end).unwrap_or(&[]));
        // Batches wait for the engine; what is read again, and the rest of a line beyond the cap, need not wait with them.
        bytes.truncate(records.last().map_or(0, |record| record.end));
        bytes.shrink_to_fit();
        Some(Look::Records(Chunk { bytes, records, phase }))
    }

    fn phase(&self) -> Phase {
        if self.offset < self.history_end {
            Phase::History
        } else if self.offset < self.catchup_end {
            Phase::CatchUp
        } else {
            Phase::Live
        }
    }

    /// Up to where one look may read, so that its records are all of one phase.
    fn bound(&self, size: u64) -> u64 {
        match self.phase() {
            Phase::History => self.history_end.min(size),
            Phase::CatchUp => self.catchup_end.min(size),
            Phase::Live => size,
        }
    }

    fn close_phase(&mut self) {
        match self.phase() {
            Phase::History => self.history_end = 0,
            Phase::CatchUp | Phase::Live => self.catchup_end = 0,
        }
    }

    /// Makes the print of the first bytes of as many as there are by now, if they are still the same.
    /// # Errors
    /// What the kernel says to a read.
    pub(crate) fn grow_head(&mut self) -> io::Result<()> {
        let bytes = if self.head.len < HEAD_BYTES as u64 { self.first_bytes()? } else { return Ok(()) };
        if self.head.begins(&bytes) {
            self.head = Print::of(&bytes);
        }
        Ok(())
    }

    /// Whether another file that begins with these bytes is a copy of this one, going by what both hold now.
    pub(crate) fn is_alike(&self, bytes: &[u8]) -> bool {
        let own = self.first_bytes().unwrap_or_default();
        let len = own.len().min(bytes.len());
        self.head.is_alike(bytes) || len as u64 >= MIN_ALIKE && own.get(..len) == bytes.get(..len)
    }

    /// The first bytes, as far as they are there.
    /// # Errors
    /// What the kernel says to a read.
    pub(crate) fn first_bytes(&self) -> io::Result<Vec<u8>> {
        match &self.bytes {
            Bytes::Plain(file) => read_up_to(file, 0, HEAD_BYTES),
            Bytes::Gzip(from) => Ok(from.head().get(..HEAD_BYTES).unwrap_or(from.head()).to_vec()),
        }
    }

    fn remember_near(&mut self) -> io::Result<()> {
        let len = self.offset.min(NEAR_BYTES as u64);
        if let Bytes::Plain(file) = &self.bytes {
            self.near = Print::of(&read_up_to(file, self.offset - len, usize::try_from(len).unwrap_or(0))?);
        }
        Ok(())
    }

    /// The place, to be resumed from.
    pub(crate) fn save(&self) -> Saved {
        Saved {
            dev: self.id.dev,
            ino: self.id.ino,
            offset: self.offset,
            fp_len: self.head.len,
            fp: self.head.hash,
            near_len: self.near.len,
            near: self.near.hash,
            mtime: self.mtime,
            skip: self.splitter.skipping,
            history_end: if self.offset < self.history_end { self.history_end } else { 0 },
            real: self.real.clone(),
        }
    }
}

/// An empty file counts as looked at, so that its first change is noticed. What counts is what was read of it: it
/// may have been truncated since its status was asked for.
fn seen_empty(status: &Metadata, head: &[u8]) -> Option<(u64, i64)> {
    head.is_empty().then(|| (0, changed_at(status)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_log_that_is_truncated_right_after_a_read_is_known_by_what_was_read() {
        let lines = b"one line of the log, long enough to tell it apart\n".repeat(9);
        // The file is empty again by the time at which its bytes are cut into lines.
        let empty = File::open("/dev/null").unwrap();
        let mut tail = Tail::begin(empty, Format::Lines, clock::instant()).unwrap();
        assert!(tail.take(lines[..150].to_vec(), 0).is_some());
        assert!(tail.take(lines.clone(), 150).is_some());
        assert_eq!(tail.head, Print::of(&lines[..HEAD_BYTES]));
    }
}
