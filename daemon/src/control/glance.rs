//! What `top` and the dashboard show beside the status: the last hour, the newest attempts and bans.
//!
//! Names that may be somebody's password are left out here, so they reach neither.

use rusqlite::{Connection, Result};
use serde_json::{Value, json};

use pillory_core::event::Attempt;

use crate::clock;
use crate::store::glance::glance;
use crate::store::query::{self, Wanted};
use crate::store::shared::SharedNames;

use super::server::{attempt_value, history_value};
use super::stamp;

/// So many of the newest attempts and bans are told.
const NEWEST: usize = 20;

/// What stands where a name would.
pub(crate) const HIDDEN: &str = "(hidden)";

pub(super) fn value(db: &Connection) -> Result<Value> {
    let (names, glance) = (SharedNames(db), glance(db, clock::now())?);
    let newest = Wanted { last: NEWEST, ..Wanted::default() };
    let mut attempts = query::attempts_as(db, &newest, |_, attempt| shown_attempt(&attempt, names))?;
    let mut bans = query::history_as(db, &newest, |_, row| history_value(&row))?;
    attempts.reverse();
    bans.reverse();
    let pairs = |key: &str, all: &[(String, u64)]| -> Vec<Value> {
        all.iter().map(|(name, attempts)| json!({key: name, "attempts": attempts})).collect()
    };
    Ok(json!({
        "minutes": glance.minutes.to_vec(),
        "since": stamp(glance.since),
        "offenders": pairs("ip", &glance.offenders),
        "users": pairs("user", &glance.users),
        "users_hidden": glance.hidden.0,
        "attempts_hidden": glance.hidden.1,
        "attempts": attempts,
        "bans": bans,
    }))
}

/// An attempt as `attempts --json` has it, with a name only if it may be shown.
pub(crate) fn shown_attempt(attempt: &Attempt, names: SharedNames<'_>) -> Value {
    let mut value = attempt_value(attempt);
    hide(&mut value["user"], names);
    value
}

/// Puts [`HIDDEN`] where a name stands that may not be shown.
pub(crate) fn hide(user: &mut Value, names: SharedNames<'_>) {
    if user.as_str().is_some_and(|user| !names.shows(user)) {
        *user = HIDDEN.into();
    }
}
