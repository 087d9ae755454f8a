//! Reads Python's regular-expression syntax into a tree.

use super::error::{DatePatternError, Problem};
use super::tokens::{BOUND, Tokens};
use super::tree::Node;

/// An expression as read.
pub(super) struct Parsed {
    pub(super) node: Node,
    /// The name of each group, by its number less one.
    pub(super) names: Vec<Option<String>>,
    pub(super) ignore_case: bool,
    pub(super) multi_line: bool,
    pub(super) dot_all: bool,
}

/// Reads a whole expression.
/// # Errors
/// What is no expression, or one that the engine cannot take; with its place.
pub(super) fn parse(tokens: &Tokens) -> Result<Parsed, DatePatternError> {
    let mut parser =
        Parser { tokens, at: 0, depth: 0, open: Vec::new(), names: Vec::new(), flags: String::new() };
    parser.leading_flags()?;
    let mut node = parser.alternatives()?;
    if parser.at < tokens.len() {
        return Err(parser.syntax("a \")\" closes no group", "write \\) for a parenthesis"));
    }
    node.resolve().map_err(|column| DatePatternError::new(column, BACKREFERENCE))?;
    let has = |flag: char| parser.flags.contains(flag);
    let (ignore_case, multi_line, dot_all) = (has('i'), has('m'), has('s'));
    Ok(Parsed { node, names: parser.names, ignore_case, multi_line, dot_all })
}

/// As deep as groups may nest.
const DEEPEST: usize = 50;
pub(super) const BACKREFERENCE: Problem = Problem::Unsupported(
    "this backreference",
    "it can only repeat a group of single characters such as (?P<_sep>[-/.]) in the same group of the pattern",
);

pub(super) struct Parser<'a> {
    pub(super) tokens: &'a Tokens,
    pub(super) at: usize,
    depth: usize,
    /// Numbers of the groups that are not closed yet.
    open: Vec<usize>,
    names: Vec<Option<String>>,
    flags: String,
}

