//! Who of the past is shown.

use crate::hash::FastMap;
use crate::net::{Prefix, PrefixSet};

use super::groups;
use super::past::Source;
use super::{DAYS, Offender, Past, Rules, Service, Spared, Total, Wall};

impl Past {
    /// What may be shown of it.
    pub fn wall(&self, rules: &Rules, spared: &Spared) -> Wall {
        let mut services: Vec<(Service, u64)> =
            Service::ALL.into_iter().zip(self.services).filter(|(_, attempts)| *attempts > 0).collect();
        services.sort_by_key(|(_, attempts)| std::cmp::Reverse(*attempts));
        let offenders = self.offenders(rules, spared);
        Wall {
            made: self.now,
            totals: [1, 7, DAYS].map(|days| sum(&self.days[DAYS - days..])),
            shut_out: offenders.iter().filter(|offender| offender.banned_until.is_some()).count() as u64,
            days: self.days.to_vec(),
            week: self.week,
            services,
            networks: groups::networks(&offenders),
            operators: Vec::new(),
            offenders,
        }
    }

    fn offenders(&self, rules: &Rules, spared: &Spared) -> Vec<Offender> {
        let good = PrefixSet::new(self.good.iter().copied().map(Prefix::host));
        let hidden = |prefix| {
            spared.never.overlaps(prefix) || spared.unlisted.overlaps(prefix) || good.overlaps(prefix)
        };
        let mut shown: FastMap<Prefix, Offender> = FastMap::default();
        for (prefix, source) in &self.offenders {
            if hidden(*prefix) {
                continue;
            }
            let Some(offender) = self.offender(*prefix, source, rules) else { continue };
            let name = offender.prefix;
            shown.entry(name).and_modify(|known| known.merge(&offender)).or_insert(offender);
        }
        // Behind a network that hides an address may stand somebody who is spared: it is not named then, either. Who asked
        // to be left out is not meant by a network that others are shown for.
        let mut offenders: Vec<Offender> = shown
            .into_values()
            .filter(|offender| !(spared.never.overlaps(offender.prefix) || good.overlaps(offender.prefix)))
            .collect();
        offenders.sort_by(|a, b| (b.last, a.prefix).cmp(&(a.last, b.prefix)));
        offenders
    }

    /// One that was banned as it is shown; nothing if it tried too little, or too long ago.
    fn offender(&self, prefix: Prefix, source: &Source, rules: &Rules) -> Option<Offender> {
        let (first, last) = source.span?;
        if source.attempts < rules.min_attempts || self.now.since(last) > rules.keep {
            return None;
        }
        let masked = prefix.widened(if prefix.is_ipv4() { 24 } else { 48 });
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
        })
    }
}

impl Offender {
    fn merge(&mut self, other: &Offender) {
        self.is_masked |= other.is_masked;
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
