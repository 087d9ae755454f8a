//! Who is connected to the control socket. There is room for so many; whoever has said nothing yet goes first when
//! somebody comes, so that idle connections keep nobody out.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// See the module.
#[derive(Debug)]
pub(super) struct Room {
    seats: usize,
    inside: Mutex<Inside>,
    large: Mutex<()>,
}

#[derive(Debug, Default)]
struct Inside {
    /// Have sent no request yet; the longest there first.
    silent: VecDeque<Arc<UnixStream>>,
    /// Are being served.
    served: Vec<Arc<UnixStream>>,
}

impl Room {
    pub(super) fn new(seats: usize) -> Room {
        Room { seats, inside: Mutex::default(), large: Mutex::default() }
    }

    /// Lets somebody in; false if everybody inside is being served.
    pub(super) fn enter(&self, stream: &Arc<UnixStream>) -> bool {
        let mut inside = self.inside();
        if inside.silent.len() + inside.served.len() >= self.seats {
            let Some(oldest) = inside.silent.pop_front() else { return false };
            hang_up(&oldest);
        }
        inside.silent.push_back(Arc::clone(stream));
        true
    }

    /// A request has come; false if the client had to go meanwhile.
    pub(super) fn begin(&self, stream: &Arc<UnixStream>) -> bool {
        let mut inside = self.inside();
        let at = inside.silent.iter().position(|silent| Arc::ptr_eq(silent, stream));
        let found = at.and_then(|at| inside.silent.remove(at));
        let stays = found.is_some();
        inside.served.extend(found);
        stays
    }

    /// The right to send much, which one client has at a time; nothing if another has it.
    pub(super) fn for_a_large_one(&self) -> Option<MutexGuard<'_, ()>> {
        match self.large.try_lock() {
            Ok(right) => Some(right),
            Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Somebody has gone.
    pub(super) fn leave(&self, stream: &Arc<UnixStream>) {
        let mut inside = self.inside();
        inside.silent.retain(|silent| !Arc::ptr_eq(silent, stream));
        inside.served.retain(|served| !Arc::ptr_eq(served, stream));
    }

    /// Hangs up on everybody who has said nothing.
    pub(super) fn close_silent(&self) {
        self.inside().silent.iter().for_each(|silent| hang_up(silent));
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // What a thread that panicked left behind is whole: each change is one call.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the thread that reads from it.
fn hang_up(stream: &UnixStream) {
    // A client that went away needs no farewell.
    drop(stream.shutdown(Shutdown::Both));
}
