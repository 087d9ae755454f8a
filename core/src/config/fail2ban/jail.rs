//! One jail: its options, its filter, its actions.

use std::sync::Arc;

use crate::event::JailName;
use crate::filter::settings::{Definition, Options, Place, Settings, Value, Work};
use crate::filter::{FilterSpec, catalog};

use super::action::{self, Of, boolean};
use super::options::{self, shorten};
use super::typed::{self, Typed};
use super::{F2bFilter, F2bJail, Places, Problem, Reader, fault, said, standin};

/// The options of a filter that have a meaning.
const FILTER_KEYS: [&str; 7] =
    ["usedns", "prefregex", "ignoreregex", "failregex", "maxlines", "datepattern", "journalmatch"];
/// The options of a jail that are read before its filter.
const FIRST_KEYS: [&str; 3] = ["enabled", "backend", "filter"];
/// The options of a jail that are read after its filter, beside those.
const JAIL_KEYS: [&str; 19] = [
    "maxretry",
    "maxmatches",
    "findtime",
    "bantime",
    "bantime.increment",
    "bantime.factor",
    "bantime.formula",
    "bantime.multipliers",
    "bantime.maxtime",
    "bantime.rndtime",
    "bantime.overalljails",
    "ignorecommand",
    "ignoreself",
    "ignoreip",
    "ignorecache",
    "logtimezone",
    "logencoding",
    "logpath",
    "action",
];
/// Reads a jail; nothing if it is not enabled.
pub(super) fn read(
    reader: &mut Reader<'_>,
    settings: &mut Settings,
    name: &str,
    place: &Place,
) -> Result<Option<F2bJail>, Vec<Problem>> {
    let mut work = Work::default();
    let first = options_of(settings, name, &FIRST_KEYS, &mut work)?;
    let enabled = first.get("enabled").is_some_and(|text| boolean(text));
    if !enabled && !reader.every_jail {
        return Ok(None);
    }
    let jail_name = JailName::of_jail(name)
        .map_err(|error| vec![said(place, Some(name), &format!("{error}; rename it"))])?;
    let read = filter(reader, settings, name, &first, &mut work)?;
    let places = Places::new(settings, name, read.source.as_deref(), &read.of_filter);
    let mut typed = Typed::new(settings, name, &read.own, &read.of_filter);
    let mut filter = typed.filter();
    (filter.name, filter.given, filter.stand_in) = (read.name, read.given, read.stand_in);
    let mut jail = typed.jail(jail_name, enabled, filter, &mut work);
    let wrong = typed.problems;
    jail.places = places;
    let text = read.own.get("action").map(String::as_str).unwrap_or_default();
    let action_place = settings.place(name, "action");
    let outer = typed::normal(&read.own);
    let of = Of { jail: name, outer: &outer, place: &action_place };
    jail.actions = action::read_all(reader, &of, text, &mut work)?;
    if jail.filter.failregex.is_empty() {
        let cure = "give it a failregex, or name a filter that has one";
        let message = format!("there is no failregex, so nothing is ever found; {cure}");
        reader.out.problems.push(said(&own_place(settings, name, "filter"), Some(name), &message));
    }
    if jail.actions.is_empty() {
        let message = "there is no action, so nobody is banned; give it an action";
        reader.out.problems.push(said(&action_place, Some(name), message));
    }
    reader.out.problems.extend(wrong);
    Ok(Some(jail))
}

/// Reads a filter that no jail uses; `written`: `name[option=value]`. What stands in for it is among the notices.
pub(super) fn filter_alone(
    reader: &mut Reader<'_>,
    written: &str,
    is_journal: bool,
) -> Result<F2bFilter, Vec<Problem>> {
    let backend = if is_journal { "systemd" } else { "polling" };
    let first: Options = [("filter", written), ("backend", backend)]
        .map(|(key, text)| (key.to_owned(), text.to_owned()))
        .into();
    let mut settings = Settings::default();
    let read = filter(reader, &mut settings, "", &first, &mut Work::default())?;
    let mut typed = Typed::new(&settings, "", &read.own, &read.of_filter);
    let mut filter = typed.filter();
    (filter.name, filter.given, filter.stand_in) = (read.name, read.given, read.stand_in);
    if typed.problems.is_empty() { Ok(filter) } else { Err(typed.problems) }
}

/// What a jail and its filter say, as texts.
struct Texts {
    /// Name of the filter, and what the jail gave it.
    name: String,
    given: Options,
    stand_in: Option<FilterSpec>,
    /// The filter's files.
    source: Option<Arc<Settings>>,
    /// The jail's options.
    own: Options,
    /// The filter's.
    of_filter: Options,
}

