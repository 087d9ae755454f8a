//! `pillory allow`: who is never banned, added to and taken from while the daemon runs.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use pillory_core::time::BanTime;

use crate::allowed::Who;
use crate::control::{Reply, Request};

use super::client::{parse_bantime, word};
use super::rows::local;
use super::{Client, Failure, Outcome, addresses};

/// `pillory allow`
#[derive(Debug, clap::Args)]
pub(crate) struct Allow {
    /// Addresses, networks or DNS names; `-` reads them from standard input, one a line; none lists who is allowed.
    #[arg(value_name = "ADDRESS|NAME", required_if_eq("remove", "true"))]
    who: Vec<String>,
    /// For how long; without it until `--remove`.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_bantime, conflicts_with = "remove")]
    span: Option<BanTime>,
    /// Take them out again.
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    client: Client,
}

impl Allow {
    pub(crate) fn run(&self) -> Outcome {
        let span = match self.span {
            Some(BanTime::For(span)) => Some(span),
            Some(BanTime::Forever) | None => None,
        };
        let who: Vec<Who> = addresses::read(&self.who)?;
        let mut reply = self.client.ask(&Request::Allow { who: who.clone(), span, remove: self.remove })?;
        if !self.remove {
            self.wait_for_names(&who, &mut reply)?;
        }
        self.client.show(&reply, |value| self.told(value))
    }

    /// Names are asked for beside the answer: waits a little for what they lead to, or why they lead nowhere.
    fn wait_for_names(&self, who: &[Who], reply: &mut Reply) -> Result<(), Failure> {
        let names: Vec<&str> = who.iter().filter_map(Who::name).collect();
        for _ in 0..PATIENCE.as_millis() / PAUSE.as_millis() {
            let is_open = |name: &&str| entry(&reply.value, name).is_some_and(|entry| no_address(&entry));
            let open: Vec<&str> = names.iter().copied().filter(is_open).collect();
            if open.is_empty() {
                break;
            }
            let mut status = self.client.ask(&Request::Status)?.value;
            reply.value["allowed"] = status["allowed"].take();
            let problems: Vec<Value> = open.iter().filter_map(|name| problem(&status, name)).collect();
            let is_done = problems.len() == open.len();
            reply.value["problems"] = Value::Array(problems);
            if is_done {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn told(&self, value: &Value) -> String {
        if self.who.is_empty() {
            let text = allowed_text(&value["allowed"]);
            return if text.is_empty() { "nobody is allowed by command\n".to_owned() } else { text };
        }
        let mut text = String::new();
        let until = match value["until"].is_null() {
            true => String::new(),
            false => format!(" until {}", local(&value["until"])),
        };
        for who in value["done"].as_array().into_iter().flatten() {
            let unknown =
                who.as_str().is_some_and(|name| entry(value, name).is_some_and(|one| no_address(&one)));
            let who = word(who);
            let _ = match (self.remove, unknown) {
                (true, _) => writeln!(text, "{who} is no longer allowed"),
                (false, false) => writeln!(text, "{who} is never banned{until}"),
                (false, true) => writeln!(
                    text,
                    "{who} is followed{until}, but no address of it is known yet, so it spares nobody now{}",
                    why(value, &who)
                ),
            };
        }
        for who in value["not"].as_array().into_iter().flatten().map(word) {
            let _ = match self.remove {
                true => writeln!(text, "{who} was not allowed; `pillory explain` tells why it is spared"),
                false => writeln!(text, "{who}: too many are allowed; list networks in ignoreip"),
            };
        }
        text
    }
}

/// How long an answer of a name server is waited for, and how often it is looked for.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// What is said of somebody in the list of who is allowed.
fn entry(value: &Value, who: &str) -> Option<Value> {
    value["allowed"].as_array()?.iter().find(|entry| entry["who"] == who).cloned()
}

fn no_address(entry: &Value) -> bool {
    entry["prefixes"].as_array().is_none_or(Vec::is_empty)
}

/// The warning that tells why a name leads nowhere.
fn problem(status: &Value, name: &str) -> Option<Value> {
    let begin = format!("name {name} ");
    let mut warnings = status["warnings"].as_array()?.iter();
    warnings.find(|warning| warning.as_str().is_some_and(|text| text.starts_with(&begin))).cloned()
}

fn why(value: &Value, name: &str) -> String {
    let begin = format!("name {name} ");
    let problems = value["problems"].as_array().into_iter().flatten().map(word);
    let mut of_name = problems.filter(|problem| problem.starts_with(&begin));
    of_name.next().map_or_else(
        || "; no name server has answered yet, `pillory allow` shows when one has".to_owned(),
        |problem| format!(": {problem}"),
    )
}

/// `allowed: home.example.net (192.0.2.7), until Sun Nov 22 20:15:01 2026`, a line each.
pub(super) fn allowed_text(allowed: &Value) -> String {
    let mut text = String::new();
    for entry in allowed.as_array().into_iter().flatten() {
        let who = word(&entry["who"]);
        let prefixes: Vec<String> = entry["prefixes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|prefix| prefix.as_str()?.parse::<pillory_core::net::Prefix>().ok())
            .map(pillory_core::net::Prefix::short)
            .collect();
        let at = match prefixes.join(", ") {
            only if only == who => String::new(),
            none if none.is_empty() => " (no address is known)".to_owned(),
            all => format!(" ({all})"),
        };
        let until = match entry["until"].is_null() {
            true => String::new(),
            false => format!(", until {}", local(&entry["until"])),
        };
        let _ = writeln!(text, "allowed: {who}{at}{until}");
    }
    text
}
