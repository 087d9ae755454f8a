//! Which files make up one name, in which order, and how a later one changes what an earlier one said.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::ini::{self, Parsed};
use super::interpolate::KNOWN;
use super::{Options, Place, Section, Settings, TextProblem, Value, Work};

/// Includes within includes.
pub const MAX_INCLUDE_DEPTH: usize = 16;
/// Files of one name, included ones counted as often as they are read.
pub const MAX_FILES: usize = 256;
/// Largest file.
pub const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

/// Where files come from: the core itself opens none.
pub trait Files {
    /// The bytes of a file; nothing if there is none.
    /// # Errors
    /// Why a file that is there cannot be read.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String>;

    /// The names of what lies in a folder, in any order; empty if there is no such folder.
    /// # Errors
    /// Why a folder that is there cannot be listed.
    fn list(&self, folder: &str) -> Result<Vec<String>, String>;
}

/// Reads names; a file that several names include is read once.
pub struct Loader<'a> {
    files: &'a dyn Files,
    read: BTreeMap<String, Option<Arc<Parsed>>>,
    problems: Vec<(Place, TextProblem)>,
}

impl<'a> Loader<'a> {
    /// A reader of these files.
    pub fn new(files: &'a dyn Files) -> Self {
        Self { files, read: BTreeMap::new(), problems: Vec::new() }
    }

    /// What was found wrong since the last call, each with its place.
    pub fn take_problems(&mut self) -> Vec<(Place, TextProblem)> {
        std::mem::take(&mut self.problems)
    }

    /// Reads `base.conf`, `base.d/*.conf`, `base.local`, `base.d/*.local`, as many as are there; nothing if none is.
    pub fn load(&mut self, base: &str) -> Option<Settings> {
        let folder = format!("{base}.d");
        let mut names = self.files.list(&folder).unwrap_or_else(|why| {
            self.report(&folder, 0, TextProblem::Unreadable(why));
            Vec::new()
        });
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        let of = |ending: &str| -> Vec<String> {
            let own = std::iter::once(format!("{base}{ending}"));
            let more = names.iter().filter(|name| name.ends_with(ending));
            own.chain(more.map(|name| format!("{folder}/{name}"))).collect()
        };
        let mut paths = of(".conf");
        paths.extend(of(".local"));
        paths.retain(|path| self.parsed(path).is_some());
        let settings = self.settings(&paths);
        (!settings.files.is_empty()).then_some(settings)
    }

    /// Reads one file with what it includes; nothing if it is not there.
    pub fn load_file(&mut self, path: &str) -> Option<Settings> {
        self.parsed(path)?;
        Some(self.settings(&[path.to_owned()]))
    }

    fn settings(&mut self, paths: &[String]) -> Settings {
        let mut all = Vec::new();
        for path in self.with_local(paths) {
            self.include(&path, &mut Vec::new(), &mut all);
        }
        let mut settings = Settings::default();
        for (path, parsed) in all {
            settings.merge(&path, &parsed);
        }
        settings
    }

    /// Each file followed by its `.local`, if that is there and not in the list.
    fn with_local(&mut self, paths: &[String]) -> Vec<String> {
        let mut all = Vec::new();
        for path in paths {
            all.push(path.clone());
            let local = local_of(path);
            if !paths.contains(&local) && self.parsed(&local).is_some() {
                all.push(local);
            }
        }
        all
    }

    /// Collects a file, what it includes before it and after it. `above`: the files that led here.
    fn include(&mut self, path: &str, above: &mut Vec<String>, all: &mut Vec<(Arc<str>, Arc<Parsed>)>) {
        let Some(parsed) = self.parsed(path) else { return };
        if all.len() + above.len() > MAX_FILES {
            // Said once, when the limit is met, not for every file beyond it.
            if all.len() <= MAX_FILES {
                self.report(path, 0, TextProblem::TooManyFiles);
            }
            return;
        }
        above.push(path.to_owned());
        self.included(path, &parsed, "before", above, all);
        all.push((path.into(), parsed.clone()));
        self.included(path, &parsed, "after", above, all);
        above.pop();
    }

