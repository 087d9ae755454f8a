//! What the store knows beside what the engine answers: the effect so far for `status`, evidence and history for
//! `explain`. Read by the client's own thread, so that the engine never waits for the disk; where the store cannot be
//! read these fields are null, and everything else is told all the same.

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use rusqlite::{Connection, ErrorCode, OpenFlags, Result};
use serde_json::{Map, Value, json};

use pillory_core::event::Attempt;
use pillory_core::ledger::projection::is_point;
use pillory_core::net::Prefix;
use pillory_core::time::Span;

use crate::clock;
use crate::engine::learning::{Learning, META_LEARNT};
use crate::kernel::Job;
use crate::outgoing::outbox;
use crate::store;
use crate::store::query::{self, Wanted};

use super::server::{attempt_value, history_value};
use super::{Request, glance, stamp};

/// At most so many attempts are shown as the evidence of one ban, and so many rows of history.
const SHOWN: usize = 50;

/// So many of the latest bans are told with a status.
const LATEST: usize = 3;

/// What came so lately is compared with the time before the first start.
const COMPARED: Span = Span::from_secs(7 * 86_400);

const DAY_S: f64 = 86_400.0;

/// How long the kernel's thread may be busy with a large change before a client is answered without its counters.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which answer is told more of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum About {
    Status,
    Glance,
    Explain(Prefix),
    Nothing,
}

impl About {
    pub(super) fn of(request: &Request) -> About {
        match request {
            Request::Status => About::Status,
            Request::Glance => About::Glance,
            Request::Explain(prefix) => About::Explain(*prefix),
            _ => About::Nothing,
        }
    }

    /// True if that may take seconds where much is kept.
    pub(crate) fn is_long(self) -> bool {
        matches!(self, About::Explain(_))
    }

    /// Adds the fields to the engine's answer.
    pub(super) fn tell(self, value: &mut Value, state_dir: &Path, kernel: &Sender<Job>) {
        if !value.is_object() || matches!(self, About::Nothing) {
            return;
        }
        let db = store::open_read_only(state_dir).ok();
        let db = db.as_ref();
        if let (About::Status | About::Glance, Some(warnings)) = (self, value["warnings"].as_array_mut()) {
            warnings.extend(unsent(state_dir).into_iter().map(Value::from));
        }
        match self {
            About::Nothing => {}
            About::Status => {
                value["effect"] = effect(db, (value["banaction"] == "nftables").then_some(kernel));
                value["effect"]["a_day"] = db.map_or(Value::Null, a_day);
                value["latest"] = db.and_then(|db| latest(db).ok()).into();
            }
            About::Glance => value["glance"] = db.and_then(|db| glance::value(db).ok()).into(),
            About::Explain(prefix) => {
                value["evidence"] = db.and_then(|db| evidence(db, value, prefix).ok()).into();
                value["seen"] = db.map_or(Value::Null, |db| seen(db, value, prefix));
                value["history"] = db.and_then(|db| history(db, prefix).ok()).into();
            }
        }
    }
}

/// What cannot be sent at present, in words. Asked every second, so it only reads, and waits for nobody who writes.
fn unsent(state_dir: &Path) -> Vec<String> {
    let path = state_dir.join(outbox::FILE);
    // Where it cannot be seen whether it is there, opening says why.
    if path.try_exists().is_ok_and(|is_there| !is_there) {
        return Vec::new();
    }
    let read = || -> Result<Vec<String>> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&path, flags)?;
        db.busy_timeout(Duration::ZERO)?;
        let sql = "SELECT trouble FROM destinations WHERE trouble IS NOT NULL ORDER BY name";
        let mut statement = db.prepare(sql)?;
        statement.query_map([], |row| Ok(format!("cannot send: {}", row.get::<_, String>(0)?)))?.collect()
    };
    read().unwrap_or_else(|cause| match cause.sqlite_error_code() {
        // It is being made, or mended after a crash, at this moment.
        Some(ErrorCode::DatabaseBusy | ErrorCode::Unknown) => Vec::new(),
        _ => vec![format!("cannot read {}: {cause}; check the disk and the file's rights", path.display())],
    })
}

