//! A labelled simulation: thirty days of people and of attacks on one host, judged by plain counting and by Pillory's
//! own policy for sshd. `make simulate` prints the table.
//!
//! Everything comes from a seed, and only the core's machine judges. What is printed is what happens; what is asserted
//! is what has to hold whatever the policy learns.

#![allow(clippy::unwrap_used, reason = "a simulation that cannot be set up has failed")]

mod random;
mod scenes;
mod stealth;
mod users;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use pillory_core::config::resolve;
use pillory_core::event::Points;
use pillory_core::jail::names::{Names, alike};
use pillory_core::jail::policy::{Ladder, PointTable, Policy};
use pillory_core::jail::secret::{Percent, Secret};
use pillory_core::jail::{Jail, Judge};
use pillory_core::machine::{Machine, ScopeRule};
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::rehearse::good::Logins;
use pillory_core::rehearse::{Rehearsal, Report};
use pillory_core::time::{BanTime, Span, Timestamp};

use scenes::{Scene, Scenes};

const SEED: u64 = 20_260_105;

/// The built-in jail for sshd, with its own policy or another.
fn machine(policy: Option<Policy>) -> Machine {
    let config = resolve::default_config();
    let sshd = config.jails.iter().find(|jail| jail.name.as_str() == "sshd").unwrap();
    let widens = policy.is_none();
    let policy = policy.unwrap_or_else(|| sshd.policy.clone());
    let accounts = users::ACCOUNTS.iter().chain(&["root"]).map(|name| (*name).to_owned()).collect();
    let names = Names::new(accounts, HashSet::new(), false);
    let jail = Jail { name: sshd.name.clone(), policy, lines: None };
    let mut judge = Judge::new(vec![jail], names, PrefixSet::default(), 1_000_000);
    (judge.secret, judge.decoys) = (Some(secret(config.decoys)), config.decoys);
    let mut machine = Machine::new(judge, Vec::new(), ScopeRule::Auto);
    // Plain counting knows single addresses only.
    machine.set_widening(config.widen.clone().into_iter().filter(|_| widens));
    machine
}

/// A secret that makes decoys of as many guessed names as is to be expected: the table shows the policy and not the
/// luck of a draw, which alone is worth a third more or less let through.
fn secret(decoys: Percent) -> Secret {
    let of = |number: u64| Secret::new(number.to_be_bytes().repeat(2).try_into().unwrap());
    let drawn =
        |secret: &Secret| scenes::GUESSED.iter().filter(|name| secret.is_decoy(&alike(name), decoys)).count();
    let expected = scenes::GUESSED.len() * usize::from(decoys.0) / 100;
    (SEED..).map(of).find(|secret| drawn(secret) == expected).unwrap()
}

/// Five failures within ten minutes, banned for ten minutes.
fn plain() -> Policy {
    Policy {
        maxretry: Points(500),
        findtime: Span::from_secs(600),
        bantime: Ladder::new(vec![BanTime::For(Span::from_secs(600))]).unwrap(),
        points: PointTable::plain(),
        ..Policy::default()
    }
}

/// What a policy did in one scene.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Of {
    attempts: u64,
    let_through: u64,
    first: Option<Timestamp>,
    /// When the first of its sources was banned.
    banned: Option<Timestamp>,
}

#[derive(Debug, PartialEq)]
struct Played {
    scenes: HashMap<Scene, Of>,
    report: Report,
}

fn play(scenes: &Scenes, policy: Option<Policy>) -> Played {
    let machine = machine(policy);
    let logins = Logins::of(&scenes.seen, &machine.judge);
    let mut rehearsal = Rehearsal::new(machine, &logins);
    let mut sums: HashMap<Scene, Of> = HashMap::new();
    for seen in &scenes.seen {
        let step = rehearsal.see(seen);
        let of = sums.entry(scenes.of[&seen.event.addr]).or_default();
        of.attempts += u64::from(step.attempts);
        of.let_through += if step.is_stopped { 0 } else { u64::from(step.attempts) };
        of.first = of.first.or(Some(seen.time));
        if step.bans {
            of.banned = of.banned.or(Some(seen.time));
        }
    }
    Played { scenes: sums, report: rehearsal.finish() }
}

/// How many sources each scene has.
fn sources(of: &HashMap<IpAddr, Scene>, scene: Scene) -> usize {
    of.values().filter(|known| **known == scene).count()
}

