//! A fail2ban directory on this host: its files, its jails as configuration, its filters compiled.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use pillory_core::config::fail2ban::{self, Fail2ban, Files, ReadOptions};
use pillory_core::config::{LineJail, Problem};
use pillory_core::filter::fail2ban::{Fail2banFilter, Options};
use pillory_core::filter::{FilterError, FilterSpec};

use crate::commands::Hosts;
use crate::{clock, ports};

use super::configfile::{Place, Policy};

/// A longer file is no configuration.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Files of this host.
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match super::configfile::read(Path::new(path), MAX_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_, _>>().map_err(|error: std::io::Error| error.to_string())
    }
}

/// Reads a directory and compiles its filters; what is wrong with it is among its problems, and only jails that can run
/// are among its jails.
pub(crate) fn read(directory: &Path) -> Fail2ban {
    let base = directory.to_string_lossy();
    let base = base.trim_end_matches('/');
    let mut found = fail2ban::read(&Disk, base, &ReadOptions::default());
    if !directory.is_dir() {
        found.problems.push(Problem {
            file: base.to_owned(),
            line: 0,
            jail: None,
            what: "is no directory that can be read".to_owned(),
            cure: "name the directory with jail.conf or jail.local, usually /etc/fail2ban".to_owned(),
        });
    }
    found.examine(year(), &ports::known());
    found
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
