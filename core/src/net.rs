//! Addresses and networks: parsing, canonical form, set arithmetic, and the ranges that are never banned.
//!
//! `::ffff:1.2.3.4` becomes `1.2.3.4` here, once; everything behind this module sees the folded form only.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A network or a single address: canonical (v4-mapped folded), host bits zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

/// Written as one number: a prefix is looked up several times for each line, and the derived hash takes five steps.
impl Hash for Prefix {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.addr {
            IpAddr::V4(addr) => state.write_u64(u64::from(addr.to_bits()) << 8 | u64::from(self.len)),
            IpAddr::V6(addr) => {
                state.write_u128(addr.to_bits());
                state.write_u8(self.len);
            }
        }
    }
}

/// Folds `::ffff:a.b.c.d` to `a.b.c.d` and leaves every other address as it is.
pub fn canonical(addr: IpAddr) -> IpAddr {
    addr.to_canonical()
}

impl Prefix {
    /// The network of `len` bits that holds `addr`; host bits are cleared.
    /// # Errors
    /// [`PrefixError::TooLong`] if `len` is beyond 32 (IPv4) or 128 (IPv6).
    pub fn new(addr: IpAddr, len: u8) -> Result<Prefix, PrefixError> {
        let folded = canonical(addr);
        let len = match (addr, folded) {
            (IpAddr::V6(_), IpAddr::V4(_)) => {
                len.checked_sub(96).ok_or(PrefixError::MappedTooWide { addr, len })?
            }
            _ => len,
        };
        if len > width(folded) {
            return Err(PrefixError::TooLong { addr: folded, len });
        }
        Ok(Prefix { addr: mask(folded, len), len })
    }

    /// The single address.
    pub fn host(addr: IpAddr) -> Prefix {
        let addr = canonical(addr);
        Prefix { addr, len: width(addr) }
    }

    /// The network of at most `len` bits that holds this prefix; unchanged if it is as wide already.
    pub fn widened(self, len: u8) -> Prefix {
        if len >= self.len { self } else { Prefix { addr: mask(self.addr, len), len } }
    }

    /// First address of the network.
    pub fn addr(self) -> IpAddr {
        self.addr
    }

    /// Last address of the network.
    pub fn last_addr(self) -> IpAddr {
        from_number(self.range().1, self.is_ipv4())
    }

    /// Number of leading bits that are fixed.
    pub fn prefix_len(self) -> u8 {
        self.len
    }

    /// True for a /32 (IPv4) or a /128 (IPv6).
    pub fn is_host(self) -> bool {
        self.len == width(self.addr)
    }

    /// True for IPv4.
    pub fn is_ipv4(self) -> bool {
        self.addr.is_ipv4()
    }

    /// True if every address of `other` is one of this network.
    pub fn contains(self, other: Prefix) -> bool {
        self.is_ipv4() == other.is_ipv4() && self.len <= other.len && mask(other.addr, self.len) == self.addr
    }

    /// True if `addr` belongs to this network.
    pub fn contains_addr(self, addr: IpAddr) -> bool {
        self.contains(Prefix::host(addr))
    }

    /// True if the two share an address; prefixes do only if one holds the other.
    pub fn overlaps(self, other: Prefix) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// First and last address as numbers of the family's own width.
    pub fn range(self) -> (u128, u128) {
        let first = to_number(self.addr);
        let host_bits = u32::from(width(self.addr) - self.len);
        let span = if host_bits >= 128 { u128::MAX } else { (1u128 << host_bits) - 1 };
        (first, first | span)
    }

    /// The two halves of the network; nothing for a single address.
    pub fn halves(self) -> Option<(Prefix, Prefix)> {
        if self.is_host() {
            return None;
        }
        let len = self.len + 1;
        let bit = 1u128 << (width(self.addr) - len);
        let upper = from_number(to_number(self.addr) | bit, self.is_ipv4());
        Some((Prefix { addr: self.addr, len }, Prefix { addr: upper, len }))
    }

