//! Who asked to be left out of the wall of shame (`pillory unlist`), which the store keeps.

use std::collections::BTreeSet;

use pillory_core::net::Prefix;

/// Name of the setting that keeps them.
pub(crate) const META_UNLISTED: &str = "unlisted";

/// At most so many are kept.
const MOST: usize = 10_000;

/// Name of the setting that keeps what could not be read of them, once somebody is named anew.
pub(crate) const META_UNREADABLE: &str = "unlisted_unreadable";

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
    pub(crate) fn begin_anew(&mut self) -> Option<String> {
        self.unreadable.take()
    }

    /// Leaves a prefix out from now on; false if there is no room.
    pub(crate) fn add(&mut self, prefix: Prefix) -> bool {
        let has_room = self.prefixes.len() < MOST || self.prefixes.contains(&prefix);
        if has_room {
            self.prefixes.insert(prefix);
        }
        has_room
    }

    /// Leaves it out no longer; false if it was not left out.
    pub(crate) fn remove(&mut self, prefix: Prefix) -> bool {
        self.prefixes.remove(&prefix)
    }

    /// All of them, in order.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.prefixes.iter().copied()
    }
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
