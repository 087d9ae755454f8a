//! What filters and actions consist of: `[Definition]`, its parameters in `[Init]`, and what a jail gives.
//!
//! Driven in this order: [`Definition::new`] with the parameters of `name[option=value]`, [`Definition::read`] once or
//! more with the jail's own options, [`Definition::combined`] for the values with their tags filled in.

use std::collections::{BTreeMap, BTreeSet};

use super::load::conditional;
use super::tags::{self, Fill};
use super::{Options, Place, Settings, TextProblem, Work};

/// A value that cannot be filled in, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Of the key.
    pub place: Place,
    /// What is wrong with it.
    pub problem: TextProblem,
}

/// A filter or an action on its way from its files to values.
#[derive(Debug)]
pub struct Definition<'a> {
    settings: &'a Settings,
    /// The options that are read for their own sake.
    names: &'static [&'static str],
    init: Options,
    options: Options,
    given: Options,
    /// What tags without an option stand for; kept over readings, as fail2ban keeps it.
    found: BTreeMap<String, Option<String>>,
}

impl<'a> Definition<'a> {
    /// `names`: the options of `[Definition]` that have a meaning. `init`: what `name[option=value]` gave.
    pub fn new(settings: &'a Settings, names: &'static [&'static str], init: Options) -> Self {
        Self { settings, names, init, options: Options::new(), given: Options::new(), found: BTreeMap::new() }
    }

    /// What `name[option=value]` gave and, after [`Definition::read`], what `[Init]` adds.
    pub fn init(&self) -> &Options {
        &self.init
    }

    /// Says whether journal or file is read, unless the jail or the filter itself says so.
    pub fn set_log_type(&mut self, is_journal: bool) {
        let is_given = self.init.get("logtype").is_some_and(|text| !text.is_empty());
        let is_own = self.settings.section("Definition").is_some_and(|keys| keys.contains_key("logtype"));
        if !is_given && !is_own {
            let value = if is_journal { "journal" } else { "file" };
            self.init.insert("logtype".to_owned(), value.to_owned());
        }
    }

    /// Reads the options. `outer`: the jail's, which stand for the definition's own and fill `%(name)s`. `all`: every
    /// key of `[Definition]`, not only those with a meaning.
    /// # Errors
    /// Every [`Fault`]; the other options are read all the same.
    pub fn read(&mut self, outer: &Options, all: bool, work: &mut Work) -> Result<(), Vec<Fault>> {
        let mut given = outer.clone();
        given.extend(self.init.iter().map(|(name, text)| (name.clone(), text.clone())));
        self.given = given.iter().map(|(name, text)| (name.to_lowercase(), text.clone())).collect();
        self.options.clear();
        let mut faults = Vec::new();
        for name in self.names.iter().filter(|name| !given.contains_key(**name)) {
            if let Some(text) = self.get("Definition", name, &self.given, work, &mut faults) {
                self.options.insert((*name).to_owned(), text);
            }
        }
        self.read_init(work, &mut faults);
        let own = self.settings.section("Definition").into_iter().flat_map(|keys| keys.keys());
        for name in own.filter(|_| all) {
            if !self.options.contains_key(name)
                && let Some(text) = self.get("Definition", name, &Options::new(), work, &mut faults)
            {
                self.options.insert(name.clone(), text);
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn read_init(&mut self, work: &mut Work, faults: &mut Vec<Fault>) {
        let own = self.settings.section("Init").into_iter().flat_map(|keys| keys.keys());
        for name in own {
            let Some(text) = self.get("Init", name, &Options::new(), work, faults) else { continue };
            if !name.starts_with("known/") {
                self.init.insert(format!("known/{name}"), text.clone());
            }
            self.init.entry(name.clone()).or_insert(text);
        }
    }

    fn get(
        &self,
        section: &str,
        name: &str,
        given: &Options,
        work: &mut Work,
        faults: &mut Vec<Fault>,
    ) -> Option<String> {
        self.settings.get(section, name, given, work).unwrap_or_else(|problem| {
            faults.push(Fault { place: self.settings.place(section, name), problem });
            None
        })
    }

    /// All values with their tags filled in; `ignore`: tags that stay for later.
    ///
    /// Tags that depend on the address' family stay too, and so do those that nobody knows.
    /// # Errors
    /// A [`Fault`] for a value that refers to itself or to an option that cannot be filled in.
    pub fn combined(&mut self, ignore: &[&str], work: &mut Work) -> Result<Options, Fault> {
        let mut options = self.options.clone();
        options.extend(self.init.iter().map(|(name, text)| (name.clone(), text.clone())));
        let mut ignored: BTreeSet<String> = ignore.iter().map(|name| (*name).to_owned()).collect();
        ignored.extend(options.keys().filter_map(|name| match conditional(name) {
            (_, "") => None,
            (base, _) => Some(base.to_owned()),
        }));
        let (settings, given, found) = (self.settings, &self.given, &mut self.found);
        let mut more = |tag: &str, work: &mut Work| {
            if let Some(known) = found.get(tag) {
                return Ok(known.clone());
            }
            let value = settings.get_of("Definition", tag, given, work)?;
            found.insert(tag.to_owned(), value.clone());
            Ok(value)
        };
        let mut how = Fill { ignore: &ignored, condition: None, more: &mut more };
        tags::fill(&options, &mut how, work).map_err(|problem| {
            let key = match &problem {
                TextProblem::Endless(key) => key.as_str(),
                _ => "",
            };
            let section = self.settings.section("Definition").filter(|keys| keys.contains_key(key));
            let section = if section.is_some() { "Definition" } else { "Init" };
            Fault { place: self.settings.place(section, key), problem }
        })
    }
}
