//! A store on a disk that takes nothing, copied into memory.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::salvage::salvage_from;
use super::writer::{Write, commit};
use super::{ANEW, FILE, SCHEMA, SCHEMA_VERSION, StoreError};

/// See the module.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) db: Connection,
    /// Why nothing is known of what the store holds.
    pub(super) unread: Option<StoreError>,
    /// What is to be said of its damage.
    pub(super) broken: Option<String>,
    /// How it is damaged.
    pub(super) damage: Option<String>,
}

/// What a store on a disk that takes nothing holds, with what lay beside it, in memory.
/// # Errors
/// [`StoreError`]; a store that cannot be read is none.
pub(super) fn copy(directory: &Path, spilled: &[Write]) -> Result<Copy, StoreError> {
    let path = directory.join(FILE);
    let failed = |tried| {
        let path = path.clone();
        move |cause| StoreError::Database { tried, path, cause }
    };
    let mut memory = Connection::open_in_memory().map_err(failed("copy"))?;
    memory.execute_batch(SCHEMA).map_err(failed("copy"))?;
    let begin = |memory: &Connection| memory.execute_batch(ANEW).map_err(failed("copy"));
    let (mut broken, mut damage) = (None, None);
    let unread = match path.try_exists() {
        Ok(false) => begin(&memory).map(|()| None)?,
        _ => match copy_from(&memory, &path).map_err(failed("read")) {
            Ok(SCHEMA_VERSION) => None,
            Ok(found) if found > SCHEMA_VERSION => return Err(StoreError::Newer { path, found }),
            // The disk was full before there were tables.
            Ok(0) => begin(&memory).map(|()| None)?,
            Ok(_) => None,
            Err(error) if error.is_damage() => {
                damage = Some(error.to_string());
                match copy_of_damaged(&path, &error) {
                    Ok((salvaged, said)) => {
                        (memory, broken) = (salvaged, Some(said));
                        None
                    }
                    Err(unread) => Some(unread),
                }
            }
            Err(unread) => Some(unread),
        },
    };
    commit(&mut memory, spilled).map_err(failed("copy"))?;
    Ok(Copy { db: memory, unread, broken, damage })
}

/// What can be read of a damaged store, in memory, and what is to be said of it.
/// # Errors
/// [`StoreError`].
pub(super) fn copy_of_damaged(path: &Path, damage: &StoreError) -> Result<(Connection, String), StoreError> {
    let failed = |cause| StoreError::Database { tried: "read", path: path.to_owned(), cause };
    let mut memory = Connection::open_in_memory().map_err(failed)?;
    memory.execute_batch(SCHEMA).and_then(|()| memory.execute_batch(ANEW)).map_err(failed)?;
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let old = Connection::open_with_flags(readable(path), flags).map_err(failed)?;
    let saved = salvage_from(&old, &mut memory).map_err(failed)?;
    let torn = match saved.torn.is_empty() {
        true => String::new(),
        false => format!("; some may be missing of: {}", saved.torn.join(", ")),
    };
    let rows = saved.rows;
    let said = format!(
        "the store is damaged: {damage}; there is no room for another: the {rows} rows that can be read are what is known{torn}"
    );
    Ok((memory, said))
}

/// How a store is named to `SQLite` that is only read.
fn readable(path: &Path) -> String {
    let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    // With a log of changes an ordinary reader is needed. Without one, nothing can be made that it would need, and
    // nothing changes under a reader: this process has the lock.
    let log = std::fs::metadata(format!("{}-wal", path.display())).map_or(0, |status| status.len());
    format!("file:{name}?mode=ro{}", if log == 0 { "&immutable=1" } else { "" })
}

/// Copies every table; returns their version.
fn copy_from(memory: &Connection, path: &Path) -> rusqlite::Result<i64> {
    memory.execute("ATTACH ?1 AS old", [readable(path)])?;
    let found: i64 = memory.query_row("PRAGMA old.user_version", [], |row| row.get(0))?;
    if (1..=SCHEMA_VERSION).contains(&found) {
        let unforced = if found == 1 { ", 0" } else { "" };
        let unscoped = if found < 4 { ", NULL, NULL" } else { "" };
        let tables = [
            ("meta", ""),
            ("positions", ""),
            ("bans", unforced),
            ("history", unscoped),
            ("attempts", ""),
            ("tried", ""),
        ];
        let known = if found < 3 { &tables[..5] } else { &tables[..] };
        let mut copy: String = known
            .iter()
            .map(|(table, more)| format!("INSERT INTO main.{table} SELECT *{more} FROM old.{table};"))
            .collect();
        if found < 4 {
            let sql =
                "INSERT OR REPLACE INTO meta VALUES ('merged', (SELECT coalesce(max(id), 0) FROM history));";
            copy.push_str(sql);
        }
        let copied = memory.execute_batch(&format!("BEGIN; {copy} COMMIT;"));
        if copied.is_err() {
            memory.execute_batch("ROLLBACK;")?;
        }
        copied?;
    }
    memory.execute_batch("DETACH old;")?;
    Ok(found)
}
