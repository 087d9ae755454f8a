//! Reload: the new policy, or the old one kept and every problem said.
//!
//! The new configuration is read, checked and compiled first. If it reads the same things, the machine takes it
//! over at once; otherwise the sources are stopped, everything they had read is judged by the old policy, and then
//! they start anew where they stood.

use crossbeam_channel::Sender;
use tracing::{error, info};

use pillory_core::config::Config;
use pillory_core::event::JailName;
use pillory_core::machine::Machine;
use pillory_core::time::Span;

use crate::actions::{self, ActionError};
use crate::cli::configfile::Policy;
use crate::control::Reply;
use crate::discover::{self, Places};
use crate::kernel::Job;
use crate::privilege::Needs;
use crate::service;
use crate::supervisor::SourceOrder;
use crate::{clock, facts};

use super::Engine;
use super::jails::{self, Readers};
use super::trial::Kept;

/// Key of the warning of a reload that was refused; it stays until one is accepted.
pub(super) const REFUSED: &str = "reload refused";

/// A policy that was read, checked and compiled.
#[derive(Debug)]
pub(super) struct Built {
    policy: Policy,
    config: Config,
    machine: Machine,
    readers: Readers,
}

/// Why it comes.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The file changed.
    Reload,
    /// To be tried for so long.
    Trial(Kept, Span),
    /// It was in force before the one on trial.
    Back,
}

/// A new policy that waits for the sources to stop.
#[derive(Debug)]
pub(super) struct Reloading {
    built: Built,
    purpose: Purpose,
    reply: Option<Sender<Reply>>,
}

impl Engine {
    /// Begins a reload, by a client's command or by SIGHUP.
    pub(super) fn reload(&mut self, reply: Option<Sender<Reply>>) {
        service::reloading();
        // What is on trial, or coming back, must not be overtaken by what the file says.
        let is_plain = |reloading: &Reloading| matches!(reloading.purpose, Purpose::Reload);
        let busy = self.busy().filter(|_| !self.reloading.as_ref().is_some_and(is_plain));
        let read = || {
            let policy = self.setup.place.read().map_err(|failure| failure.message)?;
            self.refused_before(&policy).map_or(Ok(policy), Err)
        };
        let checked = |built: Built| self.restricts_anew(&built.config).map_or(Ok(built), Err);
        let built = busy.map_or_else(read, Err).and_then(|policy| self.read_policy(policy)).and_then(checked);
        match built {
            Ok(built) => self.bring(built, Purpose::Reload, reply),
            Err(reason) => {
                let hint = self.sandbox.hint(&reason).map_or_else(String::new, |hint| format!("\n{hint}"));
                let reason = format!("{reason}{hint}");
                error!(%reason, "reload refused, the old policy stays");
                let text = format!(
                    "the last reload was refused, and the policy before it is in force: {}; mend that and run `pillory reload`",
                    reason.trim_end().replace('\n', "; ")
                );
                self.warnings.insert(REFUSED.into(), text);
                service::ready();
                self.done(
                    reply,
                    Reply::say(2, format!("reload refused, the old policy stays\npillory: {reason}")),
                );
            }
        }
    }

