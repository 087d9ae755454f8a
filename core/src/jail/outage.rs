//! Outages: a password database is down, or a disk full, and nobody can log in. Then owners fail like attackers do.
//!
//! A [`Guard`] knows from where each jail's users come regularly. If such a place reaches the threshold while it looks
//! like an outage, the ban is held back and people are told; everybody else is judged as always. The rope has an end:
//! at [`ROPE`] times the threshold the place is banned all the same.
//!
//! It looks like an outage while nobody at all has logged in for [`SILENCE`]; or while owners fail from [`MANY`] places
//! at once, and from more places than others get in from: a robot with a key gets in when no password does. Where no
//! more than two people come who did not get in meanwhile, two are all there are, and enough. An owner is an account
//! that fails from where it logged in lately, so a forger would need that many places of users; or, where logins name
//! nobody, whoever fails at a regular place, which costs a forger two requests a day apart for each, and gains the rope
//! that silence gives to the same places.
//!
//! A restart is shown the attempts again ([`super::replay`]), and knows whether it is on, since when, and who fails: so
//! nothing is told twice and nobody's ban is held back later than without it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::event::{JailName, Points};
use crate::hash::FastMap;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::room::make_room;
use super::trust;

/// How long nobody may have logged in before failures of regular places look like an outage; and how long failures
/// of owners are held together.
pub const SILENCE: Span = Span::from_secs(15 * 60);

/// From so many places owners fail at once when it looks like an outage although somebody gets in.
pub const MANY: usize = 3;

/// From so many places two or more people fail when it does on a host where hardly anybody else comes.
const FEW: usize = 2;

/// So many of those who logged in last are told apart, to see whether more than [`FEW`] come at all.
const MAX_PEOPLE: usize = 8;

/// An owner who failed once has mistyped; from so many on it is no chance.
const AGAIN: u32 = 2;

/// What began longer ago, as a forgotten telephone fails for days, is no sign of what began now.
const NEW: Span = Span::from_secs(3_600);

/// A place is banned although it may be an outage once its points are so many times the threshold.
pub const ROPE: u32 = 4;

/// Logins without a user name (a web server's 302) can be forged, so they make a place regular only if they came so
/// far apart: the rope then costs an attacker a day of waiting for each address.
pub const APART: Span = Span::from_secs(20 * 3_600);

const MAX_PLACES: usize = 50_000;

/// So many regular places of one network (IPv4 /24, IPv6 /48) are spared from bans of networks: whoever has a network
/// can forge logins from all of it.
const MAX_SPARED: usize = 64;

/// The account of a login or a failure that names nobody.
pub(super) const NOBODY: u64 = 0;

/// So many owners who fail, and so many places that get in, are looked at; both sides of a comparison.
const MAX_COMPARED: usize = 64;

/// Good logins of a jail's users from one place.
#[derive(Debug, Clone, Copy)]
struct Regular {
    first: Timestamp,
    last: Timestamp,
    /// Some of them name nobody, so failures that name nobody are likely of the same people.
    is_nameless: bool,
}

impl Regular {
    fn note(&mut self, is_nameless: bool, when: Timestamp) {
        (self.first, self.last) = (self.first.min(when), self.last.max(when));
        self.is_nameless |= is_nameless;
    }

    fn lasts(&self) -> bool {
        self.last.since(self.first) >= APART
    }

    fn is_regular(&self, now: Timestamp) -> bool {
        now.since(self.last) < trust::MEMORY && self.lasts()
    }
}

/// Who logs in, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Person {
    Account(u64),
    /// Whoever does from there.
    At(IpAddr),
}

impl Person {
    fn new(account: u64, place: IpAddr) -> Person {
        if account == NOBODY { Person::At(place) } else { Person::Account(account) }
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
    /// Who logged in last, and when, the latest last.
    people: Vec<(Timestamp, Person)>,
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
    /// Regular places with logins that name nobody, in order: over which no network is banned.
    spared: BTreeSet<IpAddr>,
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
        let place = trust::place(addr).addr();
        let is_regular = self.note(jail, place, account.is_none(), when);
        let logins = self.jails.get_mut(jail).filter(|_| account.is_some() || is_regular)?;
        let account = account.unwrap_or(NOBODY);
        logins.last = logins.last.max(Some(when));
        logins.came(Person::new(account, place), when);
        logins.got_in(place, account, when);
        logins.is_over(when).then(|| Change::Ended(jail.clone()))
    }

