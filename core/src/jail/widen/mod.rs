//! Widening: offenders that are neighbours become one ban of a network, within a budget of innocent addresses.
//!
//! [`cover`] is the pure piece: of all ways to shut a set of offenders out by single bans and networks it takes the
//! one that costs least, where a ban more costs [`PRICE`] innocent addresses. It is a dynamic programme over the prefix
//! tree; the idea is from Soldo, Argyraki and Markopoulou, "Optimal Source-Based Filtering of Malicious Traffic"
//! (INFOCOM 2009). Going on to fewer bans than that is where the curve of innocents bends upward: its knee.
//! [`neighbours`] holds who offended lately; the machine asks both whenever somebody is banned.
//!
//! What may be a network, and from how many offenders on ([`levels`]):
//!
//! Networks begin at /29: a ban of a /31 or /30 saves no more than one of the /29 around it and holds hardly anybody
//! who comes next, for whom it is made; the four to six innocents more are little beside the [`PRICE`] of a ban. The
//! seeds' 21 addresses cost 683 innocents in nine networks so, and 663 if a network may be of any length.
//!
//! | network | offenders | why |
//! |---|---|---|
//! | /29 to /26 | 2 | on lists of 2014-15 a /28 at two offenders stops 31.7 % of later attackers for 1,504 addresses, a /26 41.8 % for 3,776 |
//! | /25, /24 | 3 | a /24 at three stops 43 % for 7,168 |
//! | /23 to /16 | three times as many for each bit | beyond a /24 only overwhelming evidence counts: a /16 takes 19,683 |
//! | IPv6 /56 | 3 | counted are /64s, as single bans are |
//! | IPv6 /48 | 9 | a /56 without an offender counts as one innocent, since nearly all of its /64s are unused |

pub mod neighbours;
pub mod share;

use std::cmp::Ordering;

use crate::net::{Prefix, PrefixSet};
use crate::time::Span;

/// So many innocent addresses one ban fewer is worth: three offenders anywhere in a /24 make one ban of it (253 for
/// two bans fewer, or 247 for one if two of them share a /29), two do not (254 for one).
pub const PRICE: u64 = 252;

/// So many innocents the widened bans of one jail may hit at once in each family, if nothing else is configured: 64
/// times a /24, one address of IPv4 in 262,144; or 64 times a /56 of IPv6, as [`levels`] count them. The families have
/// a budget each, because networks of IPv6 cost an attacker nothing and those of IPv4 do.
pub const BUDGET: u64 = 16_384;

/// How long an offender counts as evidence after its ban began; while it is banned it does in any case.
pub const EVIDENCE: Span = Span::from_secs(7 * 86_400);

/// One length that a network may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The length.
    pub len: u8,
    /// So many offenders it takes at least.
    pub least: usize,
    /// Innocents that such a network counts for if nobody in it offended, as a part of a wider one.
    empty: u64,
}

const fn v4(len: u8) -> Level {
    let least = match len {
        26.. => 2,
        25 => 3,
        _ => 3usize.pow(25 - len as u32),
    };
    Level { len, least, empty: 1 << (32 - len) }
}

const V4: [Level; 14] = {
    let mut levels = [v4(16); 14];
    let mut at = 0;
    while at < levels.len() {
        levels[at] = v4(16 + at as u8);
        at += 1;
    }
    levels
};

const V6: [Level; 2] = [Level { len: 48, least: 9, empty: 256 }, Level { len: 56, least: 3, empty: 1 }];

/// The lengths that networks of a family may have, the widest first.
pub fn levels(ipv4: bool) -> &'static [Level] {
    if ipv4 { &V4 } else { &V6 }
}

/// How long the prefix of one offender is: an address of IPv4, a /64 of IPv6. Others are not widened.
pub fn is_offender(prefix: Prefix) -> bool {
    prefix.prefix_len() == host_len(prefix.is_ipv4())
}

const fn host_len(ipv4: bool) -> u8 {
    if ipv4 { 32 } else { 64 }
}

/// A network that takes the place of single bans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    /// The network.
    pub prefix: Prefix,
    /// How many offenders it holds.
    pub offenders: usize,
    /// How many innocents it holds: addresses, or as [`levels`] count them for IPv6.
    pub innocents: u64,
}

impl Net {
    /// True if every ban that it saves is worth more than its part of the innocents, at so many of them a ban.
    fn is_worth(&self, price: u64) -> bool {
        self.innocents == 0 || self.innocents < price.saturating_mul(self.saved())
    }

