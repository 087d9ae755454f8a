//! Strangers at accounts: a person has one, somebody who sprays a password over all of them tries several.
//!
//! What counts here are names that are judged like accounts, decoys included: if it were the accounts alone, what a spray
//! costs its sources would tell which these are. root is left out, for owners try it beside their own.

use smol_str::SmolStr;

use crate::hash::{FastMap, table_bytes};
use crate::jail::names;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::super::room::make_room;
use super::{DAY, Spray, WEEK};

/// So many strangers above what is usual are a spray (CUSUM, as for guessing at accounts in use, but one that fades
/// within a day); it is over when half of them are left.
const SPRAY: f64 = 20.0;

/// The sum goes no higher, so that a spray is over within a day and a half after its last try.
const MOST: f64 = 2.0 * SPRAY;

/// Strangers a day that are usual anywhere.
const USUAL: f64 = 1.0;

/// The allowance is so many times the usual rate, which is learnt over so many days.
const MARGIN: f64 = 1.5;
const LEARNT_OVER_DAYS: f64 = 14.0;

/// So long it is remembered which accounts a place tried: as long as a spray's source stays away while it is banned.
const MEMORY: Span = WEEK;

/// Two names that are so close are one, mistyped.
const MISTYPED: usize = 2;

/// So many accounts a place, and so many places a jail, are remembered; those that were seen last stay.
const MAX_OF_PLACE: usize = 4;
const MAX_PLACES: usize = 16_384;

/// Longer names are no accounts, and comparing them takes time.
const MAX_LETTERS: usize = 64;

/// Bytes of all of them, each place's names in a vector of their number.
pub(super) const MOST_BYTES: usize =
    table_bytes(MAX_PLACES, size_of::<(Prefix, Place)>()) + MAX_PLACES * MAX_OF_PLACE * size_of::<SmolStr>();

#[derive(Debug, Default)]
struct Place {
    last: Timestamp,
    counted: Option<Timestamp>,
    names: Vec<SmolStr>,
}

/// Which accounts strangers tried lately.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    places: FastMap<Prefix, Place>,
    /// Strangers above what is usual.
    score: f64,
    /// Strangers a day, learnt.
    rate: f64,
    seen: Option<Timestamp>,
    /// Since when there is a spray.
    since: Option<Timestamp>,
}

impl Accounts {
    /// A stranger failed at an account: how many different ones it tried by now.
    pub(super) fn failure(&mut self, place: Prefix, user: &str, when: Timestamp) -> u32 {
        if self.places.len() >= MAX_PLACES && !self.places.contains_key(&place) {
            make_room(&mut self.places, |_, place| place.last);
        }
        self.passed(when);
        let own = self.places.entry(place).or_default();
        if when.since(own.last) >= MEMORY {
            own.names.clear();
        }
        own.last = when;
        let is_same = |known: &SmolStr| known == user || names::distance(known, user) <= MISTYPED;
        if user.len() <= MAX_LETTERS && own.names.len() < MAX_OF_PLACE && !own.names.iter().any(is_same) {
            own.names.push(user.into());
        }
        let count = own.names.len() as u32;
        if own.counted.is_none_or(|counted| when.since(counted) >= DAY) {
            own.counted = Some(when);
            self.rate += 1.0 / LEARNT_OVER_DAYS;
            self.score = (self.score + 1.0).min(MOST);
            self.since = self.since.or((self.score >= SPRAY).then_some(when));
        }
        count
    }

    /// True if there is a spray, as far as the last failure or sweep knows.
    pub(super) fn is_spray(&self) -> bool {
        self.since.is_some()
    }

    /// The spray, if there is one at `now`.
    pub(super) fn spray(&self, now: Timestamp) -> Option<Spray> {
        let since = self.since.filter(|_| self.score_at(now) >= SPRAY / 2.0)?;
        let within = |place: &&Place| place.counted.is_some_and(|counted| now.since(counted) < DAY);
        Some(Spray { since, places: self.places.values().filter(within).count() })
    }

    /// Somebody logged in from there: it was a person who mistypes.
    pub(super) fn good_login(&mut self, place: Prefix) {
        if self.places.remove(&place).is_some() {
            self.score = (self.score - 1.0).max(0.0);
        }
    }

    /// Forgets what is too old; true if a spray is over by that.
    pub(super) fn sweep(&mut self, now: Timestamp) -> bool {
        self.places.retain(|_, place| now.since(place.last) < MEMORY);
        // The sums stay as they are: how often somebody sweeps must not change them.
        let is_over = self.is_spray() && self.score_at(now) < SPRAY / 2.0;
        if is_over {
            self.since = None;
        }
        is_over
    }

    /// How many days passed since the last failure.
    fn days_until(&self, now: Timestamp) -> f64 {
        self.seen.map_or(0.0, |seen| now.since(seen).secs() as f64 / 86_400.0)
    }

    /// What is left of the score without what is usual for the time since the last failure.
    fn score_at(&self, now: Timestamp) -> f64 {
        let days = self.days_until(now);
        (self.score * (-days).exp() - (USUAL + MARGIN * self.rate) * days).max(0.0)
    }

    fn passed(&mut self, now: Timestamp) {
        self.score = self.score_at(now);
        self.rate *= (-self.days_until(now) / LEARNT_OVER_DAYS).exp();
        self.seen = self.seen.max(Some(now));
        self.since = self.since.filter(|_| self.score >= SPRAY / 2.0);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}
