//! Good users hit: whom a policy would have shut out who belongs here.
//!
//! A login counts if it was accepted and names its user: what an anonymous request can forge is none.
//! A ban hits the source of such a login if it covers the login's address (and service), and
//!
//! - the login came while the ban lasted, or within [`AFTER`] of its begin: the owner was there, and shut out or
//!   nearly so; or
//! - the login came within [`BEFORE`] before the ban began, and among the failures that led to the ban (those of that
//!   address, in that jail, within its `findtime`) is one for the same account: the owner mistyped, and was banned
//!   away from it.
//!
//! An attacker who guessed a password looks like a good user here, and is worth being looked at for that.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::event::{Attempt, Outcome, UserName};
use crate::hash::FastMap;
use crate::jail::{JailIndex, Judge};
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::{Made, Seen};

/// So long after a ban's begin a login still shows that somebody good was there.
pub const AFTER: Span = Span::from_secs(86_400);

/// So long before a ban a login still shows that the account is that source's own.
pub const BEFORE: Span = Span::from_secs(30 * 86_400);

/// One good login.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Login {
    time: Timestamp,
    jail: JailIndex,
    user: UserName,
}

/// The good logins of all records, by address.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    by_addr: BTreeMap<IpAddr, Vec<Login>>,
}

impl Logins {
    /// The good logins among these records; `judge` tells a client behind a proxy.
    pub fn of<'s>(seen: impl IntoIterator<Item = &'s Seen>, judge: &Judge) -> Logins {
        let mut logins = Logins::default();
        for Seen { time, jail, event, .. } in seen {
            if let (Outcome::Success, Some(user), Some(addr)) =
                (event.outcome, &event.user, judge.client(event))
            {
                let login = Login { time: *time, jail: *jail, user: user.clone() };
                logins.by_addr.entry(addr).or_default().push(login);
            }
        }
        logins
    }

    /// How many addresses there were good logins from.
    pub fn addresses(&self) -> usize {
        self.by_addr.len()
    }

    fn inside(&self, prefix: Prefix) -> impl Iterator<Item = (IpAddr, &Vec<Login>)> {
        self.by_addr.range(prefix.addr()..=prefix.last_addr()).map(|(addr, logins)| (*addr, logins))
    }
}

/// Which accounts were tried, and failed, from addresses with good logins.
#[derive(Debug, Default)]
pub(super) struct Tried(FastMap<(JailIndex, IpAddr), Vec<(Timestamp, UserName)>>);

impl Tried {
    pub(super) fn note(&mut self, jail: JailIndex, attempt: &Attempt, logins: &Logins) {
        if let Some(user) = &attempt.user
            && logins.by_addr.contains_key(&attempt.addr)
        {
            self.0.entry((jail, attempt.addr)).or_default().push((attempt.time, user.clone()));
        }
    }

    /// True if `user` was tried in vain from `addr` from `since` until `until`.
    fn holds(
        &self,
        (jail, addr): (JailIndex, IpAddr),
        user: &str,
        (since, until): (Timestamp, Timestamp),
    ) -> bool {
        let tried = self.0.get(&(jail, addr)).map_or(&[][..], Vec::as_slice);
        // In order of time, as the records are.
        let begin = tried.partition_point(|(time, _)| *time < since);
        tried[begin..].iter().take_while(|(time, _)| *time <= until).any(|(_, name)| name == user)
    }
}

/// Why a ban hit a good user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// They logged in while it lasted, or within [`AFTER`] of its begin.
    WasThere,
    /// They had logged in within [`BEFORE`], and failed on that account until they were banned.
    Mistyped,
}

/// A good user that a ban hit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoodUser {
    /// From where they logged in.
    pub addr: IpAddr,
    /// The account.
    pub user: UserName,
    /// The jail that banned.
    pub jail: JailIndex,
    /// What was banned.
    pub prefix: Prefix,
    /// When.
    pub banned_at: Timestamp,
    /// When they logged in.
    pub login_at: Timestamp,
    /// Why it counts.
    pub how: How,
}

/// Every good user that one of `bans` hit: one entry for each ban and address. `findtimes`: by jail.
pub(super) fn hits(bans: &[Made], logins: &Logins, tried: &Tried, findtimes: &[Span]) -> Vec<GoodUser> {
    let mut hits = Vec::new();
    for ban in bans {
        let findtime = findtimes.get(usize::from(ban.jail)).copied().unwrap_or_default();
        let led = (ban.since - findtime, ban.since);
        for (addr, logins) in logins.inside(ban.prefix) {
            let reached = logins.iter().filter(|login| !ban.is_limited || login.jail == ban.jail);
            let hit = reached.filter_map(|login| {
                let how = how(ban, login, || tried.holds((ban.jail, addr), &login.user, led))?;
                Some((login, how))
            });
            hits.extend(hit.take(1).map(|(login, how)| GoodUser {
                addr,
                user: login.user.clone(),
                jail: ban.jail,
                prefix: ban.prefix,
                banned_at: ban.since,
                login_at: login.time,
                how,
            }));
        }
    }
    hits
}

fn how(ban: &Made, login: &Login, failed_on_it: impl FnOnce() -> bool) -> Option<How> {
    if login.time >= ban.since {
        let is_hit = login.time.since(ban.since) < AFTER || !ban.until.is_over(login.time);
        return is_hit.then_some(How::WasThere);
    }
    (ban.since.since(login.time) <= BEFORE && failed_on_it()).then_some(How::Mistyped)
}
