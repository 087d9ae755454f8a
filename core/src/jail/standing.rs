//! Who fails: what is known of a source besides its failures, what its failures cost, and how long its first ban is.

use std::net::IpAddr;

use crate::event::{Class, Points};
use crate::net::Prefix;
use crate::time::{BanTime, Span, Timestamp};

use super::trust::Neighbour;
use super::window::Failure;
use super::{Jail, JailIndex, Judge};

/// How long who is likely a person who mistypes stays banned the first time. Source: design, "Recent good logins".
pub(super) const SHORT_BAN: BanTime = BanTime::For(Span::from_secs(600));

/// What is known of a source besides its failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Stranger,
    /// It takes part in a campaign that is on, with a name that does not exist here.
    Member,
    /// It is beside a known place, the account logged in from there lately, and the network's rope lasts.
    Neighbour,
    /// Somebody logged in from there lately.
    KnownPlace,
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
        let each = match standing {
            Standing::KnownPlace => return of(class).min(of(Class::KnownUser)),
            Standing::Neighbour => of(class).min(of(Class::GoodUser)),
            Standing::Member => of(class).max(of(Class::BadUser)),
            Standing::Stranger if is_decoy => of(class).min(of(Class::KnownUser)),
            Standing::Stranger => of(class),
        };
        each.times(self.weight(jail, subject))
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
        let near = self.trust.accounts_near(addr, when);
        neighbour.has_rope && self.tried_only((index, jail), subject, when, |account| near.contains(&account))
    }

    fn tried_only(
        &self,
        (index, jail): (JailIndex, &Jail),
        subject: Prefix,
        when: Timestamp,
        is_own: impl Fn(u64) -> bool,
    ) -> bool {
        let tried = self.windows.failures(index, subject, when, jail.policy.findtime);
        tried.iter().all(|failure| is_own(failure.user))
    }

    /// True if the first ban for these failures is [`SHORT_BAN`] at most: somebody logs in from there, or all of them
    /// are of good users or of those who logged in from the addresses beside.
    pub(super) fn is_first_ban_short(
        &self,
        standing: Standing,
        addr: IpAddr,
        failures: &[Failure],
        when: Timestamp,
    ) -> bool {
        let near = match standing {
            Standing::KnownPlace => return true,
            Standing::Neighbour => self.trust.accounts_near(addr, when),
            Standing::Stranger | Standing::Member => Vec::new(),
        };
        failures.iter().all(|failure| self.names.is_good_user(failure.user) || near.contains(&failure.user))
    }
}
