//! The bytes of nf_tables: message types, attributes, and what we ask for.
//!
//! Source: `include/uapi/linux/netfilter/nf_tables.h` of Linux 6.x; numbers there never change.

use crate::netlink::encode::{Attributes, Messages};
use crate::netlink::{ACK, CREATE, EXCL};

use super::sets::{Key, SetId, SetKind};

/// `NFPROTO_INET`: both families in one table.
pub(super) const INET: u8 = 1;
/// Bytes of `struct nfgenmsg`, the fixed part of every message.
pub(super) const FIXED_BYTES: usize = 4;

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// Message types, subsystem included.
pub(super) mod kind {
    use super::SUBSYSTEM;
    pub(crate) const NEW_TABLE: u16 = SUBSYSTEM;
    pub(crate) const GET_TABLE: u16 = SUBSYSTEM | 1;
    pub(crate) const DELETE_TABLE: u16 = SUBSYSTEM | 2;
    pub(crate) const NEW_CHAIN: u16 = SUBSYSTEM | 3;
    pub(crate) const GET_CHAIN: u16 = SUBSYSTEM | 4;
    pub(crate) const NEW_RULE: u16 = SUBSYSTEM | 6;
    pub(crate) const GET_RULE: u16 = SUBSYSTEM | 7;
    pub(crate) const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
    pub(crate) const DELETE_RULE: u16 = SUBSYSTEM | 8;
    pub(crate) const NEW_SET: u16 = SUBSYSTEM | 9;
    pub(crate) const GET_SET: u16 = SUBSYSTEM | 10;
    pub(crate) const DELETE_SET: u16 = SUBSYSTEM | 11;
    pub(crate) const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
    pub(crate) const GET_ELEMENT: u16 = SUBSYSTEM | 13;
    pub(crate) const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;
    pub(crate) const NEW_GENERATION: u16 = SUBSYSTEM | 15;
    /// Like deleting, but an absent element is no error; since Linux 6.3.
    pub(crate) const DESTROY_ELEMENT: u16 = SUBSYSTEM | 30;

    /// True for messages of nf_tables.
    pub(crate) fn is_ours(kind: u16) -> bool {
        kind & 0xff00 == SUBSYSTEM
    }
}

/// Attribute types, by message.
pub(super) mod attribute {
    /// The table's name has this type in every message.
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const TABLE_FLAGS: u16 = 2;
    pub(crate) const TABLE_USERDATA: u16 = 6;
    pub(crate) const CHAIN_NAME: u16 = 3;
    pub(crate) const CHAIN_HOOK: u16 = 4;
    pub(crate) const CHAIN_POLICY: u16 = 5;
    pub(crate) const CHAIN_TYPE: u16 = 7;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
    pub(crate) const RULE_CHAIN: u16 = 2;
    pub(crate) const RULE_HANDLE: u16 = 3;
    pub(crate) const RULE_EXPRESSIONS: u16 = 4;
    pub(crate) const RULE_USERDATA: u16 = 7;
    pub(crate) const SET_NAME: u16 = 2;
    pub(crate) const SET_FLAGS: u16 = 3;
    pub(crate) const SET_KEY_TYPE: u16 = 4;
    pub(crate) const SET_KEY_LEN: u16 = 5;
    pub(crate) const SET_DESC: u16 = 9;
    pub(crate) const SET_DESC_SIZE: u16 = 1;
    pub(crate) const SET_ID: u16 = 10;
    pub(crate) const SET_USERDATA: u16 = 13;
    pub(crate) const SET_COUNT: u16 = 20;
    pub(crate) const ELEMENTS_SET: u16 = 2;
    pub(crate) const ELEMENTS: u16 = 3;
    pub(crate) const ELEMENT_KEY: u16 = 1;
    pub(crate) const ELEMENT_FLAGS: u16 = 3;
    pub(crate) const ELEMENT_TIMEOUT: u16 = 4;
    pub(crate) const ELEMENT_EXPIRATION: u16 = 5;
    pub(crate) const LOOKUP_FLAGS: u16 = 5;
    /// An entry of any list.
    pub(crate) const LIST_ENTRY: u16 = 1;
    pub(crate) const EXPRESSION_NAME: u16 = 1;
    pub(crate) const EXPRESSION_DATA: u16 = 2;
    /// A value inside a data attribute.
    pub(crate) const DATA_VALUE: u16 = 1;
}

