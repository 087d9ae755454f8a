//! The programs of `[notify.NAME]`: run by a process of their own, for whoever sends notifications is sandboxed.
//!
//! It is started as `pillory tell-commands`, with a socket as standard input: an order is a line of JSON, so is its
//! outcome. An order names the section, and this side reads by itself which program that is, so nothing else can be run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use pillory_core::config::outgoing::{Outgoing, Way};
use pillory_core::outgoing::Message;

use super::{outside, process};

/// So long a program may take.
const LIMIT: Duration = Duration::from_secs(60);

/// And so much longer its outcome is waited for.
const MARGIN: Duration = Duration::from_secs(10);

/// What a section's program shall be told.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    section: String,
    message: Message,
}

/// Nothing if the program did its work, else what went wrong.
type Outcome = Option<String>;

/// The end of who sends. The process ends with it.
#[derive(Debug)]
pub(crate) struct Teller(Mutex<BufReader<UnixStream>>);

impl Teller {
    /// Starts the process. `arguments`: which configuration it reads.
    /// # Errors
    /// The system's, if it cannot be started.
    pub(crate) fn start(arguments: &[&std::ffi::OsStr]) -> std::io::Result<Teller> {
        let mut all = vec!["tell-commands".as_ref()];
        all.extend_from_slice(arguments);
        let there = outside::start_self(&all)?;
        there.set_read_timeout(Some(LIMIT + MARGIN))?;
        Ok(Teller(Mutex::new(BufReader::new(there))))
    }

    /// Has a section's program run and waits for its end.
    /// # Errors
    /// What went wrong, in words.
    pub(crate) fn tell(&self, section: &str, message: &Message) -> Result<(), String> {
        let order = Order { section: section.to_owned(), message: message.clone() };
        let gone = |error: std::io::Error| {
            format!("the process that runs commands cannot be reached ({error}); restart the daemon")
        };
        let mut there = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
        line.push(b'\n');
        there.get_mut().write_all(&line).map_err(gone)?;
        let mut said = String::new();
        there.read_line(&mut said).map_err(gone)?;
        let outcome: Outcome = serde_json::from_str(&said).map_err(|error| gone(error.into()))?;
        outcome.map_or(Ok(()), Err)
    }
}

/// Runs what is ordered until whoever orders is gone. `read`: the configuration as it stands.
/// # Errors
/// The system's, if standard input cannot be read or written.
pub(crate) fn serve(read: impl Fn() -> Option<Outgoing>) -> std::io::Result<()> {
    outside::outlive_signals()?;
    let there = UnixStream::from(rustix::io::dup(std::io::stdin())?);
    let mut lines = BufReader::new(there.try_clone()?).lines();
    let mut there = there;
    while let Some(line) = lines.next().transpose()? {
        let outcome: Outcome = match serde_json::from_str::<Order>(&line) {
            Ok(order) => run(&order, read()),
            Err(error) => Some(format!("an order cannot be understood: {error}")),
        };
        let mut said = serde_json::to_vec(&outcome)?;
        said.push(b'\n');
        there.write_all(&said)?;
    }
    Ok(())
}

/// Runs the program of a section once, here and now.
pub(crate) fn run_here(section: &str, message: &Message, outgoing: &Outgoing) -> Result<(), String> {
    let order = Order { section: section.to_owned(), message: message.clone() };
    run(&order, Some(outgoing.clone())).map_or(Ok(()), Err)
}

fn run(order: &Order, outgoing: Option<Outgoing>) -> Outcome {
    let Some(outgoing) = outgoing else { return Some("the configuration cannot be read".to_owned()) };
    let section = outgoing.notify.iter().find(|notify| notify.name == order.section);
    let Some(Way::Command(words)) = section.map(|notify| &notify.way) else {
        return Some(format!("{:?} is no section with a command", order.section));
    };
    let Message { id, host, kind, events, subject, .. } = &order.message;
    let variables = [
        ("PILLORY_ID", id.clone()),
        ("PILLORY_HOST", host.clone()),
        ("PILLORY_KIND", kind.name().to_owned()),
        ("PILLORY_COUNT", events.to_string()),
        ("PILLORY_SUBJECT", subject.clone()),
    ];
    let text = format!("{}\n", order.message.text());
    process::run_program(words, &variables, text.as_bytes(), LIMIT).err().map(|error| error.to_string())
}
