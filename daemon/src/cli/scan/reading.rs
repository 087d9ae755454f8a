//! Reads what is scanned: each jail's filter makes events of lines and login records. What these lead to is judged
//! elsewhere ([`super::judging`]), so that the next lines can be read meanwhile.

use std::path::Path;

use pillory_core::config::{Config, Enabled, JailConfig};
use pillory_core::event::{Event, Line};
use pillory_core::filter::btmp::{self, Layout};
use pillory_core::filter::{Clock, Filter, FilterSpec, Heads, Verdict};
use pillory_core::jail::JailIndex;
use pillory_core::suggest::did_you_mean;
use pillory_core::time::Timestamp;

use crate::cli::{Failure, exit};
use crate::sources::past::base_name;

use super::overlap;

/// So many lines of a file are tried on every filter.
const LINES_TRIED: usize = 2_000;

/// An event that a filter has read.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) jail: JailIndex,
    pub(super) event: Event,
    pub(super) is_login_record: bool,
}

/// The filters of all jails.
pub(super) struct Reading {
    pub(super) jails: Vec<Reader>,
    pub(super) heads: Heads,
}

/// One jail's filter.
pub(super) struct Reader {
    /// The number of the jail.
    pub(super) jail: JailIndex,
    name: String,
    spec: FilterSpec,
    pub(super) filter: Filter,
    /// Last parts of the paths where the service usually writes, without globs.
    logs: Vec<String>,
}

impl Reading {
    /// Those of a configuration's jails that are wanted, or of only one; with these jails.
    pub(super) fn new<'c>(
        config: &'c Config,
        only: Option<&str>,
    ) -> Result<(Reading, Vec<&'c JailConfig>), Failure> {
        let is_wanted = |jail: &&JailConfig| match only {
            Some(only) => jail.name.as_str() == only,
            None => jail.enabled != Enabled::No,
        };
        let wanted: Vec<&JailConfig> = config.jails.iter().filter(is_wanted).collect();
        if wanted.is_empty() {
            let known: Vec<&str> = config.jails.iter().map(|jail| jail.name.as_str()).collect();
            let what = only.map_or_else(
                || "no jail is enabled".to_owned(),
                |name| format!("there is no jail {name:?}{}", did_you_mean(name, known.iter().copied())),
            );
            return Err(Failure::new(exit::USAGE, format!("{what}; the jails are {}", known.join(", "))));
        }
        let readers = wanted.iter().enumerate().map(|(at, jail)| Reader::new(at as JailIndex, jail));
        let jails = readers.collect::<Result<Vec<Reader>, Failure>>()?;
        Ok((Reading { jails, heads: Heads::default() }, wanted))
    }

    /// The filters of these jails for another thread; nothing if one must see every line.
    pub(super) fn again(&self, jails: &[usize]) -> Option<Reading> {
        let again = |at: &usize| self.jails.get(*at)?.again();
        let jails = jails.iter().map(again).collect::<Option<Vec<Reader>>>()?;
        Some(Reading { jails, heads: Heads::default() })
    }

    /// Names of all jails, by their index.
    pub(super) fn names(&self) -> Vec<String> {
        self.jails.iter().map(|jail| jail.name.clone()).collect()
    }

    /// Names of these jails.
    pub(super) fn named(&self, jails: &[usize]) -> Vec<String> {
        jails.iter().filter_map(|at| self.jails.get(*at)).map(|jail| jail.name.clone()).collect()
    }

    /// Every jail.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.jails.len()).collect()
    }

    /// Journal matches of a jail.
    pub(super) fn journalmatch(&self, jail: usize) -> &[Vec<(String, String)>] {
        self.jails.get(jail).map_or(&[], |jail| &jail.spec.journalmatch)
    }

    /// The jail that login records belong to.
    pub(super) fn btmp_jail(&self) -> usize {
        let sshd = self.jails.iter().position(|jail| jail.spec.name == "sshd");
        sshd.unwrap_or(0)
    }

    /// The jails whose filter matches lines at a text file's beginning or whose service writes a file of that
    /// name; every jail if there is none.
    pub(super) fn choose(&mut self, path: &Path, head: &[u8], now: Timestamp) -> Vec<usize> {
        let own = base_name(path);
        let clock = Clock { now, zone: jiff::tz::TimeZone::UTC };
        let lines: Vec<&[u8]> = head.split(|b| *b == b'\n').take(LINES_TRIED).collect();
        let mut chosen = Vec::new();
        for (at, jail) in self.jails.iter_mut().enumerate() {
            let hit =
                |line: &&[u8]| jail.filter.judge(&Line { bytes: line, stamp: None }, &clock) != Verdict::Miss;
            if jail.logs.iter().any(|stem| own.starts_with(stem.as_str())) || lines.iter().any(hit) {
                chosen.push(at);
            }
        }
        if chosen.is_empty() { self.all() } else { chosen }
    }

    /// A file begins: filters that span lines begin anew. Those that were tried on it have not read it yet.
    pub(super) fn begin(&mut self) {
        self.jails.iter_mut().for_each(|jail| jail.filter.begin());
    }

    /// The first stamp in these lines.
    pub(super) fn first_stamp(&mut self, head: &[u8], clock: &Clock) -> Option<Timestamp> {
        let mut lines = head.split(|b| *b == b'\n').take(LINES_TRIED);
        lines.find_map(|bytes| self.stamp(bytes, clock))
    }

    /// The last stamp in these lines.
    pub(super) fn last_stamp(&mut self, lines: &[u8], clock: &Clock) -> Option<Timestamp> {
        let mut lines = lines.rsplit(|b| *b == b'\n').take(LINES_TRIED);
        lines.find_map(|bytes| self.stamp(bytes, clock))
    }

    /// What the first filter says that finds a stamp: a jail's own may know other dates than the usual ones.
    fn stamp(&mut self, bytes: &[u8], clock: &Clock) -> Option<Timestamp> {
        let line = Line { bytes, stamp: None };
        self.jails.iter_mut().find_map(|jail| jail.filter.examine(&line, clock).stamp)
    }

    /// True if a jail's filter understands a line at a text file's beginning.
    pub(super) fn holds(&mut self, jail: usize, head: &[u8], now: Timestamp) -> bool {
        let clock = Clock { now, zone: jiff::tz::TimeZone::UTC };
        let Some(Reader { filter, .. }) = self.jails.get_mut(jail) else { return false };
        let mut lines = head.split(|b| *b == b'\n').take(LINES_TRIED);
        lines.any(|bytes| filter.judge(&Line { bytes, stamp: None }, &clock) != Verdict::Miss)
    }
}

