//! All files of one journal, read in the order of their entries' times.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillory_core::time::{Span, Timestamp};

use super::entries::{Matches, Reader};
use super::layout::{Entry, JournalFile};
use super::places::{Places, id_text, short_id};
use crate::clock;
use crate::sources::glob::{self, Place};
use crate::sources::watch::Watcher;
use crate::sources::{Batch, FeedId, MAX_BATCH_BYTES, Phase, Position, Record};

/// So much of the past is read when a journal is seen for the first time.
const HISTORY: Span = Span::from_secs(24 * 3600);

/// And at most so many entries of each file.
const MAX_HISTORY: u64 = 1_000_000;

/// A batch ends after so many entries, wanted or not, so that a stop is never far.
const MAX_LOOKED_AT: usize = 20_000;

/// In a file that appears while we watch, older entries than this are copies or were restored: their own stamps
/// judge them.
const FRESH: Span = Span::from_secs(10);

/// The last entries that were handed out are known again in another file: a journal that moves from memory to
/// disk is copied there.
const MAX_RECENT: usize = 8192;

/// One file that is not read to its end for good.
struct Open {
    file: JournalFile,
    id: u128,
    inode: u64,
    reader: Reader,
    /// Entries dealt with.
    read: u64,
    /// Complete entries at the last look.
    n_entries: u64,
    /// The next entry, if it was looked at.
    next: Option<Entry>,
    /// The last entry that was read: when, and its key.
    last: Option<(u64, u64)>,
    /// Entries before this number were there before anything was ever read.
    history_end: u64,
    /// Entries before this number were there when the daemon started.
    start_end: u64,
    /// Nobody writes to it any more.
    is_final: bool,
    watch: Option<i32>,
}

/// A journal: all files in some directories.
pub(super) struct Stream {
    name: Arc<str>,
    directories: Vec<PathBuf>,
    matches: Matches,
    files: Vec<Open>,
    /// Ids of the files that are read to the end for good, by path and inode.
    done: BTreeMap<(PathBuf, u64), u128>,
    saved: Option<Places>,
    /// Copies of entries are looked for among these.
    recent: VecDeque<u64>,
    recent_set: BTreeSet<u64>,
    starting: bool,
    started_at: Timestamp,
    /// A position is to be told even if no record comes with it.
    announce: bool,
    dropped_watches: Vec<i32>,
    /// A file could not be read yet.
    is_unripe: bool,
    /// Files that were said to be left out.
    warned: BTreeSet<(PathBuf, u64)>,
    problem: Option<String>,
}

impl Stream {
    /// Begins; files are looked up by [`Stream::list`], and [`Stream::end_start`] ends the start.
    pub(super) fn open(
        name: &str,
        directories: Vec<PathBuf>,
        matches: Matches,
        position: Option<&Position>,
    ) -> Stream {
        let saved = position.and_then(|position| match serde_json::from_str(&position.0) {
            Ok(places) => Some(places),
            Err(error) => {
                tracing::warn!(source = name, %error, "position cannot be read; beginning anew");
                None
            }
        });
        Stream {
            name: Arc::from(name),
            directories,
            matches,
            files: Vec::new(),
            done: BTreeMap::new(),
            announce: saved.is_none(),
            saved,
            recent: VecDeque::new(),
            recent_set: BTreeSet::new(),
            starting: true,
            started_at: clock::now(),
            dropped_watches: Vec::new(),
            is_unripe: false,
            warned: BTreeSet::new(),
            problem: None,
        }
    }

    /// What is there from now on is new.
    pub(super) fn end_start(&mut self) {
        self.starting = false;
    }

    /// Those who want entries.
    pub(super) fn feeds(&self) -> impl Iterator<Item = FeedId> {
        self.matches.feeds()
    }

    /// The directory where files are, for people.
    pub(super) fn directory(&self) -> String {
        let used = self.files.first().and_then(|open| open.file.path.parent());
        used.or(self.directories.first().map(PathBuf::as_path))
            .map(|dir| dir.display().to_string())
            .unwrap_or_default()
    }

    /// Whether a file could not be read yet, so that listing again soon may help.
    pub(super) fn is_unripe(&self) -> bool {
        self.is_unripe
    }

    /// What is wrong, and what to do.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }

    /// Looks up which files there are, and returns where they may come and go.
    pub(super) fn list(&mut self) -> Vec<Place> {
        let mut places = Vec::new();
        let mut listed = BTreeSet::new();
        (self.problem, self.is_unripe) = (None, false);
        for directory in self.directories.clone() {
            let found = glob::expand(&directory.join("*.journal*").to_string_lossy());
            let mut dirs: BTreeSet<&Path> = found.places.iter().map(|place| place.dir.as_path()).collect();
            dirs.retain(|dir| glob::matches_path(&directory, dir));
            for dir in dirs {
                if let Err(error) = self.list_directory(dir, &mut listed) {
                    self.problem = Some(trouble(dir, &error));
                }
            }
            places.extend(found.places);
        }
        self.done.retain(|known, _| listed.contains(known));
        self.warned.retain(|known| listed.contains(known));
        // A file that was vacuumed away is of no use once it is read.
        let dropped = &mut self.dropped_watches;
        self.files.retain(|open| {
            let keep = open.read < open.n_entries || open.file.has_name();
            if !keep {
                dropped.extend(open.watch);
            }
            keep
        });
        if self.files.is_empty() && self.done.is_empty() && self.problem.is_none() {
            let dirs: Vec<String> = self.directories.iter().map(|dir| dir.display().to_string()).collect();
            let dirs = dirs.join(" or ");
            self.problem = Some(format!(
                "there is no journal in {dirs}; it is read as soon as systemd-journald writes one"
            ));
        }
        places
    }

