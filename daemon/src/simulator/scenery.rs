//! Who comes, what is banned by hand, and which policies there are.

use std::fmt::Write;
use std::net::IpAddr;

use pillory_core::filter::catalog;
use pillory_core::jail::never::Why;
use pillory_core::net::Prefix;

use super::dice::Dice;
use super::logs::LOGS;

/// Attackers: some neighbours, some far from each other, IPv6 in a few networks of which one holds this host.
const ATTACKERS: [&str; 28] = [
    "198.51.100.1",
    "198.51.100.2",
    "198.51.100.3",
    "198.51.100.5",
    "198.51.100.9",
    "198.51.100.12",
    "198.51.100.17",
    "198.51.100.18",
    "198.51.100.30",
    "198.51.100.77",
    "203.0.113.4",
    "203.0.113.5",
    "203.0.113.6",
    "203.0.113.130",
    "100.64.3.3",
    "100.64.77.1",
    "2001:db8:1:1::1",
    "2001:db8:1:1::2",
    "2001:db8:1:2::7",
    "2001:db8:1:3::9",
    "2001:db8:1:3::a",
    "2001:db8:1:4::1",
    "2001:db8:7::1",
    "2001:db8:7:1::1",
    "2001:db8:7:2::1",
    "2001:db8:9::1",
    "2001:db8:9::2",
    "203.0.113.200",
];

/// Who belongs to the host at times: owners, friends, the host itself.
const FRIENDS: [(&str, Why); 9] = [
    ("198.51.100.4/32", Why::Session),
    ("198.51.100.18/32", Why::Session),
    ("203.0.113.7/32", Why::Own),
    ("2001:db8:1:3::1/128", Why::Own),
    ("2001:db8:7::1/128", Why::Session),
    ("203.0.113.129/32", Why::Gateway),
    ("198.51.100.77/32", Why::Resolver),
    ("2001:db8:1:1::2/128", Why::Session),
    ("100.64.3.0/24", Why::Own),
];

/// What is banned, unbanned and allowed by hand.
const BY_HAND: [&str; 16] = [
    "198.51.100.0/24",
    "198.51.100.0/28",
    "198.51.100.3/32",
    "198.51.100.4/32",
    "203.0.113.4/32",
    "203.0.113.0/25",
    "203.0.113.128/25",
    "203.0.113.9/32",
    "2001:db8:1::/48",
    "2001:db8:1:3::/64",
    "2001:db8:1:3::1/128",
    "2001:db8:7::/64",
    "2001:db8:9::/56",
    "100.64.0.0/16",
    "192.0.2.1/32",
    "198.51.100.16/28",
];

/// What the policies differ in: the lines at the top, and whether the second jail runs.
const POLICIES: [(&str, bool); 5] = [
    ("ignoreip = [\"203.0.113.9\", \"192.0.2.0/24\"]\n", true),
    ("ignoreip = [\"198.51.100.12\", \"2001:db8:9::/64\"]\nscope = \"ports\"\n", true),
    ("ignoreip = [\"203.0.113.9\"]\n", false),
    ("ignoreip = [\"100.64.77.1\", \"192.0.2.0/24\"]\nmaxretry = 2\nwiden = false\n", true),
    ("ignoreip = []\nfuse = { bans_per_minute = 3 }\ngoodusers = [\"owner1\"]\n", true),
];

/// As many expressions as the simulated sshd has lines: compiling the built-in ones at each start and reload took most of
/// a run. Its own expressions for good logins stay.
const FAILREGEX: &str = r"['sshd\[\d+\]: Failed password for (?:invalid user )?<F-USER>\w+</F-USER> from <HOST> port <F-PORT>\d+</F-PORT> ssh2$']";

pub(super) const POLICY_COUNT: usize = POLICIES.len();

fn prefix(text: &str) -> Prefix {
    text.parse().expect("the tables hold prefixes")
}

pub(super) fn attacker(dice: &mut Dice) -> IpAddr {
    // Few at a time come back soon, so that some are banned.
    let few = dice.below(4) * 7;
    let of_few = few + dice.below(3);
    let at = if dice.percent(70) { of_few } else { dice.below(ATTACKERS.len()) };
    ATTACKERS[at].parse().expect("the table holds addresses")
}

pub(super) fn friend(dice: &mut Dice) -> (Prefix, Why) {
    let (text, why) = *dice.of(&FRIENDS);
    (prefix(text), why)
}

pub(super) fn by_hand(dice: &mut Dice) -> Prefix {
    match dice.percent(30) {
        true => Prefix::host(attacker(dice)),
        false => prefix(BY_HAND[dice.below(BY_HAND.len())]),
    }
}

/// Addresses at which the kernel is compared with the ledger.
pub(super) fn samples() -> impl Iterator<Item = IpAddr> {
    let attackers = ATTACKERS.iter().map(|text| text.parse().expect("the table holds addresses"));
    let others = FRIENDS.iter().map(|(text, _)| *text).chain(BY_HAND).map(prefix);
    attackers.chain(others.flat_map(|prefix| [prefix.addr(), prefix.last_addr()]))
}

/// Who is never banned by the text of a policy.
pub(super) fn ignored(policy: &str) -> Vec<Prefix> {
    let line = policy.lines().next().unwrap_or_default();
    line.split('"').skip(1).step_by(2).map(prefix).collect()
}

/// The text of a policy; `sound` or one that cannot be used.
pub(super) fn policy(number: usize, sound: bool) -> String {
    let (top, has_second) = POLICIES[number];
    let mut text = format!("{top}findtime = \"2m\"\nbantime = [\"20s\", \"2m\", \"10m\"]\ndecoys = 0\n");
    if !top.contains("maxretry") {
        text.push_str("maxretry = 4\n");
    }
    for name in catalog::names().filter(|name| *name != "sshd") {
        let _ = write!(text, "[jail.{name}]\nenabled = false\n");
    }
    let _ = write!(
        text,
        "[jail.sshd]\nenabled = true\nbackend = \"file\"\nport = [\"22\"]\nlogpath = \"{}\"\nfailregex = {FAILREGEX}\n",
        LOGS[0]
    );
    let _ = write!(
        text,
        "[jail.console]\nenabled = {has_second}\nfilter = \"sshd\"\nbackend = \"btmp\"\nport = [\"22\"]\nlogpath = \"{}\"\n",
        LOGS[1]
    );
    if !sound {
        text.push_str("no_such_key = 1\n");
    }
    text
}
