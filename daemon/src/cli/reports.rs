//! `pillory reports`: what others are told of attackers, what waits for a review, and the review.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use pillory_core::config::Config;
use pillory_core::config::outgoing::Destination;
use pillory_core::outgoing::Report;

use crate::clock;
use crate::outgoing::outbox::{Outbox, OutboxError, report_name};
use crate::outgoing::reports::{Logins, REVIEWED, Row, Sources, State as Stands, preview};

use super::client::word;
use super::configfile::Place;
use super::offline::State;
use super::whois::{Said, answered};
use super::{Failure, Outcome, count, exit, print, print_json};

/// More are not shown at once.
const MOST: u32 = 10_000;

/// So many of the last refusals are told.
const PROBLEMS: usize = 10;

/// `pillory reports`
#[derive(Debug, clap::Args)]
pub(crate) struct Reports {
    #[command(subcommand)]
    what: Option<What>,
    /// Print what would be sent of all that waits, as it would be; nothing is sent.
    #[arg(long)]
    dry_run: bool,
    /// The configuration.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    state: State,
    /// JSON instead of text.
    #[arg(long, short = 'j', global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Look at those that wait for it, and say which may be sent.
    Review(Review),
}

/// `pillory reports review`
#[derive(Debug, clap::Args)]
struct Review {
    /// Send these, by their numbers, or `all`.
    #[arg(long, value_name = "N|all", num_args = 1.., value_delimiter = ',')]
    approve: Vec<String>,
    /// Send these never, by their numbers, or `all`; also those that are approved and have not left.
    #[arg(long, value_name = "N|all", num_args = 1.., value_delimiter = ',')]
    drop: Vec<String>,
    /// Where state is kept.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

pub(super) fn failed(error: OutboxError) -> Failure {
    match error.is_denied() {
        true => Failure::new(exit::NOT_PERMITTED, format!("{error}; run it as root")),
        false => Failure::new(exit::NO, error.to_string()),
    }
}

impl Reports {
    pub(crate) fn run(&self) -> Outcome {
        let place = Place { file: self.config.clone(), fail2ban: None };
        let config = place.load()?.1;
        let to = &config.outgoing.reports;
        if to.is_empty() {
            let said = "nobody is told of attackers; [report.abuseipdb], [report.blocklist-de] and [report.xarf] in the configuration say who is";
            return Err(Failure::new(exit::NO, said));
        }
        let state_dir = match &self.what {
            Some(What::Review(review)) => review.state_dir.as_ref().unwrap_or(&self.state.state_dir),
            None => &self.state.state_dir,
        };
        let outbox = Outbox::open_if_there(state_dir).map_err(failed)?;
        let Some(mut outbox) = outbox else {
            let said =
                format!("there is no outbox in {}; a daemon that reports makes one", state_dir.display());
            return Err(Failure::new(exit::NO, said));
        };
        match &self.what {
            Some(What::Review(review)) => self.review(&mut outbox, to, review),
            None if self.dry_run => self.dry_run(&outbox, &config, state_dir),
            None => self.overview(&outbox, to),
        }
    }

