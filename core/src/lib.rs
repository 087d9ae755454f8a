//! Pillory's judgement, without I/O and without a clock.
#![forbid(unsafe_code)]

pub mod addresslist;
pub mod config;
pub mod event;
pub mod filter;
pub mod hash;
pub mod jail;
pub mod ledger;
pub mod machine;
pub mod net;
pub mod scan;
pub mod time;