    fn saved(&self) -> u64 {
        self.offenders.saturating_sub(1) as u64
    }

    /// The one with fewer innocents for each ban that it saves first: the better evidence.
    fn by_evidence(&self, other: &Net) -> Ordering {
        let cross = |one: &Net, other: &Net| u128::from(one.innocents) * u128::from(other.saved());
        match (self.innocents == 0, other.innocents == 0) {
            (false, false) => {}
            (one, other) => return other.cmp(&one),
        }
        // Whatever saves nothing comes last.
        let saves_nothing = (self.saved() == 0).cmp(&(other.saved() == 0));
        saves_nothing.then(cross(self, other).cmp(&cross(other, self))).then(self.prefix.cmp(&other.prefix))
    }
}

/// The networks of the cheapest cover; every offender outside them has a ban of its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cover {
    /// In order of their addresses, disjoint.
    pub nets: Vec<Net>,
    /// So many innocents one ban fewer was worth at most: [`PRICE`], or less where the budget would not have held.
    pub price: u64,
}

impl Cover {
    /// Innocents of all networks together.
    pub fn innocents(&self) -> u64 {
        self.nets.iter().map(|net| net.innocents).sum()
    }
}

/// The cheapest cover of `offenders` at the highest price up to [`PRICE`] whose innocents fit the `budget`; of networks
/// that only the price beyond it pays for, as many as fit.
///
/// `offenders`: sorted, each once; what is no offender by [`is_offender`] is left out. `blocked`: no network may share an
/// address with it. Time: the number of offenders times the number of levels, nine times that if the budget is short.
pub fn cover(offenders: &[Prefix], blocked: &PrefixSet, budget: u64) -> Cover {
    let offenders = Offenders::of(offenders, blocked);
    let best = offenders.at_price(PRICE);
    if best.innocents() <= budget {
        return best;
    }
    let (fits, too_much) = dearest(&offenders, best, |cover| cover.innocents() <= budget);
    let left = budget.saturating_sub(fits.innocents());
    filled(&fits, &too_much, left).0
}

/// Offenders in the shape in which they are covered.
struct Offenders<'a> {
    v4: Vec<u64>,
    v6: Vec<u64>,
    blocked: &'a PrefixSet,
}

impl<'a> Offenders<'a> {
    fn of(offenders: &[Prefix], blocked: &'a PrefixSet) -> Offenders<'a> {
        let keys = |ipv4| -> Vec<u64> {
            let own = offenders.iter().filter(|prefix| prefix.is_ipv4() == ipv4 && is_offender(**prefix));
            own.map(|prefix| key(*prefix)).collect()
        };
        Offenders { v4: keys(true), v6: keys(false), blocked }
    }

    /// The cheapest cover where one ban fewer is worth so many innocents.
    fn at_price(&self, price: u64) -> Cover {
        let mut cover = Cover { nets: Vec::new(), price };
        for (ipv4, keys) in [(true, &self.v4), (false, &self.v6)] {
            let mut tree = Tree { ipv4, price, blocked: self.blocked, nets: &mut cover.nets };
            for group in groups(keys, shift(ipv4, 0)) {
                tree.cheapest(group, 0);
            }
        }
        cover
    }
}

/// The covers at the highest price that fits and at the next one, which does not. `best`: at [`PRICE`], too much.
fn dearest(offenders: &Offenders<'_>, best: Cover, fits: impl Fn(&Cover) -> bool) -> (Cover, Cover) {
    // At price 0 nothing is worth an innocent, so that always fits.
    let (mut low, mut high) = (offenders.at_price(0), best);
    while high.price - low.price > 1 {
        let middle = offenders.at_price(low.price.midpoint(high.price));
        match fits(&middle) {
            true => low = middle,
            false => high = middle,
        }
    }
    (low, high)
}

/// The networks of `fits`, and in their place as many of `too_much` as `left` innocents more hold, by address; and what
/// is left then. All of these are worth the same price, and those of the lower one lie inside them.
fn filled(fits: &Cover, too_much: &Cover, mut left: u64) -> (Cover, u64) {
    let mut narrow = fits.nets.iter().copied().peekable();
    let mut nets = Vec::new();
    for wide in &too_much.nets {
        let inside: Vec<Net> =
            std::iter::from_fn(|| narrow.next_if(|net| wide.prefix.contains(net.prefix))).collect();
        let more = wide.innocents - inside.iter().map(|net| net.innocents).sum::<u64>();
        match more <= left {
            true => nets.push(*wide),
            false => nets.extend(inside),
        }
        left -= if more <= left { more } else { 0 };
    }
    (Cover { nets, price: too_much.price }, left)
}

/// The innocents that a ban of `prefix` hits. `offenders`: those inside, sorted, each once.
pub fn innocents(prefix: Prefix, offenders: &[Prefix]) -> u64 {
    let ipv4 = prefix.is_ipv4();
    let keys: Vec<u64> = offenders.iter().filter(|one| is_offender(**one)).map(|one| key(*one)).collect();
    let Some(level) = levels(ipv4).iter().position(|level| level.len == prefix.prefix_len()) else {
        return 0;
    };
    let nothing = PrefixSet::default();
    Tree { ipv4, price: 0, blocked: &nothing, nets: &mut Vec::new() }.cheapest(&keys, level).whole
}

/// An offender as a number: neighbours differ in the last bits.
fn key(prefix: Prefix) -> u64 {
    let first = prefix.range().0;
    (if prefix.is_ipv4() { first } else { first >> 64 }) as u64
}

/// Keys of one network of that level agree once shifted by so many bits.
fn shift(ipv4: bool, level: usize) -> u32 {
    levels(ipv4).get(level).map_or(0, |level| u32::from(host_len(ipv4) - level.len))
}

/// Runs of keys that agree but for their last `shift` bits.
fn groups(keys: &[u64], shift: u32) -> impl Iterator<Item = &[u64]> {
    keys.chunk_by(move |one, next| one >> shift == next >> shift)
}

/// The dynamic programme: what a subtree costs, from what its parts cost.
struct Tree<'a> {
    ipv4: bool,
    price: u64,
    blocked: &'a PrefixSet,
    /// Networks taken so far; those of a subtree give way to a wider one.
    nets: &'a mut Vec<Net>,
}

