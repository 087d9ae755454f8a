//! What the kernel knows about this host that decides who is never banned: own addresses, default gateways,
//! resolvers, listening ports, and who is connected.
//!
//! Everything is read when asked for; [`FactsWatch`] tells when addresses or gateways changed.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use pillory_core::net::canonical;

use crate::netlink::route::{self, Listed, OwnAddress, Route};
use crate::netlink::sockdiag::{SockDiag, SockDiagError, State, TcpSocket, Which};
use crate::netlink::socket::Socket;
use crate::netlink::{KernelWatch, NetlinkError, Seen};

/// Larger files are no resolv.conf.
const MAX_RESOLV_CONF_BYTES: u64 = 64 * 1024;

/// Reads facts from the kernel's routing side.
#[derive(Debug)]
pub struct HostFacts {
    socket: Socket,
}

impl HostFacts {
    /// Opens the way to the kernel.
    /// # Errors
    /// [`NetlinkError`].
    pub fn open() -> Result<HostFacts, NetlinkError> {
        Ok(HostFacts { socket: Socket::open(None, 0)? })
    }

    /// This host's own addresses with their networks, sorted, loopback and link-local ones included.
    /// # Errors
    /// [`NetlinkError`].
    pub fn addresses(&mut self) -> Result<Vec<OwnAddress>, NetlinkError> {
        let mut found = Vec::new();
        route::list_addresses(&mut self.socket, &mut |entry| match entry {
            Listed::Entry(own) => found.push(own),
            Listed::Restart => found.clear(),
        })?;
        Ok(sorted(found))
    }

    /// The routers of every default route in every table, sorted.
    /// # Errors
    /// [`NetlinkError`].
    pub fn gateways(&mut self) -> Result<Vec<IpAddr>, NetlinkError> {
        let mut found = Vec::new();
        for family in [route::IPV4, route::IPV6] {
            let before = found.len();
            route::list_routes(&mut self.socket, &[family], &mut |entry| match entry {
                Listed::Entry(route) => found.extend(default_gateways(&route)),
                Listed::Restart => found.truncate(before),
            })?;
        }
        Ok(sorted(found))
    }
}

fn default_gateways(route: &Route) -> impl Iterator<Item = IpAddr> + '_ {
    let is_default = route.prefix_len == 0;
    route.gateways.iter().copied().filter(move |_| is_default).map(canonical)
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all.dedup();
    all
}

/// Tells when an own address or a default route comes or goes.
#[derive(Debug)]
pub struct FactsWatch {
    socket: Socket,
}

impl FactsWatch {
    /// Begins to listen: read the facts once after this.
    /// # Errors
    /// [`NetlinkError`].
    pub fn open() -> Result<FactsWatch, NetlinkError> {
        Ok(FactsWatch { socket: Socket::open(None, route::ADDR_GROUPS | route::ROUTE_GROUPS)? })
    }
}

impl KernelWatch for FactsWatch {
    fn read(&mut self) -> Result<Seen, NetlinkError> {
        let mut seen = Seen::Nothing;
        let is_complete = self.socket.notices(&mut |message| {
            let concerns = match message.kind {
                route::NEW_ADDR | route::DELETE_ADDR => true,
                // Null routes of our own come and go in thousands; none of them is a default route.
                route::NEW_ROUTE | route::DELETE_ROUTE => {
                    route::read_route(message)?.is_some_and(|route| route.prefix_len == 0)
                }
                _ => false,
            };
            if concerns {
                seen = Seen::Touched;
            }
            Ok(())
        })?;
        Ok(if is_complete { seen } else { Seen::Lost })
    }
}

impl AsFd for FactsWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The resolvers that a resolv.conf names; none if the file is absent.
/// # Errors
/// [`io::Error`] if it is there and cannot be read.
pub fn resolvers(path: &Path) -> Result<Vec<IpAddr>, io::Error> {
    use std::io::Read;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_RESOLV_CONF_BYTES).read_to_end(&mut bytes)?;
    Ok(parse_resolv_conf(&String::from_utf8_lossy(&bytes)))
}

