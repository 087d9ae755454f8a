//! For fuzzing: what is done with bytes from outside, one function a decoder. None may panic, and none may take long.
//!
//! The daemon is a program, so no other crate reaches its decoders; the package in `fuzz/` builds these sources once more,
//! as a library. Here the tests replay what is stored in `fuzz/corpus`. `fuzz/bodies.rs` is the same for the core's.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use pillory_core::config::fail2ban::render;
use pillory_core::filter::settings::Options;
use pillory_core::jail::networks::Networks as _;
use pillory_core::jail::proxies::Proxies;
use pillory_core::jail::secret::Secret;
use pillory_core::machine::Identities;
use pillory_core::time::Timestamp;

use crate::actions::nftables;
use crate::allowed::Allowed;
use crate::cli::configfile::Policy;
use crate::commands::Order;
use crate::control::{Reply, Request};
use crate::engine::learning::Learning;
use crate::engine::trial::Found;
use crate::geo::Databases;
use crate::netlink::{decode, netfilter, route, sockdiag};
use crate::sources::FeedId;
use crate::sources::follow::gzip::Gunzip;
use crate::sources::journal::offline::Entries;
use crate::sources::journal::unpack::unpack;
use crate::{names, rdap, store, web, xz};

/// What one target does with bytes.
pub type Body = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Body); 14] = [
    ("journal", journal),
    ("packed", packed),
    ("netlink", netlink),
    ("dns", dns),
    ("control", control),
    ("spill", spill),
    ("rows", rows),
    ("database", database),
    ("wal", wal),
    ("geo", geo),
    ("rdap", rdap),
    ("kept", kept),
    ("order", order),
    ("request", request),
];

/// What is unpacked of anything.
const MAX_UNPACKED: usize = 64 * 1024;

