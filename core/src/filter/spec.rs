//! From a filter file to a [`FilterSpec`]: includes, interpolation, tags, and the keys that are known here.

use std::collections::BTreeMap;

use super::ini::{self, Entry, IniProblem};
use super::{ConnectionKey, FilterSpec};
use crate::event::Class;

/// What is wrong in a filter file, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {problem}")]
pub struct SpecError {
    /// Name of the file as it was given.
    pub file: String,
    /// Line, from 1; of the key whose value is wrong.
    pub line: usize,
    /// What is wrong.
    pub problem: SpecProblem,
}

/// What is wrong in a filter file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecProblem {
    /// A line that is not of the grammar.
    #[error(transparent)]
    Grammar(#[from] IniProblem),
    /// `before` or `after` names a file that is not there.
    #[error("the included file \"{0}\" is not there; name one that is, or leave it out")]
    NoInclude(String),
    /// A file that includes itself, or includes nested too deep.
    #[error("\"{0}\" is included more than {MAX_INCLUDES} deep; does it include itself?")]
    IncludeDepth(String),
    /// `%(name)s` of an option that is not there.
    #[error("%({0})s names no option of this file; define it, or write %% for a percent sign")]
    NoOption(String),
    /// Interpolation or tags that go round, or grow without end.
    #[error("the value of \"{0}\" refers to itself, or grows beyond {MAX_VALUE_BYTES} bytes")]
    Endless(String),
    /// A key of the language that does not work here yet.
    #[error("the key \"{key}\" is not supported{hint}")]
    Unsupported {
        /// The key.
        key: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// No failregex at all.
    #[error("there is no failregex; a filter needs one at least")]
    NoFailregex,
    /// A part of `failclass` that is not `index:class`.
    #[error("failclass \"{0}\": write \"<index>:<class>\" or \"<first>-<last>:<class>\", with a class of: {names}", names = class_names())]
    BadClass(String),
    /// `failclass` beyond the last failregex.
    #[error("failclass names failregex {index}, but the last one is {last}")]
    ClassBeyond {
        /// The index as written.
        index: usize,
        /// The last index there is.
        last: usize,
    },
    /// `journalmatch` that is not made of `FIELD=value`.
    #[error("journalmatch \"{0}\": write FIELD=value, joined by blanks (and) or \" + \" (or)")]
    BadJournalMatch(String),
    /// `connection` with another word.
    #[error("connection = \"{0}\": write pid, port or source")]
    BadConnection(String),
}

fn class_names() -> String {
    Class::ALL.map(|(_, name)| name).join(", ")
}

const MAX_INCLUDES: usize = 8;
const MAX_VALUE_BYTES: usize = 256 * 1024;
/// References to other options within one value, those inside them included.
const MAX_REFERENCES: usize = 2_000;
/// As deep as fail2ban goes.
const MAX_TAG_ROUNDS: usize = 25;

/// Keys that change what a filter means and that are not understood yet: better an error than another meaning.
const UNSUPPORTED: [(&str, &str); 3] = [
    ("maxlines", "; write expressions that match one line"),
    ("logtimezone", "; give the zone in the jail"),
    ("usedns", "; names are never resolved here"),
];

impl FilterSpec {
    /// Reads a filter in fail2ban's grammar.
    ///
    /// `name`: the filter's name, also the file's name in messages. `includes`: the text of an included file by its
    /// name as written in `before` or `after`.
    /// # Errors
    /// Every problem found, each with its line.
    pub fn parse(
        name: &str,
        text: &str,
        includes: &dyn Fn(&str) -> Option<String>,
    ) -> Result<FilterSpec, Vec<SpecError>> {
        let mut values = Values { file: name.to_owned(), ..Values::default() };
        let mut problems = Vec::new();
        values.load(name, text, includes, 0, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        let spec = values.spec(name, &mut problems);
        if problems.is_empty() { Ok(spec) } else { Err(problems) }
    }
}

/// What it took so far to fill in one value.
#[derive(Debug, Default)]
struct Work {
    references: usize,
    depth: usize,
}

/// Where a value came from.
#[derive(Debug, Clone, Default)]
struct Value {
    text: String,
    file: String,
    line: usize,
}

#[derive(Debug, Default)]
struct Values {
    file: String,
    /// `[Definition]` and `[DEFAULT]`.
    definition: BTreeMap<String, Value>,
    /// `[Init]`: what `<name>` stands for, weaker than the definition's own keys of that name.
    init: BTreeMap<String, Value>,
}

impl Values {
    fn load(
        &mut self,
        file: &str,
        text: &str,
        includes: &dyn Fn(&str) -> Option<String>,
        depth: usize,
        problems: &mut Vec<SpecError>,
    ) {
        let at = |line: usize, problem: SpecProblem| SpecError { file: file.to_owned(), line, problem };
        let entries = match ini::parse(text) {
            Ok(entries) => entries,
            Err(found) => {
                problems.extend(found.into_iter().map(|(line, problem)| at(line, problem.into())));
                return;
            }
        };
        let (included, own): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.section == "INCLUDES");
        let mut load_key = |values: &mut Values, key: &str| {
            for entry in included.iter().filter(|entry| entry.key == key) {
                for other in entry.value.split_whitespace() {
                    if depth >= MAX_INCLUDES {
                        problems.push(at(entry.line, SpecProblem::IncludeDepth(other.to_owned())));
                    } else if let Some(text) = includes(other) {
                        values.load(other, &text, includes, depth + 1, problems);
                    } else {
                        problems.push(at(entry.line, SpecProblem::NoInclude(other.to_owned())));
                    }
                }
            }
        };
        load_key(self, "before");
        for entry in own {
            let value = Value { text: entry.value, file: file.to_owned(), line: entry.line };
            match entry.section.as_str() {
                "Init" => self.init.insert(entry.key, value),
                // Sections of other names are fail2ban's business (tests, conditional parts): not read here.
                "Definition" | "DEFAULT" => self.definition.insert(entry.key, value),
                _ => None,
            };
        }
        load_key(self, "after");
    }

    fn error(&self, key: &str, problem: SpecProblem) -> SpecError {
        let place = self.definition.get(key).or_else(|| self.init.get(key));
        let (file, line) = place.map_or((self.file.clone(), 1), |value| (value.file.clone(), value.line));
        SpecError { file, line, problem }
    }

    /// A key's value with everything filled in; empty if the key is absent.
    fn resolved(&self, key: &str, problems: &mut Vec<SpecError>) -> String {
        let result = match self.definition.get(key).or_else(|| self.init.get(key)) {
            None => return String::new(),
            Some(value) => {
                let mut work = Work::default();
                self.interpolate(key, &value.text, &mut work)
                    .and_then(|text| self.fill_tags(key, text, &mut work))
            }
        };
        result.unwrap_or_else(|problem| {
            problems.push(self.error(key, problem));
            String::new()
        })
    }

    /// `%(name)s` and `%%`.
    fn interpolate(&self, key: &str, text: &str, work: &mut Work) -> Result<String, SpecProblem> {
        work.references += 1;
        if work.references > MAX_REFERENCES || work.depth > MAX_TAG_ROUNDS {
            return Err(SpecProblem::Endless(key.to_owned()));
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(tail) = after.strip_prefix('%') {
                out.push('%');
                rest = tail;
            } else if let Some((name, tail)) =
                after.strip_prefix('(').and_then(|inner| inner.split_once(")s"))
            {
                let value = self.definition.get(name).or_else(|| self.init.get(name));
                let value = value.ok_or_else(|| SpecProblem::NoOption(name.to_owned()))?;
                work.depth += 1;
                out.push_str(&self.interpolate(key, &value.text, work)?);
                work.depth -= 1;
                rest = tail;
            } else {
                return Err(SpecProblem::NoOption(after.chars().take(20).collect()));
            }
            if out.len() > MAX_VALUE_BYTES {
                return Err(SpecProblem::Endless(key.to_owned()));
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `<name>`, innermost first, until nothing changes; unknown names stay as they are.
    fn fill_tags(&self, key: &str, text: String, work: &mut Work) -> Result<String, SpecProblem> {
        let mut text = text;
        for _ in 0..MAX_TAG_ROUNDS {
            let Some(next) = self.fill_once(key, &text, work)? else { return Ok(text) };
            if next.len() > MAX_VALUE_BYTES {
                break;
            }
            text = next;
        }
        Err(SpecProblem::Endless(key.to_owned()))
    }

    fn fill_once(&self, key: &str, text: &str, work: &mut Work) -> Result<Option<String>, SpecProblem> {
        let mut out = String::with_capacity(text.len());
        let mut changed = false;
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            let (head, tail) = rest.split_at(at);
            out.push_str(head);
            let inner = tail[1..].split_once('>');
            let value = inner.filter(|(name, _)| *name != key).and_then(|(name, after)| {
                self.init.get(name).or_else(|| self.definition.get(name)).map(|value| (value, after))
            });
            if let Some((value, after)) = value {
                out.push_str(&self.interpolate(key, &value.text, work)?);
                rest = after;
                changed = true;
            } else {
                out.push('<');
                rest = &tail[1..];
            }
            if out.len() > MAX_VALUE_BYTES {
                return Err(SpecProblem::Endless(key.to_owned()));
            }
        }
        out.push_str(rest);
        Ok(changed.then_some(out))
    }

    fn spec(&self, name: &str, problems: &mut Vec<SpecError>) -> FilterSpec {
        for (key, hint) in UNSUPPORTED {
            let value = self.resolved(key, problems);
            let harmless = value.is_empty() || (key == "maxlines" && value == "1");
            if !harmless {
                problems.push(self.error(key, SpecProblem::Unsupported { key: key.to_owned(), hint }));
            }
        }
        let mut list = |key: &str| -> Vec<String> {
            let value = self.resolved(key, problems);
            value.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
        };
        let failregex = list("failregex");
        let mut spec = FilterSpec {
            name: name.to_owned(),
            ignoreregex: list("ignoreregex"),
            successregex: list("successregex"),
            prefregex: Some(list("prefregex").concat()).filter(|text| !text.is_empty()),
            datepattern: Some(list("datepattern").join("\n")).filter(|text| !text.is_empty()),
            logpath: list("logpath").iter().flat_map(|line| words(line)).collect(),
            program: list("program").iter().flat_map(|line| words(line)).collect(),
            public: list("audience").concat() == "public",
            port: list("port").iter().flat_map(|line| words(&line.replace(',', " "))).collect(),
            failregex,
            ..FilterSpec::default()
        };
        if spec.failregex.is_empty() {
            problems.push(self.error("failregex", SpecProblem::NoFailregex));
        }
        let read = self.resolved("failclass", problems);
        match fail_classes(&read, spec.failregex.len()) {
            Ok(classes) => spec.failclass = classes,
            Err(problem) => problems.push(self.error("failclass", problem)),
        }
        let read = self.resolved("journalmatch", problems);
        match journal_match(&read) {
            Ok(matches) => spec.journalmatch = matches,
            Err(problem) => problems.push(self.error("journalmatch", problem)),
        }
        spec.connection = match self.resolved("connection", problems).as_str() {
            "" | "port" => ConnectionKey::Port,
            "pid" => ConnectionKey::Process,
            "source" => ConnectionKey::Source,
            other => {
                problems.push(self.error("connection", SpecProblem::BadConnection(other.to_owned())));
                ConnectionKey::Port
            }
        };
        spec
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// `0:unknown_user 3-5:scan`.
fn fail_classes(text: &str, expressions: usize) -> Result<Vec<(usize, Class)>, SpecProblem> {
    let mut classes = Vec::new();
    for part in text.split_whitespace() {
        let bad = || SpecProblem::BadClass(part.to_owned());
        let (range, class) = part.split_once(':').ok_or_else(bad)?;
        let class = Class::from_name(class).ok_or_else(bad)?;
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let first: usize = first.parse().map_err(|_| bad())?;
        let last: usize = last.parse().map_err(|_| bad())?;
        if last >= expressions {
            return Err(SpecProblem::ClassBeyond { index: last, last: expressions.saturating_sub(1) });
        }
        classes.extend((first..=last).map(|index| (index, class)));
    }
    Ok(classes)
}

/// Reads a `journalmatch`: `_SYSTEMD_UNIT=a.service _COMM=b + _COMM=c`.
/// # Errors
/// [`SpecProblem::BadJournalMatch`] names the word that is no pair.
pub fn journal_match(text: &str) -> Result<Vec<Vec<(String, String)>>, SpecProblem> {
    let mut alternatives: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for word in text.split_whitespace() {
        let word = word.trim_matches(['"', '\'']);
        if word == "+" {
            alternatives.push(Vec::new());
            continue;
        }
        let (field, value) =
            word.split_once('=').ok_or_else(|| SpecProblem::BadJournalMatch(word.to_owned()))?;
        if let Some(pairs) = alternatives.last_mut() {
            pairs.push((field.to_owned(), value.to_owned()));
        }
    }
    alternatives.retain(|pairs| !pairs.is_empty());
    Ok(alternatives)
}

#[cfg(test)]
mod tests;
