//! What is drawn of what was told, in terminals of every size.

use serde_json::json;

use super::*;

fn told() -> Value {
    let mut minutes = vec![0; 60];
    (minutes[30], minutes[59]) = (4, 8);
    json!({"version": "1", "banaction": "nftables", "enforcing": true, "banned": 3, "uptime_s": 60,
        "warnings": ["one \u{202e}\x1b[2J", "two", "three", "four", "five"],
        "jails": [{"name": "sshd", "failures": 12, "banned": 3}],
        "glance": {"minutes": minutes, "users": [{"user": "root\x07", "attempts": 5}], "users_hidden": 2,
            "attempts_hidden": 7, "offenders": [{"ip": "2001:db8:1111:2222:3333:4444:5555:6666", "attempts": 9}],
            "bans": [{"time": "2026-01-02T03:04:05Z", "what": "ban", "prefix": "192.0.2.7/32", "jail": "sshd"}]}})
}

fn drawn(view: View, columns: u16, rows: u16) -> String {
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    view.render(area, &mut buffer);
    text_of(&buffer)
}

#[test]
fn everything_is_there_in_80_by_24_and_in_40_columns() {
    crate::clock::simulated::set_zone(2);
    for (columns, rows) in [(80, 24), (40, 30), (200, 50)] {
        let text = drawn(View { told: told(), ..View::default() }, columns, rows);
        for word in [
            "protected by nftables  3 banned",
            "attempts: 12 in an hour, 8 this minute",
            "12  sshd (3 banned)",
            "9  2001:db8:1111",
            "5  root\\u{7}",
            "7  (2 hidden)",
            "05:04:05 ban 192.0.2.7 sshd",
            "! and 1 more",
            "q quit",
            "█",
        ] {
            assert!(text.contains(word), "{columns}x{rows} lacks {word:?}:\n{text}");
        }
        assert!(!text.chars().any(|c| c != '\n' && crate::escape::is_hostile(c)), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(columns)));
    }
}

#[test]
fn in_a_dry_run_nobody_is_banned() {
    let mut told = told();
    told["banaction"] = json!("dryrun");
    let text = drawn(View { told, ..View::default() }, 200, 50);
    assert!(text.contains("  3 would be banned") && text.contains("sshd (3 would be banned)"), "{text}");
}

#[test]
fn no_size_and_no_answer_is_too_odd_to_be_drawn() {
    for told in [told(), json!(null), json!([1]), json!({"glance": {"minutes": "x"}, "jails": {"a": 1}})] {
        for columns in [0, 1, 2, 39, 40, 72, 80] {
            for rows in [0, 1, 2, 3, 7, 24] {
                for is_help in [true, false] {
                    drawn(View { told: told.clone(), is_help, ..View::default() }, columns, rows);
                }
            }
        }
    }
}

#[test]
fn a_daemon_that_went_away_is_told_in_the_first_line() {
    let view = View { told: told(), trouble: Some("cannot reach it".to_owned()), ..View::default() };
    assert!(drawn(view, 80, 24).starts_with("cannot reach it\n"));
}

#[test]
fn what_is_printed_once_looks_as_it_did() {
    crate::cli::golden::check("top", |_| snapshot(&told()));
}
