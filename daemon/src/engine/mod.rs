//! The engine: the one place where the core and the edges meet. It owns the machine; nobody else touches it.
//!
//! Sources send [`Read`]s through a bounded channel (a slow engine holds them back); everybody else sends
//! [`Input`]s through an unbounded one, so that the engine never waits for somebody who waits for it.
//! After each round all effects leave together: one kernel job, one store transaction with the positions.

pub(crate) mod commands;
pub(crate) mod jails;
mod reload;
pub(crate) mod report;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};
use tracing::{error, info, warn};

use pillory_core::event::Line;
use pillory_core::filter::Clock;
use pillory_core::jail::proxies::Standing;
use pillory_core::ledger::Change;
use pillory_core::machine::{Effect, Machine, Notice, Phase, Record};
use pillory_core::time::{Span, Timestamp};

use crate::control::{Reply, server::Order};
use crate::facts::Asker;
use crate::kernel::{Answer, Job};
use crate::sources::{self, Batch, Position, StreamStatus};
use crate::store::StoreError;
use crate::store::writer::{Write, Written};
use crate::supervisor::SourceOrder;
use crate::{clock, logging};

use jails::{Facts, Readers};

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
    /// What the host knows anew: addresses, sessions, accounts.
    Facts(Facts),
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
}

/// A command whose answer waits until its effects are durable and in the kernel.
#[derive(Debug)]
struct Pending {
    job: u64,
    write: u64,
    reply: Sender<Reply>,
    answer: Reply,
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
    pending: Vec<Pending>,
    streams: HashMap<&'static str, Vec<StreamStatus>>,
    watching: Vec<&'static str>,
    warnings: HashMap<String, String>,
    off_until: Option<Timestamp>,
    /// The kernel refused something: after so many of the next changes that it takes, look whether all is there.
    read_backs: u8,
    started: clock::Stopwatch,
    last_sweep: Timestamp,
    last_forget: Timestamp,
    last_verify: Timestamp,
    ready: bool,
    stopping: bool,
}

const SWEEP_EVERY: Span = Span::from_secs(60);
/// The first look finds what was refused and orders it again, the second one that it is there now.
const READ_BACKS: u8 = 2;

const VERIFY_EVERY: Span = Span::from_secs(30);

/// At most so many inputs are taken in one round, so that effects do not wait for ever.
const ROUND: usize = 64;

/// Name of the setting that keeps `pillory off` over restarts: milliseconds of its end, or `on_command`.
pub(crate) const META_OFF: &str = "off";

