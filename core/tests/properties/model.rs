//! What a network costs, reckoned without the code under test.

use pillory_core::net::Prefix;

/// Innocents in a network of neighbours, by who in it is evidence: addresses of IPv4; /64s of IPv6, where a /56 from
/// which nobody came counts as one.
pub fn innocents(net: Prefix, evidence: &[Prefix]) -> u64 {
    let inside: Vec<Prefix> = evidence.iter().copied().filter(|one| net.contains(*one)).collect();
    if net.is_ipv4() {
        return (1 << (32 - net.prefix_len())) - inside.len() as u64;
    }
    let mut parts: Vec<Prefix> = inside.iter().map(|one| one.widened(56)).collect();
    parts.sort();
    parts.dedup();
    let untouched = (1 << (56 - net.prefix_len())) - parts.len() as u64;
    untouched + parts.len() as u64 * 256 - inside.len() as u64
}
