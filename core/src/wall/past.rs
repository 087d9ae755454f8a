//! What the store keeps, added up by who was banned.

use std::net::IpAddr;

use crate::hash::{FastMap, FastSet};
use crate::jail::names::is_common;
use crate::net::Prefix;
use crate::time::{End, Span, Timestamp};

use super::{DAYS, Service, Services, Total};

/// At most so many offenders are told apart, the newest, and so many addresses near them that logged in.
pub(super) const MOST: usize = 500_000;

const DAY_SECS: i64 = 86_400;

/// Sums of the past. First [`Past::banned`] and [`Past::mistaken`], the newest first; then [`Past::in_force`],
/// [`Past::attempt`] and [`Past::logged_in`] in any order, also in a [`Past::part`] that is added later.
#[derive(Debug, Clone)]
pub struct Past {
    pub(super) now: Timestamp,
    /// What is later than this is not told of an offender.
    told_until: Timestamp,
    pub(super) offenders: FastMap<Prefix, Source>,
    /// Lengths of the prefixes that were banned, the longest first: IPv4, IPv6.
    lengths: [Vec<u8>; 2],
    /// Prefixes whose older bans were a mistake.
    mistaken: FastSet<Prefix>,
    /// The networks that offenders may be shown by: who logs in elsewhere need not be remembered.
    near: FastSet<Prefix>,
    /// Addresses near offenders that logged in; true: by a name.
    pub(super) good: FastMap<IpAddr, bool>,
    /// How many of them by a name.
    named: usize,
    pub(super) days: [Total; DAYS],
    pub(super) week: [[u64; 24]; 7],
    pub(super) services: [u64; Service::ALL.len()],
    /// Attempts at names that everybody guesses at.
    pub(super) users: FastMap<String, u64>,
}

/// One that was banned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Source {
    pub(super) attempts: u64,
    /// Of the attempts.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    pub(super) services: Services,
    pub(super) bans: u32,
    pub(super) until: Option<End>,
}

impl Source {
    /// It was seen at this time, too.
    fn reach(&mut self, time: Timestamp) {
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
    }
}

impl Past {
    /// `now`: when the wall is made; `delay`: what is younger is not told of an offender.
    pub fn new(now: Timestamp, delay: Span) -> Past {
        Past {
            now,
            told_until: now - delay,
            offenders: FastMap::default(),
            lengths: [Vec::new(), Vec::new()],
            mistaken: FastSet::default(),
            near: FastSet::default(),
            good: FastMap::default(),
            named: 0,
            days: [Total::default(); DAYS],
            week: [[0; 24]; 7],
            services: [0; Service::ALL.len()],
            users: FastMap::default(),
        }
    }

    /// A jail banned a prefix at `time`.
    pub fn banned(&mut self, prefix: Prefix, time: Timestamp) {
        if let Some(day) = self.day(time) {
            day.bans += 1;
        }
        let has_room = self.offenders.len() < MOST || self.offenders.contains_key(&prefix);
        if time > self.told_until || !has_room || self.mistaken.contains(&prefix) {
            return;
        }
        self.near.insert(shown_by(prefix));
        let lengths = &mut self.lengths[usize::from(!prefix.is_ipv4())];
        if let Err(at) = lengths.binary_search_by(|known| prefix.prefix_len().cmp(known)) {
            lengths.insert(at, prefix.prefix_len());
        }
        self.offenders.entry(prefix).or_default().bans += 1;
    }

    /// The bans of a prefix before this were a mistake.
    pub fn mistaken(&mut self, prefix: Prefix) {
        if self.mistaken.len() < MOST {
            self.mistaken.insert(prefix);
        }
    }

    /// A jail's ban of a prefix that began at `time` is in force until `until`.
    pub fn in_force(&mut self, prefix: Prefix, time: Timestamp, until: End) {
        if time <= self.told_until
            && let Some(source) = self.offenders.get_mut(&prefix)
        {
            source.until = source.until.into_iter().chain([until]).max();
        }
    }

    /// One that knows the same who were banned, and nothing else.
    pub fn part(&self) -> Past {
        let blank = |prefix: &Prefix| (*prefix, Source::default());
        Past {
            told_until: self.told_until,
            offenders: self.offenders.keys().map(blank).collect(),
            lengths: self.lengths.clone(),
            near: self.near.clone(),
            ..Past::new(self.now, Span::default())
        }
    }

