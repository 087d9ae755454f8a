//! How `status` looks, and the first screen of `run`: protected? you; now; the effect; warnings, each with its cure.
//!
//! On a terminal it fits the screen: what there is much of is cut, and a word says how to see all.

use std::fmt::Write;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde_json::Value;

use pillory_core::time::Span;

use crate::actions::dryrun;
use crate::control::{Request, short};
use crate::escape::{escape, printed, word};
use crate::{clock, logging, privilege};

use super::ask::left;
use super::client::{caller, parse_time};
use super::past::counted;
use super::screen::{Screen, cut, roughly};
use super::{Client, allow, count, past, red, restrict, strong};

/// How `status` is asked for everything.
const ALL: &str = "`pillory status --all` shows all";

/// Lines that tell of one kind of thing.
struct Part {
    /// Each may take several lines.
    entries: Vec<String>,
    /// So many stay where there is no room.
    least: usize,
    /// What one of those that are left out is called; nothing if nobody misses them.
    noun: Option<&'static str>,
}

impl Part {
    fn whole(text: &str) -> Part {
        Part::of(text, usize::MAX, None)
    }

    /// An entry a line.
    fn of(text: &str, least: usize, noun: Option<&'static str>) -> Part {
        Part { entries: text.lines().map(|line| format!("{line}\n")).collect(), least, noun }
    }
}

/// The first screen of `run`, for who looks on as it starts.
#[derive(Debug)]
pub(super) struct First {
    client: Client,
    /// Where he comes from, found out while everything may still be read.
    you: Option<IpAddr>,
}

/// How long the first screen waits for the week before to be counted, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

impl First {
    /// Only where the log is text and goes to a terminal.
    pub(super) fn wanted(format: logging::Format, control: &Path) -> Option<First> {
        let client = Client { control: control.to_owned(), json: false };
        First::is_wanted(format).then(|| First { client, you: caller() })
    }

    pub(super) fn is_wanted(format: logging::Format) -> bool {
        format == logging::Format::Text && std::io::stderr().is_terminal()
    }

    /// Shows it once everything is watched; ends without a word if the daemon ends first. The log waits for it.
    pub(super) fn run(&self, ready: &Receiver<()>) {
        self.show(ready);
        logging::go_on();
    }

    fn show(&self, ready: &Receiver<()>) {
        if ready.recv().is_err() {
            return;
        }
        let begun = clock::Stopwatch::start();
        let mut value = loop {
            let Ok(reply) = self.client.ask(&Request::Status) else { return };
            let is_counted = reply.value["effect"]["a_day"]["counted"] == true;
            if (is_counted && reply.value["learnt"]["done"] != false) || begun.elapsed() > PATIENCE {
                break reply.value;
            }
            std::thread::park_timeout(PAUSE);
        };
        value["you"] = past::you(&self.client, self.you);
        let mut screen = Screen::of(&std::io::stderr());
        // The line that says that it is ready stands above.
        screen.rows = screen.rows.map(|rows| rows.saturating_sub(1));
        let text = printed(&text(&value, screen, false));
        match anstream::AutoStream::choice(&std::io::stderr()) {
            anstream::ColorChoice::Never => logging::plain(&anstream::adapter::strip_str(&text).to_string()),
            _ => logging::plain(&text),
        }
    }
}

