//! Stealthy guessing at accounts in use, on hosts where people mistype and travel: after how many tries it is flagged,
//! and how often people alone raise the alarm.
//!
//! The attacker knows the names of the people and never tries twice from one address. Only the core's machine judges.

use std::collections::HashSet;
use std::net::IpAddr;

use pillory_core::event::{Attempt, Event, JailName, Outcome};
use pillory_core::jail::alarms::Alarm;
use pillory_core::jail::stealth::{Attack, Change};
use pillory_core::machine::{Effect, Machine, Notice, Phase, Record};
use pillory_core::rehearse::Seen;
use pillory_core::time::{Span, Timestamp};

use crate::machine;
use crate::random::Random;
use crate::scenes::{DAY, DAYS, HOUR, Scene, Scenes};
use crate::users::ACCOUNTS;

const SEEDS: u64 = 40;

/// Who uses the host.
struct Host {
    name: &'static str,
    users: std::ops::Range<usize>,
    /// Of a thousand people a day, so many fail from somewhere new and leave it at that: an app with an old password on
    /// a phone, a friend's computer.
    give_up: i64,
}

/// The last five of the people travel and the first fifteen share an office: a small host of travellers is the hardest.
const HOSTS: [Host; 5] = [
    Host { name: "40 people", users: 0..40, give_up: 0 },
    Host { name: "5 travellers", users: 35..40, give_up: 0 },
    Host { name: "1 traveller", users: 39..40, give_up: 0 },
    Host { name: "40, some give up", users: 0..40, give_up: 25 },
    Host { name: "5, many give up", users: 35..40, give_up: 100 },
];

/// More than come back give up, three a day: that is what is not learnt, so the alarm is on now and then.
const BEYOND: Host = Host { name: "40, many give up", users: 0..40, give_up: 75 };

impl Host {
    fn names(&self) -> &'static [&'static str] {
        &ACCOUNTS[self.users.clone()]
    }

    /// Thirty days of its people, in order of time.
    fn month(&self, seed: u64) -> Scenes {
        let mut scenes = Scenes::of_people(seed);
        let names: HashSet<&str> = self.names().iter().copied().collect();
        let is_here = |event: &Event| event.user.as_deref().is_some_and(|user| names.contains(user));
        scenes.seen.retain(|seen| is_here(&seen.event));
        let random = &mut Random::new(seed ^ 0x5eed);
        for (user, day) in self.names().iter().flat_map(|user| (0..DAYS).map(move |day| (user, day))) {
            if random.chance(self.give_up) {
                let (addr, connection) = (random.address(84), scenes.connection());
                let at = day * DAY + random.between(8 * HOUR, 22 * HOUR);
                scenes.failed(Scene::Users, at, addr, user, connection);
            }
        }
        scenes.seen.sort_by_key(|seen| seen.time);
        scenes
    }
}

/// A try of somebody who knows the names, from an address of its own.
fn try_once(scenes: &mut Scenes, random: &mut Random, names: &[&str], at: i64) -> IpAddr {
    let net = random.between(150, 200) as u8;
    let (addr, user, connection) = (random.address(net), random.pick(names), scenes.connection());
    scenes.failed(Scene::Spray, at, addr, user, connection);
    addr
}

/// One try each from 100 addresses, every ten minutes to every hour, at names of this host.
fn attack(scenes: &mut Scenes, random: &mut Random, names: &[&str], begin: i64) -> HashSet<IpAddr> {
    let (mut at, every) = (begin, random.between(HOUR / 6, HOUR));
    let mut attackers = HashSet::new();
    while attackers.len() < 100 {
        attackers.insert(try_once(scenes, random, names, at));
        at += every + random.between(-every / 3, every / 3);
    }
    scenes.seen.sort_by_key(|seen| seen.time);
    attackers
}

/// Tries that grow by 3 % a day from one in ten days on, over so many months of this host's people, in order of time.
fn growing(host: &Host, seed: u64, months: i64) -> Vec<Seen> {
    let random = &mut Random::new(seed ^ 0x6420);
    let (mut all, mut due) = (Vec::new(), 0.0);
    for month in 0..months {
        let mut scenes = host.month(seed * 1_000 + month as u64);
        for day in 0..DAYS {
            due += a_day(month * DAYS + day);
            while due >= 1.0 {
                let at = day * DAY + random.between(0, DAY);
                try_once(&mut scenes, random, host.names(), at);
                due -= 1.0;
            }
        }
        scenes.seen.sort_by_key(|seen| seen.time);
        let later = Span::from_secs((month * DAYS * DAY) as u64);
        all.extend(scenes.seen.into_iter().map(|mut seen| {
            seen.time = seen.time + later;
            seen.event.stamp = Some(seen.time);
            seen
        }));
    }
    all
}

