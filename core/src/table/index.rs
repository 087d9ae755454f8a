//! Finds the places of entries by their hashes: open addressing, five bytes a slot.
//!
//! A slot is the entry's place and a byte of its hash, which tells nearly all others apart without a look at the
//! entries. Whoever owns the entries hashes and compares them.

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// [`FREE`], [`GONE`], or a part of the entry's hash: as many as a power of two.
    tags: Vec<u8>,
    places: Vec<u32>,
    /// Slots that are not [`FREE`].
    used: usize,
    /// Slots that name an entry.
    live: usize,
}

const FREE: u8 = 0;
/// Something was here: who looks goes on.
const GONE: u8 = 1;
const FEWEST: usize = 16;

/// Slots that so many entries need: at most three of four are taken.
pub(super) const fn slots_for(entries: usize) -> usize {
    let slots = (entries + entries / 3 + 1).next_power_of_two();
    if slots < FEWEST { FEWEST } else { slots }
}

/// A tag and a place.
pub(super) const SLOT_BYTES: usize = 5;

/// The upper bits; the lower ones choose the slot.
fn tag(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(GONE + 1)
}

impl Index {
    /// The slot of the entry with this hash that `is_it` knows by its place.
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<usize> {
        let mask = self.tags.len().wrapping_sub(1);
        let (mut slot, tag) = (hash as usize & mask, tag(hash));
        loop {
            match *self.tags.get(slot)? {
                FREE => return None,
                found if found == tag && is_it(self.places[slot]) => return Some(slot),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    /// The place that a slot names.
    pub(crate) fn at(&self, slot: usize) -> u32 {
        self.places[slot]
    }

    /// Lets a slot name another place.
    pub(crate) fn set(&mut self, slot: usize, at: u32) {
        self.places[slot] = at;
    }

    /// Notes an entry that is not there yet; `hash_of` says the hash of each that is, for when there is no room.
    pub(crate) fn insert(&mut self, hash: u64, at: u32, hash_of: impl Fn(u32) -> u64) {
        if (self.used + 1) * 4 > self.tags.len() * 3 {
            let old = std::mem::take(self);
            self.reset(old.live + 1);
            old.places().for_each(|at| self.put(hash_of(at), at));
        }
        self.put(hash, at);
    }

    /// Forgets the entry of a slot.
    pub(crate) fn remove(&mut self, slot: usize) {
        let next = (slot + 1) & (self.tags.len() - 1);
        // If nothing follows, nobody looks behind it.
        let is_end = self.tags[next] == FREE;
        self.tags[slot] = if is_end { FREE } else { GONE };
        self.used -= usize::from(is_end);
        self.live -= 1;
    }

    /// Notes entries anew: their hashes and places, so many.
    pub(crate) fn rebuild(&mut self, count: usize, entries: impl Iterator<Item = (u64, u32)>) {
        self.reset(count);
        entries.for_each(|(hash, at)| self.put(hash, at));
    }

    /// True if what is left needs a much smaller index.
    pub(crate) fn is_sparse(&self) -> bool {
        slots_for(self.live) * 8 <= self.tags.len()
    }

    /// The places that are known.
    fn places(&self) -> impl Iterator<Item = u32> {
        let slots = self.tags.iter().zip(&self.places);
        slots.filter(|(tag, _)| **tag > GONE).map(|(_, at)| *at)
    }

    fn reset(&mut self, entries: usize) {
        let slots = slots_for(entries);
        *self = Index { tags: vec![FREE; slots], places: vec![0; slots], used: 0, live: 0 };
    }

    /// Invariant: there is a free slot.
    fn put(&mut self, hash: u64, at: u32) {
        let mask = self.tags.len() - 1;
        let mut slot = hash as usize & mask;
        while self.tags[slot] > GONE {
            slot = (slot + 1) & mask;
        }
        self.used += usize::from(self.tags[slot] == FREE);
        self.live += 1;
        (self.tags[slot], self.places[slot]) = (tag(hash), at);
    }
}
