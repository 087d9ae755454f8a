//! Whatever attackers wrote, no command and no log prints what a terminal obeys or what hides among letters.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::lab::{
    Daemon, DaemonOptions, LOG, Place, SOON, failed_line, failed_lines, find, need, quiet_server,
};

/// Names of users, reasons and files: controls of 7 and 8 bits, what turns the text around it, what shows as nothing.
const NAMES: [&str; 12] = [
    "\u{9b}31mred",
    "\x1b]0;title\x07",
    "ab\u{202e}live",
    "zero\u{200b}\u{200c}\u{200d}width\u{2060}",
    "arabic\u{61c}mark",
    "\u{2066}isolate\u{2069}",
    "\u{ad}shy",
    "tag\u{e0041}\u{e007f}",
    "\u{feff}bom",
    "del\x7f\u{85}",
    "\u{180e}mongolian\u{115f}",
    "line\u{2028}and\u{2029}paragraph",
];

/// What a test forbids is written down here once more, not taken from the program.
fn is_hostile(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[track_caller]
pub fn assert_harmless(what: &str, text: &str) {
    let found: BTreeSet<String> =
        text.chars().filter(|c| is_hostile(*c)).map(|c| c.escape_unicode().to_string()).collect();
    let line = text.lines().find(|line| line.chars().any(is_hostile)).unwrap_or_default();
    assert!(found.is_empty(), "{what} prints {found:?}: {}", line.escape_debug());
}

/// Lines of the corpus, if it is there; it says so if not.
fn corpus() -> Vec<u8> {
    let folder = std::env::var_os("PILLORY_CORPUS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"), PathBuf::from);
    let path = folder.join("hostile.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        // Past the runner's capture, which hides what a test says that passes. The names below are tried all the same.
        let said = writeln!(std::io::stderr(), "skipped: the lines of the corpus (no {})", path.display());
        said.expect("standard error takes a line");
        return Vec::new();
    };
    let rows = text.lines().map(|row| serde_json::from_str::<Value>(row).expect("a row"));
    rows.filter_map(|row| row["line"].as_str().map(|line| format!("{line}\n")))
        .collect::<String>()
        .into_bytes()
}

/// Failures and logins of each name, from addresses of their own.
pub fn attacks() -> Vec<u8> {
    let mut log = corpus();
    for (pid, name) in (5000..).step_by(10).zip(NAMES) {
        let addr = format!("198.51.100.{}", pid / 10 - 400);
        log.extend(failed_line(pid, name, &addr).replace("Failed", "Accepted").into_bytes());
        (1..7).for_each(|next| log.extend(failed_line(pid + next, name, &addr).into_bytes()));
        // Many strangers who try it make a campaign.
        (0..30).for_each(|of| {
            let line = failed_line(
                20_000 + 40 * pid + of,
                &format!("invalid user {name}"),
                &format!("10.{}.3.{of}", pid % 251),
            );
            log.extend(line.into_bytes());
        });
    }
    log
}

/// Asks for it as text and as JSON.
#[track_caller]
fn try_both(what: &str, ask: impl Fn(&[&str]) -> crate::lab::Answer) {
    for json in [&[][..], &["--json"]] {
        let answer = ask(json);
        assert_harmless(&format!("{what} {json:?}, to standard output,"), &answer.out);
        assert_harmless(&format!("{what} {json:?}, to standard error,"), &answer.err);
        if !json.is_empty() {
            let values = serde_json::Deserializer::from_str(&answer.out).into_iter::<Value>();
            assert!(values.into_iter().all(|value| value.is_ok()), "{what}: {}", answer.out);
        }
    }
}

#[test]
fn no_command_and_no_log_prints_what_a_terminal_obeys() {
    for format in ["text", "json"] {
        let Some((_world, server)) = quiet_server() else { return };
        let options = DaemonOptions {
            config: Some("decoys = 0\nwiden = false\n".to_owned()),
            args: vec!["--log-format".to_owned(), format.to_owned()],
            ..DaemonOptions::default()
        };
        let daemon = Daemon::start_with(&server, &options);
        server.append(LOG, attacks());
        let last = "198.51.100.100";
        for name in NAMES {
            daemon.ask(&["ban", "203.0.113.9", "--reason", name]);
            daemon.ask(&["unban", "203.0.113.9"]);
        }
        daemon.ask(&["ban", "203.0.113.10", "--reason", &NAMES.concat()]);
        server.append(LOG, (0..3).map(|n| failed_line(4000 + n, "root", last)).collect::<String>());
        daemon.wait_for(SOON, "the last attack", || daemon.lists(&format!("{last}/32")).then_some(()));
        for args in [
            &["status"][..],
            &["list"],
            &["attempts", "-n", "0"],
            &["history", "-n", "0"],
            &["export"],
            &["export", "--format", "csv"],
            &["export", "--format", "nft"],
            &["doctor"],
            &["explain", last],
            &["explain", "203.0.113.10"],
            &["explain", "198.51.100.102"],
            &["explain", "198.51.100.104"],
        ] {
            try_both(&args.join(" "), |json| daemon.ask(&[args, json].concat()));
        }
        for name in NAMES {
            try_both("an argument", |json| daemon.ask(&[&["explain", name], json].concat()));
            try_both("unban", |json| daemon.ask(&[&["unban", name], json].concat()));
        }
        let attempts = daemon.ask(&["attempts", "-n", "0"]).out;
        assert!(attempts.contains("u{9b}31mred") && attempts.contains("live"), "they were read: {attempts}");
        assert_harmless("the log", &daemon.errors());
    }
}

