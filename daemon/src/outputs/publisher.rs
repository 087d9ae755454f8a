//! Makes the wall of what the store keeps: for the command, and in the daemon by a thread of its own, for reading a long
//! past takes seconds and writing pages longer, and no ban waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Receiver;

use pillory_core::config::Wall;
use pillory_core::jail::networks::Networks;
use pillory_core::jail::never::NeverBan;
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::wall::{Spared, Wall as Shown};

use crate::escape::escape;
use crate::store::{StoreError, shown};
use crate::{clock, fault};

use super::wall::{self, Folder, FolderError, Site, Stop, Written};

/// What pages are to be made of.
#[derive(Debug)]
pub(crate) struct Edition {
    /// What is configured, with the place and the contact.
    pub(crate) wall: Wall,
    /// Who is never banned: see [`never_shown`].
    pub(crate) never: PrefixSet,
    /// Users of this host that the administrator named.
    pub(crate) users: Vec<String>,
    /// Whose networks there are, if somebody knows.
    pub(crate) networks: Option<Arc<dyn Networks>>,
}

/// What the daemon orders.
#[derive(Debug)]
pub(crate) enum PageOrder {
    /// Fresh pages.
    Make(Box<Edition>, Errand),
    /// None in this directory until then.
    TakeDown(PathBuf),
}

/// How an edition is to be made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Errand {
    /// Raised if another one follows that shows less: this one is not to be gone on with.
    pub(crate) given_up: Arc<AtomicBool>,
    /// Somebody who asked to be left out may be on the pages that are there, so none of them stays.
    pub(crate) is_owed: bool,
}

/// That pages are not as they should be.
#[derive(Debug)]
pub(crate) struct NotFresh {
    /// Why, in words.
    pub(crate) why: String,
    /// See [`Errand`]: it is still owed.
    pub(crate) is_owed: bool,
}

/// Why there are no fresh pages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// Nobody said where who is listed may write.
    #[error(
        "who is listed must know where to write; set contact = \"abuse@example.net\" under [wall] in the configuration"
    )]
    NoContact,
    /// Nobody said where.
    #[error("no directory is named; set out = \"/var/www/wall\" under [wall] in the configuration")]
    NoPlace,
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pages cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Does what is ordered, and says what came of editions that were not given up, and of pages that could not be taken down.
/// Ends with those who order or hear. `stop`: raised if it shall end soon; then no page stays that is owed to somebody.
pub(crate) fn run(
    state_dir: &Path,
    orders: &Receiver<PageOrder>,
    stop: &AtomicBool,
    said: impl Fn(Result<(), NotFresh>) -> bool,
) {
    // It waits for everything else: nobody waits for it.
    let _ = rustix::process::setpriority_process(None, 19);
    for order in orders {
        // A fault in a page shall not end the daemon.
        let made = fault::outlive(|| obey(&order, state_dir, stop));
        if let Ok(Ok(None)) = made {
            continue;
        }
        let made = made.map_err(|fault| format!("a fault in Pillory ({}); please report it", escape(&fault)));
        let made = made.and_then(|made| made.map(drop).map_err(|error| error.to_string()));
        let is_owed = !matches!(&order, PageOrder::Make(_, Errand { is_owed: false, .. }));
        if !said(made.map_err(|why| NotFresh { why, is_owed })) {
            return;
        }
    }
}

/// Does it; nothing if there is nothing to say of it.
fn obey(order: &PageOrder, state_dir: &Path, stop: &AtomicBool) -> Result<Option<()>, PublishError> {
    let (edition, Errand { given_up, is_owed }) = match order {
        PageOrder::Make(edition, errand) => (edition, errand),
        PageOrder::TakeDown(out) => return Ok(wall::take_down(out).map(|()| None)?),
    };
    let is_raised = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
    let is_over = || is_raised(stop) || is_raised(given_up);
    let made = open(&edition.wall, &is_over).and_then(|folder| make(folder, edition, state_dir, *is_owed));
    match made {
        Err(PublishError::Folder(FolderError::Stopped)) if is_raised(given_up) => Ok(None),
        Err(PublishError::Folder(FolderError::Stopped)) if *is_owed => {
            Ok(edition.wall.out.as_deref().map_or(Ok(()), wall::take_down).map(|()| None)?)
        }
        made => made.map(|_| Some(())),
    }
}

/// Opens the folder of pages that is configured.
/// # Errors
/// [`PublishError`]
pub(crate) fn open<'s>(configured: &Wall, stop: Stop<'s>) -> Result<Folder<'s>, PublishError> {
    configured.contact.as_deref().ok_or(PublishError::NoContact)?;
    let out = configured.out.as_deref().ok_or(PublishError::NoPlace)?;
    Ok(Folder::open(out, stop)?)
}

/// Makes the pages. Returns how many offenders they show, and what was written. `is_owed`: see [`Errand`].
/// # Errors
/// [`PublishError`]
pub(crate) fn make(
    folder: Folder<'_>,
    edition: &Edition,
    state_dir: &Path,
    is_owed: bool,
) -> Result<(usize, Written), PublishError> {
    let Wall { contact, title, rules, .. } = &edition.wall;
    let contact = contact.as_deref().ok_or(PublishError::NoContact)?;
    let shown = look(edition, state_dir)?;
    let site = Site::new(title.as_deref(), contact, rules.clone());
    Ok((shown.offenders.len(), wall::build(folder, &site, &shown, is_owed)?))
}

/// What may be shown.
/// # Errors
/// [`StoreError`]
pub(crate) fn look(edition: &Edition, state_dir: &Path) -> Result<Shown, StoreError> {
    let Wall { rules, unlisted, .. } = &edition.wall;
    let past = shown::past(state_dir, clock::now(), rules.delay)?;
    let unlisted = PrefixSet::new(unlisted.iter().copied());
    let mut shown =
        past.wall(rules, &Spared { never: edition.never.clone(), unlisted, users: edition.users.clone() });
    if let Some(networks) = &edition.networks {
        shown.place(networks.as_ref());
    }
    Ok(shown)
}

/// Who is never banned, wherever that is said: by the host and the configuration, by the jails of a fail2ban directory,
/// and by what jails presume of proxies. `proxies`: as `Proxies::kept` tells of them.
pub(crate) fn never_shown<'a>(
    never: &NeverBan,
    ignored: impl IntoIterator<Item = &'a PrefixSet>,
    proxies: &str,
) -> PrefixSet {
    let presumed = proxies.lines().filter_map(|line| line.split_once(' ')?.1.parse().ok());
    let ignored = ignored.into_iter().flat_map(|ignored| ignored.prefixes());
    let known = never.entries().iter().map(|(prefix, _)| prefix).chain(ignored).copied();
    PrefixSet::new(known.chain(presumed.map(Prefix::host)))
}
