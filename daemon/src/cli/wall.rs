//! `pillory wall`: the offenders as a folder of pages, made of what the store keeps.

use std::path::PathBuf;

use pillory_core::net::PrefixSet;
use pillory_core::wall::Spared;

use crate::allowed::{self, Allowed, META_ALLOWED};
use crate::outputs::wall::{self, FolderError, Site};
use crate::store::{self, StoreError, query, shown};
use crate::{clock, facts};

use super::configfile::load_config;
use super::offline::{State, failed};
use super::{Failure, Outcome, count, exit, print, print_json};

/// `pillory wall`
#[derive(Debug, clap::Args)]
pub(crate) struct Wall {
    /// The directory that the pages are made in; it holds nothing else.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Where people write who want to be left out: an address of mail or of the web; `contact` of `[wall]` otherwise.
    #[arg(long, value_name = "TEXT")]
    contact: Option<String>,
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    state: State,
    /// JSON instead of text.
    #[arg(long, short = 'j')]
    json: bool,
}

const NO_CONTACT: &str = "who is listed must know where to write; name a --contact, or contact = \"abuse@example.net\" under [wall] in the configuration";

impl Wall {
    pub(crate) fn run(&self) -> Outcome {
        let config = load_config(self.config.as_deref())?;
        let contact = self.contact.as_deref().or(config.wall.contact.as_deref());
        let contact = contact.filter(|contact| !contact.trim().is_empty());
        let contact = contact.ok_or_else(|| Failure::new(exit::USAGE, NO_CONTACT))?;
        let now = clock::now();
        let path = self.state.state_dir.join(store::FILE);
        let db = store::open_read_only(&self.state.state_dir).map_err(|error| failed(&error))?;
        let unreadable = |cause| failed(&StoreError::Database { tried: "read", path: path.clone(), cause });
        let kept = query::meta(&db, META_ALLOWED).map_err(unreadable)?;
        let allowed = Allowed::restored(kept.as_deref(), now);
        let facts = facts::read_once(&allowed::names(&config, &allowed)).map_err(|error| {
            Failure::new(exit::NO, format!("cannot ask for this host's addresses: {error}"))
        })?;
        let never = allowed::never(&config, &allowed, &facts);
        let spared = Spared {
            never: PrefixSet::new(never.entries().iter().map(|(prefix, _)| *prefix)),
            unlisted: PrefixSet::new(config.wall.unlisted.iter().copied()),
        };
        let rules = &config.wall.rules;
        let past = shown::past(&db, now, rules.delay).map_err(unreadable)?;
        let made = past.wall(rules, &spared);
        let site = Site::new(config.wall.title.as_deref(), contact, rules.clone());
        let written = wall::build(&site, &made, &self.out).map_err(|error| refused(&error))?;
        let offenders = made.offenders.len();
        if self.json {
            let (changed, unchanged, removed) = (written.changed, written.unchanged, written.removed);
            print_json(
                &serde_json::json!({"offenders": offenders, "changed": changed, "unchanged": unchanged,
                "removed": removed}),
            )?;
        } else {
            let who = count(offenders as u64, "offender");
            let files = count(written.changed as u64, "file");
            print(&format!("{who} in {}; {files} changed\n", self.out.join("index.html").display()))?;
        }
        Ok(0)
    }
}

fn refused(error: &FolderError) -> Failure {
    let code = match error {
        FolderError::System { cause, .. } if cause.kind() == std::io::ErrorKind::PermissionDenied => {
            exit::NOT_PERMITTED
        }
        FolderError::Foreign { .. } | FolderError::Shared { .. } => exit::USAGE,
        FolderError::System { .. } | FolderError::Page { .. } => exit::NO,
    };
    Failure::new(code, error.to_string())
}
