//! Finds out whether the log of changes beside the database lost anything, before `SQLite` opens it: that stops at the
//! first frame that makes no sense, in silence, for a crash leaves such a frame as well.
//!
//! The index in shared memory tells the two apart: `SQLite` writes there how many frames are committed, after they are
//! on disk, and how many of them the database has by now. So a log that holds fewer was damaged, cut or removed, and
//! whatever a killed daemon was just writing lies behind that number. After a reboot the index is an older one, which
//! claims less, or is of another log. Then a finished transaction behind what makes no sense is the proof: only the last
//! one can be half on the disk. What stays unseen: damage to the very last transaction without an index, and a log
//! that was removed together with its index.
//!
//! Source: <https://sqlite.org/fileformat2.html>, "The Write-Ahead Log"; <https://sqlite.org/walformat.html>.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Result};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{ANEW, beside};

/// Of the log, of each of its frames, and of what is read of the index.
const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 24;
const INDEX_BYTES: usize = 136;

/// What the log names itself by its first bytes: checksums of little-endian words, or of big-endian ones if it is one
/// more.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;

/// What is wrong with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damage {
    /// Committed frames that can be read.
    left: u32,
    /// Those that there were, if that is known.
    of: Option<u32>,
    /// Something of it is nowhere else.
    pub(super) loses: bool,
    /// The database has more of it than can be read, and would be set back by it.
    is_behind: bool,
}

impl Damage {
    /// What is to be said of it.
    pub(super) fn said(&self, database: &Path) -> String {
        let of = self.of.map_or_else(String::new, |of| format!(" of {of}"));
        format!(
            "{} is damaged, cut or gone ({}{of} pages can be read): what was written last is lost, and bans lifted since may be back",
            beside(database, "-wal").display(),
            self.left
        )
    }

    /// Takes the log out of the way if the database is better without it.
    /// # Errors
    /// The system's.
    pub(super) fn put_aside(&self, database: &Path) -> Result<()> {
        match self.is_behind {
            true => std::fs::rename(beside(database, "-wal"), beside(database, ".broken-wal")),
            false => Ok(()),
        }
    }
}

/// Looks at the log of a database that nobody has open. Nothing if it has all that it must have, or cannot be read: then
/// `SQLite` says why.
pub(super) fn damage(database: &Path) -> Option<Damage> {
    let absent_is_empty = |opened: Result<File>| match opened {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        opened => Ok(opened.ok()),
    };
    let open = |path: PathBuf| absent_is_empty(File::open(path));
    let walked = match open(beside(database, "-wal")).ok()? {
        Some(log) => walk(BufReader::new(log)).ok()?,
        None => Walked::default(),
    };
    let mut index = Vec::new();
    if let Some(file) = open(beside(database, "-shm")).ok()? {
        file.take(INDEX_BYTES as u64).read_to_end(&mut index).ok()?;
    }
    compare(walked, Index::read(&index))
}

/// Notes in a database whose log lost something that the kernel knows more.
/// # Errors
/// `SQLite`'s; that it is corrupt if pages of different times have come together.
pub(super) fn doubt(db: &Connection) -> rusqlite::Result<()> {
    let found: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(corrupt, Some(found)));
    }
    db.execute_batch(ANEW)
}

/// What can be read of a log.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Walked {
    /// Its name; nothing if there is none or no log.
    salts: Option<[u8; 8]>,
    /// Frames up to the last whole transaction.
    committed: u32,
    /// There was a finished transaction behind these.
    lacks: bool,
}

fn compare(walked: Walked, index: Option<Index>) -> Option<Damage> {
    let about_it = index.filter(|index| walked.salts.is_none_or(|salts| salts == index.salts));
    match about_it {
        Some(index) if walked.committed < index.frames => {
            let loses = index.copied < index.frames;
            // What is no log is not read, either.
            let is_behind = walked.salts.is_some() && index.copied >= walked.committed;
            (loses || is_behind).then_some(Damage {
                left: walked.committed,
                of: Some(index.frames),
                loses,
                is_behind,
            })
        }
        _ => {
            walked.lacks.then_some(Damage { left: walked.committed, of: None, loses: true, is_behind: false })
        }
    }
}

/// What the index claims of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Index {
    salts: [u8; 8],
    /// Committed.
    frames: u32,
    /// In the database already.
    copied: u32,
}

