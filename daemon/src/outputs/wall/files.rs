//! The folder of pages: each file is replaced in one step and only if it has changed, by one who makes pages at a time.
//! What is no longer made is removed. Where not all can be written, what is there stays as it is; but if somebody has to
//! go, everything that may still name them goes, too.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::clock::Stopwatch;
use crate::outfile;

/// A file that marks a folder as one of these, so that no other is written into. Who makes pages holds a lock on it, which
/// nobody else can have: it is readable by its owner only.
const MARK: &str = ".pillory-wall";
const MARK_MODE: u32 = 0o600;

/// The folders inside: the offenders' own pages, and lists for other programs.
const INSIDE: [&str; 2] = [OFFENDERS, "feeds"];

const OFFENDERS: &str = "o";

/// A web server reads the pages as somebody else, whatever the umask.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Why the pages could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// It holds what is not ours.
    #[error("{} holds other files; name an empty or a new directory, for what is there would be replaced", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// Others could plant links there.
    #[error("{} is no directory of the user's who makes the pages, or others may write in it, and so plant links; give it to that user (chown, chmod go-w), or name another", .path.display())]
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
    /// Somebody else makes pages there and does not end.
    #[error("pages are being made in {} by another program, which has not ended for a minute; look for it (`fuser {}`), or try again", .path.display(), .path.display())]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// A page could not be rendered.
    #[error("cannot make a page: {reason}")]
    Page {
        /// Why.
        reason: String,
    },
    /// Somebody wants to stop.
    #[error("stopped before all pages were made")]
    Stopped,
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

/// Whether it shall end soon.
pub(crate) type Stop<'s> = &'s (dyn Fn() -> bool + Sync);

/// A folder that is being brought up to date, by several threads at once.
pub(crate) struct Folder<'s> {
    path: PathBuf,
    stop: Stop<'s>,
    done: Mutex<Done>,
    /// The mark, locked.
    _turn: File,
}

/// What was made so far.
#[derive(Default)]
struct Done {
    files: HashSet<PathBuf>,
    written: Written,
}

impl<'s> Folder<'s> {
    /// Opens a folder of pages, or makes one, once nobody else makes pages there: what is to be shown is looked up after
    /// that, or pages of before would take the place of newer ones.
    /// # Errors
    /// [`FolderError`] if it cannot be made, or holds something else.
    pub(crate) fn open(path: &Path, stop: Stop<'s>) -> Result<Folder<'s>, FolderError> {
        make_directory(path)?;
        let mut entries = fs::read_dir(path).map_err(|cause| system("list", path, cause))?;
        // Somebody else may be marking it at this moment.
        if entries.next().is_some() && !is_ours(path) {
            return Err(FolderError::Foreign { path: path.to_owned() });
        }
        let turn = turn(path, stop)?;
        let folder = Folder { path: path.to_owned(), stop, done: Mutex::default(), _turn: turn };
        for inside in INSIDE {
            make_directory(&path.join(inside))?;
        }
        Ok(folder)
    }

    /// A file of it, by its name inside it.
    /// # Errors
    /// [`FolderError::System`], [`FolderError::Stopped`]
    pub(super) fn put(&self, name: &str, content: &[u8]) -> Result<(), FolderError> {
        if (self.stop)() {
            return Err(FolderError::Stopped);
        }
        let path = self.path.join(name);
        let known = fs::read(&path);
        let is_new = known.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let is_unchanged = known.is_ok_and(|known| known == content) && has_mode(&path);
        if !is_unchanged {
            // Nothing leads to an offender's page yet, for the pages that do come last.
            let is_unseen = is_new && name.starts_with("o/");
            replace(&path, content, is_unseen).map_err(|cause| system("write", &path, cause))?;
        }
        // What a thread has left that ended by a fault is whole.
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.written.unchanged += usize::from(is_unchanged);
        done.written.changed += usize::from(!is_unchanged);
        done.files.insert(path);
        Ok(())
    }

    /// Removes what is no longer made. `offenders`: the pages of who is shown; where not all could be written they stay as they
    /// are, unless `is_owed`: what stays may then show somebody who has to go.
    /// # Errors
    /// What `made` failed with, or [`FolderError::System`]
    pub(super) fn finish(
        self,
        made: Result<(), FolderError>,
        offenders: impl IntoIterator<Item = String>,
        is_owed: bool,
    ) -> Result<Written, FolderError> {
        // What there is would be incomplete, and the next one follows soon.
        if matches!(made, Err(FolderError::Stopped)) {
            return made.map(|()| Written::default());
        }
        let Done { mut files, mut written } = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        files.insert(self.path.join(MARK));
        if made.is_err() && !is_owed {
            files.extend(offenders.into_iter().map(|name| self.path.join(name)));
            let pages = [self.path.join(OFFENDERS)];
            if let (0, Ok(())) = sweep(&pages, &files, |path| fs::remove_file(path)) {
                return made.map(|()| written);
            }
        }
        let inside = INSIDE.map(|name| self.path.join(name));
        let all: Vec<PathBuf> = std::iter::once(self.path).chain(inside).collect();
        let (removed, swept) = sweep(&all, &files, |path| fs::remove_file(path));
        written.removed = removed;
        made.and(swept).map(|()| written)
    }
}

/// True if there are pages of ours.
pub(super) fn is_ours(directory: &Path) -> bool {
    directory.join(MARK).exists()
}

/// How long who makes pages waits for another who does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Marks a directory, and waits until nobody else makes pages there. Some file systems know no locks; there it is as
/// without.
fn turn(path: &Path, stop: Stop<'_>) -> Result<File, FolderError> {
    let mark = path.join(MARK);
    let failed = |cause| system("open", &mark, cause);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MARK_MODE);
    let mut turn = options.custom_flags(OFlags::NOFOLLOW.bits() as i32).open(&mark).map_err(failed)?;
    turn.set_permissions(Permissions::from_mode(MARK_MODE)).map_err(failed)?;
    let since = Stopwatch::start();
    while flock(&turn, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        if stop() {
            return Err(FolderError::Stopped);
        }
        if since.elapsed() > PATIENCE {
            return Err(FolderError::Busy { path: path.to_owned() });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if turn.metadata().map_err(failed)?.len() == 0 {
        // What it says is for people; a full disk need not take it.
        drop(turn.write_all(b"Made by pillory wall; what is in this directory is replaced.\n"));
    }
    Ok(turn)
}

/// Removes the files of these directories that are not among `files`: what can be removed is, whatever cannot. Returns how
/// many were, and the first trouble.
fn sweep(
    directories: &[PathBuf],
    files: &HashSet<PathBuf>,
    remove: impl Fn(&Path) -> io::Result<()>,
) -> (usize, Result<(), FolderError>) {
    let (mut removed, mut outcome) = (0, Ok(()));
    for directory in directories {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(cause) => {
                outcome = outcome.and(Err(system("list", directory, cause)));
                continue;
            }
        };
        for entry in entries.flatten() {
            let path = entry.path();
            if files.contains(&path) || entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            match remove(&path) {
                Ok(()) => removed += 1,
                Err(cause) => outcome = outcome.and(Err(system("remove", &path, cause))),
            }
        }
    }
    (removed, outcome)
}

/// Makes the folder's directory, for whoever gives up the right to make one; what is wrong with it is said later.
pub(crate) fn make_room(path: &Path) {
    drop(make_directory(path));
}

/// Makes a directory that web servers can read, if there is none; in one of somebody else's nothing is written.
fn make_directory(path: &Path) -> Result<(), FolderError> {
    if !path.exists() {
        fs::create_dir_all(path).map_err(|cause| system("create", path, cause))?;
        let opened = File::open(path);
        opened
            .and_then(|directory| directory.set_permissions(Permissions::from_mode(DIRECTORY_MODE)))
            .map_err(|cause| system("open to everybody", path, cause))?;
    }
    // By its own name and not by where a link leads.
    let status = fs::symlink_metadata(path).map_err(|cause| system("look at", path, cause))?;
    let owner = status.uid();
    let is_ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
    match status.is_dir() && is_ours && status.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(FolderError::Shared { path: path.to_owned() }),
    }
}

