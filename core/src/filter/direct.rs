//! The fast way to a match's groups: plain backtracking over a small program, under a budget of steps.
//!
//! Log expressions are mostly fixed words with runs of one kind of byte between them. Walking those directly costs
//! a tenth of what a general engine needs for groups. Backtracking can take exponential time on hostile text, so the
//! steps are counted: whoever exceeds the budget, or holds something that is not known here, is left to the general
//! engine, which finds the same groups in linear time.

use regex_automata::util::primitives::NonMaxUsize;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

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

/// More steps than this are never worth it.
const MAX_OPS: usize = 4_000;

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
            Op::Bytes(bytes) if rest.starts_with(bytes) => {
                self.at += bytes.len();
                self.op += 1;
            }
            Op::Run { set, min, max, greedy, .. } => {
                let most = set.run(&rest[..rest.len().min(*max)]);
                if most < *min {
                    return Step::Stuck;
                }
                let (first, last) = (self.at + min, self.at + most);
                if *greedy {
                    self.at = last;
                    if last > first {
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
            if self.text[first + offset..].starts_with(word) {
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
    fn new(class: &Class) -> Option<Set> {
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

fn ascii(c: char) -> Option<u8> {
    u8::try_from(c).ok().filter(u8::is_ascii)
}

struct Builder {
    ops: Vec<Op>,
}

impl Builder {
    fn add(&mut self, hir: &Hir) -> Option<()> {
        if self.ops.len() > MAX_OPS {
            return None;
        }
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => self.ops.push(Op::Bytes(literal.0.clone())),
            HirKind::Class(class) => self.ops.push(Op::One(Set::new(class)?)),
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
        self.ops.push(Op::Run { set, min, max, greedy, follow: None });
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
    fn look_ahead(&mut self) {
        for index in 0..self.ops.len() {
            match &self.ops[index] {
                Op::Run { .. } => {
                    let next = self.next_word(index + 1).map(Box::from);
                    if let Op::Run { follow, .. } = &mut self.ops[index] {
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
        HirKind::Class(class) => Some(Set::new(class)),
        HirKind::Literal(literal) if literal.0.len() == 1 => {
            let mut members = Box::new([false; 256]);
            members[usize::from(literal.0[0])] = true;
            Some(Some(Set::Some(members)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::nfa::thompson::{self, NFA, pikevm::PikeVM};
    use regex_automata::util::syntax;
    use regex_automata::{Anchored, Input};

    use super::super::{catalog, failregex};
    use super::*;

    type Slots = Vec<Option<NonMaxUsize>>;

    struct Pair {
        direct: Direct,
        general: PikeVM,
    }

    impl Pair {
        fn new(expression: &str) -> Option<Pair> {
            let pattern = failregex::translate(expression).unwrap().pattern;
            let hir =
                syntax::parse_with(&pattern, &syntax::Config::new().unicode(false).utf8(false)).unwrap();
            let config = thompson::Config::new().utf8(false);
            let nfa = NFA::compiler().configure(config).build_from_hir(&hir).unwrap();
            Some(Pair { direct: Direct::compile(&hir)?, general: PikeVM::new_from_nfa(nfa).unwrap() })
        }

        /// What both find; the direct way may give up.
        fn both(&self, text: &[u8]) -> (Option<Option<Slots>>, Option<Slots>) {
            let mut slots: Slots = vec![None; self.general.get_nfa().group_info().slot_len()];
            let found = self.direct.search(&mut Stack::default(), text, &mut slots);
            let direct = found.ok().map(|matched| matched.then(|| slots.clone()));
            let input = Input::new(text).anchored(Anchored::Yes);
            let general = self.general.search_slots(&mut self.general.create_cache(), &input, &mut slots);
            (direct, general.map(|_| slots))
        }
    }

    #[test]
    fn finds_the_groups_of_every_built_in_expression_as_the_general_engine_does() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
        let mut compared = 0;
        for name in catalog::names() {
            let spec = catalog::builtin(name).unwrap();
            let text = std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap();
            for expression in spec.failregex.iter().chain(&spec.successregex) {
                let pair = Pair::new(expression).unwrap_or_else(|| panic!("not direct: {expression}"));
                for line in text.lines().filter(|line| !line.starts_with('#')) {
                    for cut in [0, 15, 28] {
                        let (direct, general) = pair.both(line.as_bytes().get(cut..).unwrap_or(b""));
                        assert_eq!(direct, Some(general), "{expression}\n{line}");
                        compared += 1;
                    }
                }
            }
        }
        assert!(compared > 10_000);
    }

    #[test]
    fn gives_up_instead_of_running_for_ever() {
        let pair = Pair::new("^(?:a|aa)*b").unwrap();
        let (direct, general) = pair.both(&[b'a'; 400]);
        assert_eq!((direct, general), (None, None));
        let (direct, _) = Pair::new("^(?:a?)*b").unwrap().both(b"aac");
        assert_eq!(direct, None);
    }

    #[test]
    fn leaves_what_it_does_not_know() {
        assert!(Pair::new(r"^a\bb").is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn agrees_with_the_general_engine(text in "[ab ]{0,12}", expression in prop::sample::select(vec![
            "^(a*)(a|b)+$", "(a+?)b", "^(?:(a)|(b))*$", "(a|ab)(b|)( ?)", "^(.*?) (.*) ", "^(.*) (.*?)$",
            "^([ab]{2,3})(a{1,2})?", "^(?:a(b)?){2,3}", "^(a*?)(a*)b", "^[^b]*(b| )[^a]*$", "^((?:ab)*)(.*) ?$",
            "^(?:([ab])(?: |b))*?(.*)", "b$|^(a)", "^(a??)(a?)(b{0,2}?)(.)",
        ])) {
            let (direct, general) = Pair::new(expression).unwrap().both(text.as_bytes());
            if let Some(direct) = direct {
                prop_assert_eq!(direct, general, "{} on {:?}", expression, text);
            }
        }
    }
}
