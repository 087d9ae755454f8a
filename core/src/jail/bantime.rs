//! Memory of past bans: how far up the ladder a prefix has climbed.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use crate::event::JailName;
use crate::hash::FastState;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

/// How often each prefix was banned, as far as remembered.
#[derive(Debug)]
pub struct PastBans {
    bans: HashMap<Prefix, (u32, Timestamp)>,
    /// The same for single jails, of those that ask for it.
    by_jail: HashMap<JailName, HashMap<Prefix, u32>>,
    memory: Span,
    seed: FastState,
}

impl Default for PastBans {
    fn default() -> PastBans {
        PastBans {
            bans: HashMap::new(),
            by_jail: HashMap::new(),
            memory: Span::from_secs(90 * 86_400),
            seed: FastState::default(),
        }
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

    /// Counts the bans of these jails for each of them, too.
    pub fn set_jails(&mut self, jails: impl IntoIterator<Item = JailName>) {
        let mut old = std::mem::take(&mut self.by_jail);
        self.by_jail = jails
            .into_iter()
            .map(|jail| {
                let bans = old.remove(&jail).unwrap_or_default();
                (jail, bans)
            })
            .collect();
    }

    /// The jails whose bans are counted for each of them.
    pub fn jails(&self) -> Vec<JailName> {
        self.by_jail.keys().cloned().collect()
    }

    /// How many bans of `prefix` by this jail are remembered; 0 if nobody asked to count them.
    pub fn count_of(&self, prefix: Prefix, jail: &JailName) -> u32 {
        self.by_jail.get(jail).and_then(|bans| bans.get(&prefix)).copied().unwrap_or(0)
    }

    /// A number from 0 up to 1 that nobody outside can foresee.
    pub fn chance(&self, prefix: Prefix, when: Timestamp) -> f64 {
        (self.seed.hash_one((prefix, when)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Notes that a ban of `prefix` by `jail` began.
    pub fn began(&mut self, prefix: Prefix, jail: &JailName, when: Timestamp) {
        if let Some(bans) = self.by_jail.get_mut(jail) {
            let count = bans.entry(prefix).or_default();
            *count = count.saturating_add(1);
        }
        let entry = self.bans.entry(prefix).or_insert((0, when));
        entry.0 = entry.0.saturating_add(1);
        entry.1 = entry.1.max(when);
    }

    /// Forgets one ban of `prefix` by `jail`: it should not have been.
    pub fn undo(&mut self, prefix: Prefix, jail: &JailName) {
        if let Some(count) = self.by_jail.get_mut(jail).and_then(|bans| bans.get_mut(&prefix)) {
            *count = count.saturating_sub(1);
        }
        if let Some((count, _)) = self.bans.get_mut(&prefix) {
            *count = count.saturating_sub(1);
        }
    }

    /// Takes a prefix's past back to nothing.
    pub fn forget(&mut self, prefix: Prefix) {
        self.bans.remove(&prefix);
        for bans in self.by_jail.values_mut() {
            bans.remove(&prefix);
        }
    }

    /// How many bans of `prefix` are remembered.
    pub fn count(&self, prefix: Prefix) -> u32 {
        self.bans.get(&prefix).map_or(0, |(count, _)| *count)
    }

    /// Forgets prefixes whose last ban began too long ago.
    pub fn sweep(&mut self, now: Timestamp) {
        let memory = self.memory;
        self.bans.retain(|_, (_, last)| now.since(*last) < memory);
        for bans in self.by_jail.values_mut() {
            bans.retain(|prefix, _| self.bans.contains_key(prefix));
        }
    }
}
