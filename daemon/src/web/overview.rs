//! The first page: is this host protected, by what, and what happens now.

use askama::Template;
use serde_json::Value;

use pillory_core::time::{Span, Timestamp};

use crate::actions::dryrun;
use crate::cli::{count, parse_time};
use crate::clock;
use crate::control::short;
use crate::escape::word;
use crate::privilege;

use super::charts;
use super::response::Response;
use super::routes::Frame;

#[derive(Template)]
#[template(path = "web/overview.html")]
struct Overview<'a> {
    frame: &'a Frame,
    state: String,
    is_protected: bool,
    about: String,
    figures: Vec<(&'static str, String)>,
    warnings: Vec<String>,
    jails: Vec<Jail>,
    minutes: String,
    latency: Vec<(&'static str, String, String)>,
    drift: String,
    offenders: Vec<(String, u64)>,
    users: Vec<(String, u64)>,
    hidden: (u64, u64),
    attempts: Vec<Attempt>,
    bans: Vec<Turn>,
}

struct Jail {
    name: String,
    figures: [u64; 5],
    sources: Vec<Source>,
}

struct Source {
    what: String,
    age: String,
    problem: Option<String>,
}

/// A row of the newest attempts.
struct Attempt {
    time: String,
    jail: String,
    ip: String,
    user: String,
    what: String,
}

/// A row of the newest bans and unbans.
struct Turn {
    time: String,
    what: String,
    prefix: String,
    jail: String,
    reason: String,
}

/// The page of what [`Glance`](crate::control::Request::Glance) told.
pub(super) fn page(frame: &Frame, status: &Value) -> Response {
    let (state, is_protected) = state(status);
    let glance = &status["glance"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let minutes: Vec<u64> = list(&glance["minutes"]).iter().map(number).collect();
    let pairs = |key: &str, name: &str| -> Vec<(String, u64)> {
        list(&glance[key]).iter().map(|row| (word(&row[name]), number(&row["attempts"]))).collect()
    };
    let uptime = Span::from_secs(number(&status["uptime_s"]));
    let sandbox = privilege::words(&status["sandbox"]);
    let figures = vec![
        ("Banned now", number(&status["banned"]).to_string()),
        ("Attempts in the last hour", minutes.iter().sum::<u64>().to_string()),
        ("Warnings", list(&status["warnings"]).len().to_string()),
    ];
    Response::page(&Overview {
        frame,
        state,
        is_protected,
        about: format!("Version {}, up {uptime}; {sandbox}.", word(&status["version"])),
        figures,
        warnings: list(&status["warnings"]).iter().map(word).collect(),
        jails: list(&status["jails"]).iter().map(jail).collect(),
        minutes: charts::minutes(&minutes),
        latency: latency(&status["latency"]),
        drift: drift(&status["drift"]),
        offenders: pairs("offenders", "ip"),
        users: pairs("users", "user"),
        hidden: (number(&glance["users_hidden"]), number(&glance["attempts_hidden"])),
        attempts: list(&glance["attempts"]).iter().map(attempt).collect(),
        bans: list(&glance["bans"]).iter().map(turn).collect(),
    })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn state(status: &Value) -> (String, bool) {
    if status["banaction"] == dryrun::NAME {
        return ("Dry run: nothing is enforced".to_owned(), false);
    }
    match status["enforcing"] == true {
        true => (format!("Protected by {}", word(&status["banaction"])), true),
        false => ("Off: nothing is enforced until `pillory on`".to_owned(), false),
    }
}

fn jail(jail: &Value) -> Jail {
    let figures = ["lines", "failures", "tracked", "banned", "bans_total"];
    let source = |source: &Value| Source {
        what: match source["kind"].as_str() {
            Some("file") => word(&source["path"]),
            _ => format!("{} {}", word(&source["kind"]), word(&source["path"])),
        },
        age: match ago(&source["last_line"]) {
            Some(ago) => format!("last line {ago}"),
            None => "no line yet".to_owned(),
        },
        problem: source["problem"].as_str().map(crate::escape::escape),
    };
    Jail {
        name: word(&jail["name"]),
        figures: figures.map(|figure| jail[figure].as_u64().unwrap_or(0)),
        sources: list(&jail["sources"]).iter().map(source).collect(),
    }
}

/// How long ago a stamp was, in words.
fn ago(stamp: &Value) -> Option<String> {
    let at = stamp.as_str().and_then(parse_time)?;
    // As it stands on the wall, like the stamp.
    let passed = clock::read().wall.since(at);
    Some(match passed.millis() {
        0..2_000 => "now".to_owned(),
        millis => format!("{} ago", Span::from_secs(millis / 1_000)),
    })
}

fn latency(latency: &Value) -> Vec<(&'static str, String, String)> {
    let ways = [("kernel", "Until the kernel had it"), ("durable", "Until it was on the disk")];
    let of_way = |(way, what): (&'static str, &'static str)| {
        let field = |name: &str| latency[format!("{way}_{name}")].as_f64();
        let words = format!(
            "half within {} ms, 99 of 100 within {} ms, the longest {} ms",
            field("p50_ms")?,
            field("p99_ms")?,
            field("max_ms")?
        );
        Some((what, words, charts::latency(latency, way, what)))
    };
    ways.into_iter().filter_map(of_way).collect()
}

fn drift(drift: &Value) -> String {
    if drift.is_null() {
        return "Nothing is enforced, so there is nothing to compare.".to_owned();
    }
    let checked = ago(&drift["checked"]).unwrap_or_else(|| "never".to_owned());
    let under_way = match drift["under_way"].as_u64() {
        Some(0) | None => String::new(),
        Some(_) => " Changes are on their way.".to_owned(),
    };
    let healed = match (drift["healed"].as_u64(), drift["last"].is_object()) {
        (Some(times), true) => {
            let last = &drift["last"];
            format!(
                "Somebody else changed it {} since the start, last {}: {} missing, {} too many; it was healed.",
                count(times, "time"),
                ago(&last["time"]).unwrap_or_default(),
                last["missing"],
                last["surplus"]
            )
        }
        _ => "Nobody else has changed it since the start.".to_owned(),
    };
    format!("The kernel was compared with the ledger {checked}. {healed}{under_way}")
}

/// `2026-11-29 16:14:09`, on the wall by UTC.
pub(super) fn time(stamp: &Value) -> String {
    let at: Option<Timestamp> = stamp.as_str().and_then(parse_time);
    at.map_or_else(String::new, |at| at.to_string().replace('T', " ").trim_end_matches('Z').to_owned())
}

fn attempt(row: &Value) -> Attempt {
    Attempt {
        time: time(&row["time"]),
        jail: word(&row["jail"]),
        ip: word(&row["ip"]),
        user: if row["user"].is_null() { String::new() } else { word(&row["user"]) },
        what: if row["success"] == true {
            "good login".to_owned()
        } else {
            word(&row["class"]).replace('_', " ")
        },
    }
}

fn turn(row: &Value) -> Turn {
    Turn {
        time: time(&row["time"]),
        what: word(&row["what"]),
        prefix: short(&row["prefix"]),
        jail: word(&row["jail"]),
        reason: word(&row["reason"]),
    }
}
