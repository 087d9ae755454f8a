//! Journal files: the entries of each jail's matches, with the stamps that journald wrote, as the daemon reads them.

use std::path::Path;

use pillory_core::event::Line;
use pillory_core::filter::Clock;
use pillory_core::time::Timestamp;

use crate::cli::complain;
use crate::clock;
use crate::escape::escape;
use crate::sources::FeedId;
use crate::sources::offline::{Alternatives, Entries};

use super::{Scanned, Scanner};

/// When the first entry was written.
pub(super) fn first_stamp(path: &Path) -> Option<Timestamp> {
    Entries::open(path, &[]).ok()?.first_stamp()
}

/// Judges every entry for the jails that want it.
pub(super) fn scan(
    path: &Path,
    scanner: &mut Scanner,
    jails: &[usize],
    done: &mut Scanned,
) -> Result<(), String> {
    let Scanner { reading, judging, .. } = scanner;
    // A jail without matches wants nothing.
    let wanted = jails.iter().map(|jail| (*jail as FeedId, reading.journalmatch(*jail)));
    let wanted: Vec<(FeedId, &Alternatives)> = wanted.filter(|(_, any)| !any.is_empty()).collect();
    let mut entries = Entries::open(path, &wanted).map_err(|error| error.to_string())?;
    let clock = Clock { now: clock::now(), zone: clock::zone() };
    done.bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    while let Some(found) = entries.next() {
        done.records += 1;
        for feed in found.feeds {
            let line = Line { bytes: found.line, stamp: Some(found.stamp) };
            reading.line(&[usize::from(feed)], &line, &clock, |read| judging.put_off(read));
        }
    }
    judging.count_pending();
    let is_denied = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    done.is_closed = entries.left_out.iter().any(|(_, error)| is_denied(error));
    say_what_is_missing(path, &entries);
    Ok(())
}

fn say_what_is_missing(path: &Path, entries: &Entries) {
    for (path, error) in &entries.left_out {
        complain(&format!("{} is left out: {error}", escape(&path.display().to_string())));
    }
    let path = escape(&path.display().to_string());
    if entries.damaged > 0 {
        complain(&format!("{path}: {} entries are damaged and left out", entries.damaged));
    }
}
