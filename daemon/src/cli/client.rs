//! Commands that ask or order the running daemon.

use std::fmt::Write;
use std::net::IpAddr;

use serde_json::Value;

use pillory_core::event::JailName;
use pillory_core::net::Prefix;
use pillory_core::time::{BanTime, Span, Timestamp};

use crate::clock;
use crate::control::client::{ClientError, ask_once};
use crate::control::{BanOptions, BanOrder, Reply, Request};
use crate::logging::escape;

use super::{Client, Failure, Outcome, exit, offline, print, red};

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let code = match error {
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => exit::UNREACHABLE,
            ClientError::NotAllowed { .. } => exit::NOT_PERMITTED,
        };
        Failure::new(code, error.to_string())
    }
}

impl Client {
    /// Sends a request; a refusal becomes a failure.
    pub(super) fn ask(&self, request: &Request) -> Result<Reply, Failure> {
        let reply = ask_once(&self.control, request)?;
        if reply.exit != 0 && reply.value.is_null() {
            return Err(Failure::new(reply.exit, reply.message));
        }
        Ok(reply)
    }

    /// Sends a request; where no daemon answers, `offline` does it. It is told why nobody could be asked.
    pub(super) fn ask_or_else(
        &self,
        request: &Request,
        offline: impl FnOnce(&offline::Gone) -> Result<Reply, Failure>,
    ) -> Result<Reply, Failure> {
        match ask_once(&self.control, request) {
            Err(error @ ClientError::Unreachable { .. }) => {
                offline(&offline::Gone { why: error.to_string(), control: self.control.clone() })
            }
            Err(error) => Err(error.into()),
            Ok(reply) if reply.exit != 0 && reply.value.is_null() => {
                Err(Failure::new(reply.exit, reply.message))
            }
            Ok(reply) => Ok(reply),
        }
    }

    /// Prints the data as JSON, or else as `text` makes it.
    pub(super) fn show(&self, reply: &Reply, text: impl FnOnce(&Value) -> String) -> Outcome {
        if self.json {
            print(&format!("{}\n", reply.value))?;
        } else {
            print(&text(&reply.value))?;
        }
        if !reply.message.is_empty() && reply.value["message"].is_null() {
            super::complain(&reply.message);
        }
        Ok(reply.exit)
    }
}

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
    let state = if enforcing {
        format!("protected by {}", word(&value["banaction"]))
    } else {
        red("OFF, nothing is enforced (`pillory on` switches on)")
    };
    let uptime = Span::from_secs(value["uptime_s"].as_u64().unwrap_or(0));
    let _ = writeln!(
        text,
        "pillory {}: {state}, up {uptime}, {} banned",
        word(&value["version"]),
        value["banned"]
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

/// A JSON text for people: unquoted, hostile characters escaped.
pub(super) fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), escape)
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

/// `pillory ban`
#[derive(Debug, clap::Args)]
pub(crate) struct Ban {
    /// Addresses or networks; `-` reads them from standard input, one a line.
    #[arg(required = true, value_name = "PREFIX")]
    prefixes: Vec<String>,
    /// For which jail.
    #[arg(long)]
    jail: Option<JailArgument>,
    /// For how long; `forever` is possible.
    #[arg(long = "for", value_name = "DURATION", default_value = "1d", value_parser = parse_bantime)]
    bantime: BanTime,
    /// Why; shown by `list` and `explain`.
    #[arg(long, default_value = "by hand")]
    reason: String,
    /// Ban even who is never banned and what would lock the owner out.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    client: Client,
}

/// Parses a jail's name.
#[derive(Debug, Clone)]
pub(crate) struct JailArgument(pub(crate) JailName);

impl std::str::FromStr for JailArgument {
    type Err = pillory_core::event::JailNameError;
    fn from_str(text: &str) -> Result<JailArgument, Self::Err> {
        JailName::new(text).map(JailArgument)
    }
}

pub(super) fn parse_bantime(text: &str) -> Result<BanTime, String> {
    match BanTime::parse(text).map_err(|error| error.to_string())? {
        BanTime::For(span) if span.millis() == 0 => Err(NO_TIME.to_owned()),
        bantime => Ok(bantime),
    }
}

const NO_TIME: &str = "this is no time at all; write for example \"1d\"";

fn parse_span(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    if span.millis() == 0 { Err(NO_TIME.to_owned()) } else { Ok(span) }
}

/// The prefixes named; every one that is none is a problem, all of them reported at once.
fn read_prefixes(words: &[String]) -> Result<Vec<Prefix>, Failure> {
    let mut all: Vec<String> = Vec::new();
    for word in words {
        if word == "-" {
            let text = std::io::read_to_string(std::io::stdin())
                .map_err(|error| Failure::new(exit::USAGE, format!("cannot read standard input: {error}")))?;
            let words = text.lines().filter_map(|line| line.split_whitespace().next());
            all.extend(words.filter(|word| !word.starts_with('#')).map(str::to_owned));
        } else {
            all.push(word.clone());
        }
    }
    let (good, bad): (Vec<_>, Vec<_>) =
        all.iter().map(|word| word.parse::<Prefix>()).partition(Result::is_ok);
    let bad: Vec<String> = bad.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
    if !bad.is_empty() {
        return Err(Failure::new(exit::USAGE, bad.join("\npillory: ")));
    }
    Ok(good.into_iter().flatten().collect())
}

