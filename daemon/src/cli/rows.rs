//! `pillory attempts` and `pillory history`: rows of the store, as last(1) prints them, newest last.

use serde_json::Value;

use pillory_core::net::Prefix;
use pillory_core::time::{Span, Timestamp};

use crate::clock;
use crate::control::client::ask;
use crate::control::{Reply, Request, short};
use crate::escape::{escape, printed};
use crate::logging::how_ended;
use crate::store::query::Wanted;
use crate::store::{HOW_ENDED, word_of};

use super::client::{parse_time, word};
use super::screen::{self, Screen};
use super::{Client, Failure, Outcome, addresses, complain, exit, print, print_as_it_is, print_json};

/// Which listing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Table {
    /// `pillory attempts`
    Attempts,
    /// `pillory history`
    History,
}

/// `pillory attempts` and `pillory history`
#[derive(Debug, clap::Args)]
pub(crate) struct Rows {
    /// Go on with new ones as they come.
    #[arg(short, long)]
    follow: bool,
    /// At most so many, the newest; 0 gives all.
    #[arg(short = 'n', value_name = "N", default_value_t = 50, value_parser = parse_number)]
    last: usize,
    /// Not before: `2026-01-02`, `2026-01-02T03:04:05`, `yesterday`, or how long ago, `2h`.
    #[arg(long, value_name = "T", value_parser = parse_moment)]
    since: Option<Timestamp>,
    /// Not after; as --since.
    #[arg(long, value_name = "T", value_parser = parse_moment)]
    until: Option<Timestamp>,
    /// Only this address or network; may be given again, and `-` reads them from standard input, one a line.
    #[arg(long, value_name = "P")]
    ip: Vec<String>,
    /// Only this user.
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// Only this jail.
    #[arg(long, value_name = "J")]
    jail: Option<String>,
    #[command(flatten)]
    client: Client,
}

/// A point in time as people write it: a date, a date and time (local), RFC 3339, or a span back from now.
pub(super) fn parse_moment(text: &str) -> Result<Timestamp, String> {
    let words = text.trim().to_lowercase();
    let back = words.strip_suffix("ago").unwrap_or(&words);
    let back: String = back.split_whitespace().collect();
    if let Ok(span) = Span::parse(&back) {
        return Ok(clock::now() - span);
    }
    match words.as_str() {
        "now" => return Ok(clock::now()),
        "today" => return midnight(0),
        "yesterday" => return midnight(1),
        _ => {}
    }
    if let Some(stamp) = parse_time(text) {
        return Ok(stamp);
    }
    let civil: jiff::civil::DateTime = text.parse().map_err(|_| {
        format!("{text:?} is no point in time; write 2026-01-02, 2026-01-02T03:04:05, 2h or yesterday")
    })?;
    at(civil)
}

/// The begin of the day so many days ago.
fn midnight(days: i32) -> Result<Timestamp, String> {
    let now = jiff::Timestamp::from_millisecond(clock::now().millis()).map_err(|error| error.to_string())?;
    let today = now.to_zoned(clock::zone()).date();
    let day = today.checked_sub(jiff::Span::new().days(days)).map_err(|error| error.to_string())?;
    at(day.to_datetime(jiff::civil::Time::midnight()))
}

fn at(civil: jiff::civil::DateTime) -> Result<Timestamp, String> {
    let zoned = civil.to_zoned(clock::zone()).map_err(|error| error.to_string())?;
    Ok(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

/// How many rows.
fn parse_number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a number, such as 50; 0 gives all".to_owned())
}

impl Rows {
    pub(crate) fn run(&self, table: &Table) -> Outcome {
        let wanted = Wanted {
            last: self.last,
            since: self.since,
            until: self.until,
            prefixes: addresses::read::<Prefix>(&self.ip)?,
            user: self.user.clone(),
            jail: self.jail.clone(),
            logins_only: false,
            after_id: 0,
            only: None,
        };
        let screen = Screen::here();
        let (request, mut table, noun) = match table {
            Table::Attempts => (Request::Attempts(wanted, self.follow), attempts_table(screen), "attempt"),
            Table::History => (Request::History(wanted, self.follow), history_table(screen), "ban"),
        };
        let mut outcome = Ok(exit::NO);
        ask(&self.client.control, &request, |reply| {
            let printed = self.print_rows(&reply, &mut table);
            let go_on = printed.is_ok();
            outcome = match printed {
                Ok(0) => outcome.as_ref().map_or(Ok(exit::NO), |code| Ok(*code)),
                Ok(_) => Ok(0),
                Err(failure) => Err(failure),
            };
            go_on
        })?;
        if let (Some(jail), Ok(exit::NO)) = (&self.jail, &outcome) {
            self.client.known_jail(jail)?;
        }
        if matches!(outcome, Ok(exit::NO)) && !self.client.json {
            complain(&self.nothing(noun));
        }
        outcome
    }

    /// What is said where there is no row.
    fn nothing(&self, noun: &str) -> String {
        let is_any = self.since.is_none() && self.until.is_none() && self.ip.is_empty();
        match is_any && self.user.is_none() && self.jail.is_none() {
            true => format!("no {noun} is known yet"),
            false => format!("no {noun} matches"),
        }
    }

    fn print_rows(&self, reply: &Reply, table: &mut Listed) -> Result<usize, Failure> {
        let Some(rows) = reply.value.as_array() else {
            return Err(Failure::new(reply.exit, reply.message.clone()));
        };
        match (self.client.json, self.follow) {
            (true, false) => print_json(&reply.value)?,
            (true, true) => rows.iter().try_for_each(print_json)?,
            (false, false) => print(&table.text(rows))?,
            // No pager waits for what is yet to come.
            (false, true) => print_as_it_is(&printed(&table.text(rows)))?,
        }
        Ok(rows.len())
    }
}

/// Rows of the store as lines.
#[derive(Debug)]
pub(super) struct Listed {
    table: screen::Table,
    row: fn(&Value, Screen) -> Vec<String>,
    screen: Screen,
}

impl Listed {
    pub(super) fn text(&mut self, rows: &[Value]) -> String {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| (self.row)(row, self.screen)).collect();
        self.table.lines(&rows)
    }
}