/// How often who grows tries on this day.
fn a_day(day: i64) -> f64 {
    0.1 * 1.03f64.powi(day as i32)
}

/// The machine at work, and when it was swept last.
struct Watched {
    machine: Machine,
    swept: Timestamp,
    effects: Vec<Effect>,
    /// What a store would keep.
    attempts: Vec<Attempt>,
}

impl Watched {
    fn new() -> Watched {
        Watched {
            machine: machine(&super::By::Pillory),
            swept: Timestamp::default(),
            effects: Vec::new(),
            attempts: Vec::new(),
        }
    }

    /// What is told at this record.
    fn see(&mut self, seen: &Seen) -> Vec<Change> {
        if self.machine.next_deadline().is_some_and(|end| end <= seen.time) {
            self.machine.tick(seen.time, &mut self.effects);
        }
        if seen.time.since(self.swept) >= Span::from_secs(3_600) {
            self.swept = seen.time;
            self.machine.sweep(seen.time, &mut self.effects);
        }
        self.machine.event(seen.jail, &seen.event, Phase::Live, seen.time, &mut self.effects);
        let mut told = Vec::new();
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Say(Notice::Alarm(Alarm::Stealth(change))) => told.push(change),
                Effect::Record(Record::Attempt(attempt)) => self.attempts.push(attempt),
                _ => {}
            }
        }
        told
    }

    /// The same host after a restart: of the alarms nothing is left but the attempts.
    fn restarted(&self) -> Watched {
        let mut after = Watched { swept: self.swept, ..Watched::new() };
        let bans = self.machine.ledger.iter().collect();
        let last = self.attempts.last().map_or(self.swept, |last| last.time);
        after.machine.restore(bans, &self.attempts, &[], last);
        after
    }

    fn on(&self) -> Option<Attack> {
        self.machine.judge.alarms.stealth.on(&JailName::new("sshd").unwrap())
    }
}

fn began(told: &[Change]) -> usize {
    told.iter().filter(|change| matches!(change, Change::Began(..))).count()
}

/// Alarms that people alone raise in a month.
fn false_alarms(host: &Host, seed: u64) -> usize {
    let mut watched = Watched::new();
    host.month(seed).seen.iter().map(|seen| began(&watched.see(seen))).sum()
}

/// What became of an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Flagged {
    /// With this try.
    At(usize),
    /// People alone had raised the alarm before.
    Before,
    Never,
}

/// When an attack is flagged, whether its success with the last of its addresses is told, and how many logins of people
/// are told as if they might be one.
fn attacked(host: &Host, seed: u64) -> (Flagged, bool, usize) {
    let mut scenes = host.month(seed);
    let random = &mut Random::new(seed ^ 0xa77a);
    let begin = random.between(7 * DAY, 24 * DAY);
    let attackers = attack(&mut scenes, random, host.names(), begin);
    let (mut watched, mut tried, mut flagged, mut people) = (Watched::new(), 0, Flagged::Never, 0);
    for seen in &scenes.seen {
        tried += usize::from(attackers.contains(&seen.event.addr));
        for change in watched.see(seen) {
            people += usize::from(matches!(change, Change::GotIn { .. }));
            flagged = match change {
                Change::Began(..) if tried == 0 => Flagged::Before,
                Change::Began(..) if flagged == Flagged::Never => Flagged::At(tried),
                Change::Ended(_) if tried == 0 => Flagged::Never,
                _ => flagged,
            };
        }
        if tried == attackers.len() {
            let mut last = seen.clone();
            last.event.outcome = Outcome::Success;
            let got_in = watched.see(&last).iter().any(|change| matches!(change, Change::GotIn { .. }));
            return (flagged, got_in, people);
        }
    }
    (flagged, false, people)
}