/// A file of these bytes that lies nowhere.
fn nameless(data: &[u8]) -> io::Result<(File, PathBuf)> {
    let mut file = File::from(rustix::fs::memfd_create("fuzz", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(data)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
    Ok((file, path))
}

/// A journal file, read forwards, backwards, and from a point in time on.
pub fn journal(data: &[u8]) {
    let Ok((_file, path)) = nameless(data) else { return };
    let sshd = [vec![("_COMM".to_owned(), "sshd".to_owned()), ("_UID".to_owned(), "0".to_owned())]];
    let wanted: [(FeedId, &_); 2] = [(0, &sshd[..]), (1, &[][..])];
    let Ok(mut entries) = Entries::open(&path, &wanted) else { return };
    let _ = (entries.first_stamp(), entries.last_stamp());
    while entries.next().is_some() {}
    entries.latest(10, 1_000);
    for since in [Timestamp::from_millis(0), Timestamp::from_secs(1_795_334_231)] {
        entries.since(since, &mut |_| ControlFlow::Continue(()));
    }
}

/// Something compressed, in the way that the first byte says: values of a journal, packed logs.
pub fn packed(data: &[u8]) {
    let Some((how, packed)) = data.split_first() else { return };
    match how {
        b'g' => {
            let Ok((_file, path)) = nameless(packed) else { return };
            let Ok(mut unpacked) = File::open(path).and_then(Gunzip::open) else { return };
            if let Ok(plain) = unpacked.peek(MAX_UNPACKED) {
                assert!(plain.len() <= MAX_UNPACKED);
            }
        }
        b'x' => {
            drop(xz::XzReader::new(packed).take(MAX_UNPACKED as u64).read_to_end(&mut Vec::new()));
        }
        how => {
            if let Ok(plain) = unpack(how & 7, packed, MAX_UNPACKED) {
                assert!(plain.len() <= MAX_UNPACKED);
            }
        }
    }
}

/// What the kernel sends: each message read as everything that is ever asked for.
pub fn netlink(data: &[u8]) {
    for message in decode::messages(data).flatten() {
        drop((message.error(), message.is_interrupted()));
        drop((route::read_route(&message), route::read_address(&message)));
        drop((sockdiag::read_socket(&message), netfilter::read_names(&message, &[1, 3])));
        nftables::whatever(&message);
    }
}

/// An answer of a name server.
pub fn dns(data: &[u8]) {
    names::dns::whatever(data);
}

/// What a caller sends to the dashboard.
pub fn request(data: &[u8]) {
    web::request(data);
}

/// A line at the control socket, as a request and as an answer: what was understood can be said again.
pub fn control(data: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(data) {
        let said = serde_json::to_string(&request).unwrap_or_default();
        let again = serde_json::from_str::<Request>(&said).ok();
        assert_eq!(again.and_then(|again| serde_json::to_string(&again).ok()), Some(said));
    }
    if let Ok(reply) = serde_json::from_slice::<Reply>(data) {
        let said = serde_json::to_string(&reply).unwrap_or_default();
        assert!(serde_json::from_str::<Reply>(&said).is_ok(), "{said}");
    }
}

/// What waits beside the store.
pub fn spill(data: &[u8]) {
    store::whatever::spilled(data);
}

/// Rows of the store.
pub fn rows(data: &[u8]) {
    store::whatever::rows(data);
}

/// The store's file, or fail2ban's.
pub fn database(data: &[u8]) {
    store::whatever::file(data);
}

/// A log of changes beside a database, and its index: what was lost of it.
pub fn wal(data: &[u8]) {
    store::whatever::log(data);
}

/// A database of networks.
pub fn geo(data: &[u8]) {
    let databases = Databases::of(data);
    for text in ["11.7.1.2", "0.0.0.0", "255.255.255.255", "2001:db8:7::1", "::", "ffff::"] {
        if let Ok(addr) = text.parse::<IpAddr>() {
            drop((databases.asn(addr), databases.operator(addr), databases.country(addr)));
        }
    }
}

/// What a registry answers.
pub fn rdap(data: &[u8]) {
    rdap::whatever(data);
}

/// What the store keeps as texts, whichever it is: who was allowed, a policy on trial, what was learnt, proxies, bans of
/// identities, the host's secret. What was understood is kept as it was.
pub fn kept(data: &[u8]) {
    let (text, now) = (String::from_utf8_lossy(data), Timestamp::from_secs(1_795_334_231));
    let allowed = Allowed::restored(Some(&text), now);
    assert_eq!(Allowed::restored(Some(&allowed.kept()), now).kept(), allowed.kept());
    let file = Policy { file: PathBuf::from("pillory.toml"), text: None };
    drop(Found::new(Some(&text), &file, now).policy().cloned());
    drop(Learning::restored(Some(&text), false, now));
    let _ = Secret::restore(&text);
    Proxies::default().restore(&text, now);
    if let Ok(bans) = serde_json::from_str(&text) {
        Identities::default().restore(bans, now);
    }
}

/// An order for a command. What a ban brings never becomes a part of the script.
pub fn order(data: &[u8]) {
    let Ok(order) = serde_json::from_slice::<Order>(data) else { return };
    let rendered = |value: &str| {
        let values =
            |of: &Options| of.keys().map(|name| (name.clone(), value.to_owned())).collect::<Options>();
        render::render(&order.command, &values(&order.tags), &values(&order.captures))
    };
    drop(render::render(&order.command, &order.tags, &order.captures));
    // Values that a shell could take for more than words all lead to the same script, with variables for them.
    let special = |value: &&String| value.contains(|c: char| "`$\"'\\;&|<>()*?[]{}#~\n\r".contains(c));
    for value in order.tags.values().chain(order.captures.values()).filter(special) {
        assert_eq!(rendered(value).script, rendered("$").script, "{value:?}");
    }
}

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn stored_inputs_of_every_fuzz_target_pass() {
        super::replay::stored_inputs(&super::TARGETS);
    }

    #[test]
    fn invented_inputs_of_every_fuzz_target_pass() {
        super::replay::invented_inputs(&super::TARGETS);
    }
}
