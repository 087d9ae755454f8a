//! How far a walk looked, and which digits an expression tells apart: what makes that two texts are the same to it.

use super::super::code::{Code, Op};
use super::super::set::Set;
use super::Walk;
use crate::filter::regex::tree::Anchor;

/// How far a walk looked.
#[derive(Debug, Default)]
pub(in super::super) struct Noted {
    /// Bytes from the begin of the text of which one was asked for, or whether the text has it.
    seen: usize,
    /// The slot to tell of.
    pub(in super::super) slot: usize,
    /// How far it had looked when that slot was set for the last time.
    pub(in super::super) before: usize,
}

impl<const NOTED: bool> Walk<'_, NOTED> {
    /// Notes what a step is about to look at, or more.
    #[cold]
    pub(super) fn note(&mut self, op: &Op) {
        let (text, at) = (self.text, self.at);
        // A character above ASCII has up to four bytes.
        let behind = |at: usize| at + if text.get(at).is_some_and(|byte| *byte >= 0x80) { 4 } else { 1 };
        let seen = match op {
            Op::Bytes(word) => {
                at + 1 + text[at..].iter().zip(word.iter()).take_while(|(a, b)| a == b).count()
            }
            Op::Backreference { .. } | Op::Split { needed: Some(_), .. } => usize::MAX,
            Op::One(_) | Op::Split { .. } => behind(at),
            Op::Run(run) => {
                let end = behind(run.set.run(text, at));
                let words = [&run.stop, &run.follow].map(|word| word.as_ref().map_or(0, |word| word.len()));
                end + words[0] + words[1]
            }
            // `$` asks whether the next byte is the last.
            Op::Anchor(_) => behind(at) + 1,
            Op::Save(slot) => {
                if *slot == self.noted.slot {
                    self.noted.before = self.noted.seen;
                }
                at
            }
            Op::Jump(_)
            | Op::Check { .. }
            | Op::Look { .. }
            | Op::Atomic { .. }
            | Op::IfSet { .. }
            | Op::End => at,
        };
        self.noted.seen = self.noted.seen.max(seen);
    }
}

/// Which digits are alike: each stands for the smallest of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits([u8; 10]);

impl Default for Digits {
    /// All are alike.
    fn default() -> Digits {
        Digits([b'0'; 10])
    }
}

impl Digits {
    /// Parts those of which `kind` is not the same.
    pub fn part<K: PartialEq>(&mut self, kind: impl Fn(u8) -> K) {
        let alike = self.0;
        for (digit, stands) in (b'0'..).zip(&mut self.0) {
            let is_like = |other: &u8| {
                alike[usize::from(*other - b'0')] == alike[usize::from(digit - b'0')]
                    && kind(*other) == kind(digit)
            };
            *stands = (b'0'..=digit).find(is_like).unwrap_or(digit);
        }
    }

    /// The digit that stands for this one; other bytes stand for themselves.
    pub fn stands_for(&self, byte: u8) -> u8 {
        byte.checked_sub(b'0').and_then(|digit| self.0.get(usize::from(digit))).copied().unwrap_or(byte)
    }
}

impl Code {
    /// Parts the digits that a step from this one on tells apart; false if one compares parts of the text.
    pub(in super::super) fn part_digits(&self, from: usize, digits: &mut Digits) -> bool {
        for op in self.ops.iter().skip(from) {
            let mut part_word =
                |word: &[u8]| word.iter().for_each(|byte| digits.part(|digit| digit == *byte));
            match op {
                Op::Bytes(word) | Op::Split { needed: Some(word), .. } => part_word(word),
                Op::Run(run) => {
                    run.stop.iter().for_each(|word| part_word(word));
                    part_set(&run.set, digits);
                }
                Op::One(set) => part_set(set, digits),
                Op::Backreference { .. } => return false,
                _ => {}
            }
        }
        true
    }
}

impl Code {
    /// True if a step from this one on asks what stands before it.
    pub(in super::super) fn looks_back(&self, from: usize) -> bool {
        self.ops.iter().skip(from).any(|op| match op {
            Op::Anchor(anchor) => !matches!(anchor, Anchor::TextEnd | Anchor::LastLineEnd | Anchor::LineEnd),
            Op::Look { behind, .. } => behind.is_some(),
            _ => false,
        })
    }
}

fn part_set(set: &Set, digits: &mut Digits) {
    let members = set.first_bytes();
    digits.part(|digit| members[usize::from(digit)]);
}
