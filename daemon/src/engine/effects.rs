//! What the machine's effects become: kernel jobs, writes to the store, lines of the log.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use tracing::{error, warn};

use pillory_core::event::{JailName, Origin};
use pillory_core::jail::alarms::Alarm;
use pillory_core::jail::proxies::Standing;
use pillory_core::jail::{outage, stealth};
use pillory_core::ledger::{Ban, Change, Ended};
use pillory_core::machine::{Effect, Notice, Record};
use pillory_core::time::Timestamp;

use crate::allowed::META_ALLOWED;
use crate::crash::{self, Point};
use crate::errands::Doubt;
use crate::kernel::Job;
use crate::store::keeper::Started;
use crate::store::writer::{FORGET_EVERY, Write};
use crate::store::{META_ANEW, META_TIME};
use crate::unlisted::META_UNLISTED;
use crate::{clock, logging};

use super::audience::GOT_IN;
use super::commands::LISTS;
use super::posting;
use super::rescue::META_RESCUE;
use super::trial::META_TRIAL;
use super::{Engine, META_IDENTITIES, META_OFF, META_PROXIES, META_RHYTHMS, META_SECRET};

/// So many bans that came from a list, or ended, are told one by one.
const FEW: usize = 16;

/// What many notices have in common that one line can tell of: the jail, and how its bans ended, or that they are from a
/// list that no jail has to do with.
type Alike<'a> = (&'a JailName, Option<Ended>);

fn alike(notice: &Notice) -> Option<(Alike<'_>, &Ban)> {
    match notice {
        Notice::Banned(ban) if ban.origin == Origin::Import && ban.jail.as_str() == LISTS => {
            Some(((&ban.jail, None), ban))
        }
        Notice::Ended(ban, how) => Some(((&ban.jail, Some(*how)), ban)),
        _ => None,
    }
}

/// What there is so much of that one line tells it.
fn crowds(notices: &[Notice]) -> BTreeMap<Alike<'_>, Vec<&Ban>> {
    let mut crowds: BTreeMap<Alike<'_>, Vec<&Ban>> = BTreeMap::new();
    for (alike, ban) in notices.iter().filter_map(alike) {
        crowds.entry(alike).or_default().push(ban);
    }
    crowds.retain(|_, bans| bans.len() > FEW);
    crowds
}

/// The failure that a record keeps, if it is one: whose, at which jail, when.
fn failure_in(record: &Record) -> Option<(JailName, IpAddr, Timestamp)> {
    let Record::Attempt(attempt) = record else { return None };
    attempt.class.is_some().then(|| (attempt.jail.clone(), attempt.addr, attempt.time))
}

impl Engine {
    /// Tells whoever reads fail2ban's log of failures. The bans that came of them just now are told behind them.
    fn say_failures(&self, failures: &[(JailName, IpAddr, Timestamp)]) {
        for (jail, addr, time) in failures {
            let subject = self.machine.judge.subject(*addr);
            let bans = self.machine.ledger.covering(subject);
            let since = bans.iter().filter(|ban| ban.jail == *jail).map(|ban| ban.since).min();
            logging::failure(jail, &addr.to_string(), *time, since.map(|since| time.since(since)));
        }
    }

