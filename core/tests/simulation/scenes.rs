//! Thirty days of attacks of many shapes, labelled.

use std::collections::HashMap;
use std::net::IpAddr;

use pillory_core::event::{Class, Connection, Event, Outcome};
use pillory_core::rehearse::Seen;
use pillory_core::time::Timestamp;

use crate::random::Random;
use crate::users::{ACCOUNTS, forgetful, people};

pub const HOUR: i64 = 3_600;
pub const DAY: i64 = 24 * HOUR;
pub const DAYS: i64 = 30;

/// 2026-01-05, a Monday.
const BEGIN: i64 = 1_767_571_200;

/// What a source belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scene {
    /// People who belong here.
    Users,
    /// Fast guessing from single addresses.
    Single,
    /// The same from addresses that never try twice within 25 minutes.
    Slow,
    /// A few networks, in which one address takes over from another.
    Neighbours,
    /// 5,000 addresses with one try every few hours each.
    Botnet,
    /// One password for every account, from many addresses.
    Spray,
    /// Small groups with a list of names each, a try a day or so.
    Lists,
    /// Addresses rented from one provider, each with names of its own, a try a day or so.
    Rented,
    /// What finds any host: unrelated sources that come once, with names that all of them try.
    Background,
}

impl Scene {
    pub const ALL: [(Scene, &'static str); 9] = [
        (Scene::Users, "users"),
        (Scene::Single, "single sources"),
        (Scene::Slow, "slow sources"),
        (Scene::Neighbours, "neighbours"),
        (Scene::Botnet, "botnet"),
        (Scene::Spray, "spray"),
        (Scene::Lists, "shared lists"),
        (Scene::Rented, "rented"),
        (Scene::Background, "background"),
    ];
}

/// What guessing programs try, the frequent ones first; about a third of all tries are for root.
pub const GUESSED: [&str; 30] = [
    "admin",
    "test",
    "user",
    "ubuntu",
    "oracle",
    "postgres",
    "git",
    "pi",
    "guest",
    "ftpuser",
    "hadoop",
    "jenkins",
    "mysql",
    "deploy",
    "dev",
    "tomcat",
    "steam",
    "minecraft",
    "es",
    "nagios",
    "sven",
    "maria",
    "webmaster",
    "student1",
    "sales",
    "scan",
    "plexserver",
    "zhangwei",
    "amit",
    "kiosk",
];

/// All records and whose they are.
#[derive(Default)]
pub struct Scenes {
    pub seen: Vec<Seen>,
    pub of: HashMap<IpAddr, Scene>,
    connections: u32,
}

impl Scenes {
    /// Everything, in order of time.
    pub fn of_seed(seed: u64) -> Scenes {
        Scenes::with(seed, &[people, single, slow, neighbours, botnet, spray, lists, rented, background])
    }

    /// People and what finds any host, but no campaign.
    pub fn quiet(seed: u64) -> Scenes {
        Scenes::with(seed, &[forgetful, background])
    }

    /// Only the people of a seed.
    pub fn of_people(seed: u64) -> Scenes {
        Scenes::with(seed, &[people])
    }

    /// All kinds of attacks that several sources share, and the people.
    pub fn shared(seed: u64) -> Scenes {
        Scenes::with(seed, &[people, neighbours, botnet, spray, lists, rented])
    }

    fn with(seed: u64, parts: &[fn(&mut Scenes, &mut Random)]) -> Scenes {
        let mut scenes = Scenes::default();
        let random = &mut Random::new(seed);
        parts.iter().for_each(|part| part(&mut scenes, random));
        scenes.seen.sort_by_key(|seen| seen.time);
        scenes
    }

    /// A connection of its own.
    pub fn connection(&mut self) -> u32 {
        self.connections += 1;
        self.connections
    }

    pub fn failed(&mut self, scene: Scene, at: i64, addr: IpAddr, user: &str, connection: u32) {
        self.of.insert(addr, scene);
        let is_account = user == "root" || ACCOUNTS.contains(&user);
        let class = if is_account { Class::KnownUser } else { Class::UnknownUser };
        self.add(at, addr, user, Outcome::Failure { class, kind: 0, attempts: 1 }, connection);
    }

    pub fn logged_in(&mut self, at: i64, addr: IpAddr, user: &str, connection: u32) {
        self.of.insert(addr, Scene::Users);
        self.add(at, addr, user, Outcome::Success, connection);
    }

    fn add(&mut self, at: i64, addr: IpAddr, user: &str, outcome: Outcome, connection: u32) {
        if at >= DAYS * DAY {
            return;
        }
        let time = Timestamp::from_secs(BEGIN + at);
        let connection = Some(Connection { host: 0, pid: Some(connection), port: None });
        let event = Event {
            stamp: Some(time),
            addr,
            user: Some(user.into()),
            outcome,
            connection,
            forwarded: Vec::new(),
        };
        self.seen.push(Seen { time, jail: 0, event, is_login_record: false });
    }

