//! What came of texts that differ in nothing but their digits.
//!
//! `Failed password for root from 192.0.2.7 port 4711` leads to the same expression, with its groups at the same places,
//! whatever digits stand there, if no step of any expression that the text begins like tells digits apart. So what a
//! search found is kept under its text with a 0 for each digit. Nothing is guessed: a text of another shape is searched.

use std::hash::BuildHasher;

use crate::hash::FastState;

/// So many shapes are kept; each takes the place of the one before it there. A power of two.
const PLACES: usize = 4096;

/// Longer texts are hardly ever alike.
const MAX_BYTES: usize = 250;

/// How a slot is kept that holds no place, and one that lies before the text: that is the begin of the whole match.
const UNSET: u8 = 255;
const BEFORE: u8 = 254;

/// What searches found, by the shape of the text.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    places: Vec<Option<Box<Known>>>,
    /// The shape that was looked up last, and its hash.
    shape: Vec<u8>,
    hash: u64,
    hasher: FastState,
}

/// What came of one shape.
#[derive(Debug, Default)]
struct Known {
    hash: u64,
    /// The shape, and behind it the slots of the match.
    bytes: Vec<u8>,
    length: usize,
    answer: Answer,
    /// It was of use since another shape wanted its place.
    is_used: bool,
}

/// What is known of a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Answer {
    /// This expression matches.
    Match(usize),
    /// None does.
    #[default]
    Nothing,
    /// That depends on the digits.
    Open,
}

impl Shapes {
    /// Looks up what came of a text of this shape; nothing if that is not known. The slots of a match are written to
    /// `slots`, for a text that begins at `at`.
    pub(super) fn look_up(&mut self, text: &[u8], at: usize, slots: &mut Vec<usize>) -> Option<Answer> {
        self.shape.clear();
        if text.len() > MAX_BYTES {
            return None;
        }
        self.shape.extend_from_slice(text);
        // In place, many at a time.
        self.shape.iter_mut().for_each(|byte| *byte = if byte.is_ascii_digit() { b'0' } else { *byte });
        self.hash = self.hasher.hash_one(self.shape.as_slice());
        let known = self.places.get_mut(self.hash as usize % PLACES)?.as_deref_mut()?;
        if known.hash != self.hash || known.bytes.get(..known.length) != Some(&self.shape) {
            return None;
        }
        known.is_used = true;
        if matches!(known.answer, Answer::Match(_)) {
            slots.clear();
            slots.extend(known.bytes.iter().skip(known.length).map(|slot| match *slot {
                UNSET => usize::MAX,
                BEFORE => 0,
                slot => at + usize::from(slot),
            }));
        }
        Some(known.answer)
    }

    /// Keeps what a search found for the text that was looked up last.
    pub(super) fn learn(&mut self, answer: Answer, at: usize, slots: &[usize]) {
        if self.shape.is_empty() {
            return;
        }
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let Some(place) = self.places.get_mut(self.hash as usize % PLACES) else { return };
        let known = place.get_or_insert_default();
        if std::mem::take(&mut known.is_used) {
            return;
        }
        (known.hash, known.answer, known.length) = (self.hash, answer, self.shape.len());
        known.bytes.clear();
        known.bytes.extend_from_slice(&self.shape);
        let slot = |slot: &usize| match slot.checked_sub(at) {
            _ if *slot == usize::MAX => UNSET,
            // Invariant: the text has no more than MAX_BYTES.
            Some(behind) => u8::try_from(behind).unwrap_or(UNSET),
            None => BEFORE,
        };
        known.bytes.extend(slots.iter().filter(|_| matches!(answer, Answer::Match(_))).map(slot));
    }
}
