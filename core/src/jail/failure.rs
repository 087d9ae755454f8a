//! A failed login: what it costs, whether it counts, and whether it bans.

use std::net::IpAddr;

use crate::event::{Attempt, Class, Decision, Origin, Points, Scope, Shown, UserName};
use crate::net::Prefix;
use crate::reason::Reason;
use crate::time::Timestamp;

use super::alarms::Alarm;
use super::campaign::Evidence;
use super::growth::Growth;
use super::names::Tried;
use super::outage::NOBODY;
use super::proxies::Known;
use super::soon::{Soon, failures_left};
use super::standing::Standing;
use super::window::{Failure, evidence, part_of};
use super::{Jail, JailIndex, Judge, Judgement, Mode, names};

/// A line that added attempts to its connection.
pub(super) struct Failed {
    pub(super) tries: u32,
    pub(super) class: Class,
    pub(super) user: Option<UserName>,
    pub(super) shown: Option<Shown>,
}

/// Whether failures of a source count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Yes,
    /// It is never banned: people are told if it would be.
    Never,
    /// A presumed proxy, or a user whose failures never count.
    Passes,
}

/// A failure once everything known of its source and its user is looked at.
struct Seen {
    class: Class,
    /// The class by which it is priced.
    priced: Class,
    subject: Prefix,
    standing: Standing,
    counts: Counts,
    /// The number of the account that was meant.
    account: u64,
    /// What each try costs.
    each: Points,
    /// True if the account logged in from there lately; where nobody is named, if somebody does regularly.
    is_owner: bool,
    alarms: Vec<Alarm>,
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
        let seen = self.look_at((index, jail), &failed, addr, when, mode);
        let points = seen.each.times(failed.tries);
        let failure = Failure {
            time: when,
            points,
            tries: failed.tries,
            user: seen.account,
            connection: failed.shown.map_or(0, |shown| part_of(shown.connection)),
        };
        let attempt = Attempt {
            time: when,
            jail: jail.name.clone(),
            addr,
            user: failed.user,
            class: Some(seen.class),
            points,
            tries: failed.tries,
            connection: failed.shown,
        };
        let user = attempt.user.clone();
        let mut judgement = Judgement { attempt: Some(attempt), alarms: seen.alarms, ..Judgement::default() };
        if seen.counts != Counts::Yes || mode == Mode::Banned {
            let says = seen.counts == Counts::Never && mode == Mode::Judge;
            judgement.spared = says.then(|| self.spared_failure((index, jail), addr, failure)).flatten();
            return judgement;
        }
        if seen.standing == Standing::Neighbour {
            self.trust.spend_rope(addr, failed.tries, when);
        }
        let sum = self.windows.add(index, seen.subject, failure, &jail.policy);
        let threshold = self.threshold(jail, seen.subject);
        if mode != Mode::Judge {
            return judgement;
        }
        if sum < threshold {
            let left = failures_left((sum, threshold), seen.each, (seen.priced, seen.standing));
            judgement.soon = left.map(|left| Soon {
                jail: jail.name.clone(),
                prefix: seen.subject,
                user: user.filter(|user| self.names.is_known(user)),
                points: sum,
                left,
                comes: matches!(seen.standing, Standing::KnownPlace | Standing::Neighbour),
            });
            return judgement;
        }
        let (held_back, outage) =
            self.alarms.holds_back(&jail.name, addr, (sum, threshold), seen.is_owner, when);
        judgement.alarms.extend(outage);
        let source = (addr, seen.subject, seen.standing);
        if !held_back {
            let (decision, tried) = self.decide((index, jail), source, when);
            (judgement.decision, judgement.tried) = (Some(decision), tried);
        }
        judgement
    }

    fn look_at(
        &mut self,
        (index, jail): (JailIndex, &Jail),
        failed: &Failed,
        addr: IpAddr,
        when: Timestamp,
        mode: Mode,
    ) -> Seen {
        let user = failed.user.as_deref();
        let class = self.names.refine(failed.class, user);
        let subject = self.subject(addr);
        let counts = self.counts(jail, addr, class, when);
        let comes = self.trust.is_known_place(addr, when);
        let is_owner = self.fails_at_home(&jail.name, addr, user, when);
        let mut account = user.map_or(NOBODY, |user| self.names.meant(class, user, comes));
        if is_owner && mode == Mode::Judge {
            self.alarms.owner_failed(&jail.name, addr, account, when);
        }
        let is_decoy = self.is_decoy(class, user);
        let (evidence, alarms) = match counts == Counts::Yes && !comes {
            true => self.stranger(jail, (addr, subject), user, (class, is_decoy), (when, mode)),
            false => (Evidence::None, Vec::new()),
        };
        let evidence = match evidence {
            Evidence::None if !comes && self.comes_back((index, jail), subject, when) => Evidence::Returned,
            evidence => evidence,
        };
        let neighbour = match user.filter(|_| !comes) {
            Some(user) => self.trust.neighbour(addr, user, failed.tries, when),
            None => None,
        };
        account = neighbour.map_or(account, |neighbour| neighbour.account);
        let has_rope =
            neighbour.is_some_and(|found| self.has_rope((index, jail), (addr, subject), found, when));
        let standing = match (comes, has_rope) {
            (true, _) => Standing::KnownPlace,
            (false, true) => Standing::Neighbour,
            (false, false) => Standing::Stranger(evidence),
        };
        let priced = self.priced_as((index, jail), (class, user), (subject, comes), when);
        let each = self.price(jail, subject, (priced, is_decoy), standing);
        Seen { class, priced, subject, standing, counts, account, each, is_owner, alarms }
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
    pub(super) fn is_decoy(&self, class: Class, user: Option<&str>) -> bool {
        let (Some(secret), Some(user)) = (&self.secret, user) else { return false };
        matches!(class, Class::BadUser | Class::UnknownUser)
            && secret.is_decoy(&names::alike(user), self.decoys)
    }

    /// The points that ban `subject` in this jail; another number after each ban if the jail's threshold jitters.
    pub fn threshold(&self, jail: &Jail, subject: Prefix) -> Points {
        let jitters = self.secret.as_ref().filter(|_| jail.policy.jitter.0 > 0);
        let shift = jitters.map_or(0, |secret| {
            let key = format!("{subject} {} {}", jail.name, self.past.all(subject));
            secret.shift(&key, jail.policy.jitter)
        });
        jail.policy.threshold(shift)
    }

    /// A number from 0 up to 1 that nobody outside can foresee; the same for the same ban if the host has a secret.
    pub(super) fn chance(&self, prefix: Prefix, when: Timestamp) -> f64 {
        match &self.secret {
            Some(secret) => secret.chance(&format!("{prefix} {}", when.millis())),
            None => self.past.chance(prefix, when),
        }
    }

    fn decide(
        &mut self,
        (index, jail): (JailIndex, &Jail),
        (addr, subject, standing): (IpAddr, Prefix, Standing),
        when: Timestamp,
    ) -> (Decision, Vec<Tried>) {
        let failures = self.windows.take(index, subject);
        let mut counted = evidence(&failures, when);
        let users = failures.iter().map(|failure| failure.user);
        let tried = self.names.banned_source_tried(subject, users, when);
        if !jail.policy.points.is_plain() {
            counted.why = standing.why();
        }
        // Bots of a campaign come back: their first ban is as long as the second of others.
        let is_member = standing == Standing::Stranger(Evidence::Member) && !jail.policy.points.is_plain();
        let earlier = self.earlier(jail, subject, when) + u32::from(is_member);
        let bantime = match jail.growth() {
            None => jail.policy.bantime.step(earlier),
            Some(growth) => growth.bantime(jail.policy.bantime.step(0), earlier, self.chance(subject, when)),
        };
        let longest = self.longest_ban((jail, earlier), (standing, addr), &failures, when);
        let bantime = longest.map_or(bantime, |longest| bantime.min(longest));
        let decision = Decision {
            prefix: subject,
            jail: jail.name.clone(),
            since: when,
            until: bantime.end(when),
            failures: counted.tries,
            reason: Reason::Counted(counted),
            origin: Origin::Local,
            scope: Scope::All,
            forced: false,
        };
        (decision, tried)
    }
}

#[cfg(test)]
mod tests;
