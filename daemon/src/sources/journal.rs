//! The systemd journal, read from its files; journald is never talked to.
//!
//! journald writes through a memory map, of which the kernel tells nothing; journald itself makes inotify fire
//! 250 to 500 ms later. So the count of entries in each header is looked at every 10 ms while something goes on
//! (in the last seconds an entry that a feed wanted, another source's records, or a start of sshd), and at each
//! notice and every few seconds otherwise. A position is the number of entries read of each file, by the
//! file's own id: exact through rotation, renaming and steps of the clock.

mod entries;
mod layout;
pub(crate) mod offline;
mod places;
mod stream;
pub(crate) mod unpack;

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::entries::Matches;
use self::stream::Stream;
use super::watch::{Notice, Watcher};
use super::{Batch, Feed, Kind, Phase, Position, Source, SourceError, StreamStatus, Wanted, activity};
use crate::clock;

/// The systemd journal.
pub(super) const KIND: Kind =
    Kind { name: "journal", takes: |wanted| matches!(wanted, Wanted::Journal { .. }), open };

/// How often counts are looked at while something goes on.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// So long after the last sign of life something still goes on.
const LIVELY: Duration = Duration::from_secs(5);

/// How often counts are looked at otherwise, besides at notices.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The same where inotify is of no use.
const POLL_EVERY: Duration = Duration::from_millis(250);

/// How often directories are listed even if nothing is told of them.
const LIST_EVERY: Duration = Duration::from_secs(30);

/// Logs that get the same lines as the journal, but whose writes the kernel tells of at once.
const COMPANIONS: [&str; 3] = ["/var/log/auth.log", "/var/log/secure", "/var/log/btmp"];

/// Programs that are started for each connection, so for each login that will be in the journal soon: sshd
/// starts itself again, since OpenSSH 9.8 its session process.
const HERALDS: [&str; 5] = [
    "/usr/sbin/sshd",
    "/usr/lib/openssh/sshd-session",
    "/usr/libexec/openssh/sshd-session",
    "/usr/lib/ssh/sshd-session",
    "/usr/libexec/sshd-session",
];

/// Reads all journals that feeds want.
struct Journal {
    streams: Vec<Stream>,
    watcher: Watcher,
    /// The host's own journal is among them.
    is_own: bool,
    /// Watches on files that only tell that something goes on.
    companions: Vec<i32>,
    lively_until: Instant,
    next_check: Instant,
    next_list: Instant,
    /// How long to wait before files that could not be read yet are tried again; doubled each time.
    patience: Duration,
    list_is_due: bool,
    watching: bool,
}

/// Opens all journals that feeds want: one stream for each directory.
/// # Errors
/// None: what is wrong with a journal shows in [`Source::status`].
fn open(
    feeds: &[Feed],
    positions: &dyn Fn(&str) -> Option<Position>,
) -> Result<Box<dyn Source>, SourceError> {
    let mut wanted: Vec<(Option<&Path>, Matches)> = Vec::new();
    for feed in feeds {
        let Wanted::Journal { directory, matches } = &feed.what else { continue };
        let at = match wanted.iter().position(|(known, _)| *known == directory.as_deref()) {
            Some(at) => at,
            None => {
                wanted.push((directory.as_deref(), Matches::default()));
                wanted.len() - 1
            }
        };
        if let Some((_, known)) = wanted.get_mut(at) {
            known.add(feed.id, matches);
        }
    }
    let now = clock::instant();
    let is_own = wanted.iter().any(|(directory, _)| directory.is_none());
    let streams = wanted.into_iter().map(|(directory, matches)| {
        let name =
            directory.map_or_else(|| "journal:".to_owned(), |path| format!("journal:{}", path.display()));
        let patterns = directory.map_or_else(own_patterns, given_patterns);
        let position = positions(&name);
        Stream::open(&name, patterns, matches, position.as_ref())
    });
    let mut journal = Journal {
        streams: streams.collect(),
        watcher: Watcher::new(),
        is_own,
        companions: Vec::new(),
        lively_until: now,
        next_check: now + CHECK_EVERY,
        next_list: now + LIST_EVERY,
        patience: LOOK_EVERY,
        list_is_due: false,
        watching: false,
    };
    journal.list();
    journal.streams.iter_mut().for_each(Stream::end_start);
    // Whoever rings from now on is heard.
    activity::listen();
    Ok(Box::new(journal))
}

/// Where this host's own journal lies, volatile and persistent.
fn own_patterns() -> Vec<PathBuf> {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let id = id.trim();
    // Without an id, whatever lies there; other hosts' journals lie under `remote/`.
    let dir = if id.len() == 32 { id } else { "????????????????????????????????" };
    ["/run/log/journal", "/var/log/journal"].iter().map(|root| Path::new(root).join(dir)).collect()
}

