//! Directories as people have them, and as nobody should.

use proptest::prelude::*;

use super::native::{Block, Reach, Reject, RouteBlock, Way};
use super::*;
use crate::filter::settings::tests::Memory;

pub(super) fn read_all(files: &[(&str, &str)]) -> Fail2ban {
    let files: Vec<(String, &str)> = files.iter().map(|(path, text)| (format!("/f/{path}"), *text)).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    read(&Memory::new(&files), "/f", &ReadOptions::default())
}

fn messages(found: &Fail2ban) -> Vec<String> {
    found.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_jail_local_alone_works_with_the_built_in_filters() {
    let local = "[DEFAULT]\nbantime = 1d\nignoreip = 192.0.2.10 home.example.net\n[sshd]\nenabled = true\n";
    let found = read_all(&[("jail.local", local)]);
    assert_eq!(messages(&found), Vec::<String>::new());
    let [sshd] = found.jails.as_slice() else { panic!("{:?}", found.jails) };
    let stand_in = sshd.filter.stand_in.as_ref().unwrap();
    assert_eq!((stand_in.name.as_str(), &sshd.filter.failregex), ("sshd", &stand_in.failregex));
    assert_eq!(sshd.filter.journalmatch, stand_in.journalmatch);
    assert_eq!((sshd.maxretry, sshd.findtime.secs()), (5, 600));
    assert_eq!(sshd.bantime, BanTime::For(Span::from_secs(86_400)));
    assert_eq!(
        (sshd.ignoreip.len(), sshd.ignoreip_names.as_slice()),
        (1, &["home.example.net".to_owned()][..])
    );
    assert!(sshd.logpath.iter().any(|log| log.pattern == "/var/log/auth.log"));
    let reach = Reach::Ports { ports: vec!["ssh".into()], protocols: vec!["tcp".into()] };
    let block = Block::Reject(Reject::Port);
    assert_eq!(
        sshd.actions[0].native,
        NativeAction::Nftables { reach, block, way: Way::Arriving, differs: "" }
    );
    let said = found.notices.join("\n");
    for part in ["no jail.conf", "built-in filter sshd", "no action.d/iptables-multiport.conf", "port ssh"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(found.disabled.contains(&"postfix-sasl".to_owned()));
}

#[test]
fn every_built_in_filter_stands_in() {
    let found = read_all(&[("jail.local", "[DEFAULT]\nenabled = true\n")]);
    assert_eq!(messages(&found), Vec::<String>::new());
    let (counting, reading): (Vec<_>, Vec<_>) =
        found.jails.iter().partition(|jail| !jail.counts_bans_of.is_empty());
    assert_eq!(counting.len(), 1);
    for jail in &reading {
        assert_eq!(jail.filter.failregex, jail.filter.stand_in.as_ref().unwrap().failregex, "{}", jail.name);
    }
    assert_eq!(reading.len(), crate::filter::catalog::names().count());
}

#[test]
fn a_directory_with_its_own_filter_needs_no_stand_in() {
    let files = [
        ("jail.local", "[sshd]\nenabled = true\nlogpath = /l\nmaxretry = 2\n"),
        ("filter.d/sshd.conf", "[Definition]\nfailregex = ^<HOST>$\n"),
    ];
    let found = read_all(&files);
    assert_eq!(found.jails[0].filter.failregex, ["^<HOST>$"]);
    assert!(found.jails[0].filter.stand_in.is_none());
}

#[test]
fn every_problem_has_its_place_and_its_cure() {
    let local = "[DEFAULT]\nlogpath = /l\naction = iptables\n[good]\nenabled = true\nfailregex = x\n\
                 [time]\nenabled = true\nfilter = f\nbantime = 1 fortnight\nfindtime = 0x\nmaxretry = many\n\
                 [ref]\nenabled = true\nfilter = f\nport = %(nothing)s\naction = iptables[port=\"%(port)s\"]\n\
                 [twice]\nenabled = true\nenabled = true\nfilter = f\nlogpath = /a b\n\
                 [\u{e9}]\nenabled = true\nignoreip = 1.2.3\n[off]\nfilter = none\n[good]\n= x\n";
    let files = [
        ("jail.local", local),
        ("filter.d/f.conf", "[Definition]\nfailregex = %(x)s\n[Init]\nx = <a>\na = <x>\n"),
    ];
    let found = read_all(&files);
    for problem in &found.problems {
        assert!(problem.line > 0 && !problem.what.is_empty() && !problem.cure.is_empty(), "{problem}");
    }
    let lines: std::collections::BTreeSet<usize> = found
        .problems
        .iter()
        .filter(|problem| problem.file == "/f/jail.local")
        .map(|problem| problem.line)
        .collect();
    for line in [20, 23, 28, 29] {
        assert!(lines.contains(&line), "{line}: {:#?}", messages(&found));
    }
}

#[test]
fn values_that_do_not_fit_are_said_and_defaults_hold() {
    let local = "[DEFAULT]\nlogpath = /l\n[a]\nenabled = true\nfilter = f\nbantime = 1 fortnight\nfindtime = 0x\n\
                 maxretry = many\nusedns = perhaps\nignoreip = 1.2.3.4/x\nlogpath = /a b\njournalmatch = x\n";
    let found = read_all(&[("jail.local", local), ("filter.d/f.conf", "[Definition]\nfailregex = <HOST>\n")]);
    let mut lines: Vec<usize> = found.problems.iter().map(|problem| problem.line).collect();
    lines.sort_unstable();
    assert_eq!(lines, [6, 7, 8, 9, 10, 11, 12], "{:#?}", messages(&found));
    assert_eq!((found.jails[0].maxretry, found.jails[0].findtime.secs()), (3, 600));
    assert_eq!(found.jails[0].filter.usedns, UseDns::No);
}

#[test]
fn stock_actions_become_native_ones() {
    let cases = [
        (
            "iptables[port=\"1,2\", protocol=udp, blocktype=DROP]",
            "udp packets to port 1, 2 of an offender dropped",
        ),
        ("iptables[type=allports]", "all tcp packets of an offender rejected (port unreachable)"),
        (
            "iptables-allports[protocol=\"tcp,udp\"]",
            "all tcp and udp packets of an offender rejected (port unreachable)",
        ),
        ("nftables[blocktype=\"counter drop\"]", "tcp packets to port ssh of an offender dropped"),
        ("iptables-allports[protocol=all]", "all packets of an offender dropped, where fail2ban rejects"),
        ("nftables[protocol=all, port=80]", "tcp and udp packets to port 80 of an offender rejected"),
        ("iptables-allports[protocol=icmp]", "runs its own commands"),
        ("iptables[port=22,protocol=sctp]", "runs its own commands"),
        ("iptables[blocktype=\"REJECT --reject-with tcp-reset\"]", "rejected (reset)"),
        ("iptables[blocktype=\"REJECT --reject-with icmp-admin-prohibited\"]", "rejected (forbidden)"),
        ("iptables[blocktype=\"REJECT --reject-with icmp-echo\"]", "runs its own commands"),
        ("nftables[blocktype=\"reject with icmpx type host-unreachable\"]", "rejected (host unreachable)"),
        ("nftables[blocktype=\"counter redirect to 2222\"]", "runs its own commands"),
        ("firewallcmd-ipset[rejecttype=icmp-net-unreachable]", "rejected (no route)"),
        (
            "iptables-multiport[port=80, chain=DOCKER-USER]",
            "tcp packets to port 80 of an offender that are passed on rejected (port unreachable)",
        ),
        ("nftables[chain_hook=forward]", "that are passed on rejected"),
        ("nftables[type=custom]", "runs its own commands"),
        ("firewallcmd-ipset[actiontype=<allports>]", "all tcp packets"),
        ("route[blocktype=blackhole]", "by a route: blackhole"),
        ("route[blocktype=throw]", "runs its own commands"),
        ("ufw", "all packets of an offender dropped, where fail2ban rejects"),
        ("ufw[application=OpenSSH]", "runs its own commands"),
        ("iptables[blocktype=TARPIT]", "runs its own commands"),
        ("dummy", "left out: it only writes"),
        ("bsd-ipfw", "left out: it drives"),
        ("smtp.py[dest=x]", "left out: it is a Python"),
    ];
    for (action, expected) in cases {
        let local = format!("[sshd]\nenabled = true\naction = {action}\n");
        let found = read_all(&[("jail.local", &local)]);
        let said = found.jails[0].actions[0].native.to_string();
        assert!(said.contains(expected), "{action}: {said}");
    }
}

#[test]
fn an_action_that_the_operator_changed_is_a_command() {
    let local = "[sshd]\nenabled = true\naction = route\n";
    let of = |ban: &str| {
        let action = format!("[Definition]\nactionban = {ban}\n");
        read_all(&[("jail.local", local), ("action.d/route.conf", &action)]).jails[0].actions[0]
            .native
            .clone()
    };
    assert_eq!(of("ip route add <blocktype> <ip>"), NativeAction::Nullroute(RouteBlock::Unreachable));
    assert_eq!(of("ip route add <blocktype> <ip>\n  logger banned <ip>"), NativeAction::Command);
    assert_eq!(of("/usr/local/bin/mine <ip>"), NativeAction::Command);
}

#[test]
fn times_are_read_as_fail2ban_computes_them() {
    let seconds = |text: &str| seconds::parse(text);
    for (text, expected) in [
        ("600", 600.0),
        ("1h 30m", 5_400.0),
        ("1d12h", 129_600.0),
        ("1year-6mo", 15_778_800.0),
        ("6 months", 15_778_800.0),
        ("-1", -1.0),
        ("2*60", 120.0),
        ("(1h + 30min) * 2", 10_800.0),
        ("1.5h", 5_400.0),
        ("0d 1h 30m", 5_400.0),
    ] {
        assert_eq!(seconds(text), Ok(expected), "{text}");
    }
    for text in ["", "x", "1x", "1h)", "(1h", "1e9999999999y", "9999999y", "1/0", &"(".repeat(100_000)] {
        assert!(seconds(text).is_err(), "{text}");
    }
    assert_eq!(seconds::bantime("-1d"), Ok(BanTime::Forever));
}

#[test]
fn options_may_be_quoted_and_split_over_lines() {
    let split = options::split("a[x=\"1 ]2\",\n y='3'] b  c[d=e][f=g]\n d[broken x");
    assert_eq!(split, ["a[x=\"1 ]2\",\n y='3']", "b", "c[d=e][f=g]", "d[broken", "x"]);
    let (name, given) =
        options::extract("c[d=e, f = g]").map_err(|why| why.contains("f = g")).unwrap_or_default();
    assert_eq!((name.as_str(), given.len()), ("", 0));
    let (name, given) = options::extract(split[0]).unwrap();
    assert_eq!((name.as_str(), given["x"].as_str(), given["y"].as_str()), ("a", "1 ]2", "3"));
    assert_eq!(
        options::shell_words("a\"b c\"'d' \\\"x \"\\\\\""),
        Ok(vec!["ab cd".into(), "\"x".into(), "\\".into()])
    );
}

#[test]
fn hostile_directories_end_soon() {
    let huge = format!("[DEFAULT]\nenabled = true\naction = {}\n[sshd]\n", "a[b=\"c\"x=1, ".repeat(200_000));
    let long = format!("[sshd]\nenabled = true\nfailregex = {}\n", "x".repeat(10_000_000));
    let round = "[sshd]\nenabled = true\nfailregex = %(known/failregex)s %(failregex)s\n";
    let includes = "[INCLUDES]\nbefore = jail.local\nafter = jail.local\n[sshd]\nenabled = true\n";
    for local in [
        huge.as_str(),
        &long,
        round,
        includes,
        "[sshd\0]\nenabled = true\0\n",
        "\u{feff}[sshd]\n",
        "[]\n[[]]\n[DEFAULT]\n",
    ] {
        let found = read_all(&[("jail.local", local)]);
        assert!(!found.problems.is_empty() || found.jails.len() < 2, "{}", &local[..local.len().min(60)]);
    }
    let mut files = Memory::default();
    files.0.insert("/f/jail.local".into(), b"[sshd]\nenabled = \xff\n".to_vec());
    assert!(messages(&read(&files, "/f", &ReadOptions::default()))[0].contains("byte 17 is not UTF-8"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn no_directory_upsets_the_reader(
        jail in "(\\[(DEFAULT|a|b|INCLUDES|KNOWN/a)\\]\n|(enabled|filter|action|bantime|ignoreip|logpath|before|maxretry|journalmatch|ignorecache) = |true|[fg]\\[[a-z]=['\",]?|\\]|\\[|%\\(((known|a|default)/)?(filter|action|x)\\)s|<(known/)?(a|x|name)>|[ -~]|\n|\n  |é|\u{0}|\t|,){0,80}",
        definition in "(\\[(Definition|Init|DEFAULT|Init\\?family=inet6)\\]\n|(failregex|actionban|a|x|name|blocktype) = |<(known/)?(a|x|name|actionban)>|%\\([ax]\\)s|[ -~]|\n  ?|é){0,40}"
    ) {
        let local = format!("[DEFAULT]\nenabled = true\nfilter = f\naction = g[x=1]\n{jail}");
        let found = read_all(&[("jail.local", &local), ("filter.d/f.conf", &definition), ("action.d/g.conf", &definition), ("jail.d/x.conf", &jail)]);
        for action in found.jails.iter().flat_map(|jail| &jail.actions) {
            for family in [None, Some("inet6")] {
                let _ = action.command("actionban", family, &Options::new());
            }
        }
    }

    #[test]
    fn no_options_upset_their_reader(text in "([a-z]|\\[|\\]|=|,|\"|'| |\n|\\\\|é){0,60}") {
        for item in options::split(&text) {
            let _ = options::extract(item);
        }
        let _ = options::shell_words(&text);
    }

    #[test]
    fn no_time_upsets_its_reader(text in "([0-9.]{1,3}|[smhdwoy]|[-+*/() ]|é){0,30}") {
        let _ = seconds::parse(&text);
    }
}
