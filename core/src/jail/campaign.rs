//! Campaigns: many addresses with one list of names, each with a few tries. Counting by address lets them all through.
//!
//! A name is on the list if [`LISTED`] places tried it within a day, and who tries it then is a member. From
//! [`BEGINS`] members within a day on a campaign is on, until they are fewer than [`ENDS`]. While it is on, a listed name
//! that does not exist here bans a member at once, for as long as a second ban lasts. Names that exist cost what they
//! always cost, for an owner's own is on every list. Places from which somebody logged in lately are never members.

use std::collections::VecDeque;

use smol_str::SmolStr;

use crate::event::JailName;
use crate::hash::FastMap;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

/// So many other places have tried a name that is on the list. A name that one person mistypes never is.
pub const LISTED: usize = 5;

/// A campaign begins with so many members within a day. Source: a host that is only found by the usual scans sees
/// 22 sources a day (57 days of a honeypot, 2018).
pub const BEGINS: usize = 50;

/// It ends with fewer.
pub const ENDS: usize = 25;

const DAY: Span = Span::from_secs(86_400);

/// Memory: so many names and members a jail; those that were seen last stay.
const MAX_NAMES: usize = 8_192;
const MAX_MEMBERS: usize = 65_536;

/// So many names are told.
const TOLD: usize = 5;

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A campaign is on.
    Began {
        /// Where.
        jail: JailName,
        /// So many places are members by now.
        members: usize,
        /// When the first of them was seen.
        since: Timestamp,
        /// The names that most of them try; each was tried by several, so none is a mistyped password.
        names: Vec<SmolStr>,
    },
    /// It is over.
    Ended(JailName),
}

/// Who tried a name lately.
#[derive(Debug)]
struct Name {
    text: SmolStr,
    /// The last places, each once, at most [`LISTED`] + 1.
    places: VecDeque<(Timestamp, Prefix)>,
    members: u32,
}

#[derive(Debug, Default)]
struct Watch {
    names: FastMap<SmolStr, Name>,
    members: FastMap<Prefix, Timestamp>,
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
    /// A place failed at a name. True if it is a member of a campaign that is on.
    pub fn failure(
        &mut self,
        jail: &JailName,
        place: Prefix,
        user: &str,
        when: Timestamp,
    ) -> (bool, Option<Change>) {
        let watch = self.jails.entry(jail.clone()).or_default();
        let change = watch.forget(when).then(|| Change::Ended(jail.clone()));
        if !watch.is_listed(place, user, when) {
            return (false, change);
        }
        watch.join(place, when);
        if watch.since.is_some() || watch.members.len() < BEGINS {
            return (watch.since.is_some(), change);
        }
        watch.since = Some(when);
        let since = watch.order.front().map_or(when, |(first, _)| *first);
        let began =
            Change::Began { jail: jail.clone(), members: watch.members.len(), since, names: watch.told() };
        (true, Some(began))
    }

    /// The campaign against a jail: since when, and how many members within a day.
    pub fn on(&self, jail: &JailName) -> Option<(Timestamp, usize)> {
        let watch = self.jails.get(jail)?;
        watch.since.map(|since| (since, watch.members.len()))
    }

    /// Forgets what is too old, and tells of campaigns that are over.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Change> {
        let mut ended = Vec::new();
        for (jail, watch) in &mut self.jails {
            watch.names.retain(|_, name| name.places.back().is_some_and(|(last, _)| now.since(*last) < DAY));
            ended.extend(watch.forget(now).then(|| Change::Ended(jail.clone())));
        }
        ended
    }
}

impl Watch {
    /// Notes a try, and tells whether enough others tried that name.
    fn is_listed(&mut self, place: Prefix, user: &str, when: Timestamp) -> bool {
        if self.names.len() >= MAX_NAMES && !self.names.contains_key(user) {
            self.make_room();
        }
        let name = self.names.entry(user.into()).or_insert_with(|| Name {
            text: user.into(),
            places: VecDeque::new(),
            members: 0,
        });
        name.places.retain(|(seen, other)| *other != place && when.since(*seen) < DAY);
        let is_listed = name.places.len() >= LISTED;
        name.members = name.members.saturating_add(u32::from(is_listed));
        name.places.push_back((when, place));
        if name.places.len() > LISTED + 1 {
            name.places.pop_front();
        }
        is_listed
    }

