//! `pillory rehearse` of sixty days in which a host was tried some 12,000 times: by few sources, and by as many.

use std::path::Path;

use crate::generate;
use crate::process::{run, scratch};
use crate::table::Table;

/// They make 12,000 attempts, nearly.
const LINES: u64 = 46_000;
const ATTACKERS: usize = 1_300;
/// With one try each.
const SOURCES: usize = 12_000;
/// That nobody has.
const NAMES: usize = 97;
const DAYS: u64 = 60;

/// From the start of the program to the last line of its report: reading, one policy, and the thirty of the curve.
pub fn measure(table: &mut Table) {
    measure_one(table, "1,300 sources", |log| generate::auth_log_of_days(log, LINES, ATTACKERS, DAYS));
    measure_one(table, "one try each", |log| generate::auth_log_of_single_tries(log, SOURCES, DAYS, 0));
    measure_one(table, "one try each at 97 unknown names", |log| {
        generate::auth_log_of_single_tries(log, SOURCES, DAYS, NAMES)
    });
}

fn measure_one(table: &mut Table, shape: &str, write: impl Fn(&Path) -> std::io::Result<()>) {
    let dir = scratch("rehearse");
    let log = dir.join("auth.log");
    write(&log).expect("auth.log is written");
    let (wall, cpu, output) = run(&["rehearse", "--json", &log.display().to_string()]);
    std::fs::remove_dir_all(dir).expect("it is given back");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let attempts = answer["attempts"].as_u64().unwrap_or(0);
    let name = format!("rehearsal of 60 days with the curve, {shape}: CPU");
    if attempts == 0 {
        let said = String::from_utf8_lossy(&output.stderr);
        return table.skip(&name, format!("no attempts found: {}", said.trim()));
    }
    table.figure(&name, cpu.as_secs_f64(), 1.0, "s");
    table.note("  wall, attempts", format!("{:.2} s, {attempts}", wall.as_secs_f64()));
}
