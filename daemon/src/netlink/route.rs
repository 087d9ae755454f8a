//! rtnetlink: routes and addresses as the kernel lists them.
//!
//! Source: `include/uapi/linux/rtnetlink.h`, `if_addr.h`; numbers there never change.

use std::net::IpAddr;

use pillory_core::net::{Prefix, canonical};

use super::NetlinkError;
use super::decode::{Attribute, Message, addr, array, attributes};
use super::socket::{Dump, Socket};

/// `AF_INET`.
pub const IPV4: u8 = 2;
/// `AF_INET6`.
pub const IPV6: u8 = 10;

/// `RTM_NEWADDR`.
pub const NEW_ADDR: u16 = 20;
/// `RTM_DELADDR`.
pub const DELETE_ADDR: u16 = 21;
/// `RTM_GETADDR`.
pub const GET_ADDR: u16 = 22;
/// `RTM_NEWROUTE`.
pub const NEW_ROUTE: u16 = 24;
/// `RTM_DELROUTE`.
pub const DELETE_ROUTE: u16 = 25;
/// `RTM_GETROUTE`.
pub const GET_ROUTE: u16 = 26;

/// `RTA_DST`.
pub const ROUTE_DESTINATION: u16 = 1;
const ROUTE_GATEWAY: u16 = 5;
const ROUTE_METRIC: u16 = 6;
const ROUTE_MULTIPATH: u16 = 9;
/// `RTA_TABLE`.
pub const ROUTE_TABLE: u16 = 15;
const ROUTE_VIA: u16 = 18;

/// `RT_TABLE_MAIN`.
pub const MAIN_TABLE: u8 = 254;
/// `RTN_BLACKHOLE`.
pub const BLACKHOLE: u8 = 6;

/// Multicast groups, as bits: changes of addresses of both families.
pub const ADDR_GROUPS: u32 = 1 << (5 - 1) | 1 << (9 - 1);
/// Multicast groups, as bits: changes of routes of both families.
pub const ROUTE_GROUPS: u32 = 1 << (7 - 1) | 1 << (11 - 1);

/// Bytes of `struct rtmsg`.
const ROUTE_FIXED_BYTES: usize = 12;
/// Bytes of `struct ifaddrmsg`.
const ADDR_FIXED_BYTES: usize = 8;
/// `RTM_F_CLONED`: an entry of the cache and no route.
const CLONED: u32 = 0x200;

/// The fixed part of a route message.
pub fn route_fixed(family: u8, prefix_len: u8, table: u8, protocol: u8, kind: u8) -> [u8; ROUTE_FIXED_BYTES] {
    // Source length, type of service and scope are 0; so are the flags.
    [family, prefix_len, 0, 0, table, protocol, 0, kind, 0, 0, 0, 0]
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// First address of its destination; as listed, not folded.
    pub destination: IpAddr,
    /// Length of its destination; 0 is a default route.
    pub prefix_len: u8,
    /// Its table.
    pub table: u32,
    /// Who made it.
    pub protocol: u8,
    /// Its type: unicast, blackhole and so on.
    pub kind: u8,
    /// Of several routes of one destination that with the smallest goes first.
    pub metric: u32,
    /// Where it leads to, if it leads to routers.
    pub gateways: Vec<IpAddr>,
}

/// The route that a message tells of; nothing if it is of another family, or a cache entry.
/// # Errors
/// [`NetlinkError::Malformed`].
pub fn read_route(message: &Message<'_>) -> Result<Option<Route>, NetlinkError> {
    let (fixed, attributes) = message.split(ROUTE_FIXED_BYTES)?;
    let destination = match fixed {
        [IPV4, ..] => IpAddr::from([0; 4]),
        [IPV6, ..] => IpAddr::from([0; 16]),
        _ => return Ok(None),
    };
    let flags = u32::from_ne_bytes(array(fixed, 8).unwrap_or_default());
    if flags & CLONED != 0 {
        return Ok(None);
    }
    let mut route = Route {
        destination,
        prefix_len: fixed[1],
        table: u32::from(fixed[4]),
        protocol: fixed[5],
        kind: fixed[7],
        metric: 0,
        gateways: Vec::new(),
    };
    for found in attributes {
        let found = found?;
        match found.kind {
            ROUTE_DESTINATION => route.destination = found.addr()?,
            ROUTE_METRIC => route.metric = found.ne32()?,
            ROUTE_TABLE => route.table = found.ne32()?,
            ROUTE_MULTIPATH => read_hops(found.value, &mut route.gateways)?,
            _ => route.gateways.extend(gateway(&found)?),
        }
    }
    Ok(Some(route))
}

