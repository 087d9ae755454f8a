//! Rows of the store: what a record becomes.

use rusqlite::{CachedStatement, Transaction, params};

use pillory_core::event::Attempt;
use pillory_core::jail::names::Tried;
use pillory_core::ledger::{Ban, Ended};
use pillory_core::machine::Record;
use pillory_core::time::Timestamp;

use super::{met, scope_text, standing};

/// Writes records: attempts and history are rows at the end of their tables; who is banned follows from the history.
/// # Errors
/// SQLite's.
pub(super) fn keep_all(transaction: &Transaction<'_>, records: &[&Record]) -> rusqlite::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new(transaction)?;
    for record in records {
        match record {
            Record::Attempt(attempt) => rows.attempt(attempt)?,
            Record::Learnt(attempt) => rows.learnt(attempt)?,
            Record::Banned(ban) => rows.history(ban, ("ban", ban.since))?,
            Record::Missed(ban) => rows.history(ban, ("missed", ban.since))?,
            Record::Ended(ban, how, time) => rows.history(ban, (word_of(*how), *time))?,
            Record::Listed(ban) => rows.listed(ban)?,
            Record::Tried(names) => keep_tried(transaction, names)?,
        }
    }
    standing::after(transaction, records.len())?;
    met::complete(transaction)
}

/// All of [`word_of`], for SQL.
pub(super) const ENDS: &str = "'expire', 'unban', 'narrow', 'displace', 'mistake', 'retire'";

/// How the history calls an end.
/// Every way in which a ban ends.
pub(crate) const HOW_ENDED: [Ended; 6] =
    [Ended::Expired, Ended::Lifted, Ended::Narrowed, Ended::Displaced, Ended::Mistaken, Ended::Retired];

/// What the history calls it.
pub(crate) fn word_of(how: Ended) -> &'static str {
    match how {
        Ended::Expired => "expire",
        Ended::Lifted => "unban",
        Ended::Narrowed => "narrow",
        Ended::Displaced => "displace",
        Ended::Mistaken => "mistake",
        Ended::Retired => "retire",
    }
}

fn keep_tried(transaction: &Transaction<'_>, names: &[Tried]) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO tried VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut statement = transaction.prepare_cached(sql)?;
    for Tried { user, by: [last, before] } in names {
        let user = user.cast_signed();
        statement.execute(params![user, last.source, last.when, before.source, before.when])?;
    }
    Ok(())
}

/// The tables that grow at their ends.
struct Rows<'t> {
    transaction: &'t Transaction<'t>,
    attempts: i64,
    history: i64,
    add_attempt: CachedStatement<'t>,
    add_history: CachedStatement<'t>,
}

const ADD_ATTEMPT: &str =
    "INSERT INTO attempts(time, jail, addr, user, class, points, tries, connection, kind, shown, id)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// The same unless there is one like it. It is looked for by time: one address may have thousands of rows.
const ADD_ATTEMPT_ONCE: &str =
    "INSERT INTO attempts(time, jail, addr, user, class, points, tries, connection, kind, shown, id)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE NOT EXISTS (SELECT 1 FROM attempts
        WHERE time = ?1 AND jail = ?2 AND +addr = ?3 AND user IS ?4 AND class IS ?5)";

const ADD_HISTORY: &str =
    "INSERT INTO history(id, time, what, prefix, jail, until, failures, reason, origin, scope, forced)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

impl<'t> Rows<'t> {
    fn new(transaction: &'t Transaction<'t>) -> rusqlite::Result<Rows<'t>> {
        Ok(Rows {
            transaction,
            attempts: met::newest_number(transaction)?,
            history: standing::newest_number(transaction)?,
            add_attempt: transaction.prepare_cached(ADD_ATTEMPT)?,
            add_history: transaction.prepare_cached(ADD_HISTORY)?,
        })
    }

    fn attempt(&mut self, attempt: &Attempt) -> rusqlite::Result<()> {
        let number = next(self.attempts);
        add_attempt(&mut self.add_attempt, number, attempt)?;
        self.attempts = number.unwrap_or(self.attempts);
        Ok(())
    }

    /// Adds an attempt that several sources may tell.
    fn learnt(&mut self, attempt: &Attempt) -> rusqlite::Result<()> {
        let number = next(self.attempts);
        let mut add = self.transaction.prepare_cached(ADD_ATTEMPT_ONCE)?;
        if add_attempt(&mut add, number, attempt)? > 0 {
            self.attempts = number.unwrap_or(self.attempts);
        }
        Ok(())
    }

    fn history(&mut self, ban: &Ban, (what, time): (&str, Timestamp)) -> rusqlite::Result<()> {
        let number = next(self.history);
        let (prefix, jail) = (ban.prefix.to_string(), ban.jail.as_str());
        let (until, failures, reason, origin, scope, forced) = columns(ban);
        self.add_history.execute(params![
            number,
            time.millis(),
            what,
            prefix,
            jail,
            until,
            failures,
            reason,
            origin,
            scope,
            forced
        ])?;
        self.history = number.unwrap_or(self.history);
        Ok(())
    }

    /// The same list may be imported again.
    fn listed(&mut self, ban: &Ban) -> rusqlite::Result<()> {
        let sql = "DELETE FROM history WHERE prefix = ?1 AND what = 'listed' AND time = ?2";
        let known = params![ban.prefix.to_string(), ban.since.millis()];
        self.transaction.prepare_cached(sql)?.execute(known)?;
        self.history(ban, ("listed", ban.since))
    }
}

/// What the table of bans and the history say of one behind its time: its end, failures, reason, origin, scope, and
/// whether it was forced.
pub(super) fn columns(ban: &Ban) -> (Option<i64>, u32, String, &'static str, String, bool) {
    let until = ban.until.timestamp().map(Timestamp::millis);
    (until, ban.failures, ban.reason.to_string(), ban.origin.name(), scope_text(&ban.scope), ban.forced)
}

/// The number behind this one; behind the highest of all nothing, and SQLite finds one that is free.
fn next(newest: i64) -> Option<i64> {
    newest.checked_add(1)
}

/// Returns how many rows that made.
fn add_attempt(
    add: &mut CachedStatement<'_>,
    number: Option<i64>,
    attempt: &Attempt,
) -> rusqlite::Result<usize> {
    add.execute(params![
        attempt.time.millis(),
        attempt.jail.as_str(),
        attempt.addr.to_string(),
        attempt.user.as_deref(),
        attempt.class.map(pillory_core::event::Class::name),
        attempt.points.0,
        attempt.tries,
        attempt.connection.map(|shown| shown.connection.cast_signed()),
        attempt.connection.map(|shown| shown.kind),
        attempt.connection.map(|shown| shown.attempts),
        number,
    ])
}