/// The addresses in the `nameserver` lines of a resolv.conf; zones (`%eth0`) are dropped.
/// Source: resolv.conf(5).
pub fn parse_resolv_conf(text: &str) -> Vec<IpAddr> {
    let addrs = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        let word = words.next()?;
        let addr = word.split_once('%').map_or(word, |(addr, _zone)| addr);
        addr.parse().ok().map(canonical)
    });
    sorted(addrs.collect())
}

/// A port that somebody listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// Where; unspecified for all addresses.
    pub local: SocketAddr,
    /// Whose it is.
    pub uid: u32,
    /// Its inode, to find the process in `/proc/*/fd`.
    pub inode: u32,
}

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub addr: IpAddr,
    /// Its port.
    pub port: u16,
    /// This host's port.
    pub local_port: u16,
    /// Whose this host's socket is.
    pub uid: u32,
    /// Its inode; 0 while no process has accepted it.
    pub inode: u32,
}

/// TCP as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connections {
    /// Where this host listens.
    pub listeners: Vec<Listener>,
    /// Who is connected to a port that this host listens on.
    pub inbound: Vec<Peer>,
    /// Whom this host itself connected to, or is just trying to.
    pub outbound: Vec<Peer>,
}

impl Connections {
    /// Reads them from the kernel.
    /// # Errors
    /// [`SockDiagError`].
    pub fn read(diag: &mut SockDiag) -> Result<Connections, SockDiagError> {
        // Connections first: a listener that comes between would make an outbound one inbound, not the reverse.
        let connected = diag.list(Which::Connected)?;
        let listening = diag.list(Which::Listening)?;
        Ok(Connections::from_sockets(&listening, &connected))
    }

    /// Tells inbound from outbound: a connection is inbound if its local end is listened on.
    pub fn from_sockets(listening: &[TcpSocket], connected: &[TcpSocket]) -> Connections {
        let listeners = listening.iter().map(|socket| Listener {
            local: socket.local,
            uid: socket.uid,
            inode: socket.inode,
        });
        let mut connections = Connections { listeners: listeners.collect(), ..Connections::default() };
        let everywhere: HashSet<u16> = connections
            .listeners
            .iter()
            .filter(|l| l.local.ip().is_unspecified())
            .map(|l| l.local.port())
            .collect();
        let somewhere: HashSet<SocketAddr> = connections.listeners.iter().map(|l| l.local).collect();
        for socket in connected {
            let peer = Peer {
                addr: socket.remote.ip(),
                port: socket.remote.port(),
                local_port: socket.local.port(),
                uid: socket.uid,
                inode: socket.inode,
            };
            let is_inbound = everywhere.contains(&socket.local.port()) || somewhere.contains(&socket.local);
            match socket.state {
                State::Established if is_inbound => connections.inbound.push(peer),
                State::Established | State::SynSent => connections.outbound.push(peer),
                // Anybody can send a SYN under any name, and what is closing is over.
                State::SynReceived | State::Closing | State::Listening => {}
            }
        }
        connections
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::netlink::decode::messages;
    use crate::netlink::encode::Messages;
    use crate::netlink::lab::{in_new_namespace, must_run};
    use proptest::prelude::*;

    fn ip(arguments: &str) {
        must_run("ip", &arguments.split(' ').collect::<Vec<_>>());
    }

    /// A link with no address at all.
    fn add_link() {
        ip("link add v0 type veth peer name v1");
        for link in ["v0", "v1"] {
            ip(&format!("link set {link} addrgenmode none"));
            ip(&format!("link set {link} up"));
        }
    }

    fn addrs(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn reads_own_addresses_and_all_default_gateways() {
        in_new_namespace(|| {
            add_link();
            ip("addr add 192.0.2.1/24 dev v0");
            ip("addr add 2001:db8::1/64 dev v0 nodad");
            ip("addr add 198.51.100.1 peer 198.51.100.2 dev v0");
            ip("route add default via 192.0.2.254 dev v0");
            ip("route add default metric 9 nexthop via 192.0.2.253 dev v0 nexthop via 192.0.2.252 dev v0");
            ip("route add default via 192.0.2.251 dev v0 table 77");
            ip("route add 203.0.113.0/24 via 192.0.2.200 dev v0");
            ip("-6 route add default via 2001:db8::fe dev v0");
            let mut facts = HostFacts::open().unwrap();
            let own = [
                ("127.0.0.1", "127.0.0.0/8"),
                ("192.0.2.1", "192.0.2.0/24"),
                ("198.51.100.1", "198.51.100.2/32"),
                ("::1", "::1/128"),
                ("2001:db8::1", "2001:db8::/64"),
            ];
            let found = facts.addresses().unwrap();
            let found = found.iter().map(|own| (own.addr.to_string(), own.network.to_string()));
            assert_eq!(found.collect::<Vec<_>>(), own.map(|(addr, net)| (addr.to_owned(), net.to_owned())));
            let gateways = ["192.0.2.251", "192.0.2.252", "192.0.2.253", "192.0.2.254", "2001:db8::fe"];
            assert_eq!(facts.gateways().unwrap(), addrs(&gateways));
        });
    }

    #[test]
    fn the_watch_becomes_readable_when_an_address_or_a_gateway_comes() {
        in_new_namespace(|| {
            add_link();
            let mut watch = FactsWatch::open().unwrap();
            assert_eq!(watch.read().unwrap(), Seen::Nothing);
            for change in ["addr add 192.0.2.1/24 dev v0", "route add default via 192.0.2.254 dev v0"] {
                ip(change);
                let deadline = Timespec { tv_sec: 10, tv_nsec: 0 };
                let ready = poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&deadline)).unwrap();
                assert_eq!((ready, watch.read().unwrap()), (1, Seen::Touched), "{change}");
            }
            ip("route add blackhole 203.0.113.7 proto 199");
            assert_eq!(watch.read().unwrap(), Seen::Nothing);
        });
    }

