//! inotify, as far as files and directories of logs need it; without it, callers look each second.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Something happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A file with this watch was written to, or its status changed.
    File(i32),
    /// In a directory, or to it.
    Dir(PathBuf, Vec<u8>),
    /// The directory itself went away, or notices were lost: look at everything.
    Everything,
}

/// Watches on files and directories.
#[derive(Debug)]
pub(crate) struct Watcher {
    fd: Option<OwnedFd>,
    dirs: HashMap<i32, PathBuf>,
    /// Why the kernel does not watch all that it should.
    trouble: Option<io::Error>,
}

impl Watcher {
    /// Never fails: without inotify the caller polls, see [`Watcher::trouble`].
    pub(crate) fn new() -> Watcher {
        let (fd, trouble) = match inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) {
            Ok(fd) => (Some(fd), None),
            Err(error) => (None, Some(error.into())),
        };
        Watcher { fd, dirs: HashMap::new(), trouble }
    }

    /// A watcher as it is where the kernel has no inotify to spare.
    #[cfg(test)]
    pub(crate) fn blind() -> Watcher {
        Watcher { fd: None, dirs: HashMap::new(), trouble: Some(io::Error::from_raw_os_error(24)) }
    }

    /// Why the kernel does not watch all that it should; if there is a reason, callers must poll.
    pub(crate) fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref()
    }

    /// Watches the inode of an open file; gives the same number for the same inode.
    pub(crate) fn add_file(&mut self, file: &File) -> Option<i32> {
        let flags = WatchFlags::MODIFY | WatchFlags::ATTRIB | WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF;
        // By this path it is the open file that is watched, whatever its name names by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        self.add(Path::new(&path), flags)
    }

    /// Watches a directory for names that come and go.
    pub(crate) fn add_dir(&mut self, dir: &Path) -> Option<i32> {
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let watch = self.add(dir, flags)?;
        self.dirs.insert(watch, dir.to_owned());
        Some(watch)
    }

    /// Watches a file by its path for being written to.
    pub(crate) fn add_written(&mut self, path: &Path) -> Option<i32> {
        self.add(path, WatchFlags::MODIFY)
    }

    /// Watches a program by its path for being started.
    pub(crate) fn add_started(&mut self, path: &Path) -> Option<i32> {
        self.add(path, WatchFlags::OPEN)
    }

    fn add(&mut self, path: &Path, flags: WatchFlags) -> Option<i32> {
        let fd = self.fd.as_ref()?;
        match inotify::add_watch(fd, path, flags) {
            Ok(watch) => Some(watch),
            // It went away meanwhile, is not ours to see, or leads nowhere: the check of the path tells about that.
            // Whoever may make a link where a pattern looks must not make everything be polled.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG) => None,
            Err(error) => {
                self.trouble = Some(error.into());
                None
            }
        }
    }

    /// Ends a watch.
    pub(crate) fn remove(&mut self, watch: i32) {
        self.dirs.remove(&watch);
        if let Some(fd) = &self.fd {
            // It is gone already if its file is.
            if let Err(error) = inotify::remove_watch(fd, watch) {
                tracing::trace!(%error, "watch was gone");
            }
        }
    }

    /// The directories that are watched, with the numbers of their watches.
    pub(crate) fn dirs(&self) -> impl Iterator<Item = (i32, &Path)> {
        self.dirs.iter().map(|(watch, dir)| (*watch, dir.as_path()))
    }

    /// Waits for notices, for another descriptor, or for a time to come.
    ///
    /// `others`: descriptors to wait for besides. Returns which of them are readable; notices are then to be
    /// fetched with [`Watcher::notices`].
    /// # Errors
    /// What the kernel says to a poll.
    pub(crate) fn wait(
        &self,
        others: &[BorrowedFd<'_>],
        until: Option<Instant>,
        now: Instant,
    ) -> io::Result<Vec<bool>> {
        let mut fds: Vec<PollFd<'_>> =
            others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        if let Some(fd) = &self.fd {
            fds.push(PollFd::new(fd, PollFlags::IN));
        }
        let left = until.map(|until| timespec(until.saturating_duration_since(now)));
        match poll(&mut fds, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(fds.iter().take(others.len()).map(|fd| !fd.revents().is_empty()).collect())
    }

    /// Fetches what has happened; never waits.
    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        let Some(fd) = &self.fd else { return notices };
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(fd.as_fd(), &mut room);
        // Any error means that there is no more for now.
        while let Ok(event) = reader.next() {
            let flags = event.events();
            let lost = ReadFlags::QUEUE_OVERFLOW | ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
            let notice = match self.dirs.get(&event.wd()) {
                _ if flags.contains(ReadFlags::QUEUE_OVERFLOW) => Notice::Everything,
                Some(_) if flags.intersects(lost) => Notice::Everything,
                Some(_) if flags.contains(ReadFlags::IGNORED) => {
                    self.dirs.remove(&event.wd());
                    Notice::Everything
                }
                Some(dir) => match event.file_name() {
                    Some(name) => Notice::Dir(dir.clone(), name.to_bytes().to_vec()),
                    None => continue,
                },
                None if flags.contains(ReadFlags::IGNORED) => continue,
                None => Notice::File(event.wd()),
            };
            if notices.last() != Some(&notice) {
                notices.push(notice);
            }
        }
        notices
    }
}

fn timespec(time: Duration) -> Timespec {
    // Rounded up by less than a microsecond, so that a wait never ends just before its time.
    let time = time + Duration::from_nanos(999);
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Notice, Watcher};
    use crate::clock;

    #[test]
    fn a_link_that_leads_in_a_circle_is_no_reason_to_poll() {
        let path = std::env::temp_dir().join(format!("pillory-circle-{}", std::process::id()));
        std::os::unix::fs::symlink(&path, &path).unwrap();
        let mut watcher = Watcher::new();
        let watch = watcher.add_dir(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(watch.is_none() && watcher.trouble().is_none(), "{:?}", watcher.trouble());
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_program_that_is_started_is_noticed() {
        let path = std::env::temp_dir().join(format!("pillory-started-{}", std::process::id()));
        std::fs::copy("/bin/true", &path).unwrap();
        let mut watcher = Watcher::new();
        let watch = watcher.add_started(&path).unwrap();
        std::process::Command::new(&path).status().unwrap();
        watcher.wait(&[], Some(clock::instant()), clock::instant()).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(watcher.notices().first(), Some(&Notice::File(watch)));
    }
}
