//! From the text of a failregex to a pattern of the engine: tags, and where Python's dialect differs.
//!
//! The engine works on bytes and in linear time. What it cannot say exactly (lookaround, backreferences,
//! conditionals, possessive repetition) is refused with its column, never approximated.
//!
//! Addresses are matched loosely here and parsed by code later, so that `999.1.1.1` is seen as a whole and refused,
//! instead of being read as some other address.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::CharIndices;

/// A pattern in the engine's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// The pattern; it always begins to match at the start of the buffer.
    pub pattern: String,
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct PatternError {
    /// Where in the pattern, counted in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: PatternProblem,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternProblem {
    /// `(?=`, `(?!`, `(?<=`, `(?<!`.
    #[error("lookaround \"{0}\" is not supported; write what may stand there instead")]
    Lookaround(String),
    /// `\1`, `(?P=name)`.
    #[error("the backreference \"{0}\" is not supported; repeat the expression")]
    Backreference(String),
    /// `(?(group)yes|no)`.
    #[error("a conditional group is not supported; write both cases as two expressions")]
    Conditional,
    /// `*+`, `(?>`.
    #[error("possessive and atomic matching is not supported; leave it out, nothing backtracks here")]
    Possessive,
    /// A flag that changes what the rest means.
    #[error("the flag \"{0}\" is not supported; i, m and s are")]
    Flag(char),
    /// An escape that Python does not know either.
    #[error("the escape \"\\{0}\" means nothing; leave out the backslash, or double it")]
    Escape(char),
    /// A tag of the language that does not work here yet.
    #[error("the tag <{0}> is not supported")]
    Tag(String),
    /// `<F-USER>` without `</F-USER>`, or the reverse.
    #[error("the tag <{0}> has no partner; every <F-NAME> needs its </F-NAME>")]
    Unpaired(String),
    /// `[` without `]`.
    #[error("the set \"[\" is not closed; add \"]\", or write \"\\[\" for the character")]
    OpenSet,
    /// The engine's own objection.
    #[error("{0}")]
    Syntax(String),
}

/// Digits joined by dots: whatever looks like an IPv4 address, valid or not.
const LOOSE_V4: &str = r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+";
/// Hexadecimal digits with two colons or more, perhaps with a dotted tail.
const LOOSE_V6: &str =
    r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:(?:[0-9A-Fa-f:]*(?:[0-9A-Fa-f]|::)|:)?(?:\.[0-9]+\.[0-9]+\.[0-9]+)?";

/// Tags that need the memory of earlier lines, names or networks; they come with the complete language.
const NOT_YET: [&str; 9] =
    ["DNS", "SUBNET", "CIDR", "SKIPLINES", "F-NOFAIL", "F-MLFID", "F-MLFFORGET", "F-MLFGAINED", "F-TUPLE"];

/// Translates one expression.
/// # Errors
/// The first construct that cannot be said exactly.
pub fn translate(text: &str) -> Result<Translated, PatternError> {
    let mut walk = Walk {
        text,
        chars: text.char_indices().peekable(),
        out: String::with_capacity(text.len() + 64),
        open_tags: Vec::new(),
        depth: 0,
        alternates: false,
        repeatable: false,
    };
    walk.run()?;
    if let Some((name, at)) = walk.open_tags.pop() {
        return Err(error_at(text, at, PatternProblem::Unpaired(name)));
    }
    // An expression that may begin anywhere says so itself. So all expressions begin at the start of the buffer,
    // and among those that match, the engine prefers the one that was listed first.
    let begins = (text.starts_with('^') || text.starts_with("\\A")) && !walk.alternates;
    let lead = if begins { "" } else { "(?s:.)*?" };
    Ok(Translated { pattern: format!("{lead}(?:{})", walk.out) })
}

fn error_at(text: &str, at: usize, problem: PatternProblem) -> PatternError {
    let column = text.char_indices().take_while(|(index, _)| *index < at).count() + 1;
    PatternError { column, problem }
}

