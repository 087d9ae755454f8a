//! Commands that ask the running daemon: `status` and `list`.

use serde_json::Value;

use crate::clock;
use crate::control::{Request, short};

use super::client::{caller, no_jail, parse_time, word};
use super::screen::{Screen, Table, roughly};
use super::{Client, Outcome, past, status};

/// `pillory status`
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Only this jail.
    jail: Option<String>,
    /// Everything, also what does not fit the screen.
    #[arg(long)]
    all: bool,
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
                return Err(no_jail(wanted, &Value::Array(all_jails)));
            }
            let others: Vec<Value> = all_jails.iter().filter(|jail| !kept.contains(jail)).cloned().collect();
            if let Some(warnings) = reply.value["warnings"].as_array_mut() {
                warnings.retain(|warning| !is_of(&others, warning) || is_of(&kept, warning));
            }
            if let Some(latest) = reply.value["latest"].as_array_mut() {
                latest.retain(|ban| ban["jail"] == wanted.as_str());
            }
            reply.value["jails"] = Value::Array(kept);
        }
        reply.value["you"] = past::you(&self.client, caller());
        self.client.show(&reply, |value| status::text(value, Screen::here(), self.all))
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

/// `pillory list`
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only bans of this jail.
    #[arg(long)]
    jail: Option<String>,
    /// By what the bans are sorted: the newest first, the first to end first, or by prefix (as JSON is).
    #[arg(long, value_name = "since|until|prefix")]
    sort: Option<Sort>,
    #[command(flatten)]
    client: Client,
}

/// In which order bans are listed.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Sort {
    Since,
    Until,
    Prefix,
}

impl Sort {
    /// The bans come by prefix.
    fn sort(self, bans: &mut [Value]) {
        let time = |ban: &Value, key: &str| ban[key].as_str().and_then(parse_time);
        match self {
            Sort::Prefix => {}
            Sort::Since => bans.sort_by_cached_key(|ban| std::cmp::Reverse(time(ban, "since"))),
            Sort::Until => bans.sort_by_cached_key(|ban| {
                let until = time(ban, "until");
                (until.is_none(), until)
            }),
        }
    }
}

impl List {
    pub(crate) fn run(&self) -> Outcome {
        let mut reply = self.client.ask(&Request::List)?;
        if let (Some(jail), Some(bans)) = (&self.jail, reply.value.as_array_mut()) {
            bans.retain(|ban| ban["jail"] == jail.as_str());
            if bans.is_empty() {
                self.client.known_jail(jail)?;
            }
        }
        // What somebody looks for is mostly what has just happened.
        let usual = if self.client.json { Sort::Prefix } else { Sort::Since };
        if let Some(bans) = reply.value.as_array_mut() {
            self.sort.unwrap_or(usual).sort(bans);
        }
        self.client.show(&reply, |bans| list_text(bans, Screen::here()))
    }
}

/// A line a ban: whom, by which jail, since when, how long yet, and why.
pub(super) fn list_text(bans: &Value, screen: Screen) -> String {
    let bans = bans.as_array().map_or(&[][..], Vec::as_slice);
    if bans.is_empty() {
        return "nobody is banned\n".to_owned();
    }
    let rows: Vec<Vec<String>> = bans.iter().map(ban_row).collect();
    Table::new(screen, &[38, 13, 10, 11, 0], [&[], &[0, 1]]).breaking().lines(&rows)
}

fn ban_row(ban: &Value) -> Vec<String> {
    let since = ban["since"].as_str().and_then(parse_time);
    let ago = since.map_or_else(String::new, |since| format!("{} ago", roughly(clock::now().since(since))));
    let origin = match (ban["forced"] == true, ban["spared"] == true) {
        (true, _) => format!(" ({}, forced)", word(&ban["origin"])),
        (_, true) => format!(" ({}, without effect: it is never banned)", word(&ban["origin"])),
        // The jail has decided it.
        _ if ban["origin"] == "local" => String::new(),
        _ => format!(" ({})", word(&ban["origin"])),
    };
    let why = word(&ban["reason"]) + &origin;
    vec![short(&ban["prefix"]), word(&ban["jail"]), ago, left(&ban["until"]), why]
}

/// `23 h left`
pub(super) fn left(until: &Value) -> String {
    match until.as_str().and_then(parse_time) {
        Some(until) => format!("{} left", roughly(until.since(clock::now()))),
        None => "forever".to_owned(),
    }
}
