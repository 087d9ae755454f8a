//! What must hold: after each round, after each start, and when all has settled.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use pillory_core::event::{Origin, Scope};
use pillory_core::ledger::{Ban, Element};
use pillory_core::machine::Record;
use pillory_core::net::Prefix;
use pillory_core::time::{End, Span};
use serde_json::json;

use crate::clock;
use crate::engine::jails::MAX_TRACKED;
use crate::store::writer::Write;

use super::daemon::{Daemon, STREAMS};
use super::kernel::Mood;
use super::logs::Logs;
use super::orders::Setting;
use super::promises::{Bans, Kept, UsedUp, Word, key};
use super::scenery;
use super::world::{Broken, World};

impl World {
    /// What a start took over is what outlives a crash.
    pub(super) fn check_restored(&self, daemon: &Daemon) -> Result<(), Broken> {
        let ledger = daemon.machine().ledger.iter().map(|ban| (key(&ban), ban));
        let ledger: Bans = ledger.collect();
        // What an earlier daemon banned without ever writing to its store is found in the kernel.
        if ledger != self.kept.told && self.kept.has_begun {
            return Err(format!("a restart forgot or invented: {}", difference(&self.kept.told, &ledger)));
        }
        for ((_, stream), (found, read)) in STREAMS.iter().zip(daemon.kept.iter().copied()) {
            if self.was_damaged {
                break;
            }
            let expected = self.logs.counting(stream, read);
            if !expected.contains(&found) {
                return Err(format!(
                    "{read} lines of {stream} were read, {expected:?} of them count, and {found} are in the store"
                ));
            }
        }
        Ok(())
    }

    pub(super) fn hear_answers(&mut self) -> Result<(), Broken> {
        for waiting in std::mem::take(&mut self.waiting) {
            let Ok(reply) = waiting.reply.try_recv() else {
                self.waiting.push(waiting);
                continue;
            };
            self.tally.answers += 1;
            let is_aside = reply.message.contains("not on disk; kept in");
            match waiting.setting {
                Some(Setting::Applied(sound)) => self.applied(sound, &reply)?,
                Some(Setting::Confirmed(new, take_back, is_new)) => {
                    self.confirmed((new, take_back, is_new), &reply)?
                }
                Some(Setting::Reloaded(new, before)) => self.reloaded(new, before, &reply)?,
                _ => {}
            }
            let is_kept = reply.exit == 0 && !reply.message.contains("so a crash would lose it");
            match waiting.setting.filter(|_| is_kept) {
                Some(Setting::Off(number, until)) => self.words.answered_off(number, until, is_aside),
                Some(Setting::Allow(prefix, leaps, until)) if leaps == self.leaps => {
                    self.words.allows(prefix, Some((until, is_aside)));
                }
                Some(Setting::Applied(_) | Setting::Confirmed(..) | Setting::Reloaded(..)) if !is_aside => {
                    self.tried.clear();
                }
                _ => {}
            }
            // Nothing to do means that nothing of it was kept now: that may hang on what was said before.
            let has_changed = reply.value["changed"] != 0 && reply.value["unbanned"] != json!([]);
            if reply.exit == 2 || !has_changed || !(reply.message.is_empty() || is_aside) {
                continue;
            }
            let banned: HashSet<&str> = reply.value["banned"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|text| text.as_str())
                .collect();
            for (prefix, number, word) in waiting.asked {
                if matches!(word, Word::Banned(_)) {
                    if !banned.contains(prefix.to_string().as_str()) {
                        continue;
                    }
                    // Of what was ordered later the kernel may not have been told yet.
                    if waiting.is_undisturbed && self.words.is_latest(prefix, number) {
                        self.check_in_kernel(prefix)?;
                    }
                }
                self.words.answered(prefix, number, word, is_aside);
            }
        }
        Ok(())
    }

