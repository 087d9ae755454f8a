//! What the history tells a starting daemon of bans, read in one pass: it is the longest table of many hosts.

use std::collections::HashSet;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use pillory_core::event::{JailName, Origin};
use pillory_core::jail::replay::{PastBan, Turn};
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use super::JailNames;
use super::query::{legible, room_for};

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
    let room = room_for(db, "history")?;
    let mut past = Past { bans: Vec::with_capacity(room), turns: Vec::with_capacity(room) };
    let (mut jails, mut doubts) = (JailNames::default(), Doubts::default());
    let sql =
        "SELECT time, what, prefix, jail, until, origin FROM history WHERE what <> 'listed' ORDER BY id";
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        legible(past.take(row, (&mut jails, &mut doubts), since, latest).map(Some))?;
    }
    past.take_back(doubts);
    past.bans.retain(|(_, _, time)| *time <= latest);
    // Rows of one time stay in their order.
    past.turns.sort_by_key(|turn| turn.time);
    Ok(past)
}

/// Places among the bans read.
#[derive(Debug, Default)]
struct Doubts {
    /// Those that were missed, in order.
    missed: Vec<usize>,
    /// How many there were before each mistake, and whose that was, in order.
    mistakes: Vec<(usize, Prefix, JailName)>,
}

impl Past {
    fn take(
        &mut self,
        row: &Row<'_>,
        (jails, doubts): (&mut JailNames, &mut Doubts),
        since: Timestamp,
        latest: Timestamp,
    ) -> rusqlite::Result<()> {
        let (time, what) = (Timestamp::from_millis(row.get(0)?), row.get_ref(1)?.as_str()?);
        let turn = match what {
            "ban" => Turn::Began,
            "missed" => Turn::Missed,
            "unban" => Turn::Lifted,
            "expire" | "narrow" | "displace" | "mistake" | "retire" => Turn::Expired,
            _ => return Ok(()),
        };
        let is_mistake = what == "mistake";
        if turn != Turn::Began && turn != Turn::Missed && !is_mistake && time <= since {
            return Ok(());
        }
        let (prefix, jail) = (row.get_ref(2)?.as_str()?.parse(), jails.of(row.get_ref(3)?.as_str()?));
        let (Ok(prefix), Some(jail)) = (prefix, jail) else { return Ok(()) };
        // By these two columns as SQL compares them: whatever else stands there makes no row illegible.
        let is_local =
            || matches!(row.get_ref(5), Ok(ValueRef::Text(by)) if by == Origin::Local.name().as_bytes());
        let lasts =
            || row.get(4).map_or(true, |until: Option<i64>| until.is_none_or(|end| end > since.millis()));
        let is_past = matches!(turn, Turn::Began | Turn::Missed) && is_local();
        if is_past {
            doubts.missed.extend((turn == Turn::Missed).then_some(self.bans.len()));
            self.bans.push((prefix, jail.clone(), time));
        }
        if is_mistake {
            doubts.mistakes.push((self.bans.len(), prefix, jail.clone()));
        }
        let matters = if turn == Turn::Began { is_past && lasts() } else { time > since };
        if matters && time <= latest {
            self.turns.push(PastBan { time, prefix, jail, turn });
        }
        Ok(())
    }

    /// Takes back the last ban before each mistake: only a first start learns of some, soon after the ban. One that was
    /// missed is none, and two mistakes may be about the same.
    fn take_back(&mut self, Doubts { missed, mut mistakes }: Doubts) {
        let (mut sought, mut taken) = (HashSet::new(), HashSet::new());
        for (at, (prefix, jail, _)) in self.bans.iter().enumerate().rev() {
            while let Some((_, prefix, jail)) = mistakes.pop_if(|(before, ..)| *before > at) {
                sought.insert((prefix, jail));
            }
            if sought.is_empty() && mistakes.is_empty() {
                break;
            }
            let is_ban = !sought.is_empty() && missed.binary_search(&at).is_err();
            if is_ban && sought.remove(&(*prefix, jail.clone())) {
                taken.insert(at);
            }
        }
        if !taken.is_empty() {
            let mut places = 0..;
            self.bans.retain(|_| places.next().is_none_or(|at| !taken.contains(&at)));
        }
    }
}
