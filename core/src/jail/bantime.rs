//! Memory of past bans: how far up the ladder a prefix has climbed.

use std::collections::HashMap;

use crate::net::Prefix;
use crate::time::{Span, Timestamp};

/// How often each prefix was banned, as far as remembered.
#[derive(Debug)]
pub struct PastBans {
    bans: HashMap<Prefix, (u32, Timestamp)>,
    memory: Span,
}

impl Default for PastBans {
    fn default() -> PastBans {
        PastBans { bans: HashMap::new(), memory: Span::from_secs(90 * 86_400) }
    }
}

impl PastBans {
    /// Sets how long a ban is remembered after it began (`retention`).
    pub fn set_memory(&mut self, memory: Span) {
        self.memory = memory;
    }

    /// How long a ban is remembered.
    pub fn memory(&self) -> Span {
        self.memory
    }

    /// Notes that a ban of `prefix` began.
    pub fn began(&mut self, prefix: Prefix, when: Timestamp) {
        let entry = self.bans.entry(prefix).or_insert((0, when));
        entry.0 = entry.0.saturating_add(1);
        entry.1 = entry.1.max(when);
    }

    /// Takes a prefix's past back to nothing.
    pub fn forget(&mut self, prefix: Prefix) {
        self.bans.remove(&prefix);
    }

    /// How many bans of `prefix` are remembered.
    pub fn count(&self, prefix: Prefix) -> u32 {
        self.bans.get(&prefix).map_or(0, |(count, _)| *count)
    }

    /// Forgets prefixes whose last ban began too long ago.
    pub fn sweep(&mut self, now: Timestamp) {
        let memory = self.memory;
        self.bans.retain(|_, (_, last)| now.since(*last) < memory);
    }
}
