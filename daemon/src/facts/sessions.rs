//! Open authenticated sessions: which connections of the socket table have logged in, and whom of them is spared.

use std::collections::HashSet;
use std::net::IpAddr;

/// The far ends of so many sessions are never banned. Source: who is never banned is looked up for each line.
pub(super) const MOST: usize = 4_096;

/// Logins whose connections are open, the oldest first; as many as the socket table has at most.
#[derive(Debug, Default)]
pub(super) struct Logins {
    order: Vec<(IpAddr, u16)>,
    known: HashSet<(IpAddr, u16)>,
}

impl Logins {
    /// Takes over new logins, and forgets those whose connection is not `open` any more.
    pub(super) fn update(&mut self, new: impl Iterator<Item = (IpAddr, u16)>, open: &HashSet<(IpAddr, u16)>) {
        self.order.extend(new.filter(|login| open.contains(login) && self.known.insert(*login)));
        self.order.retain(|login| open.contains(login));
        self.known.retain(|login| open.contains(login));
    }

    /// Whom to spare, at most [`MOST`] addresses: those that utmp or logind `told` of, who sits at a terminal and gives
    /// commands, and then those of the oldest logins. And how many addresses that leaves out.
    pub(super) fn spared(&self, told: impl Iterator<Item = IpAddr>) -> (HashSet<IpAddr>, usize) {
        let mut spared = HashSet::new();
        let mut left_out = HashSet::new();
        for addr in told.chain(self.order.iter().map(|(addr, _)| *addr)) {
            if spared.len() < MOST || spared.contains(&addr) {
                spared.insert(addr);
            } else {
                left_out.insert(addr);
            }
        }
        (spared, left_out.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(number: u32) -> (IpAddr, u16) {
        (IpAddr::from((0x0a00_0000 + number).to_be_bytes()), 40_000)
    }

    fn open(numbers: std::ops::Range<u32>) -> HashSet<(IpAddr, u16)> {
        numbers.map(login).collect()
    }

    #[test]
    fn of_too_many_sessions_those_at_terminals_and_the_oldest_are_spared() {
        let mut logins = Logins::default();
        logins.update((0..6_000).map(login), &open(0..6_000));
        let (spared, left_out) = logins.spared([login(5_999).0].into_iter());
        assert_eq!((spared.len(), left_out), (MOST, 6_000 - MOST));
        assert!(spared.contains(&login(5_999).0) && spared.contains(&login(0).0));
        assert!(spared.contains(&login(MOST as u32 - 2).0) && !spared.contains(&login(MOST as u32 - 1).0));
    }

    #[test]
    fn who_was_left_out_is_spared_once_older_sessions_end() {
        let mut logins = Logins::default();
        logins.update((0..5_000).map(login), &open(0..5_000));
        assert!(!logins.spared(std::iter::empty()).0.contains(&login(4_999).0));
        logins.update(std::iter::empty(), &open(2_000..5_000));
        let (spared, left_out) = logins.spared(std::iter::empty());
        assert_eq!((spared.len(), left_out), (3_000, 0));
        assert_eq!((logins.order.len(), logins.known.len()), (3_000, 3_000));
    }

    #[test]
    fn many_sessions_from_one_address_take_one_place() {
        let mut logins = Logins::default();
        let from_one: HashSet<_> = (1..=u16::MAX).map(|port| (login(1).0, port)).collect();
        logins.update(from_one.iter().copied(), &from_one);
        assert_eq!(logins.spared([login(2).0].into_iter()), ([login(1).0, login(2).0].into(), 0));
    }

    #[test]
    fn a_login_without_an_open_connection_is_none() {
        let mut logins = Logins::default();
        logins.update([login(1), login(2)].into_iter(), &open(2..3));
        assert_eq!(logins.order, [login(2)]);
    }
}
