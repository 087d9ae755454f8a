//! What was counted before a restart, counted again: attempts, and the turns that emptied windows since.

use std::collections::{BTreeSet, HashSet};

use crate::event::{Attempt, Class, JailName};
use crate::filter::fail2ban::Subject;
use crate::net::Prefix;
use crate::time::Timestamp;

use super::window::Failure;
use super::{JailIndex, Judge, names};

/// What became of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It began: what was counted for it is used up, and nothing more counts while it lasts.
    Began,
    /// It was lifted: whatever was counted for the source is forgiven.
    Lifted,
    /// Its time was over.
    Expired,
}

/// One line of the history of bans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastBan {
    /// When it happened.
    pub time: Timestamp,
    /// Who was banned.
    pub prefix: Prefix,
    /// For which jail.
    pub jail: JailName,
    /// What happened.
    pub turn: Turn,
}

/// Who is banned at some moment of the past.
#[derive(Default)]
struct Banned<'p> {
    prefixes: HashSet<(Prefix, &'p JailName)>,
    /// Every length that one of them has or had.
    lens: BTreeSet<u8>,
}

impl Banned<'_> {
    fn holds(&self, subject: Prefix, jail: &JailName) -> bool {
        let mut lens = self.lens.range(..=subject.prefix_len());
        lens.any(|len| self.prefixes.contains(&(subject.widened(*len), jail)))
    }
}

impl Judge {
    /// Brings the windows to where they stood: attempts and good logins with what became of bans in between.
    ///
    /// `attempts` and `past` are in order of time. Decides nothing. Attempts of jails that are no more, and of
    /// sources that are never banned, are passed over.
    pub fn replay(&mut self, attempts: &[Attempt], past: &[PastBan]) {
        let mut banned = Banned::default();
        let mut turns = past.iter().peekable();
        for attempt in attempts {
            // A ban begins at the time of the attempt that brought it about, so that one comes before it.
            while let Some(turn) = turns.next_if(|turn| turn.time < attempt.time) {
                self.turn(turn, &mut banned);
            }
            match attempt.class {
                Some(_) => {
                    let counts = !banned.holds(self.subject(attempt.addr), &attempt.jail);
                    self.remember(attempt, counts);
                }
                None => self.remember_login(attempt),
            }
        }
        turns.for_each(|turn| self.turn(turn, &mut banned));
    }

    fn turn<'p>(&mut self, past: &'p PastBan, banned: &mut Banned<'p>) {
        match past.turn {
            Turn::Began => {
                banned.prefixes.insert((past.prefix, &past.jail));
                banned.lens.insert(past.prefix.prefix_len());
                if let Some(index) = self.index_of(&past.jail) {
                    if let Some(rates) = self.rates_of(index) {
                        rates.take(&Subject::Net(past.prefix));
                    }
                    let failures = self.windows.take(index, past.prefix);
                    self.names.banned_source_tried(failures.iter().map(|failure| failure.user));
                }
            }
            Turn::Lifted => {
                banned.prefixes.remove(&(past.prefix, &past.jail));
                self.forget(past.prefix, None);
            }
            Turn::Expired => {
                banned.prefixes.remove(&(past.prefix, &past.jail));
            }
        }
    }

    fn index_of(&self, jail: &JailName) -> Option<JailIndex> {
        let position = self.jails.iter().position(|known| known.name == *jail);
        position.and_then(|at| JailIndex::try_from(at).ok())
    }

    /// A good login clears what its source had counted for that user, as it did when it was seen.
    fn remember_login(&mut self, attempt: &Attempt) {
        let _ = self.alarms.good_login(&attempt.jail, attempt.addr, attempt.user.is_some(), attempt.time);
        let Some(user) = &attempt.user else { return };
        if let Some(index) = self.index_of(&attempt.jail) {
            self.windows.forget_user(index, self.subject(attempt.addr), names::hash(user));
        }
        self.names.logged_in(user);
        self.trust.good_login(attempt.addr, Some(user), attempt.time);
    }

    /// Puts an attempt back into its window, as it was counted, unless its source was banned then.
    fn remember(&mut self, attempt: &Attempt, counts: bool) {
        let (Some(index), Some(class)) = (self.index_of(&attempt.jail), attempt.class) else { return };
        if let Some(shown) = &attempt.connection {
            self.connections.remember(index, shown, class, attempt.user.clone(), attempt.time);
        }
        if !counts || self.never.contains_addr(attempt.addr) {
            return;
        }
        let is_known = self.trust.is_known_place(attempt.addr, attempt.time);
        let most = self.jails.get(usize::from(index)).map(|jail| jail.policy.points.of(Class::KnownUser));
        let failure = Failure {
            time: attempt.time,
            // It may have become known only later that its place was known then.
            points: match most.filter(|_| is_known) {
                Some(most) => attempt.points.min(most.times(attempt.tries)),
                None => attempt.points,
            },
            tries: attempt.tries,
            user: attempt.user.as_deref().map_or(0, |user| match is_known {
                true => self.names.meant(class, user),
                false => names::hash(user),
            }),
            connection: attempt.connection.map_or(0, |shown| shown.connection),
        };
        if let Some(rates) = self.rates_of(index) {
            rates.count(&Subject::Net(Prefix::host(attempt.addr)), attempt.time);
            return;
        }
        let subject = self.subject(attempt.addr);
        if let Some(jail) = self.jails.get(usize::from(index)) {
            self.windows.add(index, subject, failure, &jail.policy);
        }
    }
}