/// A directory of journal files, or of directories of them, named by machine id.
fn given_patterns(directory: &Path) -> Vec<PathBuf> {
    vec![directory.to_owned(), directory.join("????????????????????????????????")]
}

impl Journal {
    /// Looks up which files there are.
    fn list(&mut self) {
        self.list_is_due = false;
        if self.is_own {
            let watcher = &mut self.watcher;
            let mut watches: Vec<i32> =
                COMPANIONS.iter().filter_map(|path| watcher.add_written(Path::new(path))).collect();
            watches.extend(HERALDS.iter().filter_map(|path| watcher.add_started(Path::new(path))));
            for stale in self.companions.iter().filter(|watch| !watches.contains(watch)) {
                watcher.remove(*stale);
            }
            self.companions = watches;
        }
        // What appears between a listing and the first watch on its directory is seen by listing again.
        for _ in 0..4 {
            let places = self.streams.iter_mut().flat_map(Stream::list).collect::<Vec<_>>();
            let mut watches = Vec::new();
            let known: Vec<i32> = self.watcher.dirs().map(|(watch, _)| watch).collect();
            for place in &places {
                watches.extend(self.watcher.add_dir(&place.dir));
            }
            for stale in known.iter().filter(|watch| !watches.contains(watch)) {
                self.watcher.remove(*stale);
            }
            self.streams.iter_mut().for_each(|stream| stream.watch(&mut self.watcher));
            if watches.iter().all(|watch| known.contains(watch)) {
                break;
            }
        }
        if self.streams.iter().any(Stream::is_unripe) {
            self.next_list = clock::instant() + self.patience;
            self.patience = (self.patience * 2).min(LIST_EVERY);
        } else {
            self.patience = LOOK_EVERY;
        }
    }

    fn collect(&mut self) -> Vec<Batch> {
        if self.list_is_due {
            self.list();
        }
        let mut batches = Vec::new();
        for stream in &mut self.streams {
            batches.extend(stream.next());
        }
        if batches.iter().any(|batch| batch.phase == Phase::Live && !batch.records.is_empty()) {
            self.lively_until = clock::instant() + LIVELY;
        }
        batches
    }

    /// Takes what the kernel and the other sources tell; true if counts are to be looked at.
    fn take_notices(&mut self, now: Instant) {
        let mut hint = activity::silence();
        for notice in self.watcher.notices() {
            match notice {
                Notice::File(watch) if self.companions.contains(&watch) => hint = true,
                Notice::File(_) => {}
                Notice::Dir(..) | Notice::Everything => {
                    (self.list_is_due, self.patience) = (true, LOOK_EVERY);
                }
            }
        }
        if hint {
            self.lively_until = now + LIVELY;
        }
        let blind = self.watcher.trouble().is_some();
        if now >= self.next_list {
            self.next_list = now + if blind { POLL_EVERY } else { LIST_EVERY };
            self.list_is_due = true;
        }
        if now >= self.next_check {
            self.next_check = now + if blind { POLL_EVERY } else { CHECK_EVERY };
        }
    }
}

impl Source for Journal {
    fn poll(&mut self, wake: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<Vec<Batch>, SourceError> {
        let mut now = clock::instant();
        let until = timeout.map(|timeout| now + timeout);
        loop {
            self.take_notices(now);
            let lists = self.list_is_due;
            let batches = self.collect();
            if !batches.is_empty() {
                return Ok(batches);
            }
            self.watching = true;
            // After a listing the caller may have to be told of trouble.
            if lists || until.is_some_and(|until| until <= now) {
                return Ok(Vec::new());
            }
            let look = if now < self.lively_until { now + LOOK_EVERY } else { self.next_check };
            let next = look.min(self.next_check).min(self.next_list).min(until.unwrap_or(look));
            let others: Vec<BorrowedFd<'_>> = [wake].into_iter().chain(activity::listen()).collect();
            let woken = self.watcher.wait(&others, Some(next), now).map_err(|cause| SourceError {
                tried: "wait for",
                target: "changes of the journal".to_owned(),
                cause,
                cure: "restart the daemon",
            })?;
            now = clock::instant();
            if woken.first() == Some(&true) {
                self.take_notices(now);
                return Ok(self.collect());
            }
        }
    }

    fn is_watching(&self) -> bool {
        self.watching
    }

    fn status(&self) -> Vec<StreamStatus> {
        let mut all = Vec::new();
        for stream in &self.streams {
            for feed in stream.feeds() {
                let (path, problem) = (stream.directory(), stream.problem());
                all.push(StreamStatus { kind: KIND.name, path, feed, problem });
            }
        }
        all
    }
}
