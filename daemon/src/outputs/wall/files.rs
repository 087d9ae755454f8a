//! The folder of pages: each file is replaced in one step and only if it has changed; what is no longer made is removed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::outfile;

/// A file that marks a folder as one of these, so that no other is written into.
const MARK: &str = ".pillory-wall";

/// The folders inside: the offenders' own pages, and lists for other programs.
const INSIDE: [&str; 2] = ["o", "feeds"];

/// Why the pages could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// It holds what is not ours.
    #[error("{} holds other files; name an empty or a new directory, for what is there would be replaced", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Everybody could plant links there.
    #[error("everybody can write to {}, and so plant links there; take that right away (chmod o-w), or name another directory", .path.display())]
    Shared {
        /// The directory.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {tried} {}: {cause}", .path.display())]
    System {
        /// What was tried.
        tried: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// A page could not be rendered.
    #[error("cannot make a page: {reason}")]
    Page {
        /// Why.
        reason: String,
    },
}

/// What was done to a folder.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Written {
    /// Files that are new or have changed.
    pub(crate) changed: usize,
    /// Files that are as they were.
    pub(crate) unchanged: usize,
    /// Files that are gone.
    pub(crate) removed: usize,
}

/// A folder that is being brought up to date.
pub(crate) struct Folder {
    path: PathBuf,
    made: BTreeSet<PathBuf>,
    written: Written,
}

impl Folder {
    /// Opens a folder of pages, or makes one.
    /// # Errors
    /// [`FolderError`] if it cannot be made, or holds something else.
    pub(crate) fn open(path: &Path) -> Result<Folder, FolderError> {
        let is_marked = path.join(MARK).exists();
        let is_empty = fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
        if !is_marked && !is_empty {
            return Err(FolderError::Foreign { path: path.to_owned() });
        }
        fs::create_dir_all(path).map_err(|cause| system("create", path, cause))?;
        if outfile::is_shared(path) {
            return Err(FolderError::Shared { path: path.to_owned() });
        }
        for inside in INSIDE.map(|name| path.join(name)) {
            fs::create_dir_all(&inside).map_err(|cause| system("create", &inside, cause))?;
        }
        let mut folder = Folder { path: path.to_owned(), made: BTreeSet::new(), written: Written::default() };
        folder.put(MARK, b"Made by pillory wall; what is in this directory is replaced.\n")?;
        Ok(folder)
    }

    /// A file of it, by its name inside it.
    /// # Errors
    /// [`FolderError::System`]
    pub(crate) fn put(&mut self, name: &str, content: &[u8]) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let outcome = match fs::read(&path) {
            Ok(known) if known == content => {
                self.written.unchanged += 1;
                Ok(())
            }
            // Nothing leads to a new page yet, for those that lead to others come last.
            Err(error) if error.kind() == ErrorKind::NotFound => self.changed(fs::write(&path, content)),
            _ => self.changed(replace(&path, content)),
        };
        outcome.map_err(|cause| system("write", &path, cause))?;
        self.made.insert(path);
        Ok(())
    }

    fn changed(&mut self, outcome: io::Result<()>) -> io::Result<()> {
        self.written.changed += 1;
        outcome
    }

    /// Removes what was not made this time, of pages and of what was left over half written.
    /// # Errors
    /// [`FolderError::System`]
    pub(crate) fn finish(mut self) -> Result<Written, FolderError> {
        let inside = INSIDE.map(|name| self.path.join(name));
        for directory in std::iter::once(self.path.clone()).chain(inside) {
            let entries = fs::read_dir(&directory).map_err(|cause| system("list", &directory, cause))?;
            for path in entries.flatten().map(|entry| entry.path()) {
                let is_ours = path.extension().is_some_and(|ending| ending == "html" || ending == "new");
                if is_ours && !self.made.contains(&path) {
                    fs::remove_file(&path).map_err(|cause| system("remove", &path, cause))?;
                    self.written.removed += 1;
                }
            }
        }
        Ok(self.written)
    }
}

/// In one step, so that a web server never reads half a page; a page lost to a power failure is made again.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = outfile::beside(path, ".new");
    fs::write(&fresh, content)?;
    fs::rename(&fresh, path)
}

fn system(tried: &'static str, path: &Path, cause: io::Error) -> FolderError {
    FolderError::System { tried, path: path.to_owned(), cause }
}
