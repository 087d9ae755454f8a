//! A server and the hosts around it, joined by one virtual cable.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::client::Attacker;
use super::host::Host;
use super::kernel::Kernel;
use super::tools;

/// The server's IPv4 address.
pub const SERVER4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
/// The server's IPv6 address.
pub const SERVER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// Password of root, alice and bob on the server.
pub const PASSWORD: &str = "correct horse";

/// Programs without which there is no world.
const NEEDED: [&str; 6] = ["unshare", "nsenter", "ip", "nft", "ssh", "ssh-keygen"];

/// Networks behind the gateway: the client answers for every address of them.
const BEYOND4: [&str; 3] = ["198.51.100.0/24", "203.0.113.0/24", "10.66.0.0/16"];

/// A server and its clients. Dropping it ends everything in it.
#[derive(Debug)]
pub struct World {
    /// The host under attack.
    pub server: Host,
    /// Where attackers and friends come from.
    pub client: Host,
}

impl World {
    /// Builds one; `None`, with a line that says why, if that is not possible here.
    pub fn new() -> Option<World> {
        World::with(&[])
    }

    /// The same for a test that needs more programs.
    pub fn with(programs: &[&str]) -> Option<World> {
        let needed: Vec<&str> = NEEDED.iter().chain(programs).copied().collect();
        if !tools::need(&needed) {
            return None;
        }
        let (server, client) = std::thread::scope(|scope| {
            let client = scope.spawn(Host::client);
            (Host::server(), client.join().expect("the client host starts"))
        });
        let world = World { server, client };
        world.join();
        Some(world)
    }

    /// Somebody who comes from `addr`.
    #[track_caller]
    pub fn attacker(&self, addr: &str) -> Attacker {
        let addr = addr.parse().unwrap_or_else(|_| panic!("{addr} is no address"));
        Attacker::new(self.client.clone(), addr)
    }

    /// The same, for a test that reads better with a friend.
    #[track_caller]
    pub fn friend(&self, addr: &str) -> Attacker {
        self.attacker(addr)
    }

    /// The server's kernel as foreign tools see it.
    pub fn kernel(&self) -> Kernel {
        Kernel::new(self.server.clone())
    }

    /// Lays the cable and gives addresses and routes.
    fn join(&self) {
        for host in [&self.server, &self.client] {
            host.in_network(|| {
                // Duplicate address detection would hold IPv6 addresses back for a second.
                set("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0");
                set("/proc/sys/net/ipv6/conf/default/disable_ipv6", "0");
                set("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
                set("/proc/sys/net/ipv6/conf/default/accept_ra", "0");
                set("/proc/sys/net/ipv6/ip_nonlocal_bind", "1");
            });
        }
        self.server.ip_batch(&format!(
            "link add eth0 type veth peer name eth0 netns {}\n\
             link set lo up\n\
             addr add {SERVER4}/24 dev eth0\n\
             addr add {SERVER6}/64 dev eth0 nodad\n\
             link set eth0 up\n",
            self.client.pid()
        ));
        let mut lines = String::from("link set lo up\nlink set eth0 up\n");
        for last in (10..=60).chain(200..=209).chain([254]) {
            writeln!(lines, "addr add 192.0.2.{last}/24 dev eth0").expect("a string takes it");
        }
        for host in [0x10, 0xfe] {
            writeln!(lines, "addr add 2001:db8::{host:x}/64 dev eth0 nodad").expect("a string takes it");
        }
        for network in BEYOND4 {
            writeln!(lines, "route add local {network} dev lo").expect("a string takes it");
        }
        for site in 1..=0xf {
            writeln!(lines, "route add local 2001:db8:{site:x}::/48 dev lo").expect("a string takes it");
        }
        self.client.ip_batch(&lines);
        self.server.ip_batch("route add default via 192.0.2.254\nroute add ::/0 via 2001:db8::fe\n");
    }
}

/// Sets a sysctl of the network namespace that the thread is in.
fn set(path: &str, value: &str) {
    std::fs::write(path, value).unwrap_or_else(|error| panic!("cannot set {path}: {error}"));
}
