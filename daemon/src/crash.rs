//! Where a test lets the daemon die, as by `kill -9`: `PILLORY_CRASH_AT=kernel_told`; or by a fault in the program, with
//! `PILLORY_CRASH_BY=panic`. Nothing of it is in a release.
//!
//! A ban is decided, and then the kernel's and the store's threads do their parts side by side. To die after exactly one
//! of them the other one waits for ever where it would begin.

/// A boundary between what is done for a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Read by a source; nobody was told.
    Read,
    /// Decided; nobody was told.
    Decided,
    /// In the kernel, and not written.
    KernelTold,
    /// Written, and not in the kernel.
    LedgerWritten,
    /// Both done; who asked was not told.
    BothDone,
    /// No part of a ban: `top` has drawn, and the terminal is its own.
    Drawn,
}

/// Dies if a test wants it here and `has_ban` says that a ban is concerned.
pub(crate) fn point(point: Point, has_ban: impl FnOnce() -> bool) {
    #[cfg(debug_assertions)]
    if armed::at() == Some(point) && has_ban() {
        armed::die();
    }
    #[cfg(not(debug_assertions))]
    let _ = (point, has_ban);
}

/// Waits for the end if a test wants the daemon to die before this, at `point`.
pub(crate) fn not_before(point: Point, has_ban: impl FnOnce() -> bool) {
    #[cfg(debug_assertions)]
    if armed::at() == Some(point) && has_ban() {
        armed::wait();
    }
    #[cfg(not(debug_assertions))]
    let _ = (point, has_ban);
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;

    use super::Point;

    pub(super) fn at() -> Option<Point> {
        static AT: OnceLock<Option<Point>> = OnceLock::new();
        *AT.get_or_init(|| match std::env::var("PILLORY_CRASH_AT").ok()?.as_str() {
            "read" => Some(Point::Read),
            "decided" => Some(Point::Decided),
            "kernel_told" => Some(Point::KernelTold),
            "ledger_written" => Some(Point::LedgerWritten),
            "both_done" => Some(Point::BothDone),
            "drawn" => Some(Point::Drawn),
            _ => None,
        })
    }

    #[expect(clippy::panic, reason = "the fault that a test asked for")]
    pub(super) fn die() {
        if std::env::var_os("PILLORY_CRASH_BY").is_some_and(|by| by == "panic") {
            panic!("a test asked for this fault");
        }
        // No handler and no destructor runs; if it cannot be sent, the end is as sudden.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort()
    }

    pub(super) fn wait() {
        loop {
            std::thread::park();
        }
    }
}
