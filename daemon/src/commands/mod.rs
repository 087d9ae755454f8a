//! Actions that only commands can do: those of a fail2ban directory for which there is nothing native.
//!
//! Each action of each jail is a lane: its commands run one after the other, in the order of the bans. Lanes run side
//! by side, a few at a time. Nobody waits for them: the kernel's bans are in force before the first command starts.

mod facts;
mod lane;
pub(crate) mod outside;
mod process;
pub(crate) mod told;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::error;

use pillory_core::event::JailName;

use crate::clock::Stopwatch;

pub(crate) use facts::{Background, Merged, Told};
pub(crate) use lane::{Facts, Hosts, Lane, Task};
pub(crate) use outside::{Order, Outside};

/// So many commands run at once.
const WORKERS: usize = 8;

/// So many tasks may wait in a lane; more are dropped and said, so that an action that hangs fills no memory.
const MOST_WAITING: usize = 20_000;

/// Runs the commands of all lanes.
#[derive(Debug)]
pub(crate) struct Runner {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    board: Mutex<Board>,
    changed: Condvar,
}

#[derive(Debug)]
struct Board {
    lanes: Vec<Slot>,
    /// Where the search for work goes on, so that every lane has its turn.
    turn: usize,
    closing: bool,
}

/// A lane with what it is to do. Its worker takes the lane out while it works.
#[derive(Debug)]
struct Slot {
    jail: JailName,
    action: String,
    lane: Option<Lane>,
    waiting: VecDeque<Task>,
    /// It is configured no more: it does what it was given, and then nothing.
    is_retired: bool,
    /// What went wrong last; nothing if the last task went well.
    trouble: Option<String>,
    dropped: u64,
}

impl Runner {
    /// A runner with nothing to run and no thread.
    pub(crate) fn new() -> Runner {
        let board = Board { lanes: Vec::new(), turn: 0, closing: false };
        Runner {
            shared: Arc::new(Shared { board: Mutex::new(board), changed: Condvar::new() }),
            workers: Vec::new(),
        }
    }

    /// Adds lanes, each with what it is to do first. As many workers as there are lanes, up to [`WORKERS`].
    /// # Errors
    /// The system's, if it has no thread left.
    pub(crate) fn add(&mut self, lanes: Vec<(Lane, Vec<Task>)>) -> std::io::Result<()> {
        let slot = |(lane, tasks): (Lane, Vec<Task>)| Slot {
            jail: lane.jail.clone(),
            action: lane.name().to_owned(),
            lane: Some(lane),
            waiting: tasks.into(),
            is_retired: false,
            trouble: None,
            dropped: 0,
        };
        let mut board = self.shared.lock();
        board.lanes.extend(lanes.into_iter().map(slot));
        let wanted = board.lanes.len().min(WORKERS);
        drop(board);
        while self.workers.len() < wanted {
            let shared = Arc::clone(&self.shared);
            let name = format!("command-{}", self.workers.len());
            self.workers.push(std::thread::Builder::new().name(name).spawn(move || shared.work())?);
        }
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Gives every lane its last task; lanes that are added later under the same names wait for their end.
    pub(crate) fn retire(&self, mut last: impl FnMut(&JailName) -> Task) {
        let mut board = self.shared.lock();
        for slot in board.lanes.iter_mut().filter(|slot| !slot.is_retired) {
            slot.is_retired = true;
            let task = last(&slot.jail);
            slot.waiting.push_back(task);
        }
        drop(board);
        self.shared.changed.notify_all();
    }

    /// True if some jail has lanes that are not retired.
    pub(crate) fn has_lanes(&self) -> bool {
        self.shared.lock().lanes.iter().any(|slot| !slot.is_retired)
    }

    /// Gives a task to every action of a jail.
    pub(crate) fn give(&self, jail: &JailName, task: &Task) {
        let mut board = self.shared.lock();
        for slot in board.lanes.iter_mut().filter(|slot| slot.jail == *jail && !slot.is_retired) {
            if slot.waiting.len() >= MOST_WAITING {
                slot.dropped += 1;
                slot.trouble =
                    Some(format!("{} commands were left out: {MOST_WAITING} others wait", slot.dropped));
                continue;
            }
            slot.waiting.push_back(task.clone());
        }
        drop(board);
        self.shared.changed.notify_all();
    }

    /// What does not work at present, in words.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let board = self.shared.lock();
        let trouble = |slot: &Slot| {
            slot.trouble
                .as_ref()
                .map(|trouble| format!("jail {}, action {}: {trouble}", slot.jail, slot.action))
        };
        board.lanes.iter().filter_map(trouble).collect()
    }

    /// Waits until everything that was asked is done, no longer than `limit`; false if something is left.
    pub(crate) fn finish(self, limit: Duration) -> bool {
        let watch = Stopwatch::start();
        let mut board = self.shared.lock();
        board.closing = true;
        self.shared.changed.notify_all();
        while !board.is_idle() {
            let Some(left) = limit.checked_sub(watch.elapsed()) else { return false };
            board = match self.shared.changed.wait_timeout(board, left) {
                Ok((board, _)) => board,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        drop(board);
        for worker in self.workers {
            let _ = worker.join();
        }
        true
    }
}

impl Board {
    /// True if a lane has something to do, is free, and no retired one of the same name has.
    fn is_ready(&self, at: usize) -> bool {
        let Some(slot) = self.lanes.get(at) else { return false };
        let blocks = |earlier: &Slot| {
            earlier.is_retired
                && (&earlier.jail, &earlier.action) == (&slot.jail, &slot.action)
                && !(earlier.lane.is_some() && earlier.waiting.is_empty())
        };
        slot.lane.is_some() && !slot.waiting.is_empty() && !self.lanes[..at].iter().any(blocks)
    }

    fn is_idle(&self) -> bool {
        self.lanes.iter().all(|slot| slot.lane.is_some() && slot.waiting.is_empty())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Board> {
        // What it guards holds after every step, so a panic elsewhere spoils nothing.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        while let Some((at, mut lane, task)) = self.next() {
            let result = lane.work(&task);
            let mut board = self.lock();
            if let Some(slot) = board.lanes.get_mut(at) {
                slot.lane = Some(lane);
                slot.trouble = result.as_ref().err().map(ToString::to_string);
            }
            drop(board);
            self.changed.notify_all();
            if let Err(error) = result {
                error!(error = %error, "a command failed");
            }
        }
    }

    /// The next lane that has something to do and is free; nothing at the end.
    fn next(&self) -> Option<(usize, Lane, Task)> {
        let mut board = self.lock();
        loop {
            let (count, turn) = (board.lanes.len(), board.turn);
            let is_ready = |at: &usize| board.is_ready(*at);
            let ready = (0..count).map(|step| (turn + step) % count).find(is_ready);
            if let Some(at) = ready {
                board.turn = at + 1;
                let slot = board.lanes.get_mut(at)?;
                let task = slot.waiting.pop_front()?;
                return Some((at, slot.lane.take()?, task));
            }
            if board.closing && board.is_idle() {
                return None;
            }
            board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
