//! What a starting daemon takes over: from the store, from wtmp, and from the kernel.

use std::collections::HashMap;
use std::path::Path;

use tracing::{debug, info, warn};

use pillory_core::config::Config;
use pillory_core::event::Event;
use pillory_core::jail::secret::Secret;
use pillory_core::jail::{campaign, trust, widen};
use pillory_core::machine::Machine;
use pillory_core::time::{Span, Timestamp};

use crate::actions::{self, Action, ActionError, Restriction, dryrun};
use crate::allowed::{self, Allowed};
use crate::engine::jails::{Facts, Readers};
use crate::engine::learning::{Learning, META_LEARNT};
use crate::engine::restrict;
use crate::engine::{META_IDENTITIES, META_OFF, META_PROXIES, META_RHYTHMS, META_SECRET};
use crate::sources::Position;
use crate::store::META_ANEW;
use crate::store::keeper::Started;
use crate::store::query::Since;
use crate::unlisted::{META_UNLISTED, Unlisted};
use crate::{clock, facts, kernel, ports};

use super::run::refused;
use super::{Failure, exit};

/// Where good logins are recorded.
pub(crate) const WTMP: &str = "/var/log/wtmp";

/// What the sources need from the store.
pub(crate) struct Restored {
    /// How far each stream was read.
    pub(crate) positions: HashMap<String, Position>,
    /// Nothing if `pillory off` is not in force, else until when if that was said.
    pub(crate) off: Option<Option<Timestamp>>,
    /// The store has just begun.
    pub(crate) anew: bool,
    /// What a first start has learnt.
    pub(crate) learning: Learning,
    /// Who is left out of the wall.
    pub(crate) unlisted: Unlisted,
    /// How often logs have lines.
    pub(crate) rhythms: Option<String>,
}

/// What a start has taken over.
pub(crate) struct Taken {
    /// From the store.
    pub(crate) restored: Restored,
    /// Good logins from wtmp.
    pub(crate) wtmp: Vec<Event>,
    /// Who may connect where, as the kernel was told.
    pub(crate) restricted: Vec<Restriction>,
    /// What became of the bans that the store does not tell.
    pub(crate) lost: Option<String>,
    /// The kernel has yet to be looked at point by point.
    pub(crate) is_unseen: bool,
}

/// Takes over what the store, wtmp and the kernel hold, and brings the kernel to the ledger. `allowed` and `facts` say
/// who is never banned.
/// # Errors
/// The store's, for what is not the disk's fault, and the kernel's.
pub(crate) fn take_over(
    (store, wtmp): (&mut Started, &str),
    action: &mut dyn Action,
    (machine, readers): (&mut Machine, &mut Readers),
    config: &Config,
    (allowed, facts): (&Allowed, &Facts),
) -> Result<Taken, Failure> {
    // Who is never banned comes first: nothing is counted for them.
    machine.set_never(allowed::never(config, allowed, facts), &mut Vec::new());
    let restored = restore(store, config, machine)?;
    let wtmp = learn_from_wtmp(Path::new(wtmp), machine);
    ports::add_left_over(&mut readers.ports, &machine.ledger);
    let restricted = match machine.is_enforcing() {
        true => restrict::wanted(config, facts, &machine.judge.never),
        false => Vec::new(),
    };
    let (lost, is_unseen) = prepare(action, machine, readers, &restricted, lost(store, restored.anew))?;
    Ok(Taken { restored, wtmp, restricted, lost, is_unseen })
}

/// Takes over what the store kept.
fn restore(store: &mut Started, config: &Config, machine: &mut Machine) -> Result<Restored, Failure> {
    let now = clock::now();
    // What a network beside a known place may try, it may try once a day.
    let findtimes = config.jails.iter().map(|jail| jail.policy.findtime);
    let longest = findtimes.fold(Span::from_secs(86_400), Span::max);
    let since = Since {
        failures: now - longest,
        strangers: now - campaign::MEMORY,
        logins: now - trust::MEMORY,
        bans: now - widen::EVIDENCE,
        believed: (now, clock::latest_believed()),
    };
    let restored = store.restore(since).map_err(|error| Failure::new(exit::NO, error.to_string()))?;
    for (prefix, jail, when) in &restored.past_bans {
        machine.judge.past.began(*prefix, jail, *when);
        machine.banned_before(jail);
    }
    // Whose names are decoys is asked while the attempts are shown again.
    machine.judge.secret = secret(restored.meta.get(META_SECRET));
    let learnt = restored.meta.get(META_LEARNT).map(String::as_str);
    machine.judge.first_start = Learning::first_start(learnt);
    machine.judge.names.restore_tried(restored.tried);
    machine.restore(restored.bans, &restored.attempts, &restored.turns, restored.last_write);
    say_what_is_on(machine, now);
    if let Some(kept) = restored.meta.get(META_PROXIES) {
        machine.judge.proxies.restore(kept, now);
    }
    if let Some(kept) = restored.meta.get(META_IDENTITIES).filter(|kept| !kept.is_empty()) {
        match serde_json::from_str(kept) {
            Ok(bans) => machine.identities.restore(bans, now),
            Err(error) => {
                warn!(%error, "bans of identities that are no addresses cannot be read; they are gone")
            }
        }
    }
    let off = match restored.meta.get(META_OFF).map(String::as_str) {
        None | Some("") => None,
        Some("on_command") => Some(None),
        Some(until) => until
            .parse()
            .ok()
            .map(|until| Some(Timestamp::from_millis(until)))
            .filter(|until| until.is_none_or(|until| until > now)),
    };
    if off.is_some() {
        machine.set_enforcing(false, now, &mut Vec::new());
        warn!("switched off by `pillory off`; nothing is enforced until `pillory on`");
    }
    let positions = restored.positions.into_iter().map(|(stream, at)| (stream, Position(at))).collect();
    let anew = restored.meta.get(META_ANEW).is_some_and(|mark| !mark.is_empty());
    let learning = Learning::restored(learnt, anew || store.broken.is_some(), now);
    let unlisted = Unlisted::restored(restored.meta.get(META_UNLISTED).map(String::as_str));
    let rhythms = restored.meta.get(META_RHYTHMS).cloned();
    Ok(Restored { positions, off, anew, learning, unlisted, rhythms })
}

