//! One followed path among others: its watches, its feeds, and its files that change hands.

use std::collections::BTreeMap;
use std::time::Instant;

use super::place::FileId;
use super::{Follower, Others, Tail};
use crate::sources::watch::Watcher;
use crate::sources::{Batch, FeedId};

/// One path that is followed, with those who want its records.
pub(super) struct Stream {
    pub(super) follower: Follower,
    pub(super) feeds: Vec<FeedId>,
    pub(super) watches: Vec<(FileId, i32)>,
    /// There may be something to read.
    pub(super) dirty: bool,
    /// This file is a copy of a log that is followed.
    pub(super) copy: Option<FileId>,
}

impl Stream {
    /// Adds those who want its records.
    pub(super) fn want(&mut self, feeds: &[FeedId]) {
        for feed in feeds {
            if !self.feeds.contains(feed) {
                self.feeds.push(*feed);
            }
        }
    }

    /// The next batch; without one the stream is clean until something happens.
    pub(super) fn next(
        &mut self,
        watcher: &mut Watcher,
        others: &mut Rest<'_>,
        now: Instant,
    ) -> Option<Batch> {
        self.follower.check(others, now);
        self.set_copy_aside(others);
        // A file must be watched before it is read for the last time.
        for _ in 0..4 {
            self.watch(watcher);
            let batch = self.follower.next(&self.feeds, others, now);
            if batch.is_some() {
                return batch;
            }
            if !self.follower.has_changed() {
                self.dirty = false;
                break;
            }
        }
        None
    }

    /// If the file is a copy that a truncating rotation makes of a log that is followed, it is nothing new, and
    /// what was not read of the log is read from it by the log's own stream.
    fn set_copy_aside(&mut self, others: &Rest<'_>) {
        if self.follower.take_new()
            && let Some(head) = self.follower.first_bytes()
        {
            let path = self.follower.path();
            if others.0.values().any(|other| other.follower.has_copy(path, &head)) {
                self.copy = self.follower.current();
            }
            if head.is_empty() {
                self.follower.set_new();
            }
        }
        if self.copy.is_some() && self.copy == self.follower.current() {
            self.follower.skip_to_end();
        }
    }

    fn watch(&mut self, watcher: &mut Watcher) {
        if !self.follower.take_changed() {
            return;
        }
        let mut watches = Vec::new();
        for (id, file) in self.follower.files() {
            watches.extend(watcher.add_file(file).map(|watch| (id, watch)));
        }
        for (_, stale) in self.watches.iter().filter(|(_, old)| !watches.iter().any(|(_, new)| new == old)) {
            watcher.remove(*stale);
        }
        self.watches = watches;
    }
}

/// All streams but the one at work.
pub(super) struct Rest<'a>(pub(super) &'a mut BTreeMap<u32, Stream>);

impl Others for Rest<'_> {
    fn adopt(&mut self, id: FileId) -> Option<Tail> {
        let given =
            self.0.values_mut().find_map(|stream| stream.follower.give(id).map(|tail| (stream, tail)));
        given.map(|(stream, tail)| {
            // It has its new position to tell.
            stream.dirty = true;
            tail
        })
    }

    fn holds(&self, id: FileId) -> bool {
        self.0.values().any(|stream| stream.follower.holds(id))
    }
}
