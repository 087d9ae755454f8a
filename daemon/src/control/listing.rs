//! Long answers, written piece by piece: a client that does not read keeps one piece waiting, not all of it.
//!
//! What a listing is of is told first, prefixes or numbers of rows, and then some of these at a time are asked for. So
//! nothing is held open meanwhile, neither by the engine nor in the store, and what ends while a client reads may be
//! missing. On the wire it is one [`Reply`] all the same.

use std::io::{Error, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::bounded;
use rusqlite::Connection;
use serde_json::Value;

use crate::store;
use crate::store::query::{self, Wanted};

use super::server::{Desk, answer, attempt_value, history_value};
use super::{Reply, Request};

/// So many bans or rows are a piece, some 60 KiB.
const PIECE: usize = 256;

/// A reply whose data is an array that is written while it comes.
struct Array<'s> {
    stream: &'s UnixStream,
    is_empty: bool,
}

impl<'s> Array<'s> {
    fn begin(mut stream: &'s UnixStream, message: &str) -> Result<Array<'s>> {
        write!(stream, "{{\"exit\":0,\"message\":{},\"value\":[", Value::from(message))?;
        Ok(Array { stream, is_empty: true })
    }

    fn add(&mut self, values: &[Value]) -> Result<()> {
        let mut text = String::new();
        for value in values {
            if !std::mem::take(&mut self.is_empty) {
                text.push(',');
            }
            text.push_str(&value.to_string());
        }
        self.stream.write_all(text.as_bytes())
    }

    fn end(mut self) -> Result<()> {
        self.stream.write_all(b"]}\n")
    }
}

/// The bans in force, by prefix.
pub(super) fn bans(stream: &UnixStream, desk: &Desk) -> Result<()> {
    let (prefixes, banned) = bounded(1);
    let begin = desk.ask(Request::Banned(prefixes));
    let Ok(banned) = banned.recv() else { return answer(stream, &begin) };
    let mut array = Array::begin(stream, &begin.message)?;
    for piece in banned.chunks(PIECE) {
        // Half an answer is none: the client sees that it broke off.
        let reply = desk.ask(Request::BansOf(piece.to_vec()));
        let bans = reply.value.as_array().ok_or_else(|| Error::other(reply.message.clone()))?;
        array.add(bans)?;
    }
    array.end()
}

/// Which rows of the store are listed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    Attempts,
    History,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Table::Attempts => "attempts",
            Table::History => "history",
        }
    }

    fn numbers(self, db: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<i64>> {
        match self {
            Table::Attempts => query::attempts_as(db, wanted, |id, _| id),
            Table::History => query::history_as(db, wanted, |id, _| id),
        }
    }

    fn values(self, db: &Connection, wanted: &Wanted) -> rusqlite::Result<Vec<Value>> {
        match self {
            Table::Attempts => query::attempts_as(db, wanted, |_, attempt| attempt_value(&attempt)),
            Table::History => query::history_as(db, wanted, |_, row| history_value(&row)),
        }
    }
}

/// Rows of the store; with `follow` those too that come later, until `stop` is raised.
pub(super) fn rows(
    (stream, state_dir): (&UnixStream, &Path),
    table: Table,
    mut wanted: Wanted,
    follow: bool,
    stop: &AtomicBool,
) -> Result<()> {
    let db = match store::open_read_only(state_dir) {
        Ok(db) => db,
        Err(error) => return answer(stream, &Reply::say(1, error.to_string())),
    };
    loop {
        // What comes after this is for the next time, also if it happened long ago: good logins that are just being learnt.
        let found =
            query::newest_id(&db, table.name()).and_then(|newest| Ok((newest, table.numbers(&db, &wanted)?)));
        let (newest, mut numbers) = match found {
            Ok(found) => found,
            Err(error) => return answer(stream, &Reply::say(1, format!("cannot read the store: {error}"))),
        };
        numbers.retain(|number| *number <= newest);
        (wanted.after_id, wanted.last) = (newest, 0);
        // While following, an empty line every time shows whether the client is still there.
        let mut array = Array::begin(stream, "")?;
        for piece in numbers.chunks(PIECE) {
            let these = Wanted { only: Some(piece.to_vec()), ..Wanted::default() };
            array.add(&table.values(&db, &these).map_err(Error::other)?)?;
        }
        array.end()?;
        if !follow || stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(250));
    }
}
