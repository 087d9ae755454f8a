//! Reports of attackers: one round for one destination.

mod gather;
mod queue;

use std::path::Path;

use pillory_core::config::Config;
use pillory_core::config::outgoing::{Destination, Receiver};
use pillory_core::outgoing::{Progress, Report};
use pillory_core::time::{Span, Timestamp};
use tracing::{info, warn};

use crate::fault;
use crate::rdap::RdapError;

use super::outbox::{Outbox, OutboxError, report_name};
use super::receivers::{abuseipdb, blocklist_de, xarf};
use super::{Failed, Refuser, notify};

use gather::Nothing;
pub(crate) use gather::{Logins, Sources, host_name};
pub(crate) use queue::{REVIEWED, Row, State};

/// So many are looked at in a round.
const ROUND: u32 = 500;

/// After this time a report is tried again that failed where others may not.
const AGAIN: Span = Span::from_secs(3_600);

/// How often it is looked whether somebody has reviewed some.
pub(super) const LOOK: Span = Span::from_secs(5);

/// What came of a request, until the outbox has taken it: what left is not sent again because the disk is full.
#[derive(Debug, Default)]
pub(super) struct Unnoted(Option<Came>);

#[derive(Debug)]
struct Came {
    ids: Vec<i64>,
    state: State,
    why: String,
    progress: Progress,
    at: Timestamp,
}

impl Unnoted {
    /// Writes it down, if there is anything.
    fn note(&mut self, outbox: &Outbox, name: &str) -> Result<(), OutboxError> {
        if let Some(came) = &self.0 {
            for id in &came.ids {
                outbox.settle(*id, came.state, &came.why, came.at)?;
            }
            outbox.note(name, &came.progress, None)?;
        }
        self.0 = None;
        Ok(())
    }
}

/// Gathers what is due and sends what may be sent. Returns when to look again.
/// # Errors
/// [`OutboxError`]
pub(super) fn round(
    outbox: &Outbox,
    (to, config): (&Destination, &Config),
    (state_dir, logins, unnoted): (&Path, &mut Logins, &mut Unnoted),
    now: Timestamp,
) -> Result<Timestamp, OutboxError> {
    unnoted.note(outbox, &report_name(to.name()))?;
    outbox.expire(to, now)?;
    let fresh = outbox.reports(to.name(), State::New, ROUND)?;
    let ripe: Vec<&Row> = fresh.iter().filter(|row| row.made.min(now) + to.pace.gather <= now).collect();
    let name = report_name(to.name());
    let mut progress = outbox.progress(&name)?;
    // What is sent one after the other is due when its turn comes.
    let no_gathering = pillory_core::outgoing::Pace { gather: Span::default(), ..to.pace };
    let queued = outbox.ready(to.name(), ROUND, now)?;
    let may_send = !queued.is_empty() && progress.due(&no_gathering, now, now) <= now;
    if ripe.is_empty() && !may_send {
        return Ok(now + LOOK);
    }
    let left = to.pace.daily.map_or(u32::MAX, |daily| daily.saturating_sub(progress.sent_today(now)));
    let due = if may_send { next_of(to, queued, left) } else { Vec::new() };
    let looked_up = Sources::open(state_dir, config, logins)
        .map_err(Stuck::Store)
        .and_then(|sources| look_up(outbox, to.name(), (ripe, due), &sources, now));
    let rows = match looked_up {
        Ok(rows) => rows,
        Err(Stuck::Outbox(error)) => return Err(error),
        Err(Stuck::Store(why)) => {
            let trouble = format!("report.{}: {why}", to.name());
            if outbox.trouble(&name)?.as_ref() != Some(&trouble) {
                warn!(destination = to.name(), reason = %why, "reports wait until this is mended");
            }
            outbox.note(&name, &progress, Some(&trouble))?;
            return Ok(now + LOOK);
        }
    };
    if progress.failures == 0 && outbox.trouble(&name)?.is_some() {
        outbox.note(&name, &progress, None)?;
    }
    if may_send {
        send_some(outbox, (to, config), &rows, (&mut progress, unnoted, now))?;
        return Ok(now);
    }
    Ok(now + LOOK)
}

