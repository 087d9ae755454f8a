//! Attackers are banned after exactly the attempts that the policy says, whichever source tells of them.
//!
//! A case is an attacker who tries passwords connection by connection. After each connection, once everything
//! about it has been judged, the count has to be exact; the last connection has to bring the ban, and the ban has
//! to name the exact number of attempts.

use std::thread;

use crate::lab::{
    Attacker, Logging, Outcome, SOON, Scene, SceneOptions, Session, Try, say_skipped, sshd_writes_btmp,
};

/// An attacker and what becomes of them.
struct Case {
    from: &'static str,
    /// What is banned.
    prefix: &'static str,
    user: &'static str,
    /// Passwords over each connection; the ban falls during the last one.
    passwords: &'static [u32],
    /// What an attempt is worth.
    points: f64,
    /// The attempt that brings the ban.
    banned_at: u64,
}

const fn case(
    from: &'static str,
    prefix: &'static str,
    user: &'static str,
    passwords: &'static [u32],
    points: f64,
    banned_at: u64,
) -> Case {
    Case { from, prefix, user, passwords, points, banned_at }
}

/// The default: 5 points; root 2, unknown names 3, notorious ones 5, accounts 1.
const DEFAULT: [Case; 7] = [
    case("198.51.100.7", "198.51.100.7/32", "root", &[1, 1, 1], 2.0, 3),
    case("2001:db8:1::10", "2001:db8:1::/64", "root", &[1, 1, 1], 2.0, 3),
    case("198.51.100.8", "198.51.100.8/32", "root", &[2, 1], 2.0, 3),
    case("203.0.113.7", "203.0.113.7/32", "ulrike", &[1, 1], 3.0, 2),
    case("203.0.113.8", "203.0.113.8/32", "oracle", &[1], 5.0, 1),
    case("2001:db8:2:3::10", "2001:db8:2:3::/64", "alice", &[2, 2, 1], 1.0, 5),
    case("203.0.113.9", "203.0.113.9/32", "bob", &[3, 2], 1.0, 5),
];

/// Plain counting: three attempts of whatever kind.
const PLAIN: [Case; 6] = [
    case("198.51.100.7", "198.51.100.7/32", "root", &[1, 1, 1], 1.0, 3),
    case("2001:db8:1::10", "2001:db8:1::/64", "alice", &[1, 1, 1], 1.0, 3),
    case("198.51.100.8", "198.51.100.8/32", "bob", &[2, 1], 1.0, 3),
    case("203.0.113.7", "203.0.113.7/32", "ulrike", &[1, 1, 1], 1.0, 3),
    case("203.0.113.8", "203.0.113.8/32", "oracle", &[2, 1], 1.0, 3),
    case("2001:db8:2:3::10", "2001:db8:2:3::/64", "nagios", &[1, 2], 1.0, 3),
];

const PLAIN_CONFIG: &str = "maxretry = 3\n\
    points = { bad_user = 1, unknown_user = 1, root = 1, known_user = 1, good_user = 1, probe = 1, scan = 1, penalty = 1, web = 1 }\n";

/// One test for each way of logging and of counting.
macro_rules! bans_fall {
    ($($name:ident: $logging:ident, $config:expr, $cases:expr;)*) => {
        $(#[test]
        fn $name() {
            play_all(Logging::$logging, $config, $cases);
        })*
    };
}

bans_fall! {
    bans_fall_at_the_attempt_that_default_points_say_from_the_log_file: Rsyslog, "", &DEFAULT;
    bans_fall_at_the_attempt_that_default_points_say_from_the_journal: Journald, "", &DEFAULT;
    bans_fall_at_the_attempt_that_default_points_say_from_btmp: BtmpOnly, "", &DEFAULT;
    bans_fall_at_the_third_attempt_of_plain_counting_from_the_log_file: Rsyslog, PLAIN_CONFIG, &PLAIN;
    bans_fall_at_the_third_attempt_of_plain_counting_from_the_journal: Journald, PLAIN_CONFIG, &PLAIN;
    bans_fall_at_the_third_attempt_of_plain_counting_from_btmp: BtmpOnly, PLAIN_CONFIG, &PLAIN;
}

