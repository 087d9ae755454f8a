//! Reads a fail2ban directory as fail2ban does: `jail.conf`, `jail.local`, `filter.d`, `action.d`, `fail2ban.conf`.
//!
//! [`read`] takes the files through [`Files`] and gives a [`Fail2ban`]: every enabled jail with all its options
//! resolved, the daemon's settings, every problem with its file and line, and the sentences that an operator is to
//! be told. One bad jail never stops the others. Where a directory holds less than fail2ban's own (a `jail.local` alone
//! is enough), built-in settings and filters stand in. Nothing is run here: [`render`] makes of an action's command
//! what a shell may run.
//! Source: behaviour of fail2ban 1.0.2, held by a test that compares with `fail2ban-client -d`.

mod action;
mod check;
mod convert;
mod jail;
mod moving;
pub mod native;
pub mod options;
mod reader;
mod recidive;
pub mod render;
pub mod seconds;
mod standin;
mod typed;

use crate::event::{JailName, Points};
use crate::filter::FilterSpec;
use crate::filter::settings::{Options, Place};
use crate::jail::growth::Growth;
use crate::jail::policy::{Ladder, PointTable, Policy};
use crate::jail::secret::Percent;
use crate::net::Prefix;
use crate::time::{BanTime, Span};

use super::Problem;

pub use crate::filter::settings::Files;
use reader::{Reader, fault, said};

pub use action::Kind;
pub use check::{EXCEPTIONS, Places};
pub use moving::Moved;
pub use native::NativeAction;

/// What a fail2ban directory says.
#[derive(Debug, Clone, Default)]
pub struct Fail2ban {
    /// The enabled jails that can run, in the order of the files.
    pub jails: Vec<F2bJail>,
    /// Names of the jails that are there but not enabled.
    pub disabled: Vec<String>,
    /// What `fail2ban.conf` says.
    pub settings: DaemonSettings,
    /// All that is wrong; a jail with a problem that keeps it from running is not among [`Fail2ban::jails`].
    pub problems: Vec<Problem>,
    /// Sentences to be said at start: what stands in for what, what becomes of the actions.
    pub notices: Vec<String>,
}

/// The daemon's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonSettings {
    /// `CRITICAL` to `DEBUG`.
    pub loglevel: String,
    /// A file, or `STDOUT`, `STDERR`, `SYSLOG`, `SYSTEMD-JOURNAL`.
    pub logtarget: String,
    /// Socket of syslog, or `auto`.
    pub syslogsocket: String,
    /// `auto`, or whether IPv6 is used.
    pub allowipv6: String,
    /// The database with the bans in force; nothing if there is none, or if it is kept in memory.
    pub dbfile: Option<String>,
    /// How many matched lines of a ban the database keeps; nothing if not said.
    pub dbmaxmatches: Option<u32>,
    /// How long bans are kept in the database.
    pub dbpurgeage: Span,
}

impl DaemonSettings {
    /// The file that the log is written to, if it is one.
    pub fn log_file(&self) -> Option<&str> {
        Some(self.logtarget.as_str()).filter(|target| target.starts_with('/'))
    }
}

impl Default for DaemonSettings {
    fn default() -> DaemonSettings {
        DaemonSettings {
            loglevel: "INFO".to_owned(),
            logtarget: "STDERR".to_owned(),
            syslogsocket: "auto".to_owned(),
            allowipv6: "auto".to_owned(),
            dbfile: Some("/var/lib/fail2ban/fail2ban.sqlite3".to_owned()),
            dbmaxmatches: None,
            dbpurgeage: Span::from_secs(86_400),
        }
    }
}

