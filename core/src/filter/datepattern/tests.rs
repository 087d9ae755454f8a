//! Dates as programs write them, and texts that hold something like a date.

use jiff::tz::TimeZone;

use super::super::Clock;
use super::*;
use crate::time::Timestamp;

/// 2026-11-22T07:57:11Z.
const NOW: i64 = 1_795_334_231;

fn clock(zone: TimeZone) -> Clock {
    Clock { now: Timestamp::from_secs(NOW), zone }
}

fn read(text: &str) -> Option<(i64, String)> {
    let found = find(text.as_bytes())?;
    let stamp = Calendar::default().resolve(found.date, &clock(TimeZone::UTC))?;
    let rest = format!("{}{}", &text[..found.range.start], &text[found.range.end..]);
    Some((stamp.millis() - NOW * 1000, rest))
}

#[test]
fn reads_the_usual_stamps_and_cuts_them_out() {
    for (text, millis, rest) in [
        ("Nov 22 07:57:11 vm x", 0, " vm x"),
        ("Nov 22 07:57:11.250 vm x", 250, " vm x"),
        ("Nov 22 2026 07:57:12 vm x", 1000, " vm x"),
        ("Sun Nov 22 07:57:11 2026 [pid 1]", 0, " [pid 1]"),
        ("[Sun Nov 22 07:57:11.123456 2026] [x]", 123, "[] [x]"),
        ("2026-11-22T07:57:11.5+00:00 vm", 500, " vm"),
        ("2026-11-22T08:57:11+01:00 vm", 0, " vm"),
        ("2026-11-22 07:57:11,007 x", 7, " x"),
        ("2026-11-22 07:57:11 UTC x", 0, " x"),
        ("2026/11/22 07:57:11 [error]", 0, " [error]"),
        ("<38>1 2026-11-22T07:57:11Z vm", 0, "<38>1  vm"),
        ("192.0.2.7 - - [22/Nov/2026:08:57:11 +0100] \"GET\"", 0, "192.0.2.7 - - [] \"GET\""),
        ("192.0.2.7 - - [2026-11-22T07:57:11+00:00] \"GET\"", 0, "192.0.2.7 - - [] \"GET\""),
        ("1795334231.5 x", 500, " x"),
        ("[1795334231] x", 0, "[] x"),
        ("@400000006b02a05717d78400 x", 400, " x"),
    ] {
        assert_eq!(read(text), Some((millis, rest.to_owned())), "{text}");
    }
}

#[test]
fn takes_no_date_from_the_text() {
    for text in [
        "vm sshd[1]: Invalid user Nov 22 07:57:11 from 192.0.2.7",
        "192.0.2.7 - - x \"[22/Nov/2026:08:57:11 +0100]\"",
        "17953342310000 x",
        "Nov 32 07:57:11 x",
        "2026-13-22 07:57:11 x",
        "Nov 22 07:57:11x",
        "",
        "[",
        "<999> ",
    ] {
        assert_eq!(find(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn a_stamp_without_a_year_is_of_last_year_if_it_were_more_than_a_day_ahead() {
    let mut calendar = Calendar::default();
    let mut read = |text: &str, now: &str| {
        let now: jiff::Timestamp = now.parse().unwrap();
        let clock = Clock { now: Timestamp::from_secs(now.as_second()), zone: TimeZone::UTC };
        let found = find(text.as_bytes()).unwrap();
        calendar.resolve(found.date, &clock).map(|stamp| stamp.to_string())
    };
    for (text, now, stamp) in [
        ("Nov 23 07:00:00", "2026-11-22T07:57:11Z", "2026-11-23T07:00:00Z"),
        ("Nov 23 08:00:00", "2026-11-22T07:57:11Z", "2025-11-23T08:00:00Z"),
        ("Nov 23 08:00:00", "2026-11-22T08:57:11Z", "2026-11-23T08:00:00Z"),
        ("Jan  1 00:00:01", "2026-12-31T23:59:59Z", "2027-01-01T00:00:01Z"),
        ("Dec 31 23:59:59", "2027-01-01T00:00:01Z", "2026-12-31T23:59:59Z"),
        ("Feb 29 00:00:00", "2027-01-01T00:00:00Z", "2024-02-29T00:00:00Z"),
    ] {
        assert_eq!(read(text, now).as_deref(), Some(stamp), "{text} at {now}");
    }
}

#[test]
fn a_stamp_without_a_zone_is_of_the_clocks_zone() {
    let mut calendar = Calendar::default();
    let found = find(b"2026-11-22 08:57:11").unwrap();
    for (zone, hours) in [(1, 0), (2, -1)] {
        let zone = TimeZone::fixed(jiff::tz::offset(zone));
        let stamp = calendar.resolve(found.date, &clock(zone)).unwrap();
        assert_eq!(stamp.secs() - NOW, hours * 3600);
    }
}

#[test]
fn what_is_remembered_of_dates_changes_nothing() {
    let dates = [
        "Nov 22 07:57:11",
        "Nov 2",
        "2026-11-22T07:57:11",
        "2026-11-22T07:57:11Z",
        "2026-11-22 07:57:11",
        "22/Nov/2026:07:57:11",
        "Sun Nov 22 07:57:11",
        "1795334231",
        "<38>Nov 22 07:57:11",
        " Nov 22 07:57:11",
        "x",
    ];
    let behind = [
        " vm x", " vm 2027", "", " ", " 2026 vm", " 2026", ".5 vm", ":x", " UTC x", " Vm", " +0100 x", "vm",
        " Zm",
    ];
    let mut finder = Finder::default();
    for date in dates {
        for (before, after) in behind.iter().flat_map(|before| behind.map(|after| (*before, after))) {
            for text in [before, after].map(|behind| format!("{date}{behind}")) {
                assert_eq!(finder.find(text.as_bytes()), find(text.as_bytes()), "{text}");
            }
        }
        assert_eq!(finder.find(b"Nov 23 07:57:11 vm").map(|found| found.range), Some(0..15));
    }
}
