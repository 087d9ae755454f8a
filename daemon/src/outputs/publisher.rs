//! Makes the wall of what the store keeps: for the command, and in the daemon by a thread of its own, for reading a long
//! past takes seconds and writing pages longer, and no ban waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::Receiver;

use pillory_core::config::Wall;
use pillory_core::jail::networks::Networks;
use pillory_core::jail::never::NeverBan;
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::wall::{Spared, Wall as Shown};

use crate::escape::escape;
use crate::store::{StoreError, shown};
use crate::{clock, fault};

use super::wall::{self, FolderError, Site, Written};

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
    Make(Box<Edition>),
    /// None in this directory until then.
    TakeDown(PathBuf),
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

/// Does what is ordered, and says what came of it. Ends with those who order or hear. `stop`: raised if it
/// shall end soon.
pub(crate) fn run(
    state_dir: &Path,
    orders: &Receiver<PageOrder>,
    stop: &AtomicBool,
    said: impl Fn(Result<(), String>) -> bool,
) {
    // It waits for everything else: nobody waits for it.
    let _ = rustix::process::setpriority_process(None, 19);
    for order in orders {
        let done = || match &order {
            PageOrder::Make(edition) => make(edition, state_dir, stop).map(drop),
            PageOrder::TakeDown(out) => wall::take_down(out, stop).map_err(PublishError::from),
        };
        // A fault in a page shall not end the daemon.
        let made = fault::outlive(done);
        let made = made.map_err(|fault| format!("a fault in Pillory ({}); please report it", escape(&fault)));
        if !said(made.and_then(|made| made.map_err(|error| error.to_string()))) {
            return;
        }
    }
}

/// Makes the pages. Returns how many offenders they show, and what was written.
/// # Errors
/// [`PublishError`]
pub(crate) fn make(
    edition: &Edition,
    state_dir: &Path,
    stop: &AtomicBool,
) -> Result<(usize, Written), PublishError> {
    let Wall { contact, title, rules, out, .. } = &edition.wall;
    let contact = contact.as_deref().ok_or(PublishError::NoContact)?;
    let out = out.as_deref().ok_or(PublishError::NoPlace)?;
    let shown = look(edition, state_dir)?;
    let site = Site::new(title.as_deref(), contact, rules.clone());
    Ok((shown.offenders.len(), wall::build(&site, &shown, out, stop)?))
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
