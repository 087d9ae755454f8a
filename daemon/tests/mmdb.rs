//! A minimal writer of MaxMind DB files, for tests: a binary search tree over IPv6 (IPv4 below ::/96), a data section of
//! maps, and the metadata. Source: the format's specification, version 2.0.

use std::net::{IpAddr, Ipv6Addr};

/// How wide a record of the tree is.
#[derive(Debug, Clone, Copy)]
pub enum Width {
    Bits24,
    Bits28,
    Bits32,
}

/// A network, the number of its AS, and the operator's name.
pub type Row<'r> = ((&'r str, u8), u32, &'r str);

/// Two made-up operators.
pub const OPERATORS: [Row<'static>; 2] =
    [(("11.7.0.0", 16), 64_500, "Example Hosting"), (("2001:db8:7::", 48), 64_501, "Other Hosting")];

/// What a record of the tree points to while it is built.
#[derive(Clone, Copy)]
enum To {
    Nothing,
    Node(usize),
    Data(usize),
}

/// A whole file about operators.
pub fn written(width: Width, kind: &str, rows: &[Row<'_>]) -> Vec<u8> {
    let rows = rows.iter().map(|(network, number, operator)| {
        let mut record = Vec::new();
        map(&mut record, 2);
        text(&mut record, "autonomous_system_number");
        unsigned(&mut record, 6, u64::from(*number));
        text(&mut record, "autonomous_system_organization");
        text(&mut record, operator);
        (*network, record)
    });
    file(width, kind, rows)
}

/// Two made-up places, in forms in which files of different makers say them.
pub fn places(width: Width, kind: &str) -> Vec<u8> {
    let [mut flat, mut coded] = [(); 2].map(|()| Vec::new());
    map(&mut flat, 1);
    text(&mut flat, "country");
    text(&mut flat, "SG");
    map(&mut coded, 1);
    text(&mut coded, "country_code");
    text(&mut coded, "br");
    file(width, kind, [(("198.51.100.0", 24), flat), (("2001:db8:7::", 48), coded)])
}

/// A file that says for each network which country it is used in.
pub fn countries(rows: &[((&str, u8), &str)]) -> Vec<u8> {
    let rows = rows.iter().map(|(network, code)| {
        let mut record = Vec::new();
        map(&mut record, 1);
        text(&mut record, "country");
        map(&mut record, 1);
        text(&mut record, "iso_code");
        text(&mut record, code);
        (*network, record)
    });
    file(Width::Bits24, "Made-Up-Country", rows)
}

/// A file that holds a record for each network.
fn file<'r>(width: Width, kind: &str, rows: impl IntoIterator<Item = ((&'r str, u8), Vec<u8>)>) -> Vec<u8> {
    let (mut nodes, mut data) = (vec![[To::Nothing; 2]], Vec::new());
    for ((net, len), record) in rows {
        let at = data.len();
        data.extend(record);
        let (bits, len) = match net.parse().expect("an address") {
            IpAddr::V4(addr) => (u128::from(addr.to_bits()), usize::from(len) + 96),
            IpAddr::V6(addr) => (Ipv6Addr::to_bits(addr), usize::from(len)),
        };
        insert(&mut nodes, bits, len, at);
    }
    let mut file = Vec::new();
    for [left, right] in &nodes {
        // Data is pointed to beyond the nodes and the 16 zero bytes after them.
        let number = |to: &To| match to {
            To::Nothing => nodes.len(),
            To::Node(node) => *node,
            To::Data(at) => nodes.len() + 16 + at,
        } as u32;
        let ([a, b, c, d], [e, f, g, h]) = (number(left).to_be_bytes(), number(right).to_be_bytes());
        match width {
            Width::Bits24 => file.extend([b, c, d, f, g, h]),
            Width::Bits28 => file.extend([b, c, d, a << 4 | e & 0xf, f, g, h]),
            Width::Bits32 => file.extend([a, b, c, d, e, f, g, h]),
        }
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    metadata(&mut file, width, kind, nodes.len());
    file
}

fn insert(nodes: &mut Vec<[To; 2]>, bits: u128, len: usize, data: usize) {
    let mut node = 0;
    for depth in 0..len {
        let side = (bits >> (127 - depth) & 1) as usize;
        if depth + 1 == len {
            nodes[node][side] = To::Data(data);
            return;
        }
        node = match nodes[node][side] {
            To::Node(next) => next,
            _ => {
                nodes.push([To::Nothing; 2]);
                nodes[node][side] = To::Node(nodes.len() - 1);
                nodes.len() - 1
            }
        };
    }
}

fn metadata(file: &mut Vec<u8>, width: Width, kind: &str, nodes: usize) {
    let bits = match width {
        Width::Bits24 => 24,
        Width::Bits28 => 28,
        Width::Bits32 => 32,
    };
    map(file, 9);
    for (key, control, value) in [
        ("binary_format_major_version", 5, 2),
        ("binary_format_minor_version", 5, 0),
        ("build_epoch", 9, 1_767_571_200),
        ("ip_version", 5, 6),
        ("node_count", 6, nodes as u64),
        ("record_size", 5, bits),
    ] {
        text(file, key);
        unsigned(file, control, value);
    }
    text(file, "database_type");
    text(file, kind);
    text(file, "description");
    map(file, 0);
    text(file, "languages");
    // An array (type 11, an extended one) of nothing.
    file.extend([0, 11 - 7]);
}

fn map(file: &mut Vec<u8>, pairs: u8) {
    file.push(7 << 5 | pairs);
}

/// Texts of up to 284 bytes.
fn text(file: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ ..29 => file.push(2 << 5 | length as u8),
        length => file.extend([2 << 5 | 29, u8::try_from(length - 29).expect("a short text")]),
    }
    file.extend(text.as_bytes());
}

/// `kind`: 5 for 16 bits, 6 for 32, 9 (an extended one) for 64.
fn unsigned(file: &mut Vec<u8>, kind: u8, value: u64) {
    let bytes = value.to_be_bytes();
    let skip = (value.leading_zeros() / 8) as usize;
    let length = (8 - skip) as u8;
    match kind {
        9 => file.extend([length, 9 - 7]),
        _ => file.push(kind << 5 | length),
    }
    file.extend(&bytes[skip..]);
}
