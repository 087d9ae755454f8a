//! What a ban brings into the commands: fail2ban's tags.

use std::net::IpAddr;

use pillory_core::ledger::Ban;
use pillory_core::machine::{Evidence, IdentityBan};
use pillory_core::net::Prefix;
use pillory_core::time::{End, Timestamp};

use super::lane::{Facts, Family};

/// What every ban has, whoever is banned.
struct Told {
    who: String,
    reversed: String,
    family: Family,
    since: Timestamp,
    until: End,
    failures: u32,
    earlier: u32,
}

impl Facts {
    /// The tags of a ban. `evidence`: what the filter saw, if that is known; `earlier`: how many bans went before.
    pub(crate) fn new(ban: &Ban, evidence: Option<&Evidence>, earlier: u32, restored: bool) -> Facts {
        let told = Told {
            who: ban.prefix.short(),
            reversed: reversed(ban.prefix),
            family: Some(if ban.prefix.is_ipv4() { "inet4" } else { "inet6" }),
            since: ban.since,
            until: ban.until,
            failures: ban.failures,
            earlier,
        };
        Facts::told(told, evidence, restored)
    }

    /// The tags of a ban of whom no address names.
    pub(crate) fn of_identity(ban: &IdentityBan, evidence: Option<&Evidence>, restored: bool) -> Facts {
        let told = Told {
            who: ban.id.to_string(),
            reversed: String::new(),
            family: None,
            since: ban.since,
            until: ban.until,
            failures: ban.failures,
            earlier: 0,
        };
        Facts::told(told, evidence, restored)
    }

    fn told(ban: Told, evidence: Option<&Evidence>, restored: bool) -> Facts {
        let bantime =
            ban.until.remaining(ban.since).map_or_else(|| "-1".to_owned(), |span| span.secs().to_string());
        let matches = evidence.map(|evidence| evidence.matches.join("\n")).unwrap_or_default();
        let failures = ban.failures.to_string();
        let time = ban.since.millis().div_euclid(1000).to_string();
        let tags = [
            ("ip", ban.who.clone()),
            ("fid", ban.who.clone()),
            ("ip-host", ban.who),
            ("ip-rev", ban.reversed),
            ("family", ban.family.unwrap_or_default().to_owned()),
            ("failures", failures.clone()),
            ("ipfailures", failures.clone()),
            ("ipjailfailures", failures),
            ("time", time),
            ("bantime", bantime),
            ("bancount", ban.earlier.to_string()),
            ("matches", matches.clone()),
            ("ipmatches", matches.clone()),
            ("ipjailmatches", matches),
            ("restored", u8::from(restored).to_string()),
        ];
        let captures = evidence.map_or(&[][..], |evidence| &evidence.captures);
        Facts {
            family: ban.family,
            tags: tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            captures: captures.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            restored,
        }
    }
}

/// The address as names of reverse lookups begin: `7.2.0.192.`
fn reversed(prefix: Prefix) -> String {
    match prefix.addr() {
        IpAddr::V4(addr) => addr.octets().iter().rev().map(|octet| format!("{octet}.")).collect(),
        IpAddr::V6(addr) => {
            let nibbles = addr.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            nibbles.rev().map(|nibble| format!("{nibble:x}.")).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_reversed_for_name_servers() {
        assert_eq!(reversed("192.0.2.7".parse().unwrap()), "7.2.0.192.");
        let reversed = reversed("2001:db8::1".parse().unwrap());
        assert!(reversed.starts_with("1.0.0.0.") && reversed.ends_with("8.b.d.0.1.0.0.2."), "{reversed}");
    }
}
