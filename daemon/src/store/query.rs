//! Reading the store: what the daemon restores at its start, and what `attempts` and `history` list.

use std::borrow::Cow;
use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ToSql, params};
use serde::Serialize;

use pillory_core::event::{Attempt, JailName};
use pillory_core::jail::names::{By, MOST_TRIED, Tried};
use pillory_core::jail::replay::PastBan;
use pillory_core::ledger::Ban;
use pillory_core::net::Prefix;
use pillory_core::time::{End, Timestamp};

use super::rows::ENDS;
use super::{ATTEMPT, ATTEMPT_ID, JailNames, META_TIME, attempt_of, met, past, standing};

/// Everything a starting daemon takes over.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// Bans as they stood, also those whose time is over.
    pub(crate) bans: Vec<Ban>,
    /// Attempts and good logins young enough to matter, in order of time.
    pub(crate) attempts: Vec<Attempt>,
    /// Prefixes with the begins of their local bans, in order.
    pub(crate) past_bans: Vec<(Prefix, JailName, Timestamp)>,
    /// What became of bans, in order of time.
    pub(crate) turns: Vec<PastBan>,
    /// Names that banned sources tried.
    pub(crate) tried: Vec<Tried>,
    /// Resume positions by stream.
    pub(crate) positions: HashMap<String, String>,
    /// Settings that the program itself keeps.
    pub(crate) meta: HashMap<String, String>,
    /// When the store was last written.
    pub(crate) last_write: Timestamp,
}

/// From when on what is kept still matters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    /// Failures that windows may hold.
    pub(crate) failures: Timestamp,
    /// Failures that take part in a campaign.
    pub(crate) strangers: Timestamp,
    /// Good logins, and failures at the accounts that logged in: they teach what is usual.
    pub(crate) logins: Timestamp,
    /// What became of bans, but for those that are still in force.
    pub(crate) bans: Timestamp,
    /// What time it is, and the latest time that is believed: what claims to be of later counts nothing, and such a ban
    /// begins now.
    pub(crate) believed: (Timestamp, Timestamp),
}

#[cfg(any(test, fuzzing))]
impl Default for Since {
    fn default() -> Since {
        let [begin, end] = [0, i64::MAX].map(Timestamp::from_millis);
        Since { failures: begin, strangers: begin, logins: begin, bans: begin, believed: (begin, end) }
    }
}

/// What only the alarms still ask of failures that no window holds: who tried whom, once a day. Looked for among the
/// newest rows only, so that a start takes no longer however much was tried; the plus signs keep SQLite at these rows.
const OLDER: &str = "SELECT min(id) FROM attempts WHERE id > (SELECT max(id) - 100000 FROM attempts)
    AND class IS NOT NULL AND +time <= ?1 AND (+time > ?2 OR (+time > ?3 AND user IN
        (SELECT user FROM attempts WHERE class IS NULL AND time > ?3 AND user <> 'root')))
    GROUP BY jail, addr, user, time / 86400000";

/// Reads what a starting daemon takes over.
/// # Errors
/// SQLite's.
pub(crate) fn restore(db: &Connection, since: Since) -> rusqlite::Result<Restored> {
    let (now, latest) = since.believed;
    let mut restored = Restored { bans: standing::bans(db)?, ..Restored::default() };
    for ban in restored.bans.iter_mut().filter(|ban| ban.since > latest) {
        ban.until = End::from_option(ban.until.remaining(ban.since).map(|length| now + length));
        ban.since = now;
    }
    restored.attempts = young(db, since)?;
    let past = past::read(db, since.bans.min(since.failures), latest)?;
    (restored.past_bans, restored.turns) = (past.bans, past.turns);
    restored.tried = tried(db)?;
    restored.positions = pairs(db, "SELECT stream, position FROM positions")?;
    restored.meta = pairs(db, "SELECT key, value FROM meta")?;
    restored.last_write = last_write(db, latest)?;
    Ok(restored)
}

/// Attempts and good logins young enough to matter. Those that windows may hold are nearly all, and found by their time
/// alone; all others are older.
fn young(db: &Connection, since: Since) -> rusqlite::Result<Vec<Attempt>> {
    let times = [since.failures, since.strangers, since.logins, since.believed.1].map(Timestamp::millis);
    let older = format!(
        "FROM attempts WHERE +time <= ?1 AND ((class IS NULL AND time > ?3) OR id IN ({OLDER})) AND +time <= ?4
        ORDER BY time, id"
    );
    let mut jails = JailNames::default();
    let older =
        all(db, (ATTEMPT, &older, room_for(db, "attempts")?), &times, |row| attempt_of(row, &mut jails))?;
    let (young, times) = ("FROM attempts WHERE time > ?1 AND time <= ?2", [times[0], times[3]]);
    let room = older.len() + count(db, young, &times)?;
    let young = format!("{young} ORDER BY time, id");
    let mut attempts = all(db, (ATTEMPT, &young, room), &times, |row| attempt_of(row, &mut jails))?;
    attempts.splice(0..0, older);
    Ok(attempts)
}

