//! Lists that tell more of each offender, for programs that read records.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use pillory_core::sha256;

use super::{Entry, Feed, line};

/// Source: RFC 4180; the words are ours and hold neither quotes nor line ends.
pub(super) fn csv(feed: &Feed<'_>) -> String {
    let mut text = feed.comments("#");
    text.push_str("prefix,what,attempts,first_seen,last_seen\n");
    for Entry { prefix, first, last, attempts, what } in feed.entries {
        let _ = writeln!(text, "{prefix},\"{}\",{attempts},{first},{last}", line(what).replace('"', "\"\""));
    }
    text
}

pub(super) fn json(feed: &Feed<'_>) -> String {
    let mut whole = head(feed);
    whole.insert("offenders".into(), feed.entries.iter().map(record).collect());
    format!("{}\n", Value::Object(whole))
}

pub(super) fn jsonl(feed: &Feed<'_>) -> String {
    let mut text = String::new();
    if feed.head.is_some() {
        let _ = writeln!(text, "{}", Value::Object(head(feed)));
    }
    for entry in feed.entries {
        let _ = writeln!(text, "{}", record(entry));
    }
    text
}

fn head(feed: &Feed<'_>) -> Map<String, Value> {
    let mut told = Map::new();
    if let Some(head) = feed.head {
        told.insert("title".into(), head.title.into());
        told.insert("contact".into(), head.contact.into());
        told.insert("made".into(), head.made.to_string().into());
        told.insert("valid_until".into(), head.valid_until.to_string().into());
    }
    told
}

fn record(entry: &Entry) -> Value {
    json!({"prefix": entry.prefix.to_string(), "first_seen": entry.first.to_string(),
        "last_seen": entry.last.to_string(), "attempts": entry.attempts, "what": entry.what})
}

/// Source: STIX 2.1 (OASIS), 4.1 bundle, 4.7 indicator, 9 patterns. The identifiers are the same for the same prefix, so
/// a reader that comes again replaces what it has.
pub(super) fn stix(feed: &Feed<'_>) -> String {
    let indicator = |entry: &Entry| {
        let kind = if entry.prefix.is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
        let value = entry.prefix.short();
        let mut told = json!({
            "type": "indicator", "spec_version": "2.1", "id": format!("indicator--{}", uuid(&value)),
            "created": millis(entry.first), "modified": millis(entry.last),
            "name": value, "description": format!("{} logged: {}", entry.attempts, entry.what),
            "indicator_types": ["malicious-activity"], "pattern_type": "stix",
            "pattern": format!("[{kind}:value = '{value}']"), "valid_from": millis(entry.first),
        });
        if let Some(until) = feed.head.map(|head| head.valid_until).filter(|until| *until > entry.first) {
            told["valid_until"] = millis(until).into();
        }
        told
    };
    let objects: Vec<Value> = feed.entries.iter().map(indicator).collect();
    let title = feed.head.map_or("", |head| head.title);
    format!("{}\n", json!({"type": "bundle", "id": format!("bundle--{}", uuid(title)), "objects": objects}))
}

/// With the three digits that STIX wants.
fn millis(at: pillory_core::time::Timestamp) -> String {
    at.to_string().replace('Z', ".000Z")
}

/// An identifier made of a name: of version 8, the one for what is made in ways of one's own (RFC 9562).
fn uuid(name: &str) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&sha256::digest(format!("pillory {name}").as_bytes())[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
