//! Campaigns: many addresses that work together, each with a few tries. Counting by address lets them all through.
//!
//! Only strangers are looked at, places from which nobody logged in lately. What each try tells, besides itself, is an
//! [`Evidence`]:
//!
//! - A name that does not exist here is on the list if [`LISTED`] others tried it within a day; it costs more then, and
//!   bans at once when [`HUNTED`] did (`listed`). A name that one person mistypes never is.
//! - Who tries a listed name is a member of a campaign. From [`BEGINS`] members within a day on it is on, until they are
//!   fewer than [`ENDS`]; while it is, a listed name bans at once, for as long as a second ban lasts.
//! - Places that share a list of novel names belong to one group, however slow they are (`lists`), and so do the networks
//!   of one operator that attack together (`systems`): any name that does not exist bans their strangers at once.
//! - A stranger who tries a second account is no person who mistypes: that costs more, and bans at once while many
//!   strangers try accounts (`accounts`).
//!
//! - While a campaign is on, whoever fails again an hour or more later costs twice as much, whatever the name.
//!
//! Apart from the last two, names that exist cost what they always cost, for an owner's own is on every list.

mod accounts;
mod listed;
mod lists;
mod systems;
mod told;

use std::collections::VecDeque;

use crate::event::JailName;
use crate::hash::FastMap;
use crate::net::Prefix;
use crate::table::{PrefixMap, crowd_bytes};
use crate::time::{Span, Timestamp};

use super::names;
use accounts::Accounts;
use listed::Listed;
use lists::Lists;
use systems::{Systems, Turn};
use told::TOLD;
pub use told::{Campaign, Change, Group, Spray, System};

/// So many other places have tried a name that is on the list.
pub const LISTED: usize = 5;

/// So many others make a name as bad as the notorious ones, which every guessing program tries. Source: of the 22
/// sources a day that find any host (57 days of a honeypot, 2018) about a half.
pub const HUNTED: usize = 10;

/// A campaign begins with so many members within a day. Source: the same 22.
pub const BEGINS: usize = 50;

/// It ends with fewer.
pub const ENDS: usize = 25;

/// Who mistypes tries again at once; who does so after as long, and never gets in, does not belong here.
pub const PAUSE: Span = Span::from_secs(3_600);

const DAY: Span = Span::from_secs(86_400);
const WEEK: Span = Span::from_secs(7 * 86_400);

/// Nothing of a campaign is remembered for longer.
pub const MEMORY: Span = lists::BELONGS;

/// Memory: so many members a jail; those that were seen last stay.
const MAX_MEMBERS: usize = 65_536;

/// Bytes of all that is known of a jail, but for the operators of a database of networks: members in a table and twice as
/// many places in a ring that doubles.
pub(crate) const MOST_BYTES: usize = listed::MOST_BYTES
    + lists::MOST_BYTES
    + accounts::MOST_BYTES
    + crowd_bytes(MAX_MEMBERS, size_of::<(Prefix, Timestamp)>())
    + (2 * MAX_MEMBERS + 1).next_power_of_two() * size_of::<(Timestamp, Prefix)>();

/// What a stranger tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'t> {
    /// A name that does not exist here.
    Nobody(&'t str),
    /// A name that is judged like an account: one that exists, or a decoy.
    Account(&'t str),
}

/// What a try tells besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing.
    None,
    /// Some others try that name.
    Listed,
    /// Many do.
    Hunted,
    /// It takes part in a campaign.
    Member,
    /// So many accounts were tried from there, more than one.
    Accounts(u32),
    /// The same, while many strangers try accounts.
    Spray,
    /// It comes back after [`PAUSE`] or more without ever getting in, while a campaign is on.
    Returned,
}

#[derive(Debug, Default)]
struct Watch {
    listed: Listed,
    lists: Lists,
    systems: Systems,
    accounts: Accounts,
    members: PrefixMap<Timestamp>,
    /// When members were seen, the oldest first; [`Watch::members`] knows which of these still hold.
    order: VecDeque<(Timestamp, Prefix)>,
    since: Option<Timestamp>,
}

