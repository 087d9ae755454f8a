//! What a choice needs later: a condition decides by the choice made long before what must still come.
//!
//! In `(?:(?P<known>\S+)|.*) from (?(known):|$)` the first way leads to the end only where a colon stands. Without
//! this, all that lies between is tried in every way before it shows that there is none.

use super::code::{Code, Op};

/// Larger expressions are not looked at: nobody writes conditions into those.
const MAX_OPS: usize = 2_000;
/// More conditions are not looked at.
const MAX_CONDITIONS: usize = 4;

impl Code {
    /// Tells choices which bytes their first way needs because a condition asks for a group that is set on it.
    pub(super) fn tell_needed(&mut self) {
        if self.ops.len() > MAX_OPS || self.conditions.len() > MAX_CONDITIONS {
            return;
        }
        let conditions: Vec<(usize, usize, Box<[u8]>)> = (0..self.ops.len())
            .filter_map(|at| match (&self.ops[at], self.ops.get(at + 1)) {
                (Op::IfSet { slot, .. }, Some(Op::Bytes(word))) => Some((*slot, at + 1, word.clone())),
                _ => None,
            })
            .take(MAX_CONDITIONS)
            .collect();
        for (slot, behind, word) in conditions {
            for at in 0..self.ops.len() {
                let Op::Split { first, second, .. } = self.ops[at] else { continue };
                // What both ways need, the automaton has asked for already.
                if self.needs(first, slot, behind)
                    && !self.needs(second, slot, behind)
                    && let Op::Split { needed, .. } = &mut self.ops[at]
                {
                    *needed = Some(word.clone());
                }
            }
        }
    }

    /// True if nothing leads from a step to the end but by way of `through`, whether `slot` is set there or not; of
    /// conditions that ask for this slot the right branch is taken.
    fn needs(&self, from: usize, slot: usize, through: usize) -> bool {
        let mut seen = vec![[false; 2]; self.ops.len()];
        let mut open = vec![(from, false), (from, true)];
        while let Some((at, is_set)) = open.pop() {
            if at == through || std::mem::replace(&mut seen[at][usize::from(is_set)], true) {
                continue;
            }
            match &self.ops[at] {
                Op::End => return false,
                Op::Save(saved) if *saved == slot => open.push((at + 1, true)),
                Op::IfSet { slot: asked, .. } if *asked == slot && is_set => open.push((at + 1, true)),
                Op::IfSet { slot: asked, no } if *asked == slot => open.push((*no, false)),
                // What a lookaround or an atomic group sets is not followed: it sets nothing, or all that it could.
                Op::Look { next, .. } | Op::Atomic { next, .. } => {
                    open.extend([(*next, is_set), (*next, true)]);
                }
                _ => open.extend(self.after(at).into_iter().flatten().map(|next| (next, is_set))),
            }
        }
        true
    }
}
