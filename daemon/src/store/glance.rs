//! The last hour at a glance: attempts by the minute, who tries most, which names.

use std::collections::HashMap;

use rusqlite::Connection;

use pillory_core::time::Timestamp;

use super::query::legible;
use super::shared::SharedNames;

/// So many of the newest rows are looked at.
const ROWS: i64 = 20_000;

/// So many minutes are told.
pub(crate) const MINUTES: usize = 60;

/// So many offenders and names.
const TOP: usize = 10;

/// See the module.
#[derive(Debug)]
pub(crate) struct Glance {
    /// Attempts of each minute, the oldest first; the last one is under way.
    pub(crate) minutes: [u64; MINUTES],
    /// From when on they are known: under a flood not for the whole hour.
    pub(crate) since: Timestamp,
    /// Addresses with the most attempts.
    pub(crate) offenders: Vec<(String, u64)>,
    /// Names with the most attempts that may be shown.
    pub(crate) users: Vec<(String, u64)>,
    /// How many names may not, and the attempts for them.
    pub(crate) hidden: (u64, u64),
}

/// Looks at the newest attempts, no more than can be read within milliseconds.
/// # Errors
/// SQLite's.
pub(crate) fn glance(db: &Connection, now: Timestamp) -> rusqlite::Result<Glance> {
    let minute = |at: Timestamp| at.secs().div_euclid(60);
    let first = minute(now) - (MINUTES as i64 - 1);
    let begin = Timestamp::from_secs(first * 60);
    let mut minutes = [0; MINUTES];
    let (mut offenders, mut users) = (HashMap::new(), HashMap::new());
    let (mut rows_seen, mut oldest) = (0, now);
    let mut statement = db.prepare(
        "SELECT time, addr, user, tries FROM attempts
        WHERE id > (SELECT max(id) FROM attempts) - ?1 AND class IS NOT NULL AND +time >= ?2",
    )?;
    let mut rows = statement.query((ROWS, begin.millis()))?;
    while let Some(row) = rows.next()? {
        let read = || {
            Ok(Some((
                row.get(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, Option<String>>(2)?,
                row.get::<_, u32>(3)?,
            )))
        };
        let Some((time, addr, user, tries)) = legible(read())? else { continue };
        let (time, tries) = (Timestamp::from_millis(time), u64::from(tries));
        (rows_seen, oldest) = (rows_seen + 1, oldest.min(time));
        let at = usize::try_from(minute(time) - first).ok();
        if let Some(place) = at.and_then(|at| minutes.get_mut(at)) {
            *place += tries;
        }
        *offenders.entry(addr).or_default() += tries;
        if let Some(user) = user {
            *users.entry(user).or_default() += tries;
        }
    }
    let (shown, hidden): (HashMap<String, u64>, HashMap<_, _>) =
        users.into_iter().partition(|(user, _)| SharedNames(db).shows(user));
    let since = if rows_seen < ROWS { begin } else { oldest };
    let hidden = (hidden.len() as u64, hidden.values().sum());
    Ok(Glance { minutes, since, offenders: most(offenders), users: most(shown), hidden })
}

fn most(counts: HashMap<String, u64>) -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> = counts.into_iter().collect();
    all.sort_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
    all.truncate(TOP);
    all
}
