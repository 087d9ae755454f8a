//! Reports in the outbox, from the ban to what became of them.
//!
//! A ban leaves an intent (`new`). When it is old enough it becomes a report of what the store knows, which waits for its
//! review (`held`) or for its turn (`queued`); it ends as `sent`, `refused` by the receiver, `dropped` by the operator,
//! `withdrawn` because the ban was a mistake, or `empty` because there is nothing that may be told.

use rusqlite::params;

use pillory_core::config::outgoing::Destination;
use pillory_core::event::JailName;
use pillory_core::net::Prefix;
use pillory_core::outgoing::Report;
use pillory_core::time::{Span, Timestamp};

use super::super::outbox::{Outbox, OutboxError, report_name};

/// So many reports of a destination are reviewed before others leave unseen.
pub(crate) const REVIEWED: u32 = 50;

/// So many wait for a destination at most; the oldest go.
const MOST_WAITING: u32 = 5_000;

/// Those of older bans are told to nobody.
const OLDEST: Span = Span::from_secs(7 * 86_400);

const DAY: Span = Span::from_secs(86_400);

/// So long it is remembered what became of one.
const REMEMBERED: Span = Span::from_secs(30 * 86_400);

/// Where a report stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    New,
    Held,
    Queued,
    Sent,
    Refused,
    Dropped,
    Withdrawn,
    Empty,
}

impl State {
    /// Those that wait, and then those that do not.
    pub(crate) const ALL: [(State, &'static str); 8] = [
        (State::New, "new"),
        (State::Held, "held"),
        (State::Queued, "queued"),
        (State::Sent, "sent"),
        (State::Refused, "refused"),
        (State::Dropped, "dropped"),
        (State::Withdrawn, "withdrawn"),
        (State::Empty, "empty"),
    ];

    pub(crate) fn name(self) -> &'static str {
        State::ALL.iter().find(|(state, _)| *state == self).map_or("new", |(_, name)| name)
    }
}

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: i64,
    /// Whom the jail banned.
    pub(crate) prefix: Prefix,
    pub(crate) jail: JailName,
    /// When.
    pub(crate) made: Timestamp,
    /// What is told, once that is known.
    pub(crate) report: Option<Report>,
    /// Why it ended as it did.
    pub(crate) note: String,
}

