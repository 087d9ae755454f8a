//! Memory and decisions under a flood: ten times as many random sources as the tables hold, an eighth of them IPv6,
//! more than half of them banned. And what a line takes that says nothing.
//!
//! A debug build has tables of a fiftieth of their usual size and 200,000 sources. As it runs in earnest, ten million:
//! `cargo test --release -p pillory-core --test memory -- --nocapture`, some minutes of one core.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod each;
mod heap;
mod missing;
#[allow(dead_code, reason = "the simulation uses more of it")]
#[path = "../simulation/random.rs"]
mod random;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard};

use pillory_core::event::{Class, Connection, Event, JailName, Outcome};
use pillory_core::footprint::Limits;
use pillory_core::jail::bantime;
use pillory_core::jail::growth::Growth;
use pillory_core::jail::lines::{LineRules, Reach};
use pillory_core::jail::names::Names;
use pillory_core::jail::policy::Policy;
use pillory_core::jail::widen::neighbours::{Neighbours, Offence};
use pillory_core::jail::widen::{BUDGET, cover};
use pillory_core::jail::{Jail, Judge};
use pillory_core::ledger::Ban;
use pillory_core::machine::{Effect, Machine, Phase, Record, ScopeRule};
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::reason::Reason;
use pillory_core::time::{BanTime, End, Span, Timestamp};

use random::Random;

#[global_allocator]
static HEAP: heap::Counting = heap::Counting;

/// What the largest tables hold.
const ROOM: usize = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
const SOURCES: usize = 10 * ROOM;

/// What may be held at once. Each source fails once; of those of the jail that counts lines, an eighth, one in four is
/// banned, and only that jail's bans are counted by jail.
const LIMITS: Limits = Limits {
    sources: (ROOM, 1),
    rates: ROOM,
    bans: ROOM,
    past: (PAST, SOURCES / 8 / 3),
    offenders: SOURCES,
    jails: 1,
};

/// As many as are remembered in earnest, or as there is room for.
const PAST: usize = if ROOM < bantime::MOST { ROOM } else { bantime::MOST };

/// All of it happens within one `findtime`, so that nothing is forgotten because of its age.
const LASTS_MS: i64 = 20 * 3_600_000;
const START_MS: i64 = 1_800_000_000_000;

/// The heap is counted for all tests together, so they go one by one.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_BY_ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn name(text: &str) -> JailName {
    JailName::new(text).unwrap()
}

/// `sshd` counts points and widens; `web` counts as fail2ban does, and its bans grow.
fn machine(room: usize) -> Machine {
    let rules = LineRules {
        maxretry: 2,
        findtime: Span::from_secs(86_400),
        bantime: BanTime::For(Span::from_secs(86_400)),
        growth: Some(Growth::default()),
        ignore: PrefixSet::default(),
        reach: Reach::Ports,
        maxmatches: 5,
        skips_history: false,
        asks: false,
        resolves: false,
        runs_commands: false,
        bans_of: Vec::new(),
        by_attempts: true,
    };
    let jails = vec![
        Jail { name: name("sshd"), policy: Policy::default(), lines: None },
        Jail { name: name("web"), policy: Policy::default(), lines: Some(rules) },
    ];
    let judge = Judge::new(jails, Names::default(), PrefixSet::default(), room);
    let mut machine = Machine::new(judge, vec![Vec::new(), Vec::new()], ScopeRule::Auto);
    machine.set_widening([(name("sshd"), BUDGET)]);
    machine.ledger.set_most(room);
    machine.judge.past.set_most(room.min(PAST));
    machine
}

/// A source of its own for each number: every bit of it in another place.
fn address(number: u64) -> IpAddr {
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    match number % 8 {
        0 => IpAddr::V6(Ipv6Addr::from_bits(0x2a00 << 112 | u128::from(mixed >> 8) << 64 | 1)),
        _ => IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 | (mixed >> 32) as u32 & 0x70ff_ffff)),
    }
}

