//! Whose network an address is in, for `explain --whois` and `ban --net`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use pillory_core::config::outgoing::Rdap;
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::control::Request;
use crate::outgoing::outbox::Outbox;
use crate::rdap::{self, Network, RdapError};
use crate::store::query::Wanted;

use super::client::word;
use super::configfile::load_config;
use super::{Client, Failure, STATE_DIR, complain, count, exit, print};

/// So many good logins are shown.
const SHOWN: usize = 10;

/// Which registry is asked, and where its answers are remembered.
#[derive(Debug, clap::Args)]
pub(crate) struct Registry {
    /// The configuration, which may name another registry.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where state is kept; what a registry answered is remembered there.
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    state_dir: PathBuf,
}

impl Registry {
    /// Asks, or remembers.
    pub(super) fn network(&self, addr: IpAddr) -> Result<Network, Failure> {
        self.ask(addr, rdap::network)
    }

    /// Asks, whatever is remembered.
    fn network_anew(&self, addr: IpAddr) -> Result<Network, Failure> {
        self.ask(addr, rdap::network_anew)
    }

    fn ask(
        &self,
        addr: IpAddr,
        how: impl Fn(&Rdap, IpAddr, Option<&Outbox>, Timestamp) -> Result<Network, RdapError>,
    ) -> Result<Network, Failure> {
        let config = load_config(self.config.as_deref())?;
        // Who may not write there asks each time.
        let cache = Outbox::open_if_there(&self.state_dir).ok().flatten();
        how(&config.outgoing.rdap, addr, cache.as_ref(), clock::now())
            .map_err(|error| Failure::new(exit::NO, error.to_string()))
    }
}

/// As `--json` shows it.
pub(super) fn value(network: &Network) -> Value {
    let prefixes: Vec<String> = network.prefixes().iter().map(ToString::to_string).collect();
    json!({"first": network.first, "last": network.last, "prefixes": prefixes, "name": network.name,
        "handle": network.handle, "holder": network.holder, "country": network.country, "abuse": network.abuse})
}

/// The same for people; nothing if nobody asked.
pub(super) fn text(value: &Value) -> String {
    if !value.is_object() {
        return String::new();
    }
    let mut text = "\nregistered\n".to_owned();
    let prefixes = value["prefixes"].as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(" ");
    let rows = [
        ("network", format!("{} - {} ({prefixes})", word(&value["first"]), word(&value["last"]))),
        ("name", named(value)),
        ("holder", said(&value["holder"])),
        ("abuse contact", said(&value["abuse"])),
    ];
    for (name, said) in rows {
        let _ = writeln!(text, "  {name:<14}{said}");
    }
    text
}

fn said(value: &Value) -> String {
    if value.is_null() { "not named".to_owned() } else { word(value) }
}

fn named(value: &Value) -> String {
    let parts = ["name", "handle", "country"].map(|key| &value[key]);
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_null()).map(word).collect();
    if parts.is_empty() { "not named".to_owned() } else { parts.join(", ") }
}

/// The networks in which these addresses are registered, once somebody has seen them and said yes.
pub(super) fn networks(
    registry: &Registry,
    client: &Client,
    prefixes: &[Prefix],
    is_sure: bool,
) -> Result<Vec<Prefix>, Failure> {
    if let Some(wide) = prefixes.iter().find(|prefix| !prefix.is_host()) {
        let said = format!("{wide} is a network already; --net takes addresses");
        return Err(Failure::new(exit::USAGE, said));
    }
    let mut all: BTreeSet<Prefix> = BTreeSet::new();
    let mut shown = String::new();
    for prefix in prefixes {
        let network = registry.network_anew(prefix.addr())?;
        let new: Vec<Prefix> = network.prefixes().into_iter().filter(|net| !all.contains(net)).collect();
        if new.is_empty() {
            continue;
        }
        shown.push_str(&about(prefix.addr(), &network));
        shown.push_str(&logins(client, &new)?);
        all.extend(new);
    }
    // Beside the answer, which may be JSON.
    complain(shown.trim_end());
    if is_sure || is_confirmed()? {
        return Ok(all.into_iter().collect());
    }
    Err(Failure::new(exit::NO, "nothing was banned"))
}

fn about(addr: IpAddr, network: &Network) -> String {
    let noun = if addr.is_ipv4() { "addresses" } else { "IPv6 /64s" };
    let prefixes: Vec<String> = network.prefixes().iter().map(ToString::to_string).collect();
    let holder = network.holder.as_deref().or(network.name.as_deref()).unwrap_or("somebody who is not named");
    format!(
        "{addr} is in {} ({} {noun}), held by {}\n",
        prefixes.join(" "),
        network.size(),
        crate::escape::escape(holder)
    )
}

/// The good logins from these networks that the store knows.
fn logins(client: &Client, networks: &[Prefix]) -> Result<String, Failure> {
    let mut places: BTreeSet<(String, String)> = BTreeSet::new();
    let mut number = 0;
    for network in networks {
        let wanted = Wanted { prefixes: vec![*network], logins_only: true, ..Wanted::default() };
        let reply = client.ask(&Request::Attempts(wanted, false))?;
        for row in reply.value.as_array().into_iter().flatten() {
            number += 1;
            places.insert((
                word(&row["ip"]),
                if row["user"].is_null() { "-".to_owned() } else { word(&row["user"]) },
            ));
        }
    }
    if places.is_empty() {
        return Ok("no good login from there is kept\n".to_owned());
    }
    let mut text = format!("{} from there:\n", count(number, "good login"));
    for (ip, user) in places.iter().take(SHOWN) {
        let _ = writeln!(text, "  {ip:<40}{user}");
    }
    if places.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", places.len() - SHOWN);
    }
    Ok(text)
}

/// Asks on the terminal.
fn is_confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        let said = "nobody can be asked here whether that is to be banned; --yes bans it";
        return Err(Failure::new(exit::USAGE, said));
    }
    print("ban all of it? [y/N] ")?;
    let _ = std::io::stdout().flush();
    Ok(answered()? == Said::Yes)
}

/// What somebody says to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Yes,
    No,
    /// Enter, or what is neither.
    Neither,
    /// The input has ended.
    Over,
}

/// What is said at standard input.
pub(super) fn answered() -> Result<Said, Failure> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let read =
        read.map_err(|error| Failure::new(exit::NO, format!("cannot read standard input: {error}")))?;
    Ok(match line.trim().to_ascii_lowercase().as_str() {
        _ if read == 0 => Said::Over,
        "y" | "yes" => Said::Yes,
        "n" | "no" => Said::No,
        _ => Said::Neither,
    })
}
