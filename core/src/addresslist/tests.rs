use super::*;
use proptest::prelude::*;

fn taken(text: &str) -> Vec<String> {
    parse(text).entries.iter().map(|entry| entry.prefix.to_string()).collect()
}

fn one(text: &str) -> Entry {
    let list = parse(text);
    assert_eq!(list.passed, [], "{text}");
    assert_eq!(list.entries.len(), 1, "{text}");
    list.entries[0].clone()
}

#[test]
fn takes_plain_addresses_and_networks_with_comments() {
    let text =
        "# a comment\n; another\n192.0.2.7\n198.51.100.0/24 # web\n2001:db8::/48;spam\n203.0.113.9, x\n\n";
    assert_eq!(taken(text), ["192.0.2.7/32", "198.51.100.0/24", "2001:db8::/48", "203.0.113.9/32"]);
    assert_eq!(parse(text).passed, []);
    assert_eq!(one("198.51.100.0/24 # web").note, "web");
}

#[test]
fn takes_date_and_reason_out_of_a_note() {
    for (text, date, note) in [
        ("192.0.2.7 – 12/2016. WP login attempts", Some("12/2016"), "WP login attempts"),
        ("192.0.2.7 - 8/2016", Some("8/2016"), ""),
        ("192.0.2.7 — WP login attempts", None, "WP login attempts"),
        ("192.0.2.7 \u{fffd} 4/2017. x", Some("4/2017"), "x"),
        ("192.0.2.7 – 2016-12-24 ssh", Some("2016-12-24"), "ssh"),
        ("192.0.2.7 – 24.12.2016 ssh", Some("2016-12-24"), "ssh"),
        ("192.0.2.7 – 12/24/2016: ssh", Some("2016-12-24"), "ssh"),
        ("192.0.2.7 – seen 12/2016", Some("12/2016"), "seen 12/2016"),
        ("192.0.2.7 – 13/2016 x", None, "13/2016 x"),
        ("192.0.2.7–12/2016", Some("12/2016"), ""),
    ] {
        let entry = one(text);
        assert_eq!(entry.date.map(|date| date.to_string()).as_deref(), date, "{text}");
        assert_eq!(entry.note, note, "{text}");
        assert_eq!(entry.prefix.to_string(), "192.0.2.7/32", "{text}");
    }
}

#[test]
fn takes_every_address_of_a_line_that_commas_part() {
    let list =
        parse("192.0.2.7,192.0.2.8, 2001:db8::/48 - 12/2016. ssh\n198.51.100.1,999.1.1.1,198.51.100.2\n");
    let taken: Vec<String> = list.entries.iter().map(|entry| entry.prefix.to_string()).collect();
    assert_eq!(
        taken,
        ["192.0.2.7/32", "192.0.2.8/32", "2001:db8::/48", "198.51.100.1/32", "198.51.100.2/32"]
    );
    assert!(list.entries[..3].iter().all(|entry| entry.note == "ssh" && entry.date.is_some()), "{list:?}");
    let [bad] = list.passed.as_slice() else { panic!("{list:?}") };
    assert_eq!(bad.line, 2);
    // Columns of a table and words are a note.
    assert_eq!(one("192.0.2.7,22,ssh").note, "22,ssh");
    assert_eq!(one("192.0.2.7, seen beside 192.0.2.8").note, "seen beside 192.0.2.8");
}

#[test]
fn keeps_a_note_as_it_was_written() {
    for note in ["10/2026 ssh", "08/2026", "2026-10-01: WP", "ssh 3/2026"] {
        assert_eq!(one(&format!("192.0.2.7 - {note}")).whole_note, note);
    }
}

#[test]
fn a_month_ends_where_the_next_begins() {
    let date = one("192.0.2.7 - 12/2016").date.unwrap();
    assert_eq!(date.begin().to_string(), "2016-12-01T00:00:00Z");
    assert_eq!(date.end().to_string(), "2017-01-01T00:00:00Z");
}

