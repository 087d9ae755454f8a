//! `pillory check`: validates a configuration and has no side effect.

use std::path::{Path, PathBuf};

use serde_json::json;

use pillory_core::config::{Config, Problem};
use pillory_core::filter::Filter;

use crate::actions;

use super::configfile::{DEFAULT_CONFIG, read_config};
use super::{Failure, Outcome, complain, exit, fail2ban, print};

/// `pillory check`
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
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
    /// What is to be known of a fail2ban directory.
    notices: Vec<String>,
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
            let Found { what, problems, notices, jails } = &found;
            let said =
                json!({"file": what, "problems": values(problems), "notices": notices, "jails": jails});
            print(&format!("{said}\n"))?;
        } else {
            self.say(&found)?;
        }
        Ok(if found.problems.is_empty() { 0 } else { exit::USAGE })
    }

    fn of_file(&self) -> Found {
        let path = self.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG));
        let what = path.display().to_string();
        let config = match read_config(self.config.as_deref()) {
            Ok(config) => config,
            Err(problems) => return Found { what, problems, ..Found::default() },
        };
        let problems = deeper(&what, &config);
        let Some(directory) = &config.fail2ban else {
            let jails = config.jails.iter().map(|jail| jail.name.to_string()).collect();
            return Found { what, problems, jails, ..Found::default() };
        };
        let mut found = of_directory(directory);
        found.problems.splice(0..0, problems);
        Found { what, ..found }
    }

    fn say(&self, found: &Found) -> Result<(), Failure> {
        let Found { what, problems, notices, jails } = found;
        problems.iter().for_each(|problem| complain(&problem.to_string()));
        print(&notices.iter().map(|notice| format!("{notice}\n")).collect::<String>())?;
        if !problems.is_empty() {
            let noun = if problems.len() == 1 { "problem" } else { "problems" };
            complain(&format!("{what}: {} {noun}", problems.len()));
        } else if self.fail2ban.is_none() && !Path::new(what).exists() {
            print(&format!("no {what}: the built-in configuration holds, which is fine\n"))?;
        } else {
            print(&format!("{what}: fine, {} jails configured\n", jails.len()))?;
        }
        Ok(())
    }
}

fn of_directory(directory: &Path) -> Found {
    let found = fail2ban::read(directory);
    Found {
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

/// What shows only when filters are compiled and kinds are looked up; nothing is opened.
fn deeper(file: &str, config: &Config) -> Vec<Problem> {
    let problem = |jail: Option<&str>, what: String, cure: &str| Problem {
        file: file.to_owned(),
        line: 0,
        jail: jail.map(str::to_owned),
        what,
        cure: cure.to_owned(),
    };
    let mut problems = Vec::new();
    if config.banaction != "auto" && actions::kind(&config.banaction).is_none() {
        let known: Vec<&str> = actions::KINDS.iter().map(|kind| kind.name).collect();
        let what = format!("banaction {:?} is not known", config.banaction);
        problems.push(problem(None, what, &format!("use auto, {}", known.join(", "))));
    }
    for jail in &config.jails {
        for error in Filter::compile(&jail.filter).err().unwrap_or_default() {
            problems.push(problem(Some(jail.name.as_str()), error.to_string(), ""));
        }
    }
    problems
}
