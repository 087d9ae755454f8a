//! What begins with a parenthesis.

use super::flags::Flags;
use super::width::width;
use super::{Group, MAX_DEPTH, Parser};
use crate::filter::regex::tree::{Kind, Node};
use crate::filter::regex::{RegexError, RegexProblem};

/// Groups that a condition may name by number; Python's own limit is larger than any expression.
const MAX_GROUP: u32 = 1 << 30;

impl Parser<'_> {
    /// A group, the parser behind `(`; nothing if it was a comment or flags. `flags_may_stand`: those for the whole
    /// expression may.
    pub(super) fn group(&mut self, flags: Flags, flags_may_stand: bool) -> Result<Option<Node>, RegexError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(RegexProblem::Depth(MAX_DEPTH)));
        }
        let node = self.group_at(flags, flags_may_stand, self.at - 1)?;
        self.depth -= 1;
        Ok(node)
    }

    fn group_at(
        &mut self,
        flags: Flags,
        flags_may_stand: bool,
        start: usize,
    ) -> Result<Option<Node>, RegexError> {
        if !self.eat('?') {
            return self.capture(None, flags, start).map(Some);
        }
        let Some(c) = self.next() else { return Err(fail(start, RegexProblem::OpenGroup)) };
        let node = match c {
            'P' if self.eat('<') => {
                let name = self.name('>', start)?;
                self.capture(Some(name), flags, start)?
            }
            'P' if self.eat('=') => self.named_reference(flags, start)?,
            ':' => self.inner(flags, start)?,
            '#' => {
                return match self.skip_past(')')? {
                    true => Ok(None),
                    false => Err(fail(start, RegexProblem::OpenGroup)),
                };
            }
            '=' | '!' => {
                let node = Box::new(self.inner(flags, start)?);
                self.node(Kind::Look { node, negated: c == '!', behind: None }, start)
            }
            '<' if matches!(self.peek(), Some('=' | '!')) => self.lookbehind(flags, start)?,
            '(' => self.conditional(flags, start)?,
            '>' => {
                let node = Box::new(self.inner(flags, start)?);
                self.node(Kind::Atomic(node), start)
            }
            'i' | 'm' | 's' | 'x' | 'a' | 'u' | 'L' | '-' => {
                self.at -= 1;
                match self.flags(flags)? {
                    Some(inner) => self.inner(inner, start)?,
                    None if flags_may_stand => return Ok(None),
                    None => return Err(fail(start, RegexProblem::LateFlags)),
                }
            }
            _ => {
                let end = (self.at + 1).min(self.chars.len());
                let text = self.chars.get(start + 1..end).unwrap_or_default().iter().collect();
                return Err(fail(start, RegexProblem::Extension(text)));
            }
        };
        Ok(Some(node))
    }

    /// What stands up to the `)`.
    fn inner(&mut self, flags: Flags, start: usize) -> Result<Node, RegexError> {
        let node = self.alternation(flags, false)?;
        if !self.eat(')') {
            return Err(fail(start, RegexProblem::OpenGroup));
        }
        Ok(match node.kind {
            // A group of its own: it can be repeated although what it holds cannot.
            Kind::Repeat { .. } | Kind::Anchor(_) => self.node(Kind::Concat(vec![node]), start),
            kind => self.node(kind, start),
        })
    }

    fn capture(&mut self, name: Option<String>, flags: Flags, start: usize) -> Result<Node, RegexError> {
        if let Some(name) = &name
            && self.find(name).is_some()
        {
            return Err(fail(start, RegexProblem::GroupTwice(name.clone())));
        }
        let number = self.groups.len();
        self.groups.push(Group { name, width: None });
        let node = Box::new(self.inner(flags, start)?);
        let width = width(&node, &self.groups);
        if let Some(group) = self.groups.get_mut(number) {
            group.width = Some(width);
        }
        let index = u32::try_from(number).unwrap_or(u32::MAX);
        Ok(self.node(Kind::Group { index, node }, start))
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.groups.iter().position(|group| group.name.as_deref() == Some(name))
    }

    /// A name up to its end.
    fn name(&mut self, end: char, start: usize) -> Result<String, RegexError> {
        let name = self.take(usize::MAX, |c| c != end);
        if !self.eat(end) || !is_identifier(&name) {
            return Err(fail(start, RegexProblem::GroupName(name)));
        }
        Ok(name)
    }

    fn named_reference(&mut self, flags: Flags, start: usize) -> Result<Node, RegexError> {
        let name = self.name(')', start)?;
        let Some(number) = self.find(&name) else { return Err(fail(start, RegexProblem::NoGroup(name))) };
        let group = u32::try_from(number).unwrap_or(u32::MAX);
        self.check_reference(group, &name, start)?;
        Ok(self.node(Kind::Backreference { group, case: flags.case() }, start))
    }

    fn lookbehind(&mut self, flags: Flags, start: usize) -> Result<Node, RegexError> {
        let negated = self.next() == Some('!');
        let outer = self.lookbehind;
        self.lookbehind = outer.or(Some(self.groups.len()));
        let node = self.inner(flags, start)?;
        self.lookbehind = outer;
        let width = width(&node, &self.groups);
        match u32::try_from(width.min) {
            Ok(length) if width.min == width.max => {
                Ok(self.node(Kind::Look { node: Box::new(node), negated, behind: Some(length) }, start))
            }
            _ => Err(fail(start, RegexProblem::LookbehindWidth)),
        }
    }

    /// `(?(1)yes|no)`, the parser behind the second `(`.
    fn conditional(&mut self, flags: Flags, start: usize) -> Result<Node, RegexError> {
        let name = self.take(usize::MAX, |c| c != ')');
        if !self.eat(')') {
            return Err(fail(start, RegexProblem::GroupName(name)));
        }
        let group = if is_identifier(&name) {
            let found = self.find(&name).and_then(|number| u32::try_from(number).ok());
            found.ok_or_else(|| fail(start, RegexProblem::NoGroup(name.clone())))?
        } else {
            let number = name.trim().parse::<u32>().ok().filter(|number| (1..MAX_GROUP).contains(number));
            let number = number.ok_or_else(|| fail(start, RegexProblem::GroupName(name.clone())))?;
            self.conditions.push((number, start + 1));
            number
        };
        self.check_lookbehind(usize::try_from(group).unwrap_or(usize::MAX), &name, start)?;
        let yes = Box::new(self.branch(flags, false)?);
        let no = if self.eat('|') {
            self.branch(flags, false)?
        } else {
            Node { kind: Kind::Empty, span: self.at + 1..self.at + 1 }
        };
        if self.peek() == Some('|') {
            return Err(self.error(RegexProblem::ConditionalBranches));
        }
        if !self.eat(')') {
            return Err(fail(start, RegexProblem::OpenGroup));
        }
        Ok(self.node(Kind::Conditional { group, yes, no: Box::new(no) }, start))
    }
}

fn fail(start: usize, problem: RegexProblem) -> RegexError {
    RegexError { column: start + 1, problem }
}

/// A name as Python's identifiers are.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c == '_' || c.is_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_alphanumeric())
}
