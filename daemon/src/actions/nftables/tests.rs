//! nftables with foreign eyes: what `nft` reads, what packets meet, and what happens when others meddle.

mod treatment;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use pillory_core::event::Scope;
use serde_json::Value;

use super::*;
use crate::actions::{Kind, kind};
use crate::netlink::Seen;
use crate::netlink::lab::{in_new_namespace, must_run, run, scattered};

const NOW: Timestamp = Timestamp::from_secs(1_750_000_000);

impl Nftables {
    /// As on a kernel that can do less.
    pub(in crate::actions) fn open_with(destroys: bool, updates: bool) -> Result<Nftables, ActionError> {
        let mut this = Nftables::open()?;
        this.abilities = Some(Abilities { destroys, updates });
        Ok(this)
    }

    /// With as little room in the socket as somebody without privileges gets.
    pub(in crate::actions) fn open_small() -> Result<Nftables, ActionError> {
        let this = Nftables::open()?;
        this.socket.shrink_buffers();
        Ok(this)
    }
}

/// Runs a test in a fresh namespace, if there is an `nft` to compare with.
fn with_nft(test: fn()) {
    if run("nft", &["--version"]).is_some() {
        in_new_namespace(test);
    }
}

fn nft(arguments: &str) -> String {
    must_run("nft", &arguments.split(' ').collect::<Vec<_>>()).unwrap()
}

/// The table without counters; versions of nft differ in one spelling.
fn listing() -> String {
    nft("-s list table inet pillory").replace(" == @", " @")
}

/// The listing without elements: their time-outs shrink when they move.
fn frame_listing() -> String {
    listing()
        .lines()
        .filter(|line| !line.contains("elements"))
        .fold(String::new(), |all, line| all + line + "\n")
}

fn jail(name: &str) -> JailName {
    JailName::new(name).unwrap()
}

fn sshd_ports() -> Vec<(JailName, Vec<Port>)> {
    let port = |protocol, low, high| Port::dropped(protocol, (low, high));
    vec![(jail("sshd"), vec![port(6, 22, 22), port(17, 5000, 5100)])]
}

fn prepared(ports: &[(JailName, Vec<Port>)]) -> Nftables {
    let mut action = Nftables::open().unwrap();
    action.prepare(ports).unwrap();
    action
}

fn element(prefix: &str) -> Element {
    Element { scope: Scope::All, prefix: prefix.parse().unwrap() }
}

fn ban(action: &mut Nftables, prefixes: &[&str]) {
    let end = End::At(NOW + Span::from_secs(3600));
    let changes: Vec<Change> = prefixes.iter().map(|p| Change::Set(element(p), end)).collect();
    action.apply(&changes, NOW).unwrap();
}

fn there(action: &mut Nftables) -> Vec<String> {
    let installed = action.installed(NOW).unwrap();
    let mut prefixes: Vec<String> = installed.keys().map(|element| element.prefix.short()).collect();
    prefixes.sort();
    prefixes
}

const LISTING: &str = r#"table inet pillory {
	comment "made by pillory; to lift everything run: pillory off"
	set ban4 {
		type ipv4_addr
		flags timeout
	}

	set ban6n {
		type ipv6_addr
		flags timeout
	}

	set ban6 {
		type ipv6_addr
		flags timeout
	}

	set net4 {
		type ipv4_addr
		flags interval,timeout
	}

	set net6 {
		type ipv6_addr
		flags interval,timeout
	}

	set ban4_sshd {
		type ipv4_addr
		flags timeout
		comment "jail sshd"
	}
"#;

const RULES: &str = r#"	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		ip saddr @ban4 counter drop comment "pillory ban4"
		ip6 saddr & ffff:ffff:ffff:ffff:: @ban6n counter drop comment "pillory ban6n"
		ip6 saddr @ban6 counter drop comment "pillory ban6"
		ip saddr @net4 counter drop comment "pillory net4"
		ip6 saddr @net6 counter drop comment "pillory net6"
		tcp dport 22 ip saddr @ban4_sshd counter drop comment "pillory ban4_sshd tcp 22-22"
		udp dport 5000-5100 ip saddr @ban4_sshd counter drop comment "pillory ban4_sshd udp 5000-5100"
