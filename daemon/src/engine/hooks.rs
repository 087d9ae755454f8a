//! The commands of jails that were read from a fail2ban directory: told of every ban and of its end, after the kernel.
//!
//! What they set up has no end of its own, so it is taken back when the daemon stops and set anew when it starts.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use tracing::{error, warn};

use pillory_core::event::JailName;
use pillory_core::filter::fail2ban::Subject;
use pillory_core::ledger::Ban;
use pillory_core::machine::{Evidence, IdentityBan, Notice};
use pillory_core::time::{Span, Timestamp};

use crate::cli::run::Setup;
use crate::commands::{Background, Facts, Lane, Merged, Runner, Task, Told};
use crate::errands::Answered;
use crate::{clock, logging};

use super::Engine;

/// So long commands may take to end when the daemon stops; systemd waits for 90 s.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub(super) struct Hooks {
    runner: Runner,
    /// What led to bans that are about to be told, or are in force.
    evidence: HashMap<(JailName, Subject), Evidence>,
    /// The bans that were told of, by whom they are of.
    told: HashMap<Subject, Vec<Past>>,
    /// Jails whose commands ask for counts, which cost a walk over all bans.
    counted: HashSet<JailName>,
}

/// A ban that was told of.
#[derive(Debug)]
struct Past {
    jail: JailName,
    at: Timestamp,
    failures: u32,
    matches: Vec<String>,
}

/// So much is remembered of evidence and of bans that were told of.
const MOST_KEPT: usize = 10_000;

/// So many bans are remembered of a source, for so long. Source of the time: fail2ban's `dbpurgeage`.
const PAST: (usize, Span) = (20, Span::from_secs(86_400));

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks {
            runner: Runner::new(),
            evidence: HashMap::new(),
            told: HashMap::new(),
            counted: HashSet::new(),
        }
    }
}

/// Makes room for one more.
fn make_room<K: Clone + Eq + Hash, V>(map: &mut HashMap<K, V>, key: &K) {
    if map.len() >= MOST_KEPT
        && !map.contains_key(key)
        && let Some(any) = map.keys().next().cloned()
    {
        map.remove(&any);
    }
}

impl Hooks {
    /// Keeps what led to a ban while it is in force.
    pub(super) fn keep(&mut self, evidence: Evidence) {
        let key = (evidence.jail.clone(), evidence.subject.clone());
        make_room(&mut self.evidence, &key);
        self.evidence.insert(key, evidence);
    }

    /// What led to a ban that is in question.
    pub(super) fn evidence_of(&self, decision: &Ban) -> Option<Evidence> {
        self.evidence.get(&(decision.jail.clone(), Subject::Net(decision.prefix))).cloned()
    }

    /// Remembers a ban that is told of.
    fn remember(&mut self, jail: &JailName, subject: &Subject, at: Timestamp, failures: u32) {
        let evidence = self.evidence.get(&(jail.clone(), subject.clone()));
        let matches = evidence.map(|evidence| evidence.matches.iter().map(ToString::to_string).collect());
        let matches = matches.unwrap_or_default();
        make_room(&mut self.told, subject);
        let past = self.told.entry(subject.clone()).or_default();
        past.retain(|past| at.since(past.at) <= PAST.1);
        let extra = (past.len() + 1).saturating_sub(PAST.0);
        past.drain(..extra);
        past.push(Past { jail: jail.clone(), at, failures, matches });
    }

    /// What was told of a source, by all jails and by one; nothing if nothing was.
    fn merged(&self, jail: &JailName, subject: &Subject) -> Option<(Merged, Merged)> {
        let (mut all, mut of_jail) = (Merged::default(), Merged::default());
        for past in self.told.get(subject)? {
            let both = [Some(&mut all), Some(&mut of_jail).filter(|_| past.jail == *jail)];
            for merged in both.into_iter().flatten() {
                merged.failures = merged.failures.saturating_add(past.failures);
                merged.matches.extend(past.matches.iter().cloned());
            }
        }
        Some((all, of_jail))
    }

    /// What does not work at present, in words.
    pub(super) fn troubles(&self) -> Vec<String> {
        self.runner.troubles()
    }
}

