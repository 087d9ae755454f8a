//! `pillory unlist`: who asked to be left out of the wall of shame.

use std::fmt::Write;

use serde_json::Value;

use pillory_core::net::Prefix;

use crate::control::Request;

use super::client::word;
use super::offline::State;
use super::wall::Wall;
use super::{Client, Outcome, addresses};

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
        let has_changed = reply.value["done"].as_array().is_some_and(|done| !done.is_empty());
        if is_alone && has_changed {
            let pages = Wall::again(&self.state)?;
            (reply.value["wall"], reply.value["pages"]) = (pages.is_some().into(), pages.into());
        }
        self.client.show(&reply, |value| self.told(value))
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
