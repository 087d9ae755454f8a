use super::*;

const HOUR: i64 = 3_600;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn jail() -> JailName {
    JailName::new("sshd").unwrap()
}

fn place(number: u32) -> Prefix {
    Prefix::host(std::net::IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0b00_0000 + number)))
}

fn fails(campaigns: &mut Campaigns, number: u32, user: &str, secs: i64) -> (Evidence, Vec<Change>) {
    campaigns.failure(&jail(), (place(number), Target::Nobody(user), None), at(secs), &mut |_| false)
}

fn guesses(campaigns: &mut Campaigns, number: u32, account: &str, secs: i64) -> Evidence {
    let stranger = (place(number), Target::Account(account), None);
    campaigns.failure(&jail(), stranger, at(secs), &mut |_| false).0
}

/// A place of an AS tries a name that nobody else tries.
fn rents(
    campaigns: &mut Campaigns,
    (place, asn): (Prefix, u32),
    secs: i64,
    is_home: bool,
) -> (Evidence, Vec<Change>) {
    let user = format!("{place}");
    campaigns.failure(&jail(), (place, Target::Nobody(&user), Some(asn)), at(secs), &mut |_| is_home)
}

/// So many places try two names in turn, one place a minute.
fn attack(campaigns: &mut Campaigns, count: u32, begin: i64) -> Vec<(u32, Change)> {
    let mut told = Vec::new();
    for number in 0..count {
        let user = ["oracle", "sven"][number as usize % 2];
        let changes = fails(campaigns, number, user, begin + i64::from(number) * 60).1;
        told.extend(changes.into_iter().map(|change| (number, change)));
    }
    told
}

#[test]
fn many_places_with_one_list_are_a_campaign_and_it_is_told_once() {
    let mut campaigns = Campaigns::default();
    let told = attack(&mut campaigns, 200, 0);
    let names = vec!["oracle".into(), "sven".into()];
    // The first five of each name are not members yet.
    let campaign = Campaign { since: at(600), members: 50, names };
    assert_eq!(told, [(59, Change::Began { jail: jail(), campaign: campaign.clone() })]);
    let now = Campaign { members: 190, ..campaign };
    assert_eq!(campaigns.on(&jail(), at(200 * 60)), Some(now), "what is shown is what is known now");
    assert_eq!(fails(&mut campaigns, 999, "sven", 5 * HOUR).0, Evidence::Member);
    assert_eq!(fails(&mut campaigns, 998, "alcie", 5 * HOUR).0, Evidence::None, "nobody else tries that");
}

#[test]
fn it_ends_when_the_members_stay_away() {
    let mut campaigns = Campaigns::default();
    attack(&mut campaigns, 100, 0);
    assert_eq!(campaigns.sweep(at(20 * HOUR)), []);
    assert_eq!(campaigns.sweep(at(26 * HOUR)), [Change::Ended(jail())]);
    assert_eq!(campaigns.on(&jail(), at(26 * HOUR)), None);
}

#[test]
fn one_place_with_many_names_and_many_places_with_names_of_their_own_are_none() {
    let mut campaigns = Campaigns::default();
    for number in 0..2_000u32 {
        let secs = i64::from(number);
        assert_eq!(fails(&mut campaigns, 1, "admin", secs), (Evidence::None, Vec::new()));
        assert_eq!(
            fails(&mut campaigns, number, &format!("name{number}"), secs),
            (Evidence::None, Vec::new())
        );
    }
}

#[test]
fn the_more_places_try_a_name_the_more_it_tells_and_it_is_not_forgotten_at_once() {
    let mut campaigns = Campaigns::default();
    let told: Vec<Evidence> =
        (0..12).map(|number| fails(&mut campaigns, number, "zhangwei", i64::from(number) * 60).0).collect();
    assert_eq!(told[..5], [Evidence::None; 5]);
    assert_eq!(told[5..10], [Evidence::Listed; 5]);
    assert_eq!(told[10..], [Evidence::Hunted; 2]);
    // One place that comes back is one place, and a name that is tried twice a day is on nobody's list.
    assert!((0..50).all(|hour| fails(&mut campaigns, hour % 5, "marion", i64::from(hour) * HOUR).0 == Evidence::None));
    assert_eq!(fails(&mut campaigns, 900, "zhangwei", 6 * 24 * HOUR).0, Evidence::Hunted);
    assert_eq!(fails(&mut campaigns, 901, "zhangwei", 14 * 24 * HOUR).0, Evidence::None);
}

