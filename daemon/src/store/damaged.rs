//! A store that is known to be damaged, and that waits until the disk has room for another.

use std::io::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Device and inode of a file.
pub(super) type Identity = (u64, u64);

/// See the module.
#[derive(Debug)]
pub(super) struct Damaged {
    /// What is wrong with it.
    pub(super) how: String,
    /// Which file that is, if it could be asked.
    pub(super) file: Option<Identity>,
}

impl Damaged {
    /// What is at `path` is damaged.
    pub(super) fn new(path: &Path, how: String) -> Damaged {
        Damaged { how, file: identity(path).ok() }
    }

    /// What became of it, if what is at `path` now is another. `is_finished`: the one made of it has just come there.
    pub(super) fn became(&self, path: &Path, is_finished: bool) -> Option<String> {
        let became = match identity(path) {
            Ok(_) if is_finished => "what could be read of it was taken over",
            Ok(found) if Some(found) != self.file => "somebody put another in its place",
            Err(error) if error.kind() == ErrorKind::NotFound => "somebody removed it",
            _ => return None,
        };
        Some(format!("the store was damaged: {}; {became}", self.how))
    }
}

/// Asks for it.
/// # Errors
/// The system's.
pub(super) fn identity(path: &Path) -> Result<Identity> {
    std::fs::metadata(path).map(|status| (status.dev(), status.ino()))
}
