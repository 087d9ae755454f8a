//! Rows of the store: what a record becomes.

use rusqlite::{Transaction, params};

use pillory_core::event::Attempt;
use pillory_core::jail::names::Tried;
use pillory_core::ledger::{Ban, Ended};
use pillory_core::machine::Record;
use pillory_core::time::Timestamp;

use super::scope_text;

/// Writes records. The indexes by address are a page a hundred addresses, and a flood meets each at random; so the rows
/// are written in the order of addresses, which touches each page once, and numbered in the order in which they came.
pub(super) fn keep_all(transaction: &Transaction<'_>, records: Vec<&Record>) -> rusqlite::Result<()> {
    let mut numbers = Numbers::default();
    if records.len() > 1 {
        let newest = |table| super::query::newest_id(transaction, table);
        numbers = Numbers { attempts: Some(newest("attempts")?), history: Some(newest("history")?) };
    }
    let mut rows: Vec<(String, Option<i64>, &Record)> =
        records.into_iter().map(|record| (address(record), numbers.next_of(record), record)).collect();
    // Stable: what happened to one address stays in order.
    rows.sort_by(|one, other| one.0.cmp(&other.0));
    rows.iter().try_for_each(|(address, id, record)| keep(transaction, (address, *id), record))
}

/// The numbers of the newest rows; nothing where SQLite shall choose.
#[derive(Default)]
struct Numbers {
    attempts: Option<i64>,
    history: Option<i64>,
}

impl Numbers {
    fn next_of(&mut self, record: &Record) -> Option<i64> {
        let newest = match record {
            Record::Attempt(_) | Record::Learnt(_) => &mut self.attempts,
            Record::Banned(_) | Record::Missed(_) | Record::Ended(..) | Record::Listed(_) => {
                &mut self.history
            }
            Record::Tried(_) => return None,
        };
        *newest = newest.map(|newest| newest + 1);
        *newest
    }
}

/// Whom a record is about, as its rows say it.
fn address(record: &Record) -> String {
    match record {
        Record::Attempt(attempt) | Record::Learnt(attempt) => attempt.addr.to_string(),
        Record::Banned(ban) | Record::Missed(ban) | Record::Ended(ban, ..) | Record::Listed(ban) => {
            ban.prefix.to_string()
        }
        // Of names.
        Record::Tried(_) => String::new(),
    }
}

fn keep(
    transaction: &Transaction<'_>,
    (address, id): (&str, Option<i64>),
    record: &Record,
) -> rusqlite::Result<()> {
    let row = (address, id);
    match record {
        Record::Attempt(attempt) => keep_attempt(transaction, row, attempt, ADD)?,
        Record::Learnt(attempt) => keep_attempt(transaction, row, attempt, ADD_ONCE)?,
        Record::Banned(ban) => {
            keep_ban(transaction, address, ban)?;
            keep_history(transaction, row, ban, ("ban", ban.since))?;
        }
        Record::Missed(ban) => keep_history(transaction, row, ban, ("missed", ban.since))?,
        Record::Ended(ban, how, time) => {
            let sql = "DELETE FROM bans WHERE prefix = ?1 AND jail = ?2";
            transaction.prepare_cached(sql)?.execute(params![address, ban.jail.as_str()])?;
            let what = match how {
                Ended::Expired => "expire",
                Ended::Lifted => "unban",
                Ended::Narrowed => "narrow",
                Ended::Displaced => "displace",
                Ended::Mistaken => "mistake",
            };
            keep_history(transaction, row, ban, (what, *time))?;
        }
        Record::Tried(names) => {
            let sql = "INSERT OR REPLACE INTO tried VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut statement = transaction.prepare_cached(sql)?;
            for Tried { user, by: [last, before] } in names {
                let user = user.cast_signed();
                statement.execute(params![user, last.source, last.when, before.source, before.when])?;
            }
        }
        Record::Listed(ban) => {
            // The same list may be imported again.
            let sql = "DELETE FROM history WHERE prefix = ?1 AND what = 'listed' AND time = ?2";
            let known = params![address, ban.since.millis()];
            transaction.prepare_cached(sql)?.execute(known)?;
            keep_history(transaction, row, ban, ("listed", ban.since))?;
        }
    }
    Ok(())
}

/// Adds a row of the table of attempts.
const ADD: &str =
    "INSERT INTO attempts(time, jail, addr, user, class, points, tries, connection, kind, shown, id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// The same unless there is one like it. It is looked for by time: one address may have thousands of rows.
const ADD_ONCE: &str =
    "INSERT INTO attempts(time, jail, addr, user, class, points, tries, connection, kind, shown, id)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE NOT EXISTS (SELECT 1 FROM attempts
        WHERE time = ?1 AND jail = ?2 AND +addr = ?3 AND user IS ?4 AND class IS ?5)";

fn keep_attempt(
    transaction: &Transaction<'_>,
    (address, id): (&str, Option<i64>),
    attempt: &Attempt,
    sql: &str,
) -> rusqlite::Result<()> {
    transaction.prepare_cached(sql)?.execute(params![
        attempt.time.millis(),
        attempt.jail.as_str(),
        address,
        attempt.user.as_deref(),
        attempt.class.map(pillory_core::event::Class::name),
        attempt.points.0,
        attempt.tries,
        attempt.connection.map(|shown| shown.connection.cast_signed()),
        attempt.connection.map(|shown| shown.kind),
        attempt.connection.map(|shown| shown.attempts),
        id,
    ])?;
    Ok(())
}

/// Writes a ban in force; `prefix`: whom, as text.
pub(super) fn keep_ban(transaction: &Transaction<'_>, prefix: &str, ban: &Ban) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO bans VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    transaction.prepare_cached(sql)?.execute(params![
        prefix,
        ban.jail.as_str(),
        ban.since.millis(),
        ban.until.timestamp().map(Timestamp::millis),
        ban.failures,
        ban.reason.to_string(),
        ban.origin.name(),
        scope_text(&ban.scope),
        ban.forced,
    ])?;
    Ok(())
}

fn keep_history(
    transaction: &Transaction<'_>,
    (prefix, id): (&str, Option<i64>),
    ban: &Ban,
    (what, time): (&str, Timestamp),
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO history(time, what, prefix, jail, until, failures, reason, origin, id)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    transaction.prepare_cached(sql)?.execute(params![
        time.millis(),
        what,
        prefix,
        ban.jail.as_str(),
        ban.until.timestamp().map(Timestamp::millis),
        ban.failures,
        ban.reason.to_string(),
        ban.origin.name(),
        id,
    ])?;
    Ok(())
}
