//! What judging waits for and the engine must not: names to be resolved, and commands that are asked about a ban.
//!
//! Each has a thread of its own that works one thing after the other and remembers answers for a while; what is asked
//! comes back as an input. Too much at once is dropped and said: a log full of names must not fill the memory.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tracing::{debug, warn};

use pillory_core::config::Config;
use pillory_core::config::fail2ban::{IgnoreCache, render};
use pillory_core::event::{Decision, JailName};
use pillory_core::machine::{Evidence, Unresolved};
use pillory_core::time::{Span, Timestamp};

use crate::commands::{Background, Facts, Order, Outside, Told};
use crate::engine::Input;
use crate::{clock, names};

/// An answer.
#[derive(Debug)]
pub(crate) enum Answered {
    /// The addresses of a name; none if it has none.
    Resolved(Box<Unresolved>, Vec<IpAddr>),
    /// Whether the jail's command spares whom this would ban.
    Asked(Box<Decision>, bool),
}

/// A ban that a jail's command is to be asked about.
#[derive(Debug)]
pub(crate) struct Doubt {
    pub(crate) decision: Box<Decision>,
    /// What led to it.
    pub(crate) evidence: Option<Evidence>,
}

/// The engine's end.
#[derive(Debug)]
pub(crate) struct Errands {
    names: Sender<Box<Unresolved>>,
    /// In boxes: the channel makes room for all that may wait at once.
    asks: Sender<Box<Doubt>>,
    commands: Sender<HashMap<JailName, Asking>>,
    dropped: u64,
}

/// How a jail asks.
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    command: String,
    cache: Option<IgnoreCache>,
}

/// The far ends, each for one thread.
#[derive(Debug)]
pub(crate) struct Desks {
    names: Receiver<Box<Unresolved>>,
    asks: Receiver<Box<Doubt>>,
    commands: Receiver<HashMap<JailName, Asking>>,
}

/// So much may wait.
const MOST_WAITING: usize = 1_000;

/// So long one name or one command may take.
const NAME_LIMIT: Duration = Duration::from_secs(5);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// So many names are remembered, for so long.
const NAMES_KEPT: (usize, Span) = (1_000, Span::from_secs(300));

/// Two ends for what the engine must not wait for.
pub(crate) fn desk() -> (Errands, Desks) {
    let (names_in, names) = bounded(MOST_WAITING);
    let (asks_in, asks) = bounded(MOST_WAITING);
    let (commands_in, commands) = bounded(16);
    let errands = Errands { names: names_in, asks: asks_in, commands: commands_in, dropped: 0 };
    (errands, Desks { names, asks, commands })
}

impl Errands {
    /// The jails' commands as configured now.
    pub(crate) fn configure(&self, config: &Config) {
        let asking = config.jails.iter().filter_map(|jail| {
            let lines = jail.lines.as_ref()?;
            let command = lines.ignorecommand.clone()?;
            Some((jail.name.clone(), Asking { command, cache: lines.ignorecache.clone() }))
        });
        // The desk reads before each question; sixteen reloads without one keep the first of them, as good as none.
        let _ = self.commands.try_send(asking.collect());
    }

    /// Asks for the addresses of a name.
    pub(crate) fn resolve(&mut self, unresolved: Box<Unresolved>) {
        if let Err(TrySendError::Full(unresolved)) = self.names.try_send(unresolved) {
            self.dropped += 1;
            if self.dropped.is_power_of_two() {
                warn!(jail = %unresolved.jail, dropped = self.dropped, "names come faster than they can be resolved and are left out; usedns = no leaves them all out");
            }
        }
    }

    /// Asks the jail's command. If it cannot be asked any more, the ban is made.
    pub(crate) fn ask(&self, doubt: Doubt) -> Option<Box<Decision>> {
        match self.asks.try_send(Box::new(doubt)) {
            Ok(()) => None,
            Err(TrySendError::Full(doubt) | TrySendError::Disconnected(doubt)) => Some(doubt.decision),
        }
    }
}

impl Desks {
    /// Two loops, each to be run by a thread of its own; they end when the engine hangs up.
    pub(crate) fn split(
        self,
        inputs: &Sender<Input>,
        outside: Outside,
    ) -> (impl FnOnce() + Send, impl FnOnce() + Send) {
        let Desks { names, asks, commands } = self;
        let (first, second) = (inputs.clone(), inputs.clone());
        (move || resolve_all(&names, &first), move || ask_all(&asks, &commands, &outside, &second))
    }
}

fn resolve_all(names: &Receiver<Box<Unresolved>>, inputs: &Sender<Input>) {
    let mut known: HashMap<String, (Vec<IpAddr>, Timestamp)> = HashMap::new();
    for unresolved in names {
        let now = clock::now();
        let name = unresolved.name.to_string();
        let addresses = match known.get(&name).filter(|(_, until)| *until > now) {
            Some((addresses, _)) => addresses.clone(),
            None => {
                let addresses = names::resolve(&name, NAME_LIMIT);
                debug!(name, found = addresses.len(), "resolved");
                if known.len() >= NAMES_KEPT.0 {
                    known.clear();
                }
                known.insert(name, (addresses.clone(), now + NAMES_KEPT.1));
                addresses
            }
        };
        if inputs.send(Input::Answered(Answered::Resolved(unresolved, addresses))).is_err() {
            return;
        }
    }
}

fn ask_all(
    asks: &Receiver<Box<Doubt>>,
    commands: &Receiver<HashMap<JailName, Asking>>,
    outside: &Outside,
    inputs: &Sender<Input>,
) {
    let mut asking = HashMap::new();
    let mut known: HashMap<(JailName, String), (bool, Timestamp)> = HashMap::new();
    for doubt in asks {
        if let Some(new) = commands.try_iter().last() {
            asking = new;
            known.clear();
        }
        let spared =
            asking.get(&doubt.decision.jail).is_some_and(|how| ask(&doubt, how, outside, &mut known));
        if inputs.send(Input::Answered(Answered::Asked(doubt.decision, spared))).is_err() {
            return;
        }
    }
}

/// True if the command says, by its status 0, that this one is not to be banned.
fn ask(
    doubt: &Doubt,
    how: &Asking,
    outside: &Outside,
    known: &mut HashMap<(JailName, String), (bool, Timestamp)>,
) -> bool {
    let now = clock::now();
    let decision = doubt.decision.as_ref();
    let facts = Facts::new(&Told::from(decision), doubt.evidence.as_ref(), Background::default());
    let key = |cache: &IgnoreCache| {
        let rendered = render::render(&cache.key, &facts.tags, &facts.captures);
        (decision.jail.clone(), format!("{}\n{}", rendered.script, rendered.arguments.join("\n")))
    };
    let key = how.cache.as_ref().map(key);
    if let Some((spared, _)) = key.as_ref().and_then(|key| known.get(key)).filter(|(_, until)| *until > now) {
        return *spared;
    }
    let (command, limit) = (how.command.clone(), COMMAND_LIMIT);
    let spared = outside.run(&Order { command, tags: facts.tags, captures: facts.captures, limit }).is_ok();
    if let (Some(key), Some(cache)) = (key, &how.cache) {
        if known.len() >= cache.max_count.max(1) as usize {
            known.clear();
        }
        known.insert(key, (spared, now + cache.max_time));
    }
    spared
}
