//! A failed login: what it costs, whether it counts, and whether it bans.

use std::net::IpAddr;

use crate::event::{Attempt, Class, Decision, Origin, Points, Scope};
use crate::net::Prefix;
use crate::time::Timestamp;

use super::alarms::Alarm;
use super::campaign::{Evidence, Target};
use super::growth::Growth;
use super::never::Why;
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
    /// Nobody logged in from there lately; what others try tells this of it.
    Stranger(Evidence),
    /// Somebody logged in from there lately.
    KnownPlace,
}

impl Standing {
    /// Why a try costs more than its class says, for people.
    fn why(self) -> &'static str {
        match self {
            Standing::Stranger(Evidence::Listed | Evidence::Hunted) => ", a name that many try",
            Standing::Stranger(Evidence::Member) => ", a campaign",
            Standing::Stranger(Evidence::Accounts(_)) => ", several accounts",
            Standing::Stranger(Evidence::Spray) => ", several accounts while many try accounts",
            Standing::Stranger(Evidence::None) | Standing::KnownPlace => "",
        }
    }
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
        let user = failed.user.as_deref();
        let (standing, mut alarms) = match known_place {
            true => (Standing::KnownPlace, Vec::new()),
            false if counts == Counts::Yes => {
                let (evidence, alarms) =
                    self.stranger(jail, (addr, subject), user, (class, is_decoy), (when, mode));
                (Standing::Stranger(evidence), alarms)
            }
            false => (Standing::Stranger(Evidence::None), Vec::new()),
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

    /// What a failure tells of a place from which nobody logged in lately, by what others try.
    fn stranger(
        &mut self,
        jail: &Jail,
        (addr, place): (IpAddr, Prefix),
        user: Option<&str>,
        (class, is_decoy): (Class, bool),
        (when, mode): (Timestamp, Mode),
    ) -> (Evidence, Vec<Alarm>) {
        let mut alarms: Vec<Alarm> =
            self.alarms.stranger(&self.names, &jail.name, place, user, (when, mode)).into_iter().collect();
        // Owners try root and the logins of cloud images beside their own.
        let Some(user) = user.filter(|user| !names::is_cloud_login(user)) else {
            return (Evidence::None, alarms);
        };
        let target = match class {
            Class::BadUser | Class::UnknownUser if !is_decoy => Target::Nobody(user),
            Class::BadUser | Class::UnknownUser | Class::KnownUser | Class::GoodUser
                if jail.policy.one_account =>
            {
                Target::Account(user)
            }
            _ => return (Evidence::None, alarms),
        };
        // What was written before the first start may be over long since.
        if mode == Mode::Learn {
            return (Evidence::None, alarms);
        }
        let asn = self.asn(addr);
        let (trust, never, networks) = (&self.trust, &self.never, &self.networks);
        let mut is_home = |number| {
            let belongs = |addr| networks.as_ref().and_then(|networks| networks.asn(addr)) == Some(number);
            let mut ours = never.entries().iter().filter(|(_, why)| *why != Why::Reserved);
            trust.places().any(|(addr, _)| belongs(addr)) || ours.any(|(prefix, _)| belongs(prefix.addr()))
        };
        let (evidence, more) = self.alarms.campaign(&jail.name, (place, target, asn), when, &mut is_home);
        alarms.extend(more);
        (evidence, alarms)
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
        let evidence = match standing {
            Standing::KnownPlace => return of(class).min(of(Class::KnownUser)),
            // Where all classes cost the same nothing is asked but the number of failures.
            Standing::Stranger(_) if jail.policy.points.is_plain() => Evidence::None,
            Standing::Stranger(evidence) => evidence,
        };
        let usual = if is_decoy { of(class).min(of(Class::KnownUser)) } else { of(class) };
        let bans = self.threshold(jail, subject);
        let each = match evidence {
            Evidence::None => usual,
            Evidence::Listed => usual.max(Points(usual.plus(bans).0 / 2)),
            Evidence::Hunted | Evidence::Member | Evidence::Spray => usual.max(bans),
            // Never more than for a name that does not exist, or bans would tell which do.
            Evidence::Accounts(count) => {
                let more = of(Class::KnownUser).times(count.saturating_sub(1));
                usual.plus(more).min(of(Class::UnknownUser)).max(usual)
            }
        };
        each.times(self.weight(jail, subject))
    }

    /// How many bans a source had before, as far as they lengthen those of this jail.
    pub(super) fn earlier(&self, jail: &Jail, source: Prefix) -> u32 {
        match jail.growth() {
            Some(growth) if !growth.overalljails => self.past.count_of(source, &jail.name),
            _ => self.past.count(source),
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
            let key = format!("{subject} {} {}", jail.name, self.past.count(subject));
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
        let reason = if jail.policy.points.is_plain() { reason } else { reason + standing.why() };
        // Bots of a campaign come back: their first ban is as long as the second of others.
        let is_member = standing == Standing::Stranger(Evidence::Member) && !jail.policy.points.is_plain();
        let earlier = self.earlier(jail, subject) + u32::from(is_member);
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

#[cfg(test)]
mod tests;
