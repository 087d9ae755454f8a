//! Trust: places from which somebody logged in lately.
//!
//! A known place is judged mildly: each failure counts one point at most, and its first ban is short. A place is an
//! IPv4 address or an IPv6 /64, within which hosts change their addresses daily.
//!
//! Providers and carriers give their customers other addresses of one IPv4 network, so the /24 around a known place has
//! a weaker standing ([`Trust::neighbour`]): only failures at accounts that logged in from it lately cost less, and
//! only [`ROPE`] of them a day, however many addresses of it fail. For anybody else there it is worth nothing.

mod near;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::hash::FastMap;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::room::make_room;
pub use near::Near;
use near::Networks;

/// Good logins of the last [`MEMORY`].
#[derive(Debug, Default)]
pub struct Trust {
    /// By the first address of each place ([`place`]).
    places: FastMap<IpAddr, Place>,
    /// The same first addresses, in order: whose network is asked for.
    sorted: BTreeSet<IpAddr>,
    /// Who logged in from each IPv4 /24.
    networks: Networks,
    /// What strangers in networks with good logins have used of their ropes, and since when.
    ropes: FastMap<Prefix, (Timestamp, u32)>,
}

/// Who logged in from a place.
#[derive(Debug)]
struct Place {
    /// From which of its addresses the last login came.
    addr: IpAddr,
    /// When and who, the last one last, each once.
    users: Vec<(Timestamp, Option<Arc<str>>)>,
}

/// The last good login from a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Login<'t> {
    /// From this address of it.
    pub addr: IpAddr,
    /// When.
    pub time: Timestamp,
    /// Who, if that is known.
    pub user: Option<&'t str>,
}

/// What a stranger is who lives beside a known place and fails at an account that logged in from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The number ([`super::names::hash`]) of the account that was meant.
    pub account: u64,
    /// True if the network's rope lasts for this failure.
    pub has_rope: bool,
}

/// How long a good login is remembered. Source: design, "Recent good logins".
pub const MEMORY: Span = Span::from_secs(30 * 86_400);

/// So many failures a day cost less in a /24 with good logins, of all its addresses together.
pub const ROPE: u32 = 10;

pub(super) const DAY: Span = Span::from_secs(86_400);

const MAX_PLACES: usize = 100_000;

/// So many users of one place are remembered; the last ones.
const MAX_USERS: usize = 16;

/// The place that an address belongs to, by its first address: itself, or its /64 (IPv6).
pub fn place(addr: IpAddr) -> Prefix {
    match addr {
        IpAddr::V4(_) => Prefix::host(addr),
        IpAddr::V6(_) => Prefix::host(addr).widened(64),
    }
}

/// The address by which a place is known: its first.
fn key(addr: IpAddr) -> IpAddr {
    place(addr).addr()
}

impl Place {
    fn last(&self) -> Option<Login<'_>> {
        let (time, user) = self.users.last()?;
        Some(Login { addr: self.addr, time: *time, user: user.as_deref() })
    }

    fn is_recent(&self, now: Timestamp) -> bool {
        self.last().is_some_and(|login| now.since(login.time) < MEMORY)
    }

    fn note(&mut self, addr: IpAddr, user: Option<Arc<str>>, when: Timestamp) {
        if self.last().is_none_or(|login| login.time <= when) {
            self.addr = addr;
        }
        let users = &mut self.users;
        if let Some(at) = users.iter().position(|(_, known)| *known == user) {
            if users[at].0 > when {
                return;
            }
            users.remove(at);
        }
        let at = users.partition_point(|(time, _)| *time <= when);
        users.insert(at, (when, user));
        if users.len() > MAX_USERS {
            users.remove(0);
        }
    }

    /// Who logged in within [`MEMORY`] before `now`.
    fn users(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let recent = self.users.iter().filter(move |(time, _)| now.since(*time) < MEMORY);
        recent.filter_map(|(_, user)| user.as_deref())
    }
}