    /// Lets a policy take over: at once if it reads the same, otherwise once the sources have stopped.
    pub(super) fn bring(&mut self, built: Built, purpose: Purpose, reply: Option<Sender<Reply>>) {
        let is_same = built.readers.feeds == self.readers.feeds;
        let new = Reloading { built, purpose, reply };
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

    /// Reads, checks and compiles a policy.
    pub(super) fn read_policy(&self, policy: Policy) -> Result<Built, String> {
        let config = self.setup.place.understand(&policy).map_err(|failure| failure.message)?;
        if config.banaction != self.setup.config.banaction {
            return Err("banaction cannot change while running; restart the daemon for it".to_owned());
        }
        if config.rescue != self.setup.config.rescue {
            return Err("the rescue port cannot change while running; restart the daemon for it".to_owned());
        }
        if config.web != self.setup.config.web {
            return Err("[web] cannot change while running; restart the daemon for it".to_owned());
        }
        if !config.restrict.is_empty() && !actions::kind(self.action).is_some_and(|kind| kind.restricts) {
            return Err(ActionError::NoPorts { action: self.action }.to_string());
        }
        let active = discover::active_jails(&config, &Places::host());
        let accounts = facts::accounts(std::path::Path::new("/etc/passwd"));
        let (machine, mut readers) =
            jails::build(&config, &active, accounts).map_err(|problems| problems.join("\n"))?;
        self.keep_ports(&config, &mut readers);
        let mut needs = Needs::of(&config, &self.setup.place, &readers.feeds);
        let own = &self.setup.config;
        if (&config.wall.out, &config.motd) == (&own.wall.out, &own.motd) {
            needs = needs.writing_as_before();
        }
        if config.ban_log == own.ban_log {
            needs = needs.appending_as_before();
        }
        let commands = Needs::commands(&config, &self.setup.place);
        let no_commands = commands.and_then(|directory| self.setup.outside.lacks(&directory));
        let no_sender = (!self.is_dry()).then(|| self.setup.delivery.lacks(&config.outgoing)).flatten();
        if let Some(lack) = no_commands.or(no_sender).or_else(|| self.sandbox.lacks(config.sandbox, &needs)) {
            return Err(lack);
        }
        Ok(Built { policy, config, machine, readers })
    }

    /// Which ports a service listens on was seen at the start, and can be seen no more from a sandbox.
    fn keep_ports(&self, config: &Config, readers: &mut Readers) {
        if !self.sandbox.hides_processes() {
            return;
        }
        let are_found = |config: &Config, jail: &JailName| {
            config.jails.iter().any(|known| known.name == *jail && known.port.is_empty())
        };
        for (jail, ports) in &mut readers.ports {
            let old = self.readers.ports.iter().find(|(known, _)| known == jail);
            if let Some((_, old)) =
                old.filter(|_| are_found(config, jail) && are_found(&self.setup.config, jail))
            {
                ports.clone_from(old);
            }
        }
    }

    /// The sources have stopped: the new policy takes over and they start again.
    pub(super) fn switch_over(&mut self) {
        if let Some(new) = self.reloading.take() {
            self.take_over(new, true);
        }
    }

    fn take_over(&mut self, new: Reloading, restart_sources: bool) {
        let Reloading { built, purpose, reply } = new;
        self.machine.adopt(built.machine, clock::now(), &mut self.effects);
        let old = std::mem::replace(&mut self.readers, built.readers);
        self.renumber_rhythms(&old.feeds);
        (self.setup.config, self.setup.policy) = (built.config, built.policy);
        self.publish_anew();
        self.follow_names();
        self.spare();
        self.restart_hooks();
        self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
        if restart_sources {
            self.watching.clear();
            self.streams.clear();
            self.last_lines.clear();
            let start = SourceOrder::Start(self.readers.feeds.clone(), self.known_positions.clone());
            let _ = self.outlets.sources.send(start);
        }
        let jails = self.machine.judge.jails().len();
        let answer = match purpose {
            Purpose::Trial(kept, span) => {
                self.forget_rejected();
                self.in_force(kept, span)
            }
            Purpose::Reload => {
                self.configure_posts();
                self.forget_rejected();
                self.forget_refused();
                let run = if jails == 1 { "jail runs" } else { "jails run" };
                Reply::say(0, format!("reloaded: {jails} {run}"))
            }
            Purpose::Back => Reply::say(0, ""),
        };
        info!(jails, "reloaded");
        service::ready();
        self.flush();
        self.done(reply, answer);
    }

    /// What the file says is in force.
    pub(super) fn forget_refused(&mut self) {
        self.warnings.remove(REFUSED);
    }

    fn done(&mut self, reply: Option<Sender<Reply>>, answer: Reply) {
        if let Some(reply) = reply {
            self.answer(reply, answer, true);
        }
    }
}
