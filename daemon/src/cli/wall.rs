//! `pillory wall`: the offenders as a folder of pages or as text, made of what the store keeps.

use std::path::{Path, PathBuf};

use pillory_core::config::{Config, Wall as Configured, keys};

use crate::allowed::{self, Allowed, META_ALLOWED};
use crate::engine::META_PROXIES;
use crate::engine::learning::{Learning, META_LEARNT};
use crate::outputs::publisher::{self, Edition, PublishError};
use crate::outputs::wall::{FolderError, Written, take_down, text};
use crate::store::{self, StoreError, query, spill};
use crate::unlisted::{META_UNLISTED, Unlisted, pages};
use crate::{clock, facts, geo, guard};

use super::configfile::Place;
use super::offline::{State, failed};
use super::{CONTROL, Failure, Outcome, complain, count, exit, print, print_json};

/// `pillory wall`
#[derive(Debug, clap::Args)]
pub(crate) struct Wall {
    /// The directory that the pages are made in, which holds nothing else; `out` of `[wall]` otherwise.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Prints the offenders, a line each, and makes no pages.
    #[arg(long, conflicts_with_all = ["out", "contact", "json"])]
    text: bool,
    /// Where people write who want to be left out: an address of mail or of the web; `contact` of `[wall]` otherwise.
    #[arg(long, value_name = "TEXT", value_parser = keys::line)]
    contact: Option<String>,
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The fail2ban directory whose jails the daemon runs, if it was given one.
    #[arg(long, value_name = "DIR")]
    fail2ban: Option<PathBuf>,
    #[command(flatten)]
    state: State,
    /// JSON instead of text.
    #[arg(long, short = 'j')]
    json: bool,
}

impl Wall {
    /// Makes the pages that are configured anew, after a change while no daemon runs; what became of them, if there are some.
    /// `is_owed`: somebody is to be left out, so if there can be no new ones the old ones go.
    /// # Errors
    /// As of the command.
    pub(super) fn again(
        place: &Place,
        state: &State,
        is_owed: bool,
    ) -> Result<Option<&'static str>, Failure> {
        let (_, config) = place.load()?;
        let Some(out) = &config.wall.out else { return Ok(None) };
        match make(state, &config, config.wall.clone(), is_owed) {
            Ok(_) => Ok(Some(pages::MADE)),
            Err(failure) if is_owed => {
                take_down(out).map_err(|_| Failure::new(failure.exit, failure.message.clone()))?;
                complain(&failure.message);
                Ok(Some(pages::DOWN))
            }
            Err(failure) => Err(failure),
        }
    }

    pub(crate) fn run(&self) -> Outcome {
        let place = Place { file: self.config.clone(), fail2ban: self.fail2ban.clone() };
        let (_, config) = place.load()?;
        let mut wall = config.wall.clone();
        wall.out = self.out.clone().or(wall.out);
        wall.contact = self.contact.clone().or(wall.contact);
        if self.text {
            let shown = publisher::look(&edition(&self.state, &config, wall)?, &self.state.state_dir);
            print(&text(&shown.map_err(|error| failed(&error))?))?;
            return Ok(0);
        }
        let out = wall.out.clone().unwrap_or_default();
        let (offenders, written) = make(&self.state, &config, wall, false)?;
        if self.json {
            let (changed, unchanged, removed) = (written.changed, written.unchanged, written.removed);
            print_json(
                &serde_json::json!({"offenders": offenders, "changed": changed, "unchanged": unchanged,
                "removed": removed}),
            )?;
        } else {
            let who = count(offenders as u64, "offender");
            let files = count(written.changed as u64, "file");
            print(&format!("{who} in {}; {files} changed\n", out.join("index.html").display()))?;
        }
        Ok(0)
    }
}

/// Makes the pages; how many offenders they show, and what was written. `is_owed`: see [`Wall::again`].
fn make(
    state: &State,
    config: &Config,
    wall: Configured,
    is_owed: bool,
) -> Result<(usize, Written), Failure> {
    let configured = wall.clone();
    let folder = publisher::open(&configured, &|| false).map_err(|error| refused(&error))?;
    let (networks, unusable) = geo::open(&config.geo);
    unusable.iter().for_each(|reason| complain(reason));
    let edition = Edition { networks, ..edition(state, config, wall)? };
    publisher::make(folder, &edition, &state.state_dir, is_owed).map_err(|error| refused(&error))
}

/// What is to be shown, but for whose networks there are. Spared is who is never banned, by the configuration, `pillory allow`
/// and what this host knows of itself, and who was left out by `pillory unlist`. Nothing is shown while the store does not
/// know all of them.
fn edition(state: &State, config: &Config, mut wall: Configured) -> Result<Edition, Failure> {
    let holder = guard::holder().and_then(|holder| holder.control);
    let controls = holder.iter().map(PathBuf::as_path).chain([Path::new(CONTROL)]);
    if let Some(spill) = controls.into_iter().find_map(|control| spill::waits(control, &state.state_dir)) {
        let why = "who is to be left out may stand there and not in the store, whose disk took nothing; make room there, \
                   and start the daemon if it does not run";
        return Err(Failure::new(
            exit::NO,
            format!("no pages are made while there is {}: {why}", spill.display()),
        ));
    }
    let db = store::open_read_only(&state.state_dir).map_err(|error| failed(&error))?;
    let path = state.state_dir.join(store::FILE);
    let unreadable = |cause| failed(&StoreError::Database { tried: "read", path: path.clone(), cause });
    let meta = |key| query::meta(&db, key).map_err(unreadable);
    if Learning::of_kept(meta(META_LEARNT)?.as_deref()).is_some_and(|learning| !learning.is_done) {
        let why =
            "the daemon has not yet learnt who logs in here, and they are not to be shown; try again soon";
        return Err(Failure::new(exit::NO, why));
    }
    let allowed = Allowed::restored(meta(META_ALLOWED)?.as_deref(), clock::now());
    let facts = facts::read_once(&allowed::names(config, &allowed))
        .map_err(|error| Failure::new(exit::NO, format!("cannot ask for this host's addresses: {error}")))?;
    let never = allowed::never(config, &allowed, &facts);
    let ignored = config.jails.iter().filter_map(|jail| Some(&jail.lines.as_ref()?.rules.ignore));
    let never = publisher::never_shown(&never, ignored, &meta(META_PROXIES)?.unwrap_or_default());
    let unlisted = Unlisted::restored(meta(META_UNLISTED)?.as_deref());
    if let Some(problem) = unlisted.problem() {
        return Err(Failure::new(exit::NO, problem));
    }
    wall.unlisted.extend(unlisted.prefixes());
    Ok(Edition { wall, never, users: config.goodusers.clone(), networks: None })
}

fn refused(error: &PublishError) -> Failure {
    let denied = std::io::ErrorKind::PermissionDenied;
    let code = match error {
        PublishError::Store(error) => return failed(error),
        PublishError::Folder(FolderError::System { cause, .. }) if cause.kind() == denied => {
            exit::NOT_PERMITTED
        }
        PublishError::Folder(
            FolderError::System { .. }
            | FolderError::Busy { .. }
            | FolderError::Page { .. }
            | FolderError::Stopped,
        ) => exit::NO,
        PublishError::NoContact => {
            return Failure::new(exit::USAGE, format!("{error}, or name a --contact"));
        }
        PublishError::NoPlace => {
            return Failure::new(exit::USAGE, format!("{error}, or name one with --out"));
        }
        PublishError::Folder(_) => exit::USAGE,
    };
    Failure::new(code, error.to_string())
}
