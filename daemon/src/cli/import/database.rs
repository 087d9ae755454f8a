//! The bans that fail2ban keeps: its SQLite database, read without disturbing it.

use std::path::Path;
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags};

/// One ban as fail2ban keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(super) jail: String,
    /// An address, or whatever the filter took for an identity.
    pub(super) ip: String,
    /// Seconds since 1970.
    pub(super) since: i64,
    /// In seconds; -1 for ever, -2 if the database does not know.
    pub(super) bantime: i64,
}

/// Databases that change while they are read are read again; so often.
const TRIES: usize = 5;

/// The latest ban of every address by every jail.
///
/// fail2ban writes into the file itself (its rollback journal lies in memory), so the file is opened as one that nobody
/// changes: that takes no lock, which a running fail2ban could wait for. A file that did change meanwhile is read again.
/// # Errors
/// SQLite's, of the last try.
pub(crate) fn bans(path: &Path) -> rusqlite::Result<Vec<Kept>> {
    let changed = || std::fs::metadata(path).and_then(|file| Ok((file.modified()?, file.len()))).ok();
    let mut before: Option<(SystemTime, u64)> = changed();
    let mut result = read(path);
    for _ in 1..TRIES {
        let after = changed();
        if after == before && result.is_ok() {
            break;
        }
        before = after;
        result = read(path);
    }
    result
}

fn read(path: &Path) -> rusqlite::Result<Vec<Kept>> {
    let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)?;
    let has_lengths: bool =
        db.query_row("SELECT count(*) FROM sqlite_master WHERE name = 'bips'", [], |row| row.get(0))?;
    // Before 0.11 there is one row a ban, without its length.
    let query = match has_lengths {
        true => "SELECT jail, ip, timeofban, bantime FROM bips ORDER BY jail, ip",
        false => "SELECT jail, ip, max(timeofban), -2 FROM bans GROUP BY jail, ip ORDER BY jail, ip",
    };
    let mut rows = db.prepare(query)?;
    let kept = rows.query_map([], |row| {
        Ok(Kept { jail: row.get(0)?, ip: row.get(1)?, since: row.get(2)?, bantime: row.get(3)? })
    })?;
    kept.collect()
}