/// One jail, every option resolved.
#[derive(Debug, Clone)]
pub struct F2bJail {
    /// Its name.
    pub name: JailName,
    /// Whether it runs; false only if [`ReadOptions::every_jail`] asked for it.
    pub enabled: bool,
    /// As written: `auto`, `systemd`, `polling`, `pyinotify`.
    pub backend: String,
    /// Its log files; not read if the backend is systemd.
    pub logpath: Vec<LogPath>,
    /// `auto` or the name of an encoding; nothing if not said.
    pub logencoding: Option<String>,
    /// Zone of stamps that carry none; nothing for the host's.
    pub logtimezone: Option<String>,
    /// Its filter.
    pub filter: F2bFilter,
    /// Failures within `findtime` that ban; above zero.
    pub maxretry: u32,
    /// Matched lines that are kept of an address.
    pub maxmatches: u32,
    /// Length of the window; above zero.
    pub findtime: Span,
    /// How long a ban lasts, before it grows.
    pub bantime: BanTime,
    /// Whether bans grow (`bantime.increment`).
    pub increment: bool,
    /// How they grow.
    pub growth: Growth,
    /// Addresses and networks that are never banned.
    pub ignoreip: Vec<Prefix>,
    /// DNS names whose addresses are never banned.
    pub ignoreip_names: Vec<String>,
    /// Whether this host's own addresses are never banned.
    pub ignoreself: bool,
    /// A command that says of an address, by its exit status 0, that it is not to be banned.
    pub ignorecommand: Option<String>,
    /// How long its answers hold.
    pub ignorecache: Option<IgnoreCache>,
    /// The service's ports as written: `ssh`, `http,https`, `0:65535`.
    pub port: String,
    /// `tcp`, `udp`, `all` or several, as written.
    pub protocol: String,
    /// The chain of iptables as written.
    pub chain: String,
    /// What is done to an offender, in order.
    pub actions: Vec<F2bAction>,
    /// The jails whose bans it counts, in the place of lines of a log; none for a jail that reads lines.
    pub counts_bans_of: Vec<JailName>,
    /// Where its options stand.
    pub places: Places,
}

impl F2bJail {
    /// How the jail counts: every failure one point, a single length of ban, which grows if it does.
    pub fn policy(&self) -> Policy {
        let steps = Ladder::new(vec![self.bantime]);
        Policy {
            maxretry: Points(self.maxretry.saturating_mul(100)),
            findtime: self.findtime,
            bantime: steps.unwrap_or_else(Ladder::long),
            growth: None,
            points: PointTable::plain(),
            jitter: Percent(0),
            one_account: false,
        }
    }
}

/// One line of `logpath`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPath {
    /// A file, globs allowed.
    pub pattern: String,
    /// True for `tail`: what is in the file already is not read.
    pub from_end: bool,
}

/// A jail's filter with all that the jail says about it.
#[derive(Debug, Clone, Default)]
pub struct F2bFilter {
    /// Name of its file; empty if the jail has none.
    pub name: String,
    /// What the jail gave: `filter = name[option=value]`.
    pub given: Options,
    /// The built-in filter that stands in because the directory has none of that name. Its expressions are those
    /// below, but for what the jail changes; its classes of failures count one point each.
    pub stand_in: Option<FilterSpec>,
    /// Applied first; its `F-CONTENT` group is what the other expressions see.
    pub prefregex: Option<String>,
    /// Lines that show a failure.
    pub failregex: Vec<String>,
    /// Lines that are passed over although a failregex matches.
    pub ignoreregex: Vec<String>,
    /// Lines that one expression spans; nothing if not said.
    pub maxlines: Option<u32>,
    /// How dates are written, one pattern a line; nothing to find them.
    pub datepattern: Option<String>,
    /// What is done with names in the place of addresses.
    pub usedns: UseDns,
    /// Journal entries to read: alternatives of `FIELD=value` pairs.
    pub journalmatch: Vec<Vec<(String, String)>>,
    /// The mode as given or preset; nothing if the filter has none.
    pub mode: Option<String>,
    /// `file` or `journal`: how the filter expects its lines.
    pub logtype: Option<String>,
}

/// `usedns`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UseDns {
    /// Names are resolved.
    Yes,
    /// Names are resolved, with a warning.
    #[default]
    Warn,
    /// Names are no addresses: the line is no failure.
    No,
    /// A name is banned as it stands.
    Raw,
}

/// `ignorecache`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreCache {
    /// For what an answer holds, with tags: `<ip>`.
    pub key: String,
    /// Answers kept.
    pub max_count: u32,
    /// How long one holds.
    pub max_time: Span,
}

/// One action of a jail.
#[derive(Debug, Clone, PartialEq)]
pub struct F2bAction {
    /// Its name within the jail.
    pub name: String,
    /// Name of its file in `action.d`.
    pub file: String,
    /// What it consists of.
    pub kind: Kind,
    /// Its commands (`actionban` and so on) and parameters, `name?family=inet6` for those of one family.
    pub properties: Options,
    /// How long a command may take.
    pub timeout: Span,
    /// What Pillory does in its place.
    pub native: NativeAction,
}

