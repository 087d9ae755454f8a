//! The kernel thread: owns the action, applies changes, reads back, and destroys sockets of banned sources.
//!
//! Jobs that queue up while it works are applied in one transaction. It never decides; its answers enter the
//! engine as inputs.

use crossbeam_channel::{Receiver, Sender};
use tracing::warn;

use pillory_core::event::{JailName, Scope};
use pillory_core::ledger::{Change, Installed};
use pillory_core::net::PrefixSet;
use pillory_core::time::Timestamp;

use crate::actions::{Action, ActionError, Port, Restriction, dryrun, nftables};
use crate::clock;
use crate::netlink::sockdiag::{SockDiag, SockDiagError};

/// Ports of each jail whose bans may be limited to them.
pub(crate) type JailPorts = Vec<(JailName, Vec<Port>)>;

/// What the kernel thread is asked.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make these changes. Numbers rise; the answer names the last one of a group.
    Apply(u64, Vec<Change>),
    /// Make the frame if it is not there or not right, and say what elements are there.
    Prepare(JailPorts),
    /// Let only these connect to those ports. Numbered like changes.
    Restrict(u64, Vec<Restriction>),
    /// Say what is there, unless there are as many points as expected.
    Verify(usize),
    /// Tell a client what the rules dropped: nobody else may ask the kernel.
    Dropped(Sender<Option<nftables::Dropped>>),
}

/// What the kernel thread answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// All changes up to this number are in the kernel, at this time; so many sockets were destroyed.
    Applied(u64, usize),
    /// The changes up to this number failed, in an unknown part.
    Failed(u64, ActionError),
    /// What is there; true if the frame was not there or not right and has been mended.
    Installed(Installed, bool),
    /// Reading or preparing failed.
    Unreadable(ActionError),
}

/// Works until the engine hangs up, and then gives the action back.
pub(crate) fn run(
    mut action: Box<dyn Action>,
    (mut ports, mut restrictions): (JailPorts, Vec<Restriction>),
    jobs: &Receiver<Job>,
    answer: &Sender<Answer>,
) -> Box<dyn Action> {
    let mut held: Option<Job> = None;
    let mut sockets = if action.name() == dryrun::NAME { None } else { open_sockets() };
    while let Some(job) = held.take().or_else(|| jobs.recv().ok()) {
        let said = match job {
            Job::Apply(first, changes) => {
                let mut group = vec![(first, changes)];
                for next in jobs.try_iter() {
                    match next {
                        Job::Apply(number, changes) => group.push((number, changes)),
                        other => {
                            held = Some(other);
                            break;
                        }
                    }
                }
                let last = group.last().map_or(first, |(number, _)| *number);
                let all: Vec<Change> = group.iter().flat_map(|(_, changes)| changes).cloned().collect();
                let said = apply(action.as_mut(), &ports, last, &all, sockets.as_mut());
                if matches!(said, Answer::Failed(..)) && group.len() > 1 {
                    // One by one, so that an order is not blamed for what another one asked.
                    for (number, changes) in group {
                        let said = apply(action.as_mut(), &ports, number, &changes, sockets.as_mut());
                        if answer.send(said).is_err() {
                            return action;
                        }
                    }
                    continue;
                }
                said
            }
            Job::Prepare(new) => {
                let is_new = new != ports;
                ports = new;
                match action.prepare(&ports).and_then(|mended| Ok((mended, action.restrict(&restrictions)?)))
                {
                    Ok((mended, restored)) => read(action.as_mut(), (mended && !is_new) || restored),
                    Err(error) => Answer::Unreadable(error),
                }
            }
            Job::Restrict(number, new) => {
                restrictions = new;
                match restrict(action.as_mut(), &ports, &restrictions) {
                    Ok(_) => Answer::Applied(number, 0),
                    Err(error) => Answer::Failed(number, error),
                }
            }
            Job::Dropped(client) => {
                // A client that went away needs no answer.
                let _ = client.send(nftables::dropped());
                continue;
            }
            Job::Verify(_) if action.restrict(&restrictions).is_ok_and(|restored| restored) => {
                read(action.as_mut(), true)
            }
            Job::Verify(expected) => match action.count_points() {
                Ok(Some(count)) if count == expected => continue,
                Ok(_) => read(action.as_mut(), false),
                Err(error) => Answer::Unreadable(error),
            },
        };
        if answer.send(said).is_err() {
            break;
        }
    }
    action
}

fn restrict(action: &mut dyn Action, ports: &JailPorts, wanted: &[Restriction]) -> Result<bool, ActionError> {
    match action.restrict(wanted) {
        Err(ActionError::Vanished { .. }) => action.prepare(ports).and_then(|_| action.restrict(wanted)),
        other => other,
    }
}

fn read(action: &mut dyn Action, mended: bool) -> Answer {
    match action.installed(clock::now()) {
        Ok(installed) => Answer::Installed(installed, mended),
        Err(error) => Answer::Unreadable(error),
    }
}

fn open_sockets() -> Option<SockDiag> {
    SockDiag::open().inspect_err(|error| warn!(%error, "connections of banned sources will not be cut")).ok()
}

fn apply(
    action: &mut dyn Action,
    ports: &JailPorts,
    number: u64,
    changes: &[Change],
    sockets: Option<&mut SockDiag>,
) -> Answer {
    let now: Timestamp = clock::now();
    let mut result = action.apply(changes, now);
    if matches!(result, Err(ActionError::Vanished { .. })) {
        // Somebody took the frame away; the engine heals the elements once it hears of it.
        result = action.prepare(ports).and_then(|_| action.apply(changes, now));
    }
    if let Err(error) = result {
        return Answer::Failed(number, error);
    }
    Answer::Applied(number, sockets.map_or(0, |sockets| cut(sockets, ports, changes, now)))
}

/// Cuts this host's own connections with the newly banned: packets are dropped already, but what they left open
/// would hold places of the service (sshd's MaxStartups). Returns how many there were.
fn cut(sockets: &mut SockDiag, ports: &JailPorts, changes: &[Change], now: Timestamp) -> usize {
    let banned = |wanted: &Scope| {
        PrefixSet::new(changes.iter().filter_map(|change| match change {
            Change::Set(element, end) if element.scope == *wanted && !end.is_over(now) => {
                Some(element.prefix)
            }
            _ => None,
        }))
    };
    let mut count = 0;
    let everything = banned(&Scope::All);
    if !everything.prefixes().is_empty() {
        count += said(sockets.destroy(&everything, |_| true));
    }
    for (jail, ports) in ports {
        let limited = banned(&Scope::Ports(jail.clone()));
        if !limited.prefixes().is_empty() {
            let holds = |port: &Port, local: u16| {
                port.protocol == TCP && (port.range.0..=port.range.1).contains(&local)
            };
            count += said(sockets.destroy(&limited, |socket| {
                ports.is_empty() || ports.iter().any(|port| holds(port, socket.local.port()))
            }));
        }
    }
    count
}

fn said(outcome: Result<usize, SockDiagError>) -> usize {
    outcome.unwrap_or_else(|error| {
        warn!(%error, "cannot cut connections of banned sources");
        0
    })
}

/// IANA's number.
const TCP: u8 = 6;
