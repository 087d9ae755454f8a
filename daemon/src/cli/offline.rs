//! `off`, `on`, `unban`, `unlist` and `import` where no daemon answers: the store is edited under the state lock, and what must
//! go at once is taken out of the kernel.

use std::path::{Path, PathBuf};

use serde_json::json;

use pillory_core::event::{JailName, Origin, Scope};
use pillory_core::jail::never::NeverBan;
use pillory_core::ledger::projection::is_point;
use pillory_core::ledger::{Ban, Change, Ended, Ledger, Projection};
use pillory_core::machine::{Machine, Record};
use pillory_core::net::Prefix;
use pillory_core::time::{Span, Timestamp};

use crate::actions::{self, Action, ActionError};
use crate::allowed::{self, Allowed};
use crate::control::{BanOptions, BanOrder, Reply};
use crate::engine::META_OFF;
use crate::engine::commands::{LISTS, Spare, inside, sort_orders};
use crate::store::keeper::{self, Started};
use crate::store::writer::Write;
use crate::store::{self, StoreError, query, standing};
use crate::unlisted::{META_UNLISTED, Unlisted};
use crate::{clock, facts, guard};

use super::configfile::load_config;
use super::run::refused;
use super::{Failure, STATE_DIR, count, exit};

/// Where the state is, for commands that work without a daemon too.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct State {
    /// Where state is kept; used if no daemon answers.
    #[arg(long, value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
}

/// That no daemon answers.
#[derive(Debug)]
pub(super) struct Gone {
    /// Why, in words; said where the offline way is barred too.
    pub(super) why: String,
    /// The socket that was tried.
    pub(super) control: PathBuf,
}

/// The store, open for a command; it keeps a daemon out. What its disk does not take is set aside for the next daemon.
struct Held {
    store: Started,
    /// What is to be said besides the answer.
    said: String,
}

impl State {
    /// Opens the store for writing, if no daemon runs: one may have another state directory and another socket than
    /// those that were named, and would undo at once what is changed in the kernel.
    fn hold(&self, gone: &Gone) -> Result<Held, Failure> {
        if let Some(holder) = guard::holder() {
            let said = format!("{}\npillory: {holder}; {}", gone.why, holder.cure());
            return Err(Failure::new(exit::TAKEN, said));
        }
        let started = keeper::start(&self.state_dir, &gone.control);
        started.map(|store| Held { store, said: "no daemon runs".to_owned() }).map_err(|error| {
            let failure = failed(&error);
            Failure::new(failure.exit, format!("{}\npillory: {}", gone.why, failure.message))
        })
    }

    /// The same for what makes no sense without a store: a mistyped directory must not become one.
    fn hold_old(&self, gone: &Gone) -> Result<Held, Failure> {
        let path = self.state_dir.join(store::FILE);
        match path.try_exists() {
            Ok(false) if guard::holder().is_none() => Err(Failure::new(
                exit::NO,
                format!(
                    "{}\npillory: there is no {}; name the daemon's state directory with --state-dir",
                    gone.why,
                    path.display()
                ),
            )),
            _ => self.hold(gone),
        }
    }

    /// Lifts everything and enforces nothing until `on`.
    pub(super) fn off(&self, span: Option<Span>, gone: &Gone) -> Result<Reply, Failure> {
        let until = span.map(|span| clock::now() + span);
        let kept = until.map_or_else(|| "on_command".to_owned(), |until| until.millis().to_string());
        // The kernel last: if it refuses, at least no daemon that starts will enforce.
        let remembered = self.hold_old(gone).and_then(|mut held| {
            held.write(Write { meta: vec![(META_OFF.into(), kept)], ..Write::default() })?;
            Ok(held)
        });
        if let Err(failure) = &remembered
            && failure.exit == exit::TAKEN
        {
            return remembered.map(|_| Reply::say(exit::TAKEN, ""));
        }
        let mut lifted = 0;
        for mut action in kernel_actions()? {
            lifted += action.remove_all().map_err(|error| refused(&error))?;
        }
        // Whoever is locked out is let in, whatever became of the disk.
        let held = remembered.map_err(|failure| {
            let said = format!(
                "{} lifted from the kernel, but a daemon that starts will enforce again",
                count(lifted as u64, "ban")
            );
            Failure::new(failure.exit, format!("{}\npillory: {said}", failure.message))
        })?;
        Ok(Reply::say(
            0,
            format!(
                "off: {} lifted from the kernel; nothing is enforced until `pillory on` ({})",
                count(lifted as u64, "ban"),
                held.said
            ),
        ))
    }

