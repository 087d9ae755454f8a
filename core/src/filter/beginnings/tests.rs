use super::*;

const PREFIX: &str = r"^\S+ (?:sshd|cron)(?:\[\d+\])?: (?P<content>.+)$";
const RULES: [&str; 6] = [
    r"^Failed \S+ for (?:invalid user )?<F-USER>.*</F-USER> from <HOST>(?: port \d+)?$",
    r"^Failed none for x from <HOST> here$",
    r"^(?:Connection (?:closed|reset)|Disconnected) by <HOST>(?: \[preauth\])?\s*$",
    r"^(?!no)[a-z]+: (?(1)a|b) <HOST>",
    r"^Failed none for x from <HOST> there$",
    r"^Failed none for x from <HOST> where$",
];

fn program(expressions: &[&str]) -> Program {
    Program::compile(expressions).unwrap()
}

/// Words of the expressions put together, whole and cut.
fn texts() -> Vec<String> {
    let begins = ["", "host sshd[7]: ", "host cron: ", "host sshd", "host su: "];
    let words = [
        "Failed none for x",
        "Failed x for invalid user y",
        "Connection closed",
        "Disconnected",
        "no: b",
        "yes: b",
        "yes: c",
        "Connection lost",
    ];
    let ends = [
        " from 192.0.2.7",
        " by 192.0.2.7",
        " 192.0.2.7",
        " from 192.0.2.7 port 4",
        " by 192.0.2.7 [preauth]",
        " from 192.0.2.7 here",
        " from 192.0.2.7 there",
        " from 192.0.2.7 where",
        " from 192.0.2.7 nowhere",
        "",
    ];
    let all = begins.iter().flat_map(|begin| words.iter().map(move |word| format!("{begin}{word}")));
    all.flat_map(|text| ends.map(|end| format!("{text}{end}\n"))).collect()
}

type Groups = Vec<(String, std::ops::Range<usize>)>;

/// What a program finds in a text, and what the groups hold.
fn found(program: &mut Program, text: &str) -> Option<(usize, Groups)> {
    let index = program.search(text.as_bytes())?;
    Some((index, program.named(index).map(|(name, place)| (name.to_owned(), place)).collect()))
}

fn assert_that_beginnings_change_nothing(rules: &[&str], texts: &[String]) {
    let (mut with, mut without) = (program(rules), program(rules));
    assert!(with.forget_beginnings(false) && without.forget_beginnings(true));
    let mut matched = vec![false; rules.len()];
    // Again, for those that are trusted no more.
    for text in texts.iter().chain(texts) {
        let found = (found(&mut with, text), found(&mut without, text));
        assert_eq!(found.0, found.1, "{text}");
        found.0.into_iter().for_each(|(index, _)| matched[index] = true);
    }
    assert_eq!(matched, vec![true; rules.len()]);
}

#[test]
fn beginnings_change_nothing() {
    assert_that_beginnings_change_nothing(&RULES, &texts());
}

/// Openings: optional, with choices, such that a rule may begin in the midst, and that ends at several places.
const OPENINGS: [&str; 6] = [
    r"^(?:(?:\S+ )?(?:sshd|cron)(?:\[\d{1,2}\])?:\s+)?",
    r"^(?:(?:\S+ )?(?:sshd|cron)(?:\[(?:7|4[0-8]+)\])?:\s+)?",
    r"^(?:(?:\S+ )?(?:sshd|cron)(?:\[\d+\])?:\s+)?",
    r"^\s*(?:\S+ +)*?(?:[a-z]+(?:\[\d+\])?:\s*)?",
    r"^(?:host |sshd\[7\]: |[A-Z]\S+ ){0,3}",
    r"^(?:host )?(?:sshd\[7\]: )?",
];

