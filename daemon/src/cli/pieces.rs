//! Long lists of bans, handed to the daemon in pieces: it never has more of them before it than one, others are heard
//! between two, and each is durable and in the kernel before the next is sent.

use serde_json::Value;

use pillory_core::ledger::projection::is_point;

use crate::control::{BanOptions, BanOrder, Reply, Request};

use super::{Client, Failure, offline};

/// So many bans are a piece, some 300 KiB, which no other long request has to make room for.
const PIECE: usize = 4_096;

/// So many networks are one: what the kernel holds of them is read as a whole before each change.
const PIECE_OF_NETWORKS: usize = 65_536;

/// Orders bans. Where no daemon answers, `offline` does it, with all of them at once.
///
/// If a piece fails, those before it stay banned, and the failure says how many.
/// # Errors
/// As [`Client::ask_or_else`].
pub(super) fn ban(
    client: &Client,
    mut orders: Vec<BanOrder>,
    options: &BanOptions,
    offline: impl FnOnce(Vec<BanOrder>, &offline::Gone) -> Result<Reply, Failure>,
) -> Result<Reply, Failure> {
    let pieces = cut(&mut orders);
    let all: usize = pieces.iter().map(|piece| piece.len()).sum();
    let request = |piece: &[BanOrder]| Request::Ban(piece.to_vec(), options.clone());
    let Some((first, rest)) = pieces.split_first() else { return Ok(Reply::data(Value::Null)) };
    let mut is_offline = false;
    let mut sum = client.ask_or_else(&request(first), |gone| {
        is_offline = true;
        offline(pieces.concat(), gone)
    })?;
    let mut done = first.len();
    for piece in rest.iter().filter(|_| !is_offline) {
        let reply = client.ask(&request(piece)).map_err(|failure| failure.after(done, all))?;
        add(&mut sum, reply);
        done += piece.len();
    }
    Ok(sum)
}

/// Few orders are one piece, as they are. Many are cut in the order of prefixes, for that is how the store keeps who is
/// banned; networks come last.
fn cut(orders: &mut [BanOrder]) -> Vec<&[BanOrder]> {
    if orders.len() <= PIECE {
        return vec![orders];
    }
    orders.sort_by_key(|order| (!is_point(order.prefix), order.prefix));
    let (points, networks) = orders.split_at(orders.partition_point(|order| is_point(order.prefix)));
    points.chunks(PIECE).chain(networks.chunks(PIECE_OF_NETWORKS)).collect()
}

/// Adds the answer of the next piece: numbers and lists grow, of what is said the last counts.
fn add(sum: &mut Reply, next: Reply) {
    sum.exit = sum.exit.max(next.exit);
    if !next.message.is_empty() {
        sum.message = next.message;
    }
    let Value::Object(new) = next.value else { return };
    for (key, value) in new {
        match (&mut sum.value[&key], value) {
            (Value::Array(known), Value::Array(mut new)) => known.append(&mut new),
            (known @ Value::Number(_), Value::Number(new)) => {
                *known = (known.as_u64().unwrap_or(0) + new.as_u64().unwrap_or(0)).into();
            }
            (known, new) => *known = new,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use pillory_core::net::Prefix;
    use serde_json::json;

    use super::*;

    fn order(prefix: Prefix) -> BanOrder {
        BanOrder { prefix, reason: "from a list".into(), listed: None, kept: None }
    }

    fn host(number: u32) -> BanOrder {
        order(Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(number))))
    }

    #[test]
    fn few_orders_stay_together_and_as_they_are() {
        let mut orders: Vec<BanOrder> = [9, 3, 7].map(host).to_vec();
        let pieces = cut(&mut orders);
        let addrs: Vec<Vec<String>> =
            pieces.iter().map(|piece| piece.iter().map(|order| order.prefix.short()).collect()).collect();
        assert_eq!(addrs, [["0.0.0.9", "0.0.0.3", "0.0.0.7"]]);
    }

    #[test]
    fn many_orders_are_cut_by_prefix_with_networks_last() {
        let mut orders: Vec<BanOrder> =
            vec![order("10.0.0.0/8".parse().unwrap()), order("2001:db8::/64".parse().unwrap())];
        orders.extend((0..10_000).rev().map(host));
        let pieces = cut(&mut orders);
        assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [4_096, 4_096, 1_809, 1]);
        assert_eq!(pieces.concat()[0].prefix.short(), "0.0.0.0");
        assert_eq!(pieces[2][1_808].prefix.to_string(), "2001:db8::/64");
        assert_eq!(pieces[3][0].prefix.to_string(), "10.0.0.0/8");
    }

    #[test]
    fn answers_of_pieces_add_up() {
        let mut sum = Reply::data(json!({"changed": 2, "refused": ["a"], "enforcing": true}));
        let next = Reply {
            exit: 1,
            message: "not on disk".into(),
            value: json!({"changed": 3, "refused": ["b"], "enforcing": false}),
        };
        add(&mut sum, next);
        add(&mut sum, Reply::data(json!({"changed": 1, "refused": [], "enforcing": true})));
        assert_eq!((sum.exit, sum.message.as_str()), (1, "not on disk"));
        assert_eq!(sum.value, json!({"changed": 6, "refused": ["a", "b"], "enforcing": true}));
    }
}
