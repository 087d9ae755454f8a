//! `pillory explain`: the whole story of an address, a few sentences first and then the figures.

use std::fmt::Write;

use serde_json::Value;

use pillory_core::net::Prefix;
use pillory_core::time::Span;

use crate::clock;
use crate::control::{Reply, Request, past::is_of_source, short};
use crate::outputs::wall::world;

use super::client::{parse_time, word, wrapped};
use super::rows::local;
use super::scan::report::round;
use super::screen::{Screen, roughly};
use super::{Client, Failure, Outcome, addresses, count, whois, widening};

/// So many attempts of a jail, rows of history and names are shown to people.
const ROWS: usize = 10;
const NAMES: usize = 8;

/// `pillory explain`
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// Addresses or networks; `-` reads them from standard input, one a line.
    #[arg(required = true, value_name = "PREFIX")]
    prefixes: Vec<String>,
    /// Ask a registry whose network it is in; see `[rdap]` of the configuration.
    #[arg(long)]
    whois: bool,
    #[command(flatten)]
    registry: whois::Registry,
    #[command(flatten)]
    client: Client,
}

impl Explain {
    pub(crate) fn run(&self) -> Outcome {
        let prefixes: Vec<Prefix> = addresses::read(&self.prefixes)?;
        let [prefix] = prefixes[..] else { return self.several(&prefixes) };
        let reply = self.ask(prefix)?;
        let columns = Screen::here().prose();
        self.client.show(&reply, |value| story(prefix, value, columns))
    }

    fn ask(&self, prefix: Prefix) -> Result<Reply, Failure> {
        let mut reply = self.client.ask(&Request::Explain(prefix))?;
        if self.whois {
            reply.value["whois"] = whois::value(&self.registry.network(prefix.addr())?);
        }
        Ok(reply)
    }

    /// One story after the other; of JSON an array. The answer is no only if it is so for all.
    fn several(&self, prefixes: &[Prefix]) -> Outcome {
        let replies = prefixes.iter().map(|prefix| self.ask(*prefix)).collect::<Result<Vec<_>, _>>()?;
        let exit = replies.iter().map(|reply| reply.exit).min().unwrap_or_default();
        let mut messages: Vec<String> = replies.iter().map(|reply| reply.message.clone()).collect();
        messages.retain(|message| !message.is_empty());
        messages.dedup();
        let values = replies.into_iter().map(|reply| reply.value).collect();
        let all = Reply { exit, message: messages.join("\n"), value: Value::Array(values) };
        self.client.show(&all, |values| {
            let values = values.as_array().into_iter().flatten();
            let columns = Screen::here().prose();
            let stories: Vec<String> =
                prefixes.iter().zip(values).map(|(prefix, value)| story(*prefix, value, columns)).collect();
            stories.join("\n")
        })
    }
}

/// The story of what [`Request::Explain`] told, its prose in lines of so many columns.
pub(crate) fn story(prefix: Prefix, value: &Value, columns: usize) -> String {
    let mut text = String::new();
    let sentences = [
        state(prefix, value),
        why(prefix, value),
        not_enforced(value),
        earlier(value),
        seen(value),
        counted_as(prefix, value),
        network(value),
        known_place(value),
        never_banned(value),
    ];
    for sentence in sentences.iter().filter(|sentence| !sentence.is_empty()) {
        text.push_str(&wrapped(sentence, 0, columns));
    }
    bans(&mut text, prefix, value);
    points(&mut text, prefix, value, columns);
    text.push_str(&widening::text(value));
    text.push_str(&whois::text(&value["whois"]));
    history(&mut text, value);
    text
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[][..], Vec::as_slice)
}

/// Banned or not, by whom, and until when.
fn state(prefix: Prefix, value: &Value) -> String {
    let who = prefix.short();
    // Who is never banned is taken out of every ban but forced ones.
    let (spared, bans): (Vec<&Value>, Vec<&Value>) =
        list(value, "bans").iter().partition(|ban| ban["spared"] == true);
    // What covers all of it bans it; what lies inside bans a part.
    let holds = |ban: &&Value| ban_prefix(ban).is_some_and(|net| net.contains(prefix));
    let longest = |bans: &[&Value]| bans.iter().copied().filter(holds).max_by_key(|ban| end_of(ban)).map(by);
    if let Some(by) = longest(&bans) {
        return format!("{who} is banned {by}.");
    }
    if let Some(by) = longest(&spared) {
        return format!(
            "{who} is not shut out: it is never banned. The ban {by}, has no effect for as long as that is so."
        );
    }
    let in_effect = value["bans_in_effect"].as_u64();
    let inside = match in_effect.unwrap_or(bans.len() as u64 + more_bans(value)) {
        0 => String::new(),
        1 => ", but one ban holds inside it".to_owned(),
        number => format!(", but {number} bans hold inside it"),
    };
    format!("{who} is not banned{inside}.")
}

