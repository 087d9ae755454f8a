//! Finds what became of a log that was rotated while nobody watched: renamed, copied, compressed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::before::Before;
use super::gzip::Gunzip;
use super::place::{FileId, Saved, changed_at, holds};
use super::split::Format;
use super::tail::Tail;

/// So many entries of a directory are looked at.
const MAX_ENTRIES: usize = 16 * 1024;

/// So many files are opened in search of one.
const MAX_OPENED: usize = 256;

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
#[derive(Debug, PartialEq, Eq)]
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
    path: PathBuf,
    earlier: Option<PathBuf>,
    found: Vec<Candidate>,
}

impl Siblings {
    /// Lists the directories of `path`, of the file that it links to, and of the one that it linked to
    /// `earlier`; what `path` names now is left out.
    pub(super) fn of(path: &Path, earlier: Option<&Path>) -> Siblings {
        let mut found = Vec::new();
        let real = fs::canonicalize(path).ok();
        let own = fs::metadata(path).ok().map(|status| FileId::from(&status));
        let mut seen: Vec<&Path> = Vec::new();
        for log in [Some(path), real.as_deref(), earlier].into_iter().flatten() {
            let (Some(dir), Some(name)) = (log.parent(), log.file_name()) else { continue };
            if !seen.contains(&dir) {
                seen.push(dir);
                list(dir, &name.to_string_lossy(), own, &mut found);
            }
        }
        Siblings { path: path.to_owned(), earlier: earlier.map(Path::to_owned), found }
    }

    /// The log's own rotated parts that hold anything: when each was changed last, and where it is.
    pub(super) fn parts(&self) -> impl Iterator<Item = (i64, &Path)> {
        let ours = self.found.iter().filter(|c| c.generation != Generation::Unknown && c.size > 0);
        ours.map(|c| (c.mtime, c.path.as_path()))
    }

    /// Whether nothing was renamed meanwhile, so that what was found by name is what was meant.
    pub(super) fn are_still_so(&self) -> bool {
        let again = Siblings::of(&self.path, self.earlier.as_deref());
        let names = |of: &Siblings| -> Vec<(PathBuf, FileId)> {
            of.found.iter().map(|c| (c.path.clone(), c.id)).collect()
        };
        names(self) == names(&again)
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
        // Names of the log's own family first, because only so many of the others are worth a look.
        others.sort_by_key(|c| (c.generation == Generation::Unknown, c.gzip, std::cmp::Reverse(c.mtime)));
        others.iter().take(MAX_OPENED).find_map(|candidate| {
            if candidate.gzip {
                open_gzip(candidate, Some(saved), format, now)
            } else {
                open_plain(candidate, saved, format, now)
            }
        })
    }

    /// Rotated parts of the log that are newer than the one that was found, oldest first; if none was found,
    /// those that were written after `saved` was. What is known, also under another name or compressed, is
    /// left out.
    pub(super) fn newer(
        &self,
        found: Option<FileId>,
        saved: &Saved,
        known: &Known<'_>,
        format: Format,
        now: Instant,
    ) -> Vec<Tail> {
        let base = found.and_then(|id| self.found.iter().find(|c| c.id == id));
        let is_newer = |c: &&Candidate| match base.map(|base| (&base.generation, base)) {
            Some((Generation::Index(of), _)) => matches!(c.generation, Generation::Index(n) if n < *of),
            Some((Generation::Date(of), _)) => matches!(&c.generation, Generation::Date(n) if n > of),
            Some((Generation::Unknown, base)) => c.mtime > base.mtime,
            None => c.mtime > saved.mtime && !known.before.has(c.mtime),
        };
        // An empty part has nothing to give; most likely it is a copy that is just being made.
        let ours = |c: &&Candidate| c.generation != Generation::Unknown && Some(c.id) != found && c.size > 0;
        let mut newer: Vec<&Candidate> = self.found.iter().filter(ours).filter(is_newer).collect();
        newer.sort_by(|a, b| match (&a.generation, &b.generation) {
            (Generation::Index(a_n), Generation::Index(b_n)) => b_n.cmp(a_n).then(a.gzip.cmp(&b.gzip)),
            (Generation::Date(a_n), Generation::Date(b_n)) => a_n.cmp(b_n).then(a.gzip.cmp(&b.gzip)),
            _ => a.mtime.cmp(&b.mtime),
        });
        // While it is being compressed, a part stands there twice.
        newer.dedup_by(|next, kept| next.generation == kept.generation);
        let mut reached = false;
        let mut open = |c: &Candidate| -> Option<Tail> {
            if reached || (known.id)(c.id) {
                return None;
            }
            let goes_on = known.before.parts.iter().find_map(|saved| match c.gzip {
                true => open_gzip(c, Some(saved), format, now),
                false => open_plain(c, saved, format, now),
            });
            let tail = match goes_on {
                Some(tail) => tail,
                None if c.gzip => open_gzip(c, None, format, now)?,
                None => {
                    let mut tail = Tail::begin(File::open(&c.path).ok()?, format, now).ok()?;
                    tail.catchup_end = tail.size().ok()?;
                    tail
                }
            };
            let head = tail.first_bytes().ok()?;
            reached = (known.newest)(&head);
            let is_known = reached || head.is_empty() || (known.content)(&head);
            (!is_known).then_some(tail)
        };
        newer.into_iter().filter_map(&mut open).collect()
    }
}

/// What is followed already.
pub(super) struct Known<'a> {
    /// Whether somebody follows this file.
    pub(super) id: &'a dyn Fn(FileId) -> bool,
    /// Whether a file that begins with these bytes is a copy of one that is followed.
    pub(super) content: &'a dyn Fn(&[u8]) -> bool,
    /// Whether a file that begins with these bytes is a copy of the newest one that is followed. What is newer still
    /// is found once the follower sees that this one was rotated; taken up now it would come twice.
    pub(super) newest: &'a dyn Fn(&[u8]) -> bool,
    /// What was there before anything was.
    pub(super) before: &'a Before,
}

/// Whether `part` is named like a rotated part of `log`.
pub(super) fn is_part_of(log: &Path, part: &Path) -> bool {
    let (Some(log_name), Some(part_name)) = (log.file_name(), part.file_name()) else { return false };
    let kind = generation(&log_name.to_string_lossy(), &part_name.to_string_lossy());
    log.parent() == part.parent() && kind != Generation::Unknown
}

/// How parts are named that were packed, in whatever way.
const PACKED: [&str; 4] = [".gz", ".xz", ".zst", ".bz2"];

/// True if a file's name says that it is packed.
pub(crate) fn is_named_packed(path: &Path) -> bool {
    let name = path.to_string_lossy();
    PACKED.iter().any(|end| name.ends_with(end))
}

/// A log and its rotated parts, each once: while a part is being packed it stands there twice.
pub(crate) fn parts_of(log: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (log.parent(), log.file_name()) else { return vec![log.to_owned()] };
    let mut parts: Vec<(String, bool, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().take(MAX_ENTRIES).flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        let plain = PACKED.iter().find_map(|end| file.strip_suffix(end)).unwrap_or(&file);
        let is_part = generation(&name.to_string_lossy(), plain) != Generation::Unknown;
        if is_part && entry.metadata().is_ok_and(|status| status.is_file()) {
            parts.push((plain.to_owned(), plain.len() < file.len(), entry.path()));
        }
    }
    parts.sort();
    parts.dedup_by(|next, kept| next.0 == kept.0);
    parts.into_iter().map(|(_, _, path)| path).chain([log.to_owned()]).collect()
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
    (tail.id, tail.mtime) = (candidate.id, candidate.mtime);
    Some(tail)
}
