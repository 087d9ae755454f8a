//! Lines and events judged: what is counted, what is recorded, and who is banned for it.

use crate::event::{Decision, Event, JailName, Line, Outcome, Scope};
use crate::filter::{Clock, Verdict, btmp};
use crate::jail::{JailIndex, Mode, connections};
use crate::ledger::Ban;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::{Effect, Extractor, Machine, Notice, Phase, Record, ScopeRule};

/// So many attempts this long after a ban began show that it has no effect.
const NO_EFFECT: (u32, Span) = (3, Span::from_secs(30));

/// The attempts of so many sources are counted for that; then all begin anew.
const MOST_AFTER_BAN: usize = 65_536;

impl Machine {
    /// Judges one record for one jail, by the reader of that number.
    pub fn line(
        &mut self,
        (jail, reader): (JailIndex, usize),
        line: &Line<'_>,
        phase: Phase,
        clock: &Clock,
        out: &mut Vec<Effect>,
    ) {
        let at = usize::from(jail);
        let Some(extractor) = self.extractors.get_mut(at).and_then(|readers| readers.get_mut(reader)) else {
            return;
        };
        if let Some(counters) = self.counters.get_mut(at) {
            counters.lines += 1;
        }
        let event = match extractor {
            Extractor::Text(filter) => {
                let verdict = filter.judge(line, clock);
                if let Some(misses) = self.misses.get_mut(at) {
                    match verdict {
                        Verdict::Miss => misses.missed(line.bytes),
                        _ => misses.matched(),
                    }
                }
                let mut changes = Vec::new();
                let now = (clock.now, phase == Phase::Live);
                self.judge.traffic(jail, (line.bytes, &verdict), now, &mut changes);
                out.extend(changes.into_iter().map(|change| Effect::Say(Notice::Proxy(change))));
                let Verdict::Event(event) = verdict else { return };
                event
            }
            Extractor::Lines(_) => return self.classic_line((jail, reader), line, phase, clock, out),
            Extractor::Btmp(layout) => match btmp::failed_login(*layout, line.bytes) {
                Verdict::Event(mut event) => {
                    let connection = connections::tied(event.addr, event.connection.as_ref());
                    self.judge.login_record(jail, &mut event, connection, clock.now);
                    event
                }
                _ => return,
            },
        };
        self.event(jail, &event, phase, clock.now, out);
    }

    /// Judges one event of a jail.
    pub fn event(
        &mut self,
        jail: JailIndex,
        event: &Event,
        phase: Phase,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let now = self.now(now);
        let ahead = if phase == Phase::History { Span::default() } else { self.ahead };
        let stamp = event.stamp.map(|stamp| stamp + ahead);
        if let (Phase::Live, Some(stamp)) = (phase, stamp) {
            self.doubt_stamp(jail, stamp, now, out);
        }
        let Some(when) = judged_at(phase, stamp, now) else { return };
        let Some(name) = self.judge.jails().get(usize::from(jail)).map(|jail| jail.name.clone()) else {
            return;
        };
        let subject = self.judge.client(event).map(|addr| self.judge.subject(addr));
        let banned = subject.is_some_and(|subject| self.ledger.is_banned(subject, &name, now));
        let mode = match phase {
            _ if banned => Mode::Banned,
            Phase::History => Mode::Learn,
            Phase::CatchUp | Phase::Live => Mode::Judge,
        };
        let judgement = self.judge.observe(jail, event, when, mode);
        out.extend(judgement.alarms.into_iter().map(|alarm| Effect::Say(Notice::Alarm(alarm))));
        if let Some(attempt) = judgement.attempt {
            if let Some(counters) = self.counters.get_mut(usize::from(jail)) {
                match event.outcome {
                    Outcome::Failure { .. } => counters.failures += u64::from(attempt.tries),
                    Outcome::Success => counters.successes += 1,
                }
            }
            if event.outcome == Outcome::Success && event.user.is_some() {
                let port = event.connection.as_ref().and_then(|connection| connection.port);
                out.push(Effect::LoggedIn(attempt.addr, port));
            }
            let outages = &self.judge.alarms.outages;
            if event.outcome == Outcome::Success
                && (event.user.is_some() || outages.is_regular(&name, attempt.addr, when))
            {
                self.spare_from_nets(Prefix::host(attempt.addr));
            }
            if let Some(subject) = subject.filter(|_| banned && phase == Phase::Live) {
                self.seen_although_banned(&name, subject, now, out);
            }
            let again = attempt.class.is_some() && mode == Mode::Judge && judgement.decision.is_none();
            let is_learnt = phase == Phase::History && attempt.class.is_none();
            let record = if is_learnt { Record::Learnt(attempt) } else { Record::Attempt(attempt) };
            out.push(Effect::Record(record));
            if let Some(subject) = subject.filter(|_| again) {
                self.retry_withheld(jail, (&name, subject), now, out);
            }
        }
        if !judgement.tried.is_empty() {
            out.push(Effect::Record(Record::Tried(judgement.tried)));
        }
        if let Some(spared) = judgement.spared {
            self.spare(spared, now, out);
        }
        if let Some(soon) = judgement.soon {
            self.tell_soon(soon, now, out);
        }
        if let Some(decision) = judgement.decision {
            self.ban_by_jail(jail, decision, now, out);
        }
    }