    /// Lets the daemon enforce again when it starts.
    pub(super) fn on(&self, gone: &Gone) -> Result<Reply, Failure> {
        let mut held = self.hold_old(gone)?;
        held.write(Write { meta: vec![(META_OFF.into(), String::new())], ..Write::default() })?;
        let bans = held.bans()?.len();
        Ok(Reply::say(
            0,
            match bans {
                1 => format!("on: 1 ban is kept; start the daemon to enforce it ({})", held.said),
                _ => format!("on: {bans} bans are kept; start the daemon to enforce them ({})", held.said),
            },
        ))
    }

    /// Lifts bans in the store and in the kernel.
    pub(super) fn unban(
        &self,
        prefixes: Option<&[Prefix]>,
        jail: Option<&JailName>,
        gone: &Gone,
    ) -> Result<Reply, Failure> {
        let mut held = self.hold_old(gone)?;
        let now = clock::now();
        let mut ledger = held.ledger()?;
        let all: Vec<Prefix> = match prefixes {
            Some(prefixes) => prefixes.to_vec(),
            None => ledger.iter().map(|ban| ban.prefix).collect(),
        };
        let lifted: Vec<Ban> = all.iter().flat_map(|prefix| lift(&mut ledger, *prefix, jail)).collect();
        let let_out = Machine::let_out(&ledger, all.iter().copied().map(source), &lifted);
        let ended = lifted.iter().cloned().chain(let_out);
        let records = ended.map(|ban| Record::Ended(ban, Ended::Lifted, now)).collect();
        held.write(Write { records, ..Write::default() })?;
        if prefixes.is_none() && jail.is_none() {
            for mut action in kernel_actions()? {
                action.remove_all().map_err(|error| refused(&error))?;
            }
        } else {
            let touched: Vec<Prefix> =
                all.iter().copied().chain(lifted.iter().map(|ban| ban.prefix)).collect();
            lift_from_kernel(&touched, &ledger, jail.is_none(), now)?;
        }
        let name = |ban: &Ban| json!({"prefix": ban.prefix.to_string(), "jail": ban.jail.as_str()});
        let still = prefixes.unwrap_or_default().iter().flat_map(|prefix| ledger.covering(*prefix));
        let still: Vec<_> = still.map(|ban| name(&ban)).collect();
        let inside = inside(prefixes, jail, ledger.iter());
        let value = json!({"unbanned": lifted.iter().map(name).collect::<Vec<_>>(), "still_banned_by": still,
            "still_banned_inside": inside});
        Ok(Reply { exit: u8::from(lifted.is_empty()), message: held.said, value })
    }

    /// Leaves somebody out of the wall, or no longer; also the daemon that starts does.
    pub(super) fn unlist(&self, prefixes: &[Prefix], remove: bool, gone: &Gone) -> Result<Reply, Failure> {
        let mut held = self.hold_old(gone)?;
        let kept = held.store.read_or_rescue(|db| query::meta(db, META_UNLISTED));
        let mut unlisted = Unlisted::restored(kept.map_err(|error| failed(&error))?.as_deref());
        let ordered = match unlisted.order(prefixes, remove) {
            Ok(ordered) => ordered,
            Err(problem) => return Ok(Reply::say(exit::NO, problem)),
        };
        if !ordered.meta.is_empty() {
            held.write(Write { meta: ordered.meta.clone(), ..Write::default() })?;
        }
        let reply = ordered.reply(&unlisted, remove, None);
        Ok(Reply { message: held.said, ..reply })
    }

