//! Our rules: sources in a set are dropped, on all ports or on some. Written as nft itself would write
//! `tcp dport 22 ip saddr @ban4_sshd counter drop`, so that nft shows them so.

use pillory_core::config::fail2ban::native::{Block, Reject, Way};

use crate::actions::Port;
use crate::netlink::encode::{Attributes, Messages};
use crate::netlink::{APPEND, CREATE};

use super::sets::{SetId, SetKind};
use super::wire::{ARRIVING, BaseChain, FORWARDED, INET, USERDATA_COMMENT, attribute, comment, fixed, kind};

/// One of our rules: what it looks for, and its comment, by which it is told from the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Sources in this set.
    pub(super) set: SetId,
    /// Going to this port; nothing for all.
    pub(super) port: Option<Port>,
}

impl Rule {
    /// The comment, unique among our rules.
    pub(super) fn comment(&self) -> String {
        let Some(port) = self.port else { return format!("pillory {}", self.set) };
        let (low, high) = port.range;
        let verdict = match port.block {
            Block::Drop => String::new(),
            Block::Reject(error) => format!(" reject {error}"),
        };
        let protocol = protocol_name(port.protocol);
        format!("pillory {} {protocol} {low}-{high}{verdict}", self.set)
    }

    /// The chain that it belongs to.
    pub(super) fn chain(&self) -> BaseChain {
        match self.port.map(|port| port.way).unwrap_or_default() {
            Way::Arriving => ARRIVING,
            Way::Forwarded => FORWARDED,
        }
    }

    /// The names of its expressions, in order.
    pub(super) fn expressions(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        self.each_expression(&mut |name, _| names.push(name));
        names
    }

    /// Adds it to the end of the chain.
    pub(super) fn add(&self, batch: &mut Messages, table: &str) -> u32 {
        add(batch, (table, self.chain().name), &self.comment(), false, &|each| self.each_expression(each))
    }

    fn each_expression(&self, each: EachExpression<'_>) {
        let is_ipv4 = self.set.kind.is_ipv4();
        family(is_ipv4, each);
        if let Some(port) = self.port {
            to_port(port, each);
        }
        source(is_ipv4, each);
        if self.set.kind == SetKind::Ban6n {
            each("bitwise", &upper_half);
        }
        each("lookup", &|a| {
            a.text(1, &self.set.to_string());
            a.be32(2, REGISTER);
        });
        each("counter", &|_| {});
        match self.port.map(|port| port.block).unwrap_or_default() {
            Block::Drop => each("immediate", &drop_packet),
            Block::Reject(error) => each("reject", &|a| reject(a, error)),
        }
    }
}

/// Is called with an expression's name and what writes its attributes.
pub(super) type EachExpression<'a> = &'a mut dyn FnMut(&'static str, &dyn Fn(&mut Attributes<'_>));

/// Adds a rule to the end of a chain, or to its beginning. `expressions` hands out each of them.
pub(super) fn add(
    batch: &mut Messages,
    (table, chain): (&str, &str),
    text: &str,
    first: bool,
    expressions: &dyn Fn(EachExpression<'_>),
) -> u32 {
    let flags = if first { CREATE } else { CREATE | APPEND };
    batch.message(kind::NEW_RULE, flags, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        a.text(attribute::RULE_CHAIN, chain);
        a.nested(attribute::RULE_EXPRESSIONS, |a| {
            expressions(&mut |name, body| {
                a.nested(attribute::LIST_ENTRY, |a| {
                    a.text(attribute::EXPRESSION_NAME, name);
                    a.nested(attribute::EXPRESSION_DATA, |a| body(a));
                });
            });
        });
        a.put(attribute::RULE_USERDATA, &comment(USERDATA_COMMENT, text));
    })
}

/// The name of a protocol in a comment.
pub(super) fn protocol_name(protocol: u8) -> String {
    match protocol {
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        other => other.to_string(),
    }
}

