//! Lists that tell more of each offender, for programs that read records.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use pillory_core::sha256;
use pillory_core::time::Timestamp;

use super::{Entry, Feed, Head, line};

/// What the list says of itself stands in each row, for a table has no comments. Source: RFC 4180, but for lines that end
/// as a Unix tool expects it.
pub(super) fn csv(feed: &Feed<'_>) -> String {
    let (names, head) = match feed.head {
        None => ("", String::new()),
        Some(Head { contact, made, valid_until, .. }) => {
            (",made,valid_until,contact", format!(",{made},{valid_until},{}", quoted(contact)))
        }
    };
    let mut text = format!("prefix,what,attempts,first_seen,last_seen{names}\n");
    for Entry { prefix, first, last, attempts, what } in feed.entries {
        let _ = writeln!(text, "{prefix},{},{attempts},{first},{last}{head}", quoted(what));
    }
    text
}

/// Text as a field of a table, on one line. Source: RFC 4180, 2, rules 5 to 7.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", line(text).replace('"', "\"\""))
}

pub(super) fn json(feed: &Feed<'_>) -> String {
    with_list(head(feed), "offenders", feed.entries.iter().map(record))
}

/// An object whose last member is a list, item by item: all of them at once would take ten times the memory.
pub(crate) fn with_list(told: Map<String, Value>, name: &str, items: impl Iterator<Item = Value>) -> String {
    let begin = if told.is_empty() { "" } else { "," };
    let mut text = Value::Object(told).to_string();
    text.pop();
    let _ = write!(text, "{begin}\"{name}\":[");
    for (at, item) in items.enumerate() {
        let _ = write!(text, "{}\n{item}", if at == 0 { "" } else { "," });
    }
    text.push_str("\n]}\n");
    text
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

/// Since when the objects of a list are there. The same for ever, for all versions of an object have the same `created`, and
/// neither the day of the first attempt nor that of the first list is known for good. Source: STIX 2.1, 3.2 "created".
const CREATED: Timestamp = Timestamp::from_secs(1_577_836_800); // 2020-01-01T00:00:00Z

/// The identifiers are the same for the same prefix, so a reader that comes again replaces what it has.
/// Source: STIX 2.1 (OASIS), 3.2 common properties, 3.6 versioning, 4.5 identity, 4.7 indicator, 8 bundle.
pub(super) fn stix(feed: &Feed<'_>) -> String {
    let id = |kind: &str, name: &str| {
        let (contact, title) = feed.head.map_or(("", ""), |head| (head.contact, head.title));
        format!("{kind}--{}", uuid(&[contact, title, name]))
    };
    let maker = id("identity", "identity");
    let who = feed.head.map(|head| {
        json!({
            "type": "identity", "spec_version": "2.1", "id": maker, "created": millis(CREATED),
            "modified": millis(CREATED), "name": head.title, "contact_information": head.contact,
        })
    });
    let indicators = feed.entries.iter().map(|entry| {
        let mut told = indicator(entry);
        told["id"] = id("indicator", &entry.prefix.short()).into();
        told["modified"] = millis(feed.head.map_or(entry.last, |head| head.made).max(CREATED)).into();
        if let Some(head) = feed.head {
            told["created_by_ref"] = maker.as_str().into();
            // It must be later than `valid_from`.
            if head.valid_until > entry.first {
                told["valid_until"] = millis(head.valid_until).into();
            }
        }
        told
    });
    let mut bundle = Map::new();
    bundle.insert("type".into(), "bundle".into());
    bundle.insert("id".into(), id("bundle", "bundle").into());
    with_list(bundle, "objects", who.into_iter().chain(indicators))
}

/// What does not depend on the list. Source: STIX 2.1, 4.7 indicator, 9.6.1 comparison operators, "ISSUBSET".
fn indicator(entry: &Entry) -> Value {
    let kind = if entry.prefix.is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
    let value = entry.prefix.short();
    let is = if value.contains('/') { "ISSUBSET" } else { "=" };
    let description = match entry.attempts {
        0 => entry.what.clone(),
        attempts => format!("{attempts} logged: {}", entry.what),
    };
    json!({
        "type": "indicator", "spec_version": "2.1", "created": millis(CREATED), "name": value,
        "description": description, "indicator_types": ["malicious-activity"], "pattern_type": "stix",
        "pattern": format!("[{kind}:value {is} '{value}']"), "valid_from": millis(entry.first),
    })
}

/// With three digits of a second. Source: STIX 2.1, 3.2 "created": "precise to the nearest millisecond".
fn millis(at: Timestamp) -> String {
    at.to_string().replace('Z', ".000Z")
}

/// An identifier made of these names. It bears version 5, the one for what is made of names, though the digest is another
/// one: OASIS's schema takes 1 to 5 only. Source: RFC 9562, 5.5; cti-stix2-json-schemas, `common/identifier.json`.
pub(crate) fn uuid(names: &[&str]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&sha256::digest(format!("pillory {}", names.join("\0")).as_bytes())[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
