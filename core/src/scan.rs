//! What `scan` adds up: attempts by source, by user and by time. Pure; bounded however much is scanned.

use crate::event::Attempt;
use crate::hash::FastMap;
use crate::jail::JailIndex;
use crate::net::Prefix;
use crate::time::{End, Timestamp};

/// At most so many sources are told apart.
pub const MAX_SOURCES: usize = 2_000_000;

/// At most so many user names are told apart; later ones are counted together.
pub const MAX_USERS: usize = 200_000;

/// At most so many user names are kept for each source, the first ones.
pub const MAX_USERS_OF_SOURCE: usize = 64;

/// At most so many different minutes have attempts: four years of them without a pause.
const MAX_MINUTES: usize = 2_000_000;

/// What is known of one source in one jail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Source {
    /// Attempts.
    pub failures: u64,
    /// Numbers of the users it tried, in order of appearance; see [`Tally::user`].
    pub users: Vec<u32>,
    /// Which of the first 64 users of all it tried, as bits: the common names are found at once.
    common: u64,
    /// Its first attempt.
    pub first: Timestamp,
    /// Its last attempt.
    pub last: Timestamp,
    /// When it would be banned for the first time.
    pub would_ban_at: Option<Timestamp>,
    /// When its latest ban would end.
    banned_until: Option<End>,
}

impl Source {
    fn failed(&mut self, time: Timestamp, tries: u32, user: Option<u32>) {
        self.failures += u64::from(tries);
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        if let Some(user) = user {
            self.tried(user);
        }
    }

    fn tried(&mut self, user: u32) {
        let bit = 1u64.checked_shl(user).unwrap_or(0);
        let known = self.common & bit != 0 || bit == 0 && self.users.contains(&user);
        if !known && self.users.len() < MAX_USERS_OF_SOURCE {
            self.users.push(user);
        }
        self.common |= bit;
    }
}

/// Where a tally keeps a source; good as long as the tally is.
#[derive(Debug, Clone, Copy)]
pub struct Place(u32);

/// The sums. Feed it attempts in any order.
#[derive(Debug, Default)]
pub struct Tally {
    places: FastMap<(JailIndex, Prefix), Place>,
    sources: Vec<(JailIndex, Prefix, Source)>,
    sums: Sums,
    successes: u64,
    uncounted_sources: u64,
}

/// What is added up over all sources.
#[derive(Debug, Default)]
struct Sums {
    users: Users,
    minutes: FastMap<i64, u64>,
    minute: (i64, u64),
    failures: u64,
    span: Option<(Timestamp, Timestamp)>,
}

impl Sums {
    /// Counts failed tries; returns the number of their user.
    fn add(&mut self, time: Timestamp, tries: u32, user: Option<&str>) -> Option<u32> {
        let tries = u64::from(tries);
        self.failures += tries;
        self.time(time, tries);
        user.and_then(|name| self.users.count(name, tries))
    }

    fn time(&mut self, at: Timestamp, tries: u64) {
        let (first, last) = self.span.unwrap_or((at, at));
        self.span = Some((first.min(at), last.max(at)));
        let minute = at.secs().div_euclid(60);
        if self.minute.0 != minute {
            self.flush_minute();
            self.minute = (minute, 0);
        }
        self.minute.1 += tries;
    }

    fn flush_minute(&mut self) {
        let (minute, tries) = self.minute;
        if tries > 0 && (self.minutes.len() < MAX_MINUTES || self.minutes.contains_key(&minute)) {
            *self.minutes.entry(minute).or_default() += tries;
        }
        self.minute.1 = 0;
    }
}

#[derive(Debug, Default)]
struct Users {
    numbers: FastMap<String, u32>,
    names: Vec<(String, u64)>,
    others: u64,
    /// The number of the name that came last, most likely the next one too.
    last: u32,
}

impl Users {
    fn count(&mut self, name: &str, tries: u64) -> Option<u32> {
        let known = match self.names.get(self.last as usize) {
            Some((last, _)) if last == name => Some(self.last),
            _ => self.numbers.get(name).copied(),
        };
        let number = match known {
            Some(number) => number,
            None if self.names.len() >= MAX_USERS => {
                self.others += tries;
                return None;
            }
            None => {
                let number = u32::try_from(self.names.len()).ok()?;
                self.numbers.insert(name.to_owned(), number);
                self.names.push((name.to_owned(), 0));
                number
            }
        };
        if let Some((_, count)) = self.names.get_mut(number as usize) {
            *count += tries;
        }
        self.last = number;
        Some(number)
    }
}