/// Set flag: elements are intervals.
pub(super) const SET_INTERVAL: u32 = 0x4;
/// Set flag: elements may have time-outs.
pub(super) const SET_TIMEOUT: u32 = 0x10;
/// Element flag: this key ends an interval.
pub(super) const ELEMENT_INTERVAL_END: u32 = 1;

/// One of our chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BaseChain {
    pub(super) name: &'static str,
    /// Number of the hook in `enum nf_inet_hooks`.
    pub(super) hook: u32,
    pub(super) priority: i32,
}

/// Where everything arrives: "raw", before connection tracking, so that a dropped packet costs no entry there.
pub(super) const ARRIVING: BaseChain = BaseChain { name: "prerouting", hook: 0, priority: -300 };
/// Where packets for others pass, once it is known for whom; just before the usual filters.
pub(super) const FORWARDED: BaseChain = BaseChain { name: "forward", hook: 2, priority: -1 };
/// All of them.
pub(super) const CHAINS: [BaseChain; 2] = [ARRIVING, FORWARDED];
/// `NF_ACCEPT`: what no rule drops goes on.
pub(super) const POLICY_ACCEPT: u32 = 1;

/// libnftnl's comment in a table's and a rule's user data; a set's has another number.
pub(super) const USERDATA_COMMENT: u8 = 0;
pub(super) const USERDATA_SET_COMMENT: u8 = 7;

/// The comment of our table, for whoever lists it and wonders.
const TABLE_COMMENT: &str = "made by pillory; to lift everything run: pillory off";

/// The fixed part of a message.
pub(super) fn fixed(family: u8) -> [u8; FIXED_BYTES] {
    [family, 0, 0, 0]
}

/// Opens a transaction.
pub(super) fn begin(batch: &mut Messages) -> u32 {
    batch.message(BATCH_BEGIN, 0, &batch_fixed(), |_| {})
}

/// Closes a transaction.
pub(super) fn end(batch: &mut Messages) -> u32 {
    batch.message(BATCH_END, 0, &batch_fixed(), |_| {})
}

fn batch_fixed() -> [u8; FIXED_BYTES] {
    // The subsystem in network byte order.
    [0, 0, 0, 10]
}

/// A text as libnftnl keeps it: type, length, text with NUL.
pub(super) fn comment(kind: u8, text: &str) -> Vec<u8> {
    // Invariant: our comments are shorter than 255 bytes; whatever is longer is cut.
    let text = &text.as_bytes()[..text.len().min(250)];
    let mut bytes = vec![kind, text.len() as u8 + 1];
    bytes.extend_from_slice(text);
    bytes.push(0);
    bytes
}

/// The comment in user data, if there is one.
pub(super) fn read_comment(kind: u8, userdata: &[u8]) -> Option<&str> {
    let mut rest = userdata;
    while let [this, length, tail @ ..] = rest {
        let value = tail.get(..usize::from(*length))?;
        if *this == kind {
            return std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok();
        }
        rest = tail.get(usize::from(*length)..)?;
    }
    None
}

/// The table; it is no error if it exists.
pub(super) fn new_table(batch: &mut Messages, table: &str) -> u32 {
    batch.message(kind::NEW_TABLE, CREATE, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        a.be32(attribute::TABLE_FLAGS, 0);
        a.put(attribute::TABLE_USERDATA, &comment(USERDATA_COMMENT, TABLE_COMMENT));
    })
}

/// Takes the table away with all that is in it.
pub(super) fn delete_table(batch: &mut Messages, table: &str) -> u32 {
    batch.message(kind::DELETE_TABLE, ACK, &fixed(INET), |a| a.text(attribute::TABLE, table))
}

/// A chain.
pub(super) fn new_chain(batch: &mut Messages, table: &str, chain: BaseChain) -> u32 {
    batch.message(kind::NEW_CHAIN, CREATE, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        a.text(attribute::CHAIN_NAME, chain.name);
        a.nested(attribute::CHAIN_HOOK, |a| {
            a.be32(attribute::HOOK_NUMBER, chain.hook);
            a.be32(attribute::HOOK_PRIORITY, chain.priority.cast_unsigned());
        });
        a.be32(attribute::CHAIN_POLICY, POLICY_ACCEPT);
        a.text(attribute::CHAIN_TYPE, "filter");
    })
}

/// Takes a chain away that has no rules.
pub(super) fn delete_chain(batch: &mut Messages, table: &str, chain: &str) -> u32 {
    batch.message(kind::DELETE_CHAIN, 0, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        a.text(attribute::CHAIN_NAME, chain);
    })
}

