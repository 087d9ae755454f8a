//! The socket table against real connections in a namespace.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use super::*;
use crate::netlink::lab::{in_new_namespace, must_run};
use proptest::prelude::*;

fn connect(from: &str, to: SocketAddr) -> TcpStream {
    // The standard library cannot choose the source; a route's preferred source can.
    let to_ip = to.ip().to_string();
    must_run("ip", &["route", "replace", "local", &to_ip, "dev", "lo", "src", from]);
    TcpStream::connect(to).unwrap()
}

#[test]
fn lists_listeners_and_both_ends_of_connections() {
    in_new_namespace(|| {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let mut diag = SockDiag::open().unwrap();
        let listening = diag.list(Which::Listening).unwrap();
        assert_eq!(listening.len(), 1);
        assert_eq!((listening[0].local.port(), listening[0].state), (port, State::Listening));
        assert!(listening[0].local.ip().is_unspecified() && listening[0].inode != 0);
        let connected = diag.list(Which::Connected).unwrap();
        let outgoing = client.local_addr().unwrap();
        // The server's socket is an IPv6 one with a folded address.
        assert!(connected.iter().any(|s| s.local.port() == port && s.remote == outgoing));
        assert!(connected.iter().any(|s| s.local == outgoing && s.remote.port() == port));
        assert!(connected.iter().all(|s| s.state == State::Established));
        assert_eq!(connected.len(), 2);
    });
}

#[test]
fn one_walk_lists_what_a_walk_for_each_family_lists() {
    in_new_namespace(|| {
        let listeners = ["[::]:0", "127.0.0.1:0"].map(|at| TcpListener::bind(at).unwrap());
        let connect = |listener: &TcpListener, host: &str| {
            TcpStream::connect((host, listener.local_addr().unwrap().port())).unwrap()
        };
        let _clients = [
            connect(&listeners[0], "127.0.0.1"),
            connect(&listeners[0], "::1"),
            connect(&listeners[1], "127.0.0.1"),
        ];
        let mut diag = SockDiag::open().unwrap();
        for (which, count) in [(Which::Listening, 2), (Which::Connected, 6)] {
            let (mut once, mut each) = (Vec::new(), Vec::new());
            diag.list_kind(BOTH_FAMILIES, &request_of_both(which.mask()), None, &mut once).unwrap();
            for family in [route::IPV4, route::IPV6] {
                let fixed = request(family, which.mask(), &[0; ID_BYTES]);
                diag.list_kind(BY_FAMILY, &fixed, None, &mut each).unwrap();
            }
            let order = |socket: &TcpSocket| (socket.local, socket.remote);
            once.sort_by_key(order);
            each.sort_by_key(order);
            assert_eq!(once, each);
            assert_eq!(once.len(), count);
        }
    });
}

#[test]
fn destroys_the_connections_of_the_banned_and_no_others() {
    in_new_namespace(|| {
        for host in ["192.0.2.1", "192.0.2.7", "198.51.100.7"] {
            must_run("ip", &["addr", "add", host, "dev", "lo"]);
        }
        let listener = TcpListener::bind("[::]:0").unwrap();
        let to = SocketAddr::new("192.0.2.1".parse().unwrap(), listener.local_addr().unwrap().port());
        let mut banned_client = connect("192.0.2.7", to);
        let (_banned_server, peer) = listener.accept().unwrap();
        assert_eq!(canonical(peer.ip()).to_string(), "192.0.2.7");
        let waiting_client = connect("192.0.2.7", to);
        let friend = connect("198.51.100.7", to);
        let mut diag = SockDiag::open().unwrap();
        let before = diag.list(Which::Connected).unwrap().len();
        assert_eq!(before, 6);
        let banned = PrefixSet::new(["192.0.2.7".parse().unwrap()]);
        assert_eq!(diag.destroy(&banned, |_| true).unwrap(), 2);
        assert!(banned_client.read(&mut [0; 1]).is_err());
        assert!(waiting_client.take_error().unwrap().is_some());
        let left = diag.list(Which::Connected).unwrap();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(friend.take_error().unwrap().is_none());
        assert_eq!(diag.destroy(&banned, |_| true).unwrap(), 0);
    });
}

#[test]
fn the_kernel_itself_picks_the_connections_of_the_banned() {
    in_new_namespace(|| {
        let hosts = ["192.0.2.7", "198.51.100.7", "203.0.113.7", "2001:db8::7", "2001:db8:1::7"];
        for host in hosts {
            must_run("ip", &["addr", "add", host, "dev", "lo"]);
        }
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Connections of a host with itself: either end has that host as its remote one.
        let clients: Vec<_> = hosts.iter().map(|host| TcpStream::connect((*host, port)).unwrap()).collect();
        let mut diag = SockDiag::open().unwrap();
        let all = diag.list_matching(Which::Connected, None).unwrap();
        assert_eq!(all.len(), 2 * clients.len());
        for banned in
            [&hosts[..1], &hosts[3..4], &hosts[1..5], &["198.51.0.0/16", "2001:db8:1::/48"][..], &hosts[..]]
        {
            let prefixes: Vec<Prefix> = banned.iter().map(|text| text.parse().unwrap()).collect();
            let programme = remote_in(&prefixes);
            let found = diag.list_matching(Which::Connected, programme.as_deref()).unwrap();
            let is_banned = |s: &&TcpSocket| prefixes.iter().any(|p| p.contains_addr(s.remote.ip()));
            assert!(found.iter().all(|socket| is_banned(&socket)), "{banned:?}");
            assert_eq!(found.len(), all.iter().filter(is_banned).count(), "{banned:?}");
        }
        let many = PrefixSet::new((0..100).map(|n| Prefix::host(IpAddr::from([203, 0, 113, n]))));
        // Both ends are here; the reset that one of them sends takes the other along.
        assert!((1..=2).contains(&diag.destroy(&many, |_| true).unwrap()));
        assert_eq!(diag.list(Which::Connected).unwrap().len(), all.len() - 2);
    });
}

proptest! {
    #[test]
    fn garbage_is_no_socket_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let message =
            Message { kind: BY_FAMILY, flags: 0, sequence: 1, port: 0, payload: &bytes };
        let read = read_socket(&message);
        prop_assert_eq!(read.is_err(), bytes.len() < ANSWER_BYTES);
    }
}
