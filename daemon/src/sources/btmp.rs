//! btmp: raw `struct utmp` records of failed logins, as sshd and login write them.
//!
//! A record's bytes are handed out as they stand: 384, or 400 where time has 64 bits.

use std::path::Path;

use super::follow::{Files, Format};
use super::{Feed, FeedId, Kind, Position, Source, SourceError, Wanted};

/// btmp files.
pub(super) const KIND: Kind = Kind { name: "btmp", takes: |wanted| path(wanted).is_some(), open };

fn path(wanted: &Wanted) -> Option<&Path> {
    match wanted {
        Wanted::Btmp(path) => Some(path),
        _ => None,
    }
}

/// Opens all btmp files that feeds want.
/// # Errors
/// None: what is wrong with a file shows in [`Source::status`].
fn open(
    feeds: &[Feed],
    positions: &dyn Fn(&str) -> Option<Position>,
) -> Result<Box<dyn Source>, SourceError> {
    let wanted: Vec<(FeedId, String)> = feeds
        .iter()
        .filter_map(|feed| Some((feed.id, path(&feed.what)?.to_string_lossy().into_owned())))
        .collect();
    Ok(Box::new(Files::open(KIND.name, Format::Btmp, &wanted, positions)))
}
