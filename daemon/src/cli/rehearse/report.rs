//! What a rehearsal found, as JSON and for people.

use std::fmt::Write;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use pillory_core::rehearse::curve::{Advice, Point, Setting, TOLERANCE_PERCENT};
use pillory_core::rehearse::good::{GoodUser, How};
use pillory_core::rehearse::{Report, Sums};
use pillory_core::time::Timestamp;

use crate::cli::scan::report::{COLUMNS, at, files, round};
use crate::cli::screen::{Screen, cut};
use crate::cli::{count, plot};
use crate::control::stamp;
use crate::escape::escape;

use super::chart::{self, percent};
use super::material::Material;
use super::{Rehearsed, Told, points};

/// At most so many good users are shown to people.
const GOOD_USERS: usize = 10;

/// As the interface describes it, and more.
pub(super) fn json(told: &Told, material: &Material) -> Value {
    let present = &told.present.report;
    let mut value = one(&told.present);
    value["curve"] = told.curve.iter().map(point).collect();
    value["advice"] = match told.advice {
        None => Value::Null,
        Some(Advice::Keep) => json!({"keep": true}),
        Some(Advice::Take(taken)) => {
            let mut advice = point(&taken);
            advice["keep"] = json!(false);
            advice
        }
    };
    value["against"] = told.against.as_ref().map_or(Value::Null, one);
    value["good_logins"] = json!(present.good_logins);
    value["from_store"] = json!(material.stored);
    value["left_out"] = json!(material.left_out);
    value["earlier_bans"] = json!(material.earlier_bans);
    let path = |path: &std::path::Path| path.display().to_string();
    value["files"] = material
        .scanned
        .iter()
        .map(|file| json!({"path": path(&file.path), "jails": file.jails, "trouble": file.trouble}))
        .collect();
    value["unread"] =
        material.unread.iter().map(|file| json!({"path": path(&file.path), "why": file.why})).collect();
    value
}

/// One policy.
fn one(rehearsed: &Rehearsed) -> Value {
    let report = &rehearsed.report;
    let mut value = sums(&report.total);
    value["policy"] = json!(rehearsed.name);
    value["maxretry"] = rehearsed.setting.map(|setting| points(setting.maxretry)).into();
    value["findtime_s"] = rehearsed.setting.map(|setting| setting.findtime.secs()).into();
    value["first"] = report.span.map(|(first, _)| stamp(first)).into();
    value["last"] = report.span.map(|(_, last)| stamp(last)).into();
    value["jails"] = report
        .jails
        .iter()
        .map(|(name, of_jail)| {
            let mut value = sums(of_jail);
            value["name"] = json!(name.as_str());
            value
        })
        .collect();
    value["good_users"] = report.good_users.iter().map(|hit| good_user(hit, report)).collect();
    value
}

fn good_user(hit: &GoodUser, report: &Report) -> Value {
    json!({
        "address": hit.addr.to_string(),
        "user": hit.user.as_str(),
        "jail": jail_name(report, hit.jail),
        "prefix": hit.prefix.to_string(),
        "banned_at": stamp(hit.banned_at),
        "login_at": stamp(hit.login_at),
        "why": match hit.how { How::WasThere => "was_there", How::Mistyped => "mistyped" },
    })
}

fn sums(sums: &Sums) -> Value {
    json!({
        "attempts": sums.attempts,
        "let_through": sums.let_through,
        "bans": sums.bans,
        "offenders": sums.offenders,
        "never_banned": sums.never_banned,
        "good_users_hit": sums.good_users_hit,
    })
}

fn point(point: &Point) -> Value {
    let Setting { maxretry, findtime } = point.setting;
    let mut value = sums(&point.sums);
    value["maxretry"] = json!(points(maxretry));
    value["findtime_s"] = json!(findtime.secs());
    value
}

fn jail_name(report: &Report, jail: u16) -> &str {
    report.jails.get(usize::from(jail)).map_or("", |(name, _)| name.as_str())
}

/// For people.
pub(super) fn text(told: &Told, material: &Material, (zone, screen): (&TimeZone, Screen)) -> String {
    let mut text = String::new();
    files(&mut text, &material.scanned, material.unread.len());
    if material.stored > 0 {
        let _ = writeln!(
            text,
            "{} that the daemon kept, from before these logs begin",
            count(material.stored, "attempt")
        );
    }
    let report = &told.present.report;
    let Some(span) = report.span else {
        let _ = writeln!(text, "no failed login found ({})", count(report.good_logins, "good login"));
        return text;
    };
    head(&mut text, told, span, zone);
    policies(&mut text, told);
    for rehearsed in [Some(&told.present), told.against.as_ref()].into_iter().flatten() {
        by_jail(&mut text, rehearsed, told.against.is_some());
        good_users(&mut text, rehearsed, zone);
    }
    let minutes = told.present.minutes.iter().map(|(minute, counts)| (*minute, *counts));
    let bars = plot::along_the_time(minutes, zone, screen.columns.unwrap_or(COLUMNS));
    let _ = write!(text, "\nattempts, █ let through and ░ stopped, {bars}");
    text.push_str(&chart::draw(&told.curve, told.present.setting));
    advice(&mut text, told);
    notes(&mut text, told, material);
    text
}

