//! Stealthy guessing: failures at accounts that people really use, from many places at once, each too few to be banned.
//!
//! One place that fails at an account is a person who mistypes. Many strangers who fail at accounts in use within a
//! day are the rarest and gravest sign: somebody knows the names. A `Watch` sums up strangers above what is usual
//! (CUSUM; sequential change detection on failures of valid users after Javed and Paxson, CCS 2013) and raises an
//! alarm at [`ALARM`]. A stranger who then gets in was a person who mistypes, and is taken back; if that happens
//! while an alarm is on, a password may have been guessed, and people are told of that too, also if it was before the attack was
//! noticed.
//!
//! What is usual is learnt from strangers who never got in, while no alarm is on, and never beyond [`CEILING`] and as
//! many as did get in: those are people, and only people's number makes room for more. So nobody who fails patiently
//! can teach it.
//!
//! An alarm makes nobody's try dearer: who takes part tries too rarely for that, and it is people at new places who
//! would pay. Source: `core/tests/simulation`, 40 months of 40 people under a spray of 150 addresses all the time: at
//! one and a half times the points 29 % fewer tries are let through and 17 people instead of 12 are banned, at twice
//! 49 % and 35.

use std::collections::VecDeque;

use smol_str::SmolStr;

use crate::event::JailName;
use crate::hash::FastMap;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

/// So many strangers above what is usual raise the alarm.
pub const ALARM: f64 = 6.5;

/// The alarm is over when so many are left, or when nothing came for a day.
const LOW: f64 = 2.0;

/// Strangers a day that are usual anywhere: the allowance of a host that never saw any.
const USUAL: f64 = 1.0;

/// The allowance is so many times the usual rate, so that chance alone rarely adds up.
const MARGIN: f64 = 1.5;

/// So many lost strangers a day are learnt at most, beside as many as came back.
pub const CEILING: f64 = 1.0;

/// What is usual is learnt over so many days.
const LEARNT_OVER_DAYS: f64 = 14.0;

/// A place counts once within this time, an alarm is over when nothing came for so long, and a good login of a
/// stranger is suspicious for so long after one.
const DAY: Span = Span::from_secs(86_400);

/// An attack that goes on is told again after this time at the earliest, once it has grown.
const TOLD_AGAIN: Span = Span::from_secs(6 * 3_600);

/// It has grown by so many places at least, and to twice as many.
const GROWN: usize = 7;

/// So many strangers are kept a jail; the oldest are forgotten first.
const MAX_STRANGERS: usize = 4_096;

/// So many logins from new places are remembered, for an attack that has not been noticed yet.
const MAX_LOGINS: usize = 64;

/// So many accounts a stranger are remembered.
const MAX_USERS: usize = 4;

/// So many accounts are named.
const MAX_NAMED: usize = 5;

/// An attack that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attack {
    /// When strangers began to be more than usual.
    pub since: Timestamp,
    /// From how many places it came within a day.
    pub places: usize,
    /// The accounts that most of them tried.
    pub users: Vec<SmolStr>,
}

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Accounts in use are being guessed at.
    Began(JailName, Attack),
    /// They still are, from twice as many places as when it was told last.
    Grew(JailName, Attack),
    /// Somebody logged in, during an attack or soon after, from where nobody did before, to an account that was tried.
    GotIn {
        /// Where.
        jail: JailName,
        /// From where.
        place: Prefix,
        /// As whom.
        user: SmolStr,
    },
    /// No more than usual come by now.
    Ended(JailName),
}

/// A place that failed at an account in use, or from where somebody got in for the first time.
#[derive(Debug, Clone)]
struct Stranger {
    when: Timestamp,
    place: Prefix,
    user: SmolStr,
}

/// An alarm that is on.
#[derive(Debug)]
struct Alarm {
    since: Timestamp,
    told: Timestamp,
    /// The fewest places within a day since it was told.
    fewest: usize,
}

