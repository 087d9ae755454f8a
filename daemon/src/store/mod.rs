//! The store: bans, history, attempts, resume positions, in one SQLite file.
//!
//! One thread writes ([`writer`]); what belongs together (a line's position and what was derived from it) is
//! one transaction. Readers ([`query`]) open their own read-only connection, so nobody waits for the writer.
//! What the disk does not take waits beside the control socket ([`spill`]); [`keeper`] holds all of it together.

mod bounds;
mod copy;
mod damaged;
pub(crate) mod glance;
pub(crate) mod keeper;
mod met;
mod past;
pub(crate) mod query;
mod rescue;
mod rows;
mod salvage;
pub(crate) mod shared;
pub(crate) mod shown;
pub(crate) mod spill;
pub(crate) mod standing;
mod wal;
#[cfg(any(test, fuzzing))]
pub(crate) mod whatever;
pub(crate) mod writer;

use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use pillory_core::event::{Attempt, Class, Decision, JailName, Origin, Points, Scope, Shown};
use pillory_core::hash::FastMap;
use pillory_core::ledger::Ban;
use pillory_core::time::{End, Timestamp};

use crate::outfile;

pub(crate) use rows::{HOW_ENDED, word_of};

/// The file inside the state directory.
pub(crate) const FILE: &str = "pillory.db";

/// Version of the tables; `PRAGMA user_version`.
const SCHEMA_VERSION: i64 = 4;

pub(crate) const SCHEMA: &str = "
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE positions(stream TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE bans(prefix TEXT NOT NULL, jail TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER,
    failures INTEGER NOT NULL, reason TEXT NOT NULL, origin TEXT NOT NULL, scope TEXT NOT NULL,
    forced INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY(prefix, jail)) WITHOUT ROWID;
CREATE TABLE history(id INTEGER PRIMARY KEY, time INTEGER NOT NULL, what TEXT NOT NULL, prefix TEXT NOT NULL,
    jail TEXT NOT NULL, until INTEGER, failures INTEGER NOT NULL, reason TEXT NOT NULL, origin TEXT NOT NULL,
    scope TEXT, forced INTEGER);
CREATE INDEX history_time ON history(time);
CREATE INDEX history_listed ON history(prefix) WHERE what = 'listed';
CREATE TABLE attempts(id INTEGER PRIMARY KEY, time INTEGER NOT NULL, jail TEXT NOT NULL, addr TEXT NOT NULL,
    user TEXT, class TEXT, points INTEGER NOT NULL, tries INTEGER NOT NULL,
    connection INTEGER, kind INTEGER, shown INTEGER);
CREATE INDEX attempts_time ON attempts(time);
CREATE TABLE met(block INTEGER PRIMARY KEY, addresses BLOB NOT NULL);
CREATE TABLE tried(user INTEGER PRIMARY KEY, source INTEGER NOT NULL, seconds INTEGER NOT NULL,
    source_before INTEGER NOT NULL, seconds_before INTEGER NOT NULL);
";

/// Name of the setting that a new store has until a daemon has brought the kernel's bans into it: the store before
/// may have been lost. So has one that has lost what was written last.
pub(crate) const META_ANEW: &str = "anew";

/// Name of the setting that keeps the daemon's time while that is ahead of the wall clock: not all that is written are rows
/// with a time, and behind a start it would go back else.
pub(crate) const META_TIME: &str = "time";

/// Marks a new store, and one that has lost what was written last.
const ANEW: &str = "INSERT OR REPLACE INTO meta VALUES ('anew', '1');";

/// What makes each version of the one before it, from version 2 on.
const CHANGES: [&str; 3] = [
    "ALTER TABLE bans ADD COLUMN forced INTEGER NOT NULL DEFAULT 0;",
    "CREATE TABLE tried(user INTEGER PRIMARY KEY, source INTEGER NOT NULL, seconds INTEGER NOT NULL,
        source_before INTEGER NOT NULL, seconds_before INTEGER NOT NULL);",
    "DROP INDEX attempts_addr; DROP INDEX history_prefix;
    CREATE INDEX history_listed ON history(prefix) WHERE what = 'listed';
    CREATE TABLE met(block INTEGER PRIMARY KEY, addresses BLOB NOT NULL);
    ALTER TABLE history ADD COLUMN scope TEXT; ALTER TABLE history ADD COLUMN forced INTEGER;
    INSERT OR REPLACE INTO meta VALUES ('merged', (SELECT coalesce(max(id), 0) FROM history));",
];

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite's own trouble.
    #[error("cannot {tried} {}: {cause}; check the disk and the file's rights", .path.display())]
    Database {
        /// What was tried.
        tried: &'static str,
        /// The database file.
        path: PathBuf,
        /// SQLite's answer.
        #[source]
        cause: rusqlite::Error,
    },
    /// The directory could not be made.
    #[error("cannot create the state directory {}: {cause}; create it, or choose another with --state-dir", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The lock could not be opened.
    #[error("cannot open {}: {cause}", .path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Everybody can write to the state directory.
    #[error("everybody can write to the state directory {}, and so plant files there; take that right away (chmod o-w), or choose another --state-dir", .directory.display())]
    Shared {
        /// The directory.
        directory: PathBuf,
    },
    /// Somebody who is neither we nor root may have planted a link.
    #[error("{} is a link, and not we alone can make one there; remove it, or choose another --state-dir", .path.display())]
    Link {
        /// Where the link is.
        path: PathBuf,
    },
    /// Another process has the lock.
    #[error("another pillory uses the state directory {}; stop it, or choose another --state-dir", .directory.display())]
    Taken {
        /// The directory.
        directory: PathBuf,
    },
    /// Written by a newer Pillory.
    #[error("{} was written by a newer version (tables {found}, this program knows {SCHEMA_VERSION}); update, or choose another --state-dir", .path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
}

