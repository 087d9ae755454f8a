//! What may be told of an attacker: read from the store when the report is due, and judged once more by who is never
//! banned then.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;

use rusqlite::Connection;

use pillory_core::config::Config;
use pillory_core::event::{Attempt, JailName};
use pillory_core::jail::names::is_common;
use pillory_core::jail::outage::APART;
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::outgoing::Report;
use pillory_core::outgoing::report::is_answered;
use pillory_core::time::{Span, Timestamp};

use crate::allowed::{self, Allowed, META_ALLOWED};
use crate::engine::META_PROXIES;
use crate::outputs::publisher::never_shown;
use crate::store::query::{self, Wanted};
use crate::store::{self, StoreError};
use crate::{clock, facts};

use super::queue::Row;

/// So far before its ban an attacker's attempts are told, so many at most.
const BEFORE: Span = Span::from_secs(2 * 86_400);
const MOST_ATTEMPTS: usize = 500;

/// Names by which somebody logged in, as far back as the store knows. There may be millions of attempts, so all are read
/// once, and then what is new.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    names: HashSet<String>,
    /// The number of the last attempt that was looked at.
    up_to: i64,
}

impl Logins {
    fn update(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if query::newest_id(db, "attempts")? < self.up_to {
            // It is another store, which began anew.
            self.up_to = 0;
        }
        let (found, up_to) = query::logged_in(db, self.up_to)?;
        self.names.extend(found.iter().flat_map(|name| forms(name)));
        self.up_to = up_to;
        Ok(())
    }
}

/// What is looked up for reports.
#[derive(Debug)]
pub(crate) struct Sources<'l> {
    db: Connection,
    /// Who is never banned, so is never reported.
    never: PrefixSet,
    /// The jails whose attempts prove that somebody is there.
    answered: HashSet<JailName>,
    /// Names that somebody has here: accounts, good users.
    owned: HashSet<String>,
    /// And whoever logged in.
    logins: &'l Logins,
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

