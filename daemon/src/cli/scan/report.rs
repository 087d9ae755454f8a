//! What a scan found, as JSON and for people.

use std::fmt::Write;

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Value, json};

use pillory_core::jail::JailIndex;
use pillory_core::net::Prefix;
use pillory_core::scan::{Source, Tally, busiest};
use pillory_core::time::{Span, Timestamp};

use crate::control::stamp;
use crate::escape::escape;

use crate::cli::rehearse::report::grouped;
use crate::cli::screen::{Screen, cut, width};
use crate::cli::{count, plot};

use super::{Scanned, Unread};

/// At most so many offenders, networks and users are shown to people.
const OFFENDERS: usize = 20;
const NETWORKS: usize = 5;
const USERS: usize = 12;
/// How wide it is where there is no terminal.
pub(in crate::cli) const COLUMNS: usize = 80;

/// The JSON, its keys in the order of the alphabet. A scan may tell of millions of sources: they are written as they
/// are read, without a tree of values first.
#[derive(Serialize)]
struct Report<'a> {
    busiest_ten_minutes: Option<Value>,
    failures: u64,
    files: Vec<Value>,
    first: Option<Value>,
    last: Option<Value>,
    networks: Vec<Value>,
    offenders: Vec<Offender<'a>>,
    peak_per_minute: u64,
    successes: u64,
    unread: Vec<Value>,
}

#[derive(Serialize)]
struct Offender<'a> {
    failures: u64,
    first: Value,
    jail: Option<&'a str>,
    last: Value,
    prefix: Prefix,
    users: Vec<&'a str>,
    would_ban: bool,
    would_ban_at: Option<Value>,
}

/// As the interface describes it.
pub(super) fn json(
    (scanned, unread): (&[Scanned], &[Unread]),
    tally: &mut Tally,
    names: &[String],
) -> Result<String, serde_json::Error> {
    let files = scanned
        .iter()
        .map(|file| {
            json!({"path": file.path.display().to_string(), "format": file.format, "records": file.records,
                "bytes": file.bytes, "in_log": file.in_log, "jails": file.jails, "trouble": file.trouble})
        })
        .collect();
    let minutes = tally.minutes();
    let tally = &*tally;
    let offender = |(jail, prefix, source): (JailIndex, Prefix, &Source)| Offender {
        failures: source.failures,
        first: stamp(source.first),
        jail: names.get(usize::from(jail)).map(String::as_str),
        last: stamp(source.last),
        prefix,
        users: source.users.iter().map(|user| tally.user(*user)).collect(),
        would_ban: source.would_ban_at.is_some(),
        would_ban_at: source.would_ban_at.map(stamp),
    };
    let network = |(net, failures, sources): (Prefix, u64, usize)| json!({"prefix": net.to_string(), "failures": failures, "sources": sources});
    let ten = busiest(&minutes, 10);
    serde_json::to_string(&Report {
        busiest_ten_minutes: ten.map(|(minute, count)| {
            json!({"from": stamp(Timestamp::from_secs(minute * 60)), "per_second": count as f64 / 600.0})
        }),
        failures: tally.failures(),
        files,
        first: tally.span().map(|(first, _)| stamp(first)),
        last: tally.span().map(|(_, last)| stamp(last)),
        networks: tally.networks().into_iter().map(network).collect(),
        offenders: tally.sources().into_iter().map(offender).collect(),
        peak_per_minute: busiest(&minutes, 1).map_or(0, |(_, count)| count),
        successes: tally.successes(),
        unread: unread
            .iter()
            .map(|file| json!({"path": file.path.display().to_string(), "why": file.why}))
            .collect(),
    })
}

