//! What each word and code means, times of what a stamp leaves out, and hostile lines.

use std::sync::LazyLock;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::filter::Clock;

/// Sunday, 2026-11-22T07:57:11Z.
const NOW: i64 = 1_795_334_231;

fn clock() -> Clock {
    Clock { now: Timestamp::from_secs(NOW), zone: TimeZone::UTC }
}

/// Making one costs much more than a test has to do with it.
static USUAL: LazyLock<Detector> =
    LazyLock::new(|| Detector::new(&Options { datepattern: None, logtimezone: None, year: 2026 }).unwrap());

fn detector(datepattern: Option<&str>) -> Detector {
    if datepattern.is_none() {
        return USUAL.clone();
    }
    Detector::new(&Options { datepattern, logtimezone: None, year: 2026 }).unwrap()
}

/// What is left of the line, and the time in seconds from now.
fn read(datepattern: Option<&str>, line: &str) -> Option<(String, Result<i64, Undated>)> {
    let found = detector(datepattern).find(line.as_bytes(), &clock())?;
    let rest = format!("{}|{}", &line[..found.range.start], &line[found.range.end..]);
    Some((rest, found.time.map(|time| time.secs() - NOW)))
}

#[test]
fn knows_the_usual_stamps() {
    for (line, rest) in [
        ("2026-11-22T07:57:11.5+00:00 x", "| x"),
        ("2026-11-22 07:57:11,123 x", "| x"),
        ("[2026/11/22 07:57:11] x", "[|] x"),
        ("Nov 22 07:57:11 vm x", "| vm x"),
        ("Sun Nov 22 07:57:11.5 2026 x", "| x"),
        ("Sun Nov 22 2026 07:57:11 x", "| x"),
        ("22/11/2026 07:57:11 x", "| x"),
        ("22-11-26 07:57:11 x", "| x"),
        ("192.0.2.7 - - [22/Nov/2026:08:57:11 +0100] x", "192.0.2.7 - - [|] x"),
        ("11/22/2026:07:57:11 x", "| x"),
        ("11-22-2026 07:57:11.25 x", "| x"),
        ("1795334231 x", "| x"),
        ("type=X msg=audit(1795334231.250:7): x", "type=X msg=audit(|:7): x"),
        ("07:57:11 x", "| x"),
        ("<11/22/26@07:57:11> x", "| x"),
        ("261122 07:57:11 x", "| x"),
        ("Nov 22, 2026 7:57:11 AM x", "| x"),
        ("Nov-22-26 07:57:11 x", "| x"),
        ("20261122T075711 x", "| x"),
        ("UTC Nov 22 07:57:11 x", "| x"),
        ("+01:00 Nov 22 08:57:11 x", "| x"),
        ("@400000006b02a057075bcd15 x", "| x"),
    ] {
        let found = read(None, line);
        let wanted_time =
            if line.starts_with('@') { found.as_ref().map(|found| found.1) } else { Some(Ok(0)) };
        assert_eq!(found.clone(), wanted_time.map(|time| (rest.to_owned(), time)), "{line}");
    }
}

#[test]
fn finds_no_date_where_there_is_none() {
    for line in
        ["", "x", "192.0.2.7 port 4000", "17953342310000 x", "2031-11-22 07:57:11", "2026-11-22 07:57:111"]
    {
        assert_eq!(read(None, line), None, "{line}");
    }
    assert_eq!(read(Some("^%Y-%m-%d"), "x 2026-11-22"), None);
    assert_eq!(read(Some("%Y-%m-%d"), "12026-11-22"), None);
}

