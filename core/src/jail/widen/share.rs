//! A budget of innocents that is used up: who gets it.
//!
//! What is looked at competes with the networks that stand elsewhere for the same jail and family. All of them pay one
//! price, the innocents that one ban fewer may cost, and where the budget is short it falls until they fit: so those
//! with the fewest innocents for each ban saved stay, whoever came first. Of equal ones those that stand stay.

use super::{Cover, Net, Offenders, PRICE, dearest, filled};
use crate::net::{Prefix, PrefixSet};

/// What a jail makes of a part of the address space, next to the networks that stand elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// The networks of this part.
    pub cover: Cover,
    /// Networks elsewhere whose place these take, the weakest first.
    pub displaced: Vec<Net>,
    /// The budget does not hold all that is worth [`PRICE`].
    pub is_short: bool,
}

/// Shares the `budget` between `offenders`, as [`super::cover`] takes them, and the networks that stand `elsewhere`.
///
/// `used`: the innocents of these. Time: as for a cover, and nine times their number where the budget is short.
pub fn share(
    offenders: &[Prefix],
    blocked: &PrefixSet,
    (used, elsewhere): (u64, impl Iterator<Item = Net>),
    budget: u64,
) -> Share {
    let offenders = Offenders::of(offenders, blocked);
    let best = offenders.at_price(PRICE);
    if best.innocents() + used <= budget {
        return Share { cover: best, displaced: Vec::new(), is_short: false };
    }
    let elsewhere: Vec<Net> = elsewhere.collect();
    let worth = |price: u64| sum(elsewhere.iter().filter(|net| net.is_worth(price)));
    let (fits, too_much) =
        dearest(&offenders, best, |cover| cover.innocents() + worth(cover.price) <= budget);
    let mut left = budget.saturating_sub(fits.innocents() + worth(fits.price));
    let (_, mut dearer): (Vec<Net>, Vec<Net>) =
        elsewhere.into_iter().partition(|net| net.is_worth(fits.price));
    dearer.sort_by(Net::by_evidence);
    let mut displaced = keep(&dearer, &mut left, |net| net.is_worth(too_much.price));
    let (cover, mut left) = filled(&fits, &too_much, left);
    displaced = keep(&displaced, &mut left, |_| true);
    displaced.reverse();
    Share { cover, displaced, is_short: true }
}

/// Keeps of `nets` those that are wanted and fit in what is `left`; returns the others.
fn keep(nets: &[Net], left: &mut u64, wanted: impl Fn(&Net) -> bool) -> Vec<Net> {
    let mut others = Vec::new();
    for net in nets {
        match wanted(net) && net.innocents <= *left {
            true => *left -= net.innocents,
            false => others.push(*net),
        }
    }
    others
}

fn sum<'a>(nets: impl Iterator<Item = &'a Net>) -> u64 {
    nets.map(|net| net.innocents).sum()
}
