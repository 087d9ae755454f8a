//! What is done with bytes from anywhere, one function a target. None may panic, and none may take long.
//!
//! The fuzzer calls them with what it invents, and `core/tests/fuzz.rs` with what is stored in `fuzz/corpus`.
//! These are the core's decoders; `daemon/src/fuzz.rs` has the daemon's.

use std::cell::RefCell;

use jiff::tz::TimeZone;
use pillory_core::addresslist;
use pillory_core::config::fail2ban::{self, Files, ReadOptions};
use pillory_core::config::{raw, resolve};
use pillory_core::event::Line;
use pillory_core::filter::btmp::{self, Layout};
use pillory_core::filter::dates::{self, Detector};
use pillory_core::filter::fail2ban::{Encoding, Fail2banFilter, Options, Timing};
use pillory_core::filter::judge::BuiltIn;
use pillory_core::filter::regex::{self, Found, HostNames, Matcher, Scratch};
use pillory_core::filter::{Clock, FilterSpec, Verdict, catalog, header, ini};
use pillory_core::jail::growth::Growth;
use pillory_core::jail::growth::formula::Formula;
use pillory_core::rescue::Codes;
use pillory_core::time::{BanTime, Span, Timestamp};

/// What one target does with bytes.
pub type Body = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Body); 10] = [
    ("regex", regex),
    ("dates", dates),
    ("settings", settings),
    ("judge", judge),
    ("btmp", btmp),
    ("builtin", builtin),
    ("config", config),
    ("formula", formula),
    ("lists", lists),
    ("rescue", rescue),
];

/// Expressions and texts longer than this only cost time here.
const LONGEST: usize = 2_000;

fn clock() -> Clock {
    Clock { now: Timestamp::from_secs(1_795_334_231), zone: TimeZone::UTC }
}

/// The first line, and what follows it.
fn head(data: &[u8]) -> (String, &[u8]) {
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let line = &data[..end.min(LONGEST)];
    (String::from_utf8_lossy(line).into_owned(), data.get(end + 1..).unwrap_or_default())
}

/// An expression in the first line, a text behind it: both forms of the matcher find the same.
pub fn regex(data: &[u8]) {
    let (pattern, text) = head(data);
    let text = &text[..text.len().min(LONGEST)];
    for (names, multiline) in [(HostNames::Match, false), (HostNames::Refuse, true), (HostNames::Own, false)]
    {
        let Ok(expanded) = regex::expand(&pattern, names) else { continue };
        let Ok(tree) = regex::parse(&expanded.pattern, regex::Options { multiline }) else { continue };
        regex::lower(&tree);
        let Ok(mut matcher) = Matcher::new(tree) else { continue };
        let (mut quick, mut careful) = (Scratch::default(), Scratch::default());
        let found = (matcher.search(&mut quick, text), matcher.search_carefully(&mut careful, text));
        if found.0 == Found::Limit || found.1 == Found::Limit {
            continue;
        }
        assert_eq!(found.0, found.1, "{pattern:?}");
        for group in (0..matcher.tree().groups.len()).filter(|_| found.0 == Found::Match) {
            assert_eq!(quick.group(group), careful.group(group), "{pattern:?} group {group}");
        }
    }
}

/// A `datepattern` in the first line, or nothing for the usual ones; lines behind it.
pub fn dates(data: &[u8]) {
    let (pattern, lines) = head(data);
    let datepattern = Some(pattern.as_str()).filter(|pattern| !pattern.is_empty());
    let Ok(mut detector) = Detector::new(&dates::Options { datepattern, logtimezone: None, year: 2026 })
    else {
        return;
    };
    for line in lines.split(|b| *b == b'\n') {
        if let Some(found) = detector.find(line, &clock()) {
            assert!(found.range.start <= found.range.end && found.range.end <= line.len());
        }
    }
}

/// The files of a directory, one after the other.
struct Pieces<'a>(Vec<&'a [u8]>);

/// Which file a piece is.
const NAMES: [&str; 6] = [
    "/f/jail.conf",
    "/f/jail.local",
    "/f/filter.d/f.conf",
    "/f/action.d/a.conf",
    "/f/fail2ban.conf",
    "/f/filter.d/f.local",
];

