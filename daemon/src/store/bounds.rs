//! The size of the store is held (`state_max`): the oldest attempts and history are forgotten before `retention` says so.
//! Bans in force stay, whatever they take: there are at most a million.
//!
//! The file does not shrink, for what is freed is written again; what is looked at is the room in use, and it is held a
//! tenth below the limit. A little goes at a time, each a transaction, so that no commit waits long.

use pillory_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _};

use super::writer::forget;

/// So many rows of a table go at a time. Source: 20,000 attempts take 0.1 s here.
const STEP: u64 = 20_000;

/// Attempts of which [`forget`] keeps none.
const SPARED_BY_NONE: &str = "(class IS NOT NULL OR user IS NULL)";

/// True if more is in use than is to be, of so many bytes at most.
/// # Errors
/// SQLite's.
pub(super) fn is_over(db: &Connection, most: u64) -> rusqlite::Result<bool> {
    Ok(used(db)? > most / 10 * 9)
}

/// Forgets the oldest of what is kept. Returns since when all is there; nothing if there is nothing to forget.
/// # Errors
/// SQLite's; then nothing is forgotten.
pub(super) fn shorten(db: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let nobodys = [oldest(db, "attempts", SPARED_BY_NONE)?, oldest(db, "history", "what <> 'listed'")?];
    let (last, spares) = match nobodys.into_iter().flatten().min() {
        Some(last) => (last, true),
        // Logins that outlive the others go last.
        None => match oldest(db, "attempts", "true")? {
            Some(last) => (last, false),
            None => return Ok(None),
        },
    };
    let before = Timestamp::from_millis(last + 1);
    let transaction = db.unchecked_transaction()?;
    if !spares {
        transaction.execute("DELETE FROM attempts WHERE time < ?1", [before.millis()])?;
    }
    forget(&transaction, before)?;
    transaction.commit()?;
    Ok(Some(before))
}

/// The time of the last of the rows that go next.
fn oldest(db: &Connection, table: &str, which: &str) -> rusqlite::Result<Option<i64>> {
    let nth = format!("SELECT time FROM {table} WHERE {which} ORDER BY time LIMIT 1 OFFSET {STEP}");
    let nth: Option<i64> = db.prepare_cached(&nth)?.query_row([], |row| row.get(0)).optional()?;
    if nth.is_some() {
        return Ok(nth);
    }
    let newest = format!("SELECT time FROM {table} WHERE {which} ORDER BY time DESC LIMIT 1");
    db.prepare_cached(&newest)?.query_row([], |row| row.get(0)).optional()
}

/// Bytes of pages that hold something.
fn used(db: &Connection) -> rusqlite::Result<u64> {
    let number = |name: &str| db.pragma_query_value(None, name, |row| row.get(0).map(i64::unsigned_abs));
    let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
    Ok(pages.saturating_mul(number("page_size")?))
}