    pub(super) fn seen_although_banned(
        &mut self,
        jail: &JailName,
        subject: Prefix,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        let long_ago = |ban: &Ban| ban.jail == *jail && now.since(ban.since) >= NO_EFFECT.1;
        if !self.enforcing || !self.ledger.covering(subject).iter().any(long_ago) {
            return;
        }
        if self.after_ban.len() >= MOST_AFTER_BAN {
            self.after_ban.clear();
        }
        let count = self.after_ban.entry(subject).or_default();
        *count += 1;
        if count.is_multiple_of(NO_EFFECT.0) {
            out.push(Effect::Say(Notice::NoEffect(jail.clone(), subject)));
        }
    }

    pub(super) fn ban_by_jail(
        &mut self,
        jail: JailIndex,
        mut decision: Decision,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        if let Some(rules) = self.judge.line_rules(jail) {
            decision.scope = rules.reach.scope(&decision.jail);
            return match rules.asks {
                true => out.push(Effect::Ask(Box::new(decision))),
                false => self.take_ban(jail, decision, now, out),
            };
        }
        decision.scope = self.scope_of(decision.prefix, &decision.jail);
        self.take_ban(jail, decision, now, out);
    }

    /// Which traffic a ban of `prefix` shuts out (`scope`).
    pub(super) fn scope_of(&self, prefix: Prefix, jail: &JailName) -> Scope {
        let talks = || self.talks_to.range(prefix.addr()..=prefix.last_addr()).next().is_some();
        let limited = match self.limit_to_ports {
            ScopeRule::All => false,
            ScopeRule::Ports => true,
            ScopeRule::Auto => talks(),
        };
        if limited { Scope::Ports(jail.clone()) } else { Scope::All }
    }

    pub(super) fn take_ban(
        &mut self,
        jail: JailIndex,
        decision: Decision,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        if self.withholds(&decision, now, out) {
            return;
        }
        self.judge.past.began(decision.prefix, &decision.jail, decision.since);
        if let Some(counters) = self.counters.get_mut(usize::from(jail)) {
            counters.bans += 1;
        }
        let widens = self.offended(&decision);
        if decision.until.is_over(now) {
            out.push(Effect::Record(Record::Missed(decision)));
        } else {
            let (prefix, name, since) = (decision.prefix, decision.jail.clone(), decision.since);
            let is_made = self.ban(decision, out);
            if widens {
                self.widen(&name, prefix, now, out);
            }
            if is_made {
                self.recount((prefix, &name), since, now, out);
            }
        }
    }
}

/// By which time an event is judged; nothing if it is history without a stamp.
fn judged_at(phase: Phase, stamp: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    match phase {
        Phase::Live => Some(now),
        Phase::CatchUp => Some(stamp.unwrap_or(now).min(now)),
        Phase::History => stamp.map(|stamp| stamp.min(now)),
    }
}
