//! The process that delivers: `pillory deliver`, started by the daemon. Standard input is a socket on which the daemon
//! says that there is news, or that the configuration is to be read anew; it is closed when the daemon ends, and what can
//! be sent at once then is.
//!
//! Each destination has a thread of its own, so that one that hangs holds up no other.

use std::cell::RefCell;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tracing::{info, warn};

use pillory_core::config::Config;
use pillory_core::config::outgoing::{Destination, Notify};

use crate::cli::configfile::Place;
use crate::commands::outside::outlive_signals;
use crate::commands::told::Teller;
use crate::privilege::{Needs, Sandbox, shed};
use crate::{clock, logging};

use super::notify::{self, Desk};
use super::outbox::{Outbox, OutboxError};
use super::reports::{self, host_name};
use super::{NEWS, RELOAD, Wants, opened_for};

/// So long the last messages may take once the daemon is gone.
const LAST_MESSAGES: Duration = Duration::from_secs(10);

/// How often a thread looks without being woken.
const IDLE: Duration = Duration::from_secs(600);

/// After this time an outbox that could not be used is tried again.
const OUTBOX_RETRY: Duration = Duration::from_secs(30);

/// What the process is started with.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// Where the outbox is.
    pub(crate) state_dir: PathBuf,
    /// Which configuration is read.
    pub(crate) place: Place,
}

/// Why the process cannot work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliverError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(String),
    /// The system refuses something.
    #[error("cannot {0}: {1}")]
    System(&'static str, #[source] std::io::Error),
}

/// What the threads are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Work,
    /// What is due leaves, and then it is over.
    Close,
    /// It is over at once; others take their place.
    Stop,
}

/// Wakes the threads.
#[derive(Debug)]
struct Bell {
    state: Mutex<(u64, Mode)>,
    rung: Condvar,
}

impl Bell {
    fn new() -> Bell {
        Bell { state: Mutex::new((0, Mode::Work)), rung: Condvar::new() }
    }

    fn ring(&self, mode: Mode) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (state.0 + 1, mode);
        drop(state);
        self.rung.notify_all();
    }

    fn state(&self) -> (u64, Mode) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for it to be rung after `seen`, no longer than `limit`.
    fn wait(&self, seen: u64, limit: Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it was rung the caller sees for itself.
        drop(self.rung.wait_timeout_while(state, limit, |state| state.0 == seen));
    }
}

/// Delivers until the daemon is gone.
/// # Errors
/// [`DeliverError`]
pub(crate) fn serve(job: &Job) -> Result<(), DeliverError> {
    outlive_signals().map_err(|error| DeliverError::System("hear signals", error))?;
    let mut config = load(&job.place)?;
    let wants = Wants::of(&config.outgoing);
    let teller = start_teller(&wants, &job.place)?;
    let lock = job.state_dir.join("outbox.lock");
    let lock = File::create(lock).map_err(|error| DeliverError::System("open outbox.lock", error))?;
    // From here on nothing is opened that the sandbox would not allow.
    let _sandbox = Sandbox::enter(config.sandbox, false, &needs(&wants, job));
    shed();
    // One of a daemon before may still send its last messages.
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| DeliverError::System("lock the outbox", error.into()))?;
    let host = host_name();
    loop {
        match work(job, &config, &host, teller.as_ref())? {
            Some(fresh) => {
                config = *fresh;
                // Who still worked by the one before may have noted what did not. If it cannot be written, they say so.
                let outbox = Outbox::open(&job.state_dir);
                drop(outbox.and_then(|mut outbox| outbox.configure(&config.outgoing)));
            }
            None => return Ok(()),
        }
    }
}

fn load(place: &Place) -> Result<Config, DeliverError> {
    place.load().map(|(_, config)| config).map_err(|failure| DeliverError::Config(failure.message))
}

fn start_teller(wants: &Wants, place: &Place) -> Result<Option<Teller>, DeliverError> {
    if !wants.runs_commands {
        return Ok(None);
    }
    let mut arguments: Vec<&std::ffi::OsStr> = Vec::new();
    if let Some(file) = &place.file {
        arguments.extend(["--config".as_ref(), file.as_os_str()]);
    }
    Teller::start(&arguments)
        .map(Some)
        .map_err(|error| DeliverError::System("start what runs commands", error))
}

fn needs(wants: &Wants, job: &Job) -> Needs {
    let files = wants.files.iter().map(PathBuf::as_path).chain([job.place.path()]).map(opened_for);
    let fail2ban = job.place.fail2ban.as_deref();
    Needs::of_sender(files.chain(fail2ban).map(Path::to_owned).collect(), &job.state_dir, &wants.ports)
}

