//! Whole-program tests: the real daemon against a real sshd, real ssh clients and the real kernel.
//!
//! Everything happens in namespaces that [`lab`] makes; without root, or without the tools that
//! `scripts/fetch-test-tools.sh` fetches, the tests that need them say so and pass.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "tests start programs and keep deadlines")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod allow;
mod apply;
mod badinput;
mod book;
mod commands;
mod control;
mod counting;
mod crash;
mod dashboard;
mod disk;
mod docs;
mod drills_clock;
mod drills_faults;
mod drills_files;
mod drills_firewalls;
mod drills_input;
mod drills_kernel;
mod drills_load;
mod drills_log;
mod edges;
mod fail2ban;
mod fail2ban_check;
mod fail2ban_commands;
mod feeds;
mod first_ban;
mod forms;
mod friends;
mod geo;
mod golden;
mod habits;
mod harness;
mod hostile_text;
mod ignoreip_names;
mod install;
mod journal;
mod lab;
mod learning;
mod lockout;
mod log;
mod looks;
mod manual;
mod markdown;
mod meddling;
mod metrics;
mod mmdb;
mod moving;
mod notifications;
mod nullroute;
mod orders;
mod outage;
mod packages;
mod pages;
mod peer_drills;
mod privilege;
mod proxies;
mod quiet;
mod readers;
mod rehearse;
mod reports;
mod rescue;
mod restart;
mod restrict;
mod rotation;
mod scan;
mod scope;
mod sessions;
mod sockets;
mod stealth;
mod test_filter;
mod told;
mod top;
mod unban;
mod unit;
mod unlist;
mod wall;
mod warns;
mod web;
mod whois;
mod widening;
