//! A fail2ban directory on this host: its files, its jails as configuration, its filters compiled.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pillory_core::config::fail2ban::{self, Fail2ban, Files, ReadOptions};
use pillory_core::config::{LineJail, Problem};
use pillory_core::filter::fail2ban::{Fail2banFilter, Options};
use pillory_core::filter::{FilterError, FilterSpec};

use crate::commands::Hosts;
use crate::{clock, ports};

use super::configfile::{Place, Policy};
use super::{AS_ROOT, Failure, exit};

/// A longer file is no configuration.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Files of this host.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// Something may not be read.
    is_closed: Cell<bool>,
}

impl Disk {
    fn why(&self, error: &std::io::Error) -> String {
        self.is_closed.set(self.is_closed.get() || exit::of(error) == exit::NOT_PERMITTED);
        error.to_string()
    }

    /// The same failure, which is one of rights if something may not be read.
    pub(crate) fn judged(&self, failure: Failure) -> Failure {
        match self.is_closed.get() {
            true => Failure::new(exit::NOT_PERMITTED, format!("{}; {AS_ROOT}", failure.message)),
            false => failure,
        }
    }
}

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match super::configfile::read(Path::new(path), MAX_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.why(&error)),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.why(&error)),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_, _>>().map_err(|error: std::io::Error| error.to_string())
    }
}

/// Reads a directory and compiles its filters; what is wrong with it is among its problems, and only jails that can run
/// are among its jails.
///
/// With it comes the exit status of whoever needs all of it: something of it may not be read, or problems are problems.
pub(crate) fn read(directory: &Path) -> (Fail2ban, u8) {
    let base = directory.to_string_lossy();
    let base = base.trim_end_matches('/');
    let disk = Disk::default();
    let mut found = fail2ban::read(&disk, base, &ReadOptions::default());
    if let Some((problem, code)) = unopened(directory) {
        found.problems = vec![problem];
        return (found, code);
    }
    found.examine(year(), &ports::known());
    (found, if disk.is_closed.get() { exit::NOT_PERMITTED } else { exit::USAGE })
}

/// Why nothing of a directory can be read, with the exit status that this means.
fn unopened(directory: &Path) -> Option<(Problem, u8)> {
    let error = std::fs::read_dir(directory).err()?;
    let code = exit::of(&error);
    let (what, cure) = match code {
        exit::NOT_PERMITTED => (format!("cannot be read: {error}"), AS_ROOT),
        _ => (
            "is no directory that can be read".to_owned(),
            "name the directory with jail.conf or jail.local, usually /etc/fail2ban",
        ),
    };
    let file = directory.display().to_string();
    Some((Problem { file, line: 0, jail: None, what, cure: cure.to_owned() }, code))
}

/// That a directory can be read.
/// # Errors
/// Why not, with exit status 77 if it is a matter of rights, else 2.
pub(crate) fn openable(directory: &Path) -> Result<(), Failure> {
    unopened(directory).map_or(Ok(()), |(problem, code)| Err(Failure::new(code, problem.to_string())))
}

/// Every command that jails of this directory may have run.
pub(crate) fn commands(directory: &Path) -> HashSet<String> {
    let place = Place { file: None, fail2ban: Some(directory.to_owned()) };
    let nothing = Policy { file: PathBuf::new(), text: None };
    let jails = place.understand(&nothing).map(|config| config.jails).unwrap_or_default();
    let hosts = Hosts::own();
    let lines = jails.into_iter().filter_map(|jail| jail.lines);
    let of_jail = |lines: LineJail| {
        let of_actions: Vec<_> = lines.commands.iter().flat_map(|one| hosts.commands_of(one)).collect();
        of_actions.into_iter().chain(lines.ignorecommand)
    };
    lines.flat_map(of_jail).collect()
}

/// Compiles the filter of a jail that counts lines.
/// # Errors
/// Every expression that cannot be used.
pub(crate) fn compile(filter: &FilterSpec, lines: &LineJail) -> Result<Fail2banFilter, Vec<FilterError>> {
    Fail2banFilter::compile(filter, Options { year: year(), ..lines.options.clone() })
}

/// This year, where this host is.
pub(crate) fn year() -> i16 {
    let now = jiff::Timestamp::from_millisecond(clock::now().millis()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    now.to_zoned(clock::zone()).year()
}
