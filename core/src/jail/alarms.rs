//! What no single source shows: outages, guessing at accounts in use from many places, campaigns.

use std::net::IpAddr;

use crate::event::{JailName, Points};
use crate::net::Prefix;
use crate::time::Timestamp;

use super::campaign::{Campaigns, Evidence, Target};
use super::names::Names;
use super::stealth::Stealth;
use super::{Mode, campaign, outage, stealth};

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alarm {
    /// Nobody can log in to a service, it seems, or somebody can again.
    Outage(outage::Change),
    /// Accounts in use are guessed at from many places, or somebody got in meanwhile.
    Stealth(stealth::Change),
    /// Many addresses that work together.
    Campaign(campaign::Change),
}

/// The watches behind [`Alarm`].
#[derive(Debug, Default)]
pub struct Alarms {
    /// Outages, while which regular places are not banned.
    pub outages: outage::Guard,
    /// Guessing at accounts in use.
    pub stealth: Stealth,
    /// Campaigns against the jails.
    pub campaigns: Campaigns,
}

impl Alarms {
    /// Somebody logged in. `account`: the number of the account, if it is known who.
    pub(super) fn good_login(
        &mut self,
        jail: &JailName,
        addr: IpAddr,
        account: Option<u64>,
        when: Timestamp,
    ) -> Option<Alarm> {
        self.outages.good_login(jail, addr, account, when).map(Alarm::Outage)
    }

    /// An account failed from where it logged in lately.
    pub(super) fn owner_failed(&mut self, jail: &JailName, addr: IpAddr, account: u64, when: Timestamp) {
        self.outages.owner_failed(jail, addr, account, when);
    }

    /// Somebody logged in before the first start. `account`: its number, if it is known who.
    pub(crate) fn learn(&mut self, jail: &JailName, addr: IpAddr, account: Option<u64>, when: Timestamp) {
        self.outages.learn(jail, addr, account, when);
    }

    /// A user logged in. `is_known`: somebody did from there lately. `asn`: the AS that the place belongs to.
    pub(super) fn good_user(
        &mut self,
        jail: &JailName,
        (place, asn): (Prefix, Option<u32>),
        (user, is_known): (&str, bool),
        when: Timestamp,
    ) -> Vec<Alarm> {
        let stealth = self.stealth.good_login(jail, place, user, is_known, when);
        let campaigns = self.campaigns.good_login(jail, place, asn, when);
        stealth.into_iter().map(Alarm::Stealth).chain(campaigns.into_iter().map(Alarm::Campaign)).collect()
    }

    /// A place from which nobody logged in lately failed at a name.
    pub(super) fn stranger(
        &mut self,
        names: &Names,
        jail: &JailName,
        place: Prefix,
        user: Option<&str>,
        (when, mode): (Timestamp, Mode),
    ) -> Vec<Alarm> {
        let Some(user) = user.filter(|user| names.is_in_use(user)) else { return Vec::new() };
        let raises = mode != Mode::Learn;
        let changes = self.stealth.failure(jail, place, user, when, raises);
        changes.into_iter().map(Alarm::Stealth).collect()
    }

    /// The same place, as a part of a campaign; see [`Campaigns::failure`].
    pub(super) fn campaign(
        &mut self,
        jail: &JailName,
        stranger: (Prefix, Target<'_>, Option<u32>),
        when: Timestamp,
        is_home: &mut dyn FnMut(u32) -> bool,
    ) -> (Evidence, Vec<Alarm>) {
        let (evidence, changes) = self.campaigns.failure(jail, stranger, when, is_home);
        (evidence, changes.into_iter().map(Alarm::Campaign).collect())
    }

    /// Whether a ban of `addr` is to be held back, see [`outage::Guard::holds_back`].
    pub(super) fn holds_back(
        &mut self,
        jail: &JailName,
        addr: IpAddr,
        points: (Points, Points),
        is_owner: bool,
        now: Timestamp,
    ) -> (bool, Option<Alarm>) {
        let (held_back, change) = self.outages.holds_back(jail, addr, points, is_owner, now);
        (held_back, change.map(Alarm::Outage))
    }

    /// Forgets what is too old and tells of what is over.
    pub(super) fn sweep(&mut self, now: Timestamp) -> Vec<Alarm> {
        let outages = self.outages.sweep(now).into_iter().map(Alarm::Outage);
        let stealth = self.stealth.sweep(now).into_iter().map(Alarm::Stealth);
        let campaigns = self.campaigns.sweep(now).into_iter().map(Alarm::Campaign);
        outages.chain(stealth).chain(campaigns).collect()
    }
}