/// All of it, made for that screen.
pub(super) fn text(value: &Value, screen: Screen, all: bool) -> String {
    let mut parts = vec![
        Part::whole(&head(value)),
        Part { entries: jails(value, all || screen.rows.is_none()), least: 2, noun: Some("jail") },
        Part::of(&format!("{}\n", escape(&privilege::words(&value["sandbox"]))), 0, None),
        Part::of(&restrict::restricted_text(&value["restricted"]), 1, Some("port")),
        Part::whole(&past::you_text(&value["you"])),
        Part::of(&allow::allowed_text(&value["allowed"]), 1, Some("")),
        Part::of(&past::learnt_text(&value["learnt"]), 0, None),
        Part::whole(&now(value, screen)),
        Part::whole(&past::a_day_text(&value["effect"]["a_day"])),
        Part::whole(&past::effect_text(&value["effect"])),
        Part::of(&past::latency_text(&value["latency"]), 0, None),
        Part { entries: warnings(value), least: 1, noun: Some("warning") },
    ];
    for entry in parts.iter_mut().flat_map(|part| &mut part.entries) {
        *entry = screen.fitted(entry);
    }
    match screen.rows.filter(|_| !all) {
        // A line is for what is typed next.
        Some(rows) => cut_to(&parts, rows.saturating_sub(1)),
        None => parts.iter().flat_map(|part| part.entries.iter().map(String::as_str)).collect(),
    }
}

/// What fits: at first what is least asked for is left out, then of each part what is behind its first entries.
fn cut_to(parts: &[Part], rows: usize) -> String {
    let mut shown: Vec<usize> = parts.iter().map(|part| part.entries.len()).collect();
    let lines = |shown: &[usize]| {
        let of_part = |(part, shown): (&Part, &usize)| {
            let more = usize::from(*shown < part.entries.len() && part.noun.is_some());
            part.entries.iter().take(*shown).map(|entry| entry.lines().count()).sum::<usize>() + more
        };
        let is_cut = parts.iter().zip(shown).any(|(part, shown)| *shown < part.entries.len());
        parts.iter().zip(shown).map(of_part).sum::<usize>() + usize::from(is_cut)
    };
    while lines(&shown) > rows {
        let can = |at: &usize| shown[*at] > parts[*at].least;
        let detail = (0..parts.len()).rev().find(|at| can(at) && parts[*at].least == 0);
        let longest = || (0..parts.len()).filter(can).max_by_key(|at| shown[*at]);
        let Some(at) = detail.or_else(longest) else { break };
        shown[at] -= 1;
    }
    let mut text = String::new();
    for (part, shown) in parts.iter().zip(&shown) {
        text.extend(part.entries.iter().take(*shown).map(String::as_str));
        let more = part.entries.len() - shown;
        if let Some(noun) = part.noun.filter(|_| more > 0) {
            let plural = if more == 1 || noun.is_empty() { "" } else { "s" };
            let _ = writeln!(text, "{}", format!("  and {more} more {noun}{plural}").trim_end());
        }
    }
    if parts.iter().zip(&shown).any(|(part, shown)| *shown < part.entries.len()) {
        let _ = writeln!(text, "{ALL}");
    }
    text
}

fn head(value: &Value) -> String {
    let state = match (is_dry(value), value["enforcing"] == true) {
        (true, _) => red("DRY RUN, nothing is enforced"),
        (_, true) => strong(&format!("protected by {}", word(&value["banaction"]))),
        (_, false) => red("OFF, nothing is enforced (`pillory on` switches on)"),
    };
    let uptime = Span::from_secs(value["uptime_s"].as_u64().unwrap_or(0));
    format!(
        "pillory {}: {state}, up {uptime}, {}\n",
        word(&value["version"]),
        banned(value, &value["banned"])
    )
}

fn is_dry(value: &Value) -> bool {
    value["banaction"] == dryrun::NAME
}

/// True if bans wait until somebody switches on.
fn is_off(value: &Value) -> bool {
    !is_dry(value) && value["enforcing"] != true
}

/// `3 banned`: in a dry run nobody is, and while nothing is enforced bans wait.
fn banned(value: &Value, number: &Value) -> String {
    match number.as_u64().unwrap_or(0) {
        number if is_dry(value) => format!("{number} would be banned"),
        1 if is_off(value) => "1 ban waits".to_owned(),
        number @ 1.. if is_off(value) => format!("{number} bans wait"),
        number => format!("{number} banned"),
    }
}