impl<'l> Sources<'l> {
    /// Looks up what this host knows now. `logins`: what was known of them before.
    /// # Errors
    /// What cannot be read, in words.
    pub(crate) fn open(
        state_dir: &Path,
        config: &Config,
        logins: &'l mut Logins,
    ) -> Result<Sources<'l>, String> {
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
        let answered =
            config.jails.iter().filter(|jail| is_answered(jail)).map(|jail| jail.name.clone()).collect();
        let mut owned = facts::accounts(Path::new("/etc/passwd"));
        owned.extend(config.goodusers.iter().cloned());
        logins.update(&db).map_err(unreadable)?;
        let owned = owned.iter().flat_map(|name| forms(name)).collect();
        Ok(Sources { db, never, answered, owned, logins, host: host_name() })
    }

    /// Why nobody is told of a ban, whatever was gathered; asked again when the report leaves.
    /// # Errors
    /// What cannot be read, in words.
    pub(crate) fn forbids(&self, row: &Row) -> Result<Option<Nothing>, String> {
        if self.never.overlaps(row.prefix) {
            return Ok(Some(Nothing::NeverBanned));
        }
        if self.belongs_here(row.prefix).map_err(|error| unread("good logins", &error))? {
            return Ok(Some(Nothing::LoggedIn));
        }
        // The engine says so, too, but nobody waits for an outbox that is full.
        let lifted = query::was_lifted(&self.db, (row.prefix, &row.jail), row.made);
        Ok(lifted.map_err(|error| unread("history", &error))?.then_some(Nothing::Lifted))
    }

    /// True if somebody logged in from there. Logins that name nobody can be forged, so they count as judging counts them:
    /// only if they came to a jail on two days.
    fn belongs_here(&self, from: Prefix) -> rusqlite::Result<bool> {
        let wanted = Wanted { prefixes: vec![from], logins_only: true, ..Wanted::default() };
        let logins = query::attempts_as(&self.db, &wanted, |_, login| {
            login.user.is_none().then_some((login.jail, login.time))
        })?;
        let mut nameless: HashMap<JailName, (Timestamp, Timestamp)> = HashMap::new();
        for login in logins {
            let Some((jail, time)) = login else { return Ok(true) };
            let (first, last) = nameless.entry(jail).or_insert((time, time));
            (*first, *last) = ((*first).min(time), (*last).max(time));
        }
        Ok(nameless.values().any(|(first, last)| last.since(*first) >= APART))
    }

    /// What may be told of a ban; nothing, and why, if that is nothing.
    /// # Errors
    /// What cannot be read, in words.
    pub(crate) fn report(&self, row: &Row) -> Result<Result<Report, Nothing>, String> {
        if let Some(nothing) = self.forbids(row)? {
            return Ok(Err(nothing));
        }
        if !self.answered.contains(&row.jail) {
            return Ok(Err(Nothing::NoProof));
        }
        let wanted = Wanted {
            last: MOST_ATTEMPTS,
            since: Some(row.made - BEFORE),
            prefixes: vec![row.prefix],
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

    /// Whether a name may be told: everybody guesses at it, and it is nobody's here.
    fn shows(&self, user: &str) -> bool {
        let is_owned = |name: &String| self.owned.contains(name) || self.logins.names.contains(name);
        is_common(user) && !forms(user).iter().any(is_owned) && !self.is_host(user)
    }

    fn is_host(&self, user: &str) -> bool {
        self.host.split('.').chain([self.host.as_str()]).any(|part| part.eq_ignore_ascii_case(user))
    }
}

/// The account names that a name may stand for, in small letters: without the domain of a mailbox (`git@example.net`,
/// `git%example.net`), without one of Windows (`EXAMPLE\git`, `EXAMPLE/git`, and by winbind `EXAMPLE+git`), and without the
/// tag of a mailbox (`git+tag`).
fn forms(name: &str) -> Vec<String> {
    let name = name.to_lowercase();
    let local = name.split(['@', '%']).next().unwrap_or_default();
    let bare = local.rsplit(['\\', '/']).next().unwrap_or_default();
    let tagged = bare.split('+').filter(|part| !part.is_empty());
    let mut forms: Vec<String> = tagged.chain([bare]).map(str::to_owned).collect();
    forms.dedup();
    forms
}

fn unread(what: &str, error: &rusqlite::Error) -> String {
    format!("cannot read {what}: {error}")
}

/// This host's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(logins: &[(&str, Option<&str>, i64)]) -> Sources<'static> {
        static NOBODY: std::sync::LazyLock<Logins> = std::sync::LazyLock::new(Logins::default);
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(store::SCHEMA).unwrap();
        for (jail, user, hours) in logins {
            let sql = "INSERT INTO attempts(time, jail, addr, user, points, tries) VALUES (?1, ?2, '192.0.2.7', ?3, 0, 1)";
            db.execute(sql, (hours * 3_600_000, jail, user)).unwrap();
        }
        let owned = ["git", "Info@example.net"].iter().flat_map(|name| forms(name)).collect();
        Sources {
            logins: &NOBODY,
            db,
            never: PrefixSet::default(),
            answered: HashSet::new(),
            owned,
            host: "test.example.net".to_owned(),
        }
    }

    #[test]
    fn one_login_that_names_nobody_takes_nobody_off_the_reports() {
        let from = "192.0.2.7/32".parse().unwrap();
        let belongs = |logins: &[_]| sources(logins).belongs_here(from).unwrap();
        assert!(!belongs(&[]));
        assert!(!belongs(&[("wordpress", None, 1), ("wordpress", None, 2), ("nginx", None, 40)]));
        assert!(belongs(&[("wordpress", None, 1), ("wordpress", None, 2), ("wordpress", None, 22)]));
        assert!(belongs(&[("sshd", Some("alice"), 1)]));
    }

    #[test]
    fn whatever_is_written_around_an_account_it_is_that_account() {
        for name in
            ["git", "GIT@example.net", "EXAMPLE\\git", "example/git", "EXAMPLE+git", "git+tag@x", "git%x"]
        {
            let owned = forms(name).into_iter().collect();
            let sources = Sources { owned, ..sources(&[]) };
            assert!(!sources.shows("git") && sources.shows("admin"), "{name}");
        }
        let sources = sources(&[]);
        assert!(["git+tag", "EXAMPLE\\git"].iter().all(|name| !sources.shows(name)));
    }

    #[test]
    fn logins_are_read_once_and_then_what_is_new_and_what_is_no_name_is_passed_over() {
        let db = sources(&[("sshd", Some("admin"), 1)]).db;
        let mut logins = Logins::default();
        let mut known = || {
            logins.update(&db).unwrap();
            let mut names: Vec<&str> = logins.names.iter().map(String::as_str).collect();
            names.sort_unstable();
            (names.join(" "), logins.up_to)
        };
        assert_eq!(known(), ("admin".to_owned(), 1));
        // What was read is not read again.
        db.execute_batch(
            "UPDATE attempts SET user = 'x' WHERE id = 1;
             INSERT INTO attempts(time, jail, addr, user, points, tries) VALUES
                (2, 'sshd', '192.0.2.7', x'ff', 0, 1), (3, 'sshd', '192.0.2.7', 'EXAMPLE\\Oracle', 0, 1)",
        )
        .unwrap();
        assert_eq!(known(), ("admin oracle".to_owned(), 3));
        // A store that began anew.
        db.execute_batch(
            "DELETE FROM attempts; INSERT INTO attempts(time, jail, addr, user, points, tries)
                VALUES (4, 'sshd', '192.0.2.7', 'test', 0, 1)",
        )
        .unwrap();
        assert_eq!(known(), ("admin oracle test".to_owned(), 1));
    }

    #[test]
    fn a_name_is_told_only_if_all_guess_at_it_and_nobody_has_it_here() {
        let sources = sources(&[]);
        let told = ["oracle", "admin", "mmeier", "git", "info", "test"].map(|name| sources.shows(name));
        assert_eq!(told, [true, true, false, false, false, false]);
    }
}