/// `kernel`: whom to ask for counters, if there are some.
fn effect(db: Option<&Connection>, kernel: Option<&Sender<Job>>) -> Value {
    let kept = db.and_then(|db| query::effect(db).ok());
    let (client, answer) = bounded(1);
    let dropped = kernel.and_then(|kernel| {
        kernel.send(Job::Dropped(client)).ok()?;
        answer.recv_timeout(PATIENCE).ok()?
    });
    json!({
        "attempts": kept.map(|kept| kept.attempts),
        "bans": kept.map(|kept| kept.bans),
        "since": kept.and_then(|kept| kept.since).map(stamp),
        "packets_dropped": dropped.map(|dropped| dropped.packets),
        "bytes_dropped": dropped.map(|dropped| dropped.bytes),
    })
}

/// How many attempts a day there were before the first start and are since, of the jails whose old logs were counted; a
/// part that nobody knows is null.
fn a_day(db: &Connection) -> Value {
    let kept = query::meta(db, META_LEARNT).ok().flatten();
    let Some(learning) = Learning::of_kept(kept.as_deref()) else { return Value::Null };
    let now = clock::now();
    let part = |attempts: u64, span: Span| {
        let seconds = span.secs();
        let rate = (seconds > 0).then(|| attempts as f64 * DAY_S / seconds as f64);
        json!({"attempts": attempts, "seconds": seconds, "a_day": rate.map(|rate| (rate * 10.0).round() / 10.0)})
    };
    let before = learning.failed.map(|(attempts, from)| part(attempts, learning.before.since(from)));
    let from = learning.before.max(now - COMPARED);
    let since =
        query::failed_since(db, from, &learning.of).ok().map(|attempts| part(attempts, now.since(from)));
    json!({"first_start": stamp(learning.before), "counted": learning.is_done, "before": before, "since": since})
}

fn latest(db: &Connection) -> Result<Vec<Value>> {
    Ok(query::latest_bans(db, LATEST)?.iter().map(history_value).collect())
}

/// True for a ban by which a jail shuts out the very source that is asked for, for what that source did. A network of
/// neighbours around it was earned by others, each with points of its own, and adds nothing to those of this source.
pub(crate) fn is_of_source(ban: &Value, asked: Prefix) -> bool {
    let prefix = ban["prefix"].as_str().and_then(|text| text.parse::<Prefix>().ok());
    ban["origin"] == "local" && prefix.is_some_and(|prefix| is_point(prefix) && prefix.contains(asked))
}

/// The attempts that led to each ban of the source by a jail; and those that count now, where it is not banned yet.
fn evidence(db: &Connection, value: &mut Value, asked: Prefix) -> Result<Vec<Value>> {
    let findtimes = value["findtime_s"].as_object().cloned().unwrap_or_default();
    let mut found = Vec::new();
    let mut banned_by = Vec::new();
    for ban in value["bans"].as_array().into_iter().flatten().filter(|ban| is_of_source(ban, asked)) {
        found.extend(of_ban(db, ban, &findtimes)?);
        banned_by.push(ban["jail"].clone());
    }
    let subject: Option<Prefix> = value["counted_as"].as_str().and_then(|text| text.parse().ok());
    for jail in value["points"].as_array_mut().into_iter().flatten() {
        let findtime = Span::from_secs(jail["findtime_s"].as_u64().unwrap_or(0));
        let name = jail["jail"].as_str().map(str::to_owned);
        let since = clock::now() - findtime;
        let wanted = Wanted {
            last: SHOWN,
            since: Some(since),
            prefixes: subject.into_iter().collect(),
            jail: name,
            ..Wanted::default()
        };
        let mut newest_first = failures(db, &wanted)?;
        newest_first.reverse();
        let mut counting = until_enough(newest_first, jail["attempts"].as_u64().unwrap_or(0));
        // Points lapse one by one; with the last of them nothing is left.
        jail["until"] = counting.first().map(|last| stamp(last.time + findtime)).into();
        if !banned_by.contains(&jail["jail"]) {
            counting.reverse();
            found.extend(counting);
        }
    }
    Ok(found.iter().map(attempt_value).collect())
}

