use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};

use simple_dns::rdata::{A, RData};
use simple_dns::{CLASS, Packet, QTYPE, RCODE, ResourceRecord, TYPE};

use super::*;

type Zone = Vec<(String, Ipv4Addr)>;

/// A name server that gives each name the addresses it is told to; silent while told nothing.
struct Server {
    addr: std::net::SocketAddr,
    zone: Arc<Mutex<Option<Zone>>>,
    queries: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(zone: &[(&str, [u8; 4])]) -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let server = Server { addr, zone: Arc::default(), queries: Arc::default() };
        server.says(zone);
        let (zone, queries) = (Arc::clone(&server.zone), Arc::clone(&server.queries));
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut buffer) {
                let mut packet = Packet::parse(&buffer[..length]).unwrap().into_reply();
                let asked = packet.questions[0].clone();
                let name = asked.qname.to_string();
                queries.lock().unwrap().push(name.clone());
                let Some(zone) = zone.lock().unwrap().clone() else { continue };
                let matching: Vec<_> = zone.iter().filter(|(known, _)| *known == name).collect();
                if matching.is_empty() {
                    *packet.rcode_mut() = RCODE::NameError;
                }
                for (_, addr) in matching.iter().filter(|_| asked.qtype == QTYPE::TYPE(TYPE::A)) {
                    let data = RData::A(A { address: addr.to_bits() });
                    packet.answers.push(ResourceRecord::new(asked.qname.clone(), CLASS::IN, 600, data));
                }
                socket.send_to(&packet.build_bytes_vec().unwrap(), client).unwrap();
            }
        });
        server
    }

    fn says(&self, zone: &[(&str, [u8; 4])]) {
        let zone = zone.iter().map(|(name, addr)| ((*name).to_owned(), (*addr).into())).collect();
        *self.zone.lock().unwrap() = Some(zone);
    }

    fn falls_silent(&self) {
        *self.zone.lock().unwrap() = None;
    }
}

fn names(list: &[&str], server: &Server, files: &str) -> (Names, PathBuf) {
    let thread = format!("{:?}", std::thread::current().id());
    let directory = std::env::temp_dir().join(format!("pillory-names-{}-{thread}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (hosts, resolv_conf) = (directory.join("hosts"), directory.join("resolv.conf"));
    std::fs::write(&hosts, files).unwrap();
    std::fs::write(&resolv_conf, "search lan.test\n").unwrap();
    let places = Places { hosts, resolv_conf, servers: Some(vec![server.addr]) };
    let list: Vec<String> = list.iter().map(|name| (*name).to_owned()).collect();
    (Names::new(&list, places), directory)
}

fn wake() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

fn addresses(names: &Names) -> Vec<String> {
    names.known().addresses.iter().map(|(name, addr)| format!("{name}={addr}")).collect()
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_name_that_moves_gives_its_new_address_only() {
    let server = Server::start(&[("home.test", [192, 0, 2, 7])]);
    let (mut names, directory) = names(&["home.test"], &server, "");
    names.refresh(SOON, &wake());
    assert_eq!(addresses(&names), ["home.test=192.0.2.7"]);
    server.says(&[("home.test", [192, 0, 2, 8]), ("home.test", [192, 0, 2, 9])]);
    names.refresh(SOON, &wake());
    assert_eq!(addresses(&names), ["home.test=192.0.2.7"], "it is not due before its time to live is over");
    let due = names.next_due().unwrap().saturating_duration_since(clock::instant());
    assert!(due > Duration::from_secs(590) && due <= Duration::from_secs(600), "{due:?}");
    names.configure(&["home.test".to_owned()]);
    assert_eq!(addresses(&names), ["home.test=192.0.2.7"]);
    names.refresh(SOON, &wake());
    assert_eq!(addresses(&names), ["home.test=192.0.2.8", "home.test=192.0.2.9"], "a reload asks at once");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_last_good_answer_is_kept_while_a_name_fails() {
    let server = Server::start(&[("home.test", [192, 0, 2, 7])]);
    let (mut names, directory) = names(&["home.test", "never.test"], &server, "");
    names.refresh(SOON, &wake());
    assert_eq!(
        names.known().problems,
        ["name never.test cannot be resolved (it has no address); nobody is spared by it"]
    );
    for fails in [Server::falls_silent, |server: &Server| server.says(&[])] {
        fails(&server);
        names.entries[0].due = None;
        names.refresh(Duration::from_millis(50), &wake());
        assert_eq!(addresses(&names), ["home.test=192.0.2.7"]);
        let problem = &names.known().problems[0];
        assert!(problem.ends_with("; its last addresses stay spared: 192.0.2.7"), "{problem}");
    }
    let wait = names.next_due().unwrap().saturating_duration_since(clock::instant());
    assert!(wait <= Duration::from_secs(10), "{wait:?}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn hosts_comes_before_any_server() {
    let server = Server::start(&[("gate", [192, 0, 2, 66])]);
    let hosts = "192.0.2.5 other.test Gate # x\n::ffff:192.0.2.6 gate\n2001:db8::5\tgate\nno.addr gate\n#192.0.2.9 gate";
    let (mut names, directory) = names(&["gate"], &server, hosts);
    names.refresh(SOON, &wake());
    assert_eq!(addresses(&names), ["gate=192.0.2.5", "gate=192.0.2.6", "gate=2001:db8::5"]);
    assert!(server.queries.lock().unwrap().is_empty());
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_name_without_a_dot_is_tried_in_the_search_domains() {
    let server = Server::start(&[("gate.lan.test", [192, 0, 2, 66])]);
    let (mut names, directory) = names(&["gate"], &server, "");
    names.refresh(SOON, &wake());
    assert_eq!(addresses(&names), ["gate=192.0.2.66"]);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_new_list_keeps_what_is_known_and_drops_what_is_gone() {
    let server = Server::start(&[("a.test", [192, 0, 2, 1]), ("b.test", [192, 0, 2, 2])]);
    let (mut names, directory) = names(&["a.test", "b.test", "B.test."], &server, "");
    names.refresh(SOON, &wake());
    assert_eq!(addresses(&names), ["a.test=192.0.2.1", "b.test=192.0.2.2"]);
    names.configure(&["b.test".into(), "c.test".into()]);
    assert_eq!(addresses(&names), ["b.test=192.0.2.2"]);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_watch_tells_of_changes_and_ends_when_woken() {
    let server = Server::start(&[("a.test", [192, 0, 2, 1])]);
    let (names, directory) = names(&[], &server, "");
    let (orders_in, orders) = unbounded();
    let (told, tells) = unbounded();
    let (bell, wake) = (wake(), wake());
    std::thread::scope(|scope| {
        scope.spawn(|| watch(names, &orders, &bell, &wake, |known| told.send(known).unwrap()));
        orders_in.send(vec!["a.test".to_owned()]).unwrap();
        rustix::io::write(&bell, &1u64.to_ne_bytes()).unwrap();
        let known: Known = tells.recv_timeout(SOON).unwrap();
        assert_eq!(known.addresses, [("a.test".to_owned(), "192.0.2.1".parse().unwrap())]);
        rustix::io::write(&wake, &1u64.to_ne_bytes()).unwrap();
    });
    std::fs::remove_dir_all(directory).unwrap();
}
