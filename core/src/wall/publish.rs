//! Who of the past is shown.

use crate::hash::FastMap;
use crate::net::{Prefix, PrefixSet};

use super::groups;
use super::past::{Source, shown_by};
use super::{DAYS, Offender, Past, Rules, Service, Spared, TOP, Total, Wall};

/// At most so many are shown, those that were seen last.
const MOST_SHOWN: usize = 100_000;

/// Who is never shown.
struct Hidden<'s> {
    spared: &'s Spared,
    /// Addresses that logged in by a name.
    good: PrefixSet,
    /// Those that logged in without one.
    nameless: PrefixSet,
}

impl Hidden<'_> {
    /// True if somebody in it is not to be shown as what they are.
    fn holds(&self, prefix: Prefix) -> bool {
        self.hides(prefix) || self.spared.unlisted.overlaps(prefix) || self.nameless.overlaps(prefix)
    }

    /// True if not even the network that hides others may be named. Who asked to be left out is not meant by a network
    /// that others are shown for, and a login that names nobody may be anybody's.
    fn hides(&self, prefix: Prefix) -> bool {
        self.spared.never.overlaps(prefix) || self.good.overlaps(prefix)
    }
}

impl Past {
    /// What may be shown of it.
    pub fn wall(&self, rules: &Rules, spared: &Spared) -> Wall {
        let mut services: Vec<(Service, u64)> =
            Service::ALL.into_iter().zip(self.services).filter(|(_, attempts)| *attempts > 0).collect();
        services.sort_by_key(|(_, attempts)| std::cmp::Reverse(*attempts));
        let of = |is_named| self.good.iter().filter(move |(_, named)| **named == is_named);
        let set = |is_named| PrefixSet::new(of(is_named).map(|(addr, _)| Prefix::host(*addr)));
        let hidden = Hidden { spared, good: set(true), nameless: set(false) };
        let offenders = self.offenders(rules, &hidden);
        Wall {
            made: self.now,
            totals: [1, 7, DAYS].map(|days| sum(&self.days[DAYS - days..])),
            shut_out: offenders.iter().filter(|offender| offender.banned_until.is_some()).count() as u64,
            days: self.days.to_vec(),
            week: self.week,
            services,
            users: self.users(&spared.users),
            networks: groups::networks(&offenders, |network| hidden.holds(network)),
            operators: Vec::new(),
            countries: Vec::new(),
            offenders,
        }
    }

    fn users(&self, spared: &[String]) -> Vec<(String, u64)> {
        let mut users: Vec<(String, u64)> =
            self.users.iter().map(|(user, tries)| (user.clone(), *tries)).collect();
        users.retain(|(user, _)| !spared.contains(user));
        users.sort_by(|(one, ones), (other, others)| (others, one).cmp(&(ones, other)));
        users.truncate(TOP);
        users
    }

    fn offenders(&self, rules: &Rules, hidden: &Hidden<'_>) -> Vec<Offender> {
        // Whom it cannot tell from those who logged in it does not show.
        if !self.knows_all() {
            return Vec::new();
        }
        let mut shown: FastMap<(Prefix, bool), Offender> = FastMap::default();
        for (prefix, source) in self.summed(rules, hidden) {
            let Some(offender) = self.offender(prefix, &source, rules) else { continue };
            let name = (offender.prefix, offender.is_masked);
            shown.entry(name).and_modify(|known| known.merge(&offender)).or_insert(offender);
        }
        let mut offenders: Vec<Offender> =
            shown.into_values().filter(|offender| !hidden.hides(offender.prefix)).collect();
        offenders.sort_by(|a, b| (b.last, a.prefix, a.is_masked).cmp(&(a.last, b.prefix, b.is_masked)));
        offenders.truncate(MOST_SHOWN);
        offenders
    }

    /// Those that may be shown; what one tried that is not shown by itself counts for the network around it, if that was
    /// banned.
    fn summed(&self, rules: &Rules, hidden: &Hidden<'_>) -> FastMap<Prefix, Source> {
        let all = self.offenders.iter().filter(|(prefix, _)| !hidden.holds(**prefix));
        let mut sums: FastMap<Prefix, Source> = all.map(|(prefix, source)| (*prefix, *source)).collect();
        let mut prefixes: Vec<Prefix> = sums.keys().copied().collect();
        // From the smallest to the widest.
        prefixes.sort_unstable_by_key(|prefix| std::cmp::Reverse(prefix.prefix_len()));
        for prefix in prefixes {
            let Some(source) = sums.get(&prefix).copied() else { continue };
            let (Some((first, last)), Some(length)) = (source.span, prefix.prefix_len().checked_sub(1))
            else {
                continue;
            };
            let around = self.banned_around(prefix.widened(length)).and_then(|around| sums.get_mut(&around));
            if let Some(around) = around.filter(|_| source.attempts < rules.min_attempts) {
                around.attempts += source.attempts;
                let (begin, end) = around.span.unwrap_or((first, last));
                around.span = Some((begin.min(first), end.max(last)));
                around.services.merge(source.services);
            }
        }
        sums
    }

    /// One that was banned as it is shown; nothing if it tried too little, or too long ago.
    fn offender(&self, prefix: Prefix, source: &Source, rules: &Rules) -> Option<Offender> {
        let (first, last) = source.span?;
        if source.attempts < rules.min_attempts || self.now.since(last) > rules.keep {
            return None;
        }
        let masked = shown_by(prefix);
        let is_masked = rules.mask && masked != prefix;
        Some(Offender {
            prefix: if is_masked { masked } else { prefix },
            is_masked,
            sources: 1,
            attempts: source.attempts,
            first,
            last,
            services: source.services,
            bans: source.bans,
            banned_until: source.until.filter(|until| !until.is_over(self.now)),
            operator: None,
            country: None,
        })
    }
}

impl Offender {
    fn merge(&mut self, other: &Offender) {
        self.sources += other.sources;
        self.attempts += other.attempts;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.services.merge(other.services);
        self.bans += other.bans;
        self.banned_until = self.banned_until.into_iter().chain(other.banned_until).max();
    }
}

fn sum(days: &[Total]) -> Total {
    days.iter().fold(Total::default(), |sum, day| Total {
        attempts: sum.attempts + day.attempts,
        bans: sum.bans + day.bans,
    })
}
