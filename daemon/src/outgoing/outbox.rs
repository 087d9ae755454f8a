//! What waits to be sent, on disk: a database of its own beside the store. The daemon puts in, the process that delivers
//! takes out and notes how it went, commands look and review. Nothing of it is lost over a restart; what is more than
//! there is room for goes, the oldest first, and is counted.
//!
//! What is about to be sent is fixed before the first try ([`Waiting::last_id`]), so that a second try sends the same
//! under the same name.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};

use pillory_core::config::Outgoing;
use pillory_core::outgoing::{Event, Progress};
use pillory_core::time::{Span, Timestamp};

/// The file inside the state directory.
pub(crate) const FILE: &str = "outbox.db";

/// So many events wait at most, some 3 MB, and none longer than this.
const MOST_EVENTS: u32 = 10_000;
const OLDEST: Span = Span::from_secs(7 * 86_400);

/// So many events become one message.
const MOST_AT_ONCE: u32 = 1_000;

/// What cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {tried} {}: {cause}; check the disk and the file's rights, or remove the file to begin anew", .path.display())]
pub(crate) struct OutboxError {
    tried: &'static str,
    path: PathBuf,
    #[source]
    cause: rusqlite::Error,
}

impl OutboxError {
    /// True if it is a matter of rights.
    pub(crate) fn is_denied(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
        !rustix::process::geteuid().is_root()
            && matches!(self.cause.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
    }
}

const SCHEMA: &str = "
PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -256;
CREATE TABLE IF NOT EXISTS destinations(name TEXT PRIMARY KEY, wants TEXT NOT NULL, cursor INTEGER NOT NULL,
    until INTEGER, dropped INTEGER NOT NULL DEFAULT 0, progress TEXT NOT NULL DEFAULT '', trouble TEXT,
    approved INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events(id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, kind TEXT NOT NULL,
    event TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS reports(id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, addr TEXT NOT NULL,
    prefix TEXT NOT NULL, jail TEXT NOT NULL, made INTEGER NOT NULL, state TEXT NOT NULL, report TEXT,
    note TEXT NOT NULL DEFAULT '', settled INTEGER, not_before INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS reports_state ON reports(destination, state);
CREATE INDEX IF NOT EXISTS reports_prefix ON reports(destination, prefix);
CREATE TABLE IF NOT EXISTS networks(first BLOB NOT NULL, last BLOB NOT NULL, asked INTEGER NOT NULL,
    network TEXT NOT NULL, PRIMARY KEY(first, last)) WITHOUT ROWID;
";

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    pub(super) db: Connection,
    path: PathBuf,
}

/// What waits for a destination.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) events: Vec<Event>,
    /// The number of the last of them.
    pub(super) last_id: i64,
    /// So many before them are lost.
    pub(super) dropped: u64,
    /// It is fixed: a try was made already.
    pub(super) is_fixed: bool,
}

impl Outbox {
    /// Opens it, and makes it if it is not there.
    /// # Errors
    /// [`OutboxError`]
    pub(crate) fn open(state_dir: &Path) -> Result<Outbox, OutboxError> {
        let path = state_dir.join(FILE);
        let open = || {
            let db = Connection::open(&path)?;
            db.busy_timeout(std::time::Duration::from_secs(5))?;
            db.execute_batch(SCHEMA)?;
            Ok(db)
        };
        match open() {
            Ok(db) => Ok(Outbox { db, path }),
            Err(cause) => Err(OutboxError { tried: "open", path, cause }),
        }
    }

    /// The same if it is there already, for commands that only look.
    /// # Errors
    /// [`OutboxError`]
    pub(crate) fn open_if_there(state_dir: &Path) -> Result<Option<Outbox>, OutboxError> {
        // Where it cannot be seen whether it is there, opening says why.
        let is_absent = state_dir.join(FILE).try_exists().is_ok_and(|is_there| !is_there);
        if is_absent { Ok(None) } else { Outbox::open(state_dir).map(Some) }
    }

    /// For what else is kept there.
    pub(crate) fn connection(&self) -> &Connection {
        &self.db
    }

    pub(super) fn failed(&self, tried: &'static str) -> impl Fn(rusqlite::Error) -> OutboxError + use<> {
        let path = self.path.clone();
        move |cause| OutboxError { tried, path: path.clone(), cause }
    }

    /// Does all of it in one transaction, or nothing of it.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn together(
        &mut self,
        work: impl FnOnce(&mut Outbox) -> Result<(), OutboxError>,
    ) -> Result<(), OutboxError> {
        let failed = self.failed("write");
        self.db.execute_batch("BEGIN IMMEDIATE").map_err(&failed)?;
        let done = work(self).and_then(|()| self.db.execute_batch("COMMIT").map_err(&failed));
        if done.is_err() {
            // What failed may have ended it already.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        done
    }

    /// Makes these the destinations. A new one is told of what happens from now on.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn configure(&mut self, outgoing: &Outgoing) -> Result<(), OutboxError> {
        let failed = self.failed("write");
        let mut names = Vec::new();
        let tx = self.db.savepoint().map_err(&failed)?;
        for notify in &outgoing.notify {
            let wants: String = notify.on.iter().map(|kind| format!(",{},", kind.name())).collect();
            names.push((notify_name(&notify.name), wants));
        }
        names.extend(outgoing.reports.iter().map(|to| (report_name(to.name()), String::new())));
        let work = || {
            for (name, wants) in &names {
                tx.execute(
                    "INSERT INTO destinations(name, wants, cursor)
                        VALUES (?1, ?2, (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'))
                        ON CONFLICT(name) DO UPDATE SET wants = ?2",
                    params![name, wants],
                )?;
            }
            let listed = names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
            let known: Vec<String> = {
                let mut all = tx.prepare("SELECT name FROM destinations")?;
                all.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
            };
            // Reports stay known, though not what did not work: who was reported, and what was reviewed, is not forgotten by a reload.
            for gone in known.iter().filter(|known| !listed.contains(&known.as_str())) {
                tx.execute("DELETE FROM destinations WHERE name = ?1 AND name LIKE 'notify.%'", [gone])?;
                tx.execute("UPDATE destinations SET trouble = NULL WHERE name = ?1", [gone])?;
            }
            Ok(())
        };
        work().map_err(&failed)?;
        tx.commit().map_err(&failed)
    }

    /// Puts events in, and forgets those for which there is no room.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn put(&mut self, events: &[Event], now: Timestamp) -> Result<(), OutboxError> {
        let failed = self.failed("write");
        let tx = self.db.savepoint().map_err(&failed)?;
        let work = || {
            for event in events {
                let text = serde_json::to_string(event).unwrap_or_default();
                tx.execute(
                    "INSERT INTO events(time, kind, event) VALUES (?1, ?2, ?3)",
                    params![event.time.millis(), event.kind.name(), text],
                )?;
            }
            trim(&tx, now)
        };
        work().map_err(&failed)?;
        tx.commit().map_err(&failed)
    }

    /// What waits for a destination of notifications; nothing if nothing does, or if it is not known.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn waiting(&self, name: &str) -> Result<Option<Waiting>, OutboxError> {
        let name = notify_name(name);
        let work = || {
            let sql = "SELECT cursor, until, dropped, wants FROM destinations WHERE name = ?1";
            let known = self
                .db
                .query_row(sql, [&name], |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, Option<i64>>(1)?,
                        row.get::<_, i64>(2)?,
                        row.get::<_, String>(3)?,
                    ))
                })
                .optional()?;
            let Some((cursor, until, dropped, wants)) = known else { return Ok(None) };
            let sql =
                "SELECT id, event FROM events WHERE id > ?1 AND id <= ?2 AND instr(?3, ',' || kind || ',')
                ORDER BY id LIMIT ?4";
            let mut statement = self.db.prepare_cached(sql)?;
            let rows = statement
                .query_map(params![cursor, until.unwrap_or(i64::MAX), wants, MOST_AT_ONCE], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
                })?;
            let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>()?;
            let Some(last_id) = rows.last().map(|(id, _)| *id) else { return Ok(None) };
            let events = rows.iter().filter_map(|(_, event)| serde_json::from_str(event).ok()).collect();
            Ok(Some(Waiting { events, last_id, dropped: dropped.unsigned_abs(), is_fixed: until.is_some() }))
        };
        work().map_err(self.failed("read"))
    }

    /// A message with all up to this number is about to be sent.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn fix(&self, name: &str, last_id: i64) -> Result<(), OutboxError> {
        let sql = "UPDATE destinations SET until = ?2 WHERE name = ?1";
        let done = self.db.execute(sql, params![notify_name(name), last_id]);
        done.map(drop).map_err(self.failed("write"))
    }

    /// All up to this number was sent, or is not to be sent again.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn done(&self, name: &str, last_id: i64) -> Result<(), OutboxError> {
        let sql = "UPDATE destinations SET cursor = ?2, until = NULL, dropped = 0 WHERE name = ?1";
        let done = self.db.execute(sql, params![notify_name(name), last_id]);
        done.map(drop).map_err(self.failed("write"))
    }

    /// How it went with a destination so far.
    /// # Errors
    /// [`OutboxError`]
    pub(crate) fn progress(&self, name: &str) -> Result<Progress, OutboxError> {
        let sql = "SELECT progress FROM destinations WHERE name = ?1";
        let kept = self.db.query_row(sql, [name], |row| row.get::<_, String>(0)).optional();
        let kept = kept.map_err(self.failed("read"))?;
        Ok(kept.and_then(|kept| serde_json::from_str(&kept).ok()).unwrap_or_default())
    }

    /// Notes how it went. `trouble`: what does not work now.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn note(
        &self,
        name: &str,
        progress: &Progress,
        trouble: Option<&str>,
    ) -> Result<(), OutboxError> {
        let kept = serde_json::to_string(progress).unwrap_or_default();
        let sql = "UPDATE destinations SET progress = ?2, trouble = ?3 WHERE name = ?1";
        self.db.execute(sql, params![name, kept, trouble]).map(drop).map_err(self.failed("write"))
    }

    /// What does not work now with a destination.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn trouble(&self, name: &str) -> Result<Option<String>, OutboxError> {
        let sql = "SELECT trouble FROM destinations WHERE name = ?1";
        let kept = self.db.query_row(sql, [name], |row| row.get(0)).optional();
        kept.map(Option::flatten).map_err(self.failed("read"))
    }

    /// What does not work now, by destination.
    /// # Errors
    /// [`OutboxError`]
    pub(crate) fn troubles(&self) -> Result<Vec<(String, String)>, OutboxError> {
        let work = || {
            let sql = "SELECT name, trouble FROM destinations WHERE trouble IS NOT NULL ORDER BY name";
            let mut statement = self.db.prepare(sql)?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()
        };
        work().map_err(self.failed("read"))
    }
}

