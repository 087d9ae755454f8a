//! Trust: places from which somebody logged in lately.
//!
//! A known place is judged mildly: each failure counts one point at most, and its first ban is short. A place is an
//! IPv4 address or an IPv6 /64, within which hosts change their addresses daily.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use crate::net::Prefix;
use crate::time::{Span, Timestamp};

/// Good logins of the last [`MEMORY`].
#[derive(Debug, Default)]
pub struct Trust {
    places: HashMap<IpAddr, (Timestamp, Option<String>)>,
    /// The same addresses, in order: whose network is asked for.
    sorted: BTreeSet<IpAddr>,
}

/// How long a good login is remembered. Source: design, "Recent good logins".
pub const MEMORY: Span = Span::from_secs(30 * 86_400);

const MAX_PLACES: usize = 100_000;

impl Trust {
    /// Notes a good login.
    pub fn good_login(&mut self, addr: IpAddr, user: Option<&str>, when: Timestamp) {
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&addr) {
            let oldest = self.places.iter().min_by_key(|(_, (time, _))| *time).map(|(addr, _)| *addr);
            if let Some(addr) = oldest {
                self.places.remove(&addr);
                self.sorted.remove(&addr);
            }
        }
        self.sorted.insert(addr);
        let entry = self.places.entry(addr).or_insert((when, None));
        if when >= entry.0 {
            *entry = (when, user.map(str::to_owned));
        }
    }

    /// The same of a login of before, in any order: without room for one more place it is left out, as the places that
    /// are known matter more. True if the place of `addr` becomes known by it.
    pub fn learn(&mut self, addr: IpAddr, user: Option<&str>, when: Timestamp, now: Timestamp) -> bool {
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&addr) {
            return false;
        }
        let was_known = self.is_known_place(addr, now);
        self.good_login(addr, user, when);
        !was_known && self.is_known_place(addr, now)
    }

    /// True if somebody logged in from the place of `addr` within [`MEMORY`] before `now`.
    pub fn is_known_place(&self, addr: IpAddr, now: Timestamp) -> bool {
        self.logins_near(addr, now).next().is_some()
    }

    /// The last logins of each address of the place of `addr`, within [`MEMORY`] before `now`.
    fn logins_near(&self, addr: IpAddr, now: Timestamp) -> impl Iterator<Item = Option<&str>> {
        let place = match addr {
            IpAddr::V4(_) => Prefix::host(addr),
            IpAddr::V6(_) => Prefix::host(addr).widened(64),
        };
        let near = self.sorted.range(place.addr()..=place.last_addr());
        let logins = near.filter_map(|addr| self.places.get(addr));
        logins.filter(move |(time, _)| now.since(*time) < MEMORY).map(|(_, user)| user.as_deref())
    }

    /// True if `user` is the last who logged in from an address of the place of `addr`, within [`MEMORY`] before `now`.
    pub fn is_owner(&self, addr: IpAddr, user: Option<&str>, now: Timestamp) -> bool {
        user.is_some() && self.logins_near(addr, now).any(|last| last == user)
    }

    /// The last good login from `addr`: when and who.
    pub fn last_login(&self, addr: IpAddr) -> Option<(Timestamp, Option<&str>)> {
        self.places.get(&addr).map(|(time, user)| (*time, user.as_deref()))
    }

    /// Every known place with its last login.
    pub fn places(&self) -> impl Iterator<Item = (IpAddr, Timestamp)> {
        self.places.iter().map(|(addr, (time, _))| (*addr, *time))
    }

    /// Known places inside `prefix`, in order.
    pub fn known_inside(&self, prefix: Prefix, now: Timestamp) -> impl Iterator<Item = IpAddr> {
        let inside = self.sorted.range(prefix.addr()..=prefix.last_addr()).copied();
        let is_recent = move |(time, _): &(Timestamp, Option<String>)| now.since(*time) < MEMORY;
        inside.filter(move |addr| self.places.get(addr).is_some_and(is_recent))
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Timestamp) {
        self.places.retain(|_, (time, _)| now.since(*time) < MEMORY);
        self.sorted.retain(|addr| self.places.contains_key(addr));
    }
}