#[test]
fn reads_the_words_of_the_language() {
    for (pattern, line, rest, time) in [
        ("{^LN-BEG}%H:%M", "[ 07:57 x", "[ | x", Ok(-11)),
        ("%H:%M", "x07:57", "", Err(Undated::Empty)),
        ("**%H:%M", "x07:57 x", "x| x", Ok(-11)),
        ("{UNB}%H:%M:%S", "x07:57:11x", "x|x", Ok(0)),
        ("^[^\\[]*\\[({DATE})", "x [22/Nov/2026:07:57:11 +0000] y", "x [|] y", Ok(0)),
        ("{NONE}", "2026-11-22 07:57:11", "|2026-11-22 07:57:11", Err(Undated::Empty)),
        ("Epoch", "1795334231.500 x", "| x", Ok(0)),
        ("{^LN-BEG}LEPOCH", "[1795334231500] x", "[|] x", Ok(0)),
        ("x={EPOCH}", "a x=1795334232 y", "a | y", Ok(1)),
        ("(?P<Y>\\d{4})(?P<m>\\d\\d)(?P<d>\\d\\d)", "20261122", "|", Ok(-(7 * 3600 + 57 * 60 + 11))),
        ("(%H:%M:%S) on %d", "at 07:57:11 on 22", "at | on 22", Err(Undated::Unreadable)),
        ("%d(?P<_s>[-/])%m(?P=_s)%Y", "22-11/2026 22/11/2026", "22-11/2026 |", Ok(-28_631)),
        ("%j %H:%M:%S", "326 07:57:11", "|", Ok(0)),
        ("%Y %W %a %H:%M:%S", "2026 46 sun 07:57:11", "|", Ok(0)),
        ("%I:%M:%S %p", "07:57:11 pm", "|", Ok(-43_200)),
        ("%Y-%m-%d %H:%M:%S %Exz", "2026-11-22 08:57:11 CET", "|", Ok(0)),
    ] {
        let found = read(Some(pattern), line);
        let wanted = if rest.is_empty() { None } else { Some((rest.to_owned(), time)) };
        assert_eq!(found, wanted, "{pattern} on {line}");
    }
}

#[test]
fn a_stamp_without_a_year_is_of_last_year_if_it_were_more_than_a_day_ahead() {
    for (line, now, stamp) in [
        ("Nov 23 07:00:00", "2026-11-22T07:57:11Z", Ok("2026-11-23T07:00:00Z")),
        ("Nov 23 08:00:00", "2026-11-22T07:57:11Z", Ok("2025-11-23T08:00:00Z")),
        ("Dec 31 23:59:59", "2027-01-01T00:00:01Z", Ok("2026-12-31T23:59:59Z")),
        // fail2ban looks no further than this year and the last.
        ("Jan  1 00:00:01", "2026-12-31T23:59:59Z", Ok("2026-01-01T00:00:01Z")),
        ("Feb 29 00:00:00", "2027-01-01T00:00:00Z", Err(Undated::NoDate)),
        // A time without a day is never ahead.
        ("07:57:12", "2026-11-22T07:57:11Z", Ok("2026-11-21T07:57:12Z")),
    ] {
        let now: jiff::Timestamp = now.parse().unwrap();
        let clock = Clock { now: Timestamp::from_secs(now.as_second()), zone: TimeZone::UTC };
        let time = detector(None).find(line.as_bytes(), &clock).unwrap().time;
        assert_eq!(time.map(|time| time.to_string()), stamp.map(str::to_owned), "{line}");
    }
}

#[test]
fn a_stamp_without_a_zone_is_of_logtimezone_or_the_clocks_zone() {
    let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    let clock = Clock { now: Timestamp::from_secs(NOW), zone: berlin };
    for (zone, line, hours) in [
        (None, "2026-11-22 08:57:11", 0),
        (None, "2026-11-22 08:57:11Z", 1),
        (Some("UTC"), "2026-11-22 08:57:11", 1),
        (Some("-0500"), "2026-11-22 02:57:11", 0),
        (Some("UTC+01:00"), "2026-11-22 08:57:11", 0),
    ] {
        let logtimezone = zone.map(|zone| zone.parse().unwrap());
        let mut detector = Detector::new(&Options { datepattern: None, logtimezone, year: 2026 }).unwrap();
        let time = detector.find(line.as_bytes(), &clock).unwrap().time;
        assert_eq!(time, Ok(Timestamp::from_secs(NOW + hours * 3600)), "{zone:?} {line}");
    }
    assert_eq!("Europe/Paris".parse::<UtcOffset>(), Err(ZoneError("Europe/Paris".to_owned())));
}