/// What is in the way of looking up.
enum Stuck {
    Outbox(OutboxError),
    /// What this host knows cannot be read; in words.
    Store(String),
}

impl From<OutboxError> for Stuck {
    fn from(error: OutboxError) -> Stuck {
        Stuck::Outbox(error)
    }
}

/// Makes reports of what is ripe. Returns those of the queue that may leave; it may be forbidden since.
fn look_up(
    outbox: &Outbox,
    to: &str,
    (ripe, queued): (Vec<&Row>, Vec<Row>),
    sources: &Sources<'_>,
    now: Timestamp,
) -> Result<Vec<(i64, Report)>, Stuck> {
    for row in ripe {
        gather_one(outbox, to, row, sources, now)?;
    }
    let mut rows = Vec::new();
    for row in queued {
        match (sources.forbids(&row).map_err(Stuck::Store)?, row.report) {
            (None, Some(report)) => rows.push((row.id, report)),
            (why, _) => {
                let why = why.unwrap_or(Nothing::NoProof);
                outbox.settle(row.id, State::Withdrawn, why.words(), now)?;
            }
        }
    }
    Ok(rows)
}

fn gather_one(
    outbox: &Outbox,
    to: &str,
    row: &Row,
    sources: &Sources<'_>,
    now: Timestamp,
) -> Result<(), Stuck> {
    match sources.report(row).map_err(Stuck::Store)? {
        Ok(report) => {
            let state = if outbox.approved(to)? < REVIEWED { State::Held } else { State::Queued };
            outbox.gathered(row.id, &report, state)?;
        }
        Err(nothing) => {
            let state = if nothing == Nothing::NoProof { State::Empty } else { State::Withdrawn };
            outbox.settle(row.id, state, nothing.words(), now)?;
        }
    }
    Ok(())
}

/// What goes next: one report, or many as one file where the receiver takes that.
fn next_of(to: &Destination, mut queued: Vec<Row>, left: u32) -> Vec<Row> {
    queued.truncate(left as usize);
    let many = match &to.to {
        Receiver::AbuseIpDb { bulk: Some(bulk), .. } => queued.len() >= *bulk as usize,
        _ => false,
    };
    if !many {
        queued.truncate(1);
    }
    queued
}

fn send_some(
    outbox: &Outbox,
    (to, config): (&Destination, &Config),
    rows: &[(i64, Report)],
    (progress, unnoted, now): (&mut Progress, &mut Unnoted, Timestamp),
) -> Result<(), OutboxError> {
    if try_to_send(outbox, (to, config), rows, (progress, unnoted, now))? {
        return Ok(());
    }
    // Of a file it is not known which one is meant, so each goes by itself.
    for row in rows {
        try_to_send(outbox, (to, config), std::slice::from_ref(row), (progress, unnoted, now))?;
        if progress.failures > 0 {
            break;
        }
    }
    Ok(())
}

/// Sends one report, or many as one file. False if the file was refused for what is in it.
fn try_to_send(
    outbox: &Outbox,
    (to, config): (&Destination, &Config),
    rows: &[(i64, Report)],
    (progress, unnoted, now): (&mut Progress, &mut Unnoted, Timestamp),
) -> Result<bool, OutboxError> {
    let Some((first, _)) = rows.first() else { return Ok(true) };
    let name = report_name(to.name());
    let number = rows.len() as u32;
    let sent = fault::outlive(|| deliver(outbox, (to, config), rows, (progress, now)));
    let sent = sent.unwrap_or_else(|fault| Err(notify::fault_of(&fault)));
    match sent.map_err(|error| judged(progress, error, now)) {
        Ok(()) => {
            progress.taken();
            progress.sent(&to.pace, number, now);
            info!(destination = to.name(), reports = number, "reported");
            let ids = rows.iter().map(|(id, _)| *id).collect();
            let (state, why, progress) = (State::Sent, String::new(), progress.clone());
            unnoted.0 = Some(Came { ids, state, why, progress, at: now });
            unnoted.note(outbox, &name)?;
        }
        Err(error) if error.is_about_content && number > 1 => {
            warn!(destination = to.name(), reason = %error.why, "a file of reports was refused; they go one by one");
            return Ok(false);
        }
        Err(error) if error.is_foregone => {
            outbox.settle(*first, State::Refused, &error.why, now)?;
            info!(destination = to.name(), reason = %error.why, "a report is not sent");
        }
        Err(error) if error.is_about_content => {
            warn!(destination = to.name(), reason = %error.why, "a report was refused");
            // It was a request all the same, and counts.
            progress.sent(&to.pace, 1, now);
            let (ids, state, progress) = (vec![*first], State::Refused, progress.clone());
            unnoted.0 = Some(Came { ids, state, why: error.why, progress, at: now });
            unnoted.note(outbox, &name)?;
        }
        Err(error) => {
            if error.others_may {
                outbox.postpone(*first, now + AGAIN)?;
                // The wait does not grow: it is no trouble of the others.
                progress.forgive();
            }
            if progress.failures == 0 {
                warn!(destination = to.name(), reason = %error.why, "a report was not taken; it is tried again");
            }
            let dice = notify::dice(&format!("{name} {first}"), progress.failures);
            progress.failed(&to.pace, error.setback, dice, now);
            outbox.note(&name, progress, Some(&format!("report.{}: {}", to.name(), error.why)))?;
        }
    }
    Ok(true)
}

