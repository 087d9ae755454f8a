//! Who asked to be left out of the wall of shame (`pillory unlist`), which the store keeps.

use std::borrow::Cow;
use std::collections::BTreeSet;

use pillory_core::net::Prefix;
use serde_json::json;

use crate::control::Reply;

/// Name of the setting that keeps them.
pub(crate) const META_UNLISTED: &str = "unlisted";

/// At most so many are kept.
const MOST: usize = 10_000;

/// Name of the setting that keeps what could not be read of them, once somebody is named anew.
const META_UNREADABLE: &str = "unlisted_unreadable";

/// Everybody who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Unlisted {
    prefixes: BTreeSet<Prefix>,
    /// What is kept, if it cannot be read.
    unreadable: Option<String>,
}

impl Unlisted {
    /// From what [`META_UNLISTED`] keeps.
    pub(crate) fn restored(kept: Option<&str>) -> Unlisted {
        let read = |kept: &str| serde_json::from_str(kept).map_err(|_| kept.to_owned());
        match kept.map_or(Ok(BTreeSet::new()), read) {
            Ok(prefixes) => Unlisted { prefixes, unreadable: None },
            Err(kept) => Unlisted { prefixes: BTreeSet::new(), unreadable: Some(kept) },
        }
    }

    /// Why nothing may be shown, with the cure, if it is not known who asked.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        self.unreadable.as_ref().map(|_| {
            "who asked to be left out of the wall of shame cannot be read from the store, so no pages are made; name them \
             all anew, or one of them, with `pillory unlist PREFIX`, and what could not be read is put aside"
        })
    }

    /// What [`META_UNLISTED`] keeps.
    pub(crate) fn kept(&self) -> String {
        // Invariant: prefixes always become JSON.
        self.unreadable.clone().unwrap_or_else(|| serde_json::to_string(&self.prefixes).unwrap_or_default())
    }

    /// Begins anew; returns what could not be read.
    fn begin_anew(&mut self) -> Option<String> {
        self.unreadable.take()
    }

    /// Leaves these out, or no longer (`remove`).
    /// # Errors
    /// Why it is not known who is left out, where these do not begin anew.
    pub(crate) fn order(&mut self, prefixes: &[Prefix], remove: bool) -> Result<Ordered, &'static str> {
        if let Some(problem) = self.problem().filter(|_| remove || prefixes.is_empty()) {
            return Err(problem);
        }
        let mut ordered = Ordered::default();
        ordered.meta.extend(self.begin_anew().map(|unreadable| (META_UNREADABLE.into(), unreadable)));
        for prefix in prefixes {
            let is_done = if remove { self.remove(*prefix) } else { self.add(*prefix) };
            if is_done { &mut ordered.done } else { &mut ordered.not }.push(*prefix);
        }
        if !ordered.done.is_empty() {
            ordered.meta.push((META_UNLISTED.into(), self.kept()));
        }
        Ok(ordered)
    }

    /// Leaves a prefix out from now on; false if there is no room.
    fn add(&mut self, prefix: Prefix) -> bool {
        let has_room = self.prefixes.len() < MOST || self.prefixes.contains(&prefix);
        if has_room {
            self.prefixes.insert(prefix);
        }
        has_room
    }

    /// Leaves it out no longer; false if it was not left out.
    fn remove(&mut self, prefix: Prefix) -> bool {
        self.prefixes.remove(&prefix)
    }

    /// All of them, in order.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.prefixes.iter().copied()
    }
}

/// What came of an order.
#[derive(Debug, Default)]
pub(crate) struct Ordered {
    /// As it was asked for.
    pub(crate) done: Vec<Prefix>,
    /// There was no room, or they were not left out.
    pub(crate) not: Vec<Prefix>,
    /// Settings that the store is to keep.
    pub(crate) meta: Vec<(Cow<'static, str>, String)>,
}

impl Ordered {
    /// The answer. `unlisted`: who is left out now; `pages`: what becomes of the pages, if there are some.
    pub(crate) fn reply(&self, unlisted: &Unlisted, remove: bool, pages: Option<&str>) -> Reply {
        let names = |prefixes: &[Prefix]| prefixes.iter().map(Prefix::to_string).collect::<Vec<_>>();
        let all: Vec<String> = unlisted.prefixes().map(|prefix| prefix.to_string()).collect();
        let value = json!({"done": names(&self.done), "not": names(&self.not), "removed": remove, "unlisted": all,
            "wall": pages.is_some(), "pages": pages});
        Reply { exit: u8::from(!self.not.is_empty()), message: String::new(), value }
    }
}

/// What becomes of pages that are there, as an answer tells it.
pub(crate) mod pages {
    /// They are made anew at once.
    pub(crate) const ANEW: &str = "are being made anew";
    /// They were, by the command itself.
    pub(crate) const MADE: &str = "were made anew";
    /// New ones cannot be made now, and the old ones may show whom they must not.
    pub(crate) const DOWN: &str = "are taken down until they can be made anew";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_remembered_until_taken_out_and_garbage_is_told() {
        let [one, other] = ["192.0.2.7", "2001:db8::/48"].map(|text| text.parse::<Prefix>().unwrap());
        let mut unlisted = Unlisted::default();
        assert!(unlisted.add(one) && unlisted.add(one) && unlisted.add(other));
        let mut again = Unlisted::restored(Some(&unlisted.kept()));
        assert_eq!(again, unlisted);
        assert!(again.remove(one) && !again.remove(one));
        assert_eq!(again.prefixes().collect::<Vec<_>>(), [other]);
        assert_eq!(Unlisted::restored(None), Unlisted::default());
        let mut unreadable = Unlisted::restored(Some("[1"));
        assert_eq!((unreadable.kept().as_str(), unreadable.problem().is_some()), ("[1", true));
        assert_eq!(unreadable.begin_anew().as_deref(), Some("[1"));
        assert_eq!((unreadable.kept().as_str(), unreadable.problem()), ("[]", None));
        let prefix = |number: usize| Prefix::host(std::net::Ipv4Addr::from_bits(number as u32).into());
        let taken = (0..MOST + 5).filter(|number| again.add(prefix(*number))).count();
        assert_eq!(taken, MOST - 1);
    }
}
