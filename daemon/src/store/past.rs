//! What the history tells a starting daemon of bans, read in one pass: it is the longest table of many hosts.

use rusqlite::{Connection, Row};

use pillory_core::event::{JailName, Origin};
use pillory_core::jail::replay::{PastBan, Turn};
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use super::JailNames;
use super::query::legible;

/// What became of bans.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Prefixes with the begins of their local bans, in order, without the last one before each that was a mistake.
    pub(super) bans: Vec<(Prefix, JailName, Timestamp)>,
    /// What became of bans lately, and the bans that lasted until then, in order of time.
    pub(super) turns: Vec<PastBan>,
}

/// Reads it. `since`: from when on it matters what became of a ban; `latest`: what claims to be of later counts nothing.
/// # Errors
/// SQLite's.
pub(super) fn read(db: &Connection, since: Timestamp, latest: Timestamp) -> rusqlite::Result<Past> {
    // Room for all, or vectors that grow by the megabyte leave holes that the allocator keeps; room that nothing is
    // written to is no memory. Two indexes tell how much.
    let count =
        "SELECT (SELECT count(*) FROM history) - (SELECT count(*) FROM history WHERE what = 'listed')";
    let count: u32 = db.query_row(count, [], |row| row.get(0))?;
    let mut past = Past::default();
    past.bans.reserve_exact(count as usize);
    past.turns.reserve_exact(count as usize);
    let mut jails = JailNames::default();
    let sql =
        "SELECT time, what, prefix, jail, until, origin FROM history WHERE what <> 'listed' ORDER BY id";
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        legible(past.take(row, &mut jails, since, latest).map(Some))?;
    }
    past.bans.retain(|(_, _, time)| *time <= latest);
    // Rows of one time stay in their order.
    past.turns.sort_by_key(|turn| turn.time);
    Ok(past)
}

impl Past {
    fn take(
        &mut self,
        row: &Row<'_>,
        jails: &mut JailNames,
        since: Timestamp,
        latest: Timestamp,
    ) -> rusqlite::Result<()> {
        let (time, what) = (Timestamp::from_millis(row.get(0)?), row.get_ref(1)?.as_str()?);
        let turn = match what {
            "ban" => Turn::Began,
            "missed" => Turn::Missed,
            "unban" => Turn::Lifted,
            "expire" | "narrow" | "displace" | "mistake" => Turn::Expired,
            _ => return Ok(()),
        };
        let is_mistake = what == "mistake";
        if turn != Turn::Began && turn != Turn::Missed && !is_mistake && time <= since {
            return Ok(());
        }
        let (prefix, jail) = (row.get_ref(2)?.as_str()?.parse(), jails.of(row.get_ref(3)?.as_str()?));
        let (Ok(prefix), Some(jail)) = (prefix, jail) else { return Ok(()) };
        let is_local = row.get_ref(5)?.as_str()? == Origin::Local.name();
        if is_local && matches!(turn, Turn::Began | Turn::Missed) {
            self.bans.push((prefix, jail.clone(), time));
        }
        if is_mistake {
            // Only a first start learns of some, soon after the ban.
            let last = self.bans.iter().rposition(|(known, by, _)| (*known, by) == (prefix, &jail));
            last.map(|at| self.bans.remove(at));
        }
        let until: Option<i64> = row.get(4)?;
        let lasts = || until.is_none_or(|until| until > since.millis());
        let matters = if turn == Turn::Began { is_local && lasts() } else { time > since };
        if matters && time <= latest {
            self.turns.push(PastBan { time, prefix, jail, turn });
        }
        Ok(())
    }
}
