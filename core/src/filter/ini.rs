//! The file grammar of fail2ban's configuration: sections, keys, values over several lines, comments.
//!
//! Nothing is interpreted here: every value keeps the line where it begins, [`super::settings`] merges files and
//! fills values in. The grammar is that of Python's `configparser` as fail2ban sets it up; values are equal to the
//! byte, empty lines inside them included, because shell commands of actions stand in them.

use std::collections::{BTreeMap, BTreeSet};

/// One `key = value` of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the section: `Definition`.
    pub section: String,
    /// The key in lower case.
    pub key: String,
    /// The value: its lines joined by `\n`, each without blanks around it. It begins with `\n` if nothing stands
    /// behind the key's sign.
    pub value: String,
    /// The line of the key, from 1.
    pub line: usize,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parsed {
    /// Every key in the order of the file; of a key that is written twice the later one alone.
    pub entries: Vec<Entry>,
    /// Names of the sections in the order of the file, empty ones too, each with its first line from 1.
    pub sections: Vec<(String, usize)>,
    /// What fits nowhere, with its line from 1. The rest of the file is read all the same.
    pub problems: Vec<(usize, IniProblem)>,
}

/// A line that fits nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IniProblem {
    /// A key before the first `[Section]`.
    #[error("\"{0}\" stands before the first section; begin with [Definition], or in a jail file [DEFAULT]")]
    NoSection(String),
    /// Neither a section nor a key nor the continuation of a value.
    #[error(
        "\"{0}\" is neither \"key = value\" nor a section; lines that continue a value begin with a blank"
    )]
    NoKey(String),
    /// `[Section` without its bracket.
    #[error("\"{0}\" does not close its bracket; write \"[Definition]\"")]
    OpenSection(String),
    /// A section that the file has already; fail2ban refuses the file.
    #[error("the section [{0}] stands twice in this file; put its keys under one heading")]
    TwiceSection(String),
    /// A key that its section has already; fail2ban refuses the file.
    #[error("the key \"{0}\" stands twice in its section; remove one of them")]
    TwiceKey(String),
}

/// Reads a file's text; sound parts are taken whatever else is wrong.
///
/// Comments are whole lines that begin with `#` or `;`, and what follows a `;` after a blank. A line that is indented
/// deeper than the key continues its value, over empty lines and comments too.
pub fn parse(text: &str) -> Parsed {
    let mut reader = Reader::default();
    let unified;
    let text = if text.contains('\r') {
        unified = text.replace("\r\n", "\n").replace('\r', "\n");
        unified.as_str()
    } else {
        text
    };
    for (index, raw) in text.lines().enumerate() {
        reader.line(index + 1, raw);
    }
    reader.finish()
}

/// Problems that are kept of one file.
const MAX_PROBLEMS: usize = 1_000;

/// The section that holds for all others; it alone may stand twice.
const DEFAULT: &str = "DEFAULT";

#[derive(Debug, Default)]
struct Reader {
    parsed: Parsed,
    section: Option<String>,
    sections: BTreeSet<String>,
    /// Where the latest value of each key stands among the entries.
    keys: BTreeMap<(String, String), usize>,
    /// Entries whose key came again.
    replaced: BTreeSet<usize>,
    /// The entry that may still be continued.
    open: Option<Entry>,
    /// Characters before the first that is no blank, of the last heading or key.
    indent: usize,
}

impl Reader {
    fn line(&mut self, number: usize, raw: &str) {
        let (content, has_comment) = match comment_start(raw) {
            Some(at) => (raw.get(..at).unwrap_or(raw).trim(), true),
            None => (raw.trim(), false),
        };
        if content.is_empty() {
            if let Some(entry) = self.open.as_mut().filter(|_| !has_comment) {
                entry.value.push('\n');
            }
            return;
        }
        let indent = raw.chars().take_while(|c| c.is_whitespace()).count();
        if let Some(entry) = self.open.as_mut().filter(|_| indent > self.indent) {
            entry.value.push('\n');
            entry.value.push_str(content);
            return;
        }
        self.indent = indent;
        self.close();
        match heading(content) {
            Some(name) => self.heading(number, name),
            None => self.key(number, content),
        }
    }

