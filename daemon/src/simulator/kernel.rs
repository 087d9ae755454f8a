//! A kernel that outlives the daemon: holds elements, ends them by its own clock if it is of that kind, refuses, and
//! lets others change what is ours.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use pillory_core::event::JailName;
use pillory_core::ledger::projection::is_point;
use pillory_core::time::{End, Span, Timestamp};

use crate::actions::{Action, ActionError, Change, Element, Installed, Port, Restriction};
use crate::netlink::KernelWatch;

use super::dice::Dice;

/// What the kernel says to changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Willing,
    /// Nothing is taken and nothing can be read.
    Forbids,
    /// A batch fails, and each of its changes is made or not.
    TakesSome,
}

/// An element in the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// When the kernel ends it by itself, by the clock that never steps and stands still in a suspend; nothing for never.
    ends: Option<Timestamp>,
    /// False for what somebody else put there.
    pub(super) is_ours: bool,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) elements: BTreeMap<Element, Held>,
    pub(super) has_frame: bool,
    pub(super) mood: Mood,
    /// True if it knows time-outs, as nftables does; null routes stay.
    pub(super) ends_bans: bool,
    clock: Timestamp,
    dice: Dice,
}

impl Table {
    /// The clock that never steps goes on; what is over by it is gone.
    pub(super) fn tick(&mut self, clock: Timestamp) {
        self.clock = clock;
        self.elements.retain(|_, held| held.ends.is_none_or(|ends| ends > clock));
    }

    /// Somebody else puts an element there.
    pub(super) fn plant(&mut self, element: Element) {
        let ends = self.ends_bans.then(|| self.clock + Span::from_secs(3_600));
        self.elements.insert(element, Held { ends, is_ours: false });
    }

    fn make(&mut self, change: &Change, now: Timestamp) {
        match change {
            Change::Set(element, end) if !end.is_over(now) => {
                let left = end.remaining(now).filter(|_| self.ends_bans);
                let held = Held { ends: left.map(|left| self.clock + left), is_ours: true };
                self.elements.insert(element.clone(), held);
            }
            Change::Set(element, _) | Change::Remove(element) => drop(self.elements.remove(element)),
        }
    }

    fn refusal(&self, tried: &'static str) -> Option<ActionError> {
        let target = "the simulated table".to_owned();
        let cause = || std::io::Error::from(std::io::ErrorKind::OutOfMemory);
        match self.mood {
            Mood::Willing => None,
            Mood::Forbids => Some(ActionError::NotPermitted { tried, target }),
            Mood::TakesSome => Some(ActionError::Kernel { tried, target, cause: cause() }),
        }
    }
}

/// The action on it.
#[derive(Debug, Clone)]
pub(super) struct SimulatedKernel(Arc<Mutex<Table>>);

impl SimulatedKernel {
    pub(super) fn new(ends_bans: bool, dice: Dice) -> SimulatedKernel {
        SimulatedKernel(Arc::new(Mutex::new(Table {
            elements: BTreeMap::new(),
            has_frame: false,
            mood: Mood::Willing,
            ends_bans,
            clock: Timestamp::default(),
            dice,
        })))
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("nobody panics holding it")
    }
}

impl Action for SimulatedKernel {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn prepare(&mut self, _ports: &[(JailName, Vec<Port>)]) -> Result<bool, ActionError> {
        let mut table = self.table();
        match table.refusal("prepare").filter(|_| table.mood == Mood::Forbids) {
            Some(error) => Err(error),
            None => Ok(!std::mem::replace(&mut table.has_frame, true)),
        }
    }

    fn apply(&mut self, changes: &[Change], now: Timestamp) -> Result<(), ActionError> {
        let mut table = self.table();
        if !table.has_frame {
            let cause = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(ActionError::Vanished { target: "the simulated table".into(), cause });
        }
        for change in changes {
            let makes = match table.mood {
                Mood::Willing => true,
                Mood::Forbids => false,
                Mood::TakesSome => table.dice.percent(50),
            };
            if makes {
                table.make(change, now);
            }
        }
        table.refusal("change").map_or(Ok(()), Err)
    }

    fn installed(&mut self, now: Timestamp) -> Result<Installed, ActionError> {
        let table = self.table();
        if let Some(error) = table.refusal("read").filter(|_| table.mood == Mood::Forbids) {
            return Err(error);
        }
        let end = |held: &Held| {
            let left = held.ends.map(|ends| End::At(now + ends.since(table.clock)));
            table.ends_bans.then(|| left.unwrap_or(End::Never))
        };
        Ok(table.elements.iter().map(|(element, held)| (element.clone(), end(held))).collect())
    }

    fn remove_all(&mut self) -> Result<usize, ActionError> {
        let mut table = self.table();
        if let Some(error) = table.refusal("remove").filter(|_| table.mood == Mood::Forbids) {
            return Err(error);
        }
        table.has_frame = false;
        let count = table.elements.len();
        table.elements.clear();
        Ok(count)
    }

    fn restrict(&mut self, _wanted: &[Restriction]) -> Result<bool, ActionError> {
        Ok(false)
    }

    fn count_points(&mut self) -> Result<Option<usize>, ActionError> {
        let table = self.table();
        match table.refusal("count").filter(|_| table.mood == Mood::Forbids) {
            Some(error) => Err(error),
            None => Ok(table
                .ends_bans
                .then(|| table.elements.keys().filter(|element| is_point(element.prefix)).count())),
        }
    }

    fn find(&mut self, points: &[Element], now: Timestamp) -> Result<Option<Installed>, ActionError> {
        let mut installed = self.installed(now)?;
        installed.retain(|element, _| points.contains(element));
        Ok(Some(installed).filter(|_| self.table().ends_bans))
    }

    fn watch(&self) -> Result<Option<Box<dyn KernelWatch>>, ActionError> {
        Ok(None)
    }
}