#[test]
fn a_date_in_the_text_does_not_win_over_that_of_the_lines_before() {
    let mut detector = detector(None);
    let mut range = |line: &str| detector.find(line.as_bytes(), &clock()).map(|found| found.range);
    for _ in 0..5 {
        assert_eq!(range("Nov 22 07:57:11 vm x: user 2026-11-22 07:57:11"), Some(0..15));
    }
    // Another program's form at the same place is taken at once.
    assert_eq!(range("2026-11-22T07:57:11 vm x: Nov 22 07:57:11"), Some(0..19));
}

#[test]
fn places_are_bytes_also_behind_other_characters() {
    assert_eq!(read(Some("%H:%M:%S"), "äöü 07:57:11 x").map(|found| found.0), Some("äöü | x".to_owned()));
    let found = detector(Some("%H:%M:%S")).find(b"\xff\xfe 07:57:11 x", &clock()).unwrap();
    assert_eq!(found.range, 3..11);
}

#[test]
fn finds_a_date_behind_64_kib_of_what_looks_like_one() {
    for flood in
        ["1", "2026", "x1:", "2026-11-22 ", "2026-11-22 07:57:6", "Nov 22 ", "audit(1795334", "ü1:", " "]
    {
        let line = flood.repeat(65_536 / flood.len()) + " [2026-11-22 07:57:11] x";
        let found = detector(None).find(line.as_bytes(), &clock()).unwrap();
        assert_eq!(found.range, line.len() - 22..line.len() - 3, "{flood}");
        assert_eq!(found.time, Ok(Timestamp::from_secs(NOW)), "{flood}");
    }
}

#[test]
fn errors_say_where_and_what_to_do() {
    for (pattern, text) in [
        ("%H:%M\n\n %Q", "line 2, column 1: \"%Q\" is no date code; write %% for a percent sign"),
        (
            "%H:%M %H",
            "line 1, column 7: the group \"H\" occurs twice; leave out one of the two codes or give the group another name",
        ),
        (
            "%H(?=x)",
            "line 1, column 3: lookaround in a date pattern is not supported; write the text before or behind the date itself",
        ),
        ("%H [a", "line 1, column 4: this class is never closed; add the missing \"]\", or write \\["),
        (
            "%H (a",
            "line 1, column 4: this group is never closed; add the missing \")\", or write \\( for a parenthesis",
        ),
        ("%H\n%H", "line 2, column 1: this pattern stands there twice; delete one of the lines"),
        (
            "%H ä",
            "line 1, column 4: a character beyond ASCII in a date pattern is not supported; write . for it, or \\w for a letter",
        ),
    ] {
        let error = Detector::new(&Options { datepattern: Some(pattern), logtimezone: None, year: 2026 })
            .unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

/// What lines of dates are made of.
fn fragment() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "2026",
        "-11",
        "-22",
        "T07",
        ":57:",
        "11",
        ".5",
        "+0100",
        " ",
        "Nov",
        "Sun ",
        "22",
        "/Nov/",
        "2026:",
        "1795334231",
        "[",
        "audit(",
        "@4000",
        "AM",
        ",",
        "07:57:11",
        "ü",
        "Jan 1 ",
        "PDT ",
        "\u{a0}",
        "_",
    ]);
    known.prop_map(str::to_owned)
}