    fn list_directory(&mut self, dir: &Path, listed: &mut BTreeSet<(PathBuf, u64)>) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_final = name.contains('@') || name.ends_with('~');
            if !(name.ends_with(".journal") || name.ends_with(".journal~")) || !entry.file_type()?.is_file() {
                continue;
            }
            let known = (entry.path(), entry.ino());
            if !self.done.contains_key(&known)
                && let Err(error) = self.take_up(entry.path(), is_final, entry.ino())
            {
                self.problem = Some(trouble(&entry.path(), &error));
                if error.kind() != io::ErrorKind::PermissionDenied && self.warned.insert(known.clone()) {
                    let path = entry.path();
                    tracing::warn!(path = %path.display(), %error, "journal file is left out; it is tried again");
                }
            }
            listed.insert(known);
        }
        Ok(())
    }

    /// Begins with a file, or learns its new name.
    fn take_up(&mut self, path: PathBuf, is_final: bool, inode: u64) -> io::Result<()> {
        let file = File::open(&path)?;
        let (file, header) = match JournalFile::new(path.clone(), file) {
            Ok(opened) => opened,
            // It is being made just now, of which nobody tells when it is done; or it is damaged.
            Err(error) => {
                self.is_unripe = true;
                return Err(error);
            }
        };
        if let Some(open) = self.files.iter_mut().find(|open| open.id == header.id) {
            open.file.path = path;
            open.is_final |= is_final || header.archived;
            return Ok(());
        }
        let is_final = is_final || header.archived;
        let mut open = Open {
            file,
            id: header.id,
            inode,
            reader: Reader::default(),
            read: 0,
            n_entries: header.n_entries,
            next: None,
            last: None,
            history_end: 0,
            start_end: if self.starting { header.n_entries } else { 0 },
            is_final,
            watch: None,
        };
        open.history_end = match &self.saved {
            Some(saved) => saved.history.get(&id_text(open.id)).copied().unwrap_or(0),
            None => open.start_end,
        };
        open.read = self.begin_at(&mut open, header.tail_realtime);
        if open.is_final && open.read >= open.n_entries {
            self.done.insert((open.file.path.clone(), inode), header.id);
        } else {
            self.files.push(open);
        }
        Ok(())
    }

    /// How many entries of a file count as read.
    fn begin_at(&self, open: &mut Open, tail_realtime: u64) -> u64 {
        let n_entries = open.n_entries;
        match &self.saved {
            Some(saved) if saved.done.contains(&short_id(open.id)) => n_entries,
            Some(saved) => match saved.files.get(&id_text(open.id)) {
                Some(read) => {
                    open.last = saved.last.get(&id_text(open.id)).copied();
                    *read
                }
                // A file that is not known was made since; what was copied into it was read where it came from.
                None if self.starting => copied(open, saved),
                None => 0,
            },
            None if self.starting => {
                let since =
                    u64::try_from((self.started_at - HISTORY).millis()).unwrap_or(0).saturating_mul(1000);
                if tail_realtime < since {
                    return n_entries;
                }
                let least = n_entries.saturating_sub(MAX_HISTORY);
                open.file.first_since(since, n_entries).unwrap_or(least).max(least)
            }
            None => 0,
        }
    }

    /// Watches the files that are open, and no others.
    pub(super) fn watch(&mut self, watcher: &mut Watcher) {
        for open in self.files.iter_mut().filter(|open| open.watch.is_none()) {
            open.watch = watcher.add_file(open.file.file());
        }
        self.dropped_watches.drain(..).for_each(|watch| watcher.remove(watch));
    }

    /// Reads on; a batch, if there is anything to tell.
    pub(super) fn next(&mut self) -> Option<Batch> {
        let read_at = clock::instant();
        for open in &mut self.files {
            // A file that cannot be read any more has no more entries.
            open.n_entries = open.file.n_entries().unwrap_or(open.n_entries).max(open.n_entries);
        }
        let mut bytes = Vec::new();
        let mut records = Vec::new();
        let mut phase = None;
        let mut looked_at = 0;
        while bytes.len() < MAX_BATCH_BYTES && looked_at < MAX_LOOKED_AT {
            let Some((at, entry)) = self.oldest() else { break };
            let of = self.phase(at, &entry);
            if !records.is_empty() && phase.is_some_and(|phase| phase != of) {
                break;
            }
            phase = Some(of);
            looked_at += 1;
            self.read_entry(at, &entry, &mut bytes, &mut records);
        }
        self.let_go();
        let enough = !records.is_empty() || looked_at >= MAX_LOOKED_AT || self.announce;
        enough.then(|| {
            self.announce = false;
            let position = self.position();
            let phase = phase.unwrap_or(Phase::Live);
            Batch { stream: self.name.clone(), bytes, records, position, phase, read_at }
        })
    }

    /// The file with the oldest entry that is not read, and that entry.
    fn oldest(&mut self) -> Option<(usize, Entry)> {
        let mut oldest: Option<(usize, Entry)> = None;
        for (at, open) in self.files.iter_mut().enumerate() {
            let Some(entry) = open.peek() else { continue };
            if oldest.is_none_or(|(_, best)| entry.realtime < best.realtime) {
                oldest = Some((at, entry));
            }
        }
        oldest
    }

    fn phase(&self, at: usize, entry: &Entry) -> Phase {
        let Some(open) = self.files.get(at) else { return Phase::Live };
        if open.read < open.history_end {
            return Phase::History;
        }
        if open.read < open.start_end {
            return Phase::CatchUp;
        }
        let is_old = stamp(entry) + FRESH < self.started_at;
        if is_old && open.start_end == 0 { Phase::CatchUp } else { Phase::Live }
    }

    fn read_entry(&mut self, at: usize, entry: &Entry, bytes: &mut Vec<u8>, records: &mut Vec<Record>) {
        let Some(open) = self.files.get_mut(at) else { return };
        open.next = None;
        open.read += 1;
        open.last = Some((entry.realtime, entry.key));
        let begin = bytes.len();
        let feeds = match open.reader.read(&open.file, entry, &self.matches, bytes) {
            Ok(feeds) => feeds,
            Err(error) => {
                tracing::debug!(path = %open.file.path.display(), offset_bytes = entry.offset, %error, "journal entry is damaged");
                Vec::new()
            }
        };
        if feeds.is_empty() || self.recent_set.contains(&entry.key) {
            bytes.truncate(begin);
            return;
        }
        self.recent_set.insert(entry.key);
        self.recent.push_back(entry.key);
        if self.recent.len() > MAX_RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_set.remove(&oldest);
        }
        for feed in feeds {
            records.push(Record { range: begin..bytes.len(), stamp: Some(stamp(entry)), feed });
        }
    }

    /// Closes files that are read to the end for good.
    fn let_go(&mut self) {
        let (done, dropped) = (&mut self.done, &mut self.dropped_watches);
        self.files.retain(|open| {
            let over = open.is_final && open.read >= open.n_entries;
            if over {
                done.insert((open.file.path.clone(), open.inode), open.id);
                dropped.extend(open.watch);
            }
            !over
        });
    }

    fn position(&self) -> Position {
        let files = self.files.iter().map(|open| (id_text(open.id), open.read)).collect();
        let done = self.done.values().map(|id| short_id(*id)).collect();
        let in_history = self.files.iter().filter(|open| open.read < open.history_end);
        let history = in_history.map(|open| (id_text(open.id), open.history_end)).collect();
        let last = self.files.iter().filter_map(|open| Some((id_text(open.id), open.last?))).collect();
        // Numbers and text always have a JSON form.
        Position(serde_json::to_string(&Places { files, done, last, history }).unwrap_or_default())
    }
}

