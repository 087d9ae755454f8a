//! What the kernel tells of changes of nf_tables and IPv4 routes, and when, without a program in between.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketType, bind, recv, socket};

use super::host::Host;

/// `NFNLGRP_NFTABLES` and `RTNLGRP_IPV4_ROUTE` are both the seventh group.
const GROUP: u32 = 1 << (7 - 1);
/// `struct nlmsghdr` of linux/netlink.h: length, type, flags, sequence number, port.
const HEADER_BYTES: usize = 16;

/// One change.
#[derive(Debug, Clone, Copy)]
struct Notice {
    when: Instant,
    /// The netlink port of whoever made the change.
    port: u32,
}

/// Changes as they are told; the listening ends with the test.
#[derive(Debug)]
pub struct Notices {
    heard: Arc<Mutex<Vec<Notice>>>,
}

impl Notices {
    /// Begins to listen to changes of nf_tables on this host.
    pub fn of_nftables(host: &Host) -> Notices {
        let socket = host.in_network(|| socket(AddressFamily::NETLINK, SocketType::RAW, Some(NETFILTER)));
        Notices::listen(socket.expect("nf_tables can be listened to"))
    }

    /// The same of IPv4 routes.
    pub fn of_routes(host: &Host) -> Notices {
        // NETLINK_ROUTE is protocol 0.
        let socket = host.in_network(|| socket(AddressFamily::NETLINK, SocketType::RAW, None));
        Notices::listen(socket.expect("routes can be listened to"))
    }

    fn listen(socket: OwnedFd) -> Notices {
        bind(&socket, &SocketAddrNetlink::new(0, GROUP)).expect("a group can be joined");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok((length, _)) = recv(&socket, &mut *buffer, RecvFlags::empty()) {
                let when = Instant::now();
                let ports = ports(&buffer[..length]);
                kept.lock()
                    .expect("nobody panics holding it")
                    .extend(ports.map(|port| Notice { when, port }));
            }
        });
        Notices { heard }
    }

    /// The time of the last change that somebody else made than made the first one; `None` if there is none yet.
    pub fn answered(&self) -> Option<Instant> {
        let heard = self.heard.lock().expect("the reader does not panic");
        let first = heard.first()?.port;
        heard.iter().rfind(|notice| notice.port != first).map(|notice| notice.when)
    }
}

/// The port of each message of a datagram.
fn ports(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (length, port) = (word(0)?, word(HEADER_BYTES - 4)?);
        bytes = bytes.get((length as usize).next_multiple_of(4)..).unwrap_or_default();
        (length > 0).then_some(port)
    })
}
