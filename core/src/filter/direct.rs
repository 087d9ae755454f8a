//! The fast way to a match's groups: plain backtracking over a small program, under a budget of steps.
//!
//! Log expressions are mostly fixed words with runs of one kind of byte between them. Walking those directly costs
//! a tenth of what a general engine needs for groups. Backtracking can take exponential time on hostile text, so the
//! steps are counted: whoever exceeds the budget, or holds something that is not known here, is left to the general
//! engine, which finds the same groups in linear time.

mod build;

use regex_automata::util::primitives::NonMaxUsize;
use regex_syntax::hir::Hir;

use build::Builder;

/// An expression as a list of steps.
#[derive(Debug)]
pub(super) struct Direct {
    ops: Vec<Op>,
}

#[derive(Debug)]
enum Op {
    /// These bytes.
    Bytes(Box<[u8]>),
    /// Bytes of a set, as many as there are (greedy) or as few as will do.
    Run {
        set: Set,
        min: usize,
        max: usize,
        greedy: bool,
        /// What must stand behind it.
        follow: Option<Box<[u8]>>,
        /// That begins with a byte which the set does not have, so that only the longest run can be right.
        whole: bool,
    },
    /// One byte of a set.
    One(Set),
    /// First here, and if that leads nowhere, there.
    Split {
        first: usize,
        second: usize,
        /// The byte that the first way must begin with.
        begin: Option<u8>,
    },
    Jump(usize),
    Save(usize),
    Start,
    End,
    Match,
}

/// A set of bytes.
#[derive(Debug)]
enum Set {
    All,
    AllBut(u8),
    Some(Box<[bool; 256]>),
}

/// A choice to come back to.
#[derive(Debug)]
enum Choice {
    /// Go on there.
    Branch { op: usize, at: usize },
    /// Take less (greedy) or more of a run: up to `last`, from `first` on.
    Run { op: usize, first: usize, last: usize },
    /// Put back what a group held.
    Restore { slot: usize, held: Option<NonMaxUsize> },
}

/// What a search needs besides the text; reused from search to search.
#[derive(Debug, Default)]
pub(super) struct Stack(Vec<Choice>);

/// The expression took too many steps on this text.
#[derive(Debug)]
pub(super) struct TooManySteps;

impl Direct {
    /// The steps of an expression; nothing if it holds something that is not known here.
    pub(super) fn compile(hir: &Hir) -> Option<Direct> {
        let mut builder = Builder { ops: Vec::new() };
        builder.add(hir)?;
        builder.ops.push(Op::Match);
        builder.look_ahead();
        Some(Direct { ops: builder.ops })
    }

    /// Matches at the start of `text` and fills the slots of the groups.
    ///
    /// Returns whether it matches; the preferred match is the one that Python's engine would find.
    /// # Errors
    /// [`TooManySteps`] after about 16 steps for each byte.
    pub(super) fn search(
        &self,
        stack: &mut Stack,
        text: &[u8],
        slots: &mut [Option<NonMaxUsize>],
    ) -> Result<bool, TooManySteps> {
        let mut walk = Walk { ops: &self.ops, text, slots, stack: &mut stack.0, op: 0, at: 0 };
        walk.stack.clear();
        walk.slots.fill(None);
        let mut budget = 1_000 + text.len().saturating_mul(16);
        loop {
            budget -= 1;
            if budget == 0 {
                return Err(TooManySteps);
            }
            match walk.step() {
                Step::On => {}
                Step::Done => {
                    walk.save(0, 0);
                    let end = walk.at;
                    walk.save(1, end);
                    return Ok(true);
                }
                Step::Stuck => {
                    if !walk.back() {
                        return Ok(false);
                    }
                }
            }
        }
    }
}

enum Step {
    On,
    Stuck,
    Done,
}

struct Walk<'a> {
    ops: &'a [Op],
    text: &'a [u8],
    slots: &'a mut [Option<NonMaxUsize>],
    stack: &'a mut Vec<Choice>,
    op: usize,
    at: usize,
}

