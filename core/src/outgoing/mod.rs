//! What leaves the host for its owner or for others: which events, when, and in which words. No I/O; the daemon sends.
//!
//! [`event`] is what can be told, [`mod@digest`] one message of several events, [`pace`] when the next may leave, [`report`]
//! what others are told of an attacker, [`url`] where to.

pub mod digest;
pub mod event;
pub mod pace;
pub mod report;
pub mod url;

pub use digest::{Message, digest};
pub use event::{Event, Kind};
pub use pace::{Pace, Progress, Setback};
pub use report::Report;
pub use url::Url;
