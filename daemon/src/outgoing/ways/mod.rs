//! The ways by which something goes out.

pub(super) mod mail;
pub(super) mod syslog;
pub(super) mod webhook;
