//! Tables for crowds: an entry for each of a million addresses, in little more than the bytes of the entry itself.
//!
//! A hash map of the standard library keeps its entries in its places, of which up to half are free, and holds all of
//! them twice while it grows. Here entries lie densely in `pieces`, which never move, and only an `index` of five
//! bytes a place has gaps and is made anew when it grows.

pub(crate) mod index;
pub(crate) mod pieces;
pub(crate) mod slab;

use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv4Addr};

use crate::hash::FastState;
use crate::net::Prefix;

use index::Index;
use pieces::Pieces;

/// Bytes of so many entries of so many bytes: the last piece may be empty, and while the index grows the old one, of half
/// the size, is there, too.
pub(crate) const fn crowd_bytes(entries: usize, each: usize) -> usize {
    (entries + pieces::PIECE) * each + index::slots_for(entries) * index::SLOT_BYTES * 3 / 2
}

/// Values by prefix. Single IPv4 addresses, nearly all keys, take four bytes; any other prefix eighteen.
#[derive(Debug)]
pub struct PrefixMap<V> {
    hosts: Dense<u32, V>,
    others: Dense<Prefix, V>,
}

impl<V> Default for PrefixMap<V> {
    fn default() -> PrefixMap<V> {
        PrefixMap { hosts: Dense::default(), others: Dense::default() }
    }
}

/// A single IPv4 address as a number.
fn host(prefix: Prefix) -> Option<u32> {
    match prefix.addr() {
        IpAddr::V4(addr) if prefix.is_host() => Some(addr.to_bits()),
        _ => None,
    }
}

fn of_host(bits: u32) -> Prefix {
    Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

impl<V> PrefixMap<V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.hosts.len() + self.others.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if there is a value of this prefix.
    pub fn contains(&self, prefix: Prefix) -> bool {
        self.get(prefix).is_some()
    }

    /// The value of this prefix.
    pub fn get(&self, prefix: Prefix) -> Option<&V> {
        match host(prefix) {
            Some(bits) => self.hosts.get(bits),
            None => self.others.get(prefix),
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, prefix: Prefix) -> Option<&mut V> {
        match host(prefix) {
            Some(bits) => self.hosts.get_mut(bits),
            None => self.others.get_mut(prefix),
        }
    }

    /// The value of this prefix; a new one if there is none.
    pub fn entry(&mut self, prefix: Prefix, new: impl FnOnce() -> V) -> &mut V {
        match host(prefix) {
            Some(bits) => self.hosts.entry(bits, new),
            None => self.others.entry(prefix, new),
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, prefix: Prefix) -> Option<V> {
        match host(prefix) {
            Some(bits) => self.hosts.remove(bits),
            None => self.others.remove(prefix),
        }
    }

    /// Every value with its prefix; the order depends on nothing but what was done to the map.
    pub fn iter(&self) -> impl Iterator<Item = (Prefix, &V)> {
        let hosts = self.hosts.iter().map(|(bits, value)| (of_host(*bits), value));
        hosts.chain(self.others.iter().map(|(prefix, value)| (*prefix, value)))
    }

    /// Keeps these values only.
    pub fn retain(&mut self, mut keep: impl FnMut(Prefix, &mut V) -> bool) {
        self.hosts.retain(|bits, value| keep(of_host(*bits), value));
        self.others.retain(|prefix, value| keep(*prefix, value));
    }
}

/// Values by their keys, without gaps: the last one takes the place of one that goes.
#[derive(Debug)]
struct Dense<K, V> {
    entries: Pieces<(K, V)>,
    index: Index,
    hasher: FastState,
}

impl<K, V> Default for Dense<K, V> {
    fn default() -> Dense<K, V> {
        Dense { entries: Pieces::default(), index: Index::default(), hasher: FastState::default() }
    }
}

impl<K: Copy + Eq + Hash, V> Dense<K, V> {
    fn len(&self) -> usize {
        self.entries.len()
    }

    /// The slot of the index that knows this key.
    fn slot(&self, key: K) -> Option<usize> {
        self.index
            .find(self.hasher.hash_one(key), |at| self.entries.get(at).is_some_and(|entry| entry.0 == key))
    }

    fn get(&self, key: K) -> Option<&V> {
        let at = self.index.at(self.slot(key)?);
        self.entries.get(at).map(|(_, value)| value)
    }

    fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let at = self.index.at(self.slot(key)?);
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        let at = match self.slot(key) {
            Some(slot) => self.index.at(slot),
            None => {
                let at = self.entries.push((key, new()));
                let (entries, hasher) = (&self.entries, &self.hasher);
                self.index.insert(hasher.hash_one(key), at, |at| {
                    entries.get(at).map_or(0, |(key, _)| hasher.hash_one(key))
                });
                at
            }
        };
        &mut self.entries.of_mut(at).1
    }

    fn remove(&mut self, key: K) -> Option<V> {
        let slot = self.slot(key)?;
        let at = self.index.at(slot);
        self.index.remove(slot);
        let last = (self.entries.len() - 1) as u32;
        if at != last
            && let Some((moved, _)) = self.entries.get(last)
            && let Some(slot) = self.index.find(self.hasher.hash_one(moved), |found| found == last)
        {
            self.index.set(slot, at);
        }
        let gone = self.entries.swap_remove(at).map(|(_, value)| value);
        self.shrink();
        gone
    }

    fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        let before = self.entries.len();
        // From the end, so that who takes the place of one that goes was looked at.
        for at in (0..before as u32).rev() {
            let (key, value) = self.entries.of_mut(at);
            if !keep(key, value) {
                self.entries.swap_remove(at);
            }
        }
        if self.entries.len() < before {
            self.index_anew();
        }
    }

    /// Gives back what a crowd that is gone had needed.
    fn shrink(&mut self) {
        if self.index.is_sparse() {
            self.index_anew();
        }
    }

    fn index_anew(&mut self) {
        let hashes = self.entries.iter().map(|(key, _)| self.hasher.hash_one(key));
        self.index.rebuild(self.entries.len(), hashes.zip(0..));
    }
}

#[cfg(test)]
mod tests;
