//! A wall clock that was set back: the daemon's time goes on slower until they meet, and the kernel is told so.

use pillory_core::time::Span;
use tracing::warn;

use crate::clock::Reading;
use crate::kernel::Job;

use super::Engine;

/// The wall clock was set back if it is this much further behind the daemon's time than before.
const SET_BACK_MS: u64 = 1_000;

/// From here on it is said how far it is behind.
const SAID_BEHIND: Span = Span::from_secs(60);

const CLOCK_BEHIND: &str = "the wall clock shows less than was seen before: the daemon's time goes on, a sixteenth slower, until they meet; \
    bans made meanwhile last up to a fifteenth longer";

impl Engine {
    /// What the kernel was told to end lasts longer once the wall clock was set back.
    pub(super) fn heed_clock(&mut self, read: Reading) {
        let ahead = read.ahead();
        if ahead.millis() > self.ahead.millis() + SET_BACK_MS {
            self.ahead = ahead;
            if self.machine.is_enforcing() {
                self.healing = self.jobs + 1;
                self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
            }
        }
        self.ahead = self.ahead.min(ahead);
        if ahead < SAID_BEHIND {
            self.warnings.remove("clock");
        } else if !self.warnings.contains_key("clock") {
            warn!(behind = %ahead, "{CLOCK_BEHIND}");
            self.warnings.insert("clock".into(), CLOCK_BEHIND.to_owned());
        }
    }
}