/// What brought the ban about that is told first.
fn why(prefix: Prefix, value: &Value) -> String {
    let holds =
        |ban: &&Value| ban_prefix(ban).is_some_and(|net| net.contains(prefix)) && ban["spared"] != true;
    let Some(ban) = list(value, "bans").iter().filter(holds).max_by_key(|ban| end_of(ban)) else {
        return String::new();
    };
    let Some(since) = ban["since"].as_str().and_then(parse_time) else { return String::new() };
    format!("That was decided {} ago: {}.", roughly(clock::now().since(since)), word(&ban["reason"]))
}

/// `by jail sshd, until Sun Nov 22 20:15:01 2026 (1h left)`
fn by(ban: &Value) -> String {
    let until = match ban["until"].as_str().and_then(parse_time) {
        Some(until) => format!("until {} ({} left)", local(&ban["until"]), round(until.since(clock::now()))),
        None => "until somebody lifts it".to_owned(),
    };
    let by = match ban["jail"].as_str() {
        Some("manual") => "by hand".to_owned(),
        Some("import") => "by an imported list".to_owned(),
        Some("kernel") => "as was found in the kernel".to_owned(),
        _ => format!("by jail {}", word(&ban["jail"])),
    };
    format!("{by}, {until}")
}

/// How many bans there are that the answer leaves out.
fn more_bans(value: &Value) -> u64 {
    value["bans_more"].as_u64().unwrap_or(0)
}

fn ban_prefix(ban: &Value) -> Option<Prefix> {
    ban["prefix"].as_str().and_then(|text| text.parse().ok())
}

/// What lasts longest sorts last.
fn end_of(ban: &Value) -> (bool, i64) {
    ban["until"].as_str().and_then(parse_time).map_or((true, 0), |until| (false, until.millis()))
}

fn not_enforced(value: &Value) -> String {
    match list(value, "bans").is_empty() || value["enforcing"] == true {
        true => String::new(),
        false => "But nothing is enforced now (see `pillory status`).".to_owned(),
    }
}

fn earlier(value: &Value) -> String {
    match value["earlier_bans"].as_u64() {
        None | Some(0) => String::new(),
        Some(times) => {
            let often = if times == 1 { "once".to_owned() } else { format!("{times} times") };
            let forgiven = match value["standing_bans"].as_u64() {
                Some(standing) if standing < times => {
                    format!(", and {standing} of these are not forgiven yet")
                }
                _ => String::new(),
            };
            format!("Jails have banned it {often} so far{forgiven}.")
        }
    }
}

/// How much came from there, when, and for whom.
fn seen(value: &Value) -> String {
    let seen = &value["seen"];
    let Some(attempts) = seen["attempts"].as_u64() else {
        return "No attempt from there is kept.".to_owned();
    };
    let (first, last) = (local(&seen["first"]), local(&seen["last"]));
    let when = if first == last { format!("at {first}") } else { format!("from {first} to {last}") };
    let users = list(seen, "users");
    let name = |user: &Value| match user["attempts"].as_u64() {
        Some(1) => word(&user["user"]),
        times => format!("{} ({})", word(&user["user"]), times.unwrap_or(0)),
    };
    let mut names = users.iter().take(NAMES).map(name).collect::<Vec<_>>().join(", ");
    let in_all = seen["users_in_all"].as_u64().unwrap_or(0);
    if in_all > NAMES as u64 {
        let _ = write!(names, " and {} more", in_all - NAMES as u64);
    }
    let names = if names.is_empty() { String::new() } else { format!("; names tried: {names}") };
    format!("Seen in all: {}, {when}{names}.", count(attempts, "attempt"))
}

/// IPv6 is counted by its /64.
fn counted_as(prefix: Prefix, value: &Value) -> String {
    match value["counted_as"].as_str().and_then(|text| text.parse::<Prefix>().ok()) {
        Some(subject) if subject != prefix => format!("It is counted, and banned, as {subject}."),
        _ => String::new(),
    }
}

