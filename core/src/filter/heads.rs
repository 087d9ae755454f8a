//! Which filters a line cannot match, by how it begins: a log of many programs is read for many filters, and `host cron[`
//! rules out nearly all of them.
//!
//! A filter's automaton that has died behind these bytes dies there in every line that begins with them, so the answer
//! is kept. Nothing is guessed: who is not ruled out judges the line.

use super::Filter;
use super::datepattern::{Finder, Found};
use super::judge::trim_line_end;
use crate::event::Line;
use crate::hash::FastMap;

/// Beginnings of lines and whom they rule out.
#[derive(Debug, Default)]
pub struct Heads {
    known: FastMap<Box<[u8]>, u64>,
    /// The last line's beginning and whom it rules out: most lines begin like the one before.
    last: (Vec<u8>, u64),
    dates: Finder,
}

/// At most so many beginnings are kept. A log has one for each program, or one for each client, which are no use.
const MAX_HEADS: usize = 64;

/// A longer one is none of host and program.
const MAX_HEAD_BYTES: usize = 80;

impl Heads {
    /// What [`Filter::find_date`] finds in the next line of a log.
    pub fn date(&mut self, line: &Line<'_>) -> Option<Found> {
        match line.stamp {
            Some(_) => None,
            None => self.dates.find(trim_line_end(line.bytes)),
        }
    }

    /// The filters that cannot match `line`, as bits by their place among `filters`, of which the first 64 are looked
    /// at; these must be the same each time.
    ///
    /// `date`: what [`Filter::find_date`] found in the line.
    pub fn ruled_out<'f>(
        &mut self,
        line: &Line<'_>,
        date: Option<&Found>,
        filters: impl Iterator<Item = &'f mut Filter>,
    ) -> u64 {
        let Some(text) = text(line.bytes, date) else { return 0 };
        // A beginning ends with the first sign of its kind, so no longer one can be meant.
        let (last, bits) = &self.last;
        if !last.is_empty() && text.starts_with(last) {
            return *bits;
        }
        let Some(head) = head(text) else { return 0 };
        if let Some(known) = self.known.get(head) {
            self.last.0.clear();
            self.last.0.extend_from_slice(head);
            self.last.1 = *known;
            return *known;
        }
        if self.known.len() >= MAX_HEADS {
            return 0;
        }
        let bits = filters.take(64).enumerate().map(|(at, filter)| u64::from(filter.dies_behind(head)) << at);
        let bits = bits.fold(0, |all, bit| all | bit);
        self.known.insert(head.into(), bits);
        bits
    }
}

/// The line as filters will see it; nothing if its date is cut out of its midst.
fn text<'a>(bytes: &'a [u8], date: Option<&Found>) -> Option<&'a [u8]> {
    match date {
        Some(found) if found.range.start > 0 => None,
        Some(found) => bytes.get(found.range.end..),
        None => Some(bytes),
    }
}

/// Its beginning up to the program's name.
fn head(text: &[u8]) -> Option<&[u8]> {
    let end = memchr::memchr2(b'[', b':', &text[..text.len().min(MAX_HEAD_BYTES)])?;
    // A line that is unfolded keeps its header, in which one of the signs stands; but not in RFC 5424's.
    let is_5424 = text.iter().find(|b| **b != b' ') == Some(&b'<');
    text.get(..=end).filter(|_| !is_5424)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::{Clock, Verdict, catalog};
    use crate::time::Timestamp;

    /// Whom the heads rule out of each line, and who matches it when asked.
    fn both(lines: &[&str]) -> Vec<(u64, u64)> {
        let all = catalog::names().map(|name| Filter::compile(&catalog::builtin(name).unwrap()).unwrap());
        let mut filters: Vec<Filter> = all.collect();
        let mut heads = Heads::default();
        let clock = Clock { now: Timestamp::from_secs(1_800_000_000), zone: jiff::tz::TimeZone::UTC };
        let look = |text: &&str| {
            let line = Line { bytes: text.as_bytes(), stamp: None };
            let date = Filter::find_date(&line);
            let out = heads.ruled_out(&line, date.as_ref(), filters.iter_mut());
            let matching = filters.iter_mut().map(|filter| filter.judge(&line, &clock) != Verdict::Miss);
            (out, matching.enumerate().fold(0, |all, (at, hit)| all | u64::from(hit) << at))
        };
        lines.iter().map(look).collect()
    }

    #[test]
    fn a_program_that_no_filter_knows_rules_out_all() {
        let all = (1 << catalog::names().count()) - 1;
        let lines = ["Nov 22 07:57:11 vm CRON[7]: x", "2026-11-22T07:57:11+00:00 vm sudo:  bob : TTY=1"];
        for (out, _) in both(&lines) {
            assert_eq!(out, all & !(1 << place("pam-generic")), "{out:b}");
        }
    }

    fn place(name: &str) -> usize {
        catalog::names().position(|known| known == name).unwrap()
    }

    #[test]
    fn nobody_who_matches_is_ruled_out() {
        let mut matched = 0;
        for name in catalog::names() {
            let path = format!("{}/samples/{name}.log", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for ((out, matching), line) in both(&lines).into_iter().zip(&lines) {
                assert_eq!(out & matching, 0, "{name}: {line}");
                matched |= matching;
            }
        }
        assert_eq!(matched, (1 << catalog::names().count()) - 1);
        let folded = "Nov 22 07:57:11 vm sshd[7]: message repeated 2 times: [ Failed password for root from 192.0.2.7 port 4 ssh2]";
        let [(out, matching)] = both(&[folded])[..] else { panic!("one line") };
        assert_eq!((out & matching, matching), (0, 1 << place("sshd")));
    }

    #[test]
    fn beginnings_without_number_are_not_kept() {
        let lines: Vec<String> =
            (0..1000).map(|number| format!("Nov 22 07:57:11 vm p{number}[7]: x")).collect();
        let mut heads = Heads::default();
        for line in &lines {
            let line = Line { bytes: line.as_bytes(), stamp: None };
            heads.ruled_out(&line, Filter::find_date(&line).as_ref(), std::iter::empty());
        }
        assert_eq!(heads.known.len(), MAX_HEADS);
    }
}
