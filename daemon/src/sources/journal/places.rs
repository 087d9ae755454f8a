//! Where a journal's reader stands.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What the position string holds: how many entries of each file were read, by the file's id. Of files that
/// are complete, and read to the end, only the first digits of their ids are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Places {
    pub(super) files: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) done: BTreeSet<String>,
    /// The last entry read of each file: when, and its key. In a file that nobody knows it is found again if
    /// journald copied it there: what stands before it was read, too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) last: BTreeMap<String, (u64, u64)>,
    /// Entries before this number were there before anything was ever read; only while they are being read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) history: BTreeMap<String, u64>,
}

/// An id as journald writes it.
pub(super) fn id_text(id: u128) -> String {
    format!("{id:032x}")
}

/// Ids are random, so that few digits are enough to tell a host's files apart.
pub(super) fn short_id(id: u128) -> String {
    id_text(id).get(..10).unwrap_or_default().to_owned()
}
