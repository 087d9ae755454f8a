//! The name of an address, for commands that ask for it: /etc/hosts first, then the host's name servers.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use pillory_core::net::canonical;

use super::dns::{self, Family, Question};
use super::{Places, read};

/// The name of one address, once, within a time; nothing if it has none or nobody answers. It is hostile text: whoever
/// owns the address chooses it.
pub(crate) fn name_of(addr: IpAddr, within: Duration) -> Option<String> {
    let places = Places::host();
    if let Some(listed) = in_hosts(&read(&places.hosts), addr) {
        return Some(listed);
    }
    let wake = eventfd(0, EventfdFlags::CLOEXEC).ok()?;
    let question = Question { name: pointer(addr), family: Family::Name };
    let answer = dns::ask(&[question], &places.resolv_conf().servers, within, wake.as_fd()).pop()?;
    answer.ok()?.names.into_iter().next()
}

/// The name under which an address' own name is kept: `7.2.0.192.in-addr.arpa`.
fn pointer(addr: IpAddr) -> String {
    let zone = if addr.is_ipv4() { "in-addr.arpa" } else { "ip6.arpa" };
    format!("{}{zone}", reversed(addr))
}

/// The address as such names begin: `7.2.0.192.`
pub(crate) fn reversed(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => addr.octets().iter().rev().map(|octet| format!("{octet}.")).collect(),
        IpAddr::V6(addr) => {
            let nibbles = addr.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            nibbles.rev().map(|nibble| format!("{nibble:x}.")).collect()
        }
    }
}

/// The first name of the address in the text of a hosts file. Source: hosts(5).
fn in_hosts(text: &str, addr: IpAddr) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let listed: IpAddr = words.next()?.parse().ok()?;
        words.next().filter(|_| canonical(listed) == addr).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_reversed_for_name_servers() {
        assert_eq!(pointer("192.0.2.7".parse().unwrap()), "7.2.0.192.in-addr.arpa");
        let pointer = pointer("2001:db8::1".parse().unwrap());
        assert!(
            pointer.starts_with("1.0.0.0.") && pointer.ends_with("8.b.d.0.1.0.0.2.ip6.arpa"),
            "{pointer}"
        );
    }

    #[test]
    fn the_first_name_of_a_hosts_line_is_the_name_of_its_address() {
        let text =
            "# 192.0.2.7 no\n192.0.2.7\n192.0.2.7 box.example.net box # 192.0.2.8\n::ffff:192.0.2.9 nine\n";
        let name = |addr: &str| in_hosts(text, addr.parse().unwrap());
        assert_eq!(name("192.0.2.7").as_deref(), Some("box.example.net"));
        assert_eq!(name("192.0.2.9").as_deref(), Some("nine"));
        assert_eq!(name("192.0.2.8"), None);
    }
}
