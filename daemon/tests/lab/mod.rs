//! The lab: a server and its attackers in network namespaces, a real sshd, and the daemon under test.
//!
//! ```text
//! World ── server: Host  192.0.2.1, 2001:db8::1, looks like a Debian host, runs sshd, syslog, the daemon
//!      └── client: Host  every other address of 192.0.2.0/24 (10 to 60, 200 to 209, 254 is the gateway),
//!                        198.51.100.0/24, 203.0.113.0/24, 10.66.0.0/16, 2001:db8:1::/48 .. 2001:db8:f::/48
//! ```
//!
//! A test begins with `let Some(world) = World::new() else { return };`. Dropping the world ends every process
//! in it; so does the end of the test process itself. Nothing of the real host is changed: no address, route,
//! firewall rule or file outside of `target/`.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "a kit: not every program uses every part")]

mod browser;
mod client;
mod daemon;
mod host;
mod kernel;
mod logging;
mod mail_server;
mod network;
mod notices;
mod peer;
mod place;
mod scene;
mod sshd;
mod subject;
mod systemd;
mod terminal;
mod tools;
mod wait;
mod web_server;
mod world;

pub use browser::{BROWSER, Browser};
pub use client::{Attacker, Outcome, Session, Try};
pub use daemon::{Answer, CONFIG, CONTROL, Daemon, DaemonOptions, STATE_DIR, binary, pillory};
pub use host::{Host, Running};
pub use kernel::{Element, Kernel, Monitor, Packets};
pub use logging::{Logging, PERSISTENT_JOURNAL, Syslog, VOLATILE_JOURNAL};
pub use mail_server::{MAIL_CA, MAIL_HOST, MailServer, decoded};
pub use network::{Knocking, Knocks};
pub use notices::Notices;
pub use peer::Fail2ban;
pub use place::Place;
pub use scene::{LOG, SHORT, SOON, Scene, SceneOptions, failed_line, failed_lines, quiet_server, sshd_line};
pub use sshd::{Sshd, SshdOptions, sshd_writes_btmp};
pub use subject::{Pillory, Settings, Subject};
pub use systemd::{SYSTEMD, Systemd};
pub use terminal::{ROWS, Terminal, without_colour};
pub use tools::{
    Missing, find, module_dir, need, package_file, say_figure, say_skipped, stock_fail2ban, tools_dir,
    unpacked_environment,
};
pub use wait::{wait_for, wait_until};
pub use web_server::{Answering, Asked, WebServer};
pub use world::{PASSWORD, SERVER4, SERVER6, World};
