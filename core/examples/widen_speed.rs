//! What a cover of very many offenders costs, and what widening adds to a ban:
//! `cargo run --release --example widen_speed [OFFENDERS]`.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a measurement reads a clock")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use pillory_core::event::{Class, Event, JailName, Outcome};
use pillory_core::jail::names::Names;
use pillory_core::jail::policy::Policy;
use pillory_core::jail::widen::{BUDGET, cover};
use pillory_core::jail::{Jail, Judge};
use pillory_core::machine::{Machine, Phase, ScopeRule};
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::time::Timestamp;

/// Numbers without a pattern. Source: Marsaglia, "Xorshift RNGs", 2003.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }
}

/// Bans every one of these addresses by one line each, and says how long that takes a ban.
fn bans(name: &str, addrs: &[u32], budget: u64) {
    let Ok(sshd) = JailName::new("sshd") else { return };
    let jails = vec![Jail { name: sshd.clone(), policy: Policy::default(), lines: None }];
    let judge = Judge::new(jails, Names::default(), PrefixSet::default(), 1_000_000);
    let mut machine = Machine::new(judge, Vec::new(), ScopeRule::Auto);
    machine.set_widening([(sshd.clone(), budget)]);
    let start = Instant::now();
    for (at, bits) in (0..).zip(addrs) {
        let event = Event {
            stamp: None,
            addr: IpAddr::V4(Ipv4Addr::from_bits(*bits)),
            user: Some("oracle".into()),
            outcome: Outcome::Failure { class: Class::UnknownUser, kind: 0, attempts: 2 },
            connection: None,
            forwarded: Vec::new(),
        };
        machine.event(
            0,
            &event,
            Phase::Live,
            Timestamp::from_millis(1_800_000_000_000 + at),
            &mut Vec::new(),
        );
    }
    println!(
        "{name:<13} {} attacks, budget {budget}: {} bans, {} of them networks, {:?} an attack",
        addrs.len(),
        machine.ledger.len(),
        machine.widened(&sshd),
        start.elapsed() / addrs.len().max(1) as u32
    );
}

fn main() {
    let count: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let mut random = Random(88_172_645_463_325_252);
    let mut anywhere = || random.next();
    let scattered: Vec<u32> = (0..count).map(|_| anywhere()).collect();
    // Eight neighbours in each of many /24s.
    let grouped = (0..count).scan(0, |net, at| {
        if at % 8 == 0 {
            *net = anywhere() & 0xFFFF_FF00;
        }
        Some(*net | anywhere() & 0xFF)
    });
    let grouped: Vec<u32> = grouped.collect();
    let dense: Vec<u32> = (0..count).map(|at| 0x0A00_0000 + at as u32 * 3).collect();
    for (name, addrs) in [("scattered", &scattered), ("eight a /24", &grouped), ("one in three", &dense)] {
        for budget in [0, BUDGET, 1 << 24] {
            bans(name, addrs.get(..count / 10).unwrap_or_default(), budget);
        }
    }
    for (name, addrs) in [("scattered", scattered), ("eight a /24", grouped), ("one in three", dense)] {
        let hosts = addrs.into_iter().map(|bits| Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(bits))));
        let mut offenders: Vec<Prefix> = hosts.collect();
        offenders.sort();
        offenders.dedup();
        for budget in [u64::MAX, BUDGET] {
            let start = Instant::now();
            let cover = cover(&offenders, &PrefixSet::default(), budget);
            println!(
                "{name:<13} {} offenders, budget {budget}: {} networks, {} innocents, price {}, {:?}",
                offenders.len(),
                cover.nets.len(),
                cover.innocents(),
                cover.price,
                start.elapsed()
            );
        }
    }
}