/// As last(1) prints: who, by what, from where, when, and what it was.
pub(super) fn attempts_table(screen: Screen) -> Listed {
    let table = screen::Table::new(screen, &[15, 11, 38, 24, 0], [&[0, 4], &[1, 2]]);
    Listed { table, row: attempt_row, screen }
}

/// What, whom, by which jail, when, and why.
pub(super) fn history_table(screen: Screen) -> Listed {
    let table = screen::Table::new(screen, &[7, 38, 11, 24, 0], [&[], &[1, 2]]).breaking();
    Listed { table, row: history_row, screen }
}

pub(super) fn local(value: &Value) -> String {
    let stamp = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    stamp.map_or_else(
        || word(value),
        |stamp| stamp.to_zoned(clock::zone()).strftime("%a %b %e %H:%M:%S %Y").to_string(),
    )
}

/// The same for a listing: short where the terminal is narrow, without the year if it is this one, or else without the
/// time.
fn listed(value: &Value, screen: Screen) -> String {
    let stamp = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let stamp = stamp.filter(|_| is_narrow(screen));
    let Some(stamp) = stamp else { return local(value) };
    let then = stamp.to_zoned(clock::zone());
    let now =
        jiff::Timestamp::from_millisecond(clock::now().millis()).unwrap_or(stamp).to_zoned(clock::zone());
    let format = if then.year() == now.year() { "%b %e %H:%M:%S" } else { "%Y-%m-%d %H:%M" };
    then.strftime(format).to_string()
}

/// From so many columns on there is room for the whole of a time.
const WIDE: usize = 100;

fn is_narrow(screen: Screen) -> bool {
    screen.columns.is_some_and(|columns| columns < WIDE)
}

/// Longer names are none.
const USER: usize = 32;

fn attempt_row(row: &Value, screen: Screen) -> Vec<String> {
    let user = row["user"].as_str().map_or_else(|| "-".to_owned(), escape);
    let user = if screen.columns.is_some() { screen::cut(&user, USER) } else { user };
    let what = row["class"].as_str().map_or_else(|| "logged in".to_owned(), str::to_owned);
    let times = match row["attempts"].as_u64() {
        Some(count) if count > 1 => format!(" x{count}"),
        _ => String::new(),
    };
    vec![user, word(&row["jail"]), word(&row["ip"]), listed(&row["time"], screen), what + &times]
}

fn history_row(row: &Value, screen: Screen) -> Vec<String> {
    let reason = word(&row["reason"]);
    let why = match (row["what"].as_str(), row["until"].is_null(), is_narrow(screen)) {
        (Some("ban"), true, true) => format!("forever: {reason}"),
        (Some("ban"), true, false) => format!("{reason}, forever"),
        (Some("ban"), false, true) => format!("{}: {reason}", length(row)),
        (Some("ban"), false, false) => format!("{reason}, until {}", local(&row["until"])),
        (Some(what), ..) => ended(what).map_or(reason, str::to_owned),
        _ => reason,
    };
    let (what, prefix) = (word(&row["what"]), short(&row["prefix"]));
    let why = why.trim_start_matches(", ").to_owned();
    vec![what, prefix, word(&row["jail"]), listed(&row["time"], screen), why]
}

/// How a ban ended; nothing for what is no end of one. Its reason is that of the ban, which says it itself.
fn ended(what: &str) -> Option<&'static str> {
    HOW_ENDED.into_iter().find(|how| word_of(*how) == what).map(how_ended)
}

/// How long a ban was to last.
fn length(row: &Value) -> String {
    let at = |key: &str| row[key].as_str().and_then(parse_time);
    match (at("time"), at("until")) {
        (Some(since), Some(until)) => screen::roughly(until.since(since)),
        _ => word(&row["until"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_as_people_say_them() {
        // Sun Nov 22 2026, 20:15:00 an hour east of Greenwich.
        let now = Timestamp::from_secs(1_795_374_900);
        clock::simulated::set(now, Span::from_secs(100_000));
        clock::simulated::set_zone(1);
        for (text, ago) in [
            ("2h", 7_200),
            ("2 days ago", 172_800),
            ("2d ago", 172_800),
            ("3 hours", 10_800),
            ("now", 0),
            ("today", 72_900),
            ("Yesterday", 72_900 + 86_400),
            ("2026-11-22", 72_900),
            ("2026-11-22T19:15:00", 3_600),
        ] {
            let taken = parse_moment(text).map(|at| now.secs() - at.secs());
            assert_eq!(taken, Ok(ago), "{text}");
        }
        assert!(parse_moment("whenever").unwrap_err().contains("write 2026-01-02"));
        assert!(parse_number("x").unwrap_err().contains("write a number"));
    }
}
