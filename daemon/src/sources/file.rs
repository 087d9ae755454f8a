//! Log files: lines of text.

use super::follow::{Files, Format};
use super::{Feed, FeedId, Kind, Position, Source, SourceError, Wanted};

/// Log files.
pub(super) const KIND: Kind = Kind { name: "file", takes: |wanted| pattern(wanted).is_some(), open };

fn pattern(wanted: &Wanted) -> Option<&str> {
    match wanted {
        Wanted::Lines(pattern) => Some(pattern),
        _ => None,
    }
}

/// Opens all log files that feeds want.
/// # Errors
/// None: what is wrong with a file shows in [`Source::status`].
fn open(
    feeds: &[Feed],
    positions: &dyn Fn(&str) -> Option<Position>,
) -> Result<Box<dyn Source>, SourceError> {
    let wanted: Vec<(FeedId, String)> =
        feeds.iter().filter_map(|feed| Some((feed.id, pattern(&feed.what)?.to_owned()))).collect();
    Ok(Box::new(Files::open(KIND.name, Format::Lines, &wanted, positions)))
}