fn has_mode(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|status| status.is_file() && status.mode() & 0o777 == FILE_MODE)
}

/// In one step, so that a web server never reads half a page; a page lost to a power failure is made again. What nobody
/// sees yet is written as it is.
fn replace(path: &Path, content: &[u8], is_unseen: bool) -> io::Result<()> {
    let fresh = if is_unseen { path.to_owned() } else { outfile::beside(path, ".new") };
    let written = outfile::create(&fresh, FILE_MODE)?.write_all(content);
    let done = written.and_then(|()| if is_unseen { Ok(()) } else { fs::rename(&fresh, path) });
    // Half a page is none.
    done.inspect_err(|_| drop(fs::remove_file(&fresh)))
}

fn system(tried: &'static str, path: &Path, cause: io::Error) -> FolderError {
    FolderError::System { tried, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_removed_keeps_nothing_else_there() {
        let folder = std::env::temp_dir().join(format!("pillory-sweep-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        for name in INSIDE {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let names =
            ["index.html", "old.html", "o/kept.html", "o/stuck.html", "o/gone.html", "feeds/gone.txt"];
        for name in names {
            fs::write(folder.join(name), name).unwrap();
        }
        let files = ["index.html", "o/kept.html"].map(|name| folder.join(name)).into();
        let directories = ["", "o", "feeds"].map(|name| folder.join(name));
        let (removed, outcome) = sweep(&directories, &files, |path| match path.ends_with("stuck.html") {
            true => Err(ErrorKind::PermissionDenied.into()),
            false => fs::remove_file(path),
        });
        let said = outcome.unwrap_err().to_string();
        assert!(removed == 3 && said.contains("cannot remove") && said.contains("stuck.html"), "{said}");
        let left: Vec<&str> = names.into_iter().filter(|name| folder.join(name).exists()).collect();
        assert_eq!(left, ["index.html", "o/kept.html", "o/stuck.html"]);
        // A directory that cannot be listed, neither.
        fs::remove_dir_all(folder.join("o")).unwrap();
        fs::write(folder.join("feeds/again.txt"), "").unwrap();
        let (removed, outcome) = sweep(&directories, &files, |path| fs::remove_file(path));
        assert!(removed == 1 && outcome.unwrap_err().to_string().contains("cannot list"));
        fs::remove_dir_all(&folder).unwrap();
    }
}
