//! One walk through the steps of an expression.

use super::UNSET;
use super::code::{Code, Key, Op, RunKind};
use super::memo::Memo;
use crate::filter::regex::tree::{Anchor, Case};
use crate::filter::regex::{class, text};

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

pub(super) struct Walk<'a> {
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
}

enum Step {
    On,
    Stuck,
    /// The run ends there.
    Done(usize),
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        code: &'a Code,
        text: &'a [u8],
        slots: &'a mut Vec<usize>,
        stack: &'a mut Vec<Choice>,
        budget: usize,
        memo: Option<&'a mut Memo>,
    ) -> Walk<'a> {
        Walk { code, text, slots, stack, budget, memo, op: 0, at: 0, pure: false }
    }

    /// Runs from a step and place to the end; returns where it ends. What was set stays set if it succeeds.
    pub(super) fn run(&mut self, op: usize, at: usize, pure: bool) -> Result<Option<usize>, Limit> {
        let base = self.stack.len();
        let outer = std::mem::replace(&mut self.pure, pure);
        (self.op, self.at) = (op, at);
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
        Ok(end)
    }

    fn spend(&mut self, steps: usize) -> Result<(), Limit> {
        self.budget = self.budget.checked_sub(steps).ok_or(Limit)?;
        Ok(())
    }

    /// After a success: forgets the choices of this run, keeps what undoes it.
    fn settle(&mut self, base: usize, end: usize) {
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
        match op {
            Op::Bytes(bytes) if rest.first() == bytes.first() && rest.starts_with(bytes) => {
                self.at += bytes.len()
            }
            Op::Bytes(_) => return Ok(Step::Stuck),
            Op::Run { set, min, max, kind, follow, whole, next } => {
                let Some((first, last)) = self.extent(set, *min, *max) else { return Ok(Step::Stuck) };
                self.spend(set.steps(&self.text[self.at..last]))?;
                if last > first && !whole && *kind != RunKind::Possessive {
                    return self.rerun(self.op, first, last).map(on_or_stuck);
                }
                self.at = last;
                if let (true, true, Some(word)) = (*whole, *next, follow) {
                    if !self.text[last..].starts_with(word) {
                        return Ok(Step::Stuck);
                    }
                    self.at += word.len();
                    self.op += 1;
                }
            }
            Op::One(set) => match set.one(self.text, self.at) {
                Some(length) => self.at += length,
                None => return Ok(Step::Stuck),
            },
            Op::Split { first, second, begin, key } => {
                let next = rest.first();
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
        self.op += 1;
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

    /// Where the shortest and the longest run of a set end.
    fn extent(&self, set: &super::set::Set, min: usize, max: usize) -> Option<(usize, usize)> {
        let (line, mut first) = (self.text, self.at);
        if max == usize::MAX && min <= 1 {
            let last = set.run(line, first);
            if min == 1 {
                first = (last > first).then(|| text::next(line, first))?;
            }
            return Some((first, last));
        }
        for _ in 0..min {
            first += set.one(line, first)?;
        }
        if max == usize::MAX {
            return Some((first, set.run(line, first)));
        }
        let mut last = first;
        if set.is_ascii() {
            let most = last.saturating_add(max - min).min(line.len());
            return Some((first, set.run(&line[..most], last)));
        }
        for _ in min..max {
            let Some(length) = set.one(line, last) else { break };
            last += length;
        }
        Some((first, last))
    }

    fn save(&mut self, slot: usize, at: usize) {
        if let Some(place) = self.slots.get_mut(slot) {
            self.stack.push(Choice::Restore { slot, held: *place });
            *place = at;
        }
    }

    fn stands(&self, anchor: Anchor) -> bool {
        let (line, at) = (self.text, self.at);
        match anchor {
            Anchor::TextStart => at == 0,
            Anchor::TextEnd => at == line.len(),
            Anchor::LastLineEnd => at == line.len() || (at + 1 == line.len() && line[at] == b'\n'),
            Anchor::LineStart => at == 0 || line[at - 1] == b'\n',
            Anchor::LineEnd => line.get(at).is_none_or(|b| *b == b'\n'),
            Anchor::WordBoundary { negated, ascii } => {
                let word =
                    |found: Option<(char, usize)>| found.is_some_and(|(c, _)| class::is_word(c, ascii));
                // Python finds neither a boundary nor its opposite in an empty text.
                !line.is_empty()
                    && (word(text::char_before(line, at)) != word(text::char_at(line, at))) != negated
            }
        }
    }

    /// Where the text of a group ends if it stands here once more.
    fn repeated(&self, slot: usize, case: Case) -> Option<usize> {
        let (start, end) = (*self.slots.get(slot)?, *self.slots.get(slot + 1)?);
        let wanted = self.text.get(start..end)?;
        if case == Case::Exact && wanted.is_ascii() {
            return self.text[self.at..].starts_with(wanted).then_some(self.at + wanted.len());
        }
        let (mut at, mut from) = (self.at, start);
        while from < end {
            let (one, taken) = text::char_at(self.text, from)?;
            let (other, length) = text::char_at(self.text, at)?;
            let same = one == other || fold(case, one, other);
            if !same {
                return None;
            }
            (from, at) = (from + taken, at + length);
        }
        Some(at)
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
        let Some(Op::Run { kind, follow, next, .. }) = self.code.ops.get(op) else { return Ok(false) };
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
            Some(word) if *next => (op + 2, at + word.len()),
            _ => (op + 1, at),
        };
        Ok(true)
    }

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

/// True if the two are the same letter in two cases.
fn fold(case: Case, one: char, other: char) -> bool {
    match case {
        Case::Exact => false,
        Case::Ascii => one.eq_ignore_ascii_case(&other),
        Case::Unicode => one.to_lowercase().eq(other.to_lowercase()),
    }
}

fn on_or_stuck(on: bool) -> Step {
    if on { Step::On } else { Step::Stuck }
}
