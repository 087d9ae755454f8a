//! Files as they lie there, for whoever reads what was written before: what they are by their content, and their bytes in
//! pieces, unpacked.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;

use pillory_core::filter::btmp::Layout;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::xz::{self, XzReader};

use super::{MAX_LINE_BYTES, Wanted, expand, parts_of};

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines.
    Text,
    /// Login records.
    Btmp(Layout),
    /// A systemd journal, or a directory of its files.
    Journal,
}

/// A file that was looked at.
pub(crate) struct Opened {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    /// Its first bytes, unpacked.
    pub(crate) head: Vec<u8>,
    /// Its size as it lies on disk.
    pub(crate) size: Option<u64>,
    /// It begins only somewhere within the file.
    pub(crate) is_cut: bool,
    /// When its first record happened; filled in later.
    pub(crate) first: Timestamp,
    reader: Box<dyn Read>,
    raw: Rc<Cell<u64>>,
    changed: Option<Timestamp>,
}

/// So much of a file is looked at to see what it is.
const HEAD_BYTES: usize = 256 * 1024;

/// Every journal file begins so. Source: systemd, "Journal File Format".
const JOURNAL_MAGIC: &[u8] = b"LPKSHHRH";

const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// How files begin that are packed in a way that cannot be undone here, and what undoes it.
/// Sources: RFC 8878, bzip2's manual.
const PACKED: [(&[u8], &str); 2] = [(b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2")];

/// Pieces are read in this size: a longest line fits, and the processor's cache still holds what was read.
const PIECE_BYTES: usize = 128 * 1024;

/// Where journald keeps its files.
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Every file that holds what is wanted, rotated parts too; directories of journals as they are.
pub(crate) fn files_of(wanted: &Wanted) -> Vec<PathBuf> {
    let all = match wanted {
        Wanted::Lines(pattern) => expand(pattern).paths.iter().flat_map(|path| parts_of(path)).collect(),
        Wanted::Btmp(path) => parts_of(path),
        Wanted::Journal { directory: Some(directory), .. } => vec![directory.clone()],
        Wanted::Journal { directory: None, .. } => JOURNALS.map(PathBuf::from).to_vec(),
    };
    all.into_iter().filter(|path: &PathBuf| path.exists()).collect()
}

/// A log's parts that were written to at `since` or later, the newest first, each with the time of its last change.
///
/// Who could not have written the log itself must teach nothing by a file beside it: a part counts if it belongs to
/// root or to the log's owner, and if others can write to it no more than to the log.
pub(crate) fn recent_parts(log: &Path, since: Timestamp) -> Vec<(PathBuf, Timestamp)> {
    let own = std::fs::metadata(log).ok();
    let is_writable = |of: &std::fs::Metadata| of.mode() & 0o002 != 0;
    let is_as_good = |of: &std::fs::Metadata| {
        let owners = [Some(0), own.as_ref().map(std::fs::Metadata::uid)];
        owners.contains(&Some(of.uid())) && (!is_writable(of) || own.as_ref().is_some_and(is_writable))
    };
    let mut parts: Vec<(PathBuf, Timestamp)> = parts_of(log)
        .into_iter()
        .filter_map(|path| {
            let meta = std::fs::metadata(&path).ok().filter(is_as_good)?;
            let changed = changed(&meta)?;
            (changed >= since).then_some((path, changed))
        })
        .collect();
    parts.sort_by_key(|(_, changed)| std::cmp::Reverse(*changed));
    parts
}

/// As [`open`], but of a log that is not packed the last `most` bytes only: it may begin within a line.
pub(crate) fn open_last(path: &Path, most: u64) -> Result<Opened, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let meta = file.metadata().map_err(|error| error.to_string())?;
    if !meta.is_file() || meta.len() <= most {
        return open(path);
    }
    let mut magic = [0; 6];
    file.read_exact_at(&mut magic, 0).map_err(|error| error.to_string())?;
    let is_packed = magic.starts_with(GZIP_MAGIC)
        || magic.starts_with(xz::MAGIC)
        || PACKED.iter().any(|(begin, _)| magic.starts_with(begin));
    if is_packed {
        return open(path);
    }
    let raw = Rc::new(Cell::new(0));
    file.seek(io::SeekFrom::End(-i64::try_from(most).unwrap_or(i64::MAX)))
        .map_err(|error| error.to_string())?;
    let opened = look(path, Box::new(Counted { inner: file, raw: Rc::clone(&raw) }), raw, Some(&meta))?;
    Ok(Opened { is_cut: true, ..opened })
}

/// Opens what has an end: a file, or a pipe.
/// # Errors
/// What the kernel says, or that it is a device.
pub(crate) fn open_finite(path: &Path) -> io::Result<File> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err(io::Error::other("it is a device, which may have no end; name a file"));
    }
    File::open(path)
}

