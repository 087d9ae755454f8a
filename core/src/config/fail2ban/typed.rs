//! From a jail's options as texts to values that fit; what does not fit is said, and the usual holds.

use crate::event::JailName;
use crate::filter::settings::{Options, Settings, Work};
use crate::filter::spec;
use crate::jail::growth::Growth;
use crate::jail::growth::formula::Formula;
use crate::net::Prefix;
use crate::time::{BanTime, Span};

use super::action::boolean;
use super::options::{self, shell_words, shorten};
use super::{F2bFilter, F2bJail, IgnoreCache, LogPath, Problem, UseDns, said, seconds};

const TRUTHS: [&str; 4] = ["enabled", "bantime.increment", "bantime.overalljails", "ignoreself"];
const NUMBERS: [&str; 3] = ["maxretry", "maxmatches", "maxlines"];

pub(super) fn truth(text: &str) -> String {
    if boolean(text) { "True" } else { "False" }.to_owned()
}

/// Truths and numbers in the form in which fail2ban hands them on to filters and actions.
pub(super) fn normal(options: &Options) -> Options {
    let mut options = options.clone();
    for key in TRUTHS {
        if let Some(text) = options.get_mut(key) {
            *text = truth(text);
        }
    }
    for key in NUMBERS {
        match options.get(key).map(|text| number(text)) {
            Some(Some(number)) => drop(options.insert(key.to_owned(), number.to_string())),
            Some(None) => drop(options.remove(key)),
            None => {}
        }
    }
    options
}

fn number(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// From texts to values.
pub(super) struct Typed<'a> {
    settings: &'a Settings,
    jail: &'a str,
    own: &'a Options,
    of_filter: &'a Options,
    /// What did not fit.
    pub(super) problems: Vec<Problem>,
}

impl<'a> Typed<'a> {
    /// `own`: the jail's options. `of_filter`: its filter's.
    pub(super) fn new(
        settings: &'a Settings,
        jail: &'a str,
        own: &'a Options,
        of_filter: &'a Options,
    ) -> Self {
        Self { settings, jail, own, of_filter, problems: Vec::new() }
    }

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
        let text = self.text(key)?;
        // maxmatches usually repeats maxretry, whose problem is said then.
        let is_repeated = key == "maxmatches" && self.own.get("maxretry") == Some(&text);
        let count = number(&text).and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        if count.is_none() && !is_repeated {
            self.wrong(key, "is no whole number above zero and is left out; write for example 5");
        }
        count
    }

    fn span(&mut self, key: &str) -> Option<Span> {
        self.value(key, "write for example 10m", seconds::span)
    }

    /// The jail, still without its actions.
    pub(super) fn jail(
        &mut self,
        name: JailName,
        enabled: bool,
        filter: F2bFilter,
        work: &mut Work,
    ) -> F2bJail {
        let (port, protocol, chain) = self.traffic(work);
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
            increment: self.is_true("bantime.increment"),
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
            port,
            protocol,
            chain,
            actions: Vec::new(),
            counts_bans_of: Vec::new(),
            places: Default::default(),
        }
    }

    /// `port`, `protocol` and `chain`, which only actions use.
    fn traffic(&self, work: &mut Work) -> (String, String, String) {
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

    fn is_true(&self, key: &str) -> bool {
        self.own.get(key).is_some_and(|text| boolean(text))
    }

    fn growth(&mut self) -> Growth {
        let factor = |text: &str| seconds::parse(text).map_err(|_| "is no number".to_owned());
        let multipliers = |text: &str| -> Result<Vec<u32>, String> {
            text.split(' ')
                .map(|word| word.parse().map_err(|_| format!("{:?} is no number", shorten(word))))
                .collect()
        };
        let formula =
            |text: &str| Formula::parse(text).map_err(|error| format!("cannot be computed: {error}"));
        Growth {
            factor: self.value("bantime.factor", "write for example 2", factor),
            formula: self.value("bantime.formula", "each ban is twice as long as the one before", formula),
            multipliers: self
                .value("bantime.multipliers", "write for example 1 2 4 8", multipliers)
                .unwrap_or_default(),
            rndtime: self.span("bantime.rndtime"),
            maxtime: self.span("bantime.maxtime"),
            overalljails: self.is_true("bantime.overalljails"),
        }
    }

    /// The filter's own options with the jail's: what fail2ban's server has once both were sent.
    pub(super) fn filter(&mut self) -> F2bFilter {
        let of_filter = self.of_filter;
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
            maxlines: maxlines.and_then(|text| u32::try_from(number(&text)?).ok()),
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
