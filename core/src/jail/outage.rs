//! Outages: a password database is down, or a disk full, and nobody can log in. Then owners fail like attackers do.
//!
//! A [`Guard`] knows from where each jail's users come regularly. If such a place reaches the threshold while it looks
//! like an outage, the ban is held back and people are told; everybody else is judged as always. The rope has an end:
//! at [`ROPE`] times the threshold the place is banned all the same.
//!
//! It looks like an outage while nobody at all has logged in for [`SILENCE`]; or while owners fail from [`MANY`] places
//! at once, and from more places than others get in from: a robot with a key gets in when no password does. An owner
//! is an account that fails from where it logged in lately, so a forger would need that many places of users.
//!
//! A restart is shown the attempts again ([`super::replay`]), and knows whether it is on, since when, and who fails: so
//! nothing is told twice and nobody's ban is held back later than without it.

use std::net::IpAddr;

use crate::event::{JailName, Points};
use crate::hash::FastMap;
use crate::time::{Span, Timestamp};

use super::room::make_room;
use super::trust;

/// How long nobody may have logged in before failures of regular places look like an outage; and how long failures
/// of owners are held together.
pub const SILENCE: Span = Span::from_secs(15 * 60);

/// From so many places owners fail at once when it looks like an outage although somebody gets in.
pub const MANY: usize = 3;

/// An owner who failed once has mistyped; from so many on it is no chance.
const AGAIN: u32 = 2;

/// What began longer ago, as a forgotten telephone fails for days, is no sign of what began now.
const NEW: Span = Span::from_secs(3_600);

/// A place is banned although it may be an outage once its points are so many times the threshold.
pub const ROPE: u32 = 4;

/// Logins without a user name (a web server's 302) can be forged, so they make a place regular only if they came so
/// far apart: the rope then costs an attacker a day of waiting for each address.
const APART: Span = Span::from_secs(20 * 3_600);

const MAX_PLACES: usize = 50_000;

/// So many owners who fail, and so many places that get in, are looked at; both sides of a comparison.
const MAX_COMPARED: usize = 64;

/// Good logins of a jail's users from one place.
#[derive(Debug, Clone, Copy)]
struct Regular {
    first: Timestamp,
    last: Timestamp,
}

impl Regular {
    fn lasts(&self) -> bool {
        self.last.since(self.first) >= APART
    }

    fn is_regular(&self, now: Timestamp) -> bool {
        now.since(self.last) < trust::MEMORY && self.lasts()
    }
}

/// An account that fails from where it logged in lately, and has not got in since.
#[derive(Debug, Clone, Copy)]
struct Failing {
    place: IpAddr,
    account: u64,
    first: Timestamp,
    last: Timestamp,
    failures: u32,
}

/// Why it looks like an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Nobody has logged in for [`SILENCE`].
    Silence,
    /// Owners fail from so many places, and hardly anybody else gets in.
    Owners(usize),
}

/// What is known of one jail's logins.
#[derive(Debug, Default)]
struct Logins {
    places: FastMap<IpAddr, Regular>,
    last: Option<Timestamp>,
    failing: Vec<Failing>,
    /// Where somebody got in lately, the latest last.
    getting_in: Vec<(Timestamp, IpAddr)>,
    on: Option<On>,
}

/// An outage that people were told of.
#[derive(Debug, Clone, Copy)]
struct On {
    /// When what shows it began, and when it was seen last.
    since: Timestamp,
    seen: Timestamp,
}

/// What people are told of a jail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A place from which logins used to succeed would have been banned, and it looks like an outage.
    Began(JailName, IpAddr, Sign),
    /// People can log in again.
    Ended(JailName),
}

/// See the module.
#[derive(Debug, Default)]
pub struct Guard {
    jails: FastMap<JailName, Logins>,
}

impl Guard {
    /// Notes a good login. Tells if an outage ended by it.
    ///
    /// `account`: the number of the account, if it is known who logged in. A login that names nobody can be forged, so
    /// it shows that people can log in only if it comes from a regular place.
    pub fn good_login(
        &mut self,
        jail: &JailName,
        addr: IpAddr,
        account: Option<u64>,
        when: Timestamp,
    ) -> Option<Change> {
        let logins = self.jails.entry(jail.clone()).or_default();
        let place = trust::place(addr).addr();
        if logins.places.len() >= MAX_PLACES && !logins.places.contains_key(&place) {
            // Logins that can be forged in a moment do not push out places that lasted.
            make_room(&mut logins.places, |_, place| (place.lasts(), place.last));
        }
        let regular = logins.places.entry(place).or_insert(Regular { first: when, last: when });
        (regular.first, regular.last) = (regular.first.min(when), regular.last.max(when));
        if account.is_none() && !regular.is_regular(when) {
            return None;
        }
        logins.last = logins.last.max(Some(when));
        logins.got_in(place, account, when);
        logins.is_over(when).then(|| Change::Ended(jail.clone()))
    }

