//! Every expression of fail2ban's own filters goes through the front end, and no line makes one slow.
//!
//! The filters are fail2ban's and not part of the project. `make test` unpacks them below `target/tools`; without
//! them, or without python3, there is nothing to do, and the tests say so. fail2ban's own reader fills in what its
//! configuration language leaves open, in every mode and for every kind of log.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a test may run the program that it compares with")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by them")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use pillory_core::filter::regex::{Found, HostNames, Matcher, Options, Scratch, expand, lower, parse};
use serde_json::Value;

/// Writes each different expression as a JSON line: the text, whether it is for several lines, and the form that
/// fail2ban itself compiles.
const READER: &str = r"
import glob, json, os, sys
root = sys.argv[1]
sys.path.insert(0, root + '/usr/lib/python3/dist-packages')
from fail2ban.client.filterreader import FilterReader
from fail2ban.server.failregex import Regex
folder, seen = root + '/etc/fail2ban', set()
for path in sorted(glob.glob(folder + '/filter.d/*.conf')):
    name = os.path.basename(path)[:-5]
    for mode in (None, 'normal', 'ddos', 'extra', 'aggressive', 'more', 'auth', 'rbl', 'errors', 'fallback'):
        for logtype in (None, 'file', 'short', 'journal', 'rfc5424'):
            options = {k: v for k, v in (('mode', mode), ('logtype', logtype)) if v}
            try:
                reader = FilterReader(name, 'jail', options, basedir=folder)
                reader.read()
                reader.getOptions(None)
                values = reader.getCombined()
            except Exception:
                continue
            lines = str(values.get('maxlines') or '1') != '1'
            for key in ('prefregex', 'failregex', 'ignoreregex'):
                for text in (values.get(key) or '').split('\n'):
                    if text and (text, lines) not in seen:
                        seen.add((text, lines))
                        try:
                            Regex(text, multiline=lines)
                        except Exception:
                            continue
                        print(json.dumps([name, text, lines]))
";

struct Stock {
    filter: String,
    text: String,
    multiline: bool,
}

fn stock() -> Option<Vec<Stock>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    if !root.join("etc/fail2ban/filter.d").is_dir() {
        eprintln!("skipped: {}: no fail2ban there; make test unpacks it", root.display());
        return None;
    }
    let run = Command::new("python3").args(["-c", READER]).arg(&root).output();
    let Ok(run) = run else {
        eprintln!("skipped: no python3, which reads fail2ban's filters");
        return None;
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let read = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |at: usize| value[at].as_str().unwrap().to_owned();
        Stock { filter: text(0), text: text(1), multiline: value[2].as_bool().unwrap() }
    };
    Some(String::from_utf8(run.stdout).unwrap().lines().map(read).collect())
}

fn matcher_of(text: &str, names: HostNames, multiline: bool) -> Matcher {
    let expanded = expand(text, names).unwrap();
    let tree =
        parse(&expanded.pattern, Options { multiline }).unwrap_or_else(|error| panic!("{error}: {text}"));
    Matcher::new(tree).unwrap()
}

fn matcher(stock: &Stock) -> Matcher {
    matcher_of(&stock.text, HostNames::Match, stock.multiline)
}

#[test]
fn every_stock_expression_compiles() {
    let Some(all) = stock() else { return };
    let mut exact = 0;
    for one in &all {
        let matcher = matcher(one);
        let lowered = lower(matcher.tree());
        exact += usize::from(lowered.exact);
        let nfa = regex_automata::nfa::thompson::NFA::compiler()
            .configure(regex_automata::nfa::thompson::Config::new().utf8(false))
            .build_from_hir(&lowered.hir);
        assert!(nfa.is_ok(), "{}: {}", one.filter, one.text);
    }
    eprintln!("{} expressions, {exact} exact in an automaton", all.len());
    assert!(all.len() > 300, "{}", all.len());
}

/// For each pattern with tags and each text: what the named groups hold, by fail2ban's own expansion.
const TAGS: &str = r"
import json, re, sys
sys.path.insert(0, sys.argv[1] + '/usr/lib/python3/dist-packages')
from fail2ban.server.failregex import Regex
for line in sys.stdin:
    text, names, lines = json.loads(line)
    found = re.compile(Regex._resolveHostTag(text, useDns='yes' if names else 'no'))
    out = []
    for line in lines:
        m = found.search(line)
        out.append(m and {k: v for k, v in m.groupdict().items() if v is not None})
    print(json.dumps(out), flush=True)
";

/// Expressions with every tag.
const EXPRESSIONS: &[&str] = &[
    "<HOST>",
    "^<HOST>",
    "<HOST>$",
    "^a <HOST> b",
    "from <HOST>(?: port)?",
    "<ADDR>",
    " <ADDR> ",
    "^<ADDR>$",
    "<IP4>",
    "^<IP4>b?",
    "<IP6>",
    "^<IP6>$",
    "<DNS>",
    "^<DNS> ",
    "<SUBNET>",
    "^<SUBNET>$",
    "<ADDR>/<CIDR>",
    "<F-ID/>",
    "<F-ID>[^ ]+</F-ID> <F-USER>\\S+</F-USER>",
    "<F-PORT/>",
    "<F-ALT_USER>a</F-ALT_USER>|<F-ALT_USER_1>b</F-ALT_USER_1>",
    "<F-TUPLE_ID>1</F-TUPLE_ID>",
    "<F-X/>|a",
    "(?:<HOST>|x)<F-NOFAIL>a?</F-NOFAIL>",
    "<F-MLFID>a</F-MLFID>.*<SKIPLINES>b",
];

