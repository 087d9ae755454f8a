//! What a ban brings into the commands: fail2ban's tags.

use pillory_core::event::Decision;
use pillory_core::filter::settings::Options;
use pillory_core::ledger::Ban;
use pillory_core::machine::{Evidence, IdentityBan};
use pillory_core::net::Prefix;
use pillory_core::time::{End, Timestamp};

use crate::names;

use super::lane::{Facts, Family};

/// A ban as commands are told of it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Whom it is of, as text.
    fid: String,
    /// The address, if there is one.
    addr: Option<Prefix>,
    /// From when.
    pub(crate) since: Timestamp,
    until: End,
    /// Failures that led to it.
    pub(crate) failures: u32,
}

impl From<&Ban> for Told {
    fn from(ban: &Ban) -> Told {
        let Decision { prefix, since, until, failures, .. } = *ban;
        Told { fid: prefix.short(), addr: Some(prefix), since, until, failures }
    }
}

impl From<&IdentityBan> for Told {
    fn from(ban: &IdentityBan) -> Told {
        let (addr, since, until) = (ban.addr, ban.since, ban.until);
        Told { fid: ban.id.to_string(), addr, since, until, failures: ban.failures }
    }
}

/// Failures and matched lines of several bans together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Merged {
    pub(crate) failures: u32,
    pub(crate) matches: Vec<String>,
}

/// What is known of a ban besides itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Background {
    /// The ban's number among those of its source, from 1.
    pub(crate) bancount: u32,
    /// The bans of its source that were told of within a day, by all jails and by this one; this ban included.
    pub(crate) merged: Option<(Merged, Merged)>,
    /// Counts of the jail: `jail.banned` and so on.
    pub(crate) jail: Vec<(&'static str, u64)>,
    /// It was in force before the daemon started.
    pub(crate) restored: bool,
}

impl Facts {
    /// The tags of a ban. `evidence`: what the filter saw, if that is known.
    pub(crate) fn new(ban: &Told, evidence: Option<&Evidence>, background: Background) -> Facts {
        let ip = ban.addr.map_or_else(|| ban.fid.clone(), |addr| addr.short());
        let family = ban.addr.map(|addr| if addr.is_ipv4() { "inet4" } else { "inet6" });
        let bantime =
            ban.until.remaining(ban.since).map_or_else(|| "-1".to_owned(), |span| span.secs().to_string());
        let matches = evidence.map(|evidence| evidence.matches.join("\n")).unwrap_or_default();
        let (all, of_jail) = background.merged.unwrap_or_else(|| {
            let own = Merged { failures: ban.failures, matches: vec![matches.clone()] };
            (own.clone(), own)
        });
        let mut tags = vec![
            ("ip", ip),
            ("fid", ban.fid.clone()),
            ("ip-rev", ban.addr.map(|addr| names::reversed(addr.addr())).unwrap_or_default()),
            ("family", family.unwrap_or_default().to_owned()),
            ("failures", ban.failures.to_string()),
            ("ipfailures", all.failures.to_string()),
            ("ipjailfailures", of_jail.failures.to_string()),
            ("time", time(ban.since)),
            ("bantime", bantime),
            ("bancount", background.bancount.to_string()),
            ("matches", matches),
            ("ipmatches", all.matches.join("\n")),
            ("ipjailmatches", of_jail.matches.join("\n")),
            ("restored", u8::from(background.restored).to_string()),
        ];
        tags.extend(background.jail.into_iter().map(|(name, count)| (name, count.to_string())));
        let captures = evidence.map_or(&[][..], |evidence| &evidence.captures);
        Facts {
            family,
            addr: ban.addr.map(|addr| addr.addr()),
            tags: tags.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            captures: captures.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            restored: background.restored,
        }
    }
}

/// The tags of a command that is run for nobody: `actionstart` and the like.
pub(super) fn of_nobody(family: Family, now: Timestamp) -> Options {
    let nothing = ["ip", "fid", "ip-rev", "ip-host", "matches", "ipmatches", "ipjailmatches"];
    let none = ["failures", "ipfailures", "ipjailfailures", "bancount", "restored"];
    let texts = nothing.map(|name| (name, String::new())).into_iter();
    let counts = none.map(|name| (name, "0".to_owned())).into_iter();
    let own = [("family", family.unwrap_or_default().to_owned()), ("time", time(now))];
    texts.chain(counts).chain(own).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Seconds, with a fraction in any case.
fn time(at: Timestamp) -> String {
    format!("{:?}", at.millis() as f64 / 1000.0)
}
