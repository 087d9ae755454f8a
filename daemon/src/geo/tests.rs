use super::*;
use crate::geo::mmdb::{self, Width};

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_width_of_records_is_read() {
    for width in [Width::Bits24, Width::Bits28, Width::Bits32] {
        let database = Databases::of(&mmdb::written(width, "Made-Up-ASN", &mmdb::OPERATORS));
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
    assert!(understand(bytes.clone(), ASN).unwrap_err().contains("Made-Up-Country"));
    assert!(understand(bytes, COUNTRY).is_ok());
    let bytes = mmdb::written(Width::Bits24, "Made-Up-ASN", &mmdb::OPERATORS);
    assert!(understand(bytes, COUNTRY).unwrap_err().contains("not one of countries"));
}

#[test]
fn each_form_of_a_country_is_read() {
    for width in [Width::Bits24, Width::Bits28, Width::Bits32] {
        let database = Databases::of(&mmdb::places(width, "Made-Up-City"));
        let country = |text| database.country(addr(text)).map(|country| country.to_string());
        let told = ["198.51.100.9", "2001:db8:7::1", "203.0.113.1"].map(country);
        assert_eq!(told, [Some("SG".into()), Some("BR".into()), None]);
        assert_eq!(database.asn(addr("198.51.100.9")), None);
    }
    let nested = Databases::of(&mmdb::countries(&[(("11.7.0.0", 16), "NL")]));
    assert_eq!(nested.country(addr("11.7.1.2")).map(|country| country.to_string()).as_deref(), Some("NL"));
}

#[test]
fn whatever_is_in_the_file_a_look_up_ends_and_at_worst_says_nothing() {
    let ask = |bytes: &[u8]| {
        let database = Databases::of(bytes);
        for text in ["11.7.1.2", "0.0.0.0", "255.255.255.255", "2001:db8:7::1", "::", "ffff::"] {
            let addr = addr(text);
            drop((database.asn(addr), database.operator(addr), database.country(addr)));
        }
    };
    let operators = mmdb::written(Width::Bits28, "Made-Up-ASN", &mmdb::OPERATORS);
    for whole in [operators, mmdb::places(Width::Bits28, "Made-Up-Country")] {
        (0..whole.len()).for_each(|length| ask(&whole[..length]));
        let values = [0x00, 0x20, 0x7f, 0xe0, 0xff];
        for (at, value) in (0..whole.len()).flat_map(|at| values.map(|value| (at, value))) {
            let mut bytes = whole.clone();
            bytes[at] = value;
            ask(&bytes);
        }
    }
}

#[test]
fn what_is_no_file_is_told_with_its_path_and_what_follows() {
    for path in ["/nonexistent/asn.mmdb", "/dev", "/dev/null"] {
        let geo = Geo { asn: Some(path.into()), country: Some(path.into()) };
        let (networks, reasons) = open(&geo);
        assert!(networks.is_none());
        let [asn, country] = reasons.as_slice() else { panic!("{reasons:?}") };
        assert!(asn.starts_with(&format!("geo.asn: cannot use {path}: ")), "{asn}");
        assert!(country.starts_with(&format!("geo.country: cannot use {path}: ")), "{country}");
        assert!(country.contains("countries are not told"), "{country}");
    }
}

#[test]
fn the_name_of_an_operator_does_nothing_where_it_is_shown() {
    let rows = [(("11.7.0.0", 16), 64_500, "Example \u{202e}\u{1b}[31mHosting")];
    let database = Databases::of(&mmdb::written(Width::Bits24, "Made-Up-ASN", &rows));
    let told = database.operator(addr("11.7.1.2"));
    assert_eq!(told.as_deref(), Some("Example \\u{202e}\\u{1b}[31mHosting"));
}