/// Opens a file and finds out what it is.
pub(crate) fn open(path: &Path) -> Result<Opened, String> {
    let raw = Rc::new(Cell::new(0));
    if path == Path::new("-") {
        return look(path, Box::new(Counted { inner: io::stdin(), raw: Rc::clone(&raw) }), raw, None);
    }
    let meta = std::fs::metadata(path).map_err(|error| error.to_string())?;
    if meta.is_dir() {
        return directory(path, raw);
    }
    let file = open_finite(path).map_err(|error| error.to_string())?;
    // Only a hint; reading works without it.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
    look(path, Box::new(Counted { inner: file, raw: Rc::clone(&raw) }), raw, Some(&meta))
}

fn directory(path: &Path, raw: Rc<Cell<u64>>) -> Result<Opened, String> {
    let has_journals = |at: &Path| {
        let mut files = std::fs::read_dir(at).into_iter().flatten().flatten();
        files.any(|file| file.path().extension().is_some_and(|ext| ext == "journal"))
    };
    let mut inner = std::fs::read_dir(path).map_err(|error| error.to_string())?.flatten();
    if !has_journals(path) && !inner.any(|entry| has_journals(&entry.path())) {
        return Err("it is a directory without journal files; name the files in it".to_owned());
    }
    Ok(Opened {
        path: path.to_owned(),
        format: Format::Journal,
        head: Vec::new(),
        size: None,
        is_cut: false,
        first: Timestamp::default(),
        reader: Box::new(io::empty()),
        raw,
        changed: None,
    })
}

fn look(
    path: &Path,
    mut reader: Box<dyn Read>,
    raw: Rc<Cell<u64>>,
    meta: Option<&std::fs::Metadata>,
) -> Result<Opened, String> {
    let mut trouble;
    let mut head;
    (head, trouble) = read_head(&mut reader);
    if let Some((_, name)) = PACKED.iter().find(|(magic, _)| head.starts_with(magic)) {
        let name_of = path.display();
        return Err(format!(
            "it is packed with {name}, which cannot be unpacked here; try `{name} -dc {name_of} | pillory scan -`"
        ));
    }
    let (is_gzip, is_xz) = (head.starts_with(GZIP_MAGIC), head.starts_with(xz::MAGIC));
    if is_gzip || is_xz {
        let packed = io::Cursor::new(head).chain(reader);
        let mut unpacked: Box<dyn Read> =
            if is_xz { Box::new(XzReader::new(packed)) } else { Box::new(MultiGzDecoder::new(packed)) };
        (head, trouble) = read_head(&mut unpacked);
        trouble =
            trouble.map(|error| io::Error::new(error.kind(), format!("it cannot be unpacked: {error}")));
        reader = unpacked;
        if head.starts_with(JOURNAL_MAGIC) {
            return Err("a packed journal file cannot be read; unpack it first".to_owned());
        }
    }
    // What came before the trouble is read; the rest is named when it is reached.
    if let Some(error) = trouble {
        if head.is_empty() {
            return Err(error.to_string());
        }
        reader = Box::new(Broken(Some(error)));
    }
    let format = if head.starts_with(JOURNAL_MAGIC) {
        Format::Journal
    } else if let Some(layout) = login_records(path, &head) {
        Format::Btmp(layout)
    } else {
        Format::Text
    };
    let changed = meta.and_then(changed);
    let size = meta.map(std::fs::Metadata::len);
    Ok(Opened {
        path: path.to_owned(),
        format,
        head,
        size,
        is_cut: false,
        first: Timestamp::default(),
        reader,
        raw,
        changed,
    })
}

/// When a file was changed last.
fn changed(meta: &std::fs::Metadata) -> Option<Timestamp> {
    let since = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_secs(i64::try_from(since.as_secs()).ok()?))
}

