//! What the store cannot take: kept beside the control socket, in a file of its own, until the store has it.
//!
//! `/run` lies in memory on nearly every host, so it takes bytes when the disk takes none, outlives a daemon that is
//! killed, and is gone after a reboot, like the bans in the kernel. The first line names the store and the file; every
//! other one is a write. The store keeps the name of the last file it took over, so none counts twice.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Error, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use pillory_core::ledger::Ban;
use pillory_core::machine::Record;

use crate::clock;
use crate::sources::Position;

use super::writer::Write;

/// Name of the setting that keeps which file was taken over last.
pub(super) const META_SPILLED: &str = "spilled";

/// The file grows no further than this. Beyond half of it attempts are left out: bans are worth more.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    state_dir: PathBuf,
    id: String,
}

impl Head {
    /// Of a file that nobody has taken over yet.
    fn new(state_dir: &Path) -> Head {
        // Two may begin within a millisecond.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{}-{number}", clock::now().millis(), std::process::id());
        Head { state_dir: state_dir.to_owned(), id }
    }
}

/// Any other line.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    records: Vec<Record>,
    positions: Vec<(String, String)>,
    meta: Vec<(String, String)>,
    snapshot: Option<Vec<Ban>>,
}

/// The file beside the socket at `control`, if something waits there for the store in `state_dir`.
pub(crate) fn waits(control: &Path, state_dir: &Path) -> Option<PathBuf> {
    let spill = Spill::beside(control, state_dir);
    let (head, entries, _) = read(&mut BufReader::new(File::open(spill.path()).ok()?)).ok()?;
    (head.state_dir == spill.head.state_dir && !entries.is_empty()).then_some(spill.path)
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Spill {
    path: PathBuf,
    head: Head,
    file: Option<File>,
    bytes: u64,
}

impl Spill {
    /// The file of the store in `state_dir`, beside the socket at `control`. Touches nothing.
    pub(super) fn beside(control: &Path, state_dir: &Path) -> Spill {
        let mut path = control.as_os_str().to_owned();
        path.push(".unwritten");
        Spill { path: path.into(), head: Head::new(state_dir), file: None, bytes: 0 }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its name, once there is a file.
    pub(super) fn id(&self) -> Option<&str> {
        self.file.is_some().then_some(self.head.id.as_str())
    }

    /// What an earlier daemon left there, and why that cannot be used; from now on it is added to.
    pub(super) fn read(&mut self) -> (Vec<Write>, Option<Error>) {
        match self.try_read() {
            Ok(writes) => (writes, None),
            Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), None),
            Err(error) => (Vec::new(), Some(error)),
        }
    }

    fn try_read(&mut self) -> std::io::Result<Vec<Write>> {
        let mut options = OpenOptions::new();
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let file = options.read(true).append(true).custom_flags(flags).open(&self.path)?;
        let status = file.metadata()?;
        // The socket may lie where others write.
        let own = status.is_file() && status.uid() == rustix::process::geteuid().as_raw();
        if !own || status.mode() & 0o022 != 0 {
            return Err(Error::new(ErrorKind::PermissionDenied, "it is not ours alone"));
        }
        let (head, entries, good) = read(&mut BufReader::new(&file))?;
        if head.state_dir != self.head.state_dir {
            return Err(Error::other(format!("it belongs to {}", head.state_dir.display())));
        }
        file.set_len(good)?;
        (self.head, self.bytes, self.file) = (head, good, Some(file));
        Ok(entries.into_iter().map(Write::from).collect())
    }

    /// Adds writes; all or none.
    /// # Errors
    /// The system's; `StorageFull` if the file is as large as it may be.
    pub(super) fn append(&mut self, writes: &[Write]) -> std::io::Result<()> {
        let mut text = Vec::new();
        if self.file.is_none() {
            serde_json::to_writer(&mut text, &self.head)?;
            text.push(b'\n');
        }
        for write in writes {
            serde_json::to_writer(&mut text, &Entry::of(write, self.bytes < MAX_BYTES / 2))?;
            text.push(b'\n');
        }
        let bytes = self.bytes + text.len() as u64;
        if bytes > MAX_BYTES {
            return Err(ErrorKind::StorageFull.into());
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.create()?,
        };
        // What was written in part is taken back; reading ends before it in any case.
        let written = file.write_all(&text).or_else(|error| file.set_len(self.bytes).and(Err(error)));
        if written.is_ok() {
            self.bytes = bytes;
        }
        self.file = Some(file).filter(|_| self.bytes > 0);
        written
    }

    fn create(&self) -> std::io::Result<File> {
        remove(&self.path)?;
        OpenOptions::new().append(true).create_new(true).mode(0o600).open(&self.path)
    }

    /// Takes the file away: the store has everything.
    /// # Errors
    /// The system's.
    pub(super) fn clear(&mut self) -> std::io::Result<()> {
        if self.file.take().is_none() {
            return Ok(());
        }
        (self.head, self.bytes) = (Head::new(&self.head.state_dir), 0);
        remove(&self.path)
    }
}

/// The first line, what the others say, and how many bytes of them can be read.
fn read(lines: &mut impl BufRead) -> std::io::Result<(Head, Vec<Entry>, u64)> {
    let mut line = Vec::new();
    let mut good = lines.read_until(b'\n', &mut line)?;
    let head = serde_json::from_slice(&line)?;
    let mut entries = Vec::new();
    loop {
        line.clear();
        let bytes = lines.read_until(b'\n', &mut line)?;
        // Only the last line can be cut off, by a crash and within a letter too; nobody was told that it is kept.
        let Ok(entry) = serde_json::from_slice(&line) else { break };
        good += bytes;
        entries.push(entry);
    }
    Ok((head, entries, good as u64))
}

/// For fuzzing: what can be read is set aside again as the same.
#[cfg(any(test, fuzzing))]
pub(super) fn whatever(mut data: &[u8]) {
    let length = data.len() as u64;
    let Ok((_, entries, good)) = read(&mut data) else { return };
    assert!(good <= length);
    for entry in entries {
        let said = serde_json::to_string(&entry).unwrap_or_default();
        let again = serde_json::to_string(&Entry::of(&Write::from(entry), true)).unwrap_or_default();
        assert_eq!(said, again);
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Entry {
    fn of(write: &Write, with_attempts: bool) -> Entry {
        let records = write.records.iter();
        let wanted =
            |record: &&Record| with_attempts || !matches!(record, Record::Attempt(_) | Record::Learnt(_));
        Entry {
            records: records.filter(wanted).cloned().collect(),
            positions: write
                .positions
                .iter()
                .map(|(stream, at)| (stream.to_string(), at.0.clone()))
                .collect(),
            meta: write.meta.iter().map(|(key, value)| (key.to_string(), value.clone())).collect(),
            snapshot: write.snapshot.clone(),
        }
    }
}

impl From<Entry> for Write {
    fn from(entry: Entry) -> Write {
        Write {
            records: entry.records,
            positions: entry
                .positions
                .into_iter()
                .map(|(stream, at)| (stream.into(), Position(at)))
                .collect(),
            meta: entry.meta.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            snapshot: entry.snapshot,
            ..Write::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_that_begin_within_a_millisecond_are_not_taken_for_one() {
        let begun: std::collections::HashSet<String> =
            (0..1_000).map(|_| Head::new(Path::new("/state")).id).collect();
        assert_eq!(begun.len(), 1_000);
    }
}
