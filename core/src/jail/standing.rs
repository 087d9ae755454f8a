//! Who fails: what is known of a source besides its failures, what its failures cost, and how long its first ban is.

use std::net::IpAddr;

use crate::event::{Class, Points};
use crate::net::Prefix;
use crate::reason::Why;
use crate::time::{BanTime, Span, Timestamp};

use super::alarms::Alarm;
use super::campaign::{Evidence, Target};
use super::trust::Neighbour;
use super::window::Failure;
use super::{Jail, JailIndex, Judge, Mode, campaign, names, never};

/// How long who is likely a person who mistypes stays banned the first time. Source: design, "Recent good logins".
const SHORT_BAN: BanTime = BanTime::For(Span::from_secs(600));

/// The same for a second ban of a place from which somebody logs in.
const SECOND_BAN: BanTime = BanTime::For(Span::from_secs(3_600));

/// What is known of a source besides its failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody logged in from there lately; what others try tells this of it.
    Stranger(Evidence),
    /// It is beside a known place, the account logged in from there lately, and the network's rope lasts.
    Neighbour,
    /// Somebody logged in from there lately.
    KnownPlace,
}

impl Standing {
    /// Why a try costs more than its class says.
    pub(super) fn why(self) -> Why {
        match self {
            Standing::Stranger(Evidence::Listed | Evidence::Hunted) => Why::ManyTry,
            Standing::Stranger(Evidence::Member) => Why::Campaign,
            Standing::Stranger(Evidence::Accounts(_)) => Why::Accounts,
            Standing::Stranger(Evidence::Spray) => Why::Spray,
            Standing::Stranger(Evidence::Returned) => Why::Returned,
            Standing::Stranger(Evidence::None) | Standing::Neighbour | Standing::KnownPlace => Why::Usual,
        }
    }
}

impl Judge {
    /// What one try costs.
    pub(super) fn price(
        &self,
        jail: &Jail,
        subject: Prefix,
        (class, is_decoy): (Class, bool),
        standing: Standing,
    ) -> Points {
        let of = |class| jail.policy.points.of(class);
        let evidence = match standing {
            Standing::KnownPlace => return of(class).min(of(Class::KnownUser)),
            Standing::Neighbour => {
                return of(class).min(of(Class::GoodUser)).times(self.weight(jail, subject));
            }
            // Where all classes cost the same nothing is asked but the number of failures.
            Standing::Stranger(_) if jail.policy.points.is_plain() => Evidence::None,
            Standing::Stranger(evidence) => evidence,
        };
        let usual = if is_decoy { of(class).min(of(Class::KnownUser)) } else { of(class) };
        let bans = self.threshold(jail, subject);
        let each = match evidence {
            Evidence::None => usual,
            Evidence::Returned => usual.times(2),
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

    /// What a failure tells of a place from which nobody logged in lately, by what others try.
    pub(super) fn stranger(
        &mut self,
        jail: &Jail,
        (addr, place): (IpAddr, Prefix),
        user: Option<&str>,
        (class, is_decoy): (Class, bool),
        (when, mode): (Timestamp, Mode),
    ) -> (Evidence, Vec<Alarm>) {
        let mut alarms = self.alarms.stranger(&self.names, &jail.name, place, user, (when, mode));
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
        let (trust, spared, networks) = (&self.trust, &self.never, &self.networks);
        let mut is_home = |number| {
            let belongs = |addr| networks.as_ref().and_then(|networks| networks.asn(addr)) == Some(number);
            let mut ours = spared.entries().iter().filter(|(_, why)| *why != never::Why::Reserved);
            trust.places().any(|login| belongs(login.addr)) || ours.any(|(prefix, _)| belongs(prefix.addr()))
        };
        let (evidence, more) = self.alarms.campaign(&jail.name, (place, target, asn), when, &mut is_home);
        alarms.extend(more);
        (evidence, alarms)
    }

    /// The class by which a failure is priced: a good user's is mild from where nothing else is tried, or from where
    /// somebody logs in.
    pub(super) fn priced_as(
        &self,
        (index, jail): (JailIndex, &Jail),
        (class, user): (Class, Option<&str>),
        (subject, comes): (Prefix, bool),
        when: Timestamp,
    ) -> Class {
        if class != Class::GoodUser || comes {
            return class;
        }
        match self.tried_only((index, jail), subject, when, |account| self.names.is_good_user(account)) {
            true => class,
            false if user == Some("root") => Class::Root,
            false => Class::KnownUser,
        }
    }

    /// True if a source beside a known place has the rope of its network: it fails at an account that logged in from
    /// there, and has tried none but such.
    pub(super) fn has_rope(
        &self,
        (index, jail): (JailIndex, &Jail),
        (addr, subject): (IpAddr, Prefix),
        neighbour: Neighbour,
        when: Timestamp,
    ) -> bool {
        let near = self.trust.near(addr, when);
        neighbour.has_rope && self.tried_only((index, jail), subject, when, |account| near.has(account))
    }

    /// True if a stranger fails again after [`campaign::PAUSE`] while a campaign is on.
    pub(super) fn comes_back(
        &self,
        (index, jail): (JailIndex, &Jail),
        subject: Prefix,
        when: Timestamp,
    ) -> bool {
        let mut tried = self.windows.failures(index, subject, when, jail.policy.findtime);
        let first = tried.next().filter(|first| when.since(first.time) >= campaign::PAUSE);
        first.is_some() && self.alarms.campaigns.is_on(&jail.name)
    }

    fn tried_only(
        &self,
        (index, jail): (JailIndex, &Jail),
        subject: Prefix,
        when: Timestamp,
        is_own: impl Fn(u64) -> bool,
    ) -> bool {
        let mut tried = self.windows.failures(index, subject, when, jail.policy.findtime);
        tried.all(|failure| is_own(failure.user))
    }

    /// How long a ban for these failures may last, if that is limited: the first for [`SHORT_BAN`] where somebody logs in
    /// from there, or all of them are of good users or of those who logged in from the addresses beside.
    ///
    /// Where somebody logs in from, the second lasts [`SECOND_BAN`] and none longer than a stranger's first: a telephone
    /// that has the old password, or whoever shares the address, is not to keep the owner out for a week. Where logins
    /// name nobody and could be forged, only the first is short, of a regular place and in the jail that saw it.
    pub(super) fn longest_ban(
        &self,
        (jail, earlier): (&Jail, u32),
        (standing, addr): (Standing, IpAddr),
        failures: &[Failure],
        when: Timestamp,
    ) -> Option<BanTime> {
        let is_regular = || self.alarms.outages.is_regular(&jail.name, addr, when);
        let near = match (standing, earlier) {
            (Standing::KnownPlace, 0) => return Some(SHORT_BAN),
            (Standing::KnownPlace, 1) => return Some(SECOND_BAN),
            (Standing::KnownPlace, _) => return Some(jail.policy.bantime.step(0)),
            (_, 1..) => return None,
            (_, 0) if is_regular() => return Some(SHORT_BAN),
            (Standing::Neighbour, 0) => Some(self.trust.near(addr, when)),
            (Standing::Stranger(_), 0) => None,
        };
        let is_own = |user| self.names.is_good_user(user) || near.is_some_and(|near| near.has(user));
        failures.iter().all(|failure| is_own(failure.user)).then_some(SHORT_BAN)
    }
}
