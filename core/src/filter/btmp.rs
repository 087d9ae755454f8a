//! Login records (utmp form): failed logins from btmp, good ones from wtmp.

use crate::event::Event;

/// Decodes records.
#[derive(Debug, Default)]
pub struct Decoder;

impl Decoder {
    /// One record.
    pub fn decode(&mut self, _record: &[u8]) -> Option<Event> {
        None
    }
}