/// What texts are made of.
const PIECES: &[&str] = &[
    "1",
    "12",
    "255",
    ".",
    "1.2.3.4",
    "::",
    "::ffff:",
    "::fffff:",
    "f",
    "a:",
    ":",
    "[",
    "]",
    "/",
    "24",
    " ",
    "host",
    "-",
    "é",
    "^",
    "a ",
    " b",
    "from ",
    " port",
    "\n",
    "2001:db8::1",
    "A",
    "_",
    "<F-X/>",
];

#[test]
fn tags_match_the_text_that_fail2ban_matches() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    if stock().is_none() {
        return;
    }
    let mut seed = 5_u64;
    let mut roll = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let mut questions = Vec::new();
    for expression in EXPRESSIONS {
        for names in [true, false] {
            let line = |roll: &mut dyn FnMut(usize) -> usize| -> String {
                (0..1 + roll(8)).map(|_| PIECES[roll(PIECES.len())]).collect()
            };
            let lines: Vec<String> = (0..2_000).map(|_| line(&mut roll)).collect();
            questions.push((*expression, names, lines));
        }
    }
    let asked = std::env::temp_dir().join(format!("pillory-tags-{}", std::process::id()));
    let text: Vec<String> =
        questions.iter().map(|question| serde_json::to_string(question).unwrap()).collect();
    std::fs::write(&asked, text.join("\n")).unwrap();
    let file = std::fs::File::open(&asked).unwrap();
    let run = Command::new("python3").args(["-c", TAGS]).arg(&root).stdin(file).output().unwrap();
    std::fs::remove_file(&asked).unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut matches = 0;
    for ((expression, names, lines), answer) in
        questions.iter().zip(String::from_utf8(run.stdout).unwrap().lines())
    {
        let theirs: Vec<Option<BTreeMap<String, String>>> = serde_json::from_str(answer).unwrap();
        let names = if *names { HostNames::Match } else { HostNames::Refuse };
        let mut matcher = matcher_of(expression, names, false);
        let mut scratch = Scratch::default();
        for (line, theirs) in lines.iter().zip(theirs) {
            let found = matcher.search(&mut scratch, line.as_bytes());
            let groups = matcher.tree().groups.iter().enumerate();
            let ours: BTreeMap<String, String> = groups
                .filter_map(|(at, name)| Some((name.clone()?, line[scratch.group(at)?].to_owned())))
                .collect();
            assert_eq!((found == Found::Match).then_some(ours), theirs, "{expression} {names:?} {line:?}");
            matches += usize::from(found == Found::Match);
        }
    }
    assert!(matches > 20_000, "{matches}");
}

/// Lines that make backtracking engines slow, 64 KiB each.
fn hostile() -> Vec<Vec<u8>> {
    let fill = |start: &str, piece: &str| {
        let mut line = start.as_bytes().to_vec();
        while line.len() + piece.len() < 64 * 1024 {
            line.extend_from_slice(piece.as_bytes());
        }
        line.push(b'\n');
        line
    };
    [
        ("", "a"),
        ("", " "),
        ("", "1.2.3.4 "),
        ("", "a:"),
        ("", "\\\""),
        ("", "é"),
        ("", "\u{fffd} "),
        ("<86>1 2026-11-22T07:57:11Z host ", "[a b=\"c\"]"),
        (" host pam(sshd:auth): authentication failure; ", "logname= uid=0 "),
        (" host ", "[a ] "),
        ("[", "- \\] "),
        (" host dovecot: auth-worker(1): pam(", "a,1.2.3.4,"),
        (" host dovecot: imap-login: Disconnected: ", "(auth failed, 1 attempts): user=<a>, "),
        ("[11:0000-1111] SMTP Server: ", "Authentication failed for user a ; connection host 1.2.3.4 "),
        (" host sshd[1]: Failed password for ", "invalid user from 1.2.3.4 port 1 "),
        (" host sshd[1]: ", "Connection closed by authenticating user a 1.2.3.4 port 1 [preauth] "),
        ("[error] [client 1.2.3.4] ", "AH01617: user a: authentication failure for \"/\": "),
        (" host postfix/smtpd[1]: warning: ", "a[1.2.3.4]: SASL LOGIN authentication failed: "),
        (" host named[1]: ", "client @0x1 1.2.3.4#1 (a): query (cache) 'a' denied "),
    ]
    .map(|(start, piece)| fill(start, piece))
    .to_vec()
}

#[test]
fn no_hostile_line_takes_a_stock_expression_long() {
    let Some(all) = stock() else { return };
    let mut worst: Vec<(Duration, String, usize)> = Vec::new();
    let mut scratch = Scratch::default();
    let mut limits = 0;
    let lines = hostile();
    for one in &all {
        let mut matcher = matcher(one);
        for (number, line) in lines.iter().enumerate() {
            let start = Instant::now();
            let found = matcher.search(&mut scratch, line);
            worst.push((start.elapsed(), format!("{}: {}", one.filter, one.text), number));
            if found == Found::Limit {
                limits += 1;
                eprintln!("limit: {}: line {number}: {}", one.filter, one.text);
            }
        }
    }
    worst.sort();
    for filter in ["", "pam-generic", "dovecot", "domino-smtp"] {
        let slowest = worst.iter().rev().find(|(_, text, _)| text.starts_with(filter)).unwrap();
        eprintln!("slowest of {filter}: {:?} on line {}: {}", slowest.0, slowest.2, slowest.1);
    }
    assert_eq!(limits, 0);
    let most = if cfg!(debug_assertions) { 4_000 } else { 500 };
    assert!(worst.last().unwrap().0 < Duration::from_millis(most));
}
