//! `pillory check`: validates a configuration and has no side effect.

use std::path::PathBuf;

use serde_json::json;

use pillory_core::config::raw::{Entry, RawConfig};
use pillory_core::config::{Problem, keys};

use crate::ports;

use super::configfile::{DEFAULT_CONFIG, read_raw, understand};
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
        let (problems, jails) =
            match read_raw(self.config.as_deref()).and_then(|raw| understand(&raw, unknown_ports(&raw))) {
                Ok(config) => (Vec::new(), config.jails.len()),
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
