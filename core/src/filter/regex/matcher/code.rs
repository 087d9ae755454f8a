//! An expression as a list of steps.

use std::sync::Arc;

use super::super::tree::{Anchor, Case};
use super::set::Set;

/// An expression as a list of steps.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) ops: Vec<Op>,
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
    /// Characters of a set, as many as there are (greedy) or as few as will do.
    Run {
        set: Set,
        min: usize,
        max: usize,
        kind: RunKind,
        /// What must stand behind it.
        follow: Option<Box<[u8]>>,
        /// That begins with a byte which no member begins with, so that only the longest run can be right.
        whole: bool,
        /// That is the step right behind, which need not be taken when it is known to stand there.
        next: bool,
    },
    /// One character of a set.
    One(Set),
    /// First here, and if that leads nowhere, there.
    Split {
        first: usize,
        second: usize,
        /// What either way can begin with.
        begin: [Begin; 2],
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
