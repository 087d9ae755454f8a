use proptest::prelude::*;

use super::*;
use crate::filter::{Clock, Filter, catalog};
use crate::jail::names::Names;
use crate::jail::policy::Policy;
use crate::jail::{Jail, Judge};
use crate::machine::{Effect, Extractor, Machine, Notice, Phase, ScopeRule};
use crate::net::PrefixSet;

const PUBLIC: &str = "203.0.113.80";
const PRIVATE: &str = "172.17.0.1";
const DAY: i64 = 86_400;

fn jail() -> JailName {
    JailName::new("wordpress").unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + secs)
}

/// A log that is read live.
#[derive(Default)]
struct Web {
    proxies: Proxies,
    never: NeverBan,
    trust: Trust,
    changes: Vec<Change>,
}

impl Web {
    fn line(&mut self, addr: &str, status: u16, verdict: &Verdict, secs: i64) {
        let line =
            format!("{addr} - - [22/Nov/2026:07:00:16 +0000] \"GET / HTTP/1.1\" {status} 12 \"-\" \"x\"");
        let known = Known { never: &self.never, trust: &self.trust };
        self.proxies.line(&jail(), (line.as_bytes(), verdict), (at(secs), true), known, &mut self.changes);
    }

    /// Good requests of one address, spread evenly.
    fn good(&mut self, addr: &str, count: i64, from: i64, to: i64) {
        (0..count).for_each(|n| self.line(addr, 200, &Verdict::Miss, from + (to - from) * n / count));
    }

    /// A good request each of that many visitors.
    fn visitors(&mut self, count: u32, secs: i64) {
        (0..count).for_each(|n| {
            let addr = format!("198.18.{}.{}", n / 250, n % 250 + 1);
            self.line(&addr, 304, &Verdict::Miss, secs);
        });
    }

    fn failures(&mut self, addr: &str, count: usize, secs: i64) {
        let event = crate::event::Event {
            stamp: None,
            addr: addr.parse().unwrap(),
            user: None,
            outcome: Outcome::Failure { class: crate::event::Class::KnownUser, kind: 0, attempts: 1 },
            connection: None,
            forwarded: Vec::new(),
        };
        (0..count).for_each(|_| self.line(addr, 200, &Verdict::Event(event.clone()), secs));
    }

    fn standing(&self, addr: &str, secs: i64) -> Standing {
        let known = Known { never: &self.never, trust: &self.trust };
        let log = self.proxies.logs.get(&jail());
        log.map_or(Standing::Visitor, |log| log.standing(addr.parse().unwrap(), at(secs), known).0)
    }

    /// What was said, in order.
    fn said(&self) -> Vec<(String, Standing)> {
        self.changes.iter().map(|(_, addr, standing, _)| (addr.to_string(), *standing)).collect()
    }
}

#[test]
fn a_thousand_front_pages_on_a_quiet_site_buy_nothing_but_a_warning() {
    let mut web = Web::default();
    web.visitors(10, 0);
    web.good(PUBLIC, 1000, 0, 600);
    assert_eq!(web.standing(PUBLIC, 600), Standing::Suspected);
    assert_eq!(web.said(), [(PUBLIC.to_owned(), Standing::Suspected)]);
}

#[test]
fn a_flood_for_days_buys_nothing_on_a_site_that_others_visit() {
    let mut web = Web::default();
    for half in 0..4 {
        web.visitors(400, half * DAY / 2);
        web.good(PUBLIC, 20_000, half * DAY / 2, (half + 1) * DAY / 2);
    }
    assert_eq!(web.standing(PUBLIC, 2 * DAY), Standing::Suspected);
}

#[test]
fn a_steady_address_that_hardly_anybody_passes_by_is_presumed_after_two_whole_halves() {
    let mut web = Web::default();
    web.good(PUBLIC, 600, 0, DAY - 1);
    web.visitors(20, DAY - 1);
    assert_eq!(web.standing(PUBLIC, DAY - 1), Standing::Suspected);
    web.good(PUBLIC, 64, DAY, DAY + 600);
    assert_eq!(web.standing(PUBLIC, DAY + 600), Standing::Presumed);
    assert!(web.said().contains(&(PUBLIC.to_owned(), Standing::Presumed)));
}

#[test]
fn a_half_day_of_silence_begins_the_proof_anew() {
    let mut web = Web::default();
    web.good(PUBLIC, 2000, 0, DAY / 2);
    web.good(PUBLIC, 2000, DAY + 60, DAY + 3600);
    assert_eq!(web.standing(PUBLIC, DAY + 3600), Standing::Suspected);
}

#[test]
fn guessing_ends_what_was_bought() {
    let mut web = Web::default();
    web.good(PUBLIC, 3000, 0, DAY + DAY / 2);
    assert_eq!(web.standing(PUBLIC, DAY + DAY / 2), Standing::Presumed);
    web.failures(PUBLIC, 400, DAY + DAY / 2);
    assert_eq!(web.standing(PUBLIC, DAY + DAY / 2), Standing::Presumed);
    web.failures(PUBLIC, 400, DAY + DAY / 2);
    assert_eq!(web.standing(PUBLIC, DAY + DAY / 2), Standing::Suspected);
}