fn head(text: &mut String, told: &Told, (first, last): (Timestamp, Timestamp), zone: &TimeZone) {
    let report = &told.present.report;
    let _ = writeln!(
        text,
        "\n{} attempts by {} sources; {} good logins from {}",
        grouped(report.total.attempts),
        grouped(report.total.offenders),
        grouped(report.good_logins),
        match told.places {
            1 => "1 address".to_owned(),
            places => format!("{} addresses", grouped(places as u64)),
        },
    );
    let format = "%a %Y-%m-%d %H:%M";
    let _ = writeln!(
        text,
        "{} to {} ({})",
        at(first, zone, format),
        at(last, zone, format),
        round(last.since(first))
    );
}

/// The policies side by side.
fn policies(text: &mut String, told: &Told) {
    let all: Vec<&Rehearsed> = [Some(&told.present), told.against.as_ref()].into_iter().flatten().collect();
    text.push('\n');
    let mut row = |label: &str, value: &dyn Fn(&Rehearsed) -> String| {
        let cells: String = all.iter().map(|rehearsed| format!("{:>24}", value(rehearsed))).collect();
        let _ = writeln!(text, "{label:<24}{cells}");
    };
    row("policy", &|rehearsed| cut(&rehearsed.name, 22));
    row("let through", &|rehearsed| {
        let sums = &rehearsed.report.total;
        format!("{} ({:.1} %)", grouped(sums.let_through), percent(sums.let_through, sums.attempts))
    });
    row("bans", &|rehearsed| grouped(rehearsed.report.total.bans));
    row("offenders never banned", &|rehearsed| {
        let sums = &rehearsed.report.total;
        format!("{} of {}", grouped(sums.never_banned), grouped(sums.offenders))
    });
    row("good users hit", &|rehearsed| grouped(rehearsed.report.total.good_users_hit));
}

/// Jail by jail, where there are several.
fn by_jail(text: &mut String, rehearsed: &Rehearsed, is_one_of_two: bool) {
    let jails: Vec<_> = rehearsed.report.jails.iter().filter(|(_, sums)| sums.attempts > 0).collect();
    if jails.len() < 2 {
        return;
    }
    let title = if is_one_of_two { format!(" ({})", cut(&rehearsed.name, 30)) } else { String::new() };
    let _ = writeln!(
        text,
        "\njail by jail{title}\n{:<16}{:>10}{:>19}{:>10}{:>11}{:>14}",
        "", "attempts", "let through", "bans", "offenders", "never banned"
    );
    for (name, sums) in jails {
        let through =
            format!("{} ({:.1} %)", grouped(sums.let_through), percent(sums.let_through, sums.attempts));
        let _ = writeln!(
            text,
            "{:<16}{:>10}{through:>19}{:>10}{:>11}{:>14}",
            cut(name.as_str(), 15),
            grouped(sums.attempts),
            grouped(sums.bans),
            grouped(sums.offenders),
            grouped(sums.never_banned),
        );
    }
}

fn good_users(text: &mut String, rehearsed: &Rehearsed, zone: &TimeZone) {
    let hits = &rehearsed.report.good_users;
    if hits.is_empty() {
        return;
    }
    let _ = writeln!(text, "\ngood users that {} would have hit", cut(&rehearsed.name, 40));
    let when = |moment: Timestamp| at(moment, zone, "%b %e %H:%M");
    for hit in hits.iter().take(GOOD_USERS) {
        let (who, jail) = (cut(&escape(&hit.user), 16), jail_name(&rehearsed.report, hit.jail));
        let (banned, login) = (when(hit.banned_at), when(hit.login_at));
        let what = match hit.how {
            How::WasThere => format!("banned by {jail} {banned}, logged in {login}"),
            How::Mistyped => format!("logged in {login}, banned for it by {jail} {banned}"),
        };
        let _ = writeln!(text, "  {}  {who}: {what}", hit.addr);
    }
    if hits.len() > GOOD_USERS {
        let _ = writeln!(text, "  and {} more; --json names all", hits.len() - GOOD_USERS);
    }
}

fn advice(text: &mut String, told: &Told) {
    let present = &told.present.report.total;
    let said = match &told.advice {
        None => return,
        Some(Advice::Keep) => "the present policy is as good as any: keep maxretry and findtime".to_owned(),
        Some(Advice::Take(Point { setting, sums })) => format!(
            "maxretry = {}, findtime = \"{}\" for every jail\n{:8}{} let through instead of {}, {} instead of {}",
            setting.maxretry,
            setting.findtime,
            "",
            grouped(sums.let_through),
            grouped(present.let_through),
            count(sums.good_users_hit, "good user"),
            present.good_users_hit,
        ),
    };
    let _ = writeln!(
        text,
        "\nadvice: {said}\nrule:   the fewest good users hit; of these, what lets at most {TOLERANCE_PERCENT} % of all\n        \
         attempts through beyond the best; of these the policy as it is, else\n        \
         what changes the fewest of its values, then the largest maxretry"
    );
}

/// What the figures do not show.
fn notes(text: &mut String, told: &Told, material: &Material) {
    let mut notes = Vec::new();
    if told.places == 0 {
        notes.push("there is no good login in these records, so nothing is known of good users".to_owned());
    }
    if material.earlier_bans > 0 {
        notes.push(format!(
            "{} made here meanwhile kept attempts out of the logs: a milder policy would have\n        \
             let through more than this says",
            count(material.earlier_bans, "ban")
        ));
    }
    if material.left_out > 0 {
        notes.push(format!("{} older records had no room", grouped(material.left_out)));
    }
    for note in notes {
        let _ = writeln!(text, "note:   {note}");
    }
}

/// `1,234,567`
pub(in crate::cli) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"].map(str::to_owned)
        );
    }
}
