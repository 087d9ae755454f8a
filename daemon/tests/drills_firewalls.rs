//! Drills: other firewalls reload beside us, the real ones as Debian packages them. They touch nothing of ours, so not
//! one packet of a banned address gets through meanwhile.

use std::process::Command;

use crate::drills_kernel::{BANNED, banned};
use crate::lab::{Host, Running, SHORT, SOON, Scene, need, say_figure, wait_for, wait_until};

/// Reloads of each, while somebody who is banned knocks.
const RELOADS: usize = 3;

/// A program of the host's, by its path, so that it finds what was installed with it.
fn installed(host: &Host, program: &str, args: &[&str]) -> Command {
    let mut command = host.command(program);
    command.args(args);
    command
}

#[track_caller]
fn run(host: &Host, program: &str, args: &[&str]) -> String {
    let output = installed(host, program, args).output().expect("nsenter starts");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    said
}

/// Has somebody knock while another firewall works, and holds that nobody answered.
#[track_caller]
fn opens_no_gap(scene: &Scene, drill: &str, reload: impl Fn(&Host)) {
    let knocking = scene.world.attacker(BANNED).knock();
    for _ in 0..RELOADS {
        reload(&scene.world.server);
    }
    let knocks = knocking.stop();
    say_figure(&format!("{drill}: {} of {} knocks answered", knocks.answered.len(), knocks.sent));
    assert!(knocks.sent > 5 && knocks.answered.is_empty(), "{drill}: {knocks:?}");
    assert!(scene.world.friend("198.51.100.9").is_served(SOON), "{drill}");
    assert_eq!(scene.world.attacker(BANNED).banner(SHORT), None, "{drill}");
    assert!(!scene.daemon.errors().contains("has been healed"), "{drill}: {}", scene.daemon.errors());
}

/// A guarded server on which the unpacked packages are installed.
fn beside(programs: &[&str]) -> Option<Scene> {
    if !need(programs) {
        return None;
    }
    let scene = banned("")?;
    scene.world.server.install_tools()?;
    Some(scene)
}

#[test]
fn ufw_enables_reloads_and_disables_without_a_gap() {
    let Some(scene) = beside(&["ufw", "iptables-nft", "python3"]) else { return };
    let server = &scene.world.server;
    run(server, "/usr/sbin/ufw", &["allow", "22/tcp"]);
    run(server, "/usr/sbin/ufw", &["--force", "enable"]);
    assert!(
        scene.world.kernel().ruleset().contains("ufw-before-input"),
        "it works by the kernel's nf_tables"
    );
    opens_no_gap(&scene, "ufw reload", |server| drop(run(server, "/usr/sbin/ufw", &["reload"])));
    opens_no_gap(&scene, "ufw disable and enable", |server| {
        run(server, "/usr/sbin/ufw", &["disable"]);
        run(server, "/usr/sbin/ufw", &["--force", "enable"]);
    });
}

/// A bus of the host's own that lets everybody speak and starts nobody else's services.
const BUS: &str = "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
    \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
    <busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>\
    <policy context=\"default\"><allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow user=\"*\"/></policy>\
    </busconfig>\n";

/// A running firewalld with its bus. Fields are dropped from top to bottom.
struct Firewalld {
    _service: Running,
    _bus: Running,
}

impl Firewalld {
    #[track_caller]
    fn start(host: &Host) -> Firewalld {
        host.write("/run/dbus/bus.conf", BUS);
        let arguments = ["--nofork", "--nopidfile", "--config-file=/run/dbus/bus.conf"];
        let bus = Running::start("dbus-daemon", installed(host, "/usr/bin/dbus-daemon", &arguments));
        wait_for(SOON, "the bus", || host.path("/run/dbus/system_bus_socket").exists().then_some(()));
        let arguments = ["--nofork", "--nopid", "--log-target", "console"];
        let service = Running::start("firewalld", installed(host, "/usr/sbin/firewalld", &arguments));
        let runs = wait_until(3 * SOON, || {
            let state = installed(host, "/usr/bin/firewall-cmd", &["--state"]).output().expect("it starts");
            state.status.success().then_some(())
        });
        assert!(runs.is_some(), "firewalld does not run:\n{}\n{}", service.errors(), bus.errors());
        Firewalld { _service: service, _bus: bus }
    }
}

