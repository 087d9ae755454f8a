//! The curve on a terminal: attempts let through by `maxretry`, one letter for each `findtime`, and the figures.

use std::fmt::Write;

use pillory_core::event::Points;
use pillory_core::rehearse::Sums;
use pillory_core::rehearse::curve::{FINDTIMES, MAXRETRIES, Point, Setting};
use pillory_core::time::Span;

/// Rows of the chart, and columns for each `maxretry`.
const ROWS: usize = 10;
const COLUMN: usize = 11;

/// Parts of a hundred, in tenths.
pub(super) fn percent(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 * 100.0 / of as f64 }
}

/// The percentage at the top: the next ten above all points.
pub(super) fn top(points: &[Point]) -> f64 {
    let most = points.iter().map(|point| share(&point.sums)).fold(0.0, f64::max);
    ((most / 10.0).ceil() * 10.0).clamp(10.0, 100.0)
}

/// Attempts let through, of a hundred.
pub(super) fn share(sums: &Sums) -> f64 {
    percent(sums.let_through, sums.attempts)
}

/// The point of that setting.
pub(super) fn point(points: &[Point], maxretry: Points, findtime: Span) -> Option<&Point> {
    points.iter().find(|point| point.setting == Setting { maxretry, findtime })
}

/// The letter of a `findtime`.
fn letter(at: usize) -> char {
    char::from(b'a' + (at % 26) as u8)
}

/// The chart and its figures. `present`: the setting as it is, to be marked.
pub(super) fn draw(points: &[Point], present: Option<Setting>) -> String {
    let mut text = String::from("\n% of attempts let through, by maxretry; one letter for each findtime\n");
    let top = top(points);
    let row_of = |share: f64| ((1.0 - share / top) * (ROWS - 1) as f64).round() as usize;
    for row in 0..ROWS {
        let at = top * (ROWS - 1 - row) as f64 / (ROWS - 1) as f64;
        let label = if row % 3 == 0 { format!("{at:>5.0} ┤") } else { "      │".to_owned() };
        let mut line = label;
        for maxretry in MAXRETRIES {
            let here = |(at, findtime): (usize, &Span)| {
                let point = point(points, maxretry, *findtime)?;
                (row_of(share(&point.sums)) == row).then(|| letter(at))
            };
            let marks: String = FINDTIMES.iter().enumerate().filter_map(here).collect();
            let _ = write!(line, "{marks:^COLUMN$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let mut axis = "      └".to_owned() + &"─".repeat(COLUMN * MAXRETRIES.len());
    let mut numbers = "       ".to_owned();
    for maxretry in MAXRETRIES {
        let _ = write!(numbers, "{:^COLUMN$}", maxretry.to_string());
    }
    axis.push('\n');
    let _ = writeln!(text, "{axis}{}\n", numbers.trim_end());
    figures(&mut text, points, present);
    text
}

/// The same in figures, with the good users that each setting would hit.
fn figures(text: &mut String, points: &[Point], present: Option<Setting>) {
    let mut head = "maxretry".to_owned();
    for (at, findtime) in FINDTIMES.iter().enumerate() {
        let _ = write!(head, "{:>13}", format!("{} {findtime}", letter(at)));
    }
    let _ = writeln!(text, "{head}");
    for maxretry in MAXRETRIES {
        let mut line = format!("{:>8}", maxretry.to_string());
        for findtime in FINDTIMES {
            let Some(point) = point(points, maxretry, findtime) else { continue };
            let hit = point.sums.good_users_hit;
            let mark = if present == Some(point.setting) { "*" } else { "" };
            let users = if hit > 0 { format!(" !{hit}") } else { String::new() };
            let _ = write!(line, "{:>13}", format!("{mark}{:.1}{users}", share(&point.sums)));
        }
        let _ = writeln!(text, "{line}");
    }
    let mut legend = Vec::new();
    if present.is_some_and(|present| points.iter().any(|point| point.setting == present)) {
        legend.push("* the policy as it is");
    }
    if points.iter().any(|point| point.sums.good_users_hit > 0) {
        legend.push("!n it would hit n good users");
    }
    if !legend.is_empty() {
        let _ = writeln!(text, "{}", legend.join("; "));
    }
}