"#;

#[test]
fn nft_reads_the_table_as_we_mean_it() {
    with_nft(|| {
        prepared(&sshd_ports());
        let before = listing();
        assert!(before.starts_with(LISTING), "{before}");
        assert!(before.contains(RULES), "{before}");
        // Whoever saves the ruleset can load it again.
        let path = std::env::temp_dir().join(format!("pillory-listing-{}", std::process::id()));
        std::fs::write(&path, format!("flush ruleset\n{before}")).unwrap();
        nft(&format!("-f {}", path.display()));
        assert_eq!(listing(), before);
        std::fs::remove_file(path).unwrap();
    });
}

#[test]
fn nft_reads_the_elements_as_we_mean_them() {
    with_nft(|| {
        let mut action = prepared(&[]);
        ban(
            &mut action,
            &["192.0.2.7", "2001:db8::7", "2001:db8:0:1::/64", "198.51.100.0/24", "2001:db8::/48"],
        );
        let forever = Change::Set(element("192.0.2.8"), End::Never);
        action.apply(&[forever], NOW).unwrap();
        let listing: Value = serde_json::from_str(&nft("-j list table inet pillory")).unwrap();
        let mut elements: Vec<String> = Vec::new();
        for set in listing["nftables"].as_array().unwrap().iter().filter_map(|entry| entry.get("set")) {
            for element in set["elem"].as_array().into_iter().flatten() {
                let (value, timeout) = match element.get("elem") {
                    Some(inner) => (&inner["val"], inner["timeout"].as_u64()),
                    None => (element, None),
                };
                elements.push(format!("{} {value} {timeout:?}", set["name"].as_str().unwrap()));
            }
        }
        elements.sort();
        let wanted = [
            r#"ban4 "192.0.2.7" Some(3600)"#,
            r#"ban4 "192.0.2.8" None"#,
            r#"ban6 "2001:db8::7" Some(3600)"#,
            r#"ban6n "2001:db8:0:1::" Some(3600)"#,
            r#"net4 {"prefix":{"addr":"198.51.100.0","len":24}} Some(3600)"#,
            r#"net6 {"prefix":{"addr":"2001:db8::","len":48}} Some(3600)"#,
        ];
        assert_eq!(elements, wanted);
    });
}

#[test]
fn a_probe_and_a_preparation_leave_nothing_else_behind() {
    with_nft(|| {
        Nftables::probe().unwrap();
        assert_eq!(nft("list ruleset"), "");
        let action = prepared(&[]);
        assert_eq!(nft("list tables"), "table inet pillory\n");
        assert!(!nft("list table inet pillory").contains(TRIAL_SET));
        assert_eq!(action.abilities.map(|a| a.destroys || !a.updates), Some(true));
    });
}

#[test]
fn a_second_preparation_touches_nothing() {
    with_nft(|| {
        let mut action = prepared(&sshd_ports());
        ban(&mut action, &["192.0.2.7", "198.51.100.0/24"]);
        let before = nft("-a -s list table inet pillory");
        action.prepare(&sshd_ports()).unwrap();
        prepared(&sshd_ports());
        assert_eq!(nft("-a -s list table inet pillory"), before);
    });
}

#[test]
fn other_ports_replace_only_the_rules_of_that_jail() {
    with_nft(|| {
        let mut action = prepared(&sshd_ports());
        let lines = |listing: &str| -> Vec<String> {
            listing.lines().filter(|line| line.contains("drop")).map(str::to_owned).collect()
        };
        let before = lines(&nft("-a -s list table inet pillory"));
        let ports = vec![(jail("sshd"), vec![Port::dropped(6, (2222, 2222))])];
        action.prepare(&ports).unwrap();
        let after = lines(&nft("-a -s list table inet pillory"));
        let (kept, new): (Vec<_>, Vec<_>) = after.iter().partition(|line| before.contains(line));
        assert_eq!((kept.len(), new.len()), (5, 5));
        assert!(new.iter().all(|line| line.contains("tcp dport 2222")), "{new:?}");
    });
}