    #[test]
    fn tells_who_came_from_whom_we_called() {
        in_new_namespace(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let connections = Connections::read(&mut SockDiag::open().unwrap()).unwrap();
            let client_port = client.local_addr().unwrap().port();
            assert_eq!(connections.listeners.len(), 1);
            let ends = |peers: &[Peer]| peers.iter().map(|p| (p.local_port, p.port)).collect::<Vec<_>>();
            assert_eq!(ends(&connections.inbound), [(port, client_port)]);
            assert_eq!(ends(&connections.outbound), [(client_port, port)]);
        });
    }

    #[test]
    fn reads_resolvers_and_nothing_else() {
        let text = "# nameserver 192.0.2.1\nnameserver 192.0.2.53\n\tnameserver  2001:db8::53 # x\n\
                    nameserver fe80::1%eth0\nnameserver\nnameserver no.name\nsearch nameserver 192.0.2.2\n\
                    nameserver ::ffff:192.0.2.53\nnameservers 192.0.2.9";
        assert_eq!(parse_resolv_conf(text), addrs(&["192.0.2.53", "2001:db8::53", "fe80::1"]));
        assert_eq!(resolvers(Path::new("/nonexistent/resolv.conf")).unwrap(), addrs(&[]));
        assert!(resolvers(Path::new("/")).is_err());
    }

    proptest! {
        #[test]
        fn a_damaged_route_or_address_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), start in 0usize..2) {
            let mut batch = Messages::numbered_from(1);
            let family = [route::IPV4, route::IPV6][start];
            let mut fixed = route::route_fixed(family, 0, 254, 3, 1).to_vec();
            fixed.extend(&bytes);
            batch.message(route::NEW_ROUTE, 0, &fixed, |_| {});
            for message in messages(batch.bytes().unwrap()) {
                let message = message.unwrap();
                let _ = route::read_route(&message);
                let _ = route::read_address(&message);
            }
        }
    }
}
