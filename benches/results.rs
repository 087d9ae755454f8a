//! `benches/RESULTS.md`: written by each run; what a run did not measure stays, if it was measured on the same machine.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::grid::Grid;
use crate::machine;
use crate::table::{HEAD, Table};

const TITLE: &str = "# Results of `make bench`\n\n\
    Written by `make bench`, not by hand; `ONLY=\"scan idle\"` replaces the tables of these groups.\n\
    CPU is user and system time of the program, in seconds; medians where something ran more than once.\n";
const PROMISES: &str = "What Pillory promises";

/// A part of the file: its heading and what stands below it.
#[derive(Debug, Clone)]
struct Section {
    heading: String,
    text: String,
}

/// Puts the tables of these groups into the file. `order`: all groups.
pub fn write(order: &[&str], measured: &[(&str, Table)]) -> std::io::Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/RESULTS.md");
    let machine = machine::machine();
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let old = if old.contains(&machine) { sections(&old) } else { Vec::new() };
    let mut text = format!("{TITLE}\n{machine}\n\n{}", machine::versions().markdown());
    let mut add =
        |heading: &str, body: &str| write!(text, "\n## {heading}\n\n{}\n", body.trim()).expect("a string");
    add(PROMISES, &promises(order, measured, &old));
    for group in order {
        match (measured.iter().find(|(name, _)| name == group), kept(&old, group)) {
            (Some((_, table)), _) => add(group, &body(table)),
            (None, "") => {}
            (None, text) => add(group, text),
        }
    }
    std::fs::write(&path, text)?;
    path.canonicalize()
}

/// The figures that are promised: those of this run, and those that stay.
fn promises(order: &[&str], measured: &[(&str, Table)], old: &[Section]) -> String {
    let mut grid = Grid::new(&HEAD);
    let before: Vec<&str> = kept(old, PROMISES).lines().collect();
    for group in order {
        if let Some((_, table)) = measured.iter().find(|(name, _)| name == group) {
            table.promised.iter().for_each(|row| grid.row(row.clone()));
            continue;
        }
        let rows = kept(old, group).lines().filter(|line| line.starts_with('|') && before.contains(line));
        for row in rows.map(cells).filter(|row| row.len() == HEAD.len() && row[0] != HEAD[0]) {
            grid.row(row);
        }
    }
    grid.markdown()
}

/// What stood below a heading; nothing if it was not there.
fn kept<'a>(old: &'a [Section], heading: &str) -> &'a str {
    old.iter().find(|section| section.heading == heading).map_or("", |section| &section.text)
}

/// The cells of a row; a line of dashes is none.
fn cells(line: &str) -> Vec<String> {
    if line.contains("---") {
        return Vec::new();
    }
    let inner = line.trim_start_matches("| ").trim_end_matches(" |");
    inner.split(" | ").map(|cell| cell.trim().to_owned()).collect()
}

fn body(table: &Table) -> String {
    let mut text = format!("Measured {}.\n", table.moment);
    for (title, grid) in &table.grids {
        write!(text, "\n### {title}\n\n{}", grid.markdown()).expect("a string takes it");
    }
    if !table.figures.rows().is_empty() {
        write!(text, "\n{}", table.figures.markdown()).expect("a string takes it");
    }
    text
}

/// What stands below each heading of the second level.
fn sections(text: &str) -> Vec<Section> {
    text.split("\n## ")
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
        .map(|(heading, text)| Section { heading: heading.to_owned(), text: text.to_owned() })
        .collect()
}
