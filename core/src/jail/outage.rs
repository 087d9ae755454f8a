//! Outages: a password database is down, or a disk full, and nobody can log in. Then owners fail like attackers do.
//!
//! A [`Guard`] knows from where each jail's users come regularly. If such a place reaches the threshold while nobody
//! at all has logged in for [`SILENCE`], the ban is held back and people are told; everybody else is judged as
//! always. The rope has an end: at [`ROPE`] times the threshold the place is banned all the same.

use std::net::IpAddr;

use crate::event::{JailName, Points};
use crate::hash::FastMap;
use crate::time::{Span, Timestamp};

use super::trust;

/// How long nobody may have logged in before failures of regular places look like an outage.
pub const SILENCE: Span = Span::from_secs(15 * 60);

/// A place is banned although it may be an outage once its points are so many times the threshold.
pub const ROPE: u32 = 4;

/// Logins without a user name (a web server's 302) can be forged, so they make a place regular only if they came so
/// far apart: the rope then costs an attacker a day of waiting for each address.
const APART: Span = Span::from_secs(20 * 3_600);

const MAX_PLACES: usize = 50_000;

/// Good logins of a jail's users from one place.
#[derive(Debug, Clone, Copy)]
struct Regular {
    first: Timestamp,
    last: Timestamp,
}

impl Regular {
    fn is_regular(&self, now: Timestamp) -> bool {
        now.since(self.last) < trust::MEMORY && self.last.since(self.first) >= APART
    }
}

/// What is known of one jail's logins.
#[derive(Debug, Default)]
struct Logins {
    places: FastMap<IpAddr, Regular>,
    last: Option<Timestamp>,
    /// The outage that people were told of.
    since: Option<Timestamp>,
}