/// The latest time of a row or of the daemon, as far as it is believed.
/// # Errors
/// SQLite's.
pub(crate) fn last_write(db: &Connection, latest: Timestamp) -> rusqlite::Result<Timestamp> {
    let sql = "SELECT max(t) FROM (SELECT max(time) AS t FROM attempts WHERE time <= ?1
        UNION ALL SELECT max(time) FROM history WHERE time <= ?1
        UNION ALL SELECT CAST(value AS INTEGER) FROM meta WHERE key = ?2 AND CAST(value AS INTEGER) <= ?1)";
    let last = db.query_row(sql, params![latest.millis(), META_TIME], |row| row.get(0));
    Ok(Timestamp::from_millis(legible(last)?.unwrap_or(0)))
}

/// Names that banned sources tried, as many as are remembered.
fn tried(db: &Connection) -> rusqlite::Result<Vec<Tried>> {
    let latest = format!("FROM (SELECT * FROM tried ORDER BY seconds DESC LIMIT {MOST_TRIED})");
    let room = count(db, &latest, &[])?;
    all(db, ("*", &latest, room), &[], |row| {
        let last = By { source: row.get("source")?, when: row.get("seconds")? };
        let before = By { source: row.get("source_before")?, when: row.get("seconds_before")? };
        Ok(Some(Tried { user: row.get::<_, i64>("user")?.cast_unsigned(), by: [last, before] }))
    })
}

/// Every row that `read` makes something of. `room`: how many are expected; vectors that grow by the megabyte leave holes
/// that the allocator keeps, 18 MiB after a start with 100,000 bans.
pub(super) fn all<T>(
    db: &Connection,
    (columns, from, room): (&str, &str, usize),
    values: &[i64],
    mut read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Vec<T>> {
    let mut found = Vec::with_capacity(room);
    let mut statement = db.prepare(&format!("SELECT {columns} {from}"))?;
    let mut rows = statement.query(rusqlite::params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        found.extend(legible(read(row))?);
    }
    Ok(found)
}

/// Room for a part of a table that nobody counted, no more of it than is sane whatever the table claims. What nothing is
/// written to is no memory.
pub(super) fn room_for(db: &Connection, table: &'static str) -> rusqlite::Result<usize> {
    const MOST: i64 = 100_000;
    newest_id(db, table).map(|newest| newest.clamp(0, MOST) as usize)
}

/// How many rows there are.
pub(super) fn count(db: &Connection, from: &str, values: &[i64]) -> rusqlite::Result<usize> {
    let values = rusqlite::params_from_iter(values);
    db.query_row(&format!("SELECT count(*) {from}"), values, |row| row.get::<_, u32>(0))
        .map(|count| count as usize)
}

/// A row with a value of another kind than was written (by hand, or by a damaged disk) is none.
pub(super) fn legible<T>(row: rusqlite::Result<Option<T>>) -> rusqlite::Result<Option<T>> {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error};
    match row {
        Err(
            FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..),
        ) => Ok(None),
        row => row,
    }
}

/// One setting that the program itself keeps.
/// # Errors
/// SQLite's.
pub(crate) fn meta(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let mut rows = db.prepare("SELECT value FROM meta WHERE key = ?1")?;
    let mut found = rows.query_map([key], |row| row.get(0))?;
    found.next().transpose()
}

fn pairs(db: &Connection, sql: &str) -> rusqlite::Result<HashMap<String, String>> {
    let mut rows = db.prepare(sql)?;
    let found = rows.query_map([], |row| legible((|| Ok(Some((row.get(0)?, row.get(1)?))))()))?;
    found.filter_map(Result::transpose).collect()
}

/// Of more addresses at once their attempts are not looked up one by one: reading all rows once is cheaper.
const MOST_LOOKED_UP: usize = 16;