impl Tally {
    /// Counts an attempt of a jail. `subject`: whom the jail counts it for.
    pub fn attempt(&mut self, jail: JailIndex, subject: Prefix, attempt: &Attempt) {
        if attempt.class.is_none() {
            self.successes += 1;
            return;
        }
        self.failed(jail, subject, (attempt.time, attempt.tries), attempt.user.as_deref());
    }

    /// Counts failed tries: when and how many.
    fn failed(
        &mut self,
        jail: JailIndex,
        subject: Prefix,
        (time, tries): (Timestamp, u32),
        user: Option<&str>,
    ) {
        let user = self.sums.add(time, tries, user);
        let place = match self.place(jail, subject) {
            Some(place) => place,
            None if self.sources.len() >= MAX_SOURCES => {
                self.uncounted_sources += 1;
                return;
            }
            None => {
                let place = Place(self.sources.len() as u32);
                self.places.insert((jail, subject), place);
                self.sources.push((jail, subject, Source { first: time, last: time, ..Source::default() }));
                place
            }
        };
        if let Some((.., source)) = self.sources.get_mut(place.0 as usize) {
            source.failed(time, tries, user);
        }
    }

    fn place(&self, jail: JailIndex, subject: Prefix) -> Option<Place> {
        self.places.get(&(jail, subject)).copied()
    }

    /// Where a source is kept, if it is; what is known of it is near then, for what comes next.
    pub fn look_up(&self, jail: JailIndex, subject: Prefix) -> Option<Place> {
        let place = self.place(jail, subject)?;
        // It takes more than one line of the cache.
        let near = |(.., source): &(_, _, Source)| {
            (source.banned_until, source.failures, source.common, source.last)
        };
        std::hint::black_box(self.sources.get(place.0 as usize).map(near));
        Some(place)
    }

    /// Counts what `tries` finds, if a ban of this source that was noted here is in force at `now`; false if none is.
    ///
    /// `tries`: when, how many, and the user; nothing if the record adds none.
    pub fn while_banned<'u>(
        &mut self,
        place: Place,
        now: Timestamp,
        tries: impl FnOnce() -> Option<(Timestamp, u32, Option<&'u str>)>,
    ) -> bool {
        let Some((.., source)) = self.sources.get_mut(place.0 as usize) else { return false };
        if source.banned_until.is_none_or(|until| until.is_over(now)) {
            return false;
        }
        if let Some((time, tries, user)) = tries() {
            let user = self.sums.add(time, tries, user);
            source.failed(time, tries, user);
        }
        true
    }

    /// Notes that a jail would ban `prefix` from `at` to `until`.
    pub fn banned(&mut self, jail: JailIndex, prefix: Prefix, at: Timestamp, until: End) {
        let place = self.place(jail, prefix);
        if let Some((.., source)) = place.and_then(|place| self.sources.get_mut(place.0 as usize)) {
            source.would_ban_at.get_or_insert(at);
            source.banned_until = Some(until);
        }
    }

    /// All attempts.
    pub fn failures(&self) -> u64 {
        self.sums.failures
    }

    /// Good logins.
    pub fn successes(&self) -> u64 {
        self.successes
    }

    /// Attempts of sources beyond [`MAX_SOURCES`].
    pub fn uncounted_sources(&self) -> u64 {
        self.uncounted_sources
    }