/// Tells once a jail which attacks go on that were told before.
fn say_what_is_on(machine: &Machine, now: Timestamp) {
    let alarms = &machine.judge.alarms;
    for jail in machine.judge.jails() {
        let campaign = alarms.campaigns.on(&jail.name, now).map_or(0, |campaign| campaign.members);
        let operators = alarms.campaigns.systems(&jail.name).len();
        let places = alarms.stealth.on(&jail.name).map_or(0, |attack| attack.places);
        if (campaign, operators, places) != (0, 0, 0) {
            info!(jail = %jail.name, campaign, operators, guessing_places = places, "attacks that were on go on");
        }
        if let Some(since) = alarms.outages.on(&jail.name) {
            info!(jail = %jail.name, %since, "still nobody can log in, it seems");
        }
    }
}

/// The host's secret as it was kept, or a new one.
fn secret(kept: Option<&String>) -> Option<Secret> {
    let old = kept.and_then(|kept| Secret::restore(kept));
    let new = || {
        let mut bits = [0u8; 16];
        let got = rustix::rand::getrandom(&mut bits, rustix::rand::GetRandomFlags::empty());
        match got {
            Ok(count) if count == bits.len() => Some(Secret::new(bits)),
            _ => {
                warn!(
                    "the kernel gives no random numbers; there are no decoys and no jitter until a restart"
                );
                None
            }
        }
    };
    old.or_else(new)
}

/// Learns places and accounts with good logins from wtmp and its rotated parts, before anything is judged. At every
/// start, for it is read in no time; returns these logins.
fn learn_from_wtmp(wtmp: &Path, machine: &mut Machine) -> Vec<Event> {
    let now = clock::now();
    let logins = facts::good_logins(wtmp, now - trust::MEMORY, now);
    for login in &logins {
        let (Some(when), user) = (login.stamp, login.user.as_deref()) else { continue };
        machine.judge.trust.learn(login.addr, user, when, now);
        user.into_iter().for_each(|user| machine.judge.names.learn(user));
    }
    logins
}

/// Brings the kernel to the ledger: counts, and where that does not tell reads, compares, changes the difference in one
/// go. True behind what is to be said if it only counted.
///
/// `lost`: why the store does not tell who was banned. Then what is ours in the kernel is all that is known, and stays;
/// the returned text says so.
fn prepare(
    action: &mut dyn Action,
    machine: &mut Machine,
    readers: &mut Readers,
    restricted: &[Restriction],
    lost: Option<String>,
) -> Result<(Option<String>, bool), Failure> {
    let failed = |error: ActionError| refused(&error);
    if !machine.is_enforcing() {
        action.remove_all().map_err(failed)?;
    }
    action.prepare(&readers.ports).map_err(failed)?;
    action.restrict(restricted).map_err(failed)?;
    let seems_whole = |action: &mut dyn Action| {
        // Whether the kernel can be read at all the list tells.
        seems_whole(action, machine).unwrap_or_else(|error| {
            debug!(%error, "the kernel's bans cannot be counted or looked up");
            false
        })
    };
    if lost.is_none() && machine.is_enforcing() && seems_whole(action) {
        let (in_ledger, action) = (machine.ledger.len(), action.name());
        info!(in_ledger, action, "the kernel seems to have kept the ledger; each ban is looked up next");
        return Ok((None, true));
    }
    let now = clock::now();
    let installed = kernel::installed(action).map_err(failed)?;
    let mut said = None;
    if let Some(why) = lost {
        let adopted = machine.adopt_installed(&installed, now);
        said = Some(format!("{why}; {adopted} bans found in the kernel stay")).filter(|_| adopted > 0);
        ports::add_left_over(&mut readers.ports, &machine.ledger);
        action.prepare(&readers.ports).map_err(failed)?;
    }
    let changes = machine.reconcile(&installed, now);
    info!(
        in_kernel = installed.len(),
        in_ledger = machine.ledger.len(),
        changes = changes.len(),
        action = action.name(),
        "kernel brought to the ledger"
    );
    kernel::apply(action, &changes).map_err(failed)?;
    Ok((said, false))
}

