//! The engine: the one place where the core and the edges meet. It owns the machine; nobody else touches it.
//!
//! Sources send [`Read`]s through a bounded channel (a slow engine holds them back); everybody else sends
//! [`Input`]s through an unbounded one, so that the engine never waits for somebody who waits for it.
//! After each round all effects leave together: one kernel job, one store transaction with the positions.

mod allow;
mod answers;
mod audience;
mod backlog;
pub(crate) mod commands;
mod editions;
mod effects;
mod explain;
mod hooks;
mod intake;
pub(crate) mod jails;
mod latency;
pub(crate) mod learning;
mod lookout;
mod posting;
mod reload;
pub(crate) mod report;
pub(crate) mod rescue;
pub(crate) mod restrict;
mod rhythms;
mod rounds;
mod sent;
mod setback;
mod streams;
pub(crate) mod trial;
mod unlist;
mod unseen;
mod web;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::Sender;

use pillory_core::machine::{Effect, Machine};
use pillory_core::rescue::{Codes, Tries};
use pillory_core::time::{Span, Timestamp};

use crate::actions::Restriction;
use crate::allowed::Allowed;
use crate::clock;
use crate::control::server::Order;
use crate::errands::{Answered, Errands};
use crate::facts::Asker;
use crate::kernel::{Answer, Job};
use crate::learn::Learnt;
use crate::outgoing::Post;
use crate::outputs::publisher::{NotFresh, PageOrder};
use crate::privilege::Sandbox;
use crate::rescue::Call;
use crate::service::Watchdog;
use crate::sources::{Batch, FeedId, Position, StreamStatus};
use crate::store::writer::{FORGET_EVERY, Write, Written};
use crate::supervisor::SourceOrder;

use answers::Pending;
use backlog::Backlog;
use jails::{Facts, Readers};
use latency::Latency;