    /// An account failed from where it logged in lately.
    pub fn owner_failed(&mut self, jail: &JailName, addr: IpAddr, account: u64, when: Timestamp) {
        let Some(logins) = self.jails.get_mut(jail) else { return };
        let place = trust::place(addr).addr();
        logins.failing.retain(|failing| when.since(failing.last) < SILENCE);
        let is_full = logins.failing.len() >= MAX_COMPARED;
        let mut known = logins.failing.iter_mut();
        match known.find(|failing| failing.place == place && failing.account == account) {
            Some(failing) => (failing.last, failing.failures) = (when, failing.failures.saturating_add(1)),
            None if is_full => {}
            None => logins.failing.push(Failing { place, account, first: when, last: when, failures: 1 }),
        }
    }

    /// Notes a good login of before, in any order: it says from where people come, and nothing of an outage that is on.
    pub fn learn(&mut self, jail: &JailName, addr: IpAddr, named: bool, when: Timestamp) {
        let logins = self.jails.entry(jail.clone()).or_default();
        let place = trust::place(addr).addr();
        if logins.places.len() >= MAX_PLACES && !logins.places.contains_key(&place) {
            return;
        }
        let regular = logins.places.entry(place).or_insert(Regular { first: when, last: when });
        (regular.first, regular.last) = (regular.first.min(when), regular.last.max(when));
        if named || regular.is_regular(when) {
            logins.last = logins.last.max(Some(when));
        }
    }

    /// Whether a ban of `addr` is to be held back: it is a regular place, it looks like an outage, and its rope is not
    /// used up. Tells people once an outage.
    ///
    /// `points`: what it has, and what bans. `is_owner`: the account that was tried logged in from there lately.
    pub fn holds_back(
        &mut self,
        jail: &JailName,
        addr: IpAddr,
        (points, threshold): (Points, Points),
        is_owner: bool,
        now: Timestamp,
    ) -> (bool, Option<Change>) {
        let Some(logins) = self.jails.get_mut(jail) else { return (false, None) };
        let place = trust::place(addr).addr();
        let comes = is_owner || logins.places.get(&place).is_some_and(|place| place.is_regular(now));
        if !comes || points >= threshold.times(ROPE) {
            return (false, None);
        }
        let Some((sign, began)) = logins.sign(now) else { return (false, None) };
        let since = logins.on.map_or(began, |on| on.since);
        let is_new = logins.on.replace(On { since, seen: now }).is_none();
        (true, is_new.then(|| Change::Began(jail.clone(), addr, sign)))
    }

    /// Since when it has looked like an outage that people were told of, if one is on.
    pub fn on(&self, jail: &JailName) -> Option<Timestamp> {
        self.jails.get(jail)?.on.map(|on| on.since)
    }

    /// Forgets places that are too old, and outages of which nothing was seen for [`SILENCE`].
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Change> {
        for logins in self.jails.values_mut() {
            logins.places.retain(|_, place| now.since(place.last) < trust::MEMORY);
        }
        self.end_unseen(now)
    }

    /// Ends outages of which nothing was seen for [`SILENCE`].
    pub fn end_unseen(&mut self, now: Timestamp) -> Vec<Change> {
        let mut ended = Vec::new();
        for (jail, logins) in &mut self.jails {
            if logins.on.is_some_and(|on| now.since(on.seen) >= SILENCE) {
                logins.on = None;
                ended.push(Change::Ended(jail.clone()));
            }
        }
        ended
    }
}

impl Logins {
    fn got_in(&mut self, place: IpAddr, account: Option<u64>, when: Timestamp) {
        self.failing.retain(|failing| failing.place != place || Some(failing.account) != account);
        self.getting_in.retain(|(time, known)| *known != place && when.since(*time) < NEW);
        if self.getting_in.len() >= MAX_COMPARED {
            self.getting_in.remove(0);
        }
        self.getting_in.push((when, place));
    }

    /// What makes it look like an outage at `now`, if it does, and when that began.
    fn sign(&self, now: Timestamp) -> Option<(Sign, Timestamp)> {
        if let Some(last) = self.last.filter(|last| now.since(*last) >= SILENCE) {
            return Some((Sign::Silence, last));
        }
        // Once it is on, all who fail are counted.
        let is_new = |failing: &Failing| failing.failures >= AGAIN && now.since(failing.first) < NEW;
        let counted = self
            .failing
            .iter()
            .filter(|failing| now.since(failing.last) < SILENCE && (self.on.is_some() || is_new(failing)));
        let first = counted.clone().map(|failing| failing.first).min()?;
        let mut places: Vec<IpAddr> = counted.map(|failing| failing.place).collect();
        places.sort_unstable();
        places.dedup();
        let began = self.on.map_or(first, |on| on.since.max(now - SILENCE));
        let others = self.getting_in.iter().filter(|(time, place)| *time >= began && !places.contains(place));
        let outnumber = places.len() > others.count();
        (places.len() >= MANY && outnumber).then_some((Sign::Owners(places.len()), began))
    }

    /// Whether the outage that is on ended by the login that was noted last.
    fn is_over(&mut self, now: Timestamp) -> bool {
        if self.on.is_none() || self.sign(now).is_some() {
            return false;
        }
        self.on.take().is_some()
    }
}

#[cfg(test)]
mod tests;
