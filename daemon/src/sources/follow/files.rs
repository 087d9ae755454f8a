//! The source that follows every file that some patterns name, text logs and btmp alike.
//!
//! One inotify descriptor watches the files and the directories where they come and go. A real file is read
//! once, however many paths and patterns name it: it belongs to one stream, and its records are handed out for
//! every feed that wants it. Everything is looked at again every few seconds, because some file systems tell
//! nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::place::FileId;
use super::stream::{Rest, Stream};
use super::{Follower, Format, stream_name};
use crate::clock;
use crate::sources::activity;
use crate::sources::glob::{self, Place};
use crate::sources::watch::{Notice, Watcher};
use crate::sources::{Batch, FeedId, Phase, Position, Source, SourceError, StreamStatus};

/// All files are looked at so often even if nothing is told of them.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// All directories are listed so often even if nothing is told of them.
const LIST_EVERY: Duration = Duration::from_secs(30);

/// Both, where inotify is of no use.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// So many batches are handed out at once.
const MAX_BATCHES: usize = 8;

/// Names that end so hold no plain text.
const COMPRESSED: [&str; 6] = [".gz", ".xz", ".bz2", ".zst", ".lz4", ".Z"];

/// Where each stream was left, by its name.
type Positions<'a> = &'a dyn Fn(&str) -> Option<Position>;

/// Follows the files of one format.
pub(crate) struct Files {
    kind: &'static str,
    format: Format,
    patterns: Vec<Pattern>,
    streams: BTreeMap<u32, Stream>,
    next_key: u32,
    /// The stream that was served last.
    turn: u32,
    watcher: Watcher,
    /// Names that matter, by directory.
    places: Vec<Place>,
    list_is_due: bool,
    next_check: Instant,
    next_list: Instant,
    watching: bool,
}

struct Pattern {
    text: String,
    feeds: Vec<FeedId>,
    is_cut: bool,
    matches_any: bool,
}

impl Files {
    /// Follows what `wanted` names: paths or patterns, each with the feed that wants it.
    pub(crate) fn open(
        kind: &'static str,
        format: Format,
        wanted: &[(FeedId, String)],
        positions: Positions<'_>,
    ) -> Files {
        let mut patterns: Vec<Pattern> = Vec::new();
        for (feed, text) in wanted {
            match patterns.iter_mut().find(|pattern| pattern.text == *text) {
                Some(pattern) => pattern.feeds.push(*feed),
                None => patterns.push(Pattern {
                    text: text.clone(),
                    feeds: vec![*feed],
                    is_cut: false,
                    matches_any: false,
                }),
            }
        }
        let now = clock::instant();
        let mut files = Files {
            kind,
            format,
            patterns,
            streams: BTreeMap::new(),
            next_key: 0,
            turn: 0,
            watcher: Watcher::new(),
            places: Vec::new(),
            list_is_due: false,
            next_check: now + CHECK_EVERY,
            next_list: now + LIST_EVERY,
            watching: false,
        };
        files.list(now, Some(positions));
        files
    }

    /// Looks up what the patterns name now, and begins and ends streams accordingly.
    ///
    /// `at_start`: the saved positions, when this is the first time.
    fn list(&mut self, now: Instant, at_start: Option<Positions<'_>>) {
        self.list_is_due = false;
        let wanted = self.expand();
        for key in self.streams.keys().copied().collect::<Vec<u32>>() {
            self.with(key, |stream, others| {
                stream.feeds.clear();
                stream.follower.check(others, now);
            });
        }
        let mut begun: Vec<(PathBuf, Option<Position>, Vec<FeedId>)> = Vec::new();
        for (path, feeds) in wanted {
            match self.streams.values_mut().find(|stream| stream.follower.path() == path) {
                Some(stream) => stream.want(&feeds),
                None => {
                    let position = at_start.and_then(|positions| positions(&stream_name(self.kind, &path)));
                    begun.push((path, position, feeds));
                }
            }
        }
        // Known streams first, then real files before links: whoever comes first owns the file.
        begun.sort_by_key(|(path, position, _)| (position.is_none(), path.is_symlink()));
        for (path, position, feeds) in begun {
            self.begin(path, position, &feeds, now, at_start.is_some());
        }
        self.end_unwanted();
    }

