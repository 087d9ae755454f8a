//! One jail: its options, its filter, its actions.

use std::sync::Arc;

use crate::event::JailName;
use crate::filter::settings::{Definition, Options, Place, Settings, Value, Work};
use crate::filter::{catalog, spec};
use crate::net::Prefix;
use crate::time::{BanTime, Span};

use super::action::{self, Of, boolean};
use super::options::{self, shell_words, shorten};
use super::{
    F2bFilter, F2bJail, Growth, IgnoreCache, LogPath, Problem, Reader, UseDns, fault, said, seconds, standin,
};

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
const TRUTHS: [&str; 4] = ["enabled", "bantime.increment", "bantime.overalljails", "ignoreself"];
const NUMBERS: [&str; 3] = ["maxretry", "maxmatches", "maxlines"];

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
    let jail_name =
        JailName::new(name).map_err(|error| vec![said(place, Some(name), &format!("{error}; rename it"))])?;
    let written = first.get("filter").map(String::as_str).unwrap_or_default();
    let (filter_name, given) = options::extract(written).map_err(|why| {
        let message = format!("filter {:?}: {why}; write name[option=value]", shorten(written));
        vec![said(&own_place(settings, name, "filter"), Some(name), &message)]
    })?;
    let source = source(reader, settings, name, &filter_name)?;
    let mut filter = source.as_ref().map(|source| Definition::new(source, &FILTER_KEYS, given.clone()));
    if let Some(filter) = &mut filter {
        filter.set_log_type(first.get("backend").is_some_and(|backend| backend.starts_with("systemd")));
        let known = combined(filter, &first, true, name, &mut work)?;
        let place = settings.place(name, "filter");
        settings.extend(name, known.into_iter().map(|(key, text)| known_value(key, text, &place)));
    }
    let keys: Vec<&str> = FIRST_KEYS.iter().chain(&JAIL_KEYS).chain(&FILTER_KEYS).copied().collect();
    let mut own = options_of(settings, name, &keys, &mut work)?;
    let mut notes = Vec::new();
    normalise(&mut own, |key, message| notes.push(said(&settings.place(name, key), Some(name), &message)));
    let mut of_filter = match &mut filter {
        Some(filter) => combined(filter, &own, false, name, &mut work)?,
        None => Options::new(),
    };
    normalise(&mut of_filter, |key, message| {
        notes.push(said(&settings.place(name, key), Some(name), &message))
    });
    let mut typed = Typed { settings, jail: name, own: &own, problems: notes };
    let mut filter = typed.filter(&of_filter);
    filter.name = filter_name;
    filter.given = given;
    let built_in = standin::filter_path(&filter.name);
    filter.stand_in = source
        .filter(|source| source.files().iter().any(|file| **file == *built_in))
        .and_then(|_| catalog::builtin(&filter.name));
    let mut jail = typed.jail(jail_name, enabled, filter);
    (jail.port, jail.protocol, jail.chain) = typed.traffic(&mut work);
    let wrong = std::mem::take(&mut typed.problems);
    let text = own.get("action").map(String::as_str).unwrap_or_default();
    let place = settings.place(name, "action");
    jail.actions = action::read_all(reader, &Of { jail: name, outer: &own, place: &place }, text, &mut work)?;
    if jail.filter.failregex.is_empty() {
        let cure = "give it a failregex, or name a filter that has one";
        let message = format!("there is no failregex, so nothing is ever found; {cure}");
        reader.out.problems.push(said(&own_place(settings, name, "filter"), Some(name), &message));
    }
    if jail.actions.is_empty() {
        let message = "there is no action, so nobody is banned; give it an action";
        reader.out.problems.push(said(&place, Some(name), message));
    }
    reader.out.problems.extend(wrong);
    Ok(Some(jail))
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
    let built_in = catalog::text(filter).and_then(|_| reader.loader.load_file(&standin::filter_path(filter)));
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
        *text = truth(text);
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

fn truth(text: &str) -> String {
    if boolean(text) { "True" } else { "False" }.to_owned()
}

