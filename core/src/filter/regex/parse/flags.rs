//! Flags of an expression or of a part of it: `(?i)`, `(?i-s:..)`.

use super::Parser;
use crate::filter::regex::tree::Case;
use crate::filter::regex::{RegexError, RegexProblem};

/// What the flags in force change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags {
    pub(super) ignore_case: bool,
    pub(super) multiline: bool,
    pub(super) dot_all: bool,
    pub(super) verbose: bool,
    pub(super) ascii: bool,
}

impl Flags {
    pub(super) fn case(self) -> Case {
        match (self.ignore_case, self.ascii) {
            (false, _) => Case::Exact,
            (true, true) => Case::Ascii,
            (true, false) => Case::Unicode,
        }
    }

    fn set(&mut self, flag: char, on: bool) {
        match flag {
            'i' => self.ignore_case = on,
            'm' => self.multiline = on,
            's' => self.dot_all = on,
            'x' => self.verbose = on,
            'a' => self.ascii = on,
            'u' => self.ascii &= !on,
            _ => {}
        }
    }
}

impl Parser<'_> {
    /// Flags from the first letter on. Returns those of a part, the parser behind the `:`; nothing if they are for
    /// the whole expression, the parser behind the `)`.
    pub(super) fn flags(&mut self, flags: Flags) -> Result<Option<Flags>, RegexError> {
        let start = self.at;
        let fail = |parser: &Parser<'_>| {
            let end = (parser.at + 1).min(parser.chars.len());
            let text = parser.chars.get(start..end).unwrap_or_default().iter().collect();
            RegexError { column: start + 1, problem: RegexProblem::Flags(text) }
        };
        let on = self.take(usize::MAX, |c| "imsxau".contains(c));
        if on.contains('a') && on.contains('u') {
            return Err(fail(self));
        }
        let end = self.peek();
        if end == Some(')') && !on.is_empty() {
            self.at += 1;
            on.chars().for_each(|flag| self.global.set(flag, true));
            return Ok(None);
        }
        let mut inner = flags;
        on.chars().for_each(|flag| inner.set(flag, true));
        if self.eat('-') {
            let off = self.take(usize::MAX, |c| "imsx".contains(c));
            if off.is_empty() || off.chars().any(|flag| on.contains(flag)) {
                return Err(fail(self));
            }
            off.chars().for_each(|flag| inner.set(flag, false));
        }
        if self.eat(':') { Ok(Some(inner)) } else { Err(fail(self)) }
    }
}
