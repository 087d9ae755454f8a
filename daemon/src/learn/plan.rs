//! Which files a first start reads, and in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use pillory_core::config::Backend;
use pillory_core::time::Timestamp;

use crate::discover::ActiveJail;
use crate::sources::offline::own_files;
use crate::sources::{self, Wanted, past};

/// A file to read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    /// For which jails, by number.
    pub(super) jails: Vec<usize>,
    pub(super) kind: Kind,
    /// When it was last written to, as far as that matters.
    pub(super) changed: Timestamp,
}

/// What it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Entries of this host's journal.
    Journal,
    /// Lines of the log of that number, whose parts share a bound.
    Log { number: usize },
}

/// Everything to read, in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) parts: Vec<Part>,
    /// How many logs there are.
    pub(super) logs: usize,
    /// How many of their parts are rotated ones.
    rotated: usize,
}

/// Journals first, then logs, of each what was written to last before what is older; nothing that was not written to since
/// `since`.
pub(super) fn plan(jails: &[&ActiveJail], since: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let of_journal: Vec<usize> =
        (0..).zip(jails).filter(|(_, jail)| reads_journal(jail)).map(|(at, _)| at).collect();
    if !of_journal.is_empty() {
        let journal = |path| Part { path, jails: of_journal.clone(), kind: Kind::Journal, changed: since };
        plan.parts.extend(own_files(since).into_iter().map(journal));
    }
    // A log may be read by several jails, and be known by several names.
    let mut logs: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
    for (at, jail) in jails.iter().enumerate() {
        for path in patterns(jail).flat_map(|pattern| sources::expand(pattern).paths) {
            let path = std::fs::canonicalize(&path).unwrap_or(path);
            let readers = logs.entry(path).or_default();
            if !readers.contains(&at) {
                readers.push(at);
            }
        }
    }
    plan.logs = logs.len();
    let (mut parts, mut planned) = (Vec::new(), BTreeSet::new());
    for (number, (log, jails)) in logs.iter().enumerate() {
        for (path, changed) in past::recent_parts(log, since) {
            // A pattern may match the rotated parts of what it matches.
            if !planned.insert(path.clone()) {
                continue;
            }
            plan.rotated += usize::from(path != *log);
            parts.push(Part { path, jails: jails.clone(), kind: Kind::Log { number }, changed });
        }
    }
    parts.sort_by_key(|part| std::cmp::Reverse(part.changed));
    plan.parts.extend(parts);
    plan
}

fn reads_journal(jail: &ActiveJail) -> bool {
    let is_own = |wanted: &Wanted| matches!(wanted, Wanted::Journal { directory: None, matches } if !matches.is_empty());
    jail.wanted.iter().any(is_own)
}

/// What the jail reads; if nobody chose that, also where its service usually logs: a journal in memory reaches back to
/// the last boot only.
fn patterns(jail: &ActiveJail) -> impl Iterator<Item = &str> {
    let wanted = jail.wanted.iter().filter_map(|wanted| match wanted {
        Wanted::Lines(pattern) => Some(pattern.as_str()),
        Wanted::Btmp(_) | Wanted::Journal { .. } => None,
    });
    let nobody_chose = jail.config.backend == Backend::Auto && jail.config.logpath.is_empty();
    let usual = jail.config.filter.logpath.iter().filter(move |_| nobody_chose);
    wanted.chain(usual.map(String::as_str))
}

impl Plan {
    /// What is read, in words.
    pub(super) fn in_words(&self, wtmp_tells: bool) -> Vec<String> {
        let has_journal = self.parts.iter().any(|part| part.kind == Kind::Journal);
        let in_logs = self.parts.iter().filter(|part| part.kind != Kind::Journal).count();
        let counted = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            count => Some(format!("{count} {what}s")),
        };
        let mut words = Vec::new();
        words.extend(wtmp_tells.then(|| "wtmp".to_owned()));
        words.extend(has_journal.then(|| "journal".to_owned()));
        words.extend(counted(in_logs - self.rotated, "log"));
        words.extend(counted(self.rotated, "rotated log"));
        words
    }
}