impl Files for Pieces<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let at = NAMES.iter().position(|name| *name == path);
        Ok(at.and_then(|at| self.0.get(at)).map(|piece| piece.to_vec()))
    }

    fn list(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

/// Files of a directory, with NUL between them: see [`NAMES`].
pub fn settings(data: &[u8]) {
    let pieces: Vec<&[u8]> = data.split(|b| *b == 0).collect();
    for piece in &pieces {
        ini::parse(&String::from_utf8_lossy(piece));
    }
    let read = fail2ban::read(&Pieces(pieces), "/f", &ReadOptions::default());
    read.problems.iter().for_each(|problem| drop(problem.to_string()));
}

/// `prefregex`, `failregex`, `ignoreregex` and `datepattern`, a line each, and lines to judge.
pub fn judge(data: &[u8]) {
    let (prefix, rest) = head(data);
    let (rule, rest) = head(rest);
    let (ignore, rest) = head(rest);
    let (dates, lines) = head(rest);
    let filled = |text: String| Some(text).filter(|text| !text.is_empty());
    let maxlines = if lines.len() % 3 == 0 { 3 } else { 1 };
    let spec = FilterSpec {
        name: "f".into(),
        prefregex: filled(prefix),
        failregex: vec![rule],
        ignoreregex: filled(ignore).into_iter().collect(),
        datepattern: filled(dates),
        ..FilterSpec::default()
    };
    let options = Options {
        maxlines,
        names: HostNames::Match,
        raw: false,
        zone: None,
        year: 2026,
        keep_matches: true,
        encoding: Encoding::Utf8,
    };
    let Ok(mut filter) = Fail2banFilter::compile(&spec, options) else { return };
    for bytes in lines.split(|b| *b == b'\n').take(20) {
        filter.judge(&Line { bytes, stamp: None }, &clock(), Timing::Any, clock().now);
        filter.captures().for_each(|(_, value)| drop(value.text()));
    }
}

/// Records of a login log.
pub fn btmp(data: &[u8]) {
    let found = Layout::find(data).into_iter().chain([Layout::detect(data)]);
    for layout in found.chain(Layout::ALL) {
        for record in data.chunks(layout.record_bytes()) {
            btmp::failed_login(layout, record);
            btmp::good_login(layout, record);
        }
    }
}

thread_local! {
    /// The built-in filters: compiling them takes longer than judging a line.
    static BUILT_IN: RefCell<Vec<BuiltIn>> = RefCell::new(
        catalog::names().filter_map(catalog::builtin).filter_map(|spec| BuiltIn::compile(&spec).ok()).collect(),
    );
}

/// Lines, through the header of syslog and every built-in filter. A stamp of the source replaces that of every other one.
pub fn builtin(data: &[u8]) {
    for (number, bytes) in data.split(|b| *b == b'\n').take(8).enumerate() {
        if let Some(header) = header::parse(bytes) {
            assert!(header.message <= bytes.len());
            header.host_hash();
        }
        let line = Line { bytes, stamp: (number % 2 == 1).then(|| clock().now) };
        BUILT_IN.with_borrow_mut(|filters| {
            for filter in filters {
                let verdict = filter.judge(&line, &clock());
                let finding = filter.examine(&line, &clock());
                assert_eq!(finding.verdict, verdict);
                if let Some(date) = finding.date {
                    assert!(date.start <= date.end && date.end <= bytes.len());
                }
                if let Verdict::Event(event) = verdict {
                    assert!(event.stamp.is_some() || line.stamp.is_none());
                }
            }
        });
    }
}

/// A `pillory.toml`. What is wrong is said with a line of it, and what is right compiles or says why not.
pub fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.split('\n').count();
    let read = raw::parse("pillory.toml", &text).and_then(|raw| resolve::resolve(&raw));
    match read {
        Ok(config) => {
            // The built-in filters compile; they take long, and a test of their own holds it.
            for jail in config.jails.iter().filter(|jail| jail.filter.own) {
                drop(pillory_core::filter::Filter::compile(&jail.filter));
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(problem.line <= lines, "{problem}");
            }
        }
    }
}

/// A formula in the first line, for bans that grow: no number is too much for it.
pub fn formula(data: &[u8]) {
    let (text, rest) = head(data);
    let Ok(formula) = Formula::parse(&text) else { return };
    let byte = |at: usize| rest.get(at).copied().unwrap_or(7);
    let factor = f64::from(byte(0)) / 16.0;
    let base = Span::from_secs(1 << (byte(1) % 40));
    for count in [0, 1, u32::from(byte(2)), u32::MAX] {
        let _ = formula.compute((base.secs() as f64).into(), count, factor.into());
        let growth = Growth { formula: Some(formula.clone()), factor: Some(factor), ..Growth::default() };
        let grown = growth.bantime(BanTime::For(base), count, 0.5);
        assert!(matches!(grown, BanTime::For(span) if span >= base), "{text}: {grown:?}");
    }
}

/// A list of addresses.
pub fn lists(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let list = addresslist::parse(&text);
    let lines = text.lines().count();
    for entry in &list.entries {
        assert!((1..=lines).contains(&entry.line) && entry.prefix.prefix_len() > 0);
        assert!(entry.note.chars().count() <= addresslist::MAX_NOTE_CHARS);
        assert_eq!(entry.prefix.to_string().parse(), Ok(entry.prefix));
    }
    for passed in &list.passed {
        assert!((1..=lines).contains(&passed.line));
        assert!(passed.text.chars().count() <= addresslist::MAX_SHOWN_CHARS);
    }
}

/// Digests of rescue codes as they are kept in the first line, codes as they are typed behind it: each is good once.
pub fn rescue(data: &[u8]) {
    let (kept, lines) = head(data);
    let mut codes = Codes::restore(&kept);
    assert_eq!(Codes::restore(&codes.kept()), codes);
    for line in lines.split(|b| *b == b'\n').take(20) {
        let code = String::from_utf8_lossy(line);
        codes.add(&code);
        let before = codes.len();
        if codes.use_up(&code) {
            assert!(codes.len() < before && !codes.use_up(&code), "{code}");
        }
    }
}