    /// Whoever was told that a prefix is banned finds it shut out, but for the end of a ban that the kernel may have come
    /// to before the answer.
    fn check_in_kernel(&self, prefix: Prefix) -> Result<(), Broken> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let addr = prefix.addr();
        let by_hand =
            daemon.machine().ledger.of(prefix).into_iter().filter(|ban| ban.jail.as_str() == "manual");
        let lasting = by_hand.filter(|ban| !self.is_ending(ban.until));
        if self.shuts_out(addr, &Scope::All, lasting) && !self.in_kernel(addr, &Scope::All) {
            return Err(format!("the ban of {prefix} was acknowledged and is not in the kernel"));
        }
        Ok(())
    }

    /// Whether bans shut an address out, by the plain meaning of the words.
    fn shuts_out(&self, addr: IpAddr, scope: &Scope, bans: impl Iterator<Item = impl Borrow<Ban>>) -> bool {
        let is_enforcing = self.daemon.as_ref().is_some_and(|daemon| daemon.machine().is_enforcing());
        let is_never = self.never.contains_addr(addr);
        // A point that holds a friend is banned only in parts, so addresses are what counts.
        let shuts_out =
            |ban: &Ban| ban.prefix.contains_addr(addr) && ban.scope == *scope && (ban.forced || !is_never);
        is_enforcing && bans.into_iter().any(|ban| shuts_out(ban.borrow()))
    }

    pub(super) fn in_kernel(&self, addr: IpAddr, scope: &Scope) -> bool {
        // After `pillory off` nothing is healed: what somebody else puts there then stays.
        let is_off = self.daemon.as_ref().is_some_and(|daemon| !daemon.machine().is_enforcing());
        let table = self.kernel.table();
        table.elements.iter().any(|(element, held)| {
            element.scope == *scope && element.prefix.contains_addr(addr) && (held.is_ours || !is_off)
        })
    }

    /// What must hold after each round.
    pub(super) fn check_round(&mut self) -> Result<(), Broken> {
        self.renew_never();
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let machine = daemon.machine();
        let is_forced = |element: &Element| {
            let covering = machine.ledger.covering(element.prefix);
            covering.iter().any(|ban| ban.forced && self.words.forced.contains(&ban.prefix))
        };
        if let Some(element) = self.ordered.wrong(&self.never, is_forced) {
            return Err(format!("{element:?} holds somebody who is never banned"));
        }
        self.check_clock()?;
        if let Some(end) = machine.ledger.next_end().filter(|end| *end <= clock::now()) {
            return Err(format!("a ban that ended at {} is in the ledger still", end.millis()));
        }
        let tracked: usize =
            (0..machine.judge.jails().len()).map(|jail| machine.judge.tracked(jail as u16)).sum();
        if tracked > MAX_TRACKED {
            return Err(format!("{tracked} sources are counted, {MAX_TRACKED} may be"));
        }
        let is_never = |prefix: Prefix| machine.judge.never.overlaps(prefix);
        self.words.check_settings(machine.is_enforcing(), is_never, self.elapsed)?;
        let of = |prefix| machine.ledger.of(prefix);
        self.words.check(of, self.elapsed)
    }

    /// The daemon's time is the wall clock's, or goes on a sixteenth slower while that is behind.
    fn check_clock(&self) -> Result<(), Broken> {
        let (shown, expected) = (clock::now(), self.expected_time());
        if shown.since(expected).max(expected.since(shown)) > Span::from_millis(2) {
            let (shown, expected) = (shown.millis(), expected.millis());
            return Err(format!("the daemon's time is {shown}, and should be {expected}"));
        }
        Ok(())
    }

    /// Nothing stays in the kernel longer than a second after its end.
    pub(super) fn check_lifted(&self) -> Result<(), Broken> {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let table = self.kernel.table();
        if !daemon.jobs.is_empty() || self.elapsed <= self.patient_until || table.mood != Mood::Willing {
            return Ok(());
        }
        let limit = clock::now() - Span::from_secs(1);
        let lasts = |element: &Element| {
            daemon.machine().ledger.covering(element.prefix).iter().any(|ban| !ban.until.is_over(limit))
        };
        let late = table.elements.iter().find(|(element, held)| held.is_ours && !lasts(element));
        late.map_or(Ok(()), |(element, _)| {
            Err(format!("{element:?} is in the kernel still, and no ban lasts that says so"))
        })
    }

    /// True for an end so near that the kernel may have come to it: ends that differ by less than this are not told
    /// anew when the wall clock is set back, and what the kernel was told before that may last so long.
    fn is_ending(&self, end: End) -> bool {
        const TOLERANCE: Span = Span::from_millis(1_500);
        const LONGEST_BAN_MS: u64 = 900_000;
        let may_differ = self.behind_until > 0 && self.elapsed < self.behind_until + LONGEST_BAN_MS;
        may_differ && end.remaining(clock::now()).is_some_and(|left| left <= TOLERANCE)
    }

    pub(super) fn check_settled(&mut self) -> Result<(), Broken> {
        self.tally.settled += 1;
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let machine = daemon.machine();
        let ledger = machine.ledger.iter().map(|ban| (key(&ban), ban));
        let ledger: Bans = ledger.collect();
        self.tally.most_banned = self.tally.most_banned.max(ledger.len());
        if ledger != self.kept.told {
            return Err(format!("the store was told otherwise: {}", difference(&self.kept.told, &ledger)));
        }
        if !self.waiting.is_empty() {
            return Err(format!("{} clients were never answered", self.waiting.len()));
        }
        self.check_policy()?;
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let machine = daemon.machine();
        let jails = machine.judge.jails().iter().map(|jail| Scope::Ports(jail.name.clone()));
        for scope in jails.chain([Scope::All]) {
            for addr in scenery::samples() {
                let (wanted, held) =
                    (self.shuts_out(addr, &scope, ledger.values()), self.in_kernel(addr, &scope));
                let lasting = ledger.values().filter(|ban| !self.is_ending(ban.until));
                if wanted != held && self.shuts_out(addr, &scope, lasting) != held {
                    return Err(format!("{addr} in {scope:?}: banned {wanted}, in the kernel {held}"));
                }
            }
        }
        let (brief, projected): (BTreeSet<_>, BTreeSet<_>) = {
            let elements = machine.projection().elements();
            let (brief, lasting): (Vec<_>, Vec<_>) = elements.partition(|(_, end)| self.is_ending(*end));
            let names = |all: Vec<(Element, End)>| all.into_iter().map(|(element, _)| element).collect();
            (names(brief), names(lasting))
        };
        let table = self.kernel.table();
        let held: BTreeSet<_> = table.elements.keys().filter(|element| !brief.contains(element)).collect();
        if machine.is_enforcing() && !held.into_iter().eq(projected.iter()) {
            let held: Vec<_> = table.elements.keys().collect();
            return Err(format!("the kernel holds {held:?}, and should {projected:?}"));
        }
        Ok(())
    }
}

