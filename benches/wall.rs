//! The wall of 100,000 offenders with eleven attempts each, made anew and once more, by `pillory wall`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::filled::{self, Story};
use crate::generate::Random;
use crate::process::{Measured, binary, peak_kib, scratch, world};
use crate::table::Table;

const OFFENDERS: usize = 100_000;
const ATTEMPTS: i64 = 11;
const CONFIG: &str = "[jail.sshd]\nenabled = true\nbackend = \"file\"\nlogpath = [\"/var/log/auth.log\"]\n";
/// Where pages are made in memory: what the disk adds is told beside it.
const IN_MEMORY: &str = "/dev/shm";

/// Time and memory, and how large the first page is.
pub fn measure(table: &mut Table) {
    let (state_dir, on_disk) = (scratch("wall-store"), scratch("wall"));
    let world = world();
    world.server.write("/var/log/auth.log", "");
    // The daemon makes its own tables, which are filled while it is away.
    let daemon = Measured::start(&world.server, CONFIG, &state_dir);
    daemon.unwrap_or_else(|said| panic!("no start:\n{said}")).stop();
    let story = Story { oldest_ms: 25 * 86_400_000, attempts: ATTEMPTS, in_force: false };
    filled::fill(&state_dir.join("pillory.db"), &Random::new(19).addresses(OFFENDERS), story)
        .expect("the store takes rows");
    let in_memory = Path::new(IN_MEMORY).join(format!("pillory-bench-{}", std::process::id()));
    std::fs::create_dir(&in_memory).expect("/dev/shm takes a directory");
    let config = on_disk.join("pillory.toml");
    std::fs::write(&config, "[wall]\ncontact = \"abuse@example.net\"\n").expect("it is written");
    let made = |out: &Path| make(&state_dir, &config, &out.join("wall"));
    let (anew, again, disk) = (made(&in_memory), made(&in_memory), made(&on_disk));
    let index = std::fs::read(in_memory.join("wall/index.html")).expect("there is an index page");
    for dir in [&in_memory, &state_dir, &on_disk] {
        std::fs::remove_dir_all(dir).expect("it is given back");
    }
    let title = format!("wall of {} offenders, anew, pages in memory", anew.offenders);
    table.promise(title, anew.wall.as_secs_f64(), 2.0, "s");
    table.figure("  again, when nothing but the time has changed", again.wall.as_secs_f64(), 2.0, "s");
    table.note("  anew, pages on the disk", format!("{:.2} s", disk.wall.as_secs_f64()));
    table.note("  memory at most (VmHWM)", format!("{:.0} MiB", anew.peak_kib as f64 / 1024.0));
    table.figure("  index page, compressed", compressed(&index) as f64 / 1024.0, 300.0, "KiB");
}

/// What making it took.
struct Made {
    wall: Duration,
    peak_kib: u64,
    offenders: u64,
}

fn make(state_dir: &Path, config: &Path, out: &Path) -> Made {
    let mut command = Command::new(binary());
    command.args(["wall", "--json", "--config"]).arg(config).arg("--out").arg(out);
    command.arg("--state-dir").arg(state_dir).stdout(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().expect("the binary starts");
    let peak_kib = peak_kib(&mut child);
    let wall = started.elapsed();
    let output = child.wait_with_output().expect("it has ended");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let offenders = answer["offenders"].as_u64().expect("a wall was made");
    Made { wall, peak_kib, offenders }
}

/// Bytes as a web server sends them.
fn compressed(page: &[u8]) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut encoder, page).expect("memory takes it");
    encoder.finish().expect("memory takes it").len()
}
