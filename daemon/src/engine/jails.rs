//! From a configuration to running jails: filters compiled, feeds numbered, who reads what.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use tracing::{info, warn};

use pillory_core::config::Config;
use pillory_core::event::JailName;
use pillory_core::filter::{Filter, btmp};
use pillory_core::jail::lines::Reach;
use pillory_core::jail::names::Names;
use pillory_core::jail::never::Why;
use pillory_core::jail::{Jail, JailIndex, Judge};
use pillory_core::machine::{Extractor, Machine, ScopeRule};
use pillory_core::net::Prefix;

use crate::cli::fail2ban;
use crate::discover::ActiveJail;
use crate::geo;
use crate::kernel::JailPorts;
use crate::ports;
use crate::sources::{Feed, FeedId, KINDS, Wanted};

/// What the host knows at some moment.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Who of the host itself is never banned: own addresses, gateways, name servers, open sessions.
    pub(crate) never: Vec<(Prefix, Why)>,
    /// The networks that the host is in.
    pub(crate) networks: Vec<Prefix>,
    /// Addresses that this host itself has connections to.
    pub(crate) talks_to: HashSet<IpAddr>,
    /// Accounts of this host; nothing if they did not change.
    pub(crate) accounts: Option<HashSet<String>>,
    /// Every name that is followed, with the addresses that it is known to have.
    pub(crate) named: Vec<(String, IpAddr)>,
    /// What is wrong with those names, or left out of the rest, in words.
    pub(crate) troubles: Vec<String>,
}

/// A jail with one of its readers.
pub(crate) type Reader = (JailIndex, usize);

/// Who reads what.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    by_feed: HashMap<FeedId, Vec<Reader>>,
    /// The feeds, each thing wanted once.
    pub(crate) feeds: Vec<Feed>,
    /// Kinds of sources that have feeds.
    pub(crate) kinds: Vec<&'static str>,
    /// Ports of each jail.
    pub(crate) ports: JailPorts,
    /// What of the configuration cannot be as it is meant, for `status`.
    pub(crate) warnings: Vec<String>,
}

impl Readers {
    /// The jails that read this feed.
    pub(crate) fn of(&self, feed: FeedId) -> &[Reader] {
        self.by_feed.get(&feed).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, what: &Wanted, reader: Reader) {
        let known = self.feeds.iter().find(|feed| feed.what == *what).map(|feed| feed.id);
        let id = known.unwrap_or_else(|| {
            let id = FeedId::try_from(self.feeds.len()).unwrap_or(FeedId::MAX);
            self.feeds.push(Feed { id, what: what.clone() });
            id
        });
        self.by_feed.entry(id).or_default().push(reader);
    }
}

/// At most so many sources are counted at once; few where the simulator plays.
pub(crate) const MAX_TRACKED: usize = if cfg!(test) { 16 } else { 1_000_000 };

/// Builds the machine of a configuration and says who reads what.
/// # Errors
/// Every expression that cannot be used, in words.
pub(crate) fn build(
    config: &Config,
    (active, idle): &(Vec<ActiveJail>, Vec<String>),
    accounts: HashSet<String>,
) -> Result<(Machine, Readers), Vec<String>> {
    let mut readers = Readers::default();
    let mut problems = Vec::new();
    let mut jails = Vec::new();
    let mut extractors = Vec::new();
    for (index, jail) in active.iter().enumerate() {
        let index = JailIndex::try_from(index).unwrap_or(JailIndex::MAX);
        let mut own = Vec::new();
        for what in &jail.wanted {
            match extractor(jail, what) {
                Ok(extractor) => {
                    readers.add(what, (index, own.len()));
                    own.push(extractor);
                }
                Err(reasons) => problems.extend(
                    reasons
                        .into_iter()
                        .map(|reason| format!("jail {:?}: {reason}", jail.config.name.as_str())),
                ),
            }
        }
        extractors.push(own);
        let lines = jail.config.lines.as_ref().map(|lines| lines.rules.clone());
        jails.push(Jail { name: jail.config.name.clone(), policy: jail.config.policy.clone(), lines });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let takers = KINDS.iter().filter(|kind| readers.feeds.iter().any(|feed| (kind.takes)(&feed.what)));
    readers.kinds = takers.map(|kind| kind.name).collect();
    let (ports, unknown) = ports::of_jails(active);
    readers.ports = ports;
    let (networks, unusable) = geo::open(&config.geo);
    readers.warnings = idle.iter().cloned().chain(unknown).chain(unusable).collect();
    for reason in &readers.warnings {
        warn!(%reason, "not as configured");
    }
    say_portless(&mut readers, active, config.scope);
    let good_users = config.goodusers.iter().cloned().collect();
    let names = Names::new(accounts, good_users, config.goodusers_never_ban);
    let mut judge = Judge::new(jails, names, config.proxy_set(), MAX_TRACKED);
    judge.decoys = config.decoys;
    judge.networks = networks;
    judge.past.set_memory(config.retention);
    let mut machine = Machine::new(judge, extractors, config.scope);
    machine.set_widening(config.widen.clone());
    machine.set_fuse(config.fuse);
    Ok((machine, readers))
}

/// Says whose bans cannot be limited to ports. It matters for each of them if the configuration asks for that.
fn say_portless(readers: &mut Readers, active: &[ActiveJail], scope: ScopeRule) {
    // Jails that only run commands, or shut everything out, need none.
    let needs = |jail: &JailName| {
        let of_jail = active.iter().find(|known| known.config.name == *jail);
        of_jail
            .and_then(|jail| jail.config.lines.as_ref())
            .is_none_or(|lines| lines.rules.reach == Reach::Ports)
    };
    let portless =
        readers.ports.iter().filter(|(jail, ports)| ports.is_empty() && needs(jail)).map(|(jail, _)| jail);
    for jail in portless {
        let what = "no port of this jail is known: a ban limited to its ports holds for all; set `port`";
        match scope {
            ScopeRule::All => {}
            ScopeRule::Auto => info!(%jail, "{what}"),
            ScopeRule::Ports => {
                warn!(%jail, "{what}");
                readers.warnings.push(format!("jail {jail}: {what}"));
            }
        }
    }
}

fn extractor(jail: &ActiveJail, what: &Wanted) -> Result<Extractor, Vec<String>> {
    match what {
        Wanted::Btmp(_) => Ok(Extractor::Btmp(btmp::Layout::native())),
        Wanted::Lines(_) | Wanted::Journal { .. } => {
            let extractor = match &jail.config.lines {
                Some(lines) if !lines.rules.by_attempts => fail2ban::compile(&jail.config.filter, lines)
                    .map(|filter| Extractor::Lines(Box::new(filter))),
                _ => Filter::compile(&jail.config.filter).map(|filter| Extractor::Text(Box::new(filter))),
            };
            extractor.map_err(|errors| errors.iter().map(ToString::to_string).collect())
        }
    }
}
