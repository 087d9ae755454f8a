//! Python's regular expressions, in linear time.
//!
//! [`tags`] expands what fail2ban's language adds (`<HOST>`, `<F-USER>`), [`parse()`] reads Python's syntax into a
//! documented [`tree`], [`lower()`] turns the tree into a pattern for finite automata, which holds at least all that
//! the tree matches, and [`matcher`] decides exactly whether it does and what the groups hold.
//!
//! Text is bytes that are mostly UTF-8. Whatever is not UTF-8 counts as U+FFFD, once for each piece that a decoder
//! would replace: what fail2ban sees after it has decoded a line. So `.` takes one character, not one byte, and
//! `\w` knows the letters of all scripts, as in Python.

mod class;
pub(super) mod head;
pub mod lower;
pub mod matcher;
pub mod parse;
pub mod tags;
mod text;
pub mod tree;

pub(super) use lower::lower_here;
pub use lower::{Lowered, lower};
pub use matcher::{Digits, Found, Matcher, Scratch, Shared};
pub use parse::{Options, parse};
pub use tags::{Expanded, HostNames, expand};
pub use tree::Tree;

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct RegexError {
    /// Where in the expression, counted in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: RegexProblem,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegexProblem {
    /// Nothing but blanks.
    #[error("the expression is empty")]
    Empty,
    /// `\y`, `\x1`, a backslash at the end.
    #[error("the escape \"\\{0}\" means nothing; leave out the backslash, or double it")]
    Escape(String),
    /// `\N{..}`.
    #[error("characters by their names are not supported; write \\u and four digits")]
    NamedCharacter,
    /// `[` without `]`.
    #[error("the set \"[\" is not closed; add \"]\", or write \"\\[\" for the character")]
    OpenSet,
    /// `[z-a]`, `[\w-a]`.
    #[error(
        "the range \"{0}\" in a set is none; the smaller end comes first, and both are single characters"
    )]
    Range(String),
    /// `(` without `)`.
    #[error("the group \"(\" is not closed; add \")\", or write \"\\(\" for the character")]
    OpenGroup,
    /// `)` without `(`.
    #[error("\")\" closes no group; write \"\\)\" for the character")]
    ExtraClose,
    /// `*` at the start, or behind an anchor.
    #[error("\"{0}\" repeats nothing; write \"\\{0}\" for the character")]
    NothingToRepeat(String),
    /// `a**`.
    #[error("a repetition cannot be repeated; put it into a group: (?:..)")]
    RepeatedRepeat,
    /// `a{3,2}`.
    #[error("the repetition's lower bound is above its upper one")]
    RepeatBounds,
    /// `a{99999999999}`.
    #[error("the repetition's number is too large")]
    RepeatNumber,
    /// `(?P<1a>..)`.
    #[error("the group's name \"{0}\" is none; use letters, digits and _, no digit first")]
    GroupName(String),
    /// Two groups of one name.
    #[error("there are two groups of the name \"{0}\"; use <F-ALT_..> or another name")]
    GroupTwice(String),
    /// `\7` or `(?P=x)` without such a group.
    #[error("there is no group \"{0}\" before it")]
    NoGroup(String),
    /// `(a\1)`.
    #[error("the group \"{0}\" refers to itself; close it first")]
    OpenReference(String),
    /// A reference in a lookbehind to a group of the same.
    #[error("the group \"{0}\" belongs to the same lookbehind; put it before")]
    LookbehindReference(String),
    /// `(?<=a+)`.
    #[error(
        "a lookbehind must have one length; \"*\", \"+\", \"?\" and alternatives of several lengths do not"
    )]
    LookbehindWidth,
    /// `(?(1)a|b|c)`.
    #[error("a condition has two branches at most")]
    ConditionalBranches,
    /// `(?z`, `(?P!`.
    #[error("\"({0}\" begins no known kind of group")]
    Extension(String),
    /// Flags that are unknown, or do not go together.
    #[error("the flags \"{0}\" cannot stand together here; i, m, s, x, a and u are known, L is not for text")]
    Flags(String),
    /// `a(?i)b`.
    #[error("flags for the whole expression come first; write (?i:..) for a part")]
    LateFlags,
    /// Groups within groups, too deep.
    #[error("groups are nested more than {0} deep")]
    Depth(usize),
    /// The expression, or what its repetitions unfold to.
    #[error("the expression is too large; {0}")]
    Size(&'static str),
}
