//! What is remembered of choices: that nothing came of them, or within a lookaround or atomic group, what did.

use std::collections::HashMap;

use super::UNSET;
use super::code::{Code, Key};

/// Bits that may be kept: 64 MiB, of which only what is touched becomes memory.
const MAX_BITS: usize = 1 << 29;

/// Choices and places that were tried.
#[derive(Debug)]
pub(super) struct Memo {
    failed: Vec<u64>,
    /// Where the inner run ended that went through it.
    succeeded: HashMap<usize, usize, foldhash::fast::FixedState>,
    /// Places in the text, its end included.
    places: usize,
}

impl Memo {
    /// Nothing if the text is too long for the expression's size.
    pub(super) fn new(code: &Code, text: &[u8]) -> Option<Memo> {
        let places = text.len() + 1;
        let bits = places.checked_mul(code.keys).filter(|bits| *bits <= MAX_BITS)?;
        Some(Memo { failed: vec![0; bits.div_ceil(64)], succeeded: HashMap::default(), places })
    }

    /// The number of a choice at a place in the present state.
    pub(super) fn key(&self, key: &Key, at: usize, slots: &[usize], conditions: &[usize]) -> usize {
        // Whoever got nowhere in an outer round got nowhere in the inner one, so a count says it all.
        let standing = key.loops.iter().rev().take_while(|slot| slots.get(**slot) == Some(&at)).count();
        let mut variant = standing;
        for slot in conditions {
            variant = variant * 2 + usize::from(slots.get(*slot).is_some_and(|place| *place != UNSET));
        }
        (key.base + variant) * self.places + at
    }

    pub(super) fn has_failed(&self, key: usize) -> bool {
        self.failed.get(key / 64).is_some_and(|bits| bits >> (key % 64) & 1 == 1)
    }

    pub(super) fn fail(&mut self, key: usize) {
        if let Some(bits) = self.failed.get_mut(key / 64) {
            *bits |= 1 << (key % 64);
        }
    }

    pub(super) fn end_of(&self, key: usize) -> Option<usize> {
        self.succeeded.get(&key).copied()
    }

    pub(super) fn succeed(&mut self, key: usize, end: usize) {
        self.succeeded.insert(key, end);
    }
}