/// How a directory is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// The version that `%(fail2ban_version)s` says.
    pub version: String,
    /// Resolves jails that are not enabled too, as if they were.
    pub every_jail: bool,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions { version: "1.0.2".to_owned(), every_jail: false }
    }
}

/// Reads a directory. `base`: its path without a slash at its end.
///
/// Never fails as a whole: an empty directory has no jails.
pub fn read(files: &dyn Files, base: &str, options: &ReadOptions) -> Fail2ban {
    let files = standin::WithBuiltIn::new(files, base);
    let mut reader = Reader::new(&files, base, options.every_jail);
    if files.has_own_jail_conf() {
        reader.notice("there is no jail.conf: fail2ban's usual defaults stand in".to_owned());
    }
    reader.daemon_settings();
    let Some(mut settings) = reader.loader.load(&format!("{base}/jail")) else {
        reader.take_problems();
        return reader.out;
    };
    settings.set_default("fail2ban_version", &options.version);
    settings.set_default("fail2ban_confpath", base);
    let names: Vec<(String, Place)> =
        settings.sections().map(|(name, place)| (name.to_owned(), place.clone())).collect();
    for (name, place) in names.into_iter().filter(|(name, _)| name != "INCLUDES") {
        if reader.out.jails.len() >= MAX_JAILS {
            let message = format!(
                "more than {MAX_JAILS} jails are enabled, this one and those behind it are left out; merge some"
            );
            reader.out.problems.push(said(&place, Some(&name), &message));
            break;
        }
        match jail::read(&mut reader, &mut settings, &name, &place) {
            Ok(Some(jail)) => reader.out.jails.push(jail),
            Ok(None) => reader.out.disabled.push(name),
            Err(problems) => reader.out.problems.extend(problems),
        }
        reader.take_problems();
    }
    recidive::find(&mut reader.out);
    reader.out
}

/// Reads one filter of a directory, as a jail without options of its own would use it.
///
/// `written`: `sshd[mode=aggressive]`. `is_journal`: its lines come from the journal. Where the directory has no such
/// filter a built-in one stands in; [`F2bFilter::stand_in`] says so.
/// # Errors
/// Every problem of the filter.
pub fn read_filter(
    files: &dyn Files,
    base: &str,
    written: &str,
    is_journal: bool,
) -> Result<F2bFilter, Vec<Problem>> {
    let files = standin::WithBuiltIn::new(files, base);
    let mut reader = Reader::new(&files, base, true);
    let read = jail::filter_alone(&mut reader, written, is_journal);
    reader.take_problems();
    let mut problems = reader.out.problems;
    match read {
        Ok(filter) if problems.is_empty() => return Ok(filter),
        Ok(_) => {}
        Err(found) => problems.extend(found),
    }
    for problem in &mut problems {
        problem.jail = None;
        if problem.file.is_empty() {
            problem.file = base.to_owned();
        }
    }
    Err(problems)
}

/// Jails that are resolved.
const MAX_JAILS: usize = 2_000;

#[cfg(test)]
mod tests;

impl F2bFilter {
    /// The filter as [`crate::filter::fail2ban::Fail2banFilter`] compiles it.
    pub fn spec(&self) -> FilterSpec {
        FilterSpec {
            name: self.name.clone(),
            prefregex: self.prefregex.clone(),
            failregex: self.failregex.clone(),
            ignoreregex: self.ignoreregex.clone(),
            datepattern: self.datepattern.clone(),
            journalmatch: self.journalmatch.clone(),
            ..FilterSpec::default()
        }
    }

    /// What the compiled filter is told besides its expressions; the year of 2000 and no zone, until somebody
    /// who knows them says so.
    pub fn options(&self) -> crate::filter::fail2ban::Options {
        use crate::filter::regex::HostNames;
        crate::filter::fail2ban::Options {
            maxlines: self.maxlines.map_or(1, |lines| lines.max(1) as usize),
            names: if self.usedns == UseDns::No { HostNames::Refuse } else { HostNames::Match },
            raw: self.usedns == UseDns::Raw,
            zone: None,
            year: 2000,
            encoding: crate::filter::fail2ban::Encoding::Utf8,
            keep_matches: false,
        }
    }
}
