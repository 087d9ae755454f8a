//! The only reader of clocks. Everything else is told the time.
#![allow(clippy::disallowed_methods)]

use std::borrow::Cow;
use std::ffi::OsStr;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use pillory_core::time::Timestamp;

/// A larger file is none of a time zone; those that there are have a few kilobytes.
const MAX_ZONE_BYTES: u64 = 1024 * 1024;

const ZONE_CURE: &str = "set TZ to a name such as Europe/Berlin, or unset it";

/// The wall clock's time now.
pub(crate) fn now() -> Timestamp {
    #[cfg(test)]
    if let Some(now) = simulated::now() {
        return now;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = match since {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    };
    Timestamp::from_millis(millis)
}

/// The clock of a simulation, which is its thread's alone.
#[cfg(test)]
pub(crate) mod simulated {
    use super::Timestamp;
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<Option<Timestamp>> = const { Cell::new(None) };
    }

    /// From now on it is this time for the calling thread.
    pub(crate) fn set(now: Timestamp) {
        NOW.set(Some(now));
    }

    /// True if the calling thread simulates.
    pub(crate) fn is_on() -> bool {
        now().is_some()
    }

    pub(super) fn now() -> Option<Timestamp> {
        NOW.get()
    }
}

/// The zone of this host, for stamps that carry none and for people; UTC if it cannot be used.
pub(crate) fn zone() -> TimeZone {
    match zone_problem() {
        None => TimeZone::system(),
        Some(_) => TimeZone::UTC,
    }
}

/// What is wrong with the zone that `TZ` or `/etc/localtime` names, and what to do.
pub(crate) fn zone_problem() -> Option<&'static str> {
    static PROBLEM: OnceLock<Option<String>> = OnceLock::new();
    PROBLEM.get_or_init(find_zone_problem).as_deref()
}

fn find_zone_problem() -> Option<String> {
    let from_env = std::env::var_os("TZ").filter(|value| !value.is_empty());
    let name = from_env.as_deref().map_or(Cow::Borrowed("/etc/localtime"), OsStr::to_string_lossy);
    let path = name.strip_prefix(':').unwrap_or(&name);
    // Whatever the name leads to is read to its end: a device has none, and a pipe waits for its writer.
    if let Ok(status) = std::fs::metadata(path)
        && !status.is_dir()
        && (!status.is_file() || status.len() > MAX_ZONE_BYTES)
    {
        return Some(format!("{path} is no file of a time zone; {ZONE_CURE}"));
    }
    let is_unknown = from_env.is_some() && TimeZone::try_system().is_err();
    is_unknown.then(|| format!("TZ={name} is no time zone; {ZONE_CURE}"))
}

/// Measures how long something takes, unmoved by steps of the wall clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub(crate) fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Clock ticks since boot, as the kernel stamps the start of processes: hundredths of a second on every machine that
/// Linux runs on today.
pub(crate) fn boot_ticks() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.unsigned_abs() * 100 + now.tv_nsec.unsigned_abs() / 10_000_000
}

/// The clock that never steps; for waits only.
pub(crate) fn instant() -> Instant {
    Instant::now()
}
