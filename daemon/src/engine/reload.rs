//! Reload: the new policy, or the old one kept and every problem said.
//!
//! The new configuration is read, checked and compiled first. If it reads the same things, the machine takes it
//! over at once; otherwise the sources are stopped, everything they had read is judged by the old policy, and then
//! they start anew where they stood.

use crossbeam_channel::Sender;
use tracing::{error, info};

use pillory_core::config::Config;
use pillory_core::machine::Machine;

use crate::control::Reply;
use crate::discover::{self, Places};
use crate::kernel::Job;
use crate::supervisor::SourceOrder;
use crate::{clock, facts};

use super::Engine;
use super::jails::{self, Readers};

/// A new configuration that waits for the sources to stop.
#[derive(Debug)]
pub(super) struct Reloading {
    config: Config,
    machine: Machine,
    readers: Readers,
    reply: Option<Sender<Reply>>,
}

impl Engine {
    /// Begins a reload, by a client's command or by SIGHUP.
    pub(super) fn reload(&mut self, reply: Option<Sender<Reply>>) {
        let (config, machine, readers) = match self.read_new() {
            Ok(new) => new,
            Err(reason) => {
                error!(%reason, "reload refused, the old policy stays");
                return self
                    .done(reply, Reply::say(2, format!("reload refused, the old policy stays\n{reason}")));
            }
        };
        let is_same = readers.feeds == self.readers.feeds;
        let new = Reloading { config, machine, readers, reply };
        if is_same && self.reloading.is_none() {
            return self.take_over(new, false);
        }
        match self.reloading.replace(new) {
            Some(old) => self.done(old.reply, Reply::say(1, "overtaken by another reload")),
            None => {
                let _ = self.outlets.sources.send(SourceOrder::Stop);
            }
        }
    }

    fn read_new(&self) -> Result<(Config, Machine, Readers), String> {
        let config = self.setup.place.load().map_err(|failure| failure.message)?;
        if config.banaction != self.setup.config.banaction {
            return Err("banaction cannot change while running; restart the daemon for it".to_owned());
        }
        let active = discover::active_jails(&config, &Places::host());
        let accounts = facts::accounts(std::path::Path::new("/etc/passwd"));
        let (machine, readers) =
            jails::build(&config, &active, accounts).map_err(|problems| problems.join("\n"))?;
        Ok((config, machine, readers))
    }

    /// The sources have stopped: the new configuration takes over and they start again.
    pub(super) fn switch_over(&mut self) {
        if let Some(new) = self.reloading.take() {
            self.take_over(new, true);
        }
    }

    fn take_over(&mut self, new: Reloading, restart_sources: bool) {
        self.machine.adopt(new.machine, clock::now(), &mut self.effects);
        self.readers = new.readers;
        self.setup.config = new.config;
        self.outlets.facts.configured(&self.setup.config);
        self.restart_hooks();
        self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
        if restart_sources {
            self.watching.clear();
            self.streams.clear();
            let start = SourceOrder::Start(self.readers.feeds.clone(), self.known_positions.clone());
            let _ = self.outlets.sources.send(start);
        }
        let jails = self.machine.judge.jails().len();
        info!(jails, "reloaded");
        self.flush();
        self.done(new.reply, Reply::say(0, format!("reloaded: {jails} jails run")));
    }

    fn done(&mut self, reply: Option<Sender<Reply>>, answer: Reply) {
        if let Some(reply) = reply {
            self.answer(reply, answer, true);
        }
    }
}
