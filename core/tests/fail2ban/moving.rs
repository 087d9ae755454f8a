//! Moving house: what is written for the stock jails is valid, and decides as fail2ban does where it stands in for it.

use std::collections::BTreeMap;

use pillory_core::config::fail2ban::{self, ReadOptions};
use pillory_core::config::{Config, raw, resolve};
use pillory_core::event::{Line, Outcome};
use pillory_core::filter::{Clock, Filter, Verdict};
use pillory_core::time::Timestamp;

use crate::corpus::{corpus, records, zone};
use crate::peer;

fn config(toml: &str) -> Config {
    let read = raw::parse("pillory.toml", toml).and_then(|raw| resolve::resolve(&raw));
    read.map_err(|problems| format!("{problems:?}\n{toml}")).unwrap()
}

/// Stock jails that no configuration of ours can say, and why.
const LEFT_OUT: [(&str, &str); 1] =
    [("recidive", "the last step of the ladder of all other jails does the same")];

/// On how many samples a jail of ours decides otherwise, and why.
const DIFFERENCES: [(&str, usize, &str); 4] = [
    (
        "dovecot",
        6,
        "the built-in filter: it knows more endings of a login, and takes no refusal of plain text for a guess",
    ),
    ("mysqld-auth", 1, "a name is no address for our own filters"),
    (
        "pam-generic",
        5,
        "the built-in filter: names are no addresses, and a line with two hosts tells of neither",
    ),
    ("sshd", 33, "the built-in filter: it counts attempts, by lines that name their address, and no names"),
];

#[test]
fn every_stock_jail_becomes_a_valid_configuration_or_is_named() {
    let Some(tools) = peer::tools() else { return };
    let base = tools.join("etc/fail2ban");
    let every = ReadOptions { every_jail: true, ..ReadOptions::default() };
    let mut found = fail2ban::read(&peer::Disk, base.to_str().unwrap(), &every);
    found.examine(2026, &|_| true);
    let jails: Vec<String> = found.jails.iter().map(|jail| jail.name.to_string()).collect();
    let moved = found.moved();
    assert_eq!(moved, found.moved());
    let config = config(&moved.toml);
    let is_there = |name: &String| config.jails.iter().any(|jail| jail.name.as_str() == name);
    assert!(jails.len() > 80);
    let left_out: Vec<&str> = jails.iter().filter(|name| !is_there(name)).map(String::as_str).collect();
    assert_eq!(left_out, LEFT_OUT.map(|(name, _)| name), "{:#?}", moved.lost);
    eprintln!("{} of {} jails have an equivalent", jails.len() - left_out.len(), jails.len());
    let Some(root) = corpus() else { return };
    let mut filters: BTreeMap<String, Filter> = BTreeMap::new();
    for jail in config.jails.iter() {
        filters.insert(jail.name.to_string(), Filter::compile(&jail.filter).unwrap());
    }
    // Later than every sample: in what year they were written a line of this year would not say.
    let clock = Clock { now: Timestamp::from_secs(1_795_348_800), zone: zone() };
    let mut differences: BTreeMap<String, usize> = BTreeMap::new();
    let mut same = 0;
    for record in records(&root) {
        let is_plain =
            record["filter_options"].as_object().unwrap().is_empty() && record["via_journal"] != true;
        let Some(filter) = filters.get_mut(record["filter"].as_str().unwrap()) else { continue };
        if !is_plain || record["debian"].get("match").is_none() {
            continue;
        }
        let line = Line { bytes: record["line"].as_str().unwrap().as_bytes(), stamp: None };
        let ours = match filter.judge(&line, &clock) {
            Verdict::Event(event) if event.outcome != Outcome::Success => Some(event.addr.to_string()),
            _ => None,
        };
        let theirs = record["debian"]["results_first"][0]["fid"].as_str().map(str::to_owned);
        if ours == theirs {
            same += 1;
        } else {
            *differences.entry(record["filter"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        }
    }
    eprintln!("{same} samples decide alike, {} do not", differences.values().sum::<usize>());
    let listed = DIFFERENCES.iter().map(|(filter, count, _)| ((*filter).to_owned(), *count)).collect();
    assert_eq!(differences, listed, "a difference came, or went away: list it, or take it off the list");
    assert!(same > 400, "{same}");
}
