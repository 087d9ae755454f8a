//! `pillory check`: validates a configuration and has no side effect.

use std::path::{Path, PathBuf};

use serde_json::json;

use pillory_core::config::raw::{Entry, RawConfig};
use pillory_core::config::{Problem, keys};

use crate::escape::escape;
use crate::ports;

use super::configfile::{DEFAULT_CONFIG, read_raw, refused, status, understand};
use super::{Failure, Outcome, complain, count, exit, fail2ban, print, print_json};

/// `pillory check`
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The same as --config.
    #[arg(value_name = "FILE", conflicts_with_all = ["config", "fail2ban"])]
    file: Option<PathBuf>,
    /// Configuration file; default /etc/pillory/pillory.toml. A fail2ban directory that it names is checked too.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check this fail2ban directory, such as /etc/fail2ban: every problem, and what becomes of its actions.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    fail2ban: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long, short = 'j')]
    json: bool,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    /// What was checked, by its path.
    what: String,
    problems: Vec<Problem>,
    /// The exit status if there are problems.
    code: u8,
    /// What is to be known of a fail2ban directory.
    notices: Vec<String>,
    /// They are those of a fail2ban directory.
    is_directory: bool,
    /// The jails that can run.
    jails: Vec<String>,
}

impl Check {
    pub(crate) fn run(&self) -> Outcome {
        let found = match &self.fail2ban {
            Some(directory) => of_directory(directory),
            None => self.of_file(),
        };
        if self.json {
            let Found { what, problems, notices, jails, .. } = &found;
            let said =
                json!({"file": what, "problems": values(problems), "notices": notices, "jails": jails});
            print_json(&said)?;
        } else if !found.problems.is_empty() && found.code == exit::NOT_PERMITTED {
            return Err(refused(&found.problems, found.code));
        } else {
            self.say(&found)?;
        }
        Ok(if found.problems.is_empty() { 0 } else { found.code })
    }

    fn of_file(&self) -> Found {
        let named = self.file.as_deref().or(self.config.as_deref());
        let path = named.unwrap_or(Path::new(DEFAULT_CONFIG));
        let what = path.display().to_string();
        let read = read_raw(named);
        let config = match read.and_then(|raw| understand(&raw, unknown_ports(&raw))) {
            Ok(config) => config,
            Err(problems) => return Found { what, problems, code: status(path), ..Found::default() },
        };
        let Some(directory) = &config.fail2ban else {
            let jails = config.jails.iter().map(|jail| jail.name.to_string()).collect();
            return Found { what, jails, ..Found::default() };
        };
        Found { what, ..of_directory(directory) }
    }

    fn say(&self, found: &Found) -> Result<(), Failure> {
        let Found { problems, notices, jails, .. } = found;
        let what = escape(&found.what);
        problems.iter().for_each(|problem| complain(&problem.to_string()));
        let mut text: String = notices.iter().map(|notice| format!("{}\n", escape(notice))).collect();
        if problems.is_empty() {
            let is_there = self.fail2ban.is_some() || Path::new(&found.what).exists();
            text += &match is_there {
                true => format!(
                    "{what}: fine, {} configured; {} runs where {}\n",
                    count(jails.len() as u64, "jail"),
                    if jails.len() == 1 { "it" } else { "each" },
                    if found.is_directory {
                        "its logs are"
                    } else {
                        "its service is found, or logpath names its log"
                    }
                ),
                false => format!("no {what}: the built-in configuration holds, which is fine\n"),
            };
        }
        print(&text)?;
        if !problems.is_empty() {
            complain(&format!("{what}: {}", count(problems.len() as u64, "problem")));
        }
        Ok(())
    }
}

/// All that is wrong with the configuration of the default place, or with one that lies elsewhere.
pub(super) fn problems(config: Option<PathBuf>) -> Vec<Problem> {
    Check { file: None, config, fail2ban: None, json: false }.of_file().problems
}

fn of_directory(directory: &Path) -> Found {
    let (found, code) = fail2ban::read(directory);
    Found {
        code,
        is_directory: true,
        what: directory.display().to_string(),
        problems: found.problems,
        notices: found.notices,
        jails: found.jails.iter().map(|jail| jail.name.to_string()).collect(),
    }
}

fn values(problems: &[Problem]) -> Vec<serde_json::Value> {
    let value = |problem: &Problem| {
        json!({
            "file": problem.file,
            "line": (problem.line > 0).then_some(problem.line),
            "jail": problem.jail,
            "what": problem.what,
            "cure": problem.cure,
            "message": problem.to_string(),
        })
    };
    problems.iter().map(value).collect()
}

/// Ports of jails that have no number here: such a jail runs, but its bans on ports hold for all of them.
fn unknown_ports(raw: &RawConfig) -> Vec<Problem> {
    let problem = |(entry, port): (&Entry, String)| Problem {
        file: raw.file.clone(),
        line: entry.line,
        jail: entry.jail.clone(),
        what: format!("port {port:?} has no number"),
        cure: "write it as one, or add it to /etc/services".to_owned(),
    };
    let ports = raw.entries.iter().filter(|entry| entry.jail.is_some() && entry.key == "port");
    let names = ports.flat_map(|entry| {
        let words = keys::texts(&entry.value).unwrap_or_default();
        ports::unknown_names(words).into_iter().map(move |name| (entry, name))
    });
    names.map(problem).collect()
}
