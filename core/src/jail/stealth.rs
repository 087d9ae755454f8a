//! Stealthy guessing: failures at accounts that people really use, from many places at once, each too few to be banned.
//!
//! One place that fails at an account is a person who mistypes. Many strangers who fail at accounts in use within a
//! day are the rarest and gravest sign: somebody knows the names. A `Watch` sums up strangers above what is usual
//! (CUSUM; sequential change detection on failures of valid users after Javed and Paxson, CCS 2013) and raises an
//! alarm at [`ALARM`]. A stranger who then gets in was a person who mistypes, and is taken back; if that happens
//! while an alarm is on, a password may have been guessed, and people are told of that too.

use std::collections::VecDeque;

use smol_str::SmolStr;

use crate::event::JailName;
use crate::hash::FastMap;
use crate::net::Prefix;
use crate::time::{Span, Timestamp};

/// So many strangers above what is usual raise the alarm.
pub const ALARM: f64 = 6.5;

/// Strangers a day that are usual anywhere: the allowance of a host that never saw any.
const USUAL: f64 = 1.0;

/// The allowance is so many times the usual rate, so that chance alone rarely adds up.
const MARGIN: f64 = 1.5;

/// What is usual is learnt over so many days.
const LEARNT_OVER_DAYS: f64 = 14.0;

/// A place counts once within this time, an alarm is over when nothing came for so long, and a good login of a
/// stranger is suspicious for so long after one.
const DAY: Span = Span::from_secs(86_400);

/// So many strangers are kept a jail; the oldest are forgotten first.
const MAX_STRANGERS: usize = 4_096;

/// So many accounts are named.
const MAX_NAMED: usize = 5;

/// What people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Accounts in use are being guessed at.
    Began {
        /// Where.
        jail: JailName,
        /// From how many places within a day.
        places: usize,
        /// Since when.
        since: Timestamp,
        /// Some of the accounts.
        users: Vec<SmolStr>,
    },
    /// Somebody logged in, during an alarm or soon after, from where nobody did before, to an account that was tried.
    GotIn {
        /// Where.
        jail: JailName,
        /// From where.
        place: Prefix,
        /// As whom.
        user: SmolStr,
    },
    /// Nothing of the kind came for a day.
    Ended(JailName),
}

/// A place that failed at an account in use.
#[derive(Debug, Clone)]
struct Stranger {
    when: Timestamp,
    place: Prefix,
    user: SmolStr,
}

/// One jail's watch.
#[derive(Debug, Default)]
struct Watch {
    /// Strangers above what is usual.
    score: f64,
    /// Strangers a day, learnt.
    rate: f64,
    seen: Option<Timestamp>,
    strangers: VecDeque<Stranger>,
    alarm: bool,
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
    ) -> Option<Change> {
        let watch = self.jails.entry(jail.clone()).or_default();
        watch.forget(when);
        if watch.strangers.iter().any(|stranger| stranger.place == place) {
            return None;
        }
        watch.passed(when);
        if watch.strangers.len() >= MAX_STRANGERS {
            watch.strangers.pop_front();
        }
        watch.strangers.push_back(Stranger { when, place, user: user.into() });
        watch.rate += 1.0 / LEARNT_OVER_DAYS;
        watch.score += 1.0;
        if !raises {
            watch.score = 0.0;
        }
        if watch.score < ALARM || std::mem::replace(&mut watch.alarm, true) {
            return None;
        }
        let mut users: Vec<SmolStr> = watch.strangers.iter().map(|stranger| stranger.user.clone()).collect();
        users.sort_unstable();
        users.dedup();
        users.truncate(MAX_NAMED);
        let since = watch.strangers.front().map_or(when, |first| first.when);
        Some(Change::Began { jail: jail.clone(), places: watch.strangers.len(), since, users })
    }

    /// Somebody logged in. `is_known`: somebody did from there lately.
    pub fn good_login(
        &mut self,
        jail: &JailName,
        place: Prefix,
        user: &str,
        is_known: bool,
        when: Timestamp,
    ) -> Option<Change> {
        let watch = self.jails.get_mut(jail)?;
        watch.forget(when);
        let was_tried = watch.strangers.iter().any(|stranger| stranger.user == user);
        if watch.alarm && was_tried && !is_known {
            return Some(Change::GotIn { jail: jail.clone(), place, user: user.into() });
        }
        let before = watch.strangers.len();
        watch.strangers.retain(|stranger| stranger.place != place);
        watch.score = (watch.score - (before - watch.strangers.len()) as f64).max(0.0);
        None
    }

    /// Tells of alarms that are over. Call it now and then.
    pub fn sweep(&mut self, now: Timestamp) -> Vec<Change> {
        let mut ended = Vec::new();
        for (jail, watch) in &mut self.jails {
            watch.forget(now);
            if watch.alarm && watch.strangers.is_empty() {
                (watch.alarm, watch.score) = (false, 0.0);
                ended.push(Change::Ended(jail.clone()));
            }
        }
        ended
    }
}