    /// All paths that are wanted now, with their feeds; watches their directories.
    fn expand(&mut self) -> BTreeMap<PathBuf, Vec<FeedId>> {
        // What appears between a listing and the first watch on the directory is seen by listing again.
        for _ in 0..4 {
            let mut wanted: BTreeMap<PathBuf, Vec<FeedId>> = BTreeMap::new();
            let mut places = Vec::new();
            for pattern in &mut self.patterns {
                let mut found = glob::expand(&pattern.text);
                let is_pattern = glob::is_pattern(pattern.text.as_bytes());
                if is_pattern {
                    found.paths.retain(|path| is_plain_file(path));
                }
                pattern.is_cut = found.is_cut;
                pattern.matches_any = !found.paths.is_empty();
                places.append(&mut found.places);
                for path in found.paths {
                    places.extend(link_place(&path));
                    let feeds = wanted.entry(path).or_default();
                    for feed in &pattern.feeds {
                        if !feeds.contains(feed) {
                            feeds.push(*feed);
                        }
                    }
                }
            }
            if !self.watch_places(places) {
                return wanted;
            }
        }
        BTreeMap::new()
    }

    /// Watches these directories and no others; true if one is watched for the first time.
    fn watch_places(&mut self, places: Vec<Place>) -> bool {
        let known: Vec<i32> = self.watcher.dirs().map(|(watch, _)| watch).collect();
        let mut watches = Vec::new();
        let mut dirs: Vec<&Path> = places.iter().map(|place| place.dir.as_path()).collect();
        dirs.sort();
        dirs.dedup();
        for dir in dirs {
            watches.extend(self.watcher.add_dir(dir));
        }
        for stale in known.iter().filter(|watch| !watches.contains(watch)) {
            self.watcher.remove(*stale);
        }
        self.places = places;
        watches.iter().any(|watch| !known.contains(watch))
    }

    fn begin(
        &mut self,
        path: PathBuf,
        position: Option<Position>,
        feeds: &[FeedId],
        now: Instant,
        at_start: bool,
    ) {
        let id = fs::metadata(&path).ok().map(|status| FileId::from(&status));
        let real = fs::canonicalize(&path).ok();
        let same = |stream: &Stream| {
            id.is_some() && stream.follower.current() == id
                || real.is_some() && real.as_deref() == Some(stream.follower.path())
        };
        if let Some(stream) = self.streams.values_mut().find(|stream| same(stream)) {
            stream.want(feeds);
            return;
        }
        let mut follower = if at_start {
            Follower::at_start(path, self.format, self.kind, position.as_ref())
        } else {
            Follower::appeared(path, self.format, self.kind)
        };
        follower.check(&mut Rest(&mut self.streams), now);
        let stream = Stream { follower, feeds: feeds.to_vec(), watches: Vec::new(), dirty: true, copy: None };
        self.streams.insert(self.next_key, stream);
        self.next_key += 1;
    }