fn print(scenes: &Scenes, plain: &Played, pillory: &Played) {
    println!("30 days, seed {SEED}; attempts let through, and after how long the first source was banned\n");
    println!("{:<15}{:>8}{:>9}{:>22}{:>22}  fewer", "", "sources", "attempts", "plain counting", "Pillory");
    for (scene, name) in Scene::ALL {
        let (a, b) = (plain.scenes[&scene], pillory.scenes[&scene]);
        let shown = |of: Of| {
            let after = of.banned.zip(of.first).map(|(banned, first)| banned.since(first));
            let after = after.map_or_else(|| "never".to_owned(), round);
            format!("{} {after:>9}", of.let_through)
        };
        let fewer = match scene {
            Scene::Users => String::new(),
            _ => format!("{:.1}x", a.let_through as f64 / b.let_through.max(1) as f64),
        };
        println!(
            "{name:<15}{:>8}{:>9}{:>22}{:>22}  {fewer}",
            sources(&scenes.of, scene),
            a.attempts,
            shown(a),
            shown(b)
        );
    }
    let hit = |played: &Played| played.report.total.good_users_hit;
    println!("{:<15}{:>8}{:>9}{:>22}{:>22}", "good users hit", "", "", hit(plain), hit(pillory));
    println!(
        "{:<15}{:>8}{:>9}{:>22}{:>22}",
        "bans", "", "", plain.report.total.bans, pillory.report.total.bans
    );
    for (name, played) in [("plain counting", plain), ("Pillory", pillory)] {
        for hit in &played.report.good_users {
            println!("{name} hits {} at {}: {} banned {}", hit.user, hit.addr, hit.prefix, hit.banned_at);
        }
    }
}

/// A span without its small parts.
fn round(span: Span) -> String {
    let keep = match span.secs() {
        86_400.. => 3_600,
        3_600.. => 60,
        _ => 1,
    };
    Span::from_secs(span.secs() / keep * keep).to_string()
}

#[test]
fn thirty_days_of_people_and_attacks() {
    let scenes = Scenes::of_seed(SEED);
    let (plain, pillory) = (play(&scenes, Some(plain())), play(&scenes, None));
    print(&scenes, &plain, &pillory);
    for (scene, name) in Scene::ALL {
        let (a, b) = (plain.scenes[&scene], pillory.scenes[&scene]);
        assert_eq!(a.attempts, b.attempts, "{name}: what was tried does not hang on the policy");
        assert!(
            scene == Scene::Users || b.let_through < a.let_through,
            "{name}: {} of {}",
            b.let_through,
            a.let_through
        );
    }
    for scene in [Scene::Neighbours, Scene::Botnet] {
        let (a, b) = (plain.scenes[&scene].let_through, pillory.scenes[&scene].let_through);
        assert!(a >= 8 * b, "{b} instead of {a}: at least eight times fewer, ten are the aim");
    }
    let botnet = pillory.scenes[&Scene::Botnet].let_through;
    assert!(botnet >= sources(&scenes.of, Scene::Botnet) as u64, "each has one try, whatever the policy");
    assert_eq!(pillory.report.good_users, [], "nobody who belongs here is hit");
    let of_users = pillory.scenes[&Scene::Users];
    assert_eq!(of_users.let_through, of_users.attempts, "no attempt of theirs is stopped");
    let is_theirs = |prefix: Prefix| {
        scenes.of.iter().any(|(addr, scene)| *scene == Scene::Users && prefix.contains_addr(*addr))
    };
    assert!(
        !pillory.report.bans.iter().any(|ban| is_theirs(ban.prefix)),
        "no ban covers an address of theirs"
    );
}

#[test]
fn the_same_seed_gives_the_same_decisions() {
    let played = || play(&Scenes::few(SEED), None);
    assert_eq!(played(), played());
}

/// One month says little of what hits one user in a thousand: twenty of them, without the attacks. Who fails five times
/// on end is banned by both.
#[test]
fn twenty_months_of_people() {
    const MONTHS: u64 = 20;
    let mut totals = [(0, 0); 2];
    let mut logins = 0;
    for seed in 0..MONTHS {
        let scenes = Scenes::of_people(seed);
        for (policy, total) in [Some(plain()), None].into_iter().zip(&mut totals) {
            let report = play(&scenes, policy).report;
            *total = (total.0 + report.total.good_users_hit, total.1 + report.total.bans);
            logins = report.good_logins;
        }
    }
    let [(plain, plain_bans), (pillory, pillory_bans)] = totals;
    println!(
        "{MONTHS} months of 40 people, some {logins} logins a month: plain counting hits {plain} ({plain_bans} bans), \
         Pillory {pillory} ({pillory_bans} bans)"
    );
    assert!(pillory <= plain + MONTHS / 10, "a day's memory costs people hardly more than ten minutes'");
}