    /// One try of a guessing program.
    fn guess(&mut self, scene: Scene, random: &mut Random, at: i64, addr: IpAddr) {
        let user = if random.chance(330) { "root" } else { random.pick(&GUESSED) };
        let connection = self.connection();
        self.failed(scene, at, addr, user, connection);
    }
}

/// Thirty addresses: a try every five seconds for half an hour, and the same again on some of the next days.
fn single(scenes: &mut Scenes, random: &mut Random) {
    for _ in 0..30 {
        let (addr, mut start) = (random.either(91), random.between(0, 25 * DAY));
        for _ in 0..random.between(1, 6) {
            let mut at = start;
            while at < start + HOUR / 2 {
                scenes.guess(Scene::Single, random, at, addr);
                at += random.wait(5);
            }
            start += random.wait(DAY);
        }
    }
}

/// Sixty addresses, a try every 25 to 60 minutes, for some days.
fn slow(scenes: &mut Scenes, random: &mut Random) {
    for _ in 0..60 {
        let addr = random.either(92);
        let mut at = random.between(0, 26 * DAY);
        let end = at + random.between(DAY, 6 * DAY);
        while at < end {
            scenes.guess(Scene::Slow, random, at, addr);
            at += random.between(1_500, 3_600);
        }
    }
}

/// The networks that were seen, with the addresses that came first; more of the same network follow.
/// Source: hand-kept lists of 2016 and 2017.
const NETWORKS: [([u8; 3], &[u8]); 3] =
    [([43, 229, 53], &[13, 14]), ([185, 165, 29], &[69, 197, 198]), ([46, 151, 52], &[37, 61])];

/// Each network works for the whole month: an address guesses for an hour or two, then a neighbour takes over; every
/// third time one that was not seen before, near the others.
fn neighbours(scenes: &mut Scenes, random: &mut Random) {
    for (net, first) in NETWORKS {
        let mut hosts = first.to_vec();
        let mut at = random.between(0, DAY);
        while at < DAYS * DAY {
            if random.chance(330) && hosts.len() < 24 {
                let near = i64::from(hosts[random.between(0, hosts.len() as i64) as usize]);
                hosts.push((near + random.between(-6, 7)).clamp(1, 254) as u8);
            }
            let host = hosts[random.between(0, hosts.len() as i64) as usize];
            let end = at + random.between(HOUR, 2 * HOUR);
            while at < end {
                scenes.guess(Scene::Neighbours, random, at, IpAddr::from([net[0], net[1], net[2], host]));
                at += random.wait(120);
            }
            at += random.wait(2 * HOUR);
        }
    }
}

/// Each of 5,000 addresses belongs to it for five days and tries once in four to eight hours.
fn botnet(scenes: &mut Scenes, random: &mut Random) {
    for number in 0..5_000 {
        let addr = random.either(101 + (number % 8) as u8);
        let mut at = random.between(-4 * DAY, 29 * DAY).max(0) + random.between(0, 4 * HOUR);
        let end = at + 5 * DAY;
        while at < end {
            scenes.guess(Scene::Botnet, random, at, addr);
            at += random.between(4 * HOUR, 8 * HOUR);
        }
    }
}

/// In the third week, for three days: 600 addresses, and each tries an account every six hours or so.
fn spray(scenes: &mut Scenes, random: &mut Random) {
    for _ in 0..600 {
        let addr = random.either(120);
        let mut at = 15 * DAY + random.between(0, 6 * HOUR);
        while at < 18 * DAY {
            let (user, connection) = (random.pick(&ACCOUNTS), scenes.connection());
            scenes.failed(Scene::Spray, at, addr, user, connection);
            at += random.wait(6 * HOUR);
        }
    }
}

/// Forty groups of eight addresses; each address of a group goes through its list in the same order, a try in 26 to 40
/// hours.
fn lists(scenes: &mut Scenes, random: &mut Random) {
    for _ in 0..40 {
        let list: Vec<String> = (0..40).map(|_| random.name()).collect();
        for _ in 0..8 {
            let (addr, mut at) = (random.either(111), random.between(0, DAY));
            for user in &list {
                let connection = scenes.connection();
                scenes.failed(Scene::Lists, at, addr, user, connection);
                at += random.between(26 * HOUR, 40 * HOUR);
            }
        }
    }
}

/// Three hundred addresses in as many networks of one provider; each try, in 26 to 40 hours, is for another name.
fn rented(scenes: &mut Scenes, random: &mut Random) {
    for _ in 0..300 {
        let (addr, mut at) = (random.address(110), random.between(0, 2 * DAY));
        while at < DAYS * DAY {
            let (user, connection) = (random.name(), scenes.connection());
            scenes.failed(Scene::Rented, at, addr, &user, connection);
            at += random.between(26 * HOUR, 40 * HOUR);
        }
    }
}

/// Twenty-two sources a day (57 days of a honeypot, 2018), each with up to four tries within minutes.
fn background(scenes: &mut Scenes, random: &mut Random) {
    for _ in 0..22 * DAYS {
        let (addr, mut at) = (random.either(95), random.between(0, DAYS * DAY));
        for _ in 0..random.between(1, 5) {
            scenes.guess(Scene::Background, random, at, addr);
            at += random.wait(60);
        }
    }
}
