//! Settings as fail2ban merges them from files: sections over defaults, values filled in on demand.
//!
//! One reader for the built-in filters and for a whole fail2ban directory. [`load`] puts the files of one name
//! together (`X.conf`, `X.d/*.conf`, `X.local`, `X.d/*.local`, their includes), [`Settings::get`] fills in `%(name)s`,
//! [`tags`] `<name>`, [`definition`] reads what filters and actions consist of: `[Definition]` and `[Init]`.
//! Files are foreign: whatever stands in them, reading ends soon, in bounded memory.

pub mod definition;
mod interpolate;
pub mod load;
pub mod tags;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ini::IniProblem;

pub use definition::Definition;
pub use load::{Files, Loader};

/// Names and values, filled in.
pub type Options = BTreeMap<String, String>;

/// A value as written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// As it stands in the file.
    pub text: Arc<str>,
    /// Where.
    pub place: Place,
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file's path.
    pub file: Arc<str>,
    /// The line from 1; 0 if it concerns the whole file.
    pub line: usize,
}

/// The keys of a section, in lower case.
pub type Section = BTreeMap<String, Value>;

/// What the files of one name say together.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    defaults: Section,
    sections: BTreeMap<String, Section>,
    /// Names of the sections as they came.
    order: Vec<String>,
    /// Where the latest heading of each stands.
    headings: BTreeMap<String, Place>,
    /// The files in the order in which they were merged.
    files: Vec<Arc<str>>,
}

impl Settings {
    /// Names of the sections in the order of the files, each with its latest place.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.order.iter().filter_map(|name| Some((name.as_str(), self.headings.get(name)?)))
    }

    /// The section's own keys as written; nothing if there is no such section.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.get(name)
    }

    /// The files that were merged, in order.
    pub fn files(&self) -> &[Arc<str>] {
        &self.files
    }

    /// Where a key of a section is set, itself or by default; else the section's heading, else the first file.
    pub fn place(&self, section: &str, key: &str) -> Place {
        let own = self.sections.get(section).and_then(|keys| keys.get(key));
        if let Some(value) = own.or_else(|| self.defaults.get(key)) {
            return value.place.clone();
        }
        self.heading(section)
    }

    /// Where the latest heading of a section stands; the first file if there is none.
    pub fn heading(&self, section: &str) -> Place {
        let heading = self.headings.get(section).cloned();
        heading.unwrap_or_else(|| Place { file: self.files.first().cloned().unwrap_or_default(), line: 0 })
    }

    /// Sets a default that no file gave, for [`Settings::get`].
    pub fn set_default(&mut self, key: &str, text: &str) {
        let value = Value { text: text.into(), place: Place::default() };
        self.defaults.insert(key.to_owned(), value);
    }

    /// Adds keys to a section that is there.
    pub fn extend(&mut self, section: &str, keys: impl Iterator<Item = (String, Value)>) {
        self.sections.entry(section.to_owned()).or_default().extend(keys);
    }
}

/// Longest value that is filled in.
pub const MAX_VALUE_BYTES: usize = 1024 * 1024;
/// `%(name)s` inside `%(name)s`: as deep as fail2ban goes.
pub const MAX_DEPTH: usize = 10;
/// How often one tag may be filled into one value: as often as fail2ban does.
pub const MAX_TAG_ROUNDS: usize = 25;
/// What filling in the values of one jail may copy and search.
const MAX_WORK_BYTES: usize = 32 * 1024 * 1024;

/// What it took so far to fill in the values of one jail: bounds the time that foreign files can take.
#[derive(Debug, Default)]
pub struct Work {
    bytes: usize,
}

impl Work {
    /// Counts `bytes` that are copied or searched.
    /// # Errors
    /// [`TextProblem::Endless`] once they are too many.
    pub(super) fn spend(&mut self, bytes: usize, name: &str) -> Result<(), TextProblem> {
        // Every step costs something, or empty values could go on for ever.
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(64);
        if self.bytes > MAX_WORK_BYTES { Err(TextProblem::Endless(name.to_owned())) } else { Ok(()) }
    }
}

/// What is wrong in files of settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextProblem {
    /// A line that is not of the grammar.
    #[error(transparent)]
    Grammar(#[from] IniProblem),
    /// `before` or `after` names a file that is not there.
    #[error("the included file \"{0}\" is not there; name one that is, or leave it out")]
    NoInclude(String),
    /// A file that includes itself, or includes nested too deep.
    #[error("\"{0}\" is included by itself, or more than {max} deep; remove the circle", max = load::MAX_INCLUDE_DEPTH)]
    IncludeDepth(String),
    /// More files than can be meant.
    #[error("more than {max} files are read for one name; include fewer", max = load::MAX_FILES)]
    TooManyFiles,
    /// A file that cannot be read.
    #[error("cannot be read: {0}; mend its permissions, or remove it")]
    Unreadable(String),
    /// A file that is not UTF-8; fail2ban leaves it out too.
    #[error("byte {0} is not UTF-8, so the file is left out; save it as UTF-8")]
    NotUtf8(usize),
    /// A file beyond all measure.
    #[error("has more than {max} bytes and is left out; make it smaller", max = load::MAX_FILE_BYTES)]
    TooLarge,
    /// `%(name)s` of an option that is not there.
    #[error("%({0})s names no option of this file; define it, or write %% for a percent sign")]
    NoOption(String),
    /// A percent sign that is neither `%%` nor `%(name)s`.
    #[error("\"{0}\" is no reference; write %(name)s, or %% for a percent sign")]
    Percent(String),
    /// Interpolation or tags that go round, or grow without end.
    #[error(
        "the value of \"{0}\" refers to itself, or grows beyond {MAX_VALUE_BYTES} bytes; break the circle"
    )]
    Endless(String),
}

#[cfg(test)]
pub(crate) mod tests;
