//! Names that many places try: how many did within a day.
//!
//! A name keeps the standing that it reached until nobody has tried it for a week: once those who try it are banned, few
//! are left to be seen.

use std::collections::VecDeque;

use smol_str::SmolStr;

use crate::hash::{FastMap, table_bytes};
use crate::net::Prefix;
use crate::time::Timestamp;

use super::super::room::make_room;
use super::{DAY, HUNTED, LISTED, WEEK};

/// So many names a jail are kept; those that were tried last stay.
const MAX_NAMES: usize = 8_192;

/// Bytes of all of them: each name's places in a ring of 16.
pub(super) const MOST_BYTES: usize = table_bytes(MAX_NAMES, size_of::<(SmolStr, Name)>())
    + MAX_NAMES * (HUNTED + 2).next_power_of_two() * size_of::<(Timestamp, Prefix)>();

#[derive(Debug)]
struct Name {
    /// The last places that tried it, each once, at most [`HUNTED`] + 1.
    places: VecDeque<(Timestamp, Prefix)>,
    /// So many others tried it within a day once.
    reached: usize,
}

impl Name {
    fn last(&self) -> Timestamp {
        self.places.back().map_or_else(Timestamp::default, |(last, _)| *last)
    }
}

/// Who tried which name within a day.
#[derive(Debug, Default)]
pub(super) struct Listed {
    names: FastMap<SmolStr, Name>,
}

impl Listed {
    /// Notes a try, and tells how many others tried that name within a day, the most that there were; not more than
    /// [`HUNTED`].
    pub(super) fn others(&mut self, place: Prefix, user: &str, when: Timestamp) -> usize {
        if self.names.len() >= MAX_NAMES && !self.names.contains_key(user) {
            make_room(&mut self.names, |_, name| name.last());
        }
        let name =
            self.names.entry(user.into()).or_insert_with(|| Name { places: VecDeque::new(), reached: 0 });
        if when.since(name.last()) >= WEEK {
            name.reached = 0;
        }
        name.places.retain(|(seen, other)| *other != place && when.since(*seen) < DAY);
        name.reached = name.reached.max(name.places.len().min(HUNTED));
        name.places.push_back((when, place));
        if name.places.len() > HUNTED + 1 {
            name.places.pop_front();
        }
        name.reached
    }

    pub(super) fn sweep(&mut self, now: Timestamp) {
        self.names.retain(|_, name| now.since(name.last()) < WEEK);
    }

    /// The names on the list that most places tried within a day, those first.
    pub(super) fn most_tried(&self, count: usize, now: Timestamp) -> Vec<SmolStr> {
        let within = |name: &Name| name.places.iter().filter(|(seen, _)| now.since(*seen) < DAY).count();
        let listed = self.names.iter().filter(|(_, name)| name.reached >= LISTED);
        most(listed.map(|(text, name)| (within(name), text)).collect(), count)
    }

    /// Every name that somebody tried within a week, in any order.
    pub(super) fn names(&self) -> impl Iterator<Item = &SmolStr> {
        self.names.keys()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

/// The names with the highest numbers, those first, and of equals in the alphabet's order.
pub(super) fn most(mut names: Vec<(usize, &SmolStr)>, count: usize) -> Vec<SmolStr> {
    names.sort_by(|(more, a), (less, b)| less.cmp(more).then_with(|| a.cmp(b)));
    names.into_iter().take(count).map(|(_, text)| text.clone()).collect()
}
