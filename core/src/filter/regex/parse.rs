//! From the text of an expression to its [`Tree`]: the grammar of Python 3.11's `re`, what it refuses included.
//!
//! Differences: characters by their names (`\N{..}`) are refused; groups may be nested [`MAX_DEPTH`] deep, and
//! Python's own limit is the depth of its stack.

mod escape;
mod flags;
mod group;
mod width;

use std::ops::Range;

use super::tree::{Anchor, Case, Class, ClassItem, Kind, Mode, Node, Tree};
use super::{RegexError, RegexProblem};
use flags::Flags;
use width::Width;

/// Groups within groups; deeper ones are refused.
pub const MAX_DEPTH: usize = 200;
/// Characters of an expression.
const MAX_CHARS: usize = 256 * 1024;

/// How an expression is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// `^` and `$` also stand at the lines within the text (Python's `re.MULTILINE`; fail2ban: `maxlines` above 1).
    pub multiline: bool,
}

/// Reads an expression.
/// # Errors
/// The first thing that Python refuses too, with its column.
pub fn parse(pattern: &str, options: Options) -> Result<Tree, RegexError> {
    let chars: Vec<char> = pattern.chars().take(MAX_CHARS + 1).collect();
    if chars.len() > MAX_CHARS {
        return Err(RegexError {
            column: 1,
            problem: RegexProblem::Size("it has more than 262144 characters"),
        });
    }
    let mut flags = Flags { multiline: options.multiline, ..Flags::default() };
    // Flags for the whole expression count from its start; so the reading begins anew when they are known.
    loop {
        let mut parser = Parser::new(&chars, flags);
        let root = parser.run()?;
        if parser.global == flags {
            return Ok(Tree { root, groups: parser.groups.into_iter().map(|group| group.name).collect() });
        }
        flags = parser.global;
    }
}

struct Group {
    name: Option<String>,
    /// Nothing while it is open.
    width: Option<Width>,
}

struct Parser<'a> {
    chars: &'a [char],
    at: usize,
    depth: usize,
    groups: Vec<Group>,
    /// Global flags, those met so far included.
    global: Flags,
    /// Groups that a lookbehind began after; those are not known within it.
    lookbehind: Option<usize>,
    /// Numbers that conditions name, with their columns: the group may come later.
    conditions: Vec<(u32, usize)>,
}

/// What one branch has read so far.
struct Sequence {
    items: Vec<Node>,
    start: usize,
}

