//! What the store has yet to write: a flood must not fill memory with it, nor a disk that hangs.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Stopwatch;

/// While so many records wait, some 2 MiB, no more lines are read.
const MOST_WAITING: usize = 16_384;

/// But if the store has taken nothing for so long, reading goes on: bans do not wait for the disk.
const STALLS: Duration = Duration::from_millis(500);

/// Beyond so many records, some 14 MiB, attempts are no longer kept for the store; bans always are.
const MOST_KEPT: usize = 100_000;

/// Numbers of records that were sent to the store and are not answered yet.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The numbers of the writes, and how many records each has.
    waiting: VecDeque<(u64, usize)>,
    records: usize,
    /// Since the store has last answered, or had nothing to do.
    since: Stopwatch,
}

impl Backlog {
    pub(super) fn new() -> Backlog {
        Backlog { waiting: VecDeque::new(), records: 0, since: Stopwatch::start() }
    }

    /// A write with so many records is on its way.
    pub(super) fn sent(&mut self, number: u64, records: usize) {
        if self.waiting.is_empty() {
            self.since = Stopwatch::start();
        }
        self.waiting.push_back((number, records));
        self.records += records;
    }

    /// The fate of all writes up to this number is known.
    pub(super) fn done(&mut self, number: u64) {
        self.since = Stopwatch::start();
        while let Some((_, records)) = self.waiting.pop_front_if(|(first, _)| *first <= number) {
            self.records -= records;
        }
    }

    /// True while lines are to wait for the store.
    pub(super) fn holds_back(&self) -> bool {
        self.records > MOST_WAITING && self.since.elapsed() < STALLS
    }

    /// True while there is too much to keep attempts, too.
    pub(super) fn is_full(&self) -> bool {
        self.records > MOST_KEPT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_for_the_store_until_it_has_written() {
        let mut backlog = Backlog::new();
        backlog.sent(1, MOST_WAITING);
        assert!(!backlog.holds_back());
        backlog.sent(2, 1);
        assert!(backlog.holds_back() && !backlog.is_full());
        backlog.done(1);
        assert!(!backlog.holds_back());
        backlog.sent(3, MOST_KEPT);
        assert!(backlog.is_full());
        backlog.done(3);
        assert!(!backlog.is_full() && !backlog.holds_back());
    }

    #[test]
    fn a_store_that_hangs_holds_nothing_back_for_long() {
        let mut backlog = Backlog::new();
        backlog.sent(1, 2 * MOST_WAITING);
        assert!(backlog.holds_back());
        std::thread::sleep(STALLS);
        assert!(!backlog.holds_back());
    }
}
