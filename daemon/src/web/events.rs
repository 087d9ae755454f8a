//! Events as they happen: attempts, and what becomes of bans, told as they come into the store.
//!
//! Each follower asks the store by itself, as `attempts -f` does, so nothing is done while nobody follows. Who does not read
//! is dropped, and a browser comes back by itself.

use std::fmt::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use crate::clock::Stopwatch;
use crate::control::glance::shown_attempt;
use crate::control::server::history_value;
use crate::escape::escape;
use crate::store;
use crate::store::query::{self, Wanted};
use crate::store::shared::SharedNames;
use crate::wake::Wake;

use super::response::{begin_events, write};

/// At most so many follow.
const MOST_FOLLOWERS: usize = 8;

/// How often the store is asked.
const EVERY: Duration = Duration::from_millis(250);

/// So many of each kind are told at a time, the newest; a flood is not.
const MOST_AT_ONCE: usize = 20;

/// Something is said at least this often, so that who went away is noticed.
const ALIVE: Duration = Duration::from_secs(15);

/// A follower who takes longer to read is dropped; the kernel keeps no more than this for one.
const PATIENCE: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 64 * 1024;

/// Then a browser begins anew.
const LONGEST: Duration = Duration::from_secs(3600);

/// The place of a follower.
#[derive(Debug)]
pub(super) struct Seat {
    taken: Arc<AtomicUsize>,
    state_dir: PathBuf,
}

impl Seat {
    /// Nothing if all are taken.
    pub(super) fn take(taken: &Arc<AtomicUsize>, state_dir: &std::path::Path) -> Option<Seat> {
        let seat = Seat { taken: Arc::clone(taken), state_dir: state_dir.to_owned() };
        // One too many gives its place back when it is dropped.
        (taken.fetch_add(1, Ordering::SeqCst) < MOST_FOLLOWERS).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What was told so far.
struct Told {
    attempt: i64,
    turn: i64,
}

/// Tells events until the follower goes, or `wake` is raised.
pub(super) fn run(stream: &UnixStream, seat: &Seat, wake: &Wake) -> std::io::Result<()> {
    rustix::net::sockopt::set_socket_send_buffer_size(stream, BUFFER_BYTES)?;
    let failed = |error: rusqlite::Error| std::io::Error::other(error);
    let db = store::open_read_only(&seat.state_dir).map_err(std::io::Error::other)?;
    let newest = |table| query::newest_id(&db, table).map_err(failed);
    let mut told = Told { attempt: newest("attempts")?, turn: newest("history")? };
    begin_events(stream)?;
    write(stream, b"retry: 1000\nevent: hello\ndata: {}\n\n", PATIENCE)?;
    let (begun, mut silent) = (Stopwatch::start(), Stopwatch::start());
    while !wake.is_raised_within(EVERY) && begun.elapsed() < LONGEST {
        let mut text = news(&db, &mut told).map_err(failed)?;
        if text.is_empty() && silent.elapsed() >= ALIVE {
            text.push_str(":\n\n");
        }
        if !text.is_empty() {
            write(stream, text.as_bytes(), PATIENCE)?;
            silent = Stopwatch::start();
        }
    }
    Ok(())
}

fn news(db: &Connection, told: &mut Told) -> rusqlite::Result<String> {
    let mut text = String::new();
    let (attempt, turn) = (query::newest_id(db, "attempts")?, query::newest_id(db, "history")?);
    if attempt > told.attempt {
        let wanted = Wanted { last: MOST_AT_ONCE, after_id: told.attempt, ..Wanted::default() };
        for (_, attempt) in query::attempts(db, &wanted)? {
            tell(&mut text, "attempt", shown_attempt(&attempt, SharedNames(db)));
        }
    }
    if turn > told.turn {
        let wanted = Wanted { last: MOST_AT_ONCE, after_id: told.turn, ..Wanted::default() };
        for (_, row) in query::history(db, &wanted)? {
            let mut value = history_value(&row);
            value["prefix"] = row.prefix.short().into();
            tell(&mut text, "ban", value);
        }
    }
    // A store that begins anew counts from one.
    (told.attempt, told.turn) = (attempt, turn);
    Ok(text)
}

/// What a page shows as it is, so hostile characters are escaped here.
fn tell(text: &mut String, event: &str, mut value: Value) {
    for field in value.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
        if let Some(word) = field.as_str() {
            *field = escape(word).into();
        }
    }
    let _ = write!(text, "event: {event}\ndata: {value}\n\n");
}
