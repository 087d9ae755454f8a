//! Why a date pattern or a zone cannot be used.

/// Why a date pattern cannot be used, and where it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct DatePatternError {
    /// Which of the patterns, from 1; lines without any text are not counted.
    pub line: usize,
    /// Which character of it, from 1, blanks around the pattern left out.
    pub column: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl DatePatternError {
    pub(super) fn new(column: usize, problem: Problem) -> DatePatternError {
        DatePatternError { line: 1, column, problem }
    }

    pub(super) fn on_line(mut self, line: usize) -> DatePatternError {
        self.line = line;
        self
    }
}

/// What is wrong with a date pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// `%` before what is no code.
    #[error("\"{0}\" is no date code; write %% for a percent sign")]
    Code(String),
    /// The same date twice.
    #[error("this pattern stands there twice; delete one of the lines")]
    Twice,
    /// A field that two groups fill.
    #[error("the group \"{0}\" occurs twice; leave out one of the two codes or give the group another name")]
    Group(String),
    /// A code with a blank before it, where no blank is kept.
    #[error("a pattern cannot begin with a code that takes a blank first; use %H or %I")]
    BlankFirst,
    /// Beyond what expressions in date patterns may hold.
    #[error("{0} in a date pattern is not supported; {1}")]
    Unsupported(&'static str, &'static str),
    /// No expression.
    #[error("{0}; {1}")]
    Syntax(&'static str, &'static str),
    /// It compiles to too much.
    #[error("the pattern becomes too large; repeat less")]
    TooLarge,
}

/// A zone that is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no zone that a log can be in; write UTC, an offset such as UTC+0100 or -05:00, or an abbreviation such as CET"
)]
pub struct ZoneError(pub String);