#[test]
fn rules_and_sets_that_others_took_away_come_back() {
    with_nft(|| {
        let mut action = prepared(&sshd_ports());
        ban(&mut action, &["192.0.2.7"]);
        let before = nft("-s list table inet pillory");
        nft("flush chain inet pillory prerouting");
        nft("insert rule inet pillory prerouting accept");
        nft("delete set inet pillory ban6_sshd");
        action.prepare(&sshd_ports()).unwrap();
        let mut after: Vec<String> = nft("-s list table inet pillory").lines().map(str::to_owned).collect();
        let mut before: Vec<String> = before.lines().map(str::to_owned).collect();
        after.sort();
        before.sort();
        assert_eq!(after, before);
    });
}

#[test]
fn a_table_of_the_wrong_shape_is_rebuilt_with_its_bans() {
    with_nft(|| {
        for meddling in [
            "add table inet pillory { flags dormant ; }",
            "add chain inet pillory prerouting { policy drop ; }",
            "delete set inet pillory net4 ; add set inet pillory net4 { type ipv6_addr ; }",
        ] {
            let mut action = prepared(&[]);
            ban(&mut action, &["192.0.2.7", "2001:db8::/48"]);
            let before = frame_listing();
            if meddling.contains("net4") {
                nft("flush chain inet pillory prerouting");
            }
            nft(meddling);
            assert_ne!(frame_listing(), before, "{meddling}");
            action.prepare(&[]).unwrap();
            assert_eq!(frame_listing(), before, "{meddling}");
            assert_eq!(there(&mut action), ["192.0.2.7", "2001:db8::/48"], "{meddling}");
        }
    });
}

#[test]
fn a_vanished_table_is_told_and_healed() {
    with_nft(|| {
        let mut action = prepared(&[]);
        ban(&mut action, &["192.0.2.7"]);
        let mut watch = action.watch().unwrap().unwrap();
        nft("flush ruleset");
        assert_eq!(watch.read().unwrap(), Seen::Touched);
        let change = Change::Set(element("192.0.2.7"), End::Never);
        let error = action.apply(std::slice::from_ref(&change), NOW).unwrap_err();
        assert!(matches!(error, ActionError::Vanished { .. }), "{error}");
        let error = action.apply(std::slice::from_ref(&change), NOW).unwrap_err();
        assert!(matches!(error, ActionError::Vanished { .. }), "{error}");
        action.apply(&[Change::Remove(element("192.0.2.7"))], NOW).unwrap();
        action.prepare(&[]).unwrap();
        action.apply(&[change], NOW).unwrap();
        assert_eq!(there(&mut action), ["192.0.2.7"]);
        assert_eq!(watch.read().unwrap(), Seen::Nothing);
        nft("add table inet another");
        assert_eq!(watch.read().unwrap(), Seen::Nothing);
        nft("delete element inet pillory ban4 { 192.0.2.7 }");
        assert_eq!(watch.read().unwrap(), Seen::Touched);
    });
}

#[test]
fn a_ban_on_the_ports_of_an_unknown_jail_is_refused() {
    in_new_namespace(|| {
        let mut action = prepared(&sshd_ports());
        let element = Element { scope: Scope::Ports(jail("other")), prefix: "192.0.2.7".parse().unwrap() };
        let error = action.apply(&[Change::Set(element.clone(), End::Never)], NOW).unwrap_err();
        assert!(matches!(error, ActionError::UnknownPorts { .. }), "{error}");
        action.apply(&[Change::Remove(element)], NOW).unwrap();
    });
}

