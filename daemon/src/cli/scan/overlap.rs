//! Two records of the same attempts: sshd's failures stand in auth.log or the journal, and in btmp once more.
//!
//! As the daemon does, the scan prefers the journal and log files: login records of a time that such a file covers are
//! passed over, and the report says how many.

use std::path::Path;

use pillory_core::filter::Clock;
use pillory_core::time::{self, Timestamp};

use crate::clock;
use crate::sources::offline::Entries;
use crate::sources::past::{self, Format, Opened};

use super::reading::Reading;
use super::{By, Scanner};

const SECOND: time::Span = time::Span::from_millis(999);

/// From the first to the last record of a file.
pub(super) type Span = (Timestamp, Timestamp);

/// The times for which login records add nothing; none if there are no login records among the files.
///
/// What is read as the daemon does it covers nothing: there each attempt is read from one place only.
pub(super) fn covered(opened: &[(Opened, By)], scanner: &mut Scanner) -> Vec<Span> {
    if !opened.iter().any(|(file, _)| matches!(file.format, Format::Btmp(_))) {
        return Vec::new();
    }
    let by_itself = opened.iter().filter(|(_, by)| !matches!(by, By::Just(_)));
    by_itself.filter_map(|(file, _)| span(file, scanner)).collect()
}

fn span(file: &Opened, scanner: &mut Scanner) -> Option<Span> {
    let Scanner { reading, judging, .. } = scanner;
    let jail = reading.btmp_jail();
    let last = match file.format {
        Format::Btmp(_) => return None,
        Format::Text if !reading.holds(jail, &file.head, judging.last) => return None,
        Format::Text => last_line(file, reading)?,
        Format::Journal => last_entry(&file.path, reading, jail)?,
    };
    // Most logs write whole seconds, login records their parts, too.
    Some((file.first, last + SECOND)).filter(|(first, last)| first <= last)
}

/// The stamp of a text file's last line that has one: it is read through, as it may be packed.
fn last_line(file: &Opened, reading: &mut Reading) -> Option<Timestamp> {
    if file.path == Path::new("-") {
        // What comes through a pipe can be read once only.
        return Some(Timestamp::from_millis(i64::MAX));
    }
    let clock = Clock { now: file.clock(), zone: clock::zone() };
    let mut pieces = past::open(&file.path).ok()?.into_pieces();
    let mut last = None;
    // What cannot be read is said when the file is scanned.
    while let Some(lines) = pieces.lines() {
        last = reading.last_stamp(lines, &clock).or(last);
    }
    last
}

fn last_entry(path: &Path, reading: &Reading, jail: usize) -> Option<Timestamp> {
    /// They are looked for among so many of the latest entries of each file.
    const LOOKED_AT: u64 = 200_000;
    let matches = reading.journalmatch(jail);
    let mut entries = Entries::open(path, &[(0, matches)]).ok()?;
    let holds = !matches.is_empty() && !entries.latest(1, LOOKED_AT).is_empty();
    holds.then(|| entries.last_stamp()).flatten()
}
