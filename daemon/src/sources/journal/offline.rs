//! Journal files read as they lie there, for commands that work without the daemon: all entries in the order of their
//! times, or the latest ones.

use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use pillory_core::time::Timestamp;

use super::entries::{Matches, Reader};
use super::layout::{Entry, JournalFile};
use super::stream::{stamp, stamp_of};
use crate::sources::{FeedId, glob};

/// Alternatives of `FIELD=value` pairs; see [`crate::sources::Wanted::Journal`].
pub(crate) type Alternatives = [Vec<(String, String)>];

/// The entries of some journal files.
pub(crate) struct Entries {
    files: Vec<Open>,
    matches: Matches,
    /// Keys of the entries at the time of the latest one: what journald copied from file to file counts once.
    latest: (u64, Vec<u64>),
    bytes: Vec<u8>,
    /// Files of a directory that cannot be read, with the reason.
    pub(crate) left_out: Vec<(PathBuf, io::Error)>,
    /// Entries that are damaged.
    pub(crate) damaged: u64,
}

/// One entry.
pub(crate) struct Found<'a> {
    /// When journald received it.
    pub(crate) stamp: Timestamp,
    /// Who wants it; nobody, mostly.
    pub(crate) feeds: Vec<FeedId>,
    /// The entry as a log would have it, if anybody wants it.
    pub(crate) line: &'a [u8],
}

struct Open {
    file: JournalFile,
    reader: Reader,
    read: u64,
    n_entries: u64,
    /// When the last entry was written.
    tail: u64,
    next: Option<Entry>,
}

/// No entry has fewer bytes: a file that counts more of them than fit into it is damaged.
const MIN_ENTRY_BYTES: u64 = 64;

/// So many entries are looked at together on the way back from the latest.
const BLOCK: u64 = 512;

impl Entries {
    /// Opens a journal file, or all of a directory and of the directories in it. Files that cannot be read hide no
    /// others.
    ///
    /// `wanted`: who wants what; without alternatives every entry.
    /// # Errors
    /// What the kernel says to the directory or the single file; [`io::ErrorKind::InvalidData`] if that is damaged.
    pub(crate) fn open(path: &Path, wanted: &[(FeedId, &Alternatives)]) -> io::Result<Entries> {
        let mut matches = Matches::default();
        wanted.iter().for_each(|(feed, alternatives)| matches.add(*feed, alternatives));
        let mut entries = Entries {
            files: Vec::new(),
            matches,
            latest: (0, Vec::new()),
            bytes: Vec::new(),
            left_out: Vec::new(),
            damaged: 0,
        };
        if !path.is_dir() {
            entries.files.push(Open::new(path)?);
            return Ok(entries);
        }
        let mut inner = Vec::new();
        entries.take_up(path, Some(&mut inner))?;
        for directory in inner {
            // One that is closed to us hides no other.
            if let Err(error) = entries.take_up(&directory, None) {
                entries.left_out.push((directory, error));
            }
        }
        Ok(entries)
    }

