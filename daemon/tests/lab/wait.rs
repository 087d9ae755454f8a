//! Waiting for an event with a deadline, the only way in which tests wait.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Looks until `event` yields something, and returns it; `None` once `deadline` is over.
pub fn wait_until<T>(deadline: Duration, mut event: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = event() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(POLL);
    }
}

/// Looks until `event` yields something, and returns it; fails the test after `deadline`.
///
/// `what`: what is waited for, for the message.
#[track_caller]
pub fn wait_for<T>(deadline: Duration, what: &str, event: impl FnMut() -> Option<T>) -> T {
    match wait_until(deadline, event) {
        Some(found) => found,
        None => panic!("waited {deadline:?} in vain for: {what}"),
    }
}
