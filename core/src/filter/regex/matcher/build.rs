//! From a tree to its steps.

use super::MAX_OPS;
use super::code::{Code, Key, Op, Run, RunKind};
use super::shared::Shared;
use crate::filter::regex::text::{self, REPLACEMENT};
use crate::filter::regex::tree::{Anchor, Case, Class, ClassItem, Kind, Mode, Node, Tree};
use crate::filter::regex::{RegexError, RegexProblem};

/// More conditions than this double what is to be remembered too often.
const MAX_CONDITIONS: usize = 4;

/// The quick form, in which a run of one set is one step.
pub(super) fn plain(tree: &Tree, shared: &mut Shared) -> Result<Code, RegexError> {
    build(tree, true, shared)
}

/// The form of which every choice can be remembered.
pub(super) fn careful(tree: &Tree) -> Result<Code, RegexError> {
    let mut code = build(tree, false, &mut Shared::default())?;
    let tainted = tainted(&code);
    let conditions = code.conditions.len();
    let too_many = conditions > MAX_CONDITIONS;
    code.is_bounded = !too_many;
    let mut keys = 0;
    for (op, tainted) in code.ops.iter_mut().zip(tainted) {
        match op {
            Op::Split { key, .. } if tainted || too_many => {
                *key = None;
                code.is_bounded = false;
            }
            Op::Split { key: Some(key), .. } => {
                key.base = keys;
                keys += (key.loops.len() + 1) << conditions;
            }
            Op::Look { pure: false, .. } | Op::Atomic { pure: false, .. } => code.is_bounded = false,
            _ => {}
        }
    }
    code.keys = keys;
    Ok(code)
}

/// The steps from which the same run can come to a backreference.
fn tainted(code: &Code) -> Vec<bool> {
    let mut tainted: Vec<bool> = code.ops.iter().map(|op| matches!(op, Op::Backreference { .. })).collect();
    loop {
        let mut changed = false;
        for at in (0..code.ops.len()).rev() {
            let reaches = code.after(at).iter().flatten().any(|next| tainted.get(*next) == Some(&true));
            changed |= reaches && !tainted[at];
            tainted[at] |= reaches;
        }
        if !changed {
            return tainted;
        }
    }
}

fn build(tree: &Tree, runs: bool, shared: &mut Shared) -> Result<Code, RegexError> {
    let slots = tree.groups.len() * 2;
    let mut builder = Builder {
        code: Code { slots, group_slots: slots, ..Code::default() },
        runs,
        loops: Vec::new(),
        shared,
    };
    if !starts_at_begin(&tree.root) {
        let any = Class { negated: true, case: Case::Exact, items: Vec::new() };
        let node = Node { kind: Kind::Class(any), span: tree.root.span.clone() };
        builder.repeat(&node, 0, None, Mode::Lazy)?;
        builder.push(Op::Save(0), &tree.root)?;
    }
    builder.add(&tree.root)?;
    builder.push(Op::End, &tree.root)?;
    let Builder { mut code, shared, .. } = builder;
    code.look_ahead(runs, shared);
    if runs {
        code.tell_needed();
    }
    code.pass_jumps();
    code.ops.shrink_to_fit();
    Ok(code)
}

/// True if it can match at the begin of the text only.
pub(in crate::filter::regex) fn starts_at_begin(node: &Node) -> bool {
    match &node.kind {
        Kind::Anchor(Anchor::TextStart) => true,
        Kind::Group { node, .. } | Kind::Atomic(node) => starts_at_begin(node),
        Kind::Concat(parts) => parts.first().is_some_and(starts_at_begin),
        Kind::Alternate(branches) => branches.iter().all(starts_at_begin),
        _ => false,
    }
}

/// The set of a part that always takes one character.
pub(in crate::filter::regex) fn single(node: &Node) -> Option<Class> {
    match &node.kind {
        Kind::Literal { code, case } => {
            Some(Class { negated: false, case: *case, items: vec![ClassItem::Range(*code, *code)] })
        }
        Kind::Class(class) => Some(class.clone()),
        Kind::Concat(parts) if parts.len() == 1 => single(parts.first()?),
        _ => None,
    }
}

/// The character of a literal that is the same bytes wherever it stands.
pub(in crate::filter::regex) fn plain_char(node: &Node) -> Option<char> {
    match node.kind {
        Kind::Literal { code, case } => text::code(code)
            .filter(|c| *c != REPLACEMENT && !(case != Case::Exact && (c.is_alphabetic() || !c.is_ascii()))),
        _ => None,
    }
}

