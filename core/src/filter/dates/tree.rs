//! Python's regular expressions as date patterns use them, as a tree, and the tree as an expression for the engine.
//!
//! A stand-in: lookaround, conditions and most backreferences are refused with their place. One kind of backreference
//! is common in date patterns and exact here: to a group that takes one of a few characters (`[-/.]`), as the same
//! separator again. It becomes one alternative a character.

use std::fmt::Write as _;

/// One part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Already in the engine's language: a character, a class, an assertion.
    Text(String),
    /// A class that lists single characters only.
    OneOf(Vec<char>),
    /// A capturing group: Python's number of it.
    Capture(usize, Box<Node>),
    /// `(?:..)`, or with flags `(?i:..)`.
    Group(String, Box<Node>),
    /// One after the other.
    Seq(Vec<Node>),
    /// The first that leads to a match.
    Alt(Vec<Node>),
    /// With `*`, `{2,3}?` and the like.
    Repeat(Box<Node>, String),
    /// What a group has taken, again; the column says where that is written.
    Back(usize, usize),
}

impl Node {
    /// Replaces backreferences.
    /// # Errors
    /// The column of one that cannot be.
    pub(super) fn resolve(&mut self) -> Result<(), usize> {
        match self {
            Node::Text(_) | Node::OneOf(_) => Ok(()),
            Node::Back(_, column) => Err(*column),
            Node::Capture(_, inner) | Node::Group(_, inner) | Node::Repeat(inner, _) => inner.resolve(),
            Node::Alt(nodes) => nodes.iter_mut().try_for_each(Node::resolve),
            Node::Seq(nodes) => {
                resolve_in(nodes);
                nodes.iter_mut().try_for_each(Node::resolve)
            }
        }
    }

    fn refers_to(&self, number: usize) -> bool {
        match self {
            Node::Text(_) | Node::OneOf(_) => false,
            Node::Back(to, _) => *to == number,
            Node::Capture(_, inner) | Node::Group(_, inner) | Node::Repeat(inner, _) => {
                inner.refers_to(number)
            }
            Node::Seq(nodes) | Node::Alt(nodes) => nodes.iter().any(|node| node.refers_to(number)),
        }
    }

    /// Lets the group and what refers to it stand for one character.
    fn fix(&mut self, number: usize, c: char) {
        match self {
            Node::Text(_) | Node::OneOf(_) => {}
            Node::Back(to, _) if *to == number => *self = Node::OneOf(vec![c]),
            Node::Back(..) => {}
            Node::Capture(own, inner) if *own == number => **inner = Node::OneOf(vec![c]),
            Node::Capture(_, inner) | Node::Group(_, inner) | Node::Repeat(inner, _) => inner.fix(number, c),
            Node::Seq(nodes) | Node::Alt(nodes) => nodes.iter_mut().for_each(|node| node.fix(number, c)),
        }
    }

    /// Writes it in the engine's language; `numbers` gets Python's number of each group written.
    pub(super) fn write(&self, out: &mut String, numbers: &mut Vec<usize>) {
        match self {
            Node::Text(text) => out.push_str(text),
            // None is left once they are resolved.
            Node::Back(..) => {}
            Node::OneOf(chars) => {
                out.push('[');
                chars.iter().for_each(|c| push_byte(out, *c));
                out.push(']');
            }
            Node::Capture(number, inner) => {
                numbers.push(*number);
                out.push('(');
                inner.write(out, numbers);
                out.push(')');
            }
            Node::Group(flags, inner) => {
                let _ = write!(out, "(?{flags}:");
                inner.write(out, numbers);
                out.push(')');
            }
            Node::Seq(nodes) => nodes.iter().for_each(|node| node.write(out, numbers)),
            Node::Alt(nodes) => {
                for (at, node) in nodes.iter().enumerate() {
                    if at > 0 {
                        out.push('|');
                    }
                    node.write(out, numbers);
                }
            }
            Node::Repeat(inner, count) => {
                out.push_str("(?:");
                inner.write(out, numbers);
                out.push(')');
                out.push_str(count);
            }
        }
    }
}

/// As `\x2d`: so no character has a meaning of its own.
pub(super) fn push_byte(out: &mut String, c: char) {
    let _ = write!(out, "\\x{:02x}", u32::from(c));
}

/// From a separator to the last place that repeats it, one alternative for each character it may be.
fn resolve_in(nodes: &mut Vec<Node>) {
    let mut at = 0;
    while at < nodes.len() {
        if let Node::Capture(number, inner) = &nodes[at]
            && let Node::OneOf(chars) = &**inner
            && let Some(last) = nodes.iter().rposition(|node| node.refers_to(*number))
        {
            let (number, chars) = (*number, chars.clone());
            let part = Node::Seq(nodes.drain(at..=last).collect());
            let each = chars.iter().map(|c| {
                let mut part = part.clone();
                part.fix(number, *c);
                part
            });
            let each = Node::Group(String::new(), Box::new(Node::Alt(each.collect())));
            nodes.insert(at, each);
        }
        at += 1;
    }
}
