//! Notifications: one round for one destination, and the ways by which a message goes.

use pillory_core::config::outgoing::{Notify, Way};
use pillory_core::outgoing::{Message, digest};
use pillory_core::time::{Span, Timestamp};
use tracing::{info, warn};

use crate::commands::told::Teller;
use crate::fault;

use super::Failed;
use super::outbox::{Outbox, OutboxError, notify_name};
use super::ways::{mail, syslog, webhook};

/// A message that is refused for what it is goes after so many tries.
const TRIES: u32 = 3;

/// What a worker has at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Desk<'a> {
    /// This host's name.
    pub(super) host: &'a str,
    /// What runs programs, if some are configured.
    pub(super) teller: Option<&'a Teller>,
    /// The daemon is gone: what waits leaves without gathering more.
    pub(super) is_closing: bool,
}

/// Sends what is due. Returns when the next may be; nothing if nothing waits.
/// # Errors
/// [`OutboxError`]
pub(super) fn round(
    outbox: &Outbox,
    notify: &Notify,
    desk: Desk<'_>,
    now: Timestamp,
) -> Result<Option<Timestamp>, OutboxError> {
    let Some(waiting) = outbox.waiting(&notify.name)? else { return Ok(None) };
    let Some(first) = waiting.events.first() else {
        outbox.done(&notify.name, waiting.last_id)?;
        return Ok(Some(now));
    };
    let name = notify_name(&notify.name);
    let (mut pace, mut progress) = (notify.pace, outbox.progress(&name)?);
    if waiting.is_fixed || desk.is_closing {
        pace.gather = Span::default();
    }
    let due = progress.due(&pace, first.time, now);
    if due > now {
        return Ok(Some(due));
    }
    let id = format!("{}.{}.{}", first.time.millis(), waiting.last_id, notify.name);
    let Some(message) = digest(&id, desk.host, &waiting.events, waiting.dropped) else { return Ok(None) };
    outbox.fix(&notify.name, waiting.last_id)?;
    let said = |error: &Failed| format!("notify.{}: {}", notify.name, error.why);
    match send(&notify.name, &notify.way, &message, desk.teller) {
        Ok(()) => {
            if progress.failures > 0 {
                info!(destination = %notify.name, "notifications are taken again");
            }
            progress.sent(&pace, 1, now);
            outbox.done(&notify.name, waiting.last_id)?;
            outbox.note(&name, &progress, None)?;
        }
        Err(error) if error.is_about_content && progress.failures + 1 >= TRIES => {
            warn!(destination = %notify.name, reason = %error.why, events = message.events, "a notification was refused and is dropped");
            progress.sent(&pace, 0, now);
            outbox.done(&notify.name, waiting.last_id)?;
            outbox.note(&name, &progress, Some(&said(&error)))?;
        }
        Err(error) => {
            if progress.failures == 0 {
                warn!(destination = %notify.name, reason = %error.why, "a notification was not taken; it is tried again");
            }
            progress.failed(&pace, error.setback, dice(&id, progress.failures), now);
            outbox.note(&name, &progress, Some(&said(&error)))?;
        }
    }
    Ok(Some(now))
}

/// A number that differs from host to host and from try to try.
pub(super) fn dice(id: &str, tries: u32) -> u64 {
    pillory_core::jail::names::hash(&format!("{id} {tries} {}", std::process::id()))
}

/// Sends a message.
/// # Errors
/// [`Failed`]
pub(crate) fn send(name: &str, way: &Way, message: &Message, teller: Option<&Teller>) -> Result<(), Failed> {
    let sent = fault::outlive(|| send_by(name, way, message, teller));
    sent.unwrap_or_else(|fault| Err(fault_of(&fault)))
}

/// What others answer goes through crates that may fail at it.
pub(super) fn fault_of(fault: &str) -> Failed {
    Failed::lasting(format!("a fault in Pillory ({}); please report it", crate::escape::escape(fault)))
}

fn send_by(name: &str, way: &Way, message: &Message, teller: Option<&Teller>) -> Result<(), Failed> {
    match way {
        Way::Mail(to) => mail::tell(to, message),
        Way::Webhook(hook) => webhook::tell(hook, message),
        Way::Syslog(place) => syslog::tell(place, message),
        Way::Command(_) => {
            let teller =
                teller.ok_or_else(|| Failed::lasting("nothing runs commands; restart the daemon"))?;
            teller.tell(name, message).map_err(|why| Failed::passing(crate::escape::escape(&why)))
        }
    }
}

/// What is wrong with the form of a webhook, which the core cannot read; nothing if nothing is.
pub(crate) fn form(way: &Way) -> Option<String> {
    match way {
        Way::Webhook(hook) => webhook::problem(&hook.form),
        _ => None,
    }
}
