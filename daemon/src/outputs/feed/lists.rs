//! Lists for firewalls, web servers, routers and name servers.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use pillory_core::net::Prefix;

use super::{Entry, Feed};

/// Also what HAProxy reads.
pub(super) fn plain(feed: &Feed<'_>) -> String {
    feed.entries.iter().fold(feed.comments("#"), |mut text, entry| {
        let _ = writeln!(text, "{}", entry.prefix.short());
        text
    })
}

/// Source: iplists.firehol.org; a comment that says what it is, then addresses and networks of IPv4.
pub(super) fn netset(feed: &Feed<'_>) -> String {
    let head = format!("#\n{}# ipv4 hash:net ipset\n#\n", feed.comments("#"));
    of_family(feed, true).fold(head, |mut text, entry| {
        let _ = writeln!(text, "{}", entry.prefix.short());
        text
    })
}

/// The most that a set holds: the same in every list, for `create -exist` refuses a set that has another room. It takes
/// no memory before it is used.
const IPSET_ROOM: u32 = 1 << 24;

/// What an earlier list put into the sets goes first. Source: ipset(8), `create`, `flush`, "-exist".
pub(super) fn ipset(feed: &Feed<'_>) -> String {
    let mut text = feed.comments("#");
    for (name, family, is_ipv4) in [("blocklist4", "inet", true), ("blocklist6", "inet6", false)] {
        let _ = writeln!(text, "create {name} hash:net family {family} maxelem {IPSET_ROOM} -exist");
        let _ = writeln!(text, "flush {name}");
        for entry in of_family(feed, is_ipv4) {
            let _ = writeln!(text, "add {name} {} -exist", entry.prefix);
        }
    }
    text
}

/// One transaction: sets that are there already stay, for rules may ask for them, and what an earlier list put into them
/// goes first. Interval sets take no overlaps. Source: nft(8), "SETS", "ELEMENT COMMANDS", "-f".
pub(super) fn nft(feed: &Feed<'_>) -> String {
    let sets = [("blocklist4", "ipv4_addr", true), ("blocklist6", "ipv6_addr", false)];
    let mut text = format!("{}table inet blocklist {{\n", feed.comments("#"));
    for (name, kind, _) in sets {
        let _ = write!(text, "\tset {name} {{\n\t\ttype {kind}\n\t\tflags interval\n\t}}\n");
    }
    text.push_str("}\n");
    for (name, _, is_ipv4) in sets {
        let _ = writeln!(text, "flush set inet blocklist {name}");
        let all: Vec<String> = feed.outermost(is_ipv4).iter().map(|prefix| prefix.short()).collect();
        if !all.is_empty() {
            let _ = writeln!(text, "add element inet blocklist {name} {{\n\t{}\n}}", all.join(",\n\t"));
        }
    }
    text
}

/// Source: ip(8), `-batch`; ip-route(8), `replace`.
pub(super) fn routes(feed: &Feed<'_>) -> String {
    feed.entries.iter().fold(feed.comments("#"), |mut text, entry| {
        let _ = writeln!(text, "route replace blackhole {}", entry.prefix);
        text
    })
}

/// Source: nginx, ngx_http_access_module.
pub(super) fn nginx(feed: &Feed<'_>) -> String {
    feed.entries.iter().fold(feed.comments("#"), |mut text, entry| {
        let _ = writeln!(text, "deny {};", entry.prefix.short());
        text
    })
}

/// Source: Apache, mod_authz_host and mod_authz_core.
pub(super) fn apache(feed: &Feed<'_>) -> String {
    let mut text = format!("{}<RequireAll>\n\tRequire all granted\n", feed.comments("#"));
    for entry in feed.entries {
        let _ = writeln!(text, "\tRequire not ip {}", entry.prefix.short());
    }
    text.push_str("</RequireAll>\n");
    text
}

/// What an earlier import put on the list goes first. Source: RouterOS, Firewall, Address-lists.
pub(super) fn mikrotik(feed: &Feed<'_>) -> String {
    let mut text = feed.comments("#");
    for (menu, is_ipv4) in [("/ip", true), ("/ipv6", false)] {
        let _ = writeln!(text, "{menu} firewall address-list\nremove [find list=blocklist]");
        for prefix in feed.outermost(is_ipv4) {
            let _ = writeln!(text, "add list=blocklist address={prefix}");
        }
    }
    text
}

/// Source: rbldnsd(8), ip4trie.
pub(super) fn rbldnsd(feed: &Feed<'_>) -> String {
    let head = format!("{}:127.0.0.2:listed: $\n", feed.comments("#"));
    of_family(feed, true).fold(head, |mut text, entry| {
        let _ = writeln!(text, "{}", entry.prefix);
        text
    })
}

/// A zone that is to be called by a name of the reader's choice, so all names in it are relative.
/// Source: draft-vixie-dnsop-dns-rpz, "rpz-client-ip" and "rpz-drop".
pub(super) fn rpz(feed: &Feed<'_>) -> String {
    let serial = feed.head.map_or(1, |head| head.made.secs());
    let mut text = format!(
        "{}$TTL 3600\n@ IN SOA localhost. root.localhost. {serial} 3600 900 86400 3600\n@ IN NS localhost.\n",
        feed.comments(";")
    );
    for entry in feed.entries {
        let _ = writeln!(text, "{}.rpz-client-ip CNAME rpz-drop.", backwards(entry.prefix));
    }
    text
}

/// `24.0.2.0.192`; `48.zz.7.db8.2001`, where zz stands for the longest run of zeros.
fn backwards(prefix: Prefix) -> String {
    let words: Vec<String> = match prefix.addr() {
        IpAddr::V4(addr) => addr.octets().iter().rev().map(ToString::to_string).collect(),
        IpAddr::V6(addr) => words_of(addr),
    };
    format!("{}.{}", prefix.prefix_len(), words.join("."))
}

fn words_of(addr: Ipv6Addr) -> Vec<String> {
    let words = addr.segments();
    let run = |from: &usize| words[*from..].iter().take_while(|word| **word == 0).count();
    // The first of the longest, as in the address's usual form.
    let begin = (0..words.len()).rev().max_by_key(run).unwrap_or(0);
    let zeros = run(&begin);
    let is_zz = |at: usize| zeros > 1 && (begin..begin + zeros).contains(&at);
    let word = |(at, word): (usize, &u16)| match is_zz(at) {
        true => (at == begin).then(|| "zz".to_owned()),
        false => Some(format!("{word:x}")),
    };
    let mut told: Vec<String> = words.iter().enumerate().filter_map(word).collect();
    told.reverse();
    told
}

fn of_family<'a>(feed: &'a Feed<'_>, is_ipv4: bool) -> impl Iterator<Item = &'a Entry> {
    feed.entries.iter().filter(move |entry| entry.prefix.is_ipv4() == is_ipv4)
}
