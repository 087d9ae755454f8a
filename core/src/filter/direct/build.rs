//! From a parsed expression to its steps.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::{Op, Set};

/// More steps than this are never worth it.
const MAX_OPS: usize = 4_000;

/// Collects the steps of an expression.
pub(super) struct Builder {
    pub(super) ops: Vec<Op>,
}

impl Builder {
    pub(super) fn add(&mut self, hir: &Hir) -> Option<()> {
        if self.ops.len() > MAX_OPS {
            return None;
        }
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => self.ops.push(Op::Bytes(literal.0.clone())),
            HirKind::Class(class) => self.ops.push(Op::One(new_set(class)?)),
            HirKind::Look(Look::Start) => self.ops.push(Op::Start),
            HirKind::Look(Look::End) => self.ops.push(Op::End),
            HirKind::Look(_) => return None,
            HirKind::Repetition(repetition) => self.repeat(repetition)?,
            HirKind::Capture(capture) => {
                let slot = usize::try_from(capture.index).ok()? * 2;
                self.ops.push(Op::Save(slot));
                self.add(&capture.sub)?;
                self.ops.push(Op::Save(slot + 1));
            }
            HirKind::Concat(parts) => {
                for part in parts {
                    self.add(part)?;
                }
            }
            HirKind::Alternation(branches) => self.alternate(branches)?,
        }
        Some(())
    }

    fn run(&mut self, set: Set, min: usize, max: usize, greedy: bool) {
        self.ops.push(Op::Run { set, min, max, greedy, follow: None, whole: false });
    }

    fn alternate(&mut self, branches: &[Hir]) -> Option<()> {
        let mut ends = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            let split = (index + 1 < branches.len()).then(|| self.split(true));
            self.add(branch)?;
            if let Some(split) = split {
                ends.push(self.ops.len());
                self.ops.push(Op::Jump(0));
                self.aim(split);
            }
        }
        let end = self.ops.len();
        for at in ends {
            self.ops[at] = Op::Jump(end);
        }
        Some(())
    }

    fn repeat(&mut self, repetition: &Repetition) -> Option<()> {
        let min = usize::try_from(repetition.min).ok()?;
        let max = repetition.max.and_then(|max| usize::try_from(max).ok());
        if let Some(set) = single_byte(&repetition.sub) {
            self.run(set?, min, max.unwrap_or(usize::MAX), repetition.greedy);
            return Some(());
        }
        for _ in 0..min {
            self.add(&repetition.sub)?;
        }
        match max {
            None => {
                // A round that takes no byte would go on for ever: the budget ends it.
                let start = self.ops.len();
                let split = self.split(repetition.greedy);
                self.add(&repetition.sub)?;
                self.ops.push(Op::Jump(start));
                self.aim(split);
            }
            Some(max) => {
                let mut splits = Vec::new();
                for _ in min..max {
                    splits.push(self.split(repetition.greedy));
                    self.add(&repetition.sub)?;
                }
                splits.into_iter().for_each(|split| self.aim(split));
            }
        }
        Some(())
    }

    /// A choice between what follows and a place that [`Builder::aim`] sets; `here_first` prefers what follows.
    fn split(&mut self, here_first: bool) -> (usize, bool) {
        let at = self.ops.len();
        self.ops.push(Op::Split { first: at + 1, second: at + 1, begin: None });
        (at, here_first)
    }

    fn aim(&mut self, (at, here_first): (usize, bool)) {
        let target = self.ops.len();
        self.ops[at] = if here_first {
            Op::Split { first: at + 1, second: target, begin: None }
        } else {
            Op::Split { first: target, second: at + 1, begin: None }
        };
    }

    /// Tells runs and splits what must come next, so that they need not try where it does not.
    pub(super) fn look_ahead(&mut self) {
        for index in 0..self.ops.len() {
            match &self.ops[index] {
                Op::Run { .. } => {
                    let next: Option<Box<[u8]>> = self.next_word(index + 1).map(Box::from);
                    if let Op::Run { set, follow, whole, .. } = &mut self.ops[index] {
                        *whole = next.as_ref().and_then(|word| word.first()).is_some_and(|b| !set.has(*b));
                        *follow = next;
                    }
                }
                Op::Split { first, .. } => {
                    let next = self.next_word(*first).and_then(|word| word.first().copied());
                    if let Op::Split { begin, .. } = &mut self.ops[index] {
                        *begin = next;
                    }
                }
                _ => {}
            }
        }
    }

    /// The bytes that must come next at this step, if only these can.
    fn next_word(&self, mut op: usize) -> Option<&[u8]> {
        loop {
            match self.ops.get(op)? {
                Op::Save(_) => op += 1,
                Op::Bytes(bytes) => return Some(bytes),
                _ => return None,
            }
        }
    }
}

/// The set of an expression that takes exactly one byte; the inner nothing if that set is not known here.
fn single_byte(hir: &Hir) -> Option<Option<Set>> {
    match hir.kind() {
        HirKind::Class(class) => Some(new_set(class)),
        HirKind::Literal(literal) if literal.0.len() == 1 => {
            let mut members = Box::new([false; 256]);
            members[usize::from(literal.0[0])] = true;
            Some(Some(Set::Some(members)))
        }
        _ => None,
    }
}

fn ascii(c: char) -> Option<u8> {
    u8::try_from(c).ok().filter(u8::is_ascii)
}

fn new_set(class: &Class) -> Option<Set> {
    let mut members = Box::new([false; 256]);
    let mut add = |start: u8, end: u8| members[usize::from(start)..=usize::from(end)].fill(true);
    match class {
        Class::Bytes(bytes) => bytes.iter().for_each(|range| add(range.start(), range.end())),
        Class::Unicode(chars) => {
            for range in chars.iter() {
                add(ascii(range.start())?, ascii(range.end())?);
            }
        }
    }
    let mut others = (0..=255u8).filter(|b| !members[usize::from(*b)]);
    Some(match (others.next(), others.next()) {
        (None, _) => Set::All,
        (Some(only), None) => Set::AllBut(only),
        _ => Set::Some(members),
    })
}