    /// What remains of this network without `holes`, as the fewest disjoint prefixes, in order.
    pub fn without(self, holes: &[Prefix]) -> Vec<Prefix> {
        let mut rest = Vec::new();
        let inside: Vec<Prefix> = holes.iter().copied().filter(|hole| hole.overlaps(self)).collect();
        self.subtract_into(&inside, &mut rest);
        rest
    }

    fn subtract_into(self, holes: &[Prefix], rest: &mut Vec<Prefix>) {
        if holes.is_empty() {
            rest.push(self);
            return;
        }
        if holes.iter().any(|hole| hole.contains(self)) {
            return;
        }
        // Invariant: a single address that overlaps a hole is contained in it, so there are halves here.
        if let Some((lower, upper)) = self.halves() {
            for half in [lower, upper] {
                let inside: Vec<Prefix> = holes.iter().copied().filter(|hole| hole.overlaps(half)).collect();
                half.subtract_into(&inside, rest);
            }
        }
    }

    /// The address alone for a single address, else `addr/len`: the form for people.
    pub fn short(self) -> String {
        if self.is_host() { self.addr.to_string() } else { self.to_string() }
    }
}

fn width(addr: IpAddr) -> u8 {
    match addr {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn to_number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_number(number: u128, ipv4: bool) -> IpAddr {
    if ipv4 {
        IpAddr::V4(Ipv4Addr::from_bits(number as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(number))
    }
}

fn mask(addr: IpAddr, len: u8) -> IpAddr {
    match addr {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(bits))
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> String {
        prefix.to_string()
    }
}

impl TryFrom<String> for Prefix {
    type Error = PrefixError;
    fn try_from(text: String) -> Result<Prefix, PrefixError> {
        text.parse()
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads `192.0.2.7`, `192.0.2.0/24`, `192.0.2.0/255.255.255.0`, `2001:db8::/48`; host bits are cleared.
    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let text = text.trim();
        let (addr_text, len_text) = match text.split_once('/') {
            Some((addr, len)) => (addr, Some(len)),
            None => (text, None),
        };
        let addr: IpAddr = addr_text.parse().map_err(|_| PrefixError::NoAddress { text: text.to_owned() })?;
        let Some(len_text) = len_text else { return Ok(Prefix::host(addr)) };
        let bad_len = || PrefixError::BadLength { text: text.to_owned() };
        let len = if let Ok(netmask) = len_text.parse::<Ipv4Addr>() {
            let bits = netmask.to_bits();
            if !addr.is_ipv4() || bits.leading_ones() + bits.trailing_zeros() != 32 {
                return Err(bad_len());
            }
            bits.leading_ones() as u8
        } else if len_text.len() <= 3 && len_text.bytes().all(|b| b.is_ascii_digit()) {
            len_text.parse().map_err(|_| bad_len())?
        } else {
            return Err(bad_len());
        };
        Prefix::new(addr, len)
    }
}

/// Why a text or a pair is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Not an address at all.
    #[error("\"{text}\" is no IP address or network; write for example 192.0.2.7 or 2001:db8::/48")]
    NoAddress {
        /// What was written.
        text: String,
    },
    /// The part behind the slash is neither a length nor a netmask.
    #[error("\"{text}\": the part behind the slash is no prefix length; write for example /24")]
    BadLength {
        /// What was written.
        text: String,
    },
    /// More bits than the family has.
    #[error("{addr}/{len}: an {} prefix has at most {} bits", if .addr.is_ipv4() { "IPv4" } else { "IPv6" }, width(*.addr))]
    TooLong {
        /// The address.
        addr: IpAddr,
        /// The length as written.
        len: u8,
    },
    /// A v4-mapped network wider than the whole of IPv4.
    #[error("{addr}/{len} is wider than all IPv4-mapped addresses; write the IPv4 network")]
    MappedTooWide {
        /// The address.
        addr: IpAddr,
        /// The length as written.
        len: u8,
    },
}

/// An immutable set of addresses: sorted, merged ranges; look-ups by binary search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixSet {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
    prefixes: Vec<Prefix>,
}

impl PrefixSet {
    /// Builds the set; order and overlaps of `prefixes` do not matter.
    pub fn new(prefixes: impl IntoIterator<Item = Prefix>) -> PrefixSet {
        let mut prefixes: Vec<Prefix> = prefixes.into_iter().collect();
        prefixes.sort();
        prefixes.dedup();
        let ranges = |ipv4: bool| {
            let mut merged: Vec<(u128, u128)> = Vec::new();
            let mut all: Vec<(u128, u128)> =
                prefixes.iter().filter(|p| p.is_ipv4() == ipv4).map(|p| p.range()).collect();
            all.sort_unstable();
            for (first, last) in all {
                match merged.last_mut() {
                    Some((_, end)) if first <= *end => *end = (*end).max(last),
                    _ => merged.push((first, last)),
                }
            }
            merged
        };
        PrefixSet { v4: ranges(true), v6: ranges(false), prefixes }
    }

    /// The prefixes as given, sorted, without repetition.
    pub fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }

    /// True if any address of `prefix` is in the set.
    pub fn overlaps(&self, prefix: Prefix) -> bool {
        let (first, last) = prefix.range();
        let ranges = if prefix.is_ipv4() { &self.v4 } else { &self.v6 };
        let next = ranges.partition_point(|(_, end)| *end < first);
        ranges.get(next).is_some_and(|(start, _)| *start <= last)
    }

    /// True if `addr` is in the set.
    pub fn contains_addr(&self, addr: IpAddr) -> bool {
        self.overlaps(Prefix::host(addr))
    }

    /// True if every address of `prefix` is in the set.
    pub fn contains(&self, prefix: Prefix) -> bool {
        let (first, last) = prefix.range();
        let ranges = if prefix.is_ipv4() { &self.v4 } else { &self.v6 };
        let next = ranges.partition_point(|(_, end)| *end < first);
        ranges.get(next).is_some_and(|(start, end)| *start <= first && last <= *end)
    }
}

