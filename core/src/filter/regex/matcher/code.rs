//! An expression as a list of steps.

use std::sync::Arc;

use super::super::tree::{Anchor, Case};
use super::set::Set;

/// An expression as a list of steps.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) ops: Vec<Op>,
    /// The step that comes after each, if it says nothing else: jumps are passed over.
    pub(super) next: Vec<u32>,
    /// Two places for each group, then one for each repetition whose body can match nothing.
    pub(super) slots: usize,
    /// Slots that belong to groups.
    pub(super) group_slots: usize,
    /// Choices to remember, with their variants.
    pub(super) keys: usize,
    /// End slots of the groups that conditions ask for.
    pub(super) conditions: Vec<usize>,
    /// True if remembering bounds the time.
    pub(super) is_bounded: bool,
}

#[derive(Debug)]
pub(super) enum Op {
    /// These bytes.
    Bytes(Box<[u8]>),
    Run(Run),
    /// One character of a set.
    One(Set),
    /// First here, and if that leads nowhere, there.
    Split {
        first: usize,
        second: usize,
        /// What either way can begin with.
        begin: [Begin; 2],
        /// What must stand somewhere behind this place if the first way leads to the end.
        needed: Option<Box<[u8]>>,
        key: Option<Key>,
    },
    Jump(usize),
    Save(usize),
    Anchor(Anchor),
    /// A round that took nothing is the last one.
    Check {
        slot: usize,
        exit: usize,
    },
    /// What follows up to its [`Op::End`] matches here, or ends here, or does not.
    Look {
        negated: bool,
        behind: Option<u32>,
        next: usize,
        pure: bool,
    },
    /// What follows up to its [`Op::End`], in its first way only.
    Atomic {
        next: usize,
        pure: bool,
    },
    Backreference {
        slot: usize,
        case: Case,
    },
    /// Goes on if the slot is filled, else there.
    IfSet {
        slot: usize,
        no: usize,
    },
    /// The end of the expression, of a lookaround, of an atomic group.
    End,
}

/// Characters of a set, as many as there are (greedy) or as few as will do.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) set: Set,
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) kind: RunKind,
    /// It ends where this begins at the latest.
    pub(super) stop: Option<Box<[u8]>>,
    /// What must stand behind it.
    pub(super) follow: Option<Box<[u8]>>,
    /// What stands behind it begins with no member, so that only the longest run can be right.
    pub(super) whole: bool,
    /// `follow` is the step right behind, which need not be taken when it is known to stand there.
    pub(super) next: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunKind {
    Greedy,
    Lazy,
    Possessive,
}

/// The bytes that a way can begin with; nothing if that is not known, or it may take none.
#[derive(Debug, Clone, Default)]
pub(super) struct Begin(pub(super) Option<Arc<[bool; 256]>>);

impl Begin {
    /// True if a text may go on so.
    #[inline]
    pub(super) fn allows(&self, next: Option<&u8>) -> bool {
        self.0.as_ref().is_none_or(|bytes| next.is_some_and(|byte| bytes[usize::from(*byte)]))
    }
}

/// How a choice is remembered.
#[derive(Debug)]
pub(super) struct Key {
    /// The first of its variants.
    pub(super) base: usize,
    /// The repetitions around it whose body can match nothing, outermost first, by their slots.
    pub(super) loops: Box<[usize]>,
}

impl Code {
    /// Aims every step at where it leads in the end, past jumps.
    pub(super) fn pass_jumps(&mut self) {
        let lands: Vec<usize> = (0..self.ops.len()).map(|at| self.landing(at)).collect();
        let land = |at: &mut usize| *at = lands.get(*at).copied().unwrap_or(*at);
        for op in &mut self.ops {
            match op {
                Op::Split { first, second, .. } => {
                    land(first);
                    land(second);
                }
                Op::Jump(to) | Op::Check { exit: to, .. } | Op::IfSet { no: to, .. } => land(to),
                Op::Look { next, .. } | Op::Atomic { next, .. } => land(next),
                _ => {}
            }
        }
        let after = |at: usize| lands.get(at + 1).copied().unwrap_or(at + 1);
        // Invariant: there are at most 50000 steps.
        self.next = (0..self.ops.len()).map(|at| u32::try_from(after(at)).unwrap_or(u32::MAX)).collect();
    }

    /// Where a chain of jumps ends; one that runs in circles matches nothing, and may do so anywhere.
    fn landing(&self, mut at: usize) -> usize {
        for _ in 0..self.ops.len() {
            match self.ops.get(at) {
                Some(Op::Jump(to)) => at = *to,
                _ => break,
            }
        }
        at
    }

    /// The step after this one.
    #[inline]
    pub(super) fn after_step(&self, at: usize) -> usize {
        self.next.get(at).map_or(usize::MAX, |next| *next as usize)
    }

    /// The steps that may come right after this one, in the same run or as its inner one.
    pub(super) fn after(&self, at: usize) -> [Option<usize>; 2] {
        match &self.ops[at] {
            Op::Split { first, second, .. } => [Some(*first), Some(*second)],
            Op::Jump(to) => [Some(*to), None],
            Op::Check { exit, .. } => [Some(at + 1), Some(*exit)],
            Op::Look { next, .. } | Op::Atomic { next, .. } => [Some(at + 1), Some(*next)],
            Op::IfSet { no, .. } => [Some(at + 1), Some(*no)],
            Op::End => [None, None],
            _ => [Some(at + 1), None],
        }
    }
}
