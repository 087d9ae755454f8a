//! Whatever happens.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Attack(u32),
    LogIn(u32),
    TalkTo(Vec<u32>),
    Never(Vec<u32>),
    Unban(u32),
    BanByHand(u32, u8),
    Wait(i64),
    Restart,
}

fn addr(low: u32) -> String {
    Ipv4Addr::from_bits(0xC000_0200 + low).to_string()
}

fn any_step() -> impl Strategy<Value = Step> {
    let low = || prop_oneof![0u32..32, 0u32..300];
    prop_oneof![
        12 => low().prop_map(Step::Attack),
        1 => low().prop_map(Step::LogIn),
        1 => prop::collection::vec(low(), 0..2).prop_map(Step::TalkTo),
        1 => prop::collection::vec(low(), 0..3).prop_map(Step::Never),
        1 => low().prop_map(Step::Unban),
        1 => (low(), 26u8..=32).prop_map(|(low, len)| Step::BanByHand(low, len)),
        3 => (0i64..3 * DAY).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// What the host should know, kept without the code under test.
#[derive(Default)]
struct Model {
    /// Until when each address is evidence.
    evidence: std::collections::BTreeMap<String, i64>,
    good: HashSet<String>,
    talks: HashSet<String>,
}

impl Model {
    fn take(&mut self, host: &mut Host, step: &Step) {
        match step {
            Step::Attack(low) => {
                let before = host.machine.ledger.of(prefix(&addr(*low))).len();
                host.attack(&addr(*low));
                if host.machine.ledger.of(prefix(&addr(*low))).len() > before {
                    self.evidence.insert(addr(*low), host.now + 7 * DAY);
                }
            }
            Step::LogIn(low) => {
                host.log_in(&addr(*low));
                self.good.insert(addr(*low));
            }
            Step::TalkTo(lows) => {
                self.talks = lows.iter().map(|low| addr(*low)).collect();
                host.machine.set_talks_to(self.talks.iter().map(|addr| addr.parse().unwrap()).collect());
            }
            Step::Never(lows) => {
                let entries = lows.iter().map(|low| (prefix(&addr(*low)), Why::Ignoreip)).collect();
                host.never = NeverBan::new(entries);
                host.machine.set_never(host.never.clone(), &mut host.out);
            }
            Step::Unban(low) => {
                if host.unban(&addr(*low)).contains(&addr(*low)) {
                    self.evidence.remove(&addr(*low));
                }
                assert!(!host.nets().iter().any(|net| {
                    let mut bans = host.machine.ledger.of(prefix(net)).into_iter();
                    bans.any(|ban| ban.origin == Origin::Local) && prefix(net).contains(prefix(&addr(*low)))
                }));
            }
            Step::BanByHand(low, len) => host.ban_by_hand(&format!("{}/{len}", addr(*low)), "manual"),
            Step::Wait(secs) => host.wait(*secs),
            Step::Restart => {
                // What has become free since a network was looked at is used when it is looked at again.
                let all: Vec<_> = neighbours_of(host).all_nets().map(|net| (sshd(), net)).collect();
                host.machine.stale.extend(all);
                host.wait(0);
                let is_short = neighbours_of(host).budget() < 5_000;
                let before = host.nets();
                host.restart();
                host.wait(0);
                assert!(
                    is_short || before == host.nets(),
                    "a restart changes nothing: {before:?}, {:?}",
                    host.nets()
                );
            }
        }
        host.wait(0);
    }

    /// Innocents in the widened bans, and whether one holds somebody who is to be spared.
    fn innocents(&self, host: &Host) -> (u64, bool) {
        let own = |ban: &Ban| ban.origin == Origin::Local && !ban.prefix.is_host();
        let mut sum = 0;
        let mut hits = false;
        for ban in host.machine.ledger.iter().filter(own) {
            let evidence = self.evidence.iter().filter(|(_, until)| **until > host.now);
            let inside = evidence.filter(|(addr, _)| ban.prefix.contains(prefix(addr))).count() as u64;
            sum += (1u64 << (32 - ban.prefix.prefix_len())) - inside;
            hits |= self.good.iter().chain(&self.talks).any(|addr| ban.prefix.contains(prefix(addr)));
        }
        (sum, hits)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn whatever_happens_budget_and_friends_are_respected(
        steps in prop::collection::vec(any_step(), 1..60), budget in prop_oneof![Just(20u64), Just(100), Just(5_000)]
    ) {
        let mut host = Host::new(budget);
        let mut model = Model::default();
        for step in &steps {
            model.take(&mut host, step);
            let (innocents, hits) = model.innocents(&host);
            prop_assert!(innocents <= budget, "{innocents} of {budget} after {step:?}: {:?}", host.nets());
            prop_assert!(!hits, "after {:?}: {:?}", step, host.nets());
            let never = host.never.entries();
            for (element, _) in host.machine.projection().elements() {
                prop_assert!(!never.iter().any(|(entry, _)| entry.overlaps(element.prefix)));
            }
            let own = |ban: &Ban| ban.origin == Origin::Local && !ban.prefix.is_host();
            prop_assert_eq!(host.machine.widened(&sshd()), host.machine.ledger.iter().filter(own).count());
        }
        let mut again = Host::new(budget);
        let mut model = Model::default();
        steps.iter().for_each(|step| model.take(&mut again, step));
        prop_assert_eq!(&again.out, &host.out, "the same input gives the same decisions");
    }
}
