//! Jails read from a fail2ban directory: lines are counted, single addresses are banned, and bans are as long as
//! fail2ban makes them, so that a migration changes no decision. Who is never banned still never is.

use std::net::IpAddr;

use smol_str::SmolStr;

use crate::event::{Attempt, Class, Decision, JailName, Origin, Points, Scope};
use crate::filter::fail2ban::Subject;
use crate::net::{Prefix, PrefixSet};
use crate::reason::{Counted, Reason};
use crate::time::{BanTime, End, Span, Timestamp};

use super::growth::Growth;
use super::rate::{Rates, Tally};
use super::{Failed, Jail, JailIndex, Judge, Judgement, Mode};

/// What such a jail says.
#[derive(Debug, Clone)]
pub struct LineRules {
    /// Failures within `findtime` that ban.
    pub maxretry: u32,
    /// Length of the window.
    pub findtime: Span,
    /// How long a first ban lasts.
    pub bantime: BanTime,
    /// How later ones grow; nothing if they do not.
    pub growth: Option<Growth>,
    /// Whom the jail passes over (its `ignoreip`).
    pub ignore: PrefixSet,
    /// Which traffic its bans shut out.
    pub reach: Reach,
    /// Matched lines that are kept of a source for commands.
    pub maxmatches: u32,
    /// What was in its logs before the first start is not read (`logpath .. tail`).
    pub skips_history: bool,
    /// A command is asked before anybody is banned (`ignorecommand`).
    pub asks: bool,
    /// Names are resolved (`usedns` of `yes` or `warn`).
    pub resolves: bool,
    /// The jail has actions that run commands: they may ban whom no address names.
    pub runs_commands: bool,
    /// The jails whose bans are counted in the place of lines, each of them one failure; none for a jail that reads lines.
    pub bans_of: Vec<JailName>,
    /// A filter of ours stands in, so attempts are counted, each of them one failure.
    pub by_attempts: bool,
}

/// Which traffic the bans of a jail shut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All of it.
    All,
    /// What goes to the jail's ports.
    Ports,
    /// None: only commands are run.
    Nothing,
}

impl Reach {
    /// The scope of a ban of this jail.
    pub fn scope(self, jail: &JailName) -> Scope {
        match self {
            Reach::All => Scope::All,
            Reach::Ports => Scope::Ports(jail.clone()),
            Reach::Nothing => Scope::Nothing,
        }
    }
}

/// One failure, as a line showed it.
#[derive(Debug, Clone)]
pub struct LineFailure {
    /// Whose.
    pub prefix: Prefix,
    /// When it counts.
    pub time: Timestamp,
    /// The user that was tried.
    pub user: Option<SmolStr>,
}

impl LineRules {
    /// An empty count by these rules.
    pub(super) fn rates(&self, max_tracked: usize) -> Rates {
        Rates::new(self.maxretry, self.findtime, max_tracked)
    }
}

impl Judge {
    /// The rules of a jail that counts lines; nothing for others.
    pub fn line_rules(&self, index: JailIndex) -> Option<&LineRules> {
        self.jails.get(usize::from(index))?.lines.as_ref()
    }

    /// The jails that count the bans of this one.
    pub fn counting_bans_of(&self, jail: &JailName) -> Vec<JailIndex> {
        let counts = |known: &Jail| known.lines.as_ref().is_some_and(|rules| rules.bans_of.contains(jail));
        (0..).zip(&self.jails).filter(|(_, known)| counts(known)).map(|(index, _)| index).collect()
    }

    /// Notes that a line of such a jail was read.
    pub fn line_read(&mut self, index: JailIndex, now: Timestamp) {
        if let Some(rates) = self.rates_of(index) {
            rates.line(now);
        }
    }

