//! A table for states that come in floods, of which nearly every line brings a new one.
//!
//! States lie in the order in which they came, so that a new one is written where the last one was, and memory is
//! not waited for. What is looked up at random is an index of eight bytes a state, which the processor's cache holds.
//! Who is forgotten stays as a gap until the next [`Table::retain`].

use std::hash::BuildHasher;

use crate::hash::FastState;

use super::JailIndex;

/// Whom a state belongs to: a jail, and the connection's number, which is never 0.
pub(super) type Key = (JailIndex, u64);

/// States by their keys.
#[derive(Debug)]
pub(super) struct Table<S> {
    entries: Vec<Entry<S>>,
    /// As many as a power of two, at most two of three taken.
    slots: Vec<Slot>,
    gaps: usize,
    hasher: FastState,
}

#[derive(Debug)]
struct Entry<S> {
    /// The number is 0 in a gap.
    key: Key,
    state: S,
}

/// Bytes of a state without its place in the index.
pub(super) const fn entry_bytes<S>() -> usize {
    size_of::<Entry<S>>()
}

/// Where a state lies, and a part of its key's hash.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    entry: u32,
}

const FREE: Slot = Slot { hash: 0, entry: u32::MAX };
const FEWEST_SLOTS: usize = 16;

impl<S> Default for Table<S> {
    fn default() -> Table<S> {
        Table { entries: Vec::new(), slots: Vec::new(), gaps: 0, hasher: FastState::default() }
    }
}

impl<S> Table<S> {
    /// How many states there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.gaps
    }

    /// The states in the order in which they came.
    pub(super) fn states(&self) -> impl Iterator<Item = &S> {
        self.entries.iter().filter(|entry| entry.key.1 != 0).map(|entry| &entry.state)
    }

    /// The state of this key.
    pub(super) fn get(&self, key: Key) -> Option<&S> {
        let at = self.find(key, self.hash(key)).ok()?;
        Some(&self.entries.get(at)?.state)
    }

    /// Brings near what [`Table::get`] would read.
    pub(super) fn look_up(&self, key: Key) {
        let slot = self.slots.get(self.hash(key) as usize & self.slots.len().wrapping_sub(1));
        std::hint::black_box(slot.map(|slot| slot.hash));
    }

    /// The state of this key; a new one if there is none.
    pub(super) fn entry(&mut self, key: Key, new: impl FnOnce() -> S) -> &mut S {
        let hash = self.hash(key);
        let at = match self.find(key, hash) {
            Ok(at) => at,
            Err(mut free) => {
                if self.entries.len() * 3 >= self.slots.len() * 2 {
                    self.make_room();
                    free = self.find(key, hash).err().unwrap_or(free);
                }
                let at = self.entries.len();
                self.entries.push(Entry { key, state: new() });
                // Invariant: there was room for it.
                self.slots[free] = Slot { hash, entry: at as u32 };
                at
            }
        };
        // Invariant: it was found there, or put there.
        &mut self.entries[at].state
    }

    /// Forgets the state of this key.
    pub(super) fn remove(&mut self, key: Key) {
        if let Ok(at) = self.find(key, self.hash(key))
            && let Some(entry) = self.entries.get_mut(at)
        {
            entry.key.1 = 0;
            self.gaps += 1;
        }
    }

    /// Forgets all states but these.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&S) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.key.1 != 0 && keep(&entry.state));
        self.gaps = 0;
        if self.entries.len() < before {
            // Most come back: what shrinks at once is made anew until the next time.
            self.entries.shrink_to(self.entries.len() * 8);
            self.index();
        }
    }

    fn make_room(&mut self) {
        if self.gaps > 0 {
            self.entries.retain(|entry| entry.key.1 != 0);
            self.gaps = 0;
        }
        self.index();
    }

    fn hash(&self, key: Key) -> u32 {
        (self.hasher.hash_one(key) >> 32) as u32
    }

    /// The entry of this key, or the free slot where it would stand.
    fn find(&self, key: Key, hash: u32) -> Result<usize, usize> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        while let Some(slot) = self.slots.get(at) {
            let entry = slot.entry as usize;
            if slot.entry == FREE.entry {
                return Err(at);
            }
            if slot.hash == hash && self.entries.get(entry).is_some_and(|entry| entry.key == key) {
                return Ok(entry);
            }
            at = (at + 1) & mask;
        }
        Err(0)
    }

    /// Makes the index anew.
    fn index(&mut self) {
        let wanted = (self.entries.len() * 2).next_power_of_two().max(FEWEST_SLOTS);
        let fits = wanted <= self.slots.len() && self.slots.len() <= wanted * 8;
        if fits {
            self.slots.fill(FREE)
        } else {
            self.slots = vec![FREE; wanted]
        }
        let mask = self.slots.len() - 1;
        for (number, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.key.1 != 0) {
            let hash = (self.hasher.hash_one(entry.key) >> 32) as u32;
            let mut at = hash as usize & mask;
            // Invariant: fewer than all slots are taken.
            while self.slots[at].entry != FREE.entry {
                at = (at + 1) & mask;
            }
            self.slots[at] = Slot { hash, entry: number as u32 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn holds_what_a_map_would_hold(
            steps in prop::collection::vec((0..20u8, 0..3u16, 1..60u64, 0..9u32), 0..400),
        ) {
            let (mut table, mut map) = (Table::default(), HashMap::new());
            for (what, jail, number, value) in steps {
                let key = (jail, number);
                match what {
                    0..12 => {
                        *table.entry(key, || 0) += value;
                        *map.entry(key).or_insert(0) += value;
                    }
                    12..16 => {
                        table.remove(key);
                        map.remove(&key);
                    }
                    16..19 => prop_assert_eq!(table.get(key), map.get(&key)),
                    _ => {
                        table.retain(|state| *state >= value);
                        map.retain(|_, state| *state >= value);
                    }
                }
                prop_assert_eq!(table.len(), map.len());
                let (mut left, mut right): (Vec<u32>, Vec<u32>) =
                    (table.states().copied().collect(), map.values().copied().collect());
                left.sort_unstable();
                right.sort_unstable();
                prop_assert_eq!(left, right);
            }
        }
    }

    #[test]
    fn what_is_removed_leaves_no_room_taken_for_long() {
        let mut table = Table::default();
        for number in 1..10_000u64 {
            table.entry((0, number), || number);
            table.remove((0, number));
        }
        assert_eq!(table.len(), 0);
        assert!(table.entries.len() < 64 && table.slots.len() < 256);
    }
}
