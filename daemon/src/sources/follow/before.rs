//! What stood in a log's rotated parts before the log was looked at for the first time: that is past, whatever is found
//! of it later, and never news.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::place::Saved;
use super::rotated::Siblings;
use super::split::Format;
use super::tail::Tail;
use crate::clock;

/// So many parts may still be written to by somebody who keeps the old file.
const MOST_PARTS: usize = 2;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    /// Nanoseconds since the epoch of the newest part's last change.
    #[serde(default)]
    changed: i64,
    /// The newest parts, each read to its end: what somebody adds to one of them is news.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) parts: Vec<Saved>,
}

impl Before {
    /// What stands beside the log now.
    pub(super) fn of(log: &Path, format: Format, now: Instant) -> Before {
        let siblings = Siblings::of(log, None);
        let mut parts: Vec<(i64, &Path)> = siblings.parts().collect();
        parts.sort_by_key(|(changed, _)| std::cmp::Reverse(*changed));
        let wall = clock::read().wall.millis().saturating_mul(1_000_000);
        // A change that is yet to come tells nothing of what is older.
        let changed = parts.first().map_or(0, |(changed, _)| (*changed).min(wall));
        let end_of = |path: &Path| -> std::io::Result<Saved> {
            let mut tail = Tail::begin(File::open(path)?, format, now)?;
            tail.keep_last(0)?;
            Ok(tail.save())
        };
        let is_plain = |(_, path): &&(i64, &Path)| path.extension().is_none_or(|end| end != "gz");
        // One that cannot be read now is as good as none.
        let parts = parts.iter().filter(is_plain).filter_map(|(_, path)| end_of(path).ok());
        Before { changed, parts: parts.take(MOST_PARTS).collect() }
    }

    /// True if nothing stood there.
    pub(super) fn is_empty(&self) -> bool {
        self.changed == 0 && self.parts.is_empty()
    }

    /// True for a file that nobody has changed since.
    pub(super) fn has(&self, changed: i64) -> bool {
        changed <= self.changed
    }
}