impl Trust {
    /// Notes a good login.
    pub fn good_login(&mut self, addr: IpAddr, user: Option<&str>, when: Timestamp) {
        let first = key(addr);
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&first) {
            make_room(&mut self.places, |_, place| place.last().map(|login| login.time));
            self.sorted.retain(|first| self.places.contains_key(first));
            self.sweep_networks(when);
        }
        self.sorted.insert(first);
        let user = user.map(|user| match network(addr) {
            // Root is left out: everybody guesses at it everywhere.
            Some(network) if user != "root" => self.networks.note(network, user, when),
            _ => Arc::from(user),
        });
        let place = self.places.entry(first).or_insert_with(|| Place { addr, users: Vec::new() });
        place.note(addr, user, when);
    }

    /// The same of a login of before, in any order: without room for one more place it is left out, as the places that
    /// are known matter more. True if the place of `addr` becomes known by it.
    pub fn learn(&mut self, addr: IpAddr, user: Option<&str>, when: Timestamp, now: Timestamp) -> bool {
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&key(addr)) {
            return false;
        }
        let was_known = self.is_known_place(addr, now);
        self.good_login(addr, user, when);
        !was_known && self.is_known_place(addr, now)
    }

    /// True if somebody logged in from the place of `addr` within [`MEMORY`] before `now`.
    pub fn is_known_place(&self, addr: IpAddr, now: Timestamp) -> bool {
        self.places.get(&key(addr)).is_some_and(|place| place.is_recent(now))
    }

    /// True if `user` logged in from the place of `addr` within [`MEMORY`] before `now`.
    pub fn is_owner(&self, addr: IpAddr, user: Option<&str>, now: Timestamp) -> bool {
        let (Some(user), Some(place)) = (user, self.places.get(&key(addr))) else { return false };
        place.users(now).any(|known| known == user)
    }

    /// What a failure at `user` is worth that comes from beside a known place; nothing if the account never logged in
    /// from that /24. IPv6 has no such networks: there a whole /64 is one place.
    ///
    /// `tries`: how many the failure stands for.
    pub fn neighbour(&self, addr: IpAddr, user: &str, tries: u32, now: Timestamp) -> Option<Neighbour> {
        let network = network(addr)?;
        let account = self.networks.near(Some(network), now).meant(user)?;
        let (since, used) = self.ropes.get(&network).copied().unwrap_or((now, 0));
        let used = if now.since(since) < DAY { used } else { 0 };
        Some(Neighbour { account, has_rope: used.saturating_add(tries) <= ROPE })
    }

    /// Takes so many failures off the rope of the network of `addr`.
    pub fn spend_rope(&mut self, addr: IpAddr, tries: u32, now: Timestamp) {
        let Some(network) = network(addr) else { return };
        let rope = self.ropes.entry(network).or_insert((now, 0));
        if now.since(rope.0) >= DAY {
            *rope = (now, 0);
        }
        rope.1 = rope.1.saturating_add(tries);
    }

    /// The accounts that logged in from the /24 of `addr`, without root.
    pub fn near(&self, addr: IpAddr, now: Timestamp) -> Near<'_> {
        self.networks.near(network(addr), now)
    }

    /// The last good login from the place of `addr`.
    pub fn last_login(&self, addr: IpAddr) -> Option<Login<'_>> {
        self.places.get(&key(addr))?.last()
    }

    /// The last login of every place.
    pub fn places(&self) -> impl Iterator<Item = Login<'_>> {
        self.places.values().filter_map(Place::last)
    }

    /// Known places inside `prefix`, or the one that it is inside of, in order, each with its last login.
    pub fn known_inside(&self, prefix: Prefix, now: Timestamp) -> impl Iterator<Item = (Prefix, Login<'_>)> {
        let recent = self.places_inside(prefix).filter(move |(_, known)| known.is_recent(now));
        recent.filter_map(|(first, known)| Some((place(first), known.last()?)))
    }

    fn places_inside(&self, prefix: Prefix) -> impl Iterator<Item = (IpAddr, &Place)> {
        let inside = self.sorted.range(key(prefix.addr())..=prefix.last_addr());
        inside.filter_map(|first| Some((*first, self.places.get(first)?)))
    }

    /// Forgets networks without a known place.
    fn sweep_networks(&mut self, now: Timestamp) {
        let sorted = &self.sorted;
        let has_place = |net: Prefix| sorted.range(net.addr()..=net.last_addr()).next().is_some();
        self.networks.sweep(now, has_place);
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Timestamp) {
        self.places.retain(|_, place| place.is_recent(now));
        self.sorted.retain(|addr| self.places.contains_key(addr));
        self.sweep_networks(now);
        self.ropes.retain(|_, (since, _)| now.since(*since) < DAY);
    }
}

