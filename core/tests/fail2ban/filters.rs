//! fail2ban's own filters, ready to judge: read from its directory as a jail would use them.

use std::path::{Path, PathBuf};

use pillory_core::config::fail2ban::{self, F2bFilter, Files, ReadOptions};
use pillory_core::filter::fail2ban::{Fail2banFilter, Options};

use crate::peer::Disk;

/// A directory whose only jail uses one filter.
struct OneJail<'a> {
    /// Its tests bring filters of their own.
    tests: PathBuf,
    /// Its filters.
    own: PathBuf,
    filter: &'a str,
    backend: &'a str,
}

impl Files for OneJail<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match path.split_once("/etc/fail2ban/").map(|(_, name)| name) {
            Some("jail.conf") => {
                let OneJail { filter, backend, .. } = self;
                let text = format!(
                    "[one]\nenabled = true\nlogpath = /dev/null\nbackend = {backend}\naction = dummy\nfilter = {filter}\n"
                );
                Ok(Some(text.into_bytes()))
            }
            Some("jail.local" | "paths-overrides.local") => Ok(None),
            Some(name) if !name.contains("..") => match Disk.read(path) {
                Ok(None) => Disk.read(self.tests.join(name).to_str().unwrap()),
                other => other,
            },
            // What its tests include lies where its sources are.
            _ => match path.rsplit_once("/config/filter.d/") {
                Some((_, name)) => Disk.read(self.own.join(name).to_str().unwrap()),
                None => Disk.read(path),
            },
        }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        if folder.ends_with("/jail.d") { Ok(Vec::new()) } else { Disk.list(folder) }
    }
}

/// Reads a filter: `sshd[mode=aggressive]`.
pub fn read(tools: &Path, filter: &str, journal: bool) -> Result<F2bFilter, String> {
    let base = tools.join("etc/fail2ban");
    let tests = tools.join("usr/lib/python3/dist-packages/fail2ban/tests/config");
    let files = OneJail {
        tests,
        own: base.join("filter.d"),
        filter,
        backend: if journal { "systemd" } else { "polling" },
    };
    let found = fail2ban::read(&files, base.to_str().unwrap(), &ReadOptions::default());
    match (found.jails.into_iter().next(), found.problems.is_empty()) {
        (Some(jail), true) => Ok(jail.filter),
        _ => Err(found.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}

/// Compiles a filter; the peer decided when the years of stamps were those of 2026.
pub fn compile(filter: &F2bFilter) -> Result<Fail2banFilter, String> {
    let options = Options { year: 2026, keep_matches: true, ..filter.options() };
    Fail2banFilter::compile(&filter.spec(), options)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
