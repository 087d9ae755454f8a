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

#[test]
fn an_identifier_is_the_same_for_the_same_name_and_of_version_8() {
    let bundle: serde_json::Value = serde_json::from_str(&written("stix")).unwrap();
    assert_eq!(bundle["objects"].as_array().map(Vec::len), Some(5));
    assert_eq!(written("stix"), written("stix"));
    for object in bundle["objects"].as_array().unwrap() {
        let id = object["id"].as_str().unwrap();
        let digits = id.strip_prefix("indicator--").unwrap().as_bytes();
        assert_eq!((digits.len(), digits[14], digits[8], digits[23]), (36, b'8', b'-', b'-'), "{id}");
    }
}