    /// Carries out all effects of the round: one kernel job, one transaction, and then the log.
    pub(super) fn flush(&mut self) {
        let mut changes = Vec::new();
        let mut records = Vec::new();
        let mut notices = Vec::new();
        let mut failures = Vec::new();
        let wants_failures = logging::wants_failures();
        let mut unasked = Vec::new();
        let mut touches_identities = false;
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Kernel(change) => changes.push(change),
                Effect::Record(record) => {
                    failures.extend(Some(&record).filter(|_| wants_failures).and_then(failure_in));
                    records.push(record);
                }
                Effect::Say(notice) => {
                    touches_identities |=
                        matches!(notice, Notice::IdentityBanned(_) | Notice::IdentityEnded(..));
                    notices.push(notice);
                }
                // Its far end joins the never-ban set at once.
                Effect::LoggedIn(addr, port) => self.outlets.facts.logged_in(addr, port),
                Effect::Resolve(unresolved) => self.outlets.errands.resolve(unresolved),
                Effect::Ask(decision) => {
                    let evidence = self.hooks.evidence_of(&decision);
                    unasked.extend(self.outlets.errands.ask(Doubt { decision, evidence }));
                }
                Effect::Evidence(evidence) => self.hooks.keep(*evidence),
            }
        }
        crash::point(Point::Decided, || records.iter().any(|record| matches!(record, Record::Banned(_))));
        // The kernel first: it never waits for the disk.
        if !changes.is_empty() {
            self.apply(changes);
        }
        if touches_identities {
            self.meta.push((META_IDENTITIES.into(), self.identities_kept()));
        }
        self.write_records(records);
        self.latency.sent(self.jobs, self.writes);
        // The log last: whoever reads it slowly must not hold back a ban.
        self.say_failures(&failures);
        self.tell(&notices);
        // Nobody can be asked: better a ban too many than none.
        for decision in unasked {
            self.machine.confirmed(*decision, false, clock::now(), &mut self.effects);
        }
    }

    /// Tells people, and the commands of jails. Of a crowd one line is enough, and no command is told of a list's bans.
    fn tell(&mut self, notices: &[Notice]) {
        let mut crowds = crowds(notices);
        for notice in notices {
            let crowd = alike(notice).and_then(|(alike, ban)| Some((alike, ban, crowds.get_mut(&alike)?)));
            let Some(((_, how), ban, bans)) = crowd else {
                self.say(notice);
                self.hook(notice);
                self.post_notice(notice);
                continue;
            };
            // The line of all stands where the first one is.
            let bans = std::mem::take(bans);
            logging::crowd(&bans, how, self.action);
            self.post_crowd(&bans, how);
            let ended = how.is_some_and(posting::is_mistake);
            bans.iter().filter(|_| ended).for_each(|ban| self.withdraw(ban.prefix));
            logging::one_of_a_crowd(ban, how);
            if how.is_some() {
                self.hook(notice);
            }
        }
    }

    /// Tells whoever reads fail2ban's log which bans this start took over.
    pub(crate) fn say_restored(&self) {
        logging::restored(self.machine.ledger.iter());
    }

    fn write_records(&mut self, mut records: Vec<Record>) {
        let read = clock::read();
        let now = read.now;
        let forget = now.since(self.last_forget) >= FORGET_EVERY;
        if records.is_empty() && self.positions.is_empty() && self.meta.is_empty() && !forget {
            return;
        }
        // It may have to wait.
        records.shrink_to_fit();
        let mut write = Write { records, meta: std::mem::take(&mut self.meta), ..Write::default() };
        write.positions = self.positions.drain().collect();
        if forget {
            self.last_forget = now;
            write.forget_before = Some(read.wall - self.setup.config.retention);
        }
        self.write(write);
    }

    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        self.jobs += 1;
        self.tell_kernel(Job::Apply(self.jobs, changes));
    }

    pub(super) fn tell_kernel(&mut self, job: Job) {
        if self.outlets.kernel.send(job).is_err() && !self.stopping {
            error!("the kernel thread has ended; restart the daemon");
            self.warnings.insert("kernel".into(), "the kernel thread has ended; restart the daemon".into());
        }
    }

    fn write(&mut self, mut write: Write) {
        self.writes += 1;
        write.number = self.writes;
        write.most_bytes = Some(self.setup.config.state_max);
        let read = clock::read();
        if read.ahead().millis() > 0 {
            write.meta.push((META_TIME.into(), read.now.millis().to_string()));
        }
        let is_attempt = |record: &Record| matches!(record, Record::Attempt(_) | Record::Learnt(_));
        if self.backlog.is_full() && write.records.iter().any(is_attempt) {
            write.records.retain(|record| !is_attempt(record));
            let text = "the disk hangs or does not keep up: attempts are no longer recorded until what waits is written; bans go on";
            if self.warnings.insert("backlog".into(), text.into()).is_none() {
                warn!("{text}");
            }
        }
        self.backlog.sent(write.number, write.records.len());
        if self.outlets.store.send(write).is_err() && !self.stopping {
            self.warnings.insert("store".into(), "the store thread has ended; restart the daemon".into());
        }
    }

    /// Says that a dry run leaves what is in the kernel alone: `held` bans, of another daemon or of an earlier one.
    pub(crate) fn begin_dry(&mut self, held: usize) {
        if held > 0 {
            let text = format!(
                "the kernel holds {held} bans that are not this dry run's; they stay in force until their end, or until `pillory off`"
            );
            warn!(held, "{text}");
            self.warnings.insert("held".into(), text);
        }
    }

    /// Says what is wrong with the store that a start found, and gives one that begins `anew` what is known. `lost`: what
    /// became of the bans that it does not tell.
    pub(crate) fn begin_store(&mut self, store: &Started, anew: bool, lost: Option<String>) {
        if let Some(lost) = lost.or_else(|| store.broken.clone()) {
            if anew {
                warn!(reason = %lost, "the store does not tell who was banned");
            }
            self.warnings.insert("lost".into(), lost);
        }
        if anew {
            self.write_snapshot();
        }
        if let Some(trouble) = &store.trouble {
            // If that takes nothing either, the next write will tell.
            let means = format!("kept in {} until the disk takes it", store.store.spill_path().display());
            self.unwritten(trouble, &format!("{means}; a reboot before that loses it"));
        }
    }

    /// Writes all that a store that begins anew must know.
    pub(super) fn write_snapshot(&mut self) {
        let bans = self.machine.ledger.iter().collect();
        let known = self.known_positions.iter();
        let positions = known.map(|(stream, at)| (stream.as_str().into(), at.clone())).collect();
        let mut meta = vec![
            (META_OFF.into(), self.off_kept()),
            (META_ANEW.into(), String::new()),
            (META_PROXIES.into(), self.machine.judge.proxies.kept()),
            (META_TRIAL.into(), self.trial_kept()),
            (META_ALLOWED.into(), self.allowed.kept()),
            (META_UNLISTED.into(), self.editions.unlisted.kept()),
            (META_RESCUE.into(), self.codes.kept()),
            (META_IDENTITIES.into(), self.identities_kept()),
            (META_RHYTHMS.into(), self.rhythms_kept()),
        ];
        meta.extend(self.secret_kept());
        self.write(Write { snapshot: Some(bans), positions, meta, ..Write::default() });
    }

    fn identities_kept(&self) -> String {
        // Invariant: numbers and texts always become JSON.
        serde_json::to_string(&self.machine.identities.iter().collect::<Vec<_>>()).unwrap_or_default()
    }

    fn say(&mut self, notice: &Notice) {
        logging::notice(notice, self.action);
        if let Notice::NoEffect(jail, prefix) = notice {
            self.pierced(jail, *prefix);
        }
        if let Notice::Alarm(alarm) = notice {
            self.warn_of(alarm);
        }
        if let Notice::Proxy((jail, addr, standing, share)) = notice {
            let text = format!("jail {jail}: {addr} ({share} %) {}", logging::proxy_words(*standing));
            let key = format!("proxy {jail} {addr}");
            match standing {
                Standing::Visitor => self.warnings.remove(&key),
                _ => self.warnings.insert(key, text),
            };
            self.meta.push((META_PROXIES.into(), self.machine.judge.proxies.kept()));
        }
    }

    /// A warning as long as an alarm lasts; of a stranger who got in until the next start.
    fn warn_of(&mut self, alarm: &Alarm) {
        let (key, is_on) = match alarm {
            Alarm::Outage(outage::Change::Began(jail, ..)) => (format!("outage {jail}"), true),
            Alarm::Outage(outage::Change::Ended(jail)) => (format!("outage {jail}"), false),
            Alarm::Stealth(stealth::Change::GotIn { jail, user, .. }) => {
                (format!("{GOT_IN}{jail} {user}"), true)
            }
            // What is on is read off the judge when `status` asks.
            Alarm::Stealth(_) | Alarm::Campaign(_) => return,
        };
        match is_on {
            true => drop(self.warnings.insert(key, logging::alarm_words(alarm))),
            false => drop(self.warnings.remove(&key)),
        }
    }

    /// Lines that no expression could be tried on to its end were taken for misses: said once a minute.
    pub(super) fn say_limits(&mut self) {
        for (jail, lines) in self.machine.take_limits() {
            let text = format!(
                "jail {jail}: an expression took too many steps on {lines} lines within a minute; they count as misses; mend the expression (a backreference behind a repetition?)"
            );
            warn!("{text}");
            self.warnings.insert(format!("limits {jail}"), text);
        }
    }

    pub(super) fn set_off(&mut self, off: Option<Option<Timestamp>>) {
        let now = clock::now();
        self.off_until = off.flatten();
        self.machine.set_enforcing(off.is_none(), now, &mut self.effects);
        self.switch_hooks(off.is_none());
        self.restrict();
        self.meta.push((META_OFF.into(), self.off_kept()));
    }

    /// What [`META_SECRET`] keeps.
    pub(super) fn secret_kept(&self) -> Option<(Cow<'static, str>, String)> {
        let secret = self.machine.judge.secret.as_ref()?;
        Some((META_SECRET.into(), secret.kept()))
    }

    /// What [`META_OFF`] keeps.
    fn off_kept(&self) -> String {
        match self.off_until {
            _ if self.machine.is_enforcing() => String::new(),
            None => "on_command".to_owned(),
            Some(until) => until.millis().to_string(),
        }
    }
}
