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

/// Which setting to take; nothing if there was no attempt.
///
/// The rule: of all settings, and the policy as it is, those that hit the fewest good users; of these, those that let
/// through at most [`TOLERANCE_PERCENT`] of all attempts more than the best of them; if the policy as it is belongs to
/// these it stays, else the mildest of them is taken: the largest `maxretry`, then the shortest `findtime`.
pub fn advise(points: &[Point], present: &Sums) -> Option<Advice> {
    if present.attempts == 0 {
        return None;
    }
    let all = || points.iter().map(|point| &point.sums).chain([present]);
    let fewest = all().map(|sums| sums.good_users_hit).min()?;
    let least = all().filter(|sums| sums.good_users_hit == fewest).map(|sums| sums.let_through).min()?;
    let most = least + present.attempts * TOLERANCE_PERCENT / 100;
    let is_good = |sums: &Sums| sums.good_users_hit == fewest && sums.let_through <= most;
    if is_good(present) {
        return Some(Advice::Keep);
    }
    let good = points.iter().filter(|point| is_good(&point.sums));
    let mildest =
        good.max_by_key(|point| (point.setting.maxretry, std::cmp::Reverse(point.setting.findtime)));
    mildest.map(|point| Advice::Take(*point))
}