/// Works by this configuration. Returns the next one; nothing if the daemon is gone.
fn work(
    job: &Job,
    config: &Config,
    host: &str,
    teller: Option<&Teller>,
) -> Result<Option<Box<Config>>, DeliverError> {
    let bell = Bell::new();
    std::thread::scope(|scope| {
        let (bell, state_dir) = (&bell, job.state_dir.as_path());
        for notify in &config.outgoing.notify {
            let desk = Desk { host, teller, is_closing: false };
            scope.spawn(move || each(bell, state_dir, |outbox| notify_worker(bell, outbox, notify, desk)));
        }
        for to in &config.outgoing.reports {
            scope.spawn(move || {
                let unnoted = RefCell::default();
                each(bell, state_dir, |outbox| {
                    report_worker(bell, outbox, (to, config), (state_dir, &unnoted))
                });
            });
        }
        let fresh = listen(bell, &job.place);
        let mode = if matches!(fresh, Ok(Some(_))) { Mode::Stop } else { Mode::Close };
        if mode == Mode::Close {
            // Whoever hangs shall not keep the process.
            std::thread::spawn(end_soon);
        }
        bell.ring(mode);
        fresh
    })
}

fn end_soon() {
    Bell::new().wait(0, LAST_MESSAGES);
    warn!("not all that waits could be sent before the end; it is sent after the next start");
    logging::finish();
    std::process::exit(0);
}

/// Hears the daemon until there is a new configuration, or nobody any more.
fn listen(bell: &Bell, place: &Place) -> Result<Option<Box<Config>>, DeliverError> {
    let mut bytes = [0; 64];
    loop {
        let heard = match std::io::stdin().read(&mut bytes) {
            Ok(heard) => heard,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(DeliverError::System("hear the daemon", error)),
        };
        let said = bytes.get(..heard).unwrap_or_default();
        if said.is_empty() {
            return Ok(None);
        }
        if said.contains(&NEWS) {
            bell.ring(Mode::Work);
        }
        if said.contains(&RELOAD) {
            match load(place) {
                Ok(config) => return Ok(Some(Box::new(config))),
                Err(error) => warn!(%error, "what is sent stays as it was"),
            }
        }
    }
}

/// Runs a worker, again and again if the outbox cannot be used.
fn each(bell: &Bell, state_dir: &Path, worker: impl Fn(&Outbox) -> Result<(), OutboxError>) {
    let mut fails = false;
    loop {
        let done = Outbox::open(state_dir).and_then(|outbox| {
            if std::mem::take(&mut fails) {
                info!("the outbox can be used again");
            }
            worker(&outbox)
        });
        let (seen, mode) = bell.state();
        match done {
            Err(error) if mode == Mode::Work => {
                if !std::mem::replace(&mut fails, true) {
                    warn!(%error, "nothing is sent until this is mended");
                }
                bell.wait(seen, OUTBOX_RETRY);
            }
            _ => return,
        }
    }
}

fn notify_worker(bell: &Bell, outbox: &Outbox, notify: &Notify, desk: Desk<'_>) -> Result<(), OutboxError> {
    loop {
        let (seen, mode) = bell.state();
        if mode == Mode::Stop {
            return Ok(());
        }
        let (is_closing, now) = (mode == Mode::Close, clock::now());
        let next = notify::round(outbox, notify, Desk { is_closing, ..desk }, now)?;
        match next {
            Some(next) if next <= now => {}
            _ if is_closing => return Ok(()),
            Some(next) => bell.wait(seen, Duration::from_millis(next.since(now).millis()).min(IDLE)),
            None => bell.wait(seen, IDLE),
        }
    }
}

fn report_worker(
    bell: &Bell,
    outbox: &Outbox,
    to: (&Destination, &Config),
    (state_dir, unnoted): (&Path, &RefCell<reports::Unnoted>),
) -> Result<(), OutboxError> {
    let mut logins = reports::Logins::default();
    loop {
        let (seen, mode) = bell.state();
        if mode != Mode::Work {
            return Ok(());
        }
        let now = clock::now();
        let next = reports::round(outbox, to, (state_dir, &mut logins, &mut unnoted.borrow_mut()), now)?;
        if next > now {
            bell.wait(seen, Duration::from_millis(next.since(now).millis()).min(IDLE));
        }
    }
}