impl StoreError {
    /// True if the disk is to blame, and no missing right: it is full, read-only or broken, which may pass.
    pub(crate) fn is_the_disks(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, DiskFull, ReadOnly, SystemIoFailure};
        match self {
            StoreError::Directory { cause, .. } | StoreError::Lock { cause, .. } => is_the_disks(cause),
            StoreError::Database { path, cause, .. } => match cause.sqlite_error_code() {
                Some(DiskFull | SystemIoFailure) => true,
                Some(CannotOpen | ReadOnly) => path.parent().is_some_and(takes_nothing),
                _ => false,
            },
            StoreError::Taken { .. }
            | StoreError::Newer { .. }
            | StoreError::Shared { .. }
            | StoreError::Link { .. } => false,
        }
    }

    /// True if what the file holds makes no sense.
    fn is_damage(&self) -> bool {
        matches!(self, StoreError::Database { cause, .. } if is_broken(cause))
    }
}

fn is_the_disks(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO))
}

/// True if the file system of this directory is read-only or has no room for a file.
fn takes_nothing(directory: &Path) -> bool {
    let Ok(state) = rustix::fs::statvfs(directory) else { return false };
    let is_read_only = state.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    // Some file systems count no files.
    is_read_only || state.f_bavail == 0 || (state.f_files > 0 && state.f_favail == 0)
}

/// One daemon a state directory: a lock that ends with the process.
/// # Errors
/// [`StoreError::Lock`], [`StoreError::Taken`].
pub(crate) fn lock(directory: &Path) -> Result<OwnedFd, StoreError> {
    let path = directory.join("lock");
    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let open = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .custom_flags(no_link)
        .open(&path);
    let file: OwnedFd = match open {
        // Where no file can be made or written, one that is there can be locked, or the directory itself.
        Err(error) if is_the_disks(&error) => {
            std::fs::File::open(if path.exists() { &path } else { directory })
        }
        open => open,
    }
    .map_err(|cause| StoreError::Lock { path, cause })?
    .into();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map(|()| file)
        .map_err(|_| StoreError::Taken { directory: directory.to_owned() })
}