/// The failure or, once in a thousand, the good login of a source.
fn event(number: u64, random: &mut Random) -> Event {
    let user = match random.between(0, 4) {
        0 => format!("name{number}"),
        _ => format!("user{}", random.between(0, 5_000)),
    };
    let attempts = if random.chance(250) { 2 } else { 1 };
    let failure = Outcome::Failure { class: Class::UnknownUser, kind: 0, attempts };
    // Every unknown name is compared with each that logged in, so these are few.
    let (user, outcome) = match random.chance(1) {
        true => (format!("owner{}", number % 9), Outcome::Success),
        false => (user, failure),
    };
    Event {
        stamp: None,
        addr: address(number),
        user: Some(user.into()),
        outcome,
        connection: Some(Connection { host: 0, pid: Some(number as u32), port: None }),
        forwarded: Vec::new(),
    }
}

/// Judges so many sources; `look` sees the machine now and then, `record` what the store would keep.
fn flood(
    machine: &mut Machine,
    sources: usize,
    look: impl Fn(&Machine, Timestamp),
    mut record: impl FnMut(Record),
) {
    let mut random = Random::new(7);
    let mut out = Vec::new();
    for number in 0..sources as u64 {
        let now = Timestamp::from_millis(START_MS + LASTS_MS * number as i64 / sources as i64);
        let jail = u16::from(number % 8 == 3);
        machine.event(jail, &event(number, &mut random), Phase::Live, now, &mut out);
        if number % 1_000 == 999 {
            machine.tick(now, &mut out);
        }
        if number % (sources as u64 / 50) == 0 {
            look(machine, now);
            machine.sweep(now, &mut out);
        }
        for effect in out.drain(..) {
            if let Effect::Record(kept) = effect {
                record(kept);
            }
        }
    }
}

fn within_bounds(machine: &Machine, now: Timestamp) {
    let (prefixes, of_jails) = machine.judge.past.len();
    let lengths = [
        ("windows", machine.judge.tracked(0)),
        ("rates", machine.judge.tracked(1)),
        ("bans", machine.ledger.len()),
        ("elements", machine.projection().points()),
        ("past bans", prefixes),
        ("past bans by jail", of_jails),
    ];
    for (table, length) in lengths {
        assert!(length <= ROOM, "{table}: {length}");
    }
    assert!(machine.judge.trust.places().count() <= 100_000);
    assert!(machine.alerts(now).count() <= 500);
    assert!(machine.widening("192.0.2.1".parse().unwrap(), now).iter().all(|jail| jail.used <= jail.budget));
}

#[test]
fn ten_times_as_many_random_sources_as_there_is_room_for_stay_within_it() {
    let _alone = alone();
    let before = heap::used();
    heap::take_peak();
    let mut machine = machine(ROOM);
    let (mut attempts, mut bans) = (0usize, 0usize);
    flood(&mut machine, SOURCES, within_bounds, |record| match record {
        Record::Attempt(_) => attempts += 1,
        Record::Banned(_) => bans += 1,
        _ => {}
    });
    let peak = heap::take_peak() - before;
    let tables = LIMITS.bytes();
    let most: usize = tables.iter().map(|(_, bytes)| bytes).sum();
    tables.iter().for_each(|(table, bytes)| eprintln!("{table}: {:.1} MB at most", *bytes as f64 / 1e6));
    eprintln!(
        "{SOURCES} sources, {bans} bans, {} of them in force; at the end {} MB, at most {} MB of {} MB: {:.2}",
        machine.ledger.len(),
        (heap::used() - before) / 1_000_000,
        peak / 1_000_000,
        most / 1_000_000,
        peak as f64 / most as f64
    );
    let is_text = |ban: &Ban| matches!(ban.reason, Reason::Text(_));
    assert!(machine.ledger.iter().filter(is_text).count() < ROOM / 10, "networks are few");
    assert!(attempts > SOURCES / 10 * 9, "{attempts}: nearly every source is another one");
    assert!(bans > SOURCES / 5, "{bans}");
    assert_eq!(machine.ledger.len(), ROOM, "there were more bans than there is room for");
    assert!(machine.judge.past.len().0 > ROOM / 2 && machine.judge.tracked(0) > ROOM / 2);
    assert!(peak < most, "{peak} of {most}");
}