    fn included(
        &mut self,
        path: &str,
        parsed: &Arc<Parsed>,
        key: &str,
        above: &mut Vec<String>,
        all: &mut Vec<(Arc<str>, Arc<Parsed>)>,
    ) {
        let is_wanted = |entry: &&ini::Entry| entry.section == "INCLUDES" && entry.key == key;
        let Some(entry) = parsed.entries.iter().find(is_wanted) else { return };
        let value = if entry.value.contains('%') {
            let mut own = Settings::default();
            own.merge(&path.into(), parsed);
            own.get("INCLUDES", key, &Options::new(), &mut Work::default()).unwrap_or_else(|problem| {
                self.report(path, entry.line, problem);
                None
            })
        } else {
            Some(entry.value.clone())
        };
        for name in value.unwrap_or_default().lines().map(str::trim).filter(|name| !name.is_empty()) {
            let target = beside(path, name);
            if above.len() >= MAX_INCLUDE_DEPTH || above.contains(&target) {
                self.report(path, entry.line, TextProblem::IncludeDepth(ini::shown(name)));
                continue;
            }
            // A `.local` is for the operator to write: most do not exist.
            if self.parsed(&target).is_none() && !target.ends_with(".local") {
                self.report(path, entry.line, TextProblem::NoInclude(ini::shown(name)));
            }
            for file in self.with_local(&[target]) {
                self.include(&file, above, all);
            }
        }
    }

    /// A file as read; nothing if it is not there or cannot be used, which is reported once.
    fn parsed(&mut self, path: &str) -> Option<Arc<Parsed>> {
        if let Some(known) = self.read.get(path) {
            return known.clone();
        }
        let parsed = match self.text(path) {
            Ok(text) => text.map(|text| Arc::new(ini::parse(&text))),
            Err(problem) => {
                self.report(path, 0, problem);
                None
            }
        };
        let problems = parsed.iter().flat_map(|parsed| parsed.problems.iter().cloned());
        for (line, problem) in problems.collect::<Vec<_>>() {
            self.report(path, line, problem.into());
        }
        self.read.insert(path.to_owned(), parsed.clone());
        parsed
    }

    fn text(&self, path: &str) -> Result<Option<String>, TextProblem> {
        let Some(bytes) = self.files.read(path).map_err(TextProblem::Unreadable)? else { return Ok(None) };
        if bytes.len() > MAX_FILE_BYTES {
            return Err(TextProblem::TooLarge);
        }
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|error| TextProblem::NotUtf8(error.utf8_error().valid_up_to()))
    }

    fn report(&mut self, path: &str, line: usize, problem: TextProblem) {
        self.problems.push((Place { file: path.into(), line }, problem));
    }
}

impl Settings {
    /// Lays a file over what was read before it.
    fn merge(&mut self, path: &Arc<str>, parsed: &Parsed) {
        self.files.push(path.clone());
        let mut sections: BTreeMap<&str, Section> = BTreeMap::new();
        for entry in &parsed.entries {
            let place = Place { file: path.clone(), line: entry.line };
            let value = Value { text: entry.value.as_str().into(), place };
            if entry.section == "DEFAULT" {
                self.defaults.insert(entry.key.clone(), value);
                continue;
            }
            let (_, condition) = conditional(&entry.section);
            let key = format!("{}{condition}", entry.key);
            sections.entry(&entry.section).or_default().insert(key, value);
        }
        for (name, line) in parsed.sections.iter().filter(|(name, _)| name != "DEFAULT") {
            let keys = sections.remove(name.as_str()).unwrap_or_default();
            let (name, _) = conditional(name);
            let place = Place { file: path.clone(), line: *line };
            self.merge_section(name, keys, place);
        }
    }

    fn merge_section(&mut self, name: &str, keys: Section, place: Place) {
        self.headings.insert(name.to_owned(), place);
        let Some(before) = self.sections.get_mut(name) else {
            self.order.push(name.to_owned());
            self.sections.insert(name.to_owned(), keys);
            return;
        };
        let replaced: Section =
            keys.keys().filter_map(|key| before.get(key).map(|value| (key.clone(), value.clone()))).collect();
        before.extend(keys);
        self.sections.entry(format!("{KNOWN}{name}")).or_default().extend(replaced);
    }
}

/// `Init?family=inet6` into `Init` and `?family=inet6`.
pub(super) fn conditional(name: &str) -> (&str, &str) {
    let end = name.find('?').filter(|at| *at > 0 && *at + 1 < name.len());
    match end {
        Some(at) if name[..at].chars().all(|c| c.is_alphanumeric() || c == '_') => name.split_at(at),
        _ => (name, ""),
    }
}

/// The path with `.local` for its ending.
fn local_of(path: &str) -> String {
    let name_at = path.rfind('/').map_or(0, |at| at + 1);
    let end = path[name_at..].rfind('.').filter(|at| *at > 0).map_or(path.len(), |at| name_at + at);
    format!("{}.local", &path[..end])
}

/// A file named in another one: relative to that one's folder.
fn beside(path: &str, name: &str) -> String {
    match path.rfind('/') {
        Some(at) if !name.starts_with('/') => format!("{}/{name}", &path[..at]),
        _ => name.to_owned(),
    }
}
