//! A made-up database of networks: who announces which address.

use std::net::IpAddr;

use pillory_core::jail::networks::Networks;

/// The provider from which the addresses of `rented` come.
pub const RENTED: u32 = 64_610;

/// Every eighth part of the botnet lives in the network of a provider that people have, too; all others, each in one of
/// hundreds.
#[derive(Debug)]
pub struct Operators;

impl Networks for Operators {
    fn asn(&self, addr: IpAddr) -> Option<u32> {
        let (first, second) = match addr {
            IpAddr::V4(addr) => (u32::from(addr.octets()[0]), u32::from(addr.octets()[1])),
            IpAddr::V6(addr) => (u32::from(addr.segments()[0]) - 0x2a00, u32::from(addr.segments()[1] >> 8)),
        };
        Some(match first {
            110 => RENTED,
            80..=83 => 64_500 + first,
            101 => 64_500 + 81,
            _ => 100_000 + first * 256 + second,
        })
    }

    fn operator(&self, _: IpAddr) -> Option<String> {
        None
    }
}
