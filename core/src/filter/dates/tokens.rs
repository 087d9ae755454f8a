//! A date pattern on its way to an expression: characters that know where they were written.

use std::fmt;

/// One character of a pattern, or a mark of ours beyond the characters that patterns may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) c: char,
    /// Column in the line as written, from 1.
    pub(super) column: usize,
}

/// Marks a place that must not lie inside a word.
pub(super) const BOUND: char = '\u{f000}';
/// The first of the marks that stand for `%`-codes, in the order of their table.
pub(super) const FIRST_CODE: u32 = 0xe000;

/// A pattern, or what becomes of it.
#[derive(Clone, Default)]
pub(super) struct Tokens(pub(super) Vec<Token>);

impl Tokens {
    /// Characters as they were written.
    pub(super) fn written(text: &str) -> Tokens {
        Tokens(text.chars().enumerate().map(|(at, c)| Token { c, column: at + 1 }).collect())
    }

    /// Characters that stand for something written at one place.
    pub(super) fn at(text: &str, column: usize) -> Tokens {
        Tokens(text.chars().map(|c| Token { c, column }).collect())
    }

    pub(super) fn get(&self, at: usize) -> Option<char> {
        self.0.get(at).map(|token| token.c)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Column of a token; of the last one beyond the end.
    pub(super) fn column(&self, at: usize) -> usize {
        self.0.get(at).or(self.0.last()).map_or(1, |token| token.column)
    }

    /// True if the text goes on so at `at`.
    pub(super) fn has(&self, at: usize, text: &str) -> bool {
        text.chars().enumerate().all(|(offset, c)| self.get(at + offset) == Some(c))
    }

    pub(super) fn ends_with(&self, text: &str) -> bool {
        self.len().checked_sub(text.chars().count()).is_some_and(|at| self.has(at, text))
    }

    /// Takes a word off the front.
    pub(super) fn strip(&mut self, word: &str) -> bool {
        let is_there = self.has(0, word);
        if is_there {
            self.0.drain(..word.chars().count());
        }
        is_there
    }

    /// Takes blanks off the end, and off the front if wanted.
    pub(super) fn trim(&mut self, front: bool) {
        let is_blank = |token: &&Token| token.c.is_whitespace();
        let end = self.0.iter().rev().take_while(is_blank).count();
        self.0.truncate(self.0.len() - end);
        if front {
            let start = self.0.iter().take_while(is_blank).count();
            self.0.drain(..start);
        }
    }

    pub(super) fn insert(&mut self, at: usize, text: &str) {
        let column = self.column(at);
        self.0.splice(at..at, Tokens::at(text, column).0);
    }

    pub(super) fn append(&mut self, text: &str) {
        self.insert(self.len(), text);
    }

    /// Replaces a word, in either case, unless a backslash stands before it.
    pub(super) fn replace(&self, word: &str, with: impl Fn(usize) -> Tokens) -> (Tokens, usize) {
        let (mut out, mut count, mut at) = (Tokens::default(), 0, 0);
        let word_len = word.chars().count();
        while at < self.len() {
            let is_word = word
                .chars()
                .enumerate()
                .all(|(offset, c)| self.get(at + offset).is_some_and(|own| own.eq_ignore_ascii_case(&c)));
            if is_word && (at == 0 || self.get(at - 1) != Some('\\')) {
                out.0.extend(with(self.column(at)).0);
                count += 1;
                at += word_len;
            } else {
                out.0.push(self.0[at]);
                at += 1;
            }
        }
        (out, count)
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| fmt::Write::write_char(f, token.c))
    }
}
