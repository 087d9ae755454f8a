//! `pillory notify`: who is told what happens here, and a message to try it.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use pillory_core::config::outgoing::{Notify as Section, Outgoing, Syslog, Way, WebPlace};
use pillory_core::outgoing::{Event, Kind, digest};

use crate::commands::told;
use crate::outgoing::outbox::{Outbox, notify_name};
use crate::outgoing::reports::host_name;
use crate::outgoing::send;
use crate::{clock, escape};

use super::client::word;
use super::configfile::load_config;
use super::offline::State;
use super::reports::failed;
use super::{Failure, Outcome, exit, print, print_json};

/// `pillory notify`
#[derive(Debug, clap::Args)]
pub(crate) struct Notify {
    /// Send this section one message, at once and from here, and say what came of it.
    #[arg(long, value_name = "NAME")]
    test: Option<String>,
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    state: State,
    /// JSON instead of text.
    #[arg(long, short = 'j')]
    json: bool,
}

impl Notify {
    pub(crate) fn run(&self) -> Outcome {
        let outgoing = load_config(self.config.as_deref())?.outgoing;
        match &self.test {
            Some(name) => self.test(name, &outgoing),
            None => self.list(&outgoing),
        }
    }

    fn test(&self, name: &str, outgoing: &Outgoing) -> Outcome {
        let section = outgoing.notify.iter().find(|notify| notify.name == *name).ok_or_else(|| {
            let known: Vec<&str> = outgoing.notify.iter().map(|notify| notify.name.as_str()).collect();
            let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
            let name = escape::escape(name);
            Failure::new(exit::USAGE, format!("there is no section [notify.{name}]; known: {known}"))
        })?;
        let now = clock::now();
        let text = "this is a test: whoever reads this is told what happens here".to_owned();
        let event = Event { time: now, kind: Kind::Test, prefix: None, text };
        let id = format!("{}.test.{name}", now.millis());
        let Some(message) = digest(&id, &host_name(), &[event], 0) else { return Ok(exit::NO) };
        let sent = match section.way {
            Way::Command(_) => told::run_here(name, &message, outgoing),
            _ => send(name, &section.way, &message, None).map_err(|failed| failed.why),
        };
        let why = sent.err();
        let code = if why.is_some() { exit::NO } else { 0 };
        match (self.json, why) {
            (true, why) => print_json(&json!({"section": name, "sent": why.is_none(), "why": why}))?,
            (false, None) => print(&format!("{} took a test message\n", place(&section.way)))?,
            (false, Some(why)) => {
                return Err(Failure::new(code, format!("notify.{name} did not take a test message: {why}")));
            }
        }
        Ok(code)
    }

    fn list(&self, outgoing: &Outgoing) -> Outcome {
        let outbox = Outbox::open_if_there(&self.state.state_dir);
        let troubles = outbox.and_then(|outbox| outbox.map_or(Ok(Vec::new()), |outbox| outbox.troubles()));
        let troubles = troubles.map_err(failed)?;
        let trouble =
            |name: &str| troubles.iter().find(|(known, _)| *known == notify_name(name)).map(|(_, why)| why);
        let row = |section: &Section| {
            let on: Vec<&str> = section.on.iter().map(|kind| kind.name()).collect();
            json!({"section": section.name, "to": place(&section.way), "on": on, "trouble": trouble(&section.name)})
        };
        let rows: Vec<Value> = outgoing.notify.iter().map(row).collect();
        if self.json {
            print_json(&Value::from(rows))?;
            return Ok(0);
        }
        if rows.is_empty() {
            print("nobody is told anything; [notify.NAME] in the configuration says who is\n")?;
            return Ok(exit::NO);
        }
        let mut text = String::new();
        for row in &rows {
            let on = row["on"].as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "{:<16}{:<40}{on}", word(&row["section"]), word(&row["to"]));
            if !row["trouble"].is_null() {
                let _ = writeln!(text, "  {} {}", super::red("warning:"), word(&row["trouble"]));
            }
        }
        print(&text)?;
        Ok(0)
    }
}

/// Where it goes, without what may be secret.
fn place(way: &Way) -> String {
    match way {
        Way::Mail(mail) => format!("mail to {}", mail.to.join(", ")),
        Way::Webhook(hook) => match &hook.place {
            WebPlace::Known(url) => format!("webhook at {url}"),
            WebPlace::File(file) => format!("webhook named in {}", file.display()),
        },
        Way::Syslog(Syslog::Local(path)) => format!("syslog at {}", path.display()),
        Way::Syslog(Syslog::Udp(host, port)) => format!("syslog at udp {host}:{port}"),
        Way::Syslog(Syslog::Tcp(host, port)) => format!("syslog at tcp {host}:{port}"),
        Way::Command(words) => format!("command {}", words.first().map_or("", String::as_str)),
    }
}
