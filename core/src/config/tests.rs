use super::*;
use crate::time::BanTime;

fn config(text: &str) -> Result<Config, Vec<String>> {
    raw::parse("pillory.toml", text)
        .and_then(|raw| resolve::resolve(&raw))
        .map_err(|problems| problems.iter().map(Problem::to_string).collect())
}

fn jail(config: &Config, name: &str) -> JailConfig {
    config.jails.iter().find(|jail| jail.name.as_str() == name).unwrap().clone()
}

#[test]
fn a_host_that_nobody_configured_has_every_built_in_jail() {
    let config = config("").unwrap();
    assert!(config.jails.len() >= 8);
    let sshd = jail(&config, "sshd");
    assert_eq!((sshd.enabled, sshd.policy), (Enabled::Auto, Policy::default()));
    assert_eq!(resolve::default_config().jails.len(), config.jails.len());
}

#[test]
fn keys_of_the_top_hold_for_every_jail_and_a_jails_own_win() {
    let config = config("maxretry = 7\nbantime = \"1h\"\n[jail.sshd]\nmaxretry = 3\n").unwrap();
    let sshd = jail(&config, "sshd");
    assert_eq!(sshd.policy.maxretry, Points(300));
    assert_eq!(sshd.policy.bantime.step(5), BanTime::For(Span::from_secs(3600)));
    assert_eq!(jail(&config, "dovecot").policy.maxretry, Points(700));
}

#[test]
fn every_problem_is_reported_with_its_line() {
    let text = "maxretri = 3\nfindtime = \"10x\"\n\n[jail.sshd]\nbackend = \"jurnal\"\nbantime = []\n[jail.none]\nlogpath = [\"log\"]\n";
    let problems = config(text).unwrap_err();
    let expected = [
        "pillory.toml:1: maxretri is no key; did you mean maxretry?; remove it or mend its spelling",
        "pillory.toml:2: findtime \"10x\": unknown unit \"x\"; use s, m, h, d, w, mo or y",
        "pillory.toml:5: jail \"sshd\": backend \"jurnal\" is not known; use auto, journal, file or btmp",
        "pillory.toml:6: jail \"sshd\": bantime is an empty list; write for example [\"1d\", \"7d\"]",
        "pillory.toml:7: jail \"none\": there is no built-in filter \"none\"; give it a failregex, or name a filter that exists",
        "pillory.toml:8: jail \"none\": logpath \"log\" is no absolute path; begin it with /",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_text_that_is_no_toml_names_its_line() {
    let problems = config("maxretry = 3\nbantime = = 4\n").unwrap_err();
    assert!(problems[0].starts_with("pillory.toml:2: "), "{problems:?}");
}

#[test]
fn of_garbage_only_the_first_places_are_named() {
    let problems = config(&"= \u{0} ]\n".repeat(5000)).unwrap_err();
    assert_eq!(problems.len(), 21, "{problems:?}");
    assert!(problems[0].starts_with("pillory.toml:1: "), "{problems:?}");
    assert!(problems[20].starts_with("pillory.toml: and ") && problems[20].contains(" more places"));
}

#[test]
fn points_and_ignoreip_are_read_as_people_write_them() {
    let text = "ignoreip = \"192.0.2.10 10.0.0.0/8,home.example.net\"\npoints = { unknown_user = 1, good_user = 0.25 }\n";
    let config = config(text).unwrap();
    assert_eq!(config.ignoreip.len(), 2);
    assert_eq!(config.ignoreip_names, ["home.example.net"]);
    let points = jail(&config, "sshd").policy.points;
    assert_eq!(points.of(crate::event::Class::UnknownUser), Points(100));
    assert_eq!(points.of(crate::event::Class::GoodUser), Points(25));
    assert_eq!(points.of(crate::event::Class::Root), Points(200));
}

#[test]
fn a_jail_with_its_own_failregex_runs() {
    let text = "[jail.myapp]\nlogpath = \"/srv/app/*.log\"\nfailregex = ['^login failed for <F-USER>\\S+</F-USER> from <HOST>$']\n";
    assert_eq!(jail(&config(text).unwrap(), "myapp").enabled, Enabled::Yes);
}

#[test]
fn every_jail_widens_unless_it_or_the_top_says_otherwise() {
    let budgets = |text: &str| {
        let widen = config(text).unwrap().widen;
        ["sshd", "dovecot"].map(|name| widen[&JailName::new(name).unwrap()])
    };
    let usual = crate::jail::widen::BUDGET;
    assert_eq!(budgets(""), [usual, usual]);
    assert_eq!(budgets("widen = false\n[jail.sshd]\nwiden = 700\n"), [700, 0]);
    assert_eq!(budgets("widen = 100\n[jail.sshd]\nwiden = true\n"), [usual, 100]);
    let problems = config("widen = \"much\"\n[jail.sshd]\nwiden = [1]\n").unwrap_err();
    assert_eq!(
        problems,
        [
            "pillory.toml:1: widen \"much\" is no number of addresses; use true, false or a number up to 16777216",
            "pillory.toml:3: jail \"sshd\": widen is neither true nor false; write true or false",
        ]
    );
}