impl Open {
    fn peek(&mut self) -> Option<Entry> {
        if self.next.is_none() && self.read < self.n_entries {
            match self.file.entry(self.read, self.n_entries) {
                Ok(entry) => self.next = Some(entry),
                Err(error) => {
                    tracing::debug!(path = %self.file.path.display(), entry = self.read, %error, "journal entry cannot be found");
                    if self.is_final {
                        let lost = self.n_entries - self.read;
                        let path = self.file.path.display();
                        tracing::warn!(%path, %error, lost, "journal file is damaged; its last entries are left out");
                        self.read = self.n_entries;
                    }
                }
            }
        }
        self.next
    }
}

/// How many entries at the beginning of a file were read in the file from which they were copied.
fn copied(open: &mut Open, saved: &Places) -> u64 {
    let mut read = 0;
    for (realtime, key) in saved.last.values() {
        let mut at = open.file.first_since(*realtime, open.n_entries).unwrap_or(open.n_entries);
        while let Some(entry) =
            (at < open.n_entries).then(|| open.file.entry(at, open.n_entries).ok()).flatten()
        {
            at += 1;
            if entry.key == *key {
                read = read.max(at);
            }
            if entry.realtime > *realtime {
                break;
            }
        }
    }
    read
}

pub(super) fn stamp(entry: &Entry) -> Timestamp {
    stamp_of(entry.realtime)
}

/// Microseconds as journald counts them.
pub(super) fn stamp_of(micros: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(micros / 1000).unwrap_or(i64::MAX))
}

fn trouble(path: &Path, error: &io::Error) -> String {
    let dir = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!(
                "cannot read the journal {dir}: {error}; run as root, or as a member of the group systemd-journal"
            )
        }
        _ => format!("cannot read the journal {dir}: {error}; it is tried again"),
    }
}
