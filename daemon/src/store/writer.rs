//! The writing side of the store, on its own thread: group commit, and recovery after trouble.
//!
//! The engine never waits for it. Writes queue up while a commit runs and go into the next one together. When a
//! commit fails (disk full, say), the writes are set aside in the spill, the engine is told, and what failed is
//! tried again, in order, with what comes. Too much of it is let go, and the file may be removed by somebody, or turn
//! out to be damaged; then the engine is asked for a snapshot of all bans, and without one nothing is committed.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rusqlite::{Connection, Transaction, params};
use tracing::warn;

use pillory_core::jail::names;
use pillory_core::ledger::Ban;
use pillory_core::machine::Record;
use pillory_core::time::{Span, Timestamp};

use crate::clock;
use crate::crash::{self, Point};
use crate::sources::Position;

use super::keeper::Store;
use super::{StoreError, bounds, met, rows, standing};

/// One unit of work; all its parts are one transaction.
#[derive(Debug, Default)]
pub(crate) struct Write {
    /// Numbered by the engine, rising; named again in the answer.
    pub(crate) number: u64,
    /// What happened.
    pub(crate) records: Vec<Record>,
    /// Where streams stand after it.
    pub(crate) positions: Vec<(Arc<str>, Position)>,
    /// Settings to keep.
    pub(crate) meta: Vec<(Cow<'static, str>, String)>,
    /// Replaces every ban in force; used to recover.
    pub(crate) snapshot: Option<Vec<Ban>>,
    /// Attempts and history older than this are deleted.
    pub(crate) forget_before: Option<Timestamp>,
    /// So many bytes the store may take from now on.
    pub(crate) most_bytes: Option<u64>,
}

/// What became of writes.
#[derive(Debug)]
pub(crate) enum Written {
    /// Everything up to this number is durable since this moment.
    UpTo(u64, Instant),
    /// Everything up to this number is kept, what is not on disk in this file: it outlives a crash and no reboot.
    Aside(u64, PathBuf, StoreError),
    /// Of what came up to this number something is kept in memory only.
    Failed(u64, StoreError),
    /// The store was as large as it may be, and keeps nothing of before this.
    Shortened(Timestamp),
    /// Nothing is written before a snapshot comes. What became of the store, if it was damaged.
    Lacks(Option<String>),
}

/// At most so many writes share a commit, and no more once they have so many records: an answer never waits for long, and
/// a flood does not look like a disk that hangs, which would let it fill memory. Source: 4,096 records take 60 ms of a
/// processor here, and more together are not cheaper.
const GROUP: usize = 4_096;

/// How soon a commit that failed is tried again if nothing else comes.
const RETRY: Duration = Duration::from_secs(1);

/// At most so many records that could not be written are kept, some 20 MiB.
const MAX_HELD: usize = 100_000;

/// How often the file is looked for if nothing is written.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Works until the engine hangs up. `answer`: tells the engine; false if it is gone.
pub(crate) fn run(mut writer: Writer, writes: &Receiver<Write>, answer: impl Fn(Written) -> bool) {
    let mut goes_on = true;
    while goes_on {
        let is_idle = writer.held.group.is_empty() && !writer.is_over;
        let wait = if is_idle { LOOK_EVERY } else { RETRY };
        let first = match writes.recv_timeout(wait) {
            Ok(write) => Some(write),
            Err(RecvTimeoutError::Timeout) => None,
            // What failed is tried a last time.
            Err(RecvTimeoutError::Disconnected) => {
                goes_on = false;
                None
            }
        };
        let mut records = first.as_ref().map_or(0, |first| first.records.len());
        let more = std::iter::from_fn(|| {
            let next = (records < GROUP).then(|| writes.try_recv().ok()).flatten()?;
            records += next.records.len();
            Some(next)
        });
        for told in writer.round(first.into_iter().chain(more.take(GROUP))) {
            if !answer(told) {
                return;
            }
        }
    }
}

/// What writes to the store.
#[derive(Debug)]
pub(crate) struct Writer {
    store: Store,
    held: Held,
    /// So many bytes the store may take.
    most_bytes: u64,
    /// It takes more.
    is_over: bool,
}

impl Writer {
    /// `spilled`: what an earlier daemon set aside. `lacks`: what the store holds is not known.
    pub(crate) fn new(store: Store, spilled: Vec<Write>, lacks: bool) -> Writer {
        let held = Held { aside: spilled.len(), group: spilled, lacks, has_asked: false };
        Writer { store, held, most_bytes: u64::MAX, is_over: false }
    }

    /// Writes what failed before and what has come, as one transaction; returns what the engine is to be told.
    pub(crate) fn round(&mut self, new: impl Iterator<Item = Write>) -> Vec<Written> {
        let before = self.held.group.len();
        self.held.group.extend(new);
        let new = self.held.group.get(before..).unwrap_or_default();
        self.most_bytes =
            new.iter().filter_map(|write| write.most_bytes).next_back().unwrap_or(self.most_bytes);
        if self.store.is_gone() {
            warn!(path = %self.store.path().display(), "the store was removed while running; it is made anew with all bans in force, what was tried before is lost");
            self.held.lacks = true;
        }
        let written = self.held.write(&mut self.store);
        let rescued = self.store.take_rescued();
        self.held.lacks |= rescued.is_some();
        let asked = self.held.asks().then_some(Written::Lacks(rescued));
        let shortened = if self.held.group.is_empty() { self.shorten() } else { None };
        written.into_iter().chain(asked).chain(shortened).collect()
    }

