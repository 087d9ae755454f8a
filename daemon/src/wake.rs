//! Waking threads that wait for descriptors, and waiting for several descriptors at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

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
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
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
