//! A fast hash for maps with small keys on the path of every line: addresses, numbers of connections.
//!
//! foldhash has a seed of the process, so who chooses addresses cannot choose collisions. Not for anything that
//! is kept on disk.

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
