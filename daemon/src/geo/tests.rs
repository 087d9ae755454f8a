use super::*;
use crate::geo::mmdb::{self, Width};

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_width_of_records_is_read() {
    for width in [Width::Bits24, Width::Bits28, Width::Bits32] {
        let database = understand(mmdb::written(width, "Made-Up-ASN", &mmdb::OPERATORS)).unwrap();
        assert_eq!(database.asn(addr("11.7.1.2")), Some(64_500));
        assert_eq!(database.asn(addr("11.8.1.2")), None);
        assert_eq!(database.asn(addr("2001:db8:7::1")), Some(64_501));
        assert_eq!(database.asn(addr("2001:db8:8::1")), None);
        assert_eq!(database.operator(addr("2001:db8:7::1")).as_deref(), Some("Other Hosting"));
    }
}

#[test]
fn a_database_of_another_kind_is_refused() {
    let bytes = mmdb::written(Width::Bits24, "Made-Up-Country", &mmdb::OPERATORS);
    assert!(understand(bytes).unwrap_err().contains("Made-Up-Country"));
}

#[test]
fn whatever_is_in_the_file_a_look_up_ends_and_at_worst_says_nothing() {
    let whole = mmdb::written(Width::Bits28, "Made-Up-ASN", &mmdb::OPERATORS);
    let ask = |bytes: Vec<u8>| {
        let Ok(database) = understand(bytes) else { return };
        for text in ["11.7.1.2", "0.0.0.0", "255.255.255.255", "2001:db8:7::1", "::", "ffff::"] {
            let (_, _) = (database.asn(addr(text)), database.operator(addr(text)));
        }
    };
    for length in 0..whole.len() {
        ask(whole[..length].to_vec());
    }
    for (at, value) in (0..whole.len()).flat_map(|at| [0x00, 0x20, 0x7f, 0xe0, 0xff].map(|value| (at, value)))
    {
        let mut bytes = whole.clone();
        bytes[at] = value;
        ask(bytes);
    }
}

#[test]
fn what_is_no_file_is_refused_with_its_path() {
    for path in ["/nonexistent/asn.mmdb", "/dev", "/dev/null"] {
        let reason = open(Path::new(path)).unwrap_err();
        assert!(reason.starts_with(&format!("geo.asn: cannot use {path}: ")), "{reason}");
    }
}
