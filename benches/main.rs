//! `make bench`: measures the release binary in network namespaces and prints one table, each aim beside its figure.
//!
//! Nothing of the real host is touched; state lies under `target/bench/`, on a real disk. `PILLORY_BIN` names
//! the binary. Arguments choose what is measured: `latency`, `bulk`, `crowd`, `start`, `idle`, `scan`, `rehearse`, `stock`; all without any.
//! Exit status 1 if an aim is missed.

#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a measurement starts programs and reads the clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement that fails ends")]

#[path = "../daemon/tests/lab/mod.rs"]
mod lab;

mod bulk;
mod crowd;
mod elements;
mod generate;
mod idle;
mod latency;
mod process;
mod rehearse;
mod scan;
mod start;
mod stock;
mod table;

use table::Table;

/// What can be measured, and by what.
type Measurement = (&'static str, fn(&mut Table));

const MEASUREMENTS: [Measurement; 8] = [
    ("latency", latency::measure),
    ("bulk", bulk::measure),
    ("crowd", crowd::measure),
    ("start", start::measure),
    ("idle", idle::measure),
    ("scan", scan::measure),
    ("rehearse", rehearse::measure),
    ("stock", stock::measure),
];

/// Other work on the same processors shows in the tails: a thread that is woken waits for its turn.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn main() -> std::process::ExitCode {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = asked.iter().find(|name| MEASUREMENTS.iter().all(|(known, _)| known != name)) {
        let known: Vec<&str> = MEASUREMENTS.iter().map(|(name, _)| *name).collect();
        eprintln!("make bench: {unknown:?} is not measured; choose from {}", known.join(", "));
        return 2.into();
    }
    if lab::World::new().is_none() {
        return 77.into();
    }
    let mut table = Table::default();
    for (name, measure) in MEASUREMENTS {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            eprintln!("make bench: measuring {name}");
            measure(&mut table);
        }
    }
    table.note(format!("load of this machine, {} processors", processors()), load());
    print!("{table}");
    u8::from(table.missed() > 0).into()
}