#[test]
fn a_private_address_with_most_of_the_traffic_is_presumed_at_once_whatever_comes_through_it() {
    for addr in [PRIVATE, "10.0.0.9", "192.168.1.2", "100.64.3.4", "fd00::80"] {
        let mut web = Web::default();
        web.visitors(300, 0);
        web.good(addr, 640, 0, 600);
        web.failures(addr, 5000, 600);
        assert_eq!(web.standing(addr, 600), Standing::Presumed, "{addr}");
    }
}

#[test]
fn somebody_who_logged_in_through_it_vouches_for_it() {
    let mut web = Web::default();
    web.trust.good_login(PUBLIC.parse().unwrap(), None, at(0));
    web.good(PUBLIC, 640, 0, 600);
    assert_eq!(web.standing(PUBLIC, 600), Standing::Presumed);
    web.good(PUBLIC, 640, 31 * DAY, 31 * DAY + 600);
    assert_eq!(web.standing(PUBLIC, 31 * DAY + 600), Standing::Suspected);
}

#[test]
fn few_requests_and_half_of_them_prove_nothing() {
    let mut web = Web::default();
    web.good(PRIVATE, 499, 0, 600);
    assert_eq!(web.standing(PRIVATE, 600), Standing::Visitor);
    let mut web = Web::default();
    web.good(PRIVATE, 400, 0, 600);
    web.visitors(400, 600);
    assert_eq!(web.standing(PRIVATE, 600), Standing::Visitor);
}

#[test]
fn errors_and_who_is_never_banned_do_not_count() {
    let mut web = Web {
        never: NeverBan::new(vec![("10.9.9.0/24".parse().unwrap(), super::super::never::Why::TrustedProxy)]),
        ..Web::default()
    };
    (0..1000).for_each(|_| web.line(PRIVATE, 404, &Verdict::Miss, 0));
    web.good("127.0.0.1", 10_000, 0, 600);
    web.good("10.9.9.9", 10_000, 0, 600);
    assert_eq!(web.standing(PRIVATE, 600), Standing::Visitor);
    web.good(PRIVATE, 640, 600, 700);
    assert_eq!(web.standing(PRIVATE, 700), Standing::Presumed);
    assert_eq!(web.said(), [(PRIVATE.to_owned(), Standing::Presumed)]);
}

#[test]
fn a_proxy_that_is_gone_for_two_days_is_a_visitor_again() {
    let mut web = Web::default();
    web.good(PRIVATE, 640, 0, 600);
    web.good("192.168.7.7", 640, 2 * DAY, 2 * DAY + 600);
    assert_eq!(web.standing(PRIVATE, 2 * DAY + 600), Standing::Visitor);
    assert!(web.said().contains(&(PRIVATE.to_owned(), Standing::Visitor)), "{:?}", web.said());
}

#[test]
fn a_presumption_survives_a_restart_for_a_while() {
    let mut web = Web::default();
    web.good(PRIVATE, 640, 0, 600);
    let kept = web.proxies.kept();
    assert_eq!(kept, format!("wordpress {PRIVATE}\n"));
    let mut after = Web::default();
    after.proxies.restore(&format!("garbage\nx y z\n{kept}"), at(700));
    assert_eq!(after.proxies.kept(), kept);
    assert_eq!(after.standing(PRIVATE, 701), Standing::Presumed);
    after.good("192.168.7.7", 64, 800, 900);
    assert_eq!(after.said()[0], (PRIVATE.to_owned(), Standing::Presumed), "it is said again");
    assert_eq!(after.standing(PRIVATE, 700 + 2 * DAY), Standing::Visitor);
}

