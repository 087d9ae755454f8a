//! The kernel thread: owns the action, applies changes, reads back, and destroys sockets of banned sources.
//!
//! Jobs that queue up while it works are applied in one transaction. It never decides; its answers enter the
//! engine as inputs.

use std::time::Instant;

use crossbeam_channel::{Receiver, Sender};
use tracing::warn;

use pillory_core::event::{JailName, Scope};
use pillory_core::ledger::{Change, Element, Installed};
use pillory_core::net::PrefixSet;
use pillory_core::time::{Span, Timestamp};

use crate::actions::{Action, ActionError, Port, Restriction, dryrun, nftables};
use crate::clock::{self, Reading};
use crate::crash::{self, Point};
use crate::findings::{Finding, rivals};
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
    /// Say which of these points are there.
    Find(Vec<Element>),
    /// Say what bans of other tools are there: nobody else may ask the kernel.
    Rivals,
    /// Tell a client what the rules dropped: nobody else may ask the kernel.
    Dropped(Sender<Option<nftables::Dropped>>),
}

/// What the kernel thread answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// All changes up to this number are in the kernel since this moment; so many sockets were destroyed then.
    Applied(u64, Instant, usize),
    /// The changes up to this number failed, in an unknown part.
    Failed(u64, ActionError),
    /// What is there; true if the frame was not there or not right and has been mended.
    Installed(Installed, bool),
    /// Which of these points are there, if that can be told.
    Found(Vec<Element>, Option<Installed>),
    /// What bans of other tools are there.
    Rivals(Vec<Finding>),
    /// Reading or preparing failed.
    Unreadable(ActionError),
}

/// Works until the engine hangs up, and then gives the action back. `answer`: tells the engine; false if it is gone.
pub(crate) fn run(mut hand: Hand, jobs: &Receiver<Job>, answer: impl Fn(Answer) -> bool) -> Box<dyn Action> {
    while let Some(job) = hand.next(|| jobs.recv().ok()) {
        for said in hand.work(job, &mut jobs.try_iter()) {
            if !answer(said) {
                return hand.action;
            }
        }
    }
    hand.action
}

/// What works on the kernel.
pub(crate) struct Hand {
    action: Box<dyn Action>,
    ports: JailPorts,
    restrictions: Vec<Restriction>,
    /// Cuts connections of the banned; nothing cuts them if it is not there.
    sockets: Option<SockDiag>,
    /// A job that was taken and not begun.
    held: Option<Job>,
}

impl Hand {
    /// `frame`: what the action was prepared with.
    pub(crate) fn new(
        action: Box<dyn Action>,
        (ports, restrictions): (JailPorts, Vec<Restriction>),
        sockets: Option<SockDiag>,
    ) -> Hand {
        Hand { action, ports, restrictions, sockets, held: None }
    }

    /// The same for an action on the kernel itself, which cuts connections.
    pub(crate) fn cutting(action: Box<dyn Action>, frame: (JailPorts, Vec<Restriction>)) -> Hand {
        let sockets = if action.name() == dryrun::NAME { None } else { open_sockets() };
        Hand::new(action, frame, sockets)
    }

    /// The job that is held, or else a new one.
    pub(crate) fn next(&mut self, new: impl FnOnce() -> Option<Job>) -> Option<Job> {
        self.held.take().or_else(new)
    }

    /// Does a job, with the changes that wait behind it; the first other job that waits is held.
    pub(crate) fn work(&mut self, job: Job, waiting: &mut dyn Iterator<Item = Job>) -> Vec<Answer> {
        let said = match job {
            Job::Apply(number, changes) => return self.apply_group((number, changes), waiting),
            Job::Prepare(new) => self.prepare(new),
            Job::Restrict(number, new) => {
                self.restrictions = new;
                match restrict(self.action.as_mut(), &self.ports, &self.restrictions) {
                    Ok(_) => Answer::Applied(number, clock::instant(), 0),
                    Err(error) => Answer::Failed(number, error),
                }
            }
            Job::Find(points) => match find(self.action.as_mut(), &points) {
                Ok(found) => Answer::Found(points, found),
                Err(error) => Answer::Unreadable(error),
            },
            Job::Rivals => {
                // What does not cut connections does not work on the kernel itself.
                return self.sockets.iter().map(|_| Answer::Rivals(rivals::held())).collect();
            }
            Job::Dropped(client) => {
                // A client that went away needs no answer.
                let _ = client.send(nftables::dropped());
                return Vec::new();
            }
            Job::Verify(_) if self.action.restrict(&self.restrictions).is_ok_and(|restored| restored) => {
                read(self.action.as_mut(), true)
            }
            Job::Verify(expected) => match self.action.count_points() {
                Ok(Some(count)) if count == expected => return Vec::new(),
                Ok(_) => read(self.action.as_mut(), false),
                Err(error) => Answer::Unreadable(error),
            },
        };
        vec![said]
    }