/// The campaigns against all jails.
#[derive(Debug, Default)]
pub struct Campaigns {
    jails: FastMap<JailName, Watch>,
}

impl Campaigns {
    /// A stranger failed. `asn`: the AS that its network belongs to; `is_home`: whether somebody who belongs here is in an
    /// AS.
    pub fn failure(
        &mut self,
        jail: &JailName,
        (place, target, asn): (Prefix, Target<'_>, Option<u32>),
        when: Timestamp,
        is_home: &mut dyn FnMut(u32) -> bool,
    ) -> (Evidence, Vec<Change>) {
        let watch = self.jails.entry(jail.clone()).or_default();
        let user = match target {
            Target::Nobody(user) => user,
            Target::Account(user) => return watch.account(jail, (place, user), when),
        };
        let mut changes = Vec::new();
        changes.extend(watch.forget(when).then(|| Change::Ended(jail.clone())));
        let others = watch.listed.others(place, user, when);
        let (is_of_group, change) = watch.of_group(jail, (place, user), when);
        changes.extend(change);
        let (is_of_system, change) = watch.of_system(jail, (place, asn), when, is_home);
        changes.extend(change);
        if others >= LISTED || is_of_group || is_of_system {
            watch.join(place, when);
        }
        if watch.since.is_none() && watch.members.len() >= BEGINS {
            watch.since = watch.order.front().map(|(first, _)| *first);
            changes
                .extend(watch.campaign(when).map(|campaign| Change::Began { jail: jail.clone(), campaign }));
        }
        let evidence = match others {
            _ if is_of_group || is_of_system => Evidence::Member,
            LISTED.. if watch.since.is_some() => Evidence::Member,
            HUNTED.. => Evidence::Hunted,
            LISTED.. => Evidence::Listed,
            _ => Evidence::None,
        };
        (evidence, changes)
    }

    /// Somebody logged in from a place of an AS: neither is that of attackers.
    pub fn good_login(
        &mut self,
        jail: &JailName,
        place: Prefix,
        asn: Option<u32>,
        when: Timestamp,
    ) -> Vec<Change> {
        if let Some(watch) = self.jails.get_mut(jail) {
            watch.accounts.good_login(place);
        }
        let Some(number) = asn else { return Vec::new() };
        let ended = |(jail, watch): (&JailName, &mut Watch)| {
            let is_over = watch.systems.good_login(number, when);
            is_over.then(|| Change::SystemEnded(jail.clone(), number))
        };
        self.jails.iter_mut().filter_map(ended).collect()
    }

    /// True if there is a campaign against a jail.
    pub fn is_on(&self, jail: &JailName) -> bool {
        self.jails.get(jail).is_some_and(|watch| watch.since.is_some())
    }

    /// The campaign against a jail.
    pub fn on(&self, jail: &JailName, now: Timestamp) -> Option<Campaign> {
        self.jails.get(jail)?.campaign(now)
    }

    /// The places that share lists of names, if there are some.
    pub fn lists(&self, jail: &JailName, now: Timestamp) -> Option<Group> {
        self.jails.get(jail)?.group(now)
    }

    /// The strangers at the accounts of a jail, while they are many more than usual.
    pub fn spray(&self, jail: &JailName, now: Timestamp) -> Option<Spray> {
        self.jails.get(jail)?.accounts.spray(now)
    }

    /// The operators whose networks attack a jail together, by their number.
    pub fn systems(&self, jail: &JailName) -> Vec<System> {
        self.jails.get(jail).map_or_else(Vec::new, |watch| watch.systems.attacking())
    }

    /// How many places were members of a campaign against a jail within a day, whether it was on or not.
    pub fn members(&self, jail: &JailName) -> usize {
        self.jails.get(jail).map_or(0, |watch| watch.members.len())
    }

    /// True if a place was a member of a campaign against a jail within a day, whether it was on or not.
    pub fn is_member(&self, jail: &JailName, place: Prefix, now: Timestamp) -> bool {
        let seen = self.jails.get(jail).and_then(|watch| watch.members.get(place));
        seen.is_some_and(|seen| now.since(*seen) < DAY)
    }

    /// Forgets what is too old, and tells of campaigns that are over.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Change> {
        let mut ended = Vec::new();
        for (jail, watch) in &mut self.jails {
            watch.listed.sweep(now);
            ended.extend(watch.lists.sweep(now).then(|| Change::ListsEnded(jail.clone())));
            ended.extend(watch.accounts.sweep(now).then(|| Change::SprayEnded(jail.clone())));
            let over = watch.systems.sweep(now);
            ended.extend(over.into_iter().map(|number| Change::SystemEnded(jail.clone(), number)));
            ended.extend(watch.forget(now).then(|| Change::Ended(jail.clone())));
        }
        ended
    }
}

