//! What the store tells the wall of shame.

use std::panic::resume_unwind;
use std::path::Path;
use std::thread;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use pillory_core::net::Prefix;
use pillory_core::time::{Span, Timestamp};
use pillory_core::wall::{Past, Service};

use crate::fault;

use super::query::legible;
use super::{StoreError, standing};

/// Adds up what is kept. `delay`: what is younger than that is not told of an offender.
/// # Errors
/// [`StoreError`]
pub(crate) fn past(state_dir: &Path, now: Timestamp, delay: Span) -> Result<Past, StoreError> {
    let path = state_dir.join(super::FILE);
    let unreadable = |cause| StoreError::Database { tried: "read", path: path.clone(), cause };
    let (db, other) = (super::open_read_only(state_dir)?, super::open_read_only(state_dir)?);
    thread::scope(|scope| {
        // Reading who is banned takes as long as a third of all the rest, and waits for nothing.
        let read = move || fault::outlive(|| standing::bans(&other));
        let banned = thread::Builder::new().spawn_scoped(scope, read).ok();
        let mut past = Past::new(now, delay);
        history(&db, &mut past).and_then(|()| attempts(&db, &mut past)).map_err(unreadable)?;
        let bans = match banned {
            None => standing::bans(&db),
            // What has failed in that thread fails here.
            Some(banned) => match banned.join() {
                Ok(Ok(bans)) => bans,
                Ok(Err(reason)) => resume_unwind(Box::new(reason)),
                Err(fault) => resume_unwind(fault),
            },
        };
        for ban in bans.map_err(unreadable)?.iter().filter(|ban| ban.origin.name() == "local") {
            past.in_force(ban.prefix, ban.since, ban.until);
        }
        Ok(past)
    })
}

fn at(row: &rusqlite::Row<'_>) -> rusqlite::Result<Timestamp> {
    row.get(0).map(Timestamp::from_millis)
}

fn history(db: &Connection, past: &mut Past) -> rusqlite::Result<()> {
    let bans = "SELECT time, prefix, what = 'ban' FROM history
        WHERE what IN ('ban', 'mistake', 'unban') AND origin = 'local' ORDER BY id DESC";
    each(db, bans, |row| {
        let Ok(prefix) = row.get_ref(1)?.as_str().unwrap_or("").parse::<Prefix>() else { return Ok(()) };
        match row.get(2)? {
            true => past.banned(prefix, at(row)?),
            false => past.mistaken(prefix),
        }
        Ok(())
    })
}

fn attempts(db: &Connection, past: &mut Past) -> rusqlite::Result<()> {
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
    })
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