    /// Does something with one stream while the others are at hand.
    fn with<T>(&mut self, key: u32, act: impl FnOnce(&mut Stream, &mut Rest<'_>) -> T) -> Option<T> {
        let mut stream = self.streams.remove(&key)?;
        let done = act(&mut stream, &mut Rest(&mut self.streams));
        self.streams.insert(key, stream);
        Some(done)
    }

    /// Drops streams that nobody wants and that have no file left; the others keep their feeds until then.
    fn end_unwanted(&mut self) {
        let watcher = &mut self.watcher;
        self.streams.retain(|_, stream| {
            let keep = !stream.feeds.is_empty() || stream.follower.files().next().is_some();
            if !keep {
                stream.watches.iter().for_each(|(_, watch)| watcher.remove(*watch));
            }
            keep
        });
    }

    /// Reads what there is, at most one batch of each stream, so that none has to wait for a busy one.
    fn collect(&mut self, now: Instant) -> Vec<Batch> {
        if self.list_is_due {
            self.list(now, None);
        }
        let dirty = |(key, stream): (&u32, &Stream)| stream.dirty.then_some(*key);
        let mut keys: Vec<u32> = self.streams.iter().filter_map(dirty).collect();
        let after = keys.iter().filter(|&&key| key <= self.turn).count();
        let turns = after.min(keys.len());
        keys.rotate_left(turns);
        let mut batches = Vec::new();
        for key in keys {
            if batches.len() == MAX_BATCHES {
                break;
            }
            self.turn = key;
            let watcher = &mut self.watcher;
            let Some(mut stream) = self.streams.remove(&key) else { continue };
            batches.extend(stream.next(watcher, &mut Rest(&mut self.streams), now));
            self.streams.insert(key, stream);
        }
        batches
    }

    fn take_notices(&mut self) {
        for notice in self.watcher.notices() {
            match notice {
                Notice::File(watch) => {
                    for stream in self.streams.values_mut() {
                        stream.dirty |= stream.watches.iter().any(|(_, of)| *of == watch);
                    }
                }
                Notice::Dir(dir, name) => {
                    self.list_is_due |=
                        self.places.iter().any(|place| place.dir == dir && glob::matches(&place.name, &name));
                }
                Notice::Everything => self.list_is_due = true,
            }
        }
        if self.list_is_due {
            self.streams.values_mut().for_each(|stream| stream.dirty = true);
        }
    }

    /// Sees to it that everything is looked at; true if it was time.
    fn check_if_due(&mut self, now: Instant) -> bool {
        if now < self.next_check {
            return false;
        }
        let polls = self.watcher.trouble().is_some();
        self.next_check = now + if polls { POLL_EVERY } else { CHECK_EVERY };
        self.streams.values_mut().for_each(|stream| stream.dirty = true);
        if polls || now >= self.next_list {
            self.next_list = now + LIST_EVERY;
            self.list_is_due = true;
        }
        true
    }
}

impl Source for Files {
    fn poll(&mut self, wake: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<Vec<Batch>, SourceError> {
        let mut now = clock::instant();
        let until = timeout.map(|timeout| now + timeout);
        loop {
            self.take_notices();
            let checked = self.check_if_due(now);
            let batches = self.collect(now);
            if !batches.is_empty() {
                if batches.iter().any(|batch| batch.phase == Phase::Live && !batch.records.is_empty()) {
                    activity::ring();
                }
                return Ok(batches);
            }
            self.watching = true;
            // After a check the caller may have to be told of trouble.
            if checked || until.is_some_and(|until| until <= now) {
                return Ok(Vec::new());
            }
            let next = until.map_or(self.next_check, |until| until.min(self.next_check));
            let woken = self.watcher.wait(&[wake], Some(next), now).map_err(|cause| SourceError {
                tried: "wait for",
                target: "changes of log files".to_owned(),
                cause,
                cure: "restart the daemon",
            })?;
            now = clock::instant();
            if woken.first() == Some(&true) {
                self.take_notices();
                return Ok(self.collect(now));
            }
        }
    }

    fn is_watching(&self) -> bool {
        self.watching
    }

    fn status(&self) -> Vec<StreamStatus> {
        let polls = self.watcher.trouble().map(|error| {
            format!("the kernel does not tell of changes ({error}), so files are looked at each second; raise fs.inotify.max_user_watches and max_user_instances")
        });
        let mut all = Vec::new();
        let mut tell = |path: String, feeds: &[FeedId], problem: Option<String>| {
            for &feed in feeds {
                all.push(StreamStatus {
                    kind: self.kind,
                    path: path.clone(),
                    feed,
                    problem: problem.clone(),
                });
            }
        };
        for stream in self.streams.values() {
            let problem = stream.follower.problem().map(str::to_owned).or_else(|| polls.clone());
            tell(stream.follower.path().display().to_string(), &stream.feeds, problem);
        }
        for pattern in &self.patterns {
            if pattern.is_cut {
                let most = glob::MAX_MATCHES;
                let problem = format!(
                    "{} matches more than {most} files, and only the first {most} are read; write a narrower pattern",
                    pattern.text
                );
                tell(pattern.text.clone(), &pattern.feeds, Some(problem));
            } else if !pattern.matches_any {
                let problem =
                    format!("no file matches {}; the first that does is read at once", pattern.text);
                tell(pattern.text.clone(), &pattern.feeds, Some(problem));
            }
        }
        all
    }
}

fn is_plain_file(path: &Path) -> bool {
    let name = path.to_string_lossy();
    !COMPRESSED.iter().any(|ending| name.ends_with(ending)) && path.is_file()
}

/// Where the file that a link leads to may be exchanged.
fn link_place(path: &Path) -> Option<Place> {
    use std::os::unix::ffi::OsStrExt;
    let real = path.is_symlink().then(|| fs::canonicalize(path).ok()).flatten()?;
    Some(Place { dir: real.parent()?.to_owned(), name: real.file_name()?.as_bytes().to_vec() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::{Files, Format, Watcher};
    use crate::clock;
    use crate::sources::Source;

    #[test]
    fn without_inotify_files_are_looked_at_each_second() {
        let path = std::env::temp_dir().join(format!("pillory-blind-{}", std::process::id()));
        let text = path.to_string_lossy().into_owned();
        let mut files = Files::open("file", Format::Lines, &[(1, text)], &|_| None);
        files.watcher = Watcher::blind();
        let wake = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let begin = clock::instant();
        files.next_check = begin;
        files.poll(wake.as_fd(), Some(Duration::ZERO)).unwrap();
        assert!(files.status()[0].problem.as_ref().is_some());
        std::fs::File::create(&path).unwrap().write_all(b"a line\n").unwrap();
        let mut records = 0;
        while records == 0 && begin.elapsed() < Duration::from_secs(10) {
            let batches = files.poll(wake.as_fd(), Some(Duration::from_secs(10))).unwrap();
            records += batches.iter().map(|batch| batch.records.len()).sum::<usize>();
        }
        std::fs::remove_file(&path).unwrap();
        assert!(records == 1 && begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        assert!(files.status()[0].problem.as_ref().is_some_and(|text| text.contains("max_user_watches")));
    }
}