/// Each jail with what it reads, and how old the last line of that is; with all its figures if there is room.
fn jails(value: &Value, in_full: bool) -> Vec<String> {
    let jails = value["jails"].as_array().map_or(&[][..], Vec::as_slice);
    let names = jails.iter().map(|jail| word(&jail["name"]).len()).max().unwrap_or(0).clamp(6, 16);
    let figure = |jail: &Value, key: &str, noun: &str| counted(jail[key].as_u64().unwrap_or(0), noun);
    let mut entries = Vec::new();
    for jail in jails {
        let (failures, banned) = (figure(jail, "failures", "failure"), banned(value, &jail["banned"]));
        let figures = match in_full {
            false => format!("{failures}, {banned}"),
            true => format!(
                "{}, {failures}, {} tracked, {banned} ({} in all)",
                figure(jail, "lines", "line"),
                jail["tracked"],
                jail["bans_total"]
            ),
        };
        let mut entry =
            format!("  {:<names$}  {}: {figures}\n", word(&jail["name"]), sources(&jail["sources"]));
        for ban in jail["identities"].as_array().into_iter().flatten() {
            let _ = writeln!(entry, "  {:<names$}  banned by commands: {}", "", word(&ban["id"]));
        }
        entries.push(entry);
    }
    entries
}

/// What is read; of the places where a service may log those that are there, if any is.
fn sources(all: &Value) -> String {
    let all: Vec<&Value> = all.as_array().into_iter().flatten().collect();
    let mut shown: Vec<&Value> = all.iter().copied().filter(|source| source["problem"].is_null()).collect();
    if shown.is_empty() {
        shown = all;
    }
    let one = |source: &&Value| {
        let place = match source["kind"].as_str() {
            Some("file") | None => word(&source["path"]),
            Some(kind) => format!("{kind} {}", word(&source["path"])),
        };
        let last = source["last_line"].as_str().and_then(parse_time);
        let age = match (source["problem"].is_null(), last) {
            (false, _) => "not there or not readable".to_owned(),
            (true, Some(last)) => format!("{} ago", roughly(clock::now().since(last))),
            (true, None) => "no line yet".to_owned(),
        };
        format!("{place} ({age})")
    };
    match shown.is_empty() {
        true => red("reads nothing"),
        false => shown.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

/// The bans in force and the latest of them.
fn now(value: &Value, screen: Screen) -> String {
    let banned = value["banned"].as_u64().unwrap_or(0);
    let latest = value["latest"].as_array().map_or(&[][..], Vec::as_slice);
    if banned == 0 {
        let who = if is_dry(value) { "nobody would be banned" } else { "nobody is banned" };
        return format!("{}: {who}\n", strong("now"));
    }
    let colon = if latest.is_empty() { "" } else { "; the latest:" };
    let bans = match is_dry(value) {
        true => format!("{banned} would be banned"),
        false if is_off(value) => {
            format!("{}, not enforced until `pillory on`", self::banned(value, &value["banned"]))
        }
        false => format!("{} in force", count(banned, "ban")),
    };
    let mut text = format!("{}: {bans}{colon}\n", strong("now"));
    let wide = latest.iter().map(|ban| short(&ban["prefix"]).len()).max().unwrap_or(0);
    for ban in latest {
        let since = ban["time"].as_str().and_then(parse_time);
        let ago = since.map(|since| format!("{} ago, ", roughly(clock::now().since(since))));
        let line = format!(
            "  {:<wide$}  {}, {}{}: {}",
            short(&ban["prefix"]),
            word(&ban["jail"]),
            ago.unwrap_or_default(),
            left(&ban["until"]),
            word(&ban["reason"])
        );
        // `explain` tells the whole of it.
        let _ = writeln!(text, "{}", cut(&line, screen.columns.unwrap_or(usize::MAX)));
    }
    text
}

fn warnings(value: &Value) -> Vec<String> {
    let warnings = value["warnings"].as_array().into_iter().flatten();
    warnings.map(|warning| format!("{} {}\n", red("warning:"), word(warning))).collect()
}
