//! Follows one path through every kind of rotation: no record lost, none twice.
//!
//! A [`Follower`] keeps a list of open files, oldest first: the last is what the path names now, those before
//! were rotated away and are read until nobody writes to them any more. [`Follower::check`] looks at the path
//! itself, [`Follower::next`] reads the files in order; whoever drives it calls `check` when the directory has
//! changed and `next` until it has nothing more. The position is the JSON list of all files with their places.
//!
//! | what happens | how it is seen | what is done |
//! |---|---|---|
//! | rename and create, delete and recreate, symlink switch | the path names another inode | the old file is read to its end and kept a while, the new one from its first byte |
//! | copytruncate | shorter than the offset, or other bytes right before it | the rest is read from the copy, then the file from its first byte |
//! | any of these while the daemon was down | the same, from the saved position | the old file is searched by inode, then by content (compressed files too), then newer parts, then the log |
//! | a part was rotated before the log was ever looked at | it lay there at the first look | what it held then is past ([`Before`]); what is added to it is read |

mod before;
mod begin;
mod files;
pub(crate) mod gzip;
mod place;
mod recover;
mod rotated;
mod split;
mod stream;
mod tail;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::before::Before;
use self::begin::Begin;
use self::place::Saved;
use self::tail::{Chunk, Look};
use super::{Batch, FeedId, Position, Record};

pub(crate) use self::files::Files;
pub(crate) use self::place::FileId;
pub(crate) use self::rotated::{is_named_packed, parts_of};
pub(crate) use self::split::Format;
pub(crate) use self::tail::Tail;

/// A rotated file that nobody has written to for so long is let go.
const QUIET: Duration = Duration::from_secs(60);

/// So many rotated files of one path are kept open.
const MAX_OLD_FILES: usize = 8;

/// So many reads without a record are made in one go.
const MAX_SKIPPED: usize = 64;

/// So much of a file is read when it is seen for the first time.
const HISTORY_BYTES: u64 = 64 * 1024 * 1024;

/// What the position string holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Places {
    files: Vec<Saved>,
    #[serde(default, skip_serializing_if = "Before::is_empty")]
    before: Before,
}

/// One path and its open files.
pub(crate) struct Follower {
    path: PathBuf,
    stream: Arc<str>,
    format: Format,
    /// Oldest first.
    tails: Vec<Tail>,
    /// What the path names now; it is the last of `tails`.
    current: Option<FileId>,
    /// How to begin, until the path could be looked at for the first time.
    begin: Option<Begin>,
    /// What its rotated parts held then.
    before: Option<Before>,
    /// The position is to be told even if no record comes with it.
    announce: bool,
    /// What is wrong, and what to do.
    problem: Option<String>,
    /// Files were opened or let go since [`Follower::take_changed`].
    changed: bool,
    /// What the path names was opened from its first byte on while we watched.
    is_new: bool,
}

/// The followers of other paths: a file belongs to one of them only.
pub(crate) trait Others {
    /// Takes over a file that another follower has open and that its path does not name any more.
    fn adopt(&mut self, id: FileId) -> Option<Tail>;

    /// Whether another follower has this file open.
    fn holds(&self, id: FileId) -> bool;
}

