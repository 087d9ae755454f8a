//! `pillory import`: address lists in, and a whole fail2ban directory.

pub(crate) mod database;
mod house;

use std::collections::HashSet;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser};
use serde_json::{Value, json};

use pillory_core::addresslist::{self, Entry, Passed};
use pillory_core::net::Prefix;
use pillory_core::time::{BanTime, Span, Timestamp};

use crate::clock;
use crate::control::{BanOptions, BanOrder, Reply, Request, short};
use crate::escape::{escape, json};
use crate::outputs::feed::{self, Feed};
use crate::sources::past;

use super::client::{caller, parse_bantime, parse_time, word};
use super::{Client, Failure, Outcome, exit, offline, pieces, print};

/// `pillory import`
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Lists of addresses, routing tables, ipset or nft dumps; `-` is standard input.
    #[arg(required_unless_present = "fail2ban", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Move house: write a configuration that does what this fail2ban directory says, and take its bans over.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["files", "bantime", "ban", "wide"])]
    fail2ban: Option<PathBuf>,
    /// Where the configuration is written; default: printed.
    #[arg(long, value_name = "FILE", requires = "fail2ban")]
    out: Option<PathBuf>,
    /// fail2ban's database; default: the one that its settings name.
    #[arg(long, value_name = "FILE", requires = "fail2ban")]
    fail2ban_db: Option<PathBuf>,
    /// For how long; `forever` is possible.
    #[arg(long = "for", value_name = "DURATION", default_value = "30d", value_parser = parse_bantime, allow_hyphen_values = true)]
    bantime: BanTime,
    /// Ban entries too whose note dates them more than a year back.
    #[arg(long)]
    ban: bool,
    /// Take networks wider than /24 (IPv6: /48).
    #[arg(long)]
    wide: bool,
    /// Say what would be done and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Configuration file whose `ignoreip` holds if no daemon answers; default /etc/pillory/pillory.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    state: offline::State,
}

/// A list longer than this is no list.
const MAX_LIST_BYTES: u64 = 64 * 1024 * 1024;

/// Entries dated further back than this go to the history only.
const FRESH: Span = Span::from_secs(366 * 86_400);

/// At most so many lines of each sort are shown.
const SHOWN: usize = 20;

/// What became of the entries before anybody was asked.
#[derive(Default)]
struct Gathered {
    orders: Vec<BanOrder>,
    wide: Vec<(String, Entry)>,
    normalised: Vec<(String, Entry)>,
    passed: Vec<(String, Passed)>,
    repeated: usize,
}

impl Import {
    pub(crate) fn run(&self) -> Outcome {
        if let Some(directory) = &self.fail2ban {
            return self.move_house(directory);
        }
        let mut gathered = Gathered::default();
        let mut seen = HashSet::new();
        for file in &self.files {
            let list = addresslist::parse(&read(file)?);
            let name = file.display().to_string();
            gathered.passed.extend(list.passed.into_iter().map(|passed| (name.clone(), passed)));
            for entry in list.entries {
                if !seen.insert((entry.prefix, self.is_old(&entry))) {
                    gathered.repeated += 1;
                    continue;
                }
                self.sort(&name, entry, &mut gathered);
            }
        }
        let options = BanOptions {
            jail: None,
            bantime: self.bantime,
            force: false,
            import: true,
            dry_run: self.dry_run,
            caller: caller(),
        };
        let orders = std::mem::take(&mut gathered.orders);
        let fresh = orders.iter().filter(|order| order.listed.is_none());
        let asked: Vec<Prefix> = fresh.map(|order| order.prefix).collect();
        let mut reply = pieces::ban(&self.client, orders, &options, |orders, gone| {
            self.state.import(orders, &options, self.config.as_deref(), gone)
        })?;
        if self.client.json {
            reply.value["banned"] = taken(&asked, &reply.value["refused"]);
        }
        let reply = gathered.add_to(reply);
        self.client.show(&reply, |value| self.text(value))
    }

    fn is_old(&self, entry: &Entry) -> bool {
        !self.ban && entry.date.is_some_and(|date| clock::now().since(date.end()) > FRESH)
    }