#[test]
fn a_connection_that_tries_until_it_is_thrown_out_counts_each_password_once() {
    const FROM: [(&str, &str); 4] = [
        ("198.51.100.7", "alice"),
        ("198.51.100.8", "root"),
        ("198.51.100.9", "ulrike"),
        ("2001:db8:1::10", "oracle"),
    ];
    for logging in [Logging::Rsyslog, Logging::BtmpOnly, Logging::Journald] {
        let config = format!("maxretry = 100\n{}", backend(logging));
        in_two_worlds(logging, &config, &["MaxAuthTries 3"], |scene| {
            let tries = |user| Try { user, prompts: 9, ..Try::default() };
            let begin = |(from, user)| scene.world.attacker(from).start_login(&tries(user));
            for mut session in FROM.map(begin) {
                assert_eq!(session.outcome(), Outcome::Denied);
            }
            scene.settle();
            for (from, user) in FROM {
                assert_eq!(scene.daemon.counted(from).1, 3, "{from} {user}:\n{}", scene.syslog.text());
                assert_eq!(scene.daemon.attempts_of(from), 3, "{from} {user}");
            }
        });
    }
}

fn backend(logging: Logging) -> &'static str {
    if logging == Logging::BtmpOnly { "[jail.sshd]\nbackend = \"btmp\"\n" } else { "" }
}

fn play_all(logging: Logging, config: &str, cases: &'static [Case]) {
    let config = format!("{config}{}", backend(logging));
    in_two_worlds(logging, &config, &[], |scene| play(scene, cases));
}

/// With PAM and without, at the same time. The attackers are neighbours, and each is to be counted for itself.
fn in_two_worlds(logging: Logging, config: &str, sshd: &[&str], test: impl Fn(&Scene) + Sync) {
    let scenes = [false, true].map(|use_pam| {
        let sshd = sshd.iter().map(ToString::to_string).collect();
        Scene::with(&SceneOptions { logging, use_pam, sshd, config: format!("widen = false\n{config}") })
    });
    if logging == Logging::BtmpOnly && scenes.iter().any(Option::is_some) && !sshd_writes_btmp() {
        say_skipped("this sshd does not write btmp");
        return;
    }
    thread::scope(|scope| {
        for scene in scenes.iter().flatten() {
            scope.spawn(|| test(scene));
        }
    });
}

/// All attackers at once, connection by connection.
fn play(scene: &Scene, cases: &[Case]) {
    let rounds = cases.iter().map(|case| case.passwords.len()).max().unwrap_or(0);
    for round in 0..rounds {
        let playing = cases.iter().filter(|case| case.passwords.len() > round);
        let mut under_way: Vec<(&Case, Session)> =
            playing.map(|case| (case, connect(scene, case, case.passwords[round]))).collect();
        for (case, session) in &mut under_way {
            if round + 1 == case.passwords.len() {
                check_banned(scene, case);
            } else {
                assert_eq!(session.outcome(), Outcome::Denied, "{}", case.from);
            }
        }
        // A client of a banned address would wait for an answer for long.
        drop(under_way);
        scene.settle();
        for case in cases {
            check_count(scene, case, round + 1);
        }
    }
}

fn connect(scene: &Scene, case: &Case, passwords: u32) -> Session {
    let attacker: Attacker = scene.world.attacker(case.from);
    attacker.start_login(&Try { user: case.user, prompts: passwords, ..Try::default() })
}

fn check_banned(scene: &Scene, case: &Case) {
    scene.wait_banned(case.prefix);
    let ban = scene.daemon.ban_of(case.prefix).expect("it is listed");
    assert_eq!(ban["failures"], case.banned_at, "{ban}");
    assert_eq!(ban["jail"], "sshd");
    let answered = scene.world.attacker(case.from).banner(crate::lab::SHORT);
    assert_eq!(answered, None, "{}", case.from);
}

/// After so many connections exactly their passwords are counted, and nobody is banned too early.
fn check_count(scene: &Scene, case: &Case, connections: usize) {
    let from = case.from;
    let attempts: u64 = case.passwords.iter().take(connections).map(|count| u64::from(*count)).sum();
    if connections >= case.passwords.len() {
        // A banned source cannot go on; what its connection had tried is recorded, and never more than that.
        let seen = scene.daemon.attempts_of(from);
        assert_eq!(seen, case.banned_at, "{from} {}: attempts in all\n{}", case.user, scene.syslog.text());
        return;
    }
    let counted = scene.daemon.counted(from);
    let log = || format!("{from} {}:\n{}", case.user, scene.syslog.text());
    assert_eq!(counted, (case.points * attempts as f64, attempts), "{}", log());
    assert_eq!(scene.daemon.attempts_of(from), attempts, "{}", log());
    assert!(!scene.daemon.lists(case.prefix), "{}", log());
    assert!(scene.world.attacker(from).is_served(SOON), "{}", log());
}
