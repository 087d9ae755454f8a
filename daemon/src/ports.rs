//! Ports of a jail, for bans that are limited to them: as configured, else those on which the service listens
//! now, else what its filter says. Names are looked up in /etc/services; a static binary asks no name service.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use pillory_core::config::JailConfig;
use pillory_core::event::Scope;
use pillory_core::ledger::Ledger;

use crate::actions::Port;
use crate::discover::ActiveJail;
use crate::kernel::JailPorts;
use crate::kernelfacts::{Connections, Listener};
use crate::netlink::sockdiag::SockDiag;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Services of the built-in filters, for hosts without /etc/services.
const WELL_KNOWN: [(&str, u16); 13] = [
    ("ftp", 21),
    ("ftps", 990),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("pop3", 110),
    ("pop3s", 995),
    ("smtp", 25),
    ("ssh", 22),
    ("submission", 587),
    ("submissions", 465),
];

/// The ports of every jail. A port that has no number is passed over and named in the second value.
pub(crate) fn of_jails(active: &[ActiveJail]) -> (JailPorts, Vec<String>) {
    let services = services();
    let owners = match active.iter().any(|jail| jail.config.port.is_empty()) {
        true => owners(&listeners()),
        // Nobody asks whose ports are open.
        false => HashMap::new(),
    };
    let mut unknown = Vec::new();
    let ports = active
        .iter()
        .map(|jail| (jail.config.name.clone(), of_jail(&jail.config, &owners, &services, &mut unknown)));
    (ports.collect(), unknown)
}

fn listeners() -> Vec<Listener> {
    let read = SockDiag::open().ok().and_then(|mut diag| Connections::read(&mut diag).ok());
    read.map(|connections| connections.listeners).unwrap_or_default()
}

/// Says of a port as jails write it whether it has a number on this host.
pub(crate) fn known() -> impl Fn(&str) -> bool {
    let services = std::fs::read_to_string("/etc/services").unwrap_or_default();
    move |name| parse(name, &services).is_some()
}

/// Adds jails that do not run and left bans on their ports, which nobody knows any more: such a ban holds for all.
pub(crate) fn add_left_over(ports: &mut JailPorts, ledger: &Ledger) {
    for ban in ledger.iter() {
        if let Scope::Ports(jail) = ban.scope
            && !ports.iter().any(|(known, _)| *known == jail)
        {
            ports.push((jail, Vec::new()));
        }
    }
}

fn of_jail(
    jail: &JailConfig,
    owners: &HashMap<String, BTreeSet<u16>>,
    services: &str,
    unknown: &mut Vec<String>,
) -> Vec<Port> {
    if jail.port.is_empty() {
        let programs: HashSet<&str> = jail.programs().collect();
        let found: BTreeSet<u16> = owners
            .iter()
            .filter(|(name, _)| programs.contains(name.as_str()))
            .flat_map(|(_, ports)| ports)
            .copied()
            .collect();
        if !found.is_empty() {
            return found.into_iter().map(|port| Port::dropped(TCP, (port, port))).collect();
        }
    }
    let names = if jail.port.is_empty() { &jail.filter.port } else { &jail.port };
    let mut ports = Vec::new();
    for name in names {
        match parse(name, services) {
            Some(found) => ports.push(Port { block: jail.block, way: jail.way, ..found }),
            None => unknown.push(format!(
                "jail {}: port {name:?} has no number; write it as one, or add it to /etc/services",
                jail.name
            )),
        }
    }
    ports
}

/// Those of these ports that are names, and have no number on this host.
pub(crate) fn unknown_names(ports: Vec<String>) -> Vec<String> {
    let services = services();
    let is_name = |port: &str| port.bytes().any(|byte| byte.is_ascii_alphabetic()) && !port.contains('/');
    ports.into_iter().filter(|port| is_name(port) && parse(port, &services).is_none()).collect()
}

/// The numbers of ports as people write them; those that have none on this host are left out.
pub(crate) fn numbers(ports: &[String]) -> Vec<Port> {
    let services = services();
    ports.iter().filter_map(|port| parse(port, &services)).collect()
}

fn services() -> String {
    std::fs::read_to_string("/etc/services").unwrap_or_default()
}

/// `22`, `8000:8010`, `8000-8010`, `ssh`, with `/udp` behind for UDP.
fn parse(text: &str, services: &str) -> Option<Port> {
    let (text, protocol) = match text.split_once('/') {
        Some((text, "udp")) => (text, UDP),
        Some((text, "tcp")) => (text, TCP),
        Some(_) => return None,
        None => (text, TCP),
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    if let Some(port) = number(text).or_else(|| by_name(text, services)) {
        return Some(Port::dropped(protocol, (port, port)));
    }
    let (first, last) = text.split_once([':', '-'])?;
    let range = (number(first)?, number(last)?);
    (range.0 <= range.1).then(|| Port::dropped(protocol, range))
}

fn by_name(name: &str, services: &str) -> Option<u16> {
    let line = |line: &str| -> Option<u16> {
        let mut words = line.split('#').next()?.split_whitespace();
        let (first, port) = (words.next()?, words.next()?);
        let (port, _) = port.split_once('/')?;
        (first == name || words.any(|alias| alias == name)).then(|| port.parse().ok()).flatten()
    };
    services
        .lines()
        .find_map(line)
        .or_else(|| WELL_KNOWN.iter().find(|(known, _)| *known == name).map(|(_, port)| *port))
}

/// Which program listens on which ports, by the sockets that its processes hold open.
fn owners(listeners: &[Listener]) -> HashMap<String, BTreeSet<u16>> {
    let by_inode: HashMap<u32, u16> =
        listeners.iter().map(|listener| (listener.inode, listener.local.port())).collect();
    let mut owners: HashMap<String, BTreeSet<u16>> = HashMap::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let ports = held_ports(&process.path().join("fd"), &by_inode);
        if ports.is_empty() {
            continue;
        }
        if let Ok(name) = std::fs::read_to_string(process.path().join("comm")) {
            owners.entry(name.trim_end().to_owned()).or_default().extend(ports);
        }
    }
    owners
}

fn held_ports(fds: &Path, by_inode: &HashMap<u32, u16>) -> Vec<u16> {
    let links = std::fs::read_dir(fds)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let inode = |link: std::path::PathBuf| {
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u32>().ok()
    };
    links.filter_map(inode).filter_map(|inode| by_inode.get(&inode).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_people_write_them() {
        let services = "ssh 22/tcp # SSH\nwhois 43/tcp nicname\n";
        let tcp = |first, last| Some(Port::dropped(TCP, (first, last)));
        assert_eq!(parse("ssh", services), tcp(22, 22));
        assert_eq!(parse("nicname", services), tcp(43, 43));
        assert_eq!(parse("submission", services), tcp(587, 587));
        assert_eq!(parse("8000:8010", services), tcp(8000, 8010));
        assert_eq!(parse("500/udp", services), Some(Port::dropped(UDP, (500, 500))));
        for wrong in ["", "0", "nothing", "9:3", "70000", "1/sctp"] {
            assert_eq!(parse(wrong, services), None, "{wrong}");
        }
    }
}
