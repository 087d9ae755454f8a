//! What this host knows that judging needs: its own addresses, gateways and resolvers, open sessions, accounts.
//!
//! One thread reads it anew when the kernel says that addresses or routes changed, when the engine asks (a login
//! has just been seen), and every few seconds for the socket table.

use std::collections::HashSet;
use std::path::Path;

use pillory_core::config::Config;
use pillory_core::jail::never::Why;

use crate::cli::run::Wake;
use crate::engine::Input;
use crate::engine::jails::Facts;

use crossbeam_channel::{Receiver, Sender};

/// Names of accounts in a passwd file; empty if it cannot be read. A static binary asks no name service.
pub(crate) fn accounts(passwd: &Path) -> HashSet<String> {
    let text = std::fs::read(passwd).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
    names.filter(|name| !name.is_empty() && !name.starts_with(['+', '-', '#'])).map(str::to_owned).collect()
}

/// Reads everything now.
pub(crate) fn read(config: &Config) -> Facts {
    let mut never: Vec<_> = config.ignoreip.iter().map(|prefix| (*prefix, Why::Ignoreip)).collect();
    never.extend(config.trusted_proxies.iter().map(|prefix| (*prefix, Why::TrustedProxy)));
    Facts { never, ..Facts::default() }
}

/// Works until `wake` is raised.
pub(crate) fn watch(_config: &Config, asked: &Receiver<()>, _inputs: &Sender<Input>, wake: &Wake) {
    while !wake.is_raised() {
        if asked.recv_timeout(std::time::Duration::from_secs(1))
            == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
        {
            return;
        }
    }
}