    fn take_up(&mut self, directory: &Path, mut inner: Option<&mut Vec<PathBuf>>) -> io::Result<()> {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if kind.is_dir() {
                inner.as_deref_mut().into_iter().for_each(|inner| inner.push(path.clone()));
            } else if kind.is_file() && (name.ends_with(".journal") || name.ends_with(".journal~")) {
                match Open::new(&path) {
                    Ok(open) => self.files.push(open),
                    Err(error) => self.left_out.push((path, error)),
                }
            }
        }
        Ok(())
    }

    /// When the first entry was written.
    pub(crate) fn first_stamp(&mut self) -> Option<Timestamp> {
        self.files.iter_mut().filter_map(|open| open.peek(&mut self.damaged)).map(|entry| stamp(&entry)).min()
    }

    /// When the last entry was written.
    pub(crate) fn last_stamp(&self) -> Option<Timestamp> {
        let tail = self.files.iter().map(|open| open.tail).max().filter(|tail| *tail > 0)?;
        Some(stamp_of(tail))
    }

    /// The next entry in the order of time.
    pub(crate) fn next(&mut self) -> Option<Found<'_>> {
        loop {
            let mut oldest: Option<(usize, Entry)> = None;
            for (at, open) in self.files.iter_mut().enumerate() {
                let Some(entry) = open.peek(&mut self.damaged) else { continue };
                if oldest.is_none_or(|(_, best)| entry.realtime < best.realtime) {
                    oldest = Some((at, entry));
                }
            }
            let (at, entry) = oldest?;
            let open = self.files.get_mut(at)?;
            (open.next, open.read) = (None, open.read + 1);
            if self.is_copy(&entry) {
                continue;
            }
            self.bytes.clear();
            let feeds = self.read(at, &entry);
            return Some(Found { stamp: stamp(&entry), feeds, line: &self.bytes });
        }
    }

    /// The lines of the latest wanted entries, at most `most`, in no particular order; at most `looked_at` entries of
    /// each file are looked at.
    pub(crate) fn latest(&mut self, most: usize, looked_at: u64) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        self.files.sort_by_key(|open| std::cmp::Reverse(open.tail));
        let least = |open: &mut Open| open.n_entries.saturating_sub(looked_at);
        self.backwards(&least, &mut |found| {
            if !found.feeds.is_empty() && lines.len() < most {
                lines.push(found.line.to_vec());
            }
            if lines.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        lines
    }

    /// Hands out the entries that are not older than `since`, wanted or not, about the newest first: file by file, each
    /// from its end in blocks, until told to stop.
    pub(crate) fn since(&mut self, since: Timestamp, take: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>) {
        let micros = u64::try_from(since.millis()).unwrap_or(0).saturating_mul(1000);
        let least = |open: &mut Open| match open.tail < micros {
            true => open.n_entries,
            false => open.file.first_since(micros, open.n_entries).unwrap_or(0),
        };
        self.backwards(&least, take);
    }

    /// Hands out the entries of each file from the number `least` on.
    fn backwards(
        &mut self,
        least: &dyn Fn(&mut Open) -> u64,
        take: &mut dyn FnMut(Found<'_>) -> ControlFlow<()>,
    ) {
        for at in 0..self.files.len() {
            let Some((least, n_entries)) = self.files.get_mut(at).map(|open| (least(open), open.n_entries))
            else {
                continue;
            };
            let mut end = n_entries;
            while end > least {
                let start = end.saturating_sub(BLOCK).max(least);
                for number in start..end {
                    let found = self.files.get_mut(at).map(|open| open.file.entry(number, n_entries));
                    let Some(Ok(entry)) = found else { continue };
                    self.bytes.clear();
                    let feeds = self.read(at, &entry);
                    let found = Found { stamp: stamp(&entry), feeds, line: &self.bytes };
                    if take(found).is_break() {
                        return;
                    }
                }
                end = start;
            }
        }
    }

    fn is_copy(&mut self, entry: &Entry) -> bool {
        let (realtime, keys) = &mut self.latest;
        if *realtime != entry.realtime {
            *realtime = entry.realtime;
            keys.clear();
        }
        let known = keys.contains(&entry.key);
        keys.push(entry.key);
        known
    }

    fn read(&mut self, at: usize, entry: &Entry) -> Vec<FeedId> {
        let Some(open) = self.files.get_mut(at) else { return Vec::new() };
        match open.reader.read(&open.file, entry, &self.matches, &mut self.bytes) {
            Ok(feeds) => return feeds,
            Err(_) => self.damaged += 1,
        }
        self.bytes.clear();
        Vec::new()
    }
}

/// Every file of this host's own journal that was written to at `since` or later, the newest first.
pub(crate) fn own_files(since: Timestamp) -> Vec<PathBuf> {
    let patterns = super::own_patterns().into_iter().map(|dir| dir.join("*.journal*"));
    let found = patterns.flat_map(|pattern| glob::expand(&pattern.to_string_lossy()).paths);
    let mut files: Vec<(Timestamp, PathBuf)> = found
        .filter_map(|path| {
            // A file that is no journal, or is damaged, is none of ours.
            let last = Open::new(&path).ok().map(|open| stamp_of(open.tail))?;
            (last >= since).then_some((last, path))
        })
        .collect();
    files.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
    files.into_iter().map(|(_, path)| path).collect()
}

impl Open {
    fn new(path: &Path) -> io::Result<Open> {
        let (file, header) = JournalFile::new(path.to_owned(), File::open(path)?)?;
        let most = file.file().metadata()?.len() / MIN_ENTRY_BYTES;
        let (n_entries, tail) = (header.n_entries.min(most), header.tail_realtime);
        Ok(Open { file, reader: Reader::default(), read: 0, n_entries, tail, next: None })
    }

    /// The next entry; of a file that is damaged there, what follows is lost.
    fn peek(&mut self, damaged: &mut u64) -> Option<Entry> {
        if self.next.is_none() && self.read < self.n_entries {
            match self.file.entry(self.read, self.n_entries) {
                Ok(entry) => self.next = Some(entry),
                Err(_) => {
                    *damaged += self.n_entries - self.read;
                    self.read = self.n_entries;
                }
            }
        }
        self.next
    }
}
