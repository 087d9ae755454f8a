//! `pillory rehearse` of sixty days in which a host was tried some 12,000 times.

use crate::generate;
use crate::process::{run, scratch};
use crate::table::Table;

/// They make 12,000 attempts, nearly.
const LINES: u64 = 46_000;
const ATTACKERS: usize = 1_300;
const DAYS: u64 = 60;

/// From the start of the program to the last line of its report: reading, one policy, and the thirty of the curve.
pub fn measure(table: &mut Table) {
    let dir = scratch("rehearse");
    let log = dir.join("auth.log").display().to_string();
    generate::auth_log_of_days(log.as_ref(), LINES, ATTACKERS, DAYS).expect("auth.log is written");
    let (wall, cpu, output) = run(&["rehearse", "--json", &log]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let attempts = answer["attempts"].as_u64().unwrap_or(0);
    if attempts == 0 {
        let said = String::from_utf8_lossy(&output.stderr);
        return table.skip("rehearsal of 60 days", format!("no attempts found: {}", said.trim()));
    }
    table.figure("rehearsal of 60 days, with the curve: CPU", cpu.as_secs_f64(), 1.0, "s");
    table.note("  wall, attempts", format!("{:.2} s, {attempts}", wall.as_secs_f64()));
    std::fs::remove_dir_all(dir).expect("it is given back");
}
