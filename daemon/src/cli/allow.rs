//! `pillory allow`: who is never banned, added to and taken from while the daemon runs.

use std::fmt::Write;

use serde_json::Value;

use pillory_core::time::BanTime;

use crate::allowed::Who;
use crate::control::Request;

use super::client::{parse_bantime, word};
use super::rows::local;
use super::{Client, Outcome};

/// `pillory allow`
#[derive(Debug, clap::Args)]
pub(crate) struct Allow {
    /// Addresses, networks or DNS names; none lists who is allowed.
    #[arg(value_name = "ADDRESS|NAME", required_if_eq("remove", "true"))]
    who: Vec<Who>,
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
        let request = Request::Allow { who: self.who.clone(), span, remove: self.remove };
        let reply = self.client.ask(&request)?;
        self.client.show(&reply, |value| {
            if self.who.is_empty() {
                let text = allowed_text(&value["allowed"]);
                return if text.is_empty() { "nobody is allowed by command\n".to_owned() } else { text };
            }
            let mut text = String::new();
            let until = match value["until"].is_null() {
                true => String::new(),
                false => format!(" until {}", local(&value["until"])),
            };
            for who in value["done"].as_array().into_iter().flatten().map(word) {
                let _ = match self.remove {
                    true => writeln!(text, "{who} is no longer allowed"),
                    false => writeln!(text, "{who} is never banned{until}"),
                };
            }
            for who in value["not"].as_array().into_iter().flatten().map(word) {
                let _ = match self.remove {
                    true => writeln!(text, "{who} was not allowed; `pillory explain` tells why it is spared"),
                    false => writeln!(text, "{who}: too many are allowed; list networks in ignoreip"),
                };
            }
            text
        })
    }
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
