//! Ten thousand attackers at once: until every ban is in the kernel and on the disk.

use std::io::Write;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use crate::elements::Elements;
use crate::generate::{self, Random};
use crate::process::{Measured, scratch, world};
use crate::table::Table;

const BANS: usize = 10_000;
const LIMIT: Duration = Duration::from_secs(60);
const CONFIG: &str = "[jail.sshd]\nenabled = true\nbackend = \"file\"\nlogpath = [\"/var/log/auth.log\"]\n";

/// Wall and CPU time of ten thousand bans.
pub fn measure(table: &mut Table) {
    let world = world();
    world.server.write("/var/log/auth.log", "");
    let state_dir = scratch("bulk");
    let daemon = Measured::start(&world.server, CONFIG, &state_dir).expect("the daemon starts");
    let mut elements = Elements::listen(&world.server);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let store = Connection::open_with_flags(state_dir.join("pillory.db"), flags).expect("the store opens");
    let lines: String = (4_242..)
        .zip(Random::new(11).addresses(BANS))
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
        if usize::try_from(rows).is_ok_and(|rows| rows >= BANS) {
            break Instant::now();
        }
        assert!(began.elapsed() < LIMIT, "{rows} of {BANS} bans are in the store after {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    };
    let in_kernel = elements.wait_for_count(BANS, LIMIT).expect("every ban is heard of");
    let kept: i64 =
        store.query_row("SELECT count(*) FROM bans", [], |row| row.get(0)).expect("it can be read");
    assert_eq!(usize::try_from(kept), Ok(BANS), "every ban is in the store");
    // The CPU time is complete once the daemon has gone to sleep.
    let mut cpu = daemon.cpu();
    loop {
        std::thread::sleep(Duration::from_millis(100));
        if daemon.cpu() - cpu < Duration::from_millis(1) {
            break;
        }
        cpu = daemon.cpu();
    }
    let set = world.kernel().set("ban4").len();
    assert_eq!(set, BANS, "nft lists every ban");
    let both = durable.max(in_kernel) - began;
    table.figure(format!("{BANS} bans at once: durable and in the kernel"), both.as_secs_f64(), 1.0, "s");
    table.note("  of that in the kernel", format!("{:.2} s", (in_kernel - began).as_secs_f64()));
    table.note("  of that durable", format!("{:.2} s", (durable - began).as_secs_f64()));
    let each = (cpu - cpu_before).as_secs_f64() * 1e6 / BANS as f64;
    table.figure(format!("{BANS} bans at once: CPU for each"), each, 50.0, "us");
    table.note("  memory after it (VmRSS)", format!("{:.1} MiB", daemon.memory_kib("VmRSS") as f64 / 1024.0));
    daemon.stop();
}
