//! `pillory check`: validates a configuration and has no side effect.

use std::path::PathBuf;

use serde_json::json;

use pillory_core::config::{Config, Problem};
use pillory_core::filter::Filter;

use crate::actions;

use super::configfile::{DEFAULT_CONFIG, read_config};
use super::{Outcome, complain, exit, print};

/// `pillory check`
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Configuration file; default /etc/pillory/pillory.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long, short = 'j')]
    json: bool,
}

impl Check {
    pub(crate) fn run(&self) -> Outcome {
        let path = self.config.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_CONFIG));
        let file = path.display().to_string();
        let (problems, jails) = match read_config(self.config.as_deref()) {
            Ok(config) => (deeper(&file, &config), config.jails.len()),
            Err(problems) => (problems, 0),
        };
        if self.json {
            print(&format!("{}\n", json!({"file": file, "problems": values(&problems)})))?;
        } else {
            problems.iter().for_each(|problem| complain(&problem.to_string()));
            if problems.is_empty() && path.exists() {
                print(&format!("{file}: fine, {jails} jails configured\n"))?;
            } else if problems.is_empty() {
                print(&format!("no {file}: the built-in configuration holds, which is fine\n"))?;
            } else {
                let noun = if problems.len() == 1 { "problem" } else { "problems" };
                complain(&format!("{file}: {} {noun}", problems.len()));
            }
        }
        Ok(if problems.is_empty() { 0 } else { exit::USAGE })
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
