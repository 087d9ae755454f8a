//! The server's kernel, read back by foreign programs: nft and ip.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pillory_core::net::Prefix;
use serde_json::Value;

use super::host::Host;
use super::wait::wait_for;

/// The sets that hold bans of every port, as INTERFACE names them.
const SETS: [&str; 5] = ["ban4", "ban6", "ban6n", "net4", "net6"];

/// The kernel of a host.
#[derive(Debug, Clone)]
pub struct Kernel {
    host: Host,
}

impl Kernel {
    /// The kernel of `host`.
    pub fn new(host: Host) -> Kernel {
        Kernel { host }
    }

    /// `nft -j list table inet pillory`; `None` if there is no such table.
    pub fn nft_json(&self) -> Option<Value> {
        self.table_json("pillory")
    }

    fn table_json(&self, table: &str) -> Option<Value> {
        let output = self
            .host
            .command("nft")
            .args(["-j", "list", "table", "inet", table])
            .output()
            .expect("nft starts");
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(why.contains("No such file"), "nft list failed: {why}");
            return None;
        }
        Some(serde_json::from_slice(&output.stdout).expect("nft -j prints JSON"))
    }

    /// The whole ruleset as text, of every tool.
    pub fn ruleset(&self) -> String {
        self.host.run("nft", &["list", "ruleset"])
    }

    /// Feeds nft, as another tool or an operator would.
    #[track_caller]
    pub fn nft(&self, command: &str) -> String {
        self.host.run("nft", &[command])
    }

    /// What the sets `ban4 ban6 ban6n net4 net6` hold.
    pub fn banned(&self) -> BTreeSet<Prefix> {
        let table = self.nft_json();
        SETS.iter().flat_map(|set| elements(table.as_ref(), set)).map(|element| element.prefix).collect()
    }

    /// What all sets of a table of anybody hold; a set named `ban6n` is one of /64s.
    pub fn all_of(&self, table: &str) -> BTreeSet<Prefix> {
        let table = self.table_json(table);
        let objects = table.as_ref().and_then(|table| table["nftables"].as_array()).into_iter().flatten();
        let names = objects.filter_map(|object| object["set"]["name"].as_str());
        names.flat_map(|set| elements(table.as_ref(), set)).map(|element| element.prefix).collect()
    }

    /// What one set holds, with the time that each element has left.
    pub fn set(&self, name: &str) -> Vec<Element> {
        elements(self.nft_json().as_ref(), name)
    }

    /// How long, less than a day, the kernel will still keep an element, to the millisecond; `None` if it is not
    /// there or stays.
    pub fn left(&self, set: &str, element: &str) -> Option<Duration> {
        // JSON has whole seconds only; the text has `192.0.2.7 timeout 1h expires 59m59s984ms`.
        let text = self.host.run("nft", &["list", "set", "inet", "pillory", set]);
        let (_, after) = text.split_once(&format!("{element} timeout "))?;
        let (_, after) = after.split_once(" expires ")?;
        let left: jiff::SignedDuration =
            after.split([' ', ',', '\n']).next()?.parse().expect("nft prints a duration");
        Some(left.unsigned_abs())
    }

    /// True if a set holds this element; quick, however much else it holds.
    pub fn holds(&self, set: &str, element: &str) -> bool {
        self.holds_in("pillory", set, element)
    }

    /// The same of a table of anybody.
    pub fn holds_in(&self, table: &str, set: &str, element: &str) -> bool {
        let words = ["get", "element", "inet", table, set, "{", element, "}"];
        self.host.command("nft").args(words).output().expect("nft starts").status.success()
    }

    /// True if the sets or the blackhole routes cover `addr`.
    pub fn is_banned(&self, addr: IpAddr) -> bool {
        let covers = |prefix: &Prefix| prefix.contains_addr(addr);
        self.banned().iter().any(covers) || self.blackholes().iter().any(covers)
    }

    /// Begins to count the packets of `addr`; one address a world.
    pub fn count_packets(&self, addr: IpAddr) {
        let family = if addr.is_ipv4() { "ip" } else { "ip6" };
        self.nft(&COUNTING.replace("FAMILY", family).replace("ADDRESS", &addr.to_string()));
    }

    /// The packets counted since [`Kernel::count_packets`].
    pub fn packets(&self) -> Packets {
        let text = self.host.run("nft", &["-j", "list", "counters", "table", "inet", "lab"]);
        let json: Value = serde_json::from_str(&text).expect("nft -j prints JSON");
        let objects = json["nftables"].as_array().cloned().unwrap_or_default();
        let count = |name: &str| {
            let counter =
                objects.iter().map(|object| &object["counter"]).find(|counter| counter["name"] == name);
            counter.and_then(|counter| counter["packets"].as_u64()).expect("the counter is there")
        };
        Packets { arrived: count("arrived"), left: count("left") }
    }

    /// Listens to what happens to elements; a change is heard in about a millisecond.
    pub fn monitor(&self) -> Monitor {
        let mut command = self.host.command("nft");
        command.arg("monitor").stdout(Stdio::piped());
        let mut child = command.spawn().expect("nft starts");
        let pipe = child.stdout.take().expect("standard output is piped");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                kept.lock().expect("nobody panics holding it").push((Instant::now(), line));
            }
        });
        let monitor = Monitor { child, heard };
        // It says nothing of its own when it has begun to listen: make changes until it has heard one.
        wait_for(Duration::from_secs(10), "nft monitor to listen", || {
            self.nft("add table inet lab_monitor");
            self.nft("delete table inet lab_monitor");
            monitor.heard("lab_monitor").map(|_| ())
        });
        monitor
    }

    /// Destinations of the blackhole routes of the main table.
    pub fn blackholes(&self) -> BTreeSet<Prefix> {
        let mut found = BTreeSet::new();
        for family in ["-4", "-6"] {
            let text = self.host.run("ip", &["-j", family, "route", "show", "type", "blackhole"]);
            let routes: Value = serde_json::from_str(text.trim()).unwrap_or(Value::Null);
            for route in routes.as_array().into_iter().flatten() {
                let destination = route["dst"].as_str().expect("a route has a destination");
                found.insert(destination.parse().expect("ip prints prefixes"));
            }
        }
        found
    }
}

