use std::os::fd::AsFd;

use proptest::prelude::*;
use rustix::event::{EventfdFlags, eventfd};
use simple_dns::ResourceRecord;
use simple_dns::rdata::{A, CNAME};

use super::*;

fn question(name: &str) -> Question {
    Question { name: name.to_owned(), family: Family::V4 }
}

fn a(name: &'static str, ttl: u32, addr: [u8; 4]) -> ResourceRecord<'static> {
    let address = u32::from_be_bytes(addr);
    ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, ttl, RData::A(A { address }))
}

fn alias(name: &'static str, ttl: u32, target: &'static str) -> ResourceRecord<'static> {
    let target = RData::CNAME(CNAME(Name::new(target).unwrap()));
    ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, ttl, target)
}

/// An answer to the question for `name`, changed by `change`.
fn answer(
    name: &str,
    records: Vec<ResourceRecord<'static>>,
    change: impl FnOnce(&mut Packet<'_>),
) -> Vec<u8> {
    let bytes = encode(7, &question(name)).unwrap();
    let mut packet = Packet::parse(&bytes).unwrap().into_reply();
    packet.answers = records;
    change(&mut packet);
    packet.build_bytes_vec_compressed().unwrap()
}

fn found(addrs: &[&str], ttl_s: u64) -> Option<Reply> {
    let addrs = addrs.iter().map(|text| text.parse().unwrap()).collect();
    Some(Reply::Found(Found { addrs, ttl: Some(Duration::from_secs(ttl_s)), ..Found::default() }))
}

#[test]
fn follows_aliases_and_takes_the_smallest_ttl() {
    let records = vec![
        a("host.example.org", 300, [192, 0, 2, 7]),
        alias("HOME.example.net", 60, "dyn.example.org"),
        alias("dyn.example.org", 120, "host.example.org"),
        a("other.example.org", 1, [192, 0, 2, 66]),
        a("host.example.org", 90, [192, 0, 2, 8]),
    ];
    let bytes = answer("home.example.net", records, |_| {});
    assert_eq!(decode(&bytes, &question("home.example.net.")), found(&["192.0.2.7", "192.0.2.8"], 60));
}

#[test]
fn the_name_of_an_address_is_found_behind_an_alias_of_its_network() {
    let pointed = RData::PTR(simple_dns::rdata::PTR(Name::new("box.example.net").unwrap()));
    let records = vec![
        alias("7.2.0.192.in-addr.arpa", 60, "7.sub.2.0.192.in-addr.arpa"),
        ResourceRecord::new(Name::new("7.sub.2.0.192.in-addr.arpa").unwrap(), CLASS::IN, 60, pointed),
    ];
    let asked = Question { name: "7.2.0.192.in-addr.arpa".to_owned(), family: Family::Name };
    let query = encode(7, &asked).unwrap();
    let mut packet = Packet::parse(&query).unwrap().into_reply();
    packet.answers = records;
    let Some(Reply::Found(found)) = decode(&packet.build_bytes_vec().unwrap(), &asked) else { panic!() };
    assert_eq!((found.names, found.addrs), (vec!["box.example.net".to_owned()], vec![]));
}

#[test]
fn aliases_in_a_circle_end() {
    let records = vec![alias("a.test", 60, "b.test"), alias("b.test", 60, "a.test")];
    assert_eq!(decode(&answer("a.test", records, |_| {}), &question("a.test")), found(&[], 60));
}

#[test]
fn an_answer_to_another_question_is_none() {
    let bytes = answer("a.test", vec![a("a.test", 9, [192, 0, 2, 7])], |_| {});
    assert_eq!(decode(&bytes, &question("b.test")), None);
    assert_eq!(decode(&bytes, &Question { family: Family::V6, ..question("a.test") }), None);
    assert_eq!(decode(&encode(7, &question("a.test")).unwrap(), &question("a.test")), None);
}

#[test]
fn no_such_name_is_an_answer_and_a_server_failure_is_none() {
    let bytes = answer("a.test", vec![], |packet| *packet.rcode_mut() = RCODE::NameError);
    assert_eq!(decode(&bytes, &question("a.test")), Some(Reply::Found(Found::default())));
    let bytes = answer("a.test", vec![], |packet| *packet.rcode_mut() = RCODE::ServerFailure);
    assert!(matches!(decode(&bytes, &question("a.test")), Some(Reply::Refused(_))));
    let bytes = answer("a.test", vec![], |packet| packet.set_flags(PacketFlag::TRUNCATION));
    assert_eq!(decode(&bytes, &question("a.test")), Some(Reply::Truncated));
}

#[test]
fn a_header_that_claims_thousands_of_records_is_refused_before_room_is_made() {
    let mut bytes = answer("a.test", vec![], |_| {});
    bytes[6..8].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(decode(&bytes, &question("a.test")), None);
}

#[test]
fn reads_servers_in_order_and_search_domains() {
    let text = "# nameserver 192.0.2.1\nnameserver 198.51.100.53\nnameserver ::1\ndomain a.test\n\
                search b.test c.test\nnameserver no.name\nnameserver fe80::1%lo\nnameserver 192.0.2.99\n";
    let conf = ResolvConf::parse(text);
    let servers: Vec<String> = conf.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["198.51.100.53:53", "[::1]:53", "[fe80::1%1]:53"]);
    assert_eq!(conf.search, ["b.test", "c.test"]);
}

#[test]
fn a_truncated_answer_is_asked_for_again_over_tcp_and_a_silent_server_is_passed_over() {
    let (silent, talking) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let port = talking.local_addr().unwrap().port();
    let udp = UdpSocket::bind(("127.0.0.1", port)).unwrap();
    let wake = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let servers = [silent.local_addr().unwrap(), talking.local_addr().unwrap()];
    let asked = [question("a.test")];
    let results = std::thread::scope(|scope| {
        let serve = scope.spawn(move || {
            let mut buffer = [0; 512];
            let (length, client) = udp.recv_from(&mut buffer).unwrap();
            let mut packet = Packet::parse(&buffer[..length]).unwrap().into_reply();
            packet.set_flags(PacketFlag::TRUNCATION);
            udp.send_to(&packet.build_bytes_vec().unwrap(), client).unwrap();
            let (mut stream, _) = talking.accept().unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let mut packet = Packet::parse(&query).unwrap().into_reply();
            packet.answers = (0..100).map(|last| a("a.test", 77, [198, 51, 100, last])).collect();
            let bytes = packet.build_bytes_vec_compressed().unwrap();
            stream.write_all(&u16::try_from(bytes.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
        });
        let results = ask(&asked, &servers, Duration::from_secs(10), wake.as_fd());
        serve.join().unwrap();
        results
    });
    let found = results[0].as_ref().unwrap();
    assert_eq!((found.addrs.len(), found.ttl), (MAX_ADDRESSES, Some(Duration::from_secs(77))));
}

#[test]
fn asking_nobody_or_waking_ends_at_once() {
    let wake = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let second = Duration::from_secs(1000);
    assert_eq!(ask(&[question("a.test")], &[], second, wake.as_fd()), [Err(AskError::NoServer)]);
    rustix::io::write(&wake, &1u64.to_ne_bytes()).unwrap();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let servers = [silent.local_addr().unwrap()];
    assert!(ask(&[question("a.test")], &servers, second, wake.as_fd())[0].is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let asked = question("a.test");
        decode(&bytes, &asked);
        bytes = answer("a.test", vec![alias("a.test", 9, "b.test"), a("b.test", 9, [192, 0, 2, 7])], |_| {});
        for (place, value) in places {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        decode(&bytes, &asked);
    }
}