#[test]
fn names_of_files_and_what_they_hold_are_harmless_where_a_command_shows_them() {
    let place = Place::new("hostile");
    let log = attacks();
    for name in NAMES.chunks(4).map(<[&str]>::concat) {
        let file = place.write(&format!("{name}.log"), &log);
        let config =
            place.write(&format!("{name}.toml"), format!("{name} = 1\n[jail.sshd]\nmaxretry = \"{name}\"\n"));
        let list =
            place.write(&format!("{name}.list"), format!("192.0.2.1 {name}\n{name}\n192.0.2.1/8 {name}\n"));
        for args in [
            &["scan", &file][..],
            &["rehearse", &file],
            &["test-filter", "sshd", &file],
            &["test-filter", &name, &file],
            &["test-filter", &file, &config],
            &["check", "--config", &config],
            &["check", "--fail2ban", &file],
            &["scan", &name],
            &["rehearse", "--against", &config, &file],
            &[&name],
        ] {
            try_both(&args.join(" "), |json| place.run(&[args, json].concat()));
        }
        try_both("import", |json| place.offline(&[&["import", "--dry-run", &list], json].concat()));
        try_both("import of what is not there", |json| place.offline(&[&["import", &name], json].concat()));
    }
    let first = place.0.join(format!("{}.log", NAMES[..4].concat())).display().to_string();
    let said = place.run(&["test-filter", "sshd", &first]);
    assert!(said.out.contains("u{9b}31mred"), "the names were read: {}", said.out);
}

/// Prints a table's fields as a list of lists.
const READ_TABLE: &str =
    "import csv, json, sys; print(json.dumps(list(csv.reader(open(sys.argv[1], newline='')))))";

#[test]
fn a_table_for_spreadsheets_keeps_its_columns_and_computes_nothing() {
    let Some((_world, server)) = quiet_server() else { return };
    if !need(&["python3"]) {
        return;
    }
    let config = "decoys = 0\nwiden = false\n[wall]\nout = \"/srv/wall\"\ncontact = \"=1+1\"\ndelay = \"0s\"\n\
        min_attempts = 1\nmask = false\n";
    let daemon = Daemon::start(&server, config);
    let formulas =
        ["=HYPERLINK(\"http://192.0.2.9\")", "+1+1", "-1+1", "@SUM(1)", " =1", "\", \"=1", "\u{ff1d}1"];
    for (at, name) in (0..).zip(formulas) {
        daemon.ask(&["ban", &format!("203.0.113.{at}"), "--reason", name]);
        server.append(LOG, failed_lines(7000 + 20 * at, 6, name, &format!("198.51.101.{at}")));
    }
    server.append(LOG, attacks());
    let last = "198.51.101.99";
    server.append(LOG, failed_lines(4000, 6, "root", last));
    daemon.wait_for(SOON, "the last attack", || daemon.lists(&format!("{last}/32")).then_some(()));
    let exported = daemon.ask(&["export", "--format", "csv"]).out;
    assert_eq!(daemon.ask(&["reload"]).code, Some(0));
    let feed = daemon.wait_for(SOON, "the last attack on the wall", || {
        let feed = server.read("/srv/wall/feeds/offenders.csv");
        feed.contains(last).then_some(feed)
    });
    let place = Place::new("tables");
    for (name, text, rows) in [("exported", exported, 2 * formulas.len()), ("feed", feed, formulas.len())] {
        let file = place.write(name, &text);
        let mut python = find("python3").expect("it was asked for").command();
        let read = python.args(["-c", READ_TABLE, &file]).output().expect("it starts");
        let table: Vec<Vec<String>> = serde_json::from_slice(&read.stdout).expect("it reads the table");
        assert!(table.len() > rows, "{name}: {text}");
        for row in &table {
            assert_eq!(row.len(), table[0].len(), "{name}: {row:?}");
            for cell in row {
                assert!(
                    !cell.trim_start().starts_with(['=', '+', '-', '@', '\u{ff1d}']),
                    "{name} computes {cell:?}"
                );
                assert_harmless(name, cell);
            }
        }
        let is_prefix =
            |cell: &str| cell.split_once('/').is_some_and(|(addr, _)| addr.parse::<IpAddr>().is_ok());
        assert!(table[1..].iter().all(|row| is_prefix(&row[0])), "{name}: {text}");
    }
}