/// A table of the lab's own that counts an address's packets as they arrive, before anything can drop them, and
/// as they leave.
const COUNTING: &str = "\
table inet lab {
    counter arrived { }
    counter left { }
    chain arriving { type filter hook prerouting priority -450; FAMILY saddr ADDRESS counter name arrived; }
    chain leaving { type filter hook postrouting priority 450; FAMILY daddr ADDRESS counter name left; }
}
";

/// Packets of an address, counted by the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packets {
    /// From it, before anything could drop them.
    pub arrived: u64,
    /// To it, after everything that could drop them.
    pub left: u64,
}

/// What `nft monitor` tells of elements, as it comes; ended when dropped.
#[derive(Debug)]
pub struct Monitor {
    child: Child,
    heard: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Monitor {
    /// When an element that contains `text` was first heard of: `add element inet pillory ban4 { 192.0.2.7`.
    pub fn heard(&self, text: &str) -> Option<Instant> {
        let heard = self.heard.lock().expect("the reader does not panic");
        heard.iter().find(|(_, line)| line.contains(text)).map(|(when, _)| *when)
    }

    /// Every line heard so far.
    pub fn lines(&self) -> Vec<String> {
        self.heard.lock().expect("the reader does not panic").iter().map(|(_, line)| line.clone()).collect()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// Which addresses.
    pub prefix: Prefix,
    /// Seconds that the kernel will still keep it; `None` if it stays.
    pub expires_s: Option<u64>,
}

fn elements(table: Option<&Value>, set: &str) -> Vec<Element> {
    let objects = table.and_then(|table| table["nftables"].as_array()).into_iter().flatten();
    objects
        .filter(|object| object["set"]["name"] == set)
        .flat_map(|object| object["set"]["elem"].as_array().into_iter().flatten())
        .flat_map(|element| {
            let (value, expires_s) = match element.get("elem") {
                Some(inner) => (&inner["val"], inner["expires"].as_u64()),
                None => (element, None),
            };
            // A masked element stands for its whole /64.
            let masked = (set == "ban6n" || set.starts_with("ban6n_")).then_some(64);
            prefixes(value, masked).into_iter().map(move |prefix| Element { prefix, expires_s })
        })
        .collect()
}

fn prefixes(value: &Value, masked: Option<u8>) -> Vec<Prefix> {
    if let Some(text) = value.as_str() {
        let addr: IpAddr = text.parse().expect("nft prints addresses");
        let len = masked.unwrap_or(if addr.is_ipv4() { 32 } else { 128 });
        return vec![Prefix::new(addr, len).expect("the length fits")];
    }
    if let Some(prefix) = value.get("prefix") {
        let addr =
            prefix["addr"].as_str().and_then(|addr| addr.parse().ok()).expect("a prefix has an address");
        let len = prefix["len"].as_u64().and_then(|len| u8::try_from(len).ok()).expect("and a length");
        return vec![Prefix::new(addr, len).expect("the length fits")];
    }
    if let Some([first, last]) = value["range"].as_array().map(Vec::as_slice) {
        return range(number(first), number(last), first.as_str().is_some_and(|text| text.contains(':')));
    }
    panic!("an element that the lab does not know: {value}")
}

fn number(value: &Value) -> u128 {
    match value.as_str().and_then(|text| text.parse().ok()) {
        Some(IpAddr::V4(addr)) => u128::from(u32::from(addr)),
        Some(IpAddr::V6(addr)) => u128::from(addr),
        None => panic!("{value} is no address"),
    }
}

/// Cuts a range into prefixes; nft prints neighbours in an interval set as one range.
fn range(mut first: u128, last: u128, is_v6: bool) -> Vec<Prefix> {
    let width: u32 = if is_v6 { 128 } else { 32 };
    let mut found = Vec::new();
    while first <= last {
        let mut bits = first.trailing_zeros().min(width);
        while bits > 0 && (bits == 128 || first + ((1 << bits) - 1) > last) {
            bits -= 1;
        }
        let len = u8::try_from(width - bits).expect("at most 128");
        let addr = if is_v6 {
            IpAddr::V6(Ipv6Addr::from(first))
        } else {
            IpAddr::V4(Ipv4Addr::from(u32::try_from(first).expect("an IPv4 address")))
        };
        found.push(Prefix::new(addr, len).expect("the length fits"));
        match first.checked_add(1 << bits) {
            Some(next) => first = next,
            None => break,
        }
    }
    found
}
