//! Commands that ask the running daemon: `status`, `list`, `explain`.

use std::fmt::Write;

use serde_json::Value;

use pillory_core::net::Prefix;
use pillory_core::time::Span;

use crate::actions::dryrun;
use crate::clock;
use crate::control::Request;

use super::client::{parse_time, word};
use super::{Client, Failure, Outcome, exit, red};

/// `pillory status`
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Only this jail.
    jail: Option<String>,
    #[command(flatten)]
    client: Client,
}

impl Status {
    pub(crate) fn run(&self) -> Outcome {
        let mut reply = self.client.ask(&Request::Status)?;
        if let Some(wanted) = &self.jail {
            let jails = reply.value["jails"].as_array().cloned().unwrap_or_default();
            let kept: Vec<Value> = jails.into_iter().filter(|jail| jail["name"] == wanted.as_str()).collect();
            if kept.is_empty() {
                return Err(Failure::new(
                    exit::NO,
                    format!("no jail {wanted:?} runs; `pillory status` lists those that do"),
                ));
            }
            reply.value["jails"] = Value::Array(kept);
        }
        self.client.show(&reply, status_text)
    }
}

fn status_text(value: &Value) -> String {
    let mut text = String::new();
    let enforcing = value["enforcing"] == true;
    let is_dry = value["banaction"] == dryrun::NAME;
    let state = if is_dry {
        red("DRY RUN, nothing is enforced")
    } else if enforcing {
        format!("protected by {}", word(&value["banaction"]))
    } else {
        red("OFF, nothing is enforced (`pillory on` switches on)")
    };
    let uptime = Span::from_secs(value["uptime_s"].as_u64().unwrap_or(0));
    let _ = writeln!(
        text,
        "pillory {}: {state}, up {uptime}, {} {}banned",
        word(&value["version"]),
        value["banned"],
        if is_dry { "would be " } else { "" }
    );
    for warning in value["warnings"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "{} {}", red("warning:"), word(warning));
    }
    for jail in value["jails"].as_array().into_iter().flatten() {
        let sources =
            jail["sources"].as_array().into_iter().flatten().map(|source| match source["kind"].as_str() {
                Some("file") => word(&source["path"]),
                Some(kind) => format!("{kind} {}", word(&source["path"])),
                None => String::new(),
            });
        let sources = sources.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "  {:<14} {} lines, {} failures, {} tracked, {} banned ({} in all)  {sources}",
            word(&jail["name"]),
            jail["lines"],
            jail["failures"],
            jail["tracked"],
            jail["banned"],
            jail["bans_total"]
        );
    }
    text
}

/// `pillory list`
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only bans of this jail.
    #[arg(long)]
    jail: Option<String>,
    #[command(flatten)]
    client: Client,
}

impl List {
    pub(crate) fn run(&self) -> Outcome {
        let mut reply = self.client.ask(&Request::List)?;
        if let (Some(jail), Some(bans)) = (&self.jail, reply.value.as_array_mut()) {
            bans.retain(|ban| ban["jail"] == jail.as_str());
        }
        self.client.show(&reply, |bans| {
            let bans = bans.as_array().map_or(&[][..], Vec::as_slice);
            if bans.is_empty() {
                "nobody is banned\n".to_owned()
            } else {
                bans.iter().map(ban_line).collect()
            }
        })
    }
}

fn ban_line(ban: &Value) -> String {
    let prefix = ban["prefix"]
        .as_str()
        .and_then(|text| text.parse::<Prefix>().ok())
        .map_or_else(|| word(&ban["prefix"]), Prefix::short);
    let left = match ban["until"].as_str().and_then(parse_time) {
        Some(until) => format!("{} left", until.since(clock::now())),
        None => "forever".to_owned(),
    };
    format!(
        "{prefix:<39} {:<14} {left:<16} {} ({})\n",
        word(&ban["jail"]),
        word(&ban["reason"]),
        if ban["forced"] == true {
            format!("{}, forced", word(&ban["origin"]))
        } else {
            word(&ban["origin"])
        }
    )
}

/// `pillory explain`
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// An address or network.
    prefix: Prefix,
    #[command(flatten)]
    client: Client,
}

impl Explain {
    pub(crate) fn run(&self) -> Outcome {
        let reply = self.client.ask(&Request::Explain(self.prefix))?;
        self.client.show(&reply, |value| {
            let mut text = String::new();
            let bans = value["bans"].as_array().map_or(&[][..], Vec::as_slice);
            let state = match (bans.is_empty(), value["enforcing"] == true) {
                (true, _) => "is not banned",
                (false, true) => "is banned",
                (false, false) => "is banned, but nothing is enforced now (see `pillory status`)",
            };
            let _ = writeln!(text, "{} {state}", self.prefix.short());
            bans.iter().for_each(|ban| {
                let _ = write!(text, "  {}", ban_line(ban));
            });
            for never in value["never_banned"].as_array().into_iter().flatten() {
                let _ =
                    writeln!(text, "  never banned: {} is {}", word(&never["prefix"]), word(&never["why"]));
            }
            for jail in value["points"].as_array().into_iter().flatten() {
                let findtime = Span::from_secs(jail["findtime_s"].as_u64().unwrap_or(0));
                let _ = writeln!(
                    text,
                    "  jail {}: {} of {} points, {} attempts within {findtime}",
                    word(&jail["jail"]),
                    jail["points"],
                    jail["maxretry"],
                    jail["attempts"]
                );
            }
            if value["earlier_bans"].as_u64().is_some_and(|count| count > 0) {
                let _ = writeln!(text, "  banned {} times so far", value["earlier_bans"]);
            }
            if let Some(login) = value["last_good_login"].as_object() {
                let _ =
                    writeln!(text, "  last good login: {} {}", word(&login["time"]), word(&login["user"]));
            }
            text
        })
    }
}
