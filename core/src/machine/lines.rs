//! Lines of jails that were read from a fail2ban directory: counted, recorded and banned for as fail2ban does.

use crate::event::{Decision, JailName, Line};
use crate::filter::Clock;
use crate::filter::fail2ban::{Hit, Ruling, Subject, Timing};
use crate::jail::lines::LineFailure;
use crate::jail::{JailIndex, Mode};
use crate::net::Prefix;
use crate::time::Timestamp;

use smol_str::SmolStr;

use super::{Effect, Extractor, Machine, Notice, Phase, Record, Unresolved};

/// What the failures of one source showed.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    pub(super) lines: Vec<SmolStr>,
    pub(super) captures: Vec<(SmolStr, SmolStr)>,
    /// The address beside an identity.
    pub(super) addr: Option<Prefix>,
}

/// So many sources' lines are kept for commands.
const MOST_MATCHES: usize = 10_000;

impl Machine {
    /// Judges one record by a jail that counts lines.
    pub(super) fn classic_line(
        &mut self,
        (jail, reader): (JailIndex, usize),
        line: &Line<'_>,
        phase: Phase,
        clock: &Clock,
        out: &mut Vec<Effect>,
    ) {
        let Some(rules) = self.judge.line_rules(jail) else { return };
        if rules.skips_history && phase == Phase::History {
            return;
        }
        let timing = match phase {
            Phase::Live => Timing::Operation,
            Phase::History | Phase::CatchUp => Timing::Start(rules.findtime),
        };
        let readers = self.extractors.get_mut(usize::from(jail));
        let Some(Extractor::Lines(filter)) = readers.and_then(|readers| readers.get_mut(reader)) else {
            return;
        };
        let ruling = filter.judge(line, clock, timing, clock.now);
        if let Some(misses) = self.misses.get_mut(usize::from(jail)) {
            match ruling {
                Ruling::Miss => misses.missed(line.bytes),
                _ => misses.matched(),
            }
        }
        let stamp = filter.date().and_then(|date| date.time.ok()).or(line.stamp);
        if let Ruling::Failure(subject, hit) = ruling {
            if let (Phase::Live, Some(stamp)) = (phase, stamp) {
                self.doubt_stamp(jail, stamp + self.ahead, clock.now, out);
            }
            self.classic_failure((jail, reader), (subject, hit), phase, clock.now, out);
        }
        self.judge.line_read(jail, clock.now);
    }

    fn classic_failure(
        &mut self,
        (jail, reader): (JailIndex, usize),
        (subject, hit): (Subject, Hit),
        phase: Phase,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let Some(name) = self.judge.jails().get(usize::from(jail)).map(|jail| jail.name.clone()) else {
            return;
        };
        let time = hit.time.unwrap_or(now);
        match subject {
            Subject::Net(prefix) => {
                let failure = LineFailure { prefix, time, user: hit.user };
                self.shown_failure((jail, reader), &failure, hit.matches, (phase, now), out);
            }
            Subject::Name(host) if self.judge.line_rules(jail).is_some_and(|rules| rules.resolves) => {
                out.push(Effect::Resolve(Box::new(Unresolved {
                    jail: name,
                    name: host,
                    time,
                    user: hit.user,
                })));
            }
            Subject::Name(text) | Subject::Id(text) => {
                if self.identity_failure((jail, reader), &text, hit, now, out) {
                    return;
                }
                if self.identity_warned.insert(name.clone()) {
                    out.push(Effect::Say(Notice::NoAddress(name, text)));
                }
            }
        }
    }

    /// Counts one failure, and keeps what it showed if the jail wants that.
    fn shown_failure(
        &mut self,
        (jail, reader): (JailIndex, usize),
        failure: &LineFailure,
        matches: Vec<SmolStr>,
        (phase, now): (Phase, Timestamp),
        out: &mut Vec<Effect>,
    ) {
        let name = self.judge.jails().get(usize::from(jail)).map(|jail| jail.name.clone());
        let Some(name) = name.filter(|_| !matches.is_empty()) else {
            return self.line_failure(jail, failure, phase, now, out);
        };
        let source = Subject::Net(failure.prefix);
        self.keep((jail, reader), source.clone(), matches, None);
        let evidence = self.evidence(jail, &name, source.clone());
        let before = out.len();
        self.line_failure(jail, failure, phase, now, out);
        // Only a ban wants to know what led to it.
        let bans = |effect: &Effect| matches!(effect, Effect::Ask(_) | Effect::Record(Record::Banned(_)));
        if out[before..].iter().any(bans) {
            self.matches.remove(&(jail, source));
            out.insert(before, Effect::Evidence(Box::new(evidence)));
        }
    }

