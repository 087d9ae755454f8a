//! A labelled simulation: thirty days of people and of attacks on one host, judged by plain counting and by Pillory's
//! own policy for sshd. `make simulate` prints the table.
//!
//! Everything comes from a seed, and only the core's machine judges. What is printed is what happens; what is asserted
//! is what has to hold whatever the policy learns.

#![allow(clippy::unwrap_used, reason = "a simulation that cannot be set up has failed")]
#![allow(clippy::expect_used, reason = "the same")]

mod operators;
mod random;
mod scenes;
mod stealth;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use pillory_core::config::resolve;
use pillory_core::event::{JailName, Points};
use pillory_core::jail::names::{Names, alike};
use pillory_core::jail::networks::Networks;
use pillory_core::jail::policy::{Ladder, PointTable, Policy};
use pillory_core::jail::secret::{Percent, Secret};
use pillory_core::jail::{Jail, Judge};
use pillory_core::machine::{Machine, ScopeRule};
use pillory_core::net::{Prefix, PrefixSet};
use pillory_core::rehearse::good::Logins;
use pillory_core::rehearse::{Rehearsal, Report};
use pillory_core::time::{BanTime, Span, Timestamp};

use scenes::{Scene, Scenes};

/// What all chance comes from, unless `SIMULATION_SEED` says another number.
const SEED: u64 = 20_260_105;

fn seed() -> u64 {
    std::env::var("SIMULATION_SEED").map_or(SEED, |seed| seed.parse().expect("SIMULATION_SEED is a number"))
}

/// Who judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Five failures within ten minutes, banned for ten minutes.
    Plain,
    /// The built-in policy.
    Pillory,
    /// The same with a database of networks.
    PilloryWithNetworks,
}

/// The built-in jail for sshd, with its own policy or another.
fn machine(by: &By) -> Machine {
    let config = resolve::default_config();
    let sshd = config.jails.iter().find(|jail| jail.name.as_str() == "sshd").unwrap();
    let policy = if *by == By::Plain { plain() } else { sshd.policy.clone() };
    let accounts = users::ACCOUNTS.iter().chain(&["root"]).map(|name| (*name).to_owned()).collect();
    let names = Names::new(accounts, HashSet::new(), false);
    let jail = Jail { name: sshd.name.clone(), policy, lines: None };
    let mut judge = Judge::new(vec![jail], names, PrefixSet::default(), 1_000_000);
    (judge.secret, judge.decoys) = (Some(secret(config.decoys)), config.decoys);
    judge.networks =
        (*by == By::PilloryWithNetworks).then(|| Arc::new(operators::Operators) as Arc<dyn Networks>);
    let mut machine = Machine::new(judge, Vec::new(), ScopeRule::Auto);
    // Plain counting knows single addresses only.
    machine.set_widening(config.widen.clone().into_iter().filter(|_| *by != By::Plain));
    machine
}

/// A secret that makes decoys of as many guessed names as is to be expected: the table shows the policy and not the
/// luck of a draw, which alone is worth a third more or less let through. `SIMULATION_SECRET=n` takes the n-th secret
/// whatever it makes of them.
fn secret(decoys: Percent) -> Secret {
    let of = |number: u64| Secret::new(number.to_be_bytes().repeat(2).try_into().unwrap());
    let drawn =
        |secret: &Secret| scenes::GUESSED.iter().filter(|name| secret.is_decoy(&alike(name), decoys)).count();
    if let Ok(number) = std::env::var("SIMULATION_SECRET") {
        let secret = of(number.parse().expect("SIMULATION_SECRET is a number"));
        println!("secret {number}: {} of {} guessed names are decoys", drawn(&secret), scenes::GUESSED.len());
        return secret;
    }
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
    /// Sources that were ever members of a campaign.
    members: HashMap<Scene, BTreeSet<Prefix>>,
    /// How many campaigns began, and when systems were last seen to attack.
    began: (u32, BTreeMap<u32, Timestamp>),
}

impl Played {
    fn members(&self, scene: Scene) -> usize {
        self.members.get(&scene).map_or(0, BTreeSet::len)
    }
}