#[test]
fn slow_places_that_share_a_list_of_novel_names_belong_together_and_two_of_them_do_not() {
    for (group, belongs) in [(2, false), (3, true)] {
        let mut campaigns = Campaigns::default();
        let mut last = Vec::new();
        for day in 0..4 {
            last = (0..group)
                .map(|number| {
                    fails(&mut campaigns, number, &format!("novel{day}"), i64::from(day) * 30 * HOUR).0
                })
                .collect();
        }
        assert_eq!(last.contains(&Evidence::Member), belongs, "{group}: {last:?}");
    }
}

#[test]
fn names_that_everybody_tries_make_no_group() {
    let mut campaigns = Campaigns::default();
    // A hundred places a day, each with three of what all try; the list of names is seen by itself.
    for number in 0..700u32 {
        let secs = i64::from(number) * 864;
        for user in ["admin", "test", "guest"] {
            fails(&mut campaigns, number, user, secs);
        }
    }
    let evidence = fails(&mut campaigns, 699, "marion", 700 * 864).0;
    assert_eq!(evidence, Evidence::None, "who tries what all try belongs to nobody");
}

#[test]
fn a_stranger_with_several_accounts_is_told_apart_from_one_who_mistypes() {
    let mut campaigns = Campaigns::default();
    let told = ["alice", "alcie", "alice", "bernd", "carla"].map(|user| guesses(&mut campaigns, 1, user, 60));
    let (none, two, three) = (Evidence::None, Evidence::Accounts(2), Evidence::Accounts(3));
    assert_eq!(told, [none, none, none, two, three]);
    campaigns.good_login(&jail(), place(1), None, at(70));
    assert_eq!(guesses(&mut campaigns, 1, "dagmar", 80), none, "who logs in was a person");
}

#[test]
fn a_second_account_tells_all_while_many_strangers_try_accounts_and_a_first_one_nothing() {
    let mut campaigns = Campaigns::default();
    for number in 0..30 {
        assert_eq!(guesses(&mut campaigns, number, "alice", i64::from(number) * 60), Evidence::None);
    }
    assert_eq!(guesses(&mut campaigns, 7, "bernd", 2_000), Evidence::Spray);
    assert_eq!(guesses(&mut campaigns, 999, "bernd", 2_000), Evidence::None);
    // A day and a half later it is over; what usual traffic brings is none.
    assert_eq!(guesses(&mut campaigns, 8, "bernd", 36 * HOUR), Evidence::Accounts(2));
    for hour in 0..24 * 30 {
        let number = 10_000 + hour as u32;
        if hour % 2 == 0 {
            guesses(&mut campaigns, number, "alice", (50 + hour) * HOUR);
        }
    }
    assert_eq!(guesses(&mut campaigns, 10_718, "carla", (50 + 720) * HOUR), Evidence::Accounts(2));
}

#[test]
fn networks_of_one_operator_that_attack_together_are_members_and_one_network_is_not() {
    let mut campaigns = Campaigns::default();
    let in_net = |network: u32, host: u32| (place(network << 8 | host), 64_500);
    for host in 0..100 {
        assert_eq!(rents(&mut campaigns, in_net(0, host), host.into(), false).0, Evidence::None);
    }
    for network in 1..14 {
        assert_eq!(rents(&mut campaigns, in_net(network, 1), 200, false).0, Evidence::None);
    }
    let (evidence, told) = rents(&mut campaigns, in_net(14, 1), 300, false);
    let system = System { number: 64_500, since: at(300), networks: 15 };
    assert_eq!(evidence, Evidence::Member);
    assert_eq!(told, [Change::SystemBegan { jail: jail(), system }]);
    assert_eq!(rents(&mut campaigns, (place(99 << 8), 64_501), 400, false).0, Evidence::None, "another AS");
    assert_eq!(campaigns.sweep(at(26 * HOUR)), [Change::SystemEnded(jail(), 64_500)]);
    assert_eq!(rents(&mut campaigns, in_net(15, 1), 26 * HOUR, false).0, Evidence::None);
}

#[test]
fn the_operator_of_somebody_who_belongs_here_is_spared() {
    let mut campaigns = Campaigns::default();
    let at_home = (0..40).map(|network| rents(&mut campaigns, (place(network << 8), 64_500), 100, true));
    assert!(at_home.into_iter().all(|told| told == (Evidence::None, Vec::new())));
    // Also if the first of them logs in only then.
    for network in 0..20 {
        rents(&mut campaigns, (place(network << 8), 64_501), 200, false);
    }
    assert_eq!(campaigns.systems(&jail()).len(), 1);
    let told = campaigns.good_login(&jail(), place(7), Some(64_501), at(300));
    assert_eq!(told, [Change::SystemEnded(jail(), 64_501)]);
    assert_eq!(rents(&mut campaigns, (place(50 << 8), 64_501), 400, false).0, Evidence::None);
}