    /// Notes that somebody logged in from a place; true if it is a regular one.
    fn note(&mut self, jail: &JailName, place: IpAddr, is_nameless: bool, when: Timestamp) -> bool {
        let logins = self.jails.entry(jail.clone()).or_default();
        if logins.places.len() >= MAX_PLACES && !logins.places.contains_key(&place) {
            // Logins that can be forged in a moment do not push out places that lasted.
            make_room(&mut logins.places, |_, place| (place.lasts(), place.last));
            self.forget_spared();
        }
        let logins = self.jails.entry(jail.clone()).or_default();
        let new = Regular { first: when, last: when, is_nameless };
        let regular = logins.places.entry(place).or_insert(new);
        regular.note(is_nameless, when);
        let is_regular = regular.is_regular(when);
        // Where logins have names, trust spares the place.
        if is_regular && regular.is_nameless {
            self.spare(place);
        }
        is_regular
    }

    /// An account failed from where it logged in lately; `NOBODY` at a place that [`Guard::names_nobody`] tells.
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
    pub fn learn(&mut self, jail: &JailName, addr: IpAddr, account: Option<u64>, when: Timestamp) {
        let place = trust::place(addr).addr();
        let logins = self.jails.get(jail);
        if logins.is_some_and(|all| all.places.len() >= MAX_PLACES && !all.places.contains_key(&place)) {
            return;
        }
        let is_regular = self.note(jail, place, account.is_none(), when);
        if let Some(logins) = self.jails.get_mut(jail).filter(|_| account.is_some() || is_regular) {
            logins.last = logins.last.max(Some(when));
            logins.came(Person::new(account.unwrap_or(NOBODY), place), when);
        }
    }

    /// True if people logged in to `jail` from the place of `addr` on two occasions, and lately.
    pub fn is_regular(&self, jail: &JailName, addr: IpAddr, now: Timestamp) -> bool {
        self.regular(jail, addr, now).is_some()
    }

    /// The same of logins that name nobody: who fails there without a name is likely who logs in there.
    pub fn names_nobody(&self, jail: &JailName, addr: IpAddr, now: Timestamp) -> bool {
        self.regular(jail, addr, now).is_some_and(|place| place.is_nameless)
    }

    fn regular(&self, jail: &JailName, addr: IpAddr, now: Timestamp) -> Option<&Regular> {
        let place = self.jails.get(jail)?.places.get(&trust::place(addr).addr())?;
        place.is_regular(now).then_some(place)
    }

    /// The regular places of all jails inside `prefix`, or the one that it is inside of, each with its last login.
    pub fn inside(&self, prefix: Prefix, now: Timestamp) -> impl Iterator<Item = (Prefix, Timestamp)> {
        let inside = self.spared.range(trust::place(prefix.addr()).addr()..=prefix.last_addr());
        inside.filter_map(move |first| {
            let known = self.jails.values().filter_map(|logins| logins.places.get(first));
            let last = known.filter(|place| place.is_regular(now)).map(|place| place.last).max()?;
            Some((trust::place(*first), last))
        })
    }

    fn spare(&mut self, place: IpAddr) {
        let around = Prefix::host(place).widened(if place.is_ipv4() { 24 } else { 48 });
        if self.spared.range(around.addr()..=around.last_addr()).count() < MAX_SPARED {
            self.spared.insert(place);
        }
    }

    fn forget_spared(&mut self) {
        let jails = &self.jails;
        self.spared.retain(|place| jails.values().any(|logins| logins.places.contains_key(place)));
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
        self.forget_spared();
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
    fn came(&mut self, person: Person, when: Timestamp) {
        if self.people.iter().any(|(time, known)| *known == person && *time >= when) {
            return;
        }
        self.people.retain(|(_, known)| *known != person);
        let at = self.people.partition_point(|(time, _)| *time <= when);
        self.people.insert(at, (when, person));
        if self.people.len() > MAX_PEOPLE {
            self.people.remove(0);
        }
    }

    fn got_in(&mut self, place: IpAddr, account: u64, when: Timestamp) {
        self.failing.retain(|failing| failing.place != place || failing.account != account);
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
        let places: BTreeSet<IpAddr> = counted.clone().map(|failing| failing.place).collect();
        let people: BTreeSet<Person> =
            counted.map(|failing| Person::new(failing.account, failing.place)).collect();
        let began = self.on.map_or(first, |on| on.since.max(now - SILENCE));
        let others = self.getting_in.iter().filter(|(time, place)| *time >= began && !places.contains(place));
        let outnumber = places.len() > others.count();
        let is_enough = places.len() >= MANY
            || (places.len().min(people.len()) >= FEW && self.missed(&people, began, now) <= FEW);
        (is_enough && outnumber).then_some((Sign::Owners(places.len()), began))
    }

    /// How many come here, those who `fail` among them, but for others who got in since it began.
    fn missed(&self, fail: &BTreeSet<Person>, began: Timestamp, now: Timestamp) -> usize {
        let come = self.people.iter().filter(|(time, _)| *time < began && now.since(*time) < trust::MEMORY);
        let others = come.filter(|(_, person)| !fail.contains(person)).count();
        fail.len() + others
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
