//! A fast hash for maps with small keys on the path of every line: addresses, numbers of connections.
//!
//! foldhash has a seed of the process, so who chooses addresses cannot choose collisions. What is kept over restarts
//! takes [`stable`].

/// Builds the hashers, all with the seed of this process.
pub type FastState = foldhash::fast::RandomState;

/// A map that hashes fast.
pub type FastMap<K, V> = std::collections::HashMap<K, V, FastState>;

/// A set that hashes fast.
pub type FastSet<K> = std::collections::HashSet<K, FastState>;

/// Bytes of a hash table of so many entries of so many bytes: places are a power of two, at most seven of eight are taken,
/// and each has a byte more.
pub const fn table_bytes(entries: usize, each: usize) -> usize {
    (entries * 8).div_ceil(7).next_power_of_two() * (each + 1)
}

/// FNV-1a of 32 bits: the same in every version, so it may be kept. Who chooses what is hashed can choose collisions.
pub fn stable(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}