/// Forgets what was sent to everybody, what is old, and what is too much.
fn trim(db: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    db.execute(
        "DELETE FROM events WHERE id <= (SELECT coalesce(min(cursor), (SELECT max(id) FROM events)) FROM destinations
            WHERE name LIKE 'notify.%')",
        [],
    )?;
    let newest_gone: Option<i64> = db.query_row(
        "SELECT max(id) FROM events WHERE id <= (SELECT max(id) FROM events) - ?1 OR time < ?2",
        params![MOST_EVENTS, (now - OLDEST).millis()],
        |row| row.get(0),
    )?;
    let Some(gone) = newest_gone else { return Ok(()) };
    db.execute(
        "UPDATE destinations SET dropped = dropped + (SELECT count(*) FROM events
            WHERE id > cursor AND id <= ?1 AND instr(wants, ',' || kind || ','))",
        [gone],
    )?;
    db.execute("UPDATE destinations SET cursor = max(cursor, ?1)", [gone])?;
    db.execute("DELETE FROM events WHERE id <= ?1", [gone]).map(drop)
}

/// How a destination of notifications is called here.
pub(crate) fn notify_name(name: &str) -> String {
    format!("notify.{name}")
}

/// How a destination of reports is called here.
pub(crate) fn report_name(name: &str) -> String {
    format!("report.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillory_core::config::{raw, resolve};
    use pillory_core::outgoing::Kind;

    /// An outbox in a directory that is gone with it.
    struct Lab(Outbox, PathBuf);

    impl Lab {
        fn new(name: &str, config: &str) -> Lab {
            let directory =
                std::env::temp_dir().join(format!("pillory-outbox-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let mut outbox = Outbox::open(&directory).unwrap();
            outbox.configure(&outgoing(config)).unwrap();
            Lab(outbox, directory)
        }
    }

    impl Drop for Lab {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.1));
        }
    }

    fn outgoing(config: &str) -> Outgoing {
        let raw = raw::parse("p", config).unwrap();
        resolve::resolve(&raw).unwrap().outgoing
    }

    const TWO: &str = "[notify.a]\nkind = \"syslog\"\non = \"ban\"\n[notify.b]\nkind = \"syslog\"\non = [\"ban\", \"alarm\"]\n";
    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn event(kind: Kind, text: &str) -> Event {
        Event { time: NOW, kind, prefix: None, text: text.to_owned() }
    }

    #[test]
    fn each_destination_gets_what_it_wants_once() {
        let mut lab = Lab::new("once", TWO);
        lab.0.put(&[event(Kind::Ban, "1"), event(Kind::Alarm, "2"), event(Kind::Start, "3")], NOW).unwrap();
        let first = lab.0.waiting("a").unwrap().unwrap();
        assert_eq!((first.events.len(), first.last_id, first.is_fixed), (1, 1, false));
        assert_eq!(lab.0.waiting("b").unwrap().unwrap().events.len(), 2);
        lab.0.done("a", first.last_id).unwrap();
        assert!(lab.0.waiting("a").unwrap().is_none());
        assert!(lab.0.waiting("nobody").unwrap().is_none());
    }

    #[test]
    fn what_was_tried_once_stays_the_same_message() {
        let mut lab = Lab::new("fixed", TWO);
        lab.0.put(&[event(Kind::Ban, "1")], NOW).unwrap();
        lab.0.fix("a", 1).unwrap();
        lab.0.put(&[event(Kind::Ban, "2")], NOW).unwrap();
        let again = lab.0.waiting("a").unwrap().unwrap();
        assert_eq!((again.events.len(), again.last_id, again.is_fixed), (1, 1, true));
        lab.0.done("a", 1).unwrap();
        assert_eq!(lab.0.waiting("a").unwrap().unwrap().events[0].text, "2");
    }

    #[test]
    fn a_new_destination_is_not_told_of_the_past_and_one_that_went_is_forgotten() {
        let mut lab = Lab::new("new", TWO);
        lab.0.put(&[event(Kind::Ban, "1")], NOW).unwrap();
        let more = format!("{TWO}[notify.c]\nkind = \"syslog\"\non = \"ban\"\n");
        lab.0.configure(&outgoing(&more)).unwrap();
        assert!(lab.0.waiting("c").unwrap().is_none() && lab.0.waiting("a").unwrap().is_some());
        lab.0.put(&[event(Kind::Ban, "2")], NOW).unwrap();
        assert_eq!(lab.0.waiting("c").unwrap().unwrap().events.len(), 1);
        lab.0.configure(&outgoing("")).unwrap();
        assert!(lab.0.waiting("a").unwrap().is_none());
        // Not even the events stay.
        lab.0.put(&[event(Kind::Ban, "3")], NOW).unwrap();
        let left: i64 = lab.0.db.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn what_did_not_work_with_a_destination_that_went_is_over() {
        let mut lab = Lab::new("went", "[report.abuseipdb]\nkey_file = \"/srv/key\"\n");
        lab.0.note("report.abuseipdb", &Progress::default(), Some("no answer")).unwrap();
        assert_eq!(lab.0.troubles().unwrap().len(), 1);
        lab.0.configure(&outgoing(TWO)).unwrap();
        assert_eq!(lab.0.troubles().unwrap(), []);
    }

    #[test]
    fn what_is_too_much_goes_and_is_counted() {
        let mut lab = Lab::new("trim", TWO);
        let crowd: Vec<Event> = (0..MOST_EVENTS).map(|_| event(Kind::Ban, "x")).collect();
        lab.0.put(&crowd, NOW).unwrap();
        lab.0.put(&crowd[..500], NOW).unwrap();
        let waiting = lab.0.waiting("a").unwrap().unwrap();
        assert_eq!((waiting.events.len(), waiting.dropped), (MOST_AT_ONCE as usize, 500));
        let late = NOW + OLDEST + Span::from_secs(1);
        lab.0.put(&[], late).unwrap();
        assert!(lab.0.waiting("a").unwrap().is_none());
    }
}
