//! One walk through the steps of an expression.

use super::UNSET;
use super::code::{Code, Key, Op, Run, RunKind};
use super::memo::Memo;
use crate::filter::regex::text;

mod noted;
mod place;

pub use noted::Digits;
pub(super) use noted::Noted;

/// A choice to come back to.
#[derive(Debug)]
pub(super) enum Choice {
    /// Go on there.
    Branch { op: usize, at: usize },
    /// Take less (greedy) or more of a run: up to `last`, from `first` on.
    Run { op: usize, first: usize, last: usize },
    /// Put back what a slot held.
    Restore { slot: usize, held: usize },
    /// All ways from this choice were tried.
    Tried { key: usize },
}

/// The expression took too many steps on this text.
#[derive(Debug)]
pub(super) struct Limit;

/// Choices that may wait at once: some hundred MiB are never worth it.
const MAX_STACK: usize = 1 << 22;

/// `NOTED`: it tells how far it looked, which takes time.
pub(super) struct Walk<'a, const NOTED: bool> {
    code: &'a Code,
    text: &'a [u8],
    slots: &'a mut Vec<usize>,
    stack: &'a mut Vec<Choice>,
    budget: usize,
    memo: Option<&'a mut Memo>,
    op: usize,
    at: usize,
    /// True within a run of which successes can be remembered.
    pure: bool,
    /// Runs within runs.
    depth: usize,
    pub(super) noted: Noted,
}

enum Step {
    On,
    Stuck,
    /// The run ends there.
    Done(usize),
}

