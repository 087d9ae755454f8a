//! The bans in force: the table `bans`, which tells them as of a certain row of the history, and what the history tells
//! since.
//!
//! The history grows at its end, but `bans` lies in the order of prefixes, and a flood meets each of its pages at random.
//! So in a flood the history runs ahead, and now and then what it tells is merged into `bans`, in the order of prefixes.
//! When little is written that happens at once, in the same transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::rows::{ENDS, columns};
use super::{BAN, BEHIND_BAN, JailNames, ban_of, query};
use pillory_core::event::JailName;
use pillory_core::ledger::Ban;
use pillory_core::net::Prefix;

/// Name of the setting that keeps the number of the last row of the history that `bans` knows.
const META_MERGED: &str = "merged";

/// At most so many rows is the history ahead: a start reads them in 50 ms.
const MOST_AHEAD: i64 = 32_768;

/// After a commit of no more records than this, the history is not ahead at all.
const FEW: usize = 256;

/// Behind [`BAN`], what else [`ahead`] tells: whether the row says that somebody is in force, and its number.
const IN_FORCE: usize = BEHIND_BAN;
const NUMBER: usize = BEHIND_BAN + 1;

/// Rows of the history that say who is banned, behind the one that `bans` knows, as rows of `bans` and more. Those of an
/// older version have no scope and say less than `bans`: they are behind it, unless damage took what says so.
fn ahead() -> String {
    let ban = BAN.replace("since", "time AS since");
    format!(
        "SELECT {ban}, what = 'ban' AS in_force, id FROM history WHERE id > ?1 AND scope IS NOT NULL
        AND what IN ('ban', {ENDS})"
    )
}

/// A row of the history becomes one of `bans`.
const PUT: &str = "INSERT OR REPLACE INTO bans SELECT prefix, jail, time, until, failures, reason, origin,
    scope, coalesce(forced, 0) FROM history WHERE id = ?1 AND prefix = ?2 AND jail = ?3";

/// A row of the history ends one.
const TAKE: &str = "DELETE FROM bans WHERE prefix = ?2 AND jail = ?3 AND ?1";

fn merged(db: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?1";
    let found: Option<Option<i64>> =
        db.prepare_cached(sql)?.query_row([META_MERGED], |row| row.get(0)).optional()?;
    Ok(found.flatten().unwrap_or(0))
}

/// True if the history tells who is banned; that of an older version does not, and `bans` tells all.
/// # Errors
/// SQLite's.
pub(super) fn is_told(db: &Connection) -> rusqlite::Result<bool> {
    has_column(db, "history", "scope")
}

fn has_column(db: &Connection, table: &str, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
    db.query_row(sql, [table, name], |row| row.get(0))
}

/// The highest number that a row of the history may have had: none is given again.
/// # Errors
/// SQLite's.
pub(super) fn newest_number(db: &Connection) -> rusqlite::Result<i64> {
    Ok(query::newest_id(db, "history")?.max(merged(db)?))
}

/// After a commit of so many records: merges unless the history may stay ahead.
/// # Errors
/// SQLite's.
pub(super) fn after(transaction: &Transaction<'_>, records: usize) -> rusqlite::Result<()> {
    let ahead = newest_number(transaction)?.saturating_sub(merged(transaction)?);
    match ahead > MOST_AHEAD || (ahead > 0 && records <= FEW) {
        true => merge(transaction),
        false => Ok(()),
    }
}

/// Brings what the history tells into `bans`.
/// # Errors
/// SQLite's.
pub(super) fn merge(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut jails = JailNames::default();
    let mut standings: Vec<(String, Option<JailName>, i64, bool)> = Vec::new();
    let mut select = transaction.prepare_cached(&ahead())?;
    let mut rows = select.query([merged(transaction)?])?;
    while let Some(row) = rows.next()? {
        let mut standing = || {
            Ok(Some((row.get(0)?, jails.of(row.get_ref(1)?.as_str()?), row.get(NUMBER)?, row.get(IN_FORCE)?)))
        };
        // One that makes no sense must not keep the others from being written.
        standings.extend(query::legible(standing())?);
    }
    drop(rows);
    standings.sort_unstable();
    let (mut put, mut take) = (transaction.prepare_cached(PUT)?, transaction.prepare_cached(TAKE)?);
    for (at, (prefix, jail, id, is_in_force)) in standings.iter().enumerate() {
        let Some(jail) = jail else { continue };
        let is_last =
            standings.get(at + 1).is_none_or(|next| (&next.0, next.1.as_ref()) != (prefix, Some(jail)));
        if is_last {
            let change = if *is_in_force { &mut put } else { &mut take };
            change.execute(params![id, prefix, jail.as_str()])?;
        }
    }
    is_merged(transaction)
}

