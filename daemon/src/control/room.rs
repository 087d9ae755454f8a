//! Who is connected to the control socket. There is room for so many; whoever has said nothing yet goes first when
//! somebody comes, so that idle connections keep nobody out. Whoever has to go has a thread and a descriptor until that
//! thread has run again; no more of them are there at once than there are seats.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};

/// See the module.
#[derive(Debug)]
pub(crate) struct Room {
    seats: usize,
    inside: Mutex<Inside>,
    /// Somebody has gone.
    gone: Condvar,
    large: Mutex<()>,
}

#[derive(Debug, Default)]
struct Inside {
    /// Have sent no request yet; the longest there first.
    silent: VecDeque<Arc<UnixStream>>,
    /// Are being served.
    served: Vec<Arc<UnixStream>>,
    /// So many were hung up on and have not gone yet.
    leaving: usize,
}

impl Room {
    pub(crate) fn new(seats: usize) -> Room {
        Room { seats, inside: Mutex::default(), gone: Condvar::new(), large: Mutex::default() }
    }

    /// Lets somebody in; false if everybody inside is being served.
    pub(crate) fn enter(&self, stream: &Arc<UnixStream>) -> bool {
        let mut inside = self.inside();
        if inside.silent.len() + inside.served.len() >= self.seats {
            let Some(oldest) = inside.silent.pop_front() else { return false };
            hang_up(&oldest);
            inside.leaving += 1;
            // They go by themselves, as soon as their threads are let run.
            let too_many = |inside: &mut Inside| inside.leaving > self.seats;
            inside = self.gone.wait_while(inside, too_many).unwrap_or_else(PoisonError::into_inner);
        }
        inside.silent.push_back(Arc::clone(stream));
        true
    }

    /// A request has come; false if the client had to go meanwhile.
    pub(crate) fn begin(&self, stream: &Arc<UnixStream>) -> bool {
        let mut inside = self.inside();
        let at = inside.silent.iter().position(|silent| Arc::ptr_eq(silent, stream));
        let found = at.and_then(|at| inside.silent.remove(at));
        let stays = found.is_some();
        inside.served.extend(found);
        stays
    }

    /// The right to send much, which one client has at a time; nothing if another has it.
    pub(crate) fn for_a_large_one(&self) -> Option<MutexGuard<'_, ()>> {
        match self.large.try_lock() {
            Ok(right) => Some(right),
            Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Somebody who had come in has gone.
    pub(crate) fn leave(&self, stream: &Arc<UnixStream>) {
        let mut inside = self.inside();
        let before = inside.silent.len() + inside.served.len();
        inside.silent.retain(|silent| !Arc::ptr_eq(silent, stream));
        inside.served.retain(|served| !Arc::ptr_eq(served, stream));
        if inside.silent.len() + inside.served.len() == before {
            inside.leaving = inside.leaving.saturating_sub(1);
            self.gone.notify_one();
        }
    }

    /// Hangs up on everybody who has said nothing.
    pub(crate) fn close_silent(&self) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn those_who_were_hung_up_on_and_have_not_gone_are_bounded() {
        const SEATS: usize = 4;
        let room = Room::new(SEATS);
        let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let serve = |stream: Arc<UnixStream>| {
            // Silent until it is hung up on.
            assert_eq!((&*stream).read(&mut [0]).unwrap(), 0);
            // It is not let run at once.
            std::thread::sleep(std::time::Duration::from_millis(1));
            alive.fetch_sub(1, Ordering::SeqCst);
            room.leave(&stream);
        };
        std::thread::scope(|scope| {
            let mut clients = Vec::new();
            for _ in 0..200 {
                let (client, stream) = UnixStream::pair().unwrap();
                clients.push(client);
                let stream = Arc::new(stream);
                assert!(room.enter(&stream));
                most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let serve = &serve;
                scope.spawn(move || serve(stream));
            }
            room.close_silent();
        });
        let most = most.into_inner();
        assert!((SEATS + 1..=2 * SEATS).contains(&most), "{most}");
        assert_eq!(room.inside().leaving, 0);
    }
}
