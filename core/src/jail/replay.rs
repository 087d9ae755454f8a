//! What was counted before a restart, counted again: attempts, and the turns that emptied windows since. The alarms see
//! them too, so what was on is on again; nothing of it is told, for it was.

use std::collections::BTreeSet;

use crate::event::{Attempt, Class, JailName};
use crate::filter::fail2ban::Subject;
use crate::hash::{FastMap, FastSet};
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

use super::outage::NOBODY;
use super::window::{Failure, part_of};
use super::{Jail, JailIndex, Judge, Mode, names, trust};

/// What became of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It began: what was counted for it is used up, and nothing more counts while it lasts.
    Began,
    /// It was lifted: whatever was counted for the source is forgiven.
    Lifted,
    /// Its time was over.
    Expired,
    /// It was over before anybody could be banned: what was counted for it is used up, and nothing else comes of it.
    Missed,
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
    prefixes: FastSet<(Prefix, &'p JailName)>,
    /// Every length that one of them has or had.
    lens: BTreeSet<u8>,
}

impl Banned<'_> {
    fn holds(&self, subject: Prefix, jail: &JailName) -> bool {
        let mut lens = self.lens.range(..=subject.prefix_len());
        lens.any(|len| self.prefixes.contains(&(subject.widened(*len), jail)))
    }
}

/// Which names are decoys, each asked of the secret once: that costs as much as all else of an attempt.
type Decoys<'a> = FastMap<&'a str, bool>;

impl Judge {
    /// Brings the windows and the alarms to where they stood: attempts and good logins with what became of bans in
    /// between. `until`: up to when there was somebody to see them.
    ///
    /// `attempts` and `past` are in order of time; attempts older than every window teach the alarms only. Decides nothing
    /// and tells nothing. Attempts of jails that are no more, and of sources that are never banned, are passed over.
    pub fn replay(&mut self, attempts: &[Attempt], past: &[PastBan], until: Timestamp) {
        // The rope of a network is new every day.
        let findtimes = self.jails.iter().map(|jail| jail.policy.findtime);
        let longest = findtimes.fold(trust::DAY, Span::max);
        let mut banned = Banned::default();
        let mut turns = past.iter().peekable();
        let mut decoys = Decoys::default();
        for attempt in attempts {
            // A ban begins at the time of the attempt that brought it about, so that one comes before it.
            while let Some(turn) = turns.next_if(|turn| turn.time < attempt.time) {
                self.turn(turn, &mut banned);
            }
            match attempt.class {
                Some(class) => {
                    drop(self.alarms.outages.end_unseen(attempt.time));
                    let counts = !banned.holds(self.subject(attempt.addr), &attempt.jail);
                    let is_old = until.since(attempt.time) >= longest;
                    self.remember(attempt, class, (counts, is_old), &mut decoys);
                }
                None => self.remember_login(attempt),
            }
        }
        turns.for_each(|turn| self.turn(turn, &mut banned));
        drop(self.alarms.sweep(until));
        self.names.sweep(until, self.past.memory());
    }

