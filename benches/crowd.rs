//! A million sources that fail once each: memory, and whether a line costs more once they are known.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::generate::{self, Random};
use crate::lab::{CONTROL, Host, pillory, wait_for};
use crate::process::{Measured, scratch, world};
use crate::table::Table;

/// A thousand less than there is room for, at which those seen first are forgotten.
const SOURCES: usize = 999_000;
/// So many of the first and of the last are compared.
const COMPARED: usize = 50_000;
const LIMIT: Duration = Duration::from_secs(300);
const CONFIG: &str = "[jail.sshd]\nenabled = true\nbackend = \"file\"\nlogpath = [\"/var/log/auth.log\"]\n";

/// Memory and CPU of a million sources below `maxretry`.
pub fn measure(table: &mut Table) {
    let world = world();
    let host = &world.server;
    host.write("/var/log/auth.log", "");
    let daemon = Measured::start(host, CONFIG, &scratch("crowd")).expect("the daemon starts");
    let idle = daemon.memory_kib("VmHWM");
    let addresses = Random::new(17).addresses(SOURCES);
    let (first, rest) = addresses.split_at(COMPARED);
    let (middle, last) = rest.split_at(rest.len() - COMPARED);
    let mut known = 0;
    let mut each = Vec::new();
    for part in [first, middle, last] {
        let cpu = daemon.cpu();
        for chunk in part.chunks(10_000) {
            let mut lines = String::new();
            for (pid, addr) in (known..).zip(chunk) {
                let failed = generate::failed(*addr, pid as u64 + 1_000, "alice");
                write!(lines, "{failed}").expect("a string takes it");
            }
            append(host, &lines);
            known += chunk.len();
        }
        wait_for(LIMIT, "every line", || (lines_seen(host) >= known).then_some(()));
        each.push((daemon.cpu() - cpu).as_secs_f64() * 1e6 / part.len() as f64);
    }
    let behind: String =
        (0..3).map(|at| generate::failed([198, 51, 100, 7].into(), 77 + at, "root")).collect();
    append(host, &behind);
    let began = Instant::now();
    wait_for(LIMIT, "the ban behind them", || (world.kernel().set("ban4").len() == 1).then_some(()));
    let behind = began.elapsed();
    let peak = daemon.memory_kib("VmHWM");
    let title = format!("{SOURCES} sources below maxretry: memory at most (VmHWM)");
    table.promise(title, mib(peak), 80.0, "MiB");
    let bytes = (peak - idle) as f64 * 1024.0 / SOURCES as f64;
    table.figure("  of that for each", bytes, 100.0, "bytes");
    table.figure("  who attacks behind them is banned", behind.as_secs_f64(), 1.0, "s");
    table.figure("  a line's CPU, the last by the first", each[2] / each[0], 1.5, "times");
    table.note("  CPU a line", format!("{:.1} us", each[2]));
    daemon.stop();
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn append(host: &Host, text: &str) {
    let log = std::fs::OpenOptions::new().append(true).open(host.path("/var/log/auth.log"));
    log.and_then(|mut log| log.write_all(text.as_bytes())).expect("the log takes it");
}

/// Lines that the jail has seen.
fn lines_seen(host: &Host) -> usize {
    let status = pillory(host, &["status", "--json", "--control", CONTROL]).json();
    let lines = status["jails"][0]["lines"].as_u64().expect("status tells lines");
    usize::try_from(lines).expect("few enough")
}
