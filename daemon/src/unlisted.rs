//! Who asked to be left out of the wall of shame (`pillory unlist`), which the store keeps.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use pillory_core::net::Prefix;

/// Name of the setting that keeps them.
pub(crate) const META_UNLISTED: &str = "unlisted";

/// At most so many are kept.
const MOST: usize = 10_000;

/// Everybody who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Unlisted(BTreeSet<Prefix>);

impl Unlisted {
    /// From what [`META_UNLISTED`] keeps.
    /// # Errors
    /// In words, if it cannot be read: then nobody who asked is known.
    pub(crate) fn restored(kept: Option<&str>) -> Result<Unlisted, String> {
        let read = kept.map_or(Ok(Unlisted::default()), serde_json::from_str);
        read.map_err(|error| {
            format!(
                "who asked to be left out of the wall of shame cannot be read from the store ({error}); the wall shows them \
                 again until they are named anew with `pillory unlist`"
            )
        })
    }

    /// What [`META_UNLISTED`] keeps.
    pub(crate) fn kept(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Leaves a prefix out from now on; false if there is no room.
    pub(crate) fn add(&mut self, prefix: Prefix) -> bool {
        let has_room = self.0.len() < MOST || self.0.contains(&prefix);
        if has_room {
            self.0.insert(prefix);
        }
        has_room
    }

    /// Leaves it out no longer; false if it was not left out.
    pub(crate) fn remove(&mut self, prefix: Prefix) -> bool {
        self.0.remove(&prefix)
    }

    /// All of them, in order.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        self.0.iter().copied()
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
        let mut again = Unlisted::restored(Some(&unlisted.kept())).unwrap();
        assert_eq!(again, unlisted);
        assert!(again.remove(one) && !again.remove(one));
        assert_eq!(again.prefixes().collect::<Vec<_>>(), [other]);
        assert_eq!(Unlisted::restored(None), Ok(Unlisted::default()));
        let said = Unlisted::restored(Some("[1")).unwrap_err();
        assert!(said.contains("cannot be read") && said.contains("pillory unlist"), "{said}");
        let prefix = |number: usize| Prefix::host(std::net::Ipv4Addr::from_bits(number as u32).into());
        let taken = (0..MOST + 5).filter(|number| again.add(prefix(*number))).count();
        assert_eq!(taken, MOST - 1);
    }
}