impl Engine {
    /// Starts the commands of the configuration and tells them of the bans in force.
    pub(crate) fn start_hooks(&mut self) {
        self.outlets.errands.configure(&self.setup.config);
        // A dry run bans nobody, so it tells nobody.
        logging::ban_log(self.setup.config.ban_log.clone().filter(|_| !self.is_dry()));
        if !self.enforces() {
            return;
        }
        let lanes = lanes(&self.setup);
        let counted = lanes.iter().filter(|lane| lane.asks_for("<jail.")).map(|lane| lane.jail.clone());
        self.hooks.counted = counted.collect();
        let lanes = lanes.into_iter().map(|lane| {
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
        let (jail, subject, told, is_banned) = match notice {
            Notice::Banned(ban) => (&ban.jail, Subject::Net(ban.prefix), Told::from(ban), true),
            Notice::Ended(ban, _) => (&ban.jail, Subject::Net(ban.prefix), Told::from(ban), false),
            Notice::IdentityBanned(ban) => (&ban.jail, Subject::Id(ban.id.clone()), Told::from(ban), true),
            Notice::IdentityEnded(ban, _) => (&ban.jail, Subject::Id(ban.id.clone()), Told::from(ban), false),
            _ => return,
        };
        if self.hooks.runner.has_lanes() {
            if is_banned {
                self.hooks.remember(jail, &subject, told.since, told.failures);
            }
            let facts = Box::new(self.facts_for(jail, &subject, &told, false));
            let task = if is_banned { Task::Ban(facts) } else { Task::Unban(facts) };
            self.hooks.runner.give(jail, &task);
        }
        if !is_banned {
            self.hooks.evidence.remove(&(jail.clone(), subject));
        }
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

    fn facts_for(&self, jail: &JailName, subject: &Subject, told: &Told, restored: bool) -> Facts {
        let evidence = self.hooks.evidence.get(&(jail.clone(), subject.clone()));
        let judge = &self.machine.judge;
        let at = judge.jails().iter().position(|known| known.name == *jail);
        let index = at.and_then(|at| u16::try_from(at).ok());
        let growth = index.and_then(|index| judge.line_rules(index)?.growth.as_ref());
        let bancount = match (growth, subject) {
            (Some(growth), Subject::Net(prefix)) if growth.overalljails => judge.past.all(*prefix),
            (Some(_), Subject::Net(prefix)) => judge.past.count_of(*prefix, jail),
            _ => 1,
        };
        let merged = self.hooks.merged(jail, subject);
        let index = index.filter(|_| self.hooks.counted.contains(jail));
        let jail = index.map(|index| self.counts_of(jail, index)).unwrap_or_default();
        let background = Background { bancount: bancount.max(1), merged, jail, restored };
        Facts::new(told, evidence, background)
    }

    /// A jail's counts, by fail2ban's names.
    fn counts_of(&self, jail: &JailName, index: u16) -> Vec<(&'static str, u64)> {
        let counters = self.machine.counters(index);
        let banned = self.machine.ledger.count_of(jail)
            + self.machine.identities.iter().filter(|ban| ban.jail == *jail).count();
        vec![
            ("jail.banned", banned as u64),
            ("jail.banned_total", counters.bans),
            ("jail.found", self.machine.judge.tracked(index) as u64),
            ("jail.found_total", counters.failures),
        ]
    }

    /// The bans in force of a jail.
    fn facts_of(&self, jail: &JailName) -> impl Iterator<Item = Facts> {
        let of_jail = self.machine.ledger.iter().filter(move |ban| ban.jail == *jail);
        let addresses = of_jail.map(|ban| (Subject::Net(ban.prefix), Told::from(&ban)));
        let is_of_jail = move |ban: &&IdentityBan| ban.jail == *jail;
        let identities = self.machine.identities.iter().filter(is_of_jail);
        let identities = identities.map(|ban| (Subject::Id(ban.id.clone()), Told::from(ban)));
        let all = addresses.chain(identities);
        all.map(move |(subject, told)| self.facts_for(jail, &subject, &told, true))
    }
}

fn lanes(setup: &Setup) -> Vec<Lane> {
    let of_jail = |jail: &pillory_core::config::JailConfig| {
        let commands = jail.lines.as_ref().map_or(&[][..], |lines| &lines.commands);
        let resolves = jail.lines.as_ref().is_some_and(|lines| lines.rules.resolves);
        let lane =
            |action: &_| Lane::new(jail.name.clone(), Clone::clone(action), setup.outside.clone(), resolves);
        commands.iter().map(lane).collect::<Vec<_>>()
    };
    setup.config.jails.iter().flat_map(of_jail).collect()
}
