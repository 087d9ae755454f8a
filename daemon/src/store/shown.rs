//! What the store tells the wall of shame.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use pillory_core::net::Prefix;
use pillory_core::time::{Span, Timestamp};
use pillory_core::wall::{Past, Service};

use super::query::legible;
use super::standing;

/// Adds up what is kept. `delay`: what is younger than that is not told of an offender.
/// # Errors
/// SQLite's.
pub(crate) fn past(db: &Connection, now: Timestamp, delay: Span) -> rusqlite::Result<Past> {
    let mut past = Past::new(now, delay);
    let at = |row: &rusqlite::Row<'_>| row.get(0).map(Timestamp::from_millis);
    let history = "SELECT time, prefix, what = 'ban' FROM history
        WHERE what IN ('ban', 'mistake') AND origin = 'local' ORDER BY id DESC";
    each(db, history, |row| {
        let Ok(prefix) = row.get_ref(1)?.as_str().unwrap_or("").parse::<Prefix>() else { return Ok(()) };
        match row.get(2)? {
            true => past.banned(prefix, at(row)?),
            false => past.mistaken(prefix),
        }
        Ok(())
    })?;
    for ban in standing::bans(db)?.iter().filter(|ban| ban.origin.name() == "local") {
        past.in_force(ban.prefix, ban.since, ban.until);
    }
    let mut jails: Vec<(String, Service)> = Vec::new();
    each(db, "SELECT time, addr, class IS NULL, jail, tries, user FROM attempts", |row| {
        let Ok(addr) = row.get_ref(1)?.as_str().unwrap_or("").parse() else { return Ok(()) };
        if row.get(2)? {
            past.logged_in(addr, row.get_ref(5)? != ValueRef::Null);
            return Ok(());
        }
        let jail = row.get_ref(3)?.as_str().unwrap_or("");
        let known = jails.iter().find(|(name, _)| name == jail).map(|(_, service)| *service);
        let service = known.unwrap_or_else(|| {
            let service = Service::of_jail(jail);
            jails.push((jail.to_owned(), service));
            service
        });
        past.attempt(at(row)?, addr, (service, row.get_ref(5)?.as_str().ok()), row.get(4)?);
        Ok(())
    })?;
    Ok(past)
}

/// Every row that makes sense.
fn each(
    db: &Connection,
    sql: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        legible(take(row).map(Some))?;
    }
    Ok(())
}