    /// A ban of a jail is in force: who counts such bans counts it.
    pub(super) fn recount(
        &mut self,
        (prefix, of): (Prefix, &JailName),
        since: Timestamp,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        for jail in self.judge.counting_bans_of(of) {
            let Some(rules) = self.judge.line_rules(jail) else { continue };
            let shows = rules.runs_commands || rules.asks;
            let told = shows.then(|| format!("{since} [{of}] Ban {}", prefix.short()).into());
            let failure = LineFailure { prefix, time: since, user: None };
            self.shown_failure((jail, 0), &failure, told.into_iter().collect(), (Phase::CatchUp, now), out);
        }
    }

    /// Counts one failure of a jail that counts lines.
    fn line_failure(
        &mut self,
        jail: JailIndex,
        failure: &LineFailure,
        phase: Phase,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let now = self.now(now);
        let Some(name) = self.judge.jails().get(usize::from(jail)).map(|jail| jail.name.clone()) else {
            return;
        };
        let banned = self.ledger.is_banned(failure.prefix, &name, now);
        let mode = if banned { Mode::Banned } else { Mode::Judge };
        let judgement = self.judge.line_failure(jail, failure, now, mode);
        if let Some(attempt) = judgement.attempt {
            if let Some(counters) = self.counters.get_mut(usize::from(jail)) {
                counters.failures += 1;
            }
            if banned && phase == Phase::Live {
                self.seen_although_banned(&name, failure.prefix, now, out);
            }
            // A ban is in the history already, and was no attempt.
            let is_attempt = self.judge.line_rules(jail).is_some_and(|rules| rules.bans_of.is_empty());
            out.extend(is_attempt.then_some(Effect::Record(Record::Attempt(attempt))));
            if !banned && judgement.decision.is_none() {
                self.retry_withheld(jail, (&name, failure.prefix), now, out);
            }
        }
        if let Some(spared) = judgement.spared {
            self.spare(spared, now, out);
        }
        if let Some(decision) = judgement.decision {
            self.ban_by_jail(jail, decision, now, out);
        }
    }

    /// Takes the addresses of a name: each is counted. Nothing happens if there are none.
    pub fn resolved(
        &mut self,
        unresolved: &Unresolved,
        addresses: &[std::net::IpAddr],
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let Some(jail) = self.index_of(&unresolved.jail) else { return };
        for addr in addresses {
            let failure = LineFailure {
                prefix: Prefix::host(crate::net::canonical(*addr)),
                time: unresolved.time,
                user: unresolved.user.clone(),
            };
            self.line_failure(jail, &failure, Phase::Live, now, out);
        }
    }

    /// Takes the answer of a jail's command: the ban is made, or its source begins anew.
    pub fn confirmed(&mut self, decision: Decision, is_spared: bool, now: Timestamp, out: &mut Vec<Effect>) {
        if is_spared {
            return;
        }
        if let Some(jail) = self.index_of(&decision.jail) {
            let now = self.now(now);
            self.take_ban(jail, decision, now, out);
        }
    }

    fn index_of(&self, name: &JailName) -> Option<JailIndex> {
        let at = self.judge.jails().iter().position(|jail| jail.name == *name)?;
        JailIndex::try_from(at).ok()
    }

    /// Keeps what a failure showed: the last lines, and what the first of them captured.
    pub(super) fn keep(
        &mut self,
        (jail, reader): (JailIndex, usize),
        source: Subject,
        mut lines: Vec<SmolStr>,
        addr: Option<Prefix>,
    ) {
        let key = (jail, source);
        let is_new = !self.matches.contains_key(&key);
        if is_new && self.matches.len() >= MOST_MATCHES {
            self.matches.clear();
        }
        let captures = if is_new { self.captures((jail, reader)) } else { Vec::new() };
        let most = self.judge.line_rules(jail).map_or(0, |rules| rules.maxmatches as usize);
        let kept = self.matches.entry(key).or_insert(Kept { lines: Vec::new(), captures, addr });
        kept.lines.append(&mut lines);
        let extra = kept.lines.len().saturating_sub(most);
        kept.lines.drain(..extra);
    }

    pub(super) fn captures(&self, (jail, reader): (JailIndex, usize)) -> Vec<(SmolStr, SmolStr)> {
        let readers = self.extractors.get(usize::from(jail));
        match readers.and_then(|readers| readers.get(reader)) {
            Some(Extractor::Lines(filter)) => {
                filter.captures().map(|(name, value)| (name.into(), value.text())).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
