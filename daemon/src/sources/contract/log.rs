//! A log with its writer, and the ways in which it is rotated, as one act or step by step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Form, Reader, Scratch, write};

/// How a log is rotated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Style {
    RenameCreate,
    RenameDated,
    RenameGzip,
    CopyTruncate,
    CopyTruncateGzip,
    DeleteRecreate,
    SymlinkSwitch,
    /// The writer goes on with the old file for a while.
    WriterKeepsOld,
}

pub(super) const STYLES: [Style; 8] = [
    Style::RenameCreate,
    Style::RenameDated,
    Style::RenameGzip,
    Style::CopyTruncate,
    Style::CopyTruncateGzip,
    Style::DeleteRecreate,
    Style::SymlinkSwitch,
    Style::WriterKeepsOld,
];

/// A log with its writer.
pub(super) struct Log {
    form: Form,
    pub(super) path: PathBuf,
    file: File,
    /// What the writer still holds after a rotation.
    old: Option<File>,
    pub(super) next: u32,
    pub(super) rotations: u32,
    /// What is written now goes where it is kept.
    pub(super) may_write: bool,
}

/// What happens between two steps of a rotation.
pub(super) type Between<'a> = &'a mut dyn FnMut(&mut Log);

fn open_for_append(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

impl Log {
    pub(super) fn new(form: Form, dir: &Scratch, style: Style) -> Log {
        let path = dir.path("auth.log");
        if style == Style::SymlinkSwitch {
            File::create(dir.path("day-0.log")).unwrap();
            symlink("day-0.log", &path).unwrap();
        }
        let file = open_for_append(&path);
        Log { form, path, file, old: None, next: 0, rotations: 0, may_write: true }
    }

    pub(super) fn write(&mut self, count: u32) {
        write(self.form, &mut self.file, self.next..self.next + count);
        self.next += count;
    }

    pub(super) fn write_to_old(&mut self, count: u32) {
        write(self.form, self.old.as_mut().unwrap_or(&mut self.file), self.next..self.next + count);
        self.next += count;
    }

    fn beside(&self, ending: &str) -> PathBuf {
        PathBuf::from(format!("{}{ending}", self.path.display()))
    }

    /// Moves `.1` to `.2` and so on, compressed ones too.
    fn shift(&self) {
        for number in (1..20).rev() {
            for ending in ["", ".gz"] {
                let from = self.beside(&format!(".{number}{ending}"));
                if from.exists() {
                    fs::rename(from, self.beside(&format!(".{}{ending}", number + 1))).unwrap();
                }
            }
        }
    }

    fn gzip(&mut self, path: &Path, between: Between<'_>) {
        let packed = PathBuf::from(format!("{}.gz", path.display()));
        let mut encoder =
            flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        between(self);
        let plain = File::open(path).unwrap();
        io::copy(&mut &plain, &mut encoder).unwrap();
        encoder.flush().unwrap();
        between(self);
        let packed = encoder.finish().unwrap();
        between(self);
        // As gzip does, so that the order of times is kept.
        packed.set_modified(plain.metadata().unwrap().modified().unwrap()).unwrap();
        between(self);
        fs::remove_file(path).unwrap();
        between(self);
    }

    /// Waits until files that are changed now have a later time than those before: real rotations are far
    /// apart, but the kernel's clock for files ticks every few milliseconds only.
    pub(super) fn wait_for_next_tick(&self) {
        let path = self.path.with_file_name("tick");
        let time = || {
            fs::write(&path, "x").unwrap();
            fs::metadata(&path).unwrap().modified().unwrap()
        };
        let before = time();
        let deadline = Instant::now() + Duration::from_secs(5);
        while time() == before {
            assert!(Instant::now() < deadline, "the clock stands still");
        }
    }

    pub(super) fn rotate(&mut self, style: Style) {
        self.rotate_by_steps(style, &mut |_| {});
    }

    /// Rotates and lets something else happen between any two steps.
    ///
    /// What is written between the copy and the truncation is lost in any such rotation, so nothing may be written
    /// before [`Log::may_write`].
    pub(super) fn rotate_by_steps(&mut self, style: Style, between: Between<'_>) {
        self.may_write = false;
        self.wait_for_next_tick();
        self.rotations += 1;
        let first = self.beside(".1");
        match style {
            Style::RenameCreate | Style::RenameGzip | Style::WriterKeepsOld => {
                self.shift();
                fs::rename(&self.path, &first).unwrap();
            }
            Style::RenameDated => {
                fs::rename(&self.path, self.beside(&format!("-202601{:02}", self.rotations))).unwrap();
            }
            Style::CopyTruncate | Style::CopyTruncateGzip => {
                self.shift();
                let mut copy = File::create(&first).unwrap();
                between(self);
                let bytes = fs::read(&self.path).unwrap();
                for part in bytes.chunks(bytes.len() / 2 + 1) {
                    copy.write_all(part).unwrap();
                    between(self);
                }
                self.file.set_len(0).unwrap();
            }
            Style::DeleteRecreate => fs::remove_file(&self.path).unwrap(),
            Style::SymlinkSwitch => {
                let (name, link) = (format!("day-{}.log", self.rotations), self.beside(".new"));
                File::create(self.path.with_file_name(&name)).unwrap();
                symlink(&name, &link).unwrap();
                fs::rename(&link, &self.path).unwrap();
            }
        }
        between(self);
        self.old = Some(std::mem::replace(&mut self.file, open_for_append(&self.path)));
        self.may_write = true;
        between(self);
        if matches!(style, Style::RenameGzip | Style::CopyTruncateGzip) {
            self.gzip(&first, between);
        }
    }

    /// Makes sure that what came is what was written, each once.
    pub(super) fn is_all(&self, reader: &Reader, context: &str) {
        let mut numbers = reader.numbers.clone();
        numbers.sort_unstable();
        let missing: Vec<u32> =
            (0..self.next).filter(|number| numbers.binary_search(number).is_err()).collect();
        let mut twice: Vec<u32> =
            numbers.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        twice.dedup();
        assert!(missing.is_empty() && twice.is_empty(), "{context}: missing {missing:?}, twice {twice:?}");
    }
}