/// What a refusal means after those before it: a server answers in the same way whether it will not have who is written
/// to or who writes.
fn judged(progress: &mut Progress, error: Failed, now: Timestamp) -> Failed {
    let Some(Refuser { mailbox, is_about_it }) = &error.refuser else { return error };
    if !progress.refused_by(mailbox, *is_about_it, now) {
        return error;
    }
    let why = format!(
        "one mailbox after the other is refused, so it may be this host that is; look at from, user and server: {}",
        error.why
    );
    Failed { others_may: true, ..Failed::lasting(why) }
}

fn deliver(
    outbox: &Outbox,
    (to, config): (&Destination, &Config),
    rows: &[(i64, Report)],
    (progress, now): (&Progress, Timestamp),
) -> Result<(), Failed> {
    match (&to.to, rows) {
        (Receiver::AbuseIpDb { url, key_file, .. }, [(_, report)]) => abuseipdb::one(url, key_file, report),
        (Receiver::AbuseIpDb { url, key_file, .. }, _) => {
            let reports: Vec<&Report> = rows.iter().map(|(_, report)| report).collect();
            abuseipdb::many(url, key_file, &reports)
        }
        (Receiver::BlocklistDe { url, key_file, server }, [(_, report), ..]) => {
            blocklist_de::send(url, (key_file, server), report)
        }
        (Receiver::Xarf { mail, organisation }, [(id, report), ..]) => {
            let network = crate::rdap::network(&config.outgoing.rdap, report.addr, Some(outbox), now);
            let network = network.map_err(|error| not_known(&error))?;
            if network.abuse.as_ref().is_some_and(|mailbox| progress.is_refuser(mailbox, now)) {
                let why = "the abuse mailbox of that network refused another report within a day";
                return Err(Failed { is_foregone: true, ..Failed::content(why) });
            }
            xarf::send((mail, organisation), &network, (*id, report))
        }
        (_, []) => Ok(()),
    }
}

/// Whose network it is decides over one report; which registry is asked, its attacker decides.
fn not_known(error: &RdapError) -> Failed {
    match error {
        RdapError::NoAnswer { .. } => Failed::content(error.to_string()),
        RdapError::NotAsked { .. } => Failed { others_may: true, ..Failed::passing(error.to_string()) },
    }
}

/// What would be sent, as it would be.
pub(crate) fn preview(to: &Destination, id: i64, report: &Report) -> Result<String, String> {
    match &to.to {
        Receiver::AbuseIpDb { url, .. } => {
            Ok(format!("POST {}\n{}\n", url.join("report"), abuseipdb::body(report)))
        }
        Receiver::BlocklistDe { url, server, .. } => {
            let body = blocklist_de::body(server, "(the key)", report);
            Ok(format!("POST {}\n{body}\n", url.as_str()))
        }
        Receiver::Xarf { mail, organisation } => {
            xarf::preview((mail, organisation), (id, report)).map_err(|error| error.why)
        }
    }
}
