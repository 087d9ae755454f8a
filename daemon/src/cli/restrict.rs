//! `pillory restrict`: who may connect to a port, and a proposal from the good logins in the store.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::actions::Port;
use crate::clock;
use crate::control::{Reply, Request, stamp};
use crate::discover::{self, Places};
use crate::ports;
use crate::store::query::Wanted;

use super::client::{parse_time, word};
use super::configfile::load_config;
use super::rows::parse_moment;
use super::{Client, Failure, Outcome, count, exit};

/// `pillory restrict`
#[derive(Debug, clap::Args)]
pub(crate) struct Restrict {
    /// The service, such as ssh; without --suggest its section of the configuration.
    name: String,
    /// Propose a section from the good logins.
    #[arg(long)]
    suggest: bool,
    /// Logins since then: a date, or how long ago.
    #[arg(long, value_name = "T", default_value = "90d", value_parser = parse_moment)]
    since: Timestamp,
    /// Configuration file, for the ports of the service; default /etc/pillory/pillory.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: Client,
}

impl Restrict {
    pub(crate) fn run(&self) -> Outcome {
        if !self.suggest {
            return self.show();
        }
        let logins = self.logins()?;
        let Some(first) = logins.iter().map(|(at, _)| *at).min() else {
            let said = format!(
                "no good login of {} is known since {}; nothing can be proposed",
                self.name,
                clock::told(self.since)
            );
            return Err(Failure::new(exit::NO, said));
        };
        let addresses: Vec<IpAddr> = logins.iter().map(|(_, addr)| *addr).collect();
        let networks = networks(&addresses);
        let value = json!({"name": self.name, "port": self.ports()?, "logins": logins.len(), "known_since": stamp(first),
            "networks": networks.iter().map(|(prefix, logins)| json!({"prefix": prefix.to_string(), "logins": logins})).collect::<Vec<_>>()});
        let known = Known { since: first, now: crate::clock::now(), asked: self.since };
        self.client.show(&Reply::data(value), |value| proposal(value, known, &networks))
    }

    fn show(&self) -> Outcome {
        let mut reply = self.client.ask(&Request::Status)?;
        let mut all = reply.value["restricted"].take();
        if let Some(all) = all.as_array_mut() {
            all.retain(|one| one["name"] == self.name.as_str());
        }
        if all.as_array().is_none_or(Vec::is_empty) {
            let said = format!(
                "{} is not restricted: everybody may connect; `pillory restrict {} --suggest` proposes who should",
                self.name, self.name
            );
            return Err(Failure::new(exit::NO, said));
        }
        self.client.show(&Reply::data(all), restricted_text)
    }

    /// When each good login was, and from where it came.
    fn logins(&self) -> Result<Vec<(Timestamp, IpAddr)>, Failure> {
        let mut found = Vec::new();
        for jail in self.jails() {
            let wanted =
                Wanted { since: Some(self.since), jail: Some(jail), logins_only: true, ..Wanted::default() };
            let reply = self.client.ask(&Request::Attempts(wanted, false))?;
            let rows = reply.value.as_array().into_iter().flatten();
            found.extend(rows.filter_map(|row| {
                Some((parse_time(row["time"].as_str()?)?, row["ip"].as_str()?.parse::<IpAddr>().ok()?))
            }));
        }
        Ok(found)
    }

    /// Whoever says ssh means the jail sshd.
    fn jails(&self) -> [String; 2] {
        [self.name.clone(), format!("{}d", self.name)]
    }

    /// The service's ports as the configuration or its sockets tell; else its name, which may be one.
    fn ports(&self) -> Result<Vec<String>, Failure> {
        let config = load_config(self.config.as_deref())?;
        let (active, _) = discover::active_jails(&config, &Places::host());
        let known = ports::of_jails(&active).0;
        let jails = self.jails();
        let found = known
            .into_iter()
            .find(|(jail, ports)| jails.iter().any(|name| name == jail.as_str()) && !ports.is_empty());
        Ok(found.map_or_else(|| vec![self.name.clone()], |(_, ports)| ports.iter().map(port_text).collect()))
    }
}

fn port_text(port: &Port) -> String {
    const UDP: u8 = 17;
    let (low, high) = port.range;
    let number = if low == high { low.to_string() } else { format!("{low}-{high}") };
    if port.protocol == UDP { format!("{number}/udp") } else { number }
}

/// Networks that hold all logins, with how many each, the most first: an IPv4 address by itself, or its /24 if others of
/// it logged in too; of IPv6 always the /64, in which addresses change by themselves.
fn networks(logins: &[IpAddr]) -> Vec<(Prefix, usize)> {
    let wide = |addr: &IpAddr| Prefix::host(*addr).widened(if addr.is_ipv4() { 24 } else { 64 });
    let mut groups: BTreeMap<Prefix, (BTreeSet<IpAddr>, usize)> = BTreeMap::new();
    for addr in logins {
        let (members, logins) = groups.entry(wide(addr)).or_default();
        members.insert(*addr);
        *logins += 1;
    }
    let narrow = |(network, (members, logins)): (Prefix, (BTreeSet<IpAddr>, usize))| match members.first() {
        Some(IpAddr::V4(only)) if members.len() == 1 => (Prefix::host(IpAddr::V4(*only)), logins),
        _ => (network, logins),
    };
    let mut found: Vec<(Prefix, usize)> = groups.into_iter().map(narrow).collect();
    found.sort_by_key(|(prefix, logins)| (std::cmp::Reverse(*logins), *prefix));
    found
}

