//! A parsed regular expression: what Python's `re` would understand, as a tree.
//!
//! Flags are gone: what `(?i)`, `(?m)`, `(?s)`, `(?x)` and `(?a)` change is said by each [`Node`] itself. So a tree
//! has one meaning, without a context. Code points are `u32`, because Python's text may hold lone surrogates
//! (`\ud800`); no line of a log decodes to one.

use std::ops::Range;

/// A whole expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The expression itself.
    pub root: Node,
    /// The capturing groups by number; the first stands for the whole match. A group may have a name.
    pub groups: Vec<Option<String>>,
}

impl Tree {
    /// The number of the group of that name.
    pub fn group(&self, name: &str) -> Option<u32> {
        let at = self.groups.iter().position(|group| group.as_deref() == Some(name))?;
        u32::try_from(at).ok()
    }
}

/// One part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it matches.
    pub kind: Kind,
    /// Where it stands: columns, counted in characters from 1, the end excluded.
    pub span: Range<usize>,
}

/// What a part matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, everywhere.
    Empty,
    /// One character, or its forms in the other case.
    Literal {
        /// Its code point.
        code: u32,
        /// Whether it stands for its other case too.
        case: Case,
    },
    /// One character of a set: `[..]`, `\d`, `.`.
    Class(Class),
    /// A place between characters.
    Anchor(Anchor),
    /// A capturing group.
    Group {
        /// Its number, from 1.
        index: u32,
        /// What it captures.
        node: Box<Node>,
    },
    /// One after the other.
    Concat(Vec<Node>),
    /// The first that lets the whole match.
    Alternate(Vec<Node>),
    /// Several times.
    Repeat {
        /// What is repeated.
        node: Box<Node>,
        /// At least so often.
        min: u32,
        /// At most so often; nothing means without end.
        max: Option<u32>,
        /// How often is tried first.
        mode: Mode,
    },
    /// `(?=`, `(?!`, `(?<=`, `(?<!`: what stands there is looked at, not taken.
    Look {
        /// What is looked for.
        node: Box<Node>,
        /// True if it must not be there.
        negated: bool,
        /// Nothing: it begins here. Otherwise it ends here and is so many characters long.
        behind: Option<u32>,
    },
    /// The text that a group captured, again.
    Backreference {
        /// The group's number.
        group: u32,
        /// Whether it stands for its other case too.
        case: Case,
    },
    /// `(?(1)yes|no)`.
    Conditional {
        /// The group's number.
        group: u32,
        /// If the group took part in the match so far.
        yes: Box<Node>,
        /// If it did not.
        no: Box<Node>,
    },
    /// `(?>..)`: once it has matched, its other ways are forgotten.
    Atomic(Box<Node>),
}

impl Node {
    /// Gives back memory that nothing is kept in.
    pub(super) fn shrink(&mut self) {
        match &mut self.kind {
            Kind::Concat(parts) | Kind::Alternate(parts) => {
                parts.shrink_to_fit();
                parts.iter_mut().for_each(Node::shrink);
            }
            Kind::Group { node, .. }
            | Kind::Repeat { node, .. }
            | Kind::Look { node, .. }
            | Kind::Atomic(node) => node.shrink(),
            Kind::Conditional { yes, no, .. } => {
                yes.shrink();
                no.shrink();
            }
            Kind::Class(class) => class.items.shrink_to_fit(),
            Kind::Empty | Kind::Literal { .. } | Kind::Anchor(_) | Kind::Backreference { .. } => {}
        }
    }
}

/// How often a repetition is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As often as it goes, then less.
    Greedy,
    /// As seldom as it goes, then more.
    Lazy,
    /// As often as it goes, never less.
    Possessive,
}

/// Which letters are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// None but themselves.
    Exact,
    /// Those of ASCII in both cases: within `(?ai)`.
    Ascii,
    /// Those of all scripts in both cases: within `(?i)`.
    Unicode,
}

/// A place between characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// `\A`, and `^` outside `(?m)`: the begin of the text.
    TextStart,
    /// `\Z`: the end of the text.
    TextEnd,
    /// `$` outside `(?m)`: the end of the text, or before the newline that ends it.
    LastLineEnd,
    /// `^` within `(?m)`: the begin of any line.
    LineStart,
    /// `$` within `(?m)`: the end of any line.
    LineEnd,
    /// `\b` and `\B`: between a word and something else, or not there.
    WordBoundary {
        /// True for `\B`.
        negated: bool,
        /// True within `(?a)`: a word is made of ASCII only.
        ascii: bool,
    },
}

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// True if it holds all that its items do not.
    pub negated: bool,
    /// Whether it holds the other case of its items too.
    pub case: Case,
    /// What it is made of.
    pub items: Vec<ClassItem>,
}

/// A part of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassItem {
    /// From the first code point to the last, both included.
    Range(u32, u32),
    /// `\d`, `\w`, `\s` and their opposites.
    Category {
        /// Which.
        category: Category,
        /// True for the capital letter.
        negated: bool,
        /// True within `(?a)`: ASCII only.
        ascii: bool,
    },
}

/// What an escape in lower case stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// `\d`: decimal digits of any script.
    Digit,
    /// `\w`: letters and numbers of any script, and `_`.
    Word,
    /// `\s`: blanks, and the ASCII separators 0x1c to 0x1f unless it is limited to ASCII.
    Space,
}