    fn turn<'p>(&mut self, past: &'p PastBan, banned: &mut Banned<'p>) {
        match past.turn {
            Turn::Began => {
                banned.prefixes.insert((past.prefix, &past.jail));
                banned.lens.insert(past.prefix.prefix_len());
                self.recount(past, banned);
                self.use_up(past);
            }
            Turn::Missed => self.use_up(past),
            Turn::Lifted => {
                banned.prefixes.remove(&(past.prefix, &past.jail));
                self.forget(past.prefix, None);
            }
            Turn::Expired => {
                banned.prefixes.remove(&(past.prefix, &past.jail));
            }
        }
    }

    /// What led to a ban counts for no other one.
    fn use_up(&mut self, past: &PastBan) {
        let Some(index) = self.index_of(&past.jail) else { return };
        if let Some(rates) = self.rates_of(index) {
            rates.take(&Subject::Net(past.prefix));
        }
        let failures = self.windows.take(index, past.prefix);
        let users = failures.iter().map(|failure| failure.user);
        self.names.banned_source_tried(past.prefix, users, past.time);
    }

    /// A jail that counts bans counts this one, unless it had banned its source itself.
    fn recount(&mut self, past: &PastBan, banned: &Banned<'_>) {
        for index in self.counting_bans_of(&past.jail) {
            let is_banned =
                self.jails.get(usize::from(index)).is_some_and(|jail| banned.holds(past.prefix, &jail.name));
            if let Some(rates) = self.rates_of(index).filter(|_| !is_banned) {
                rates.count(&Subject::Net(past.prefix), past.time);
            }
        }
    }

    fn index_of(&self, jail: &JailName) -> Option<JailIndex> {
        let position = self.jails.iter().position(|known| known.name == *jail);
        position.and_then(|at| JailIndex::try_from(at).ok())
    }

    /// A good login clears what its source had counted for that user, as it did when it was seen.
    fn remember_login(&mut self, attempt: &Attempt) {
        let (addr, time) = (attempt.addr, attempt.time);
        let account = attempt.user.as_deref().map(names::hash);
        let _ = self.alarms.good_login(&attempt.jail, addr, account, time);
        let Some(user) = &attempt.user else { return };
        let subject = self.subject(addr);
        if let Some(index) = self.index_of(&attempt.jail) {
            self.windows.forget_owner(index, subject, user);
        }
        self.names.logged_in(user);
        let is_known = self.trust.is_known_place(addr, time);
        drop(self.alarms.good_user(&attempt.jail, (subject, self.asn(addr)), (user, is_known), time));
        self.trust.good_login(addr, Some(user), time);
    }

    /// Shows the alarms an attempt, as they saw it: what was history at the first start begins nothing.
    fn show_alarms<'a>(&mut self, jail: &Jail, attempt: &'a Attempt, class: Class, decoys: &mut Decoys<'a>) {
        let passes = class == Class::GoodUser && self.names.good_users_are_never_banned();
        if passes || self.trust.is_known_place(attempt.addr, attempt.time) {
            return;
        }
        let (subject, user) = (self.subject(attempt.addr), attempt.user.as_deref());
        let may_be = matches!(class, Class::BadUser | Class::UnknownUser);
        let is_decoy = user
            .filter(|_| may_be)
            .is_some_and(|user| *decoys.entry(user).or_insert_with(|| self.is_decoy(class, Some(user))));
        let source = (attempt.addr, subject);
        let mode = if attempt.time < self.first_start { Mode::Learn } else { Mode::Judge };
        drop(self.stranger(jail, source, user, (class, is_decoy), (attempt.time, mode)));
    }

    /// Puts an attempt back into its window, as it was counted, unless its source was banned then or it is too old.
    fn remember<'a>(
        &mut self,
        attempt: &'a Attempt,
        class: Class,
        (counts, is_old): (bool, bool),
        decoys: &mut Decoys<'a>,
    ) {
        let Some(index) = self.index_of(&attempt.jail) else { return };
        let Some(jail) = self.jails.get(usize::from(index)).cloned() else { return };
        let is_never_banned = self.never.contains_addr(attempt.addr);
        let counts_lines = self.rates_of(index).is_some();
        if !is_never_banned && !counts_lines {
            self.show_alarms(&jail, attempt, class, decoys);
        }
        if is_old {
            return;
        }
        if let Some(shown) = &attempt.connection {
            self.connections.remember(index, shown, class, attempt.user.clone(), attempt.time);
        }
        let was_judged = counts && !counts_lines && attempt.time >= self.first_start;
        let is_owner = was_judged && self.show_owner(&jail, attempt, class);
        if !counts || is_never_banned {
            return;
        }
        if let Some(rates) = self.rates_of(index) {
            rates.count(&Subject::Net(Prefix::host(attempt.addr)), attempt.time);
            return;
        }
        let failure = self.as_counted((index, &jail), attempt, class);
        let subject = self.subject(attempt.addr);
        let sum = self.windows.add(index, subject, failure, &jail.policy);
        let threshold = self.threshold(&jail, subject);
        if was_judged && sum >= threshold {
            // Whether it was banned then is known; what matters is whether it looked like an outage.
            let points = (sum, threshold);
            let _ = self.alarms.holds_back(&jail.name, attempt.addr, points, is_owner, attempt.time);
        }
    }

    /// Shows the outage guard an account that failed from where it logged in lately. True if it was one.
    fn show_owner(&mut self, jail: &Jail, attempt: &Attempt, class: Class) -> bool {
        let (addr, user, time) = (attempt.addr, attempt.user.as_deref(), attempt.time);
        let is_owner = self.fails_at_home(&jail.name, addr, user, time);
        if is_owner {
            let account = user.map_or(NOBODY, |user| self.names.meant(class, user, true));
            self.alarms.owner_failed(&jail.name, addr, account, time);
        }
        is_owner
    }

    /// An attempt as its window held it; one from beside a known place takes its part of the rope again.
    fn as_counted(&mut self, (index, jail): (JailIndex, &Jail), attempt: &Attempt, class: Class) -> Failure {
        let (addr, time, tries) = (attempt.addr, attempt.time, attempt.tries);
        let is_known = self.trust.is_known_place(addr, time);
        let user = attempt.user.as_deref();
        let near = user.filter(|_| !is_known).and_then(|user| self.trust.neighbour(addr, user, tries, time));
        let subject = self.subject(addr);
        if near.is_some_and(|near| self.has_rope((index, jail), (addr, subject), near, time)) {
            self.trust.spend_rope(addr, tries, time);
        }
        let meant = || user.map_or(0, |user| self.names.meant(class, user, is_known));
        Failure {
            time,
            // It may have become known only later that its place was known then.
            points: match is_known {
                true => attempt.points.min(jail.policy.points.of(Class::KnownUser).times(tries)),
                false => attempt.points,
            },
            tries,
            user: near.map_or_else(meant, |near| near.account),
            connection: attempt.connection.map_or(0, |shown| part_of(shown.connection)),
        }
    }
}