    /// Takes over what a part of this one was told of.
    pub fn add(&mut self, part: Past) {
        for (prefix, told) in part.offenders {
            let Some(source) = self.offenders.get_mut(&prefix) else { continue };
            source.attempts += told.attempts;
            for time in told.span.into_iter().flat_map(|(first, last)| [first, last]) {
                source.reach(time);
            }
            source.services.merge(told.services);
            source.until = source.until.max(told.until);
        }
        for (addr, is_named) in part.good {
            self.hide(addr, is_named);
        }
        let sum = |total: &mut u64, more: u64| *total += more;
        for (day, more) in self.days.iter_mut().zip(part.days) {
            sum(&mut day.attempts, more.attempts);
            sum(&mut day.bans, more.bans);
        }
        let hours = self.week.iter_mut().flatten().zip(part.week.into_iter().flatten());
        hours.chain(self.services.iter_mut().zip(part.services)).for_each(|(total, more)| sum(total, more));
        for (user, tries) in part.users {
            sum(self.users.entry(user).or_default(), tries);
        }
    }

    /// Somebody failed so many times, by a name if the service asks for one.
    pub fn attempt(&mut self, time: Timestamp, addr: IpAddr, at: (Service, Option<&str>), tries: u32) {
        let ((service, user), tries) = (at, u64::from(tries));
        if let Some(day) = self.day(time) {
            day.attempts += tries;
            let secs = time.secs();
            // The first day of 1970 was a Thursday.
            let weekday = (secs.div_euclid(DAY_SECS) + 3).rem_euclid(7) as usize;
            let hour = (secs.rem_euclid(DAY_SECS) / 3_600) as usize;
            self.week[weekday][hour] += tries;
            self.services[service as usize] += tries;
            if let Some(user) = user {
                self.tried(user, tries);
            }
        }
        if time > self.told_until {
            return;
        }
        if let Some(source) = self.source_of(addr) {
            source.attempts += tries;
            source.reach(time);
            source.services.add(service);
        }
    }

    /// What is no name that everybody guesses at may be a password in the wrong field, or somebody's own, and is forgotten.
    fn tried(&mut self, user: &str, tries: u64) {
        match self.users.get_mut(user) {
            Some(known) => *known += tries,
            None if is_common(user) => drop(self.users.insert(user.to_owned(), tries)),
            None => {}
        }
    }

    /// Somebody logged in: that address is never shown, nor a network that it is in. `is_named`: by a name; a login that
    /// names nobody can be forged by a request, so it hides nobody else.
    pub fn logged_in(&mut self, addr: IpAddr, is_named: bool) {
        let is_near = self.near.contains(&shown_by(Prefix::host(addr))) || self.source_of(addr).is_some();
        if is_near {
            self.hide(addr, is_named);
        }
    }

    fn hide(&mut self, addr: IpAddr, is_named: bool) {
        let is_known = self.good.contains_key(&addr);
        // What anybody can forge must not use up the room for the others.
        let has_room = if is_named { self.knows_all() } else { self.good.len() - self.named < MOST };
        if is_known || has_room {
            let was_named = self.good.entry(addr).or_default();
            self.named += usize::from(is_named && !*was_named);
            *was_named |= is_named;
        }
    }

    /// False if somebody who logged in may have been forgotten.
    pub(super) fn knows_all(&self) -> bool {
        self.named <= MOST
    }

    /// The smallest prefix around an address that was banned.
    fn source_of(&mut self, addr: IpAddr) -> Option<&mut Source> {
        let found = self.banned_around(Prefix::host(addr))?;
        self.offenders.get_mut(&found)
    }

    /// The smallest prefix that holds this one, or is it, and was banned.
    pub(super) fn banned_around(&self, inner: Prefix) -> Option<Prefix> {
        let lengths = self.lengths[usize::from(!inner.is_ipv4())].iter();
        let around = lengths.filter(|length| **length <= inner.prefix_len());
        around.map(|length| inner.widened(*length)).find(|prefix| self.offenders.contains_key(prefix))
    }

    /// The day of a time, if the timeline shows it.
    fn day(&mut self, time: Timestamp) -> Option<&mut Total> {
        let day = |at: Timestamp| at.secs().div_euclid(DAY_SECS);
        let ago = usize::try_from(day(self.now) - day(time)).ok()?;
        self.days.get_mut((DAYS - 1).checked_sub(ago)?)
    }
}

/// The network that hides an address: /24, IPv6 /48; wider ones hide themselves.
pub(super) fn shown_by(prefix: Prefix) -> Prefix {
    prefix.widened(if prefix.is_ipv4() { 24 } else { 48 })
}
