//! From a filter file to a [`FilterSpec`]: includes, interpolation, tags, and the keys that are known here.

use super::settings::definition::Fault;
use super::settings::{Definition, Files, Loader, Options, Place, Settings, TextProblem, Work};
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
    /// Its text cannot be read or filled in.
    #[error(transparent)]
    Text(#[from] TextProblem),
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

/// The settings that have a meaning, each with a line for the manual.
pub const SETTINGS: [(&str, &str); 16] = [
    ("prefregex", "an expression that comes first; its group F-CONTENT is what the others see"),
    ("failregex", "expressions that show a failure, one a line; the first that matches wins"),
    ("ignoreregex", "expressions for lines to be passed over although a failregex matches"),
    ("successregex", "expressions that show a good login; fail2ban ignores the key"),
    (
        "failclass",
        "what a failure is worth, by the number of its failregex from 0: 0:unknown_user 3-5:scan; the others are known_user",
    ),
    ("datepattern", "how a line's date is written, several in lines of their own; unset: found by itself"),
    ("journalmatch", "entries of the journal that are read: FIELD=value, joined by blanks (and) or + (or)"),
    ("logpath", "log files where the service usually writes, globs allowed"),
    ("program", "programs of the service, by their file names: the jail runs by itself if one is installed"),
    ("audience", "public if the service's users are the public: its bans begin shorter"),
    ("port", "ports of the service, for bans that are limited to them"),
    (
        "connection",
        "what ties lines to one connection besides the address: pid, port or source; port if unset",
    ),
    ("maxlines", "1, or unset; a jail with a failregex of its own may have more"),
    ("logtimezone", "unset; test-filter has --tz"),
    ("usedns", "unset; names are never resolved here"),
    ("mode", "nothing by itself; expressions may refer to it, and filter[mode=..] sets it"),
];

/// Their names.
const KEYS: [&str; SETTINGS.len()] = {
    let mut names = [""; SETTINGS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = SETTINGS[at].0;
        at += 1;
    }
    names
};

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
        FilterSpec::parse_with(name, text, Options::new(), includes)
    }

    /// As [`FilterSpec::parse`], with the options of `name[option=value]` in the place of the filter's own.
    /// # Errors
    /// As [`FilterSpec::parse`].
    pub fn parse_with(
        name: &str,
        text: &str,
        given: Options,
        includes: &dyn Fn(&str) -> Option<String>,
    ) -> Result<FilterSpec, Vec<SpecError>> {
        let files = OneFile { name, text, includes };
        let mut loader = Loader::new(&files);
        let settings = loader.load_file(name).unwrap_or_default();
        let read = loader.take_problems();
        if !read.is_empty() {
            return Err(read.into_iter().map(|(place, problem)| error(place, problem.into())).collect());
        }
        let mut faults: Vec<Fault> = Vec::new();
        let mut work = Work::default();
        let mut definition = Definition::new(&settings, &KEYS, given);
        faults.extend(definition.read(&Options::new(), false, &mut work).err().into_iter().flatten());
        let options = definition.combined(&[], &mut work);
        let mut problems: Vec<SpecError> =
            faults.into_iter().map(|fault| error(fault.place, fault.problem.into())).collect();
        let options = options.map_err(|fault| vec![error(fault.place, fault.problem.into())])?;
        let spec = Values { settings: &settings, options }.spec(name, &mut problems);
        problems.sort_by_key(|problem| problem.line);
        if problems.is_empty() { Ok(spec) } else { Err(problems) }
    }
}

/// A filter's own text under its name, and what it includes.
struct OneFile<'a> {
    name: &'a str,
    text: &'a str,
    includes: &'a dyn Fn(&str) -> Option<String>,
}

impl Files for OneFile<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let text = if path == self.name { Some(self.text.to_owned()) } else { (self.includes)(path) };
        Ok(text.map(String::into_bytes))
    }

    fn list(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

fn error(place: Place, problem: SpecProblem) -> SpecError {
    SpecError { file: place.file.to_string(), line: place.line.max(1), problem }
}

struct Values<'a> {
    settings: &'a Settings,
    options: Options,
}

impl Values<'_> {
    fn error(&self, key: &str, problem: SpecProblem) -> SpecError {
        let is_own = self.settings.section("Definition").is_some_and(|keys| keys.contains_key(key));
        error(self.settings.place(if is_own { "Definition" } else { "Init" }, key), problem)
    }

    /// A key's value with everything filled in; empty if the key is absent.
    fn resolved(&self, key: &str) -> &str {
        self.options.get(key).map_or("", String::as_str)
    }

    fn spec(&self, name: &str, problems: &mut Vec<SpecError>) -> FilterSpec {
        for (key, hint) in UNSUPPORTED {
            let value = self.resolved(key);
            let harmless = value.is_empty() || (key == "maxlines" && value == "1");
            if !harmless {
                problems.push(self.error(key, SpecProblem::Unsupported { key: key.to_owned(), hint }));
            }
        }
        let list = |key: &str| -> Vec<String> {
            let value = self.resolved(key);
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
        let read = self.resolved("failclass");
        match fail_classes(read, spec.failregex.len()) {
            Ok(classes) => spec.failclass = classes,
            Err(problem) => problems.push(self.error("failclass", problem)),
        }
        let read = self.resolved("journalmatch");
        match journal_match(read) {
            Ok(matches) => spec.journalmatch = matches,
            Err(problem) => problems.push(self.error("journalmatch", problem)),
        }
        spec.connection = match self.resolved("connection") {
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
    let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    journal_match_words(&words)
}

/// As [`journal_match`], of words that are parted already.
/// # Errors
/// As [`journal_match`].
pub fn journal_match_words(words: &[&str]) -> Result<Vec<Vec<(String, String)>>, SpecProblem> {
    let mut alternatives: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for word in words {
        if *word == "+" {
            alternatives.push(Vec::new());
            continue;
        }
        let (field, value) =
            word.split_once('=').ok_or_else(|| SpecProblem::BadJournalMatch((*word).to_owned()))?;
        if let Some(pairs) = alternatives.last_mut() {
            pairs.push((field.to_owned(), value.to_owned()));
        }
    }
    alternatives.retain(|pairs| !pairs.is_empty());
    Ok(alternatives)
}

#[cfg(test)]
mod tests;
