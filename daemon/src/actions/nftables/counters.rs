//! How many packets our rules have dropped: nf_tables counts in each rule, so one short dump tells.

use crate::netlink::NetlinkError;
use crate::netlink::decode::Message;

use super::frame::list;
use super::wire::{self, attribute, kind};
use super::{Nftables, TABLE};

/// `NFTA_COUNTER_BYTES` and `NFTA_COUNTER_PACKETS` of linux/netfilter/nf_tables.h.
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

/// What was dropped since the rules were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Packets.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
}

/// Reads the counters of our table; nothing if it has no rule or they may not be read.
pub fn dropped() -> Option<Dropped> {
    let mut this = Nftables::open().ok()?;
    let rules = list(&mut this.socket, (kind::GET_RULE, TABLE), &|_| {}, &counted).ok()?;
    let add = |sum: Dropped, one: Dropped| Dropped {
        packets: sum.packets.saturating_add(one.packets),
        bytes: sum.bytes.saturating_add(one.bytes),
    };
    rules.into_iter().reduce(add)
}

/// What the counters of one rule say.
pub(super) fn counted(message: &Message<'_>) -> Result<Dropped, NetlinkError> {
    let mut sum = Dropped::default();
    for found in message.split(wire::FIXED_BYTES)?.1 {
        let found = found?;
        if found.kind != attribute::RULE_EXPRESSIONS {
            continue;
        }
        for entry in found.nested() {
            let mut is_counter = false;
            for part in entry?.nested() {
                let part = part?;
                match part.kind {
                    attribute::EXPRESSION_NAME => is_counter = part.text()? == "counter",
                    attribute::EXPRESSION_DATA if is_counter => {
                        for field in part.nested() {
                            let field = field?;
                            match field.kind {
                                COUNTER_BYTES => sum.bytes = sum.bytes.saturating_add(field.be64()?),
                                COUNTER_PACKETS => sum.packets = sum.packets.saturating_add(field.be64()?),
                                _ => {}
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(sum)
}
