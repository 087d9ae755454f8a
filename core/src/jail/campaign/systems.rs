//! Networks of one operator, an autonomous system (AS), that attack together.
//!
//! Who rents addresses gets them from one operator, all over its networks. From [`BEGINS`] networks of one AS, in each of
//! which a stranger tried a name that does not exist here within a day, its strangers who try such names are members, until
//! it is fewer than [`ENDS`].

use crate::hash::FastMap;
use crate::net::Prefix;
use crate::time::Timestamp;

use super::super::room::make_room;
use super::{DAY, System};

/// So many networks of one AS within a day. A host sees 22 sources a day from all of them together (57 days of a
/// honeypot, 2018).
pub const BEGINS: usize = 15;

/// It ends with fewer.
pub const ENDS: usize = 8;

/// So many networks an AS, and so many of these a jail, are remembered; those that were seen last stay.
const MAX_NETWORKS: usize = 64;
const MAX_SYSTEMS: usize = 4_096;

#[derive(Debug, Default)]
struct Known {
    last: Timestamp,
    networks: FastMap<Prefix, Timestamp>,
    since: Option<Timestamp>,
    /// When somebody who belongs here was last found in it.
    home: Option<Timestamp>,
}

impl Known {
    /// Forgets what is older than a day; true if it is over by that.
    fn forget(&mut self, now: Timestamp) -> bool {
        self.networks.retain(|_, seen| now.since(*seen) < DAY);
        self.since.is_some() && self.networks.len() < ENDS
    }
}

/// The operators of those who try names that do not exist.
#[derive(Debug, Default)]
pub(super) struct Systems {
    known: FastMap<u32, Known>,
}

/// What came of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing new. True if its AS attacks.
    None(bool),
    /// With this try its AS attacks.
    Began(System),
    /// It had been attacking, but not lately.
    Ended,
}

impl Systems {
    /// A place of an AS tried a name that does not exist here. `is_home`: whether somebody who belongs here, or the host
    /// itself, is in it; asked once a day at most, when it would begin.
    pub(super) fn failure(
        &mut self,
        number: u32,
        place: Prefix,
        when: Timestamp,
        is_home: &mut dyn FnMut(u32) -> bool,
    ) -> Turn {
        if self.known.len() >= MAX_SYSTEMS && !self.known.contains_key(&number) {
            make_room(&mut self.known, |_, system| system.last);
        }
        let system = self.known.entry(number).or_default();
        system.last = when;
        let ended = system.forget(when);
        let wide = if place.is_ipv4() { 24 } else { 48 };
        let network = place.widened(wide);
        if system.networks.len() >= MAX_NETWORKS && !system.networks.contains_key(&network) {
            // The network's order decides between two of one moment, or chance would.
            let oldest = system.networks.iter().map(|(network, seen)| (*seen, *network)).min();
            oldest.map(|(_, network)| system.networks.remove(&network));
        }
        system.networks.insert(network, when);
        if ended {
            system.since = None;
            return Turn::Ended;
        }
        if system.since.is_some() || system.networks.len() < BEGINS {
            return Turn::None(system.since.is_some());
        }
        if system.home.is_some_and(|found| when.since(found) < DAY) {
            return Turn::None(false);
        }
        if is_home(number) {
            system.home = Some(when);
            return Turn::None(false);
        }
        system.since = Some(when);
        Turn::Began(System { number, since: when, networks: system.networks.len() })
    }

    /// Somebody logged in from it. True if that ends an attack.
    pub(super) fn good_login(&mut self, number: u32, when: Timestamp) -> bool {
        let Some(system) = self.known.get_mut(&number) else { return false };
        system.home = Some(when);
        system.since.take().is_some()
    }

    /// Forgets what is too old; the numbers of those whose attack is over, in order.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Vec<u32> {
        let mut over = Vec::new();
        for (number, system) in &mut self.known {
            if system.forget(now) {
                system.since = None;
                over.push(*number);
            }
        }
        self.known.retain(|_, system| now.since(system.last) < DAY);
        over.sort_unstable();
        over
    }

    /// Those that attack, by their number.
    pub(super) fn attacking(&self) -> Vec<System> {
        let attacking = self.known.iter().filter_map(|(number, system)| {
            let since = system.since?;
            Some(System { number: *number, since, networks: system.networks.len() })
        });
        let mut attacking: Vec<System> = attacking.collect();
        attacking.sort_unstable_by_key(|system| system.number);
        attacking
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