/// One jail's watch.
#[derive(Debug, Default)]
struct Watch {
    /// Strangers above what is usual, [`ALARM`] at most: an alarm is over soon after its attack.
    score: f64,
    /// Since when the score is above zero.
    rising: Timestamp,
    /// Strangers who never got in, as far as no alarm was on; those of long ago count less.
    lost: f64,
    /// Strangers who then got in, likewise.
    back: f64,
    /// So many days are in these sums, likewise.
    days: f64,
    seen: Option<Timestamp>,
    strangers: VecDeque<Stranger>,
    /// The places of the strangers, and the accounts that each tried, the first ones.
    places: FastMap<Prefix, Vec<SmolStr>>,
    /// Logins from new places.
    logins: VecDeque<Stranger>,
    /// The last stranger who came during an alarm or brought it about.
    suspect: Option<Timestamp>,
    alarm: Option<Alarm>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Stealth {
    jails: FastMap<JailName, Watch>,
}

impl Stealth {
    /// A place from which nobody logged in lately failed at an account in use.
    ///
    /// `raises`: false while history is read, which only teaches what is usual.
    pub fn failure(
        &mut self,
        jail: &JailName,
        place: Prefix,
        user: &str,
        when: Timestamp,
        raises: bool,
    ) -> Vec<Change> {
        let watch = self.jails.entry(jail.clone()).or_default();
        let mut changes = Vec::new();
        if watch.pass(when) {
            changes.push(Change::Ended(jail.clone()));
        }
        if let Some(users) = watch.places.get_mut(&place) {
            if users.len() < MAX_USERS && !users.iter().any(|known| known == user) {
                users.push(user.into());
            }
            return changes;
        }
        watch.came(Stranger { when, place, user: user.into() });
        if !raises {
            watch.score = 0.0;
        } else if watch.alarm.is_none() && watch.score >= ALARM {
            changes.extend(watch.begin(jail, when));
        }
        changes.extend(watch.grew(when).map(|attack| Change::Grew(jail.clone(), attack)));
        if watch.alarm.is_some() {
            watch.suspect = Some(when);
        }
        changes
    }

    /// Somebody logged in. `is_known`: somebody did from there lately.
    pub fn good_login(
        &mut self,
        jail: &JailName,
        place: Prefix,
        user: &str,
        is_known: bool,
        when: Timestamp,
    ) -> Vec<Change> {
        let Some(watch) = self.jails.get_mut(jail) else { return Vec::new() };
        let mut changes = Vec::new();
        if watch.pass(when) {
            changes.push(Change::Ended(jail.clone()));
        }
        let login = Stranger { when, place, user: user.into() };
        let is_suspicious = !is_known && watch.suspect.is_some_and(|last| when.since(last) < DAY);
        if is_suspicious && (watch.is_tried(user) || watch.places.contains_key(&place)) {
            changes.push(login.got_in(jail));
            return changes;
        }
        if watch.places.remove(&place).is_some() {
            watch.strangers.retain(|stranger| stranger.place != place);
            watch.score = (watch.score - 1.0).max(0.0);
            watch.back += 1.0;
        }
        if !is_known {
            watch.logins.truncate(MAX_LOGINS - 1);
            watch.logins.push_front(login);
        }
        changes
    }

    /// The attack on a jail, if one is on.
    pub fn on(&self, jail: &JailName) -> Option<Attack> {
        self.jails.get(jail)?.attack()
    }

    /// Tells of alarms that are over or have grown. Call it now and then.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Change> {
        let change = |(jail, watch): (&JailName, &mut Watch)| match watch.pass(now) {
            true => Some(Change::Ended(jail.clone())),
            false => watch.grew(now).map(|attack| Change::Grew(jail.clone(), attack)),
        };
        self.jails.iter_mut().filter_map(change).collect()
    }
}

impl Stranger {
    fn got_in(self, jail: &JailName) -> Change {
        Change::GotIn { jail: jail.clone(), place: self.place, user: self.user }
    }
}