/// For people.
pub(super) fn text(
    (scanned, unread): (&[Scanned], usize),
    tally: &mut Tally,
    names: &[String],
    (zone, screen): (&TimeZone, Screen),
) -> String {
    let columns = screen.columns.unwrap_or(COLUMNS);
    let mut text = String::new();
    files(&mut text, scanned, unread);
    let Some((first, last)) = tally.span() else {
        let whole = unread == 0 && scanned.iter().all(|file| file.trouble.is_none());
        let found = match (whole, scanned.is_empty()) {
            (true, _) => "no failed login found",
            (false, true) => "nothing was scanned",
            (false, false) => "no failed login found in what could be read",
        };
        let _ = writeln!(text, "{found} ({})", count(tally.successes(), "good login"));
        return text;
    };
    summary(&mut text, tally, (first, last), zone);
    offenders(&mut text, tally, names, (zone, columns));
    let networks = tally.networks();
    if !networks.is_empty() {
        text.push_str("\nnetworks\n");
        for (net, failures, sources) in networks.iter().take(NETWORKS) {
            let _ = writeln!(text, "{:>9}  {net} ({})", grouped(*failures), count(*sources as u64, "source"));
        }
    }
    users(&mut text, tally, columns);
    plots(&mut text, tally, (first, last), (zone, columns));
    text
}

/// The files that were read, and that some were not.
pub(in crate::cli) fn files(text: &mut String, scanned: &[Scanned], unread: usize) {
    for file in scanned {
        let what = if file.format == "text" { "lines" } else { "records" };
        let jails =
            if file.jails.len() > 3 { format!("{} jails", file.jails.len()) } else { file.jails.join(" ") };
        let path = escape(&file.path.display().to_string());
        let _ = writeln!(
            text,
            "{path}: {} {what}, {}, {}, {jails}",
            grouped(file.records),
            size(file.bytes),
            file.format
        );
        if let Some(trouble) = &file.trouble {
            let _ = writeln!(text, "  not all of it is counted: {}", escape(trouble));
        }
        if file.in_log > 0 {
            let _ = writeln!(
                text,
                "  {} of them are passed over: a log or journal among the files covers their time",
                file.in_log
            );
        }
    }
    if unread > 0 {
        let _ = writeln!(
            text,
            "{} could not be read and {} not counted",
            count(unread as u64, "file"),
            if unread == 1 { "is" } else { "are" }
        );
    }
}

fn summary(text: &mut String, tally: &mut Tally, (first, last): (Timestamp, Timestamp), zone: &TimeZone) {
    let minutes = tally.minutes();
    let sources = tally.sources();
    let banned = sources.iter().filter(|(_, _, source)| source.would_ban_at.is_some()).count();
    let (failures, successes) = (tally.failures(), tally.successes());
    let _ = writeln!(
        text,
        "\n{} by {}, {}\n{} to {} ({})",
        count(failures, "attempt"),
        count(sources.len() as u64, "source"),
        count(successes, "good login"),
        at(first, zone, "%a %Y-%m-%d %H:%M:%S"),
        at(last, zone, "%a %Y-%m-%d %H:%M:%S"),
        round(last.since(first)),
    );
    if let (Some((ten, many)), Some((_, peak))) = (busiest(&minutes, 10), busiest(&minutes, 1)) {
        let from = at(Timestamp::from_secs(ten * 60), zone, "%b %e %H:%M");
        let _ = writeln!(
            text,
            "busiest ten minutes from {from}: {}; busiest minute: {peak}",
            count(many, "attempt")
        );
    }
    let _ = writeln!(text, "{} would be banned", count(banned as u64, "source"));
    if tally.uncounted_sources() > 0 {
        let _ = writeln!(text, "{} attempts of further sources are not listed", tally.uncounted_sources());
    }
}

