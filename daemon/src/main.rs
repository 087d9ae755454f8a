//! Pillory watches failed logins and shuts attackers out in the kernel.
#![deny(unsafe_code)]
#![allow(dead_code, unreachable_pub)]

mod actions;
mod kernelfacts;
mod netlink;
mod sources;

fn main() {}
