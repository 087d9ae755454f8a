//! Against the logs and indices that the real SQLite writes.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{Damage, FRAME_BYTES, HEADER_BYTES, Index, damage, doubt, walk};
use crate::store::beside;

const PAGE_BYTES: usize = 1_024;

/// A database as a killed process leaves it: what belongs to it, copied while it is open.
struct Left {
    db: Connection,
    directory: PathBuf,
    copies: u32,
}

impl Left {
    /// With so many transactions, each of one row on a page of its own.
    fn with(name: &str, rows: usize) -> Left {
        let directory = std::env::temp_dir().join(format!("pillory-wal-{name}-{}", std::process::id()));
        // Left over from a run that was killed; absence is the normal case.
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(&directory).unwrap();
        let db = Connection::open(directory.join("live")).unwrap();
        let setup = format!(
            "PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
            CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);"
        );
        db.execute_batch(&setup).unwrap();
        let left = Left { db, directory, copies: 0 };
        left.write(rows);
        left
    }

    fn write(&self, rows: usize) {
        for _ in 0..rows {
            let row = "INSERT INTO meta SELECT count(*), printf('%900d', 1) FROM meta";
            self.db.execute(row, []).unwrap();
        }
    }

    fn checkpoint(&self) {
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
    }

    /// What a crash at this moment leaves.
    fn killed(&mut self) -> PathBuf {
        self.copies += 1;
        let copy = self.directory.join(format!("copy{}", self.copies));
        for suffix in ["", "-wal", "-shm"] {
            std::fs::copy(beside(&self.directory.join("live"), suffix), beside(&copy, suffix)).unwrap();
        }
        copy
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

fn log(path: &Path) -> Vec<u8> {
    std::fs::read(beside(path, "-wal")).unwrap()
}

fn set_log(path: &Path, bytes: &[u8]) {
    std::fs::write(beside(path, "-wal"), bytes).unwrap();
}

fn remove(path: &Path, suffix: &str) {
    std::fs::remove_file(beside(path, suffix)).unwrap();
}

/// Where a frame begins; the first is 0.
fn at(frame: usize) -> usize {
    HEADER_BYTES + frame * (FRAME_BYTES + PAGE_BYTES)
}

fn frames(path: &Path) -> usize {
    (log(path).len() - HEADER_BYTES) / (FRAME_BYTES + PAGE_BYTES)
}

fn rows(path: &Path) -> u32 {
    let db = Connection::open(path).unwrap();
    db.query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_log_that_is_whole_is_read_to_where_sqlite_reads_it() {
    let mut left = Left::with("whole", 30);
    let path = left.killed();
    let walked = walk(&log(&path)[..]).unwrap();
    let index = Index::read(&std::fs::read(beside(&path, "-shm")).unwrap()).unwrap();
    assert_eq!((walked.committed, walked.salts), (index.frames, Some(index.salts)));
    assert_eq!(walked.committed as usize, frames(&path));
    assert_eq!(damage(&path), None);
}

#[test]
fn a_flipped_bit_anywhere_in_the_log_is_damage_whenever_sqlite_loses_something() {
    let mut left = Left::with("bit", 8);
    let path = left.killed();
    let whole = log(&path);
    let expected = rows(&path);
    assert_eq!(expected, 8);
    let mut losses = 0;
    for place in (0..whole.len()).step_by(97).chain(0..HEADER_BYTES).chain(at(4)..at(4) + FRAME_BYTES) {
        let path = left.killed();
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        set_log(&path, &bytes);
        let found = damage(&path);
        let read = Connection::open(&path)
            .and_then(|db| db.query_row("SELECT count(*) FROM meta", [], |row| row.get::<_, u32>(0)));
        let is_lost = read.ok() != Some(expected);
        losses += usize::from(is_lost);
        assert_eq!(found.is_some_and(|found| found.loses), is_lost, "byte {place}: {found:?}");
    }
    assert!(losses > 50, "{losses}");
}

#[test]
fn a_log_that_is_cut_or_gone_is_damage_wherever_it_was_cut() {
    let mut left = Left::with("cut", 8);
    let path = left.killed();
    let whole = log(&path);
    for length in (0..whole.len()).step_by(211) {
        let path = left.killed();
        set_log(&path, &whole[..length]);
        assert!(damage(&path).is_some_and(|found| found.loses), "{length}");
    }
    remove(&path, "-wal");
    assert!(damage(&path).is_some_and(|found| found.loses));
}

#[test]
fn what_a_crash_leaves_behind_the_last_commit_is_no_damage() {
    let mut left = Left::with("torn", 8);
    let before = left.killed();
    left.write(1);
    let mut more = log(&left.killed());
    // A transaction of several frames, whose parts reached the disk in any order or not at all.
    let (begin, end) = (at(frames(&before)), more.len());
    assert!((end - begin) / (FRAME_BYTES + PAGE_BYTES) >= 2);
    for length in [begin, begin + 10, begin + FRAME_BYTES, begin + 700, at(frames(&before) + 1), end - 1] {
        set_log(&before, &more[..length]);
        assert_eq!(damage(&before), None, "cut at {length} of {begin}..{end}");
    }
    more[begin..begin + 600].fill(0);
    set_log(&before, &more);
    assert_eq!(damage(&before), None);
    // Without an index neither: nothing says that it was finished.
    remove(&before, "-shm");
    assert_eq!(damage(&before), None);
}

#[test]
fn a_log_that_is_written_from_its_beginning_again_is_no_damage() {
    let mut left = Left::with("reset", 12);
    let old = left.killed();
    left.checkpoint();
    assert_eq!(damage(&left.killed()), None);
    left.write(1);
    let path = left.killed();
    assert!(walk(&log(&path)[..]).unwrap().committed < frames(&path) as u32, "old frames remain");
    assert_eq!(damage(&path), None);
    // An index of before, as a power cut leaves it.
    std::fs::copy(beside(&old, "-shm"), beside(&path, "-shm")).unwrap();
    assert_eq!(damage(&path), None);
    remove(&path, "-shm");
    assert_eq!(damage(&path), None);
}

#[test]
fn without_its_index_a_log_tells_of_all_but_its_last_transaction() {
    let mut left = Left::with("alone", 8);
    let path = left.killed();
    remove(&path, "-shm");
    let whole = log(&path);
    let last = frames(&path) - 1;
    for frame in 0..=last {
        let mut bytes = whole.clone();
        bytes[at(frame) + 500] ^= 1;
        set_log(&path, &bytes);
        // The last transaction writes the last leaf, and may write the page above.
        let is_certain = frame + 3 < last;
        assert!(damage(&path).is_some() || !is_certain, "frame {frame} of {last}");
    }
}

#[test]
fn a_log_whose_changes_the_database_has_may_be_gone_and_does_not_set_it_back() {
    let mut left = Left::with("copied", 8);
    left.checkpoint();
    let path = left.killed();
    remove(&path, "-wal");
    assert_eq!(damage(&path), None);
    let path = left.killed();
    let mut bytes = log(&path);
    bytes[at(5)] ^= 1;
    set_log(&path, &bytes);
    let found = damage(&path).unwrap();
    assert!(!found.loses && found.is_behind, "{found:?}");
    found.put_aside(&path).unwrap();
    assert_eq!(rows(&path), 8);
    assert!(beside(&path, ".broken-wal").exists());
}

#[test]
fn an_index_that_was_just_being_written_claims_nothing() {
    let mut left = Left::with("index", 4);
    let path = left.killed();
    let index = std::fs::read(beside(&path, "-shm")).unwrap();
    assert!(Index::read(&index).is_some());
    for place in 0..96 {
        let mut torn = index.clone();
        torn[place] ^= 1;
        assert_eq!(Index::read(&torn), None, "byte {place}");
    }
    assert_eq!(Index::read(&index[..99]), None);
}

#[test]
fn a_database_that_is_doubted_is_marked_or_known_to_be_corrupt() {
    let left = Left::with("doubt", 40);
    doubt(&left.db).unwrap();
    let mark: String =
        left.db.query_row("SELECT value FROM meta WHERE key = 'anew'", [], |row| row.get(0)).unwrap();
    assert_eq!(mark, "1");
    left.checkpoint();
    let path = left.directory.join("live");
    let mut bytes = std::fs::read(&path).unwrap();
    let half = bytes.len() / 2 / PAGE_BYTES * PAGE_BYTES;
    bytes[half..half + PAGE_BYTES].fill(0xA5);
    let torn = left.directory.join("torn");
    std::fs::write(&torn, bytes).unwrap();
    let error = doubt(&Connection::open(&torn).unwrap()).unwrap_err();
    assert!(crate::store::is_broken(&error), "{error}");
}

#[test]
fn what_is_said_names_the_file_and_what_is_left() {
    let known = Damage { left: 3, of: Some(9), loses: true, is_behind: false };
    let said = known.said(Path::new("/var/lib/pillory/pillory.db"));
    assert!(
        said.starts_with("/var/lib/pillory/pillory.db-wal is damaged, cut or gone (3 of 9 pages"),
        "{said}"
    );
}