#[test]
fn firewalld_reloads_without_a_gap() {
    let Some(scene) = beside(&["firewalld", "firewall-cmd", "dbus-daemon", "python3"]) else { return };
    let server = &scene.world.server;
    let _firewalld = Firewalld::start(server);
    run(server, "/usr/bin/firewall-cmd", &["--permanent", "--add-service=ssh"]);
    assert!(scene.world.kernel().ruleset().contains("table inet firewalld"));
    for how in ["--reload", "--complete-reload"] {
        opens_no_gap(&scene, &format!("firewall-cmd {how}"), |server| {
            drop(run(server, "/usr/bin/firewall-cmd", &[how]));
        });
    }
}

/// Where the container is, and the port that it is published by.
const CONTAINER: &str = "172.17.0.2";
const PUBLISHED: u16 = 8080;

/// What dockerd 20.10 does to iptables when it starts, and for a container with `-p 8080:80`. Each line is a command.
const DOCKER: &str = "\
-t nat -N DOCKER
-t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-t nat -A DOCKER -i docker0 -j RETURN
-t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
-N DOCKER
-N DOCKER-ISOLATION-STAGE-1
-N DOCKER-ISOLATION-STAGE-2
-N DOCKER-USER
-A DOCKER-USER -j RETURN
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-P FORWARD DROP";

/// A container: a host of its own behind a bridge, with a listener on port 80.
fn container(server: &Host) -> (Host, std::net::TcpListener) {
    let container = Host::client();
    let pid = container.pid();
    server.ip_batch(&format!(
        "link add docker0 type bridge\naddr add 172.17.0.1/16 dev docker0\nlink set docker0 up\n\
         link add veth0 type veth peer name eth0 netns {pid}\nlink set veth0 master docker0\nlink set veth0 up\n"
    ));
    container.ip_batch(&format!(
        "link set lo up\naddr add {CONTAINER}/16 dev eth0\nlink set eth0 up\nroute add default via 172.17.0.1\n"
    ));
    server.in_network(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("it forwards"));
    let listener = container.in_network(|| std::net::TcpListener::bind("0.0.0.0:80").expect("a port"));
    (container, listener)
}

#[test]
fn a_published_port_of_a_container_is_shut_to_the_banned_while_dockers_rules_come_and_go() {
    if !need(&["iptables-nft"]) {
        return;
    }
    let Some(scene) = banned("") else { return };
    let server = &scene.world.server;
    let (_container, _listener) = container(server);
    opens_no_gap(&scene, "docker's rules made anew", |server| {
        for words in ["-t nat -F", "-t nat -X", "-F", "-X"].into_iter().chain(DOCKER.lines()) {
            server.run("iptables-nft", &words.split(' ').collect::<Vec<_>>());
        }
        assert!(scene.world.friend("198.51.100.9").connect(PUBLISHED, SOON).is_ok());
        assert!(scene.world.attacker(BANNED).connect(PUBLISHED, SHORT).is_err());
    });
}

#[test]
fn flushed_iptables_open_no_gap() {
    if !need(&["iptables-nft"]) {
        return;
    }
    let Some(scene) = banned("") else { return };
    opens_no_gap(&scene, "iptables -F", |server| {
        server.run("iptables-nft", &["-A", "INPUT", "-p", "tcp", "--dport", "22", "-j", "ACCEPT"]);
        server.run("iptables-nft", &["-F"]);
        server.run("iptables-nft", &["-X"]);
    });
}
