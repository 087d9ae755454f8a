//! What must come next at a step, told beforehand.

use std::sync::Arc;

use super::code::{Begin, Code, Op};
use super::set::Set;

/// So many steps are looked at to tell what may come next.
const MAX_LOOK_AHEAD: usize = 64;

impl Code {
    /// Tells runs and splits what must come next, so that they need not try where it does not.
    ///
    /// `splits`: those too; who remembers choices must meet every one of them.
    pub(super) fn look_ahead(&mut self, splits: bool) {
        for index in 0..self.ops.len() {
            match &self.ops[index] {
                Op::Run { .. } => {
                    let next: Option<Box<[u8]>> = self.next_word(index + 1).map(Box::from);
                    let is_next = matches!(self.ops.get(index + 1), Some(Op::Bytes(_)));
                    if let Op::Run { set, follow, whole, next: skips, .. } = &mut self.ops[index] {
                        *skips = is_next;
                        let first = next.as_ref().and_then(|word| word.first());
                        *whole = first.is_some_and(|byte| !set.first_bytes()[usize::from(*byte)]);
                        *follow = next;
                    }
                }
                Op::Split { first, second, .. } if splits => {
                    let (first, second) = (*first, *second);
                    let known = [first, second].map(|way| {
                        let (mut bytes, mut left) = ([false; 256], MAX_LOOK_AHEAD);
                        Begin(self.first_bytes(way, &mut bytes, &mut left).then(|| Arc::new(bytes)))
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
    fn first_bytes(&self, mut op: usize, bytes: &mut [bool; 256], left: &mut usize) -> bool {
        loop {
            let Some(rest) = left.checked_sub(1) else { return false };
            *left = rest;
            let mut add = |set: &Set| bytes.iter_mut().zip(set.first_bytes()).for_each(|(b, is)| *b |= is);
            match self.ops.get(op) {
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
                Some(Op::Run { set, min, .. }) => {
                    add(set);
                    if *min > 0 {
                        return true;
                    }
                    op += 1;
                }
                Some(Op::Split { first, second, .. }) => {
                    if !self.first_bytes(*first, bytes, left) {
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
        loop {
            match self.ops.get(op)? {
                Op::Save(_) | Op::Anchor(_) => op += 1,
                Op::Look { next, .. } => op = *next,
                Op::Bytes(bytes) => return Some(bytes),
                _ => return None,
            }
        }
    }
}
