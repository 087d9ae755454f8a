//! Chance from a seed, the same everywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Sebastiano Vigna's splitmix64.
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` up to, but without, `high`.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low) as u64) as i64
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, of_thousand: i64) -> bool {
        self.between(0, 1_000) < of_thousand
    }

    /// A waiting time around this mean: exponential, as of independent tries.
    pub fn wait(&mut self, mean_s: i64) -> i64 {
        let share = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        1 + (-(1.0 - share).ln() * mean_s as f64) as i64
    }

    /// One of these.
    pub fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.between(0, words.len() as i64) as usize]
    }

    /// An address below `first`.0.0.0/8: the scenes use different ones, so that none meets another.
    pub fn address(&mut self, first: u8) -> IpAddr {
        let [_, b, c, d] = (self.next() as u32).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(first, b, c, d.clamp(1, 254)))
    }

    /// The same, but an IPv6 address below `2a00+first::/16` in one of five cases.
    pub fn either(&mut self, first: u8) -> IpAddr {
        if !self.chance(200) {
            return self.address(first);
        }
        let network = self.next() as u128 & 0xffff_ffff_ffff;
        let bits = u128::from(0x2a00 + u16::from(first)) << 112 | network << 64;
        self.host_of(IpAddr::V6(Ipv6Addr::from_bits(bits)))
    }

    /// What a machine there has tomorrow: another address of its IPv6 /64, or the same IPv4 address.
    pub fn host_of(&mut self, addr: IpAddr) -> IpAddr {
        match addr {
            IpAddr::V4(_) => addr,
            IpAddr::V6(addr) => {
                IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() >> 64 << 64 | u128::from(self.next())))
            }
        }
    }

    /// A name that hardly anybody else makes up.
    pub fn name(&mut self) -> String {
        const PARTS: [&str; 20] = [
            "ba", "du", "fen", "gor", "hil", "jo", "kam", "lei", "mus", "nar", "ol", "pri", "qua", "ri",
            "sto", "tev", "ul", "wen", "xi", "zor",
        ];
        (0..4).map(|_| self.pick(&PARTS)).collect()
    }
}
