//! Backslashes and sets.

use super::Parser;
use super::flags::Flags;
use crate::filter::regex::tree::{Anchor, Case, Category, Class, ClassItem, Kind};
use crate::filter::regex::{RegexError, RegexProblem};

/// What an escape stands for, within a set or outside.
enum Escaped {
    Code(u32),
    Category(ClassItem),
}

impl Parser<'_> {
    /// What stands behind a backslash, outside a set.
    pub(super) fn escape(&mut self, flags: Flags, start: usize) -> Result<Kind, RegexError> {
        let anchor = match self.peek() {
            Some('A') => Some(Anchor::TextStart),
            Some('Z') => Some(Anchor::TextEnd),
            Some(c @ ('b' | 'B')) => Some(Anchor::WordBoundary { negated: c == 'B', ascii: flags.ascii }),
            Some('1'..='9') => return self.reference(flags, start),
            _ => None,
        };
        if let Some(anchor) = anchor {
            self.at += 1;
            return Ok(Kind::Anchor(anchor));
        }
        Ok(match self.escaped(flags, start, false)? {
            Escaped::Code(code) => Kind::Literal { code, case: flags.case() },
            Escaped::Category(item) => {
                Kind::Class(Class { negated: false, case: Case::Exact, items: vec![item] })
            }
        })
    }

    /// `\12` is a group, `\123` a character in octal digits.
    fn reference(&mut self, flags: Flags, start: usize) -> Result<Kind, RegexError> {
        let octal = self.chars.get(self.at..self.at + 3).unwrap_or_default();
        if octal.len() == 3 && octal.iter().all(|c| c.is_digit(8)) {
            let code = octal.iter().filter_map(|c| c.to_digit(8)).fold(0, |sum, digit| sum * 8 + digit);
            self.at += 3;
            if code > 0o377 {
                return Err(self.bad_escape(start));
            }
            return Ok(Kind::Literal { code, case: flags.case() });
        }
        let digits = self.take(2, |c| c.is_ascii_digit());
        let group = digits.parse::<u32>().unwrap_or(u32::MAX);
        self.check_reference(group, &digits, start)?;
        Ok(Kind::Backreference { group, case: flags.case() })
    }

    /// A group may be referred to once it is closed, and not from the lookbehind that it stands in.
    pub(super) fn check_reference(&self, group: u32, name: &str, start: usize) -> Result<(), RegexError> {
        let fail = |problem: fn(String) -> RegexProblem| {
            Err(RegexError { column: start + 1, problem: problem(name.to_owned()) })
        };
        let index = usize::try_from(group).unwrap_or(usize::MAX);
        match self.groups.get(index) {
            None => return fail(RegexProblem::NoGroup),
            Some(group) if group.width.is_none() => return fail(RegexProblem::OpenReference),
            Some(_) => {}
        }
        self.check_lookbehind(index, name, start)
    }

    /// Within a lookbehind, groups of the same lookbehind are not known.
    pub(super) fn check_lookbehind(&self, group: usize, name: &str, start: usize) -> Result<(), RegexError> {
        if self.lookbehind.is_some_and(|first| group >= first) {
            let problem = RegexProblem::LookbehindReference(name.to_owned());
            return Err(RegexError { column: start + 1, problem });
        }
        Ok(())
    }

    fn bad_escape(&self, start: usize) -> RegexError {
        let text = self.chars.get(start + 1..self.at).unwrap_or_default().iter().collect();
        RegexError { column: start + 1, problem: RegexProblem::Escape(text) }
    }

    fn escaped(&mut self, flags: Flags, start: usize, in_set: bool) -> Result<Escaped, RegexError> {
        let Some(c) = self.next() else { return Err(self.bad_escape(start)) };
        let category = |category, negated| {
            Ok(Escaped::Category(ClassItem::Category { category, negated, ascii: flags.ascii }))
        };
        let code = match c {
            'd' | 'D' => return category(Category::Digit, c == 'D'),
            'w' | 'W' => return category(Category::Word, c == 'W'),
            's' | 'S' => return category(Category::Space, c == 'S'),
            'a' => 7,
            'b' if in_set => 8,
            't' => 9,
            'n' => 10,
            'v' => 11,
            'f' => 12,
            'r' => 13,
            'x' => self.hex(2, start)?,
            'u' => self.hex(4, start)?,
            'U' => self.hex(8, start)?,
            'N' => {
                return Err(RegexError { column: start + 1, problem: RegexProblem::NamedCharacter });
            }
            '0'..='7' if in_set || c == '0' => {
                self.at -= 1;
                let digits = self.take(3, |c| c.is_digit(8));
                match u32::from_str_radix(&digits, 8) {
                    Ok(code) if code <= 0o377 => code,
                    _ => return Err(self.bad_escape(start)),
                }
            }
            _ if c.is_ascii_alphanumeric() => return Err(self.bad_escape(start)),
            other => u32::from(other),
        };
        Ok(Escaped::Code(code))
    }

    fn hex(&mut self, length: usize, start: usize) -> Result<u32, RegexError> {
        let digits = self.take(length, |c| c.is_ascii_hexdigit());
        let code = u32::from_str_radix(&digits, 16).ok().filter(|code| *code <= 0x10_ffff);
        match code.filter(|_| digits.len() == length) {
            Some(code) => Ok(code),
            None => Err(self.bad_escape(start)),
        }
    }

    /// `[..]`, the parser behind the bracket.
    pub(super) fn set(&mut self, flags: Flags, start: usize) -> Result<Class, RegexError> {
        let mut class = Class { negated: self.eat('^'), case: flags.case(), items: Vec::new() };
        loop {
            let from = self.at;
            let Some(c) = self.next() else { return Err(open_set(start)) };
            if c == ']' && !class.items.is_empty() {
                return Ok(class);
            }
            let low = self.member(c, flags, from)?;
            if !self.eat('-') {
                class.items.push(item(low));
                continue;
            }
            let to = self.at;
            let Some(c) = self.next() else { return Err(open_set(start)) };
            if c == ']' {
                class.items.push(item(low));
                class.items.push(item(Escaped::Code(u32::from('-'))));
                return Ok(class);
            }
            match (low, self.member(c, flags, to)?) {
                (Escaped::Code(low), Escaped::Code(high)) if low <= high => {
                    class.items.push(ClassItem::Range(low, high));
                }
                _ => {
                    let text = self.chars.get(from..self.at).unwrap_or_default().iter().collect();
                    return Err(RegexError { column: from + 1, problem: RegexProblem::Range(text) });
                }
            }
        }
    }

    fn member(&mut self, c: char, flags: Flags, start: usize) -> Result<Escaped, RegexError> {
        if c == '\\' { self.escaped(flags, start, true) } else { Ok(Escaped::Code(u32::from(c))) }
    }
}

fn item(escaped: Escaped) -> ClassItem {
    match escaped {
        Escaped::Code(code) => ClassItem::Range(code, code),
        Escaped::Category(item) => item,
    }
}

fn open_set(start: usize) -> RegexError {
    RegexError { column: start + 1, problem: RegexProblem::OpenSet }
}
