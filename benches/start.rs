//! The start with a ledger of 100,000 bans and an empty kernel.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, params};

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
    fill(&state_dir.join("pillory.db")).expect("the store takes rows");
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

/// For each ban its row, its line of history, and the attempt that led to it, spread over the last day.
fn fill(path: &Path) -> rusqlite::Result<()> {
    let mut store = Connection::open(path)?;
    let transaction = store.transaction()?;
    let now = Timestamp::now().as_millisecond();
    for (at, addr) in Random::new(13).addresses(BANS).into_iter().enumerate() {
        let since = now - 86_000_000 + i64::try_from(at).expect("small") * 860;
        let until = now + 7 * 86_400_000;
        let (addr, prefix) = (addr.to_string(), format!("{addr}/32"));
        let reason = "5 points: oracle (notorious name)";
        transaction
            .prepare_cached(
                "INSERT INTO bans(prefix, jail, since, until, failures, reason, origin, scope)
                 VALUES (?1, 'sshd', ?2, ?3, 1, ?4, 'local', '')",
            )?
            .execute(params![prefix, since, until, reason])?;
        transaction
            .prepare_cached(
                "INSERT INTO history(time, what, prefix, jail, until, failures, reason, origin)
                 VALUES (?2, 'ban', ?1, 'sshd', ?3, 1, ?4, 'local')",
            )?
            .execute(params![prefix, since, until, reason])?;
        transaction
            .prepare_cached(
                "INSERT INTO attempts(time, jail, addr, user, class, points, tries)
                 VALUES (?2, 'sshd', ?1, 'oracle', 'bad_user', 500, 1)",
            )?
            .execute(params![addr, since])?;
    }
    // As the daemon notes which rows of the history the table of bans knows.
    transaction.execute("INSERT OR REPLACE INTO meta SELECT 'merged', max(id) FROM history", [])?;
    transaction.commit()
}