/// Opens (and creates) the store in `directory` for writing.
///
/// What is no database (any more) is put aside as `pillory.db.broken` and a new one begun; the second value says so.
/// # Errors
/// [`StoreError`]; that it is damaged if something of it may be left.
fn open(directory: &Path) -> Result<(Connection, Option<String>), StoreError> {
    let path = directory.join(FILE);
    let why = match open_file(&path) {
        Err(StoreError::Database { cause, .. })
            if cause.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) =>
        {
            cause.to_string()
        }
        Err(_) if path.is_dir() => "it is a directory".to_owned(),
        opened => return Ok((opened?, None)),
    };
    let aside = put_aside(&path)?;
    let said = format!(
        "{} was no database ({why}); it was put aside as {} and a new one begun: all that it knew is lost",
        path.display(),
        aside.display()
    );
    Ok((open_file(&path)?, Some(said)))
}

/// What lies beside a database under its name with `suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Moves a database and what belongs to it out of the way; returns where to.
fn put_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let mut aside = beside(path, ".broken");
    if path.is_dir() || aside.is_dir() {
        // A directory neither replaces a file nor is replaced by one.
        aside = beside(&aside, &format!(".{}", crate::clock::now().millis()));
    }
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Directory { path: aside, cause });
            }
            _ => {}
        }
    }
    Ok(aside)
}

/// Makes the state directory, closed to others, if it is not there; refuses one that is open to everybody.
/// # Errors
/// [`StoreError::Directory`], [`StoreError::Shared`].
fn create_private(directory: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o750).create(directory);
    made.map_err(|cause| StoreError::Directory { path: directory.to_owned(), cause })?;
    match outfile::is_shared(directory) {
        true => Err(StoreError::Shared { directory: directory.to_owned() }),
        false => Ok(()),
    }
}

fn is_broken(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{ConstraintViolation, DatabaseCorrupt, NotADatabase};
    // Nothing that is written breaks a rule of the tables unless what is there does: a nothing where none may be, or rows
    // that are not in the order of their numbers.
    matches!(error.sqlite_error_code(), Some(ConstraintViolation | DatabaseCorrupt | NotADatabase))
}

fn open_file(path: &Path) -> Result<Connection, StoreError> {
    let failed = |tried| move |cause| StoreError::Database { tried, path: path.to_owned(), cause };
    // SQLite itself follows no link at the files beside it.
    if !outfile::is_ours(path) && path.is_symlink() {
        return Err(StoreError::Link { path: path.to_owned() });
    }
    let connection = Connection::open(path).map_err(failed("open"))?;
    #[cfg(test)]
    fullness::limit(&connection).map_err(failed("limit"))?;
    let setup = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -2048; PRAGMA busy_timeout = 5000;";
    connection.execute_batch(setup).map_err(failed("set up"))?;
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed("read"))?;
    match found {
        SCHEMA_VERSION => {}
        1..SCHEMA_VERSION => {
            let changes: String = CHANGES.iter().skip(found as usize - 1).copied().collect();
            let change = format!("BEGIN; {changes} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;");
            connection.execute_batch(&change).map_err(failed("change tables of"))?;
        }
        0 => {
            let create = format!("BEGIN; {SCHEMA} {ANEW} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;");
            connection.execute_batch(&create).map_err(failed("create tables in"))?;
        }
        found => return Err(StoreError::Newer { path: path.to_owned(), found }),
    }
    Ok(connection)
}

/// The room on a simulated disk, which is its thread's alone.
#[cfg(test)]
pub(crate) mod fullness {
    use rusqlite::Connection;
    use std::cell::Cell;

    thread_local! {
        static IS_FULL: Cell<bool> = const { Cell::new(false) };
        static IS_SHORT: Cell<bool> = const { Cell::new(false) };
    }

    /// From now on there is room for pages, but not for another store, or there is.
    pub(super) fn set_short(is_short: bool) {
        IS_SHORT.set(is_short);
    }

    pub(super) fn is_short() -> bool {
        IS_SHORT.get()
    }

    /// From now on there is no room for another page, or there is; `db`: what is open.
    pub(crate) fn set(is_full: bool, db: Option<&Connection>) -> rusqlite::Result<()> {
        IS_FULL.set(is_full);
        db.map_or(Ok(()), limit)
    }

