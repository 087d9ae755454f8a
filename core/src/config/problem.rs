//! One thing that is wrong with a configuration: where, what, and how to mend it.

use std::fmt;

use crate::suggest::with_cure;

/// Where, what and the cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file; empty for the built-in configuration.
    pub file: String,
    /// Line from 1; 0 if it concerns the whole file.
    pub line: usize,
    /// The jail, if it concerns one.
    pub jail: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub cure: String,
}

/// `pillory.toml:14: jail "sshd": bantime "10x": unknown unit "x"; use s, m, h, d or w`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if let Some(jail) = &self.jail {
            write!(f, ": jail {jail:?}")?;
        }
        write!(f, ": {}", with_cure(&self.what, &self.cure))
    }
}
