//! `pillory scan` of a million lines of auth.log and of five million btmp records.

use std::path::Path;

use crate::generate;
use crate::process::{run, scratch};
use crate::table::Table;

const LINES: u64 = 1_000_000;
const RECORDS: u64 = 5_000_000;
const ATTACKERS: usize = 20_000;

/// CPU time a million lines and a million records.
pub fn measure(table: &mut Table) {
    if !run(&["scan", "--help"]).2.status.success() {
        table.skip("scan of auth.log and btmp", "this binary has no `scan` yet");
        return;
    }
    let dir = scratch("scan");
    let log = dir.join("auth.log");
    generate::auth_log(&log, LINES, ATTACKERS).expect("auth.log is written");
    scan(table, "1M auth.log lines", &log, LINES, 0.5);
    let btmp = dir.join("btmp");
    generate::btmp(&btmp, RECORDS, ATTACKERS).expect("btmp is written");
    scan(table, "5M btmp records", &btmp, RECORDS, 0.2);
    std::fs::remove_dir_all(dir).expect("two gigabytes are given back");
}

fn scan(table: &mut Table, what: &str, file: &Path, records: u64, aim: f64) {
    let (wall, cpu, output) = run(&["scan", "--json", &file.display().to_string()]);
    let text = String::from_utf8_lossy(&output.stdout);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let failures = answer["failures"].as_u64().unwrap_or(0);
    if failures == 0 {
        let said = String::from_utf8_lossy(&output.stderr);
        return table.skip(format!("scan of {what}"), format!("no failures found: {}", said.trim()));
    }
    let millions = records as f64 / 1e6;
    table.figure(format!("scan of {what}: CPU a million"), cpu.as_secs_f64() / millions, aim, "s");
    table.note("  wall, attempts found", format!("{:.2} s, {failures}", wall.as_secs_f64()));
}
