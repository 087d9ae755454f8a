//! Bans that grow with the number of earlier ones, as fail2ban grows them (`bantime.increment`).

pub mod formula;

use crate::time::{BanTime, Span};

use formula::{Formula, Undefined};

/// How bans of one jail grow.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Growth {
    /// Multiplied with whatever the rest says; 1 if nothing is said.
    pub factor: Option<f64>,
    /// Factors of the second and later bans, the last one for all beyond; empty: the formula holds.
    pub multipliers: Vec<u32>,
    /// How long a later ban is; unset: each is twice as long as the one before, twenty times at most.
    pub formula: Option<Formula>,
    /// Up to this is added by chance, so that nobody can compute the end.
    pub rndtime: Option<Span>,
    /// Longest ban, before chance.
    pub maxtime: Option<Span>,
    /// Bans by other jails count too.
    pub overalljails: bool,
}

/// So many repetitions are tried before a formula is believed.
const TRIED: u32 = 10;

impl Growth {
    /// How long a ban lasts after `earlier` ones; the first one is not touched. `chance`: from 0 up to 1.
    ///
    /// Where a formula gives nothing the ban does not grow.
    pub fn bantime(&self, base: BanTime, earlier: u32, chance: f64) -> BanTime {
        let BanTime::For(span) = base else { return base };
        if earlier == 0 {
            return base;
        }
        let Ok(mut grown) = self.grown(span, earlier) else { return base };
        if let Some(most) = self.maxtime {
            grown = grown.min(most.millis() as f64);
        }
        if let Some(most) = self.rndtime {
            grown += chance.clamp(0.0, 1.0) * most.millis() as f64;
        }
        BanTime::For(Span::from_millis(grown.clamp(0.0, 1e16) as u64))
    }

    /// In milliseconds, before anything limits it.
    fn grown(&self, base: Span, earlier: u32) -> Result<f64, Undefined> {
        let millis = base.millis() as f64;
        let factor = self.factor.unwrap_or(1.0);
        let at = usize::try_from(earlier).unwrap_or(usize::MAX);
        if let Some(multiplier) = self.multipliers.get(at).or(self.multipliers.last()) {
            return Ok(millis * factor * f64::from(*multiplier));
        }
        let grown = match &self.formula {
            Some(formula) => formula.compute((millis / 1e3).into(), earlier, factor.into())?.real() * 1e3,
            None => millis * f64::from(1u32 << earlier.min(20)) * factor,
        };
        Ok(grown.max(millis))
    }

    /// The first number of earlier bans for which the formula gives nothing, and why.
    pub fn gap(&self, base: BanTime) -> Option<(u32, Undefined)> {
        let BanTime::For(base) = base else { return None };
        (1..=TRIED).find_map(|earlier| Some((earlier, self.grown(base, earlier).err()?)))
    }

    /// How many failures one of a source counts for that was banned `earlier` times by this jail, out of `maxretry`.
    pub fn weight(earlier: u32, maxretry: u32) -> u32 {
        match earlier {
            0 => 1,
            _ => ((1u32 << earlier.min(20)) / 2 + 1).min(maxretry.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(growth: &Growth, earlier: u32, chance: f64) -> u64 {
        match growth.bantime(BanTime::For(Span::from_secs(600)), earlier, chance) {
            BanTime::For(span) => span.secs(),
            BanTime::Forever => 0,
        }
    }

    #[test]
    fn doubles_up_to_the_longest() {
        let growth = Growth { maxtime: Some(Span::from_secs(3_000)), ..Growth::default() };
        assert_eq!([0, 1, 2, 3].map(|earlier| secs(&growth, earlier, 0.0)), [600, 1_200, 2_400, 3_000]);
    }

    #[test]
    fn multipliers_are_counted_from_the_first_ban() {
        let growth = Growth { multipliers: vec![1, 5, 30], factor: Some(2.0), ..Growth::default() };
        assert_eq!([0, 1, 2, 9].map(|earlier| secs(&growth, earlier, 0.0)), [600, 6_000, 36_000, 36_000]);
    }

    #[test]
    fn chance_is_added_behind_the_longest() {
        let rndtime = Some(Span::from_secs(100));
        let growth = Growth { rndtime, maxtime: Some(Span::from_secs(700)), ..Growth::default() };
        assert_eq!((secs(&growth, 5, 0.0), secs(&growth, 5, 0.5)), (700, 750));
    }

    #[test]
    fn known_offenders_count_more() {
        assert_eq!([0, 1, 2, 3, 4, 30].map(|earlier| Growth::weight(earlier, 9)), [1, 2, 3, 5, 9, 9]);
    }

    #[test]
    fn a_formula_shortens_nothing_and_where_it_gives_nothing_nothing_grows() {
        let formula = Formula::parse("ban.Time * 100 / (ban.Count - 2) if ban.Count < 4 else 1").ok();
        let growth = Growth { formula, maxtime: Some(Span::from_secs(5_000)), ..Growth::default() };
        assert_eq!([1, 2, 3, 4].map(|earlier| secs(&growth, earlier, 0.0)), [600, 600, 5_000, 600]);
        assert_eq!(growth.gap(BanTime::For(Span::from_secs(600))).map(|(earlier, _)| earlier), Some(2));
        assert_eq!(growth.gap(BanTime::Forever), None);
    }

    #[test]
    fn forever_stays_forever() {
        assert_eq!(Growth::default().bantime(BanTime::Forever, 3, 0.5), BanTime::Forever);
    }
}