#[test]
fn an_opening_that_all_share_changes_nothing() {
    let mut texts = texts();
    let odd = [
        "h\u{f6}st sshd[7]: ",
        "host sshd[\u{661}]: ",
        "host  sshd: ",
        "host sshd[7]: host sshd[7]: ",
        "host sshd[8]: ",
        "host sshd[48]: ",
        "host sshd[47119]: ",
        "host sshd[47]x ",
        "host sshd[]: ",
    ];
    let more: Vec<String> =
        odd.iter().flat_map(|odd| texts.iter().step_by(7).map(move |text| format!("{odd}{text}"))).collect();
    texts.extend(more);
    for opening in OPENINGS {
        let rules = RULES.map(|rule| format!("{opening}{}", &rule[1..]));
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        let trees = program(&rules);
        assert!(Opening::new(&trees.trees().collect::<Vec<_>>()).is_some(), "{opening}");
        assert_that_beginnings_change_nothing(&rules, &texts);
    }
}

#[test]
fn an_expression_that_tells_digits_apart_spoils_shapes_for_texts_that_begin_like_it_only() {
    let rules = [r"^closed by <HOST>: 3: .*$", r"^closed by <HOST>: \d+: .*$", r"^lost by <HOST> port \d+$"];
    let digits = ["1", "3", "7"].map(|octet| ["3", "4", "33"].map(|number| (octet, number)));
    let texts = digits.iter().flatten().flat_map(|(octet, number)| {
        [
            format!("closed by 192.0.2.{octet}: {number}: x"),
            format!("lost by 192.0.2.{octet} port {number}"),
            format!("lost by 192.0.2.{octet} pod {number}"),
        ]
    });
    assert_that_beginnings_change_nothing(&rules, &texts.collect::<Vec<_>>());
    assert!(program(&rules).keeps_shapes());
    assert!(!program(&[r"^closed 3 by <HOST>$", r"^lost by <HOST>$"]).keeps_shapes());
}

#[test]
fn beginnings_die_no_sooner_than_expressions() {
    let mut dead = 0;
    let openings = OPENINGS.into_iter().chain(["^"]);
    let opened = openings.map(|opening| RULES.map(|rule| format!("{opening}{}", &rule[1..])));
    let opened = opened.map(|rules| {
        let rules = rules.each_ref().map(String::as_str);
        let mut whole = program(&rules);
        assert!(whole.forget_beginnings(true));
        (program(&rules), whole)
    });
    let mut opened: Vec<(Program, Program)> = opened.collect();
    let heads = ["host cron[", "host su:", "Failed:", "no:", "x", "192.0.2.7", "host sshd[7]: host su:"];
    for head in heads {
        for (with, without) in &mut opened {
            let dies = with.dies_behind(head.as_bytes());
            assert!(!dies || without.dies_behind(head.as_bytes()), "{head}");
            dead += u32::from(dies);
        }
    }
    assert!(dead > 10, "{dead}");
}

#[test]
fn what_captures_or_looks_around_is_no_opening() {
    for opening in [r"^(a )?", r"^(?:(?=a)a )?", r"^(?>a+) ", r"^(?:a{100} )?"] {
        let rules = [format!("{opening}b <HOST>"), format!("{opening}c <HOST>")];
        let rules = program(&rules.each_ref().map(String::as_str));
        assert!(Opening::new(&rules.trees().collect::<Vec<_>>()).is_none(), "{opening}");
    }
}

#[test]
fn the_screen_refuses_only_what_matches_nothing() {
    let (mut prefix, mut rules) = (program(&[PREFIX]), program(&RULES));
    let mut screen = Screen::new(&prefix, &rules).unwrap();
    let (mut matching, mut refused) = (0, 0);
    for text in texts() {
        let content = prefix.search(text.as_bytes()).and_then(|index| prefix.captured(index).content);
        let is_match = content.is_some_and(|content| rules.is_match(&text.as_bytes()[content.start..]));
        let passes = screen.may_match(text.as_bytes());
        assert!(passes || !is_match, "{text}");
        (matching, refused) = (matching + u32::from(is_match), refused + u32::from(!passes));
    }
    assert!(matching > 0 && refused > 200, "{matching} match, {refused} are refused");
}

#[test]
fn there_is_none_where_it_could_not_tell() {
    assert!(!program(&["^a <HOST>", "b <HOST>"]).forget_beginnings(false));
    for prefix in
        ["^a (?P<content>.*)$", "^a (?P<content>.+?) b$", "^a (?P<content>.+) b$", "a (?P<content>.+)$"]
    {
        assert!(Screen::new(&program(&[prefix]), &program(&RULES)).is_none(), "{prefix}");
    }
}
