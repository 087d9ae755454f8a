//! What lines of one connection (`<F-MLFID>`) have said so far.

use std::collections::{HashMap, VecDeque};

use smol_str::SmolStr;

use super::Fail;
use super::groups::{MLFFORGET, MLFGAINED, NOFAIL, USER};
use crate::time::{Span, Timestamp};

/// So many connections are remembered, each for so long. Source: fail2ban 1.0.
const MOST: usize = 100;
const MEMORY: Span = Span::from_secs(300);

/// Connections by their identity, the one that was seen first in front.
#[derive(Debug, Default)]
pub(super) struct Connections {
    known: HashMap<SmolStr, (Fail, Timestamp)>,
    /// In the order in which they came; those that are forgotten since stay until they are passed.
    order: VecDeque<(SmolStr, Timestamp)>,
}

impl Connections {
    fn get(&mut self, id: &str, arrived: Timestamp) -> Option<&mut Fail> {
        let (_, until) = self.known.get(id)?;
        if *until <= arrived {
            self.known.remove(id);
            return None;
        }
        self.known.get_mut(id).map(|(fail, _)| fail)
    }

    fn set(&mut self, id: SmolStr, fail: Fail, arrived: Timestamp) {
        if self.known.len() >= MOST {
            self.make_room(arrived);
        }
        let until = arrived + MEMORY;
        self.order.push_back((id.clone(), until));
        self.known.insert(id, (fail, until));
    }

    /// Forgets the oldest: those whose time is over, and one more if that is not enough.
    fn make_room(&mut self, arrived: Timestamp) {
        while let Some((id, until)) = self.order.pop_front() {
            if self.known.get(&id).is_none_or(|(_, current)| *current != until) {
                continue;
            }
            self.known.remove(&id);
            if until > arrived && self.known.len() < MOST {
                return;
            }
        }
    }

    /// Joins what a line says with what the connection said before, and keeps it for the next line.
    ///
    /// `matched`: the lines of this match.
    pub(super) fn merge(
        &mut self,
        id: SmolStr,
        mut fail: Fail,
        matched: Vec<SmolStr>,
        arrived: Timestamp,
    ) -> Fail {
        let mut gained = fail.groups.has(MLFGAINED);
        if gained && !fail.groups.has(NOFAIL) {
            let value = fail.groups.get(MLFGAINED).cloned();
            fail.groups.set(NOFAIL, value);
        }
        let mut nofail = gained || fail.groups.has(NOFAIL);
        let forget = fail.groups.take(MLFFORGET);
        let known = self.get(&id, arrived).is_some();
        if known || !forget {
            fail.add_user();
        }
        let mut merged = match self.get(&id, arrived) {
            Some(known) => {
                known.update(fail, gained);
                known.clone()
            }
            None => fail,
        };
        // A failure that waits, or several users in one connection: then a good login takes nothing back.
        if std::mem::take(&mut merged.groups.pending) || merged.groups.users.len() > 1 {
            merged.groups.take(NOFAIL);
            merged.groups.take(MLFGAINED);
            (gained, nofail) = (false, false);
        }
        if !nofail {
            let mut lines = std::mem::take(&mut merged.nofail_matches);
            lines.append(&mut merged.matches);
            if !gained {
                lines.extend(matched);
            }
            merged.matches = lines;
        } else if !forget {
            merged.nofail_matches.extend(matched);
        }
        self.keep(id, &merged, known, forget, arrived);
        merged
    }

    fn keep(&mut self, id: SmolStr, fail: &Fail, known: bool, forget: bool, arrived: Timestamp) {
        match (known, forget) {
            (_, true) => {
                self.known.remove(&id);
            }
            (true, false) => {
                if let Some(known) = self.get(&id, arrived) {
                    known.clone_from(fail);
                }
            }
            (false, false) => self.set(id, fail.clone(), arrived),
        }
    }

    /// Notes that a failure of this connection waits for its address.
    pub(super) fn pending(&mut self, id: &str, arrived: Timestamp) {
        if let Some(fail) = self.get(id, arrived) {
            fail.groups.pending = true;
        }
    }
}

impl Fail {
    fn add_user(&mut self) {
        if let Some(user) = self.groups.filled(USER) {
            self.groups.users.insert(user);
        }
    }

    /// Takes over what a later line of the connection says.
    fn update(&mut self, later: Fail, gained: bool) {
        let had_nofail = self.groups.take(NOFAIL) | self.groups.take(MLFGAINED);
        if gained {
            self.groups.pending = false;
        }
        // Nothing waits: the lines were handed out already.
        if !had_nofail && !self.groups.pending {
            self.matches.clear();
        }
        self.groups.merge(later.groups);
    }
}
