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
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use tracing::{error, info};

use pillory_core::event::Line;
use pillory_core::filter::Clock;
use pillory_core::machine::{Effect, Machine, Phase};
use pillory_core::rescue::{Codes, Tries};
use pillory_core::time::{Span, Timestamp};

use crate::actions::Restriction;
use crate::allowed::{self, Allowed};
use crate::clock;
use crate::control::server::Order;
use crate::errands::{Answered, Errands};
use crate::facts::Asker;
use crate::kernel::{Answer, Job};
use crate::learn::Learnt;
use crate::outgoing::Post;
use crate::outputs::publisher::Edition;
use crate::privilege::Sandbox;
use crate::rescue::Call;
use crate::service::{self, Watchdog};
use crate::sources::{self, Batch, FeedId, Position, StreamStatus};
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
    Published(Result<(), String>),
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
    pub(crate) editions: Sender<Edition>,
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

const SWEEP_EVERY: Span = Span::from_secs(60);

/// After a start what is old is forgotten after this time.
const FIRST_FORGET: Span = Span::from_secs(600);

const VERIFY_EVERY: Span = Span::from_secs(30);

/// At most so many inputs are taken in one round, so that effects do not wait for ever.
const ROUND: usize = 64;

/// At most so many batches of lines, some 20,000 lines, are judged in one round.
const BATCHES: usize = 8;

/// Once so many effects wait they are sent out before more lines are judged: a flood shall neither fill memory nor hold
/// back the bans of its begin.
const MOST_EFFECTS: usize = 2_048;

