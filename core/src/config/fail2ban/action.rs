//! An action of a jail: from `name[option=value]` and `action.d/name.conf` to its commands.

use crate::filter::settings::{Definition, Options, Place, Settings, TextProblem, Work};
use crate::time::Span;

use super::options::{self, shorten};
use super::{F2bAction, Problem, Reader, fault, native, render, said, seconds};

/// What an action consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Commands for a shell.
    Commands,
    /// A Python program, which only fail2ban can run.
    Python,
    /// Nothing: the directory has no such file, and what Pillory does by that name stands in.
    StandIn,
}

/// Commands and switches of an action's `[Definition]`.
const KEYS: [&str; 13] = [
    "actionstart",
    "actionstart_on_demand",
    "actionstop",
    "actionflush",
    "actionreload",
    "actioncheck",
    "actionrepair",
    "actionrepair_on_unban",
    "actionban",
    "actionprolong",
    "actionreban",
    "actionunban",
    "norestored",
];
const SWITCHES: [&str; 3] = ["actionstart_on_demand", "actionrepair_on_unban", "norestored"];

impl F2bAction {
    /// A command with the action's own properties filled in, as [`render::render`] takes it; empty if it has none.
    ///
    /// `which`: `actionstart`, `actionban` and so on. `family`: `inet4`, `inet6`, or nothing if the action makes no
    /// difference. `hosts`: `fq-hostname` and `sh-hostname`.
    /// # Errors
    /// [`TextProblem::Endless`] for properties that refer to themselves.
    pub fn command(&self, which: &str, family: Option<&str>, hosts: &Options) -> Result<String, TextProblem> {
        let mut properties = self.properties.clone();
        // A ban brings its own bantime.
        properties.remove("bantime");
        properties.insert("timeout".to_owned(), self.timeout.secs().to_string());
        for key in KEYS.iter().filter(|key| !SWITCHES.contains(key)) {
            properties.entry((*key).to_owned()).or_default();
        }
        render::expand(&format!("<{which}>"), &properties, family, hosts)
    }

    /// True if some property depends on the address' family: commands are then rendered for each of both.
    pub fn has_families(&self) -> bool {
        self.properties.keys().any(|key| key.contains("?family="))
    }

    /// Whether `actionstart` waits for the first ban.
    pub fn starts_on_demand(&self) -> bool {
        self.switch("actionstart_on_demand").unwrap_or_else(|| self.has_families())
    }

    /// Whether it is left out for bans that were in force before the start.
    pub fn skips_restored(&self) -> bool {
        self.switch("norestored").unwrap_or(false)
    }

    fn switch(&self, key: &str) -> Option<bool> {
        self.properties.get(key).map(|text| boolean(text))
    }
}

/// As fail2ban takes a truth: what is not true is false.
pub(super) fn boolean(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "1" | "on" | "true" | "yes")
}

/// For which jail an action is read.
pub(super) struct Of<'a> {
    pub jail: &'a str,
    /// The jail's own options.
    pub outer: &'a Options,
    /// Where `action` stands.
    pub place: &'a Place,
}

/// Reads every action of a jail.
pub(super) fn read_all(
    reader: &mut Reader<'_>,
    of: &Of<'_>,
    text: &str,
    work: &mut Work,
) -> Result<Vec<F2bAction>, Vec<Problem>> {
    let mut actions = Vec::new();
    let mut problems = Vec::new();
    for item in options::split(text) {
        match read(reader, of, item, work) {
            Ok(action) => actions.push(action),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(actions) } else { Err(problems) }
}

fn read(
    reader: &mut Reader<'_>,
    of: &Of<'_>,
    item: &str,
    work: &mut Work,
) -> Result<F2bAction, Vec<Problem>> {
    let bad = |message: String| vec![said(of.place, Some(of.jail), &message)];
    let (file, given) = options::extract(item)
        .map_err(|why| bad(format!("action {:?}: {why}; write name[option=\"value\"]", shorten(item))))?;
    let mut action = if let Some(stem) = file.strip_suffix(".py") {
        python(stem, given)
    } else if let Some(settings) = reader.load(&format!("action.d/{file}")) {
        commands(&settings, of, &file, given, work)?
    } else if native::is_known(&file) {
        reader.notice(format!("there is no action.d/{file}.conf: its usual meaning stands in"));
        F2bAction { kind: Kind::StandIn, properties: named(&file, given, of.jail), ..new(&file) }
    } else {
        let cure = "write that file, or name one that is there";
        return Err(bad(format!("there is no action.d/{file}.conf; {cure}")));
    };
    if let Some(text) = action.properties.get("timeout") {
        action.timeout = seconds::span(text)
            .map_err(|why| bad(format!("timeout of action {file} {why}; write for example 60")))?;
    }
    if let Some(name) = action.properties.get("actname") {
        action.name.clone_from(name);
    }
    action.native = native::of(&action);
    reader.notice(format!("jail {:?}: action {}: {}", of.jail, action.name, action.native));
    Ok(action)
}

fn new(file: &str) -> F2bAction {
    F2bAction {
        name: file.to_owned(),
        file: file.to_owned(),
        kind: Kind::Commands,
        properties: Options::new(),
        timeout: Span::from_secs(60),
        native: native::NativeAction::Command,
    }
}

fn python(stem: &str, mut given: Options) -> F2bAction {
    let name = given.remove("actname").unwrap_or_else(|| stem.to_owned());
    F2bAction { name, kind: Kind::Python, properties: given, ..new(&format!("{stem}.py")) }
}

/// The parameters with the names that an action always has.
fn named(file: &str, mut given: Options, jail: &str) -> Options {
    let name = given.entry("name".to_owned()).or_insert_with(|| jail.to_owned()).clone();
    given.entry("actname".to_owned()).or_insert_with(|| match name.strip_prefix(jail) {
        Some(more) => format!("{file}{more}"),
        None => format!("{file}-{name}"),
    });
    given
}

fn commands(
    settings: &Settings,
    of: &Of<'_>,
    file: &str,
    given: Options,
    work: &mut Work,
) -> Result<F2bAction, Vec<Problem>> {
    let mut definition = Definition::new(settings, &KEYS, named(file, given, of.jail));
    let wrong = |faults: Vec<_>| faults.iter().map(|found| fault(found, of.jail)).collect::<Vec<_>>();
    definition.read(of.outer, false, work).map_err(wrong)?;
    // Tags whose values come with a ban.
    let mut later = vec!["timeout", "bantime"];
    later.extend(render::ESCAPED);
    let combined = definition.combined(&later, work).map_err(|found| wrong(vec![found]))?;
    let mut properties: Options =
        combined.into_iter().filter(|(key, _)| KEYS.contains(&key.as_str())).collect();
    for (key, text) in definition.init() {
        if !KEYS.contains(&key.as_str()) && !key.starts_with("known/") {
            properties.insert(key.clone(), text.clone());
        }
    }
    for key in SWITCHES {
        if let Some(text) = properties.get_mut(key) {
            *text = if boolean(text) { "True" } else { "False" }.to_owned();
        }
    }
    Ok(F2bAction { properties, ..new(file) })
}