impl Index {
    /// Nothing if it is none, or was just being written.
    fn read(bytes: &[u8]) -> Option<Index> {
        let (header, rest) = bytes.split_at_checked(48)?;
        let (again, rest) = rest.split_at_checked(48)?;
        let native = |at: usize| Some(u32::from_ne_bytes(header.get(at..at + 4)?.try_into().ok()?));
        let mut sum = Sum { is_big: cfg!(target_endian = "big"), ..Sum::default() };
        sum.add(header.get(..40)?);
        let is_whole = header == again && native(0)? == VERSION && sum.of == [native(40)?, native(44)?];
        let copied = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?);
        is_whole.then_some(Index { salts: header.get(32..40)?.try_into().ok()?, frames: native(16)?, copied })
    }
}

/// The checksum of a log, which goes on from frame to frame.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    of: [u32; 2],
    is_big: bool,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: [u8; 4]| match self.is_big {
            true => u32::from_be_bytes(bytes),
            false => u32::from_le_bytes(bytes),
        };
        let [mut first, mut second] = self.of;
        for pair in bytes.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *pair;
            first = first.wrapping_add(word([a, b, c, d])).wrapping_add(second);
            second = second.wrapping_add(word([e, f, g, h])).wrapping_add(first);
        }
        self.of = [first, second];
    }

    /// True if it is what stands at the end of `header`.
    fn stands_in(self, header: &[u8]) -> bool {
        let own = self.of.map(u32::to_be_bytes);
        header.ends_with(own.as_flattened())
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_be_bytes)
}

/// Fills `into` as far as the log goes; true if it was filled.
fn fill(log: &mut impl Read, into: &mut [u8]) -> Result<bool> {
    match log.read_exact(into) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        done => done.map(|()| true),
    }
}

fn walk(mut log: impl Read) -> Result<Walked> {
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut log, &mut header)? {
        return Ok(Walked::default());
    }
    let mut frame = [0; FRAME_BYTES];
    let page_bytes = number(&header, 8) as usize;
    let mut sum = Sum { of: [0; 2], is_big: number(&header, 0) == MAGIC + 1 };
    sum.add(&header[..24]);
    let is_known = number(&header, 0) & !1 == MAGIC && number(&header, 4) == VERSION;
    let has_pages = page_bytes.is_power_of_two() && (512..=65_536).contains(&page_bytes);
    if !(is_known && has_pages && sum.stands_in(&header)) {
        // It is on disk before any frame is.
        let lacks = fill(&mut log, &mut frame)? && frame != [0; FRAME_BYTES];
        return Ok(Walked { lacks, ..Walked::default() });
    }
    let salts = [16, 17, 18, 19, 20, 21, 22, 23].map(|at: usize| header[at]);
    let mut walked = Walked { salts: Some(salts), ..Walked::default() };
    let mut page = vec![0; page_bytes];
    let (mut whole, mut is_torn, mut has_ended) = (0u32, false, false);
    while fill(&mut log, &mut frame)? {
        let is_of_it = frame[8..16] == salts;
        // Behind a whole transaction nothing is written before it is on disk.
        walked.lacks |= is_torn && has_ended && is_of_it;
        let ends = number(&frame, 4) != 0;
        if !fill(&mut log, &mut page)? {
            break;
        }
        if !is_torn {
            sum.add(&frame[..8]);
            sum.add(&page);
            let fits = sum.stands_in(&frame) && number(&frame, 0) != 0;
            // Nothing but its name is wrong.
            walked.lacks |= fits && !is_of_it;
            is_torn = !(fits && is_of_it);
        }
        if is_torn {
            has_ended |= ends && is_of_it;
        } else {
            whole = whole.saturating_add(1);
            walked.committed = if ends { whole } else { walked.committed };
        }
    }
    Ok(walked)
}

/// For fuzzing: an index with any bytes, and a log with those behind them.
#[cfg(any(test, fuzzing))]
pub(super) fn whatever(data: &[u8]) {
    let index = data.get(..INDEX_BYTES).unwrap_or_default();
    let log = data.get(INDEX_BYTES..).unwrap_or(data);
    let Ok(walked) = walk(log) else { return };
    // No more frames than there is room for, and nothing is missed that can be read.
    assert!(walked.committed as usize * (FRAME_BYTES + 512) <= log.len());
    assert!(walked.salts.is_some() || walked.committed == 0);
    if let Some(damage) = compare(walked, Index::read(index)) {
        assert!(damage.loses || damage.is_behind);
        assert!(damage.of.is_none_or(|of| of > damage.left));
    }
}

#[cfg(test)]
mod tests;
