//! A jail's policy: points by class, `maxretry`, `findtime`, and the ladder of bans.

use std::sync::Arc;

use crate::event::{Class, Points};
use crate::time::{BanTime, Span};

use super::growth::Growth;
use super::secret::Percent;

/// Points of each class of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointTable([Points; Class::ALL.len()]);

impl PointTable {
    /// The default: attackers are slow and guess names, owners mistype.
    /// Source: replay of a 57-day honeypot log, 2018; 12 to 17 % of attempts let through instead of 67 %.
    pub fn long_memory() -> PointTable {
        let mut table = PointTable::plain();
        for (class, hundredths) in [
            (Class::BadUser, 500),
            (Class::UnknownUser, 300),
            (Class::Root, 200),
            (Class::GoodUser, 50),
            (Class::Penalty, 200),
        ] {
            table.set(class, Points(hundredths));
        }
        table
    }

    /// Plain counting: every failure is one point.
    pub fn plain() -> PointTable {
        PointTable([Points(100); Class::ALL.len()])
    }

    /// True if all classes cost the same: then failures are counted and nothing else is asked.
    pub fn is_plain(&self) -> bool {
        self.0.iter().all(|points| *points == self.0[0])
    }

    /// Points of one failure of this class.
    pub fn of(&self, class: Class) -> Points {
        let at = Class::ALL.iter().position(|(known, _)| *known == class).unwrap_or(0);
        self.0[at]
    }

    /// Changes the points of one class.
    pub fn set(&mut self, class: Class, points: Points) {
        if let Some(at) = Class::ALL.iter().position(|(known, _)| *known == class) {
            self.0[at] = points;
        }
    }
}

/// How long the first, second and later bans of one prefix last; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder(Arc<[BanTime]>);

impl Ladder {
    /// Nothing if `steps` is empty.
    pub fn new(steps: Vec<BanTime>) -> Option<Ladder> {
        (!steps.is_empty()).then(|| Ladder(steps.into()))
    }

    /// 1d, 7d, 30d.
    pub fn long() -> Ladder {
        Ladder([86_400, 604_800, 2_592_000].map(|secs| BanTime::For(Span::from_secs(secs))).into())
    }

    /// 1h, 1d, 7d, 30d: for services whose users are the public.
    pub fn public() -> Ladder {
        Ladder([3_600, 86_400, 604_800, 2_592_000].map(|secs| BanTime::For(Span::from_secs(secs))).into())
    }

    /// How long a ban lasts for a prefix that was banned `earlier` times before.
    pub fn step(&self, earlier: u32) -> BanTime {
        let at = usize::try_from(earlier).unwrap_or(usize::MAX).min(self.0.len() - 1);
        self.0[at]
    }

    /// The steps as configured.
    pub fn steps(&self) -> &[BanTime] {
        &self.0
    }
}

/// How a jail counts and bans.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Points within `findtime` that ban; above zero.
    pub maxretry: Points,
    /// Length of the sliding window; above zero.
    pub findtime: Span,
    /// How long bans last.
    pub bantime: Ladder,
    /// How they grow with earlier ones, beginning with the first step; nothing if the ladder says it all.
    pub growth: Option<Arc<Growth>>,
    /// Points of each class.
    pub points: PointTable,
    /// By how much at most the threshold of one source differs from `maxretry`, as it cannot foresee.
    pub jitter: Percent,
    /// People have one account there, so that a stranger who tries several is none of them. Not so with mail and the web,
    /// where a phone asks for all of somebody's mailboxes.
    pub one_account: bool,
}

impl Policy {
    /// The points that ban a source whose threshold is shifted by so many hundredths.
    pub fn threshold(&self, shift: i64) -> Points {
        let shifted = i64::from(self.maxretry.0) * (100 + shift) / 100;
        Points(u32::try_from(shifted).unwrap_or(u32::MAX).max(1))
    }
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            maxretry: Points(500),
            findtime: Span::from_secs(86_400),
            bantime: Ladder::long(),
            growth: None,
            points: PointTable::long_memory(),
            jitter: Percent(0),
            one_account: true,
        }
    }
}