    /// The times of the first and the last attempt.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.sums.span
    }

    /// Every source with its jail, the most attempts first.
    pub fn sources(&self) -> Vec<(JailIndex, Prefix, &Source)> {
        let mut all: Vec<_> =
            self.sources.iter().map(|(jail, prefix, source)| (*jail, *prefix, source)).collect();
        all.sort_unstable_by_key(|(jail, prefix, source)| {
            (std::cmp::Reverse(source.failures), *prefix, *jail)
        });
        all
    }

    /// The name of a user by its number.
    pub fn user(&self, number: u32) -> &str {
        self.sums.users.names.get(number as usize).map_or("", |(name, _)| name)
    }

    /// Names that were tried with their attempts, the most first; and how many there are.
    pub fn users(&self, at_most: usize) -> (Vec<(&str, u64)>, usize) {
        let mut all: Vec<(&str, u64)> =
            self.sums.users.names.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        all.sort_unstable_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        let count = all.len();
        all.truncate(at_most);
        (all, count)
    }

    /// Networks (/24, IPv6 /48) with more than one source: attempts and sources, the most attempts first.
    pub fn networks(&self) -> Vec<(Prefix, u64, usize)> {
        let mut nets: FastMap<Prefix, (u64, usize)> = FastMap::default();
        for (_, prefix, source) in &self.sources {
            let net = prefix.widened(if prefix.is_ipv4() { 24 } else { 48 });
            let (failures, sources) = nets.entry(net).or_default();
            *failures += source.failures;
            *sources += 1;
        }
        let several = nets.into_iter().filter(|(_, (_, sources))| *sources > 1);
        let mut all: Vec<_> = several.map(|(net, (failures, sources))| (net, failures, sources)).collect();
        all.sort_unstable_by_key(|(net, failures, _)| (std::cmp::Reverse(*failures), *net));
        all
    }

    /// Attempts by minute since the epoch, in order. Ends the minute under way.
    pub fn minutes(&mut self) -> Vec<(i64, u64)> {
        self.sums.flush_minute();
        let mut all: Vec<(i64, u64)> =
            self.sums.minutes.iter().map(|(minute, count)| (*minute, *count)).collect();
        all.sort_unstable();
        all
    }
}

/// The most attempts that fell into any `width` minutes in a row, and the first of these minutes.
///
/// `minutes`: as of [`Tally::minutes`], in order.
pub fn busiest(minutes: &[(i64, u64)], width: i64) -> Option<(i64, u64)> {
    let (mut start, mut sum) = (0, 0);
    let mut best: Option<(i64, u64)> = None;
    for (minute, count) in minutes {
        sum += count;
        while let Some((old, gone)) = minutes.get(start).filter(|(old, _)| old + width <= *minute) {
            debug_assert!(old <= minute, "minutes are in order");
            sum -= gone;
            start += 1;
        }
        if best.is_none_or(|(_, most)| sum > most) {
            best = minutes.get(start).map(|(first, _)| (*first, sum));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Class, JailName, Points};

    fn attempt(secs: i64, addr: &str, user: &str, tries: u32) -> Attempt {
        Attempt {
            time: Timestamp::from_secs(secs),
            jail: JailName::new("sshd").unwrap(),
            addr: addr.parse().unwrap(),
            user: Some(user.into()),
            class: Some(Class::KnownUser),
            points: Points(100),
            tries,
            connection: None,
        }
    }

    fn tally(attempts: &[Attempt]) -> Tally {
        let mut tally = Tally::default();
        for attempt in attempts {
            tally.attempt(0, Prefix::host(attempt.addr), attempt);
        }
        tally
    }

    #[test]
    fn sums_by_source_user_and_time() {
        let mut tally = tally(&[
            attempt(70, "192.0.2.7", "root", 2),
            attempt(10, "192.0.2.7", "admin", 1),
            attempt(600, "192.0.2.8", "root", 1),
        ]);
        assert_eq!((tally.failures(), tally.sources().len()), (4, 2));
        let (_, prefix, source) = tally.sources()[0];
        assert_eq!(
            (prefix.short(), source.failures, source.first.secs(), source.last.secs()),
            ("192.0.2.7".to_owned(), 3, 10, 70)
        );
        assert_eq!(tally.users(9), (vec![("root", 3), ("admin", 1)], 2));
        assert_eq!(tally.networks(), [("192.0.2.0/24".parse().unwrap(), 4, 2)]);
        assert_eq!(tally.minutes(), [(0, 1), (1, 2), (10, 1)]);
    }

    #[test]
    fn finds_the_busiest_minutes() {
        let minutes = [(0, 1), (1, 2), (9, 3), (10, 4), (30, 5)];
        assert_eq!(busiest(&minutes, 1), Some((30, 5)));
        assert_eq!(busiest(&minutes, 10), Some((1, 9)));
        assert_eq!(busiest(&[], 10), None);
    }
}
