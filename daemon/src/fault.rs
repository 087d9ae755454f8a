//! What becomes of a fault in the program, a panic: the daemon says so and ends, for whoever started it to start it anew.
//!
//! A thread that ends while the others live on would leave a daemon that looks alive and does nothing. The kernel keeps the
//! bans, and what was not written yet is read again. Where a part can begin again by itself it does, see [`outlive`].

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

use tracing::error;

use crate::cli::exit;
use crate::escape::escape;
use crate::logging;

thread_local! {
    /// Somebody waits for the fault of this thread and goes on.
    static IS_OUTLIVED: Cell<bool> = const { Cell::new(false) };
}

/// From now on a fault in any thread ends the process, with [`exit::FAULT`], unless it is outlived.
pub(crate) fn end_with() {
    // Not the hook of the standard library, which writes to stderr and waits for whoever reads it.
    std::panic::set_hook(Box::new(|fault| {
        say(fault);
        if !IS_OUTLIVED.get() {
            logging::finish();
            std::process::exit(exit::FAULT.into());
        }
    }));
}

fn say(fault: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("one without a name");
    let at = fault.location().map(ToString::to_string).unwrap_or_default();
    let reason = escape(fault.payload_as_str().unwrap_or("unknown"));
    error!(thread, at, reason, "a fault in Pillory; please report it");
}

/// Does `work`, and survives a fault in it, for somebody who begins it again from what is known outside.
/// # Errors
/// The fault's reason.
pub(crate) fn outlive<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = IS_OUTLIVED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_OUTLIVED.set(before);
    done.map_err(|reason| {
        let text = reason.downcast_ref::<&str>().copied();
        text.or_else(|| reason.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown").to_owned()
    })
}
