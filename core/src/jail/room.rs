//! Room in a full table: what matters least goes, much of it at once, so that a new entry costs no search.

use std::hash::Hash;

use crate::hash::FastMap;

/// Drops the eighth with the lowest ranks; of equal ranks the lower keys, so that the same input leaves the same.
///
/// What stays is put into the table anew: entries that are taken out leave marks, and a table that has run full of them
/// grows to twice its size although it holds no more.
pub fn make_room<K: Clone + Ord + Hash, V, R: Copy + Ord>(
    map: &mut FastMap<K, V>,
    rank: impl Fn(&K, &V) -> R,
) {
    let ranks = map.iter().map(|(key, value)| rank(key, value)).collect();
    let Some((limit, quota)) = lowest(ranks) else { return };
    let of_limit = map.iter().filter(|(key, value)| rank(key, value) == limit);
    let mut gone: Vec<K> = of_limit.map(|(key, _)| key.clone()).collect();
    gone.sort_unstable();
    gone.truncate(quota);
    let stays = |(key, value): &(K, V)| match rank(key, value) {
        rank if rank == limit => gone.binary_search(key).is_err(),
        rank => rank > limit,
    };
    let kept: Vec<(K, V)> = map.drain().filter(stays).collect();
    map.extend(kept);
}

/// The highest rank of the lowest eighth, and how many of those that have it are in that eighth.
pub(super) fn lowest<R: Copy + Ord>(mut ranks: Vec<R>) -> Option<(R, usize)> {
    let quota = ranks.len().div_ceil(8);
    let (lower, limit, _) = ranks.select_nth_unstable(quota.checked_sub(1)?);
    let limit = *limit;
    let lower = lower.iter().filter(|rank| **rank < limit).count();
    Some((limit, quota - lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_goes_the_least_first_and_of_equals_the_lower_keys() {
        let mut map: FastMap<u32, u32> = (0..64).map(|key| (key, u32::from(key >= 4))).collect();
        make_room(&mut map, |_, value| *value);
        let mut left: Vec<u32> = map.into_keys().collect();
        left.sort_unstable();
        assert_eq!(left, (8..64).collect::<Vec<u32>>());
    }

    #[test]
    fn a_table_in_which_others_come_and_go_does_not_grow() {
        let mut map: FastMap<u32, u32> = FastMap::default();
        for key in 0..200_000 {
            if map.len() >= 7_000 {
                make_room(&mut map, |_, value| *value);
            }
            map.insert(key, key);
        }
        assert_eq!(map.capacity(), 8_192 / 8 * 7);
    }

    #[test]
    fn nothing_is_dropped_from_nothing_and_one_from_one() {
        let mut map: FastMap<u32, u32> = FastMap::default();
        make_room(&mut map, |_, value| *value);
        map.insert(1, 1);
        make_room(&mut map, |_, value| *value);
        assert!(map.is_empty());
    }
}
