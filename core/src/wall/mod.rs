//! The wall of shame: what of the past may be shown in public, and how it is called.
//!
//! [`Past`] is fed what the store keeps, bans first and then attempts; [`Past::wall`] makes of it what pages and feeds
//! show. Addresses can be personal data, so the rules are strict unless told otherwise: who was banned by a jail, tried
//! often, a day ago at least and a month ago at most, is shown, by its network; nobody who ever logged in, is never banned
//! or asked to be left out; no user names but those that everybody guesses at, no names of jails, no reasons that people wrote.

mod groups;
mod past;
mod publish;
mod service;
#[cfg(test)]
mod tests;

pub use past::Past;
pub use service::{Service, Services};

use crate::jail::networks::Country;
use crate::net::{Prefix, PrefixSet};
use crate::time::{End, Span, Timestamp};

/// Who is shown, and how exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Attempts that an offender has at least.
    pub min_attempts: u64,
    /// How late things are told of an offender.
    pub delay: Span,
    /// How long after its last attempt an offender is shown.
    pub keep: Span,
    /// Shows the network of an address instead of the address: /24, IPv6 /48.
    pub mask: bool,
}

impl Default for Rules {
    fn default() -> Rules {
        let day = 86_400;
        let (delay, keep) = (Span::from_secs(day), Span::from_secs(30 * day));
        Rules { min_attempts: 10, delay, keep, mask: true }
    }
}

/// Who is never shown.
#[derive(Debug, Clone, Default)]
pub struct Spared {
    /// Who is never banned: own addresses, trusted networks and whoever has a session.
    pub never: PrefixSet,
    /// Who asked to be left out.
    pub unlisted: PrefixSet,
    /// Names that nobody else is to read, however common: users of this host that the administrator named.
    pub users: Vec<String>,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wall {
    /// When it was made.
    pub made: Timestamp,
    /// Attempts and bans today (since midnight UTC), in 7 and in 30 days.
    pub totals: [Total; 3],
    /// Offenders who are shown and shut out now.
    pub shut_out: u64,
    /// The last [`DAYS`] days by UTC, oldest first; the last one is today.
    pub days: Vec<Total>,
    /// Attempts of these days by hour of the week, Monday first, UTC.
    pub week: [[u64; 24]; 7],
    /// Attempts of these days at each service, the most first.
    pub services: Vec<(Service, u64)>,
    /// Names that everybody guesses at with the attempts of these days, the most first, at most [`TOP`].
    pub users: Vec<(String, u64)>,
    /// Networks with the most attempts, at most [`TOP`].
    pub networks: Vec<Group>,
    /// Operators with the most attempts, at most [`TOP`]; none unless [`Wall::place`] was called.
    pub operators: Vec<Group>,
    /// All countries by their two letters, those with the most attempts first; none unless [`Wall::place`] was called.
    pub countries: Vec<Group>,
    /// Who is shown, those who were seen last first.
    pub offenders: Vec<Offender>,
}

/// So many networks, operators and user names are named.
pub const TOP: usize = 10;

/// Several offenders taken together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// Attempts of all of them.
    pub attempts: u64,
    /// How many they are.
    pub offenders: u64,
}

/// Days that the timeline shows.
pub const DAYS: usize = 30;

/// What a time saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Failed logins and the like.
    pub attempts: u64,
    /// Bans that jails made.
    pub bans: u64,
}

/// An address or a network of which attacks came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offender {
    /// What is shown of it: itself, or the network that hides it.
    pub prefix: Prefix,
    /// True if single addresses are hidden behind this network.
    pub is_masked: bool,
    /// How many banned addresses and networks it stands for.
    pub sources: u32,
    /// Attempts that are told.
    pub attempts: u64,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// At what.
    pub services: Services,
    /// How often it was banned.
    pub bans: u32,
    /// Until when it is shut out, if it is.
    pub banned_until: Option<End>,
    /// Whose network it is in, as far as somebody knows: `AS64500 Example Hosting`.
    pub operator: Option<String>,
    /// The country it is used in, as far as somebody knows.
    pub country: Option<Country>,
}

impl Offender {
    /// How it is called: `203.0.113.7`, `203.0.113.0/28`, and where addresses are hidden `203.0.113.x`, `2001:db8:7::x`.
    pub fn name(&self) -> String {
        if !self.is_masked {
            return self.prefix.short();
        }
        let addr = self.prefix.addr().to_string();
        match addr.strip_suffix(".0") {
            Some(network) => format!("{network}.x"),
            None => format!("{addr}x"),
        }
    }
}
