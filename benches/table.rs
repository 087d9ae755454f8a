//! What a group has measured: figures with their aims, and tables of its own.

use std::fmt;
use std::time::Duration;

use crate::grid::Grid;
use crate::machine;

/// What a figure must not exceed, and what it is meant to reach.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    required: f64,
    aim: f64,
}

impl From<f64> for Aim {
    fn from(aim: f64) -> Aim {
        Aim { required: aim, aim }
    }
}

impl From<(f64, f64)> for Aim {
    fn from((required, aim): (f64, f64)) -> Aim {
        Aim { required, aim }
    }
}

impl Aim {
    fn text(self, unit: &str) -> String {
        let Aim { required, aim } = self;
        let required = if required > aim { format!(", required {required}") } else { String::new() };
        format!("<= {aim}{required} {unit}")
    }

    fn verdict(self, figure: f64) -> &'static str {
        match figure {
            f if f <= self.aim => "ok",
            f if f <= self.required => "as required",
            _ => MISSED,
        }
    }
}

const MISSED: &str = "MISSED";
/// What stands above figures.
pub const HEAD: [&str; 4] = ["measured", "figure", "aim", "verdict"];

/// The figures of one group, in the order in which they were measured.
#[derive(Debug)]
pub struct Table {
    /// Every figure.
    pub figures: Grid,
    /// Those among them that the project promises, for the table at the top of the results.
    pub promised: Vec<Vec<String>>,
    /// Tables of another shape, with their titles.
    pub grids: Vec<(String, Grid)>,
    /// When and on what it was measured.
    pub moment: String,
}

impl Table {
    /// An empty one.
    pub fn new() -> Table {
        Table {
            figures: Grid::new(&HEAD),
            promised: Vec::new(),
            grids: Vec::new(),
            moment: machine::moment(),
        }
    }

    /// A figure with its aim.
    pub fn figure(&mut self, what: impl Into<String>, figure: f64, aim: impl Into<Aim>, unit: &str) {
        let aim = aim.into();
        let shown = format!("{} {unit}", digits(figure));
        self.figures.row(vec![what.into(), shown, aim.text(unit), aim.verdict(figure).into()]);
    }

    /// A figure that the project promises.
    pub fn promise(&mut self, what: impl Into<String>, figure: f64, aim: impl Into<Aim>, unit: &str) {
        self.figure(what, figure, aim, unit);
        self.promised.extend(self.figures.rows().last().cloned());
    }

    /// A figure without an aim, for understanding the others.
    pub fn note(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        self.figures.row(vec![what.into(), figure.into(), String::new(), String::new()]);
    }

    /// Something that could not be measured, and why.
    pub fn skip(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.figures.row(vec![what.into(), "not measured".into(), String::new(), why.into()]);
    }

    /// A table of another shape.
    pub fn grid(&mut self, title: impl Into<String>, grid: Grid) {
        self.grids.push((title.into(), grid));
    }

    /// How many aims were missed.
    pub fn missed(&self) -> usize {
        self.figures.rows().iter().filter(|row| row[3] == MISSED).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, grid) in &self.grids {
            writeln!(f, "{title}\n{grid}")?;
        }
        write!(f, "{}", self.figures)
    }
}

/// Three digits that mean something.
pub fn digits(figure: f64) -> String {
    match figure {
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f if f >= 0.1 => format!("{f:.2}"),
        f => format!("{f:.3}"),
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

    /// The middle one, in seconds.
    pub fn median_s(&self) -> f64 {
        self.percentile_ms(50) / 1e3
    }
}