/// What came of all months of a host, printed.
fn measured(host: &Host) -> (f64, Vec<(Flagged, bool, usize)>) {
    let alarms: usize = (0..SEEDS).map(|seed| false_alarms(host, seed)).sum();
    let of_100_days = alarms as f64 * 100.0 / (SEEDS as i64 * DAYS) as f64;
    let mut flagged: Vec<(Flagged, bool, usize)> = (0..SEEDS).map(|seed| attacked(host, seed)).collect();
    flagged.sort_unstable();
    let shown = |at: usize| match flagged[at].0 {
        Flagged::At(tries) => tries.to_string(),
        Flagged::Before => "on".to_owned(),
        Flagged::Never => "never".to_owned(),
    };
    let got_in = flagged.iter().filter(|(_, got_in, _)| *got_in).count();
    println!(
        "{:<18}{alarms:>14}{of_100_days:>16.2}{:>8}{:>7}{got_in:>6}/{SEEDS}{:>10.2}",
        host.name,
        shown(flagged.len() / 2),
        shown(flagged.len() - 1),
        flagged.iter().map(|(.., people)| *people as f64).sum::<f64>() / SEEDS as f64
    );
    (of_100_days, flagged)
}

#[test]
fn stealthy_guessing_is_flagged_within_ten_tries_and_people_alone_raise_no_alarm() {
    println!(
        "accounts in use guessed at, one try from each of 100 addresses: {SEEDS} months of each host; with which try\n\
         it is flagged, whether its success is told, and how many logins of people are told meanwhile\n"
    );
    println!(
        "{:<18}{:>14}{:>16}{:>8}{:>7}{:>9}{:>10}",
        "", "false alarms", "per 100 days", "median", "worst", "got in", "people"
    );
    for host in &HOSTS {
        let (of_100_days, flagged) = measured(host);
        assert!(of_100_days <= 1.0, "{}: {of_100_days}", host.name);
        let late: Vec<_> = flagged.iter().filter(|(flagged, ..)| *flagged > Flagged::At(10)).collect();
        assert_eq!(late, [&(Flagged::Never, false, 0); 0], "{}", host.name);
        assert!(flagged.iter().all(|(_, got_in, _)| *got_in), "{}: every success is told", host.name);
    }
    measured(&BEYOND);
}

#[test]
fn who_grows_by_three_percent_a_day_is_flagged_all_the_same() {
    const MONTHS: i64 = 7;
    for host in &HOSTS[..3] {
        let mut days: Vec<i64> = Vec::new();
        for seed in 0..10 {
            let seen = growing(host, seed, MONTHS);
            let (mut watched, begin) = (Watched::new(), seen[0].time);
            let flagged = seen.iter().find(|seen| began(&watched.see(seen)) > 0);
            let day = flagged.map(|seen| seen.time.since(begin).secs() as i64 / DAY);
            assert!(day.is_some_and(|day| a_day(day) > 1.0), "{}, seed {seed}: {day:?}", host.name);
            days.extend(day);
        }
        days.sort_unstable();
        let (median, worst) = (days[days.len() / 2], days[days.len() - 1]);
        println!(
            "{}: from one try in ten days up by 3 % a day: flagged on day {median} ({:.1} tries a day), at worst on \
             day {worst} ({:.1})",
            host.name,
            a_day(median),
            a_day(worst)
        );
        assert!(a_day(worst) < 7.0, "{}: {} tries a day", host.name, a_day(worst));
    }
}

#[test]
fn a_restart_at_any_moment_of_an_attack_changes_nothing_that_is_told() {
    let (mut on, mut off) = (0, 0);
    for (seed, host) in (0..24).zip(HOSTS.iter().cycle()) {
        let mut scenes = host.month(seed);
        let random = &mut Random::new(seed ^ 0x4e57);
        let begin = random.between(7 * DAY, 20 * DAY);
        attack(&mut scenes, random, host.names(), begin);
        let restart = scenes.seen[0].time + Span::from_secs((begin + random.between(0, 6 * DAY)) as u64);
        let (before, after) = scenes.seen.split_at(scenes.seen.partition_point(|seen| seen.time < restart));
        let mut stayed = Watched::new();
        before.iter().for_each(|seen| drop(stayed.see(seen)));
        let mut restarted = stayed.restarted();
        assert_eq!(restarted.on(), stayed.on(), "{}, seed {seed}", host.name);
        *if stayed.on().is_some() { &mut on } else { &mut off } += 1;
        // When growth is told again hangs on when it was told last, to some minutes.
        let told = |watched: &mut Watched, seen: &Seen| -> Vec<Change> {
            watched.see(seen).into_iter().filter(|change| !matches!(change, Change::Grew(..))).collect()
        };
        for seen in after {
            assert_eq!(told(&mut restarted, seen), told(&mut stayed, seen), "{}, seed {seed}", host.name);
        }
    }
    assert!(on > 5 && off > 5, "some restarts were during an alarm, some not: {on}, {off}");
}