#[test]
fn clears_host_bits_and_says_so() {
    let entry = one("91.200.12.155/24 – 12/2016. WP login attempts");
    assert_eq!(entry.prefix.to_string(), "91.200.12.0/24");
    assert_eq!(entry.normalised.as_deref(), Some("91.200.12.155/24"));
    assert_eq!(one("195.154.252.0/23").normalised, None);
}

#[test]
fn of_a_routing_table_only_rows_that_shut_out_count() {
    let netstat = "Kernel IP routing table
Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface
0.0.0.0         192.0.2.1       0.0.0.0         UG        0 0          0 eth0
192.0.2.0       0.0.0.0         255.255.255.0   U         0 0          0 eth0
198.51.100.7    127.0.0.1       255.255.255.255 UGH       0 0          0 lo
198.51.100.8    -               255.255.255.255 !H        0 -          0 -
43.229.0.0      127.0.0.1       255.255.0.0     UG        0 0          0 lo
0.0.0.0         127.0.0.1       0.0.0.0         UG        0 0          0 lo
";
    assert_eq!(taken(netstat), ["198.51.100.7/32", "198.51.100.8/32", "43.229.0.0/16"]);
    assert_eq!(parse(netstat).passed.len(), 3);
    let ip_route = "default via 192.0.2.1 dev eth0 proto dhcp
blackhole default
blackhole 198.51.100.7
unreachable 198.51.100.0/28 metric 4
198.51.100.9 via 127.0.0.1 dev lo
198.51.100.10 dev lo scope link
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.5
local 192.0.2.5 dev lo table local
blackhole 2001:db8:7::/48 dev lo metric 1024
";
    let wanted =
        ["198.51.100.7/32", "198.51.100.0/28", "198.51.100.9/32", "198.51.100.10/32", "2001:db8:7::/48"];
    assert_eq!(taken(ip_route), wanted);
    let six = "Kernel IPv6 routing table
Destination                    Next Hop                   Flag Met Ref Use If
2001:db8:1::/64                [::]                       !n   1024 1     0 lo
2001:db8:2::1/128              [::]                       Un   0   3     0 lo
2001:db8:3::/64                [::]                       U    256 1     0 eth0
[::]/0                         fe80::1                    UG   1024 1    0 eth0
";
    assert_eq!(taken(six), ["2001:db8:1::/64"]);
}

#[test]
fn takes_ipset_dumps() {
    let save = "create bad hash:net family inet hashsize 1024 maxelem 65536 timeout 0 comment
add bad 192.0.2.7 timeout 300 comment \"ssh 3/2026\"
add bad 198.51.100.0/24
add bad 198.51.100.9 nomatch
add ports 203.0.113.5,tcp:22
add ranges 203.0.113.8-203.0.113.11
";
    assert_eq!(taken(save), ["192.0.2.7/32", "198.51.100.0/24", "203.0.113.5/32", "203.0.113.8/30"]);
    assert_eq!(parse(save).entries[0].date.map(|date| date.to_string()).as_deref(), Some("3/2026"));
    let list =
        "Name: bad\nType: hash:ip\nRevision: 4\nHeader: family inet6\nSize in memory: 312\nReferences: 0
Number of entries: 1\nMembers:\n2001:db8::7 timeout 9\n";
    assert_eq!(taken(list), ["2001:db8::7/128"]);
    assert_eq!(parse(list).passed, []);
}

#[test]
fn takes_nft_dumps() {
    let text = "table inet filter {
\tset bad {
\t\ttype ipv4_addr
\t\tflags interval,timeout
\t\telements = { 192.0.2.7, 192.0.2.8 timeout 1h expires 59m58s comment \"a, b\",
\t\t\t     198.51.100.0/24, 203.0.113.8-203.0.113.9 }
\t}
\tset ports {
\t\ttype inet_service
\t\telements = { 22, 80 }
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\tip saddr @bad drop
\t\tip saddr 203.0.113.50 counter packets 0 bytes 0 drop
\t\tip saddr 203.0.113.51 accept
\t\ttcp dport 22 accept
\t}
}
add element inet filter bad { 203.0.113.60, 203.0.113.61 }
";
    let wanted = [
        "192.0.2.7/32",
        "192.0.2.8/32",
        "198.51.100.0/24",
        "203.0.113.8/31",
        "203.0.113.50/32",
        "203.0.113.60/32",
        "203.0.113.61/32",
    ];
    assert_eq!(taken(text), wanted);
    let list = parse(text);
    assert_eq!(list.entries[1].note, "a, b");
    assert!(list.passed.iter().all(|passed| !passed.why.is_unreadable()), "{:?}", list.passed);
}

