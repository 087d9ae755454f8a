//! Lists of offenders for other programs: one table of formats for the wall's feeds and for `pillory export`.
//!
//! A format is a row of [`FORMATS`] and a function that writes it. To add one, add both, and its tool to
//! `daemon/tests/feeds.rs`.

mod lists;
mod records;
#[cfg(test)]
mod tests;

use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

pub(crate) use records::{quoted, uuid, with_list};

/// A list.
#[derive(Debug)]
pub(crate) struct Feed<'a> {
    /// When it was made and so on; nothing for a list that is a command's answer.
    pub(crate) head: Option<Head<'a>>,
    /// Who is on it, in order of their prefixes, each prefix once.
    pub(crate) entries: &'a [Entry],
}

/// What a list says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    /// Its name.
    pub(crate) title: &'a str,
    /// Where people write who want to be left out.
    pub(crate) contact: &'a str,
    /// When it was made.
    pub(crate) made: Timestamp,
    /// Until when it is valid.
    pub(crate) valid_until: Timestamp,
}

/// One offender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Who.
    pub(crate) prefix: Prefix,
    /// When it was seen first.
    pub(crate) first: Timestamp,
    /// When it was seen last.
    pub(crate) last: Timestamp,
    /// How many attempts were seen; none of whom people or lists have banned.
    pub(crate) attempts: u64,
    /// At what, in words; or why it is listed.
    pub(crate) what: String,
}

/// A form that a list can have.
#[derive(Debug)]
pub(crate) struct Format {
    /// Its name for `export --format`.
    pub(crate) name: &'static str,
    /// Its file among the feeds.
    pub(crate) file: &'static str,
    /// What it is for, in a line.
    pub(crate) doc: &'static str,
    /// Writes it.
    pub(crate) write: fn(&Feed<'_>) -> String,
}

/// All of them.
pub(crate) const FORMATS: &[Format] = &[
    Format {
        name: "plain",
        file: "offenders.txt",
        doc: "one address or network a line",
        write: lists::plain,
    },
    Format {
        name: "netset",
        file: "offenders.netset",
        doc: "a netset as FireHOL keeps them; IPv4 only",
        write: lists::netset,
    },
    Format {
        name: "csv",
        file: "offenders.csv",
        doc: "a table whose first line names its columns",
        write: records::csv,
    },
    Format { name: "json", file: "offenders.json", doc: "JSON, all in one value", write: records::json },
    Format {
        name: "jsonl",
        file: "offenders.jsonl",
        doc: "one JSON object a line; in a feed of the wall the first one tells of the list",
        write: records::jsonl,
    },
    Format {
        name: "ipset",
        file: "offenders.ipset",
        doc: "for `ipset restore`: fills the sets blocklist4 and blocklist6 anew",
        write: lists::ipset,
    },
    Format {
        name: "nft",
        file: "offenders.nft",
        doc: "for `nft -f`: fills the sets blocklist4 and blocklist6 of a table `inet blocklist` anew",
        write: lists::nft,
    },
    Format {
        name: "routes",
        file: "offenders.routes",
        doc: "for `ip -batch`: adds blackhole routes; those of an earlier list stay until you delete them",
        write: lists::routes,
    },
    Format {
        name: "nginx",
        file: "offenders.nginx",
        doc: "for nginx: include it in http, server or location",
        write: lists::nginx,
    },
    Format {
        name: "apache",
        file: "offenders.apache",
        doc: "for Apache: include it in a Directory or Location",
        write: lists::apache,
    },
    Format {
        name: "haproxy",
        file: "offenders.haproxy",
        doc: "for HAProxy: http-request deny if { src -f FILE }",
        write: lists::plain,
    },
    Format {
        name: "mikrotik",
        file: "offenders.rsc",
        doc: "for RouterOS: /import FILE fills the address list blocklist",
        write: lists::mikrotik,
    },
    Format {
        name: "rbldnsd",
        file: "offenders.ip4trie",
        doc: "for rbldnsd: a dataset of type ip4trie; IPv4 only",
        write: lists::rbldnsd,
    },
    Format {
        name: "rpz",
        file: "offenders.rpz",
        doc: "for BIND and others: a response policy zone that drops their questions",
        write: lists::rpz,
    },
    Format {
        name: "stix",
        file: "offenders.stix.json",
        doc: "a STIX 2.1 bundle of indicators",
        write: records::stix,
    },
];

/// The format of that name.
pub(crate) fn named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

impl Feed<'_> {
    /// Lines that tell of the list, each behind what begins a comment.
    fn comments(&self, mark: &str) -> String {
        let Some(Head { title, contact, made, valid_until }) = self.head else { return String::new() };
        let (title, contact) = (line(title), line(contact));
        format!(
            "{mark} {title}\n{mark} Made {made}, valid until {valid_until}\n{mark} Contact: {contact}\n\
             {mark} What was logged, not who did it; single addresses may change hands.\n"
        )
    }

    /// Those of one family, but for what lies within another one: some readers take no overlaps.
    fn outermost(&self, is_ipv4: bool) -> Vec<Prefix> {
        let mut kept: Vec<Prefix> = Vec::new();
        for prefix in
            self.entries.iter().map(|entry| entry.prefix).filter(|prefix| prefix.is_ipv4() == is_ipv4)
        {
            if !kept.last().is_some_and(|last| last.contains(prefix)) {
                kept.push(prefix);
            }
        }
        kept
    }
}

/// Text that cannot end its line.
fn line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}
