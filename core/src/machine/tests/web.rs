//! Logins that name nobody, as a web form's: what they are worth, and what whoever forges them gets.

use super::*;
use crate::event::JailName;
use crate::jail::alarms::Alarm;
use crate::jail::outage::{Change as Outage, Sign};
use crate::jail::policy::Ladder;
use crate::jail::replay::{PastBan, Turn};
use crate::jail::widen;
use crate::machine::alerts::Reason;
use crate::net::Prefix;

const DAY: i64 = 86_400;
const NOW: i64 = 100 * DAY;
const OWNER: &str = "203.0.113.9";

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn wordpress() -> JailName {
    JailName::new("wordpress").unwrap()
}

fn site() -> Machine {
    let names = Names::new(HashSet::new(), HashSet::new(), false);
    let policy = Policy { bantime: Ladder::public(), ..Policy::default() };
    let jails = vec![Jail { name: wordpress(), policy, lines: None }];
    let judge = Judge::new(jails, names, PrefixSet::default(), 1_000);
    let mut machine = Machine::new(judge, vec![Vec::new()], ScopeRule::All);
    machine.set_widening([(wordpress(), widen::BUDGET)]);
    machine
}

fn answer(addr: &str, outcome: Outcome, secs: i64) -> Event {
    let addr = addr.parse().unwrap();
    Event { stamp: Some(at(secs)), addr, user: None, outcome, connection: None, forwarded: Vec::new() }
}

/// The form lets somebody in.
fn log_in(machine: &mut Machine, addr: &str, secs: i64) -> Vec<Effect> {
    let mut out = Vec::new();
    machine.event(0, &answer(addr, Outcome::Success, secs), Phase::Live, at(secs), &mut out);
    machine.tick(at(secs), &mut out);
    out
}

/// The form comes back so often.
fn fail(machine: &mut Machine, addr: &str, tries: usize, secs: i64) -> Vec<Effect> {
    let outcome = Outcome::Failure { class: Class::KnownUser, kind: 0, attempts: 1 };
    let mut out = Vec::new();
    for _ in 0..tries {
        machine.event(0, &answer(addr, outcome, secs), Phase::Live, at(secs), &mut out);
    }
    out
}

/// A site that people come to: logins four, three and two days ago.
fn visited(people: &[&str]) -> Machine {
    let mut machine = site();
    for (days, addr) in [4, 3, 2].into_iter().flat_map(|days| people.iter().map(move |addr| (days, addr))) {
        log_in(&mut machine, addr, NOW - days * DAY);
    }
    machine
}

fn bans(machine: &Machine) -> Vec<(String, u64)> {
    let bans = machine.ledger.iter();
    let span = |ban: &Ban| ban.until.timestamp().map_or(0, |end| end.since(ban.since).secs());
    bans.map(|ban| (ban.prefix.short(), span(&ban))).collect()
}

fn outages(out: &[Effect]) -> Vec<Outage> {
    let told = out.iter().filter_map(|effect| match effect {
        Effect::Say(Notice::Alarm(Alarm::Outage(change))) => Some(change.clone()),
        _ => None,
    });
    told.collect()
}

const PEOPLE: [&str; 4] = ["203.0.113.9", "203.0.113.21", "198.51.100.7", "192.0.2.77"];

/// Whoever logged in last did a second before; then all fail ten times in turn.
fn retry(machine: &mut Machine, people: &[&str]) -> Vec<Effect> {
    log_in(machine, people[0], NOW);
    (0..10).flat_map(|_| people.iter()).flat_map(|addr| fail(machine, addr, 1, NOW + 1)).collect()
}

#[test]
fn web_owners_who_retry_a_second_after_a_login_are_told_of_and_not_banned() {
    let mut machine = visited(&PEOPLE);
    let out = retry(&mut machine, &PEOPLE);
    assert_eq!(bans(&machine), []);
    let began = Outage::Began(wordpress(), PEOPLE[0].parse().unwrap(), Sign::Owners(4));
    assert_eq!(outages(&out), [began]);
}

#[test]
fn two_web_owners_are_enough_where_nobody_else_comes_and_not_where_others_do() {
    let mut machine = visited(&PEOPLE[..2]);
    let out = retry(&mut machine, &PEOPLE[..2]);
    assert_eq!((bans(&machine), outages(&out).len()), (Vec::new(), 1));
    let mut machine = visited(&PEOPLE);
    let out = retry(&mut machine, &PEOPLE[..2]);
    assert_eq!((bans(&machine).len(), outages(&out).len()), (2, 0));
}

#[test]
fn an_owner_who_gets_in_is_no_longer_one_who_fails() {
    let mut machine = visited(&PEOPLE);
    retry(&mut machine, &PEOPLE);
    let told: Vec<_> =
        PEOPLE.iter().flat_map(|addr| outages(&log_in(&mut machine, addr, NOW + 60))).collect();
    assert_eq!(told, [Outage::Ended(wordpress())]);
}

#[test]
fn the_first_ban_of_a_regular_web_place_is_short_and_the_second_is_a_strangers() {
    let mut machine = visited(&[OWNER]);
    log_in(&mut machine, "192.0.2.1", NOW);
    log_in(&mut machine, OWNER, NOW);
    fail(&mut machine, OWNER, 5, NOW + 1);
    assert_eq!(bans(&machine), [(OWNER.to_owned(), 600)]);
    machine.tick(at(NOW + 601), &mut Vec::new());
    fail(&mut machine, OWNER, 5, NOW + 601);
    assert_eq!(bans(&machine), [(OWNER.to_owned(), 86_400)], "the second step of a stranger's");
    // One login, or two of one day, can be had in a moment.
    fail(&mut machine, "192.0.2.1", 5, NOW + 602);
    assert!(bans(&machine).contains(&("192.0.2.1".to_owned(), 3_600)), "{:?}", bans(&machine));
}

