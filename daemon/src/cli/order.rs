//! Commands that order the running daemon: `ban`, `unban`, `off`, `on`, `reload`.

use std::fmt::Write;

use pillory_core::net::Prefix;
use pillory_core::time::{BanTime, Span};

use crate::control::{BanOptions, BanOrder, Reply, Request};

use super::client::{JailArgument, NO_TIME, caller, parse_bantime, word};
use super::{Client, Failure, Outcome, exit, offline, red};

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
            let kept = value["kept"].as_array().map_or(&[][..], Vec::as_slice);
            for prefix in value["banned"].as_array().into_iter().flatten() {
                let _ = match kept.iter().find(|kept| kept["prefix"] == *prefix) {
                    None => writeln!(text, "banned {} for {}", word(prefix), self.bantime),
                    Some(kept) => {
                        let until =
                            kept["until"].as_str().map_or("forever".to_owned(), |at| format!("until {at}"));
                        let cure = "`pillory unban` it first to shorten that";
                        writeln!(text, "{} is banned {until} already; {cure}", word(prefix))
                    }
                };
            }
            if value["enforcing"] == false && value["changed"] != 0 {
                let _ = writeln!(text, "{} nothing is enforced now (see `pillory status`)", red("warning:"));
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

fn parse_span(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    if span.millis() == 0 { Err(NO_TIME.to_owned()) } else { Ok(span) }
}
