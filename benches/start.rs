//! The start with a ledger of 100,000 bans and an empty kernel.

use std::path::Path;

use crate::filled::{self, Story};
use crate::generate::Random;
use crate::lab::World;
use crate::process::{Measured, scratch, world};
use crate::table::Table;

const BANS: usize = 100_000;
const CONFIG: &str = "[jail.sshd]\nenabled = true\nbackend = \"file\"\nlogpath = [\"/var/log/auth.log\"]\n";

/// With an empty kernel, and with one that has kept every ban.
pub fn measure(table: &mut Table) {
    let world = world();
    world.server.write("/var/log/auth.log", "");
    let state_dir = scratch("start");
    // The daemon makes its own tables, which are filled while it is away.
    start(&world, &state_dir).stop();
    let story = Story { oldest_ms: 86_400_000, attempts: 1, in_force: true };
    filled::fill(&state_dir.join("pillory.db"), &Random::new(13).addresses(BANS), story)
        .expect("the store takes rows");
    world.kernel().nft("delete table inet pillory");
    let daemon = start(&world, &state_dir);
    assert_eq!(world.kernel().set("ban4").len(), BANS, "nft lists every ban");
    let title = format!("start with {BANS} bans, empty kernel, until ready");
    table.promise(title, daemon.ready_after.as_secs_f64(), 0.8, "s");
    table.note("  CPU for it", format!("{:.2} s", daemon.ready_cpu.as_secs_f64()));
    table.note("  memory after it (VmRSS)", format!("{:.1} MiB", daemon.memory_kib("VmRSS") as f64 / 1024.0));
    daemon.stop();
    let daemon = start(&world, &state_dir);
    let title = format!("start with {BANS} bans that the kernel has kept");
    table.promise(title, daemon.ready_after.as_secs_f64(), 0.2, "s");
    daemon.stop();
}

fn start(world: &World, state_dir: &Path) -> Measured {
    Measured::start(&world.server, CONFIG, state_dir).unwrap_or_else(|said| panic!("no start:\n{said}"))
}
