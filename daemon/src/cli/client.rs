//! What the commands that talk to the daemon share: asking, showing the answer, and their arguments.

use std::net::IpAddr;

use serde_json::Value;

use pillory_core::event::JailName;
use pillory_core::suggest::{did_you_mean, with_cure};
use pillory_core::time::{BanTime, Timestamp};

use crate::control::client::{ClientError, ask_once};
use crate::control::{Reply, Request};
use crate::seat;

pub(super) use crate::escape::word;

use super::{Client, Failure, Outcome, exit, offline, print, print_json, screen};

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let code = match error {
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => exit::UNREACHABLE,
            ClientError::NotAllowed { .. } => exit::NOT_PERMITTED,
        };
        Failure::new(code, error.to_string())
    }
}

impl Client {
    /// Sends a request; a refusal becomes a failure.
    pub(super) fn ask(&self, request: &Request) -> Result<Reply, Failure> {
        let reply = ask_once(&self.control, request)?;
        if reply.exit != 0 && reply.value.is_null() {
            return Err(Failure::new(reply.exit, reply.message));
        }
        Ok(reply)
    }

    /// Sends a request; where no daemon answers, `offline` does it. It is told why nobody could be asked.
    pub(super) fn ask_or_else(
        &self,
        request: &Request,
        offline: impl FnOnce(&offline::Gone) -> Result<Reply, Failure>,
    ) -> Result<Reply, Failure> {
        match ask_once(&self.control, request) {
            Err(error @ ClientError::Unreachable { .. }) => {
                offline(&offline::Gone { why: error.to_string(), control: self.control.clone() })
            }
            Err(error) => Err(error.into()),
            Ok(reply) if reply.exit != 0 && reply.value.is_null() => {
                Err(Failure::new(reply.exit, reply.message))
            }
            Ok(reply) => Ok(reply),
        }
    }

    /// Of a jail of which nothing is known: that it does not run is a slip of the pen.
    pub(super) fn known_jail(&self, jail: &str) -> Result<(), Failure> {
        let status = self.ask(&Request::Status)?.value;
        let mut jails = status["jails"].as_array().into_iter().flatten();
        if JailName::OF_NO_JAIL.contains(&jail) || jails.any(|known| known["name"] == jail) {
            return Ok(());
        }
        Err(no_jail(jail, &status["jails"]))
    }

    /// Prints the data as JSON, or else as `text` makes it.
    pub(super) fn show(&self, reply: &Reply, text: impl FnOnce(&Value) -> String) -> Outcome {
        if self.json {
            print_json(&reply.value)?;
        } else {
            print(&text(&reply.value))?;
        }
        if !reply.message.is_empty() && reply.value["message"].is_null() {
            super::complain(&reply.message);
        }
        Ok(reply.exit)
    }
}

/// What is said of a jail that is none of those that run.
pub(super) fn no_jail(name: &str, running: &Value) -> Failure {
    let running = running.as_array().into_iter().flatten().filter_map(|jail| jail["name"].as_str());
    let close = did_you_mean(name, running);
    let what = format!("no jail {name:?} runs{close}");
    Failure::new(exit::NO, with_cure(&what, "`pillory status` lists those that do"))
}

/// Answers that are words only.
pub(super) fn say(client: &Client, reply: Reply) -> Outcome {
    let value = serde_json::json!({"done": reply.exit == 0, "message": reply.message});
    client.show(&Reply { value, ..reply }, |value| format!("{}\n", word(&value["message"])))
}

/// Parses a jail's name.
#[derive(Debug, Clone)]
pub(crate) struct JailArgument(pub(crate) JailName);

impl std::str::FromStr for JailArgument {
    type Err = pillory_core::event::JailNameError;
    fn from_str(text: &str) -> Result<JailArgument, Self::Err> {
        JailName::new(text).map(JailArgument)
    }
}

/// How long a ban is to last.
/// # Errors
/// What is wrong with it, in words.
pub(crate) fn parse_bantime(text: &str) -> Result<BanTime, String> {
    match BanTime::parse(text).map_err(|error| error.to_string())? {
        BanTime::For(span) if span.millis() == 0 => Err(NO_TIME.to_owned()),
        bantime => Ok(bantime),
    }
}

const NO_TIME: &str = "this is no time at all; write for example \"1d\"";

/// The address from which the caller's ssh session comes, if there is one (sshd sets SSH_CONNECTION).
///
/// sudo takes it out of the environment, so the processes that led here are asked, too.
pub(super) fn caller() -> Option<IpAddr> {
    let first = |connection: &str| connection.split_whitespace().next()?.parse().ok();
    let own = std::env::var("SSH_CONNECTION").or_else(|_| std::env::var("SSH_CLIENT"));
    own.ok()
        .and_then(|own| first(&own))
        .or_else(|| seat::ancestors().find_map(|pid| first(&seat::ssh_connection(pid)?)))
}

/// RFC 3339 as JSON carries it.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|stamp| Timestamp::from_millis(stamp.as_millisecond()))
}

/// A sentence in lines of so many columns, `indent` columns to the right; a word that is longer has a line of its own.
pub(super) fn wrapped(sentence: &str, indent: usize, columns: usize) -> String {
    let mut text = " ".repeat(indent);
    let mut column = indent;
    for word in screen::glued(sentence).split(' ') {
        let width = word.chars().count();
        if column > indent && column + 1 + width > columns {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        }
        if column > indent {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
    screen::unglued(&text)
}
