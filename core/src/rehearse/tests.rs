use super::curve::{Advice, Point, Setting, advise};
use super::good::How;
use super::*;
use crate::event::{Connection, Points};
use crate::jail::names::Names;
use crate::jail::policy::{Ladder, Policy};
use crate::jail::{Jail, Judge};
use crate::machine::ScopeRule;
use crate::net::PrefixSet;
use crate::time::BanTime;
use proptest::prelude::*;

const ATTACKER: &str = "192.0.2.66";
const OWNER: &str = "198.51.100.7";

/// Five points within an hour, an hour's ban; jails `sshd` and `wordpress`.
fn machine(scope: ScopeRule) -> Machine {
    let ladder = Ladder::new(vec![BanTime::For(Span::from_secs(3_600))]).unwrap();
    let policy = Policy { findtime: Span::from_secs(3_600), bantime: ladder, ..Policy::default() };
    let jail = |name| Jail { name: JailName::new(name).unwrap(), policy: policy.clone(), lines: None };
    let names =
        Names::new(["root", "alice"].map(str::to_owned).into(), std::collections::HashSet::new(), false);
    let judge = Judge::new(vec![jail("sshd"), jail("wordpress")], names, PrefixSet::default(), 1_000);
    Machine::new(judge, Vec::new(), scope)
}

fn seen(secs: i64, addr: &str, user: &str, outcome: Outcome) -> Seen {
    let time = Timestamp::from_secs(secs);
    let event = Event {
        stamp: Some(time),
        addr: addr.parse().unwrap(),
        user: Some(user.into()),
        outcome,
        connection: None,
        forwarded: Vec::new(),
    };
    Seen { time, jail: 0, event, is_login_record: false }
}

fn failed(secs: i64, addr: &str, user: &str) -> Seen {
    seen(secs, addr, user, Outcome::Failure { class: Class::KnownUser, kind: 0, attempts: 1 })
}

fn logged_in(secs: i64, addr: &str, user: &str) -> Seen {
    seen(secs, addr, user, Outcome::Success)
}

fn report_of(seen: &[Seen]) -> Report {
    let machine = machine(ScopeRule::All);
    let logins = Logins::of(seen, &machine.judge);
    replay(machine, seen, &logins)
}

/// Three tries for root, two points each: the third one bans.
fn three(from: i64, addr: &str) -> Vec<Seen> {
    (0..3).map(|at| failed(from + at, addr, "root")).collect()
}

#[test]
fn the_attempt_that_bans_is_let_through_and_those_after_it_are_not() {
    let mut records = three(0, ATTACKER);
    records.extend((0..4).map(|at| failed(10 + at, ATTACKER, "root")));
    // An hour later the ban is over.
    records.push(failed(3_700, ATTACKER, "root"));
    records.push(failed(3_701, "203.0.113.9", "alice"));
    let report = report_of(&records);
    let expected =
        Sums { attempts: 9, let_through: 5, bans: 1, offenders: 2, never_banned: 1, good_users_hit: 0 };
    assert_eq!(report.total, expected);
    assert_eq!((report.jails[0].1, report.jails[1].1), (expected, Sums::default()));
    assert_eq!(report.span, Some((Timestamp::from_secs(0), Timestamp::from_secs(3_701))));
}

#[test]
fn a_ban_of_one_jail_stops_attempts_at_another_unless_it_is_limited_to_ports() {
    let mut records = three(0, ATTACKER);
    records.push(Seen { jail: 1, ..failed(10, ATTACKER, "alice") });
    let through = |scope| {
        let machine = machine(scope);
        let logins = Logins::of(&records, &machine.judge);
        replay(machine, &records, &logins).jails[1].1.let_through
    };
    assert_eq!((through(ScopeRule::All), through(ScopeRule::Ports)), (0, 1));
}

#[test]
fn who_logs_in_within_a_day_after_the_ban_began_was_hit() {
    let hit = |after: i64| {
        let mut records = three(0, OWNER);
        records.push(logged_in(after, OWNER, "alice"));
        report_of(&records).good_users.first().map(|hit| (hit.how, hit.user.to_string()))
    };
    let alice = Some((How::WasThere, "alice".to_owned()));
    assert_eq!((hit(60), hit(86_000), hit(90_000)), (alice.clone(), alice, None));
}

#[test]
fn who_is_banned_for_the_account_it_had_logged_in_to_was_hit() {
    let hit = |user: &str| {
        // Somebody logs in meanwhile: the service works, and the ban is not held back.
        let mut records = vec![logged_in(0, OWNER, "alice"), logged_in(995, "203.0.113.1", "bob")];
        records.extend((0..6).map(|at| failed(1_000 + at, OWNER, user)));
        report_of(&records).good_users.first().map(|hit| hit.how)
    };
    assert_eq!((hit("alice"), hit("root")), (Some(How::Mistyped), None));
}

#[test]
fn a_login_that_names_nobody_makes_no_good_user() {
    let mut login = logged_in(60, ATTACKER, "alice");
    login.event.user = None;
    let mut records = three(0, ATTACKER);
    records.push(login);
    assert_eq!(report_of(&records).good_users, []);
}

