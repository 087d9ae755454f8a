//! What shows only when a directory's filters are compiled and its commands are filled in; and what is otherwise than
//! with fail2ban.

use std::collections::{BTreeMap, HashMap};

use crate::filter::dates::UtcOffset;
use crate::filter::fail2ban::{Encoding, Fail2banFilter, Options as FilterOptions};
use crate::filter::settings::{Options, Place, Settings};
use crate::filter::{Filter, FilterError};

use super::{F2bAction, F2bJail, Fail2ban, NativeAction, Problem, convert, said};

/// Where the decisions of jails that are read from a directory are not fail2ban's.
pub const EXCEPTIONS: [&str; 2] = [
    "unlike fail2ban: nobody is banned who is never banned: loopback, link-local and multicast addresses, this host's \
     own addresses whatever ignoreself says, its gateways and name servers, ignoreip and trusted_proxies of \
     pillory.toml, and the far ends of open sessions",
    "unlike fail2ban: an address that is none (192.030.0.6) is counted for nobody; an identity that is no address (F-ID) \
     only in jails whose actions run commands, and its bans do not grow",
];

/// The commands of an action.
const COMMANDS: [&str; 9] = [
    "actionstart",
    "actionstop",
    "actionflush",
    "actionreload",
    "actioncheck",
    "actionrepair",
    "actionban",
    "actionprolong",
    "actionunban",
];

/// Where the options of a jail stand.
#[derive(Debug, Clone, Default)]
pub struct Places {
    heading: Place,
    own: BTreeMap<String, Place>,
    /// The filter's, with how many expressions it has of that key; the jail's own stand behind them.
    filter: BTreeMap<String, (Place, usize)>,
}

impl Places {
    /// `of_filter`: the filter's options as texts.
    pub(super) fn new(
        settings: &Settings,
        jail: &str,
        filter: Option<&Settings>,
        of_filter: &Options,
    ) -> Places {
        let own = settings.section(jail).into_iter().flatten();
        let own = own.map(|(key, value)| (key.clone(), value.place.clone())).collect();
        let sections = ["Init", "Definition"].map(|name| filter.and_then(|filter| filter.section(name)));
        let lines = |key: &str| {
            let text = of_filter.get(key).map(String::as_str).unwrap_or_default();
            text.split('\n').filter(|line| !line.is_empty()).count()
        };
        let of_filter = sections.into_iter().flatten().flatten();
        let filter = of_filter.map(|(key, value)| (key.clone(), (value.place.clone(), lines(key)))).collect();
        Places { heading: settings.heading(jail), own, filter }
    }

    /// Where the jail, or else its filter, says this; the jail's heading if neither does.
    fn of(&self, key: &str) -> &Place {
        let filter = || self.filter.get(key).map(|(place, _)| place);
        self.own.get(key).or_else(filter).unwrap_or(&self.heading)
    }

    /// Where the expression of that number stands: the filter's come first.
    fn of_expression(&self, key: &str, index: usize) -> &Place {
        match self.filter.get(key) {
            Some((place, count)) if index < *count => place,
            _ => self.of(key),
        }
    }
}

impl Fail2ban {
    /// Compiles every filter and fills in every command: what is wrong joins the problems, a jail whose filter cannot
    /// be used is taken out, and the sentences about what is otherwise than with fail2ban join the notices.
    ///
    /// `year`: this year. `knows_port`: true for what [`super::super::JailConfig::port`] may hold on this host:
    /// `ssh/tcp`.
    pub fn examine(&mut self, year: i16, knows_port: &dyn Fn(&str) -> bool) {
        let mut problems = Vec::new();
        self.jails.retain(|jail| {
            let unusable = unusable(jail, year);
            let runs = unusable.is_empty();
            problems.extend(unusable);
            problems.extend(doubtful(jail, knows_port));
            problems.extend(unwritten(jail, self.settings.log_file()));
            runs
        });
        self.problems.extend(problems);
        self.problems = merged(std::mem::take(&mut self.problems));
        if !self.jails.is_empty() {
            self.notices.extend(EXCEPTIONS.map(str::to_owned));
        }
    }
}

/// What several jails take from one place is said once.
fn merged(problems: Vec<Problem>) -> Vec<Problem> {
    let mut all: Vec<(Problem, usize)> = Vec::new();
    let mut known: HashMap<(String, usize, String), usize> = HashMap::new();
    for problem in problems {
        let key = (problem.file.clone(), problem.line, problem.what.clone());
        match known.get(&key).and_then(|at| all.get_mut(*at)) {
            Some((_, more)) if problem.jail.is_some() => *more += 1,
            _ => {
                known.insert(key, all.len());
                all.push((problem, 0));
            }
        }
    }
    let said = |(mut problem, more): (Problem, usize)| {
        match more {
            0 => {}
            1 => problem.what += " (and so for one more jail)",
            _ => problem.what += &format!(" (and so for {more} more jails)"),
        }
        problem
    };
    all.into_iter().map(said).collect()
}

