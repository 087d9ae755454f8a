//! What is done with bytes from anywhere, one function a target. None may panic, and none may take long.
//!
//! The fuzzer calls them with what it invents, and `core/tests/fuzz.rs` with what is stored in `fuzz/corpus`.

use jiff::tz::TimeZone;
use pillory_core::config::fail2ban::{self, Files, ReadOptions};
use pillory_core::event::Line;
use pillory_core::filter::btmp::{self, Layout};
use pillory_core::filter::dates::{self, Detector};
use pillory_core::filter::fail2ban::{Encoding, Fail2banFilter, Options, Timing};
use pillory_core::filter::regex::{self, Found, HostNames, Matcher, Scratch};
use pillory_core::filter::{Clock, FilterSpec, ini};
use pillory_core::time::Timestamp;

/// What one target does with bytes.
pub type Body = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Body); 5] =
    [("regex", regex), ("dates", dates), ("settings", settings), ("judge", judge), ("btmp", btmp)];

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
