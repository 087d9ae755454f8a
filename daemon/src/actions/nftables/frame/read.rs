//! What the kernel says of tables, chains, sets and rules: one message in, one value out.

use pillory_core::event::JailName;

use crate::netlink::NetlinkError;
use crate::netlink::decode::Message;

use super::{Chain, InstalledRule, Set, SetId, attribute, wire};

/// True if a message of nf_tables is about this table of family inet.
pub(in super::super) fn is_of_table(message: &Message<'_>, table: &str) -> Result<bool, NetlinkError> {
    let (fixed, attributes) = message.split(wire::FIXED_BYTES)?;
    if fixed.first() != Some(&wire::INET) {
        return Ok(false);
    }
    for found in attributes {
        let found = found?;
        if found.kind == attribute::TABLE {
            return Ok(found.text()? == table);
        }
    }
    Ok(false)
}

/// The flags of a table.
pub(super) fn table_flags(message: &Message<'_>) -> Result<u32, NetlinkError> {
    let mut flags = 0;
    for found in message.split(wire::FIXED_BYTES)?.1 {
        let found = found?;
        if found.kind == attribute::TABLE_FLAGS {
            flags = found.be32()?;
        }
    }
    Ok(flags)
}

/// A chain.
pub(super) fn chain(message: &Message<'_>) -> Result<Chain, NetlinkError> {
    let mut chain = Chain::default();
    for found in message.split(wire::FIXED_BYTES)?.1 {
        let found = found?;
        match found.kind {
            attribute::CHAIN_POLICY => chain.policy = Some(found.be32()?),
            attribute::CHAIN_TYPE => chain.kind = found.text()?.to_owned(),
            attribute::CHAIN_HOOK => {
                for part in found.nested() {
                    let part = part?;
                    match part.kind {
                        attribute::HOOK_NUMBER => chain.hook = Some(part.be32()?),
                        attribute::HOOK_PRIORITY => chain.priority = Some(part.be32()?),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(chain)
}

/// A set and its name; `jails` to recognise it by where the kernel keeps no comments.
pub(super) fn set(message: &Message<'_>, jails: &[JailName]) -> Result<(String, Set), NetlinkError> {
    let (mut name, mut comment) = (String::new(), None);
    let mut set = Set { id: None, flags: 0, key_type: 0, key_len: 0, size: None };
    for found in message.split(wire::FIXED_BYTES)?.1 {
        let found = found?;
        match found.kind {
            attribute::SET_NAME => name = found.text()?.to_owned(),
            attribute::SET_FLAGS => set.flags = found.be32()?,
            attribute::SET_KEY_TYPE => set.key_type = found.be32()?,
            attribute::SET_KEY_LEN => set.key_len = found.be32()?,
            attribute::SET_DESC => {
                for part in found.nested() {
                    let part = part?;
                    if part.kind == attribute::SET_DESC_SIZE {
                        set.size = Some(part.be32()?);
                    }
                }
            }
            attribute::SET_USERDATA => {
                comment = wire::read_comment(wire::USERDATA_SET_COMMENT, found.value);
            }
            _ => {}
        }
    }
    set.id = SetId::from_kernel(&name, comment, jails);
    Ok((name, set))
}

/// The name of a set.
pub(super) fn set_name(message: &Message<'_>) -> Result<String, NetlinkError> {
    for found in message.split(wire::FIXED_BYTES)?.1 {
        let found = found?;
        if found.kind == attribute::SET_NAME {
            return Ok(found.text()?.to_owned());
        }
    }
    Ok(String::new())
}

/// A rule.
pub(super) fn rule(message: &Message<'_>) -> Result<InstalledRule, NetlinkError> {
    let mut rule = InstalledRule::default();
    for found in message.split(wire::FIXED_BYTES)?.1 {
        let found = found?;
        match found.kind {
            attribute::RULE_CHAIN => rule.chain = found.text()?.to_owned(),
            attribute::RULE_HANDLE => rule.handle = found.be64()?,
            attribute::RULE_USERDATA => {
                let comment = wire::read_comment(wire::USERDATA_COMMENT, found.value);
                rule.comment = comment.unwrap_or_default().to_owned();
            }
            attribute::RULE_EXPRESSIONS => {
                for entry in found.nested() {
                    for part in entry?.nested() {
                        let part = part?;
                        if part.kind == attribute::EXPRESSION_NAME {
                            rule.expressions.push(part.text()?.to_owned());
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(rule)
}

/// For fuzzing: reads one message as each of them.
#[cfg(any(test, fuzzing))]
pub(in super::super) fn whatever(message: &Message<'_>) {
    let jails: Vec<JailName> = JailName::new("sshd").into_iter().collect();
    drop((is_of_table(message, "pillory"), table_flags(message), chain(message)));
    drop((set(message, &jails), set_name(message), rule(message)));
}
