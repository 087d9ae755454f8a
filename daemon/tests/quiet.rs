//! Quiet by nature: whoever configures nothing that is sent has a daemon that sends nothing, from its first start to its
//! stop, whatever it is asked meanwhile.

use std::net::UdpSocket;

use crate::lab::{
    CONFIG, Daemon, LOG, SOON, STATE_DIR, World, failed_lines, pillory, quiet_server, wait_for,
};

/// What comes over the cable, counted where it arrives; of what the server's kernel says by itself only which multicast
/// groups its addresses are in is set apart. Nothing else is: not even who asks for a neighbour.
const COUNTING: &str = "table netdev lab {
    counter groups {}
    counter left {}
    chain arriving {
        type filter hook ingress device \"eth0\" priority 0;
        icmpv6 type mld2-listener-report counter name groups accept
        counter name left
    }
}";

/// A name server beyond each of the server's gateways, which are known, so that a packet leaves at once; and a count of
/// what comes there.
fn open_a_way_out(world: &World) {
    world.server.write("/etc/resolv.conf", "nameserver 198.51.100.53\nnameserver 2001:db8:1::53\n");
    let link = world.client.run("ip", &["-json", "link", "show", "eth0"]);
    let link: serde_json::Value = serde_json::from_str(&link).expect("ip prints JSON");
    let address = link[0]["address"].as_str().expect("eth0 has an address");
    let gateways = ["192.0.2.254", "2001:db8::fe"];
    let known = gateways.map(|at| format!("neigh replace {at} lladdr {address} dev eth0 nud permanent\n"));
    world.server.ip_batch(&known.concat());
    world.client.run("nft", &[COUNTING]);
}

/// How many packets left the server so far.
fn left(world: &World) -> u64 {
    let text = world.client.run("nft", &["-j", "list", "counter", "netdev", "lab", "left"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("nft prints JSON");
    let objects = json["nftables"].as_array().cloned().unwrap_or_default();
    objects.iter().find_map(|object| object["counter"]["packets"].as_u64()).expect("the counter is there")
}

#[test]
fn from_its_first_start_to_its_stop_not_one_packet_leaves_the_host() {
    let Some((world, server)) = quiet_server() else { return };
    open_a_way_out(&world);
    server.write("/var/log/auth.log.1", failed_lines(100, 20, "root", "203.0.113.9"));
    let daemon = Daemon::start(&server, "");
    server.append(LOG, failed_lines(1000, 9, "root", "198.51.100.7"));
    server.append(LOG, failed_lines(2000, 9, "invalid user oracle", "2001:db8:2::7"));
    for banned in ["198.51.100.7/32", "2001:db8:2::/64"] {
        daemon.wait_for(SOON, "the bans", || daemon.lists(banned).then_some(()));
    }
    daemon.wait_for(SOON, "the past to be learnt", || {
        (daemon.status()["learnt"]["done"] == true).then_some(())
    });
    for command in [
        "ban 198.51.100.8 --for 1h",
        "unban 198.51.100.8",
        "allow 198.51.100.9",
        "explain 198.51.100.7",
        "status",
        "attempts",
        "history",
        "export",
        "top --once",
        "metrics",
        "doctor",
        "off",
        "on",
    ] {
        let answer = daemon.ask(&command.split(' ').collect::<Vec<_>>());
        assert_eq!(answer.code, Some(0), "{command}: {answer:?}");
    }
    for command in ["wall --out /srv/wall --contact abuse@example.net", "rehearse"] {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.extend(["--state-dir", STATE_DIR, "--config", CONFIG]);
        let answer = pillory(&server, &words);
        assert_eq!(answer.code, Some(0), "{command}: {answer:?}");
    }
    server.write(CONFIG, "maxretry = 3\ndecoys = 0\n");
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    server.append(LOG, failed_lines(3000, 3, "root", "198.51.100.10"));
    daemon.wait_for(SOON, "a third ban", || daemon.lists("198.51.100.10/32").then_some(()));
    let (code, said) = daemon.stop();
    assert_eq!((code, left(&world)), (Some(0), 0), "{said}");
    // The count is a count: of what anybody sends by either family, and of a daemon that is told to follow a name.
    for (own, beyond) in [("0.0.0.0:0", "198.51.100.53:53"), ("[::]:0", "[2001:db8:1::53]:53")] {
        let before = left(&world);
        server.in_network(|| {
            let socket = UdpSocket::bind(own).expect("a socket");
            socket.send_to(b"anybody?", beyond).expect("there is a route");
        });
        wait_for(SOON, "what was sent to be counted", || (left(&world) > before).then_some(()));
    }
    let before = left(&world);
    let _daemon = Daemon::start(&server, "ignoreip = \"home.example.net\"\n");
    wait_for(SOON, "a question for the name", || (left(&world) > before).then_some(()));
}
