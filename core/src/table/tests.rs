use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn prefix(kind: u8, number: u32) -> Prefix {
    match kind % 3 {
        0 => of_host(number),
        1 => of_host(number << 8).widened(24),
        _ => Prefix::host(IpAddr::V6(std::net::Ipv6Addr::from_bits(u128::from(number) << 64))).widened(64),
    }
}

proptest! {
    #[test]
    fn holds_what_a_map_would_hold(
        steps in prop::collection::vec((0..20u8, 0..3u8, 0..60u32, 0..9u32), 0..600),
    ) {
        let (mut table, mut map) = (PrefixMap::default(), BTreeMap::new());
        for (what, kind, number, value) in steps {
            let prefix = prefix(kind, number);
            match what {
                0..11 => {
                    *table.entry(prefix, || 0) += value;
                    *map.entry(prefix).or_insert(0) += value;
                }
                11..15 => prop_assert_eq!(table.remove(prefix), map.remove(&prefix)),
                15..17 => prop_assert_eq!(table.get(prefix), map.get(&prefix)),
                17..19 => prop_assert_eq!(table.get_mut(prefix), map.get_mut(&prefix)),
                _ => {
                    table.retain(|_, left| *left > value);
                    map.retain(|_, left| *left > value);
                }
            }
            let held: BTreeMap<Prefix, u32> = table.iter().map(|(prefix, value)| (prefix, *value)).collect();
            prop_assert_eq!((table.len(), &held), (map.len(), &map));
        }
    }
}

#[test]
fn a_crowd_that_comes_and_goes_is_found_and_leaves_little_behind() {
    let mut table = PrefixMap::default();
    for number in 0..30_000 {
        table.entry(of_host(number), || number);
    }
    assert!((0..30_000).all(|number| table.get(of_host(number)) == Some(&number)));
    for number in (0..30_000).filter(|number| number % 1_000 != 7) {
        assert_eq!(table.remove(of_host(number)), Some(number));
    }
    assert_eq!(table.len(), 30);
    assert!((0..30).all(|number| table.get(of_host(number * 1_000 + 7)) == Some(&(number * 1_000 + 7))));
    assert!(!table.contains(of_host(8)) && !table.hosts.index.is_sparse());
}

#[test]
fn an_index_whose_entries_change_all_the_time_does_not_fill_with_gaps() {
    let mut table = PrefixMap::default();
    for number in 0..100_000 {
        table.entry(of_host(number), || number);
        table.remove(of_host(number.wrapping_sub(10)));
    }
    assert_eq!(table.len(), 10);
    assert!((99_990..100_000).all(|number| table.contains(of_host(number))));
}

#[test]
fn numbers_of_a_slab_are_given_again() {
    let mut slab = slab::Slab::default();
    let numbers: Vec<u32> = (0..10).map(|item| slab.add(item)).collect();
    slab.remove(numbers[3]);
    assert_eq!((slab.add(33), slab.len()), (numbers[3], 10));
    assert!((0..10).all(|item| *slab.of(numbers[item]) == if item == 3 { 33 } else { item as i32 }));
    numbers.iter().for_each(|number| slab.remove(*number));
    assert_eq!((slab.len(), slab.add(7)), (0, 0));
}