/// The address from which the caller's ssh session comes, if there is one (sshd sets SSH_CONNECTION).
pub(super) fn caller() -> Option<IpAddr> {
    let connection = std::env::var("SSH_CONNECTION").or_else(|_| std::env::var("SSH_CLIENT")).ok()?;
    connection.split_whitespace().next()?.parse().ok()
}

impl Ban {
    pub(crate) fn run(&self) -> Outcome {
        let prefixes = read_prefixes(&self.prefixes)?;
        let orders = prefixes
            .into_iter()
            .map(|prefix| BanOrder { prefix, reason: self.reason.clone(), listed: None })
            .collect();
        let options = BanOptions {
            jail: self.jail.as_ref().map(|jail| jail.0.clone()),
            bantime: self.bantime,
            force: self.force,
            import: false,
            dry_run: false,
            caller: caller(),
        };
        let reply = self.client.ask(&Request::Ban(orders, options))?;
        self.client.show(&reply, |value| {
            let mut text = String::new();
            for prefix in value["banned"].as_array().into_iter().flatten() {
                let _ = writeln!(text, "banned {} for {}", word(prefix), self.bantime);
            }
            for kept in value["never_banned"].as_array().into_iter().flatten() {
                let prefix = kept["prefix"].as_str().and_then(|text| text.parse::<Prefix>().ok());
                let short = prefix.map_or_else(|| word(&kept["prefix"]), Prefix::short);
                let _ = writeln!(
                    text,
                    "{} {short}: {}; forced all the same: {}; `pillory unban {short}` lifts it",
                    red("warning:"),
                    word(&kept["why"]),
                    word(&kept["does"])
                );
            }
            if value["unchanged"].as_u64().is_some_and(|count| count > 0) {
                let _ = writeln!(text, "{} of them were banned at least as long already", value["unchanged"]);
            }
            for refused in value["refused"].as_array().into_iter().flatten() {
                let _ = writeln!(
                    text,
                    "refused {}: {}; --force bans it all the same",
                    word(&refused["prefix"]),
                    word(&refused["why"])
                );
            }
            text
        })
    }
}

/// `pillory unban`
#[derive(Debug, clap::Args)]
pub(crate) struct Unban {
    /// Addresses or networks; `-` reads them from standard input, one a line.
    #[arg(required_unless_present = "all", value_name = "PREFIX")]
    prefixes: Vec<String>,
    /// Every ban.
    #[arg(long, conflicts_with = "prefixes")]
    all: bool,
    /// Only bans of this jail.
    #[arg(long)]
    jail: Option<JailArgument>,
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    state: offline::State,
}

impl Unban {
    pub(crate) fn run(&self) -> Outcome {
        let prefixes = if self.all { None } else { Some(read_prefixes(&self.prefixes)?) };
        let jail = self.jail.as_ref().map(|jail| jail.0.clone());
        let request = Request::Unban { prefixes, jail };
        let reply = self.client.ask_or_else(&request, |gone| match &request {
            Request::Unban { prefixes, jail } => self.state.unban(prefixes.as_deref(), jail.as_ref(), gone),
            _ => Err(Failure::new(exit::UNREACHABLE, &gone.why)),
        })?;
        self.client.show(&reply, |value| {
            let lifted = value["unbanned"].as_array().map_or(&[][..], Vec::as_slice);
            let mut text = String::new();
            for ban in lifted {
                let _ = writeln!(text, "unbanned {} ({})", word(&ban["prefix"]), word(&ban["jail"]));
            }
            if lifted.is_empty() {
                text.push_str("nothing of this was banned\n");
            }
            for ban in value["still_banned_by"].as_array().into_iter().flatten() {
                let _ = writeln!(text, "still banned by {} ({})", word(&ban["prefix"]), word(&ban["jail"]));
            }
            if !reply.message.is_empty() {
                let _ = writeln!(text, "{}", reply.message);
            }
            text
        })
    }
}

/// `pillory off`
#[derive(Debug, clap::Args)]
pub(crate) struct Off {
    /// Switch on again by itself after this time.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_span)]
    span: Option<Span>,
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    state: offline::State,
}

impl Off {
    pub(crate) fn run(&self) -> Outcome {
        let request = Request::Off { span: self.span };
        let reply = self.client.ask_or_else(&request, |gone| self.state.off(self.span, gone))?;
        say(&self.client, reply)
    }
}

/// `pillory on`
#[derive(Debug, clap::Args)]
pub(crate) struct On {
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    state: offline::State,
}

impl On {
    pub(crate) fn run(&self) -> Outcome {
        let reply = self.client.ask_or_else(&Request::On, |gone| self.state.on(gone))?;
        say(&self.client, reply)
    }
}

/// `pillory reload`
#[derive(Debug, clap::Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    client: Client,
}

impl Reload {
    pub(crate) fn run(&self) -> Outcome {
        say(&self.client, self.client.ask(&Request::Reload)?)
    }
}

/// Answers that are words only.
fn say(client: &Client, reply: Reply) -> Outcome {
    let value = serde_json::json!({"done": reply.exit == 0, "message": reply.message});
    client.show(&Reply { value, ..reply }, |value| format!("{}\n", word(&value["message"])))
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
            let state = if bans.is_empty() { "is not banned" } else { "is banned" };
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

/// RFC 3339 as JSON carries it.
pub(super) fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|stamp| Timestamp::from_millis(stamp.as_millisecond()))
}
