//! Commands that order the running daemon: `ban`, `unban`, `off`, `on`, `reload`.

use std::fmt::Write;

use serde_json::Value;

use pillory_core::time::BanTime;

use crate::control::client::ask_once;
use crate::control::{BanOptions, BanOrder, Request, short};

use super::client::{JailArgument, caller, parse_bantime, say, word};
use super::rows::local;
use super::{Client, Failure, Outcome, addresses, exit, offline, pieces, red, whois};

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
    #[arg(long = "for", alias = "bantime", value_name = "DURATION", default_value = "1d", value_parser = parse_bantime, allow_hyphen_values = true)]
    bantime: BanTime,
    /// Why; shown by `list` and `explain`.
    #[arg(long, default_value = "by hand")]
    reason: String,
    /// Ban even who is never banned and what would lock the owner out.
    #[arg(long)]
    force: bool,
    /// Ban the whole network in which the address is registered; it is shown first. See `[rdap]` of the configuration.
    #[arg(long)]
    net: bool,
    /// Do not ask whether that network is to be banned.
    #[arg(long, requires = "net")]
    yes: bool,
    #[command(flatten)]
    registry: whois::Registry,
    #[command(flatten)]
    client: Client,
}

impl Ban {
    pub(crate) fn run(&self) -> Outcome {
        let mut prefixes = addresses::read(&self.prefixes)?;
        if self.net {
            prefixes = whois::networks(&self.registry, &self.client, &prefixes, self.yes)?;
        }
        let orders = prefixes
            .into_iter()
            .map(|prefix| BanOrder { prefix, reason: self.reason.clone(), listed: None, kept: None })
            .collect();
        let options = BanOptions {
            jail: self.jail.as_ref().map(|jail| jail.0.clone()),
            bantime: self.bantime,
            force: self.force,
            import: false,
            dry_run: false,
            caller: caller(),
        };
        let nobody = |_: Vec<BanOrder>, gone: &offline::Gone| Err(Failure::new(exit::UNREACHABLE, &gone.why));
        let reply = pieces::ban(&self.client, orders, &options, nobody)?;
        self.client.show(&reply, |value| ban_text(value, self.bantime))
    }
}

/// What became of bans that were ordered for so long.
pub(crate) fn ban_text(value: &Value, bantime: BanTime) -> String {
    let mut text = String::new();
    let kept = value["kept"].as_array().map_or(&[][..], Vec::as_slice);
    for prefix in value["banned"].as_array().into_iter().flatten() {
        let _ = match kept.iter().find(|kept| kept["prefix"] == *prefix) {
            None if bantime == BanTime::Forever => writeln!(text, "banned {} forever", short(prefix)),
            None => writeln!(text, "banned {} for {bantime}", short(prefix)),
            Some(kept) => {
                let until = match kept["until"].is_null() {
                    true => "forever".to_owned(),
                    false => format!("until {}", local(&kept["until"])),
                };
                let cure = "`pillory unban` it first to shorten that";
                writeln!(text, "{} is banned {until} already; {cure}", short(prefix))
            }
        };
    }
    if value["enforcing"] == false && value["changed"] != 0 {
        let _ = writeln!(text, "{} nothing is enforced now (see `pillory status`)", red("warning:"));
    }
    for kept in value["never_banned"].as_array().into_iter().flatten() {
        let short = short(&kept["prefix"]);
        let _ = writeln!(
            text,
            "{} {short}: {}; forced all the same: {}; `pillory unban {short}` lifts it",
            red("warning:"),
            word(&kept["why"]),
            word(&kept["does"])
        );
    }
    for refused in value["refused"].as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "refused {}: {}; --force bans it all the same",
            short(&refused["prefix"]),
            word(&refused["why"])
        );
    }
    text
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
        let prefixes = if self.all { None } else { Some(addresses::read(&self.prefixes)?) };
        let jail = self.jail.as_ref().map(|jail| jail.0.clone());
        let request = Request::Unban { prefixes, jail };
        let reply = self.client.ask_or_else(&request, |gone| match &request {
            Request::Unban { prefixes, jail } => self.state.unban(prefixes.as_deref(), jail.as_ref(), gone),
            _ => Err(Failure::new(exit::UNREACHABLE, &gone.why)),
        })?;
        let outcome = self.client.show(&reply, unban_text);
        match &self.jail {
            // Without a daemon nobody knows which jails there are.
            Some(jail) if reply.exit == exit::NO && self.client.ask(&Request::Status).is_ok() => {
                self.client.known_jail(jail.0.as_str()).and(outcome)
            }
            _ => outcome,
        }
    }
}

/// What became of bans that were to be lifted.
pub(crate) fn unban_text(value: &Value) -> String {
    let lifted = value["unbanned"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = String::new();
    for ban in lifted {
        let _ = writeln!(text, "unbanned {} ({})", short(&ban["prefix"]), word(&ban["jail"]));
    }
    let identities = value["identities"].as_array().map_or(&[][..], Vec::as_slice);
    for ban in identities {
        let _ = writeln!(text, "unbanned {} ({})", word(&ban["id"]), word(&ban["jail"]));
    }
    if lifted.is_empty() && identities.is_empty() {
        text.push_str("nothing of this was banned\n");
    }
    for ban in value["still_banned_by"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "still banned by {} ({})", short(&ban["prefix"]), word(&ban["jail"]));
    }
    text.push_str(&inside_text(value));
    text
}

/// So many bans inside a network are named.
const INSIDE: usize = 5;

/// Bans inside a network that was unbanned, and how to lift them.
fn inside_text(value: &Value) -> String {
    let inside = value["still_banned_inside"].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = String::new();
    let named: Vec<String> = inside.iter().take(INSIDE).map(|ban| short(&ban["prefix"])).collect();
    for (who, ban) in named.iter().zip(inside) {
        let _ = writeln!(text, "inside it {who} is banned ({})", word(&ban["jail"]));
    }
    if inside.len() > INSIDE {
        let _ = writeln!(text, "and {} more; `pillory list` names them", inside.len() - INSIDE);
    }
    if !named.is_empty() {
        let _ = writeln!(text, "each has a ban of its own: `pillory unban {}` lifts it", named.join(" "));
    }
    text
}

/// `pillory off`
#[derive(Debug, clap::Args)]
pub(crate) struct Off {
    /// Switch on again by itself after this time; `forever` means until `on`, as without it.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_bantime, allow_hyphen_values = true)]
    span: Option<BanTime>,
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    state: offline::State,
}

impl Off {
    pub(crate) fn run(&self) -> Outcome {
        let span = match self.span {
            Some(BanTime::For(span)) => Some(span),
            Some(BanTime::Forever) | None => None,
        };
        let reply = self.client.ask_or_else(&Request::Off { span }, |gone| self.state.off(span, gone))?;
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
        let reply = ask_once(&self.client.control, &Request::Reload)?;
        if reply.exit != 0 && !self.client.json {
            return Err(Failure::new(reply.exit, reply.message));
        }
        say(&self.client, reply)
    }
}
