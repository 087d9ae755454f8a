//! What stands in a log.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use pillory_core::net::Prefix;
use serde_json::Value;

use super::{Drill, FROM, It, OTHER, Outcome, banned, start, yes};
use crate::lab::{Host, LOG, SOON, failed_line, failed_lines, wait_until};
use crate::meddling::{write_garbage, write_in_another_zone, write_long_line, write_utf_16};

pub(super) const DRILLS: &[Drill] = &[
    ("line of 100 MiB", long_line),
    ("garbage and NULs", |it| passed_over(it, write_garbage)),
    ("UTF-16 of both byte orders", |it| passed_over(it, |host| write_utf_16(host, OTHER))),
    ("NULs, bad UTF-8 and escapes in a user's name", hostile_names),
    ("stamps seven hours behind", |it| other_zone(it, -7)),
    ("stamps five hours ahead", |it| other_zone(it, 5)),
    ("an attacker in the host's own /64", own_network),
    ("hostile.jsonl: connections of sshd, one failure bans", hostile_lines),
];

fn long_line(it: &mut It) -> Outcome {
    start(it)?;
    // Warm first: what reading whole batches of normal lines needs is no growth.
    let normal = "Jan  2 03:04:05 server cron[7]: nothing to see here, move along, move along\n";
    it.host().append(LOG, normal.repeat(10_000));
    it.host().append(LOG, failed_lines(5000, 3, "root", FROM));
    it.ban_after(FROM, 6 * SOON).ok_or("no ban to begin with")?;
    let before = it.peak_rss_mib();
    write_long_line(it.host());
    it.host().append(LOG, failed_lines(5100, 3, "root", OTHER));
    let next = it.ban_after(OTHER, 6 * SOON);
    let grown = it.peak_rss_mib() - before;
    Ok(format!("the next attacker {}; RSS {grown:+.1} MiB", super::within("banned", next, 6 * SOON)))
}

fn passed_over(it: &mut It, write: impl Fn(&Host)) -> Outcome {
    start(it)?;
    write(it.host());
    let next = it.attack(6000, FROM);
    let others = it.banned().len() - usize::from(next.is_some());
    Ok(format!("the next attacker {}; others banned: {others}", banned(next)))
}

fn hostile_names(it: &mut It) -> Outcome {
    start(it)?;
    for (pid, user) in [(5000, &b"ro\0ot"[..]), (5001, b"\xff\xfe\xc3("), (5002, b"\xed\xa0\x80 \x1b[2J")] {
        let line = failed_line(pid, "USER", FROM);
        let (head, tail) = line.split_once("USER").expect("it names the user");
        it.host().append(LOG, [head.as_bytes(), user, tail.as_bytes()].concat());
    }
    Ok(banned(it.ban_after(FROM, SOON)))
}

fn other_zone(it: &mut It, hours: i64) -> Outcome {
    start(it)?;
    write_in_another_zone(it.host(), hours, FROM);
    Ok(banned(it.ban_after(FROM, SOON)))
}

fn own_network(it: &mut It) -> Outcome {
    start(it)?;
    it.host().append(LOG, failed_lines(5000, 3, "root", "2001:db8::10"));
    wait_until(SOON, || (!it.banned().is_empty()).then_some(()));
    Ok(format!("banned: {}", it.banned().join(", ")))
}

/// The corpus is not part of the project; see `core/tests/hostile.rs`.
fn corpus() -> Result<String, String> {
    let folder = std::env::var_os("PILLORY_CORPUS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"), PathBuf::from);
    std::fs::read_to_string(folder.join("hostile.jsonl")).map_err(|error| format!("no corpus: {error}"))
}

/// One connection of the corpus.
#[derive(Debug)]
struct Connection {
    lines: String,
    attacker: Option<IpAddr>,
    victim: Option<IpAddr>,
}

