//! Lists of names that several places share, however slowly each goes through its own.
//!
//! Two places that try the same [`SHARED`] novel names within a week have one list; a place that has one with two
//! others belongs to a group. Novel is a name that hardly anybody tries: what every guessing program tries says nothing
//! about who works together.

use std::collections::VecDeque;

use crate::hash::{FastMap, table_bytes};
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::super::room::make_room;
use super::WEEK;

/// So many names in common are no chance.
const SHARED: usize = 3;

/// A group: so many others with whom a place shares a list. One person who has forgotten a name tries from home and
/// from work, which is two places.
const OTHERS: usize = 2;

/// A name that more places tried within a week is not novel.
const NOVEL: usize = 32;

/// So many names a place are remembered, the last ones.
const MAX_OF_PLACE: usize = 12;

/// So many places and as many names a jail; those that were seen last stay.
const MAX: usize = 8_192;

/// So long a place belongs to its group. Longer than a member is banned the first time, or each ban would be followed by
/// as many tries as before it.
pub(super) const BELONGS: Span = Span::from_secs(14 * 86_400);

/// Bytes of all of them: each place's names in a ring of 16, each name's places in one of their number.
pub(super) const MOST_BYTES: usize = table_bytes(MAX, size_of::<(Prefix, Place)>())
    + MAX * (MAX_OF_PLACE + 1).next_power_of_two() * size_of::<(Timestamp, u64)>()
    + table_bytes(MAX, size_of::<(u64, VecDeque<(Timestamp, Prefix)>)>())
    + MAX * (NOVEL + 1) * size_of::<(Timestamp, Prefix)>();

#[derive(Debug, Default)]
struct Place {
    last: Timestamp,
    names: VecDeque<(Timestamp, u64)>,
    belongs: Option<Timestamp>,
}

impl Place {
    fn belongs(&self, now: Timestamp) -> bool {
        self.belongs.is_some_and(|since| now.since(since) < BELONGS)
    }

    fn has(&self, name: u64, now: Timestamp) -> bool {
        self.names.iter().any(|(seen, known)| *known == name && now.since(*seen) < WEEK)
    }
}

/// Who tried which novel names within a week.
#[derive(Debug, Default)]
pub(super) struct Lists {
    places: FastMap<Prefix, Place>,
    /// The last places that tried a name, each once, at most [`NOVEL`] + 1.
    names: FastMap<u64, VecDeque<(Timestamp, Prefix)>>,
    /// When the first group of those that there are now was found out.
    since: Option<Timestamp>,
}

impl Lists {
    /// Notes a try of a name (its hash), and tells whether the place belongs to a group with one list.
    pub(super) fn belongs(&mut self, place: Prefix, name: u64, when: Timestamp) -> bool {
        let others = self.others(place, name, when);
        if self.places.len() >= MAX && !self.places.contains_key(&place) {
            make_room(&mut self.places, |_, place| place.last);
        }
        let own = self.places.entry(place).or_default();
        own.last = when;
        own.names.retain(|(seen, known)| *known != name && when.since(*seen) < WEEK);
        own.names.push_back((when, name));
        if own.names.len() > MAX_OF_PLACE {
            own.names.pop_front();
        }
        let names: Vec<u64> = own.names.iter().map(|(_, name)| *name).collect();
        let has_list = |other: &Prefix| {
            let other = self.places.get(other);
            other.is_some_and(|other| names.iter().filter(|name| other.has(**name, when)).count() >= SHARED)
        };
        let group: Vec<Prefix> = others.into_iter().filter(has_list).collect();
        let is_group = group.len() >= OTHERS;
        if is_group {
            self.since = self.since.or(Some(when));
            for member in group.iter().chain([&place]) {
                self.places.entry(*member).and_modify(|place| place.belongs = Some(when));
            }
        }
        self.places.get(&place).is_some_and(|place| place.belongs(when))
    }

    /// True if there is a group, as far as the last sweep knows.
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Since when there are groups, and how many places belong to one; nothing without any.
    pub(super) fn group(&self, now: Timestamp) -> Option<(Timestamp, usize)> {
        let count = self.places.values().filter(|place| place.belongs(now)).count();
        self.since.filter(|_| count > 0).map(|since| (since, count))
    }

    /// How many members of groups tried a name (its hash) within a week; nothing if it could be one person.
    pub(super) fn sharing(&self, name: u64, now: Timestamp) -> Option<usize> {
        let belongs = |place: &Prefix| self.places.get(place).is_some_and(|place| place.belongs(now));
        let tried = self.names.get(&name)?.iter();
        let count = tried.filter(|(seen, place)| now.since(*seen) < WEEK && belongs(place)).count();
        (count > OTHERS).then_some(count)
    }

    /// Notes who tries a name, and who else did within a week; nobody if the name is not novel.
    fn others(&mut self, place: Prefix, name: u64, when: Timestamp) -> Vec<Prefix> {
        if self.names.len() >= MAX && !self.names.contains_key(&name) {
            let last = |places: &VecDeque<(Timestamp, Prefix)>| {
                places.back().map_or_else(Timestamp::default, |last| last.0)
            };
            make_room(&mut self.names, |_, places| last(places));
        }
        let places = self.names.entry(name).or_default();
        places.retain(|(seen, other)| *other != place && when.since(*seen) < WEEK);
        let others =
            if places.len() < NOVEL { places.iter().map(|(_, other)| *other).collect() } else { Vec::new() };
        if places.len() > NOVEL {
            places.pop_front();
        }
        if places.len() == NOVEL {
            // Growing as usual it would have room for twice as many, and there are thousands of names.
            places.reserve_exact(1);
        }
        places.push_back((when, place));
        others
    }

    /// Forgets what is too old; true if no group is left by that.
    pub(super) fn sweep(&mut self, now: Timestamp) -> bool {
        self.names.retain(|_, places| places.back().is_some_and(|(last, _)| now.since(*last) < WEEK));
        self.places.retain(|_, place| now.since(place.last) < BELONGS);
        let is_over = self.is_on() && self.group(now).is_none();
        if is_over {
            self.since = None;
        }
        is_over
    }

    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.places.len(), self.names.len())
    }
}