/// Whose network it is in, if there is a database that says it.
fn network(value: &Value) -> String {
    let network = &value["network"];
    let country = network["country"].as_str().map(|code| world::name(code).unwrap_or(code).to_owned());
    let place = country.map(|country| format!(" (used in {country})")).unwrap_or_default();
    match (network["asn"].as_u64(), network["operator"].as_str()) {
        (None, _) if place.is_empty() => String::new(),
        (None, _) => format!("Its network belongs to an operator that is not known{place}."),
        (Some(number), None) => format!("Its network belongs to AS{number}{place}."),
        (Some(number), Some(operator)) => {
            format!("Its network belongs to AS{number}, {}{place}.", word(&operator.into()))
        }
    }
}

fn known_place(value: &Value) -> String {
    let login = &value["last_good_login"];
    if !login.is_object() {
        return String::new();
    }
    if login["regular"] == true {
        return format!(
            "Somebody logs in from there again and again, last {}; nobody is named, so it is a regular place: a ban lasts \
             ten minutes the first time, and an outage is not held against it.",
            local(&login["time"])
        );
    }
    let user = if login["user"].is_null() { "somebody".to_owned() } else { word(&login["user"]) };
    format!(
        "Last good login from there: {user}, {}; for 30 days that makes it a known place: one point a failure, and ten \
         minutes the first time.",
        local(&login["time"])
    )
}

fn never_banned(value: &Value) -> String {
    let reasons = list(value, "never_banned");
    let each = reasons.iter().map(|never| format!("{} is {}", short(&never["prefix"]), word(&never["why"])));
    match reasons.is_empty() {
        true => String::new(),
        false => format!("It is never banned: {}.", each.collect::<Vec<_>>().join("; ")),
    }
}

/// Every ban that concerns it, with its reason, and how it relates to what was asked for.
fn bans(text: &mut String, asked: Prefix, value: &Value) {
    let bans = list(value, "bans");
    if bans.is_empty() {
        return;
    }
    text.push_str("\nbans in force\n");
    for ban in bans {
        let net = ban_prefix(ban);
        let prefix = short(&ban["prefix"]);
        let relation = match net {
            Some(net) if net != asked && net.contains(asked) => ", a wider network that covers it",
            Some(net) if net != asked => ", inside it",
            _ => "",
        };
        let forced = match (ban["forced"] == true, ban["spared"] == true) {
            (true, _) => ", forced",
            (_, true) => ", without effect on it",
            _ => "",
        };
        let (jail, origin) = (word(&ban["jail"]), word(&ban["origin"]));
        let until = if ban["until"].is_null() { "lifted by hand".to_owned() } else { local(&ban["until"]) };
        let _ = writeln!(
            text,
            "  {prefix}{relation}: {jail}\n    {} ({origin}{forced})\n    since {}, until {until}",
            word(&ban["reason"]),
            local(&ban["since"])
        );
    }
    if more_bans(value) > 0 {
        let _ = writeln!(text, "  and {} more: `pillory list` has them", more_bans(value));
    }
}

/// The arithmetic, jail by jail: what counted, and how it adds up to what bans.
fn points(text: &mut String, asked: Prefix, value: &Value, columns: usize) {
    let mut jails: Vec<&str> = Vec::new();
    let named = list(value, "points").iter().chain(list(value, "evidence"));
    for jail in named.filter_map(|row| row["jail"].as_str()) {
        if !jails.contains(&jail) {
            jails.push(jail);
        }
    }
    for jail in jails {
        let of_jail = |row: &&Value| row["jail"] == jail;
        let rows: Vec<&Value> = list(value, "evidence").iter().filter(of_jail).collect();
        let counting = list(value, "points").iter().find(of_jail);
        let banned = list(value, "bans").iter().any(|ban| ban["jail"] == jail && is_of_source(ban, asked));
        let head = match counting.filter(|_| !banned) {
            Some(counting) => counting_now(counting, value),
            None => what_banned(jail, &rows, value),
        };
        let _ = writeln!(text, "\njail {}, {head}", word(&Value::from(jail)));
        if let Some(counting) = counting.filter(|_| !banned) {
            text.push_str(&held_back(counting, columns));
        }
        evidence(text, &rows);
    }
}

fn findtime(jail: &str, value: &Value) -> Span {
    Span::from_secs(value["findtime_s"][jail].as_u64().unwrap_or(0))
}