/// Reads the filter, and then the jail's options, which may refer to the filter's.
fn filter(
    reader: &mut Reader<'_>,
    settings: &mut Settings,
    jail: &str,
    first: &Options,
    work: &mut Work,
) -> Result<Texts, Vec<Problem>> {
    let written = first.get("filter").map(String::as_str).unwrap_or_default();
    let (name, given) = options::extract(written).map_err(|why| {
        let message = format!("filter {:?}: {why}; write name[option=value]", shorten(written));
        vec![said(&own_place(settings, jail, "filter"), Some(jail), &message)]
    })?;
    let keys: Vec<&str> = FIRST_KEYS.iter().chain(&JAIL_KEYS).chain(&FILTER_KEYS).copied().collect();
    let Some(source) = source(reader, settings, jail, &name)? else {
        let own = options_of(settings, jail, &keys, work)?;
        return Ok(Texts { name, given, stand_in: None, source: None, own, of_filter: Options::new() });
    };
    let mut filter = Definition::new(&source, &FILTER_KEYS, given.clone());
    filter.set_log_type(first.get("backend").is_some_and(|backend| backend.starts_with("systemd")));
    let known = combined(&mut filter, first, true, jail, work)?;
    let place = settings.place(jail, "filter");
    settings.extend(jail, known.into_iter().map(|(key, text)| known_value(key, text, &place)));
    let own = options_of(settings, jail, &keys, work)?;
    let of_filter = combined(&mut filter, &typed::normal(&own), false, jail, work)?;
    let built_in = standin::filter_path(&name);
    let stands_in = source.files().iter().any(|file| **file == *built_in);
    let stand_in = stands_in.then(|| catalog::builtin(&name)).flatten();
    Ok(Texts { name, given, stand_in, source: Some(source), own, of_filter })
}

/// The filter's files, or the built-in filter; nothing if the jail names none.
fn source(
    reader: &mut Reader<'_>,
    settings: &Settings,
    jail: &str,
    filter: &str,
) -> Result<Option<Arc<Settings>>, Vec<Problem>> {
    if filter.is_empty() {
        return Ok(None);
    }
    if let Some(found) = reader.load(&format!("filter.d/{filter}")) {
        return Ok(Some(found));
    }
    let built_in =
        standin::has(filter).then(|| reader.loader.load_file(&standin::filter_path(filter))).flatten();
    match built_in {
        Some(found) => {
            reader.notice(format!(
                "jail {jail:?}: there is no filter.d/{filter}.conf: the built-in filter {filter} stands in, and \
                 every failure counts one"
            ));
            Ok(Some(Arc::new(found)))
        }
        None => {
            let cure = "write that file, or name a filter that is there";
            let message =
                format!("there is no filter.d/{filter}.conf, nor a built-in filter of that name; {cure}");
            Err(vec![said(&own_place(settings, jail, "filter"), Some(jail), &message)])
        }
    }
}

/// Where a jail says a thing itself; its heading if it leaves that to the defaults.
fn own_place(settings: &Settings, jail: &str, key: &str) -> Place {
    let own = settings.section(jail).and_then(|keys| keys.get(key));
    own.map_or_else(|| settings.heading(jail), |value| value.place.clone())
}

/// A filter's option as `%(known/option)s` of the jail finds it.
fn known_value(key: String, text: String, place: &Place) -> (String, Value) {
    let key = if key.starts_with("known/") { key } else { format!("known/{key}") };
    (key, Value { text: text.into(), place: place.clone() })
}

fn combined(
    filter: &mut Definition<'_>,
    outer: &Options,
    all: bool,
    jail: &str,
    work: &mut Work,
) -> Result<Options, Vec<Problem>> {
    let wrong = |faults: Vec<_>| {
        let mut problems: Vec<Problem> = faults.iter().map(|found| fault(found, jail)).collect();
        problems.dedup();
        problems
    };
    filter.read(outer, all, work).map_err(wrong)?;
    filter.combined(&[], work).map_err(|found| wrong(vec![found]))
}

/// Options as texts; those that no file has are absent.
fn options_of(
    settings: &Settings,
    jail: &str,
    keys: &[&str],
    work: &mut Work,
) -> Result<Options, Vec<Problem>> {
    let mut found = Options::new();
    let mut problems = Vec::new();
    for key in keys {
        match settings.get(jail, key, &Options::new(), work) {
            Ok(Some(text)) => {
                found.insert((*key).to_owned(), text);
            }
            Ok(None) => {}
            Err(problem) => {
                problems.push(said(&settings.place(jail, key), Some(jail), &format!("{key}: {problem}")));
            }
        }
    }
    if let Some(text) = found.get_mut("enabled") {
        *text = typed::truth(text);
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}
