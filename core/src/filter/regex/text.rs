//! Characters of a text that is mostly UTF-8: what is not counts as U+FFFD, as a decoder would replace it.

/// What stands for bytes that are no UTF-8.
pub(super) const REPLACEMENT: char = '\u{fffd}';

/// The character at a place and its bytes; nothing at the end.
pub(super) fn char_at(text: &[u8], at: usize) -> Option<(char, usize)> {
    let rest = text.get(at..)?;
    let first = *rest.first()?;
    if first < 0x80 {
        return Some((char::from(first), 1));
    }
    Some(decode(&rest[..rest.len().min(4)]))
}

/// A character above ASCII; `bytes` are not empty.
fn decode(bytes: &[u8]) -> (char, usize) {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.valid_up_to() == 0 => {
            return (REPLACEMENT, error.error_len().unwrap_or(bytes.len()));
        }
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or(""),
    };
    valid.chars().next().map_or((REPLACEMENT, 1), |c| (c, c.len_utf8()))
}

/// The character that ends at a place, and its bytes; nothing at the start. `at` lies between characters.
pub(super) fn char_before(text: &[u8], at: usize) -> Option<(char, usize)> {
    let last = *text.get(at.checked_sub(1)?)?;
    if last < 0x80 {
        return Some((char::from(last), 1));
    }
    for length in 1..=at.min(4) {
        let start = at - length;
        if text[start] & 0xc0 == 0x80 {
            continue;
        }
        return match char_at(text, start) {
            Some((c, taken)) if taken == length => Some((c, taken)),
            _ => Some((REPLACEMENT, 1)),
        };
    }
    Some((REPLACEMENT, 1))
}

/// The place of the next character; behind the end if there is none.
pub(super) fn next(text: &[u8], at: usize) -> usize {
    match text.get(at) {
        Some(byte) if *byte >= 0x80 => at + char_at(text, at).map_or(1, |(_, length)| length),
        _ => at + 1,
    }
}

/// The place of the character before; `at` is above 0.
pub(super) fn previous(text: &[u8], at: usize) -> usize {
    match text.get(at - 1) {
        Some(byte) if *byte >= 0x80 => at - char_before(text, at).map_or(1, |(_, length)| length),
        _ => at - 1,
    }
}

/// A code point as lines hold it; nothing if it is a lone surrogate.
pub(super) fn code(code: u32) -> Option<char> {
    char::from_u32(code)
}
