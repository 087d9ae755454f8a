//! Journal files: the entries of each jail's matches, with the stamps that journald wrote.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use pillory_core::event::Line;
use pillory_core::filter::Clock;
use pillory_core::time::Timestamp;
use sdjournal::{EntryRef, Journal};

use crate::clock;

use super::Scanned;
use super::judging::Judging;

/// A directory with one journal file in it, gone when dropped: the journal library opens directories only.
struct Alone(PathBuf);

impl Drop for Alone {
    fn drop(&mut self) {
        // What stays behind is a link in the directory for temporary files.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn open(path: &Path) -> Result<(Journal, Option<Alone>), String> {
    if path.is_dir() {
        return Ok((Journal::open_dir(path).map_err(|error| error.to_string())?, None));
    }
    let alone = Alone(private_directory()?);
    let inside = alone.0.join("scanned.journal");
    if std::fs::hard_link(path, &inside).is_err() {
        std::fs::copy(path, &inside)
            .map_err(|error| format!("cannot copy it to {}: {error}", inside.display()))?;
    }
    let journal = Journal::open_dir(&alone.0).map_err(|error| error.to_string())?;
    Ok((journal, Some(alone)))
}

/// A new directory that nobody else can look into; one that somebody made beforehand is never taken.
fn private_directory() -> Result<PathBuf, String> {
    let mut refused = String::new();
    for attempt in 0..16u32 {
        let name = format!("pillory-scan-{}-{attempt}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) => refused = format!("cannot create {}: {error}", directory.display()),
        }
    }
    Err(refused)
}

fn stamp(entry: &EntryRef) -> Timestamp {
    Timestamp::from_millis(i64::try_from(entry.realtime_usec() / 1000).unwrap_or(i64::MAX))
}

/// When the first entry was written.
pub(super) fn first_stamp(path: &Path) -> Option<Timestamp> {
    let (journal, _alone) = open(path).ok()?;
    let mut entries = journal.query().iter().ok()?;
    entries.find_map(Result::ok).map(|entry| stamp(&entry))
}

/// Judges every entry for the jails that want it.
pub(super) fn scan(
    path: &Path,
    judging: &mut Judging,
    jails: &[usize],
    done: &mut Scanned,
) -> Result<(), String> {
    let (journal, _alone) = open(path)?;
    let entries = journal.query().iter().map_err(|error| error.to_string())?;
    let clock = Clock { now: clock::now(), zone: clock::zone() };
    done.bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
    for entry in entries {
        // A broken entry must not hide those behind it.
        let Ok(entry) = entry else { continue };
        done.records += 1;
        let Some(message) = entry.get("MESSAGE") else { continue };
        let line = compose(&entry, message);
        for jail in jails {
            if wants(judging.journalmatch(*jail), &entry) {
                judging.line(&[*jail], &Line { bytes: &line, stamp: Some(stamp(&entry)) }, &clock);
            }
        }
    }
    Ok(())
}

/// True if any alternative has all its fields; without any nothing is wanted.
fn wants(matches: &[Vec<(String, String)>], entry: &EntryRef) -> bool {
    let has = |(field, value): &(String, String)| entry.get(field) == Some(value.as_bytes());
    matches.iter().any(|pairs| !pairs.is_empty() && pairs.iter().all(has))
}

/// The entry as syslog would have written it, without a date: `host ident[pid]: message`.
fn compose(entry: &EntryRef, message: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(message.len() + 64);
    line.extend_from_slice(entry.get("_HOSTNAME").unwrap_or(b"-"));
    line.push(b' ');
    line.extend_from_slice(entry.get("SYSLOG_IDENTIFIER").or_else(|| entry.get("_COMM")).unwrap_or(b"-"));
    if let Some(pid) = entry.get("_PID").or_else(|| entry.get("SYSLOG_PID")) {
        line.push(b'[');
        line.extend_from_slice(pid);
        line.push(b']');
    }
    line.extend_from_slice(b": ");
    line.extend_from_slice(message);
    line
}
