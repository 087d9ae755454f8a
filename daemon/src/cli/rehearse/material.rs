//! What is rehearsed: the records of the given files, or of everything that this host's jails read, and for the time
//! before these the attempts that the daemon kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pillory_core::config::{Config, Enabled, JailConfig};
use pillory_core::event::Outcome;
use pillory_core::jail::JailIndex;
use pillory_core::jail::networks::Networks;
use pillory_core::jail::never::{NeverBan, Why};
use pillory_core::machine::Machine;
use pillory_core::rehearse::Seen;
use pillory_core::rehearse::curve::Setting;
use pillory_core::rehearse::good::BEFORE;
use pillory_core::time::Timestamp;

use crate::allowed::{self, Allowed};
use crate::cli::scan::{self, By, Scanned, Scanner, ToRead, Unread};
use crate::cli::{Failure, complain, exit};
use crate::discover::{self, ActiveJail, Places};
use crate::engine::jails::Facts;
use crate::sources::past;
use crate::store::query;
use crate::{clock, facts, geo, store};

use super::{Rehearse, Since};

/// Everything that is replayed, and where it comes from.
pub(super) struct Material {
    /// The policy with the jails that have something to read, in the order of their indexes.
    pub(super) config: Config,
    never: NeverBan,
    /// The database of networks, also for a policy that this one is compared with.
    networks: Option<Arc<dyn Networks>>,
    /// In order of time.
    pub(super) seen: Vec<Seen>,
    pub(super) scanned: Vec<Scanned>,
    pub(super) unread: Vec<Unread>,
    /// So many attempts come from the store.
    pub(super) stored: u64,
    /// So many records had no room.
    pub(super) left_out: u64,
    /// Bans that were in force here meanwhile: what they stopped is in no log.
    pub(super) earlier_bans: u64,
}

impl Material {
    /// Reads all that this policy's jails read.
    pub(super) fn read(asked: &Rehearse, config: Config) -> Result<Material, Failure> {
        let is_own = asked.files.is_empty();
        let (config, active) = jails(config, is_own);
        if config.jails.is_empty() {
            return Err(Failure::new(exit::NO, "no jail has anything to read here; name log files"));
        }
        let mut scanner = Scanner::new(&config, None)?;
        scanner.collect();
        let (scanned, unread) = if is_own {
            scan::read(own_files(&active).into_iter(), &mut scanner)
        } else {
            let files = scan::each_once(&asked.files);
            scan::read(files.map(|path| ToRead { path: path.clone(), by: By::Content }), &mut scanner)
        };
        let collected = scanner.into_collected();
        let never = never_banned(&config, is_own);
        let (networks, unusable) = geo::open(&config.geo);
        unusable.iter().for_each(|reason| complain(reason));
        let mut material = Material {
            config,
            never,
            networks,
            seen: collected.seen,
            scanned,
            unread,
            stored: 0,
            left_out: collected.left_out,
            earlier_bans: 0,
        };
        if is_own {
            material.add_stored(&asked.state.state_dir);
        }
        material.seen.sort_by_key(|record| record.time);
        if let Some(since) = asked.since {
            material.begin(since, is_own);
        }
        Ok(material)
    }

    /// A machine with nothing counted that judges by `config`.
    pub(super) fn machine(&self, config: &Config, setting: Option<Setting>) -> Machine {
        let mut machine = super::machine(config, &self.never, setting);
        machine.judge.networks.clone_from(&self.networks);
        machine
    }

    /// Another policy, cut down to the same jails, if these read the same.
    pub(super) fn reads_alike(&self, asked: &Rehearse, config: &Config) -> Option<Config> {
        let (config, _) = jails(config.clone(), asked.files.is_empty());
        let reading = |jail: &JailConfig| {
            (jail.name.clone(), format!("{:?} {:?} {:?}", jail.filter, jail.logpath, jail.backend))
        };
        let is_alike = config.jails.iter().map(reading).eq(self.config.jails.iter().map(reading));
        is_alike.then_some(config)
    }

    /// True if there are logs that this user may not read, and root may.
    pub(super) fn is_kept_out(&self) -> bool {
        scan::is_kept_out(&self.scanned, &self.unread)
    }