impl Outbox {
    /// Notes that a banned attacker is to be reported, unless that was done lately, or is about to be. Of what was dropped
    /// nobody was told; but what the operator dropped does not come again so soon.
    /// # Errors
    /// [`OutboxError`]
    pub(in super::super) fn intend(
        &self,
        (to, prefix): (&Destination, Prefix),
        jail: &JailName,
        made: Timestamp,
    ) -> Result<(), OutboxError> {
        let (name, prefix) = (report_name(to.name()), prefix.to_string());
        let work = || {
            let lately: i64 = self.db.query_row(
                "SELECT count(*) FROM reports WHERE destination = ?1 AND prefix = ?2 AND (state IN ('new', 'held', 'queued')
                    OR ((state IN ('sent', 'refused') OR (state = 'dropped' AND note = 'by the operator'))
                        AND settled > ?3 AND settled <= ?4))",
                // What was told by a clock that was ahead is no news, and no hold until that time comes.
                params![name, prefix, (made - to.cool_down).millis(), (made + to.cool_down).millis()],
                |row| row.get(0),
            )?;
            if lately > 0 {
                return Ok(());
            }
            let sql = "INSERT INTO reports(destination, addr, prefix, jail, made, state)
                VALUES (?1, '', ?2, ?3, ?4, 'new')";
            self.db.execute(sql, params![name, prefix, jail.as_str(), made.millis()]).map(drop)
        };
        work().map_err(self.failed("write"))
    }

    /// Forgets what was settled long ago, and the oldest of those that are too many.
    /// # Errors
    /// [`OutboxError`]
    pub(in super::super) fn tidy(&self, to: &Destination, now: Timestamp) -> Result<(), OutboxError> {
        let name = report_name(to.name());
        let work = || {
            self.db.execute(
                "UPDATE reports SET state = 'dropped', note = 'too many waited', settled = ?3 WHERE destination = ?1
                    AND state IN ('new', 'held', 'queued') AND id NOT IN (SELECT id FROM reports WHERE destination = ?1
                        AND state IN ('new', 'held', 'queued') ORDER BY id DESC LIMIT ?2)",
                params![name, MOST_WAITING, now.millis()],
            )?;
            let forgotten = (now - REMEMBERED.max(to.cool_down)).millis();
            let sql = "DELETE FROM reports WHERE destination = ?1 AND settled < ?2";
            self.db.execute(sql, params![name, forgotten]).map(drop)
        };
        work().map_err(self.failed("write"))
    }

    /// What waited too long for its review, or for its turn, is no news any more.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn expire(&self, to: &Destination, now: Timestamp) -> Result<(), OutboxError> {
        let sql = "UPDATE reports SET state = 'dropped', note = 'it waited for a week', settled = ?2
            WHERE destination = ?1 AND state IN ('held', 'queued') AND made < ?3";
        let values = params![report_name(to.name()), now.millis(), (now - OLDEST).millis()];
        self.db.execute(sql, values).map(drop).map_err(self.failed("write"))
    }

    /// Nobody is to be told of this ban any more.
    /// # Errors
    /// [`OutboxError`]
    pub(in super::super) fn withdraw(&self, prefix: Prefix, now: Timestamp) -> Result<(), OutboxError> {
        let sql = "UPDATE reports SET state = 'withdrawn', note = 'the ban was lifted', settled = ?2
            WHERE prefix = ?1 AND state IN ('new', 'held', 'queued')";
        let done = self.db.execute(sql, params![prefix.to_string(), now.millis()]);
        done.map(drop).map_err(self.failed("write"))
    }

    /// Those of a destination that stand there, the oldest first, at most so many.
    /// # Errors
    /// [`OutboxError`]
    pub(crate) fn reports(&self, to: &str, state: State, most: u32) -> Result<Vec<Row>, OutboxError> {
        self.rows((to, state, most), i64::MAX)
    }

    /// Those whose turn it is: what was tried in vain comes after what was not.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn ready(&self, to: &str, most: u32, now: Timestamp) -> Result<Vec<Row>, OutboxError> {
        self.rows((to, State::Queued, most), now.millis())
    }

    fn rows(&self, (to, state, most): (&str, State, u32), now: i64) -> Result<Vec<Row>, OutboxError> {
        let work = || {
            let sql = "SELECT id, prefix, jail, made, report, note FROM reports WHERE destination = ?1 AND state = ?2
                AND (not_before <= ?4 OR not_before > ?5) ORDER BY not_before, id LIMIT ?3";
            let mut statement = self.db.prepare_cached(sql)?;
            // Nothing is postponed for so long: the clock was ahead then.
            let ahead = now.saturating_add(DAY.millis().cast_signed());
            let mut rows = statement.query(params![report_name(to), state.name(), most, now, ahead])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let prefix = row.get::<_, String>(1)?.parse::<Prefix>();
                let (Ok(prefix), Ok(jail)) = (prefix, JailName::new(&row.get::<_, String>(2)?)) else {
                    continue;
                };
                found.push(Row {
                    id: row.get(0)?,
                    prefix,
                    jail,
                    made: Timestamp::from_millis(row.get(3)?),
                    report: row
                        .get::<_, Option<String>>(4)?
                        .and_then(|text| serde_json::from_str(&text).ok()),
                    note: row.get(5)?,
                });
            }
            Ok(found)
        };
        work().map_err(self.failed("read"))
    }

    /// How many of a destination stand where.
    /// # Errors
    /// [`OutboxError`]
    pub(crate) fn counts(&self, to: &str) -> Result<Vec<(String, u64)>, OutboxError> {
        let work = || {
            let sql = "SELECT state, count(*) FROM reports WHERE destination = ?1 GROUP BY state";
            let mut statement = self.db.prepare(sql)?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
            statement.query_map([report_name(to)], row)?.collect::<Result<_, _>>()
        };
        work().map_err(self.failed("read"))
    }

    /// How many reports of a destination were reviewed and approved.
    /// # Errors
    /// [`OutboxError`]
    pub(crate) fn approved(&self, to: &str) -> Result<u32, OutboxError> {
        let sql = "SELECT coalesce(max(approved), 0) FROM destinations WHERE name = ?1";
        self.db.query_row(sql, [report_name(to)], |row| row.get(0)).map_err(self.failed("read"))
    }

    /// What is to be told is known: it waits for its review, or for its turn.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn gathered(&self, id: i64, report: &Report, state: State) -> Result<(), OutboxError> {
        let text = serde_json::to_string(report).unwrap_or_default();
        let sql = "UPDATE reports SET report = ?2, addr = ?3, state = ?4 WHERE id = ?1 AND state = 'new'";
        let done = self.db.execute(sql, params![id, text, report.addr.to_string(), state.name()]);
        done.map(drop).map_err(self.failed("write"))
    }

    /// It is not tried again before this.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn postpone(&self, id: i64, until: Timestamp) -> Result<(), OutboxError> {
        let done =
            self.db.execute("UPDATE reports SET not_before = ?2 WHERE id = ?1", params![id, until.millis()]);
        done.map(drop).map_err(self.failed("write"))
    }

    /// It came to an end.
    /// # Errors
    /// [`OutboxError`]
    pub(super) fn settle(
        &self,
        id: i64,
        state: State,
        note: &str,
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        let sql = "UPDATE reports SET state = ?2, note = ?3, settled = ?4 WHERE id = ?1";
        let done = self.db.execute(sql, params![id, state.name(), note, now.millis()]);
        done.map(drop).map_err(self.failed("write"))
    }

    /// The operator has looked at one: what is held may be approved, what has not left yet dropped. False if it is too late.
    /// # Errors
    /// [`OutboxError`]
    pub(crate) fn review(&mut self, id: i64, approves: bool, now: Timestamp) -> Result<bool, OutboxError> {
        let failed = self.failed("write");
        let tx = self.db.savepoint().map_err(&failed)?;
        let work = || {
            let changed = match approves {
                true => {
                    tx.execute("UPDATE reports SET state = 'queued' WHERE id = ?1 AND state = 'held'", [id])?
                }
                false => tx.execute(
                    "UPDATE reports SET state = 'dropped', note = 'by the operator', settled = ?2
                        WHERE id = ?1 AND state IN ('held', 'queued')",
                    params![id, now.millis()],
                )?,
            };
            if approves && changed > 0 {
                tx.execute(
                    "UPDATE destinations SET approved = approved + 1
                        WHERE name = (SELECT destination FROM reports WHERE id = ?1)",
                    [id],
                )?;
            }
            Ok(changed > 0)
        };
        let changed = work().map_err(&failed)?;
        tx.commit().map_err(&failed)?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pillory_core::config::{raw, resolve};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// What is done with an outbox in a directory that is gone with it.
    fn with_outbox(name: &str, work: impl FnOnce(&Outbox, &Destination)) {
        let directory = std::env::temp_dir().join(format!("pillory-queue-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let text = "[report.abuseipdb]\nkey_file = \"/srv/key\"\ncool_down = \"1d\"\n";
        let config = resolve::resolve(&raw::parse("p", text).unwrap()).unwrap();
        work(&Outbox::open(&directory).unwrap(), &config.outgoing.reports[0]);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    fn intend(outbox: &Outbox, to: &Destination, addr: &str, made: Timestamp) {
        outbox.intend((to, addr.parse().unwrap()), &JailName::new("sshd").unwrap(), made).unwrap();
    }

    fn those(outbox: &Outbox, to: &Destination, state: State) -> Vec<Row> {
        outbox.reports(to.name(), state, 10).unwrap()
    }

    #[test]
    fn a_cool_down_begins_when_the_report_left() {
        with_outbox("cool", |outbox, to| {
            let hours = |hours: u64| NOW + Span::from_secs(hours * 3_600);
            intend(outbox, to, "192.0.2.7/32", NOW);
            let id = those(outbox, to, State::New)[0].id;
            // It waited two days for its review.
            outbox.settle(id, State::Sent, "", hours(48)).unwrap();
            intend(outbox, to, "192.0.2.7/32", hours(71));
            assert_eq!(those(outbox, to, State::New).len(), 0);
            intend(outbox, to, "192.0.2.7/32", hours(73));
            assert_eq!(those(outbox, to, State::New).len(), 1);
        });
    }

    #[test]
    fn only_what_was_told_cools_down_and_no_clock_that_was_ahead_makes_it_longer() {
        with_outbox("told", |outbox, to| {
            let hours = |hours: u64| NOW + Span::from_secs(hours * 3_600);
            let is_intended = |addr: &str, made| {
                let before = those(outbox, to, State::New).len();
                intend(outbox, to, addr, made);
                those(outbox, to, State::New).len() > before
            };
            for (addr, (state, note), settled, expected) in [
                ("192.0.2.7/32", (State::Dropped, "too many waited"), hours(1), true),
                ("192.0.2.6/32", (State::Dropped, "by the operator"), hours(1), false),
                ("192.0.2.8/32", (State::Refused, ""), hours(1), false),
                ("192.0.2.9/32", (State::Sent, ""), hours(1), false),
                // The clock was set back by a year.
                ("192.0.2.10/32", (State::Sent, ""), hours(365 * 24), true),
            ] {
                assert!(is_intended(addr, NOW));
                let id = those(outbox, to, State::New).last().unwrap().id;
                outbox.settle(id, state, note, settled).unwrap();
                assert_eq!(is_intended(addr, hours(2)), expected, "{addr} {state:?}");
            }
            let id = those(outbox, to, State::New)[0].id;
            let ready = |at| outbox.rows((to.name(), State::New, 10), Timestamp::millis(at)).unwrap().len();
            let all = ready(hours(2));
            outbox.postpone(id, hours(3)).unwrap();
            assert_eq!((ready(hours(2)), ready(hours(3))), (all - 1, all));
            outbox.postpone(id, hours(365 * 24)).unwrap();
            assert_eq!(ready(hours(2)), all);
        });
    }

    #[test]
    fn what_waits_for_a_week_is_dropped() {
        with_outbox("week", |outbox, to| {
            let report = Report {
                addr: [192, 0, 2, 7].into(),
                jail: JailName::new("sshd").unwrap(),
                first: NOW,
                last: NOW,
                tries: 1,
                names: Vec::new(),
                lines: Vec::new(),
            };
            for (addr, state) in [("192.0.2.7/32", State::Held), ("192.0.2.8/32", State::Queued)] {
                intend(outbox, to, addr, NOW);
                let id = those(outbox, to, State::New)[0].id;
                outbox.gathered(id, &report, state).unwrap();
            }
            intend(outbox, to, "192.0.2.9/32", NOW + OLDEST);
            outbox.expire(to, NOW + OLDEST).unwrap();
            assert_eq!(those(outbox, to, State::Dropped).len(), 0);
            outbox.expire(to, NOW + OLDEST + Span::from_secs(1)).unwrap();
            let dropped = those(outbox, to, State::Dropped);
            assert_eq!((dropped.len(), dropped[0].note.as_str()), (2, "it waited for a week"));
            assert_eq!(those(outbox, to, State::New).len(), 1);
        });
    }
}