/// Replaces all bans in force.
/// # Errors
/// SQLite's.
pub(super) fn replace(transaction: &Transaction<'_>, bans: &[Ban]) -> rusqlite::Result<()> {
    transaction.execute("DELETE FROM bans", [])?;
    let sql = "INSERT OR REPLACE INTO bans VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let mut insert = transaction.prepare_cached(sql)?;
    for ban in bans {
        let (prefix, jail, since) = (ban.prefix.to_string(), ban.jail.as_str(), ban.since.millis());
        let (until, failures, reason, origin, scope, forced) = columns(ban);
        insert.execute(params![prefix, jail, since, until, failures, reason, origin, scope, forced])?;
    }
    is_merged(transaction)
}

/// Notes that `bans` knows the whole history.
/// # Errors
/// SQLite's.
pub(super) fn is_merged(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let newest = newest_number(transaction)?.to_string();
    let sql = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)";
    transaction.prepare_cached(sql)?.execute([META_MERGED, &newest]).map(drop)
}

/// Every ban in force, in an order that is the same whenever the rows are.
/// # Errors
/// SQLite's.
pub(crate) fn bans(db: &Connection) -> rusqlite::Result<Vec<Ban>> {
    let mut jails = JailNames::default();
    let room = query::count(db, "FROM bans", &[])?;
    // Who only reads may meet tables of before the column.
    let columns = if has_column(db, "bans", "forced")? { BAN.to_owned() } else { BAN.replace("forced", "0") };
    let mut bans = query::all(db, (&columns, "FROM bans", room), &[], |row| ban_of(row, &mut jails))?;
    if !is_told(db)? {
        return Ok(bans);
    }
    let mut last: HashMap<(Prefix, JailName), Option<Ban>> = HashMap::new();
    let mut select = db.prepare(&ahead())?;
    let mut rows = select.query([merged(db)?])?;
    while let Some(row) = rows.next()? {
        if let Some(ban) = query::legible(ban_of(row, &mut jails))? {
            let is_in_force = row.get(IN_FORCE)?;
            last.insert((ban.prefix, ban.jail.clone()), Some(ban).filter(|_| is_in_force));
        }
    }
    if !last.is_empty() {
        bans.retain(|ban| !last.contains_key(&(ban.prefix, ban.jail.clone())));
        let mut told: Vec<Ban> = last.into_values().flatten().collect();
        told.sort_unstable_by(|a, b| (a.prefix, &a.jail).cmp(&(b.prefix, &b.jail)));
        bans.append(&mut told);
    }
    Ok(bans)
}