    fn heading(&mut self, number: usize, name: &str) {
        if self.sections.insert(name.to_owned()) {
            self.parsed.sections.push((name.to_owned(), number));
        } else if name != DEFAULT {
            self.report(number, IniProblem::TwiceSection(shown(name)));
        }
        self.section = Some(name.to_owned());
    }

    fn key(&mut self, number: usize, content: &str) {
        let problem = match (split_key(content), &self.section) {
            (Some((key, value)), Some(section)) => {
                let key = key.to_lowercase();
                let (section, value) = (section.clone(), value.to_owned());
                let at = self.parsed.entries.len();
                if let Some(earlier) = self.keys.insert((section.clone(), key.clone()), at) {
                    self.replaced.insert(earlier);
                    self.report(number, IniProblem::TwiceKey(shown(&key)));
                }
                self.open = Some(Entry { section, key, value, line: number });
                return;
            }
            (Some((key, _)), None) => IniProblem::NoSection(shown(key)),
            (None, _) if content.starts_with('[') => IniProblem::OpenSection(shown(content)),
            (None, _) => IniProblem::NoKey(shown(content)),
        };
        self.report(number, problem);
    }

    fn report(&mut self, number: usize, problem: IniProblem) {
        if self.parsed.problems.len() < MAX_PROBLEMS {
            self.parsed.problems.push((number, problem));
        }
    }

    fn close(&mut self) {
        if let Some(mut entry) = self.open.take() {
            entry.value.truncate(entry.value.trim_end().len());
            self.parsed.entries.push(entry);
        }
    }

    fn finish(mut self) -> Parsed {
        self.close();
        let mut at = 0;
        self.parsed.entries.retain(|_| {
            at += 1;
            !self.replaced.contains(&(at - 1))
        });
        self.parsed
    }
}

/// `[name]`; what follows the last bracket means nothing.
fn heading(content: &str) -> Option<&str> {
    let name = content.strip_prefix('[')?.rsplit_once(']')?.0;
    (!name.is_empty()).then_some(name)
}

/// `key = value` or `key: value`, whichever sign comes first.
fn split_key(content: &str) -> Option<(&str, &str)> {
    let at = content.find(['=', ':'])?;
    let key = content[..at].trim_end();
    (!key.is_empty()).then(|| (key, content[at + 1..].trim()))
}

/// Where the comment of a line begins: the whole line's, or the first `;` behind a blank.
fn comment_start(raw: &str) -> Option<usize> {
    if raw.trim_start().starts_with(['#', ';']) {
        return Some(0);
    }
    let blank_before = |at: usize| raw[..at].chars().next_back().is_some_and(char::is_whitespace);
    raw.match_indices(';').map(|(at, _)| at).find(|at| blank_before(*at))
}

/// A part of a foreign text that fits into a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_run_over_indented_lines_and_comments() {
        let text = "# head\n[Definition]\nfailregex = ^a ; note\n\n   # inner\n   ^b;c\nOther: x\n";
        let entries = parse(text).entries;
        assert_eq!(entries[0].value, "^a\n\n^b;c");
        assert_eq!((entries[0].line, entries[1].line), (3, 7));
        assert_eq!((entries[1].key.as_str(), entries[1].value.as_str()), ("other", "x"));
    }

    #[test]
    fn a_key_may_be_indented_and_its_value_is_indented_deeper() {
        let entries = parse("[A]\r\n  a =\r\n    x\r\n  b = y\r\n z = 1\r\n").entries;
        let found: Vec<_> = entries.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        assert_eq!(found, [("a", "\nx"), ("b", "y"), ("z", "1")]);
    }

    #[test]
    fn reports_every_line_that_fits_nowhere() {
        let parsed = parse("a = 1\n[Definition\n[Definition]\nnonsense\nb = 2\n");
        assert_eq!(parsed.problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(parsed.entries.len(), 1);
    }

    #[test]
    fn what_stands_twice_is_reported_and_the_later_value_stands() {
        let parsed = parse("[A]\nx = 1\n[B]\nx = 2\n[A]\nx = 3\n");
        let found: Vec<_> = parsed.entries.iter().map(|e| (e.section.as_str(), e.value.as_str())).collect();
        assert_eq!(found, [("B", "2"), ("A", "3")]);
        assert_eq!(parsed.problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [5, 6]);
    }
}