    /// Takes bans over from a list into the store; the daemon enforces them when it starts. `config`: whose
    /// `ignoreip` holds; nothing means that of the default place.
    pub(super) fn import(
        &self,
        orders: Vec<BanOrder>,
        options: &BanOptions,
        config: Option<&Path>,
        gone: &Gone,
    ) -> Result<Reply, Failure> {
        let now = clock::now();
        let config = load_config(config)?;
        let nobody = Allowed::default();
        let facts = facts::read_once(&allowed::names(&config, &nobody)).map_err(|error| {
            Failure::new(exit::NO, format!("cannot ask for this host's addresses: {error}"))
        })?;
        // Whom `pillory allow` spares is taken out again when the daemon starts.
        let never = allowed::never(&config, &nobody, &facts);
        let jail = options.jail.clone().or_else(|| JailName::new(LISTS).ok());
        let Some(jail) = jail else { return Err(Failure::new(exit::USAGE, "no jail")) };
        let spare = Spare { never: &never, machine: None, now };
        let sorted = sort_orders(orders, options, &spare, (&jail, Origin::Import));
        let (asked, history_only) = (sorted.bans.len(), sorted.listed.len());
        let mut changed = asked;
        let mut message = "no daemon runs; this is a dry run, so nothing was kept".to_owned();
        if !options.dry_run {
            let mut held = self.hold(gone)?;
            let mut ledger = held.ledger()?;
            let new: Vec<Ban> = sorted.bans.into_iter().filter_map(|ban| ledger.ban(ban)).collect();
            changed = new.len();
            let bans = new.into_iter().map(Record::Banned);
            let records = bans.chain(sorted.listed.into_iter().map(Record::Listed)).collect();
            held.write(Write { records, ..Write::default() })?;
            message = format!("{}; they are enforced when it starts", held.said);
        }
        let value = json!({"changed": changed, "unchanged": asked - changed,
            "history_only": history_only, "refused": sorted.refused});
        Ok(Reply { exit: 0, message, value })
    }

    /// The bans in force, read without a daemon.
    pub(super) fn bans_in_force(&self, gone: &Gone) -> Result<Vec<Ban>, Failure> {
        let path = self.state_dir.join(store::FILE);
        if let Err(error) = std::fs::metadata(&path) {
            let denied = error.kind() == std::io::ErrorKind::PermissionDenied;
            let code = if denied { exit::NOT_PERMITTED } else { exit::UNREACHABLE };
            return Err(Failure::new(
                code,
                format!("{}\npillory: cannot read {}: {error}", gone.why, path.display()),
            ));
        }
        let db = store::open_read_only(&self.state_dir).map_err(|error| failed(&error))?;
        let bans = standing::bans(&db).map_err(|cause| failed(&self.unreadable(cause)))?;
        let now = clock::now();
        Ok(bans.into_iter().filter(|ban| !ban.until.is_over(now)).collect())
    }

    fn unreadable(&self, cause: rusqlite::Error) -> StoreError {
        StoreError::Database { tried: "read", path: self.state_dir.join(store::FILE), cause }
    }
}

impl Held {
    fn write(&mut self, write: Write) -> Result<(), Failure> {
        let said = self.store.keep(write).map_err(|error| failed(&error))?;
        self.said.extend(said.map(|said| format!("; {said}")));
        Ok(())
    }

    fn bans(&mut self) -> Result<Vec<Ban>, Failure> {
        let now = clock::now();
        let bans = self.store.read_or_rescue(standing::bans).map_err(|error| failed(&error))?;
        Ok(bans.into_iter().filter(|ban| !ban.until.is_over(now)).collect())
    }

