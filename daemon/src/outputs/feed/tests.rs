use super::*;
use pillory_core::addresslist;

fn entries() -> Vec<Entry> {
    let at = Timestamp::from_secs(1_800_014_400);
    let mut all: Vec<Entry> =
        ["192.0.2.0/24", "192.0.2.7/32", "198.51.100.7/32", "2001:db8:7:8::/64", "2001:db8::1/128"]
            .iter()
            .map(|prefix| Entry {
                prefix: prefix.parse().unwrap(),
                first: at,
                last: at,
                attempts: 14,
                what: "ssh attempts".into(),
            })
            .collect();
    all.sort_by_key(|entry| entry.prefix);
    all
}

fn head() -> Head<'static> {
    let made = Timestamp::from_secs(1_800_014_400);
    let valid_until = Timestamp::from_secs(1_800_100_800);
    Head { title: "Wall\nadd x", contact: "abuse@example.net", made, valid_until }
}

fn written(name: &str) -> String {
    (named(name).unwrap().write)(&Feed { head: Some(head()), entries: &entries() })
}

#[test]
fn every_format_tells_when_it_was_made_and_until_when_it_is_valid() {
    for format in FORMATS {
        let text = written(format.name);
        assert!(text.contains("2027-01-16T"), "{}: {text}", format.name);
        assert!(
            format.name == "stix"
                || text.contains("2027-01-15T12:00:00Z") && text.contains("abuse@example.net")
        );
        assert!(!text.lines().any(|line| line.starts_with("add x")), "{}", format.name);
    }
}

#[test]
fn every_format_names_everybody_of_its_families_and_is_of_its_own_name() {
    for (at, format) in FORMATS.iter().enumerate() {
        let text = written(format.name);
        let is_backwards = format.name == "rpz";
        let v4 = if is_backwards { "32.7.100.51.198.rpz-client-ip" } else { "198.51.100.7" };
        let v6 = if is_backwards { "64.zz.8.7.db8.2001.rpz-client-ip" } else { "2001:db8:7:8::/64" };
        assert!(text.contains(v4), "{}", format.name);
        assert_eq!(text.contains(v6), !matches!(format.name, "netset" | "rbldnsd"), "{}", format.name);
        let others = || FORMATS[..at].iter();
        assert!(others().all(|other| other.name != format.name && other.file != format.file));
    }
}

#[test]
fn a_list_without_a_head_is_nothing_but_the_list() {
    let bare = Feed { head: None, entries: &entries() };
    assert_eq!(
        lists::plain(&bare),
        "192.0.2.0/24\n192.0.2.7\n198.51.100.7\n2001:db8::1\n2001:db8:7:8::/64\n"
    );
    assert!(!lists::nginx(&bare).contains('#'));
}

#[test]
fn what_pillory_exports_it_imports() {
    for name in ["plain", "netset", "csv", "ipset", "nft", "haproxy"] {
        let list = addresslist::parse(&written(name));
        assert_eq!(list.passed, [], "{name}");
        let found: Vec<String> = list.entries.iter().map(|entry| entry.prefix.to_string()).collect();
        assert!(
            found.contains(&"192.0.2.0/24".to_owned()) && found.contains(&"198.51.100.7/32".to_owned()),
            "{name}"
        );
    }
}

#[test]
fn sets_of_intervals_get_no_overlaps() {
    for name in ["nft", "mikrotik"] {
        assert!(!written(name).contains("192.0.2.7"), "{name}");
    }
}

fn objects(head: Head<'_>, entries: &[Entry]) -> Vec<serde_json::Value> {
    let text = (named("stix").unwrap().write)(&Feed { head: Some(head), entries });
    let bundle: serde_json::Value = serde_json::from_str(&text).unwrap();
    bundle["objects"].as_array().unwrap().clone()
}

#[test]
fn a_stix_identifier_is_the_same_for_the_same_name_and_of_version_5() {
    assert_eq!(written("stix"), written("stix"));
    let objects = objects(head(), &entries());
    assert_eq!(objects.len(), 6);
    for object in &objects {
        let (kind, id) = object["id"].as_str().unwrap().split_once("--").unwrap();
        assert_eq!(object["type"], kind);
        let digits = id.as_bytes();
        assert_eq!((digits.len(), digits[14], digits[8], digits[23]), (36, b'5', b'-', b'-'), "{id}");
    }
}

#[test]
fn a_stix_object_of_another_site_is_another_one_and_a_later_list_has_its_next_version() {
    let mine = objects(head(), &entries());
    for other in [Head { title: "Other", ..head() }, Head { contact: "abuse@example.org", ..head() }] {
        let others = objects(other, &entries());
        assert!(mine.iter().zip(&others).all(|(mine, others)| mine["id"] != others["id"]));
    }
    let mut grown = entries();
    grown.iter_mut().for_each(|entry| entry.first = entry.first + pillory_core::time::Span::from_secs(60));
    let later = Head { made: Timestamp::from_secs(1_800_018_000), ..head() };
    for (mine, later) in mine.iter().zip(objects(later, &grown)).skip(1) {
        assert_eq!((&mine["id"], &mine["created"]), (&later["id"], &later["created"]));
        assert!(mine["modified"].as_str() < later["modified"].as_str());
        assert!(mine["created"].as_str() < mine["modified"].as_str());
    }
    assert!(mine[1..].iter().all(|object| object["created_by_ref"] == mine[0]["id"]));
    assert_eq!(
        (&mine[0]["type"], &mine[0]["contact_information"]),
        (&"identity".into(), &head().contact.into())
    );
}

#[test]
fn a_stix_pattern_of_a_network_asks_for_what_lies_within() {
    let patterns: Vec<_> =
        objects(head(), &entries()).iter().map(|object| object["pattern"].clone()).collect();
    assert!(patterns.contains(&"[ipv4-addr:value ISSUBSET '192.0.2.0/24']".into()), "{patterns:?}");
    assert!(patterns.contains(&"[ipv6-addr:value = '2001:db8::1']".into()), "{patterns:?}");
}

#[test]
fn a_table_begins_with_its_heading_and_tells_of_the_list_in_each_row() {
    let entry = Entry { what: "a \"b\", c\n".into(), ..entries().swap_remove(0) };
    let contact = "x, \"y\"\nz";
    let feed = Feed { head: Some(Head { contact, ..head() }), entries: &[entry] };
    let lines = "prefix,what,attempts,first_seen,last_seen,made,valid_until,contact\n\
        192.0.2.0/24,\"a \"\"b\"\", c \",14,2027-01-15T12:00:00Z,2027-01-15T12:00:00Z,\
        2027-01-15T12:00:00Z,2027-01-16T12:00:00Z,\"x, \"\"y\"\" z\"\n";
    assert_eq!(records::csv(&feed), lines);
}