    fn sort(&self, file: &str, entry: Entry, gathered: &mut Gathered) {
        if entry.normalised.is_some() {
            gathered.normalised.push((file.to_owned(), entry.clone()));
        }
        // A line of the history shuts nobody out, however wide it is.
        if is_wide(entry.prefix) && !self.wide && !self.is_old(&entry) {
            gathered.wide.push((file.to_owned(), entry));
            return;
        }
        let listed: Option<Timestamp> =
            entry.date.filter(|_| self.is_old(&entry)).map(addresslist::NoteDate::begin);
        // The history has the date as its time; a ban's reason is the note as it was written.
        let note = if listed.is_some() { &entry.note } else { &entry.whole_note };
        let reason = if note.is_empty() { "from a list".to_owned() } else { note.clone() };
        gathered.orders.push(BanOrder { prefix: entry.prefix, reason, listed, kept: None });
    }

    fn text(&self, value: &Value) -> String {
        let mut text = String::new();
        let list = |key: &str| value[key].as_array().map_or(&[][..], Vec::as_slice);
        for line in list("normalised").iter().take(SHOWN) {
            let _ = writeln!(
                text,
                "{}:{}: {} taken as {}",
                word(&line["file"]),
                line["line"],
                word(&line["written"]),
                short(&line["prefix"])
            );
        }
        more(&mut text, list("normalised").len());
        for line in list("wide").iter().take(SHOWN) {
            let at = format!("{}:{}", word(&line["file"]), line["line"]);
            let _ = writeln!(
                text,
                "{at}: {} skipped: wider than /24 (/48); --wide takes it",
                short(&line["prefix"])
            );
        }
        more(&mut text, list("wide").len());
        for line in list("refused").iter().take(SHOWN) {
            let _ = writeln!(text, "never banned: {}: {}", short(&line["prefix"]), word(&line["why"]));
        }
        more(&mut text, list("refused").len());
        for line in list("skipped").iter().chain(list("unreadable")).take(2 * SHOWN) {
            let at = format!("{}:{}", word(&line["file"]), line["line"]);
            let (why, line) = (word(&line["why"]), word(&line["text"]));
            // What cannot be read as an address is said there.
            let line = if why.contains(&line) { String::new() } else { format!(": {line}") };
            let _ = writeln!(text, "{at}: skipped: {why}{line}");
        }
        more(&mut text, (list("skipped").len() + list("unreadable").len()).saturating_sub(SHOWN));
        let would = if self.dry_run { "would be " } else { "" };
        let _ = writeln!(
            text,
            "{} {would}banned for {} or prolonged, {} banned for longer already, {} {would}kept as history only (older than a year; --ban bans them), {} lines unreadable",
            value["changed"],
            self.bantime,
            value["unchanged"],
            value["history_only"],
            list("unreadable").len()
        );
        text
    }
}

fn more(text: &mut String, count: usize) {
    if count > SHOWN {
        let _ = writeln!(text, "  .. and {} more; --json names all", count - SHOWN);
    }
}

/// What was not refused of what was asked: the answer counts it only, for that it is a list of a million.
fn taken(asked: &[Prefix], refused: &Value) -> Value {
    let refused = refused.as_array().into_iter().flatten();
    let refused: HashSet<&str> = refused.filter_map(|refused| refused["prefix"].as_str()).collect();
    let names = asked.iter().map(ToString::to_string);
    names.filter(|name| !refused.contains(name.as_str())).collect::<Vec<_>>().into()
}

fn is_wide(prefix: Prefix) -> bool {
    prefix.prefix_len() < if prefix.is_ipv4() { 24 } else { 48 }
}