impl Watch {
    /// Lets time pass; true if an alarm is over by that.
    fn pass(&mut self, now: Timestamp) -> bool {
        let days = self.seen.map_or(0.0, |seen| now.since(seen).millis() as f64 / DAY.millis() as f64);
        self.seen = self.seen.max(Some(now));
        self.score = (self.score - self.allowance() * days).max(0.0);
        if self.alarm.is_none() {
            let kept = (-days / LEARNT_OVER_DAYS).exp();
            (self.lost, self.back) = (self.lost * kept, self.back * kept);
            self.days = self.days * kept + LEARNT_OVER_DAYS * (1.0 - kept);
        }
        while self.strangers.front().is_some_and(|first| now.since(first.when) >= DAY) {
            self.drop_oldest();
        }
        let Some(alarm) = &mut self.alarm else { return false };
        alarm.fewest = alarm.fewest.min(self.strangers.len());
        let is_over = self.score <= LOW || self.strangers.is_empty();
        if is_over {
            (self.alarm, self.score) = (None, 0.0);
        }
        is_over
    }

    /// Strangers a day that add up to nothing.
    fn allowance(&self) -> f64 {
        let days = self.days.max(1.0);
        USUAL + MARGIN * (self.lost / days).min(CEILING + self.back / days)
    }

    /// A stranger who did not get in for a day is lost; what came with an attack teaches nothing.
    fn drop_oldest(&mut self) {
        let Some(first) = self.strangers.pop_front() else { return };
        self.places.remove(&first.place);
        if self.suspect.is_none_or(|last| first.when > last) {
            self.lost += 1.0;
        }
    }

    fn is_tried(&self, user: &str) -> bool {
        self.places.values().flatten().any(|tried| tried == user)
    }

    fn came(&mut self, stranger: Stranger) {
        if self.strangers.len() >= MAX_STRANGERS {
            self.drop_oldest();
        }
        if self.score <= 0.0 {
            self.rising = stranger.when;
        }
        self.places.insert(stranger.place, vec![stranger.user.clone()]);
        self.strangers.push_back(stranger);
        self.score = (self.score + 1.0).min(ALARM);
    }

    /// Raises the alarm; tells of it, and of who got in before it was noticed.
    fn begin(&mut self, jail: &JailName, now: Timestamp) -> Vec<Change> {
        self.alarm = Some(Alarm { since: self.rising, told: now, fewest: self.strangers.len() });
        let began = self.attack().map(|attack| Change::Began(jail.clone(), attack));
        let logins = std::mem::take(&mut self.logins).into_iter();
        let early = logins.filter(|login| login.when >= self.rising && self.is_tried(&login.user));
        began.into_iter().chain(early.map(|login| login.got_in(jail))).collect()
    }

    /// The attack that is on, if it has grown enough to be told again; then it counts as told.
    fn grew(&mut self, now: Timestamp) -> Option<Attack> {
        let places = self.strangers.len();
        let alarm = self.alarm.as_mut()?;
        let has_grown = places >= (alarm.fewest + GROWN).max(2 * alarm.fewest);
        if !has_grown || now.since(alarm.told) < TOLD_AGAIN {
            return None;
        }
        (alarm.told, alarm.fewest) = (now, places);
        self.attack()
    }

    fn attack(&self) -> Option<Attack> {
        let alarm = self.alarm.as_ref()?;
        let mut tried: FastMap<&SmolStr, usize> = FastMap::default();
        self.strangers.iter().for_each(|stranger| *tried.entry(&stranger.user).or_default() += 1);
        let mut users: Vec<(usize, &SmolStr)> =
            tried.into_iter().map(|(user, places)| (places, user)).collect();
        users.sort_unstable_by(|(a, left), (b, right)| b.cmp(a).then(left.cmp(right)));
        let users = users.into_iter().take(MAX_NAMED).map(|(_, user)| user.clone()).collect();
        Some(Attack { since: alarm.since, places: self.strangers.len(), users })
    }
}

#[cfg(test)]
mod tests;