impl<'a, const NOTED: bool> Walk<'a, NOTED> {
    pub(super) fn new(
        code: &'a Code,
        text: &'a [u8],
        slots: &'a mut Vec<usize>,
        stack: &'a mut Vec<Choice>,
        budget: usize,
        memo: Option<&'a mut Memo>,
    ) -> Walk<'a, NOTED> {
        let noted = Noted::default();
        Walk { code, text, slots, stack, budget, memo, op: 0, at: 0, pure: false, depth: 0, noted }
    }

    /// Runs from a step and place to the end; returns where it ends. What was set stays set if it succeeds.
    pub(super) fn run(&mut self, op: usize, at: usize, pure: bool) -> Result<Option<usize>, Limit> {
        let base = self.stack.len();
        let outer = std::mem::replace(&mut self.pure, pure);
        (self.op, self.at) = (op, at);
        self.depth += 1;
        let end = loop {
            self.spend(1)?;
            match self.step()? {
                Step::On => {}
                Step::Done(end) => {
                    self.settle(base, end);
                    break Some(end);
                }
                Step::Stuck if self.back(base)? => {}
                Step::Stuck => break None,
            }
        };
        self.pure = outer;
        self.depth -= 1;
        Ok(end)
    }

    fn spend(&mut self, steps: usize) -> Result<(), Limit> {
        self.budget = self.budget.checked_sub(steps).ok_or(Limit)?;
        Ok(())
    }

    /// After a success: forgets the choices of this run, keeps what undoes it.
    fn settle(&mut self, base: usize, end: usize) {
        if self.depth == 1 {
            // It is all over: nobody will go back.
            return self.stack.clear();
        }
        let mut kept = base;
        for index in base..self.stack.len() {
            match &self.stack[index] {
                Choice::Restore { .. } => {
                    self.stack.swap(kept, index);
                    kept += 1;
                }
                Choice::Tried { key } if self.pure => {
                    let key = *key;
                    if let Some(memo) = &mut self.memo {
                        memo.succeed(key, end);
                    }
                }
                _ => {}
            }
        }
        self.stack.truncate(kept);
    }

    fn step(&mut self) -> Result<Step, Limit> {
        let code = self.code;
        let Some(op) = code.ops.get(self.op) else { return Ok(Step::Stuck) };
        let rest = &self.text[self.at..];
        if NOTED {
            self.note(op);
        }
        match op {
            Op::Bytes(bytes) if rest.first() == bytes.first() && rest.starts_with(bytes) => {
                self.at += bytes.len()
            }
            Op::Bytes(_) => return Ok(Step::Stuck),
            Op::Run(run) => return self.take_run(run),
            Op::One(set) => match set.one(self.text, self.at) {
                Some(length) => self.at += length,
                None => return Ok(Step::Stuck),
            },
            Op::Split { first, second, begin, needed, key } => {
                let next = rest.first();
                if let Some(word) = needed {
                    self.spend(rest.len() / 16)?;
                    if place::find(rest, word).is_none() {
                        self.op = *second;
                        return Ok(Step::On);
                    }
                }
                if !begin[0].allows(next) {
                    self.op = *second;
                } else if !begin[1].allows(next) {
                    self.op = *first;
                } else {
                    return self.choose(*first, *second, key.as_ref());
                }
                return Ok(Step::On);
            }
            Op::Jump(to) => {
                self.op = *to;
                return Ok(Step::On);
            }
            Op::Save(slot) => self.save(*slot, self.at),
            Op::Anchor(anchor) if self.stands(*anchor) => {}
            Op::Anchor(_) => return Ok(Step::Stuck),
            Op::Check { slot, exit } if self.slots.get(*slot) == Some(&self.at) => {
                self.op = *exit;
                return Ok(Step::On);
            }
            Op::Check { .. } => {}
            Op::IfSet { slot, no } if self.slots.get(*slot).is_none_or(|place| *place == UNSET) => {
                self.op = *no;
                return Ok(Step::On);
            }
            Op::IfSet { .. } => {}
            Op::Look { negated, behind, next, pure } => return self.look(*negated, *behind, *next, *pure),
            Op::Atomic { next, pure } => {
                let Some(end) = self.run(self.op + 1, self.at, *pure)? else { return Ok(Step::Stuck) };
                (self.op, self.at) = (*next, end);
                return Ok(Step::On);
            }
            Op::Backreference { slot, case } => match self.repeated(*slot, *case) {
                Some(end) => {
                    self.spend((end - self.at) / 16)?;
                    self.at = end;
                }
                None => return Ok(Step::Stuck),
            },
            Op::End => return Ok(Step::Done(self.at)),
        }
        self.op = code.after_step(self.op);
        Ok(Step::On)
    }

    /// A run of a set, as long as it is to be tried first.
    #[inline]
    fn take_run(&mut self, run: &Run) -> Result<Step, Limit> {
        let (extent, steps) = match run.set.run_ascii(self.text, self.at, run.max) {
            Some(end) if end - self.at < run.min => return Ok(Step::Stuck),
            Some(end) => ((self.at + run.min, end), (end - self.at) / 16),
            None => match self.extent(&run.set, run.min, run.max) {
                Some(extent) => (extent, run.set.steps(&self.text[self.at..extent.1])),
                None => return Ok(Step::Stuck),
            },
        };
        let (first, mut last) = extent;
        self.spend(steps)?;
        if let Some(stop) = &run.stop {
            last = self.next_before(stop, self.at, last).unwrap_or(last);
            if last < first {
                return Ok(Step::Stuck);
            }
        }
        if last > first && !run.whole && run.kind != RunKind::Possessive {
            return self.rerun(self.op, first, last).map(on_or_stuck);
        }
        self.at = last;
        if let (true, true, Some(word)) = (run.whole, run.next, &run.follow) {
            if !self.text[last..].starts_with(word) {
                return Ok(Step::Stuck);
            }
            self.at += word.len();
            self.op = self.code.after_step(self.op);
        }
        self.op = self.code.after_step(self.op);
        Ok(Step::On)
    }

    /// A choice: the first way, and the second to come back to.
    #[inline]
    fn choose(&mut self, first: usize, second: usize, key: Option<&Key>) -> Result<Step, Limit> {
        if let (Some(key), Some(memo)) = (key, &self.memo) {
            let key = memo.key(key, self.at, self.slots, &self.code.conditions);
            if memo.has_failed(key) {
                return Ok(Step::Stuck);
            }
            if self.pure
                && let Some(end) = memo.end_of(key)
            {
                return Ok(Step::Done(end));
            }
            if self.stack.len() > MAX_STACK {
                return Err(Limit);
            }
            self.stack.push(Choice::Tried { key });
        }
        self.stack.push(Choice::Branch { op: second, at: self.at });
        self.op = first;
        Ok(Step::On)
    }

    fn look(&mut self, negated: bool, behind: Option<u32>, next: usize, pure: bool) -> Result<Step, Limit> {
        let (op, at) = (self.op, self.at);
        let mut start = Some(at);
        for _ in 0..behind.unwrap_or(0) {
            start = start.filter(|at| *at > 0).map(|at| text::previous(self.text, at));
            if start.is_none() {
                break;
            }
        }
        let base = self.stack.len();
        let found = match start {
            Some(start) => self.run(op + 1, start, pure)?.is_some(),
            None => false,
        };
        if found && negated {
            self.undo(base);
        }
        (self.op, self.at) = (next, at);
        Ok(on_or_stuck(found != negated))
    }

    fn save(&mut self, slot: usize, at: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            // If nothing waits to be gone back to, nothing need be put back.
            if self.depth > 1 || !self.stack.is_empty() {
                self.stack.push(Choice::Restore { slot, held: *place });
            }
            *place = at;
        }
    }

    /// Undoes what was set since.
    fn undo(&mut self, base: usize) {
        while self.stack.len() > base {
            if let Some(Choice::Restore { slot, held }) = self.stack.pop()
                && let Some(place) = self.slots.get_mut(slot)
            {
                *place = held;
            }
        }
    }

    /// Goes back to the last choice of this run; false if none is left.
    fn back(&mut self, base: usize) -> Result<bool, Limit> {
        while self.stack.len() > base {
            match self.stack.pop() {
                None => break,
                Some(Choice::Branch { op, at }) => {
                    (self.op, self.at) = (op, at);
                    return Ok(true);
                }
                Some(Choice::Restore { slot, held }) => {
                    if let Some(place) = self.slots.get_mut(slot) {
                        *place = held;
                    }
                }
                Some(Choice::Tried { key }) => {
                    if let Some(memo) = &mut self.memo {
                        memo.fail(key);
                    }
                }
                Some(Choice::Run { op, first, last }) => {
                    if self.rerun(op, first, last)? {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// The next length of a run after which the text can go on; places whose next bytes cannot are skipped.
    fn rerun(&mut self, op: usize, first: usize, last: usize) -> Result<bool, Limit> {
        let Some(Op::Run(Run { kind, follow, next, .. })) = self.code.ops.get(op) else { return Ok(false) };
        let greedy = *kind == RunKind::Greedy;
        let at = match (follow, greedy) {
            (Some(word), true) => self.last_before(word, first, last),
            (Some(word), false) => self.next_before(word, first, last),
            (None, true) => Some(last),
            (None, false) => Some(first),
        };
        let skipped = at.map_or(last - first, |at| if greedy { last - at } else { at - first });
        self.spend(skipped / 16)?;
        let Some(at) = at else { return Ok(false) };
        if greedy && at > first {
            self.stack.push(Choice::Run { op, first, last: text::previous(self.text, at) });
        } else if !greedy && at < last {
            self.stack.push(Choice::Run { op, first: text::next(self.text, at), last });
        }
        (self.op, self.at) = match follow {
            Some(word) if *next => (self.code.after_step(op + 1), at + word.len()),
            _ => (self.code.after_step(op), at),
        };
        Ok(true)
    }
}

fn on_or_stuck(on: bool) -> Step {
    if on { Step::On } else { Step::Stuck }
}