/// `5 of 5 points within 1d`; with jitter a source's threshold is its own, and another one after each ban.
fn what_banned(jail: &str, rows: &[&Value], value: &Value) -> String {
    let sum: f64 = rows.iter().filter_map(|row| row["points"].as_f64()).sum();
    let within = findtime(jail, value);
    match (value["maxretry"][jail].as_f64(), value["jitter_percent"][jail].as_u64()) {
        (None, _) => format!("what banned it: {sum} points within {within}"),
        (Some(maxretry), None | Some(0)) => {
            format!("what banned it: {sum} of {maxretry} points within {within}")
        }
        (Some(maxretry), Some(jitter)) => format!(
            "what banned it: {sum} points within {within};\n  its threshold was maxretry ({maxretry}) moved by jitter, \
             by up to {jitter} %"
        ),
    }
}

/// `2 of 5 points, 1 attempt within 1d`
fn counting_now(counting: &Value, value: &Value) -> String {
    let jail = counting["jail"].as_str().unwrap_or_default();
    let attempts = count(counting["attempts"].as_u64().unwrap_or(0), "attempt");
    let lapse = match counting["until"].is_null() {
        true => String::new(),
        false => format!("; they lapse until\n  {}", local(&counting["until"])),
    };
    let (maxretry, threshold) = (counting["maxretry"].as_f64(), counting["threshold"].as_f64());
    let moved = match (threshold, maxretry) {
        (Some(threshold), Some(maxretry)) if (threshold - maxretry).abs() > f64::EPSILON => {
            format!(" (maxretry {maxretry}, moved by jitter)")
        }
        _ => String::new(),
    };
    let of = threshold.or(maxretry).map_or_else(String::new, |threshold| format!(" of {threshold}"));
    let points = counting["points"].as_f64().unwrap_or(0.0);
    let within = findtime(jail, value);
    format!("counting now: {points}{of} points{moved}, {attempts} within {within}{lapse}")
}

/// Why who has as many points as ban is not banned; empty if there are fewer.
fn held_back(counting: &Value, columns: usize) -> String {
    let points = |key: &str| counting[key].as_f64();
    let Some(threshold) = points("threshold").filter(|threshold| points("points") >= Some(*threshold)) else {
        return String::new();
    };
    let said = match (counting["outage_since"].is_null(), points("banned_anyway_at")) {
        (false, Some(anyway)) => format!(
            "That would ban it, but people log in from there, and since {} it looks as if nobody could log in to the \
             service: it is held back until that is over, or until {anyway} points.",
            local(&counting["outage_since"])
        ),
        _ => format!("That is as many as ban it ({threshold}): its next failure does."),
    };
    wrapped(&said, 2, columns)
}

fn evidence(text: &mut String, rows: &[&Value]) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "  {:<26}{:<14}{:>6}{:>7}  user", "time", "class", "points", "sum");
    let hidden = rows.len().saturating_sub(ROWS);
    let mut sum = 0.0;
    for (at, row) in rows.iter().enumerate() {
        let points = row["points"].as_f64().unwrap_or(0.0);
        sum += points;
        if at < hidden {
            continue;
        }
        if at == hidden && hidden > 0 {
            let _ = writeln!(text, "  .. {hidden} before these; --json shows them");
        }
        let user = if row["user"].is_null() { "-".to_owned() } else { word(&row["user"]) };
        let class = match row["attempts"].as_u64() {
            Some(times) if times > 1 => format!("{} x{times}", word(&row["class"])),
            _ => word(&row["class"]),
        };
        let _ = writeln!(text, "  {:<26}{class:<14}{points:>6}{sum:>7}  {user}", local(&row["time"]));
    }
}

fn history(text: &mut String, value: &Value) {
    let rows = list(value, "history");
    if rows.is_empty() {
        return;
    }
    text.push_str("\nhistory\n");
    let hidden = rows.len().saturating_sub(ROWS);
    if hidden > 0 {
        let _ = writeln!(text, "  .. {hidden} before these; --json shows them");
    }
    for row in rows.iter().skip(hidden) {
        let prefix = short(&row["prefix"]);
        let (what, jail) = (word(&row["what"]), word(&row["jail"]));
        let _ = writeln!(text, "  {}  {what:<8}{jail}  {prefix}", local(&row["time"]));
        let until = match (what == "ban" || what == "missed", row["until"].is_null()) {
            (true, false) => format!("; until {}", local(&row["until"])),
            (true, true) => "; until somebody lifts it".to_owned(),
            _ => String::new(),
        };
        let said = format!("{}{until}", word(&row["reason"]));
        let said = said.trim_start_matches("; ");
        if !said.is_empty() {
            let _ = writeln!(text, "      {said}");
        }
    }
}

#[cfg(test)]
mod tests;
