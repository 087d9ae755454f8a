//! Lines in fail2ban's form: in the log for each ban and unban, and in the log that `fail2ban_log` names for failures, too.
//!
//! `2026-01-02 03:04:05,678 fail2ban.actions        [7]: NOTICE  [sshd] Ban 192.0.2.1`

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use pillory_core::event::JailName;
use pillory_core::ledger::Ban;
use pillory_core::time::{Span, Timestamp};
use tracing::Level;

use crate::clock;

use super::queue::{self, Line};
use super::{IS_JSON, banlog};

/// So many bans that a start took over are told one by one, the newest: each takes room in the queue.
const MOST_RESTORED: usize = 10_000;

/// A failure so soon after the ban was under way already.
const UNDER_WAY: Span = Span::from_secs(3);

/// A failure so long after the ban should not have come through.
const LATE: Span = Span::from_secs(60);

/// A ban or an end of one, in both.
///
/// Not as JSON: there the line before says the same, and every line is an object.
pub(super) fn told(jail: &JailName, who: &str, what: &str) {
    if !IS_JSON.load(Ordering::Relaxed) {
        let line = action_line("pillory.actions", jail, &format!("{what} {who}"));
        super::line(Level::INFO, &line, &[("jail", jail.as_str()), ("ip", who)]);
    }
    to_file(jail, who, what);
}

/// The same in the file only.
pub(super) fn to_file(jail: &JailName, who: &str, what: &str) {
    write(|| action_line("fail2ban.actions", jail, &format!("{what} {who}")));
}

/// True if somebody wants to read failures.
pub(crate) fn wants_failures() -> bool {
    banlog::file().is_some()
}

/// A failure of `who` at `time`; `banned_for`: how long the jail has banned it already.
pub(crate) fn failure(jail: &JailName, who: &str, time: Timestamp, banned_for: Option<Span>) {
    let at = stamp(clock::read().on_the_wall(time));
    write(|| in_its_form("fail2ban.filter", "INFO", &format!("[{jail}] Found {who} - {at}")));
    let Some(since) = banned_for.filter(|since| *since >= UNDER_WAY) else { return };
    let level = if since < LATE { "NOTICE" } else { "WARNING" };
    write(|| in_its_form("fail2ban.actions", level, &format!("[{jail}] {who} already banned")));
}

/// Bans that a start took over.
pub(crate) fn restored(bans: impl Iterator<Item = Ban>) {
    if !wants_failures() {
        return;
    }
    let mut newest = BTreeSet::new();
    for ban in bans {
        newest.insert((ban.since, ban.prefix, ban.jail));
        if newest.len() > MOST_RESTORED {
            newest.pop_first();
        }
    }
    newest.iter().for_each(|(_, prefix, jail)| to_file(jail, &prefix.short(), "Restore Ban"));
}

fn write(line: impl FnOnce() -> String) {
    if let Some(file) = banlog::file() {
        queue::push(Line::Bans(file, line()));
    }
}

/// Its own name stands in its own log in the place of ours, because filters look for that.
fn action_line(name: &str, jail: &JailName, what: &str) -> String {
    in_its_form(name, "NOTICE", &format!("[{jail}] {what}"))
}

fn in_its_form(name: &str, level: &str, text: &str) -> String {
    let now = clock::read().wall;
    let (millis, pid) = (now.millis().rem_euclid(1000), std::process::id());
    format!("{},{millis:03} {name:<24}[{pid}]: {level:<7} {text}\n", stamp(now))
}

fn stamp(at: Timestamp) -> String {
    let stamp = jiff::Timestamp::from_millisecond(at.millis()).unwrap_or_default();
    stamp.to_zoned(clock::zone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}
