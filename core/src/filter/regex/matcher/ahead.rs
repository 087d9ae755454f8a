//! What must come next at a step, told beforehand.

use super::code::{Begin, Code, Op};
use super::set::Set;
use super::shared::Shared;
use crate::filter::regex::tree::Anchor;

/// So many steps are looked at to tell what may come next.
const MAX_LOOK_AHEAD: usize = 64;

impl Code {
    /// Tells runs and splits what must come next, so that they need not try where it does not.
    ///
    /// `splits`: those too; who remembers choices must meet every one of them.
    pub(super) fn look_ahead(&mut self, splits: bool, shared: &mut Shared) {
        for index in 0..self.ops.len() {
            match &self.ops[index] {
                Op::Run(_) => {
                    let follow: Option<Box<[u8]>> = self.next_word(index + 1).map(Box::from);
                    let next = matches!(self.ops.get(index + 1), Some(Op::Bytes(_)));
                    let (mut bytes, mut left) = ([false; 256], MAX_LOOK_AHEAD);
                    let is_known = self.first_bytes(index + 1, true, &mut bytes, &mut left);
                    if let Op::Run(run) = &mut self.ops[index] {
                        let members = run.set.first_bytes();
                        run.whole = is_known && !members.iter().zip(bytes).any(|(a, b)| *a && b);
                        (run.follow, run.next) = (follow, next);
                    }
                }
                Op::Split { first, second, .. } if splits => {
                    let (first, second) = (*first, *second);
                    let known = [first, second].map(|way| {
                        let (mut bytes, mut left) = ([false; 256], MAX_LOOK_AHEAD);
                        Begin(
                            self.first_bytes(way, false, &mut bytes, &mut left).then(|| shared.table(bytes)),
                        )
                    });
                    if let Op::Split { begin, .. } = &mut self.ops[index] {
                        *begin = known;
                    }
                }
                _ => {}
            }
        }
    }

    /// Adds the bytes that can come next at this step; false if it may take none, or if that is too long to tell.
    ///
    /// `ends`: it may take none at the end of a line or of the text.
    fn first_bytes(&self, mut op: usize, ends: bool, bytes: &mut [bool; 256], left: &mut usize) -> bool {
        loop {
            let Some(rest) = left.checked_sub(1) else { return false };
            *left = rest;
            let mut add = |set: &Set| bytes.iter_mut().zip(set.first_bytes()).for_each(|(b, is)| *b |= is);
            match self.ops.get(op) {
                Some(Op::Anchor(Anchor::TextEnd)) if ends => return true,
                Some(Op::Anchor(Anchor::LastLineEnd | Anchor::LineEnd)) if ends => {
                    bytes[usize::from(b'\n')] = true;
                    return true;
                }
                Some(Op::Save(_) | Op::Anchor(_)) => op += 1,
                Some(Op::Look { next, .. }) => op = *next,
                Some(Op::Jump(to)) => op = *to,
                Some(Op::Bytes(word)) => {
                    return word.first().map(|byte| bytes[usize::from(*byte)] = true).is_some();
                }
                Some(Op::One(set)) => {
                    add(set);
                    return true;
                }
                Some(Op::Run(run)) => {
                    add(&run.set);
                    if run.min > 0 {
                        return true;
                    }
                    op += 1;
                }
                Some(Op::Split { first, second, .. }) => {
                    if !self.first_bytes(*first, ends, bytes, left) {
                        return false;
                    }
                    op = *second;
                }
                _ => return false,
            }
        }
    }

    /// The bytes that must come next at this step, if only these can.
    fn next_word(&self, mut op: usize) -> Option<&[u8]> {
        for _ in 0..MAX_LOOK_AHEAD {
            match self.ops.get(op)? {
                Op::Save(_) | Op::Anchor(_) => op += 1,
                Op::Look { next, .. } => op = *next,
                Op::Jump(to) => op = *to,
                Op::Bytes(bytes) => return Some(bytes),
                _ => return None,
            }
        }
        None
    }
}