struct Walk<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    out: String,
    open_tags: Vec<(String, usize)>,
    depth: u32,
    /// A `|` stands outside every group.
    alternates: bool,
    /// The last thing was a quantifier, so that a `+` behind it would be possessive.
    repeatable: bool,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), PatternError> {
        while let Some((at, c)) = self.chars.next() {
            let after_quantifier = std::mem::take(&mut self.repeatable);
            match c {
                '\\' => self.escape(at, false)?,
                '[' => self.set(at)?,
                '(' => self.group(at)?,
                ')' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.out.push(')');
                }
                '|' => {
                    self.alternates |= self.depth == 0 && self.open_tags.is_empty();
                    self.out.push('|');
                }
                '^' => self.out.push_str(r"\A"),
                '$' => self.out.push_str(r"\z"),
                '+' if after_quantifier => return Err(self.error(at, PatternProblem::Possessive)),
                '*' | '+' => {
                    self.out.push(c);
                    self.repeatable = true;
                }
                '?' => {
                    self.out.push(c);
                    self.repeatable = !after_quantifier;
                }
                '{' => self.brace(at),
                '<' => self.tag(at)?,
                _ => self.literal(c),
            }
        }
        Ok(())
    }

    fn error(&self, at: usize, problem: PatternProblem) -> PatternError {
        error_at(self.text, at, problem)
    }

    fn rest(&self, at: usize) -> &str {
        self.text.get(at..).unwrap_or("")
    }

    fn skip(&mut self, bytes: usize, from: usize) {
        while self.chars.peek().is_some_and(|(index, _)| *index < from + bytes) {
            self.chars.next();
        }
    }

    fn literal(&mut self, c: char) {
        if matches!(c, ']' | '}' | '#' | '&' | '-' | '~') {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// `{2,3}` repeats, every other brace is a character.
    fn brace(&mut self, at: usize) {
        let inside = self.rest(at + 1).split_once('}').map(|(inside, _)| inside.to_owned());
        let quantifier = inside.filter(|text| {
            text.bytes().all(|b| b.is_ascii_digit() || b == b',')
                && text.bytes().filter(|b| *b == b',').count() <= 1
                && text.bytes().any(|b| b.is_ascii_digit())
        });
        let Some(inside) = quantifier else {
            self.out.push_str(r"\{");
            return;
        };
        let zero = if inside.starts_with(',') { "0" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(self.out, "{{{zero}{inside}}}");
        self.skip(inside.len() + 1, at + 1);
        self.repeatable = true;
    }

    fn escape(&mut self, at: usize, in_set: bool) -> Result<(), PatternError> {
        let Some((_, c)) = self.chars.next() else {
            return Err(self.error(at, PatternProblem::Escape(' ')));
        };
        match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'n' | 'r' | 't' | 'f' | 'v' | 'a' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'b' if in_set => self.out.push_str(r"\x08"),
            'b' | 'B' | 'A' if !in_set => {
                self.out.push('\\');
                self.out.push(c);
            }
            'Z' if !in_set => self.out.push_str(r"\z"),
            'x' => self.hex(at)?,
            '0' => self.out.push_str(r"\x00"),
            '1'..='9' => return Err(self.error(at, PatternProblem::Backreference(format!("\\{c}")))),
            _ if c.is_ascii_alphabetic() => return Err(self.error(at, PatternProblem::Escape(c))),
            _ if c.is_ascii_punctuation() => {
                // `\<` would be the start of a word to the engine.
                if !matches!(c, '<' | '>') {
                    self.out.push('\\');
                }
                self.out.push(c);
            }
            _ => self.out.push(c),
        }
        Ok(())
    }

    fn hex(&mut self, at: usize) -> Result<(), PatternError> {
        let digits = self.text.get(at + 2..at + 4).unwrap_or("").to_owned();
        if digits.len() != 2 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(self.error(at, PatternProblem::Escape('x')));
        }
        let _ = write!(self.out, r"\x{digits}");
        self.skip(2, at + 2);
        Ok(())
    }

    /// `[...]`: the engine's sets know operators that Python's do not.
    fn set(&mut self, at: usize) -> Result<(), PatternError> {
        self.out.push('[');
        if self.chars.peek().is_some_and(|(_, c)| *c == '^') {
            self.chars.next();
            self.out.push('^');
        }
        let mut first = true;
        let mut after_dash = false;
        while let Some((inner, c)) = self.chars.next() {
            match c {
                ']' if !first => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => self.escape(inner, true)?,
                '[' | ']' | '&' | '~' | '^' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                // The first or last dash is a character; two in a row would be an operator.
                '-' if first || after_dash || self.rest(inner + 1).starts_with(']') => {
                    self.out.push_str(r"\-");
                    (first, after_dash) = (false, false);
                    continue;
                }
                _ => self.out.push(c),
            }
            first = false;
            after_dash = c == '-';
        }
        Err(self.error(at, PatternProblem::OpenSet))
    }

    fn group(&mut self, at: usize) -> Result<(), PatternError> {
        self.depth += 1;
        let rest = self.rest(at);
        for look in ["(?=", "(?!", "(?<=", "(?<!"] {
            if rest.starts_with(look) {
                return Err(self.error(at, PatternProblem::Lookaround(look.to_owned())));
            }
        }
        if let Some(after) = rest.strip_prefix("(?P=") {
            let name = after.split(')').next().unwrap_or("");
            return Err(self.error(at, PatternProblem::Backreference(format!("(?P={name})"))));
        }
        if rest.starts_with("(?(") {
            return Err(self.error(at, PatternProblem::Conditional));
        }
        if rest.starts_with("(?>") {
            return Err(self.error(at, PatternProblem::Possessive));
        }
        if let Some(after) = rest.strip_prefix("(?#") {
            let comment = after.find(')').map_or(after.len(), |end| end + 1);
            self.depth -= 1;
            self.skip(3 + comment, at);
            return Ok(());
        }
        if rest.starts_with("(?P<") {
            let end = rest.find('>').map_or(rest.len(), |end| end + 1);
            let head = rest[..end].to_owned();
            self.out.push_str(&head);
            self.skip(end, at);
            return Ok(());
        }
        if let Some(after) = rest.strip_prefix("(?") {
            return self.flags(at, after.len());
        }
        self.out.push('(');
        Ok(())
    }

    /// `(?:`, `(?i)`, `(?i:`, `(?-i:`.
    fn flags(&mut self, at: usize, rest_len: usize) -> Result<(), PatternError> {
        let start = self.text.len() - rest_len;
        let mut head = String::from("(?");
        let mut end = start;
        for (offset, c) in self.rest(start).char_indices() {
            end = start + offset + c.len_utf8();
            match c {
                'i' | 's' | '-' => head.push(c),
                // The buffer is one line and holds no newline: there is nothing for these to change.
                'm' | 'a' | 'u' | 'L' => {}
                ':' => {
                    head.push(':');
                    break;
                }
                ')' => {
                    self.depth -= 1;
                    head.push(')');
                    break;
                }
                other => return Err(self.error(at, PatternProblem::Flag(other))),
            }
        }
        let head = match head.as_str() {
            "(?)" | "(?-)" => "",
            "(?-:" => "(?:",
            other => other,
        };
        self.out.push_str(head);
        self.skip(end - at, at);
        Ok(())
    }

    fn tag(&mut self, at: usize) -> Result<(), PatternError> {
        let name = self.rest(at + 1).split_once('>').map(|(name, _)| name.to_owned());
        let is_name = |text: &str| {
            let text = text.strip_prefix('/').unwrap_or(text);
            let text = text.strip_suffix('/').unwrap_or(text);
            text.starts_with(|c: char| c.is_ascii_uppercase())
                && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"-_".contains(&b))
        };
        let Some(name) = name.filter(|name| is_name(name)) else {
            self.out.push('<');
            return Ok(());
        };
        if NOT_YET.iter().any(|tag| name.trim_matches('/').starts_with(tag)) {
            return Err(self.error(at, PatternProblem::Tag(name)));
        }
        match name.as_str() {
            "HOST" | "ADDR" => {
                let _ =
                    write!(self.out, r"(?:(?:::[Ff]{{4}}:)?(?P<ip4>{LOOSE_V4})|\[?(?P<ip6>{LOOSE_V6})\]?)");
            }
            "IP4" => {
                let _ = write!(self.out, "(?P<ip4>{LOOSE_V4})");
            }
            "IP6" => {
                let _ = write!(self.out, r"\[?(?P<ip6>{LOOSE_V6})\]?");
            }
            other => return self.named(at, other.to_owned()),
        }
        self.skip(name.len() + 1, at + 1);
        Ok(())
    }

    /// `<F-NAME>`, `</F-NAME>`, `<F-NAME/>`; other names stay as they stand.
    fn named(&mut self, at: usize, name: String) -> Result<(), PatternError> {
        if let Some(inner) = name.strip_prefix("F-") {
            let (inner, whole) = match inner.strip_suffix('/') {
                Some(inner) => (inner, true),
                None => (inner, false),
            };
            let _ = write!(self.out, "(?P<{}>", group_name(inner));
            if whole {
                self.out.push_str(r"\S+)");
            } else {
                self.open_tags.push((name.clone(), at));
            }
        } else if let Some(closing) = name.strip_prefix("/F-") {
            match self.open_tags.pop() {
                Some((open, _)) if open.strip_prefix("F-") == Some(closing) => self.out.push(')'),
                _ => return Err(self.error(at, PatternProblem::Unpaired(name))),
            }
        } else {
            self.out.push('<');
            return Ok(());
        }
        self.skip(name.len() + 1, at + 1);
        Ok(())
    }
}

/// The group that a tag captures into: fail2ban's names.
fn group_name(tag: &str) -> String {
    match tag {
        "ID" => "fid".to_owned(),
        "PORT" => "fport".to_owned(),
        other => other.to_ascii_lowercase().replace('-', "_"),
    }
}

#[cfg(test)]
mod tests;
