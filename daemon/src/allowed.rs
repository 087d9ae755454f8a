//! Who is never banned: what this host knows of itself, what the configuration lists, and what was allowed while the
//! daemon runs (`pillory allow`), which the store keeps.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use pillory_core::config::{Config, keys};
use pillory_core::jail::never::{NeverBan, Why};
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::control::stamp;
use crate::engine::jails::Facts;
use crate::names::same_name;

/// Name of the setting that keeps who was allowed.
pub(crate) const META_ALLOWED: &str = "allowed";

/// At most so many entries are kept.
const MOST: usize = 1_000;

/// An address, a network, or whoever a DNS name leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Who {
    /// These addresses.
    Prefix(Prefix),
    /// The addresses of this name, wherever it moves.
    Name(String),
}

impl FromStr for Who {
    type Err = String;
    fn from_str(text: &str) -> Result<Who, String> {
        match text.parse::<Prefix>() {
            Ok(prefix) if prefix.prefix_len() == 0 => {
                Err(format!("{text} is every address there is; to enforce nothing use `pillory off`"))
            }
            Ok(prefix) => Ok(Who::Prefix(prefix)),
            Err(_) if keys::is_host_name(text) => Ok(Who::Name(text.to_owned())),
            Err(error) => Err(format!("{error}, or a DNS name")),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Prefix(prefix) => f.write_str(&prefix.short()),
            Who::Name(name) => f.write_str(name),
        }
    }
}

impl Who {
    /// The name, if it is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Who::Prefix(_) => None,
            Who::Name(name) => Some(name),
        }
    }

    fn is(&self, other: &Who) -> bool {
        match (self, other) {
            (Who::Name(one), Who::Name(other)) => same_name(one, other),
            (one, other) => one == other,
        }
    }

    /// Its addresses as they are known now.
    fn prefixes(&self, named: &[(String, IpAddr)]) -> Vec<Prefix> {
        match self {
            Who::Prefix(prefix) => vec![*prefix],
            Who::Name(name) => addresses(name, named).collect(),
        }
    }
}

/// The addresses of a name among those that are known.
pub(crate) fn addresses<'a>(
    name: &'a str,
    named: &'a [(String, IpAddr)],
) -> impl Iterator<Item = Prefix> + 'a {
    named.iter().filter(move |(known, _)| same_name(known, name)).map(|(_, addr)| Prefix::host(*addr))
}

/// One that was allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    who: Who,
    since: Timestamp,
    /// Nothing means until it is removed.
    until: Option<Timestamp>,
}

/// Everybody who was allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Allowed {
    entries: Vec<Entry>,
}

impl Allowed {
    /// From what [`META_ALLOWED`] keeps.
    pub(crate) fn restored(kept: Option<&str>, now: Timestamp) -> Allowed {
        let mut allowed: Allowed = kept.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        allowed.expire(now);
        allowed
    }

    /// What [`META_ALLOWED`] keeps.
    pub(crate) fn kept(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Allows somebody until then, or anew; false if there is no room.
    pub(crate) fn add(&mut self, who: Who, since: Timestamp, until: Option<Timestamp>) -> bool {
        self.remove(&who);
        let has_room = self.entries.len() < MOST;
        if has_room {
            self.entries.push(Entry { who, since, until });
        }
        has_room
    }

    /// Allows somebody no longer; false if nobody like that was allowed.
    pub(crate) fn remove(&mut self, who: &Who) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| !entry.who.is(who));
        self.entries.len() < before
    }

    /// Ends what is over; returns who that was.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Who> {
        let is_over = |entry: &mut Entry| entry.until.is_some_and(|until| until <= now);
        self.entries.extract_if(.., is_over).map(|entry| entry.who).collect()
    }

    /// When the next ends.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        self.entries.iter().filter_map(|entry| entry.until).min()
    }

    /// As `status` lists them.
    pub(crate) fn listed(&self, named: &[(String, IpAddr)]) -> Value {
        let entries = self.entries.iter().map(|entry| {
            let prefixes: Vec<String> = entry.who.prefixes(named).iter().map(ToString::to_string).collect();
            json!({"who": entry.who.to_string(), "prefixes": prefixes, "since": stamp(entry.since),
                "until": entry.until.map(stamp)})
        });
        Value::Array(entries.collect())
    }
}

/// Every DNS name that has to be followed.
pub(crate) fn names(config: &Config, allowed: &Allowed) -> Vec<String> {
    let named = allowed.entries.iter().filter_map(|entry| match &entry.who {
        Who::Name(name) => Some(name),
        Who::Prefix(_) => None,
    });
    let restricted = config.restrict.iter().flat_map(|restriction| &restriction.allow_names);
    config.ignoreip_names.iter().chain(named).chain(restricted).cloned().collect()
}

/// Who is never banned.
pub(crate) fn never(config: &Config, allowed: &Allowed, facts: &Facts) -> NeverBan {
    let mut all = facts.never.clone();
    all.extend(config.ignoreip.iter().map(|prefix| (*prefix, Why::Ignoreip)));
    all.extend(config.trusted_proxies.iter().map(|prefix| (*prefix, Why::TrustedProxy)));
    let listed = config.ignoreip_names.iter().flat_map(|name| addresses(name, &facts.named));
    all.extend(listed.map(|prefix| (prefix, Why::Ignoreip)));
    let allowed = allowed.entries.iter().flat_map(|entry| entry.who.prefixes(&facts.named));
    all.extend(allowed.map(|prefix| (prefix, Why::Allowed)));
    NeverBan::new(all).with_networks(facts.networks.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn who(text: &str) -> Who {
        text.parse().unwrap()
    }

    #[test]
    fn an_entry_is_renewed_ends_and_outlives_a_restart() {
        let mut allowed = Allowed::default();
        assert!(allowed.add(who("192.0.2.7"), at(0), Some(at(10))));
        assert!(allowed.add(who("192.0.2.7"), at(1), Some(at(20))));
        assert!(allowed.add(who("Home.example.net."), at(1), None));
        assert_eq!(allowed.next_end(), Some(at(20)));
        assert_eq!(Allowed::restored(Some(&allowed.kept()), at(19)), allowed);
        assert_eq!(allowed.expire(at(20)), [who("192.0.2.7")]);
        assert!(allowed.remove(&who("home.example.net")) && !allowed.remove(&who("home.example.net")));
        assert_eq!(Allowed::restored(Some("garbage"), at(0)), Allowed::default());
    }

    #[test]
    fn a_name_is_where_it_is_known_to_be() {
        let mut allowed = Allowed::default();
        allowed.add(who("home.example.net"), at(0), None);
        let config = pillory_core::config::resolve::default_config();
        let named = vec![("home.example.net".to_owned(), "192.0.2.7".parse().unwrap())];
        let mut facts = Facts { named, ..Facts::default() };
        let home = "192.0.2.7".parse::<Prefix>().unwrap();
        assert_eq!(never(&config, &allowed, &facts).reasons(home), [(home, Why::Allowed)]);
        facts.named.clear();
        assert!(never(&config, &allowed, &facts).reasons(home).is_empty());
        assert_eq!(names(&config, &allowed), ["home.example.net"]);
    }

    #[test]
    fn everybody_is_nobody_to_be_allowed() {
        for text in ["0.0.0.0/0", "::/0", "192.0.2.300", "", "a b"] {
            assert!(text.parse::<Who>().is_err(), "{text}");
        }
    }
}
