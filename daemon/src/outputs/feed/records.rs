//! Lists that tell more of each offender, for programs that read records.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use pillory_core::net::Prefix;
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
/// An apostrophe stands before what a spreadsheet would compute. Source: OWASP, "CSV Injection".
pub(crate) fn quoted(text: &str) -> String {
    let text = line(text).replace('"', "\"\"");
    let is_formula =
        text.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    format!("\"{}{text}\"", if is_formula { "'" } else { "" })
}

pub(super) fn json(feed: &Feed<'_>) -> String {
    with_list(head(feed), "offenders", feed.entries.iter().map(Record::of))
}

/// An object whose last member is a list, item by item: all of them at once would take ten times the memory.
pub(crate) fn with_list(
    told: Map<String, Value>,
    name: &str,
    items: impl Iterator<Item = impl Serialize>,
) -> String {
    let begin = if told.is_empty() { "" } else { "," };
    let mut text = Value::Object(told).to_string();
    text.pop();
    let _ = write!(text, "{begin}\"{name}\":[");
    for (at, item) in items.enumerate() {
        text.push_str(if at == 0 { "\n" } else { ",\n" });
        push(&mut text, &item);
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
        push(&mut text, &Record::of(entry));
        text.push('\n');
    }
    text
}

/// Invariant: what is told are texts, numbers and lists of them, which always become JSON.
fn push(text: &mut String, item: &impl Serialize) {
    text.push_str(&serde_json::to_string(item).unwrap_or_default());
}

/// An offender in our own lists.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(serialize_with = "shown")]
    prefix: Prefix,
    #[serde(serialize_with = "shown")]
    first_seen: Timestamp,
    #[serde(serialize_with = "shown")]
    last_seen: Timestamp,
    attempts: u64,
    what: &'a str,
}

impl Record<'_> {
    fn of(entry: &Entry) -> Record<'_> {
        let Entry { prefix, first, last, attempts, what } = entry;
        Record { prefix: *prefix, first_seen: *first, last_seen: *last, attempts: *attempts, what }
    }
}

fn shown<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
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
    let created = millis(CREATED);
    let who = feed.head.map(|head| {
        Object::Identity(json!({
            "type": "identity", "spec_version": "2.1", "id": maker, "created": created,
            "modified": created, "name": head.title, "contact_information": head.contact,
        }))
    });
    let made = feed.head.map(|head| (millis(head.made.max(CREATED)), millis(head.valid_until)));
    let indicators = feed.entries.iter().map(|entry| {
        let name = entry.prefix.short();
        let kind = if entry.prefix.is_ipv4() { "ipv4-addr" } else { "ipv6-addr" };
        // Source: STIX 2.1, 9.6.1 comparison operators, "ISSUBSET".
        let is = if name.contains('/') { "ISSUBSET" } else { "=" };
        // It must be later than `valid_from`.
        let is_valid = feed.head.is_some_and(|head| head.valid_until > entry.first);
        Object::Indicator(Box::new(Indicator {
            kind: "indicator",
            spec_version: "2.1",
            id: id("indicator", &name),
            created_by_ref: feed.head.map(|_| maker.as_str()),
            created: &created,
            modified: made
                .as_ref()
                .map_or_else(|| millis(entry.last.max(CREATED)).into(), |(made, _)| made.into()),
            description: match entry.attempts {
                0 => Cow::from(&entry.what),
                attempts => format!("{attempts} logged: {}", entry.what).into(),
            },
            indicator_types: ["anomalous-activity"],
            pattern: format!("[{kind}:value {is} '{name}']"),
            pattern_type: "stix",
            valid_from: millis(entry.first),
            valid_until: made.as_ref().filter(|_| is_valid).map(|(_, until)| until.as_str()),
            name,
        }))
    });
    let mut bundle = Map::new();
    bundle.insert("type".into(), "bundle".into());
    bundle.insert("id".into(), id("bundle", "bundle").into());
    with_list(bundle, "objects", who.into_iter().chain(indicators))
}

/// What a bundle holds.
#[derive(Serialize)]
#[serde(untagged)]
enum Object<'a> {
    Identity(Value),
    Indicator(Box<Indicator<'a>>),
}

/// Source: STIX 2.1, 4.7 indicator.
#[derive(Serialize)]
struct Indicator<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    spec_version: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by_ref: Option<&'a str>,
    created: &'a str,
    modified: Cow<'a, str>,
    name: String,
    description: Cow<'a, str>,
    indicator_types: [&'static str; 1],
    pattern: String,
    pattern_type: &'static str,
    valid_from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<&'a str>,
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
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
