//! Rows of routing tables: `netstat -rn`, `route -n`, `ip route`.

use super::{Reader, Why};

/// Takes or passes over a row of a routing table; false if the line is none.
pub(super) fn line(reader: &mut Reader, number: usize, line: &str) -> bool {
    // A script of `ip` commands says the same as the table it makes.
    let is_command =
        |word: &&str| matches!(*word, "ip" | "-4" | "-6" | "route" | "add" | "replace" | "append");
    let words: Vec<&str> = line.split_whitespace().skip_while(is_command).collect();
    ip_route(reader, number, line, &words) || netstat(reader, number, line, &words)
}

/// `blackhole 192.0.2.7`, `192.0.2.7 via 127.0.0.1 dev lo`, `default via 192.0.2.1 dev eth0`
fn ip_route(reader: &mut Reader, number: usize, line: &str, words: &[&str]) -> bool {
    match words {
        ["blackhole" | "unreachable" | "prohibit" | "unicast", "default", ..] | ["default", ..] => {
            reader.pass(number, line, Why::OtherRoute);
            true
        }
        ["blackhole" | "unreachable" | "prohibit", prefix, ..] => {
            reader.take(number, line, prefix, "");
            true
        }
        ["throw" | "broadcast" | "local" | "anycast" | "multicast" | "nat", _, ..] => {
            reader.pass(number, line, Why::OtherRoute);
            true
        }
        [prefix, word @ ("via" | "dev" | "proto" | "scope" | "metric" | "nhid"), rest @ ..]
        | ["unicast", prefix, word @ ("via" | "dev" | "proto" | "scope" | "metric" | "nhid"), rest @ ..] => {
            let options: Vec<&str> = std::iter::once(*word).chain(rest.iter().copied()).collect();
            let has = |key: &str, values: &[&str]| {
                options.windows(2).any(|pair| matches!(pair, [k, v] if *k == key && values.contains(v)))
            };
            if has("via", &["127.0.0.1", "::1"]) || has("dev", &["lo"]) {
                reader.take(number, line, prefix, "");
            } else {
                reader.pass(number, line, Why::OtherRoute);
            }
            true
        }
        _ => false,
    }
}

/// `192.0.2.7  127.0.0.1  255.255.255.255  UGH  0 0 0 lo`; columns behind the mask may be missing.
fn netstat(reader: &mut Reader, number: usize, line: &str, words: &[&str]) -> bool {
    match words {
        [destination, gateway, mask, rest @ ..]
            if is_v4(mask) && (is_v4(gateway) || matches!(*gateway, "-" | "*")) =>
        {
            let flags = rest.first().copied().unwrap_or_default();
            let shuts_out = *gateway == "127.0.0.1" || flags.contains('!') || rest.last() == Some(&"lo");
            if !shuts_out || *mask == "0.0.0.0" {
                reader.pass(number, line, Why::OtherRoute);
            } else {
                reader.take(number, line, &format!("{destination}/{mask}"), "");
            }
            true
        }
        // netstat -6rn: destination, next hop, flags, metric, references, use, interface.
        [destination, hop, flags, _, _, _, interface] if destination.contains(':') && hop.contains(':') => {
            // Flag n marks the host's own addresses, which are routed over lo too.
            let own = flags.contains('n') && !flags.contains('!');
            let shuts_out = !own && (flags.contains('!') || *interface == "lo");
            if !shuts_out || destination.ends_with("/0") {
                reader.pass(number, line, Why::OtherRoute);
            } else {
                reader.take(number, line, destination, "");
            }
            true
        }
        _ => false,
    }
}

fn is_v4(word: &str) -> bool {
    word.parse::<std::net::Ipv4Addr>().is_ok()
}
