//! A line as date templates see it: one byte a character.
//!
//! fail2ban searches in characters, and compares the places of dates in characters. A line of ASCII is its own view.
//! In any other, every character beyond ASCII stands as one byte of its kind (part of a word, blank, neither), so that
//! byte offsets are character offsets and the expressions need no Unicode. A digit beyond ASCII is part of a word
//! here, not a digit: no program stamps its lines with one.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use regex_syntax::hir::{Class, ClassUnicode, HirKind};

/// Stands for a letter or digit beyond ASCII: part of a word, but in no date.
const WORD: u8 = b'_';
/// Stands for a blank beyond ASCII: `\s` holds it.
const BLANK: u8 = 0x1f;
/// Stands for every other character beyond ASCII, and for bytes that are no UTF-8.
const OTHER: u8 = 0x7f;

/// The view of one line.
pub(super) struct Text<'a> {
    bytes: Cow<'a, [u8]>,
    wide: Option<Wide>,
}

/// What an ASCII view cannot tell.
struct Wide {
    chars: Vec<char>,
    /// Where each character starts in the line, and the line's end.
    starts: Vec<usize>,
}

impl<'a> Text<'a> {
    pub(super) fn new(line: &'a [u8]) -> Text<'a> {
        if line.is_ascii() {
            return Text { bytes: Cow::Borrowed(line), wide: None };
        }
        let mut bytes = Vec::with_capacity(line.len());
        let mut wide =
            Wide { chars: Vec::with_capacity(line.len()), starts: Vec::with_capacity(line.len() + 1) };
        let mut at = 0;
        for chunk in line.utf8_chunks() {
            for (offset, c) in chunk.valid().char_indices() {
                wide.push(c, at + offset);
                bytes.push(kind(c));
            }
            at += chunk.valid().len();
            if !chunk.invalid().is_empty() {
                wide.push(char::REPLACEMENT_CHARACTER, at);
                bytes.push(OTHER);
                at += chunk.invalid().len();
            }
        }
        wide.starts.push(line.len());
        Text { bytes: Cow::Owned(bytes), wide: Some(wide) }
    }

    /// What to search in.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The character at a place; nothing beyond the end.
    pub(super) fn char_at(&self, place: usize) -> Option<char> {
        match &self.wide {
            Some(wide) => wide.chars.get(place).copied(),
            None => self.bytes.get(place).copied().map(char::from),
        }
    }

    /// The bytes of the line that a range of the view stands for.
    pub(super) fn in_line(&self, range: &Range<usize>) -> Range<usize> {
        let Some(wide) = &self.wide else { return range.clone() };
        let end = wide.starts.last().copied().unwrap_or(0);
        let start_of = |place: usize| wide.starts.get(place).copied().unwrap_or(end);
        start_of(range.start)..start_of(range.end)
    }
}

impl Wide {
    fn push(&mut self, c: char, start: usize) {
        self.chars.push(c);
        self.starts.push(start);
    }
}

/// True for what Python calls alphanumeric.
pub(super) fn is_alphanumeric(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() } else { is_wide_word(c) }
}

fn kind(c: char) -> u8 {
    match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() => byte,
        _ if c.is_whitespace() => BLANK,
        _ if is_wide_word(c) => WORD,
        _ => OTHER,
    }
}

/// Python's word characters are letters and numbers; Unicode's recommendation and the standard library also count
/// marks.
fn is_wide_word(c: char) -> bool {
    static CLASS: OnceLock<Option<ClassUnicode>> = OnceLock::new();
    let class = CLASS.get_or_init(|| match regex_syntax::parse(r"[\p{L}\p{N}]").ok()?.into_kind() {
        HirKind::Class(Class::Unicode(class)) => Some(class),
        _ => None,
    });
    let Some(class) = class else { return c.is_alphanumeric() };
    let ranges = class.ranges();
    let after = ranges.partition_point(|range| range.start() <= c);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|range| c <= range.end())
}
