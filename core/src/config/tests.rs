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
        "pillory.toml:1: maxretri is no key; did you mean maxretry? Else remove it",
        "pillory.toml:2: findtime \"10x\": unknown unit \"x\"; use s, m, h, d, w, mo or y",
        "pillory.toml:5: jail \"sshd\": backend \"jurnal\" is not known; use auto, journal, file or btmp",
        "pillory.toml:6: jail \"sshd\": bantime is an empty list; write for example [\"1d\", \"7d\"]",
        "pillory.toml:7: jail \"none\": there is no built-in filter \"none\"; give it a failregex, or name a filter that exists",
        "pillory.toml:8: jail \"none\": logpath \"log\" is no absolute path; begin it with /",
    ];
    assert_eq!(problems, expected);
}

#[test]
fn who_looks_for_recidive_is_told_that_it_is_built_in() {
    let problems = config("[jail.recidive]\nenabled = true\n").unwrap_err();
    assert!(problems[0].contains("banned longer as it is, by the steps of bantime"), "{problems:?}");
}

#[test]
fn a_size_has_a_unit_or_none_and_paths_are_absolute() {
    assert_eq!(config("").unwrap().state_max, 1_000_000_000);
    for (text, bytes) in [("\"1GB\"", 1_000_000_000), ("\"500 mb\"", 500_000_000), ("20000000", 20_000_000)] {
        assert_eq!(config(&format!("state_max = {text}\n")).unwrap().state_max, bytes);
    }
    for (text, problem) in [
        ("state_max = \"9MB\"", "state_max \"9MB\" is too little"),
        ("state_max = \"1XB\"", "state_max \"1XB\" is no size"),
        ("motd = \"motd\"", "motd \"motd\" is no absolute path"),
        ("fail2ban_log = \"fail2ban.log\"", "fail2ban_log \"fail2ban.log\" is no absolute path"),
    ] {
        let problems = config(text).unwrap_err();
        assert!(problems[0].contains(problem), "{problems:?}");
    }
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
fn a_restriction_names_a_port_and_who_may_connect() {
    let text = "[restrict.ssh]\nport = 22\nallow = [\"192.0.2.0/24\", \"home.example.net\"]\n";
    let config = config(text).unwrap();
    let ssh = &config.restrict[0];
    assert_eq!((ssh.name.as_str(), ssh.port.as_slice()), ("ssh", &["22".to_owned()][..]));
    assert_eq!((ssh.allow.len(), ssh.allow_names.as_slice()), (1, &["home.example.net".to_owned()][..]));
}

#[test]
fn a_restriction_that_would_shut_everybody_out_or_in_is_a_problem() {
    for (section, problem) in [
        ("port = 22\nallow = []\n", "ssh: allow names nobody"),
        ("allow = \"192.0.2.1\"\n", "ssh: no port is named"),
        ("port = 22\nallow = \"0.0.0.0/0\"\n", "ssh: \"0.0.0.0/0\" is every address"),
        ("port = 0\nallow = \"192.0.2.1\"\n", "ssh: \"0\" is no port"),
        ("ports = 22\nallow = \"192.0.2.1\"\n", "ssh: there is no key \"ports\""),
    ] {
        let problems = config(&format!("[restrict.ssh]\n{section}")).unwrap_err();
        assert!(problems[0].contains(problem), "{problems:?}");
    }
}

#[test]
fn growth_of_a_jail_goes_over_that_of_the_top_key_by_key() {
    let text = "bantime = \"1h\"\ngrowth = { increment = true, factor = 2, maxtime = \"30d\", overalljails = true }\n\
                [jail.sshd]\ngrowth = { increment = true, formula = \"ban.Time * 3**ban.Count\", rndtime = 60 }\n\
                [jail.dovecot]\ngrowth = { increment = false }\nbantime = [\"1h\", \"2h\"]\n";
    let config = config(text).unwrap();
    let growth = |name| jail(&config, name).policy.growth;
    let sshd = growth("sshd").unwrap();
    assert_eq!((sshd.factor, sshd.overalljails), (Some(2.0), true));
    assert_eq!((sshd.rndtime, sshd.maxtime), (Some(Span::from_secs(60)), Some(Span::from_secs(30 * 86_400))));
    let hour = BanTime::For(Span::from_secs(3_600));
    assert_eq!(sshd.bantime(hour, 2, 0.0), BanTime::For(Span::from_secs(9 * 3_600)));
    assert_eq!(growth("vsftpd").unwrap().bantime(hour, 2, 0.0), BanTime::For(Span::from_secs(8 * 3_600)));
    assert_eq!(growth("dovecot"), None);
}

#[test]
fn growth_begins_with_the_first_step_of_the_usual_ladder() {
    let config = config("growth = { increment = true }\n").unwrap();
    let steps = |name| jail(&config, name).policy.bantime.steps().to_vec();
    assert_eq!(steps("sshd"), [BanTime::For(Span::from_secs(86_400))]);
    assert_eq!(steps("wordpress"), [BanTime::For(Span::from_secs(3_600))]);
}

#[test]
fn growth_that_cannot_be_is_named_with_its_line() {
    let text = "bantime = [\"1d\", \"7d\"]\ngrowth = { increment = true }\n\
                [jail.sshd]\ngrowth = { factor = 0, formla = 1 }\n\
                [jail.dovecot]\nbantime = [\"1h\", \"2h\"]\n\
                [jail.vsftpd]\nbantime = \"1h\"\ngrowth = { increment = true, formula = \"ban.Tim * 2\" }\n\
                [jail.proftpd]\nbantime = \"1h\"\ngrowth = { increment = true, formula = \"1 / (ban.Count - 4)\" }\n";
    let ladder = "bantime is a ladder and growth makes bans longer: only one of them can; give bantime one length, or \
                  write growth = { increment = false }";
    let problems = config(text).unwrap_err();
    let expected = [
        format!("pillory.toml:2: {ladder}"),
        "pillory.toml:4: jail \"sshd\": growth factor \"0\" is out of range; use a number above 0, up to 1000000".into(),
        "pillory.toml:4: jail \"sshd\": growth formla is no key of growth; did you mean formula? Use increment, factor, multipliers, formula, rndtime, maxtime and overalljails".into(),
        "pillory.toml:4: jail \"sshd\": growth does not say whether bans grow; add increment = true, or false".into(),
        format!("pillory.toml:6: jail \"dovecot\": {ladder}"),
        "pillory.toml:9: jail \"vsftpd\": growth formula column 1: \"ban.Tim\" is not known; write ban.Time, ban.Count, banFactor, numbers, and Python's operators, min, max and math functions".into(),
        "pillory.toml:12: jail \"proftpd\": growth: formula gives nothing after 4 bans: a division by zero; mend it".into(),
    ];
    assert_eq!(problems, expected);
}

#[test]
fn a_jails_own_filter_takes_all_of_fail2bans_language() {
    let own = "[jail.a]\nlogpath = \"/a\"\nfailregex = '^a$\\n^b <HOST>$'\nmaxlines = 2\ndatepattern = '{^LN-BEG}%ExY'\n";
    let filter = jail(&config(own).unwrap(), "a").filter;
    assert_eq!((filter.own, filter.maxlines), (true, 2));
    let wrong = "[jail.a]\nlogpath = \"/a\"\nfailregex = '^<HOST>'\ndatepattern = '%ExY %Q'\nmaxlines = 0\n[jail.sshd]\nmaxlines = 2\n";
    let expected = [
        "pillory.toml:4: jail \"a\": filter \"a\": datepattern: line 1, column 6: \"%Q\" is no date code; write %% for a percent sign",
        "pillory.toml:5: jail \"a\": maxlines is out of range; use a number from 1 to 1000",
        "pillory.toml:7: jail \"sshd\": maxlines has no meaning for a built-in filter, which reads single lines; remove it, or give a jail of another name a failregex of its own",
    ];
    assert_eq!(config(wrong).unwrap_err(), expected);
}

#[test]
fn people_have_one_account_where_they_log_in_and_several_mailboxes() {
    let config = config("[jail.own]\nlogpath = \"/log\"\nfailregex = '^no <HOST>$'\n").unwrap();
    let of = ["sshd", "dropbear", "postfix-sasl", "wordpress", "own"];
    assert_eq!(of.map(|name| jail(&config, name).policy.one_account), [true, true, false, false, false]);
}

#[test]
fn the_wall_is_strict_unless_told_otherwise() {
    assert_eq!(config("").unwrap().wall, Wall::default());
    let found = config(
        "[wall]\ncontact = \"abuse@example.net\"\nmask = false\ndelay = \"0s\"\nunlisted = [\"192.0.2.7\"]\n",
    );
    let wall = found.unwrap().wall;
    assert_eq!((wall.contact.as_deref(), wall.rules.mask), (Some("abuse@example.net"), false));
    assert_eq!((wall.rules.delay, wall.rules.min_attempts), (Span::from_secs(0), 10));
    assert_eq!(wall.unlisted, ["192.0.2.7/32".parse().unwrap()]);
    for wrong in [
        "wall = true\n",
        "[wall]\nout = \"/srv/wall\"\n",
        "[wall]\ncontact = \"x\"\nout = \"wall\"\n",
        "[wall]\nmasked = true\n",
        "[wall]\ncontact = \" \"\n",
        "[wall]\nkeep = \"0s\"\n",
        "[wall]\nmin_attempts = 0\n",
        "[wall]\nunlisted = [\"x\"]\n",
    ] {
        assert_eq!(config(wrong).unwrap_err().len(), 1, "{wrong}");
    }
}

#[test]
fn a_database_of_networks_has_an_absolute_path_and_no_other_key() {
    let path = |text: &str| Some(std::path::PathBuf::from(text));
    let found = config("[geo]\nasn = \"/var/lib/asn.mmdb\"\n").unwrap();
    assert_eq!((found.geo.asn, found.geo.country), (path("/var/lib/asn.mmdb"), None));
    let found = config("[geo]\nasn = \"/a.mmdb\"\ncountry = \"/c.mmdb\"\n").unwrap();
    assert_eq!((found.geo.asn, found.geo.country), (path("/a.mmdb"), path("/c.mmdb")));
    let said = config("[geo]\nasn = \"asn.mmdb\"\ncountry = 1\ncity = \"/x\"\n").unwrap_err().join("\n");
    assert!(["asn \"asn.mmdb\"", "country ", "\"city\""].iter().all(|word| said.contains(word)), "{said}");
    for wrong in ["[geo]\nasn = \"asn.mmdb\"\n", "[geo]\ncity = \"/x\"\n", "geo = true\n"] {
        assert_eq!(config(wrong).unwrap_err().len(), 1, "{wrong}");
    }
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

#[test]
fn an_expression_in_double_quotes_is_told_of_single_ones() {
    let text =
        "[jail.app]\nfilter = \"app\"\nlogpath = \"/var/log/app.log\"\nfailregex = \"^\\d+ from <HOST>$\"\n";
    let problems = config(text).unwrap_err();
    assert!(problems.iter().any(|problem| problem.starts_with("pillory.toml:4: ")), "{problems:?}");
    assert!(problems[0].ends_with("use single quotes, as in failregex = ['..']"), "{problems:?}");
    let problems = config("maxretry = = 3\n").unwrap_err();
    assert!(problems[0].ends_with("; write it as TOML"), "{problems:?}");
}