#[test]
fn takes_rules_of_iptables_that_drop() {
    let text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j f2b-sshd\n-A f2b-sshd -s 192.0.2.7/32 -j REJECT\n-A INPUT -s 192.0.2.9/32 -j ACCEPT\nCOMMIT\n";
    assert_eq!(taken(text), ["192.0.2.7/32"]);
}

#[test]
fn lists_unreadable_lines_by_number_and_takes_the_rest() {
    let list = parse("hello world\n192.0.2.7\n999.1.1.1 – x\n192.0.2.0/33\n0.0.0.0/0\n::/0\n192.0.2.8\n");
    assert_eq!(list.entries.iter().map(|entry| entry.line).collect::<Vec<_>>(), [2, 7]);
    let unreadable = list.passed.iter().filter(|passed| passed.why.is_unreadable());
    assert_eq!(unreadable.map(|passed| passed.line).collect::<Vec<_>>(), [1, 3, 4]);
    let never = list.passed.iter().filter(|passed| passed.why == Why::Everything);
    assert_eq!(never.map(|passed| passed.line).collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn takes_every_entry_of_a_list_kept_by_hand() {
    let corpus = std::env::var("PILLORY_CORPUS").unwrap_or_else(|_| "../../shared/corpus".to_owned());
    let Ok(text) = std::fs::read_to_string(format!("{corpus}/shame-list.txt")) else {
        println!("skipped: no corpus at {corpus}; set PILLORY_CORPUS");
        return;
    };
    let list = parse(&text);
    assert_eq!(list.entries.len(), 19 + 18);
    let [default] = list.passed.as_slice() else { panic!("{:?}", list.passed) };
    assert_eq!((default.why.clone(), default.text.starts_with("0.0.0.0")), (Why::OtherRoute, true));
    let dated = list.entries.iter().filter(|entry| entry.date.is_some()).count();
    let reasons = list
        .entries
        .iter()
        .filter(|entry| entry.note.ends_with("mpts") || entry.note.ends_with("mtps"))
        .count();
    assert_eq!((dated, reasons), (16, 13));
    assert!(list.entries.iter().all(|entry| entry.prefix.prefix_len() >= 16));
    assert_eq!(list.entries.iter().filter(|entry| entry.normalised.is_some()).count(), 1);
}

proptest! {
    #[test]
    fn no_text_upsets_the_parser(text in "\\PC*") {
        parse(&text);
    }

    #[test]
    fn no_list_upsets_the_parser(lines in prop::collection::vec(
        "(add |blackhole |elements = \\{ |type |Members:|192\\.0\\.2\\.[0-9]{1,3}|2001:db8::|[-–/,#;}\" ]|via |lo|[0-9/.:-]{0,9}){0,8}", 0..20)) {
        let list = parse(&lines.join("\n"));
        prop_assert!(list.entries.iter().all(|entry| entry.prefix.prefix_len() > 0));
    }

    #[test]
    fn a_range_is_covered_exactly(first in any::<u32>(), more in 0u32..5_000) {
        let last = first.saturating_add(more);
        let found = range(IpAddr::V4(Ipv4Addr::from_bits(first)), IpAddr::V4(Ipv4Addr::from_bits(last)));
        let mut next = u128::from(first);
        for prefix in &found {
            prop_assert_eq!(prefix.range().0, next);
            next = prefix.range().1 + 1;
        }
        prop_assert_eq!(next, u128::from(last) + 1);
    }
}
