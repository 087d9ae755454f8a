//! What tests of the alarms share: moments, places, and chance from a seed.

use std::net::{IpAddr, Ipv4Addr};

use crate::event::JailName;
use crate::net::Prefix;
use crate::time::Timestamp;

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;

pub fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

pub fn jail() -> JailName {
    JailName::new("sshd").unwrap()
}

/// Another address for each number.
pub fn place(number: u32) -> Prefix {
    Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + number)))
}

/// Deterministic numbers below `below` (an LCG of Knuth's constants).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}
