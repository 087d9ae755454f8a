//! What holds whatever happens, judged by the whole machine and what it tells the kernel: nobody is shut out who is
//! never banned, networks of neighbours stay within their budgets, and the same input gives the same decisions.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a world that cannot be set up has failed")]

mod model;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;

use world::{Step, World, any_step};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any_step(), 1..50)
}

fn budget() -> impl Strategy<Value = u64> {
    prop_oneof![Just(20u64), Just(300), Just(1_500), Just(16_384)]
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn no_decision_ever_touches_who_is_never_banned(steps in steps(), budget in budget()) {
        let mut world = World::new(budget);
        for step in &steps {
            world.take(step);
            let wrong = world.who_is_wrongly_shut_out();
            prop_assert!(wrong.is_empty(), "after {step:?}: {wrong:?}");
            prop_assert!(world.kernel_is_as_projected(), "after {step:?}");
            let over = world.networks_over_own_ones();
            prop_assert!(over.is_empty(), "after {step:?}: {over:?}");
        }
        prop_assert!(world.wrong.is_empty(), "{:?}", world.wrong);
    }

    #[test]
    fn widening_never_exceeds_the_budget_of_either_family(steps in steps(), budget in budget()) {
        let mut world = World::new(budget);
        for step in &steps {
            world.take(step);
            for (jail, ipv4, innocents) in world.innocents() {
                prop_assert!(innocents <= budget, "{jail} ipv4={ipv4}: {innocents} of {budget} after {step:?}");
            }
        }
    }

    #[test]
    fn the_same_input_gives_the_same_decisions(steps in steps(), budget in budget()) {
        // Two machines hash with seeds of their own, so nothing may hang on the order of a map.
        let (mut one, mut other) = (World::new(budget), World::new(budget));
        for step in &steps {
            one.take(step);
            other.take(step);
            let differs = one.said.iter().zip(&other.said).find(|(one, other)| one != other);
            prop_assert!(differs.is_none(), "after {step:?}: {differs:?}");
            prop_assert_eq!(one.said.len(), other.said.len());
        }
    }
}

/// The properties are about something: what they play bans, widens, runs short, spares and lifts.
#[test]
fn what_is_played_reaches_every_kind_of_decision() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let played = (steps(), budget()).new_tree(&mut runner).unwrap().current();
        let mut world = World::new(played.1);
        played.0.iter().for_each(|step| world.take(step));
        seen.extend(world.kinds());
    }
    let wanted = [
        "campaign",
        "lifted",
        "local /128",
        "local /32",
        "local /64",
        "manual",
        "narrowed",
        "network of IPv4",
        "network of IPv6",
        "outage",
        "short of IPv4",
        "short of IPv6",
        "spared",
        "taken out of the kernel",
    ];
    let missing: Vec<&str> = wanted.into_iter().filter(|kind| !seen.contains(*kind)).collect();
    assert!(missing.is_empty(), "never played: {missing:?}; seen: {seen:?}");
}