/// Why a jail cannot run.
fn unusable(jail: &F2bJail, year: i16) -> Vec<Problem> {
    let name = Some(jail.name.as_str());
    let config = convert::jail(jail);
    let compiled = match &config.lines {
        Some(lines) if !lines.rules.by_attempts => {
            let options = FilterOptions { year, ..lines.options.clone() };
            Fail2banFilter::compile(&config.filter, options).map(drop)
        }
        _ => Filter::compile(&config.filter).map(drop),
    };
    let mut problems: Vec<Problem> = compiled
        .err()
        .into_iter()
        .flatten()
        .map(|error| said(filter_place(jail, &error), name, &error.to_string()))
        .collect();
    if jail.counts_bans_of.is_empty()
        && config.logpath.is_empty()
        && config.filter.logpath.is_empty()
        && config.filter.journalmatch.is_empty()
    {
        let (key, cure) = match jail.backend.starts_with("systemd") {
            true => ("backend", "give it a journalmatch"),
            false => ("logpath", "give it a logpath"),
        };
        problems.push(said(jail.places.of(key), name, &format!("nothing says what it reads; {cure}")));
    }
    problems
}

fn filter_place<'a>(jail: &'a F2bJail, error: &FilterError) -> &'a Place {
    match error {
        FilterError::Pattern { key, index, .. } | FilterError::NoHost { key, index, .. } => {
            jail.places.of_expression(key, *index)
        }
        FilterError::DatePattern { .. } => jail.places.of("datepattern"),
    }
}

/// What is wrong with a jail that can run all the same.
fn doubtful(jail: &F2bJail, knows_port: &dyn Fn(&str) -> bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut say = |key: &str, message: String| {
        problems.push(said(jail.places.of(key), Some(jail.name.as_str()), &message));
    };
    if let Some(zone) = &jail.logtimezone
        && let Err(error) = zone.parse::<UtcOffset>()
    {
        say("logtimezone", format!("logtimezone {zone:?}: {error}"));
    }
    if let Some(encoding) = &jail.logencoding
        && let Err(error) = encoding.parse::<Encoding>()
    {
        say("logencoding", format!("logencoding: {error}"));
    }
    if let Some((earlier, why)) = jail.growth.gap(jail.bantime).filter(|_| jail.increment) {
        say(
            "bantime.formula",
            format!(
                "bantime.formula gives nothing after {earlier} bans: {why}; mend it, such a ban does not grow"
            ),
        );
    }
    if jail.backend.starts_with("systemd[") {
        let backend = &jail.backend;
        say(
            "backend",
            format!("backend {backend:?}: its options are not used, this host's own journal is read"),
        );
    }
    for port in convert::jail(jail).port.iter().filter(|port| !knows_port(port)) {
        say("port", format!("port {port:?} has no number; write it as one, or add it to /etc/services"));
    }
    for action in jail.actions.iter().filter(|action| action.native == NativeAction::Command) {
        for (which, error) in unfilled(action) {
            say("action", format!("action {}: {which}: {error}", action.name));
        }
    }
    problems
}

/// What a jail reads that looks for more than bans, if nobody writes it: bans stand in fail2ban's log file only.
fn unwritten(jail: &F2bJail, log: Option<&str>) -> Option<Problem> {
    if jail.filter.name != "recidive" || !jail.counts_bans_of.is_empty() {
        return None;
    }
    let reads_file = !jail.backend.starts_with("systemd");
    if reads_file && jail.logpath.iter().any(|path| Some(path.pattern.as_str()) == log) {
        return None;
    }
    let log = log.unwrap_or("/var/log/fail2ban.log");
    let message = format!(
        "bans are written to no place that it reads; set logtarget = {log} in fail2ban.local, \
         and logpath = {log} and backend = auto here"
    );
    let key = if reads_file { "logpath" } else { "backend" };
    Some(said(jail.places.of(key), Some(jail.name.as_str()), &message))
}

/// The commands that cannot be filled in.
fn unfilled(action: &F2bAction) -> Vec<(&'static str, String)> {
    let families: &[_] = if action.has_families() { &[Some("inet4"), Some("inet6")] } else { &[None] };
    let try_one = |which: &'static str| {
        let mut tried = families.iter().map(|family| action.command(which, *family, &Options::new()));
        tried.find_map(Result::err).map(|error| (which, error.to_string()))
    };
    COMMANDS.into_iter().filter_map(try_one).collect()
}
