//! Who logged in from an IPv4 /24, whichever of its addresses: what a failure beside a known place is compared with.
//!
//! A network's accounts are kept together, each once, so a failure there costs the same however many places are known in
//! it: [`MOST`] comparisons of a number, and no more of the letters. Only a name whose letters fit is taken for a slip
//! and measured.

use std::sync::Arc;

use crate::hash::FastMap;
use crate::jail::names;
use crate::net::Prefix;
use crate::time::Timestamp;

use super::MEMORY;

/// So many accounts of a network are remembered, as many as it has addresses; those that logged in last.
pub(super) const MOST: usize = 256;

/// An account that logged in from a network.
#[derive(Debug)]
struct Account {
    user: Arc<str>,
    /// [`names::hash`] of it.
    number: u64,
    letters: u64,
    last: Timestamp,
}

/// The accounts of every network.
#[derive(Debug, Default)]
pub(super) struct Networks(FastMap<Prefix, Vec<Account>>);

/// Who logged in from one network within [`MEMORY`].
#[derive(Debug, Clone, Copy)]
pub struct Near<'t> {
    accounts: &'t [Account],
    now: Timestamp,
}

impl Networks {
    /// Notes a good login; returns the text that is kept of the name, one for all places of the network.
    pub(super) fn note(&mut self, network: Prefix, user: &str, when: Timestamp) -> Arc<str> {
        let accounts = self.0.entry(network).or_insert_with(|| Vec::with_capacity(1));
        if let Some(known) = accounts.iter_mut().find(|known| *known.user == *user) {
            known.last = known.last.max(when);
            return known.user.clone();
        }
        if accounts.len() >= MOST
            && let Some((oldest, _)) = accounts.iter().enumerate().min_by_key(|(_, known)| known.last)
        {
            accounts.swap_remove(oldest);
        }
        let (number, letters) = (names::hash(user), letters(user));
        let user: Arc<str> = user.into();
        accounts.push(Account { user: user.clone(), number, letters, last: when });
        user
    }

    /// The accounts of a network at `now`.
    pub(super) fn near(&self, network: Option<Prefix>, now: Timestamp) -> Near<'_> {
        let accounts = network.and_then(|network| self.0.get(&network));
        Near { accounts: accounts.map_or(&[], Vec::as_slice), now }
    }

    /// Forgets accounts whose last login is too long ago, and networks for which `stays` is not true.
    pub(super) fn sweep(&mut self, now: Timestamp, stays: impl Fn(Prefix) -> bool) {
        self.0.retain(|network, accounts| {
            accounts.retain(|known| now.since(known.last) < MEMORY);
            !accounts.is_empty() && stays(*network)
        });
    }
}

impl<'t> Near<'t> {
    /// Who is compared with.
    fn accounts(self) -> impl Iterator<Item = &'t Account> {
        self.accounts.iter().filter(move |known| self.now.since(known.last) < MEMORY)
    }

    /// True for the number of an account that logged in from there.
    pub fn has(self, number: u64) -> bool {
        self.accounts().any(|known| known.number == number)
    }

    /// The number of the account that was meant by `user`: that one, or one that it may be mistyped for.
    pub(super) fn meant(self, user: &str) -> Option<u64> {
        let number = names::hash(user);
        if self.has(number) {
            return Some(number);
        }
        let tried = letters(user);
        // Two edits put in two letters and take two out at most.
        let may_be = |known: &&Account| (known.letters ^ tried).count_ones() <= 4;
        let mut fitting = self.accounts().filter(may_be);
        fitting.find(|known| names::is_slip_of(user, &known.user)).map(|known| known.number)
    }
}

/// Which letters a name has, as bits; some share one.
fn letters(user: &str) -> u64 {
    user.chars().fold(0, |bits, letter| bits | 1 << (u32::from(letter) % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network() -> Prefix {
        "192.0.2.0/24".parse().unwrap()
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn however_many_log_in_from_a_network_a_failure_is_compared_with_as_many_as_it_has_addresses() {
        let mut networks = Networks::default();
        for number in 0..4_096 {
            networks.note(network(), &format!("user{number}"), at(number));
            networks.note(network(), "alice", at(number));
        }
        let near = networks.near(Some(network()), at(5_000));
        assert_eq!(near.accounts().count(), MOST);
        assert!(near.has(names::hash("alice")) && near.has(names::hash("user4095")), "who came last");
        assert!(!near.has(names::hash("user7")));
    }

    proptest! {
        #[test]
        fn whatever_is_a_slip_is_found_and_nothing_else(account in "[a-f]{1,9}", user in "[a-f]{1,9}") {
            let mut networks = Networks::default();
            networks.note(network(), &account, at(0));
            let found = networks.near(Some(network()), at(1)).meant(&user);
            let is_meant = user == account || names::is_slip_of(&user, &account);
            prop_assert_eq!(found, is_meant.then(|| names::hash(&account)));
        }
    }
}
