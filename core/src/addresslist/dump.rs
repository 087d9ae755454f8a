//! Dumps of sets: `ipset save`, `ipset list`, `nft list ruleset`, and nft and iptables rules that drop a source.

use super::{Reader, Why};

/// Where in a dump the reader is.
#[derive(Debug, Default)]
pub(super) struct Context {
    /// Between `elements = {` and `}`.
    in_elements: bool,
    /// The set holds something else than addresses: ports, marks.
    foreign_set: bool,
    /// Behind `Members:` of `ipset list`.
    in_members: bool,
}

/// Takes or passes over a line of a dump; false if the line is none.
pub(super) fn line(reader: &mut Reader, number: usize, line: &str) -> bool {
    if reader.context.in_elements {
        elements(reader, number, line, line);
        return true;
    }
    ipset(reader, number, line) || nft(reader, number, line) || rule(reader, number, line)
}

fn ipset(reader: &mut Reader, number: usize, line: &str) -> bool {
    const HEADINGS: [&str; 7] =
        ["Name:", "Type:", "Revision:", "Header:", "Size in memory:", "References:", "Number of entries:"];
    if HEADINGS.iter().any(|heading| line.starts_with(heading)) {
        reader.context.in_members = false;
        return true;
    }
    if line == "Members:" {
        reader.context.in_members = true;
        return true;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["create" | "flush" | "destroy", _, ..] => true,
        ["add", "element", ..] => false,
        ["add" | "-A", _, entry, options @ ..] if !options.contains(&"-j") && !entry.starts_with('-') => {
            member(reader, number, line, entry, options);
            true
        }
        [entry, options @ ..] if reader.context.in_members => {
            member(reader, number, line, entry, options);
            true
        }
        _ => false,
    }
}

fn member(reader: &mut Reader, number: usize, line: &str, entry: &str, options: &[&str]) {
    if options.contains(&"nomatch") {
        reader.pass(number, line, Why::Exception);
        return;
    }
    let address = entry.split(',').next().unwrap_or(entry);
    reader.take(number, line, address, &quoted_comment(line));
}

/// What stands between the quotes behind `comment`.
fn quoted_comment(text: &str) -> String {
    let quoted = text.split_once("comment \"").and_then(|(_, rest)| rest.split_once('"'));
    quoted.map_or_else(String::new, |(comment, _)| comment.to_owned())
}

fn nft(reader: &mut Reader, number: usize, line: &str) -> bool {
    if let Some(kind) = line.strip_prefix("type ") {
        if kind.starts_with("filter ") || kind.starts_with("nat ") || kind.starts_with("route ") {
            return true;
        }
        reader.context.foreign_set = !kind.starts_with("ipv4_addr") && !kind.starts_with("ipv6_addr");
        return true;
    }
    if let Some(at) = line.find('{')
        && (line.starts_with("elements") || line.starts_with("add element"))
    {
        reader.context.in_elements = true;
        elements(reader, number, line, &line[at + 1..]);
        return true;
    }
    const OTHERS: [&str; 13] = [
        "table ",
        "set ",
        "map ",
        "chain ",
        "flags ",
        "timeout ",
        "gc-interval ",
        "size ",
        "policy ",
        "typeof ",
        "comment \"",
        "auto-merge",
        "add table",
    ];
    if let Some(kind) = line.strip_prefix("typeof ") {
        reader.context.foreign_set = !kind.contains(" saddr") && !kind.contains(" daddr");
    }
    line == "}" || line == "counter" || OTHERS.iter().any(|start| line.starts_with(start)) && line.len() < 200
}

/// Elements of a set, separated by commas, up to `}`.
fn elements(reader: &mut Reader, number: usize, line: &str, part: &str) {
    let (part, ends) = match part.split_once('}') {
        Some((part, _)) => (part, true),
        None => (part, false),
    };
    for element in split_outside_quotes(part) {
        let Some(address) = element.split_whitespace().next() else { continue };
        if !reader.context.foreign_set {
            reader.take(number, line, address, &quoted_comment(element));
        }
    }
    if ends {
        reader.context.in_elements = false;
        reader.context.foreign_set = false;
    }
}

fn split_outside_quotes(text: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

/// `ip saddr 192.0.2.7 drop`, `-A INPUT -s 192.0.2.7/32 -j DROP`
fn rule(reader: &mut Reader, number: usize, line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let behind =
        |key: &str| words.windows(2).find_map(|pair| matches!(pair, [k, _] if *k == key).then_some(pair[1]));
    let is_iptables = matches!(words.first(), Some(&("-A" | "-P" | "-N" | "iptables" | "ip6tables")))
        || line.starts_with('*')
        || line.starts_with(':') && line.contains('[')
        || line == "COMMIT";
    if is_iptables {
        match (behind("-s"), behind("-j")) {
            (Some(source), Some("DROP" | "REJECT" | "TARPIT")) => reader.take(number, line, source, ""),
            (Some(_), _) => reader.pass(number, line, Why::Exception),
            _ => {}
        }
        return true;
    }
    if !words
        .first()
        .is_some_and(|word| matches!(*word, "ip" | "ip6" | "meta" | "tcp" | "udp" | "iif" | "iifname" | "ct"))
        && behind("saddr").is_none()
    {
        return false;
    }
    match behind("saddr").filter(|source| !source.starts_with(['@', '{', '!'])) {
        Some(source) if words.iter().any(|word| matches!(*word, "drop" | "reject")) => {
            reader.take(number, line, source, &quoted_comment(line));
        }
        Some(_) => reader.pass(number, line, Why::Exception),
        None => {}
    }
    true
}
