//! What stands at a place of the text.

use super::super::set::Set;
use super::Walk;
use crate::filter::regex::tree::{Anchor, Case};
use crate::filter::regex::{class, text};

impl<const NOTED: bool> Walk<'_, NOTED> {
    /// Where the shortest and the longest run of a set end.
    pub(super) fn extent(&self, set: &Set, min: usize, max: usize) -> Option<(usize, usize)> {
        let (line, mut first) = (self.text, self.at);
        if max == usize::MAX && min <= 1 {
            let last = set.run(line, first);
            if min == 1 {
                first = (last > first).then(|| text::next(line, first))?;
            }
            return Some((first, last));
        }
        for _ in 0..min {
            first += set.one(line, first)?;
        }
        if max == usize::MAX {
            return Some((first, set.run(line, first)));
        }
        let mut last = first;
        if set.is_ascii() {
            let most = last.saturating_add(max - min).min(line.len());
            return Some((first, set.run(&line[..most], last)));
        }
        for _ in min..max {
            let Some(length) = set.one(line, last) else { break };
            last += length;
        }
        Some((first, last))
    }

    pub(super) fn stands(&self, anchor: Anchor) -> bool {
        let (line, at) = (self.text, self.at);
        match anchor {
            Anchor::TextStart => at == 0,
            Anchor::TextEnd => at == line.len(),
            Anchor::LastLineEnd => at == line.len() || (at + 1 == line.len() && line[at] == b'\n'),
            Anchor::LineStart => at == 0 || line[at - 1] == b'\n',
            Anchor::LineEnd => line.get(at).is_none_or(|b| *b == b'\n'),
            Anchor::WordBoundary { negated, ascii } => {
                let word =
                    |found: Option<(char, usize)>| found.is_some_and(|(c, _)| class::is_word(c, ascii));
                // Python finds neither a boundary nor its opposite in an empty text.
                !line.is_empty()
                    && (word(text::char_before(line, at)) != word(text::char_at(line, at))) != negated
            }
        }
    }

    /// Where the text of a group ends if it stands here once more.
    pub(super) fn repeated(&self, slot: usize, case: Case) -> Option<usize> {
        let (start, end) = (*self.slots.get(slot)?, *self.slots.get(slot + 1)?);
        let wanted = self.text.get(start..end)?;
        if case == Case::Exact && wanted.is_ascii() {
            return self.text[self.at..].starts_with(wanted).then_some(self.at + wanted.len());
        }
        let (mut at, mut from) = (self.at, start);
        while from < end {
            let (one, taken) = text::char_at(self.text, from)?;
            let (other, length) = text::char_at(self.text, at)?;
            let same = one == other || fold(case, one, other);
            if !same {
                return None;
            }
            (from, at) = (from + taken, at + length);
        }
        Some(at)
    }

    /// The last place between `first` and `last` where `word` stands.
    pub(super) fn last_before(&self, word: &[u8], first: usize, last: usize) -> Option<usize> {
        let mut window = self.text.get(first..(last + 1).min(self.text.len()))?;
        loop {
            let offset = memchr::memrchr(*word.first()?, window)?;
            // Nearly always the second byte tells: that is cheaper than to call for a comparison.
            let next = (self.text.get(first + offset + 1), word.get(1));
            if next.1.is_none_or(|wanted| next.0 == Some(wanted))
                && self.text[first + offset..].starts_with(word)
            {
                return Some(first + offset);
            }
            window = &window[..offset];
        }
    }

    /// The next place between `first` and `last` where `word` stands.
    pub(super) fn next_before(&self, word: &[u8], first: usize, last: usize) -> Option<usize> {
        let window = self.text.get(first..last.saturating_add(word.len()).min(self.text.len()))?;
        find(window, word).map(|offset| first + offset)
    }
}

/// Where a word stands first. Texts are short, and so are words: to prepare a search takes longer than this one.
pub(super) fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    memchr::memchr_iter(*word.first()?, text).find(|at| text[*at..].starts_with(word))
}

/// True if the two are the same letter in two cases.
fn fold(case: Case, one: char, other: char) -> bool {
    match case {
        Case::Exact => false,
        Case::Ascii => one.eq_ignore_ascii_case(&other),
        Case::Unicode => one.to_lowercase().eq(other.to_lowercase()),
    }
}