/// The ranges that no host is ever attacked from over a network in a way a ban could stop.
///
/// Unspecified and "this network", loopback, link-local, multicast, reserved and broadcast.
/// Source: RFC 6890, RFC 4291.
pub fn never_an_attacker() -> Vec<Prefix> {
    const RANGES: [&str; 9] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::1/128",
        "fe80::/10",
        "ff00::/8",
    ];
    RANGES.iter().filter_map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn folds_v4_mapped_addresses_once() {
        assert_eq!(prefix("::ffff:192.0.2.7"), prefix("192.0.2.7"));
        assert_eq!(prefix("::ffff:192.0.2.7/120"), prefix("192.0.2.0/24"));
        assert!("::ffff:0.0.0.0/90".parse::<Prefix>().is_err());
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "999.1.1.1",
            "192.0.2.7/33",
            "192.0.2.7/ 3",
            "192.0.2",
            "fe80::1%eth0",
            "١.٢.٣.٤",
            "192.0.2.0/255.0.255.0",
            "/24",
            "",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn reads_netmasks() {
        assert_eq!(prefix("43.229.0.0/255.255.0.0"), prefix("43.229.0.0/16"));
    }

    fn any_prefix() -> impl Strategy<Value = Prefix> {
        // A small corner of the address space, so that prefixes meet.
        (0u32..256, 22u8..=32).prop_map(|(low, len)| {
            Prefix::new(IpAddr::V4(Ipv4Addr::from_bits(0xC000_0200 | low << 1)), len).unwrap()
        })
    }

    proptest! {
        #[test]
        fn punching_holes_leaves_exactly_the_rest(whole in any_prefix(), holes in prop::collection::vec(any_prefix(), 0..6)) {
            let rest = whole.without(&holes);
            let set = PrefixSet::new(holes.iter().copied());
            let (first, last) = whole.range();
            for number in first..=last {
                let addr = from_number(number, true);
                let holders = rest.iter().filter(|p| p.contains_addr(addr)).count();
                prop_assert_eq!(holders, usize::from(!set.contains_addr(addr)));
            }
        }

        #[test]
        fn what_is_printed_is_read_back(p in any_prefix()) {
            prop_assert_eq!(prefix(&p.to_string()), p);
            prop_assert_eq!(prefix(&p.short()), p);
        }
    }
}
