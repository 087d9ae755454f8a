//! fail2ban's log, for tools that read what it tells: a line for each failure, ban and unban, in fail2ban's very form.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use tracing::warn;

use crate::outfile;

use super::queue::{self, Line};

/// The file, if somebody may read bans there.
static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Why the last line could not be written.
static TROUBLE: Mutex<Option<String>> = Mutex::new(None);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on bans are written to this file too. It is made at once, so that whoever reads it finds it, and what is wrong
/// with it is told before there is a ban.
pub(crate) fn set(file: Option<PathBuf>) {
    locked(&FILE).clone_from(&file);
    *locked(&TROUBLE) = None;
    if let Some(file) = file {
        queue::push(Line::Bans(file, String::new()));
    }
}

/// Where bans are written.
pub(super) fn file() -> Option<PathBuf> {
    locked(&FILE).clone()
}

/// What is wrong with it, if anything is.
pub(super) fn trouble() -> Option<String> {
    locked(&TROUBLE).clone()
}

/// Appends a line; why it cannot be is said once. Opened for each line: whoever rotates it tells nobody.
pub(super) fn append(path: &Path, line: &str) {
    let error = try_append(path, line).err();
    let text = error.as_ref().map(|error| {
        let path = path.display();
        format!("cannot write bans to fail2ban's log {path}: {error}; who counts them there sees none")
    });
    let old = std::mem::replace(&mut *locked(&TROUBLE), text);
    if let Some(error) = error
        && old.is_none()
    {
        warn!(path = %path.display(), %error, "cannot write bans to fail2ban's log; who counts them there sees none");
    }
}

/// Whoever can write in its directory can put anything in its place: no link of theirs is followed, and nothing is waited
/// for that is no file, as a FIFO that nobody reads would be.
fn try_append(path: &Path, line: &str) -> std::io::Result<()> {
    let follow = if outfile::is_ours(path) { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | follow;
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let no_file = || std::io::Error::other("it is no regular file");
    let mut file = opened.map_err(|error| match rustix::io::Errno::from_io_error(&error) {
        // open(2): a FIFO that nobody reads, or a socket.
        Some(rustix::io::Errno::NXIO) => no_file(),
        _ => error,
    })?;
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    file.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_no_file_is_not_waited_for_and_no_link_of_others_is_followed() {
        let directory = std::env::temp_dir().join(format!("pillory-banlog-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let mode = std::fs::Permissions::from_mode(0o1777);
        std::fs::set_permissions(&directory, mode).unwrap();
        let [fifo, read, link, file] = ["fifo", "read", "link", "file"].map(|name| directory.join(name));
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        for path in [&fifo, &read] {
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let _reader = rustix::fs::open(&read, flags, rustix::fs::Mode::empty()).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let said: Vec<Option<String>> = [&fifo, &read, &link, &file, &file]
            .map(|path| try_append(path, "a ban\n").err().map(|error| error.to_string()))
            .into();
        let written = std::fs::read_to_string(&file);
        std::fs::remove_dir_all(&directory).unwrap();
        let no_file = Some("it is no regular file".to_owned());
        assert_eq!(said[..2], [no_file.clone(), no_file]);
        assert!(said[2].is_some(), "{said:?}");
        assert_eq!(said[3..], [None, None]);
        assert_eq!(written.unwrap(), "a ban\na ban\n");
    }
}
