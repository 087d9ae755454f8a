//! `maxretry` and `findtime` against attempts let through and good users hit, and which setting to take.

use crate::event::Points;
use crate::machine::Machine;
use crate::time::Span;

use super::good::Logins;
use super::{Seen, Sums, replay};

/// The values of `maxretry` that are tried, in points.
pub const MAXRETRIES: [Points; 6] =
    [Points(200), Points(300), Points(500), Points(800), Points(1_200), Points(2_000)];

/// The values of `findtime` that are tried.
pub const FINDTIMES: [Span; 5] = [
    Span::from_secs(600),
    Span::from_secs(3_600),
    Span::from_secs(6 * 3_600),
    Span::from_secs(86_400),
    Span::from_secs(7 * 86_400),
];

/// Letting through more than the least is fine up to this part of all attempts, where it makes a policy milder.
pub const TOLERANCE_PERCENT: u64 = 1;

/// One of the settings that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Points that ban, in every jail.
    pub maxretry: Points,
    /// Within this time, in every jail.
    pub findtime: Span,
}

/// What a setting would have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The setting.
    pub setting: Setting,
    /// What came of it.
    pub sums: Sums,
}

/// One `findtime` with every `maxretry`. `machine`: builds one with nothing counted.
pub fn of_findtime(
    findtime: Span,
    seen: &[Seen],
    logins: &Logins,
    machine: impl Fn(Setting) -> Machine,
) -> Vec<Point> {
    let settings = MAXRETRIES.iter().map(|maxretry| Setting { maxretry: *maxretry, findtime });
    settings.map(|setting| Point { setting, sums: replay(machine(setting), seen, logins).total }).collect()
}

/// What to do about `maxretry` and `findtime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The policy as it is does as well as any.
    Keep,
    /// This setting does better.
    Take(Point),
}

/// Which setting to take; nothing if there was no attempt. `present`: the policy as it is, with the settings of each
/// jail and what came of it.
///
/// The rule: of all settings, and the policy as it is, those that hit the fewest good users; of these, those that let
/// through at most [`TOLERANCE_PERCENT`] of all attempts more than the best of them; if the policy as it is belongs to
/// these it stays. Else of these equals the one that changes least is taken: where `findtime` or `maxretry` can stay as
/// it is it stays; then the mildest, that is the largest `maxretry`; then the nearest `findtime`.
pub fn advise(points: &[Point], (present, sums): (&[Setting], &Sums)) -> Option<Advice> {
    if sums.attempts == 0 {
        return None;
    }
    let all = || points.iter().map(|point| &point.sums).chain([sums]);
    let fewest = all().map(|sums| sums.good_users_hit).min()?;
    let least = all().filter(|sums| sums.good_users_hit == fewest).map(|sums| sums.let_through).min()?;
    let most = least + sums.attempts * TOLERANCE_PERCENT / 100;
    let is_good = |sums: &Sums| sums.good_users_hit == fewest && sums.let_through <= most;
    if is_good(sums) {
        return Some(Advice::Keep);
    }
    let good = points.iter().filter(|point| is_good(&point.sums));
    let least_change = good.min_by_key(|Point { setting, .. }| {
        (setting.changes(present), std::cmp::Reverse(setting.maxretry), setting.distance(present))
    });
    least_change.map(|point| Advice::Take(*point))
}

impl Setting {
    /// How many values of the jails it changes.
    fn changes(&self, jails: &[Setting]) -> usize {
        let of_jail = |jail: &Setting| {
            usize::from(jail.findtime != self.findtime) + usize::from(jail.maxretry != self.maxretry)
        };
        jails.iter().map(of_jail).sum()
    }

    /// How far its `findtime` is from those of the jails, in doublings.
    fn distance(&self, jails: &[Setting]) -> u32 {
        let doublings = |span: Span| span.secs().max(1).ilog2();
        jails.iter().map(|jail| doublings(jail.findtime).abs_diff(doublings(self.findtime))).sum()
    }
}