/// What people are told of a jail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A place from which logins used to succeed would have been banned, and nobody can log in.
    Began(JailName, IpAddr),
    /// Somebody logged in again.
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
    /// `named`: it is known who logged in. A login that names nobody can be forged, so it shows that people can log in
    /// only if it comes from a regular place.
    pub fn good_login(
        &mut self,
        jail: &JailName,
        addr: IpAddr,
        named: bool,
        when: Timestamp,
    ) -> Option<Change> {
        let logins = self.jails.entry(jail.clone()).or_default();
        if logins.places.len() >= MAX_PLACES && !logins.places.contains_key(&addr) {
            let oldest = logins.places.iter().min_by_key(|(_, place)| place.last).map(|(addr, _)| *addr);
            oldest.and_then(|addr| logins.places.remove(&addr));
        }
        let place = logins.places.entry(addr).or_insert(Regular { first: when, last: when });
        (place.first, place.last) = (place.first.min(when), place.last.max(when));
        if !named && !place.is_regular(when) {
            return None;
        }
        logins.last = logins.last.max(Some(when));
        logins.since.take().map(|_| Change::Ended(jail.clone()))
    }

    /// Notes a good login of before, in any order: it says from where people come, and nothing of an outage that is on.
    pub fn learn(&mut self, jail: &JailName, addr: IpAddr, named: bool, when: Timestamp) {
        let logins = self.jails.entry(jail.clone()).or_default();
        if logins.places.len() >= MAX_PLACES && !logins.places.contains_key(&addr) {
            return;
        }
        let place = logins.places.entry(addr).or_insert(Regular { first: when, last: when });
        (place.first, place.last) = (place.first.min(when), place.last.max(when));
        if named || place.is_regular(when) {
            logins.last = logins.last.max(Some(when));
        }
    }

    /// Whether a ban of `addr` is to be held back: it is a regular place, nobody has logged in for [`SILENCE`], and its
    /// rope is not used up. Tells people once an outage.
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
        let comes = is_owner || logins.places.get(&addr).is_some_and(|place| place.is_regular(now));
        let is_silent = logins.last.is_some_and(|last| now.since(last) >= SILENCE);
        if !comes || !is_silent || points >= threshold.times(ROPE) {
            return (false, None);
        }
        let is_new = logins.since.replace(now).is_none();
        (true, is_new.then(|| Change::Began(jail.clone(), addr)))
    }

    /// Forgets places that are too old, and outages of which nothing was seen for [`SILENCE`].
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Change> {
        let mut ended = Vec::new();
        for (jail, logins) in &mut self.jails {
            logins.places.retain(|_, place| now.since(place.last) < trust::MEMORY);
            if logins.since.is_some_and(|since| now.since(since) >= SILENCE) {
                logins.since = None;
                ended.push(Change::Ended(jail.clone()));
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn jail() -> JailName {
        JailName::new("wordpress").unwrap()
    }

    /// A jail whose owner logged in on two days.
    fn guard() -> Guard {
        let mut guard = Guard::default();
        guard.good_login(&jail(), addr("192.0.2.7"), false, at(0));
        guard.good_login(&jail(), addr("192.0.2.7"), false, at(DAY));
        guard.good_login(&jail(), addr("192.0.2.8"), false, at(DAY));
        guard
    }

    fn asks(guard: &mut Guard, from: &str, points: u32, is_owner: bool, when: i64) -> (bool, bool) {
        let points = (Points(points * 100), Points(500));
        let (held, told) = guard.holds_back(&jail(), addr(from), points, is_owner, at(when));
        (held, matches!(told, Some(Change::Began(..))))
    }

    #[test]
    fn a_regular_place_is_held_back_while_nobody_logs_in_and_it_is_told_once() {
        let mut guard = guard();
        assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY), (true, true));
        assert_eq!(asks(&mut guard, "192.0.2.7", 6, false, 3 * DAY + 1), (true, false));
        assert_eq!(
            asks(&mut guard, "192.0.2.7", 20, false, 3 * DAY + 2),
            (false, false),
            "the rope has an end"
        );
    }

    #[test]
    fn strangers_and_places_with_one_login_are_judged_as_always() {
        let mut guard = guard();
        assert_eq!(asks(&mut guard, "198.51.100.1", 5, false, 3 * DAY), (false, false));
        assert_eq!(asks(&mut guard, "192.0.2.8", 5, false, 3 * DAY), (false, false));
        assert_eq!(asks(&mut guard, "192.0.2.8", 5, true, 3 * DAY), (true, true), "its own account");
        assert_eq!(asks(&mut Guard::default(), "192.0.2.7", 5, true, 3 * DAY), (false, false));
    }

    #[test]
    fn nobody_is_held_back_while_others_log_in_and_a_login_ends_the_outage() {
        let mut guard = guard();
        assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, DAY + 60), (false, false));
        assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY), (true, true));
        assert_eq!(
            guard.good_login(&jail(), addr("192.0.2.9"), true, at(3 * DAY + 60)),
            Some(Change::Ended(jail()))
        );
        assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY + 90), (false, false));
    }

    #[test]
    fn a_login_of_a_stranger_that_names_nobody_ends_no_outage() {
        let mut guard = guard();
        assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY), (true, true));
        assert_eq!(guard.good_login(&jail(), addr("198.51.100.9"), false, at(3 * DAY + 60)), None);
        assert_eq!(asks(&mut guard, "192.0.2.7", 6, false, 3 * DAY + 90), (true, false));
        let ended = guard.good_login(&jail(), addr("192.0.2.7"), false, at(3 * DAY + 120));
        assert_eq!(ended, Some(Change::Ended(jail())));
    }

    #[test]
    fn logins_of_before_make_a_place_regular_in_any_order_and_end_no_outage() {
        let mut guard = Guard::default();
        for when in [2 * DAY, DAY] {
            guard.learn(&jail(), addr("192.0.2.7"), true, at(when));
        }
        guard.learn(&jail(), addr("192.0.2.8"), true, at(DAY));
        assert_eq!(asks(&mut guard, "192.0.2.8", 5, false, 3 * DAY), (false, false));
        assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY), (true, true));
        guard.learn(&jail(), addr("192.0.2.9"), true, at(2 * DAY));
        assert_eq!(asks(&mut guard, "192.0.2.7", 6, false, 3 * DAY + 1), (true, false), "it goes on");
    }

    #[test]
    fn an_outage_of_which_nothing_is_seen_is_over_and_old_places_are_forgotten() {
        let mut guard = guard();
        asks(&mut guard, "192.0.2.7", 5, false, 3 * DAY);
        assert_eq!(guard.sweep(at(3 * DAY + 60)), []);
        assert_eq!(guard.sweep(at(3 * DAY + 900)), [Change::Ended(jail())]);
        guard.sweep(at(32 * DAY));
        assert_eq!(asks(&mut guard, "192.0.2.7", 5, false, 32 * DAY), (false, false));
    }
}
