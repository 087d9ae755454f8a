//! The configuration file: where it is, and reading it without trusting what stands there.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use pillory_core::config::outgoing::Notify;
use pillory_core::config::raw::{self, RawConfig, Value};
use pillory_core::config::{Config, Problem, Restriction, resolve};
use pillory_core::suggest::with_cure;

use crate::{actions, outgoing, ports};

use super::{AS_ROOT, Failure, exit, fail2ban};

/// Where the configuration is if nobody says otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/pillory/pillory.toml";

/// A longer file is no configuration.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A configuration as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// The file in which it stands or stood, for messages.
    pub(crate) file: PathBuf,
    /// Its text; nothing if there was no file.
    pub(crate) text: Option<String>,
}

/// Where a daemon's configuration comes from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    /// The file; nothing for the default place.
    pub(crate) file: Option<PathBuf>,
    /// A fail2ban directory that brings the jails, in the place of what the file names.
    pub(crate) fail2ban: Option<PathBuf>,
}

impl Place {
    /// Reads the configuration. What is wrong with a fail2ban directory is said, and its other jails run.
    /// # Errors
    /// Every problem of the file, one a line, with exit status 2.
    pub(crate) fn load(&self) -> Result<(Policy, Config), Failure> {
        let policy = self.read()?;
        let config = self.understand(&policy)?;
        Ok((policy, config))
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }

    /// What stands in the file now.
    /// # Errors
    /// Why it cannot be read, with exit status 2, or 77 if it may not be.
    pub(crate) fn read(&self) -> Result<Policy, Failure> {
        let failed = |problem: Problem| Failure::new(status(self.path()), problem.to_string());
        read_text(self.file.as_deref()).map_err(failed)
    }

    /// What a policy means on this host.
    /// # Errors
    /// As [`Place::load`].
    pub(crate) fn understand(&self, policy: &Policy) -> Result<Config, Failure> {
        let config = parse(policy)
            .and_then(|raw| understand(&raw, Vec::new()))
            .map_err(|problems| refused(&problems, exit::USAGE))?;
        let Some(directory) = self.fail2ban.as_ref().or(config.fail2ban.as_ref()) else { return Ok(config) };
        let (found, code) = fail2ban::read(directory);
        if code == exit::NOT_PERMITTED && found.jails.is_empty() {
            return Err(refused(&found.problems, code));
        }
        for problem in &found.problems {
            warn!(%problem, "wrong in the fail2ban directory");
        }
        for notice in &found.notices {
            info!("{notice}");
        }
        Ok(found.config(config))
    }
}

/// Reads the configuration: of `file`, or of the default place if there is one, or the built-in one.
/// # Errors
/// Every problem, one a line, with exit status 2, or 77 if it may not be read.
pub(crate) fn load_config(file: Option<&Path>) -> Result<Config, Failure> {
    let code = || status(file.unwrap_or(Path::new(DEFAULT_CONFIG)));
    read_config(file).map_err(|problems| refused(&problems, code()))
}

/// All that is wrong, in the words of each problem.
pub(super) fn refused(problems: &[Problem], code: u8) -> Failure {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let said = lines.join("\npillory: ");
    let cure = if code == exit::NOT_PERMITTED && !said.ends_with(AS_ROOT) { AS_ROOT } else { "" };
    Failure::new(code, with_cure(&said, cure))
}

/// The exit status of whoever has problems with this file: it may not be read, or else something is wrong with it.
pub(super) fn status(path: &Path) -> u8 {
    // Not opened: a pipe would be waited for.
    let may_read = rustix::fs::access(path, rustix::fs::Access::READ_OK);
    if may_read == Err(rustix::io::Errno::ACCESS) { exit::NOT_PERMITTED } else { exit::USAGE }
}

/// The same with the problems one by one.
/// # Errors
/// Every problem of every stage, in order of lines.
pub(crate) fn read_config(file: Option<&Path>) -> Result<Config, Vec<Problem>> {
    understand(&read_raw(file)?, Vec::new())
}

/// What the file says; nothing said if there is none at the default place.
/// # Errors
/// Why it cannot be read, or every place that is no TOML.
pub(super) fn read_raw(file: Option<&Path>) -> Result<RawConfig, Vec<Problem>> {
    parse(&read_text(file).map_err(|problem| vec![problem])?)
}

