//! `pillory attempts` and `pillory history`: rows of the store, as last(1) prints them, newest last.

use serde_json::Value;

use pillory_core::net::Prefix;
use pillory_core::time::{Span, Timestamp};

use crate::clock;
use crate::control::client::ask;
use crate::control::{Reply, Request};
use crate::escape::escape;
use crate::store::query::Wanted;

use super::client::{parse_time, word};
use super::{Client, Failure, Outcome, exit, print, print_json};

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
    #[arg(short = 'n', value_name = "N", default_value_t = 50)]
    last: usize,
    /// Not before: `2026-01-02`, `2026-01-02T03:04:05`, or how long ago, `2h`.
    #[arg(long, value_name = "T", value_parser = parse_moment)]
    since: Option<Timestamp>,
    /// Not after; as --since.
    #[arg(long, value_name = "T", value_parser = parse_moment)]
    until: Option<Timestamp>,
    /// Only this address or network.
    #[arg(long, value_name = "P")]
    ip: Option<Prefix>,
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
    if let Ok(span) = Span::parse(text) {
        return Ok(clock::now() - span);
    }
    if let Some(stamp) = parse_time(text) {
        return Ok(stamp);
    }
    let civil: jiff::civil::DateTime = text
        .parse()
        .map_err(|_| format!("{text:?} is no point in time; write 2026-01-02, 2026-01-02T03:04:05 or 2h"))?;
    let zoned = civil.to_zoned(clock::zone()).map_err(|error| error.to_string())?;
    Ok(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

impl Rows {
    pub(crate) fn run(&self, table: &Table) -> Outcome {
        let wanted = Wanted {
            last: self.last,
            since: self.since,
            until: self.until,
            prefix: self.ip,
            user: self.user.clone(),
            jail: self.jail.clone(),
            logins_only: false,
            after_id: 0,
            only: None,
        };
        let (request, line): (Request, fn(&Value) -> String) = match table {
            Table::Attempts => (Request::Attempts(wanted, self.follow), attempt_line),
            Table::History => (Request::History(wanted, self.follow), history_line),
        };
        let mut outcome = Ok(exit::NO);
        ask(&self.client.control, &request, |reply| {
            let printed = self.print_rows(&reply, line);
            let go_on = printed.is_ok();
            outcome = match printed {
                Ok(0) => outcome.as_ref().map_or(Ok(exit::NO), |code| Ok(*code)),
                Ok(_) => Ok(0),
                Err(failure) => Err(failure),
            };
            go_on
        })?;
        outcome
    }

    fn print_rows(&self, reply: &Reply, line: fn(&Value) -> String) -> Result<usize, Failure> {
        let Some(rows) = reply.value.as_array() else {
            return Err(Failure::new(reply.exit, reply.message.clone()));
        };
        if self.client.json && !self.follow {
            print_json(&reply.value)?;
        } else if self.client.json {
            rows.iter().try_for_each(print_json)?;
        } else {
            print(&rows.iter().map(line).collect::<String>())?;
        }
        Ok(rows.len())
    }
}

pub(super) fn local(value: &Value) -> String {
    let stamp = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    stamp.map_or_else(
        || word(value),
        |stamp| stamp.to_zoned(clock::zone()).strftime("%a %b %e %H:%M:%S %Y").to_string(),
    )
}

/// As last(1) prints: who, by what, from where, when.
fn attempt_line(row: &Value) -> String {
    let user = row["user"].as_str().map_or_else(|| "-".to_owned(), escape);
    let what = row["class"].as_str().map_or_else(|| "logged in".to_owned(), str::to_owned);
    let times = match row["attempts"].as_u64() {
        Some(count) if count > 1 => format!(" x{count}"),
        _ => String::new(),
    };
    format!(
        "{user:<16} {:<12} {:<39} {}  {what}{times}\n",
        word(&row["jail"]),
        word(&row["ip"]),
        local(&row["time"])
    )
}

fn history_line(row: &Value) -> String {
    let until = match (row["what"].as_str(), row["until"].is_null()) {
        (Some("ban"), false) => format!("until {}", local(&row["until"])),
        (Some("ban"), true) => "forever".to_owned(),
        _ => String::new(),
    };
    format!(
        "{:<8} {:<39} {:<12} {}  {} {until}\n",
        word(&row["what"]),
        word(&row["prefix"]),
        word(&row["jail"]),
        local(&row["time"]),
        word(&row["reason"])
    )
}