/// So many points of all are looked up before a start believes a count.
const SAMPLE: usize = if cfg!(test) { 2 } else { 256 };

/// So many points that are never banned are looked up; where there are more, a list is as quick.
const MOST_SPARED: usize = 1_024;

/// True if the kernel seems to hold what it shall: as many points, those of a sample until the right times, and exactly
/// the networks. A list of all points takes a time that grows with their square.
fn seems_whole(action: &mut dyn Action, machine: &Machine) -> Result<bool, ActionError> {
    let (projection, now) = (machine.projection(), clock::now());
    match action.count_points()? {
        Some(count) if projection.points_at(now).contains(&count) => {}
        _ => return Ok(false),
    }
    let sample = projection.sample(SAMPLE, now);
    let Some(found) = kernel::find(action, &sample)? else { return Ok(false) };
    if !projection.reconcile_some(sample.iter(), &found, now).is_empty() {
        return Ok(false);
    }
    // A count may be right by chance, and an address that is never banned is shut out for no moment. One in a network of
    // such is found by the look at each ban: what is too much then lacks elsewhere.
    let Some(spared) = machine.spared_points().filter(|spared| spared.len() <= MOST_SPARED) else {
        return Ok(false);
    };
    let Some(found) = kernel::find(action, &spared)? else { return Ok(false) };
    if !projection.reconcile_some(spared.iter(), &found, now).is_empty() {
        return Ok(false);
    }
    let networks = kernel::networks(action)?;
    Ok(projection.reconcile_some(projection.networks(), &networks, now).is_empty())
}

/// Why the store does not tell who was banned, if it does not.
fn lost(store: &Started, anew: bool) -> Option<String> {
    let path = store.store.path();
    let missing = || format!("there was no store at {}: all that it knew is lost", path.display());
    let unread = store.unread.as_ref().map(|error| format!("the store cannot be read: {error}"));
    unread.or_else(|| anew.then(|| store.broken.clone().unwrap_or_else(missing)))
}

/// How many bans of ours the kernel holds while a dry run begins; none of them is its own.
pub(super) fn left_in_kernel(action: &str) -> usize {
    if action != dryrun::NAME {
        return 0;
    }
    let kinds = actions::KINDS.iter().filter(|kind| kind.is_automatic);
    // A dry run needs no privilege; without one it cannot know.
    let held = kinds.filter_map(|kind| (kind.open)().and_then(|mut kind| kind.installed(clock::now())).ok());
    held.map(|installed| installed.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use pillory_core::event::JailName;
    use pillory_core::jail::Judge;
    use pillory_core::jail::names::Names;
    use pillory_core::ledger::{Change, Installed};
    use pillory_core::machine::ScopeRule;
    use pillory_core::net::PrefixSet;

    use crate::actions::Port;
    use crate::netlink::KernelWatch;

    use super::*;

    /// An action that can be listed, and nothing else read of it.
    #[derive(Debug)]
    struct Uncounted;

    impl Action for Uncounted {
        fn name(&self) -> &'static str {
            "uncounted"
        }

        fn prepare(&mut self, _ports: &[(JailName, Vec<Port>)]) -> Result<bool, ActionError> {
            Ok(false)
        }

        fn apply(&mut self, _changes: &[Change], _now: Timestamp) -> Result<(), ActionError> {
            Ok(())
        }

        fn installed(&mut self, _now: Timestamp) -> Result<Installed, ActionError> {
            Ok(Installed::new())
        }

        fn remove_all(&mut self) -> Result<usize, ActionError> {
            Ok(0)
        }

        fn count_points(&mut self) -> Result<Option<usize>, ActionError> {
            let cause = std::io::Error::from(std::io::ErrorKind::OutOfMemory);
            Err(ActionError::Kernel { tried: "count", target: "it".to_owned(), cause })
        }

        fn watch(&self) -> Result<Option<Box<dyn KernelWatch>>, ActionError> {
            Ok(None)
        }
    }

    #[test]
    fn a_kernel_that_cannot_be_counted_is_listed() {
        let names = Names::new(HashSet::new(), HashSet::new(), false);
        let judge = Judge::new(Vec::new(), names, PrefixSet::default(), 10);
        let mut machine = Machine::new(judge, Vec::new(), ScopeRule::All);
        let prepared = prepare(&mut Uncounted, &mut machine, &mut Readers::default(), &[], None);
        assert!(matches!(prepared, Ok((None, false))));
    }
}