    pub(super) fn limit(db: &Connection) -> rusqlite::Result<()> {
        // Less than there are means as many as there are.
        let pages = if IS_FULL.get() { 1 } else { 1_000_000 };
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
    }
}

/// Opens the store for reading only.
/// # Errors
/// [`StoreError`].
pub(crate) fn open_read_only(directory: &Path) -> Result<Connection, StoreError> {
    let path = directory.join(FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).and_then(|connection| {
        connection.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -512;").map(|()| connection)
    });
    connection.map_err(|cause| StoreError::Database { tried: "open", path, cause })
}

/// How the store writes [`Scope::Nothing`]; no jail can have this name.
const NOTHING: &str = "/";

fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::All => String::new(),
        Scope::Ports(jail) => jail.as_str().to_owned(),
        Scope::Nothing => NOTHING.to_owned(),
    }
}

/// Names of jails as rows bring them, each kept once: there are few, and rows by the hundred thousand.
#[derive(Debug, Default)]
struct JailNames(FastMap<String, JailName>);

impl JailNames {
    fn of(&mut self, text: &str) -> Option<JailName> {
        if let Some(known) = self.0.get(text) {
            return Some(known.clone());
        }
        let name = JailName::new(text).ok()?;
        self.0.insert(text.to_owned(), name.clone());
        Some(name)
    }
}

/// What [`ban_of`] reads, by its place: looking for a name among the columns took longer than reading the value.
const BAN: &str = "prefix, jail, since, until, failures, reason, origin, scope, forced";

/// The place behind those of [`BAN`].
const BEHIND_BAN: usize = 9;

/// A row that begins with [`BAN`]. Rows that cannot be read (edited by hand, say) are skipped: better a ban less than no
/// start.
fn ban_of(row: &rusqlite::Row<'_>, jails: &mut JailNames) -> rusqlite::Result<Option<Ban>> {
    let text = |at: usize| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
    let (Ok(prefix), Some(jail)) = (text(0)?.parse(), jails.of(text(1)?)) else { return Ok(None) };
    Ok(Some(Decision {
        prefix,
        jail,
        since: Timestamp::from_millis(row.get(2)?),
        until: End::from_option(row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis)),
        failures: row.get(4)?,
        reason: text(5)?.into(),
        origin: Origin::from_name(text(6)?).unwrap_or(Origin::Local),
        scope: match text(7)? {
            "" => Scope::All,
            NOTHING => Scope::Nothing,
            scope => jails.of(scope).map_or(Scope::All, Scope::Ports),
        },
        // Nothing in a history of before the column.
        forced: row.get(8).unwrap_or(false),
    }))
}

/// What [`attempt_of`] reads, by its place: looking for a name among the columns took longer than reading the value.
const ATTEMPT: &str = "time, jail, addr, user, class, points, tries, connection, kind, shown, id";

/// The place of a row's number in [`ATTEMPT`].
const ATTEMPT_ID: usize = 10;

fn shown_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<Shown>> {
    let Some(connection) = row.get::<_, Option<i64>>(7)? else { return Ok(None) };
    Ok(Some(Shown { connection: connection.cast_unsigned(), kind: row.get(8)?, attempts: row.get(9)? }))
}

fn attempt_of(row: &rusqlite::Row<'_>, jails: &mut JailNames) -> rusqlite::Result<Option<Attempt>> {
    let text = |at: usize| row.get_ref(at)?.as_str().map_err(rusqlite::Error::from);
    let maybe = |at: usize| row.get_ref(at)?.as_str_or_null().map_err(rusqlite::Error::from);
    let (Ok(addr), Some(jail)) = (text(2)?.parse(), jails.of(text(1)?)) else { return Ok(None) };
    Ok(Some(Attempt {
        time: Timestamp::from_millis(row.get(0)?),
        jail,
        addr,
        user: maybe(3)?.map(Into::into),
        class: maybe(4)?.and_then(Class::from_name),
        points: Points(row.get(5)?),
        tries: row.get(6)?,
        connection: shown_of(row)?,
    }))
}

#[cfg(test)]
mod tests;
