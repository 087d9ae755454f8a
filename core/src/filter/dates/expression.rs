//! The expression of a template: compiled at its first use, searched in linear time.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;
use regex_automata::{Input, meta};

use super::error::{DatePatternError, Problem};
use super::parse;
use super::tokens::Tokens;

/// Bytes that one expression may take once compiled; the largest of fail2ban's takes a tenth.
const MAX_BYTES: usize = 1 << 20;

/// An expression that has been read. Clones share all but what the last search found.
#[derive(Debug, Clone)]
pub(super) struct Expression {
    read: Arc<Read>,
    found: Option<Captures>,
}

#[derive(Debug)]
struct Read {
    text: String,
    syntax: syntax::Config,
    /// Python's number of each group, in the engine's order.
    numbers: Vec<usize>,
    /// The name of each of Python's groups, by its number less one.
    names: Vec<Option<String>>,
    /// Made when it is needed first: of the usual stamps a log has one, and that is mostly read by hand.
    program: OnceLock<Option<meta::Regex>>,
}

impl Expression {
    /// Reads an expression in Python's syntax.
    /// # Errors
    /// What is none.
    pub(super) fn new(tokens: &Tokens) -> Result<Expression, DatePatternError> {
        let parsed = parse::parse(tokens)?;
        let (mut text, mut numbers) = (String::new(), Vec::new());
        parsed.node.write(&mut text, &mut numbers);
        let syntax = syntax::Config::new()
            .unicode(false)
            .utf8(false)
            .case_insensitive(parsed.ignore_case)
            .multi_line(parsed.multi_line)
            .dot_matches_new_line(parsed.dot_all);
        let read = Read { text, syntax, numbers, names: parsed.names, program: OnceLock::new() };
        Ok(Expression { read: Arc::new(read), found: None })
    }

    /// Compiles it.
    /// # Errors
    /// What the engine does not take. The usual stamps it takes, which a test holds.
    pub(super) fn check(&self) -> Result<(), DatePatternError> {
        let program = self.read.compile()?;
        self.read.program.get_or_init(|| Some(program));
        Ok(())
    }

    /// The same in the engine's language, for one search for many.
    pub(super) fn source(&self) -> (&str, syntax::Config) {
        (&self.read.text, self.read.syntax)
    }

    /// Searches for the leftmost match that begins and ends within `part`; what stands before it is seen.
    pub(super) fn search(&mut self, bytes: &[u8], part: Range<usize>) -> Option<Range<usize>> {
        let bytes = bytes.get(..part.end)?;
        if part.start > bytes.len() {
            return None;
        }
        let program = self.read.program.get_or_init(|| self.read.compile().ok()).as_ref()?;
        let found = self.found.get_or_insert_with(|| program.create_captures());
        program.search_captures(&Input::new(bytes).range(part), found);
        found.get_match().map(|found| found.range())
    }

    /// What one of Python's groups took in the last match.
    pub(super) fn group(&self, number: usize) -> Option<Range<usize>> {
        let indices = (1..).zip(&self.read.numbers).filter(|(_, own)| **own == number);
        indices
            .into_iter()
            .find_map(|(index, _)| self.found.as_ref()?.get_group(index))
            .map(|span| span.start..span.end)
    }

    /// The named groups, in the order in which they are written.
    pub(super) fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(&self.read.names).filter_map(|(number, name)| Some((number, name.as_deref()?)))
    }
}

impl Read {
    fn compile(&self) -> Result<meta::Regex, DatePatternError> {
        // Where a search for literals pays, the sieve has already told that there is nothing; a hostile line would
        // make it stop at every other byte.
        let config =
            meta::Config::new().nfa_size_limit(Some(MAX_BYTES)).utf8_empty(false).auto_prefilter(false);
        let program = meta::Regex::builder().syntax(self.syntax).configure(config).build(&self.text);
        program.map_err(|error| DatePatternError::new(1, problem(&error)))
    }
}

fn problem(error: &meta::BuildError) -> Problem {
    if error.size_limit().is_some() {
        return Problem::TooLarge;
    }
    Problem::Syntax("this is no expression", "compare it with one that works")
}
