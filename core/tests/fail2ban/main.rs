//! A fail2ban directory read by Pillory and by fail2ban itself: every resolved option is the same.
//!
//! The peer is Debian's package, unpacked into `target/tools` (`scripts/fetch-test-tools.sh`); without it there is
//! nothing to compare with, and the tests say so.
#![forbid(unsafe_code)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests start programs, and stop where one fails"
)]

mod actions;
mod corpus;
mod filters;
mod grammar;
mod grow;
mod hang;
mod loads;
mod moving;
mod notes;
mod peer;
mod samples;
mod scenarios;
mod stock;
mod variants;