fn offenders(text: &mut String, tally: &Tally, names: &[String], (zone, columns): (&TimeZone, usize)) {
    let sources = tally.sources();
    let top = &sources[..sources.len().min(OFFENDERS)];
    let several = top.iter().any(|(jail, ..)| Some(jail) != top.first().map(|(jail, ..)| jail));
    let name = |jail: u16| names.get(usize::from(jail)).map_or("", String::as_str);
    let source_width = top.iter().map(|(_, prefix, _)| prefix.short().len()).max().unwrap_or(0).max(6);
    let jail_width =
        if several { top.iter().map(|(jail, ..)| name(*jail).len()).max().unwrap_or(0).max(4) } else { 0 };
    let jail_column = |word: &str| if several { format!("{word:<jail_width$}  ") } else { String::new() };
    let _ = writeln!(
        text,
        "\n attempts  {:<source_width$}  {}first         last          banned at     users",
        "source",
        jail_column("jail")
    );
    for (jail, prefix, source) in top {
        let banned = source.would_ban_at.map_or_else(|| "-".to_owned(), |ban| at(ban, zone, "%b %e %H:%M"));
        let line = format!(
            "{:>9}  {:<source_width$}  {}{:<12}  {:<12}  {banned:<12}  ",
            grouped(source.failures),
            prefix.short(),
            jail_column(name(*jail)),
            at(source.first, zone, "%b %e %H:%M"),
            at(source.last, zone, "%b %e %H:%M"),
        );
        let room = columns.saturating_sub(line.chars().count()).max(12);
        let _ = writeln!(text, "{line}{}", user_list(tally, source, room));
    }
    if sources.len() > top.len() {
        let _ = writeln!(text, "           and {} more; --json names all", sources.len() - top.len());
    }
}

/// As many names as there is room for, and how many more there are.
fn user_list(tally: &Tally, source: &Source, room: usize) -> String {
    let mut list = String::new();
    for (count, user) in source.users.iter().enumerate() {
        let name = escape(tally.user(*user));
        let left = source.users.len() - count;
        let reserve = if left > 1 { format!(" +{}", left - 1).len() } else { 0 };
        if width(&list) + width(&name) + usize::from(count > 0) + reserve > room {
            if count > 0 {
                return format!("{list} +{left}");
            }
            let more = if left > 1 { format!(" +{}", left - 1) } else { String::new() };
            return cut(&name, room.saturating_sub(reserve)) + &more;
        }
        if count > 0 {
            list.push(' ');
        }
        list.push_str(&name);
    }
    list
}

fn users(text: &mut String, tally: &Tally, columns: usize) {
    let (top, count) = tally.users(USERS);
    if top.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nusers tried ({count})");
    let mut column = 0;
    for (name, tries) in top {
        let word = format!("  {} {}", cut(&escape(name), 32), grouped(tries));
        if column + width(&word) > columns {
            text.push('\n');
            column = 0;
        }
        column += width(&word);
        text.push_str(&word);
    }
    text.push('\n');
}

/// Along the time, and of more than two days by the hour of the day.
fn plots(
    text: &mut String,
    tally: &mut Tally,
    (first, last): (Timestamp, Timestamp),
    at_place: (&TimeZone, usize),
) {
    let (zone, columns) = at_place;
    let minutes = tally.minutes();
    let bars = minutes.iter().map(|(minute, count)| (*minute, (*count, *count)));
    let _ = write!(text, "\n{}", plot::along_the_time(bars, zone, columns));
    if last.since(first) <= Span::from_secs(48 * 3_600) {
        return;
    }
    let mut hours: [u64; 24] = [0; 24];
    for (minute, count) in &minutes {
        let hour: usize = at(Timestamp::from_secs(minute * 60), zone, "%H").parse().unwrap_or(0);
        hours.iter_mut().skip(hour).take(1).for_each(|of_hour| *of_hour += count);
    }
    let bars = hours.iter().enumerate().map(|(hour, count)| (format!("{hour:02}:00"), (*count, *count)));
    let _ = write!(text, "\nby the hour of the day\n{}", plot::draw(&bars.collect::<Vec<_>>(), columns));
}

pub(in crate::cli) fn at(moment: Timestamp, zone: &TimeZone, format: &str) -> String {
    match jiff::Timestamp::from_millisecond(moment.millis()) {
        Ok(stamp) => stamp.to_zoned(zone.clone()).strftime(format).to_string(),
        Err(_) => moment.to_string(),
    }
}

/// A span without its small parts: nobody wants the seconds of a month.
pub(in crate::cli) fn round(span: Span) -> Span {
    let keep = if span.secs() > 86_400 { 3_600 } else { 1 };
    Span::from_secs(span.secs() / keep * keep)
}

/// Bytes for people.
pub(super) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}
