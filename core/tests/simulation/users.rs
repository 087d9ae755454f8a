//! Thirty days of people who belong here: they mistype, travel, and get new addresses from their providers.
//!
//! A sitting is what somebody does to log in. The first password fails in 8 of 100; a failed one is followed by another
//! failure in 35 of 100 (a wrong keyboard, the password of another host), and after three ssh gives up and they look
//! the password up: then 10 of 100. In 1 of 100 sittings with failures they leave it at that until later. In 2 of 100
//! they mistype their name. One in five has IPv6, with another address each day. Nothing is capped: who fails often is as often in here as chance has it.

use std::net::IpAddr;

use crate::random::Random;
use crate::scenes::{DAY, DAYS, HOUR, Scene, Scenes};

/// Accounts of this host.
pub const ACCOUNTS: [&str; 40] = [
    "alice", "andreas", "anneke", "bernd", "boris", "carla", "chen", "dagmar", "david", "elena", "emil",
    "farida", "felix", "gesine", "goran", "hanna", "henrik", "ingrid", "ismail", "jonas", "jutta", "katrin",
    "kwame", "lars", "leonie", "magda", "moritz", "nadia", "niklas", "olga", "ottmar", "paula", "quentin",
    "regina", "ruben", "saskia", "thorben", "ursula", "viktor", "yasmin",
];

/// The first fifteen share the address of one office; the last five travel.
const OFFICE: usize = 15;
const TRAVELLERS: usize = 35;

/// Where somebody is on each day.
fn places(random: &mut Random, number: usize) -> Vec<IpAddr> {
    if number < OFFICE {
        return vec![IpAddr::from([80, 1, 2, 3]); DAYS as usize];
    }
    let (mut at, mut until) = (random.either(81), random.between(3, 11));
    let mut places = Vec::new();
    for day in 0..DAYS {
        if day >= until {
            // The provider gives another address, or a train leaves for another town.
            at = random.either(if number >= TRAVELLERS { 83 } else { 82 });
            until = day + if number >= TRAVELLERS { random.between(1, 4) } else { random.between(3, 11) };
        }
        places.push(random.host_of(at));
    }
    places
}

/// All sittings of all people.
pub fn people(scenes: &mut Scenes, random: &mut Random) {
    all(scenes, random, 0);
}

/// The same, but in 15 of 1,000 sittings they forget to give a name, so that the one they have on their own machine is
/// tried, wherever they are, and in 5 they try root first.
pub fn forgetful(scenes: &mut Scenes, random: &mut Random) {
    all(scenes, random, 20);
}

fn all(scenes: &mut Scenes, random: &mut Random, forget: i64) {
    for (number, user) in ACCOUNTS.iter().enumerate() {
        let elsewhere = if forget > 0 { random.name() } else { String::new() };
        for (day, at) in (0..DAYS).zip(places(random, number)) {
            if day % 7 >= 5 {
                continue;
            }
            for _ in 0..random.between(1, 5) {
                let start = day * DAY + random.between(8 * HOUR, 19 * HOUR);
                let wrong = match random.between(0, 1_000) {
                    0..20 => Some(mistyped(random, user)),
                    20..25 if forget > 0 => Some("root".to_owned()),
                    number if (25..20 + forget).contains(&number) => Some(elsewhere.clone()),
                    _ => None,
                };
                sitting(scenes, random, (user, at), (start, wrong));
            }
        }
    }
}

/// `wrong`: a name that is tried first.
fn sitting(
    scenes: &mut Scenes,
    random: &mut Random,
    (user, at): (&str, IpAddr),
    (start, wrong): (i64, Option<String>),
) {
    let (mut time, mut failures) = (start, 0);
    let mut connection = scenes.connection();
    if let Some(name) = wrong {
        // One connection, one password, then they see it.
        scenes.failed(Scene::Users, time, at, &name, connection);
        (time, connection) = (time + random.between(5, 40), scenes.connection());
    }
    loop {
        let fails = match failures {
            0 => 80,
            1 | 2 => 350,
            _ => 100,
        };
        if !random.chance(fails) {
            return scenes.logged_in(time, at, user, connection);
        }
        scenes.failed(Scene::Users, time, at, user, connection);
        failures += 1;
        time += random.between(4, 15);
        if failures % 3 == 0 {
            if random.chance(10) {
                return;
            }
            (time, connection) = (time + random.between(60, 600), scenes.connection());
        }
    }
}

/// One edit off: two neighbouring letters swapped, one doubled, one left out, or a wrong one, each as often.
fn mistyped(random: &mut Random, user: &str) -> String {
    let mut letters: Vec<char> = user.chars().collect();
    let at = random.between(0, letters.len() as i64 - 1) as usize;
    match random.between(0, 4) {
        0 if letters[at] != letters[at + 1] => letters.swap(at, at + 1),
        0 | 1 => letters.insert(at, letters[at]),
        2 => drop(letters.remove(at)),
        _ => letters[at] = if letters[at] == 'z' { 'a' } else { char::from(letters[at] as u8 + 1) },
    }
    letters.into_iter().collect()
}
