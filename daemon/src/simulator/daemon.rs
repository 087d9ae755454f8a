//! One life of a daemon: started as `pillory run` starts it, the threads' work done step by step.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, unbounded};
use jiff::tz::TimeZone;
use rusqlite::{Connection, OptionalExtension};

use pillory_core::config::OnStop;
use pillory_core::machine::Machine;

use crate::allowed::{Allowed, META_ALLOWED};
use crate::cli::begin;
use crate::cli::configfile::Place;
use crate::cli::run::Setup;
use crate::clock;
use crate::commands::Outside;
use crate::discover::{Places, active_jails};
use crate::engine::jails::{self, Facts};
use crate::engine::trial::{Found, META_TRIAL};
use crate::engine::{Engine, Input, Outlets, Read};
use crate::errands::{self, Desks};
use crate::facts::Asker;
use crate::kernel::{Hand, Job};
use crate::outgoing::Delivery;
use crate::store::keeper;
use crate::store::writer::{Write, Writer, Written};
use crate::supervisor::SourceOrder;

use super::kernel::SimulatedKernel;
use super::logs::{Logs, Sources};

/// Where a simulated host keeps its files.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) directory: PathBuf,
}

impl Files {
    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("pillory.toml")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Its directory is there or not: what the store does not take is written beside it.
    pub(super) fn control(&self) -> PathBuf {
        self.directory.join("run/control.sock")
    }
}

pub(super) struct Daemon {
    pub(super) engine: Engine,
    /// Of each log, what the store counted of it at the start, and how far it was read.
    pub(super) kept: Vec<(usize, usize)>,
    pub(super) sources: Sources,
    /// What the engine has not taken yet.
    pub(super) inbox: VecDeque<Input>,
    /// What the kernel's thread has not taken yet.
    pub(super) jobs: VecDeque<Job>,
    /// What the store's thread has not taken yet.
    pub(super) writes: VecDeque<Write>,
    hand: Hand,
    writer: Writer,
    new_jobs: Receiver<Job>,
    new_writes: Receiver<Write>,
    orders: Receiver<SourceOrder>,
    _desks: Desks,
}

/// Each log with its jail and stream.
pub(super) const STREAMS: [(&str, &str); 2] =
    [("sshd", "file:/simulated/auth.log"), ("console", "btmp:/simulated/btmp")];

fn kept(db: &Connection) -> rusqlite::Result<Vec<(usize, usize)>> {
    let of_one = |(jail, stream): &(&str, &str)| {
        let sql = "SELECT count(*) FROM attempts WHERE jail = ?1";
        let count = db.query_row(sql, [jail], |row| row.get::<_, u32>(0))?;
        let sql = "SELECT position FROM positions WHERE stream = ?1";
        let at: Option<String> = db.query_row(sql, [stream], |row| row.get(0)).optional()?;
        Ok((count as usize, at.and_then(|at| at.parse().ok()).unwrap_or(0)))
    };
    STREAMS.iter().map(of_one).collect()
}

/// What a round sent out.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) first_job: usize,
    pub(super) first_write: usize,
}