/// `(?!word).`: one character of a set where this word of ASCII does not begin.
fn tempered(node: &Node) -> Option<(Class, Option<Box<[u8]>>)> {
    let Kind::Concat(parts) = &node.kind else { return None };
    let [Node { kind: Kind::Look { node: word, negated: true, behind: None }, .. }, one] = parts.as_slice()
    else {
        return None;
    };
    let Kind::Concat(letters) = &word.kind else { return None };
    let letter = |node: &Node| plain_char(node).and_then(|c| u8::try_from(c).ok()).filter(u8::is_ascii);
    let word: Option<Box<[u8]>> = letters.iter().map(letter).collect();
    Some((single(one)?, Some(word.filter(|word| !word.is_empty())?)))
}

/// True if it may match without taking a character.
fn is_nullable(node: &Node) -> bool {
    match &node.kind {
        Kind::Literal { .. } | Kind::Class(_) => false,
        Kind::Group { node, .. } | Kind::Atomic(node) => is_nullable(node),
        Kind::Concat(parts) => parts.iter().all(is_nullable),
        Kind::Alternate(branches) => branches.iter().any(is_nullable),
        Kind::Repeat { node, min, .. } => *min == 0 || is_nullable(node),
        Kind::Conditional { yes, no, .. } => is_nullable(yes) || is_nullable(no),
        Kind::Empty | Kind::Anchor(_) | Kind::Look { .. } | Kind::Backreference { .. } => true,
    }
}

struct Builder<'s> {
    code: Code,
    /// Runs of one set are one step.
    runs: bool,
    /// The slots of the repetitions around the present step whose body can match nothing.
    loops: Vec<usize>,
    shared: &'s mut Shared,
}

