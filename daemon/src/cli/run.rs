//! `pillory run`: sets everything up in order, says what it does, and runs the engine.

use std::path::{Path, PathBuf};

use tracing::{info, warn};

use pillory_core::config::{Config, OnStop};

use crate::actions::{self, Action, ActionError, dryrun};
use crate::allowed::{self, Allowed, META_ALLOWED};
use crate::commands::outside::{self, Outside};
use crate::commands::told;
use crate::control::server::Server;
use crate::discover::{self, Places};
use crate::engine::jails;
use crate::engine::restrict;
use crate::engine::trial::{Found, META_TRIAL};
use crate::guard::{self, Claim, Held};
use crate::learn::{self, Learner};
use crate::outgoing::Delivery;
use crate::outgoing::deliver::{self, Job};
use crate::privilege::{Needs, shed};
use crate::store::keeper;
use crate::{clock, facts, fault, logging};

use super::begin::{self, Taken, WTMP};
use super::configfile::{self, DEFAULT_CONFIG, Place, Policy};
use super::status::First;
use super::threads::Threads;
use super::{CONTROL, Failure, Outcome, STATE_DIR, exit, fail2ban, offline};

/// Arguments of `pillory run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Configuration file; default /etc/pillory/pillory.toml, which need not exist.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Take the jails from this fail2ban directory, such as /etc/fail2ban, as they are.
    #[arg(long, value_name = "DIR")]
    pub(crate) fail2ban: Option<PathBuf>,
    /// Where state is kept.
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
    /// Where commands are taken.
    #[arg(long, value_name = "SOCKET", default_value = CONTROL)]
    pub(crate) control: PathBuf,
    /// Enforce nothing; say what would be done.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What happens to the bans in the kernel when the daemon stops.
    #[arg(long, value_name = "keep|lift", value_parser = parse_on_stop)]
    pub(crate) on_stop: Option<OnStop>,
    /// How log lines look.
    #[arg(long, value_name = "text|json", default_value = "text")]
    pub(crate) log_format: logging::Format,
}

impl Arguments {
    /// Where state is kept. What a dry run banned must not be enforced by the next real one, so it has its own.
    fn state_dir_of(&self, banaction: &str) -> PathBuf {
        if banaction == dryrun::NAME { self.state_dir.join(dryrun::NAME) } else { self.state_dir.clone() }
    }

    /// The command that switches this daemon off, whether it runs or not.
    fn off(&self) -> String {
        let mut command = "pillory off".to_owned();
        let named = [("--control", &self.control, CONTROL), ("--state-dir", &self.state_dir, STATE_DIR)];
        for (option, path, default) in named {
            if path != Path::new(default) {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                command.push_str(&format!(" {option} {}", path.display()));
            }
        }
        command
    }
}

/// Arguments of `pillory run-commands`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunCommands {
    /// The fail2ban directory.
    directory: PathBuf,
}

impl RunCommands {
    pub(crate) fn run(&self) -> Outcome {
        outside::serve(|| fail2ban::commands(&self.directory))
            .map(|()| 0)
            .map_err(|error| Failure::new(exit::USAGE, format!("this is for the daemon itself: {error}")))
    }
}

/// Arguments of `pillory deliver`.
#[derive(Debug, clap::Args)]
pub(crate) struct Deliver {
    /// The configuration.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A fail2ban directory that brings the jails.
    #[arg(long)]
    fail2ban: Option<PathBuf>,
    /// Where state is kept.
    #[arg(long)]
    state_dir: PathBuf,
    /// How log lines look.
    #[arg(long, default_value = "text")]
    log_format: logging::Format,
}

impl Deliver {
    pub(crate) fn run(self) -> Outcome {
        logging::start(self.log_format);
        fault::end_with();
        let place = Place { file: self.config, fail2ban: self.fail2ban };
        deliver::serve(&Job { state_dir: self.state_dir, place })
            .map(|()| 0)
            .map_err(|error| Failure::new(exit::NO, format!("what is to be sent waits: {error}")))
    }
}

/// Arguments of `pillory tell-commands`.
#[derive(Debug, clap::Args)]
pub(crate) struct TellCommands {
    /// The configuration.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl TellCommands {
    pub(crate) fn run(&self) -> Outcome {
        let read = || configfile::load_config(self.config.as_deref()).ok().map(|config| config.outgoing);
        told::serve(read)
            .map(|()| 0)
            .map_err(|error| Failure::new(exit::USAGE, format!("this is for the daemon itself: {error}")))
    }
}