impl Gathered {
    /// Puts what was found before asking beside what the answer says.
    fn add_to(self, mut reply: Reply) -> Reply {
        let at = |file: &str, entry: &Entry| json!({"file": file, "line": entry.line, "prefix": entry.prefix.to_string(), "written": entry.normalised});
        let (unreadable, skipped): (Vec<_>, Vec<_>) =
            self.passed.into_iter().partition(|(_, passed)| passed.why.is_unreadable());
        let lines = |list: Vec<(String, Passed)>| -> Vec<Value> {
            let value = |(file, passed): &(String, Passed)| json!({"file": file, "line": passed.line, "text": passed.text, "why": passed.why.to_string()});
            list.iter().map(value).collect()
        };
        reply.value["normalised"] =
            self.normalised.iter().map(|(file, entry)| at(file, entry)).collect::<Vec<_>>().into();
        reply.value["wide"] =
            self.wide.iter().map(|(file, entry)| at(file, entry)).collect::<Vec<_>>().into();
        reply.value["unreadable"] = lines(unreadable).into();
        reply.value["skipped"] = lines(skipped).into();
        reply.value["repeated"] = self.repeated.into();
        // What is banned already counts as taken: whoever imports a list again has what they want.
        let took = ["changed", "unchanged", "history_only"].iter().any(|key| reply.value[key] != 0);
        if reply.exit == 0 && !took {
            reply.exit = exit::NO;
        }
        reply
    }
}

/// The text of a file; bytes that are no UTF-8 are replaced, the parser knows.
fn read(path: &Path) -> Result<String, Failure> {
    let name = escape(&path.display().to_string());
    let failed = |error: std::io::Error| Failure::unread(&name, &error);
    let mut from: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(past::open_finite(path).map_err(failed)?),
    };
    let mut bytes = Vec::new();
    from.by_ref().take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_LIST_BYTES {
        let most = MAX_LIST_BYTES >> 20;
        return Err(Failure::new(
            exit::USAGE,
            format!("{name} is longer than {most} MiB, too long for a list; split it"),
        ));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `pillory export`
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Its form.
    #[arg(long, value_name = "FORMAT", default_value = "plain", value_parser = forms())]
    format: String,
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    state: offline::State,
}

/// The forms that a list can have, each with a line for the help.
fn forms() -> PossibleValuesParser {
    feed::FORMATS.iter().map(|form| PossibleValue::new(form.name).help(form.doc)).collect::<Vec<_>>().into()
}

impl Export {
    pub(crate) fn run(&self) -> Outcome {
        let asked = self.client.ask_or_else(&Request::List, |gone| {
            let bans = self.state.bans_in_force(gone)?;
            Ok(Reply::data(bans.iter().map(crate::engine::report::ban_value).collect::<Vec<_>>().into()))
        })?;
        let mut bans = asked.value.as_array().cloned().unwrap_or_default();
        bans.sort_by_key(|ban| ban["prefix"].as_str().and_then(|text| text.parse::<Prefix>().ok()));
        let text = match if self.client.json { "json" } else { self.format.as_str() } {
            // These tell all that is known of a ban.
            "json" => format!("{}\n", json(&Value::from(bans))),
            "csv" => csv(&bans),
            name => other_form(name, &bans),
        };
        print(&text)?;
        Ok(0)
    }
}

fn other_form(name: &str, bans: &[Value]) -> String {
    let time = |ban: &Value| ban["since"].as_str().and_then(parse_time).unwrap_or_default();
    let mut entries: Vec<feed::Entry> = bans
        .iter()
        .filter_map(|ban| {
            let prefix = ban["prefix"].as_str()?.parse().ok()?;
            let (since, attempts) = (time(ban), ban["failures"].as_u64().unwrap_or(0));
            // Bans by hand and from lists have none.
            let what = if attempts == 0 { "listed" } else { "login attempts" }.to_owned();
            Some(feed::Entry { prefix, first: since, last: since, attempts, what })
        })
        .collect();
    entries.sort_by_key(|entry| entry.prefix);
    entries.dedup_by_key(|entry| entry.prefix);
    feed::named(name).map_or_else(String::new, |form| (form.write)(&Feed { head: None, entries: &entries }))
}

fn csv(bans: &[Value]) -> String {
    let mut text = "prefix,jail,since,until,failures,origin,reason\n".to_owned();
    for ban in bans {
        let plain = |key: &str| ban[key].as_str().map(str::to_owned).unwrap_or_default();
        let reason = feed::quoted(&escape(&plain("reason")));
        let (prefix, jail, since, until) = (plain("prefix"), plain("jail"), plain("since"), plain("until"));
        let _ = writeln!(
            text,
            "{prefix},{jail},{since},{until},{},{},{reason}",
            ban["failures"],
            plain("origin")
        );
    }
    text
}
