//! Which filter judges: a built-in one, one from a file, or one of a fail2ban directory by fail2ban's rules.

use std::path::Path;

use serde_json::{Map, Value};

use pillory_core::config::fail2ban::{UseDns, options, read_filter};
use pillory_core::event::{Line, Outcome};
use pillory_core::filter::fail2ban::{Fail2banFilter, Hit, Options, Ruling, Subject, Timing};
use pillory_core::filter::{Clock, Filter, FilterSpec, Finding, Verdict as Ours, catalog, settings};
use pillory_core::net::Prefix;
use pillory_core::suggest::{did_you_mean, with_cure};

use crate::cli::configfile::Place;
use crate::cli::{Failure, complain, exit, fail2ban};
use crate::escape::escape;

use super::told::{Date, Told, Verdict};

/// The filter that is asked for.
pub(super) struct Wanted<'a> {
    /// `name[option=value]`, or a path in the place of the name.
    pub(super) filter: &'a str,
    /// The directory that has it.
    pub(super) fail2ban: Option<&'a Path>,
    /// Stands for the filter's own.
    pub(super) usedns: Option<UseDns>,
    /// Its lines are journal messages.
    pub(super) journal: bool,
}

/// A filter that is ready to judge.
pub(super) struct Judge {
    spec: FilterSpec,
    engine: Engine,
}

enum Engine {
    Ours(Box<Filter>),
    Fail2ban(Box<Fail2banFilter>),
}

impl Judge {
    pub(super) fn open(wanted: &Wanted<'_>) -> Result<Judge, Failure> {
        let Some(directory) = wanted.fail2ban else { return Judge::ours(read_own(wanted.filter)?) };
        fail2ban::openable(directory)?;
        let base = directory.to_string_lossy();
        let base = base.trim_end_matches('/');
        let disk = fail2ban::Disk::default();
        let mut filter = read_filter(&disk, base, wanted.filter, wanted.journal)
            .map_err(|problems| disk.judged(all_of(problems.iter())))?;
        if let Some(spec) = filter.stand_in {
            complain(&format!(
                "there is no filter.d/{}.conf in {base}: the built-in filter of that name stands in",
                spec.name
            ));
            return Judge::ours(spec);
        }
        filter.usedns = wanted.usedns.unwrap_or(filter.usedns);
        let (spec, options) = (filter.spec(), filter.options());
        let options = Options { year: fail2ban::year(), keep_matches: true, ..options };
        let compiled = Fail2banFilter::compile(&spec, options).map_err(|errors| all_of(errors.iter()))?;
        Ok(Judge { spec, engine: Engine::Fail2ban(Box::new(compiled)) })
    }

    /// That of a jail, as a daemon with this configuration reads lines.
    pub(super) fn of_jail(name: &str, place: &Place) -> Result<Judge, Failure> {
        let mut jails = place.load()?.1.jails;
        let Some(at) = jails.iter().position(|jail| jail.name.as_str() == name) else {
            let close = did_you_mean(name, jails.iter().map(|jail| jail.name.as_str()));
            let place = place.fail2ban.as_deref().unwrap_or_else(|| place.path());
            let what = format!("there is no jail {:?} in {}{close}", escape(name), place.display());
            return Err(Failure::new(exit::USAGE, with_cure(&what, "`pillory status` lists those that run")));
        };
        let jail = jails.swap_remove(at);
        let spec = jail.filter;
        match jail.lines {
            Some(lines) if !lines.rules.by_attempts => {
                let options = Options { year: fail2ban::year(), keep_matches: true, ..lines.options };
                let compiled =
                    Fail2banFilter::compile(&spec, options).map_err(|errors| all_of(errors.iter()))?;
                Ok(Judge { spec, engine: Engine::Fail2ban(Box::new(compiled)) })
            }
            _ => Judge::ours(spec),
        }
    }

    fn ours(spec: FilterSpec) -> Result<Judge, Failure> {
        let filter = Filter::compile(&spec).map_err(|errors| all_of(errors.iter()))?;
        Ok(Judge { spec, engine: Engine::Ours(Box::new(filter)) })
    }

    pub(super) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(super) fn failregex(&self) -> &[String] {
        &self.spec.failregex
    }

    pub(super) fn ignoreregex(&self) -> &[String] {
        &self.spec.ignoreregex
    }

    /// Judges the next line.
    pub(super) fn tell(&mut self, line: &Line<'_>, clock: &Clock) -> Told {
        match &mut self.engine {
            Engine::Ours(filter) => {
                let mut told = by_ours(&filter.examine(line, clock), line.bytes);
                // Which of several it was nobody has asked for.
                let is_known = told.verdict == Verdict::Ignored && self.spec.ignoreregex.len() == 1;
                told.ignoreregex = is_known.then_some(0);
                told
            }
            Engine::Fail2ban(filter) => {
                let ruling = filter.judge(line, clock, Timing::Any, clock.now);
                by_fail2ban(ruling, filter, line.bytes)
            }
        }
    }
}

