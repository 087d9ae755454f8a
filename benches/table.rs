//! The table that is printed: what was measured, the figure, the aim.

use std::fmt;
use std::time::Duration;

/// Rows in the order in which they were measured.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// A figure with its aim; `scale` turns both into what is printed with `unit`.
    pub fn figure(&mut self, what: impl Into<String>, figure: f64, aim: f64, unit: &str) {
        let verdict = if figure <= aim { "ok" } else { MISSED };
        self.rows.push([
            what.into(),
            format!("{} {unit}", digits(figure)),
            format!("<= {aim} {unit}"),
            verdict.into(),
        ]);
    }

    /// A figure without an aim, for understanding the others.
    pub fn note(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        self.rows.push([what.into(), figure.into(), String::new(), String::new()]);
    }

    /// Something that could not be measured, and why.
    pub fn skip(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.rows.push([what.into(), "not measured".into(), String::new(), why.into()]);
    }

    /// How many aims were missed.
    pub fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row[3] == MISSED).count()
    }
}

const MISSED: &str = "MISSED";

/// Three digits that mean something.
fn digits(figure: f64) -> String {
    match figure {
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f => format!("{f:.2}"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["measured", "figure", "aim", ""].map(str::to_owned);
        let all = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        for row in all() {
            let line = format!(
                "{:<w0$}  {:>w1$}  {:>w2$}  {}",
                row[0],
                row[1],
                row[2],
                row[3],
                w0 = widths[0],
                w1 = widths[1],
                w2 = widths[2]
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Durations, sorted.
#[derive(Debug)]
pub struct Spread(Vec<Duration>);

impl Spread {
    /// Of at least one duration.
    pub fn new(mut durations: Vec<Duration>) -> Spread {
        assert!(!durations.is_empty(), "something was measured");
        durations.sort();
        Spread(durations)
    }

    /// The duration that `percent` of all do not exceed, in milliseconds.
    pub fn percentile_ms(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).clamp(1, self.0.len());
        self.0[rank - 1].as_secs_f64() * 1e3
    }
}