/// True if a datagram from `from` reaches port `port` of `to`; a later one from the same host's own address,
/// which nobody bans, ends the wait.
fn arrives(from: &str, to: &str, port: u16) -> bool {
    // The one before is closed, but what another test has forked holds it until it is exec'd.
    let bind = || UdpSocket::bind((to, port)).inspect_err(|_| std::thread::sleep(Duration::from_millis(1)));
    let receiver = std::iter::repeat_with(bind).take(10_000).find_map(Result::ok).unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    UdpSocket::bind((from, 0)).unwrap().send_to(b"tried", (to, port)).unwrap();
    UdpSocket::bind((to, 0)).unwrap().send_to(b"after", (to, port)).unwrap();
    let mut buffer = [0; 16];
    let length = receiver.recv(&mut buffer).unwrap();
    &buffer[..length] == b"tried"
}

#[test]
fn packets_of_the_banned_are_dropped_and_others_pass() {
    with_nft(|| {
        let hosts = ["192.0.2.7", "198.51.100.9", "2001:db8::7", "2001:db8:0:1::9", "2001:db8:7:8::9"];
        let (free4, free6) = ("192.0.2.1", "2001:db8:0:2::1");
        for host in hosts.iter().chain([&free4, &free6]) {
            must_run("ip", &["addr", "add", host, "dev", "lo"]);
        }
        let mut action = prepared(&sshd_ports());
        let to = |host: &str| if host.contains(':') { free6 } else { free4 };
        assert!(hosts.iter().all(|host| arrives(host, to(host), 7000)));
        ban(
            &mut action,
            &["192.0.2.7", "198.51.100.0/24", "2001:db8::7", "2001:db8:0:1::/64", "2001:db8:7::/48"],
        );
        for host in hosts {
            assert!(!arrives(host, to(host), 7000), "{host}");
        }
        action.remove_all().unwrap();
        action.prepare(&sshd_ports()).unwrap();
        let bans: Vec<Change> = there_on_ports(&hosts).map(|e| Change::Set(e, End::Never)).collect();
        action.apply(&bans, NOW).unwrap();
        for host in hosts {
            assert!(!arrives(host, to(host), 5000) && !arrives(host, to(host), 5100), "{host}");
            assert!(arrives(host, to(host), 5101), "{host}");
        }
    });
}

fn there_on_ports(hosts: &[&str]) -> impl Iterator<Item = Element> {
    hosts.iter().map(|host| Element { scope: Scope::Ports(jail("sshd")), prefix: host.parse().unwrap() })
}

#[test]
#[allow(clippy::disallowed_methods)]
fn a_hundred_thousand_bans_are_read_back_at_once() {
    in_new_namespace(|| {
        let mut action = prepared(&[]);
        let changes: Vec<Change> = (0..100_000)
            .map(|n| {
                Change::Set(
                    Element { scope: Scope::All, prefix: pillory_core::net::Prefix::host(scattered(n)) },
                    End::Never,
                )
            })
            .collect();
        let begin = Instant::now();
        action.apply(&changes, NOW).unwrap();
        let applied = begin.elapsed();
        assert_eq!(action.installed(NOW).unwrap().len(), changes.len());
        let read = begin.elapsed() - applied;
        eprintln!("100,000 bans: applied in {applied:?}, read back in {read:?}");
        // Optimised it is 0.15 s; this bound only catches what is quadratic.
        assert!(applied < Duration::from_secs(30), "{applied:?}");
    });
}

#[test]
fn without_the_privilege_every_kind_says_so_and_auto_takes_none() {
    in_new_namespace(|| {
        use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
        let none = CapabilitySet::empty();
        // Of this thread, which ends with the test.
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .unwrap();
        let (best, refused) = crate::actions::best_kind();
        assert!(best.is_none());
        assert_eq!(refused.len(), 2);
        for (kind, error) in refused {
            assert!(matches!(error, ActionError::NotPermitted { .. }), "{}: {error}", kind.name);
        }
        let error = Nftables::open().unwrap().prepare(&[]).unwrap_err();
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}

#[test]
fn auto_takes_nftables_where_it_works() {
    in_new_namespace(|| {
        let (best, refused) = crate::actions::best_kind();
        assert_eq!((best.map(|kind| kind.name), refused.len()), (Some("nftables"), 0));
        assert!(kind("nonsense").is_none() && kind("dryrun").is_some_and(|kind: &Kind| !kind.is_automatic));
    });
}