#[test]
fn a_flood_that_overflows_every_table_is_judged_the_same_each_time() {
    let _alone = alone();
    let judged = || {
        let mut records = Vec::new();
        flood(&mut machine(500), 20_000, |_, _| {}, |record| records.push(record));
        records
    };
    let (once, again) = (judged(), judged());
    assert!(once.iter().filter(|record| matches!(record, Record::Ended(..))).count() > 1_000);
    assert_eq!(once.len(), again.len());
    assert!(once == again);
}

#[test]
fn offenders_of_one_jail_are_a_million_at_most_and_the_newest_stay() {
    let _alone = alone();
    heap::take_peak();
    let before = heap::used();
    let mut neighbours = Neighbours::default().with_budget(BUDGET);
    let at = |number: u64| Timestamp::from_millis(START_MS + number as i64);
    for number in 0..1_100_000 {
        let began = at(number);
        let offence = Offence { began, until: End::At(began + Span::from_secs(86_400)) };
        neighbours.offended(Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(number as u32 * 2_017))), offence);
    }
    let now = at(1_100_000);
    let kept = neighbours.offenders("0.0.0.0/0".parse().unwrap(), now).count();
    assert!((900_000..=1_000_000).contains(&kept), "{kept}");
    let newest = Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(1_099_999 * 2_017)));
    assert_eq!(neighbours.offenders(newest, now).count(), 1);
    let peak = heap::take_peak() - before;
    eprintln!("{kept} offenders: {} MB, at most {} MB", (heap::used() - before) >> 20, peak >> 20);
    assert!(peak < 160 << 20, "{peak}");
}

#[test]
fn the_cover_of_a_million_offenders_keeps_to_its_budget_and_takes_no_more_room_than_they() {
    let _alone = alone();
    let mut random = Random::new(11);
    let mut anywhere = || random.between(0, 1 << 32) as u32;
    let scattered: Vec<u32> = (0..ROOM).map(|_| anywhere()).collect();
    let mut net = 0;
    let mut eight_a_net = |at: usize| {
        net = if at.is_multiple_of(8) { anywhere() & 0xffff_ff00 } else { net };
        net | (at as u32 * 37) & 0xff
    };
    let grouped: Vec<u32> = (0..ROOM).map(&mut eight_a_net).collect();
    let dense: Vec<u32> = (0..ROOM as u32).map(|at| 0x0a00_0000 + at * 3).collect();
    for (shape, bits) in [("scattered", scattered), ("eight a /24", grouped), ("one in three", dense)] {
        let mut offenders: Vec<Prefix> =
            bits.into_iter().map(|bits| Prefix::host(IpAddr::V4(Ipv4Addr::from_bits(bits)))).collect();
        offenders.sort_unstable();
        offenders.dedup();
        for budget in [u64::MAX, BUDGET] {
            heap::take_peak();
            let before = heap::used();
            let found = cover(&offenders, &PrefixSet::default(), budget);
            let peak = heap::take_peak() - before;
            let of_nets: usize = found.nets.iter().map(|net| net.offenders).sum();
            eprintln!(
                "{shape}: {} offenders, {} in {} networks of {} innocents, {} MB at most",
                offenders.len(),
                of_nets,
                found.nets.len(),
                found.innocents(),
                peak >> 20
            );
            assert!(found.innocents() <= budget);
            assert!(of_nets <= offenders.len() && found.nets.len() * 2 <= offenders.len());
            assert!(peak < 100 * offenders.len() + (1 << 20), "{peak}");
        }
    }
}