fn parse_on_stop(text: &str) -> Result<OnStop, String> {
    match text {
        "keep" => Ok(OnStop::Keep),
        "lift" => Ok(OnStop::Lift),
        _ => Err("use keep or lift".to_owned()),
    }
}

/// What the engine keeps of how it was started.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The configuration in force.
    pub(crate) config: Config,
    /// The same as it was written.
    pub(crate) policy: Policy,
    /// Where the file is.
    pub(crate) place: Place,
    /// What happens to the bans in the kernel at the end.
    pub(crate) on_stop: OnStop,
    /// The zone of stamps that carry none.
    pub(crate) zone: jiff::tz::TimeZone,
    /// The command that switches this daemon off, as it is to be typed.
    pub(crate) off: String,
    /// What runs commands, if some are configured.
    pub(crate) outside: Outside,
    /// What sends, if there is anything to be sent.
    pub(crate) delivery: Delivery,
}

/// Runs the daemon until it is told to stop.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    logging::start(arguments.log_format);
    if First::is_wanted(arguments.log_format) {
        logging::hold();
    }
    start_log_thread()?;
    fault::end_with();
    if let Some(problem) = clock::zone_problem() {
        warn!(reason = problem, "the time zone cannot be used; stamps that carry none are taken for UTC");
    }
    let place = Place { file: arguments.config.clone(), fail2ban: arguments.fail2ban.clone() };
    let (file, config) = place.load()?;
    let of_file = Needs::commands(&config, &place);
    let banaction = if arguments.dry_run { dryrun::NAME.to_owned() } else { config.banaction.clone() };
    let banaction = banaction.as_str();
    let state_dir = arguments.state_dir_of(banaction);
    let guard = if banaction == dryrun::NAME { None } else { hold_namespace(&arguments.control)? };
    let mut store = keeper::start(&state_dir, &arguments.control).map_err(|error| offline::failed(&error))?;
    clock::go_on_from(store.last_write(clock::latest_believed()));
    // The store may say that another policy is in force than the file's; it has the same banaction.
    let trial = Found::new(store.meta(META_TRIAL).as_deref(), &file, clock::now());
    let policy = trial.policy().cloned().unwrap_or(file);
    let config = if trial.policy().is_some() { place.understand(&policy)? } else { config };
    // A policy on trial may have none while the one that would come back has some.
    let outside = match Needs::commands(&config, &place).or(of_file) {
        Some(directory) => Outside::start(&directory).map_err(|error| {
            Failure::new(exit::NO, format!("cannot start the process that runs commands: {error}"))
        })?,
        None => Outside::default(),
    };
    let delivery = start_delivery(arguments, &config, &place, &state_dir)?;
    let on_stop = arguments.on_stop.unwrap_or(config.on_stop);
    let mut action = open_action(banaction)?;
    action.exempt(config.rescue);
    let active = discover::active_jails(&config, &Places::host());
    let (mut machine, mut readers) =
        jails::build(&config, &active, facts::accounts(Path::new("/etc/passwd")))
            .map_err(|problems| Failure::new(exit::USAGE, problems.join("\npillory: ")))?;
    let allowed = Allowed::restored(store.meta(META_ALLOWED).as_deref(), clock::now());
    let (mut reader, asker) = facts::Reader::new(&allowed::names(&config, &allowed))
        .map_err(|error| Failure::new(exit::NO, format!("cannot make an eventfd: {error}")))?;
    let first_facts = reader.read();
    let known = (&allowed, &first_facts);
    let Taken { restored, wtmp, restricted, lost, is_unseen } =
        begin::take_over((&mut store, WTMP), action.as_mut(), (&mut machine, &mut readers), &config, known)?;
    restrict::say(&config, &arguments.off());
    say_what_runs(&active.0, action.name(), &state_dir);

    let server =
        Server::bind(&arguments.control).map_err(|error| cannot_listen(&arguments.control, &error))?;
    let learner = (!restored.learning.is_done).then_some(Learner {
        jails: active.0,
        wtmp,
        before: restored.learning.before,
        bounds: learn::BOUNDS,
    });
    let threads = Threads {
        server,
        store,
        action,
        control: arguments.control.clone(),
        state_dir,
        guard,
        facts: (reader, asker),
        known: (allowed, first_facts, restricted),
        learner,
        first: First::wanted(arguments.log_format, &arguments.control),
    };
    let setup = Setup {
        config,
        policy,
        place,
        on_stop,
        zone: clock::zone(),
        off: arguments.off(),
        outside,
        delivery,
    };
    threads.run(machine, readers, setup, (restored, lost, is_unseen, trial))
}

