//! Address lists as people and programs keep them: plain addresses and networks with comments and notes, routing
//! tables, ipset and nft dumps. A pure parser: text in, entries and unreadable lines out.
//!
//! Rows of a routing table count only if they shut somebody out: through 127.0.0.1 or lo, reject, blackhole.
//! The default route and everything else that a table holds is passed over and named.

mod date;
mod dump;
mod route;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::net::{Prefix, PrefixError, canonical};

pub use date::NoteDate;

/// One address or network of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line it stands on, from 1.
    pub line: usize,
    /// Whom it names; host bits cleared.
    pub prefix: Prefix,
    /// The prefix as written, where host bits had to be cleared: `91.200.12.155/24`.
    pub normalised: Option<String>,
    /// What is noted beside it, without the date; may be empty.
    pub note: String,
    /// The date in the note.
    pub date: Option<NoteDate>,
    /// The note as it stands there, its date included; cut to [`MAX_NOTE_CHARS`].
    pub whole_note: String,
}

/// A line that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// Its number, from 1.
    pub line: usize,
    /// Its text, cut to [`MAX_SHOWN_CHARS`].
    pub text: String,
    /// Why.
    pub why: Why,
}

/// Why a line was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It cannot be read: no format that is known.
    Unreadable,
    /// It begins like an address and is none.
    BadPrefix(PrefixError),
    /// A route that shuts nobody out.
    OtherRoute,
    /// Every address there is.
    Everything,
    /// A hole in a set, a rule that accepts.
    Exception,
}

impl Why {
    /// True if the line was meant as an entry and could not be read; false if it was understood and passed over.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Why::Unreadable | Why::BadPrefix(_))
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Unreadable => f.write_str("no address or network"),
            Why::BadPrefix(error) => error.fmt(f),
            Why::OtherRoute => f.write_str("a route that shuts nobody out"),
            Why::Everything => f.write_str("every address there is; never taken"),
            Why::Exception => f.write_str("an exception, not a ban"),
        }
    }
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressList {
    /// Its entries in order.
    pub entries: Vec<Entry>,
    /// Lines that were not taken, in order.
    pub passed: Vec<Passed>,
}

/// So much of a line that was not taken is shown.
pub const MAX_SHOWN_CHARS: usize = 80;

/// Notes are cut here.
pub const MAX_NOTE_CHARS: usize = 200;

/// Reads a list. Never fails: what cannot be read is in [`AddressList::passed`].
pub fn parse(text: &str) -> AddressList {
    let mut reader = Reader::default();
    for (at, line) in text.lines().enumerate() {
        reader.line(at + 1, line);
    }
    reader.list
}

#[derive(Default)]
struct Reader {
    list: AddressList,
    context: dump::Context,
}

impl Reader {
    fn line(&mut self, number: usize, whole: &str) {
        let line = whole.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with(['#', ';']) || is_heading(line) {
            return;
        }
        if dump::line(self, number, line) || route::line(self, number, line) {
            return;
        }
        let word_end = line.find(|c: char| c.is_whitespace() || is_dash(c) && c != '-').unwrap_or(line.len());
        let (word, note) = line.split_at(word_end);
        // A semicolon, comma or number sign may touch the address.
        let cut = word.find(['#', ';', ',']).unwrap_or(word.len());
        let (word, rest) = word.split_at(cut);
        let rest = format!("{rest}{note}");
        let (more, note) = behind_commas(&rest);
        for word in std::iter::once(word).chain(more) {
            self.take(number, line, word, note);
        }
    }