/// The corpus was written at one time, and programs ask how old a line is.
fn stamped_now(line: &str) -> String {
    let now = jiff::Zoned::now().strftime("%b %e %H:%M:%S").to_string();
    match line.split_at_checked(now.len()) {
        Some((stamp, rest)) if stamp.starts_with("Nov 22 ") => now + rest,
        _ => line.to_owned(),
    }
}

impl Connection {
    /// The `number`th one, of which this is the first line. IPv4 addresses that are in many connections get another one
    /// in each; where nobody attacks it is the address itself that matters.
    fn begin(number: usize, line: &str, attacker: &str, victim: &str) -> Connection {
        let is_attacked = !attacker.is_empty() && line.contains(attacker);
        let addr = |net: u8, addr: &str| match addr.parse().ok()? {
            IpAddr::V4(_) if is_attacked => {
                Some(IpAddr::from([10, net, (number / 200) as u8, (number % 200 + 1) as u8]))
            }
            addr => Some(addr),
        };
        Connection { lines: String::new(), attacker: addr(77, attacker), victim: addr(78, victim) }
    }

    fn add(&mut self, line: &str, attacker: &str, victim: &str) {
        let mut text = stamped_now(line);
        for (from, to) in [(attacker, self.attacker), (victim, self.victim)] {
            if let Some(to) = to.filter(IpAddr::is_ipv4) {
                text = text.replace(from, &to.to_string());
            }
        }
        self.lines += text.trim_end_matches('\n');
        self.lines.push('\n');
    }
}

/// True if text does not decide it, if it is no whole line, or none of sshd, or if counting is a matter of policy.
fn is_left_out(record: &Value) -> bool {
    let is_cut = record["note"].as_str().is_some_and(|note| note.contains("waits for the newline"));
    is_cut
        || record["filter"] != "sshd"
        || record["counts"] == "optional"
        || record["undecidable_from_text"] == true
}

fn connections(corpus: &str) -> Vec<Connection> {
    let records: Vec<Value> = corpus.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let offends = |addr: &str| records.iter().any(|record| record["attacker_ip"] == addr);
    let mut known: BTreeMap<String, Connection> = BTreeMap::new();
    for record in records.iter().filter(|record| !is_left_out(record)) {
        let Some(line) = record["line"].as_str() else { continue };
        // Lines of one process and attacker are of one connection.
        let pid = line.split_once('[').and_then(|(_, rest)| rest.split(']').next()).unwrap_or_default();
        let attacker = record["attacker_ip"].as_str().unwrap_or_default();
        // Who is banned for another line is no victim of this one.
        let victim = record["victim_ip"].as_str().filter(|victim| !attacker.is_empty() || !offends(victim));
        let victim = victim.unwrap_or_default();
        let number = known.len();
        let connection = known.entry(format!("{pid} {attacker} {victim}"));
        connection
            .or_insert_with(|| Connection::begin(number, line, attacker, victim))
            .add(line, attacker, victim);
    }
    known.into_values().collect()
}

fn hostile_lines(it: &mut It) -> Outcome {
    it.settings().maxretry = 1;
    let connections = connections(&corpus()?);
    start(it)?;
    for connection in &connections {
        it.host().append(LOG, &connection.lines);
    }
    it.host().append(LOG, failed_lines(9000, 1, "root", FROM));
    let read = it.ban_after(FROM, 12 * SOON);
    let all: Vec<Prefix> = it.banned().iter().filter_map(|prefix| prefix.parse().ok()).collect();
    let is_in = |addr: IpAddr| all.iter().any(|prefix| prefix.contains_addr(addr));
    let attackers: Vec<bool> =
        connections.iter().filter_map(|connection| connection.attacker.map(is_in)).collect();
    let victims: BTreeSet<IpAddr> =
        connections.iter().filter_map(|connection| connection.victim).filter(|addr| is_in(*addr)).collect();
    let victims = victims.len();
    let missed = attackers.iter().filter(|is| !**is).count();
    Ok(format!(
        "{victims} victims banned, {missed} of {} attackers missed; read to the end: {}",
        attackers.len(),
        yes(read.is_some())
    ))
}
