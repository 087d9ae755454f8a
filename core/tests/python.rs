//! The front end for regular expressions, compared with Python's own `re` where python3 is installed.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a test may run the program that it compares with")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::cell::Cell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pillory_core::filter::regex::{Found, Matcher, Options, Scratch, lower, parse};
use serde_json::{Value, json};

/// Answers one question a line: whether a pattern is one, and what it finds in each text.
const ORACLE: &str = r"
import json, re, sys, warnings
warnings.simplefilter('ignore')
for line in sys.stdin:
    ask = json.loads(line)
    try:
        found = re.compile(ask['pattern'], re.M if ask['multiline'] else 0)
    except (re.error, OverflowError, RecursionError) as e:
        print(json.dumps({'error': str(e)}), flush=True)
        continue
    out = []
    for text in ask['texts']:
        m = found.search(bytes(text).decode('utf-8', 'replace'))
        out.append(m and [m.span(i) for i in range(found.groups + 1)])
    print(json.dumps({'found': out}), flush=True)
";

struct Python {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Python {
    /// Python, or nothing if it is not installed or not of the grammar that is spoken here.
    fn start() -> Option<Python> {
        let check = "import sys; sys.exit(sys.version_info < (3, 11))";
        if !Command::new("python3").args(["-c", check]).status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: no python3 of 3.11 or later");
            return None;
        }
        let mut child = Command::new("python3")
            .args(["-c", ORACLE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (ask, answer) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Some(Python { child, ask, answer: BufReader::new(answer) })
    }

    fn ask(&mut self, pattern: &str, multiline: bool, texts: &[Vec<u8>]) -> Value {
        let question = json!({"pattern": pattern, "multiline": multiline, "texts": texts});
        writeln!(self.ask, "{question}").unwrap();
        let mut line = String::new();
        self.answer.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the front end finds, in Python's form: places counted in characters.
fn ours(pattern: &str, multiline: bool, texts: &[Vec<u8>]) -> Value {
    let tree = match parse(pattern, Options { multiline }) {
        Ok(tree) => tree,
        Err(error) => return json!({"error": error.to_string()}),
    };
    let groups = tree.groups.len();
    let nfa = automaton(&tree);
    let mut matcher = Matcher::new(tree).unwrap();
    let mut scratch = Scratch::default();
    let found: Vec<Value> = texts
        .iter()
        .map(|text| {
            let place = |at: usize| String::from_utf8_lossy(&text[..at]).chars().count();
            let careful = matcher.search_carefully(&mut scratch, text);
            let groups_of =
                |scratch: &Scratch| (0..groups).map(|index| scratch.group(index)).collect::<Vec<_>>();
            let carefully = groups_of(&scratch);
            let found = matcher.search(&mut scratch, text);
            assert_eq!(careful, found, "{pattern} on {text:?}");
            assert!(found != Found::Match || carefully == groups_of(&scratch), "{pattern} on {text:?}");
            let span = |index: usize| {
                scratch
                    .group(index)
                    .map_or(json!([-1, -1]), |span| json!([place(span.start), place(span.end)]))
            };
            match found {
                Found::Limit => json!("limit"),
                Found::Nothing => Value::Null,
                Found::Match => {
                    assert!(may_match(&nfa, text), "the automaton misses {pattern} in {text:?}");
                    (0..groups).map(span).collect()
                }
            }
        })
        .collect();
    json!({"found": found})
}

type Automaton = regex_automata::nfa::thompson::pikevm::PikeVM;

fn automaton(tree: &pillory_core::filter::regex::Tree) -> Automaton {
    use regex_automata::nfa::thompson::{self, NFA};
    let config = thompson::Config::new().utf8(false);
    let nfa = NFA::compiler().configure(config).build_from_hir(&lower(tree).hir).unwrap();
    Automaton::new_from_nfa(nfa).unwrap()
}

fn may_match(automaton: &Automaton, text: &[u8]) -> bool {
    let input = regex_automata::Input::new(text).anchored(regex_automata::Anchored::Yes);
    automaton.is_match(&mut automaton.create_cache(), input)
}

fn compare(python: &mut Python, pattern: &str, multiline: bool, texts: &[Vec<u8>]) -> bool {
    let theirs = python.ask(pattern, multiline, texts);
    let ours = ours(pattern, multiline, texts);
    match (theirs.get("error"), ours.get("error")) {
        (Some(_), Some(_)) => false,
        (None, None) => {
            for ((text, theirs), ours) in
                texts.iter().zip(theirs["found"].as_array().unwrap()).zip(ours["found"].as_array().unwrap())
            {
                let text = String::from_utf8_lossy(text);
                assert_eq!(ours, theirs, "ours, theirs: {pattern} on {text:?} multiline {multiline}");
            }
            true
        }
        _ => panic!("{pattern}: python says {theirs}, the front end {ours}"),
    }
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }
}

/// What expressions are made of.
const PIECES: &[&str] = &[
    "a",
    "b",
    "(",
    ")",
    "(?:",
    "(?P<n>",
    "(?P<m>",
    "(?P=n)",
    "(?P=m)",
    "(?i)",
    "(?i:",
    "(?-i:",
    "(?x)",
    "(?x:",
    "(?m)",
    "(?s-i:",
    "(?au)",
    "(?L)",
    "(?a)",
    "(?u:",
    "(?-a:",
    "(?=",
    "(?!",
    "(?<=",
    "(?<!",
    "(?>",
    "(?(1)",
    "(?(n)",
    "(?(2)",
    "(?(0)",
    "(?#c)",
    "(?#",
    "\\1",
    "\\2",
    "\\12",
    "\\123",
    "\\777",
    "\\0",
    "\\08",
    "\\x4",
    "\\x41",
    "\\u0041",
    "\\U00000041",
    "\\d",
    "\\W",
    "\\s",
    "\\b",
    "\\B",
    "\\A",
    "\\Z",
    "\\z",
    "\\y",
    "\\<",
    "\\",
    "|",
    "*",
    "+",
    "?",
    "{2}",
    "{,2}",
    "{2,}",
    "{,}",
    "{}",
    "{x",
    "{3,2}",
    "{2",
    "[a",
    "[^",
    "]",
    "a-z",
    "[]a]",
    "[^]]",
    "[a-]",
    "[z-a]",
    "[\\w-a]",
    "[\\d]",
    "[\\b]",
    "[\\8]",
    "[\\B]",
    "^",
    "$",
    ".",
    " ",
    "#",
    "\n",
    "<",
    ">",
    "=",
    "!",
    "-",
    ":",
    "é",
    "(?P>",
    "(?P",
    "(?",
    "(?z)",
    "(?<n>a)",
    "(?P<1>a)",
    "(?P<é>a)",
    "{99999999999}",
];

#[test]
fn accepts_and_refuses_what_python_does() {
    let Some(mut python) = Python::start() else { return };
    let mut dice = Dice(7);
    let texts = bytes(&["", "ab", "aab b", "A\nb"]);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let pattern: String = (0..1 + dice.roll(7)).map(|_| dice.pick(PIECES)).collect();
        accepted += usize::from(compare(&mut python, &pattern, dice.roll(2) == 0, &texts));
    }
    assert!(accepted > 2_000, "{accepted}");
}

/// An expression that Python accepts, mostly.
///
/// `captures`: how many groups it has so far. Without it there are possessive and atomic parts instead: of what such
/// a part captures, Python forgets to undo what it captured on a way that failed.
fn expression(dice: &mut Dice, depth: usize, captures: Option<&Cell<usize>>) -> String {
    const ATOMS: &[&str] = &[
        "a", "b", "ab", "aa", "é", "k", ".", "\\w", "\\W", "\\s", "\\S", "\\d", "[ab]", "[^a]", "[^ab]",
        "[a-c]", "[^\\s]", "[é-ü]", "[^é]", "\\b", "\\B", "^", "$", "\\A", "\\Z", " ", "",
    ];
    const REPEATS: &[&str] = &["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{,2}?", "{2,}", "{1,3}"];
    if depth == 0 {
        return dice.pick(ATOMS).to_owned();
    }
    let inner = |dice: &mut Dice| expression(dice, depth - 1, captures);
    match (dice.roll(14), captures) {
        (0..=2, _) => inner(dice) + &inner(dice),
        (3, _) => format!("{}|{}", inner(dice), inner(dice)),
        (4 | 5, _) => format!("(?:{}){}", inner(dice), dice.pick(REPEATS)),
        (6 | 7, Some(groups)) => {
            let inside = inner(dice);
            groups.set(groups.get() + 1);
            format!("({inside}){}", dice.pick(&["", "", "*", "+", "?", "*?"]))
        }
        (6, None) => format!("(?:{}){}", inner(dice), dice.pick(&["*+", "?+", "{1,3}+", "++"])),
        (7, None) => format!("(?>{})", inner(dice)),
        (8, _) => format!("({}{})", dice.pick(&["?=", "?!"]), inner(dice)),
        (9, _) => {
            let look = dice.pick(&["?<=", "?<!"]);
            format!("({look}{})", dice.pick(&["a", "ab|ba", "[^b]", "\\w", "é", "^", "."]))
        }
        (13, _) => {
            let word = dice.pick(&["ab", "aa", "b ", "bc"]);
            format!(
                "(?:(?!{word}){}){}",
                dice.pick(&[".", "\\S", "[^b]", "\\w"]),
                dice.pick(&["*", "*?", "+", "+?"])
            )
        }
        (10, _) => format!("(?{}:{})", dice.pick(&["i", "s", "m"]), inner(dice)),
        (11, Some(groups)) if groups.get() > 0 => format!("\\{}", 1 + dice.roll(groups.get())),
        (12, Some(groups)) if groups.get() > 0 => {
            format!("(?({}){}|{})", 1 + dice.roll(groups.get()), inner(dice), inner(dice))
        }
        _ => dice.pick(ATOMS).to_owned() + &inner(dice),
    }
}

fn line(dice: &mut Dice) -> Vec<u8> {
    const LETTERS: &[&[u8]] = &[
        b"a",
        b"a",
        b"b",
        b"b",
        b"A",
        b"B",
        b" ",
        b"1",
        b"\n",
        "é".as_bytes(),
        "É".as_bytes(),
        b"\xff",
        b"\xe2\x82",
        "\u{212a}".as_bytes(),
        "“".as_bytes(),
        b"c",
        "\u{a0}".as_bytes(),
    ];
    (0..dice.roll(9)).flat_map(|_| LETTERS[dice.roll(LETTERS.len())].to_vec()).collect()
}

#[test]
fn a_condition_far_behind_its_group_decides_as_pythons_does() {
    let Some(mut python) = Python::start() else { return };
    let texts = bytes(&[
        "u a b from h",
        "u a from h: x",
        "u a from b from h",
        "u a:b from h",
        "u inv a from h",
        "u inv a b from h: from i",
        "u a from h from i: ",
        ": u a from h",
        "u from h: ",
        "u é from h",
        "",
    ]);
    for pattern in [
        r"^u (?P<inv>inv )?(?P<user>(?P<one>\S+)|(?(inv)(?:(?! from ).)*?|[^:]+)) from (\S+)(?(one): |(?:(?! from ).)*$)",
        r"u (?:(\S+)|.*?) from (\w+)(?(1): |$)",
        r"u (?:(\S+)|.*?) from (\w+)(?(1): |: )",
        r"(?:(u) |.)*(\w+)(?(1): |h)",
        r"(?!(u) a:)(?:(\S+)|[^:]+) (?(2): |(?(1)a|f))",
        r"(?=(u)|(.*:))(?:(u)|.)*(?(1)(?(3):|x)|:)",
    ] {
        assert!(compare(&mut python, pattern, false, &texts), "{pattern}");
    }
}

#[test]
fn finds_what_python_finds() {
    let Some(mut python) = Python::start() else { return };
    let mut dice = Dice(std::env::var("SEED").map_or(11, |seed| seed.parse().unwrap()));
    let mut accepted = 0;
    for _ in 0..20_000 {
        let groups = Cell::new(0);
        let captures = (dice.roll(4) > 0).then_some(&groups);
        // Within a part, `(?a:..)`, Python's search itself forgets the flag.
        let flags = dice.pick(&["", "", "", "(?a)", "(?i)"]);
        let pattern = flags.to_owned() + &expression(&mut dice, 4, captures);
        let texts: Vec<Vec<u8>> = (0..12).map(|_| line(&mut dice)).collect();
        accepted += usize::from(compare(&mut python, &pattern, dice.roll(4) == 0, &texts));
    }
    assert!(accepted > 10_000, "{accepted}");
}
