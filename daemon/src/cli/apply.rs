//! `pillory apply` and `pillory confirm`: a new policy that cannot lock its owner out for longer than a moment.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use pillory_core::config::Problem;
use pillory_core::time::Span;

use crate::control::Request;
use crate::{outfile, seat};

use super::client::{say, word};
use super::configfile::{read_text, status};
use super::rows::local;
use super::{Client, Failure, Outcome, count, exit};

/// `pillory apply`
#[derive(Debug, clap::Args)]
pub(crate) struct Apply {
    /// The configuration to run, such as the edited /etc/pillory/pillory.toml.
    file: PathBuf,
    /// How long to wait for `pillory confirm` before the policy is taken back.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_span)]
    confirm: Span,
    #[command(flatten)]
    client: Client,
}

fn parse_span(text: &str) -> Result<Span, String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    let fits = (1..=86_400).contains(&span.secs());
    fits.then_some(span).ok_or_else(|| "use a time from 1s to 1d, such as 60 or 5m".to_owned())
}

impl Apply {
    pub(crate) fn run(&self) -> Outcome {
        let file = std::path::absolute(&self.file).unwrap_or_else(|_| self.file.clone());
        let policy = read_text(Some(&file)).map_err(|problem| unread(problem, &file))?;
        let reply = self.client.ask(&Request::Apply(policy, self.confirm))?;
        self.client.show(&reply, |value| {
            format!(
                "in force for {}: the policy of {}, {} running\n\
                 now open a NEW ssh connection, keep this one, and type there:  pillory confirm\n\
                 otherwise the policy before comes back by itself, {}\n",
                self.confirm,
                word(&value["file"]),
                count(value["jails"].as_u64().unwrap_or(0), "jail"),
                local(&value["until"]),
            )
        })
    }
}

/// Here the file is named without an option.
fn unread(mut problem: Problem, file: &Path) -> Failure {
    let code = status(file);
    if code != exit::NOT_PERMITTED {
        problem.cure = "name the file that holds the new policy: `pillory apply FILE`".to_owned();
    }
    Failure::new(code, problem.to_string())
}

/// `pillory confirm`
#[derive(Debug, clap::Args)]
pub(crate) struct Confirm {
    /// Take the policy back at once, from wherever this is typed.
    #[arg(long)]
    take_back: bool,
    #[command(flatten)]
    client: Client,
}

impl Confirm {
    pub(crate) fn run(&self) -> Outcome {
        let mut reply = self.client.ask(&Request::Confirm {
            take_back: self.take_back,
            seat: seat::own(),
            peer: None,
        })?;
        if self.take_back {
            return say(&self.client, reply);
        }
        // The daemon may not be allowed to write there; whoever confirms is root.
        let config = PathBuf::from(reply.value["config"].as_str().unwrap_or_default());
        let kept = match reply.value["text"].take() {
            Value::String(text) => keep(&config, &text).map(|before| Some((config.clone(), before))),
            _ => Ok(None),
        };
        if let Err(error) = &kept {
            reply.exit = exit::NO;
            reply.message = format!(
                "the policy runs, but {} cannot be written: {error}; copy {} there, or the next start runs the old one",
                config.display(),
                word(&reply.value["confirmed"])
            );
        }
        self.client.show(&reply, |value| {
            let mut text = format!("confirmed: the policy of {} stays\n", word(&value["confirmed"]));
            if let Ok(Some((config, before))) = &kept {
                text.push_str(&format!("{} holds it now", config.display()));
                let said = before.as_ref().map(|before| format!("; what was there is {}", before.display()));
                text.push_str(&said.unwrap_or_default());
                text.push('\n');
            }
            text
        })
    }
}

/// Makes `text` the content of `path` in one step; what was there is kept beside it, under the returned name.
fn keep(path: &Path, text: &str) -> std::io::Result<Option<PathBuf>> {
    let there = std::fs::metadata(path).ok();
    let mode = there.as_ref().map_or(0o644, |meta| meta.permissions().mode() & 0o7777);
    let before = outfile::beside(path, ".before");
    if there.is_some() {
        outfile::replace(&before, &std::fs::read(path)?, mode)?;
    }
    outfile::replace(path, text.as_bytes(), mode)?;
    Ok(there.map(|_| before))
}