    /// Forgets what is oldest if the store has grown too large.
    fn shorten(&mut self) -> Option<Written> {
        let db = self.store.db()?;
        let done = bounds::is_over(db, self.most_bytes).and_then(|is_over| {
            let since = if is_over { bounds::shorten(db)? } else { None };
            Ok(since.map(Written::Shortened))
        });
        let said = done.unwrap_or_else(|error| {
            warn!(%error, "the store is too large, and what is oldest cannot be forgotten");
            None
        });
        self.is_over = said.is_some();
        said
    }

    /// The store, for the simulator, which lets its disk fill.
    #[cfg(test)]
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The last write that was set aside and is not committed yet.
    #[cfg(test)]
    pub(crate) fn last_aside(&self) -> Option<u64> {
        self.held.group.get(self.held.aside.checked_sub(1)?).map(|write| write.number)
    }
}

/// Writes that wait to be committed, oldest first.
#[derive(Debug, Default)]
struct Held {
    group: Vec<Write>,
    /// So many of them, the oldest, were set aside.
    aside: usize,
    /// Something was let go: without a snapshot the store would lack bans.
    lacks: bool,
    /// The engine knows that.
    has_asked: bool,
}

impl Held {
    /// Writes everything, or sets it aside.
    fn write(&mut self, store: &mut Store) -> Option<Written> {
        let last = self.group.last()?.number;
        crash::not_before(Point::KernelTold, || self.has_ban());
        let committed = self.is_whole().then(|| store.commit(&self.group));
        if let Some(Ok(())) = committed {
            let at = clock::instant();
            crash::point(Point::LedgerWritten, || self.has_ban());
            *self = Held::default();
            return Some(Written::UpTo(last, at));
        }
        let kept = store.set_aside(self.group.get(self.aside..).unwrap_or_default());
        if kept.is_ok() {
            self.aside = self.group.len();
        }
        self.bound();
        // What waits for a snapshot is answered after it.
        let trouble = committed?.err()?;
        Some(match kept {
            Ok(()) => Written::Aside(last, store.spill_path().to_owned(), trouble),
            Err(_) => Written::Failed(last, trouble),
        })
    }

    fn has_ban(&self) -> bool {
        self.group.iter().flat_map(|write| &write.records).any(|record| matches!(record, Record::Banned(_)))
    }

    /// True if nothing of what was let go would be missing after a commit.
    fn is_whole(&self) -> bool {
        !self.lacks || self.group.iter().any(|write| write.snapshot.is_some())
    }

    /// True once whenever a snapshot is needed.
    fn asks(&mut self) -> bool {
        let needs = !self.is_whole();
        needs && !std::mem::replace(&mut self.has_asked, needs)
    }

    /// Lets everything go that a snapshot brings again, if it is too much.
    fn bound(&mut self) {
        let records: usize = self.group.iter().map(|write| write.records.len()).sum();
        if records + self.group.len() > MAX_HELD {
            let newest = self.group.len() / 2;
            self.has_asked &= !self.group.drain(..newest).any(|write| write.snapshot.is_some());
            self.aside = self.aside.saturating_sub(newest);
            self.lacks |= newest > 0;
        }
    }
}

/// Writes a group as one transaction.
/// # Errors
/// SQLite's; then nothing of the group was written.
pub(crate) fn commit<'a>(
    db: &mut Connection,
    group: impl IntoIterator<Item = &'a Write>,
) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    let mut records = Vec::new();
    for write in group {
        if let Some(bans) = &write.snapshot {
            rows::keep_all(&transaction, &std::mem::take(&mut records))?;
            standing::replace(&transaction, bans)?;
        }
        records.extend(&write.records);
        for (stream, position) in &write.positions {
            let sql = "INSERT OR REPLACE INTO positions VALUES (?1, ?2)";
            transaction.prepare_cached(sql)?.execute(params![stream.as_ref(), position.0])?;
        }
        for (key, value) in &write.meta {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                .execute(params![key, value])?;
        }
        if let Some(before) = write.forget_before {
            rows::keep_all(&transaction, &std::mem::take(&mut records))?;
            forget(&transaction, before)?;
            transaction.execute("DELETE FROM tried WHERE seconds < ?1", [before.secs()])?;
            // A restart takes over no more.
            let sql = "DELETE FROM tried WHERE user IN
                (SELECT user FROM tried ORDER BY seconds DESC LIMIT -1 OFFSET ?1)";
            transaction.execute(sql, [names::MOST_TRIED as i64])?;
        }
    }
    rows::keep_all(&transaction, &records)?;
    transaction.commit()
}

/// Of so many addresses the last login outlives `retention`.
const MOST_KEPT_LOGINS: i64 = 50_000;

/// Deletes attempts and history of before; bans in force stay.
/// # Errors
/// SQLite's.
pub(super) fn forget(transaction: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<()> {
    // Who ever logged in is never shown in public: of each address the last login by a name stays.
    let sql = "DELETE FROM attempts WHERE time < ?1 AND id NOT IN
        (SELECT max(id) FROM attempts WHERE time < ?1 AND class IS NULL AND user IS NOT NULL GROUP BY addr
         ORDER BY max(id) DESC LIMIT ?2)";
    transaction.execute(sql, [before.millis(), MOST_KEPT_LOGINS])?;
    met::forget(transaction)?;
    standing::merge(transaction)?;
    // What an old list told stays: its time is old by nature.
    let sql = "DELETE FROM history WHERE time < ?1 AND what <> 'listed'";
    transaction.execute(sql, [before.millis()]).map(drop)
}

/// How often old rows are deleted.
pub(crate) const FORGET_EVERY: Span = Span::from_secs(3_600);