#[test]
fn a_million_visitors_hide_no_proxy_and_take_no_room() {
    let mut half = Half::default();
    let proxy: IpAddr = PUBLIC.parse().unwrap();
    for n in 0..300_000u32 {
        half.good(IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        half.good(proxy);
        half.good(proxy);
    }
    assert!(half.is_led_by(proxy));
    assert_eq!(half.counters.len(), COUNTERS);
    assert!(half.seen.count() > MAX_OTHERS);
}

#[test]
fn reads_what_apache_and_nginx_write_and_nothing_else() {
    let good = |line: &str| Request::parse(line.as_bytes()).map(|r| (r.addr.to_string(), r.is_good));
    let tail = "[22/Nov/2026:07:00:16 +0100]";
    for (line, expected) in [
        (format!("192.0.2.7 - - {tail} \"GET / HTTP/1.1\" 200 5"), Some(("192.0.2.7", true))),
        (format!("::ffff:192.0.2.7 - bob {tail} \"GET / HTTP/1.1\" 301 5"), Some(("192.0.2.7", true))),
        (
            format!("blog.test:443 2001:db8::7 - - {tail} \"-\" 408 0 \"-\" \"-\""),
            Some(("2001:db8::7", false)),
        ),
        (
            format!("192.0.2.7 - - {tail} \"GET /\\\" 200 \\\\\" 404 5 \"\" 200 \""),
            Some(("192.0.2.7", false)),
        ),
        (format!("192.0.2.7 - - {tail} \"GET / HTTP/1.1"), None),
        (format!("192.0.2.7 - - {tail} \"GET /\\"), None),
        (format!("192.0.2.7 - - {tail} \"GET /\" 20"), None),
        (format!("example.test - - {tail} \"GET / HTTP/1.1\" 200 5"), None),
        ("Nov 22 07:00:16 host sshd[7]: Accepted password for a from 192.0.2.7".to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(good(&line), expected.map(|(addr, is_good)| (addr.to_owned(), is_good)), "{line}");
    }
    let line = format!("192.0.2.7 - - {tail} \"GET / HTTP/1.1\" 200 5");
    assert_eq!(Request::parse(line.as_bytes()).unwrap().stamp(), Some(Timestamp::from_secs(1_795_327_216)));
}

/// A machine with the built-in filter; the proxy has been there since yesterday.
fn machine(proxy: &str) -> (Machine, Vec<Effect>) {
    let filter = Filter::compile(&catalog::builtin("wordpress").unwrap()).unwrap();
    let jails = vec![Jail { name: jail(), policy: Policy::default(), lines: None }];
    let names = Names::new(std::collections::HashSet::new(), std::collections::HashSet::new(), false);
    let judge = Judge::new(jails, names, PrefixSet::default(), 1000);
    let mut machine = Machine::new(judge, vec![vec![Extractor::Text(Box::new(filter))]], ScopeRule::All);
    let mut out = Vec::new();
    for n in 0..640 {
        let stamp = format!("21/Nov/2026:{:02}:{:02}:00 +0000", n / 60, n % 60);
        let line = format!("{proxy} - - [{stamp}] \"GET /{n} HTTP/1.1\" 200 9 \"-\" \"x\"");
        judge_line(&mut machine, &line, Phase::History, &mut out);
    }
    (machine, out)
}

fn judge_line(machine: &mut Machine, line: &str, phase: Phase, out: &mut Vec<Effect>) {
    let clock = Clock { now: Timestamp::from_secs(1_795_330_800), zone: jiff::tz::TimeZone::UTC };
    let line = crate::event::Line { bytes: line.as_bytes(), stamp: None };
    machine.line((0, 0), &line, phase, &clock, out);
}

/// Ten failed logins; the number of bans.
fn guess(machine: &mut Machine, addr: &str, out: &mut Vec<Effect>) -> usize {
    for second in 10..20 {
        let stamp = format!("22/Nov/2026:07:00:{second} +0000");
        let line = format!("{addr} - - [{stamp}] \"POST /wp-login.php HTTP/1.1\" 200 9 \"-\" \"x\"");
        judge_line(machine, &line, Phase::Live, out);
    }
    out.iter().filter(|effect| matches!(effect, Effect::Say(Notice::Banned(_)))).count()
}

#[test]
fn the_wordpress_jail_does_not_ban_a_presumed_proxy_and_says_so() {
    let (mut machine, mut out) = machine(PRIVATE);
    let said =
        |effect: &Effect| matches!(effect, Effect::Say(Notice::Proxy((_, _, Standing::Presumed, 100))));
    assert_eq!(out.iter().filter(|effect| said(effect)).count(), 1);
    assert_eq!(guess(&mut machine, PRIVATE, &mut out), 0);
    assert_eq!(guess(&mut machine, "198.51.100.7", &mut out), 1, "others are banned as ever");
}

#[test]
fn the_wordpress_jail_bans_who_only_requested_a_lot() {
    let (mut machine, mut out) = machine(PUBLIC);
    let said =
        |effect: &Effect| matches!(effect, Effect::Say(Notice::Proxy((_, _, Standing::Suspected, 100))));
    assert_eq!(out.iter().filter(|effect| said(effect)).count(), 1);
    assert_eq!(guess(&mut machine, PUBLIC, &mut out), 1);
}

proptest! {
    #[test]
    fn counts_are_never_too_high_and_a_leader_is_always_found(
        senders in prop::collection::vec(0u8..=255, 1..600),
    ) {
        let mut half = Half::default();
        let addr = |n: u8| IpAddr::from([192, 0, 2, n]);
        senders.iter().for_each(|n| half.good(addr(*n)));
        for n in 0..=255 {
            let true_count = senders.iter().filter(|sender| **sender == n).count() as u64;
            prop_assert!(half.of(addr(n)).0 <= true_count);
            if true_count * 2 > senders.len() as u64 {
                prop_assert!(half.of(addr(n)).0 > 0);
            }
        }
    }

    #[test]
    fn no_line_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), text in "[\\[\\]\" \\\\0-9.]{0,60}") {
        Request::parse(&bytes);
        Request::parse(format!("192.0.2.7 {text}").as_bytes());
    }
}