/// What is known of a subtree.
#[derive(Clone, Copy)]
struct Costs {
    /// The cheapest cover, in innocents.
    cheapest: u64,
    /// Innocents in the whole network.
    whole: u64,
}

impl Tree<'_> {
    /// Covers `keys`, all the offenders of one network of this level, as cheaply as can be.
    fn cheapest(&mut self, keys: &[u64], level: usize) -> Costs {
        let levels = levels(self.ipv4);
        let Some(here) = levels.get(level) else { return Costs { cheapest: 0, whole: 0 } };
        let before = self.nets.len();
        let mut costs = match levels.get(level + 1) {
            None => Costs {
                cheapest: self.price * keys.len() as u64,
                whole: (1u64 << shift(self.ipv4, level)) - keys.len() as u64,
            },
            // Most offenders are alone: what there is to know of them needs no descent.
            Some(_) if keys.len() == 1 => Costs { cheapest: self.price, whole: alone(levels, level) },
            Some(below) => {
                let mut sum = Costs { cheapest: 0, whole: 0 };
                let mut empty = 1u64 << (below.len - here.len);
                for group in groups(keys, shift(self.ipv4, level + 1)) {
                    let part = self.cheapest(group, level + 1);
                    sum.cheapest += part.cheapest;
                    sum.whole += part.whole;
                    empty -= 1;
                }
                sum.whole += empty * below.empty;
                sum
            }
        };
        if keys.len() >= here.least && self.price + costs.whole < costs.cheapest {
            let prefix = self.prefix(keys, here.len);
            if !self.blocked.overlaps(prefix) {
                self.nets.truncate(before);
                self.nets.push(Net { prefix, offenders: keys.len(), innocents: costs.whole });
                costs.cheapest = self.price + costs.whole;
            }
        }
        costs
    }

    fn prefix(&self, keys: &[u64], len: u8) -> Prefix {
        let key = keys.first().copied().unwrap_or_default();
        let addr = match self.ipv4 {
            true => std::net::IpAddr::V4((key as u32).into()),
            false => std::net::IpAddr::V6((u128::from(key) << 64).into()),
        };
        Prefix::host(addr).widened(len)
    }
}

/// Innocents in a network of this level that holds one offender.
fn alone(levels: &[Level], level: usize) -> u64 {
    let pairs = levels.get(level..).unwrap_or_default().windows(2);
    let beside = pairs.map(|pair| ((1u64 << (pair[1].len - pair[0].len)) - 1) * pair[1].empty);
    let last = if levels.len() == V4.len() { 7 } else { 255 };
    beside.sum::<u64>() + last
}

#[cfg(test)]
mod tests;
