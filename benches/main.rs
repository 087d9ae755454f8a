//! `make bench`: measures the release binary beside other programs and in network namespaces, prints each aim beside its
//! figure, and writes `benches/RESULTS.md`.
//!
//! Nothing of the real host is touched; state lies under `target/bench/`, on a real disk. `PILLORY_BIN` names
//! the binary. Arguments choose the groups that are measured, all of `MEASUREMENTS` without any.
//! `--quick` counts instructions and compares them with those that were recorded.
//! Exit status 1 if an aim is missed or something has become worse.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a measurement starts programs and reads the clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement that fails ends")]

#[path = "../daemon/tests/lab/mod.rs"]
mod lab;

mod access;
mod bulk;
mod crowd;
mod elements;
mod filled;
mod floor;
mod generate;
mod grid;
mod idle;
mod inputs;
mod latency;
mod machine;
mod packets;
mod process;
mod quick;
mod rehearse;
mod results;
mod scan;
mod size;
mod start;
mod stock;
mod table;
mod wall;

use std::process::ExitCode;

use table::Table;

/// What can be measured, and by what.
type Measurement = (&'static str, fn(&mut Table));

const MEASUREMENTS: [Measurement; 11] = [
    ("scan", scan::measure),
    ("stock", stock::measure),
    ("rehearse", rehearse::measure),
    ("latency", latency::measure),
    ("bulk", bulk::measure),
    ("start", start::measure),
    ("crowd", crowd::measure),
    ("packets", packets::measure),
    ("idle", idle::measure),
    ("wall", wall::measure),
    ("size", size::measure),
];

fn main() -> ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let asked_words: Vec<&str> = asked.iter().map(String::as_str).collect();
    if let ["--quick", build, more @ ..] = asked_words.as_slice() {
        return quick::run(quick::Build::named(build), more == ["record"]);
    }
    let known: Vec<&str> = MEASUREMENTS.iter().map(|(name, _)| *name).collect();
    if let Some(unknown) = asked.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("make bench: {unknown:?} is not measured; choose from {}", known.join(", "));
        return 2.into();
    }
    if lab::World::new().is_none() {
        return 77.into();
    }
    let mut measured = Vec::new();
    for (name, measure) in MEASUREMENTS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            eprintln!("make bench: measuring {name}");
            let mut table = Table::new();
            measure(&mut table);
            println!("{name}: {}\n{table}", table.moment);
            measured.push((name, table));
        }
    }
    let missed: usize = measured.iter().map(|(_, table)| table.missed()).sum();
    match results::write(&known, &measured) {
        Ok(path) => println!("{missed} aims missed; written to {}", path.display()),
        Err(error) => {
            eprintln!("make bench: cannot write benches/RESULTS.md: {error}");
            return 1.into();
        }
    }
    u8::from(missed > 0).into()
}
