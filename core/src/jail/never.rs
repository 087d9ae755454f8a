//! The never-ban set: who is never shut out, and why.
//!
//! It is checked when a jail decides, and subtracted again when the ledger is projected onto the kernel.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::net::{Prefix, PrefixSet, never_an_attacker};

/// Why a prefix is never banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Loopback, multicast, link-local and the like.
    Reserved,
    /// An address of this host.
    Own,
    /// A default gateway.
    Gateway,
    /// A name server that this host asks.
    Resolver,
    /// Listed in `ignoreip`.
    Ignoreip,
    /// Allowed by `pillory allow`.
    Allowed,
    /// Listed in `trusted_proxies`.
    TrustedProxy,
    /// Most of a web log's good traffic comes from it.
    PresumedProxy,
    /// The far end of an authenticated session that is open now.
    Session,
}

impl Why {
    /// What a forced ban does to it, in words.
    pub fn when_banned(self) -> &'static str {
        match self {
            Why::Reserved | Why::Own => "what runs on this host may no longer reach itself by it",
            Why::Gateway => "what the gateway itself sends is dropped, its answers to neighbours included",
            Why::Resolver => "names can no longer be looked up there",
            Why::TrustedProxy | Why::PresumedProxy => "everybody who comes through it is shut out",
            Why::Ignoreip | Why::Allowed => "whoever comes from there is shut out",
            Why::Session => "the session is cut",
        }
    }

    /// In words, as `explain` and refusals say it.
    pub fn words(self) -> &'static str {
        match self {
            Why::Reserved => "a reserved range (loopback, link-local, multicast ..)",
            Why::Own => "an address of this host",
            Why::Gateway => "a default gateway of this host",
            Why::Resolver => "a name server of this host",
            Why::Ignoreip => "listed in ignoreip",
            Why::Allowed => "allowed by `pillory allow`",
            Why::TrustedProxy => "listed in trusted_proxies",
            Why::PresumedProxy => "presumed to be a proxy",
            Why::Session => "the far end of an open authenticated session",
        }
    }
}

/// Who is never banned, with the reasons; and the networks that this host is in, of which only single machines are
/// banned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeverBan {
    entries: Vec<(Prefix, Why)>,
    set: PrefixSet,
    networks: Vec<Prefix>,
}

impl Default for NeverBan {
    fn default() -> NeverBan {
        NeverBan::new(Vec::new())
    }
}

impl NeverBan {
    /// The reserved ranges and `entries`.
    pub fn new(mut entries: Vec<(Prefix, Why)>) -> NeverBan {
        entries.extend(never_an_attacker().into_iter().map(|prefix| (prefix, Why::Reserved)));
        entries.sort();
        entries.dedup();
        let set = PrefixSet::new(entries.iter().map(|(prefix, _)| *prefix));
        NeverBan { entries, set, networks: Vec::new() }
    }

    /// The same on a host that is in these networks. One of length 0 says nothing and is left out.
    pub fn with_networks(mut self, mut networks: Vec<Prefix>) -> NeverBan {
        networks.retain(|network| network.prefix_len() > 0 && !network.is_host());
        networks.sort();
        networks.dedup();
        self.networks = networks;
        self
    }

    /// The networks that this host is in, sorted.
    pub fn networks(&self) -> &[Prefix] {
        &self.networks
    }

    /// The network of this host's own that a ban of `prefix` would hit, if `prefix` is more than one machine.
    pub fn own_network(&self, prefix: Prefix) -> Option<Prefix> {
        if prefix.is_host() {
            return None;
        }
        self.networks.iter().copied().find(|network| network.overlaps(prefix))
    }

    /// True if any address of `prefix` is never banned.
    pub fn overlaps(&self, prefix: Prefix) -> bool {
        self.set.overlaps(prefix)
    }

    /// True if `addr` is never banned.
    pub fn contains_addr(&self, addr: IpAddr) -> bool {
        self.set.contains_addr(addr)
    }

    /// What is left of `prefix` once everything that is never banned is taken out.
    pub fn subtract(&self, prefix: Prefix) -> Vec<Prefix> {
        if self.set.overlaps(prefix) { prefix.without(self.set.prefixes()) } else { vec![prefix] }
    }

    /// What of `prefix` is never banned.
    pub fn intersect(&self, prefix: Prefix) -> Vec<Prefix> {
        if !self.set.overlaps(prefix) {
            return Vec::new();
        }
        let entries = self.set.prefixes().iter().filter(|entry| entry.overlaps(prefix));
        let mut inside: Vec<Prefix> =
            entries.map(|entry| if entry.contains(prefix) { prefix } else { *entry }).collect();
        // Sorted by address and then by length: what an entry holds follows it.
        inside.dedup_by(|later, earlier| earlier.contains(*later));
        inside
    }

    /// Every entry that shares an address with `prefix`, with its reason.
    pub fn reasons(&self, prefix: Prefix) -> Vec<(Prefix, Why)> {
        self.entries.iter().copied().filter(|(entry, _)| entry.overlaps(prefix)).collect()
    }

    /// All entries, sorted.
    pub fn entries(&self) -> &[(Prefix, Why)] {
        &self.entries
    }
}