/// The network whose addresses a provider gives to the same people.
fn network(addr: IpAddr) -> Option<Prefix> {
    addr.is_ipv4().then(|| Prefix::host(addr).widened(24))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn all_who_log_in_from_one_address_own_it_and_the_last_is_named() {
        let mut trust = Trust::default();
        let office: IpAddr = "192.0.2.7".parse().unwrap();
        for (secs, user) in [(1, "alice"), (2, "bob"), (3, "alice")] {
            trust.good_login(office, Some(user), at(secs));
        }
        trust.good_login(office, Some("carol"), at(0));
        let last = Login { addr: office, time: at(3), user: Some("alice") };
        assert_eq!(trust.last_login(office), Some(last));
        for user in ["alice", "bob", "carol"] {
            assert!(trust.is_owner(office, Some(user), at(9)), "{user}");
        }
        assert!(!trust.is_owner(office, Some("mallory"), at(9)) && !trust.is_owner(office, None, at(9)));
        for number in 0..40 {
            trust.good_login(office, Some(&format!("user{number}")), at(10 + number));
        }
        assert!(!trust.is_owner(office, Some("alice"), at(60)), "so many users are remembered and no more");
        assert!(trust.is_owner(office, Some("user39"), at(60)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_place_from_however_many_addresses_somebody_logs_in() {
        let mut trust = Trust::default();
        let other: IpAddr = "192.0.2.7".parse().unwrap();
        trust.good_login(other, Some("bob"), at(0));
        let addr = |host: u128| IpAddr::from((0x2001_0db8_0001_0002u128 << 64 | host).to_be_bytes());
        for host in 1..=200_000u32 {
            trust.good_login(addr(host.into()), Some("alice"), at(host.into()));
        }
        trust.good_login(addr(5), Some("alice"), at(5));
        let now = at(200_000);
        assert_eq!((trust.places.len(), trust.sorted.len()), (2, 2));
        assert!(trust.is_known_place(other, now), "it pushes nobody out");
        assert!(trust.is_owner(addr(0), Some("alice"), now) && !trust.is_owner(addr(0), Some("bob"), now));
        let last = Login { addr: addr(200_000), time: now, user: Some("alice") };
        assert_eq!(trust.last_login(addr(u128::from(u64::MAX))), Some(last));
        for inside in
            ["2001:db8:1::/48", "2001:db8:1:2::/64", "2001:db8:1:2::99/128", "2001:db8:1:2::8000/120"]
        {
            let known: Vec<_> = trust.known_inside(inside.parse().unwrap(), now).collect();
            assert_eq!(known, [("2001:db8:1:2::/64".parse().unwrap(), last)], "{inside}");
        }
        assert_eq!(trust.known_inside("2001:db8:1:3::/64".parse().unwrap(), now).count(), 0);
    }

    #[test]
    fn the_rope_of_a_network_is_shared_and_new_every_day() {
        let mut trust = Trust::default();
        trust.good_login("192.0.2.7".parse().unwrap(), Some("alice"), at(0));
        let asks = |trust: &Trust, host: u8, user: &str, now: i64| {
            trust.neighbour(IpAddr::from([192, 0, 2, host]), user, 1, at(now)).map(|found| found.has_rope)
        };
        for host in 0..10 {
            assert_eq!(asks(&trust, host, "alice", 1), Some(true));
            trust.spend_rope(IpAddr::from([192, 0, 2, host]), 1, at(1));
        }
        assert_eq!(asks(&trust, 99, "alice", 2), Some(false));
        assert_eq!(asks(&trust, 99, "alice", 86_402), Some(true));
        assert_eq!((asks(&trust, 99, "alcie", 86_402), asks(&trust, 99, "root", 86_402)), (Some(true), None));
        assert_eq!(trust.neighbour("192.0.3.7".parse().unwrap(), "alice", 1, at(2)), None);
        assert_eq!(asks(&trust, 99, "alice", 31 * 86_400), None, "it was too long ago");
    }

    #[test]
    fn a_full_table_forgets_the_oldest_logins_and_its_order_with_them() {
        let mut trust = Trust::default();
        let addr = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 1..=120_000 {
            trust.good_login(addr(number), None, at(number.into()));
        }
        let now = at(120_000);
        assert!(trust.places.len() <= MAX_PLACES && trust.sorted.len() == trust.places.len());
        assert!(!trust.is_known_place(addr(1), now) && trust.is_known_place(addr(119_999), now));
    }
}
