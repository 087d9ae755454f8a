//! Waking threads that wait for descriptors, and waiting for several descriptors at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

/// A descriptor that becomes readable for everybody once raised, and stays so.
#[derive(Debug)]
pub(crate) struct Wake(OwnedFd);

impl Wake {
    /// # Errors
    /// The system's, if there is no descriptor left.
    pub(crate) fn new() -> std::io::Result<Wake> {
        Ok(Wake(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Wakes everybody who waits for it, now and later.
    pub(crate) fn raise(&self) {
        // The counter cannot overflow by being raised twice.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// True once raised.
    pub(crate) fn is_raised(&self) -> bool {
        self.is_raised_within(Duration::ZERO)
    }

    /// Waits for it to be raised, for so long at most; true once it is. An interruption ends the wait.
    pub(crate) fn is_raised_within(&self, limit: Duration) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        // Invariant: no limit here is longer than the centuries that fit in.
        let limit = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 });
        rustix::event::poll(&mut fds, Some(&limit)).is_ok_and(|count| count > 0)
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Blocks until one of the descriptors is readable.
/// # Errors
/// poll(2)'s, but for interruptions.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    loop {
        match rustix::event::poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.map(drop)?),
        }
    }
}