    /// Drops the half of the names that was seen longest ago.
    fn make_room(&mut self) {
        let last = |name: &Name| name.places.back().map(|(last, _)| *last);
        let mut seen: Vec<Option<Timestamp>> = self.names.values().map(last).collect();
        let middle = seen.len() / 2;
        let (_, middle, _) = seen.select_nth_unstable(middle);
        let middle = *middle;
        self.names.retain(|_, name| last(name) > middle);
    }

    fn join(&mut self, place: Prefix, when: Timestamp) {
        if self.members.insert(place, when) == Some(when) {
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
            && self.members.get(&place) == Some(&when)
        {
            self.members.remove(&place);
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

    fn told(&self) -> Vec<SmolStr> {
        let mut names: Vec<&Name> = self.names.values().filter(|name| name.members > 0).collect();
        names.sort_by(|a, b| b.members.cmp(&a.members).then_with(|| a.text.cmp(&b.text)));
        names.into_iter().take(TOLD).map(|name| name.text.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn jail() -> JailName {
        JailName::new("sshd").unwrap()
    }

    fn place(number: u32) -> Prefix {
        Prefix::host(std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0b00_0000 + number)))
    }

    /// So many places try two names in turn, one place a minute.
    fn attack(campaigns: &mut Campaigns, count: u32, begin: i64) -> Vec<(u32, Change)> {
        let mut told = Vec::new();
        for number in 0..count {
            let user = ["oracle", "sven"][number as usize % 2];
            let when = at(begin + i64::from(number) * 60);
            let change = campaigns.failure(&jail(), place(number), user, when).1;
            told.extend(change.map(|change| (number, change)));
        }
        told
    }

    #[test]
    fn many_places_with_one_list_are_a_campaign_and_it_is_told_once() {
        let mut campaigns = Campaigns::default();
        let told = attack(&mut campaigns, 200, 0);
        let names = vec!["oracle".into(), "sven".into()];
        // The first five of each name are not members yet.
        let began = Change::Began { jail: jail(), members: 50, since: at(600), names };
        assert_eq!(told, [(59, began)]);
        assert_eq!(campaigns.on(&jail()), Some((at(59 * 60), 190)));
        assert!(campaigns.failure(&jail(), place(999), "sven", at(5 * HOUR)).0);
        assert!(!campaigns.failure(&jail(), place(998), "alcie", at(5 * HOUR)).0, "nobody else tries that");
    }

    #[test]
    fn it_ends_when_the_members_stay_away() {
        let mut campaigns = Campaigns::default();
        attack(&mut campaigns, 100, 0);
        assert_eq!(campaigns.sweep(at(20 * HOUR)), []);
        assert_eq!(campaigns.sweep(at(26 * HOUR)), [Change::Ended(jail())]);
        assert_eq!(campaigns.on(&jail()), None);
    }

    #[test]
    fn one_place_with_many_names_and_many_places_with_names_of_their_own_are_none() {
        let mut campaigns = Campaigns::default();
        for number in 0..2_000u32 {
            let name = format!("name{number}");
            let when = at(i64::from(number));
            assert_eq!(campaigns.failure(&jail(), place(1), "admin", when), (false, None));
            assert_eq!(campaigns.failure(&jail(), place(number), &name, when), (false, None));
        }
    }

    #[test]
    fn memory_is_bounded_whatever_is_tried() {
        let mut campaigns = Campaigns::default();
        for number in 0..300_000u32 {
            let when = at(i64::from(number) / 10);
            campaigns.failure(&jail(), place(number), &format!("name{}", number / 8), when);
            campaigns.failure(&jail(), place(number), "root", when);
        }
        let watch = &campaigns.jails[&jail()];
        assert!(watch.names.len() <= MAX_NAMES && watch.members.len() <= MAX_MEMBERS);
        assert!(watch.order.len() <= 2 * MAX_MEMBERS);
        assert!(watch.names.values().all(|name| name.places.len() <= LISTED + 1));
    }
}
