//! A fast hash for maps with small keys on the path of every line: addresses, numbers of connections.
//!
//! Multiply and fold, twice a word, with a seed of the process: who chooses addresses cannot choose collisions
//! without knowing it. Not for anything that is kept on disk.

use std::hash::{BuildHasher, Hasher};
use std::sync::OnceLock;

/// Builds [`Folding`] hashers, all with the seed of this process.
#[derive(Debug, Clone, Copy)]
pub struct FastState(u64);

impl Default for FastState {
    fn default() -> FastState {
        static SEED: OnceLock<u64> = OnceLock::new();
        FastState(*SEED.get_or_init(|| std::hash::RandomState::new().hash_one(0u8) | 1))
    }
}

impl BuildHasher for FastState {
    type Hasher = Folding;
    fn build_hasher(&self) -> Folding {
        Folding(self.0)
    }
}

/// A map that hashes fast.
pub type FastMap<K, V> = std::collections::HashMap<K, V, FastState>;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Folding(u64);

impl Folding {
    fn word(&mut self, word: u64) {
        // Odd, without pattern: digits of pi's fraction.
        const MULTIPLIER: u64 = 0x243f_6a88_85a3_08d3;
        let product = u128::from(self.0 ^ word) * u128::from(MULTIPLIER);
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(23);
    }
}

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0u8; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(last) ^ (rest.len() as u64) << 56);
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.word(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.word(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.word(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its tags from the highest bits and its places from the lowest.
        let product = u128::from(self.0) * u128::from(0x1319_8a2e_0370_7345_u64);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_spread_over_all_places() {
        let state = FastState::default();
        let mut places = vec![0u32; 1024];
        for low in 0..10_240u32 {
            let addr = std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(0xC000_0000 + low));
            places[(state.hash_one(addr) % 1024) as usize] += 1;
        }
        assert!(places.iter().all(|count| *count < 40), "{:?}", places.iter().max());
    }
}