impl Daemon {
    /// Starts one as `pillory run` does, without its threads.
    pub(super) fn start(
        files: &Files,
        kernel: &SimulatedKernel,
        facts: impl Fn() -> Facts,
    ) -> Result<Daemon, String> {
        clock::simulated::restart();
        let place = Place { file: Some(files.config()), fail2ban: None };
        let (file, config) = place.load().map_err(|failure| failure.message)?;
        let mut store = keeper::start(&files.state(), &files.control()).map_err(|error| error.to_string())?;
        clock::go_on_from(store.last_write(clock::latest_believed()));
        let trial = Found::new(store.meta(META_TRIAL).as_deref(), &file, clock::now());
        let policy = trial.policy().cloned().unwrap_or(file);
        let config = match trial.policy() {
            Some(policy) => place.understand(policy).map_err(|failure| failure.message)?,
            None => config,
        };
        let active = active_jails(&config, &Places::host());
        let (mut machine, mut readers) =
            jails::build(&config, &active, HashSet::new()).map_err(|problems| problems.join("; "))?;
        let allowed = Allowed::restored(store.meta(META_ALLOWED).as_deref(), clock::now());
        let first_facts = facts();
        let mut action = kernel.clone();
        let known = (&allowed, &first_facts);
        let no_wtmp = (&mut store, "/simulated/wtmp");
        let begin::Taken { restored, restricted, lost, is_unseen, .. } =
            begin::take_over(no_wtmp, &mut action, (&mut machine, &mut readers), &config, known)
                .map_err(|failure| failure.message)?;
        let kept = store.read_or_rescue(kept).map_err(|error| error.to_string())?;
        let (kernel_in, new_jobs) = unbounded();
        let (store_in, new_writes) = unbounded();
        let (sources_in, orders) = unbounded();
        let (errands, desks) = errands::desk();
        // Nobody makes pages here.
        let (editions, _) = unbounded();
        // Nobody looks at a host here.
        let (lookout, _) = unbounded();
        let asker = Asker::of_nobody().map_err(|error| error.to_string())?;
        let outlets = Outlets {
            kernel: kernel_in,
            store: store_in,
            facts: asker,
            sources: sources_in,
            errands,
            editions,
            lookout,
            posts: None,
        };
        let setup = Setup {
            config,
            policy,
            place,
            on_stop: OnStop::Keep,
            zone: TimeZone::UTC,
            off: String::new(),
            outside: Outside::default(),
            delivery: Delivery::default(),
        };
        let start = SourceOrder::Start(readers.feeds.clone(), restored.positions.clone());
        let frame = (readers.ports.clone(), restricted.clone());
        let mut engine = Engine::new(machine, readers, outlets, "simulated", setup);
        engine.take_kept(restored.unlisted, restored.rhythms.as_deref());
        engine.resume(restored.off, restored.positions, start, (allowed, first_facts, restricted));
        engine.begin_trial(trial);
        // Logs of before are read by a thread that is not here.
        drop(engine.begin_learning(restored.learning));
        engine.begin_store(&store, restored.anew, lost);
        engine.begin_unseen(is_unseen);
        Ok(Daemon {
            engine,
            kept,
            sources: Sources::default(),
            inbox: VecDeque::new(),
            jobs: VecDeque::new(),
            writes: VecDeque::new(),
            hand: Hand::new(Box::new(action), frame, None),
            writer: store.into_writer(),
            new_jobs,
            new_writes,
            orders,
            _desks: desks,
        })
    }

    pub(super) fn machine(&self) -> &Machine {
        self.engine.machine()
    }

    /// One round of the engine with the first `inputs` that wait and what sources sent; what it sends out is queued.
    pub(super) fn round(&mut self, inputs: usize, reads: Vec<Read>, logs: &Logs) -> Sent {
        let inputs: Vec<Input> = self.inbox.drain(..inputs.min(self.inbox.len())).collect();
        let sent = Sent { first_job: self.jobs.len(), first_write: self.writes.len() };
        self.engine.round(inputs.into_iter(), reads.into_iter());
        self.collect(logs);
        sent
    }

    /// Queues what the engine has sent out.
    pub(super) fn collect(&mut self, logs: &Logs) {
        self.jobs.extend(self.new_jobs.try_iter());
        self.writes.extend(self.new_writes.try_iter());
        for order in self.orders.try_iter() {
            self.sources.order(order, logs);
        }
    }

    /// The kernel's thread takes up to so many jobs; its answers wait for the engine.
    pub(super) fn kernel_works(&mut self, most: usize) {
        let count = most.min(self.jobs.len());
        let mut taken = self.jobs.drain(..count);
        while let Some(job) = self.hand.next(|| taken.next()) {
            let answers = self.hand.work(job, &mut taken);
            self.inbox.extend(answers.into_iter().map(Input::Kernel));
        }
    }

    /// The store's thread takes up to so many writes; its answers wait for the engine. `told` hears them. Returns the last
    /// write that was set aside: while the store waits for a snapshot nobody is told of that.
    pub(super) fn store_works(&mut self, most: usize, mut told: impl FnMut(&Written)) -> Option<u64> {
        let count = most.min(self.writes.len());
        let written = self.writer.round(self.writes.drain(..count));
        written.iter().for_each(&mut told);
        self.inbox.extend(written.into_iter().map(Input::Store));
        self.writer.last_aside()
    }

    /// The database, if it is open.
    pub(super) fn db(&self) -> Option<&Connection> {
        self.writer.store().db()
    }
}

/// Makes the files of a host anew, in memory if there is a file system for that.
pub(super) fn files(name: &str, has_room_beside: bool) -> std::io::Result<Files> {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = base.join(format!("pillory-simulator-{}-{name}", std::process::id()));
    // Left over from a run that was killed; absence is the normal case.
    drop(std::fs::remove_dir_all(&directory));
    std::fs::create_dir_all(&directory)?;
    let files = Files { directory };
    if has_room_beside {
        std::fs::create_dir_all(files.directory.join("run"))?;
    }
    Ok(files)
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}