/// Takes every rule of a chain away.
pub(super) fn delete_rules(batch: &mut Messages, table: &str, chain: &str) -> u32 {
    batch.message(kind::DELETE_RULE, 0, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        a.text(attribute::RULE_CHAIN, chain);
    })
}

/// The flags that a set of this kind has.
pub(super) fn set_flags(kind: SetKind) -> u32 {
    if kind.is_interval() { SET_TIMEOUT | SET_INTERVAL } else { SET_TIMEOUT }
}

/// nft's number for the type of its keys (`ipv4_addr`, `ipv6_addr`).
pub(super) fn key_type(kind: SetKind) -> u32 {
    if kind.is_ipv4() { 7 } else { 8 }
}

/// A set. `id`: unique in the transaction.
pub(super) fn new_set(batch: &mut Messages, table: &str, set: &SetId, id: u32) -> u32 {
    batch.message(kind::NEW_SET, CREATE | EXCL, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        set_attributes(a, &set.to_string(), set.kind, id);
        if let Some(text) = set.comment() {
            a.put(attribute::SET_USERDATA, &comment(USERDATA_SET_COMMENT, &text));
        }
    })
}

/// A set of that shape under another name. `id`: unique in the transaction.
pub(super) fn new_named_set(
    batch: &mut Messages,
    table: &str,
    (name, id): (&str, u32),
    kind: SetKind,
) -> u32 {
    batch.message(kind::NEW_SET, CREATE, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        set_attributes(a, name, kind, id);
    })
}

fn set_attributes(a: &mut Attributes<'_>, name: &str, kind: SetKind, id: u32) {
    a.text(attribute::SET_NAME, name);
    a.be32(attribute::SET_FLAGS, set_flags(kind));
    a.be32(attribute::SET_KEY_TYPE, key_type(kind));
    a.be32(attribute::SET_KEY_LEN, kind.key_bytes() as u32);
    a.be32(attribute::SET_ID, id);
}

/// Takes a set away.
pub(super) fn delete_set(batch: &mut Messages, table: &str, name: &str) -> u32 {
    batch.message(kind::DELETE_SET, 0, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        a.text(attribute::SET_NAME, name);
    })
}

/// One change to an element of a set.
#[derive(Debug, Clone, Copy)]
pub(super) struct ElementEntry {
    /// The key, or an interval's first.
    pub(super) start: Key,
    /// Of an interval: the key after its last.
    pub(super) end: Option<Key>,
    /// When adding: what is left of the ban; nothing if it does not end.
    pub(super) timeout_ms: Option<u64>,
}

/// Adds, deletes or destroys elements, as `kind` says.
pub(super) fn elements(
    batch: &mut Messages,
    (kind, flags): (u16, u16),
    (table, set): (&str, &str),
    entries: &[ElementEntry],
) -> u32 {
    batch.message(kind, flags, &fixed(INET), |a| {
        a.text(attribute::TABLE, table);
        a.text(attribute::ELEMENTS_SET, set);
        a.nested(attribute::ELEMENTS, |a| {
            for entry in entries {
                element(a, &entry.start, entry.timeout_ms, 0);
                if let Some(end) = &entry.end {
                    element(a, end, None, ELEMENT_INTERVAL_END);
                }
            }
        });
    })
}

fn element(a: &mut Attributes<'_>, key: &Key, timeout_ms: Option<u64>, flags: u32) {
    a.nested(attribute::LIST_ENTRY, |a| {
        a.nested(attribute::ELEMENT_KEY, |a| a.put(attribute::DATA_VALUE, key.bytes()));
        if flags != 0 {
            a.be32(attribute::ELEMENT_FLAGS, flags);
        }
        if let Some(left) = timeout_ms {
            a.be64(attribute::ELEMENT_TIMEOUT, left);
            // Without it a kernel that updates time-outs leaves the clock of an unchanged one running.
            a.be64(attribute::ELEMENT_EXPIRATION, left);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_comment_among_other_user_data() {
        let mut bytes = vec![3, 2, 9, 9];
        bytes.extend(comment(USERDATA_SET_COMMENT, "jail sshd"));
        assert_eq!(read_comment(USERDATA_SET_COMMENT, &bytes), Some("jail sshd"));
        assert_eq!(read_comment(1, &bytes), None);
        assert_eq!(read_comment(0, &[0, 200, 1]), None);
    }
}
