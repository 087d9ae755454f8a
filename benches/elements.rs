//! Hears from the kernel itself when an element enters a set: the notices of nf_tables, read without `nft`.
//!
//! A thread blocks in recv and takes the time when it has returned, so every figure includes the waking of that
//! thread and is never too small.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, sockopt};

use crate::lab::Host;

/// `NFNLGRP_NFTABLES` as a bit.
const GROUP: u32 = 1 << (7 - 1);
/// `NFNL_SUBSYS_NFTABLES` and `NFT_MSG_NEWSETELEM`.
const NEW_ELEMENT: u16 = (10 << 8) | 12;
/// `NFTA_SET_ELEM_LIST_ELEMENTS`.
const LIST_ELEMENTS: u16 = 3;
/// `NFTA_SET_ELEM_KEY`.
const ELEMENT_KEY: u16 = 1;
/// Ten thousand notices wait in it.
const RECEIVE_BUFFER_BYTES: usize = 64 << 20;

/// Addresses that have entered a set of any table, with the moment.
#[derive(Debug)]
pub struct Elements {
    heard: Receiver<(IpAddr, Instant)>,
    known: HashMap<IpAddr, Instant>,
}

impl Elements {
    /// Begins to listen on this host.
    pub fn listen(host: &Host) -> Elements {
        let socket = host.in_network(open);
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 1 << 20];
            // The thread ends with the program: its socket keeps the namespace, nothing else.
            while let Ok((length, _)) = rustix::net::recv(&socket, &mut buffer[..], RecvFlags::empty()) {
                let now = Instant::now();
                for addr in addresses(&buffer[..length]) {
                    if tell.send((addr, now)).is_err() {
                        return;
                    }
                }
            }
        });
        Elements { heard, known: HashMap::new() }
    }

    /// Waits until this address is in a set; the moment at which it was heard of.
    pub fn wait_for(&mut self, addr: IpAddr, limit: Duration) -> Option<Instant> {
        let end = Instant::now() + limit;
        loop {
            if let Some(when) = self.known.get(&addr) {
                return Some(*when);
            }
            let left = end.checked_duration_since(Instant::now())?;
            let (addr, when) = self.heard.recv_timeout(left).ok()?;
            self.known.entry(addr).or_insert(when);
        }
    }

    /// Waits until so many addresses are known; the moment of the last.
    pub fn wait_for_count(&mut self, count: usize, limit: Duration) -> Option<Instant> {
        let end = Instant::now() + limit;
        while self.known.len() < count {
            let left = end.checked_duration_since(Instant::now())?;
            let (addr, when) = self.heard.recv_timeout(left).ok()?;
            self.known.entry(addr).or_insert(when);
        }
        self.known.values().max().copied()
    }
}

fn open() -> OwnedFd {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(NETFILTER),
    )
    .expect("a netlink socket opens");
    sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES).expect("root may");
    rustix::net::bind(&socket, &SocketAddrNetlink::new(0, GROUP)).expect("the group can be joined");
    socket
}

/// Keys of the elements that these messages add.
fn addresses(mut bytes: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    while let Some((head, _)) = bytes.split_at_checked(16) {
        let length = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(message) = bytes.get(..length).filter(|message| message.len() >= 20) else { break };
        if u16::from_ne_bytes([head[4], head[5]]) == NEW_ELEMENT {
            let lists = attributes(&message[20..]).filter(|(kind, _)| *kind == LIST_ELEMENTS);
            for (_, element) in lists.flat_map(|(_, list)| attributes(list)) {
                let key = attributes(element).find(|(kind, _)| *kind == ELEMENT_KEY);
                let value = key.and_then(|(_, key)| attributes(key).next());
                found.extend(value.and_then(|(_, value)| address(value)));
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn address(value: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(value).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    v4.ok().or_else(|| Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?))))
}

/// The attributes in these bytes, kind without flags, and content.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = bytes.get(..4)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & 0x3fff;
        let content = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, content))
    })
}
