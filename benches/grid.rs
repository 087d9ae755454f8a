//! Rows of words under a head: printed in columns for people, and as a Markdown table for `RESULTS.md`.

use std::fmt;

/// A table; every row has as many cells as the head.
#[derive(Debug, Clone)]
pub struct Grid {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// An empty one.
    pub fn new(head: &[&'static str]) -> Grid {
        Grid { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.head.len(), "a row has a cell for each word of the head");
        self.rows.push(cells);
    }

    /// The rows so far.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| {
            let cells: Vec<String> = cells.map(|cell| format!(" {cell} |")).collect();
            format!("|{}\n", cells.concat())
        };
        let mut text = line(&mut self.head.iter().map(|word| (*word).to_owned()));
        text += &format!("|{}\n", "---|".repeat(self.head.len()));
        for row in &self.rows {
            text += &line(&mut row.iter().map(|cell| in_markdown(cell)));
        }
        text
    }
}

/// A bar would end the cell, and blanks in front of what belongs to the row above would be lost.
fn in_markdown(cell: &str) -> String {
    let cell = cell.replace('|', "\\|");
    cell.strip_prefix("  ").map_or(cell.clone(), |below| format!("- {below}"))
}

impl fmt::Display for Grid {
    /// The first column to the left, the others to the right, the last as it comes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head: Vec<String> = self.head.iter().map(|word| (*word).to_owned()).collect();
        let all = || std::iter::once(&head).chain(&self.rows);
        let widths: Vec<usize> = (0..head.len())
            .map(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        for row in all() {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line += &match at {
                    0 => format!("{cell:<width$}"),
                    _ if at + 1 == row.len() => format!("  {cell}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