    fn overview(&self, outbox: &Outbox, to: &[Destination]) -> Outcome {
        let rows = to.iter().map(|to| about(outbox, to)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        if self.json {
            print_json(&Value::from(rows))?;
            return Ok(0);
        }
        let mut text = String::new();
        for row in &rows {
            let of = |state: &str| row["counts"][state].as_u64().unwrap_or(0);
            let _ = writeln!(
                text,
                "{}: {} today of {}; {} fresh, {} held for review, {} queued; in all {} sent, {} refused, {} dropped, {} withdrawn",
                word(&row["destination"]),
                row["sent_today"],
                row["budget"],
                of("new"),
                of("held"),
                of("queued"),
                of("sent"),
                of("refused"),
                of("dropped"),
                of("withdrawn") + of("empty"),
            );
            let approved = row["approved"].as_u64().unwrap_or(0);
            if approved < u64::from(REVIEWED) {
                let _ = writeln!(
                    text,
                    "  {approved} of the first {REVIEWED} are approved: `pillory reports review`"
                );
            }
            if !row["trouble"].is_null() {
                let _ = writeln!(text, "  {} {}", super::red("warning:"), word(&row["trouble"]));
            }
        }
        print(&text)?;
        Ok(0)
    }

    fn dry_run(&self, outbox: &Outbox, config: &Config, state_dir: &std::path::Path) -> Outcome {
        let mut logins = Logins::default();
        let sources = Sources::open(state_dir, config, &mut logins)
            .map_err(|why| Failure::new(exit::NO, format!("cannot look up: {why}")))?;
        let mut shown = Vec::new();
        for to in &config.outgoing.reports {
            for state in [Stands::Queued, Stands::Held, Stands::New] {
                for row in outbox.reports(to.name(), state, MOST).map_err(failed)? {
                    shown.push(would_send(to, &row, state, &sources)?);
                }
            }
        }
        if self.json {
            print_json(&Value::from(shown))?;
            return Ok(0);
        }
        if shown.is_empty() {
            print("nothing waits to be reported\n")?;
            return Ok(exit::NO);
        }
        let mut text = String::new();
        for row in &shown {
            let (to, state) = (word(&row["destination"]), word(&row["state"]));
            let _ = match row["sends"].as_str() {
                Some(sends) => writeln!(text, "# {to}, number {} ({state})\n{sends}", row["number"]),
                None => writeln!(
                    text,
                    "# {to}, number {} ({state}): nothing is sent of {}: {}\n",
                    row["number"],
                    word(&row["banned"]),
                    word(&row["why_not"])
                ),
            };
        }
        print(&text)?;
        Ok(0)
    }

    fn review(&self, outbox: &mut Outbox, to: &[Destination], review: &Review) -> Outcome {
        let (mut held, mut waiting) = (Vec::new(), Vec::new());
        for to in to {
            let rows = outbox.reports(to.name(), Stands::Held, MOST).map_err(failed)?;
            let queued = outbox.reports(to.name(), Stands::Queued, MOST).map_err(failed)?;
            waiting.extend(rows.iter().chain(&queued).map(|row| row.id));
            held.extend(rows.into_iter().map(|row| (to, row)));
        }
        let may_leave: Vec<i64> = held.iter().map(|(_, row)| row.id).collect();
        let (approved, dropped) = (chosen(&review.approve, &may_leave)?, chosen(&review.drop, &waiting)?);
        if let Some(both) = approved.iter().find(|id| dropped.contains(id)) {
            return Err(Failure::new(exit::USAGE, format!("number {both} cannot be approved and dropped")));
        }
        if !approved.is_empty() || !dropped.is_empty() {
            return self.settle(outbox, &approved, &dropped);
        }
        if self.json {
            print_json(&Value::from(held.iter().map(|(to, row)| held_value(to, row)).collect::<Vec<_>>()))?;
            return Ok(0);
        }
        if held.is_empty() {
            print("no report waits for a review\n")?;
            return Ok(exit::NO);
        }
        let asks = std::io::stdin().is_terminal();
        for (to, row) in &held {
            print(&held_text(to, row))?;
            if asks {
                print("send it? [y/n/Enter: later] ")?;
                let approves = match answered()? {
                    Said::Yes => true,
                    Said::No => false,
                    Said::Neither => continue,
                    Said::Over => break,
                };
                outbox.review(row.id, approves, clock::now()).map_err(failed)?;
            }
        }
        if !asks {
            print(&format!(
                "{}; --approve N .. or --approve all sends, --drop does not\n",
                count(held.len() as u64, "report")
            ))?;
        }
        Ok(0)
    }

    fn settle(&self, outbox: &mut Outbox, approved: &[i64], dropped: &[i64]) -> Outcome {
        let mut done = [0, 0];
        for (at, (ids, approves)) in [(approved, true), (dropped, false)].into_iter().enumerate() {
            for id in ids {
                done[at] += u64::from(outbox.review(*id, approves, clock::now()).map_err(failed)?);
            }
        }
        let [sent, left] = done;
        if self.json {
            print_json(&json!({"approved": sent, "dropped": left}))?;
        } else {
            print(&format!("{} approved, {left} dropped\n", count(sent, "report")))?;
        }
        Ok(0)
    }
}

/// Numbers of reports that wait.
fn chosen(words: &[String], waiting: &[i64]) -> Result<Vec<i64>, Failure> {
    if words.iter().any(|word| word == "all") {
        return Ok(waiting.to_vec());
    }
    let number = |word: &String| {
        let id = word.parse().ok().filter(|id| waiting.contains(id));
        let word = crate::escape::escape(word);
        id.ok_or_else(|| Failure::new(exit::USAGE, format!("no report of number {word} waits for a review")))
    };
    words.iter().map(number).collect()
}

fn about(outbox: &Outbox, to: &Destination) -> Result<Value, OutboxError> {
    let name = report_name(to.name());
    let trouble = outbox.troubles()?.into_iter().find(|(known, _)| *known == name).map(|(_, why)| why);
    let counts: serde_json::Map<String, Value> =
        outbox.counts(to.name())?.into_iter().map(|(state, number)| (state, number.into())).collect();
    let refused = outbox.reports(to.name(), Stands::Refused, MOST)?;
    let problems = refused.iter().rev().take(PROBLEMS);
    let problems: Vec<Value> = problems
        .map(|row| json!({"number": row.id, "banned": row.prefix.to_string(), "note": row.note}))
        .collect();
    Ok(json!({
        "destination": to.name(),
        "sent_today": outbox.progress(&name)?.sent_today(clock::now()),
        "budget": to.pace.daily,
        "cool_down_s": to.cool_down.secs(),
        "approved": outbox.approved(to.name())?,
        "counts": counts,
        "problems": problems,
        "trouble": trouble,
    }))
}

fn would_send(to: &Destination, row: &Row, state: Stands, sources: &Sources<'_>) -> Result<Value, Failure> {
    let mut value = json!({"destination": to.name(), "number": row.id, "state": state.name(),
        "banned": row.prefix.to_string()});
    let failed = |why| Failure::new(exit::NO, why);
    let report: Result<Report, &str> = match (&row.report, sources.forbids(row).map_err(failed)?) {
        (_, Some(nothing)) => Err(nothing.words()),
        (Some(report), None) => Ok(report.clone()),
        (None, None) => sources.report(row).map_err(failed)?.map_err(|nothing| nothing.words()),
    };
    match report.map_err(str::to_owned).and_then(|report| preview(to, row.id, &report)) {
        Ok(sends) => value["sends"] = sends.into(),
        Err(why) => value["why_not"] = why.into(),
    }
    Ok(value)
}

fn held_value(to: &Destination, row: &Row) -> Value {
    json!({"destination": to.name(), "number": row.id, "banned": row.prefix.to_string(), "jail": row.jail.as_str(),
        "since": crate::control::stamp(row.made), "report": row.report})
}

fn held_text(to: &Destination, row: &Row) -> String {
    let mut text = format!("number {}, to {}:\n", row.id, to.name());
    if let Some(report) = &row.report {
        let _ = writeln!(text, "  {}: {}", report.addr, report.sentence());
        for line in &report.lines {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}