    /// Takes `word` as an address, a network, or a range of addresses.
    fn take(&mut self, number: usize, line: &str, word: &str, note: &str) {
        let word = word.trim_matches(|c: char| matches!(c, '"' | '\'' | '.' | ','));
        // Only IPv6 addresses begin or end in colons, doubled ones.
        let word = if word.ends_with("::") { word } else { word.trim_end_matches(':') };
        match prefixes(word) {
            Ok(found) => {
                for (prefix, normalised) in found {
                    if prefix.prefix_len() == 0 {
                        self.pass(number, line, Why::Everything);
                        continue;
                    }
                    let cut = |note: &str| note.chars().take(MAX_NOTE_CHARS).collect();
                    let whole_note = cut(clean(note));
                    let (note, date) = date::split(clean(note));
                    let normalised = normalised.then(|| word.to_owned());
                    let note = cut(note);
                    self.list.entries.push(Entry {
                        line: number,
                        prefix,
                        normalised,
                        note,
                        date,
                        whole_note,
                    });
                }
            }
            Err(error) if looks_like_address(word) => self.pass(number, line, Why::BadPrefix(error)),
            Err(_) => self.pass(number, line, Why::Unreadable),
        }
    }

    fn pass(&mut self, number: usize, line: &str, why: Why) {
        let text = line.chars().take(MAX_SHOWN_CHARS).collect();
        self.list.passed.push(Passed { line: number, text, why });
    }
}

/// The addresses and networks that follow the first one, each behind a comma, and what is left as the note.
fn behind_commas(mut rest: &str) -> (Vec<&str>, &str) {
    let mut more = Vec::new();
    while let Some(list) = rest.trim_start().strip_prefix(',') {
        let list = list.trim_start();
        let is_end = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '#') || is_dash(c) && c != '-';
        let (word, after) = list.split_at(list.find(is_end).unwrap_or(list.len()));
        // A number behind a comma is no address of this list but a column of a table.
        if !looks_like_address(word) {
            break;
        }
        more.push(word);
        rest = after;
    }
    (more, rest)
}

/// Headings of `netstat -rn`, `route -n` and of our own CSV.
fn is_heading(line: &str) -> bool {
    let mut words = line.split_whitespace();
    match words.next() {
        Some("Kernel") => line.contains("rout"),
        Some("Destination") => line.contains("Gateway") || line.contains("Next Hop"),
        Some("Routing" | "Internet:" | "Internet6:") => true,
        _ => line.starts_with("prefix,"),
    }
}

fn is_dash(c: char) -> bool {
    // The replacement character stands where a dash of another encoding stood.
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fffd}')
}

/// A note without what separates it from the address.
fn clean(note: &str) -> &str {
    note.trim_matches(|c: char| {
        c.is_whitespace() || is_dash(c) || matches!(c, '#' | ';' | ':' | ',' | '/' | '|')
    })
}

fn looks_like_address(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    digits > 0 && (word.matches('.').count() >= 3 || word.matches(':').count() >= 2)
}

/// The prefixes that a word names, and whether host bits were cleared: one, or those of a range.
fn prefixes(word: &str) -> Result<Vec<(Prefix, bool)>, PrefixError> {
    if let Some((first, last)) = word.split_once('-')
        && let (Ok(first), Ok(last)) = (first.trim().parse::<IpAddr>(), last.trim().parse::<IpAddr>())
    {
        return Ok(range(first, last).into_iter().map(|prefix| (prefix, false)).collect());
    }
    let prefix: Prefix = word.parse()?;
    let address = word.split('/').next().and_then(|text| text.parse::<IpAddr>().ok());
    Ok(vec![(prefix, address.is_some_and(|address| canonical(address) != prefix.addr()))])
}

/// The fewest prefixes that cover the addresses from `first` to `last`; none if they are of two families.
fn range(first: IpAddr, last: IpAddr) -> Vec<Prefix> {
    let number = |addr: IpAddr| match canonical(addr) {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32u8),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((mut at, width), (end, other)) = (number(first), number(last));
    let mut found = Vec::new();
    if width != other {
        return found;
    }
    while at <= end {
        let room = end - at;
        let by_size = (room + 1).checked_ilog2().unwrap_or(127);
        let bits = at.trailing_zeros().min(by_size).min(u32::from(width));
        let addr = match width {
            32 => IpAddr::V4(Ipv4Addr::from_bits(at as u32)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(at)),
        };
        found.extend(Prefix::new(addr, width - bits as u8).ok());
        match 1u128.checked_shl(bits).and_then(|size| at.checked_add(size)) {
            Some(next) => at = next,
            None => break,
        }
    }
    found
}
