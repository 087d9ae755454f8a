//! A bell between sources: whoever hands out fresh records rings it, and the journal looks at once.
//!
//! The kernel tells of a write to a journal file 250 to 400 ms late (measured), of one to a log at once; and
//! what one of them records, the others mostly do too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::event::{EventfdFlags, eventfd};

static BELL: OnceLock<Option<OwnedFd>> = OnceLock::new();

/// Rings, if anybody listens.
pub(super) fn ring() {
    if let Some(Some(bell)) = BELL.get() {
        // A bell that rings already is as good.
        if let Err(error) = rustix::io::write(bell, &1u64.to_ne_bytes()) {
            tracing::trace!(%error, "bell rings already");
        }
    }
}

/// Readable after a ring; nothing if the kernel has no descriptor to spare.
pub(super) fn listen() -> Option<BorrowedFd<'static>> {
    let open = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).ok();
    BELL.get_or_init(open).as_ref().map(|bell| bell.as_fd())
}

/// Makes the bell silent again; true if it has rung.
pub(super) fn silence() -> bool {
    let mut count = [0; 8];
    BELL.get().and_then(Option::as_ref).is_some_and(|bell| rustix::io::read(bell, &mut count).is_ok())
}