/// How far back logins are known: those of the 30 days before the first start were learnt, older ones
/// are not known at all, whatever was asked for.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The first login that is known.
    since: Timestamp,
    now: Timestamp,
    /// Since when they were asked for.
    asked: Timestamp,
}

impl Known {
    fn days(self) -> u64 {
        self.now.since(self.since).secs().div_ceil(DAY)
    }
}

const DAY: u64 = 86_400;

/// A text that is TOML, what is said in it is comments.
fn proposal(value: &Value, known: Known, networks: &[(Prefix, usize)]) -> String {
    let logins = value["logins"].as_u64().unwrap_or(0);
    let places = count(networks.len() as u64, "network");
    let first = jiff::Timestamp::from_millisecond(known.since.millis()).unwrap_or_default();
    let (date, days) = (first.to_zoned(clock::zone()).strftime("%Y-%m-%d"), known.days());
    let mut text =
        format!("# all {} since {date} ({days} d known) came from {places}\n", count(logins, "good login"));
    let asked = known.now.since(known.asked).secs().div_ceil(DAY);
    let _ = match days < asked {
        true => writeln!(text, "# no login of before that is known, though {asked} days were asked for:"),
        false => Ok(()),
    };
    text.push_str("# whoever comes more rarely than that is left out and could not connect any more\n");
    for (prefix, logins) in networks {
        let _ = writeln!(text, "# {logins:>6}  {}", prefix.short());
    }
    let quoted = |texts: &mut dyn Iterator<Item = String>| {
        texts.map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
    };
    let ports = quoted(&mut value["port"].as_array().into_iter().flatten().map(word));
    let allow = quoted(&mut networks.iter().map(|(prefix, _)| prefix.short()));
    let _ = write!(
        text,
        "# put it into the configuration, add whoever else shall come in,\n\
         # and run it with `pillory apply {}`\n\
         [restrict.{}]\nport = [{ports}]\nallow = [{allow}]\n",
        super::configfile::DEFAULT_CONFIG,
        word(&value["name"])
    );
    text
}

/// `restricted: ssh (port 22) to 192.0.2.0/24, home.example.net and who is never banned`, a line each.
pub(super) fn restricted_text(all: &Value) -> String {
    let mut text = String::new();
    for one in all.as_array().into_iter().flatten() {
        let list =
            |key: &str| one[key].as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(", ");
        let known = list("prefixes");
        let at = if known == list("allow") { String::new() } else { format!(" (now {known})") };
        let (name, ports) = (word(&one["name"]), list("port"));
        let _ = writeln!(
            text,
            "restricted: {name} (port {ports}) to {}{at} and who is never banned",
            list("allow")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str]) -> Vec<(String, usize)> {
        let logins: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
        networks(&logins).into_iter().map(|(prefix, logins)| (prefix.short(), logins)).collect()
    }

    #[test]
    fn one_address_stands_for_itself_and_several_for_their_network() {
        let logins = ["192.0.2.7", "192.0.2.9", "192.0.2.7", "203.0.113.9", "2001:db8::1", "203.0.113.9"];
        let expected = [("192.0.2.0/24", 3), ("203.0.113.9", 2), ("2001:db8::/64", 1)];
        assert_eq!(found(&logins), expected.map(|(text, logins)| (text.to_owned(), logins)));
    }

    #[test]
    fn a_proposal_is_a_configuration_that_reads() {
        let networks = [("192.0.2.0/24".parse().unwrap(), 200), ("203.0.113.9".parse().unwrap(), 12)];
        let value = json!({"name": "ssh", "port": ["22"], "logins": 212});
        let at = |day: i64| Timestamp::from_secs(1_790_000_000 + day * 86_400);
        let known = Known { since: at(60), now: at(90), asked: at(0) };
        let text = proposal(&value, known, &networks);
        clock::simulated::set_zone(1);
        let date = "2026-11-20";
        let first = format!("# all 212 good logins since {date} (30 d known) came from 2 networks\n");
        assert!(text.starts_with(&first), "{text}");
        assert!(text.contains("no login of before that is known, though 90 days were asked for"), "{text}");
        assert!(text.contains("whoever comes more rarely than that is left out"), "{text}");
        // What a terminal breaks is no comment any more where it goes on.
        let comments = || text.lines().filter(|line| line.starts_with('#'));
        assert!(comments().count() > 4 && comments().all(|line| line.len() <= 80), "{text}");
        let whole = proposal(&value, Known { asked: at(60), ..known }, &networks);
        assert!(!whole.contains("were asked for") && whole.contains("is left out"), "{whole}");
        let raw = pillory_core::config::raw::parse("x", &text).unwrap();
        let config = pillory_core::config::resolve::resolve(&raw).unwrap();
        assert_eq!(config.restrict[0].allow.len(), 2);
    }
}
