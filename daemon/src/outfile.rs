//! Files that a command writes where somebody else may write too: a link that was planted there is never followed.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Writes a file that somebody named on the command line.
///
/// Where only we or root can write the file may be anything, `/dev/stdout` and links included. Elsewhere it is made
/// anew beside `path` and takes that name, so neither a symbolic nor a hard link is written through.
/// # Errors
/// The system's.
pub(crate) fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if is_ours(path) { std::fs::write(path, content) } else { replace(path, content, 0o644) }
}

/// Makes `content` all that `path` holds, in one step and durably; links that bear this name are replaced.
/// # Errors
/// The system's; `AlreadyExists` if somebody puts something in the way meanwhile.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> std::io::Result<()> {
    let fresh = beside(path, ".new");
    let mut file = create(&fresh, mode)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    let done = written.and_then(|()| std::fs::rename(&fresh, path));
    if done.is_err() {
        // What is left over is of no use; the reason stands in the error.
        drop(std::fs::remove_file(&fresh));
    }
    done
}

/// `path` with something after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A new file, in the place of what had this name.
/// # Errors
/// The system's; `AlreadyExists` if somebody puts something in the way meanwhile.
pub(crate) fn create(path: &Path, mode: u32) -> std::io::Result<File> {
    // Never through a link: whatever is there makes it fail.
    let open = || OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let file = match open() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(path)?;
            open()?
        }
        opened => opened?,
    };
    // The umask shall not take away what the file had before.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    Ok(file)
}

/// True if nobody but us and root can put anything into the directory of `path`.
pub(crate) fn is_ours(path: &Path) -> bool {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::metadata(parent).is_ok_and(|directory| {
        let owner = directory.uid();
        let is_trusted = owner == 0 || owner == rustix::process::geteuid().as_raw();
        is_trusted && directory.mode() & 0o022 == 0
    })
}

/// True if everybody can plant files in this directory, as in /tmp.
pub(crate) fn is_shared(directory: &Path) -> bool {
    std::fs::metadata(directory).is_ok_and(|status| status.mode() & 0o002 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory in which everybody can write, gone when dropped.
    struct Shared(PathBuf);

    impl Shared {
        fn new(name: &str) -> Shared {
            let path = std::env::temp_dir().join(format!("pillory-outfile-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            let mode = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(&path, mode).unwrap();
            std::fs::write(path.join("precious"), "precious").unwrap();
            Shared(path)
        }

        fn precious(&self) -> String {
            std::fs::read_to_string(self.0.join("precious")).unwrap()
        }
    }

    impl Drop for Shared {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let shared = Shared::new("links");
        let out = shared.0.join("out");
        for (name, plant) in [("out", 0), ("out.new", 0), ("out", 1), ("out.new", 1)] {
            let (precious, link) = (shared.0.join("precious"), shared.0.join(name));
            drop(std::fs::remove_file(&link));
            match plant {
                0 => std::os::unix::fs::symlink(&precious, &link).unwrap(),
                _ => std::fs::hard_link(&precious, &link).unwrap(),
            }
            write(&out, b"ours").unwrap();
            assert_eq!(shared.precious(), "precious", "{name}, {plant}");
            assert_eq!(std::fs::read(&out).unwrap(), b"ours");
            assert!(std::fs::symlink_metadata(&out).unwrap().is_file());
            assert!(!shared.0.join("out.new").exists());
        }
    }

    #[test]
    fn a_link_of_our_own_is_followed() {
        let shared = Shared::new("own");
        let own = shared.0.join("own");
        std::fs::create_dir_all(&own).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&own, mode).unwrap();
        std::os::unix::fs::symlink(shared.0.join("precious"), own.join("out")).unwrap();
        write(&own.join("out"), b"meant so").unwrap();
        assert_eq!(shared.precious(), "meant so");
    }

    #[test]
    fn a_directory_in_the_way_is_an_error_and_leaves_nothing_behind() {
        let shared = Shared::new("directory");
        std::fs::create_dir_all(shared.0.join("out")).unwrap();
        assert!(replace(&shared.0.join("out"), b"ours", 0o600).is_err());
        assert!(!shared.0.join("out.new").exists());
    }
}
