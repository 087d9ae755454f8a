//! The exact matcher: does the tree match, and what do its groups hold.
//!
//! It backtracks, so the match that it finds first is the one that Python prefers. Backtracking can take exponential
//! time on hostile text. So it counts its steps, and beyond about 16 for each byte it starts anew on a second form
//! of the program that remembers, for each choice and place, that nothing came of it: each is then tried once, and
//! the time is bounded by the size of the program times that of the text. Lookarounds and atomic groups are runs of
//! their own, of which successes are remembered too.
//!
//! Three things depend on more than choice and place. How far a repetition got whose body can match nothing, and
//! whether a group that a condition asks for has matched, become part of what is remembered. Behind a backreference
//! nothing can be remembered up to that reference: there, and where a lookaround or atomic group that is run again
//! and again captures, a limit of steps holds, and [`Found::Limit`] says when it was met.

mod ahead;
mod build;
mod code;
mod memo;
mod needed;
mod set;
mod shared;
mod walk;

pub(super) use build::{plain_char, single, starts_at_begin};
pub use shared::Shared;
pub use walk::Digits;

use std::ops::Range;

use super::tree::Tree;
use super::{RegexError, head};
use code::Code;
use memo::Memo;
use walk::{Choice, Limit, Walk};

/// A slot that holds no place.
const UNSET: usize = usize::MAX;

/// Steps of an expression in its first form; what its repetitions unfold to counts.
const MAX_OPS: usize = 50_000;

/// Steps where nothing guarantees an end: about 10 ms.
const MAX_STEPS: usize = 1_000_000;

/// Steps of a search that tells how far it looked: the least that any search may take.
const NOTED_STEPS: usize = 1_000;

/// An expression that is ready to match.
#[derive(Debug)]
pub struct Matcher {
    plain: Code,
    /// The form that remembers. Few texts need it, so it is made when the first one does.
    careful: Option<Result<Code, RegexError>>,
    tree: Tree,
    /// The step behind the parts that [`Matcher::search_behind`] passes over.
    behind: usize,
}

/// What a search needs besides the text, and where it leaves the groups; reused from search to search.
#[derive(Debug, Default)]
pub struct Scratch {
    slots: Vec<usize>,
    stack: Vec<Choice>,
}

/// What came of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It matches; [`Scratch::group`] tells where.
    Match,
    /// It does not match anywhere.
    Nothing,
    /// It took too many steps to tell; see the module's head.
    Limit,
}

impl Scratch {
    /// Where all groups of the last match stand, for [`Scratch::recall`].
    pub fn slots(&self) -> &[usize] {
        &self.slots
    }

    /// The same, to be written.
    pub fn slots_mut(&mut self) -> &mut Vec<usize> {
        &mut self.slots
    }

    /// Writes down a match that is known: its slots, but for the groups that end elsewhere.
    pub fn recall(&mut self, slots: &[usize], ending: impl Iterator<Item = usize>, end: usize) {
        self.slots.clear();
        self.slots.extend_from_slice(slots);
        for group in ending {
            if let Some(slot) = self.slots.get_mut(group * 2 + 1) {
                *slot = end;
            }
        }
    }

    /// Where a group of the last match stands; the first is the whole match. Nothing if it took no part.
    pub fn group(&self, index: usize) -> Option<Range<usize>> {
        let (start, end) = (*self.slots.get(index * 2)?, *self.slots.get(index * 2 + 1)?);
        (end != UNSET && start <= end).then_some(start..end)
    }
}

impl Matcher {
    /// Makes an expression ready.
    /// # Errors
    /// [`super::RegexProblem::Size`] if its repetitions unfold to too much.
    pub fn new(tree: Tree) -> Result<Matcher, RegexError> {
        Matcher::sharing(tree, &mut Shared::default())
    }

    /// The same for one of many: they share what they have in common.
    /// # Errors
    /// As [`Matcher::new`].
    pub fn sharing(mut tree: Tree, shared: &mut Shared) -> Result<Matcher, RegexError> {
        tree.root.shrink();
        let plain = build::plain(&tree, shared)?;
        Ok(Matcher { plain, careful: None, tree, behind: 0 })
    }

