use super::*;
use crate::jail::networks::Country;
use proptest::prelude::*;

const NOON: Timestamp = Timestamp::from_secs(1_800_014_400);
const HOUR: Span = Span::from_secs(3_600);

fn ago(hours: u64) -> Timestamp {
    NOON - Span::from_secs(hours * 3_600)
}

fn addr(text: &str) -> std::net::IpAddr {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// A past in which each of these was banned once, and failed so often so many hours ago.
fn past(banned: &[&str], failed: &[(&str, u32, u64)]) -> Past {
    let mut past = Past::new(NOON, Rules::default().delay);
    banned.iter().for_each(|banned| past.banned(prefix(banned), ago(40)));
    for (from, tries, hours) in failed {
        past.attempt(ago(*hours), addr(from), (Service::Ssh, None), *tries);
    }
    past
}

fn names(past: &Past, spared: &Spared) -> Vec<String> {
    past.wall(&Rules::default(), spared).offenders.iter().map(Offender::name).collect()
}

fn spared(never: &[&str], unlisted: &[&str]) -> Spared {
    let set = |of: &[&str]| PrefixSet::new(of.iter().copied().map(prefix));
    Spared { never: set(never), unlisted: set(unlisted), users: Vec::new() }
}

#[test]
fn who_tried_often_a_day_ago_is_shown_by_the_network() {
    let past = past(
        &["203.0.113.7/32", "2001:db8:7:8::/64"],
        &[("203.0.113.7", 14, 30), ("2001:db8:7:8::9", 10, 26)],
    );
    assert_eq!(names(&past, &Spared::default()), ["2001:db8:7::x", "203.0.113.x"]);
    let open = Rules { mask: false, ..Rules::default() };
    let wall = past.wall(&open, &Spared::default());
    let names: Vec<String> = wall.offenders.iter().map(Offender::name).collect();
    assert_eq!(names, ["2001:db8:7:8::/64", "203.0.113.7"]);
    let last = wall.offenders.last().unwrap();
    assert_eq!((last.attempts, last.bans, last.sources), (14, 1, 1));
    assert_eq!((last.first, last.last, last.services.words()), (ago(30), ago(30), "ssh attempts".into()));
}

#[test]
fn who_tried_less_or_later_or_long_ago_or_was_not_banned_is_not_shown() {
    let failed =
        [("203.0.113.7", 9, 30), ("198.51.100.7", 99, 23), ("192.0.2.7", 99, 31 * 24), ("192.0.3.7", 99, 30)];
    let past = past(&["203.0.113.7/32", "198.51.100.7/32", "192.0.2.7/32"], &failed);
    assert_eq!(names(&past, &Spared::default()), [""; 0]);
}

#[test]
fn addresses_of_one_network_are_one_entry() {
    let mut past = past(
        &["203.0.113.7/32", "203.0.113.8/32", "203.0.113.9/32"],
        &[("203.0.113.7", 14, 30), ("203.0.113.8", 11, 50), ("203.0.113.9", 1, 30)],
    );
    past.in_force(prefix("203.0.113.7/32"), ago(29), End::At(NOON + HOUR));
    past.in_force(prefix("203.0.113.8/32"), ago(2), End::Never);
    let wall = past.wall(&Rules::default(), &Spared::default());
    let [one] = &wall.offenders[..] else { panic!("{wall:?}") };
    assert_eq!((one.sources, one.attempts, one.bans), (2, 25, 2));
    assert_eq!((one.first, one.last), (ago(50), ago(30)));
    // The other ban is too young to be told.
    assert_eq!((one.banned_until, wall.shut_out), (Some(End::At(NOON + HOUR)), 1));
}

#[test]
fn an_attempt_counts_for_the_smallest_ban_around_it() {
    let past = past(
        &["203.0.113.7/32", "203.0.113.0/28"],
        &[("203.0.113.7", 14, 30), ("203.0.113.9", 10, 30), ("203.0.113.10", 10, 30)],
    );
    let open = Rules { mask: false, ..Rules::default() };
    let wall = past.wall(&open, &Spared::default());
    let told: Vec<_> = wall.offenders.iter().map(|one| (one.name(), one.attempts)).collect();
    assert_eq!(told, [("203.0.113.0/28".to_owned(), 20), ("203.0.113.7".to_owned(), 14)]);
}

#[test]
fn who_is_never_banned_logged_in_or_asked_is_not_shown_nor_is_a_network_around_them() {
    let failed = [("203.0.113.7", 14, 30), ("203.0.113.8", 14, 30)];
    let banned = ["203.0.113.7/32", "203.0.113.8/32"];
    assert_eq!(names(&past(&banned, &failed), &spared(&["203.0.113.200/32"], &[])), [""; 0]);
    let mut met = past(&banned, &failed);
    met.logged_in(addr("203.0.113.201"), true);
    assert_eq!(names(&met, &Spared::default()), [""; 0]);
    let asked = past(&banned, &failed).wall(&Rules::default(), &spared(&[], &["203.0.113.7/32"]));
    assert_eq!(asked.offenders.iter().map(|one| (one.attempts, one.sources)).collect::<Vec<_>>(), [(14, 1)]);
    assert_eq!(names(&past(&banned, &failed), &spared(&[], &["203.0.113.0/24"])), [""; 0]);
}

#[test]
fn a_ban_that_was_a_mistake_is_not_told() {
    let mut past = Past::new(NOON, Rules::default().delay);
    past.banned(prefix("203.0.114.7/32"), ago(30));
    past.mistaken(prefix("203.0.113.7/32"));
    past.mistaken(prefix("203.0.114.7/32"));
    past.banned(prefix("203.0.113.7/32"), ago(50));
    for from in ["203.0.113.7", "203.0.114.7"] {
        past.attempt(ago(40), addr(from), (Service::Ssh, None), 20);
    }
    // One was banned again, later and for good reason.
    assert_eq!(names(&past, &Spared::default()), ["203.0.114.x"]);
}

#[test]
fn a_login_that_names_nobody_hides_itself_and_nobody_else() {
    let banned = ["203.0.113.7/32", "203.0.113.8/32"];
    let mut past = past(&banned, &[("203.0.113.7", 14, 30), ("203.0.113.8", 15, 30)]);
    past.logged_in(addr("203.0.113.8"), false);
    let wall = past.wall(&Rules::default(), &Spared::default());
    assert_eq!(wall.offenders.iter().map(|one| (one.attempts, one.sources)).collect::<Vec<_>>(), [(14, 1)]);
}

#[test]
fn however_many_logins_name_nobody_the_wall_stays_and_who_logs_in_by_a_name_is_known() {
    let banned = ["203.0.113.7/32", "198.51.100.7/32", "2001:db8:7:8::/64"];
    let failed = [("203.0.113.7", 14, 30), ("198.51.100.7", 14, 31), ("2001:db8:7:8::9", 14, 32)];
    let mut past = past(&banned, &failed);
    // Beside an offender, so that each would be remembered.
    let network = 0x2001_0db8_0007_0009_u128 << 64;
    for number in 0..=past::MOST as u128 {
        past.logged_in(std::net::Ipv6Addr::from_bits(network + number).into(), false);
    }
    assert!(past.good.len() <= past::MOST);
    assert_eq!(names(&past, &Spared::default()), ["203.0.113.x", "198.51.100.x", "2001:db8:7::x"]);
    past.logged_in(addr("203.0.113.201"), true);
    past.logged_in(addr("2001:db8:7:9::1"), true);
    assert_eq!(names(&past, &Spared::default()), ["198.51.100.x"]);
}

#[test]
fn names_of_this_hosts_own_users_are_not_told_however_common() {
    let mut past = past(&["203.0.113.7/32"], &[("203.0.113.7", 14, 30)]);
    for user in ["git", "root"] {
        past.attempt(ago(40), addr("203.0.113.7"), (Service::Ssh, Some(user)), 3);
    }
    let told = |users: &[&str]| {
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        past.wall(&Rules::default(), &Spared { users, ..Spared::default() }).users.len()
    };
    assert_eq!((told(&[]), told(&["git"])), (2, 1));
}

#[test]
fn what_members_tried_who_are_not_shown_counts_for_their_network() {
    let members: Vec<String> = (1..=8).map(|n| format!("203.0.113.{n}")).collect();
    let mut banned: Vec<String> = members.iter().map(|member| format!("{member}/32")).collect();
    banned.push("203.0.113.0/28".to_owned());
    let banned: Vec<&str> = banned.iter().map(String::as_str).collect();
    let failed: Vec<(&str, u32, u64)> = members.iter().map(|member| (member.as_str(), 5, 30)).collect();
    let mut past = past(&banned, &failed);
    past.attempt(ago(30), addr("203.0.113.8"), (Service::Ssh, None), 20);
    let open = Rules { mask: false, ..Rules::default() };
    let told = |wall: Wall| wall.offenders.iter().map(|one| (one.name(), one.attempts)).collect::<Vec<_>>();
    let expected = [("203.0.113.0/28".to_owned(), 35), ("203.0.113.8".to_owned(), 25)];
    assert_eq!(told(past.wall(&open, &Spared::default())), expected);
}

#[test]
fn a_banned_network_and_addresses_hidden_behind_it_stay_two() {
    let past =
        past(&["203.0.113.0/24", "203.0.113.7/32"], &[("203.0.113.7", 14, 30), ("203.0.113.9", 10, 30)]);
    assert_eq!(names(&past, &Spared::default()), ["203.0.113.0/24", "203.0.113.x"]);
}

#[test]
fn totals_and_charts_tell_of_days_and_hours_by_utc() {
    // 2027-01-15, a Friday, 12:00.
    let mut past =
        past(&["203.0.113.7/32"], &[("203.0.113.7", 3, 1), ("192.0.2.1", 4, 13), ("192.0.2.1", 5, 29 * 24)]);
    past.attempt(ago(40 * 24), addr("192.0.2.1"), (Service::Web, None), 100);
    let wall = past.wall(&Rules::default(), &Spared::default());
    let total = |attempts, bans| Total { attempts, bans };
    assert_eq!(wall.totals, [total(3, 0), total(7, 1), total(12, 1)]);
    assert_eq!(
        (wall.days[DAYS - 1], wall.days[DAYS - 2], wall.days[DAYS - 3], wall.days[0]),
        (total(3, 0), total(4, 0), total(0, 1), total(5, 0))
    );
    assert_eq!((wall.week[4][11], wall.week[3][23]), (3, 4));
    assert_eq!(wall.services, [(Service::Ssh, 12)]);
}

/// Every address of 203.0.112.0/22 is of one operator, and of nobody else anything is known.
#[derive(Debug)]
struct OneOperator;

impl crate::jail::networks::Networks for OneOperator {
    fn asn(&self, at: std::net::IpAddr) -> Option<u32> {
        prefix("203.0.112.0/22").contains_addr(at).then_some(64_500)
    }

    fn operator(&self, _: std::net::IpAddr) -> Option<String> {
        Some("Example Hosting".into())
    }

    fn country(&self, at: std::net::IpAddr) -> Option<Country> {
        self.asn(at).and_then(|_| Country::parse("NL"))
    }
}

#[test]
fn names_that_everybody_guesses_at_are_told_and_no_others() {
    let mut past = Past::new(NOON, Rules::default().delay);
    let tried =
        [("admin", 3), ("root", 9), ("hunter2", 99), ("alice", 50), ("", 7), ("ubuntu", 3), ("admin", 1)];
    for (user, tries) in tried {
        past.attempt(ago(30), addr("203.0.113.7"), (Service::Ssh, Some(user)), tries);
    }
    past.attempt(ago(31 * 24), addr("203.0.113.7"), (Service::Ssh, Some("oracle")), 5);
    let users = past.wall(&Rules::default(), &Spared::default()).users;
    let told = [("root", 9), ("admin", 4), ("ubuntu", 3)];
    assert_eq!(users, told.map(|(user, tries)| (user.to_owned(), tries)));
}

#[test]
fn networks_and_operators_with_the_most_attempts_are_named() {
    let banned = ["203.0.113.7/32", "203.0.113.8/32", "203.0.114.9/32", "198.51.100.7/32"];
    let failed =
        [("203.0.113.7", 14, 30), ("203.0.113.8", 11, 30), ("203.0.114.9", 20, 30), ("198.51.100.7", 30, 30)];
    let mut wall =
        past(&banned, &failed).wall(&Rules { mask: false, ..Rules::default() }, &Spared::default());
    let told = |groups: &[Group]| -> Vec<(String, u64, u64)> {
        groups.iter().map(|group| (group.name.clone(), group.attempts, group.offenders)).collect()
    };
    let row = |name: &str, attempts, offenders| (name.to_owned(), attempts, offenders);
    let networks =
        [row("198.51.100.0/24", 30, 1), row("203.0.113.0/24", 25, 2), row("203.0.114.0/24", 20, 1)];
    assert_eq!((told(&wall.networks), wall.operators.len()), (networks.to_vec(), 0));
    wall.place(&OneOperator);
    assert_eq!(told(&wall.countries), [row("NL", 45, 3)]);
    assert_eq!(wall.offenders.iter().filter(|offender| offender.country == Country::parse("nl")).count(), 3);
    assert_eq!(told(&wall.operators), [row("AS64500 Example Hosting", 45, 3)]);
    assert_eq!(wall.offenders.iter().filter(|offender| offender.operator.is_some()).count(), 3);
}

#[test]
fn jails_are_called_by_what_they_guard() {
    let told = ["sshd", "wordpress", "nginx-http-auth", "postfix-sasl", "vsftpd", "secret-app"]
        .map(|jail| Service::of_jail(jail).attempts());
    let words = [
        "ssh attempts",
        "WP login attempts",
        "web attempts",
        "mail login attempts",
        "FTP login attempts",
        "login attempts",
    ];
    assert_eq!(told, words);
}

proptest! {
    #[test]
    fn nobody_who_is_spared_is_ever_shown(
        bans in prop::collection::vec((0u32..64, 24u8..=32), 1..20),
        failed in prop::collection::vec((0u32..64, 1u32..30, 0u64..900), 1..40),
        good in prop::collection::vec(0u32..64, 0..3),
        never in prop::collection::vec((0u32..64, 28u8..=32), 0..3),
        unlisted in prop::collection::vec((0u32..64, 28u8..=32), 0..3),
        mask in any::<bool>(),
    ) {
        // Sixteen addresses in each of four networks.
        let at = |n: u32| std::net::IpAddr::V4((0xc633_6400 + (n / 16) * 256 + n % 16).into());
        let net = |(n, len): (u32, u8)| Prefix::new(at(n), len).unwrap();
        let mut past = Past::new(NOON, Rules::default().delay);
        bans.iter().for_each(|ban| past.banned(net(*ban), ago(100)));
        failed.iter().for_each(|(n, tries, hours)| past.attempt(ago(*hours), at(*n), (Service::Ssh, None), *tries));
        good.iter().for_each(|n| past.logged_in(at(*n), true));
        let spared = Spared {
            never: PrefixSet::new(never.iter().copied().map(net)),
            unlisted: PrefixSet::new(unlisted.iter().copied().map(net)),
            users: Vec::new(),
        };
        let rules = Rules { mask, ..Rules::default() };
        let wall = past.wall(&rules, &spared);
        let mut attempts = 0;
        for shown in &wall.offenders {
            prop_assert!(!spared.never.overlaps(shown.prefix));
            prop_assert!(good.iter().all(|n| !shown.prefix.contains_addr(at(*n))));
            prop_assert!(shown.is_masked || !spared.unlisted.overlaps(shown.prefix));
            prop_assert!(shown.attempts >= rules.min_attempts);
            prop_assert!(shown.first <= shown.last && shown.last <= NOON - rules.delay);
            prop_assert!(NOON.since(shown.last) <= rules.keep);
            prop_assert!(!mask || shown.prefix.prefix_len() == 24);
            prop_assert!(bans.iter().any(|ban| shown.prefix.overlaps(net(*ban))));
            attempts += shown.attempts;
        }
        for group in &wall.networks {
            let network: Prefix = group.name.parse().unwrap();
            prop_assert!(!spared.never.overlaps(network));
            prop_assert!(good.iter().all(|n| !network.contains_addr(at(*n))));
            prop_assert!(mask || !spared.unlisted.overlaps(network));
        }
        let told: u64 = failed.iter().map(|(_, tries, _)| u64::from(*tries)).sum();
        prop_assert!(attempts <= told);
    }
}

proptest! {
    #[test]
    fn what_parts_were_told_of_adds_up_to_the_whole(
        banned in prop::collection::vec((0u8..6, 0u64..60), 1..9),
        told in prop::collection::vec((0u8..8, 1u32..20, 0u64..800, 0u8..4, any::<bool>()), 0..60),
    ) {
        let addr = |host: u8| std::net::IpAddr::from([203, 0, 113, host]);
        let mut whole = Past::new(NOON, Rules::default().delay);
        for (host, hours) in banned {
            whole.banned(Prefix::host(addr(host)), ago(hours));
        }
        let mut first = whole.clone();
        let mut second = first.part();
        for (host, tries, hours, what, is_second) in told {
            for past in [&mut whole, if is_second { &mut second } else { &mut first }] {
                match what {
                    0 => past.logged_in(addr(host), tries % 2 == 0),
                    _ => past.attempt(ago(hours), addr(host), (Service::Ssh, Some("root")), tries),
                }
            }
        }
        first.add(second);
        let all = |past: &Past| {
            let open = Rules { mask: false, min_attempts: 1, ..Rules::default() };
            format!("{:?} {:?}", past.wall(&open, &Spared::default()), past.wall(&Rules::default(), &Spared::default()))
        };
        prop_assert_eq!(all(&first), all(&whole));
    }
}
