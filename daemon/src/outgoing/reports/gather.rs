//! What may be told of an attacker: read from the store when the report is due, and judged once more by who is never
//! banned then.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

use rusqlite::Connection;

use pillory_core::config::Config;
use pillory_core::event::Attempt;
use pillory_core::jail::names::is_common;
use pillory_core::net::PrefixSet;
use pillory_core::outgoing::Report;
use pillory_core::time::Span;

use crate::allowed::{self, Allowed, META_ALLOWED};
use crate::engine::META_PROXIES;
use crate::outputs::publisher::never_shown;
use crate::store::query::{self, Wanted};
use crate::store::shared::SharedNames;
use crate::store::{self, StoreError};
use crate::{clock, facts};

use super::queue::Row;

/// So far before its ban an attacker's attempts are told, so many at most.
const BEFORE: Span = Span::from_secs(2 * 86_400);
const MOST_ATTEMPTS: usize = 500;

/// What is looked up for reports.
#[derive(Debug)]
pub(crate) struct Sources {
    db: Connection,
    /// Who is never banned, so is never reported.
    never: PrefixSet,
    accounts: HashSet<String>,
    host: String,
}

/// Why nothing can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// It is never banned.
    NeverBanned,
    /// Somebody belongs there.
    LoggedIn,
    /// The ban ended by hand, or was a mistake.
    Lifted,
    /// There is no proof that may be told.
    NoProof,
}

impl Nothing {
    pub(crate) fn words(&self) -> &'static str {
        match self {
            Nothing::NeverBanned => "it is never banned",
            Nothing::LoggedIn => "somebody logged in from there",
            Nothing::Lifted => "the ban was lifted",
            Nothing::NoProof => "no login that failed, or request, over a connection that was answered",
        }
    }
}

impl Sources {
    /// Looks up what this host knows now.
    /// # Errors
    /// What cannot be read, in words.
    pub(crate) fn open(state_dir: &Path, config: &Config) -> Result<Sources, String> {
        let db = store::open_read_only(state_dir).map_err(|error| error.to_string())?;
        let path = state_dir.join(store::FILE);
        let unreadable =
            |cause| StoreError::Database { tried: "read", path: path.clone(), cause }.to_string();
        let meta = |key| query::meta(&db, key).map_err(unreadable);
        let allowed = Allowed::restored(meta(META_ALLOWED)?.as_deref(), clock::now());
        let facts = facts::read_once(&allowed::names(config, &allowed)).map_err(|error| error.to_string())?;
        let never = allowed::never(config, &allowed, &facts);
        let ignored = config.jails.iter().filter_map(|jail| Some(&jail.lines.as_ref()?.rules.ignore));
        let never = never_shown(&never, ignored, &meta(META_PROXIES)?.unwrap_or_default());
        let accounts = facts::accounts(Path::new("/etc/passwd"));
        Ok(Sources { db, never, accounts, host: host_name() })
    }

    /// Why nobody is told of a ban, whatever was gathered; asked again when the report leaves.
    /// # Errors
    /// What cannot be read, in words.
    pub(crate) fn forbids(&self, row: &Row) -> Result<Option<Nothing>, String> {
        if self.never.overlaps(row.prefix) {
            return Ok(Some(Nothing::NeverBanned));
        }
        let login = Wanted { last: 1, prefix: Some(row.prefix), logins_only: true, ..Wanted::default() };
        let logins = query::attempts(&self.db, &login).map_err(|error| unread("good logins", &error))?;
        if !logins.is_empty() {
            return Ok(Some(Nothing::LoggedIn));
        }
        // The engine says so, too, but nobody waits for an outbox that is full.
        let lifted = query::was_lifted(&self.db, (row.prefix, &row.jail), row.made);
        Ok(lifted.map_err(|error| unread("history", &error))?.then_some(Nothing::Lifted))
    }

    /// What may be told of a ban; nothing, and why, if that is nothing.
    /// # Errors
    /// What cannot be read, in words.
    pub(crate) fn report(&self, row: &Row) -> Result<Result<Report, Nothing>, String> {
        if let Some(nothing) = self.forbids(row)? {
            return Ok(Err(nothing));
        }
        let wanted = Wanted {
            last: MOST_ATTEMPTS,
            since: Some(row.made - BEFORE),
            prefix: Some(row.prefix),
            ..Wanted::default()
        };
        let found = query::attempts(&self.db, &wanted).map_err(|error| unread("attempts", &error))?;
        let attempts: Vec<Attempt> = found.into_iter().map(|(_, attempt)| attempt).collect();
        // Of an IPv6 network whoever tried most.
        let mut tries: HashMap<IpAddr, u64> = HashMap::new();
        for attempt in attempts.iter().filter(|attempt| attempt.class.is_some() && attempt.jail == row.jail) {
            *tries.entry(attempt.addr).or_default() += u64::from(attempt.tries);
        }
        let Some((addr, _)) = tries.into_iter().max_by_key(|(addr, tries)| (*tries, *addr)) else {
            return Ok(Err(Nothing::NoProof));
        };
        let report = Report::new(addr, &row.jail, &attempts, |user| self.shows(user));
        Ok(report.ok_or(Nothing::NoProof))
    }

    /// Whether a name may be told. What everybody guesses at tells nothing of this host; of other names only those that
    /// two banned sources tried, and none that has to do with this host.
    fn shows(&self, user: &str) -> bool {
        is_common(user)
            || (!self.accounts.contains(user) && !self.is_host(user) && SharedNames(&self.db).shows(user))
    }

    fn is_host(&self, user: &str) -> bool {
        self.host.split('.').chain([self.host.as_str()]).any(|part| part.eq_ignore_ascii_case(user))
    }
}

fn unread(what: &str, error: &rusqlite::Error) -> String {
    format!("cannot read {what}: {error}")
}

/// This host's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