    /// Makes ready to begin behind the first `parts`, as [`head::shared`] counted them; false if it cannot.
    pub(in crate::filter) fn begin_behind(&mut self, parts: usize) -> bool {
        let opening = head::opening(&self.tree, parts)
            .and_then(|opening| build::plain(&opening, &mut Shared::default()).ok());
        // The steps of the parts stand in their order, and an end follows the last.
        self.behind = opening.as_ref().map_or(0, |code| code.ops.len() - 1);
        opening.is_some()
    }

    /// Looks for a match whose first parts end at `at`; see [`Matcher::begin_behind`].
    pub(in crate::filter) fn search_behind(
        &mut self,
        scratch: &mut Scratch,
        text: &[u8],
        at: usize,
    ) -> Found {
        match run(&self.plain, scratch, text, budget(text), None, (self.behind, at)) {
            Ok(found) => found,
            Err(Limit) => self.search_carefully(scratch, text),
        }
    }

    /// The expression.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Looks for the first match anywhere in `text`, as Python's `search` does.
    pub fn search(&mut self, scratch: &mut Scratch, text: &[u8]) -> Found {
        match run(&self.plain, scratch, text, budget(text), None, (0, 0)) {
            Ok(found) => found,
            Err(Limit) => self.search_carefully(scratch, text),
        }
    }

    /// Searches a text as [`Matcher::search`] does, and tells how many of its bytes were looked at before the group
    /// of this number began: any text that begins with these leads there the same way. Nothing if it does not match,
    /// or only after a long search.
    pub fn search_noting(&self, scratch: &mut Scratch, text: &[u8], group: usize) -> Option<usize> {
        let Scratch { slots, stack } = scratch;
        reset(&self.plain, slots, stack);
        let mut walk = Walk::<true>::new(&self.plain, text, slots, stack, NOTED_STEPS, None);
        walk.noted.slot = group * 2;
        let end = walk.run(0, 0, false).ok()??;
        let seen = walk.noted.before;
        settle(slots, end);
        Some(seen)
    }

    /// Parts the digits that the expression tells apart; false if it may tell apart all.
    pub fn part_digits(&self, digits: &mut Digits) -> bool {
        self.plain.part_digits(0, digits)
    }

    /// True if a text leads to the same match whatever its digits are, and whatever stands before the place that
    /// [`Matcher::search_behind`] begins at.
    pub(in crate::filter) fn is_blind_to_digits(&self) -> bool {
        let mut digits = Digits::default();
        self.plain.part_digits(self.behind, &mut digits)
            && digits == Digits::default()
            && (self.behind == 0 || !self.plain.looks_back(self.behind))
    }

    /// The same with the second form of the program from the start: slower, unless the text is hostile.
    pub fn search_carefully(&mut self, scratch: &mut Scratch, text: &[u8]) -> Found {
        let tree = &self.tree;
        let careful = self.careful.get_or_insert_with(|| build::careful(tree));
        let Ok(careful) = careful else { return Found::Limit };
        let budget = if careful.is_bounded { usize::MAX } else { MAX_STEPS };
        match Memo::new(careful, text) {
            Some(mut memo) => {
                run(careful, scratch, text, budget, Some(&mut memo), (0, 0)).unwrap_or(Found::Limit)
            }
            None => Found::Limit,
        }
    }
}

/// Steps of the first form on this text.
fn budget(text: &[u8]) -> usize {
    1_000 + text.len().saturating_mul(16)
}

fn run(
    code: &Code,
    scratch: &mut Scratch,
    text: &[u8],
    budget: usize,
    memo: Option<&mut Memo>,
    (op, at): (usize, usize),
) -> Result<Found, Limit> {
    reset(code, &mut scratch.slots, &mut scratch.stack);
    let mut walk = Walk::<false>::new(code, text, &mut scratch.slots, &mut scratch.stack, budget, memo);
    let Some(end) = walk.run(op, at, false)? else { return Ok(Found::Nothing) };
    settle(&mut scratch.slots, end);
    Ok(Found::Match)
}

fn reset(code: &Code, slots: &mut Vec<usize>, stack: &mut Vec<Choice>) {
    slots.resize(code.slots, UNSET);
    slots.fill(UNSET);
    stack.clear();
}

/// Writes down where the whole match begins and ends.
fn settle(slots: &mut [usize], end: usize) {
    if let [start, last, ..] = slots {
        // Who looks for its start has found it.
        *start = if *start == UNSET { 0 } else { *start };
        *last = end;
    }
}

#[cfg(test)]
mod tests;
