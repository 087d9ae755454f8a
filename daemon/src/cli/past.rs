//! What `status` tells of who asks and of the past: you, what was learnt, the effect.

use std::net::IpAddr;

use serde_json::{Value, json};

use pillory_core::net::Prefix;
use pillory_core::time::Span;

use crate::control::Request;

use super::client::word;
use super::rehearse::report::grouped;
use super::rows::local;
use super::screen::roughly;
use super::{Client, count, red, strong};

/// What holds for the address from which the caller's ssh session comes; null if there is none.
pub(super) fn you(client: &Client, caller: Option<IpAddr>) -> Value {
    let Some(addr) = caller else { return Value::Null };
    let told = client.ask(&Request::Explain(Prefix::host(addr))).map(|reply| reply.value).unwrap_or_default();
    json!({
        "address": addr.to_string(),
        "banned": told["banned"],
        "never_banned": told["never_banned"],
        "last_good_login": told["last_good_login"],
    })
}

/// `you come from 192.0.2.7: never banned, it is the far end of an open authenticated session`
pub(super) fn you_text(you: &Value) -> String {
    if you.is_null() {
        return format!("{}: no ssh session is known, so no address of yours either\n", strong("you"));
    }
    let never = you["never_banned"].as_array().and_then(|all| all.first());
    let (login, address) = (&you["last_good_login"], word(&you["address"]));
    let cure = format!("`pillory allow {address}` makes it safe");
    let what = match (you["banned"] == true, never) {
        (true, _) => {
            red(&format!("banned! `pillory explain {address}` says why, `pillory unban {address}` lifts it"))
        }
        (false, Some(never)) => format!("never banned, it is {}", word(&never["why"])),
        (false, None) if login.is_object() => {
            format!(
                "not banned, but could be; a good login from there makes that slow: one point a failure, ten minutes the first time; {cure}"
            )
        }
        (false, None) => format!("not banned, but could be; {cure}"),
    };
    format!("{} come from {address}: {what}\n", strong("you"))
}

/// `attempts a day: 318,000 in the week before, 41 since`; empty if nothing is counted.
pub(super) fn a_day_text(a_day: &Value) -> String {
    let what = strong("attempts a day");
    if a_day.is_null() {
        return String::new();
    }
    let known = |part: &str, least: u64| rate(&a_day[part]).filter(|(_, span)| *span >= least);
    let before = match (a_day["counted"] == true, known("before", LEAST_S)) {
        (_, Some((many, span))) if span >= WEEK_S => Some(format!("{many} in the week before")),
        (_, Some((many, span))) => Some(format!("{many} in the {} before", roughly(Span::from_secs(span)))),
        (true, None) => None,
        (false, None) => Some("the week before is being counted in the logs".to_owned()),
    };
    let start = if before.is_none() { " the start" } else { "" };
    let since = known("since", 1).map(|(many, span)| match span {
        span if span >= WEEK_S => format!("{many} in the last week"),
        span if span >= DAY_S => format!("{many} since{start}"),
        span => format!("{many} in the {} since{start}", roughly(Span::from_secs(span))),
    });
    let told: Vec<String> = before.into_iter().chain(since).collect();
    match told.is_empty() {
        true => format!("{what}: it is too early to tell\n"),
        false => format!("{what}: {}\n", told.join(", ")),
    }
}

/// Records that begin a shorter time before tell nothing of it.
const LEAST_S: u64 = 60;

const DAY_S: u64 = 86_400;

/// Records that begin some hours later tell of a week all the same.
const WEEK_S: u64 = 7 * DAY_S - DAY_S / 2;

/// `1,234 attempts`
pub(super) fn counted(number: u64, noun: &str) -> String {
    count(number, noun)
}

/// How many a day, or in all where so few hours make no day, and of how many seconds that was counted.
fn rate(part: &Value) -> Option<(String, u64)> {
    let (seconds, attempts) = (part["seconds"].as_u64()?, part["attempts"].as_u64()?);
    let many = match part["a_day"].as_f64() {
        Some(a_day) if seconds >= DAY_S => grouped(a_day.round() as u64),
        _ if attempts == 0 => "none".to_owned(),
        _ => format!("only {}", counted(attempts, "attempt")),
    };
    Some((many, seconds))
}

/// `since Sun Nov 22: 90 attempts seen, 7 bans; 1234 packets dropped`
pub(super) fn effect_text(effect: &Value) -> String {
    let (Some(attempts), Some(bans)) = (effect["attempts"].as_u64(), effect["bans"].as_u64()) else {
        return String::new();
    };
    if effect["since"].is_null() {
        return "so far: no attempt was seen\n".to_owned();
    }
    let dropped = match effect["packets_dropped"].as_u64() {
        Some(packets) => format!(", {} dropped by the rules as they stand", counted(packets, "packet")),
        None => String::new(),
    };
    let (attempts, bans) = (counted(attempts, "attempt"), counted(bans, "ban"));
    format!("so far, since {}: {attempts}, {bans}{dropped}\n", local(&effect["since"]))
}

/// `90 bans since the start; half were in the kernel this soon after their line was read: 0.41 ms (p99 1.2, longest 1.3), to
/// the disk 2.9 ms (p99 5, longest 7.1)`; nothing before the first one. Of one there is no half.
pub(super) fn latency_text(latency: &Value) -> String {
    let bans = latency["kernel_bans"].as_u64().unwrap_or(0);
    let way = |name: &str| {
        let field = |what: &str| &latency[format!("{name}_{what}")];
        let (p50, p99, longest) = (field("p50_ms").as_f64()?, field("p99_ms"), field("max_ms"));
        Some(match bans {
            1 => format!("{longest} ms"),
            _ => format!("{p50} ms (p99 {p99}, longest {longest})"),
        })
    };
    let Some(kernel) = way("kernel") else { return String::new() };
    let disk = way("durable").map_or(String::new(), |took| format!(", to the disk {took}"));
    let who = if bans == 1 { "it was" } else { "half were" };
    let bans = count(bans, "ban");
    format!("{bans} since the start; {who} in the kernel this soon after the line was read: {kernel}{disk}\n")
}

/// `learnt 212 good logins from 2 networks in 30 d (wtmp, journal, 5 rotated logs)`
pub(super) fn learnt_text(learnt: &Value) -> String {
    if learnt.is_null() {
        return String::new();
    }
    let list = |key: &str| learnt[key].as_array().into_iter().flatten().map(word).collect::<Vec<_>>();
    let many = |key: &str, what: &str| count(learnt[key].as_u64().unwrap_or(0), what);
    let (logins, networks) = (many("logins", "good login"), many("networks", "network"));
    let what = format!("{logins} from {networks} in {} d", learnt["days"]);
    let from = match list("from") {
        from if from.is_empty() => "nothing of that time is there".to_owned(),
        from => from.join(", "),
    };
    let left_out: String = list("left_out").iter().map(|left| format!("  not read: {left}\n")).collect();
    match learnt["done"] == true {
        true => format!("learnt {what} ({from})\n{left_out}"),
        false => format!("learning from logs, so far {what}\n"),
    }
}
