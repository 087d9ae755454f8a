//! A failed login: what it costs, whether it counts, and whether it bans.

use std::net::IpAddr;

use crate::event::{Attempt, Class, Decision, Origin, Points, Scope};
use crate::net::Prefix;
use crate::time::Timestamp;

use super::growth::Growth;
use super::proxies::Known;
use super::window::{Failure, evidence};
use super::{FIRST_BAN_OF_KNOWN_PLACE, Failed, Jail, JailIndex, Judge, Judgement, Mode, names};

/// Whether failures of a source count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Yes,
    /// It is never banned: people are told if it would be.
    Never,
    /// A presumed proxy, or a user whose failures never count.
    Passes,
}

/// What is known of a source besides its failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Stranger,
    /// Somebody logged in from there lately.
    KnownPlace,
    /// It takes part in a campaign that is on, with a name that does not exist here.
    Member,
}

impl Judge {
    pub(super) fn failed_login(
        &mut self,
        (index, jail): (JailIndex, &Jail),
        failed: Failed,
        addr: IpAddr,
        when: Timestamp,
        mode: Mode,
    ) -> Judgement {
        let class = self.names.refine(failed.class, failed.user.as_deref());
        let known_place = self.trust.is_known_place(addr, when);
        let subject = self.subject(addr);
        let is_decoy = self.is_decoy(class, failed.user.as_deref());
        let counts = self.counts(jail, addr, class, when);
        let (is_member, mut alarms) = match counts == Counts::Yes && !known_place {
            true => {
                let user = failed.user.as_deref();
                self.alarms.stranger(&self.names, &jail.name, subject, user, (when, mode))
            }
            false => (false, Vec::new()),
        };
        // Who tries a name that exists is judged as always: somebody's own is on every list, root's above all. Decoys
        // are judged like those.
        let names_nobody = matches!(class, Class::BadUser | Class::UnknownUser) && !is_decoy;
        let standing = match (known_place, is_member) {
            (true, _) => Standing::KnownPlace,
            (false, true) if names_nobody && !jail.policy.points.is_plain() => Standing::Member,
            _ => Standing::Stranger,
        };
        let points = self.price(jail, subject, (class, is_decoy), standing).times(failed.tries);
        let user = failed.user.as_deref().map_or(0, |user| match known_place {
            true => self.names.meant(class, user),
            false => names::hash(user),
        });
        let attempt = Attempt {
            time: when,
            jail: jail.name.clone(),
            addr,
            user: failed.user,
            class: Some(class),
            points,
            tries: failed.tries,
            connection: failed.shown,
        };
        let failure = Failure {
            time: when,
            points,
            tries: failed.tries,
            user,
            connection: failed.shown.map_or(0, |shown| shown.connection),
        };
        if counts != Counts::Yes || mode == Mode::Banned {
            let says = counts == Counts::Never && mode == Mode::Judge;
            let spared = says.then(|| self.spared_failure((index, jail), addr, failure)).flatten();
            return Judgement { attempt: Some(attempt), alarms, spared, ..Judgement::default() };
        }
        let sum = self.windows.add(index, subject, failure, &jail.policy);
        let threshold = self.threshold(jail, subject);
        if sum < threshold || mode != Mode::Judge {
            return Judgement { attempt: Some(attempt), alarms, ..Judgement::default() };
        }
        let is_owner = self.trust.is_owner(addr, attempt.user.as_deref(), when);
        let (held_back, outage) = self.alarms.holds_back(&jail.name, addr, (sum, threshold), is_owner, when);
        alarms.extend(outage);
        let decision = (!held_back).then(|| self.decide(index, jail, subject, when, standing));
        Judgement { attempt: Some(attempt), decision, spared: None, alarms }
    }

    /// Whether failures of an address count in a jail.
    fn counts(&self, jail: &Jail, addr: IpAddr, class: Class, when: Timestamp) -> Counts {
        let known = Known { never: &self.never, trust: &self.trust };
        let passes = self.proxies.spares(&jail.name, addr, when, known)
            || (self.names.good_users_are_never_banned() && class == Class::GoodUser);
        match (passes, self.never.contains_addr(addr)) {
            (true, _) => Counts::Passes,
            (false, true) => Counts::Never,
            (false, false) => Counts::Yes,
        }
    }

    /// What one try costs.
    fn price(
        &self,
        jail: &Jail,
        subject: Prefix,
        (class, is_decoy): (Class, bool),
        standing: Standing,
    ) -> Points {
        let of = |class| jail.policy.points.of(class);
        let each = match standing {
            Standing::KnownPlace => return of(class).min(of(Class::KnownUser)),
            Standing::Member => of(class).max(of(Class::BadUser)),
            Standing::Stranger if is_decoy => of(class).min(of(Class::KnownUser)),
            Standing::Stranger => of(class),
        };
        each.times(self.weight(jail, subject))
    }

    /// How many bans a source had before, as far as they lengthen those of this jail.
    pub(super) fn earlier(&self, jail: &Jail, source: Prefix, when: Timestamp) -> u32 {
        match jail.growth() {
            Some(growth) if !growth.overalljails => self.past.count_of(source, &jail.name),
            Some(_) => self.past.all(source),
            None => self.past.standing(source, when),
        }
    }

    /// How many failures one of a source counts for: where bans grow, an old acquaintance's count more.
    pub(super) fn weight(&self, jail: &Jail, source: Prefix) -> u32 {
        let maxretry = jail.policy.maxretry.0.div_ceil(100);
        jail.growth().map_or(1, |_| Growth::weight(self.past.count_of(source, &jail.name), maxretry))
    }

    /// True for a name without an account that is judged as if it had one, so that bans do not tell which exist.
    fn is_decoy(&self, class: Class, user: Option<&str>) -> bool {
        let (Some(secret), Some(user)) = (&self.secret, user) else { return false };
        matches!(class, Class::BadUser | Class::UnknownUser) && secret.is_decoy(user, self.decoys)
    }

    /// The points that ban `subject` in this jail; another number after each ban if the jail's threshold jitters.
    fn threshold(&self, jail: &Jail, subject: Prefix) -> Points {
        let jitters = self.secret.as_ref().filter(|_| jail.policy.jitter.0 > 0);
        let shift = jitters.map_or(0, |secret| {
            let key = format!("{subject} {} {}", jail.name, self.past.all(subject));
            secret.shift(&key, jail.policy.jitter)
        });
        jail.policy.threshold(shift)
    }

    fn decide(
        &mut self,
        index: JailIndex,
        jail: &Jail,
        subject: Prefix,
        when: Timestamp,
        standing: Standing,
    ) -> Decision {
        let failures = self.windows.take(index, subject);
        let (tries, reason) = evidence(&failures, when);
        self.names.banned_source_tried(failures.iter().map(|failure| failure.user));
        // Bots of a campaign come back: their first ban is as long as the second of others.
        let earlier = self.earlier(jail, subject, when) + u32::from(standing == Standing::Member);
        let bantime = match jail.growth() {
            None => jail.policy.bantime.step(earlier),
            Some(growth) => {
                growth.bantime(jail.policy.bantime.step(0), earlier, self.past.chance(subject, when))
            }
        };
        let bantime = match bantime {
            step if standing == Standing::KnownPlace && earlier == 0 => step.min(FIRST_BAN_OF_KNOWN_PLACE),
            step => step,
        };
        Decision {
            prefix: subject,
            jail: jail.name.clone(),
            since: when,
            until: bantime.end(when),
            failures: tries,
            reason,
            origin: Origin::Local,
            scope: Scope::All,
            forced: false,
        }
    }
}