/// Which rows `attempts` and `history` list.
#[derive(Debug, Clone, Default, serde::Deserialize, Serialize)]
pub(crate) struct Wanted {
    /// At most so many, the newest; 0 means all.
    pub(crate) last: usize,
    /// Not before this.
    pub(crate) since: Option<Timestamp>,
    /// Not after this.
    pub(crate) until: Option<Timestamp>,
    /// Only inside one of these prefixes; none means anywhere.
    pub(crate) prefixes: Vec<Prefix>,
    /// Only this user.
    pub(crate) user: Option<String>,
    /// Only this jail.
    pub(crate) jail: Option<String>,
    /// Only good logins.
    #[serde(default)]
    pub(crate) logins_only: bool,
    /// Only rows with a higher number, for following.
    pub(crate) after_id: i64,
    /// Only the rows of these numbers.
    #[serde(skip)]
    pub(crate) only: Option<Vec<i64>>,
}

/// A row of `history`.
#[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
pub(crate) struct HistoryRow {
    /// When.
    pub(crate) time: Timestamp,
    /// `ban`, `unban` (by hand), `expire`, `narrow` (a network of neighbours gave way to another one or to none),
    /// `displace` (there was no room for it), `mistake` (people log in from there, as was learnt only later), `retire` (its
    /// jail is no longer configured), or `missed` (a ban that was over before it could be made).
    pub(crate) what: String,
    /// Whom.
    pub(crate) prefix: Prefix,
    /// For which jail.
    pub(crate) jail: String,
    /// Until when, of a ban.
    pub(crate) until: Option<Timestamp>,
    /// Attempts that led to it.
    pub(crate) failures: u32,
    /// Why.
    pub(crate) reason: String,
    /// Who decided.
    pub(crate) origin: String,
}

/// Attempts in the order of their times, each with its number.
/// # Errors
/// SQLite's.
pub(crate) fn attempts(db: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<(i64, Attempt)>> {
    attempts_as(db, wanted, |id, attempt| (id, attempt))
}

/// The same, and of each only what `make` makes of it.
/// # Errors
/// SQLite's.
pub(crate) fn attempts_as<T>(
    db: &Connection,
    wanted: &Wanted,
    make: impl Fn(i64, Attempt) -> T,
) -> rusqlite::Result<Vec<T>> {
    let mut wanted = Cow::Borrowed(wanted);
    let single = match wanted.prefixes[..] {
        [host] if host.is_host() => Some(host.addr().to_string()),
        _ => None,
    };
    if wanted.only.is_none() {
        wanted.to_mut().only = numbers_of(db, &wanted.prefixes)?;
    }
    let inside = |attempt: &Attempt| {
        wanted.prefixes.is_empty() || wanted.prefixes.iter().any(|prefix| prefix.contains_addr(attempt.addr))
    };
    let mut jails = JailNames::default();
    let extra =
        ["addr = :addr OR :addr IS NULL", "user = :user OR :user IS NULL", "class IS NULL OR NOT :logins"];
    let values: [(&str, &dyn ToSql); 3] =
        [(":addr", &single), (":user", &wanted.user), (":logins", &wanted.logins_only)];
    select(db, ("attempts", ATTEMPT), &extra, &wanted, &values, |row| {
        let found = attempt_of(row, &mut jails)?.filter(|attempt| inside(attempt));
        found.map(|attempt| Ok(make(row.get(ATTEMPT_ID)?, attempt))).transpose()
    })
}

/// The names of everybody who logged in by an attempt of a higher number than this, as far back as is kept; and the number
/// up to which that was looked for.
/// # Errors
/// SQLite's.
pub(crate) fn logged_in(db: &Connection, after: i64) -> rusqlite::Result<(Vec<String>, i64)> {
    let newest = newest_id(db, "attempts")?;
    let sql = "SELECT DISTINCT user FROM attempts WHERE id > ?1 AND id <= ?2 AND class IS NULL AND user IS NOT NULL";
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query((after, newest))?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        names.extend(legible(row.get(0).map(Some))?);
    }
    Ok((names, newest))
}

/// The numbers of the attempts from these, if they are single addresses, and if listing them is worth it.
fn numbers_of(db: &Connection, prefixes: &[Prefix]) -> rusqlite::Result<Option<Vec<i64>>> {
    if prefixes.is_empty()
        || prefixes.len() > MOST_LOOKED_UP
        || !prefixes.iter().all(|prefix| prefix.is_host())
    {
        return Ok(None);
    }
    let mut all = Vec::new();
    for host in prefixes {
        let Some(numbers) = met::numbers_of(db, *host)? else { return Ok(None) };
        all.extend(numbers);
    }
    Ok(Some(all))
}