/// How often it is looked whether the store has caught up, or hangs.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

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

    /// Works until told to stop. Returns once everything is durable.
    pub(crate) fn run(&mut self, reads: &Receiver<Read>, inputs: &Receiver<Input>) {
        self.say_ready();
        let nothing = never();
        while !self.stopping {
            let holds_back = self.backlog.holds_back();
            let reads = if holds_back { &nothing } else { reads };
            let timeout = match self.is_waited_for() {
                _ if holds_back => LOOK_AGAIN,
                true => self.timeout().min(LOOK_AGAIN),
                false => self.timeout(),
            };
            select! {
                recv(inputs) -> input => match input { Ok(input) => self.input(input), Err(_) => self.stopping = true },
                recv(reads) -> read => if let Ok(read) = read { self.read(read) },
                default(timeout) => {}
            }
            self.round(inputs.try_iter().take(ROUND), reads.try_iter().take(BATCHES));
        }
        self.settle(inputs);
    }

    /// Takes what has come, does what is due, and sends all effects out.
    pub(crate) fn round(&mut self, inputs: impl Iterator<Item = Input>, reads: impl Iterator<Item = Read>) {
        for input in inputs {
            self.input(input);
        }
        for read in reads {
            self.read(read);
            if self.effects.len() >= MOST_EFFECTS {
                self.flush();
            }
        }
        self.housekeeping();
        self.flush();
        self.verify();
        self.say_ready();
    }

    /// How long nothing is due if nothing comes.
    pub(crate) fn timeout(&self) -> Duration {
        let now = clock::now();
        let ends = self
            .machine
            .next_deadline()
            .into_iter()
            .chain(self.off_until)
            .chain(self.trial_end())
            .chain(self.next_look())
            .chain(self.allowed.next_end());
        let end = ends.min();
        let until_end = end.map_or(SWEEP_EVERY, |end| end.since(now));
        let until_verify = (self.last_verify + VERIFY_EVERY).since(now);
        let until = Duration::from_millis(until_end.min(until_verify).millis().clamp(1, 60_000));
        until.min(self.watchdog.patience())
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

    fn read(&mut self, read: Read) {
        match read {
            Read::Batch(batch) => self.batch(&batch),
            Read::Watching(kind) => self.watching.push(kind),
            Read::Stopped => self.switch_over(),
            Read::Status(kind, streams) => {
                self.streams.insert(kind, streams);
                self.tell_logs();
            }
            Read::Failed(kind, reason) => {
                error!(source = kind, reason, "source failed");
                self.warnings.insert(
                    format!("source {kind}"),
                    format!("source {kind} failed: {reason}; restart the daemon"),
                );
                self.watching.push(kind);
            }
            Read::Faulted(kind, reason) => {
                self.warnings.insert(
                    format!("source {kind}"),
                    format!(
                        "source {kind}: a fault in Pillory ended it ({}); it begins again every 10 s; please report it",
                        crate::escape::escape(&reason)
                    ),
                );
                self.watching.push(kind);
            }
        }
    }

    fn batch(&mut self, batch: &Batch) {
        let read = clock::read();
        self.machine.set_ahead(read.ahead());
        let clock = Clock { now: read.now, zone: self.setup.zone.clone() };
        let phase = match batch.phase {
            sources::Phase::History => Phase::History,
            sources::Phase::CatchUp => Phase::CatchUp,
            sources::Phase::Live => Phase::Live,
        };
        self.has_read_history |= phase == Phase::History && !batch.records.is_empty();
        let before = self.effects.len();
        for record in &batch.records {
            let Some(bytes) = batch.bytes.get(record.range.clone()) else { continue };
            let line = Line { bytes, stamp: record.stamp };
            for reader in self.readers.of(record.feed) {
                self.machine.line(*reader, &line, phase, &clock, &mut self.effects);
            }
        }
        self.latency.judged(batch, self.effects.get(before..).unwrap_or_default());
        self.note_lines(batch, read.now);
        self.positions.insert(Arc::clone(&batch.stream), batch.position.clone());
        self.known_positions.insert(batch.stream.to_string(), batch.position.clone());
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Kernel(answer) => self.kernel(answer),
            Input::Store(written) => self.stored(written),
            Input::Order((request, reply)) => self.order(request, reply),
            Input::KernelTouched => {
                if self.machine.is_enforcing() {
                    self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
                }
            }
            // Every round looks at the clock.
            Input::ClockSet => {}
            Input::Facts(facts) => self.facts(facts),
            Input::Rescue(call) => self.rescue(call),
            Input::Answered(answered) => self.answered(answered),
            Input::Learnt(learnt) => self.learnt(learnt),
            Input::Seen(seen) => self.seen(seen),
            Input::Published(outcome) => self.published(outcome),
            Input::Stop => self.stopping = true,
            Input::Reload => self.reload(None),
        }
    }

    fn facts(&mut self, facts: Facts) {
        self.take_facts(facts);
        self.spare();
    }

    /// Takes over what the host knows, but for who is never banned.
    fn take_facts(&mut self, mut facts: Facts) {
        self.machine.set_talks_to(std::mem::take(&mut facts.talks_to));
        if let Some(accounts) = facts.accounts.take() {
            self.machine.judge.names.set_accounts(accounts);
        }
        self.facts = facts;
    }

    /// Brings who is never banned up to date.
    fn spare(&mut self) {
        let never = allowed::never(&self.setup.config, &self.allowed, &self.facts);
        self.machine.set_never(never, &mut self.effects);
        self.restrict();
    }

    fn housekeeping(&mut self) {
        self.answer_pending();
        self.watchdog.pat();
        let read = clock::read();
        self.heed_clock(read);
        let now = read.now;
        if self.off_until.is_some_and(|until| until <= now) {
            self.set_off(None);
            info!("on again: the time of `pillory off --for` is over");
        }
        self.end_trial(now);
        self.end_allowed(now);
        self.tick(now);
        self.publish(now);
        self.post_warnings(now);
        if now.since(self.last_sweep) >= SWEEP_EVERY {
            self.last_sweep = now;
            self.machine.sweep(now, &mut self.effects);
            self.say_limits();
            self.say_unsaid();
            self.look_out(now);
        }
        self.show_motd(now);
    }

    /// Ends what is over, a crowd step by step: what that brings waits for the store, as lines do, until the next commit.
    fn tick(&mut self, now: Timestamp) {
        while !self.backlog.holds_back() {
            self.machine.tick(now, &mut self.effects);
            if self.machine.next_deadline().is_none_or(|due| due > now) {
                break;
            }
            self.flush();
        }
    }

    /// Looks whether the kernel holds what it should, behind the changes of this round: what it has yet to be told would
    /// look like somebody else's work.
    fn verify(&mut self) {
        let now = clock::now();
        if now.since(self.last_verify) < VERIFY_EVERY && now >= self.last_verify {
            return;
        }
        self.last_verify = now;
        if self.warnings.contains_key("kernel") {
            self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
        } else if self.machine.is_enforcing() {
            self.tell_kernel(Job::Verify(self.machine.projection().points()));
        }
    }

    /// Where somebody hears that everything is watched.
    pub(crate) fn when_ready(&mut self) -> Receiver<()> {
        let (sender, ready) = bounded(1);
        self.awaited = Some(sender);
        ready
    }

    fn say_ready(&mut self) {
        let all_watch = self.readers.kinds.iter().all(|kind| self.watching.contains(kind));
        if self.ready || !all_watch || self.jobs_done < self.jobs {
            return;
        }
        self.ready = true;
        // A restart knows the same windows and has said it before.
        let jails = self.machine.judge.jails().iter().enumerate().filter(|_| self.has_read_history);
        for (at, jail) in jails {
            let would = self.machine.judge.would_ban(at as u16);
            if !would.is_empty() {
                let first: Vec<String> = would.iter().take(5).map(|prefix| prefix.short()).collect();
                info!(jail = %jail.name, count = would.len(), first = %first.join(" "), "the history would have banned; they are banned at their next failure");
            }
        }
        report::ready(self);
        // Whoever waited may be gone.
        if let Some(awaited) = self.awaited.take() {
            let _ = awaited.send(());
        }
        self.post_start();
        self.look_at_kernel();
        self.learn();
    }

    /// Finishes what is queued, within a few seconds, and stops.
    fn settle(&mut self, inputs: &Receiver<Input>) {
        service::stopping();
        self.keep_rhythms();
        self.flush();
        let limit = Duration::from_secs(5);
        let since = clock::Stopwatch::start();
        while (self.jobs_done < self.jobs || self.writes_done < self.writes) && since.elapsed() < limit {
            match inputs.recv_timeout(Duration::from_millis(200)) {
                Ok(Input::Kernel(answer)) => self.kernel(answer),
                Ok(Input::Store(written)) => self.stored(written),
                _ => {}
            }
        }
        self.stop_hooks();
        self.post_stop();
        report::stopping(self);
    }
}
