//! Codes made in advance for whoever is locked out: each frees one address once. Only digests are kept.

use std::collections::HashMap;

use crate::net::Prefix;
use crate::sha256;
use crate::time::{Span, Timestamp};

/// Letters and digits that nobody mistakes for others. Source: Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Random bytes of a code: 80 bits, 16 characters.
pub const CODE_BYTES: usize = 10;

/// At most so many codes wait to be used.
const MOST_CODES: usize = 100;

/// How many codes may be tried within [`WINDOW`] from one source, and from all together.
const TRIES: (u32, u32) = (5, 600);

/// See [`TRIES`].
const WINDOW: Span = Span::from_secs(600);

/// A code in four groups: `7k3m-q2xw-9fgh-0abc`.
pub fn code(random: [u8; CODE_BYTES]) -> String {
    let number = random.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    let mut text = String::new();
    for at in 0..16u32 {
        if at > 0 && at % 4 == 0 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[(number >> (75 - 5 * at)) as usize & 31]));
    }
    text
}

/// A code as it was typed, without dashes and case; nothing if it can be none.
fn typed(text: &str) -> Option<String> {
    let plain: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    (plain.len() == 16 && plain.bytes().all(|byte| ALPHABET.contains(&byte))).then_some(plain)
}

/// The codes that wait to be used, by their digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Codes {
    digests: Vec<[u8; 32]>,
}

impl Codes {
    /// From what [`Codes::kept`] gave; what is none is left out.
    pub fn restore(kept: &str) -> Codes {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let digest = |word: &str| -> Option<[u8; 32]> {
            word.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
        };
        Codes { digests: kept.split_whitespace().filter_map(digest).collect() }
    }

    /// As the store keeps them: digests only.
    pub fn kept(&self) -> String {
        let hex = |digest: &[u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        self.digests.iter().map(hex).collect::<Vec<_>>().join(" ")
    }

    /// Adds one; the oldest go when there are too many.
    pub fn add(&mut self, code: &str) {
        self.digests.extend(digest_of(code));
        let extra = self.digests.len().saturating_sub(MOST_CODES);
        self.digests.drain(..extra);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// True if `text` is one of them. Every one is compared as a whole, so the time tells nothing of any.
    pub fn knows(&self, text: &str) -> bool {
        let Some(tried) = digest_of(text) else { return false };
        self.digests.iter().fold(false, |known, digest| known | !differs(digest, &tried))
    }

    /// True if `text` is one of them, which is used up by that.
    pub fn use_up(&mut self, text: &str) -> bool {
        let Some(tried) = digest_of(text) else { return false };
        let before = self.digests.len();
        self.digests.retain(|known| differs(known, &tried));
        self.digests.len() < before
    }
}

fn digest_of(text: &str) -> Option<[u8; 32]> {
    typed(text).map(|plain| sha256::digest(plain.as_bytes()))
}

fn differs(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |sum, (one, two)| sum | (one ^ two)) != 0
}

/// Who tried how often.
#[derive(Debug, Default)]
pub struct Tries {
    by_source: HashMap<Prefix, (Timestamp, u32)>,
    all: (Timestamp, u32),
}

impl Tries {
    /// Counts a try; false if there were too many, from there or in all, and it must not even be looked at.
    pub fn allows(&mut self, source: Prefix, now: Timestamp) -> bool {
        let count = |(began, count): &mut (Timestamp, u32), most: u32| {
            if now.since(*began) >= WINDOW {
                (*began, *count) = (now, 0);
            }
            *count = count.saturating_add(1);
            *count <= most
        };
        self.by_source.retain(|_, (began, _)| now.since(*began) < WINDOW);
        // Who is refused for himself does not use up what all have together, so the sources are bounded by that too.
        if self.by_source.len() >= 2 * TRIES.1 as usize && !self.by_source.contains_key(&source) {
            return false;
        }
        count(self.by_source.entry(source).or_insert((now, 0)), TRIES.0) && count(&mut self.all, TRIES.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_works_once_however_it_is_typed_and_only_its_digest_is_kept() {
        let text = code([0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x55, 0xaa]);
        assert_eq!(text.len(), 19);
        let mut codes = Codes::default();
        codes.add(&text);
        let kept = codes.kept();
        assert!(!kept.contains(&text) && !kept.contains(&text.replace('-', "")));
        assert_eq!(Codes::restore(&kept), codes);
        assert!(!codes.use_up("0000-0000-0000-0000") && !codes.use_up("") && !codes.use_up("x"));
        assert!(codes.knows(&text) && !codes.knows("0000-0000-0000-0000") && codes.len() == 1);
        assert!(codes.use_up(&text.replace('-', "").to_uppercase()));
        assert!(!codes.use_up(&text) && codes.is_empty());
    }

    #[test]
    fn codes_differ_in_every_bit() {
        let mut all: Vec<String> = (0..80)
            .map(|bit| {
                let mut bytes = [0; CODE_BYTES];
                bytes[bit / 8] = 1 << (bit % 8);
                code(bytes)
            })
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 80);
    }

    #[test]
    fn tries_are_limited_by_source_and_in_all() {
        let at = |secs: i64| Timestamp::from_secs(1_000_000 + secs);
        let source = |number: u32| Prefix::host(std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(number)));
        let mut tries = Tries::default();
        assert_eq!((0..20).filter(|_| tries.allows(source(1), at(0))).count(), 5);
        assert!(!tries.allows(source(1), at(599)));
        assert!(tries.allows(source(1), at(600)));
        let passed = (0..5_000).filter(|number| tries.allows(source(100 + number), at(601))).count();
        assert_eq!(passed, 599);
        assert!(tries.by_source.len() <= 1_200);
        assert!(tries.allows(source(2), at(1_300)));
    }
}