/// Bans and unbans, oldest first, each with its number.
/// # Errors
/// SQLite's.
pub(crate) fn history(db: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<(i64, HistoryRow)>> {
    history_as(db, wanted, |id, row| (id, row))
}

/// The same, and of each only what `make` makes of it.
/// # Errors
/// SQLite's.
pub(crate) fn history_as<T>(
    db: &Connection,
    wanted: &Wanted,
    make: impl Fn(i64, HistoryRow) -> T,
) -> rusqlite::Result<Vec<T>> {
    let overlaps = |row: &HistoryRow| {
        wanted.prefixes.is_empty() || wanted.prefixes.iter().any(|prefix| prefix.overlaps(row.prefix))
    };
    select(db, ("history", "*"), &[], wanted, &[], |row| {
        let Ok(prefix) = row.get::<_, String>("prefix")?.parse() else { return Ok(None) };
        let found = HistoryRow {
            time: Timestamp::from_millis(row.get("time")?),
            what: row.get("what")?,
            prefix,
            jail: row.get("jail")?,
            until: row.get::<_, Option<i64>>("until")?.map(Timestamp::from_millis),
            failures: row.get("failures")?,
            reason: row.get("reason")?,
            origin: row.get("origin")?,
        };
        overlaps(&found).then(|| Ok(make(row.get("id")?, found))).transpose()
    })
}

/// What was seen and done since the store's first row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Failed attempts, those of banned sources included.
    pub(crate) attempts: u64,
    /// Bans that the jails made.
    pub(crate) bans: u64,
    /// When the first of these was.
    pub(crate) since: Option<Timestamp>,
}

/// Adds up what was seen and done.
/// # Errors
/// SQLite's.
pub(crate) fn effect(db: &Connection) -> rusqlite::Result<Effect> {
    let sum = |sql: &str| -> rusqlite::Result<(u64, Option<i64>)> {
        db.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))
    };
    let (attempts, first) =
        sum("SELECT coalesce(sum(tries), 0), min(time) FROM attempts WHERE class IS NOT NULL")?;
    let (bans, first_ban) =
        sum("SELECT count(*), min(time) FROM history WHERE what = 'ban' AND origin = 'local'")?;
    let since = first.into_iter().chain(first_ban).min().map(Timestamp::from_millis);
    Ok(Effect { attempts, bans, since })
}