impl Watch {
    /// A stranger failed at an account.
    fn account(
        &mut self,
        jail: &JailName,
        (place, user): (Prefix, &str),
        when: Timestamp,
    ) -> (Evidence, Vec<Change>) {
        let was_spray = self.accounts.is_spray();
        let count = self.accounts.failure(place, user, when);
        let is_spray = self.accounts.is_spray();
        let change = match (was_spray, is_spray) {
            (false, true) => {
                self.accounts.spray(when).map(|spray| Change::SprayBegan { jail: jail.clone(), spray })
            }
            (true, false) => Some(Change::SprayEnded(jail.clone())),
            _ => None,
        };
        let evidence = match count {
            0 | 1 => Evidence::None,
            _ if is_spray => Evidence::Spray,
            count => Evidence::Accounts(count),
        };
        (evidence, change.into_iter().collect())
    }

    /// True if a place that tries a name belongs to a group with one list.
    fn of_group(
        &mut self,
        jail: &JailName,
        (place, user): (Prefix, &str),
        when: Timestamp,
    ) -> (bool, Option<Change>) {
        let was_on = self.lists.is_on();
        let belongs = self.lists.belongs(place, names::hash(user), when);
        let began = if was_on || !self.lists.is_on() { None } else { self.group(when) };
        (belongs, began.map(|group| Change::ListsBegan { jail: jail.clone(), group }))
    }

    fn group(&self, now: Timestamp) -> Option<Group> {
        let (since, places) = self.lists.group(now)?;
        let shared =
            self.listed.names().filter_map(|name| Some((self.lists.sharing(names::hash(name), now)?, name)));
        Some(Group { since, places, names: listed::most(shared.collect(), TOLD) })
    }

    /// True if the AS of a place attacks.
    fn of_system(
        &mut self,
        jail: &JailName,
        (place, asn): (Prefix, Option<u32>),
        when: Timestamp,
        is_home: &mut dyn FnMut(u32) -> bool,
    ) -> (bool, Option<Change>) {
        let Some(number) = asn else { return (false, None) };
        match self.systems.failure(number, place, when, is_home) {
            Turn::None(attacks) => (attacks, None),
            Turn::Began(system) => (true, Some(Change::SystemBegan { jail: jail.clone(), system })),
            Turn::Ended => (false, Some(Change::SystemEnded(jail.clone(), number))),
        }
    }

    fn campaign(&self, now: Timestamp) -> Option<Campaign> {
        let since = self.since?;
        let names = self.listed.most_tried(TOLD, now);
        Some(Campaign { since, members: self.members.len(), names })
    }

    fn join(&mut self, place: Prefix, when: Timestamp) {
        let is_known = self.members.get(place) == Some(&when);
        *self.members.entry(place, || when) = when;
        if is_known {
            return;
        }
        self.order.push_back((when, place));
        // Each entry is either the member's last one or passed over, so twice as many are enough.
        while self.members.len() > MAX_MEMBERS || self.order.len() > 2 * MAX_MEMBERS {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((when, place)) = self.order.pop_front()
            && self.members.get(place) == Some(&when)
        {
            self.members.remove(place);
        }
    }

    /// Forgets members that were not seen for a day; true if a campaign ended by that.
    fn forget(&mut self, now: Timestamp) -> bool {
        while self.order.front().is_some_and(|(when, _)| now.since(*when) >= DAY) {
            self.drop_oldest();
        }
        let is_over = self.since.is_some() && self.members.len() < ENDS;
        if is_over {
            self.since = None;
        }
        is_over
    }
}

#[cfg(test)]
mod tests;
