//! Trust: places from which somebody logged in lately.
//!
//! A known place is judged mildly: each failure counts one point at most, and its first ban is short. A place is an
//! IPv4 address or an IPv6 /64, within which hosts change their addresses daily.
//!
//! Providers and carriers give their customers other addresses of one IPv4 network, so the /24 around a known place has
//! a weaker standing ([`Trust::neighbour`]): only failures at accounts that logged in from it lately cost less, and
//! only [`ROPE`] of them a day, however many addresses of it fail. For anybody else there it is worth nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::hash::FastMap;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::names;
use super::room::make_room;

/// Good logins of the last [`MEMORY`].
#[derive(Debug, Default)]
pub struct Trust {
    places: FastMap<IpAddr, Place>,
    /// The same addresses, in order: whose network is asked for.
    sorted: BTreeSet<IpAddr>,
    /// What strangers in networks with good logins have used of their ropes, and since when.
    ropes: FastMap<Prefix, (Timestamp, u32)>,
}

/// Who logged in from an address, the last one last, each once.
#[derive(Debug, Default)]
struct Place(Vec<(Timestamp, Option<String>)>);

/// What a stranger is who lives beside a known place and fails at an account that logged in from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The number ([`names::hash`]) of the account that was meant.
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

/// So many users of one address are remembered; the last ones.
const MAX_USERS: usize = 16;

/// The place that an address belongs to, by its first address: itself, or its /64 (IPv6).
pub fn place(addr: IpAddr) -> Prefix {
    match addr {
        IpAddr::V4(_) => Prefix::host(addr),
        IpAddr::V6(_) => Prefix::host(addr).widened(64),
    }
}

impl Place {
    fn last(&self) -> Option<&(Timestamp, Option<String>)> {
        self.0.last()
    }

    fn is_recent(&self, now: Timestamp) -> bool {
        self.last().is_some_and(|(time, _)| now.since(*time) < MEMORY)
    }

    fn note(&mut self, user: Option<&str>, when: Timestamp) {
        if let Some(at) = self.0.iter().position(|(_, known)| known.as_deref() == user) {
            if self.0[at].0 > when {
                return;
            }
            self.0.remove(at);
        }
        let at = self.0.partition_point(|(time, _)| *time <= when);
        self.0.insert(at, (when, user.map(str::to_owned)));
        if self.0.len() > MAX_USERS {
            self.0.remove(0);
        }
    }

    /// Who logged in within [`MEMORY`] before `now`.
    fn users(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let recent = self.0.iter().filter(move |(time, _)| now.since(*time) < MEMORY);
        recent.filter_map(|(_, user)| user.as_deref())
    }
}

impl Trust {
    /// Notes a good login.
    pub fn good_login(&mut self, addr: IpAddr, user: Option<&str>, when: Timestamp) {
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&addr) {
            make_room(&mut self.places, |_, place| place.last().map(|(time, _)| *time));
            self.sorted.retain(|addr| self.places.contains_key(addr));
        }
        self.sorted.insert(addr);
        self.places.entry(addr).or_default().note(user, when);
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
        self.known_inside(place(addr), now).next().is_some()
    }

    /// True if `user` logged in from the place of `addr` within [`MEMORY`] before `now`.
    pub fn is_owner(&self, addr: IpAddr, user: Option<&str>, now: Timestamp) -> bool {
        user.is_some_and(|user| self.users_inside(place(addr), now).any(|known| known == user))
    }

    /// Who logged in from addresses of `prefix` within [`MEMORY`] before `now`.
    fn users_inside(&self, prefix: Prefix, now: Timestamp) -> impl Iterator<Item = &str> {
        let inside = self.sorted.range(prefix.addr()..=prefix.last_addr());
        inside.filter_map(|addr| self.places.get(addr)).flat_map(move |place| place.users(now))
    }

    /// The same without root, whom everybody guesses at everywhere.
    fn users_near(&self, network: Prefix, now: Timestamp) -> impl Iterator<Item = &str> {
        self.users_inside(network, now).filter(|user| *user != "root")
    }

    /// What a failure at `user` is worth that comes from beside a known place; nothing if the account never logged in
    /// from that /24. IPv6 has no such networks: there a whole /64 is one place.
    ///
    /// `tries`: how many the failure stands for.
    pub fn neighbour(&self, addr: IpAddr, user: &str, tries: u32, now: Timestamp) -> Option<Neighbour> {
        let network = network(addr)?;
        let is_meant = |account: &&str| *account == user || names::is_slip_of(user, account);
        let account = self.users_near(network, now).find(is_meant).map(names::hash)?;
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

    /// The numbers of the accounts that logged in from the /24 of `addr`.
    pub fn accounts_near(&self, addr: IpAddr, now: Timestamp) -> Vec<u64> {
        let network = network(addr);
        network.map_or_else(Vec::new, |network| self.users_near(network, now).map(names::hash).collect())
    }

    /// The last good login from `addr`: when and who.
    pub fn last_login(&self, addr: IpAddr) -> Option<(Timestamp, Option<&str>)> {
        let (time, user) = self.places.get(&addr)?.last()?;
        Some((*time, user.as_deref()))
    }

    /// Every known place with its last login.
    pub fn places(&self) -> impl Iterator<Item = (IpAddr, Timestamp)> {
        self.places.iter().filter_map(|(addr, place)| Some((*addr, place.last()?.0)))
    }

    /// Known places inside `prefix`, in order.
    pub fn known_inside(&self, prefix: Prefix, now: Timestamp) -> impl Iterator<Item = IpAddr> {
        let inside = self.sorted.range(prefix.addr()..=prefix.last_addr()).copied();
        inside.filter(move |addr| self.places.get(addr).is_some_and(|place| place.is_recent(now)))
    }

    /// Forgets what is too old.
    pub fn sweep(&mut self, now: Timestamp) {
        self.places.retain(|_, place| place.is_recent(now));
        self.sorted.retain(|addr| self.places.contains_key(addr));
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
        assert_eq!(trust.last_login(office), Some((at(3), Some("alice"))));
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