    /// Counts a failure of such a jail, and decides. Nothing happens for whom the jail passes over.
    pub fn line_failure(
        &mut self,
        index: JailIndex,
        failure: &LineFailure,
        now: Timestamp,
        mode: Mode,
    ) -> Judgement {
        let Some(jail) = self.jails.get(usize::from(index)).cloned() else { return Judgement::default() };
        let Some(rules) = &jail.lines else { return Judgement::default() };
        let prefix = failure.prefix;
        if rules.ignore.contains(prefix) {
            return Judgement::default();
        }
        let attempt = Attempt {
            time: failure.time,
            jail: jail.name.clone(),
            addr: prefix.addr(),
            user: failure.user.clone(),
            class: Some(Class::KnownUser),
            points: Points(100),
            tries: 1,
            connection: None,
        };
        if self.never.overlaps(prefix) || mode == Mode::Learn {
            let says = mode == Mode::Judge && prefix.is_host();
            let limits = (rules.maxretry, rules.findtime);
            let spared =
                says.then(|| self.spared_line((index, &jail), prefix.addr(), failure.time, limits)).flatten();
            return Judgement { attempt: Some(attempt), spared, ..Judgement::default() };
        }
        let weight = self.weight(&jail, prefix);
        let source = Subject::Net(prefix);
        let Some(rates) = self.rates_of(index) else { return Judgement::default() };
        let mut tally = None;
        for _ in 0..weight {
            tally = tally.or_else(|| rates.failure(&source, failure.time, now));
        }
        // Failures of whom is banned count too: what is left of them counts when the ban is over.
        let tally = tally.filter(|_| mode == Mode::Judge);
        let decision = tally.map(|tally| self.line_ban(&jail, rules, prefix, tally));
        Judgement { attempt: Some(attempt), decision, ..Judgement::default() }
    }

    /// Counts a failure of whoever it is; if that is one too many: how many there were, and the ban's begin and end.
    pub fn subject_failure(
        &mut self,
        index: JailIndex,
        subject: &Subject,
        time: Timestamp,
        now: Timestamp,
    ) -> Option<(u32, Timestamp, End)> {
        let bantime = self.line_rules(index)?.bantime;
        let tally = self.rates_of(index)?.failure(subject, time, now)?;
        Some((tally.retry, tally.last, bantime.end(tally.last)))
    }

    /// Counts what a filter of ours saw for such a jail: each attempt is one failure of the single address.
    pub(super) fn stand_in_failure(
        &mut self,
        index: JailIndex,
        failed: Failed,
        addr: IpAddr,
        when: Timestamp,
        mode: Mode,
    ) -> Judgement {
        let failure = LineFailure { prefix: Prefix::host(addr), time: when, user: failed.user };
        let mut all = Judgement::default();
        for _ in 0..failed.tries {
            let one = self.line_failure(index, &failure, when, mode);
            let tries = all.attempt.as_ref().map_or(0, |attempt| attempt.tries);
            all.attempt =
                one.attempt.map(|attempt| Attempt { tries: tries + 1, connection: failed.shown, ..attempt });
            all.decision = all.decision.or(one.decision);
            all.spared = all.spared.or(one.spared);
        }
        all
    }

    fn line_ban(&self, jail: &Jail, rules: &LineRules, prefix: Prefix, tally: Tally) -> Decision {
        let chance = || self.chance(prefix, tally.last);
        let bantime = rules.growth.as_ref().map_or(rules.bantime, |growth| {
            growth.bantime(rules.bantime, self.earlier(jail, prefix, tally.last), chance())
        });
        Decision {
            prefix,
            jail: jail.name.clone(),
            since: tally.last,
            until: bantime.end(tally.last),
            failures: tally.retry,
            reason: Reason::Counted(Counted::new(tally.retry, tally.last.since(tally.first), None)),
            origin: Origin::Local,
            scope: rules.reach.scope(&jail.name),
            forced: false,
        }
    }

    pub(super) fn rates_of(&mut self, index: JailIndex) -> Option<&mut Rates> {
        self.rates.get_mut(usize::from(index))?.as_mut()
    }
}
