//! From a tree to a pattern for finite automata.
//!
//! The pattern holds at least all that the tree matches, so that a text it refuses needs no second look. What an
//! automaton cannot say is widened: lookarounds and word boundaries are left out, a backreference is any text, a
//! condition is either of its branches, atomic and possessive parts are ordinary ones. `$` stands at the end of any
//! line, which is exact for a text of one line.
//!
//! The pattern is made for bytes. A set that holds characters above ASCII holds all of them here, and one such
//! character is one to four bytes above ASCII.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, Look, Repetition};

use super::class::members;
use super::matcher::{plain_char, single, starts_at_begin};
use super::tree::{Anchor, Kind, Mode, Node, Tree};

/// Repetitions of a set above this bound are taken to have none.
const MAX_REPEAT: u32 = 64;

/// A pattern, and how true it is.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The pattern, for an anchored search on bytes that need not be UTF-8. It captures nothing.
    pub hir: Hir,
    /// True if it matches exactly what the tree matches, as long as the text is one line of ASCII.
    pub exact: bool,
}

/// The pattern of a tree. It begins to match at the start of the text: what may begin anywhere has a lead of
/// any bytes.
pub fn lower(tree: &Tree) -> Lowered {
    let mut lowering = Lowering { exact: true };
    let body = lowering.node(&tree.root);
    let hir = if starts_at_begin(&tree.root) { body } else { Hir::concat(vec![any_text(), body]) };
    Lowered { hir, exact: lowering.exact }
}

/// The pattern of a tree that begins to match at the start of the text, whether it says so or not.
pub(in crate::filter) fn lower_here(tree: &Tree) -> Lowered {
    let mut lowering = Lowering { exact: true };
    let hir = lowering.node(&tree.root);
    Lowered { hir, exact: lowering.exact }
}

struct Lowering {
    exact: bool,
}

impl Lowering {
    /// What cannot be said: it becomes `instead`.
    fn widen(&mut self, instead: Hir) -> Hir {
        self.exact = false;
        instead
    }

    fn node(&mut self, node: &Node) -> Hir {
        if let Some(c) = plain_char(node) {
            return Hir::literal(c.to_string().into_bytes());
        }
        if let Some(class) = single(node) {
            return self.character(&members(&class));
        }
        match &node.kind {
            Kind::Empty => Hir::empty(),
            Kind::Literal { .. } | Kind::Class(_) => Hir::fail(),
            Kind::Anchor(anchor) => self.anchor(*anchor),
            Kind::Group { node, .. } => self.node(node),
            Kind::Concat(parts) => Hir::concat(parts.iter().map(|part| self.node(part)).collect()),
            Kind::Alternate(branches) => {
                Hir::alternation(branches.iter().map(|branch| self.node(branch)).collect())
            }
            Kind::Repeat { node, min, max, mode } => self.repeat(node, *min, *max, *mode),
            Kind::Look { .. } => self.widen(Hir::empty()),
            Kind::Backreference { .. } => self.widen(any_text()),
            Kind::Conditional { yes, no, .. } => {
                let either = Hir::alternation(vec![self.node(yes), self.node(no)]);
                self.widen(either)
            }
            Kind::Atomic(node) => {
                let node = self.node(node);
                self.widen(node)
            }
        }
    }

    fn anchor(&mut self, anchor: Anchor) -> Hir {
        match anchor {
            Anchor::TextStart => Hir::look(Look::Start),
            Anchor::TextEnd => Hir::look(Look::End),
            Anchor::LineStart => Hir::look(Look::StartLF),
            Anchor::LastLineEnd | Anchor::LineEnd => Hir::look(Look::EndLF),
            Anchor::WordBoundary { .. } => self.widen(Hir::empty()),
        }
    }

    /// One character of a set.
    fn character(&mut self, set: &regex_syntax::hir::ClassUnicode) -> Hir {
        let (bytes, above) = bytes_of(set);
        if !above {
            return Hir::class(Class::Bytes(bytes));
        }
        let high = Hir::class(Class::Bytes(ClassBytes::new([ClassBytesRange::new(0x80, 0xff)])));
        let high = Hir::repetition(Repetition { min: 1, max: Some(4), greedy: true, sub: Box::new(high) });
        Hir::alternation(vec![Hir::class(Class::Bytes(bytes)), high])
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, mode: Mode) -> Hir {
        self.exact &= mode != Mode::Possessive;
        let greedy = mode != Mode::Lazy;
        let capped = max.filter(|max| *max <= MAX_REPEAT);
        self.exact &= capped == max && min <= MAX_REPEAT;
        let min = min.min(MAX_REPEAT);
        let sub = match single(node).map(|class| bytes_of(&members(&class))) {
            // Any number of characters is any number of bytes.
            Some((mut bytes, true)) if capped.is_none() => {
                bytes.push(ClassBytesRange::new(0x80, 0xff));
                Hir::class(Class::Bytes(bytes))
            }
            _ => self.node(node),
        };
        Hir::repetition(Repetition { min, max: capped, greedy, sub: Box::new(sub) })
    }
}

/// The members in ASCII, and whether there are others.
fn bytes_of(set: &regex_syntax::hir::ClassUnicode) -> (ClassBytes, bool) {
    let mut bytes = ClassBytes::empty();
    let mut above = false;
    for range in set.ranges() {
        let end = u32::from(range.end()).min(0x7f);
        above |= !range.end().is_ascii();
        if let (Ok(start), Ok(end)) = (u8::try_from(u32::from(range.start())), u8::try_from(end))
            && start <= end
        {
            bytes.push(ClassBytesRange::new(start, end));
        }
    }
    (bytes, above)
}

/// Any bytes, as few as will do.
fn any_text() -> Hir {
    let any = Hir::class(Class::Bytes(ClassBytes::new([ClassBytesRange::new(0, 0xff)])));
    Hir::repetition(Repetition { min: 0, max: None, greedy: false, sub: Box::new(any) })
}