pub(super) type Parse<T> = Result<T, DatePatternError>;

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<char> {
        self.tokens.get(self.at)
    }

    pub(super) fn eat(&mut self, word: &str) -> bool {
        let is_there = self.tokens.has(self.at, word);
        if is_there {
            self.at += word.chars().count();
        }
        is_there
    }

    pub(super) fn error(&self, problem: Problem) -> DatePatternError {
        DatePatternError::new(self.tokens.column(self.at), problem)
    }

    pub(super) fn syntax(&self, what: &'static str, cure: &'static str) -> DatePatternError {
        self.error(Problem::Syntax(what, cure))
    }

    pub(super) fn unsupported(&self, what: &'static str, cure: &'static str) -> DatePatternError {
        self.error(Problem::Unsupported(what, cure))
    }

    /// `(?iu)` before everything else.
    fn leading_flags(&mut self) -> Parse<()> {
        while self.tokens.has(self.at, "(?") {
            let letters =
                (self.at + 2..).map_while(|at| self.tokens.get(at).filter(char::is_ascii_lowercase));
            let letters: String = letters.collect();
            if letters.is_empty() || self.tokens.get(self.at + 2 + letters.len()) != Some(')') {
                return Ok(());
            }
            self.check_flags(&letters)?;
            self.flags.push_str(&letters);
            self.at += 3 + letters.len();
        }
        Ok(())
    }

    fn check_flags(&self, letters: &str) -> Parse<()> {
        if letters.chars().all(|c| "imsu".contains(c)) {
            return Ok(());
        }
        Err(self.unsupported("this flag", "i, m, s and u are"))
    }

    fn alternatives(&mut self) -> Parse<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error(Problem::TooLarge));
        }
        let mut all = vec![self.sequence()?];
        while self.eat("|") {
            all.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(match all.pop() {
            Some(only) if all.is_empty() => only,
            last => Node::Alt(all.into_iter().chain(last).collect()),
        })
    }

    fn sequence(&mut self) -> Parse<Node> {
        let mut nodes = Vec::new();
        while self.peek().is_some_and(|c| c != '|' && c != ')') {
            let start = self.at;
            let Some(node) = self.atom()? else { continue };
            let node = match self.repetition()? {
                Some(count) if is_assertion(&node) => {
                    self.at = start;
                    let _ = count;
                    return Err(
                        self.syntax("nothing to repeat", "write a character or group before the repetition")
                    );
                }
                Some(count) => Node::Repeat(Box::new(node), count),
                None => node,
            };
            nodes.push(node);
        }
        Ok(Node::Seq(nodes))
    }

    fn atom(&mut self) -> Parse<Option<Node>> {
        let Some(c) = self.peek() else { return Ok(None) };
        let node = match c {
            '(' => return self.group(),
            '[' => self.class()?,
            '\\' => self.escape()?,
            '*' | '+' | '?' | '{' if c != '{' || self.braces()?.is_some() => {
                return Err(self.syntax("nothing to repeat", "write \\ before a character that means itself"));
            }
            BOUND => self.fixed(r"(?:\b{start-half}|\b{end-half})"),
            '^' if self.flags.contains('m') => self.fixed(r"(?m:^)"),
            '^' => self.fixed(r"\A"),
            '$' if self.flags.contains('m') => self.fixed(r"(?m:$)"),
            '$' => self.fixed(r"\z"),
            '.' => self.fixed("."),
            c if c.is_ascii() => {
                self.at += 1;
                Node::OneOf(vec![c])
            }
            _ => {
                return Err(
                    self.unsupported("a character beyond ASCII", "write . for it, or \\w for a letter")
                );
            }
        };
        Ok(Some(node))
    }

    pub(super) fn fixed(&mut self, text: &str) -> Node {
        self.at += 1;
        Node::Text(text.to_owned())
    }

    /// `*`, `+?`, `{2,3}`; a brace that is no repetition is a brace.
    fn repetition(&mut self) -> Parse<Option<String>> {
        let mut count = match self.peek() {
            Some(c @ ('*' | '+' | '?')) => {
                self.at += 1;
                c.to_string()
            }
            Some('{') => match self.braces()? {
                Some(count) => count,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        if self.eat("?") {
            count.push('?');
        } else if self.peek() == Some('+') {
            return Err(self.unsupported("a possessive repetition", "leave the + out"));
        }
        if matches!(self.peek(), Some('*' | '+' | '?')) {
            return Err(
                self.syntax("a repetition is repeated", "write \\ before a character that means itself")
            );
        }
        Ok(Some(count))
    }

    fn braces(&mut self) -> Parse<Option<String>> {
        let inner =
            (self.at + 1..).map_while(|at| self.tokens.get(at).filter(|c| c.is_ascii_digit() || *c == ','));
        let inner: String = inner.collect();
        let closes = self.tokens.get(self.at + 1 + inner.len()) == Some('}');
        if !closes || inner.matches(',').count() > 1 || inner.is_empty() {
            return Ok(None);
        }
        let (low, high) =
            inner.split_once(',').map_or((inner.as_str(), None), |(low, high)| (low, Some(high)));
        let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number <= 1000);
        let low = if low.is_empty() { Some(0) } else { number(low) };
        let count = match (low, high) {
            (Some(low), None) => format!("{{{low}}}"),
            (Some(low), Some("")) => format!("{{{low},}}"),
            (Some(low), Some(high)) => match number(high) {
                Some(high) if low <= high => format!("{{{low},{high}}}"),
                Some(_) => {
                    return Err(
                        self.syntax("the least is more than the most", "write the smaller number first")
                    );
                }
                None => return Err(self.error(Problem::TooLarge)),
            },
            (None, _) => return Err(self.error(Problem::TooLarge)),
        };
        self.at += inner.len() + 2;
        Ok(Some(count))
    }

    fn group(&mut self) -> Parse<Option<Node>> {
        let start = self.at;
        self.at += 1;
        if !self.eat("?") {
            return self.capture(start, None).map(Some);
        }
        if self.eat("P<") {
            let name = self.until('>')?;
            if name.is_empty() || self.names.iter().flatten().any(|known| *known == name) {
                self.at = start;
                return Err(self.error(Problem::Group(name)));
            }
            return self.capture(start, Some(name)).map(Some);
        }
        if self.eat("P=") {
            let name = self.until(')')?;
            let number = self.names.iter().position(|known| known.as_ref() == Some(&name));
            let column = self.tokens.column(start);
            return match number {
                Some(index) if !self.open.contains(&(index + 1)) => Ok(Some(Node::Back(index + 1, column))),
                _ => Err(DatePatternError::new(column, BACKREFERENCE)),
            };
        }
        if self.eat("#") {
            self.until(')')?;
            return Ok(None);
        }
        self.flagged(start).map(Some)
    }

    /// `(?:` and `(?i:`.
    fn flagged(&mut self, start: usize) -> Parse<Node> {
        let letters =
            (self.at..).map_while(|at| self.tokens.get(at).filter(|c| c.is_ascii_lowercase() || *c == '-'));
        let letters: String = letters.collect();
        if self.tokens.get(self.at + letters.len()) != Some(':') {
            self.at = start;
            if matches!(self.tokens.get(start + 2), Some('=' | '!' | '<')) {
                return Err(self.unsupported("lookaround", "write the text before or behind the date itself"));
            }
            return Err(self.unsupported("this kind of group", "(..), (?:..), (?P<name>..) and (?i:..) are"));
        }
        self.check_flags(&letters.replace('-', ""))?;
        self.at += letters.len() + 1;
        let inner = self.alternatives()?;
        self.close(start)?;
        Ok(Node::Group(letters.replace('u', ""), Box::new(inner)))
    }

    fn capture(&mut self, start: usize, name: Option<String>) -> Parse<Node> {
        self.names.push(name);
        let number = self.names.len();
        self.open.push(number);
        let inner = self.alternatives()?;
        self.close(start)?;
        self.open.pop();
        // A single separator shows as what it is, so that it can be repeated.
        let inner = match inner {
            Node::Seq(mut nodes) if nodes.len() == 1 => nodes.remove(0),
            other => other,
        };
        Ok(Node::Capture(number, Box::new(inner)))
    }

    fn close(&mut self, start: usize) -> Parse<()> {
        if self.eat(")") {
            return Ok(());
        }
        self.at = start;
        Err(self
            .syntax("this group is never closed", "add the missing \")\", or write \\( for a parenthesis"))
    }

    fn until(&mut self, end: char) -> Parse<String> {
        let text: String = (self.at..).map_while(|at| self.tokens.get(at).filter(|c| *c != end)).collect();
        if self.tokens.get(self.at + text.chars().count()) != Some(end) {
            return Err(self.syntax("this group is never closed", "add the missing \")\""));
        }
        self.at += text.chars().count() + 1;
        Ok(text)
    }
}

fn is_assertion(node: &Node) -> bool {
    matches!(node, Node::Text(text) if ASSERTIONS.contains(&text.as_str()))
}

/// What cannot be repeated.
const ASSERTIONS: [&str; 6] = [r"\A", r"\z", r"\b", r"\B", "(?m:^)", "(?m:$)"];
