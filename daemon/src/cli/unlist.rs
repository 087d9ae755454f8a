//! `pillory unlist`: who asked to be left out of the wall of shame.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::Value;

use pillory_core::net::Prefix;

use crate::control::{Reply, Request};

use super::client::word;
use super::configfile::Place;
use super::offline::{Gone, State};
use super::wall::Wall;
use super::{Client, Failure, Outcome, addresses};

/// `pillory unlist`
#[derive(Debug, clap::Args)]
pub(crate) struct Unlist {
    /// Addresses or networks; `-` reads them from standard input, one a line; none lists who is left out by command.
    #[arg(value_name = "ADDRESS", required_if_eq("remove", "true"))]
    prefixes: Vec<String>,
    /// Show them again.
    #[arg(long)]
    remove: bool,
    #[command(flatten)]
    client: Client,
    #[command(flatten)]
    state: State,
    /// The daemon's configuration, by which the pages are made anew if no daemon answers.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The fail2ban directory whose jails the daemon runs, if it was given one; used if no daemon answers.
    #[arg(long, value_name = "DIR")]
    fail2ban: Option<PathBuf>,
}

impl Unlist {
    pub(crate) fn run(&self) -> Outcome {
        let (prefixes, remove) = (addresses::read(&self.prefixes)?, self.remove);
        let request = Request::Unlist { prefixes: prefixes.clone(), remove };
        let mut is_alone = false;
        let mut reply = self.client.ask_or_else(&request, |gone| {
            is_alone = true;
            self.state.unlist(&prefixes, remove, gone)
        })?;
        if reply.value["dry_run"] == true {
            // It has a state of its own; what is to be shown is in that of the real daemon.
            let gone = Gone { why: "a dry run answers".to_owned(), control: self.client.control.clone() };
            if let Ok(kept) = self.state.unlist(&prefixes, remove, &gone) {
                let message = "a dry run answers; it is kept for the daemon that enforces".to_owned();
                (is_alone, reply) = (true, Reply { message, ..kept });
            }
        }
        let has_changed = reply.value["done"].as_array().is_some_and(|done| !done.is_empty());
        let place = Place { file: self.config.clone(), fail2ban: self.fail2ban.clone() };
        let made = match is_alone && has_changed {
            true => Wall::again(&place, &self.state, !remove).map(|pages| pages.map(str::to_owned)),
            false => Ok(reply.value["pages"].as_str().map(str::to_owned)),
        };
        let (pages, failure) = made.map_or_else(|failure| (None, Some(failure)), |pages| (pages, None));
        if is_alone && has_changed {
            (reply.value["wall"], reply.value["pages"]) = (pages.is_some().into(), pages.into());
        }
        let shown = self.client.show(&reply, |value| self.told(value));
        failure.map_or(shown, |Failure { exit, message }| {
            let said = "that is remembered, but pages that are there could not be made anew, nor taken down";
            Err(Failure::new(
                exit,
                format!("{said}: {message}; `pillory wall` makes them, as the user whose they are"),
            ))
        })
    }

    fn told(&self, value: &Value) -> String {
        let all = |key: &str| -> Vec<String> {
            let listed = value[key].as_array().into_iter().flatten().map(word);
            listed.map(|text| text.parse().map_or(text, Prefix::short)).collect()
        };
        if self.prefixes.is_empty() {
            return match all("unlisted").as_slice() {
                [] => "nobody is left out by command\n".to_owned(),
                all => format!("{}\n", all.join("\n")),
            };
        }
        let mut text = String::new();
        let when = value["pages"].as_str().map_or_else(String::new, |pages| format!("; the pages {pages}"));
        for who in all("done") {
            let _ = match self.remove {
                true => writeln!(text, "{who} may be on the wall again{when}"),
                false => writeln!(text, "{who} is left out of the wall from now on{when}"),
            };
        }
        for who in all("not") {
            let _ = match self.remove {
                true => writeln!(
                    text,
                    "{who} was not left out by command; `unlisted` of [wall] in the configuration may name it"
                ),
                false => {
                    writeln!(text, "{who}: too many are left out; list networks in `unlisted` of [wall]")
                }
            };
        }
        text
    }
}
