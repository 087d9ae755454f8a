//! The kernel thread: owns the action, applies changes, reads back, and destroys sockets of banned sources.
//!
//! Jobs that queue up while it works are applied in one transaction. It never decides; its answers enter the
//! engine as inputs.

use crossbeam_channel::{Receiver, Sender};

use pillory_core::event::JailName;
use pillory_core::ledger::{Change, Installed};
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::actions::{Action, ActionError, Port};
use crate::clock;

/// Ports of each jail whose bans may be limited to them.
pub(crate) type JailPorts = Vec<(JailName, Vec<Port>)>;

/// What the kernel thread is asked.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make these changes. Numbers rise; the answer names the last one of a group.
    Apply(u64, Vec<Change>),
    /// Make the frame, and say what is there.
    Prepare(JailPorts),
    /// Say what is there.
    Read,
    /// Say whether the number of elements is still the expected one; a full read follows if it is not.
    Verify(usize),
    /// Take everything of ours away.
    RemoveAll,
}

/// What the kernel thread answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// All changes up to this number are in the kernel, at this time; so many sockets were destroyed.
    Applied(u64, usize),
    /// The changes up to this number failed, in an unknown part.
    Failed(u64, ActionError),
    /// What is there.
    Installed(Installed),
    /// Reading or preparing failed.
    Unreadable(ActionError),
    /// Everything of ours is gone; so many elements were there.
    Removed(usize),
}

/// Works until the engine hangs up, and then gives the action back.
pub(crate) fn run(
    mut action: Box<dyn Action>,
    mut ports: JailPorts,
    jobs: &Receiver<Job>,
    answer: &Sender<Answer>,
) -> Box<dyn Action> {
    let mut held: Option<Job> = None;
    while let Some(job) = held.take().or_else(|| jobs.recv().ok()) {
        let said = match job {
            Job::Apply(first, changes) => {
                let mut number = first;
                let mut all = changes;
                for next in jobs.try_iter() {
                    match next {
                        Job::Apply(later, changes) => {
                            number = later;
                            all.extend(changes);
                        }
                        other => {
                            held = Some(other);
                            break;
                        }
                    }
                }
                apply(action.as_mut(), &ports, number, &all)
            }
            Job::Prepare(new) => {
                ports = new;
                match action.prepare(&ports) {
                    Ok(()) => read(action.as_mut()),
                    Err(error) => Answer::Unreadable(error),
                }
            }
            Job::Read => read(action.as_mut()),
            Job::Verify(expected) => match action.count() {
                Ok(Some(count)) if count == expected => continue,
                Ok(_) => read(action.as_mut()),
                Err(error) => Answer::Unreadable(error),
            },
            Job::RemoveAll => match action.remove_all() {
                Ok(count) => Answer::Removed(count),
                Err(error) => Answer::Unreadable(error),
            },
        };
        if answer.send(said).is_err() {
            break;
        }
    }
    action
}

fn read(action: &mut dyn Action) -> Answer {
    match action.installed(clock::now()) {
        Ok(installed) => Answer::Installed(installed),
        Err(error) => Answer::Unreadable(error),
    }
}

fn apply(action: &mut dyn Action, ports: &JailPorts, number: u64, changes: &[Change]) -> Answer {
    let now: Timestamp = clock::now();
    let mut result = action.apply(changes, now);
    if matches!(result, Err(ActionError::Vanished { .. })) {
        // Somebody took the frame away; the engine heals the elements once it hears of it.
        result = action.prepare(ports).and_then(|()| action.apply(changes, now));
    }
    if let Err(error) = result {
        return Answer::Failed(number, error);
    }
    let banned: Vec<Prefix> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Set(element, end) if !end.is_over(now) => Some(element.prefix),
            _ => None,
        })
        .collect();
    Answer::Applied(number, if banned.is_empty() { 0 } else { action.cut_connections(&banned) })
}
