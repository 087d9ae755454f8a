//! The daemon in simulated time: one seed drives everything that can happen to it, and after each step it is looked at
//! whether what was promised holds.
//!
//! Nothing of ours is modelled: the engine, the work of the kernel's and the store's threads, the SQLite file, the
//! spill and the start are the real ones. Simulated are the clocks, the kernel, the room on the disk, the logs, and who
//! attacks, logs in, gives orders and meddles. A run is cut into episodes, each with a host of its own and a seed that is
//! printed when a promise is broken:
//!
//! `PILLORY_SEED=7 cargo test -p pillory simulator` plays one again, `STEPS=10000000` plays more.

mod checks;
mod daemon;
mod damage;
mod dice;
mod kernel;
mod logs;
mod orders;
mod promises;
mod scenery;
mod steps;
mod trials;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use pillory_core::time::Span;

use crate::cli::configfile::Policy;
use crate::control::Request;
use crate::engine::Input;

use world::World;

/// So many steps make an episode.
const EPISODE: u64 = 2_000;

/// So many of the last steps are shown when a promise is broken, unless `TRACE` says how many.
const TRACED: u64 = 30;

/// What happened, so that a run in which nothing did is noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally {
    lines: u64,
    orders: u64,
    answers: u64,
    changes: u64,
    starts: u64,
    crashes: u64,
    settled: u64,
    most_banned: usize,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        self.lines += other.lines;
        self.orders += other.orders;
        self.answers += other.answers;
        self.changes += other.changes;
        self.starts += other.starts;
        self.crashes += other.crashes;
        self.settled += other.settled;
        self.most_banned = self.most_banned.max(other.most_banned);
    }
}

/// Plays an episode; a broken promise comes with the last steps.
fn play(seed: u64, steps: u64) -> Result<Tally, String> {
    let mut world = World::new(seed, number_from("TRACE").unwrap_or(TRACED) as usize)?;
    world.start()?;
    let mut number = 0;
    let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for step in 0..steps {
            number = step;
            world.step()?;
        }
        world.settle()
    }));
    let broken = match played {
        Ok(Ok(())) => return Ok(world.tally.clone()),
        Ok(Err(broken)) => broken,
        Err(_) => "it panicked".to_owned(),
    };
    let trace: Vec<String> = world.trace.iter().cloned().collect();
    Err(format!(
        "seed {seed}, step {number}: {broken}\nthe last steps, by milliseconds since the world began:\n{}",
        trace.join("\n")
    ))
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_million_steps_break_no_promise() {
    if let Some(seed) = number_from("PILLORY_SEED") {
        let tally = play(seed, EPISODE).unwrap_or_else(|broken| panic!("{broken}"));
        return println!("seed {seed}: {tally:?}");
    }
    let episodes = number_from("STEPS").unwrap_or(1_000_000).div_ceil(EPISODE);
    let next = AtomicU64::new(0);
    let work = || {
        let (mut sum, mut broken) = (Tally::default(), None);
        while broken.is_none() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= episodes {
                break;
            }
            match play(seed, EPISODE) {
                Ok(tally) => sum.add(&tally),
                Err(reason) => {
                    next.store(episodes, Ordering::Relaxed);
                    broken = Some(reason);
                }
            }
        }
        (sum, broken)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut sum = Tally::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (tally, broken) = worker.join().expect("a panic was caught");
            if let Some(broken) = broken {
                panic!("{broken}\nplay it again with PILLORY_SEED");
            }
            sum.add(&tally);
        }
    });
    println!("{episodes} episodes of {EPISODE} steps: {sum:?}");
    assert!(sum.crashes > episodes && sum.changes > episodes && sum.answers > episodes, "{sum:?}");
}

#[test]
fn a_ban_by_hand_lasts_although_the_clock_was_set_back() {
    let mut world = World::new(0, 0).unwrap();
    assert_eq!(world.start(), Ok(true));
    world.off_by -= 7_200_000;
    let prefix = "198.51.100.3".parse().unwrap();
    world.ask_ban(vec![prefix], (None, Some(600), false, false), Vec::new()).unwrap();
    world.settle().unwrap();
    assert!(world.in_kernel(prefix.addr(), &pillory_core::event::Scope::All));
}

#[test]
fn an_order_that_is_refused_is_not_called_kept_because_the_kernel_refuses_another() {
    let mut world = World::new(0, 0).unwrap();
    assert_eq!(world.start(), Ok(true));
    world.kernel.table().mood = kernel::Mood::Forbids;
    let prefix = "198.51.100.3".parse().unwrap();
    world.ask_ban(vec![prefix], (None, Some(600), false, false), Vec::new()).unwrap();
    let (reply, answered) = crossbeam_channel::unbounded();
    let policy = Policy { file: "/simulated/new.toml".into(), text: Some(scenery::policy(0, false)) };
    world.tell(Input::Order((Request::Apply(policy, Span::from_secs(60)), reply))).unwrap();
    assert!(answered.try_recv().is_err(), "it waits for the ban before it");
    world.work().unwrap();
    let answer = answered.try_recv().unwrap();
    assert!(answer.exit == 2 && answer.message.starts_with("apply refused"), "{answer:?}");
}

#[test]
fn the_same_seed_plays_the_same() {
    let [one, other] = [(); 2].map(|()| play(3, EPISODE));
    assert_eq!(one, other);
}