/// Truths and numbers in the form in which fail2ban hands them on; a number that is none is left out and said.
fn normalise(options: &mut Options, mut wrong: impl FnMut(&str, String)) {
    for key in TRUTHS {
        if let Some(text) = options.get_mut(key) {
            *text = truth(text);
        }
    }
    // maxmatches usually repeats maxretry, whose problem is said then.
    let retry = options.get("maxretry").cloned();
    for key in NUMBERS {
        let Some(text) = options.get_mut(key) else { continue };
        match text.trim().parse::<i64>() {
            Ok(number) => *text = number.to_string(),
            Err(_) => {
                let is_repeated = key == "maxmatches" && retry.as_deref() == Some(text.as_str());
                let mut wrong = |key: &str, message| {
                    if !is_repeated {
                        wrong(key, message)
                    }
                };
                wrong(
                    key,
                    format!(
                        "{key} {:?} is no whole number and is left out; write for example 5",
                        shorten(text)
                    ),
                );
                options.remove(key);
            }
        }
    }
}

/// From texts to values.
struct Typed<'a> {
    settings: &'a Settings,
    jail: &'a str,
    own: &'a Options,
    problems: Vec<Problem>,
}

impl Typed<'_> {
    fn wrong(&mut self, key: &str, why: &str) {
        let text = self.own.get(key).map(|text| shorten(text)).unwrap_or_default();
        self.report(key, &format!("{key} {text:?} {why}"));
    }

    fn report(&mut self, key: &str, message: &str) {
        self.problems.push(said(&self.settings.place(self.jail, key), Some(self.jail), message));
    }

    /// The text of an option that is not empty.
    fn text(&self, key: &str) -> Option<String> {
        self.own.get(key).filter(|text| !text.is_empty()).cloned()
    }

    fn value<T>(&mut self, key: &str, cure: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                self.wrong(key, &format!("{why}; {cure}"));
                None
            }
        }
    }

    fn count(&mut self, key: &str) -> Option<u32> {
        self.value(key, "write a number from 1", |text| match text.parse::<u32>() {
            Ok(0) | Err(_) => Err("is out of range".to_owned()),
            Ok(number) => Ok(number),
        })
    }

    fn span(&mut self, key: &str) -> Option<Span> {
        self.value(key, "write for example 10m", seconds::span)
    }

    fn jail(&mut self, name: JailName, enabled: bool, filter: F2bFilter) -> F2bJail {
        let (ignoreip, ignoreip_names) = self.ignored();
        let findtime = self.span("findtime").filter(|span| span.secs() > 0);
        let logpath = self.logs(&filter);
        F2bJail {
            name,
            enabled,
            backend: self.text("backend").unwrap_or_else(|| "auto".to_owned()),
            logpath,
            logencoding: self.text("logencoding"),
            logtimezone: self.text("logtimezone"),
            filter,
            // What fail2ban's server assumes if no file says anything.
            maxretry: self.count("maxretry").unwrap_or(3),
            maxmatches: self.count("maxmatches").unwrap_or(5),
            findtime: findtime.unwrap_or(Span::from_secs(600)),
            bantime: self
                .value("bantime", "write for example 1h, or -1 for ever", seconds::bantime)
                .unwrap_or(BanTime::For(Span::from_secs(600))),
            growth: self.growth(),
            ignoreip,
            ignoreip_names,
            ignoreself: self.own.get("ignoreself").is_none_or(|text| boolean(text)),
            ignorecommand: self.text("ignorecommand"),
            ignorecache: self.value(
                "ignorecache",
                "write for example key=\"<ip>\", max-time=5m",
                ignorecache,
            ),
            port: String::new(),
            protocol: String::new(),
            chain: String::new(),
            actions: Vec::new(),
        }
    }

    /// `port`, `protocol` and `chain`, which only actions use.
    fn traffic(&mut self, work: &mut Work) -> (String, String, String) {
        let mut get = |key: &str| {
            self.settings.get(self.jail, key, &Options::new(), work).ok().flatten().unwrap_or_default()
        };
        (get("port"), get("protocol"), get("chain"))
    }

    fn logs(&mut self, filter: &F2bFilter) -> Vec<LogPath> {
        let mut logs = Vec::new();
        for line in self.own.get("logpath").map(String::as_str).unwrap_or_default().lines() {
            let (pattern, place) = line.rsplit_once(' ').unwrap_or((line, "head"));
            if pattern.is_empty() {
                continue;
            }
            if !matches!(place, "head" | "tail") {
                self.wrong(
                    "logpath",
                    "has a blank in a path; put each path on a line of its own, with tail or head behind it",
                );
                continue;
            }
            logs.push(LogPath { pattern: pattern.to_owned(), from_end: place == "tail" });
        }
        if let Some(spec) = filter.stand_in.as_ref().filter(|_| logs.is_empty()) {
            let usual =
                spec.logpath.iter().map(|pattern| LogPath { pattern: pattern.clone(), from_end: false });
            logs.extend(usual);
        }
        logs
    }

    fn ignored(&mut self) -> (Vec<Prefix>, Vec<String>) {
        let text = self.own.get("ignoreip").cloned().unwrap_or_default();
        let (mut prefixes, mut names) = (Vec::new(), Vec::new());
        for word in text.split([' ', ',', '\n']).map(str::trim).filter(|word| !word.is_empty()) {
            match word.parse::<Prefix>() {
                Ok(prefix) => prefixes.push(prefix),
                Err(_) if super::super::keys::is_host_name(word) => names.push(word.to_owned()),
                Err(error) => self.report("ignoreip", &format!("ignoreip: {error}")),
            }
        }
        (prefixes, names)
    }

    fn growth(&mut self) -> Growth {
        let factor = |text: &str| seconds::parse(text).map_err(|_| "is no number".to_owned());
        let multipliers = |text: &str| -> Result<Vec<u32>, String> {
            text.split(' ')
                .map(|word| word.parse().map_err(|_| format!("{:?} is no number", shorten(word))))
                .collect()
        };
        let is_true = |own: &Options, key: &str| own.get(key).is_some_and(|text| boolean(text));
        Growth {
            increment: is_true(self.own, "bantime.increment"),
            factor: self.value("bantime.factor", "write for example 2", factor),
            formula: self.text("bantime.formula"),
            multipliers: self
                .value("bantime.multipliers", "write for example 1 2 4 8", multipliers)
                .unwrap_or_default(),
            rndtime: self.span("bantime.rndtime"),
            maxtime: self.span("bantime.maxtime"),
            overalljails: is_true(self.own, "bantime.overalljails"),
        }
    }

    /// The filter's own options with the jail's: what fail2ban's server has once both were sent.
    fn filter(&mut self, of_filter: &Options) -> F2bFilter {
        // These the filter says last, the date pattern the jail.
        let last = |key: &str| of_filter.get(key).or_else(|| self.own.get(key)).cloned();
        let (prefregex, maxlines, usedns) = (last("prefregex"), last("maxlines"), last("usedns"));
        let datepattern = self.own.get("datepattern").or_else(|| of_filter.get("datepattern")).cloned();
        let lines = |key: &str| -> Vec<String> {
            let both = of_filter.get(key).into_iter().chain(self.own.get(key));
            both.flat_map(|text| text.split('\n'))
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let (failregex, ignoreregex, matches) =
            (lines("failregex"), lines("ignoreregex"), lines("journalmatch"));
        let mut filter = F2bFilter {
            prefregex: prefregex.filter(|text| !text.is_empty()),
            failregex,
            ignoreregex,
            maxlines: maxlines.and_then(|text| text.parse().ok()),
            datepattern: datepattern.filter(|text| !text.is_empty()),
            mode: of_filter.get("mode").cloned(),
            logtype: of_filter.get("logtype").cloned(),
            ..F2bFilter::default()
        };
        filter.usedns = match usedns.unwrap_or_else(|| "warn".to_owned()).to_lowercase().as_str() {
            "yes" => UseDns::Yes,
            "warn" => UseDns::Warn,
            "raw" => UseDns::Raw,
            "no" => UseDns::No,
            _ => {
                self.wrong("usedns", "is not known, no holds; write yes, warn, no or raw");
                UseDns::No
            }
        };
        for line in matches {
            let words = shell_words(&line).map_err(|why| format!("journalmatch: {why}; mend it"));
            let pairs = words.and_then(|words| {
                let pairs = words.iter().map(|word| word.as_str()).collect::<Vec<_>>();
                spec::journal_match_words(&pairs).map_err(|problem| problem.to_string())
            });
            match pairs {
                Ok(pairs) => filter.journalmatch.extend(pairs),
                Err(why) => self.report("journalmatch", &why),
            }
        }
        filter
    }
}

/// `key="<ip>", max-count=100, max-time=5m`.
fn ignorecache(text: &str) -> Result<IgnoreCache, String> {
    let (_, options) = options::extract(&format!("cache[{text}]"))?;
    let key = options.get("key").cloned().ok_or("has no key")?;
    let max_count = options
        .get("max-count")
        .map_or(Ok(100), |text| text.parse().map_err(|_| "has a max-count that is no number".to_owned()))?;
    let max_time = options.get("max-time").map_or(Ok(Span::from_secs(300)), |text| seconds::span(text))?;
    Ok(IgnoreCache { key, max_count, max_time })
}
