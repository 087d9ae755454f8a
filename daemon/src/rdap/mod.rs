//! Whose network an address is in, asked of the registries by RDAP, and remembered for a week.
//!
//! One server is asked first (`[rdap]`), which leads on to the registry that knows. Nothing is asked unless somebody does:
//! `explain --whois`, `ban --net`, or a report to an abuse contact.

mod answer;

use std::net::IpAddr;

use rusqlite::{OptionalExtension as _, params};
use ureq::http;

use pillory_core::config::outgoing::Rdap;
use pillory_core::net::Prefix;
use pillory_core::time::{Span, Timestamp};

use crate::outgoing::outbox::Outbox;
use crate::outgoing::{Failed, Web};

pub(crate) use answer::{AnswerError, Network};

/// So long an answer is believed.
const WEEK: Span = Span::from_secs(7 * 86_400);

/// So many answers are remembered.
const MOST_KEPT: u32 = 10_000;

/// The first server may lead to another, and that one to one of its own.
const MOST_REDIRECTS: u32 = 5;

/// Why it is not known whose network an address is in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RdapError {
    #[error("no registry could be asked about {addr} by way of {server}: {why}")]
    NotAsked { addr: IpAddr, server: String, why: String },
    #[error("what the registry answered about {addr} cannot be used: {cause}")]
    NoAnswer { addr: IpAddr, cause: AnswerError },
}

/// So far around an address an answer is believed, where who answers for an attacker is asked; it says nothing of narrower
/// networks further away, and there may be some nearer.
const AROUND: (u8, u8) = (24, 48);

/// Asks whose network an address is in, or remembers.
/// # Errors
/// [`RdapError`]
pub(crate) fn network(
    rdap: &Rdap,
    addr: IpAddr,
    cache: Option<&Outbox>,
    now: Timestamp,
) -> Result<Network, RdapError> {
    match cache.and_then(|cache| remembered(cache, addr, now)) {
        Some(known) => Ok(known),
        None => network_anew(rdap, addr, cache, now),
    }
}

/// The same, and asks in any case: near an address that was asked about there may be a narrower network, which matters to
/// whoever bans all of it.
/// # Errors
/// [`RdapError`]
pub(crate) fn network_anew(
    rdap: &Rdap,
    addr: IpAddr,
    cache: Option<&Outbox>,
    now: Timestamp,
) -> Result<Network, RdapError> {
    let network = ask(rdap, addr)?;
    if let Some(cache) = cache {
        remember(cache, &network, addr, now);
    }
    Ok(network)
}

fn ask(rdap: &Rdap, addr: IpAddr) -> Result<Network, RdapError> {
    let not_asked = |why: String| RdapError::NotAsked { addr, server: rdap.url.to_string(), why };
    let failed = |error: Failed| not_asked(error.why);
    let request = http::Request::get(rdap.url.join(&format!("ip/{addr}")))
        .header("accept", "application/rdap+json")
        .body(Vec::new())
        .map_err(|_| not_asked("the address in [rdap] is none".to_owned()))?;
    let is_open = !rdap.url.as_str().starts_with("https:");
    let web = Web::new(rdap.ca_file.as_deref(), MOST_REDIRECTS, is_open).map_err(failed)?;
    let answer = web.ask(request).map_err(failed)?;
    if answer.status == 404 {
        return Err(RdapError::NoAnswer { addr, cause: AnswerError::NoNetwork });
    }
    answer.taken().map_err(failed)?;
    answer::read(&answer.body.map_err(failed)?, addr).map_err(|cause| RdapError::NoAnswer { addr, cause })
}

/// An address as bytes that sort by family and number.
fn key(addr: IpAddr) -> Vec<u8> {
    let (number, _) = Prefix::host(addr).range();
    let mut bytes = vec![if addr.is_ipv4() { 4 } else { 6 }];
    bytes.extend(number.to_be_bytes());
    bytes
}

/// What is remembered and still believed. A cache that cannot be read is none.
fn remembered(cache: &Outbox, addr: IpAddr, now: Timestamp) -> Option<Network> {
    let sql = "SELECT network FROM networks WHERE first <= ?1 AND last >= ?1 AND asked > ?2 AND asked <= ?3
        ORDER BY first DESC, last LIMIT 1";
    let times = ((now - WEEK).millis(), now.millis());
    let found = cache
        .connection()
        .query_row(sql, params![key(addr), times.0, times.1], |row| row.get::<_, String>(0));
    serde_json::from_str(&found.optional().ok()??).ok()
}

/// For the addresses around the one that was asked about, as far as they are in the network. If it cannot be, it is asked
/// again.
fn remember(cache: &Outbox, network: &Network, asked: IpAddr, now: Timestamp) {
    let Ok(text) = serde_json::to_string(network) else { return };
    let around = Prefix::host(asked).widened(if asked.is_ipv4() { AROUND.0 } else { AROUND.1 });
    let first = key(network.first).max(key(around.addr()));
    let last = key(network.last).min(key(around.last_addr()));
    let values = params![first, last, now.millis(), text];
    let db = cache.connection();
    let kept = db.execute("INSERT OR REPLACE INTO networks VALUES (?1, ?2, ?3, ?4)", values);
    let trim = "DELETE FROM networks WHERE asked < (SELECT asked FROM networks ORDER BY asked DESC LIMIT 1 OFFSET ?1)";
    let _ = kept.and_then(|_| db.execute(trim, [MOST_KEPT]));
}

/// For fuzzing: whatever is answered, what is understood is a network that holds who was asked for.
#[cfg(any(test, fuzzing))]
pub(crate) fn whatever(data: &[u8]) {
    for asked in ["192.0.2.7", "2001:db8::7"] {
        let Ok(asked) = asked.parse() else { continue };
        let Ok(network) = answer::read(data, asked) else { continue };
        let prefixes = network.prefixes();
        assert!(prefixes.iter().any(|prefix| prefix.contains_addr(asked)), "{network:?}");
        assert!(prefixes.len() <= 256 && network.size() > 0);
        let said = serde_json::to_string(&network).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Network>(&said).ok(), Some(network));
    }
}