/// A stamp of a common form, and a little of what may stand around it, whole or not.
fn stamp() -> impl Strategy<Value = String> {
    let before = prop::sample::select(vec!["", "", "[", "<", "[ ", "x ", "192.0.2.7 - - [", "a", "ü"]);
    let day = prop_oneof!["[0-3][0-9]", "[ 0-3]?[0-9]"];
    let clock = prop_oneof!["[0-2][0-9]:[0-5][0-9]:[0-6][0-9]", "[0-2]?[0-9]:[0-6]?[0-9]:[0-6]?[0-9]"];
    let year = "(19|20|20|20)[0-9]{2}";
    let month = prop::sample::select(vec!["Jan", "feb", "Nov", "DEC", "Mayo"]);
    let after = prop_oneof![
        "[.,]?[0-9]{0,8}[ ]{0,2}(Z|z|UTC|\\+01:?00|-0530|2026|20|x|\\]| x| 2|\\+1|_|ü|Zx|\\+01000)?",
        Just(" x".to_owned()),
    ];
    (0..3, before, day, month, year, clock, "[-/.]", after).prop_map(
        |(form, before, day, month, year, clock, separator, after)| {
            let stamp = match form {
                0 => format!("{year}{separator}11{separator}{day}T{clock}"),
                1 => format!("{month} {day} {clock}"),
                _ => format!("{day}{separator}{month}{separator}{year}:{clock}"),
            };
            format!("{before}{stamp}{after}")
        },
    )
}

proptest! {
    #[test]
    fn a_range_lies_in_its_line_and_on_characters(lines in prop::collection::vec(prop::collection::vec(fragment(), 1..12), 1..12)) {
        let mut detector = detector(None);
        for line in lines.iter().map(|line| line.concat()) {
            if let Some(found) = detector.find(line.as_bytes(), &clock()) {
                prop_assert!(line.get(found.range).is_some(), "{line}");
            }
        }
    }

    #[test]
    fn the_sieve_changes_nothing(lines in prop::collection::vec(prop::collection::vec(fragment(), 1..12), 1..12)) {
        let (mut with, mut without) = (detector(None), detector(None));
        without.sieve = sieve::Sieve::none();
        for line in lines.iter().map(|line| line.concat()) {
            prop_assert_eq!(with.find(line.as_bytes(), &clock()), without.find(line.as_bytes(), &clock()), "{}", line);
            prop_assert!(with.order().eq(without.order()));
        }
    }

    #[test]
    fn what_is_read_by_hand_is_what_the_expression_finds(lines in prop::collection::vec(stamp(), 1..12)) {
        let (mut quick, mut slow) = (detector(None), detector(None));
        slow.templates.iter_mut().for_each(|template| template.quick = None);
        for line in &lines {
            prop_assert_eq!(quick.find(line.as_bytes(), &clock()), slow.find(line.as_bytes(), &clock()), "{}", line);
            prop_assert!(quick.order().eq(slow.order()));
        }
    }

    #[test]
    fn the_stamp_of_the_line_before_changes_nothing(
        lines in prop::collection::vec((stamp(), "[ :x.+Z0-9é]{0,4}"), 1..6),
        order in prop::collection::vec((any::<prop::sample::Index>(), 1..4usize), 1..12),
    ) {
        let (mut with, mut without) = (detector(Some("{^LN-BEG}")), detector(Some("{^LN-BEG}")));
        for (index, times) in order {
            let (stamp, behind) = index.get(&lines);
            for _ in 0..times {
                let line = format!("{stamp}{behind}");
                without.repeat = None;
                prop_assert_eq!(with.find(line.as_bytes(), &clock()), without.find(line.as_bytes(), &clock()), "{}", line);
                prop_assert!(with.order().eq(without.order()));
                prop_assert_eq!(format!("{:?}", with.order), format!("{:?}", without.order));
            }
        }
    }

    #[test]
    fn any_bytes_and_any_pattern_are_borne(line in prop::collection::vec(any::<u8>(), 0..200), pattern in "[%(){}\\[\\]*?^$|a-zA-Z0-9\\\\ :-]{0,20}") {
        if let Ok(mut detector) = Detector::new(&Options { datepattern: Some(&pattern), logtimezone: None, year: 2026 }) {
            detector.find(&line, &clock());
        }
        detector(None).find(&line, &clock());
    }
}

#[test]
fn the_usual_stamps_compile_in_every_year() {
    for year in [2000, 2026, 2099] {
        let detector = Detector::new(&Options { datepattern: None, logtimezone: None, year }).unwrap();
        assert!(detector.templates.len() > 30);
        assert!(detector.templates.iter().all(|template| template.check().is_ok()), "{year}");
    }
}
