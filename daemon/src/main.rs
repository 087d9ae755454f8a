//! Pillory: watches failed logins and shuts attackers out in the kernel. Arguments and exit codes, nothing else.
#![forbid(unsafe_code)]

mod actions;
mod allowed;
mod cli;
mod clock;
mod commands;
mod control;
mod crash;
mod discover;
mod engine;
mod errands;
mod escape;
mod facts;
mod fault;
mod findings;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod geo;
mod guard;
mod kernel;
mod kernelfacts;
mod learn;
mod logging;
mod lookout;
mod names;
mod netlink;
mod outfile;
mod outgoing;
mod outputs;
mod ports;
mod privilege;
mod rdap;
mod rescue;
mod seat;
mod service;
#[cfg(test)]
mod simulator;
mod sources;
mod stamps;
mod store;
mod supervisor;
mod unlisted;
mod wake;
mod web;
mod xz;

fn main() -> std::process::ExitCode {
    cli::main()
}
