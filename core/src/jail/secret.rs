//! A host's secret, and what is decided by it: nobody outside can foresee that, and asking again gives the same.
//!
//! Bans are seen by those who are banned, so whatever a ban depends on can be learnt by trying. Three
//! things shall not be: which names exist here ([`Secret::is_decoy`]), where exactly the threshold lies
//! ([`Secret::shift`]), and when exactly a ban ends whose length has a share of chance ([`Secret::chance`]).

use std::fmt;

use crate::sha256;

/// A share of one, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Percent(pub u8);

/// 128 random bits that only this host knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 16]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// A secret of these bits, which must come from the kernel's random numbers.
    pub fn new(bits: [u8; 16]) -> Secret {
        Secret(bits)
    }

    /// The form in which it is kept: 32 hexadecimal digits.
    pub fn kept(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }

    /// Reads what [`Secret::kept`] wrote.
    pub fn restore(kept: &str) -> Option<Secret> {
        let is_whole = kept.len() == 32 && kept.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(kept, 16).ok().filter(|_| is_whole).map(|bits| Secret(bits.to_be_bytes()))
    }

    /// True for `share` of all names, the same ones always: a name without an account that is judged as if it had one.
    ///
    /// Who tries one name from each address then learns little: a name that is judged like an account is one with
    /// the probability 1, or with `share` if it is none.
    pub fn is_decoy(&self, name: &str, share: Percent) -> bool {
        self.number("decoy", name) % 100 < u64::from(share.0)
    }

    /// A number from -`most` to +`most` hundredths for a source at its n-th ban.
    pub fn shift(&self, source: &str, most: Percent) -> i64 {
        let width = i64::from(most.0) * 2 + 1;
        let drawn = self.number("threshold", source) % width.unsigned_abs();
        // Invariant: drawn < width <= 511.
        drawn as i64 - i64::from(most.0)
    }

    /// A number from 0 up to 1 for a ban.
    pub fn chance(&self, ban: &str) -> f64 {
        // The highest 53 bits: as many as such a number holds.
        (self.number("chance", ban) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From the SHA-256 of the secret and what is asked: the same in every version.
    fn number(&self, what: &str, of: &str) -> u64 {
        let asked = [self.0.as_slice(), what.as_bytes(), b"\0", of.as_bytes()].concat();
        let digest = sha256::digest(&asked);
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_being_kept_and_garbage_is_none() {
        let secret = Secret::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(Secret::restore(&secret.kept()), Some(secret));
        for garbage in ["", "1", "+0000000000000000000000000000001", &"g".repeat(32), &"0".repeat(33)] {
            assert_eq!(Secret::restore(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn each_host_has_other_decoys_and_as_many_as_asked_for() {
        let names: Vec<String> = (0..20_000).map(|number| format!("name{number}")).collect();
        let decoys = |seed: u8, share| -> Vec<&String> {
            let secret = Secret::new([seed; 16]);
            names.iter().filter(|name| secret.is_decoy(name, Percent(share))).collect()
        };
        let (here, there) = (decoys(1, 25), decoys(2, 25));
        for found in [&here, &there] {
            assert!((4_700..5_300).contains(&found.len()), "{}", found.len());
        }
        let both = here.iter().filter(|name| there.contains(name)).count();
        assert!((1_050..1_450).contains(&both), "a quarter of a quarter by chance, {both} of 20,000");
        assert_eq!((decoys(1, 0).len(), decoys(1, 100).len()), (0, names.len()));
    }

    #[test]
    fn shifts_fill_their_range_and_no_more() {
        let secret = Secret::new([7; 16]);
        let drawn: Vec<i64> =
            (0..5_000).map(|source| secret.shift(&source.to_string(), Percent(30))).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&-30), Some(&30)));
        assert!(drawn.iter().sum::<i64>().abs() < 5_000 * 2);
        assert_eq!(secret.shift("1", Percent(0)), 0);
    }

    #[test]
    fn chance_is_even_and_differs_from_host_to_host() {
        let drawn = |seed: u8| -> Vec<f64> {
            let secret = Secret::new([seed; 16]);
            (0..5_000).map(|ban| secret.chance(&ban.to_string())).collect()
        };
        let here = drawn(7);
        assert!(here.iter().all(|drawn| (0.0..1.0).contains(drawn)));
        let mean = here.iter().sum::<f64>() / 5_000.0;
        assert!((0.48..0.52).contains(&mean), "{mean}");
        assert!(here.iter().zip(drawn(8)).all(|(here, there)| *here != there));
    }
}
