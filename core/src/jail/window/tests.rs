use super::*;
use proptest::prelude::*;

fn failure(secs: i64) -> Failure {
    Failure { time: Timestamp::from_secs(secs), points: Points(100), tries: 1, user: 0, connection: 0 }
}

fn source(number: u32) -> Prefix {
    Prefix::host(std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(number)))
}

proptest! {
    #[test]
    fn the_window_holds_exactly_what_lies_within_findtime(times in prop::collection::vec(0i64..500, 1..60), findtime in 1u64..200) {
        let policy = Policy { findtime: Span::from_secs(findtime), ..Policy::default() };
        let mut windows = Windows::new(100);
        let mut seen: Vec<i64> = Vec::new();
        for time in times {
            let points = windows.add(0, source(1), failure(time), &policy);
            seen.push(time);
            let newest = seen.iter().copied().max().unwrap();
            // What an out-of-order line finds dropped stays dropped; both rules agree on what is kept.
            seen.retain(|known| *known > newest - findtime as i64);
            prop_assert_eq!(points, Points(100 * seen.len() as u32));
        }
    }
}

#[test]
fn what_a_source_takes_is_small() {
    assert_eq!(size_of::<(u32, Kept)>(), 36);
}

proptest! {
    #[test]
    fn each_source_has_its_own_failures(steps in prop::collection::vec((0u16..2, 0u32..6, 0u8..12, 0u64..4), 1..300)) {
        let (mut windows, mut model) = (Windows::new(100), std::collections::BTreeMap::<_, Vec<Failure>>::new());
        let policy = Policy { findtime: Span::from_secs(1_000), ..Policy::default() };
        for (secs, (jail, number, what, user)) in (0..).zip(steps) {
            let key = (jail, source(number));
            let known = model.entry(key).or_default();
            match what {
                0 => prop_assert_eq!(windows.take(jail, key.1), std::mem::take(known)),
                1 => {
                    windows.forget_user(jail, key.1, user);
                    known.retain(|failure| failure.user != user);
                }
                2 => {
                    windows.soften(jail, key.1, Points(50));
                    known.iter_mut().for_each(|failure| failure.points = Points(50));
                }
                _ => {
                    let failure = Failure { user, ..failure(secs) };
                    windows.add(jail, key.1, failure, &policy);
                    known.push(failure);
                }
            }
            let now = Timestamp::from_secs(secs);
            for ((jail, source), known) in &model {
                let held: Vec<Failure> = windows.failures(*jail, *source, now, policy.findtime).collect();
                prop_assert_eq!(&held, known);
            }
            let further: usize = model.values().map(|known| known.len().saturating_sub(1)).sum();
            prop_assert_eq!(windows.more.len(), further);
        }
    }
}

#[test]
fn all_failures_together_are_bounded_too() {
    let mut windows = Windows::new(2_048);
    for secs in 0..30_000 {
        windows.add(0, source(secs as u32 % 100), failure(secs), &Policy::default());
        assert!(windows.more.len() <= 2_048 * FURTHER);
    }
    assert!(windows.tracked(0) > 10, "not everybody goes");
    assert!(windows.sum(0, source(99), Timestamp::from_secs(30_000), Policy::default().findtime).1 > 0);
}

#[test]
fn the_worst_offenders_outlive_eviction() {
    let mut windows = Windows::new(64);
    let policy = Policy::default();
    for _ in 0..4 {
        windows.add(0, source(9), failure(1), &policy);
    }
    for number in 1000..5000 {
        windows.add(0, source(number), failure(2), &policy);
    }
    assert!(windows.tracked(0) <= 64);
    assert_eq!(windows.sum(0, source(9), Timestamp::from_secs(3), policy.findtime).1, 4);
}