/// The last part of a path, for comparing with where services log.
pub(crate) fn base_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// By content; a file whose beginning is damaged, by its name.
fn login_records(path: &Path, head: &[u8]) -> Option<Layout> {
    let by_name = || {
        let is_named = base_name(path).starts_with("btmp") && head.contains(&0);
        is_named.then(|| Layout::detect(head))
    };
    Layout::find(head).or_else(by_name)
}

/// The first bytes, as far as they can be read.
fn read_head(reader: &mut impl Read) -> (Vec<u8>, Option<io::Error>) {
    let mut head = Vec::new();
    let trouble = reader.take(HEAD_BYTES as u64).read_to_end(&mut head).err();
    (head, trouble)
}

/// Fails once, and ends.
struct Broken(Option<io::Error>);

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

impl Opened {
    /// What the clock showed when the file was last written: it completes stamps without a year.
    pub(crate) fn clock(&self) -> Timestamp {
        let now = clock::now();
        self.changed.map_or(now, |changed| changed.min(now))
    }

    /// Its bytes from the beginning.
    pub(crate) fn into_pieces(self) -> Pieces {
        Pieces {
            reader: Box::new(io::Cursor::new(self.head).chain(self.reader)),
            raw: self.raw,
            buffer: vec![0; PIECE_BYTES],
            handed: 0,
            filled: 0,
            skipping: false,
            ended: false,
            trouble: None,
            plain: 0,
        }
    }
}

/// A file's bytes, cut where records end.
pub(crate) struct Pieces {
    reader: Box<dyn Read>,
    raw: Rc<Cell<u64>>,
    buffer: Vec<u8>,
    /// So much of the buffer was handed out.
    handed: usize,
    filled: usize,
    /// Inside a line that was too long, until its end.
    skipping: bool,
    ended: bool,
    /// Why it ended too early.
    trouble: Option<io::Error>,
    plain: u64,
}

impl Pieces {
    /// Bytes read from disk so far.
    pub(crate) fn raw_bytes(&self) -> u64 {
        self.raw.get()
    }

    /// Unpacked bytes read so far.
    pub(crate) fn plain_bytes(&self) -> u64 {
        self.plain
    }

    /// Why not all of it could be read; asked when there is nothing more.
    pub(crate) fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref()
    }

    /// What is left behind the last whole record.
    pub(crate) fn rest_bytes(&self) -> usize {
        self.filled - self.handed
    }

    fn fill(&mut self) {
        self.buffer.copy_within(self.handed..self.filled, 0);
        self.filled -= self.handed;
        self.handed = 0;
        while self.filled < self.buffer.len() && !self.ended {
            match self.reader.read(&mut self.buffer[self.filled..]) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.filled += count;
                    self.plain += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.trouble = Some(error);
                    self.ended = true;
                }
            }
        }
    }

    /// The next whole records; what is left at the end is no record and dropped.
    pub(crate) fn records(&mut self, record_bytes: usize) -> Option<&[u8]> {
        self.fill();
        let whole = self.filled - self.filled % record_bytes;
        if whole == 0 {
            return None;
        }
        self.handed = whole;
        Some(&self.buffer[..whole])
    }

    /// The next whole lines with their newlines; at the end a line without one. A line that is longer than
    /// [`MAX_LINE_BYTES`] is cut there and ends its piece.
    pub(crate) fn lines(&mut self) -> Option<&[u8]> {
        loop {
            self.fill();
            if self.filled == 0 {
                return None;
            }
            if self.skipping {
                let end = memchr::memchr(b'\n', &self.buffer[..self.filled]);
                self.handed = end.map_or(self.filled, |end| end + 1);
                self.skipping = end.is_none();
                continue;
            }
            if let Some(last) = memchr::memrchr(b'\n', &self.buffer[..self.filled]) {
                self.handed = last + 1;
                return Some(&self.buffer[..last]);
            }
            // A line as long as the buffer, or the file's last one.
            self.skipping = !self.ended;
            self.handed = self.filled;
            return Some(&self.buffer[..self.filled.min(MAX_LINE_BYTES)]);
        }
    }
}

/// Counts what is read from disk.
struct Counted<R> {
    inner: R,
    raw: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.raw.set(self.raw.get() + count as u64);
        Ok(count)
    }
}