#[test]
fn memory_is_bounded_whatever_is_tried() {
    let mut campaigns = Campaigns::default();
    for number in 0..40_000u32 {
        let secs = i64::from(number) / 10;
        fails(&mut campaigns, number, &format!("name{}", number / 2), secs);
        fails(&mut campaigns, number, "root", secs);
        guesses(&mut campaigns, number, &format!("name{number}"), secs);
        rents(&mut campaigns, (place(number), number / 20), secs, false);
        rents(&mut campaigns, (place(number << 8), 1), secs, false);
    }
    let watch = &campaigns.jails[&jail()];
    assert!(watch.listed.len() <= 8_192 && watch.members.len() <= MAX_MEMBERS);
    assert!(watch.order.len() <= 2 * MAX_MEMBERS);
    let (places, names) = watch.lists.sizes();
    assert!(places <= 8_192 + 1 && names <= 8_192, "{places} {names}");
    assert!(watch.accounts.len() <= 16_384 && watch.systems.len() <= 4_096);
    assert_eq!(campaigns.systems(&jail())[0].networks, 64);
}

/// So many places try an account, one a minute: what was told, by the place.
fn spray(campaigns: &mut Campaigns, count: u32) -> Vec<(u32, Change)> {
    let mut told = Vec::new();
    for number in 0..count {
        let stranger = (place(number), Target::Account("alice"), None);
        let changes = campaigns.failure(&jail(), stranger, at(i64::from(number) * 60), &mut |_| false).1;
        told.extend(changes.into_iter().map(|change| (number, change)));
    }
    told
}

#[test]
fn a_spray_is_told_once_with_its_places_and_its_end() {
    let mut campaigns = Campaigns::default();
    let told = spray(&mut campaigns, 60);
    let [(number, Change::SprayBegan { spray, .. })] = &told[..] else { panic!("{told:?}") };
    let began = at(i64::from(*number) * 60);
    assert!((19..30).contains(number), "{number}");
    assert_eq!(*spray, Spray { since: began, places: *number as usize + 1 });
    let now = Spray { since: began, places: 60 };
    assert_eq!(campaigns.spray(&jail(), at(HOUR)), Some(now));
    assert_eq!(campaigns.sweep(at(2 * HOUR)), []);
    assert_eq!(campaigns.spray(&jail(), at(37 * HOUR)), None, "what is shown is what is so now");
    assert_eq!(campaigns.sweep(at(37 * HOUR)), [Change::SprayEnded(jail())]);
    assert_eq!(campaigns.sweep(at(38 * HOUR)), []);
}

#[test]
fn a_sweep_changes_nothing_of_what_counts_as_a_spray() {
    let (mut swept, mut left) = (Campaigns::default(), Campaigns::default());
    for number in 0..60 {
        let secs = i64::from(number) * 1_800;
        for user in ["alice", "bernd"] {
            assert_eq!(guesses(&mut swept, number, user, secs), guesses(&mut left, number, user, secs));
        }
        swept.sweep(at(secs + 900));
        assert_eq!(swept.spray(&jail(), at(secs)), left.spray(&jail(), at(secs)), "{number}");
    }
    assert!(left.spray(&jail(), at(108_000)).is_some());
}

#[test]
fn places_with_one_list_are_told_once_with_the_names_that_three_of_them_tried() {
    let mut campaigns = Campaigns::default();
    let mut told = Vec::new();
    for (day, user) in ["novel0", "novel1", "novel2", "novel3"].into_iter().enumerate() {
        for number in 0..3 {
            told.extend(fails(&mut campaigns, number, user, day as i64 * 30 * HOUR).1);
        }
    }
    fails(&mut campaigns, 0, "s3cret", 91 * HOUR);
    let names = |last: usize| (0..last).map(|number| format!("novel{number}").into()).collect();
    let group = Group { since: at(60 * HOUR), places: 3, names: names(3) };
    assert_eq!(told, [Change::ListsBegan { jail: jail(), group: group.clone() }]);
    let now = Group { names: names(4), ..group };
    assert_eq!(campaigns.lists(&jail(), at(92 * HOUR)), Some(now), "what one place tried is not shown");
    assert_eq!(campaigns.sweep(at(14 * 24 * HOUR)), []);
    let end = at(90 * HOUR + 14 * 24 * HOUR);
    assert_eq!(campaigns.lists(&jail(), end), None);
    assert_eq!(campaigns.sweep(end), [Change::ListsEnded(jail())]);
}
