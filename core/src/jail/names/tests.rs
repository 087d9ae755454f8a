use super::*;

fn names() -> Names {
    let accounts = ["root", "alice", "www-data"].map(str::to_owned).into_iter().collect();
    let mut names = Names::new(accounts, ["drjohn1".to_owned()].into_iter().collect(), false);
    names.logged_in("alice");
    names.logged_in("jonathan");
    names
}

#[test]
fn the_notorious_names_are_sorted_and_hold_no_cloud_login() {
    assert!(NOTORIOUS.is_sorted());
    let both: Vec<_> = NOTORIOUS.iter().filter(|name| CLOUD_LOGINS.contains(*name)).collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn classes_follow_the_name() {
    let names = names();
    let of = |user| names.refine(Class::UnknownUser, Some(user));
    assert_eq!(of("oracle"), Class::BadUser);
    assert_eq!(of("ubuntu"), Class::UnknownUser);
    assert_eq!(of("peter"), Class::UnknownUser);
    assert_eq!(of("alcie"), Class::KnownUser);
    assert_eq!(of("jonatahn"), Class::KnownUser);
    assert_eq!(of("Alice"), Class::KnownUser);
    assert_eq!(of("alic"), Class::UnknownUser, "one edit off, but with other letters");
    assert_eq!(of("drjohn1"), Class::GoodUser);
    assert_eq!(names.refine(Class::KnownUser, Some("root")), Class::Root);
    assert_eq!(names.refine(Class::Scan, Some("root")), Class::Scan);
}

#[test]
fn names_of_the_same_letters_are_alike() {
    for same in ["alcie", "allice", "Alice", "a.lice", "ALICE_"] {
        assert_eq!(alike(same), alike("alice"), "{same}");
    }
    for other in ["alic", "slice", "alice1", "alicia7"] {
        assert_ne!(alike(other), alike("alice"), "{other}");
    }
    assert_eq!((alike("-"), alike("")), ("-".to_owned(), String::new()));
    assert_ne!(alike(&"ab".repeat(40)), alike("ab"), "what is that long is nobody's slip");
}

#[test]
fn a_name_mistyped_where_its_owner_comes_from_is_meant_for_the_owner() {
    let names = names();
    for slip in ["alic", "slice", "alcie", "jnathn"] {
        let owner = if slip == "jnathn" { "jonathan" } else { "alice" };
        let class = names.refine(Class::UnknownUser, Some(slip));
        assert_eq!(names.meant(class, slip, true), hash(owner), "{slip}");
        let elsewhere = if slip == "alcie" { owner } else { slip };
        assert_eq!(names.meant(class, slip, false), hash(elsewhere), "{slip}");
    }
    assert_eq!(names.meant(Class::KnownUser, "alice", true), hash("alice"));
}

#[test]
fn what_forgotten_accounts_looked_like_is_forgotten() {
    let mut names = Names::default();
    for number in 0..2 * MAX_LOGGED_IN {
        names.logged_in(&format!("{}{number}", char::from(b'a' + (number % 26) as u8)));
    }
    assert!(names.alike.len() <= MAX_LOGGED_IN);
    assert_eq!(names.alike.values().sum::<u32>(), 1_000);
    names.set_accounts(["mallory".to_owned()].into());
    assert_eq!(names.refine(Class::UnknownUser, Some("mallroy")), Class::KnownUser);
    names.set_accounts(HashSet::new());
    assert_eq!(names.refine(Class::UnknownUser, Some("mallroy")), Class::UnknownUser);
}

#[test]
fn a_name_becomes_bad_once_two_sources_that_tried_it_are_banned() {
    let mut names = names();
    let of = |names: &Names| names.refine(Class::UnknownUser, Some("weird77"));
    let sources = ["192.0.2.1/32", "192.0.2.1/32", "192.0.2.2/32"].map(|source| source.parse().unwrap());
    let seen = sources.map(|source| {
        names.banned_source_tried(source, [hash("weird77")].into_iter(), Timestamp::from_secs(1));
        of(&names)
    });
    assert_eq!(seen, [Class::UnknownUser, Class::UnknownUser, Class::BadUser]);
}

#[test]
fn who_logs_in_every_day_is_not_forgotten() {
    let mut names = names();
    for number in 0..5 * MAX_LOGGED_IN {
        names.logged_in("alice");
        names.logged_in(&format!("user{number}"));
    }
    assert!(
        names.is_in_use("alice") && !names.is_in_use("jonathan") && names.logged_in.len() == MAX_LOGGED_IN
    );
}

#[test]
fn counts_edits() {
    assert_eq!((distance("alice", "alcie"), distance("alice", "alice1"), distance("", "abc")), (1, 1, 3));
}

#[test]
fn slips_are_all_one_edit_off() {
    let slips = slips_of("alice");
    for slip in ["alice", "alic", "lice", "slice", "alcie", "allice", "alice1", "al-ice"] {
        assert!(slips.binary_search(&hash(slip)).is_ok(), "{slip}");
    }
    for other in ["bob", "ali", "alise7", ""] {
        assert!(slips.binary_search(&hash(other)).is_err(), "{other}");
    }
    assert_eq!(slips_of(&"x".repeat(65)).len(), 1);
}

#[test]
fn who_logged_in_is_in_use_unless_everybody_guesses_that_name() {
    let mut names = names();
    ["root", "ubuntu", "admin"].iter().for_each(|user| names.logged_in(user));
    let used: Vec<&str> = ["alice", "jonathan", "root", "ubuntu", "admin", "www-data"]
        .into_iter()
        .filter(|user| names.is_in_use(user))
        .collect();
    assert_eq!(used, ["alice", "jonathan"]);
}