    fn prepare(&mut self, new: JailPorts) -> Answer {
        let is_new = new != self.ports;
        self.ports = new;
        let prepared = self.action.prepare(&self.ports);
        match prepared.and_then(|mended| Ok((mended, self.action.restrict(&self.restrictions)?))) {
            Ok((mended, restored)) => read(self.action.as_mut(), (mended && !is_new) || restored),
            Err(error) => Answer::Unreadable(error),
        }
    }

    fn apply_group(
        &mut self,
        first: (u64, Vec<Change>),
        waiting: &mut dyn Iterator<Item = Job>,
    ) -> Vec<Answer> {
        let mut group = vec![first];
        for next in waiting {
            match next {
                Job::Apply(number, changes) => group.push((number, changes)),
                other => {
                    self.held = Some(other);
                    break;
                }
            }
        }
        let last = group.last().map_or(0, |(number, _)| *number);
        let all: Vec<Change> = group.iter().flat_map(|(_, changes)| changes).cloned().collect();
        let said = self.apply(last, &all);
        if matches!(said, Answer::Failed(..)) && group.len() > 1 {
            // One by one, so that an order is not blamed for what another one asked.
            return group.into_iter().map(|(number, changes)| self.apply(number, &changes)).collect();
        }
        vec![said]
    }

    fn apply(&mut self, number: u64, changes: &[Change]) -> Answer {
        let now: Timestamp = clock::now();
        let has_ban = || changes.iter().any(|change| matches!(change, Change::Set(..)));
        crash::not_before(Point::LedgerWritten, has_ban);
        let action = self.action.as_mut();
        let mut result = apply(action, changes);
        if matches!(result, Err(ActionError::Vanished { .. })) {
            // Somebody took the frame away; the engine heals the elements once it hears of it.
            result = action.prepare(&self.ports).and_then(|_| apply(action, changes));
        }
        if let Err(error) = result {
            return Answer::Failed(number, error);
        }
        let at = clock::instant();
        crash::point(Point::KernelTold, has_ban);
        let sockets = self.sockets.as_mut();
        Answer::Applied(number, at, sockets.map_or(0, |sockets| cut(sockets, &self.ports, changes, now)))
    }
}

fn restrict(action: &mut dyn Action, ports: &JailPorts, wanted: &[Restriction]) -> Result<bool, ActionError> {
    match action.restrict(wanted) {
        Err(ActionError::Vanished { .. }) => action.prepare(ports).and_then(|_| action.restrict(wanted)),
        other => other,
    }
}

/// Makes changes in a kernel that counts real time, whatever the wall clock was set to.
pub(crate) fn apply(action: &mut dyn Action, changes: &[Change]) -> Result<(), ActionError> {
    let clock = clock::read();
    if clock.ahead() == Span::default() {
        return action.apply(changes, clock.now);
    }
    let really = |change: &Change| match change {
        Change::Set(element, end) => Change::Set(element.clone(), clock.real_end(*end)),
        Change::Remove(element) => Change::Remove(element.clone()),
    };
    action.apply(&changes.iter().map(really).collect::<Vec<_>>(), clock.now)
}

/// What such a kernel holds, with its ends in the daemon's time.
pub(crate) fn installed(action: &mut dyn Action) -> Result<Installed, ActionError> {
    let clock = clock::read();
    action.installed(clock.now).map(|installed| in_own_time(installed, clock))
}

/// The same without points.
pub(crate) fn networks(action: &mut dyn Action) -> Result<Installed, ActionError> {
    let clock = clock::read();
    action.networks(clock.now).map(|installed| in_own_time(installed, clock))
}

/// The same of these points only, if that can be told.
pub(crate) fn find(action: &mut dyn Action, points: &[Element]) -> Result<Option<Installed>, ActionError> {
    let clock = clock::read();
    let found = action.find(points, clock.now)?;
    Ok(found.map(|found| in_own_time(found, clock)))
}

fn in_own_time(mut installed: Installed, clock: Reading) -> Installed {
    if clock.ahead() > Span::default() {
        installed.values_mut().flatten().for_each(|end| *end = clock.own_end(*end));
    }
    installed
}

fn read(action: &mut dyn Action, mended: bool) -> Answer {
    match installed(action) {
        Ok(installed) => Answer::Installed(installed, mended),
        Err(error) => Answer::Unreadable(error),
    }
}

fn open_sockets() -> Option<SockDiag> {
    SockDiag::open().inspect_err(|error| warn!(%error, "connections of banned sources will not be cut")).ok()
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