fn gateway(found: &Attribute<'_>) -> Result<Option<IpAddr>, NetlinkError> {
    match found.kind {
        ROUTE_GATEWAY => found.addr().map(Some),
        // Of another family than the route: two bytes of family first.
        ROUTE_VIA => Ok(found.value.get(2..).and_then(addr)),
        _ => Ok(None),
    }
}

/// `struct rtnexthop`, each with attributes of its own.
fn read_hops(bytes: &[u8], gateways: &mut Vec<IpAddr>) -> Result<(), NetlinkError> {
    const HOP_BYTES: usize = 8;
    let mut rest = bytes;
    while let Some(length) = array(rest, 0) {
        let length = usize::from(u16::from_ne_bytes(length));
        let hop = rest.get(HOP_BYTES..length);
        let hop = hop.ok_or(NetlinkError::Malformed { what: "a next hop's length is wrong" })?;
        for found in attributes(hop) {
            gateways.extend(gateway(&found?)?);
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(())
}

/// Lists routes of both families and hands each to `each`; `restart` says that the list begins anew.
/// # Errors
/// [`NetlinkError`].
pub fn list_routes(
    socket: &mut Socket,
    families: &[u8],
    each: &mut dyn FnMut(Listed<Route>),
) -> Result<(), NetlinkError> {
    for family in families {
        let fixed = route_fixed(*family, 0, 0, 0, 0);
        list(socket, (GET_ROUTE, NEW_ROUTE), &fixed, &read_route, each)?;
    }
    Ok(())
}

/// An address of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OwnAddress {
    /// The address.
    pub addr: IpAddr,
    /// Whoever is on the same link, by the address's length: of a point-to-point link the other end alone.
    pub network: Prefix,
}

/// Lists this host's own addresses.
/// # Errors
/// [`NetlinkError`].
pub fn list_addresses(
    socket: &mut Socket,
    each: &mut dyn FnMut(Listed<OwnAddress>),
) -> Result<(), NetlinkError> {
    let fixed = [0; ADDR_FIXED_BYTES];
    list(socket, (GET_ADDR, NEW_ADDR), &fixed, &read_address, each)
}

/// The own address that a message tells of.
/// # Errors
/// [`NetlinkError::Malformed`].
pub fn read_address(message: &Message<'_>) -> Result<Option<OwnAddress>, NetlinkError> {
    const PEER_OR_OWN: u16 = 1;
    const OWN: u16 = 2;
    let (fixed, attributes) = message.split(ADDR_FIXED_BYTES)?;
    let length = fixed.get(1).copied().unwrap_or_default();
    let (mut own, mut peer) = (None, None);
    for found in attributes {
        let found = found?;
        match found.kind {
            // On a point-to-point link the first is the other end's address, and then the second is there.
            OWN => own = Some(canonical(found.addr()?)),
            PEER_OR_OWN => peer = Some(canonical(found.addr()?)),
            _ => {}
        }
    }
    let Some(addr) = own.or(peer) else { return Ok(None) };
    let network = Prefix::host(peer.unwrap_or(addr)).widened(length);
    Ok(Some(OwnAddress { addr, network }))
}

/// An entry of a list, or the news that the list begins anew and what was handed out is void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed<T> {
    /// One entry.
    Entry(T),
    /// Forget what came so far.
    Restart,
}

fn list<T>(
    socket: &mut Socket,
    (request, answer): (u16, u16),
    fixed: &[u8],
    read: &dyn Fn(&Message<'_>) -> Result<Option<T>, NetlinkError>,
    each: &mut dyn FnMut(Listed<T>),
) -> Result<(), NetlinkError> {
    let each = std::cell::RefCell::new(each);
    let request = Dump { kind: request, fixed, body: &|_| {} };
    socket.dump(
        &request,
        &mut |message| {
            if message.kind == answer
                && let Some(entry) = read(message)?
            {
                each.borrow_mut()(Listed::Entry(entry));
            }
            Ok(())
        },
        &mut || each.borrow_mut()(Listed::Restart),
    )
}
