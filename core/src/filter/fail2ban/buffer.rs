//! The lines that an expression may span (`maxlines`), and which of them a match used up.

use std::ops::Range;
use std::sync::Arc;

/// So much the lines hold together: the oldest are forgotten beyond. What expressions that span lines may cost grows
/// with it; fail2ban has no such bound, and whoever can write lines this long can as well write more of them.
const MOST_BYTES: usize = 64 << 10;

/// One line, taken apart by its date.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Piece {
    /// The line as it is shown: its date included.
    pub(super) whole: Arc<[u8]>,
    /// What expressions see: what stands before plus what stands after the date.
    pub(super) text: Arc<[u8]>,
}

impl Piece {
    /// A line without a date.
    pub(super) fn plain(text: &[u8]) -> Piece {
        let text: Arc<[u8]> = text.into();
        Piece { whole: text.clone(), text }
    }
}

/// The last lines.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) pieces: Vec<Piece>,
}

impl Buffer {
    /// Adds a line and forgets the oldest: those beyond `most`, or beyond 64 KiB together. The last one stays.
    pub(super) fn push(&mut self, piece: Piece, most: usize) {
        self.pieces.push(piece);
        let newest_first = self.pieces.iter().rev().take(most).scan(0, |bytes, piece| {
            *bytes += piece.text.len() + 1;
            Some(*bytes)
        });
        let kept = newest_first.take_while(|bytes| *bytes <= MOST_BYTES).count().max(1);
        self.pieces.drain(..self.pieces.len() - kept);
    }
}

/// Writes what expressions search: the lines, each ended by a newline.
pub(super) fn joined<'p>(pieces: impl Iterator<Item = &'p Piece>, into: &mut Vec<u8>) {
    into.clear();
    for piece in pieces {
        into.extend_from_slice(&piece.text);
        into.push(b'\n');
    }
    if into.is_empty() {
        into.push(b'\n');
    }
}

/// Parts `lines` into those that a match took and those that it left: the ones before, those that `<SKIPLINES>`
/// passed over, and the ones behind.
pub(super) fn split(
    lines: &[Piece],
    searched: &[u8],
    found: &Range<usize>,
    skipped: &[u8],
) -> (Vec<Piece>, Vec<Piece>) {
    if lines.len() <= 1 {
        return (lines.to_vec(), Vec::new());
    }
    let count = |bytes: &[u8]| memchr::memchr_iter(b'\n', bytes).count();
    let head = &searched[..(found.start + 1).min(searched.len())];
    let start = memchr::memrchr(b'\n', head).map_or(0, |at| at + 1);
    // A match that ends at the very beginning is looked up from the buffer's last byte.
    let from = found.end.checked_sub(1).unwrap_or(searched.len().saturating_sub(1));
    let end = memchr::memchr(b'\n', &searched[from..]).map_or(searched.len(), |at| from + at + 1);
    let first = count(&searched[..start]).min(lines.len());
    let last = count(&searched[..end]).clamp(first, lines.len());
    let mut matched = lines[first..last].to_vec();
    let mut left = lines[..first].to_vec();
    let mut from = 0;
    for line in skipped.split_inclusive(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if let Some(at) = matched.iter().skip(from).position(|piece| *piece.text == *line) {
            left.push(matched.remove(from + at));
            from += at;
        }
    }
    left.extend_from_slice(&lines[last..]);
    (matched, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str) -> Piece {
        Piece::plain(text.as_bytes())
    }

    #[test]
    fn a_match_takes_its_lines_and_leaves_the_skipped_ones() {
        let lines = ["a", "b", "c", "d", "e"].map(piece);
        let mut text = Vec::new();
        joined(lines.iter(), &mut text);
        let (matched, left) = split(&lines, &text, &(2..7), b"c\n");
        let show = |pieces: &[Piece]| pieces.iter().map(|p| p.text[0] as char).collect::<String>();
        assert_eq!((show(&matched).as_str(), show(&left).as_str()), ("bd", "ace"));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut buffer = Buffer::default();
        for line in ["a", "b", "c"] {
            buffer.push(piece(line), 2);
        }
        assert_eq!(buffer.pieces, [piece("b"), piece("c")]);
    }

    #[test]
    fn long_lines_push_the_oldest_out() {
        let mut buffer = Buffer::default();
        let long = |letter: &str| piece(&letter.repeat(MOST_BYTES / 2 - 1));
        for line in [piece("a"), long("b"), long("c")] {
            buffer.push(line, 10);
        }
        assert_eq!(buffer.pieces, [long("b"), long("c")]);
        buffer.push(piece(&"d".repeat(MOST_BYTES)), 10);
        assert_eq!(buffer.pieces, [piece(&"d".repeat(MOST_BYTES))]);
    }
}