#[test]
fn no_network_is_banned_over_a_regular_web_place_and_it_is_told() {
    let mut machine = visited(&[OWNER]);
    let mut out = fail(&mut machine, "203.0.113.13", 5, NOW);
    out.extend(fail(&mut machine, "203.0.113.14", 5, NOW + 1));
    assert_eq!(bans(&machine).len(), 2, "{:?}", bans(&machine));
    let told: Vec<_> =
        machine.alerts(at(NOW + 1)).map(|alert| (alert.prefix.short(), alert.reason)).collect();
    let last = Reason::GoodLogins(1, OWNER.parse().unwrap(), at(NOW - 2 * DAY));
    assert_eq!(told, [("203.0.113.8/29".to_owned(), last)]);
    let found = |prefix: &str| machine.good_logins_in(prefix.parse().unwrap(), at(NOW));
    assert_eq!(found("203.0.113.0/24"), Some((1, OWNER.parse().unwrap(), at(NOW - 2 * DAY))));
    assert_eq!(found("203.0.114.0/24"), None);
    assert_eq!(machine.good_logins_in("203.0.113.0/24".parse().unwrap(), at(NOW + 29 * DAY)), None);
}

#[test]
fn one_login_that_names_nobody_spares_no_network() {
    let mut machine = site();
    log_in(&mut machine, OWNER, NOW - 2 * DAY);
    log_in(&mut machine, OWNER, NOW - 2 * DAY + 3_600);
    ["203.0.113.13", "203.0.113.14"].iter().for_each(|addr| drop(fail(&mut machine, addr, 5, NOW)));
    assert!(bans(&machine).iter().any(|(prefix, _)| prefix == "203.0.113.8/29"), "{:?}", bans(&machine));
    assert_eq!(machine.alerts(at(NOW)).count(), 0);
}

#[test]
fn logins_of_before_make_a_web_place_regular_and_narrow_a_network_at_once() {
    let mut machine = site();
    ["203.0.113.13", "203.0.113.14"].iter().for_each(|addr| drop(fail(&mut machine, addr, 5, NOW)));
    let mut out = Vec::new();
    for days in [2, 4] {
        let login = answer(OWNER, Outcome::Success, NOW - days * DAY);
        machine.learn(&wordpress(), &login, at(NOW), at(NOW + 1), &mut out).unwrap();
    }
    machine.tick(at(NOW + 1), &mut out);
    assert_eq!(bans(&machine).len(), 2, "{:?}", bans(&machine));
    let last = (1, OWNER.parse().unwrap(), at(NOW - 2 * DAY));
    assert_eq!(machine.good_logins_in("203.0.113.8/29".parse().unwrap(), at(NOW)), Some(last));
}

#[test]
fn a_restart_in_an_outage_of_web_owners_changes_nothing_that_is_told_or_banned() {
    let mut all: Vec<(i64, &str, bool)> = [4, 3, 2]
        .into_iter()
        .flat_map(|days| PEOPLE[..3].iter().map(move |addr| (NOW - days * DAY, *addr, true)))
        .collect();
    all.push((NOW, PEOPLE[0], true));
    let turns = (1..=24).flat_map(|turn| PEOPLE[..2].iter().map(move |addr| (NOW + turn, *addr, false)));
    all.extend(turns.collect::<Vec<_>>());
    all.push((NOW + 60, PEOPLE[2], true));
    let play = |machine: &mut Machine, (when, addr, got_in): &(i64, &str, bool)| match got_in {
        true => log_in(machine, addr, *when),
        false => fail(machine, addr, 1, *when),
    };
    let told = |out: &[Effect]| -> Vec<Effect> {
        let tells = |effect: &&Effect| {
            matches!(effect, Effect::Say(Notice::Alarm(Alarm::Outage(_)) | Notice::Banned(_)))
        };
        out.iter().filter(tells).cloned().collect()
    };
    for restart in 0..all.len() {
        let (before, after) = all.split_at(restart);
        let mut stayed = site();
        let out: Vec<Effect> = before.iter().flat_map(|seen| play(&mut stayed, seen)).collect();
        let attempts: Vec<_> = out
            .iter()
            .filter_map(|effect| match effect {
                Effect::Record(Record::Attempt(attempt)) => Some(attempt.clone()),
                _ => None,
            })
            .collect();
        let bans: Vec<Ban> = stayed.ledger.iter().collect();
        let past =
            |ban: &Ban| PastBan { time: ban.since, prefix: ban.prefix, jail: wordpress(), turn: Turn::Began };
        let turns: Vec<PastBan> = bans.iter().map(past).collect();
        let mut again = site();
        again.restore(bans, &attempts, &turns, before.last().map_or(at(0), |(when, ..)| at(*when)));
        let [stayed, again] = [&mut stayed, &mut again]
            .map(|machine| -> Vec<Effect> { after.iter().flat_map(|seen| play(machine, seen)).collect() });
        assert_eq!(told(&again), told(&stayed), "restarted before {:?}", after[0]);
    }
}

#[test]
fn forged_logins_of_a_whole_network_spare_a_bounded_number_of_places() {
    let mut machine = site();
    for when in [NOW - 2 * DAY, NOW - DAY] {
        (0..500).for_each(|net| drop(log_in(&mut machine, &format!("2001:db8:0:{net:x}::1"), when)));
    }
    let network: Prefix = "2001:db8::/48".parse().unwrap();
    assert_eq!(machine.good_logins_in(network, at(NOW)).map(|(count, ..)| count), Some(64));
}
