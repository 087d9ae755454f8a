//! The commands of jails that were read from a fail2ban directory: told of every ban and of its end, after the kernel.
//!
//! What they set up has no end of its own, so it is taken back when the daemon stops and set anew when it starts.

use std::collections::HashMap;
use std::time::Duration;

use tracing::{error, warn};

use pillory_core::config::Config;
use pillory_core::event::JailName;
use pillory_core::filter::fail2ban::Subject;
use pillory_core::filter::settings::Options;
use pillory_core::ledger::Ban;
use pillory_core::machine::{Evidence, IdentityBan, Notice};

use crate::commands::{Facts, Lane, Runner, Task};
use crate::errands::Answered;
use crate::{clock, logging};

use super::Engine;

/// So long commands may take to end when the daemon stops; systemd waits for 90 s.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Hooks {
    runner: Runner,
    /// What led to bans that are about to be told.
    evidence: HashMap<(JailName, Subject), Evidence>,
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks { runner: Runner::new(), evidence: HashMap::new() }
    }
}

impl Hooks {
    /// Keeps what led to a ban until the ban is told.
    pub(super) fn keep(&mut self, evidence: Evidence) {
        /// A ban that is refused leaves its evidence behind.
        const MOST: usize = 10_000;
        if self.evidence.len() >= MOST {
            self.evidence.clear();
        }
        self.evidence.insert((evidence.jail.clone(), evidence.subject.clone()), evidence);
    }

    /// What does not work at present, in words.
    pub(super) fn troubles(&self) -> Vec<String> {
        self.runner.troubles()
    }
}

impl Engine {
    /// Starts the commands of the configuration and tells them of the bans in force.
    pub(super) fn start_hooks(&mut self) {
        self.outlets.errands.configure(&self.setup.config);
        // A dry run bans nobody, so it tells nobody.
        logging::ban_log(self.setup.config.ban_log.clone().filter(|_| !self.is_dry()));
        if !self.enforces() {
            return;
        }
        let lanes = lanes(&self.setup.config).into_iter().map(|lane| {
            let mut tasks = vec![Task::Start];
            tasks.extend(self.facts_of(&lane.jail).map(|facts| Task::Ban(Box::new(facts))));
            (lane, tasks)
        });
        let lanes: Vec<_> = lanes.collect();
        if let Err(error) = self.hooks.runner.add(lanes) {
            error!(%error, "cannot start a thread for commands; they are not run");
        }
    }

    /// Lifts what the commands set up; they do nothing more until [`Engine::start_hooks`].
    fn retire_hooks(&mut self) {
        let left: HashMap<JailName, Vec<Facts>> = self
            .machine
            .judge
            .jails()
            .iter()
            .map(|jail| (jail.name.clone(), self.facts_of(&jail.name).collect()))
            .collect();
        self.hooks.runner.retire(|jail| Task::Stop(left.get(jail).cloned().unwrap_or_default()));
    }

    /// A new configuration holds.
    pub(super) fn restart_hooks(&mut self) {
        if self.hooks.runner.has_lanes() {
            self.retire_hooks();
        }
        self.start_hooks();
    }

    /// `pillory off` and `on`.
    pub(super) fn switch_hooks(&mut self, on: bool) {
        match (on, self.hooks.runner.has_lanes()) {
            (true, false) => self.start_hooks(),
            (false, true) => self.retire_hooks(),
            _ => {}
        }
    }

    /// The daemon stops.
    pub(super) fn stop_hooks(&mut self) {
        if !self.hooks.runner.has_lanes() {
            return;
        }
        self.retire_hooks();
        let runner = std::mem::replace(&mut self.hooks.runner, Runner::new());
        if !runner.finish(STOP_LIMIT) {
            warn!("some commands had not ended when the daemon stopped");
        }
    }

    /// Tells the commands of the jail.
    pub(super) fn hook(&mut self, notice: &Notice) {
        let (jail, subject, is_banned) = match notice {
            Notice::Banned(ban) => (&ban.jail, Subject::Net(ban.prefix), true),
            Notice::Ended(ban, _) => (&ban.jail, Subject::Net(ban.prefix), false),
            Notice::IdentityBanned(ban) => (&ban.jail, Subject::Id(ban.id.clone()), true),
            Notice::IdentityEnded(ban, _) => (&ban.jail, Subject::Id(ban.id.clone()), false),
            _ => return,
        };
        let evidence = self.hooks.evidence.remove(&(jail.clone(), subject));
        if !self.hooks.runner.has_lanes() {
            return;
        }
        let facts = match notice {
            Notice::Banned(ban) | Notice::Ended(ban, _) => self.facts_for(ban, evidence.as_ref(), false),
            Notice::IdentityBanned(ban) | Notice::IdentityEnded(ban, _) => {
                Facts::of_identity(ban, evidence.as_ref(), false)
            }
            _ => return,
        };
        let task = if is_banned { Task::Ban(facts.into()) } else { Task::Unban(facts.into()) };
        self.hooks.runner.give(jail, &task);
    }

    /// Takes what the engine did not wait for.
    pub(super) fn answered(&mut self, answered: Answered) {
        let now = clock::now();
        match answered {
            Answered::Resolved(unresolved, addresses) => {
                self.machine.resolved(&unresolved, &addresses, now, &mut self.effects);
            }
            Answered::Asked(decision, is_spared) => {
                self.machine.confirmed(*decision, is_spared, now, &mut self.effects);
            }
        }
    }

    fn facts_for(&self, ban: &Ban, evidence: Option<&Evidence>, restored: bool) -> Facts {
        let earlier = self.machine.judge.past.count(ban.prefix).saturating_sub(1);
        Facts::new(ban, evidence, earlier, restored)
    }

    /// The bans in force of a jail.
    fn facts_of(&self, jail: &JailName) -> impl Iterator<Item = Facts> {
        let of_jail = self.machine.ledger.iter().filter(move |ban| ban.jail == *jail);
        let is_of_jail = move |ban: &&IdentityBan| ban.jail == *jail;
        let identities = self.machine.identities.iter().filter(is_of_jail);
        let identities = identities.map(|ban| Facts::of_identity(ban, None, true));
        of_jail.map(|ban| self.facts_for(ban, None, true)).chain(identities)
    }
}

fn lanes(config: &Config) -> Vec<Lane> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short = host.split('.').next().unwrap_or(&host).to_owned();
    let hosts: Options =
        [("fq-hostname".to_owned(), host), ("sh-hostname".to_owned(), short)].into_iter().collect();
    let of_jail = |jail: &pillory_core::config::JailConfig| {
        let commands = jail.lines.as_ref().map_or(&[][..], |lines| &lines.commands);
        commands
            .iter()
            .map(|action| Lane::new(jail.name.clone(), action.clone(), hosts.clone()))
            .collect::<Vec<_>>()
    };
    config.jails.iter().flat_map(of_jail).collect()
}
