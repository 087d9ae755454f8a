//! What the service manager is told (sd_notify(3)): ready, reloading, stopping, still alive. Nobody, if there is none.

use std::path::Path;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::clock::Stopwatch;

/// Where units are looked for. Source: systemd.unit(5), "UNIT FILE LOAD PATH".
const UNITS: [&str; 6] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator",
];

/// True where systemd runs and has a unit of ours.
pub(crate) fn has_unit() -> bool {
    let mut units = UNITS.iter().map(|directory| Path::new(directory).join("pillory.service"));
    Path::new("/run/systemd/system").exists() && units.any(|unit| unit.exists())
}

/// Everything is watched and the kernel agrees with the ledger; after a reload again.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// A reload begins; [`ready`] ends it.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The end begins.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    // Without a manager there is nobody to tell, and one that does not listen is none.
    let _ = sd_notify::notify(state);
}

/// Says now and then that the engine goes round, if the manager asked for it (`WatchdogSec=`).
#[derive(Debug)]
pub(crate) struct Watchdog {
    every: Option<Duration>,
    last: Stopwatch,
}

impl Watchdog {
    /// As the environment says.
    pub(crate) fn new() -> Watchdog {
        // Half of the time after which the manager loses patience, as it recommends.
        let every = sd_notify::watchdog_enabled().map(|patience| patience / 2);
        Watchdog { every, last: Stopwatch::start() }
    }

    /// To be called in every round.
    pub(crate) fn pat(&mut self) {
        // A little early, for a round that is due at the very moment may come just before it.
        if self.every.is_some_and(|every| self.last.elapsed() >= every * 9 / 10) {
            tell(&[NotifyState::Watchdog]);
            self.last = Stopwatch::start();
        }
    }

    /// How long the engine may sleep at most.
    pub(crate) fn patience(&self) -> Duration {
        self.every.unwrap_or(Duration::MAX)
    }
}