/// The failures that a jail's bans use up: all that were read before the lines of this round, of which there are `new`, and
/// those that the ban is for. None is banned for more than were read and not used up.
pub(super) fn used_up(
    write: &Write,
    (daemon, new): (&Daemon, [usize; STREAMS.len()]),
    logs: &Logs,
    kept: &Kept,
) -> Result<UsedUp, Broken> {
    let mut used = UsedUp::new();
    for record in &write.records {
        let Record::Banned(ban) = record else { continue };
        let is_single = ban.prefix.is_host() || (!ban.prefix.is_ipv4() && ban.prefix.prefix_len() == 64);
        if ban.origin != Origin::Local || !is_single {
            continue;
        }
        let key = key(ban);
        let at = usize::from(ban.jail.as_str() != "sshd");
        let (stream, new) = (STREAMS[at].1, new[at]);
        let position = daemon.sources.position(stream);
        let failures = |position| logs.failures(stream, position, ban.prefix);
        let (read, old) = (failures(position), failures(position.saturating_sub(new)));
        let before = used.get(&key).or_else(|| kept.used_up.get(&key)).copied().unwrap_or(0);
        if ban.failures == 0 || ban.failures as usize > read - before.min(read) {
            return Err(format!(
                "{read} failures of {} were read, {before} of them used up by bans before: {ban:?}",
                ban.prefix
            ));
        }
        used.insert(key, old.max(before + ban.failures as usize));
    }
    Ok(used)
}

fn difference(told: &Bans, ledger: &Bans) -> String {
    let missing: Vec<_> = told.iter().filter(|(key, ban)| ledger.get(*key) != Some(*ban)).collect();
    let surplus: Vec<_> = ledger.iter().filter(|(key, ban)| told.get(*key) != Some(*ban)).collect();
    format!("told {missing:?}, in the ledger {surplus:?}")
}
