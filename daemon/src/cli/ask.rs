//! Commands that ask the running daemon: `status` and `list`.

use std::fmt::Write;

use serde_json::Value;

use pillory_core::event::JailName;
use pillory_core::net::Prefix;
use pillory_core::time::Span;

use crate::actions::dryrun;
use crate::clock;
use crate::control::Request;
use crate::escape::escape;
use crate::privilege;

use super::client::{parse_time, word};
use super::{Client, Failure, Outcome, count, exit, past, red};

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
            let all_jails = reply.value["jails"].as_array().cloned().unwrap_or_default();
            let kept: Vec<Value> =
                all_jails.iter().filter(|jail| jail["name"] == wanted.as_str()).cloned().collect();
            if kept.is_empty() {
                return Err(no_jail(wanted));
            }
            let others: Vec<Value> = all_jails.iter().filter(|jail| !kept.contains(jail)).cloned().collect();
            if let Some(warnings) = reply.value["warnings"].as_array_mut() {
                warnings.retain(|warning| !is_of(&others, warning) || is_of(&kept, warning));
            }
            reply.value["jails"] = Value::Array(kept);
        }
        reply.value["you"] = past::you(&self.client);
        self.client.show(&reply, status_text)
    }
}

/// True if a warning is about one of these jails: it names the jail, or it is the trouble of a source of it.
fn is_of(jails: &[Value], warning: &Value) -> bool {
    let names = |jail: &Value| {
        let begin = format!("jail {}: ", word(&jail["name"]));
        warning.as_str().is_some_and(|warning| warning.starts_with(&begin))
    };
    let troubles = |jail: &Value| {
        jail["sources"].as_array().into_iter().flatten().any(|source| source["problem"] == *warning)
    };
    jails.iter().any(|jail| names(jail) || troubles(jail))
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
    text.push_str(&past::you_text(&value["you"]));
    text.push_str(&past::effect_text(&value["effect"]));
    text.push_str(&past::latency_text(&value["latency"]));
    text.push_str(&past::learnt_text(&value["learnt"]));
    text.push_str(&super::restrict::restricted_text(&value["restricted"]));
    text.push_str(&super::allow::allowed_text(&value["allowed"]));
    let _ = writeln!(text, "{}", escape(&privilege::words(&value["sandbox"])));
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
            "  {:<14} {}, {}, {} tracked, {} banned ({} in all)  {sources}",
            word(&jail["name"]),
            count(jail["lines"].as_u64().unwrap_or(0), "line"),
            count(jail["failures"].as_u64().unwrap_or(0), "failure"),
            jail["tracked"],
            jail["banned"],
            jail["bans_total"]
        );
        for ban in jail["identities"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "  {:<14} banned by commands: {}", "", word(&ban["id"]));
        }
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
            if bans.is_empty() {
                self.known(jail)?;
            }
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

impl List {
    /// A jail that nobody runs and that has no bans is a slip of the pen.
    fn known(&self, jail: &str) -> Result<(), Failure> {
        let status = self.client.ask(&Request::Status)?.value;
        let mut jails = status["jails"].as_array().into_iter().flatten();
        if JailName::OF_NO_JAIL.contains(&jail) || jails.any(|known| known["name"] == jail) {
            return Ok(());
        }
        Err(no_jail(jail))
    }
}

fn no_jail(name: &str) -> Failure {
    Failure::new(exit::NO, format!("no jail {name:?} runs; `pillory status` lists those that do"))
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
        match (ban["forced"] == true, ban["spared"] == true) {
            (true, _) => format!("{}, forced", word(&ban["origin"])),
            (_, true) => format!("{}, without effect: it is never banned", word(&ban["origin"])),
            _ => word(&ban["origin"]),
        }
    )
}
