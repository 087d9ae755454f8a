//! What people read, compared with files under `daemon/tests/golden`, at 80 and 120 columns, with and without colour.
//! `GOLDEN=write cargo test -p pillory golden` writes them anew; look at what has changed before you commit it.
//!
//! The clock and the zone are fixed. Replies are those of a daemon as it gives them; what reads files reads real ones.

mod replies;

use std::path::{Path, PathBuf};

use pillory_core::time::{BanTime, Span, Timestamp};
use serde_json::Value;

use super::screen::{Screen, width};
use super::{allow, ask, explain, order, rows, status};
use crate::clock;
use crate::escape::printed;

/// Sun Nov 22 2026, 20:15:00 an hour east of Greenwich.
const NOW: Timestamp = Timestamp::from_secs(1_795_374_900);

const ROWS: usize = 24;

/// Everything is rendered on a clock and in a zone that stand still.
pub(super) fn hold_the_clock() {
    clock::simulated::set(NOW, Span::from_secs(100_000));
    clock::simulated::set_zone(1);
}

/// Compares a text, made for a screen, with what is kept of that name.
pub(super) fn check(name: &str, mut text: impl FnMut(Screen) -> String) {
    hold_the_clock();
    for columns in [80, 120] {
        let screen = Screen { columns: Some(columns), rows: Some(ROWS) };
        let coloured = printed(&screen.fitted(&text(screen)));
        let plain = anstream::adapter::strip_str(&coloured).to_string();
        for line in plain.lines() {
            let is_one_word = !line.trim().contains(' ');
            assert!(width(line) <= columns || is_one_word, "{name}: wider than {columns}:\n{line}");
        }
        compare(&format!("{name}.{columns}.txt"), &plain);
        compare(&format!("{name}.{columns}.colour.txt"), &coloured);
    }
}

fn compare(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "{file} differs (GOLDEN=write writes it anew); is:\n{text}\nwas:\n{kept}");
}

/// A file of this name, which ends with the test.
pub(super) struct Input(pub(super) PathBuf);

impl Input {
    pub(super) fn new(name: &str, content: &str) -> Input {
        let directory = std::env::temp_dir().join(format!("pillory-golden-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("auth.log");
        std::fs::write(&path, content).unwrap();
        Input(path)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        let _ = self.0.parent().map(std::fs::remove_dir_all);
    }
}

/// A log of so many days until now: three who come often, one who comes by night, and somebody who belongs here.
pub(super) fn attacks_of_days(days: i64) -> String {
    let line = |secs: i64, message: &str| {
        format!("{} web sshd[{}]: {message}\n", Timestamp::from_secs(secs), secs % 30_000)
    };
    let failed = |secs: i64, user: &str, addr: &str| {
        line(secs, &format!("Failed password for {user} from {addr} port 50022 ssh2"))
    };
    let mut log = String::new();
    for minute in (-days * 1_440..0).step_by(10) {
        let secs = NOW.secs() + minute * 60;
        let number = minute.rem_euclid(1_440) / 10;
        log += &failed(secs, "root", &format!("198.51.100.{}", 1 + number % 3));
        if number < 36 {
            log += &failed(secs + 7, "invalid user admin", "2001:db8:1::10");
        }
        if number == 60 {
            log += &line(
                secs + 9,
                "Accepted publickey for alice from 192.0.2.10 port 50022 ssh2: ED25519 SHA256:abc",
            );
        }
    }
    log
}

#[test]
fn status_answers_in_order_and_fits_the_screen() {
    let ordinary = replies::status();
    let show = |value: &Value, screen: Screen| {
        let text = status::text(value, screen, false);
        assert!(text.lines().count() < ROWS, "{text}");
        text
    };
    check("status", |screen| show(&ordinary, screen));
    check("status-crowded", |screen| show(&replies::crowded(), screen));
    check("status-off", |screen| show(&replies::off(), screen));
    check("status-first-start", |screen| show(&replies::first_start(), screen));
    check("status-all", |screen| status::text(&replies::crowded(), screen, true));
}

#[test]
fn the_effect_is_told_of_days_only_where_there_are_some() {
    check("effect", |_| replies::effects().iter().map(super::past::a_day_text).collect());
}

#[test]
fn listings_line_up_and_fit() {
    check("list", |screen| ask::list_text(&replies::bans(), screen));
    check("list-empty", |screen| ask::list_text(&serde_json::json!([]), screen));
    let attempts = replies::attempts();
    check("attempts", |screen| rows::attempts_table(screen).text(attempts.as_array().unwrap()));
    let history = replies::history();
    check("history", |screen| rows::history_table(screen).text(history.as_array().unwrap()));
}

#[test]
fn without_a_terminal_lines_are_whole_and_stay_as_they_are() {
    hold_the_clock();
    let nowhere = Screen::default();
    let attempts = rows::attempts_table(nowhere).text(replies::attempts().as_array().unwrap());
    let history = rows::history_table(nowhere).text(replies::history().as_array().unwrap());
    let all = [
        status::text(&replies::crowded(), nowhere, false),
        ask::list_text(&replies::bans(), nowhere),
        attempts,
        history,
    ];
    compare("without-a-terminal.txt", &anstream::adapter::strip_str(&all.join("\n")).to_string());
}

#[test]
fn explain_tells_a_story() {
    let prefix = "198.51.100.7".parse().unwrap();
    check("explain", |screen| explain::story(prefix, &replies::explained(), screen.prose()));
    let spared = "192.0.2.10".parse().unwrap();
    check("explain-spared", |screen| explain::story(spared, &replies::explained_spared(), screen.prose()));
}

#[test]
fn what_orders_answer_is_read_at_once() {
    let day = BanTime::For(Span::from_secs(86_400));
    check("ban", |_| order::ban_text(&replies::banned(), day));
    check("unban", |_| order::unban_text(&replies::unbanned()));
    check("allow", |_| allow::allowed_text(&replies::status()["allowed"]));
}
