//! Who is likely a person who mistypes, and soon banned for it: people are told before.

use crate::event::{Class, JailName, Points, UserName};
use crate::net::Prefix;

use super::standing::Standing;

/// From this share of the threshold on, in percent. Four wrong passwords on end at a point each, or eight of a good
/// user; three on end are ten times as frequent, by the simulation's people.
const SHARE: u32 = 80;

/// Somebody who belongs here, it seems, and goes on failing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soon {
    /// The jail that counts.
    pub jail: JailName,
    /// Who it is.
    pub prefix: Prefix,
    /// The account; nothing if there is no such account here: it might be a password in the wrong place.
    pub user: Option<UserName>,
    /// What it has.
    pub points: Points,
    /// So many more failures like the last one ban.
    pub left: u32,
    /// True if somebody logged in from there, or from the addresses beside; else only a name says who it is.
    pub comes: bool,
}

/// How many more failures like the last one ban, if people are to be told of it.
pub(super) fn failures_left(
    (sum, threshold): (Points, Points),
    each: Points,
    (class, standing): (Class, Standing),
) -> Option<u32> {
    let is_told = class == Class::GoodUser || matches!(standing, Standing::KnownPlace | Standing::Neighbour);
    let is_near = u64::from(sum.0) * 100 >= u64::from(threshold.0) * u64::from(SHARE);
    let left = threshold.0.saturating_sub(sum.0).div_ceil(each.0.max(1));
    (is_told && is_near && left > 0 && each.0 > 0).then_some(left)
}