impl Follower {
    /// Follows a path that was there, or not, at the start.
    ///
    /// `position`: from an earlier run; an unreadable one counts as none.
    pub(crate) fn at_start(
        path: PathBuf,
        format: Format,
        kind: &str,
        position: Option<&Position>,
    ) -> Follower {
        let places = position.and_then(|position| match serde_json::from_str(&position.0) {
            Ok(places) => Some(places),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "position cannot be read; beginning anew");
                None
            }
        });
        let begin = places.map_or(Begin::History(None), Begin::Resume);
        Follower::new(path, format, kind, begin)
    }

    /// Follows a path that appeared while we watch.
    pub(crate) fn appeared(path: PathBuf, format: Format, kind: &str) -> Follower {
        Follower::new(path, format, kind, Begin::Fresh)
    }

    fn new(path: PathBuf, format: Format, kind: &str, begin: Begin) -> Follower {
        let (announce, before) = match &begin {
            Begin::Resume(places) => (false, Some(places.before.clone())),
            Begin::History(_) | Begin::Fresh => (true, None),
        };
        let stream = Arc::from(stream_name(kind, &path));
        let tails = Vec::new();
        let (current, problem) = (None, None);
        Follower {
            path,
            stream,
            format,
            tails,
            current,
            begin: Some(begin),
            before,
            announce,
            problem,
            changed: true,
            is_new: false,
        }
    }

    /// The path as asked for.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with the path, and what to do.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// What the path named when it was looked at last.
    pub(crate) fn current(&self) -> Option<FileId> {
        self.current
    }

    /// The open files, oldest first.
    pub(crate) fn files(&self) -> impl Iterator<Item = (FileId, &File)> {
        self.tails.iter().filter_map(|tail| tail.file().map(|file| (tail.id, file)))
    }

    /// Whether files were opened or let go since the last question.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Whether the next [`Follower::take_changed`] will say yes.
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// The first bytes of what the path names; nothing if it names no file that can be read.
    pub(crate) fn first_bytes(&self) -> Option<Vec<u8>> {
        let tail = self.tails.last().filter(|tail| self.current == Some(tail.id))?;
        tail.first_bytes().ok()
    }

    /// Whether a file of that name and these first bytes is a copy of the log, as a rotation makes it.
    pub(crate) fn has_copy(&self, path: &Path, bytes: &[u8]) -> bool {
        rotated::is_part_of(&self.path, path) && self.tails.iter().any(|tail| tail.head.is_alike(bytes))
    }

    /// Looks at what the path names now.
    pub(crate) fn check(&mut self, others: &mut dyn Others, now: Instant) {
        let looked = match self.begin.take() {
            Some(begin) => self.begin(begin, others, now),
            None => self.look_at_path(others, now),
        };
        self.problem = match looked {
            Ok(()) if self.current.is_none() => Some(format!(
                "{} does not exist; it is read as soon as it does; if what is to be read lies elsewhere, set logpath to that",
                self.path.display()
            )),
            Ok(()) => None,
            Err(error) => Some(trouble(&self.path, &error)),
        };
    }

    fn look_at_path(&mut self, others: &mut dyn Others, now: Instant) -> io::Result<()> {
        let status = match fs::metadata(&self.path) {
            Ok(status) => status,
            Err(error) if is_absent(&error) => {
                self.current = None;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let id = FileId::from(&status);
        if self.current == Some(id) {
            return Ok(());
        }
        if let Some(at) = self.tails.iter().position(|tail| tail.id == id) {
            // It was moved away and back, or a link was switched back.
            let tail = self.tails.remove(at);
            self.tails.push(tail);
            self.current = Some(id);
            return Ok(());
        }
        if let Some(tail) = others.adopt(id) {
            self.announce = true;
            self.push_current(tail);
            return Ok(());
        }
        if let Some(file) = open(&self.path)? {
            let mut tail = Tail::begin(file, self.format, now)?;
            tail.skip_hole()?;
            for old in &mut self.tails {
                old.grow_head()?;
            }
            if let Some(last) = self.tails.last().map(Tail::save) {
                let parts = self.missed(&last, Some(&tail), others, now).1;
                tail.comes_after(&parts);
                self.tails.extend(parts);
            }
            self.is_new = true;
            self.push_current(tail);
        }
        Ok(())
    }

    /// Whether this file is open here.
    pub(crate) fn holds(&self, id: FileId) -> bool {
        self.tails.iter().any(|tail| tail.id == id)
    }

    fn push_current(&mut self, mut tail: Tail) {
        tail.real = fs::canonicalize(&self.path)
            .ok()
            .filter(|real| *real != self.path)
            .map(|real| real.to_string_lossy().into_owned());
        self.current = Some(tail.id);
        self.tails.push(tail);
        self.changed = true;
    }

    /// The next records of the oldest file that has any.
    pub(crate) fn next(&mut self, feeds: &[FeedId], others: &dyn Others, now: Instant) -> Option<Batch> {
        let (mut at, mut without_records) = (0, 0);
        let mut rewritten = false;
        while let Some(tail) = self.tails.get_mut(at) {
            match tail.look(now) {
                // A line without end, or garbage: what was skipped is worth a position only now and then.
                Ok(Look::Records(chunk)) if chunk.records.is_empty() && without_records < MAX_SKIPPED => {
                    without_records += 1;
                    self.announce = true;
                }
                Ok(Look::Records(chunk)) => return Some(self.batch(chunk, feeds, now)),
                // A rotated file that is written over is the next rotation's copy: its bytes were, or are, in
                // the log itself, which finds there what it could not read.
                Ok(Look::Rewritten) if self.current.is_some_and(|current| current != tail.id) => {
                    self.drop_tail(at);
                }
                Ok(Look::Rewritten) if !rewritten => {
                    rewritten = true;
                    self.begin_again(at, others, now);
                }
                Ok(Look::Nothing) if tail.finite => self.drop_tail(at),
                Ok(Look::Nothing | Look::Rewritten) => at += 1,
                Err(error) => {
                    self.problem = Some(trouble(&self.path, &error));
                    if tail.finite {
                        self.drop_tail(at);
                    } else {
                        at += 1;
                    }
                }
            }
        }
        self.let_go(now);
        let due = self.begin.is_none() && std::mem::take(&mut self.announce);
        due.then(|| self.batch(Chunk::empty(), feeds, now))
    }

    /// Closes rotated files that nobody writes to any more. All of them are read to their ends.
    fn let_go(&mut self, now: Instant) {
        let newest_is_used = self.current.is_some() && self.tails.last().is_some_and(|tail| tail.offset > 0);
        let mut at = 0;
        while let Some(tail) = self.tails.get(at) {
            let is_current = self.current == Some(tail.id);
            let too_many = self.tails.len() - at > MAX_OLD_FILES + 1;
            let quiet = now.duration_since(tail.busy_at) >= QUIET && (newest_is_used || tail.is_deleted());
            if !is_current && (quiet || too_many) {
                self.drop_tail(at);
            } else {
                at += 1;
            }
        }
    }

    fn drop_tail(&mut self, at: usize) {
        self.tails.remove(at);
        self.changed = true;
    }

    /// Hands over a rotated file, with its place, to whoever follows it under its new name.
    pub(crate) fn give(&mut self, id: FileId) -> Option<Tail> {
        let at = self.tails.iter().position(|tail| tail.id == id)?;
        if self.current == Some(id) {
            let still_named = fs::metadata(&self.path).is_ok_and(|status| FileId::from(&status) == id);
            if still_named {
                return None;
            }
            self.current = None;
        }
        self.changed = true;
        self.announce = true;
        Some(self.tails.remove(at))
    }

    /// Whether what the path names was opened from its first byte on while we watched; asked once.
    pub(crate) fn take_new(&mut self) -> bool {
        std::mem::take(&mut self.is_new)
    }

    /// Makes [`Follower::take_new`] say yes again.
    pub(crate) fn set_new(&mut self) {
        self.is_new = true;
    }

    /// Counts all that is there now as read.
    pub(crate) fn skip_to_end(&mut self) {
        let Some(tail) = self.tails.last_mut() else { return };
        let before = tail.offset;
        if let Err(error) = tail.keep_last(0) {
            self.problem = Some(trouble(&self.path, &error));
        }
        self.announce |= tail.offset != before;
    }

    fn batch(&mut self, chunk: Chunk, feeds: &[FeedId], now: Instant) -> Batch {
        self.announce = false;
        let mut records = Vec::with_capacity(chunk.records.len() * feeds.len());
        for range in chunk.records {
            for &feed in feeds {
                records.push(Record { range: range.clone(), stamp: None, feed });
            }
        }
        let files = self.tails.iter().map(Tail::save).collect();
        let places = Places { files, before: self.before.clone().unwrap_or_default() };
        // Numbers and text always have a JSON form.
        let position = Position(serde_json::to_string(&places).unwrap_or_default());
        let Chunk { bytes, phase, .. } = chunk;
        Batch { stream: self.stream.clone(), bytes, records, position, phase, read_at: now }
    }
}

/// The stable name of a path's stream.
pub(crate) fn stream_name(kind: &str, path: &Path) -> String {
    format!("{kind}:{}", path.display())
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Opens a regular file; nothing if there is none. Never waits for the other end of a pipe.
fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(Some(file))
}

fn trouble(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    let cure = match error.kind() {
        io::ErrorKind::IsADirectory => {
            return format!("{path} is a directory; name a file, or a pattern such as {path}/*.log");
        }
        io::ErrorKind::PermissionDenied => {
            "`pillory doctor` tells how the daemon may read it: a group (adm, utmp), or a restart if it lies where none was read so far"
        }
        io::ErrorKind::InvalidInput => "name a log file",
        _ => "see to the file or its disk; it is tried again",
    };
    format!("cannot read {path}: {error}; {cure}")
}