/// A dry run bans nobody, so it tells nobody.
fn start_delivery(
    arguments: &Arguments,
    config: &Config,
    place: &Place,
    state_dir: &Path,
) -> Result<Delivery, Failure> {
    if arguments.dry_run || config.banaction == dryrun::NAME {
        return Ok(Delivery::default());
    }
    Delivery::start(&config.outgoing, place, (state_dir, arguments.log_format), config.sandbox)
        .map_err(|error| Failure::new(exit::NO, format!("cannot start the process that sends: {error}")))
}

/// Starts the thread that writes the log, or one in the place of the one that does.
pub(super) fn start_log_thread() -> Result<(), Failure> {
    logging::start_thread(shed)
        .map_err(|error| Failure::new(exit::NO, format!("cannot start a thread: {error}")))
}

fn cannot_listen(control: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind::{
        AddrInUse, AlreadyExists, InvalidInput, NotADirectory, NotFound, PermissionDenied,
    };
    let (code, cure) = match error.kind() {
        AddrInUse => (exit::TAKEN, "stop it, or choose another place with --control"),
        PermissionDenied => (exit::NOT_PERMITTED, "run it as root, or choose another place with --control"),
        AlreadyExists | InvalidInput | NotADirectory => (exit::USAGE, "choose another place with --control"),
        NotFound => (exit::USAGE, "make its directory first, or choose another place with --control"),
        _ => (exit::NO, "choose another place with --control"),
    };
    Failure::new(code, format!("cannot listen at {}: {error}; {cure}", control.display()))
}

/// One daemon a network namespace; one that enforces nothing disturbs nobody.
fn hold_namespace(control: &Path) -> Result<Option<Held>, Failure> {
    match guard::claim(control) {
        Ok(Claim::Ours(held)) => Ok(Some(held)),
        Ok(Claim::HeldByOthers) => {
            warn!("another user holds the name that guards the network namespace; going on without it");
            Ok(None)
        }
        Ok(Claim::Taken(holder)) => Err(Failure::new(
            exit::TAKEN,
            format!("{holder}; stop it first (two would fight over the same table)"),
        )),
        Err(error) => Err(Failure::new(exit::NO, format!("cannot claim the network namespace: {error}"))),
    }
}

pub(super) fn refused(error: &ActionError) -> Failure {
    let code = match error {
        ActionError::NotPermitted { .. } => exit::NOT_PERMITTED,
        ActionError::NoPorts { .. } => exit::USAGE,
        _ => exit::NO,
    };
    Failure::new(code, error.to_string())
}

/// Opens the action of that name; `auto` takes the best that this kernel offers and says why not a better one.
fn open_action(name: &str) -> Result<Box<dyn Action>, Failure> {
    if name != "auto" {
        let known: Vec<String> =
            actions::KINDS.iter().map(|kind| format!("{} ({})", kind.name, kind.about)).collect();
        let unknown = || {
            Failure::new(
                exit::USAGE,
                format!("there is no banaction {name:?}; use auto, {}", known.join(", ")),
            )
        };
        return (actions::kind(name).ok_or_else(unknown)?.open)().map_err(|error| refused(&error));
    }
    let (best, worse) = actions::best_kind();
    // Where there is none at all, why not is what is said of that.
    for (kind, error) in worse.iter().filter(|_| best.is_some()) {
        warn!(action = kind.name, reason = %error, "cannot be used here");
    }
    let is_denied = |error: &ActionError| matches!(error, ActionError::NotPermitted { .. });
    match (best, worse.iter().find(|(_, error)| is_denied(error)).or(worse.last())) {
        (Some(kind), _) => (kind.open)().map_err(|error| refused(&error)),
        (None, Some((_, error))) => Err(refused(error)),
        (None, None) => Err(Failure::new(exit::NO, "no action is built in")),
    }
}

fn say_what_runs(active: &[discover::ActiveJail], action: &str, state_dir: &Path) {
    info!(action, state_dir = %state_dir.display(), version = env!("CARGO_PKG_VERSION"), "starting");
    for jail in active {
        let policy = &jail.config.policy;
        let mut bantime: Vec<String> = policy.bantime.steps().iter().map(ToString::to_string).collect();
        bantime.extend(policy.growth.as_ref().map(|_| "and growing".to_owned()));
        let maxretry = f64::from(policy.maxretry.0) / 100.0;
        info!(jail = %jail.config.name, reads = %jail.reads, why = jail.why, maxretry, findtime = %policy.findtime, bantime = %bantime.join(" "), "jail");
    }
    if active.is_empty() {
        warn!("no jail runs: no service with a filter was found; name a logpath in {DEFAULT_CONFIG}");
    }
}