    /// True if all that was asked for could be read.
    pub(super) fn is_whole(&self) -> bool {
        self.unread.is_empty() && self.scanned.iter().all(|file| file.trouble.is_none())
    }

    /// Adds the kept attempts of each jail from the time before its logs begin.
    fn add_stored(&mut self, state_dir: &Path) {
        if !state_dir.join(store::FILE).exists() {
            return;
        }
        let begins: Vec<Timestamp> = self
            .config
            .jails
            .iter()
            .map(|jail| {
                let read_it = |file: &&Scanned| file.jails.iter().any(|name| name == jail.name.as_str());
                let of_jail = self.scanned.iter().filter(read_it).map(|file| file.first);
                of_jail.min().unwrap_or(Timestamp::from_millis(i64::MAX))
            })
            .collect();
        let kept = store::open_read_only(state_dir).map_err(|error| error.to_string()).and_then(|db| {
            let wanted = query::Wanted { until: begins.iter().max().copied(), ..query::Wanted::default() };
            let attempts = query::attempts(&db, &wanted).map_err(|error| error.to_string())?;
            let times = self.seen.iter().map(|record| record.time);
            let since = times.chain(attempts.iter().map(|(_, attempt)| attempt.time)).min();
            let wanted = query::Wanted { since, ..query::Wanted::default() };
            let history = query::history(&db, &wanted).map_err(|error| error.to_string())?;
            Ok((attempts, history.iter().filter(|(_, row)| row.what == "ban").count() as u64))
        });
        let (attempts, bans) = match kept {
            Ok(kept) => kept,
            Err(error) => return complain(&format!("what the daemon kept is left out: {error}")),
        };
        self.earlier_bans = bans;
        for (_, attempt) in attempts {
            let at = self.config.jails.iter().position(|jail| jail.name == attempt.jail);
            let Some(at) = at.filter(|at| attempt.time < begins[*at]) else { continue };
            self.stored += u64::from(attempt.tries);
            self.seen.push(Seen::of_attempt(at as JailIndex, &attempt));
        }
    }

    /// Drops what is older; good logins of the month before stay, as they make places known.
    fn begin(&mut self, since: Since, is_own: bool) {
        let since = match since {
            Since::At(at) => at,
            Since::Back(span) if is_own => clock::now() - span,
            Since::Back(span) => self.seen.last().map_or_else(clock::now, |last| last.time) - span,
        };
        self.seen.retain(|record| {
            let is_login = matches!(record.event.outcome, Outcome::Success);
            record.time >= since || is_login && record.time >= since - BEFORE
        });
    }
}

/// The policy cut down to the jails that count: those that run on this host, or all that are not switched off.
fn jails(mut config: Config, is_own: bool) -> (Config, Vec<ActiveJail>) {
    if !is_own {
        config.jails.retain(|jail| jail.enabled != Enabled::No);
        return (config, Vec::new());
    }
    let (active, idle) = discover::active_jails(&config, &Places::host());
    idle.iter().for_each(|why| complain(why));
    config.jails = active.iter().map(|jail| jail.config.clone()).collect();
    (config, active)
}

/// Every file and directory that jails read here, each with its jails.
fn own_files(active: &[ActiveJail]) -> Vec<ToRead> {
    let mut by_path: BTreeMap<PathBuf, Vec<usize>> = BTreeMap::new();
    for (at, jail) in active.iter().enumerate() {
        for path in jail.wanted.iter().flat_map(past::files_of) {
            // Links to one log are one log.
            let jails = by_path.entry(std::fs::canonicalize(&path).unwrap_or(path)).or_default();
            if !jails.contains(&at) {
                jails.push(at);
            }
        }
    }
    by_path.into_iter().map(|(path, jails)| ToRead { path, by: By::Just(jails) }).collect()
}

/// Who is never banned: as configured, and with this host's own logs what it knows of itself. Sessions that are open
/// now tell nothing of the past.
fn never_banned(config: &Config, is_own: bool) -> NeverBan {
    let nobody = Allowed::default();
    let mut facts = match is_own {
        true => facts::read_once(&allowed::names(config, &nobody)).unwrap_or_default(),
        false => Facts::default(),
    };
    facts.never.retain(|(_, why)| *why != Why::Session);
    allowed::never(config, &nobody, &facts)
}
