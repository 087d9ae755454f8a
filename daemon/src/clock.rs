//! The only reader of clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pillory_core::time::Timestamp;

/// The wall clock. A clock that stands before 1970 reads as 1970.
#[allow(clippy::disallowed_methods)]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The clock that never steps; for waits only.
#[allow(clippy::disallowed_methods)]
pub(crate) fn instant() -> Instant {
    Instant::now()
}
