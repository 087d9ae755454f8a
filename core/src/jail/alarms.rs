//! What no single source shows: outages, guessing at accounts in use from many places, campaigns.

use std::net::IpAddr;

use crate::event::{JailName, Points};
use crate::net::Prefix;
use crate::time::Timestamp;

use super::campaign::Campaigns;
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
    /// Many addresses with one list of names.
    Campaign(campaign::Change),
}

/// The watches behind [`Alarm`].
#[derive(Debug, Default)]
pub struct Alarms {
    outages: outage::Guard,
    stealth: Stealth,
    /// Campaigns against the jails.
    pub campaigns: Campaigns,
}

impl Alarms {
    /// Somebody logged in. `named`: it is known who.
    pub(super) fn good_login(
        &mut self,
        jail: &JailName,
        addr: IpAddr,
        named: bool,
        when: Timestamp,
    ) -> Option<Alarm> {
        self.outages.good_login(jail, addr, named, when).map(Alarm::Outage)
    }

    /// Somebody logged in before the first start. `named`: it is known who.
    pub(crate) fn learn(&mut self, jail: &JailName, addr: IpAddr, named: bool, when: Timestamp) {
        self.outages.learn(jail, addr, named, when);
    }

    /// A user logged in. `is_known`: somebody did from there lately.
    pub(super) fn good_user(
        &mut self,
        jail: &JailName,
        place: Prefix,
        (user, is_known): (&str, bool),
        when: Timestamp,
    ) -> Option<Alarm> {
        self.stealth.good_login(jail, place, user, is_known, when).map(Alarm::Stealth)
    }

    /// A place from which nobody logged in lately failed at a name. True if it takes part in a campaign that is on.
    pub(super) fn stranger(
        &mut self,
        names: &Names,
        jail: &JailName,
        place: Prefix,
        user: Option<&str>,
        (when, mode): (Timestamp, Mode),
    ) -> (bool, Vec<Alarm>) {
        let Some(user) = user else { return (false, Vec::new()) };
        let mut alarms = Vec::new();
        if names.is_in_use(user) {
            let raises = mode != Mode::Learn;
            alarms.extend(self.stealth.failure(jail, place, user, when, raises).map(Alarm::Stealth));
        }
        // What was written before the first start may be over long since.
        if mode == Mode::Learn {
            return (false, alarms);
        }
        let (is_member, change) = self.campaigns.failure(jail, place, user, when);
        alarms.extend(change.map(Alarm::Campaign));
        (is_member, alarms)
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