fn by_ours(finding: &Finding, bytes: &[u8]) -> Told {
    let verdict = match &finding.verdict {
        Ours::Miss => Verdict::Miss,
        Ours::Ignored => Verdict::Ignored,
        Ours::Event(event) if event.outcome == Outcome::Success => Verdict::Success,
        Ours::Event(_) => Verdict::Failure,
    };
    let captures = finding.captures.iter().map(|(name, text)| (name.clone(), text.as_str().into()));
    let date = finding.date.clone().and_then(|range| bytes.get(range)).map(lossy);
    let mut told = Told {
        time: finding.stamp,
        failregex: finding.failregex,
        successregex: finding.successregex,
        captures: captures.collect(),
        date: date.map(|text| Date { text, template: String::new() }),
        ..Told::new(verdict)
    };
    if let Ours::Event(event) = &finding.verdict {
        told.prefix = Some(Prefix::host(event.addr).to_string());
        told.user = event.user.as_ref().map(ToString::to_string);
        if let Outcome::Failure { class, attempts, .. } = event.outcome {
            (told.class, told.attempts) = (Some(class.name()), attempts);
        }
    }
    told
}

fn by_fail2ban(ruling: Ruling, filter: &Fail2banFilter, bytes: &[u8]) -> Told {
    let seen = filter.date().filter(|date| !date.range.is_empty());
    let date = seen.and_then(|date| {
        let text = lossy(bytes.get(date.range.clone())?);
        Some(Date { text, template: filter.date_template(date.template)?.to_owned() })
    });
    let time = seen.and_then(|date| date.time.ok());
    let (hit, subject) = match ruling {
        Ruling::Miss => return Told { time, date, ..Told::new(Verdict::Miss) },
        Ruling::Ignored => {
            let ignoreregex = filter.ignored_by();
            return Told { time, date, ignoreregex, ..Told::new(Verdict::Ignored) };
        }
        Ruling::NoFail(hit) => (hit, None),
        Ruling::Failure(subject, hit) => (hit, Some(subject)),
    };
    let Hit { failregex, time, user, matches, .. } = hit;
    let mut told = Told::new(if subject.is_some() { Verdict::Failure } else { Verdict::NoFail });
    match subject {
        Some(Subject::Net(prefix)) => told.prefix = Some(prefix.to_string()),
        Some(Subject::Id(text) | Subject::Name(text)) => told.id = Some(text.to_string()),
        None => {}
    }
    let attempts = u32::from(told.verdict == Verdict::Failure);
    let lines = matches.iter().map(ToString::to_string).collect();
    let (user, failregex) = (user.map(String::from), Some(failregex));
    Told { time, user, attempts, failregex, date, lines, captures: captures(filter), ..told }
}

/// What was captured, by the names of the groups; every user of the connection as fail2ban names them.
fn captures(filter: &Fail2banFilter) -> Map<String, Value> {
    let groups = filter.captures().map(|(name, value)| (name.to_owned(), value.text().as_str().into()));
    let mut captures: Map<String, Value> = groups.collect();
    let users: Vec<&str> = filter.users().collect();
    if !users.is_empty() {
        captures.insert("users".to_owned(), users.into());
    }
    captures
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn all_of<E: std::fmt::Display>(errors: impl Iterator<Item = E>) -> Failure {
    let lines: Vec<String> = errors.map(|error| error.to_string()).collect();
    Failure::new(exit::USAGE, lines.join("\npillory: "))
}

/// A built-in filter, or one from a file; what it includes lies beside it or is built in.
fn read_own(written: &str) -> Result<FilterSpec, Failure> {
    let (name, given) = match Path::new(written).exists() {
        true => (written.to_owned(), settings::Options::new()),
        false => options::extract(written)
            .map_err(|why| Failure::new(exit::USAGE, format!("filter {why}; write 'name[option=value]'")))?,
    };
    if let Some(text) = catalog::text(&name) {
        let parsed = FilterSpec::parse_with(&name, text, given, &catalog::include);
        return parsed.map_err(|errors| all_of(errors.iter()));
    }
    let path = Path::new(&name);
    let bytes = std::fs::read(path).map_err(|error| {
        if exit::of(&error) == exit::NOT_PERMITTED {
            return Failure::unread(escape(&name), &error);
        }
        let known: Vec<&str> = catalog::names().collect();
        let close = did_you_mean(&name, known.iter().copied());
        let what = format!("cannot read {}: {error}{close}", escape(&name));
        let names = known.join(", ");
        let cure = format!("name a file, a built-in filter, or a jail by --jail; built in are {names}");
        Failure::new(exit::USAGE, with_cure(&what, &cure))
    })?;
    let beside = |included: &str| {
        let file = path.parent().unwrap_or(Path::new(".")).join(included);
        std::fs::read(file).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let include = |included: &str| beside(included).or_else(|| catalog::include(included));
    let stem = path.file_stem().map_or_else(|| name.clone(), |stem| stem.to_string_lossy().into_owned());
    FilterSpec::parse_with(&stem, &String::from_utf8_lossy(&bytes), given, &include)
        .map_err(|errors| all_of(errors.iter()))
}