/// Name of the setting that keeps presumed proxies over restarts.
pub(crate) const META_PROXIES: &str = "presumed_proxies";

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
            pending: Vec::new(),
            streams: HashMap::new(),
            watching: Vec::new(),
            warnings: HashMap::new(),
            off_until: None,
            read_backs: 0,
            started: clock::Stopwatch::start(),
            last_sweep: now,
            last_forget: Timestamp::default(),
            last_verify: now,
            ready: false,
            stopping: false,
        }
    }

    /// Takes over where the last daemon stopped: `off` (nothing if `pillory off` is not in force, else until when
    /// if that was said), positions, and which sources to start.
    pub(crate) fn resume(
        &mut self,
        off: Option<Option<Timestamp>>,
        positions: HashMap<String, Position>,
        start: SourceOrder,
    ) {
        self.off_until = off.flatten();
        self.known_positions = positions;
        let _ = self.outlets.sources.send(start);
    }

    /// Works until told to stop. Returns once everything is durable.
    pub(crate) fn run(&mut self, reads: &Receiver<Read>, inputs: &Receiver<Input>) {
        self.say_ready();
        while !self.stopping {
            let timeout = self.timeout();
            select! {
                recv(inputs) -> input => match input { Ok(input) => self.input(input), Err(_) => self.stopping = true },
                recv(reads) -> read => if let Ok(read) = read { self.read(read) },
                default(timeout) => {}
            }
            for input in inputs.try_iter().take(ROUND) {
                self.input(input);
            }
            for read in reads.try_iter().take(ROUND) {
                self.read(read);
            }
            self.housekeeping();
            self.flush();
            self.say_ready();
        }
        self.settle(inputs);
    }

    fn timeout(&self) -> Duration {
        let now = clock::now();
        let end = self.machine.next_deadline().into_iter().chain(self.off_until).min();
        let until_end = end.map_or(SWEEP_EVERY, |end| end.since(now));
        let until_verify = (self.last_verify + VERIFY_EVERY).since(now);
        Duration::from_millis(until_end.min(until_verify).millis().clamp(1, 60_000))
    }

    fn read(&mut self, read: Read) {
        match read {
            Read::Batch(batch) => self.batch(&batch),
            Read::Watching(kind) => self.watching.push(kind),
            Read::Stopped => self.switch_over(),
            Read::Status(kind, streams) => {
                self.streams.insert(kind, streams);
            }
            Read::Failed(kind, reason) => {
                error!(source = kind, reason, "source failed");
                self.warnings.insert(
                    format!("source {kind}"),
                    format!("source {kind} failed: {reason}; restart the daemon"),
                );
                self.watching.push(kind);
            }
        }
    }

    fn batch(&mut self, batch: &Batch) {
        let clock = Clock { now: clock::now(), zone: self.setup.zone.clone() };
        let phase = match batch.phase {
            sources::Phase::History => Phase::History,
            sources::Phase::CatchUp => Phase::CatchUp,
            sources::Phase::Live => Phase::Live,
        };
        for record in &batch.records {
            let Some(bytes) = batch.bytes.get(record.range.clone()) else { continue };
            let line = Line { bytes, stamp: record.stamp };
            for reader in self.readers.of(record.feed) {
                self.machine.line(*reader, &line, phase, &clock, &mut self.effects);
            }
        }
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
            Input::Facts(facts) => self.facts(facts),
            Input::Stop => self.stopping = true,
            Input::Reload => self.reload(None),
        }
    }

    fn facts(&mut self, facts: Facts) {
        self.machine.set_talks_to(facts.talks_to);
        self.warnings.retain(|key, _| !key.starts_with("ignoreip: "));
        self.warnings.extend(facts.unresolved.into_iter().map(|text| (text.clone(), text)));
        if let Some(accounts) = facts.accounts {
            self.machine.judge.names.set_accounts(accounts);
        }
        self.machine.set_never(pillory_core::jail::never::NeverBan::new(facts.never), &mut self.effects);
    }

    fn kernel(&mut self, answer: Answer) {
        match answer {
            Answer::Applied(number, cut) => {
                self.jobs_done = number;
                if self.read_backs > 0 {
                    self.read_backs -= 1;
                    self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
                }
                if cut > 0 {
                    info!(sockets = cut, "connections of banned sources cut");
                }
                self.answer_pending();
            }
            Answer::Failed(number, reason) => {
                let before = std::mem::replace(&mut self.jobs_done, number);
                error!(error = %reason, action = self.action, "the kernel refused a change");
                self.warnings.insert("kernel".into(), reason.to_string());
                self.read_backs = READ_BACKS;
                for pending in &mut self.pending {
                    if (before + 1..=number).contains(&pending.job) {
                        pending.answer = Reply::say(1, format!("kept, but the kernel refused: {reason}"));
                    }
                }
                self.answer_pending();
            }
            Answer::Installed(installed, mended) => {
                let changes = self.machine.reconcile(&installed, clock::now());
                let missing = changes.iter().filter(|change| matches!(change, Change::Set(..))).count();
                let surplus = changes.len() - missing;
                if self.ready && (mended || !changes.is_empty()) && self.machine.is_enforcing() {
                    warn!(
                        missing,
                        surplus,
                        "the firewall was changed by somebody else and has been healed; to switch Pillory off run `pillory off`"
                    );
                }
                if changes.is_empty() {
                    // Only what was read back shows that nothing lacks: one change that the kernel takes says
                    // nothing of one that it refused before.
                    self.warnings.remove("kernel");
                    self.read_backs = 0;
                } else {
                    self.apply(changes);
                }
            }
            Answer::Unreadable(reason) => {
                error!(error = %reason, action = self.action, "cannot read the kernel");
                self.warnings.insert("kernel".into(), reason.to_string());
            }
        }
    }

    fn stored(&mut self, written: Written) {
        match written {
            Written::UpTo(number) => {
                self.writes_done = number;
                if self.warnings.remove("store").is_some() {
                    info!("the store can be written again");
                }
            }
            Written::Aside(number, path, trouble) => {
                let aside = format!("kept in {} until the disk takes it", path.display());
                self.unwritten(&trouble, &format!("{aside}; a reboot before that loses it"));
                self.tell_pending(number, &format!("in the kernel, but not on disk; {aside}: {trouble}"));
            }
            Written::Failed(number, trouble) => {
                self.unwritten(&trouble, "nothing is remembered over a restart until the disk takes it");
                let said = format!("in the kernel, but not on disk, so a crash would lose it: {trouble}");
                self.tell_pending(number, &said);
            }
            Written::Lacks => self.write_snapshot(),
        }
        self.answer_pending();
    }

    /// The store cannot be written: bans go on, and `status` says so.
    pub(crate) fn unwritten(&mut self, trouble: &StoreError, means: &str) {
        let text = format!("{trouble}; bans go on in the kernel, and {means}");
        if self.warnings.insert("store".into(), text).is_none() {
            error!(error = %trouble, means, "the store cannot be written; bans go on in the kernel");
        }
    }

    /// The fate of the writes up to `number` is known: whoever waits for one of them is told this.
    fn tell_pending(&mut self, number: u64, said: &str) {
        let before = std::mem::replace(&mut self.writes_done, number);
        for pending in &mut self.pending {
            if (before + 1..=number).contains(&pending.write) && pending.answer.message.is_empty() {
                pending.answer.message = said.to_owned();
            }
        }
    }

    fn answer_pending(&mut self) {
        let (jobs, writes) = (self.jobs_done, self.writes_done);
        let (done, waiting): (Vec<Pending>, Vec<Pending>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| pending.job <= jobs && pending.write <= writes);
        self.pending = waiting;
        for pending in done {
            // The client may have gone; its command is done all the same.
            drop(pending.reply.send(pending.answer));
        }
    }

    fn housekeeping(&mut self) {
        let now = clock::now();
        if self.off_until.is_some_and(|until| until <= now) {
            self.set_off(None);
            info!("on again: the time of `pillory off --for` is over");
        }
        self.machine.tick(now, &mut self.effects);
        if now.since(self.last_sweep) >= SWEEP_EVERY {
            self.last_sweep = now;
            self.machine.sweep(now);
        }
        if now.since(self.last_verify) >= VERIFY_EVERY || now < self.last_verify {
            self.last_verify = now;
            if self.warnings.contains_key("kernel") {
                self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
            } else if self.machine.is_enforcing() {
                self.tell_kernel(Job::Verify(self.machine.projection().points()));
            }
        }
    }

    /// Carries out all effects of the round: one kernel job, one transaction, and then the log.
    fn flush(&mut self) {
        let mut changes = Vec::new();
        let mut records = Vec::new();
        let mut notices = Vec::new();
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Kernel(change) => changes.push(change),
                Effect::Record(record) => records.push(record),
                Effect::Say(notice) => notices.push(notice),
                // Its far end joins the never-ban set at once.
                Effect::LoggedIn(addr, port) => self.outlets.facts.logged_in(addr, port),
            }
        }
        // The kernel first: it never waits for the disk.
        if !changes.is_empty() {
            self.apply(changes);
        }
        self.write_records(records);
        // The log last: whoever reads it slowly must not hold back a ban.
        for notice in &notices {
            self.say(notice);
        }
    }

    fn write_records(&mut self, records: Vec<Record>) {
        let now = clock::now();
        let forget = now.since(self.last_forget) >= crate::store::writer::FORGET_EVERY;
        if records.is_empty() && self.positions.is_empty() && self.meta.is_empty() && !forget {
            return;
        }
        let mut write = Write { records, meta: std::mem::take(&mut self.meta), ..Write::default() };
        write.positions = self.positions.drain().collect();
        if forget {
            self.last_forget = now;
            write.forget_before = Some(now - self.setup.config.retention);
        }
        self.write(write);
    }

    fn apply(&mut self, changes: Vec<Change>) {
        self.jobs += 1;
        self.tell_kernel(Job::Apply(self.jobs, changes));
    }

    fn tell_kernel(&mut self, job: Job) {
        if self.outlets.kernel.send(job).is_err() && !self.stopping {
            error!("the kernel thread has ended; restart the daemon");
            self.warnings.insert("kernel".into(), "the kernel thread has ended; restart the daemon".into());
        }
    }

    fn write(&mut self, mut write: Write) {
        self.writes += 1;
        write.number = self.writes;
        if self.outlets.store.send(write).is_err() && !self.stopping {
            self.warnings.insert("store".into(), "the store thread has ended; restart the daemon".into());
        }
    }

    /// Writes all that a store that begins anew must know.
    fn write_snapshot(&mut self) {
        let bans = self.machine.ledger.iter().cloned().collect();
        let known = self.known_positions.iter();
        let positions = known.map(|(stream, at)| (stream.as_str().into(), at.clone())).collect();
        let meta = vec![
            (META_OFF.into(), self.off_kept()),
            (META_PROXIES.into(), self.machine.judge.proxies.kept()),
        ];
        self.write(Write { snapshot: Some(bans), positions, meta, ..Write::default() });
    }

    fn say(&mut self, notice: &Notice) {
        logging::notice(notice, self.action);
        if let Notice::NoEffect(jail, prefix) = notice {
            let text = format!(
                "jail {jail}: ban of {} has no effect (proxy?); if it is a proxy, list it in trusted_proxies",
                prefix.short()
            );
            self.warnings.insert(format!("no effect {prefix}"), text);
        }
        if let Notice::Proxy((jail, addr, standing, share)) = notice {
            let text = format!("jail {jail}: {addr} ({share} %) {}", logging::proxy_words(*standing));
            let key = format!("proxy {jail} {addr}");
            match standing {
                Standing::Visitor => self.warnings.remove(&key),
                _ => self.warnings.insert(key, text),
            };
            self.meta.push((META_PROXIES.into(), self.machine.judge.proxies.kept()));
        }
    }

    fn say_ready(&mut self) {
        let all_watch = self.readers.kinds.iter().all(|kind| self.watching.contains(kind));
        if self.ready || !all_watch || self.jobs_done < self.jobs {
            return;
        }
        self.ready = true;
        for (at, jail) in self.machine.judge.jails().iter().enumerate() {
            let would = self.machine.judge.would_ban(at as u16);
            if !would.is_empty() {
                let first: Vec<String> = would.iter().take(5).map(|prefix| prefix.short()).collect();
                info!(jail = %jail.name, count = would.len(), first = %first.join(" "), "the history would have banned; they are banned at their next failure");
            }
        }
        report::ready(self.machine.ledger.len(), self.machine.is_enforcing(), self.action);
    }

    /// Finishes what is queued, within a few seconds, and stops.
    fn settle(&mut self, inputs: &Receiver<Input>) {
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
        report::stopping(self.machine.ledger.len(), self.setup.on_stop, self.action);
    }

    fn set_off(&mut self, off: Option<Option<Timestamp>>) {
        let now = clock::now();
        self.off_until = off.flatten();
        self.machine.set_enforcing(off.is_none(), now, &mut self.effects);
        self.meta.push((META_OFF.into(), self.off_kept()));
    }

    /// What [`META_OFF`] keeps.
    fn off_kept(&self) -> String {
        match self.off_until {
            _ if self.machine.is_enforcing() => String::new(),
            None => "on_command".to_owned(),
            Some(until) => until.millis().to_string(),
        }
    }
}
