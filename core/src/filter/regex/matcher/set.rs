//! A set of characters for fast runs over bytes.

use std::sync::Arc;

use regex_syntax::hir::ClassUnicode;

use crate::filter::regex::class;
use crate::filter::regex::text;

/// A set of characters.
#[derive(Debug, Clone)]
pub(super) enum Set {
    /// Every character.
    All,
    /// Every one but this, which is ASCII.
    AllBut(u8),
    /// These ASCII characters, and those above.
    Some {
        /// By the first byte of a character. Bytes above ASCII stand here if all characters above are members.
        low: Arc<[bool; 256]>,
        high: High,
    },
}

/// The members above ASCII.
#[derive(Debug, Clone)]
pub(super) enum High {
    None,
    All,
    Some(Arc<ClassUnicode>),
}

impl Set {
    pub(super) fn new(members: &ClassUnicode) -> Set {
        let mut low = [false; 256];
        for byte in 0..0x80u8 {
            low[usize::from(byte)] = class::contains(members, char::from(byte));
        }
        let mut above = members.clone();
        let non_ascii = regex_syntax::hir::ClassUnicodeRange::new('\u{80}', char::MAX);
        above.intersect(&ClassUnicode::new([non_ascii]));
        let high = match above.ranges() {
            [] => High::None,
            [all] if *all == non_ascii => High::All,
            _ => High::Some(Arc::new(above)),
        };
        if matches!(high, High::All) {
            low[0x80..].fill(true);
            let mut others = (0..0x80u8).filter(|b| !low[usize::from(*b)]);
            match (others.next(), others.next()) {
                (None, _) => return Set::All,
                (Some(only), None) => return Set::AllBut(only),
                _ => {}
            }
        }
        Set::Some { low: Arc::new(low), high }
    }

    /// The bytes that a member can begin with.
    pub(super) fn first_bytes(&self) -> [bool; 256] {
        let mut first = [true; 256];
        match self {
            Set::All => {}
            Set::AllBut(byte) => first[usize::from(*byte)] = false,
            Set::Some { low, high } => {
                first = **low;
                first[0x80..].fill(!matches!(high, High::None));
            }
        }
        first
    }

    /// How many bytes the character at a place takes; nothing if it is no member.
    #[inline]
    pub(super) fn one(&self, line: &[u8], at: usize) -> Option<usize> {
        let byte = *line.get(at)?;
        if byte >= 0x80 {
            return self.one_high(line, at);
        }
        let is_member = match self {
            Set::All => true,
            Set::AllBut(other) => byte != *other,
            Set::Some { low, .. } => low[usize::from(byte)],
        };
        is_member.then_some(1)
    }

    #[cold]
    fn one_high(&self, line: &[u8], at: usize) -> Option<usize> {
        let (c, length) = text::char_at(line, at)?;
        let is_member = match self {
            Set::Some { high: High::None, .. } => false,
            Set::Some { high: High::Some(members), .. } => class::contains(members, c),
            _ => true,
        };
        is_member.then_some(length)
    }

    /// Where a run of members that begins at `at` ends.
    pub(super) fn run(&self, line: &[u8], mut at: usize) -> usize {
        loop {
            let rest = &line[at..];
            match self {
                Set::All => return line.len(),
                Set::AllBut(byte) => {
                    return memchr::memchr(*byte, rest).map_or(line.len(), |offset| at + offset);
                }
                Set::Some { low, high } => {
                    let end = rest.iter().position(|b| !low[usize::from(*b)]);
                    let Some(end) = end.map(|offset| at + offset) else { return line.len() };
                    if line[end] < 0x80 || !matches!(high, High::Some(_)) {
                        return end;
                    }
                    match self.one(line, end) {
                        Some(length) => at = end + length,
                        None => return end,
                    }
                }
            }
        }
    }

    /// Where a run of at most `max` members ends, if it and what ends it are ASCII; nothing if that is not known.
    #[inline]
    pub(super) fn run_ascii(&self, line: &[u8], at: usize, max: usize) -> Option<usize> {
        let Set::Some { low, high } = self else { return None };
        if matches!(high, High::All) {
            return None;
        }
        let most = at.saturating_add(max).min(line.len());
        let taken = line.get(at..most)?.iter().take_while(|byte| low[usize::from(**byte)]).count();
        let end = at + taken;
        (end == most || line[end] < 0x80).then_some(end)
    }

    /// What it costs to run over these bytes: ASCII is quick, characters above are looked up one by one.
    pub(super) fn steps(&self, run: &[u8]) -> usize {
        let looked_up = match self {
            Set::Some { high: High::Some(_), .. } => run.iter().filter(|b| **b >= 0x80).count(),
            _ => 0,
        };
        run.len() / 16 + looked_up
    }

    /// True if no member is above ASCII, so that bytes are characters.
    pub(super) fn is_ascii(&self) -> bool {
        matches!(self, Set::Some { high: High::None, .. })
    }
}