impl Reader {
    fn new(at: JailIndex, jail: &JailConfig) -> Result<Reader, Failure> {
        let filter = Filter::compile(&jail.filter).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::new(exit::USAGE, lines.join("\npillory: "))
        })?;
        let paths = jail.logpath.iter().chain(&jail.filter.logpath);
        let stems = paths.map(|path| stem(&base_name(Path::new(path)))).filter(|stem| stem.len() > 2);
        Ok(Reader {
            jail: at,
            name: jail.name.as_str().to_owned(),
            spec: jail.filter.clone(),
            filter,
            logs: stems.collect(),
        })
    }

    /// The same once more, with a filter that has seen nothing.
    fn again(&self) -> Option<Reader> {
        let filter = Filter::compile(&self.spec).ok().filter(Filter::reads_lines_alone)?;
        let (name, spec, logs) = (self.name.clone(), self.spec.clone(), self.logs.clone());
        Some(Reader { jail: self.jail, name, spec, filter, logs })
    }
}

/// Reads login records of a jail, but for those of a time that is `covered` by its log; returns how many these are, and how
/// many look like login records.
pub(super) fn records(
    jail: JailIndex,
    layout: Layout,
    records: &[u8],
    covered: &[overlap::Span],
    mut found: impl FnMut(Read),
) -> (u64, u64) {
    let is_covered = |event: &Event| {
        let at = |(first, last): &overlap::Span| event.stamp.is_some_and(|at| (*first..=*last).contains(&at));
        covered.iter().any(at)
    };
    let (mut passed_over, mut good) = (0, 0);
    for record in records.chunks_exact(layout.record_bytes()) {
        good += u64::from(layout.is_plausible(record));
        match btmp::failed_login(layout, record) {
            Verdict::Event(event) if is_covered(&event) => passed_over += 1,
            Verdict::Event(event) => found(Read { jail, event, is_login_record: true }),
            _ => {}
        }
    }
    (passed_over, good)
}

/// `auth.log` of `auth.log.1.gz` and of `auth.log`; what stands before a glob.
fn stem(name: &str) -> String {
    name.split(['*', '?', '[']).next().unwrap_or_default().to_owned()
}

/// The stamp of the first login record that has one.
pub(super) fn first_record_stamp(layout: Layout, head: &[u8]) -> Option<Timestamp> {
    head.chunks_exact(layout.record_bytes()).find_map(|record| match btmp::failed_login(layout, record) {
        Verdict::Event(event) => event.stamp,
        _ => None,
    })
}