/// When a ban in force began, to the millisecond.
/// # Errors
/// SQLite's.
pub(super) fn since(db: &Connection, prefix: &str, jail: &str) -> rusqlite::Result<Option<i64>> {
    if !is_told(db)? {
        return since_merged(db, prefix, jail);
    }
    let ahead = ahead();
    let sql =
        format!("SELECT in_force, since FROM ({ahead}) WHERE prefix = ?2 AND jail = ?3 ORDER BY id DESC");
    let ahead: Option<(bool, i64)> = db
        .query_row(&sql, params![merged(db)?, prefix, jail], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match ahead {
        Some((is_in_force, since)) => Ok(is_in_force.then_some(since)),
        None => since_merged(db, prefix, jail),
    }
}

fn since_merged(db: &Connection, prefix: &str, jail: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT since FROM bans WHERE prefix = ?1 AND jail = ?2";
    db.query_row(sql, [prefix, jail], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillory_core::event::Origin;
    use pillory_core::ledger::Ended;
    use pillory_core::machine::Record;
    use pillory_core::time::Timestamp;

    use crate::store::rows::keep_all;
    use crate::store::tests::ban;

    fn banned(addr: &str) -> Record {
        Record::Banned(ban(addr, Some(99)))
    }

    fn lifted(addr: &str) -> Record {
        Record::Ended(ban(addr, Some(99)), Ended::Lifted, Timestamp::from_secs(20))
    }

    fn keep(db: &mut Connection, records: &[Record]) {
        let transaction = db.transaction().unwrap();
        keep_all(&transaction, &records.iter().collect::<Vec<_>>()).unwrap();
        transaction.commit().unwrap();
    }

    /// Prefixes in force: as is read, and as `bans` has them.
    fn in_force(db: &Connection) -> (Vec<String>, Vec<String>) {
        let mut read: Vec<String> = bans(db).unwrap().iter().map(|ban| ban.prefix.short()).collect();
        read.sort();
        let table = query::all(db, ("prefix", "FROM bans ORDER BY prefix", 0), &[], |row| {
            Ok(Some(row.get::<_, String>(0)?.trim_end_matches("/32").to_owned()))
        });
        (read, table.unwrap())
    }

    fn store() -> Connection {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::store::SCHEMA).unwrap();
        db
    }

    /// Addresses of a flood.
    fn flood(count: u32) -> Vec<Record> {
        (0..count).map(|number| banned(&format!("10.0.{}.{}", number / 250, number % 250))).collect()
    }

    #[test]
    fn a_flood_is_told_by_the_history_until_little_is_written() {
        let mut db = store();
        keep(&mut db, &[banned("192.0.2.7"), banned("192.0.2.8")]);
        assert_eq!(in_force(&db).1, ["192.0.2.7", "192.0.2.8"]);
        let mut records = flood(300);
        records.extend([
            lifted("192.0.2.7"),
            lifted("10.0.0.0"),
            banned("192.0.2.9"),
            lifted("192.0.2.9"),
            banned("192.0.2.9"),
        ]);
        keep(&mut db, &records);
        let (read, table) = in_force(&db);
        assert_eq!(table, ["192.0.2.7", "192.0.2.8"]);
        assert_eq!(read.len(), 301);
        let has = |addr: &str| read.iter().any(|found| found == addr);
        assert!(!has("192.0.2.7") && !has("10.0.0.0") && has("192.0.2.8") && has("192.0.2.9"), "{read:?}");
        assert_eq!(since(&db, "192.0.2.7/32", "sshd").unwrap(), None);
        assert_eq!(since(&db, "192.0.2.8/32", "sshd").unwrap(), Some(10_000));
        assert_eq!(since(&db, "10.0.0.1/32", "sshd").unwrap(), Some(10_000));
        keep(&mut db, &[banned("192.0.2.1")]);
        let (read, table) = in_force(&db);
        assert_eq!((read.len(), &read), (302, &table));
    }

    #[test]
    fn what_the_history_tells_comes_in_the_same_order_each_time() {
        let mut db = store();
        keep(&mut db, &flood(300));
        let read = || -> Vec<Prefix> { bans(&db).unwrap().iter().map(|ban| ban.prefix).collect() };
        assert_eq!(in_force(&db).1.len(), 0);
        assert!(read().is_sorted());
    }

    #[test]
    fn what_a_ban_is_limited_to_and_who_forced_it_outlive_the_way_by_the_history() {
        let mut db = store();
        let mut limited = ban("192.0.2.7", None);
        limited.scope = pillory_core::event::Scope::Ports(limited.jail.clone());
        limited.origin = Origin::Manual;
        limited.forced = true;
        let mut records = flood(300);
        records.push(Record::Banned(limited.clone()));
        keep(&mut db, &records);
        assert!(bans(&db).unwrap().contains(&limited));
        keep(&mut db, &[banned("192.0.2.1")]);
        assert!(bans(&db).unwrap().contains(&limited));
    }

    #[test]
    fn the_history_runs_no_further_ahead_than_a_start_reads_soon() {
        let mut db = store();
        let half = MOST_AHEAD as u32 / 2;
        keep(&mut db, &flood(half));
        assert!(in_force(&db).1.is_empty());
        keep(&mut db, &flood(half + 1));
        assert_eq!(in_force(&db).1.len(), half as usize + 1);
    }

    #[test]
    fn a_row_that_makes_no_sense_keeps_no_other_from_being_merged() {
        for damage in ["prefix = CAST(x'ff' AS TEXT)", "jail = x'00'", "jail = CAST(x'ff' AS TEXT)"] {
            let mut db = store();
            keep(&mut db, &flood(300));
            db.execute(&format!("UPDATE history SET {damage} WHERE id = 7"), []).unwrap();
            keep(&mut db, &[banned("192.0.2.1")]);
            let (read, table) = in_force(&db);
            assert_eq!((read.len(), &read), (300, &table), "{damage}");
        }
    }

    #[test]
    fn rows_of_an_older_version_never_replace_what_is_in_force() {
        let mut db = store();
        let mut limited = ban("192.0.2.7", None);
        limited.scope = pillory_core::event::Scope::Ports(limited.jail.clone());
        keep(&mut db, &[Record::Banned(limited.clone())]);
        // What said that they are in `bans` was lost by damage.
        db.execute_batch("UPDATE history SET scope = NULL, forced = NULL; DELETE FROM meta").unwrap();
        assert_eq!(bans(&db).unwrap(), std::slice::from_ref(&limited));
        keep(&mut db, &[banned("192.0.2.1")]);
        assert!(bans(&db).unwrap().contains(&limited));
    }

    #[test]
    fn a_history_that_was_forgotten_takes_nobody_back() {
        let mut db = store();
        keep(&mut db, &flood(300));
        let transaction = db.transaction().unwrap();
        merge(&transaction).unwrap();
        transaction.execute("DELETE FROM history", []).unwrap();
        transaction.commit().unwrap();
        keep(&mut db, &[lifted("10.0.0.0")]);
        let (read, table) = in_force(&db);
        assert_eq!((read.len(), &read), (299, &table));
    }
}