/// What a source thread sends.
#[derive(Debug)]
pub(crate) enum Read {
    /// Records.
    Batch(Batch),
    /// Everything that was there at the start has been sent; the source watches now.
    Watching(&'static str),
    /// How the source's streams are doing; sent when it changes.
    Status(&'static str, Vec<StreamStatus>),
    /// The source cannot go on.
    Failed(&'static str, String),
    /// A fault in the source ended it; it begins again where it stood.
    Faulted(&'static str, String),
    /// All sources have stopped, and everything they had read was sent before.
    Stopped,
}

/// What everybody else sends.
#[derive(Debug)]
pub(crate) enum Input {
    /// The kernel thread.
    Kernel(Answer),
    /// The store thread.
    Store(Written),
    /// A client.
    Order(Order),
    /// Somebody else touched our table or routes, or may have.
    KernelTouched,
    /// The wall clock was set, or the host woke.
    ClockSet,
    /// What the host knows anew: addresses, sessions, accounts.
    Facts(Facts),
    /// Somebody at the rescue port.
    Rescue(Call),
    /// What the engine did not wait for.
    Answered(Answered),
    /// What a first start learns from the time before it.
    Learnt(Learnt),
    /// What the lookout sees.
    Seen(crate::lookout::Seen),
    /// The wall's pages are fresh, or why not.
    Published(Result<(), NotFresh>),
    /// Stop, by SIGTERM or Ctrl-C.
    Stop,
    /// Read the configuration again, by SIGHUP.
    Reload,
}

/// The ways out of the engine.
#[derive(Debug)]
pub(crate) struct Outlets {
    /// Jobs for the kernel thread.
    pub(crate) kernel: Sender<Job>,
    /// Writes for the store thread.
    pub(crate) store: Sender<Write>,
    /// Where the facts thread hears of logins.
    pub(crate) facts: Asker,
    /// Orders for the supervisor of the sources.
    pub(crate) sources: Sender<SourceOrder>,
    /// Names to be resolved and commands to be asked.
    pub(crate) errands: Errands,
    /// What the wall's pages are to be made of.
    pub(crate) editions: Sender<PageOrder>,
    /// Where logs are, and what whoever logs in is shown.
    pub(crate) lookout: Sender<crate::lookout::Order>,
    /// What is to be sent, if anything is.
    pub(crate) posts: Option<Sender<Post>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Engine {
    machine: Machine,
    readers: Readers,
    outlets: Outlets,
    action: &'static str,
    setup: crate::cli::run::Setup,
    effects: Vec<Effect>,
    positions: HashMap<Arc<str>, Position>,
    known_positions: HashMap<String, Position>,
    reloading: Option<reload::Reloading>,
    meta: Vec<(Cow<'static, str>, String)>,
    jobs: u64,
    jobs_done: u64,
    writes: u64,
    writes_done: u64,
    backlog: Backlog,
    /// How long bans took.
    latency: Latency,
    pending: Vec<Pending>,
    streams: HashMap<&'static str, Vec<StreamStatus>>,
    /// When something was read for each feed last.
    last_lines: HashMap<FeedId, Timestamp>,
    watching: Vec<&'static str>,
    warnings: HashMap<String, String>,
    /// The commands of jails that were read from a fail2ban directory.
    hooks: hooks::Hooks,
    off_until: Option<Timestamp>,
    /// What the host knew last.
    facts: Facts,
    /// Who was allowed by command.
    allowed: Allowed,
    /// Codes for whoever is locked out, and who tried some.
    codes: Codes,
    tries: Tries,
    /// Who may connect where, as the kernel was told.
    restricted: Vec<Restriction>,
    /// A policy that waits to be confirmed.
    trial: Option<trial::Trial>,
    /// One that was not, and stands in the file.
    rejected: Option<trial::Kept>,
    /// What the first start learns.
    learning: learning::Learning,
    /// When the wall's pages were made.
    editions: editions::Editions,
    /// What it warns of by itself.
    lookout: lookout::Lookout,
    /// What the owner was told, and is told.
    posting: posting::Posting,
    /// The kernel refused something: after so many of the next changes that it takes, look whether all is there.
    read_backs: u8,
    /// The job that heals what was found to lack: what is read before it is done lacks the same.
    healing: u64,
    /// Points that a start has not looked at yet; nothing once all were.
    unseen: Option<unseen::Unseen>,
    /// How often somebody else's changes were healed and said.
    healed: answers::Healed,
    /// What this process gave up.
    pub(crate) sandbox: Sandbox,
    watchdog: Watchdog,
    started: clock::Stopwatch,
    last_sweep: Timestamp,
    last_forget: Timestamp,
    /// How far the kernel was told that the daemon's time is ahead of the wall clock.
    ahead: Span,
    last_verify: Timestamp,
    /// Something was read that was there before the first start.
    has_read_history: bool,
    ready: bool,
    /// Who waits for that.
    awaited: Option<Sender<()>>,
    stopping: bool,
}

/// After a start what is old is forgotten after this time.
const FIRST_FORGET: Span = Span::from_secs(600);

/// Name of the setting that keeps `pillory off` over restarts: milliseconds of its end, or `on_command`.
pub(crate) const META_OFF: &str = "off";

/// Name of the setting that keeps the host's secret over restarts.
pub(crate) const META_SECRET: &str = "secret";

/// Name of the setting that keeps presumed proxies over restarts.
pub(crate) const META_PROXIES: &str = "presumed_proxies";

/// Name of the setting that keeps how often logs have lines, as JSON.
pub(crate) const META_RHYTHMS: &str = "rhythms";

/// Name of the setting that keeps the bans of whom no address names, as JSON.
pub(crate) const META_IDENTITIES: &str = "identities";

impl Engine {
    /// An engine around a restored machine. `expected`: kinds of sources that will say that they watch.
    pub(crate) fn new(
        machine: Machine,
        readers: Readers,
        outlets: Outlets,
        action: &'static str,
        setup: crate::cli::run::Setup,
    ) -> Engine {
        let now = clock::now();
        Engine {
            machine,
            readers,
            outlets,
            action,
            setup,
            effects: Vec::new(),
            positions: HashMap::new(),
            known_positions: HashMap::new(),
            reloading: None,
            meta: Vec::new(),
            jobs: 0,
            jobs_done: 0,
            writes: 0,
            writes_done: 0,
            backlog: Backlog::new(),
            latency: Latency::default(),
            pending: Vec::new(),
            streams: HashMap::new(),
            last_lines: HashMap::new(),
            watching: Vec::new(),
            warnings: HashMap::new(),
            hooks: hooks::Hooks::default(),
            off_until: None,
            facts: Facts::default(),
            allowed: Allowed::default(),
            codes: Codes::default(),
            tries: Tries::default(),
            restricted: Vec::new(),
            trial: None,
            rejected: None,
            learning: learning::Learning::default(),
            editions: editions::Editions::default(),
            lookout: lookout::Lookout::default(),
            posting: posting::Posting::default(),
            read_backs: 0,
            healing: 0,
            unseen: None,
            healed: answers::Healed::default(),
            sandbox: Sandbox::default(),
            watchdog: Watchdog::new(),
            started: clock::Stopwatch::start(),
            last_sweep: now,
            // The wall clock of a host that has just begun may yet be set.
            last_forget: now - FORGET_EVERY + FIRST_FORGET,
            ahead: Span::default(),
            last_verify: now,
            has_read_history: false,
            ready: false,
            awaited: None,
            stopping: false,
        }
    }

    /// Takes over where the last daemon stopped: `off` (nothing if `pillory off` is not in force, else until when
    /// if that was said), positions, which sources to start, who was allowed, what the host
    /// knows, and who may connect where.
    pub(crate) fn resume(
        &mut self,
        off: Option<Option<Timestamp>>,
        positions: HashMap<String, Position>,
        start: SourceOrder,
        (allowed, facts, restricted): (Allowed, Facts, Vec<Restriction>),
    ) {
        self.restricted = restricted;
        self.off_until = off.flatten();
        self.allowed = allowed;
        self.take_facts(facts);
        self.known_positions = positions;
        self.meta.extend(self.secret_kept());
        self.begin_posts();
        let _ = self.outlets.sources.send(start);
    }

    /// What it judges by, for the simulator's promises.
    #[cfg(test)]
    pub(crate) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The text of the policy in force, for the simulator.
    #[cfg(test)]
    pub(crate) fn policy_text(&self) -> Option<&str> {
        self.setup.policy.text.as_deref()
    }
}