    fn ledger(&mut self) -> Result<Ledger, Failure> {
        let mut ledger = Ledger::default();
        for ban in self.bans()? {
            ledger.ban(ban);
        }
        Ok(ledger)
    }
}

/// Takes out of the ledger what the daemon would: the bans of a prefix, and jails' bans of networks around it.
fn lift(ledger: &mut Ledger, prefix: Prefix, jail: Option<&JailName>) -> Vec<Ban> {
    let mut gone = ledger.unban(prefix, jail);
    let is_net = |ban: &Ban| ban.origin == Origin::Local && !is_point(ban.prefix);
    let is_meant = |ban: &Ban| is_net(ban) && jail.is_none_or(|jail| *jail == ban.jail);
    for net in ledger.covering(prefix).into_iter().filter(is_meant) {
        gone.extend(ledger.unban(net.prefix, Some(&net.jail)));
    }
    gone
}

/// As what jails ban an address.
fn source(prefix: Prefix) -> Prefix {
    if prefix.is_host() && !prefix.is_ipv4() { prefix.widened(64) } else { prefix }
}

/// What the store's trouble means for the exit status.
pub(super) fn failed(error: &StoreError) -> Failure {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    let denied = match error {
        StoreError::Directory { cause, .. } | StoreError::Lock { cause, .. } => {
            cause.kind() == std::io::ErrorKind::PermissionDenied
        }
        StoreError::Database { cause, .. } => {
            // What root cannot open is no matter of rights.
            !rustix::process::geteuid().is_root()
                && matches!(cause.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
        }
        StoreError::Taken { .. } => return Failure::new(exit::TAKEN, error.to_string()),
        StoreError::Newer { .. } | StoreError::Shared { .. } | StoreError::Link { .. } => false,
    };
    let (code, cure) = if denied { (exit::NOT_PERMITTED, "; run it as root") } else { (exit::NO, "") };
    Failure::new(code, format!("{error}{cure}"))
}

/// Every action that may have left something in the kernel.
pub(super) fn kernel_actions() -> Result<Vec<Box<dyn Action>>, Failure> {
    let mut open = Vec::new();
    for kind in actions::KINDS.iter().filter(|kind| kind.is_automatic) {
        match (kind.open)() {
            Ok(action) => open.push(action),
            Err(ActionError::NotSupported { .. }) => {}
            Err(error) => return Err(refused(&error)),
        }
    }
    Ok(open)
}

/// Takes what `prefixes` had in the kernel out of it, but for what the ledger still wants there.
///
/// `outright`: whatever the jail; so an element goes even if the store knows nothing of it.
fn lift_from_kernel(
    prefixes: &[Prefix],
    ledger: &Ledger,
    outright: bool,
    now: Timestamp,
) -> Result<(), Failure> {
    let wanted = Projection::of(ledger, &NeverBan::default());
    for mut action in kernel_actions()? {
        let installed = match action.installed(now) {
            Ok(installed) => installed,
            Err(ActionError::NotSupported { .. }) => continue,
            Err(error) => return Err(refused(&error)),
        };
        let touched = |prefix: Prefix| prefixes.iter().any(|lifted| lifted.contains(prefix));
        let changes: Vec<Change> = wanted
            .reconcile(&installed, now)
            .into_iter()
            .filter(|change| match change {
                Change::Remove(element) => {
                    touched(element.prefix)
                        && (outright || element.scope == Scope::All || is_of(element, ledger))
                }
                // Only what was there may be there again: this command adds no ban.
                Change::Set(element, _) => installed.keys().any(|old| old.prefix.contains(element.prefix)),
            })
            .collect();
        if !installed.is_empty() && !changes.is_empty() {
            action.apply(&changes, now).map_err(|error| refused(&error))?;
        }
    }
    Ok(())
}

/// True if the ledger has no ban of this element's scope left.
fn is_of(element: &pillory_core::ledger::Element, ledger: &Ledger) -> bool {
    ledger.of(element.prefix).iter().all(|ban| ban.scope != element.scope)
}