impl Walk<'_> {
    fn step(&mut self) -> Step {
        let Some(op) = self.ops.get(self.op) else { return Step::Stuck };
        let rest = &self.text[self.at..];
        match op {
            Op::Bytes(bytes) if rest.first() == bytes.first() && rest.starts_with(bytes) => {
                self.at += bytes.len();
                self.op += 1;
            }
            Op::Run { set, min, max, greedy, whole, .. } => {
                let most = set.run(&rest[..rest.len().min(*max)]);
                if most < *min {
                    return Step::Stuck;
                }
                let (first, last) = (self.at + min, self.at + most);
                if *greedy {
                    self.at = last;
                    if last > first && !whole {
                        self.stack.push(Choice::Run { op: self.op, first, last: last - 1 });
                    }
                } else {
                    self.at = first;
                    if last > first {
                        self.stack.push(Choice::Run { op: self.op, first: first + 1, last });
                    }
                }
                self.op += 1;
            }
            Op::One(set) if rest.first().is_some_and(|b| set.has(*b)) => {
                self.at += 1;
                self.op += 1;
            }
            Op::Split { second, begin: Some(begin), .. } if rest.first() != Some(begin) => self.op = *second,
            Op::Split { first, second, .. } => {
                self.stack.push(Choice::Branch { op: *second, at: self.at });
                self.op = *first;
            }
            Op::Jump(to) => self.op = *to,
            Op::Save(slot) => {
                let held = self.slots.get(*slot).copied().flatten();
                self.stack.push(Choice::Restore { slot: *slot, held });
                self.save(*slot, self.at);
                self.op += 1;
            }
            Op::Start if self.at == 0 => self.op += 1,
            Op::End if rest.is_empty() => self.op += 1,
            Op::Match => return Step::Done,
            Op::Bytes(_) | Op::One(_) | Op::Start | Op::End => return Step::Stuck,
        }
        Step::On
    }

    fn save(&mut self, slot: usize, at: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = NonMaxUsize::new(at);
        }
    }

    /// Goes back to the last choice; false if none is left.
    fn back(&mut self) -> bool {
        while let Some(choice) = self.stack.pop() {
            match choice {
                Choice::Branch { op, at } => {
                    (self.op, self.at) = (op, at);
                    return true;
                }
                Choice::Restore { slot, held } => {
                    if let Some(place) = self.slots.get_mut(slot) {
                        *place = held;
                    }
                }
                Choice::Run { op, first, last } => {
                    if self.rerun(op, first, last) {
                        return true;
                    }
                }
            }
        }
        false
    }

    /// The next length of a run after which the text can go on; positions whose next byte cannot are skipped.
    fn rerun(&mut self, op: usize, first: usize, last: usize) -> bool {
        let Some(Op::Run { greedy, follow, .. }) = self.ops.get(op) else { return false };
        let at = match (follow, greedy) {
            (Some(word), true) => self.last_before(word, first, last),
            (Some(word), false) => self.next_before(word, first, last),
            (None, true) => Some(last),
            (None, false) => Some(first),
        };
        let Some(at) = at else { return false };
        if *greedy && at > first {
            self.stack.push(Choice::Run { op, first, last: at - 1 });
        } else if !*greedy && at < last {
            self.stack.push(Choice::Run { op, first: at + 1, last });
        }
        (self.op, self.at) = (op + 1, at);
        true
    }
}

impl Walk<'_> {
    /// The last place between `first` and `last` where `word` stands.
    fn last_before(&self, word: &[u8], first: usize, last: usize) -> Option<usize> {
        let mut window = self.text.get(first..(last + 1).min(self.text.len()))?;
        loop {
            let offset = memchr::memrchr(*word.first()?, window)?;
            // Nearly always the second byte tells: that is cheaper than to call for a comparison.
            let next = (self.text.get(first + offset + 1), word.get(1));
            if next.1.is_none_or(|wanted| next.0 == Some(wanted))
                && self.text[first + offset..].starts_with(word)
            {
                return Some(first + offset);
            }
            window = &window[..offset];
        }
    }

    /// The next place between `first` and `last` where `word` stands.
    fn next_before(&self, word: &[u8], first: usize, last: usize) -> Option<usize> {
        let window = self.text.get(first..last.saturating_add(word.len()).min(self.text.len()))?;
        memchr::memmem::find(window, word).map(|offset| first + offset)
    }
}

impl Set {
    fn has(&self, byte: u8) -> bool {
        match self {
            Set::All => true,
            Set::AllBut(other) => byte != *other,
            Set::Some(members) => members[usize::from(byte)],
        }
    }

    /// How many bytes at the start of `text` belong to the set.
    fn run(&self, text: &[u8]) -> usize {
        match self {
            Set::All => text.len(),
            Set::AllBut(byte) => memchr::memchr(*byte, text).unwrap_or(text.len()),
            Set::Some(members) => text.iter().position(|b| !members[usize::from(*b)]).unwrap_or(text.len()),
        }
    }
}

#[cfg(test)]
mod tests;
