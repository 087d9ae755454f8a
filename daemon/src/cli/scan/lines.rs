//! Lines of a file read in a row: only those are looked at one by one that a filter may match.

use pillory_core::event::Line;
use pillory_core::filter::{Clock, Needles, Verdict};

use super::reading::{Read, Reader, Reading};

/// Finds the lines that filters may match, as long as these are few: each costs more to find than to pass by.
pub(super) struct Sieve {
    /// Nothing if they may match any line.
    needles: Option<Needles>,
    /// So many pieces are read without it.
    rests: u32,
}

#[cfg(test)]
impl Sieve {
    /// True if the next piece is searched for lines.
    pub(super) fn is_in_use(&self) -> bool {
        self.needles.is_some() && self.rests == 0
    }
}

/// A piece of which more than one of so many lines is found is better read line by line ..
const FEW: u64 = 3;

/// .. and so are this many after it.
const REST: u32 = 64;

impl Reading {
    /// A sieve for the filters of these jails.
    pub(super) fn sieve(&self, jails: &[usize]) -> Sieve {
        let filters = jails.iter().filter_map(|at| Some(&self.jails.get(*at)?.filter));
        Sieve { needles: Needles::of(filters), rests: 0 }
    }

    /// Reads lines for these jails, with the newlines between them; returns how many there are.
    ///
    /// `sieve`: that of these jails. `found`: takes what they make of them, in order.
    pub(super) fn lines(
        &mut self,
        (jails, sieve): (&[usize], &mut Sieve),
        lines: &[u8],
        clock: &Clock,
        mut found: impl FnMut(Read),
    ) -> u64 {
        let ends = memchr::memchr_iter(b'\n', lines).count() as u64;
        let count = ends + u64::from(lines.last().is_some_and(|last| *last != b'\n'));
        let mut looked_at = 0;
        let mut read = |bytes| {
            looked_at += 1;
            self.line(jails, &Line { bytes, stamp: None }, clock, &mut found);
        };
        match sieve.needles.as_ref().filter(|_| sieve.rests == 0) {
            Some(needles) => {
                needles.lines(lines).for_each(&mut read);
                sieve.rests = if looked_at > count / FEW { REST } else { 0 };
            }
            None => {
                each_line(lines).for_each(&mut read);
                sieve.rests = sieve.rests.saturating_sub(1);
            }
        }
        count
    }

    /// Reads a line for these jails.
    pub(super) fn line(
        &mut self,
        jails: &[usize],
        line: &Line<'_>,
        clock: &Clock,
        mut found: impl FnMut(Read),
    ) {
        let date = self.heads.date(line);
        let filters = self.jails.iter_mut().map(|reader| &mut reader.filter);
        let ruled_out = self.heads.ruled_out(line, date.as_ref(), filters);
        for at in jails {
            if *at < 64 && ruled_out >> at & 1 == 1 {
                continue;
            }
            let Some(Reader { jail, filter, .. }) = self.jails.get_mut(*at) else { continue };
            if let Verdict::Event(event) = filter.judge_dated(line, date.as_ref(), clock) {
                found(Read { jail: *jail, event, is_login_record: false });
            }
        }
    }
}

/// The lines; what follows the last newline is one if it is not empty.
fn each_line(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', lines).unwrap_or(lines.len());
        let line = &lines[..end];
        let is_over = lines.is_empty();
        lines = lines.get(end + 1..).unwrap_or_default();
        (!is_over).then_some(line)
    })
}