fn of_ban(db: &Connection, ban: &Value, findtimes: &Map<String, Value>) -> Result<Vec<Attempt>> {
    let prefix = ban["prefix"].as_str().and_then(|text| text.parse::<Prefix>().ok());
    let (Some(prefix), Some(jail)) = (prefix, ban["jail"].as_str()) else { return Ok(Vec::new()) };
    let Some((began, before)) = query::began(db, prefix, jail)? else { return Ok(Vec::new()) };
    let findtime = findtimes.get(jail).and_then(Value::as_u64).unwrap_or(86_400);
    // What came while the ban before was in force did not count.
    let since = (began - Span::from_secs(findtime)).max(before.unwrap_or_default());
    let wanted = Wanted {
        since: Some(since),
        until: Some(began),
        prefixes: vec![prefix],
        jail: Some(jail.to_owned()),
        ..Wanted::default()
    };
    let mut led = until_enough(failures(db, &wanted)?, ban["failures"].as_u64().unwrap_or(0));
    led.drain(..led.len().saturating_sub(SHOWN));
    Ok(led)
}

fn failures(db: &Connection, wanted: &Wanted) -> Result<Vec<Attempt>> {
    let rows = query::attempts(db, wanted)?.into_iter().map(|(_, attempt)| attempt);
    Ok(rows.filter(|attempt| attempt.class.is_some()).collect())
}

/// The first of these attempts, as many as make up `tries`.
fn until_enough(attempts: Vec<Attempt>, tries: u64) -> Vec<Attempt> {
    let mut sum = 0;
    attempts
        .into_iter()
        .take_while(|attempt| {
            let goes_on = sum < tries;
            sum += u64::from(attempt.tries);
            goes_on
        })
        .collect()
}

fn seen(db: &Connection, value: &Value, asked: Prefix) -> Value {
    let subject = value["counted_as"].as_str().and_then(|text| text.parse().ok()).unwrap_or(asked);
    query::seen(db, subject).ok().flatten().map_or(Value::Null, |seen| {
        let user = |(name, attempts): &(String, u64)| json!({"user": name, "attempts": attempts});
        json!({
            "attempts": seen.attempts,
            "first": stamp(seen.first),
            "last": stamp(seen.last),
            "users": seen.users.iter().take(SHOWN).map(user).collect::<Vec<_>>(),
            "users_in_all": seen.users.len(),
        })
    })
}

fn history(db: &Connection, prefix: Prefix) -> Result<Vec<Value>> {
    let wanted = Wanted { last: SHOWN, prefixes: vec![prefix], ..Wanted::default() };
    let mut rows: Vec<_> = query::history(db, &wanted)?.into_iter().map(|(_, row)| row).collect();
    // What an old list told is written when it is imported.
    rows.sort_by_key(|row| row.time);
    Ok(rows.iter().map(history_value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outgoing::outbox::Outbox;

    #[test]
    fn what_cannot_be_sent_is_told_to_onlookers_too_and_no_writer_is_waited_for() {
        let dir = std::env::temp_dir().join(format!("pillory-unsent-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (kernel, _jobs) = bounded(1);
        let told = |about: About| {
            let mut value = json!({"warnings": []});
            about.tell(&mut value, &dir, &kernel);
            value["warnings"].clone()
        };
        assert_eq!(told(About::Glance), json!([]), "without an outbox there is nothing to tell");
        let outbox = Outbox::open(&dir).unwrap();
        outbox
            .connection()
            .execute_batch(
                "INSERT INTO destinations(name, wants, cursor, trouble) VALUES ('notify.a', '', 0, 'no way');
                 BEGIN EXCLUSIVE",
            )
            .unwrap();
        let since = clock::Stopwatch::start();
        assert_eq!(
            [told(About::Glance), told(About::Status)],
            [json!(["cannot send: no way"]), json!(["cannot send: no way"])]
        );
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
        drop(outbox);
        std::fs::write(dir.join(outbox::FILE), "garbage, and no database at all".repeat(99)).unwrap();
        let said = told(About::Glance).to_string();
        assert!(said.contains("cannot read") && said.contains("outbox.db"), "{said}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
