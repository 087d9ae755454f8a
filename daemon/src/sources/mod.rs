//! Where lines come from: log files, btmp files, the systemd journal.
//!
//! A source runs on its own thread: [`Source::poll`] blocks until records arrive, the wake descriptor becomes
//! readable, or the time is up. It hands out [`Batch`]es; each carries the position to resume from once the
//! batch has been dealt with. To add a kind: one file here and one line in [`KINDS`].

mod activity;
mod btmp;
#[cfg(test)]
mod contract;
mod file;
pub(crate) mod follow;
mod glob;
pub(crate) mod journal;
pub(crate) mod past;
mod read;
mod watch;

pub(crate) use follow::is_named_packed;
use follow::parts_of;
pub(crate) use glob::expand;
pub(crate) use journal::offline;

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pillory_core::time::Timestamp;

/// Number of a feed: what a jail asked for (a path pattern, a journal match). The engine maps feeds to jails.
pub type FeedId = u16;

/// One thing that jails want to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its number, unique in the process.
    pub id: FeedId,
    /// What to read.
    pub what: Wanted,
}

/// What a feed reads. Each kind of source takes the feeds that it understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Text lines of every file that matches a path or glob pattern.
    Lines(String),
    /// Records of a btmp file.
    Btmp(PathBuf),
    /// Journal entries of which any alternative has all its `FIELD=value` pairs
    /// (fail2ban's `journalmatch`: pairs joined by AND, alternatives by `+`).
    Journal {
        /// Directory of journal files instead of the host's own; tests and offline work use it.
        directory: Option<PathBuf>,
        /// Alternatives of pairs.
        matches: Vec<Vec<(String, String)>>,
    },
}

/// Where a stream stands: made and read by its kind of source only; kept by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position(pub String);

/// How records relate to the daemon's life; decides which clock judges them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Read before anything was ever read from this stream: teaches, bans nobody.
    History,
    /// Written while the daemon was down: judged by their own stamps.
    CatchUp,
    /// Written now: judged by the time of arrival.
    Live,
}

/// One record inside a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its bytes in [`Batch::bytes`], without a newline.
    pub range: Range<usize>,
    /// The time that the source itself recorded, outside the text (the journal does).
    pub stamp: Option<Timestamp>,
    /// For which feed it is.
    pub feed: FeedId,
}

/// Records of one stream that arrived together. Bounded: at most [`MAX_BATCH_BYTES`] and one record more, and of a
/// file at most [`MAX_BATCH_RECORDS`] for each feed.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Name of the stream, stable over restarts: `file:/var/log/auth.log`, `btmp:/var/log/btmp`, `journal:`.
    pub stream: Arc<str>,
    /// All records' bytes.
    pub bytes: Vec<u8>,
    /// The records in order.
    pub records: Vec<Record>,
    /// Resume from here once these records have been dealt with.
    pub position: Position,
    /// History, catching up, or live.
    pub phase: Phase,
    /// When the source began to read them.
    pub read_at: Instant,
}

/// A batch ends soon after this many bytes, so that memory stays bounded and no line waits for a long file.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;

/// A batch of a file ends after this many records: of lines of one byte, what is known of each would take two dozen times
/// the room of their bytes.
pub const MAX_BATCH_RECORDS: usize = 1024;

/// Longer lines are cut here; the rest up to the newline is skipped.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// How a stream is doing, for `status` and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamStatus {
    /// Kind of its source.
    pub kind: &'static str,
    /// Path of the file, pattern that matches none yet, or directory of the journal.
    pub path: String,
    /// For which feed.
    pub feed: FeedId,
    /// What is wrong with it and what to do, if anything is.
    pub problem: Option<String>,
}

/// A source of records. Lives on its own thread.
pub trait Source: Send {
    /// Blocks until records can be handed out, `wake` is readable (it is never read here), or `timeout` is over.
    ///
    /// Returns what there is, possibly nothing. Trouble with one stream is no error: it shows in
    /// [`Source::status`] while the others go on.
    /// # Errors
    /// [`SourceError`] only if the source as a whole can do nothing any more.
    fn poll(&mut self, wake: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<Vec<Batch>, SourceError>;

    /// True once everything that was there at the start has been handed out and changes are being watched.
    fn is_watching(&self) -> bool;

    /// How each stream is doing.
    fn status(&self) -> Vec<StreamStatus>;
}

/// A source that cannot go on or cannot begin.
#[derive(Debug, thiserror::Error)]
#[error("cannot {tried} {target}: {cause}; {cure}")]
pub struct SourceError {
    /// What was tried: `watch`, `read`.
    pub tried: &'static str,
    /// On what.
    pub target: String,
    /// Why it failed.
    #[source]
    pub cause: std::io::Error,
    /// What to do.
    pub cure: &'static str,
}

/// A kind of source: what it takes, and how it is opened.
pub struct Kind {
    /// Its name in `status` and in the names of its streams.
    pub name: &'static str,
    /// Whether it reads what a feed wants.
    pub takes: fn(&Wanted) -> bool,
    /// Opens one source for all feeds that it takes; others are left out.
    pub open: Open,
}

/// How a kind is opened: the feeds, and where each stream was left (by [`Batch::stream`]).
pub type Open = fn(&[Feed], &dyn Fn(&str) -> Option<Position>) -> Result<Box<dyn Source>, SourceError>;

/// Every kind of source.
pub const KINDS: &[Kind] = &[file::KIND, btmp::KIND, journal::KIND];