impl Builder<'_> {
    fn push(&mut self, op: Op, node: &Node) -> Result<usize, RegexError> {
        if self.code.ops.len() >= MAX_OPS {
            let problem = RegexProblem::Size("its repetitions unfold to more than 50000 steps");
            return Err(RegexError { column: node.span.start, problem });
        }
        self.code.ops.push(op);
        Ok(self.code.ops.len() - 1)
    }

    fn here(&self) -> usize {
        self.code.ops.len()
    }

    fn add(&mut self, node: &Node) -> Result<(), RegexError> {
        if let Some(c) = plain_char(node) {
            return self.literal(&[c], node);
        }
        if let Some(class) = single(node) {
            let set = self.shared.set(&class);
            return self.push(Op::One(set), node).map(drop);
        }
        match &node.kind {
            Kind::Empty | Kind::Literal { .. } | Kind::Class(_) => {}
            Kind::Anchor(anchor) => drop(self.push(Op::Anchor(*anchor), node)?),
            Kind::Group { index, node } => {
                let slot = usize::try_from(*index).unwrap_or(0) * 2;
                self.push(Op::Save(slot), node)?;
                self.add(node)?;
                self.push(Op::Save(slot + 1), node)?;
            }
            Kind::Concat(parts) => self.concat(parts)?,
            Kind::Alternate(branches) => self.alternate(branches)?,
            Kind::Repeat { node, min, max, mode } => {
                let max = max.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
                self.repeat(node, usize::try_from(*min).unwrap_or(usize::MAX), max, *mode)?;
            }
            Kind::Look { node: inner, negated, behind } => {
                let (negated, behind) = (*negated, *behind);
                self.inner(inner, |next, pure| Op::Look { negated, behind, next, pure })?;
            }
            Kind::Atomic(inner) => self.inner(inner, |next, pure| Op::Atomic { next, pure })?,
            Kind::Backreference { group, case } => {
                let slot = usize::try_from(*group).unwrap_or(0) * 2;
                self.push(Op::Backreference { slot, case: *case }, node)?;
            }
            Kind::Conditional { group, yes, no } => {
                let slot = usize::try_from(*group).unwrap_or(0) * 2 + 1;
                if !self.code.conditions.contains(&slot) {
                    self.code.conditions.push(slot);
                }
                let test = self.push(Op::IfSet { slot, no: 0 }, node)?;
                self.add(yes)?;
                let jump = self.push(Op::Jump(0), node)?;
                self.code.ops[test] = Op::IfSet { slot, no: self.here() };
                self.add(no)?;
                self.code.ops[jump] = Op::Jump(self.here());
            }
        }
        Ok(())
    }

    /// Plain characters that follow one another are one step.
    fn concat(&mut self, parts: &[Node]) -> Result<(), RegexError> {
        let mut at = 0;
        while let Some(part) = parts.get(at) {
            let word: Vec<char> = parts[at..].iter().map_while(plain_char).collect();
            if word.is_empty() {
                self.add(part)?;
                at += 1;
            } else {
                self.literal(&word, part)?;
                at += word.len();
            }
        }
        Ok(())
    }

    fn literal(&mut self, word: &[char], node: &Node) -> Result<(), RegexError> {
        let word: String = word.iter().collect();
        self.push(Op::Bytes(word.into_bytes().into()), node).map(drop)
    }

    fn alternate(&mut self, branches: &[Node]) -> Result<(), RegexError> {
        let mut ends = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            let split = if index + 1 < branches.len() { Some(self.split(branch)?) } else { None };
            self.add(branch)?;
            if let Some(split) = split {
                ends.push(self.push(Op::Jump(0), branch)?);
                self.aim(split, true);
            }
        }
        let end = self.here();
        for at in ends {
            self.code.ops[at] = Op::Jump(end);
        }
        Ok(())
    }

    /// A run of its own: a lookaround or an atomic group.
    fn inner(&mut self, node: &Node, op: impl Fn(usize, bool) -> Op) -> Result<(), RegexError> {
        let start = self.push(op(0, false), node)?;
        let outer = std::mem::take(&mut self.loops);
        self.add(node)?;
        self.loops = outer;
        self.push(Op::End, node)?;
        let groups = self.code.group_slots;
        let pure = self.code.ops[start + 1..].iter().all(|op| match op {
            Op::Save(slot) => *slot >= groups,
            Op::Backreference { .. } | Op::Look { pure: false, .. } | Op::Atomic { pure: false, .. } => false,
            _ => true,
        });
        self.code.ops[start] = op(self.here(), pure);
        Ok(())
    }

    fn repeat(&mut self, node: &Node, min: usize, max: Option<usize>, mode: Mode) -> Result<(), RegexError> {
        let run = single(node).map(|class| (class, None));
        let run = run.or_else(|| tempered(node).filter(|_| max.is_none()));
        if let (true, Some((class, stop))) = (self.runs, run) {
            let kind = match mode {
                Mode::Greedy => RunKind::Greedy,
                Mode::Lazy => RunKind::Lazy,
                Mode::Possessive => RunKind::Possessive,
            };
            let set = self.shared.set(&class);
            let max = max.unwrap_or(usize::MAX);
            let run = Run { set, min, max, kind, stop, follow: None, whole: false, next: false };
            return self.push(Op::Run(run), node).map(drop);
        }
        if mode == Mode::Possessive {
            let max = max.map(|max| u32::try_from(max).unwrap_or(u32::MAX));
            let min = u32::try_from(min).unwrap_or(u32::MAX);
            let kind = Kind::Repeat { node: Box::new(node.clone()), min, max, mode: Mode::Greedy };
            let greedy = Node { kind, span: node.span.clone() };
            return self.inner(&greedy, |next, pure| Op::Atomic { next, pure });
        }
        for _ in 0..min {
            let before = self.here();
            self.add(node)?;
            if self.here() == before {
                return Ok(());
            }
        }
        let greedy = mode == Mode::Greedy;
        match max {
            None => {
                let start = self.here();
                let split = self.split(node)?;
                let check = self.round(node)?;
                self.push(Op::Jump(start), node)?;
                self.aim(split, greedy);
                self.exit(check);
            }
            Some(max) => {
                let mut open = Vec::new();
                for _ in min..max {
                    let split = self.split(node)?;
                    open.push((split, self.round(node)?));
                }
                for (split, check) in open {
                    self.aim(split, greedy);
                    self.exit(check);
                }
            }
        }
        Ok(())
    }

    /// One round of a repetition. If it may take nothing, it ends with a check, whose place is returned.
    fn round(&mut self, node: &Node) -> Result<Option<usize>, RegexError> {
        if !is_nullable(node) {
            self.add(node)?;
            return Ok(None);
        }
        let slot = self.code.slots;
        self.code.slots += 1;
        self.push(Op::Save(slot), node)?;
        self.loops.push(slot);
        self.add(node)?;
        self.loops.pop();
        self.push(Op::Check { slot, exit: 0 }, node).map(Some)
    }

    /// A choice between what follows and a place that [`Builder::aim`] sets.
    fn split(&mut self, node: &Node) -> Result<usize, RegexError> {
        let at = self.here();
        let key = (!self.runs).then(|| Key { base: 0, loops: self.loops.clone().into() });
        self.push(
            Op::Split { first: at + 1, second: at + 1, begin: Default::default(), needed: None, key },
            node,
        )
    }

    /// Aims a choice at the present place; `here_first` prefers what follows it.
    fn aim(&mut self, at: usize, here_first: bool) {
        let target = self.here();
        if let Some(Op::Split { first, second, .. }) = self.code.ops.get_mut(at) {
            *(if here_first { second } else { first }) = target;
        }
    }

    fn exit(&mut self, check: Option<usize>) {
        let target = self.here();
        if let Some(Op::Check { exit, .. }) = check.and_then(|at| self.code.ops.get_mut(at)) {
            *exit = target;
        }
    }
}