fn parse(policy: &Policy) -> Result<RawConfig, Vec<Problem>> {
    let named = |text: &String| raw::parse(&policy.file.display().to_string(), text);
    policy.text.as_ref().map_or_else(|| Ok(RawConfig::default()), named)
}

/// The text of `file`, or of the one at the default place, which need not be there.
pub(super) fn read_text(file: Option<&Path>) -> Result<Policy, Problem> {
    let path = file.unwrap_or(Path::new(DEFAULT_CONFIG));
    let policy = |text| Policy { file: path.to_owned(), text };
    match read(path, MAX_BYTES) {
        Ok(bytes) => Ok(policy(Some(String::from_utf8_lossy(&bytes).into_owned()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && file.is_none() => Ok(policy(None)),
        Err(error) => Err(Problem {
            file: path.display().to_string(),
            line: 0,
            jail: None,
            what: format!("cannot read the configuration: {error}"),
            cure: match exit::of(&error) {
                exit::NOT_PERMITTED => AS_ROOT.to_owned(),
                _ => "name another file with --config".to_owned(),
            },
        }),
    }
}

/// What the file means on this host. `problems`: what is known to be wrong already.
/// # Errors
/// Every problem, in order of lines.
pub(super) fn understand(raw: &RawConfig, mut problems: Vec<Problem>) -> Result<Config, Vec<Problem>> {
    problems.extend(unknown_action(raw));
    let config = resolve::resolve(raw).map_err(|found| problems.extend(found));
    problems.extend(config.iter().flat_map(|config| restricted_nowhere(raw, config)));
    problems.extend(config.iter().flat_map(|config| unfit_forms(raw, config)));
    problems.sort_by_key(|problem| problem.line);
    config.ok().filter(|_| problems.is_empty()).ok_or(problems)
}

/// Which ports have numbers on this host, the core does not know.
fn restricted_nowhere(raw: &RawConfig, config: &Config) -> Vec<Problem> {
    let line = raw.entries.iter().find(|entry| entry.jail.is_none() && entry.key == "restrict");
    let of = |restriction: &Restriction| ports::unknown_names(restriction.port.clone());
    let ports =
        config.restrict.iter().flat_map(|one| of(one).into_iter().map(|port| (one.name.clone(), port)));
    let problem = |(name, port): (String, String)| Problem {
        file: raw.file.clone(),
        line: line.map_or(0, |entry| entry.line),
        jail: None,
        what: format!("restrict {name}: port {port:?} has no number"),
        cure: "write it as one, or add it to /etc/services".to_owned(),
    };
    ports.map(problem).collect()
}

/// What is JSON, the core does not know.
fn unfit_forms(raw: &RawConfig, config: &Config) -> Vec<Problem> {
    let line = raw.entries.iter().find(|entry| entry.jail.is_none() && entry.key == "notify");
    let wrong =
        config.outgoing.notify.iter().filter_map(|notify| Some((notify, outgoing::form(&notify.way)?)));
    let problem = |(notify, what): (&Notify, String)| Problem {
        file: raw.file.clone(),
        line: line.map_or(0, |entry| entry.line),
        jail: None,
        what: format!("notify {}: {what}", notify.name),
        cure: "write for example template = '{\"text\": \"{subject}: {text}\"}'".to_owned(),
    };
    wrong.map(problem).collect()
}

/// Which actions there are, the core does not know.
fn unknown_action(raw: &RawConfig) -> Option<Problem> {
    let entry = raw.entries.iter().find(|entry| entry.jail.is_none() && entry.key == "banaction")?;
    let Value::Text(name) = &entry.value else { return None };
    let known: Vec<&str> = actions::KINDS.iter().map(|kind| kind.name).collect();
    (name != "auto" && !known.contains(&name.as_str())).then(|| Problem {
        file: raw.file.clone(),
        line: entry.line,
        jail: None,
        what: format!("banaction {name:?} is not known"),
        cure: format!("use auto, {}", known.join(", ")),
    })
}

/// The bytes of a regular file: a pipe might never end, and opening it would wait for its writer.
/// # Errors
/// The system's; also for what is no regular file, or is longer than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    let read = File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if read as u64 > most {
        let what = format!("it is longer than {} MiB", most >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(bytes)
}
