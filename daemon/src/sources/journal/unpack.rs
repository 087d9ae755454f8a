//! Compressed values: journald packs what has 512 bytes or more, with zstd, once with lz4, long ago with xz.

use std::io::{self, Read};

use crate::xz::XzReader;

use super::layout::damaged;

const XZ: u8 = 1;
const LZ4: u8 = 1 << 1;
const ZSTD: u8 = 1 << 2;

/// Unpacks a value, at most its first `max` bytes.
/// # Errors
/// [`io::ErrorKind::InvalidData`] and others if it is damaged.
pub(crate) fn unpack(how: u8, packed: &[u8], max: usize) -> io::Result<Vec<u8>> {
    match how {
        ZSTD => unpack_zstd(packed, max),
        LZ4 => unpack_lz4(packed, max),
        XZ => {
            let mut plain = Vec::new();
            XzReader::new(packed).take(max as u64).read_to_end(&mut plain)?;
            Ok(plain)
        }
        _ => Err(damaged("a value is packed in an unknown way")),
    }
}

fn unpack_zstd(packed: &[u8], max: usize) -> io::Result<Vec<u8>> {
    let mut decoder =
        ruzstd::decoding::StreamingDecoder::new(packed).map_err(|_| damaged("a zstd value is damaged"))?;
    let mut plain = Vec::new();
    decoder.by_ref().take(max as u64).read_to_end(&mut plain)?;
    Ok(plain)
}

/// The block format of lz4, after the length of the whole (8 bytes); stops once there is enough.
/// Source: lz4, `doc/lz4_Block_format.md`.
fn unpack_lz4(packed: &[u8], max: usize) -> io::Result<Vec<u8>> {
    let short = || damaged("an lz4 value is damaged");
    let mut rest = packed.get(8..).ok_or_else(short)?;
    let mut plain: Vec<u8> = Vec::new();
    while plain.len() < max {
        let Some((&token, after)) = rest.split_first() else { break };
        rest = after;
        let literals = lz4_length(token >> 4, &mut rest).ok_or_else(short)?;
        plain.extend_from_slice(rest.get(..literals.min(max)).ok_or_else(short)?);
        rest = rest.get(literals..).unwrap_or(&[]);
        let Some((&[low, high], after)) = rest.split_first_chunk::<2>() else { break };
        rest = after;
        let back = usize::from(u16::from_le_bytes([low, high]));
        let length = lz4_length(token & 15, &mut rest).ok_or_else(short)? + 4;
        let from = plain.len().checked_sub(back).filter(|_| back > 0).ok_or_else(short)?;
        // What is copied may be what was just copied.
        for at in from..from + length.min(max) {
            plain.push(*plain.get(at).ok_or_else(short)?);
        }
    }
    plain.truncate(max);
    Ok(plain)
}

/// A length of which 15 means that more bytes follow.
fn lz4_length(nibble: u8, rest: &mut &[u8]) -> Option<usize> {
    let mut length = usize::from(nibble);
    if nibble == 15 {
        loop {
            let (&more, after) = rest.split_first()?;
            *rest = after;
            length = length.checked_add(usize::from(more))?;
            if more < 255 {
                break;
            }
        }
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::{LZ4, XZ, ZSTD, unpack};

    #[test]
    fn lz4_literals_and_overlapping_matches_unpack() {
        // 3 literals, then 9 bytes from 3 back, then 1 literal.
        let packed = [0, 0, 0, 0, 0, 0, 0, 0, 0x35, b'a', b'b', b'c', 3, 0, 0x10, b'!'];
        assert_eq!(unpack(LZ4, &packed, 100).unwrap(), b"abcabcabcabc!");
        assert_eq!(unpack(LZ4, &packed, 5).unwrap(), b"abcab");
    }

    #[test]
    fn damaged_values_are_errors() {
        for how in [XZ, LZ4, ZSTD, 1 << 3] {
            assert!(how == XZ || unpack(how, b"", 10).is_err());
            assert!(unpack(how, &[0xff; 40], 10).is_err());
        }
        // A match that begins before the first byte.
        assert!(unpack(LZ4, &[0, 0, 0, 0, 0, 0, 0, 0, 0x10, b'a', 9, 0, 0], 10).is_err());
    }
}
