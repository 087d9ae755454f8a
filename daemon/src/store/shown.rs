//! What the store tells the wall of shame.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, Builder, Scope, ScopedJoinHandle};

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
    let db = super::open_read_only(state_dir)?;
    thread::scope(|scope| {
        // Reading who is banned takes as long as a third of all the rest, and waits for nothing.
        let banned = beside(scope, move || super::open_read_only(state_dir).map(|db| standing::bans(&db)));
        let mut past = Past::new(now, delay);
        history(&db, &mut past).map_err(unreadable)?;
        let [older, newer] = halves(&db).map_err(unreadable)?;
        let blank = Arc::new(past.part());
        let other = beside(scope, move || {
            let mut part = Past::clone(&blank);
            super::open_read_only(state_dir).map(|db| attempts(&db, &mut part, older).map(|()| part))
        });
        attempts(&db, &mut past, newer).map_err(unreadable)?;
        past.add(other()?.map_err(unreadable)?);
        for ban in banned()?.map_err(unreadable)?.iter().filter(|ban| ban.origin.name() == "local") {
            past.in_force(ban.prefix, ban.since, ban.until);
        }
        Ok(past)
    })
}

/// Does it in a thread of its own, or where there can be none when it is waited for. What fails there fails where it is
/// waited for.
fn beside<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    work: impl Fn() -> T + Clone + Send + 's,
) -> impl FnOnce() -> T {
    let own = work.clone();
    let thread = Builder::new().spawn_scoped(scope, move || fault::outlive(own));
    move || match thread.map(ScopedJoinHandle::join) {
        Err(_) => work(),
        Ok(Ok(Ok(done))) => done,
        Ok(Ok(Err(fault))) => resume_unwind(Box::new(fault)),
        Ok(Err(fault)) => resume_unwind(fault),
    }
}

/// Numbers of attempts.
type Ids = (i64, i64);

/// The numbers of the older and the newer half of the attempts.
fn halves(db: &Connection) -> rusqlite::Result<[Ids; 2]> {
    let ends = "SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM attempts";
    let (first, last): (i64, i64) = db.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let middle = first.midpoint(last);
    Ok([(i64::MIN, middle), (middle.saturating_add(1), i64::MAX)])
}

fn at(row: &rusqlite::Row<'_>) -> rusqlite::Result<Timestamp> {
    row.get(0).map(Timestamp::from_millis)
}

fn history(db: &Connection, past: &mut Past) -> rusqlite::Result<()> {
    let bans = "SELECT time, prefix, what = 'ban' FROM history
        WHERE what IN ('ban', 'mistake', 'unban') AND origin = 'local' ORDER BY id DESC";
    each(db, bans, [], |row| {
        let Ok(prefix) = row.get_ref(1)?.as_str().unwrap_or("").parse::<Prefix>() else { return Ok(()) };
        match row.get(2)? {
            true => past.banned(prefix, at(row)?),
            false => past.mistaken(prefix),
        }
        Ok(())
    })
}

fn attempts(db: &Connection, past: &mut Past, ids: Ids) -> rusqlite::Result<()> {
    let mut jails: Vec<(String, Service)> = Vec::new();
    let rows = "SELECT time, addr, class IS NULL, jail, tries, user FROM attempts WHERE id BETWEEN ?1 AND ?2";
    each(db, rows, [ids.0, ids.1], |row| {
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
    values: impl rusqlite::Params,
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query(values)?;
    while let Some(row) = rows.next()? {
        legible(take(row).map(Some))?;
    }
    Ok(())
}