impl Watch {
    fn forget(&mut self, now: Timestamp) {
        while self.strangers.front().is_some_and(|first| now.since(first.when) >= DAY) {
            self.strangers.pop_front();
        }
    }

    /// Takes off what is usual for the time since the last stranger.
    fn passed(&mut self, now: Timestamp) {
        let days = self.seen.map_or(0.0, |seen| now.since(seen).secs() as f64 / 86_400.0);
        self.seen = self.seen.max(Some(now));
        let allowance = (USUAL + MARGIN * self.rate) * days;
        self.score = (self.score - allowance).max(0.0);
        self.rate *= (-days / LEARNT_OVER_DAYS).exp();
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

    /// Deterministic numbers below `below` (an LCG of Knuth's constants).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, below: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % below
        }
    }

    /// Thirty days in which `users` people mistype, some from where they never were; returns the alarms.
    fn month(dice: &mut Dice, users: u64, stealth: &mut Stealth) -> usize {
        let mut alarms = 0;
        let mut moments: Vec<(i64, u64)> = Vec::new();
        for user in 0..users {
            for day in 0..30 {
                // Each mistypes from a new place about once in four days.
                if dice.below(4) == 0 {
                    let hour = 8 + dice.below(10) as i64;
                    moments.push((day * 24 * HOUR + hour * HOUR + dice.below(3_600) as i64, user));
                }
            }
        }
        moments.sort_unstable();
        for (number, (when, user)) in (1_000u32..).zip(moments) {
            let name = format!("user{user}");
            let told = stealth.failure(&jail(), place(number + user as u32 * 10_000), &name, at(when), true);
            alarms += usize::from(matches!(told, Some(Change::Began { .. })));
            // Two of three get in within some minutes; the others give up.
            if dice.below(3) > 0 {
                let place = place(number + user as u32 * 10_000);
                stealth.good_login(&jail(), place, &name, false, at(when + 120));
            }
            stealth.sweep(at(when + 121));
        }
        alarms
    }

    #[test]
    fn people_who_mistype_raise_less_than_one_alarm_in_a_hundred_days() {
        let mut dice = Dice(7);
        for users in [1, 5, 20] {
            let alarms: usize = (0..40).map(|_| month(&mut dice, users, &mut Stealth::default())).sum();
            assert!(alarms * 100 <= 40 * 30, "{users} users: {alarms} alarms in {} days", 40 * 30);
        }
    }

    #[test]
    fn an_attack_on_accounts_in_use_is_flagged_within_ten_tries() {
        for users in [1, 5, 20] {
            let (mut dice, mut stealth) = (Dice(users), Stealth::default());
            month(&mut dice, users, &mut stealth);
            let begin = 31 * 24 * HOUR;
            let tries = (0..40u32).position(|number| {
                let when = at(begin + i64::from(number) * 600);
                let user = format!("user{}", u64::from(number) % users);
                stealth.failure(&jail(), place(900_000 + number), &user, when, true).is_some()
            });
            assert!(tries.is_some_and(|tries| tries < 10), "{users} users: {tries:?}");
        }
    }

    fn under_attack() -> Stealth {
        let mut stealth = Stealth::default();
        let told: Vec<Change> =
            (0..9).filter_map(|n| stealth.failure(&jail(), place(n), "alice", at(n.into()), true)).collect();
        let users = vec!["alice".into()];
        assert_eq!(told, [Change::Began { jail: jail(), places: 7, since: at(0), users }]);
        stealth
    }

    #[test]
    fn a_stranger_who_gets_in_during_an_alarm_is_told_of_and_one_who_is_known_is_not() {
        let mut stealth = under_attack();
        let got_in = Change::GotIn { jail: jail(), place: place(99), user: "alice".into() };
        assert_eq!(stealth.good_login(&jail(), place(99), "alice", false, at(HOUR)), Some(got_in));
        assert_eq!(stealth.good_login(&jail(), place(98), "alice", true, at(HOUR)), None);
        assert_eq!(stealth.good_login(&jail(), place(97), "bob", false, at(HOUR)), None, "nobody tried bob");
    }

    #[test]
    fn an_alarm_is_over_after_a_day_of_silence_and_one_place_is_no_attack() {
        let mut stealth = under_attack();
        assert_eq!(stealth.sweep(at(HOUR)), []);
        assert_eq!(stealth.sweep(at(26 * HOUR)), [Change::Ended(jail())]);
        let again =
            (0..50).filter_map(|n| stealth.failure(&jail(), place(1), "alice", at(30 * HOUR + n), true));
        assert_eq!(again.count(), 0);
    }

    #[test]
    fn history_teaches_and_raises_nothing() {
        let mut stealth = Stealth::default();
        let told = (0..60)
            .filter_map(|n| stealth.failure(&jail(), place(n), "alice", at(i64::from(n) * HOUR), false));
        assert_eq!(told.count(), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut stealth = Stealth::default();
        for number in 0..20_000 {
            stealth.failure(&jail(), place(number), "alice", at(i64::from(number)), true);
        }
        assert!(stealth.jails.values().all(|watch| watch.strangers.len() <= MAX_STRANGERS));
    }
}