fn play(scenes: &Scenes, by: By) -> Played {
    let machine = machine(&by);
    let logins = Logins::of(&scenes.seen, &machine.judge);
    let mut rehearsal = Rehearsal::new(machine, &logins);
    let mut sums: HashMap<Scene, Of> = HashMap::new();
    let mut members: HashMap<Scene, BTreeSet<Prefix>> = HashMap::new();
    let (mut began, mut is_on) = ((0, BTreeMap::new()), false);
    let sshd = JailName::new("sshd").unwrap();
    for seen in &scenes.seen {
        let step = rehearsal.see(seen);
        let of = sums.entry(scenes.of[&seen.event.addr]).or_default();
        of.attempts += u64::from(step.attempts);
        of.let_through += if step.is_stopped { 0 } else { u64::from(step.attempts) };
        of.first = of.first.or(Some(seen.time));
        if step.bans {
            of.banned = of.banned.or(Some(seen.time));
        }
        let campaigns = &rehearsal.machine().judge.alarms.campaigns;
        if campaigns.is_member(&sshd, source(seen.event.addr), seen.time) {
            members.entry(scenes.of[&seen.event.addr]).or_default().insert(source(seen.event.addr));
        }
        began.0 += u32::from(campaigns.is_on(&sshd) && !is_on);
        is_on = campaigns.is_on(&sshd);
        began.1.extend(campaigns.systems(&sshd).iter().map(|system| (system.number, seen.time)));
    }
    Played { scenes: sums, report: rehearsal.finish(), members, began }
}

/// How many sources each scene has.
fn sources(of: &HashMap<IpAddr, Scene>, scene: Scene) -> usize {
    let sources = of.iter().filter(|(_, known)| **known == scene).map(|(addr, _)| source(*addr));
    sources.collect::<HashSet<Prefix>>().len()
}

/// Whom an address belongs to: an IPv6 /64 is one source.
fn source(addr: IpAddr) -> Prefix {
    Prefix::host(addr).widened(if addr.is_ipv4() { 32 } else { 64 })
}

fn print(scenes: &Scenes, plain: &Played, pillory: &Played, networks: &Played) {
    println!(
        "30 days, seed {}; attempts let through, and after how long the first source was banned\n",
        seed()
    );
    println!(
        "{:<15}{:>8}{:>9}{:>17}{:>17}  fewer{:>18}  fewer{:>9}",
        "", "sources", "attempts", "plain counting", "Pillory", "with networks", "members"
    );
    for (scene, name) in Scene::ALL {
        let [a, b, c] = [plain, pillory, networks].map(|played| played.scenes[&scene]);
        let fewer = |of: Of| match scene {
            Scene::Users => String::new(),
            _ => format!("{:.1}x", a.let_through as f64 / of.let_through.max(1) as f64),
        };
        println!(
            "{name:<15}{:>8}{:>9}{:>17}{:>17}{:>7}{:>18}{:>7}{:>9}",
            sources(&scenes.of, scene),
            a.attempts,
            shown(a),
            shown(b),
            fewer(b),
            shown(c),
            fewer(c),
            networks.members(scene),
        );
    }
    let row = |name: &str, of: fn(&Played) -> u64| {
        println!("{name:<32}{:>17}{:>17}{:>25}", of(plain), of(pillory), of(networks));
    };
    row("good users hit", |played| played.report.total.good_users_hit);
    row("bans", |played| played.report.total.bans);
    row("members that are people", |played| played.members(Scene::Users) as u64);
    for (name, played) in [("plain counting", plain), ("Pillory", pillory)] {
        for hit in &played.report.good_users {
            println!("{name} hits {} at {}: {} banned {}", hit.user, hit.addr, hit.prefix, hit.banned_at);
        }
    }
}

