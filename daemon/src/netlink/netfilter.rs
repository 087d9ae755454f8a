//! Names of what netfilter holds, whoever put it there: tables and chains of nftables, and ipsets. Reads only.

use rustix::net::netlink::NETFILTER;

use super::NetlinkError;
use super::decode::Message;
use super::socket::{Dump, Socket};

/// Messages and attributes of linux/netfilter/nf_tables.h and ipset/ip_set.h; subsystems of nfnetlink.h.
const GET_TABLE: u16 = 10 << 8 | 1;
const GET_CHAIN: u16 = 10 << 8 | 4;
const LIST_SETS: u16 = 6 << 8 | 7;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const IPSET_PROTOCOL: u16 = 1;
const IPSET_NAME: u16 = 2;
const IPSET_FLAGS: u16 = 6;

/// The oldest protocol of ipset that every kernel still takes.
const IPSET_PROTOCOL_6: u8 = 6;

/// `IPSET_FLAG_LIST_SETNAME`: names only.
const IPSET_NAMES_ONLY: u32 = 1 << 1;

/// `struct nfgenmsg`: family, version, resource.
const FIXED_BYTES: usize = 4;

/// A table of nftables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// `inet`, `ip`, `ip6` ..
    pub family: &'static str,
    /// Its name.
    pub name: String,
}

/// A chain of nftables, which iptables' are too where it is built on nftables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// In which table.
    pub table: Table,
    /// Its name.
    pub name: String,
}

/// Every table of nftables.
/// # Errors
/// [`NetlinkError`].
pub fn tables() -> Result<Vec<Table>, NetlinkError> {
    let listed = list(GET_TABLE, [0; FIXED_BYTES], &[TABLE_NAME])?;
    let table = |(family, [name, _]): (u8, [String; 2])| Table { family: family_name(family), name };
    Ok(listed.into_iter().map(table).collect())
}

/// Every chain of nftables.
/// # Errors
/// [`NetlinkError`].
pub fn chains() -> Result<Vec<Chain>, NetlinkError> {
    let listed = list(GET_CHAIN, [0; FIXED_BYTES], &[CHAIN_TABLE, CHAIN_NAME])?;
    let chain = |(family, [table, name]): (u8, [String; 2])| Chain {
        table: Table { family: family_name(family), name: table },
        name,
    };
    Ok(listed.into_iter().map(chain).collect())
}

/// The names of every ipset. Asking makes the kernel load its module if it has not.
/// # Errors
/// [`NetlinkError`].
pub fn ipsets() -> Result<Vec<String>, NetlinkError> {
    const ANY_FAMILY: u8 = 2;
    let listed = list(LIST_SETS, [ANY_FAMILY, 0, 0, 0], &[IPSET_NAME])?;
    Ok(listed.into_iter().map(|(_, [name, _])| name).collect())
}

/// Lists everything of a kind: its family, and the texts of at most two attributes.
fn list(kind: u16, fixed: [u8; FIXED_BYTES], wanted: &[u16]) -> Result<Vec<(u8, [String; 2])>, NetlinkError> {
    let mut socket = Socket::open(Some(NETFILTER), 0)?;
    let request = Dump {
        kind,
        fixed: &fixed,
        body: &|attributes| {
            if kind == LIST_SETS {
                attributes.put(IPSET_PROTOCOL, &[IPSET_PROTOCOL_6]);
                attributes.be32(IPSET_FLAGS, IPSET_NAMES_ONLY);
            }
        },
    };
    let found = std::cell::RefCell::new(Vec::new());
    socket.dump(
        &request,
        &mut |message| {
            found.borrow_mut().push(read_names(message, wanted)?);
            Ok(())
        },
        &mut || found.borrow_mut().clear(),
    )?;
    Ok(found.into_inner())
}

/// The family of what a message tells of, and the texts of at most two attributes.
/// # Errors
/// [`NetlinkError::Malformed`].
pub fn read_names(message: &Message<'_>, wanted: &[u16]) -> Result<(u8, [String; 2]), NetlinkError> {
    let (header, attributes) = message.split(FIXED_BYTES)?;
    let mut texts = <[String; 2]>::default();
    for attribute in attributes {
        let attribute = attribute?;
        for (text, _) in texts.iter_mut().zip(wanted).filter(|(_, kind)| **kind == attribute.kind) {
            attribute.text()?.clone_into(text);
        }
    }
    Ok((header.first().copied().unwrap_or(0), texts))
}

/// `NFPROTO_*` as nft writes them.
fn family_name(family: u8) -> &'static str {
    match family {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::netlink::lab::{in_new_namespace, must_run};
    use crate::netlink::{ACK, CREATE, EXCL};

    /// Makes an ipset for addresses; false if this kernel has none.
    pub fn create_ipset(name: &str) -> bool {
        const CREATE_SET: u16 = 6 << 8 | 2;
        let (type_name, revision, family, data) = (3, 4, 5, 7);
        let mut socket = Socket::open(Some(NETFILTER), 0).unwrap();
        let mut request = socket.messages();
        request.message(CREATE_SET, ACK | CREATE | EXCL, &[2, 0, 0, 0], |a| {
            a.put(IPSET_PROTOCOL, &[IPSET_PROTOCOL_6]);
            a.text(IPSET_NAME, name);
            a.text(type_name, "hash:ip");
            a.put(revision, &[0]);
            a.put(family, &[2]);
            a.nested(data, |_| {});
        });
        socket.ask(&request, &mut |_| Ok(())).is_ok()
    }

    #[test]
    fn tables_chains_and_ipsets_of_everybody_are_named() {
        in_new_namespace(|| {
            assert_eq!(tables().unwrap(), []);
            must_run("nft", &["add table inet f2b-table; add table ip6 other; add chain ip6 other inner"]);
            let table = |family, name: &str| Table { family, name: name.to_owned() };
            let (f2b, other) = (table("inet", "f2b-table"), table("ip6", "other"));
            assert_eq!(tables().unwrap(), [f2b, other.clone()]);
            assert_eq!(chains().unwrap(), [Chain { table: other, name: "inner".to_owned() }]);
            if !create_ipset("f2b-sshd") {
                eprintln!("skipped: this kernel has no ipsets");
                return;
            }
            assert!(create_ipset("another"));
            let mut sets = ipsets().unwrap();
            sets.sort();
            assert_eq!(sets, ["another", "f2b-sshd"]);
        });
    }
}
