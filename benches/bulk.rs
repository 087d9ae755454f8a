//! Thousands of attackers at once: until every ban is in the kernel and on the disk, and whoever comes behind them.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::elements::Elements;
use crate::generate::{self, Random};
use crate::process::{Measured, scratch, world};
use crate::table::Table;

/// How many, within how many seconds, in how much memory in MiB if that is limited.
const CROWDS: [(usize, f64, Option<f64>); 2] = [(10_000, 0.3, None), (100_000, 2.0, Some(32.0))];
/// Who attacks behind them.
const BEHIND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const LIMIT: Duration = Duration::from_secs(60);
const CONFIG: &str = "[jail.sshd]\nenabled = true\nbackend = \"file\"\nlogpath = [\"/var/log/auth.log\"]\n";

/// Wall and CPU time, and memory.
pub fn measure(table: &mut Table) {
    for (bans, seconds, mib) in CROWDS {
        measure_crowd(table, bans, (seconds, mib));
    }
}

fn measure_crowd(table: &mut Table, bans: usize, (seconds, mib): (f64, Option<f64>)) {
    let world = world();
    world.server.write("/var/log/auth.log", "");
    let state_dir = scratch("bulk");
    let daemon = Measured::start(&world.server, CONFIG, &state_dir).expect("the daemon starts");
    let mut elements = Elements::listen(&world.server);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let store = Connection::open_with_flags(state_dir.join("pillory.db"), flags).expect("the store opens");
    let lines: String = (4_242..)
        .zip(Random::new(11).addresses(bans).into_iter().chain([BEHIND]))
        .map(|(pid, addr)| generate::unknown_user(addr, pid))
        .collect();
    let mut log = std::fs::OpenOptions::new()
        .append(true)
        .open(world.server.path("/var/log/auth.log"))
        .expect("the log opens");
    let cpu_before = daemon.cpu();
    let began = Instant::now();
    log.write_all(lines.as_bytes()).expect("the log takes it");
    // What a reader of a WAL sees has been synchronised: the index names a frame after fsync only.
    let durable = loop {
        let rows: i64 = store
            .query_row("SELECT coalesce(max(id), 0) FROM history", [], |row| row.get(0))
            .expect("the store can be read");
        if usize::try_from(rows).is_ok_and(|rows| rows > bans) {
            break Instant::now();
        }
        assert!(began.elapsed() < LIMIT, "{rows} of {bans} bans are in the store after {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    };
    let in_kernel = elements.wait_for_count(bans + 1, LIMIT).expect("every ban is heard of");
    let kept: i64 = store
        .query_row("SELECT count(*) FROM history WHERE what = 'ban'", [], |row| row.get(0))
        .expect("it can be read");
    assert_eq!(usize::try_from(kept), Ok(bans + 1), "every ban is in the store");
    // The CPU time is complete once the daemon has gone to sleep.
    let mut cpu = daemon.cpu();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        // A thread that ends takes its time along.
        if daemon.cpu().saturating_sub(cpu) < Duration::from_millis(1) {
            break;
        }
        cpu = daemon.cpu();
    }
    let set = world.kernel().set("ban4").len();
    assert_eq!(set, bans + 1, "nft lists every ban");
    let both = durable.max(in_kernel) - began;
    table.promise(
        format!("{bans} bans at once: durable and in the kernel"),
        both.as_secs_f64(),
        seconds,
        "s",
    );
    let behind = elements.wait_for(IpAddr::V4(BEHIND), LIMIT).expect("it was heard of") - began;
    table.figure(
        format!("{bans} bans at once: who attacks behind them is banned"),
        behind.as_secs_f64(),
        1.0,
        "s",
    );
    table.note("  of that in the kernel", format!("{:.2} s", (in_kernel - began).as_secs_f64()));
    table.note("  of that durable", format!("{:.2} s", (durable - began).as_secs_f64()));
    let each = cpu.saturating_sub(cpu_before).as_secs_f64() * 1e6 / bans as f64;
    table.figure(format!("{bans} bans at once: CPU for each"), each, 50.0, "us");
    let peak = daemon.memory_kib("VmHWM") as f64 / 1024.0;
    match mib {
        Some(mib) => table.figure(format!("{bans} bans at once: memory at most (VmHWM)"), peak, mib, "MiB"),
        None => table.note("  memory at most (VmHWM)", format!("{peak:.1} MiB")),
    }
    daemon.stop();
}