/// Packets of one family.
pub(super) fn family(is_ipv4: bool, each: EachExpression<'_>) {
    let family = if is_ipv4 { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
    each("meta", &|a| meta(a, META_NFPROTO));
    each("cmp", &|a| equals(a, &[family]));
}

/// Packets to a port.
pub(super) fn to_port(port: Port, each: EachExpression<'_>) {
    each("meta", &|a| meta(a, META_L4PROTO));
    each("cmp", &|a| equals(a, &[port.protocol]));
    each("payload", &|a| payload(a, BASE_TRANSPORT, (2, 2)));
    let (low, high) = port.range;
    if low == high {
        each("cmp", &|a| equals(a, &low.to_be_bytes()));
    } else {
        each("range", &|a| within(a, &low.to_be_bytes(), &high.to_be_bytes()));
    }
}

/// Loads the source address.
pub(super) fn source(is_ipv4: bool, each: EachExpression<'_>) {
    // Where it stands in the header.
    let place = if is_ipv4 { (12, 4) } else { (8, 16) };
    each("payload", &|a| payload(a, BASE_NETWORK, place));
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const BASE_NETWORK: u32 = 1;
pub(super) const BASE_TRANSPORT: u32 = 2;
/// The one 16-byte register that all our expressions use.
pub(super) const REGISTER: u32 = 1;

fn meta(a: &mut Attributes<'_>, key: u32) {
    a.be32(1, REGISTER);
    a.be32(2, key);
}

pub(super) fn payload(a: &mut Attributes<'_>, base: u32, (offset, length): (u32, u32)) {
    a.be32(1, REGISTER);
    a.be32(2, base);
    a.be32(3, offset);
    a.be32(4, length);
}

pub(super) fn equals(a: &mut Attributes<'_>, value: &[u8]) {
    a.be32(1, REGISTER);
    a.be32(2, 0);
    a.nested(3, |a| a.put(attribute::DATA_VALUE, value));
}

fn within(a: &mut Attributes<'_>, low: &[u8], high: &[u8]) {
    a.be32(1, REGISTER);
    a.be32(2, 0);
    a.nested(3, |a| a.put(attribute::DATA_VALUE, low));
    a.nested(4, |a| a.put(attribute::DATA_VALUE, high));
}

/// Keeps the first 64 bits of an address.
fn upper_half(a: &mut Attributes<'_>) {
    let mut mask = [0; 16];
    mask[..8].fill(0xff);
    masked(a, &mask);
}

/// Keeps the bits of the mask, at most 16 bytes.
pub(super) fn masked(a: &mut Attributes<'_>, mask: &[u8]) {
    a.be32(1, REGISTER);
    a.be32(2, REGISTER);
    a.be32(3, mask.len() as u32);
    a.nested(4, |a| a.put(attribute::DATA_VALUE, mask));
    a.nested(5, |a| a.put(attribute::DATA_VALUE, &vec![0; mask.len()]));
}

pub(super) fn drop_packet(a: &mut Attributes<'_>) {
    verdict(a, NF_DROP);
}

fn verdict(a: &mut Attributes<'_>, code: u32) {
    const VERDICT_REGISTER: u32 = 0;
    a.be32(1, VERDICT_REGISTER);
    // Data, in it a verdict, in it a code.
    a.nested(2, |a| a.nested(2, |a| a.be32(1, code)));
}

/// The comment of the rule that leaves a TCP port open to the banned.
pub(super) fn exempt_comment(port: u16) -> String {
    format!("pillory rescue tcp {port}")
}

/// The expressions of that rule.
pub(super) const EXEMPT_EXPRESSIONS: [&str; 7] =
    ["meta", "cmp", "payload", "cmp", "limit", "counter", "immediate"];

/// Puts it at the beginning of the chain: so many packets a second go on whoever sends them, more are judged as all.
pub(super) fn exempt(batch: &mut Messages, table: &str, port: u16) -> u32 {
    let port_of = Port::dropped(TCP, (port, port));
    add(batch, (table, ARRIVING.name), &exempt_comment(port), true, &|each| {
        to_port(port_of, each);
        each("limit", &limit);
        each("counter", &|_| {});
        each("immediate", &|a| verdict(a, NF_ACCEPT));
    })
}

/// Packets a second, and as many at once.
const EXEMPT_RATE: u32 = 50;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;

fn limit(a: &mut Attributes<'_>) {
    a.be64(1, u64::from(EXEMPT_RATE));
    a.be64(2, 1);
    a.be32(3, EXEMPT_RATE);
}

/// Answers with an error, the same for both families.
/// Source: `enum nft_reject_types`, `enum nft_reject_inet_code` of linux/netfilter/nf_tables.h.
fn reject(a: &mut Attributes<'_>, error: Reject) {
    const TCP_RESET: u32 = 1;
    const ICMPX: u32 = 2;
    let (kind, code) = match error {
        Reject::Reset => (TCP_RESET, 0),
        Reject::Route => (ICMPX, 0),
        Reject::Port => (ICMPX, 1),
        Reject::Host => (ICMPX, 2),
        Reject::Forbidden => (ICMPX, 3),
    };
    a.be32(1, kind);
    a.put(2, &[code]);
}

/// Deletes one rule.
pub(super) fn delete_rule(batch: &mut Messages, table: &str, chain: &str, handle: u64) -> u32 {
    batch.message(kind::DELETE_RULE, 0, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        a.text(attribute::RULE_CHAIN, chain);
        a.be64(attribute::RULE_HANDLE, handle);
    })
}