impl<'a> Parser<'a> {
    fn new(chars: &'a [char], global: Flags) -> Parser<'a> {
        let whole = Group { name: None, width: None };
        Parser {
            chars,
            at: 0,
            depth: 0,
            groups: vec![whole],
            global,
            lookbehind: None,
            conditions: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<Node, RegexError> {
        let flags = self.global;
        let root = self.alternation(flags, true)?;
        if self.peek().is_some() {
            return Err(self.error(RegexProblem::ExtraClose));
        }
        for (number, column) in &self.conditions {
            if usize::try_from(*number).is_ok_and(|number| number >= self.groups.len()) {
                let problem = RegexProblem::NoGroup(number.to_string());
                return Err(RegexError { column: *column, problem });
            }
        }
        Ok(root)
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    /// Takes at most `most` characters that fit.
    fn take(&mut self, most: usize, fits: impl Fn(char) -> bool) -> String {
        let mut out = String::new();
        while let Some(c) = self.peek().filter(|c| out.len() < most && fits(*c)) {
            out.push(c);
            self.at += 1;
        }
        out
    }

    fn error(&self, problem: RegexProblem) -> RegexError {
        RegexError { column: self.at + 1, problem }
    }

    fn span(&self, start: usize) -> Range<usize> {
        start + 1..self.at + 1
    }

    fn node(&self, kind: Kind, start: usize) -> Node {
        Node { kind, span: self.span(start) }
    }

    /// `a|b|c`.
    fn alternation(&mut self, mut flags: Flags, whole: bool) -> Result<Node, RegexError> {
        let start = self.at;
        let mut branches = vec![self.branch(flags, whole)?];
        flags.verbose |= whole && self.global.verbose;
        while self.eat('|') {
            branches.push(self.branch(flags, false)?);
        }
        match branches.pop() {
            Some(only) if branches.is_empty() => Ok(only),
            Some(last) => {
                branches.push(last);
                Ok(self.node(Kind::Alternate(branches), start))
            }
            None => Ok(self.node(Kind::Empty, start)),
        }
    }

    /// One branch of an alternation. `first`: global flags may stand at its start.
    fn branch(&mut self, mut flags: Flags, first: bool) -> Result<Node, RegexError> {
        let mut sequence = Sequence { items: Vec::new(), start: self.at };
        while let Some(c) = self.peek().filter(|c| !matches!(c, '|' | ')')) {
            let start = self.at;
            self.at += 1;
            if flags.verbose && self.skip_verbose(c)? {
                continue;
            }
            match c {
                '(' => {
                    let first = first && sequence.items.is_empty();
                    sequence.items.extend(self.group(flags, first)?);
                    // Of the flags for the whole, this one changes how the rest is read.
                    flags.verbose |= first && self.global.verbose;
                }
                '*' | '+' | '?' | '{' => self.repeat(c, flags, &mut sequence)?,
                _ => {
                    let kind = self.single(c, flags, start)?;
                    sequence.items.push(self.node(kind, start));
                }
            }
        }
        let Sequence { mut items, start } = sequence;
        match items.pop() {
            None => Ok(self.node(Kind::Empty, start)),
            Some(only) if items.is_empty() => Ok(only),
            Some(last) => {
                items.push(last);
                Ok(self.node(Kind::Concat(items), start))
            }
        }
    }

    /// Blanks and comments within `(?x)`.
    fn skip_verbose(&mut self, c: char) -> Result<bool, RegexError> {
        if c == '#' {
            self.skip_past('\n')?;
            return Ok(true);
        }
        Ok(matches!(c, ' ' | '\t'..='\r'))
    }

    /// Takes all up to `end` and that too; false if it is not there. A backslash hides what stands behind it.
    fn skip_past(&mut self, end: char) -> Result<bool, RegexError> {
        while let Some(c) = self.next() {
            if c == end {
                return Ok(true);
            }
            if c == '\\' && self.next().is_none() {
                return Err(self.error(RegexProblem::Escape(String::new())));
            }
        }
        Ok(false)
    }

    fn single(&mut self, c: char, flags: Flags, start: usize) -> Result<Kind, RegexError> {
        let case = flags.case();
        Ok(match c {
            '\\' => self.escape(flags, start)?,
            '[' => Kind::Class(self.set(flags, start)?),
            '.' if flags.dot_all => {
                Kind::Class(Class { negated: true, case: Case::Exact, items: Vec::new() })
            }
            '.' => {
                let newline = ClassItem::Range(u32::from('\n'), u32::from('\n'));
                Kind::Class(Class { negated: true, case: Case::Exact, items: vec![newline] })
            }
            '^' if flags.multiline => Kind::Anchor(Anchor::LineStart),
            '^' => Kind::Anchor(Anchor::TextStart),
            '$' if flags.multiline => Kind::Anchor(Anchor::LineEnd),
            '$' => Kind::Anchor(Anchor::LastLineEnd),
            other => Kind::Literal { code: u32::from(other), case },
        })
    }

    /// `*`, `+`, `?`, `{2,3}` with what may stand behind; other braces are characters.
    fn repeat(&mut self, c: char, flags: Flags, sequence: &mut Sequence) -> Result<(), RegexError> {
        let start = self.at - 1;
        let (min, max) = match c {
            '*' => (0, None),
            '+' => (1, None),
            '?' => (0, Some(1)),
            _ => match self.braces(start)? {
                Some(bounds) => bounds,
                None => {
                    self.at = start + 1;
                    let kind = Kind::Literal { code: u32::from('{'), case: flags.case() };
                    sequence.items.push(self.node(kind, start));
                    return Ok(());
                }
            },
        };
        let fail = |problem| Err(RegexError { column: start + 1, problem });
        let what = match sequence.items.last().map(|item| &item.kind) {
            None | Some(Kind::Anchor(_)) => {
                return fail(RegexProblem::NothingToRepeat(c.to_string()));
            }
            Some(Kind::Repeat { .. }) => return fail(RegexProblem::RepeatedRepeat),
            Some(_) => sequence.items.pop(),
        };
        let mode = match self.peek() {
            Some('?') => Mode::Lazy,
            Some('+') => Mode::Possessive,
            _ => Mode::Greedy,
        };
        self.at += usize::from(mode != Mode::Greedy);
        if let Some(node) = what {
            let begin = node.span.start - 1;
            let kind = Kind::Repeat { node: Box::new(node), min, max, mode };
            sequence.items.push(self.node(kind, begin));
        }
        Ok(())
    }

    /// The bounds of `{2,3}`; nothing if it is no repetition.
    fn braces(&mut self, start: usize) -> Result<Option<(u32, Option<u32>)>, RegexError> {
        if self.peek() == Some('}') {
            return Ok(None);
        }
        let digits = |c: char| c.is_ascii_digit();
        let low = self.take(usize::MAX, digits);
        let high = if self.eat(',') { self.take(usize::MAX, digits) } else { low.clone() };
        if !self.eat('}') {
            return Ok(None);
        }
        let fail = |problem| RegexError { column: start + 1, problem };
        let number = |text: &str| match text.parse::<u32>() {
            Ok(number) if number < u32::MAX => Ok(number),
            _ => Err(fail(RegexProblem::RepeatNumber)),
        };
        let min = if low.is_empty() { 0 } else { number(&low)? };
        let max = if high.is_empty() { None } else { Some(number(&high)?) };
        if max.is_some_and(|max| max < min) {
            return Err(fail(RegexProblem::RepeatBounds));
        }
        Ok(Some((min, max)))
    }
}

#[cfg(test)]
mod tests;
