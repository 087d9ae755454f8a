//! The word EPOCH: seconds since 1970 at the beginning of a line, in a bracket there, or behind `audit(`.

use std::ops::Range;

use memchr::memmem;

use super::stamp::Seconds;

const AUDIT: &[u8] = b"audit(";

/// The leftmost within `part`.
pub(super) fn find(bytes: &[u8], part: Range<usize>, seconds: Seconds) -> Option<Range<usize>> {
    let bytes = bytes.get(..part.end)?;
    let at = |start: usize| Some(start..start + number(bytes, start, seconds)?);
    let at_start = [0, 1].into_iter().filter(|start| *start == 0 || bytes.first() == Some(&b'['));
    if let Some(found) = at_start.filter(|start| part.start <= *start).find_map(at) {
        return Some(found);
    }
    let from = part.start.saturating_sub(AUDIT.len());
    memmem::find_iter(bytes.get(from..)?, AUDIT)
        .map(|offset| from + offset)
        .filter(|word| *word == 0 || !is_word(bytes[word - 1]))
        .map(|word| word + AUDIT.len())
        .filter(|start| part.start <= *start)
        .find_map(at)
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn digits(bytes: &[u8], at: usize, most: usize) -> usize {
    bytes.get(at..).unwrap_or_default().iter().take(most).take_while(|b| b.is_ascii_digit()).count()
}

/// How long the number is that begins there; it must end where a word may.
fn number(bytes: &[u8], start: usize, seconds: Seconds) -> Option<usize> {
    let ends = |len: &usize| !bytes.get(start + len).is_some_and(|b| is_word(*b));
    let whole = digits(bytes, start, 18);
    match seconds {
        Seconds::Short => {
            if !(10..=11).contains(&whole) || !ends(&whole) {
                return None;
            }
            Some(whole + fraction(bytes, start + whole, 3, ends_at(bytes)))
        }
        Seconds::Long => {
            let long = (13..=14).contains(&whole).then(|| fraction(bytes, start + whole, 1, ends_at(bytes)));
            let len = whole + long.unwrap_or(0);
            ([10, 11, 13, 14, 16, 17].contains(&whole) && ends(&len)).then_some(len)
        }
    }
}

fn ends_at(bytes: &[u8]) -> impl Fn(usize) -> bool {
    move |at| !bytes.get(at).is_some_and(|b| is_word(*b))
}

/// `.123` up to six digits; nothing if it is followed by a part of a word.
fn fraction(bytes: &[u8], at: usize, least: usize, ends: impl Fn(usize) -> bool) -> usize {
    let digits = if bytes.get(at) == Some(&b'.') { digits(bytes, at + 1, 6) } else { 0 };
    if digits >= least && ends(at + 1 + digits) { digits + 1 } else { 0 }
}
