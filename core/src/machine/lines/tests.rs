use super::*;
use crate::event::Scope;
use crate::jail::lines::{LineRules, Reach};
use crate::jail::names::Names;
use crate::jail::policy::Policy;
use crate::jail::replay::{PastBan, Turn};
use crate::jail::{Jail, Judge};
use crate::ledger::Ban;
use crate::machine::ScopeRule;
use crate::net::PrefixSet;
use crate::time::{BanTime, Span};

const START: i64 = 1_000_000;
const DAY: u64 = 86_400;

fn name(text: &str) -> JailName {
    JailName::new(text).unwrap()
}

/// A jail of a fail2ban directory that bans at the first failure; `bans_of`: it counts those in the place of lines.
fn jail(own: &str, (maxretry, bantime): (u32, u64), bans_of: &[&str]) -> Jail {
    let rules = LineRules {
        maxretry,
        findtime: Span::from_secs(DAY),
        bantime: BanTime::For(Span::from_secs(bantime)),
        growth: None,
        ignore: PrefixSet::default(),
        reach: Reach::All,
        maxmatches: 5,
        skips_history: false,
        asks: false,
        resolves: false,
        runs_commands: true,
        bans_of: bans_of.iter().map(|jail| name(jail)).collect(),
        by_attempts: false,
    };
    Jail { name: name(own), policy: Policy::default(), lines: Some(rules) }
}

fn machine(jails: Vec<Jail>) -> Machine {
    let readers = jails.iter().map(|_| Vec::new()).collect();
    Machine::new(Judge::new(jails, Names::default(), PrefixSet::default(), 1_000), readers, ScopeRule::Auto)
}

/// `sshd` and `web` ban for a minute, `recidive` after three of their bans for a week.
fn host() -> Machine {
    machine(vec![
        jail("recidive", (3, 7 * DAY), &["sshd", "web"]),
        jail("sshd", (1, 60), &[]),
        jail("web", (1, 60), &[]),
    ])
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(START + secs)
}

/// One failure in the jail of that index, once what was banned before has ended.
fn fail(machine: &mut Machine, index: JailIndex, secs: i64) -> Vec<Effect> {
    let mut out = Vec::new();
    machine.tick(at(secs), &mut out);
    out.clear();
    let failure = LineFailure { prefix: source(), time: at(secs), user: None };
    machine.line_failure(index, &failure, Phase::Live, at(secs), &mut out);
    out
}

fn source() -> Prefix {
    "192.0.2.7".parse().unwrap()
}

fn banned(out: &[Effect]) -> Vec<(&str, u64)> {
    let bans = out.iter().filter_map(|effect| match effect {
        Effect::Record(Record::Banned(ban)) => Some(ban),
        _ => None,
    });
    let length = |ban: &Ban| ban.until.remaining(ban.since).map_or(0, Span::secs);
    bans.map(|ban| (ban.jail.as_str(), length(ban))).collect()
}

#[test]
fn the_bans_of_all_its_jails_lead_to_a_long_one() {
    let mut machine = host();
    assert_eq!(banned(&fail(&mut machine, 1, 0)), [("sshd", 60)]);
    assert_eq!(banned(&fail(&mut machine, 2, 100)), [("web", 60)]);
    let out = fail(&mut machine, 1, 200);
    assert_eq!(banned(&out), [("sshd", 60), ("recidive", 7 * DAY)]);
    let ban = machine.ledger.of(source()).into_iter().find(|ban| ban.jail == name("recidive")).unwrap();
    assert_eq!((ban.failures, &ban.scope), (3, &Scope::All));
    assert_eq!((machine.counters(0).failures, machine.counters(0).bans), (3, 1));
    let attempts = out.iter().filter(|effect| matches!(effect, Effect::Record(Record::Attempt(_))));
    assert_eq!(attempts.count(), 1, "only sshd's own failure was an attempt");
}

#[test]
fn its_commands_hear_which_bans_led_to_it() {
    let mut machine = host();
    (0..2).for_each(|n| drop(fail(&mut machine, 1, n * 100)));
    let out = fail(&mut machine, 2, 200);
    let evidence = out.iter().find_map(|effect| match effect {
        Effect::Evidence(evidence) if evidence.jail == name("recidive") => Some(&evidence.matches),
        _ => None,
    });
    let told: Vec<&str> = evidence.unwrap().iter().map(SmolStr::as_str).collect();
    assert_eq!(told.len(), 3);
    assert_eq!(told[2], format!("{} [web] Ban 192.0.2.7", at(200)));
}

#[test]
fn bans_further_apart_than_findtime_do_not_add_up() {
    let mut machine = host();
    for n in 0..5 {
        assert_eq!(banned(&fail(&mut machine, 1, n * i64::try_from(DAY).unwrap())), [("sshd", 60)]);
    }
}

#[test]
fn a_ban_by_hand_counts_for_nothing() {
    let mut machine = host();
    (0..2).for_each(|n| drop(fail(&mut machine, 1, n * 100)));
    let by_hand = Machine::manual_ban(
        source(),
        name("sshd"),
        at(200),
        crate::time::End::At(at(260)),
        (String::new(), crate::event::Origin::Manual),
    );
    let mut out = Vec::new();
    assert!(machine.ban(by_hand, &mut out));
    assert_eq!(banned(&out), [("sshd", 60)]);
}

#[test]
fn a_restart_knows_the_bans_that_counted() {
    let turn = |secs, jail: &str, turn| PastBan { time: at(secs), prefix: source(), jail: name(jail), turn };
    let past = [
        turn(0, "sshd", Turn::Began),
        turn(60, "sshd", Turn::Expired),
        turn(100, "web", Turn::Began),
        turn(160, "web", Turn::Expired),
    ];
    let mut machine = host();
    machine.restore(Vec::new(), &[], &past, at(160));
    assert_eq!(banned(&fail(&mut machine, 1, 200)), [("sshd", 60), ("recidive", 7 * DAY)]);

    let used_up = [past.as_slice(), &[turn(200, "sshd", Turn::Began), turn(200, "recidive", Turn::Began)]];
    let lifted = [turn(300, "sshd", Turn::Expired), turn(300, "recidive", Turn::Lifted)];
    let past: Vec<PastBan> = used_up.concat().into_iter().chain(lifted).collect();
    let mut machine = host();
    machine.restore(Vec::new(), &[], &past, at(300));
    assert_eq!(banned(&fail(&mut machine, 1, 400)), [("sshd", 60)], "it begins anew");
}

#[test]
fn jails_that_count_each_others_bans_come_to_an_end() {
    let mut machine = machine(vec![
        jail("longer", (1, 30 * DAY), &["recidive", "sshd"]),
        jail("recidive", (1, 7 * DAY), &["longer", "sshd"]),
        jail("sshd", (1, 60), &[]),
    ]);
    let out = fail(&mut machine, 2, 0);
    assert_eq!(banned(&out), [("sshd", 60), ("longer", 30 * DAY), ("recidive", 7 * DAY)]);
    machine.ledger.set_most(0);
    machine.unban(None, None, at(10), &mut Vec::new());
    assert_eq!(banned(&fail(&mut machine, 2, 20)), [], "nor without room for any");
}
