//! Addresses as lines hold them: parsed by code, never believed from an expression, never resolved.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

/// The address in a captured piece of text; nothing if it is none, or only part of a longer word.
///
/// `whole_end`: where the match ends. Names are never resolved.
pub(super) fn address(text: &[u8], place: &Range<usize>, whole_end: usize) -> Option<IpAddr> {
    let shown = text.get(place.clone())?;
    let bare = shown.strip_prefix(b"[").and_then(|inner| inner.strip_suffix(b"]")).unwrap_or(shown);
    let v4 = dotted(bare);
    let is_v6 = v4.is_none() && memchr::memchr(b':', bare).is_some();
    let before = place.start.checked_sub(1).and_then(|at| text.get(at));
    if before.is_some_and(|b| b.is_ascii_digit() || (is_v6 && b.is_ascii_alphabetic())) {
        return None;
    }
    let after = text.get(place.end..).unwrap_or(&[]);
    let follows = |at: usize| after.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let goes_on = match after.first() {
        Some(b) if b.is_ascii_alphanumeric() => true,
        Some(b'%' | b'_') => true,
        Some(b'.' | b'-') => follows(1),
        // A length behind the address is a network, unless the expression says that it stands there.
        Some(b'/') => follows(1) && place.end == whole_end,
        _ => false,
    };
    if goes_on {
        return None;
    }
    let other = || std::str::from_utf8(bare).ok()?.parse::<IpAddr>().ok().map(crate::net::canonical);
    v4.map(IpAddr::V4).or_else(other)
}

/// An IPv4 address in its usual form, which nearly all are; the standard library's parser tries every other one, too.
fn dotted(text: &[u8]) -> Option<Ipv4Addr> {
    let (mut octets, mut number) = ([0u8; 4], 0);
    let (mut value, mut digits) = (0u16, 0);
    for byte in text {
        match byte {
            b'0'..=b'9' if digits == 0 || (digits < 3 && value > 0) => {
                value = value * 10 + u16::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 => {
                *octets.get_mut(number)? = u8::try_from(value).ok()?;
                number += 1;
                (value, digits) = (0, 0);
            }
            _ => return None,
        }
    }
    octets[3] = u8::try_from(value).ok()?;
    (number == 3 && digits > 0).then(|| Ipv4Addr::from(octets))
}

/// The addresses of an X-Forwarded-For field, the last of the field first, up to the first that is none.
pub(super) fn forwarded(field: &[u8]) -> Vec<IpAddr> {
    /// More proxies in a row than anybody has.
    const MOST: usize = 16;
    let one = |part: &[u8]| -> Option<IpAddr> {
        let part = std::str::from_utf8(part.trim_ascii()).ok()?;
        let addr = part.parse::<IpAddr>().ok();
        let addr = addr.or_else(|| part.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()));
        let bracketed = || part.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        addr.or_else(|| bracketed()?.parse().ok()).map(crate::net::canonical)
    };
    field.rsplit(|b| *b == b',').map_while(one).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_dotted_address_is_what_the_standard_library_reads(
            text in r"([0-9]{0,4}|0[0-9]|2[0-9][0-9])(\.([0-9]{0,4}|25[0-9])){0,5}[.x]?|[0-9]{1,3}(\.[0-9]{1,3}){3}"
        ) {
            prop_assert_eq!(dotted(text.as_bytes()), text.parse().ok());
        }
    }
}
