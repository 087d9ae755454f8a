//! Finds what became of a log that was rotated while nobody watched: renamed, copied, compressed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::gzip::Gunzip;
use super::split::Format;
use super::tail::{FileId, Saved, Tail, changed_at, holds};

/// So many entries of a directory are looked at.
const MAX_ENTRIES: usize = 16 * 1024;

/// Which rotation of a log a file is, told by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Generation {
    /// `auth.log.1`: the higher, the older.
    Index(u64),
    /// `auth.log-20260101`: the higher, the newer.
    Date(String),
    /// Somebody else's file, or a name that tells nothing.
    Unknown,
}

/// A file beside the log.
#[derive(Debug)]
struct Candidate {
    path: PathBuf,
    id: FileId,
    mtime: i64,
    size: u64,
    generation: Generation,
    gzip: bool,
}

/// The files of the directories where a log's older parts may lie.
#[derive(Debug)]
pub(super) struct Siblings {
    found: Vec<Candidate>,
}

impl Siblings {
    /// Lists the directories of `path`, of the file that it links to, and of the one that it linked to
    /// `earlier`; what `path` names now is left out.
    pub(super) fn of(path: &Path, earlier: Option<&str>) -> Siblings {
        let mut found = Vec::new();
        let real = fs::canonicalize(path).ok();
        let own = fs::metadata(path).ok().map(|status| FileId::from(&status));
        let mut seen: Vec<&Path> = Vec::new();
        for log in [Some(path), real.as_deref(), earlier.map(Path::new)].into_iter().flatten() {
            let (Some(dir), Some(name)) = (log.parent(), log.file_name()) else { continue };
            if seen.contains(&dir) {
                continue;
            }
            seen.push(dir);
            list(dir, &name.to_string_lossy(), own, &mut found);
        }
        Siblings { found }
    }

    /// The file that goes on where `saved` stopped: by inode, else by content (a copy, a compressed file).
    pub(super) fn find(&self, saved: &Saved, format: Format, now: Instant) -> Option<Tail> {
        let by_inode = |c: &&Candidate| c.id == saved.id() && !c.gzip;
        if let Some(tail) = self.found.iter().filter(by_inode).find_map(|c| open_plain(c, saved, format, now))
        {
            return Some(tail);
        }
        // Without a byte that was seen, content tells nothing.
        if saved.fp_len == 0 {
            return None;
        }
        let mut others: Vec<&Candidate> =
            self.found.iter().filter(|c| c.gzip || c.size >= saved.offset).collect();
        // Names of the log's own family first, because only few of the others are worth a look.
        others.sort_by_key(|c| (c.generation == Generation::Unknown, c.gzip));
        others.iter().find_map(|candidate| {
            if candidate.gzip {
                open_gzip(candidate, Some(saved), format, now)
            } else {
                open_plain(candidate, saved, format, now)
            }
        })
    }

    /// Rotated parts of the log that are newer than the one that was found, oldest first; if none was found,
    /// those that were written after `saved`. Parts in `known` are left out.
    pub(super) fn newer(
        &self,
        found: Option<&Tail>,
        saved: &Saved,
        known: &[Tail],
        format: Format,
        now: Instant,
    ) -> Vec<Tail> {
        let is = |c: &Candidate, tail: &Tail| tail.id == c.id;
        let base = found.and_then(|tail| self.found.iter().find(|c| is(c, tail)));
        let mut newer: Vec<&Candidate> = self
            .found
            .iter()
            .filter(|c| c.generation != Generation::Unknown)
            .filter(|c| !known.iter().chain(found).any(|tail| is(c, tail)))
            .filter(|c| match base.map(|base| (&base.generation, base)) {
                Some((Generation::Index(of), _)) => matches!(c.generation, Generation::Index(n) if n < *of),
                Some((Generation::Date(of), _)) => matches!(&c.generation, Generation::Date(n) if n > of),
                Some((Generation::Unknown, base)) => c.mtime > base.mtime,
                None => c.mtime > saved.mtime,
            })
            .collect();
        newer.sort_by(|a, b| match (&a.generation, &b.generation) {
            (Generation::Index(a_n), Generation::Index(b_n)) => b_n.cmp(a_n).then(a.gzip.cmp(&b.gzip)),
            (Generation::Date(a_n), Generation::Date(b_n)) => a_n.cmp(b_n).then(a.gzip.cmp(&b.gzip)),
            _ => a.mtime.cmp(&b.mtime),
        });
        // While it is being compressed, a part stands there twice.
        newer.dedup_by(|next, kept| next.generation == kept.generation);
        newer
            .iter()
            .filter_map(|c| {
                if c.gzip {
                    return open_gzip(c, None, format, now);
                }
                let mut tail = Tail::begin(File::open(&c.path).ok()?, format, now).ok()?;
                tail.catchup_end = tail.size().ok()?;
                Some(tail)
            })
            .collect()
    }
}

fn list(dir: &Path, log: &str, own: Option<FileId>, found: &mut Vec<Candidate>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.take(MAX_ENTRIES).flatten() {
        // Symbolic links lead to files that are listed under their own names.
        let Ok(status) = entry.metadata() else { continue };
        let id = FileId::from(&status);
        if !status.is_file() || Some(id) == own || found.iter().any(|c| c.id == id) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let gzip = name.ends_with(".gz");
        let generation = generation(log, name.strip_suffix(".gz").unwrap_or(&name));
        let (mtime, size) = (changed_at(&status), status.len());
        found.push(Candidate { path: entry.path(), id, mtime, size, generation, gzip });
    }
}

/// Which rotation of `log` a file of that name is: `auth.log.1`, `auth.log-20260101`, `auth-20260101.log`.
fn generation(log: &str, name: &str) -> Generation {
    let middle = name.strip_prefix(log).or_else(|| {
        let (stem, extension) = log.rsplit_once('.')?;
        name.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.')
    });
    let Some(mark) = middle.and_then(|middle| middle.strip_prefix(['.', '-', '_'])) else {
        return Generation::Unknown;
    };
    let digits = mark.bytes().filter(u8::is_ascii_digit).count();
    let plain =
        mark.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.' | b':' | b'T' | b'Z'));
    match mark.parse::<u64>() {
        Ok(index) if digits < 6 => Generation::Index(index),
        _ if digits >= 6 && plain => Generation::Date(mark.to_owned()),
        _ => Generation::Unknown,
    }
}

fn open_plain(candidate: &Candidate, saved: &Saved, format: Format, now: Instant) -> Option<Tail> {
    let resumed = || -> io::Result<Option<Tail>> {
        let file = File::open(&candidate.path)?;
        if !holds(&file, saved)? {
            return Ok(None);
        }
        let mut tail = Tail::resume(file, format, saved, now)?;
        tail.catchup_end = tail.size()?;
        Ok(Some(tail))
    };
    // A neighbour that cannot be read is none of ours.
    resumed().unwrap_or(None)
}

fn open_gzip(candidate: &Candidate, saved: Option<&Saved>, format: Format, now: Instant) -> Option<Tail> {
    let mut from = Gunzip::open(File::open(&candidate.path).ok()?).ok()?;
    if let Some(saved) = saved
        && !from.goes_on(saved.head(), saved.near(), saved.offset).ok()?
    {
        return None;
    }
    let mut tail = Tail::unpack(from, format, saved, now);
    tail.id = candidate.id;
    Some(tail)
}