fn shown(of: Of) -> String {
    let after = of.banned.zip(of.first).map(|(banned, first)| banned.since(first));
    format!("{} {:>9}", of.let_through, after.map_or_else(|| "never".to_owned(), round))
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
    let scenes = Scenes::of_seed(seed());
    let [plain, pillory, networks] =
        [By::Plain, By::Pillory, By::PilloryWithNetworks].map(|by| play(&scenes, by));
    print(&scenes, &plain, &pillory, &networks);
    for (scene, name) in Scene::ALL {
        let [a, b, c] = [&plain, &pillory, &networks].map(|played| played.scenes[&scene]);
        assert_eq!(a.attempts, b.attempts, "{name}: what was tried does not hang on the policy");
        assert_eq!(a.attempts, c.attempts, "{name}: what was tried does not hang on the policy");
        assert!(networks.members(Scene::Users) == 0 && pillory.members(Scene::Users) == 0, "{networks:?}");
    }
    // What holds with every seed that was tried, and a little less.
    let least = [
        (Scene::Single, 15.0, 15.0),
        (Scene::Slow, 40.0, 40.0),
        (Scene::Neighbours, 150.0, 150.0),
        (Scene::Botnet, 10.0, 10.0),
        (Scene::Spray, 3.5, 3.5),
        (Scene::Lists, 3.0, 3.0),
        (Scene::Rented, 1.05, 6.0),
        (Scene::Background, 1.5, 1.5),
    ];
    for (scene, without, with) in least {
        let [a, b, c] = [&plain, &pillory, &networks].map(|played| played.scenes[&scene].let_through as f64);
        assert!(a >= without * b && a >= with * c, "{scene:?}: {b} and {c} instead of {a}");
    }
    for played in [&pillory, &networks] {
        let botnet = played.scenes[&Scene::Botnet].let_through;
        assert!(botnet >= sources(&scenes.of, Scene::Botnet) as u64, "each has one try, whatever the policy");
        // Who fails five times on end is banned by both; a day's memory costs people hardly more than ten minutes'.
        let hit = |played: &Played| played.report.total.good_users_hit;
        assert!(hit(played) <= hit(&plain) + 1, "{:?}", played.report.good_users);
        if seed() == SEED {
            assert_nobody_is_hit(&scenes, played);
        }
    }
    // A provider that people have is spared as soon as the first of them has logged in.
    let begin = scenes.seen.first().unwrap().time;
    let systems = networks.began.1.iter().filter(|(_, last)| last.since(begin) > Span::from_secs(86_400));
    assert!(systems.map(|(number, _)| *number).eq([operators::RENTED]), "{:?}", networks.began);
}

/// Nobody who belongs here is banned, nor is an address of theirs, and no attempt of theirs is stopped.
fn assert_nobody_is_hit(scenes: &Scenes, played: &Played) {
    assert_eq!(played.report.good_users, [], "nobody who belongs here is hit");
    let of_users = played.scenes[&Scene::Users];
    assert_eq!(of_users.let_through, of_users.attempts, "no attempt of theirs is stopped");
    let is_theirs = |prefix: Prefix| {
        scenes.of.iter().any(|(addr, scene)| *scene == Scene::Users && prefix.contains_addr(*addr))
    };
    assert!(
        !played.report.bans.iter().any(|ban| is_theirs(ban.prefix)),
        "no ban covers an address of theirs"
    );
}

/// Of what finds any host no campaign comes, and people are in none.
#[test]
fn a_hundred_days_without_a_campaign() {
    const MONTHS: u64 = 4;
    let played: Vec<Played> =
        (0..MONTHS).map(|month| play(&Scenes::quiet(seed() + month), By::PilloryWithNetworks)).collect();
    let sum = |of: fn(&Played) -> usize| played.iter().map(of).sum::<usize>();
    let (people, background) = (sum(|of| of.members(Scene::Users)), sum(|of| of.members(Scene::Background)));
    let (campaigns, systems) = (sum(|of| of.began.0 as usize), sum(|of| of.began.1.len()));
    let sources = MONTHS * 22 * 30;
    let hit = sum(|of| of.report.total.good_users_hit as usize);
    println!(
        "{} days of people and background: {people} people and {background} of {sources} other sources try listed names; \
         {campaigns} campaigns, {systems} by network; {hit} good users hit",
        MONTHS * 30
    );
    assert_eq!((people, campaigns, systems), (0, 0, 0));
}

#[test]
fn the_same_seed_gives_the_same_decisions() {
    let scenes = Scenes::shared(seed());
    let played = || play(&scenes, By::PilloryWithNetworks);
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
        for (by, total) in [By::Plain, By::Pillory].into_iter().zip(&mut totals) {
            let report = play(&scenes, by).report;
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