/// Failed attempts of these jails from that time on.
/// # Errors
/// SQLite's.
pub(crate) fn failed_since(db: &Connection, since: Timestamp, jails: &[JailName]) -> rusqlite::Result<u64> {
    let sql = "SELECT jail, sum(tries) FROM attempts WHERE time >= ?1 AND class IS NOT NULL GROUP BY jail";
    let mut rows = db.prepare(sql)?;
    let found = rows.query_map([since.millis()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut sum = 0;
    for row in found {
        let (jail, attempts): (String, i64) = row?;
        let is_of_them = jails.iter().any(|name| name.as_str() == jail);
        sum += if is_of_them { attempts.unsigned_abs() } else { 0 };
    }
    Ok(sum)
}

/// The latest bans that are still in force, at most so many, the newest first.
/// # Errors
/// SQLite's.
pub(crate) fn latest_bans(db: &Connection, most: usize) -> rusqlite::Result<Vec<HistoryRow>> {
    /// Who lifted more than these at once looks at the list.
    const LOOKED_AT: usize = 100;
    let mut rows: Vec<HistoryRow> = history(db, &Wanted { last: LOOKED_AT, ..Wanted::default() })?
        .into_iter()
        .map(|(_, row)| row)
        .filter(|row| row.what == "ban")
        .collect();
    rows.reverse();
    let mut latest: Vec<HistoryRow> = Vec::new();
    for row in rows {
        if latest.len() == most {
            break;
        }
        let is_new = !latest.iter().any(|ban| (ban.prefix, &ban.jail) == (row.prefix, &row.jail));
        if is_new && standing::since(db, &row.prefix.to_string(), &row.jail)?.is_some() {
            latest.push(row);
        }
    }
    Ok(latest)
}

/// What is kept of the failed attempts from inside a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// How many.
    pub(crate) attempts: u64,
    /// The time of the first.
    pub(crate) first: Timestamp,
    /// The time of the last.
    pub(crate) last: Timestamp,
    /// The names that were tried and how often, the most frequent first.
    pub(crate) users: Vec<(String, u64)>,
}

/// So many names of one prefix are told apart.
const MAX_USERS: usize = 10_000;

/// Adds up the failed attempts from inside a prefix; nothing if there are none.
/// # Errors
/// SQLite's.
pub(crate) fn seen(db: &Connection, prefix: Prefix) -> rusqlite::Result<Option<Seen>> {
    let mut users: HashMap<String, u64> = HashMap::new();
    let mut seen: Option<Seen> = None;
    met::each_of(db, prefix, "addr, tries, time, user, class", |row| {
        let addr = row.get_ref(0)?.as_str().ok().and_then(|addr| addr.parse().ok());
        if row.get_ref(4)? == ValueRef::Null || !addr.is_some_and(|addr| prefix.contains_addr(addr)) {
            return Ok(true);
        }
        let (tries, time) = (u64::from(row.get::<_, u32>(1)?), Timestamp::from_millis(row.get(2)?));
        let so_far = seen.get_or_insert_with(|| Seen { first: time, last: time, ..Seen::default() });
        so_far.attempts += tries;
        (so_far.first, so_far.last) = (so_far.first.min(time), so_far.last.max(time));
        if let Some(user) = row.get::<_, Option<String>>(3)?
            && (users.len() < MAX_USERS || users.contains_key(&user))
        {
            *users.entry(user).or_default() += tries;
        }
        Ok(true)
    })?;
    if let Some(seen) = &mut seen {
        seen.users = users.into_iter().collect();
        seen.users.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    }
    Ok(seen)
}

/// When a ban in force began, to the millisecond, and when the one before it ended if there was one.
/// # Errors
/// SQLite's.
pub(crate) fn began(
    db: &Connection,
    prefix: Prefix,
    jail: &str,
) -> rusqlite::Result<Option<(Timestamp, Option<Timestamp>)>> {
    let prefix = prefix.to_string();
    let Some(since) = standing::since(db, &prefix, jail)? else { return Ok(None) };
    let sql = format!(
        "SELECT max(time) FROM history WHERE prefix = ?1 AND jail = ?2 AND what IN ({ENDS}) AND time <= ?3"
    );
    let before: Option<i64> = db.query_row(&sql, (prefix, jail, since), |row| row.get(0))?;
    Ok(Some((Timestamp::from_millis(since), before.map(Timestamp::from_millis))))
}

/// True if a ban of that time ended as a mistake, or by hand, of whichever jail: who lets an address in means all of them.
/// # Errors
/// SQLite's.
pub(crate) fn was_lifted(
    db: &Connection,
    (prefix, jail): (Prefix, &JailName),
    made: Timestamp,
) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS(SELECT 1 FROM history WHERE time >= ?1 AND prefix = ?2
        AND (what = 'unban' OR (what = 'mistake' AND jail = ?3)))";
    let values = params![made.millis(), prefix.to_string(), jail.as_str()];
    db.query_row(sql, values, |row| row.get(0))
}

/// The number of the row of a table that was written last; 0 if there is none.
/// # Errors
/// SQLite's.
pub(crate) fn newest_id(db: &Connection, table: &'static str) -> rusqlite::Result<i64> {
    // The writer asks this of each commit.
    let mut statement = db.prepare_cached(&format!("SELECT coalesce(max(id), 0) FROM {table}"))?;
    statement.query_row([], |row| row.get(0))
}

fn select<T>(
    db: &Connection,
    (table, columns): (&str, &str),
    extra: &[&str],
    wanted: &Wanted,
    extra_values: &[(&str, &dyn ToSql)],
    mut read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<Option<T>>,
) -> rusqlite::Result<Vec<T>> {
    let mut conditions: String = extra.iter().map(|condition| format!(" AND ({condition})")).collect();
    if let Some(numbers) = &wanted.only {
        let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
        conditions.push_str(&format!(" AND id IN ({})", numbers.join(", ")));
    }
    // Good logins of before the first start were written later than what came meanwhile.
    let order = if table == "attempts" { "time DESC, id DESC" } else { "id DESC" };
    let sql = format!(
        "SELECT {columns} FROM {table} WHERE id > :after AND (time >= :since OR :since IS NULL) AND (time <= :until OR :until IS NULL)
         AND (jail = :jail OR :jail IS NULL){conditions} ORDER BY {order}"
    );
    let (since, until) = (wanted.since.map(Timestamp::millis), wanted.until.map(Timestamp::millis));
    let mut values: Vec<(&str, &dyn ToSql)> =
        vec![(":after", &wanted.after_id), (":since", &since), (":until", &until), (":jail", &wanted.jail)];
    values.extend_from_slice(extra_values);
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query(values.as_slice())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if wanted.last > 0 && found.len() >= wanted.last {
            break;
        }
        if let Some(value) = read(row)? {
            found.push(value);
        }
    }
    found.reverse();
    Ok(found)
}