#[test]
fn who_comes_from_several_addresses_of_one_64_is_one_source() {
    let mut records = three(0, "2001:db8::1");
    records.extend([logged_in(9, "2001:db8::1", "alice"), logged_in(10, "2001:db8::2", "alice")]);
    assert_eq!(report_of(&records).total.good_users_hit, 1);
}

#[test]
fn a_kept_attempt_is_judged_as_the_record_it_came_from() {
    let attempt = Attempt {
        time: Timestamp::from_secs(5),
        jail: JailName::new("sshd").unwrap(),
        addr: ATTACKER.parse().unwrap(),
        user: Some("oracle".into()),
        class: Some(Class::BadUser),
        points: Points(0),
        tries: 1,
        connection: None,
    };
    let report = report_of(&[Seen::of_attempt(0, &attempt)]);
    assert_eq!((report.total.attempts, report.total.bans), (1, 1));
}

fn point(maxretry: u32, hours: u64, let_through: u64, good_users_hit: u64) -> Point {
    let setting = Setting { maxretry: Points(maxretry * 100), findtime: Span::from_secs(hours * 3_600) };
    Point { setting, sums: Sums { attempts: 1_000, let_through, good_users_hit, ..Sums::default() } }
}

fn setting(maxretry: u32, hours: u64) -> Setting {
    Setting { maxretry: Points(maxretry * 100), findtime: Span::from_secs(hours * 3_600) }
}

const PRESENT: Sums =
    Sums { attempts: 1_000, let_through: 600, bans: 0, offenders: 0, never_banned: 0, good_users_hit: 0 };

#[test]
fn the_advice_spares_good_users_first_and_is_mild_among_equals() {
    let points = [
        point(2, 24, 100, 1),
        point(3, 24, 300, 0),
        point(5, 24, 305, 0),
        point(5, 1, 309, 0),
        point(8, 24, 330, 0),
    ];
    let advice = |sums| advise(&points, (&[setting(12, 24)], &sums));
    assert_eq!(advice(PRESENT), Some(Advice::Take(points[2])));
    // As good as the best: it stays.
    assert_eq!(advice(Sums { let_through: 310, ..PRESENT }), Some(Advice::Keep));
    let hits = Sums { let_through: 90, good_users_hit: 1, ..PRESENT };
    assert_eq!(advice(hits), Some(Advice::Take(points[2])));
    assert_eq!(advice(Sums::default()), None);
}

/// Whatever `findtime` 141 of 1,000 are let through at three points, and more at five: one value is changed and no more.
#[test]
fn of_settings_of_equal_effect_the_advice_changes_the_fewest_values() {
    let hours = [1, 6, 24, 168];
    let points: Vec<Point> = hours.map(|hours| [point(3, hours, 141, 0), point(5, hours, 200, 0)]).concat();
    let taken = |jails: &[Setting]| match advise(&points, (jails, &PRESENT)) {
        Some(Advice::Take(point)) => point.setting,
        other => panic!("{other:?}"),
    };
    assert_eq!(taken(&[setting(5, 24)]), setting(3, 24));
    assert_eq!(taken(&[setting(5, 168)]), setting(3, 168));
    // Where none of the curve has the present one the nearest is taken; of several jails most count.
    assert_eq!(taken(&[setting(5, 30)]), setting(3, 24));
    assert_eq!(taken(&[setting(5, 1), setting(5, 1), setting(5, 24)]), setting(3, 1));
    // The other value is kept where that does.
    let points = [point(5, 168, 100, 0), point(3, 6, 100, 0), point(8, 6, 100, 0)];
    assert_eq!(advise(&points, (&[setting(5, 24)], &PRESENT)), Some(Advice::Take(points[0])));
}

proptest! {
    /// What attempts there were does not hang on who was banned, however many lines a connection leaves.
    #[test]
    fn every_policy_sees_the_same_attempts(
        tries in prop::collection::vec((0u8..6, 0u16..3, 1u32..3, 0u32..4, 0i64..900), 1..80),
        maxretry in 1u32..30,
    ) {
        let mut secs = 0;
        let records: Vec<Seen> = tries.into_iter().map(|(host, kind, attempts, pid, pause)| {
            secs += pause;
            let outcome = Outcome::Failure { class: Class::KnownUser, kind, attempts };
            let mut record = seen(secs, &format!("192.0.2.{host}"), "root", outcome);
            record.event.connection = Some(Connection { host: 0, pid: Some(pid), port: None });
            record
        }).collect();
        let sums = |maxretry| {
            let mut jail = machine(ScopeRule::All).judge.jails()[0].clone();
            jail.policy.maxretry = Points(maxretry);
            let judge = Judge::new(vec![jail], Names::default(), PrefixSet::default(), 1_000);
            replay(Machine::new(judge, Vec::new(), ScopeRule::All), &records, &Logins::default()).total
        };
        let (strict, mild) = (sums(100 * maxretry), sums(u32::MAX));
        prop_assert_eq!((strict.attempts, strict.offenders), (mild.attempts, mild.offenders));
        prop_assert!(strict.let_through <= mild.let_through);
        prop_assert_eq!((mild.let_through, mild.bans), (mild.attempts, 0));
    }
}
