//! What lines of one connection (`<F-MLFID>`) have said so far.

use std::collections::VecDeque;
use std::sync::Arc;

use smol_str::SmolStr;

use super::Fail;
use super::groups::{Groups, MLFFORGET, MLFGAINED, NOFAIL, USER};
use crate::hash::FastMap;
use crate::time::{Span, Timestamp};

/// So many connections are remembered, each for so long. Source: fail2ban 1.0.
const MOST: usize = 100;
const MEMORY: Span = Span::from_secs(300);

/// Connections by their identity, the one that was seen first in front.
#[derive(Debug, Default)]
pub(super) struct Connections {
    known: FastMap<SmolStr, (Arc<Fail>, Timestamp)>,
    /// In the order in which they came; those that are forgotten since stay until they are passed.
    order: VecDeque<(SmolStr, Timestamp)>,
}

impl Connections {
    /// A copy is made only if somebody else still holds it.
    fn get(&mut self, id: &str, arrived: Timestamp) -> Option<&mut Fail> {
        let (_, until) = self.known.get(id)?;
        if *until <= arrived {
            self.known.remove(id);
            return None;
        }
        self.known.get_mut(id).map(|(fail, _)| Arc::make_mut(fail))
    }

    fn set(&mut self, id: SmolStr, fail: Arc<Fail>, arrived: Timestamp) {
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
    /// `line`: its captures; they are moved. `matched`: the lines of this match.
    pub(super) fn merge(
        &mut self,
        id: SmolStr,
        line: &mut Groups,
        matched: Vec<SmolStr>,
        arrived: Timestamp,
    ) -> Arc<Fail> {
        let gained = line.has(MLFGAINED);
        if gained && !line.has(NOFAIL) {
            line.set(NOFAIL, line.get(MLFGAINED).cloned());
        }
        let said = Said { gained, nofail: gained || line.has(NOFAIL), forget: line.take(MLFFORGET) };
        if let Some(known) = self.get(&id, arrived) {
            line.add_user();
            known.update(line, gained);
            known.settle(said, matched);
            let fail = if said.forget {
                self.known.remove(&id)
            } else {
                self.known.get(&id).map(|(fail, until)| (fail.clone(), *until))
            };
            return fail.map(|(fail, _)| fail).unwrap_or_default();
        }
        if !said.forget {
            line.add_user();
        }
        let mut fail = Fail { groups: std::mem::take(line), ..Fail::default() };
        fail.settle(said, matched);
        let fail = Arc::new(fail);
        if !said.forget {
            self.set(id, fail.clone(), arrived);
        }
        fail
    }

    /// Notes that a failure of this connection waits for its address.
    pub(super) fn pending(&mut self, id: &str, arrived: Timestamp) {
        if let Some(fail) = self.get(id, arrived) {
            fail.groups.pending = true;
        }
    }
}

/// What a line says of its connection.
#[derive(Debug, Clone, Copy)]
struct Said {
    /// A good login.
    gained: bool,
    /// It is no failure itself.
    nofail: bool,
    /// Nothing more will come.
    forget: bool,
}

impl Groups {
    fn add_user(&mut self) {
        if let Some(user) = self.filled(USER) {
            self.try_user(user);
        }
    }
}

impl Fail {
    /// Takes over what a later line of the connection says.
    fn update(&mut self, later: &mut Groups, gained: bool) {
        let had_nofail = self.groups.take(NOFAIL) | self.groups.take(MLFGAINED);
        if gained {
            self.groups.pending = false;
        }
        // Nothing waits: the lines were handed out already.
        if !had_nofail && !self.groups.pending {
            self.matches.clear();
        }
        self.groups.merge(later);
    }

    /// Says whether the connection has failed now, and with which lines.
    fn settle(&mut self, Said { mut gained, mut nofail, forget }: Said, matched: Vec<SmolStr>) {
        // A failure that waits, or several users in one connection: then a good login takes nothing back.
        if std::mem::take(&mut self.groups.pending) || self.groups.users.len() > 1 {
            self.groups.take(NOFAIL);
            self.groups.take(MLFGAINED);
            (gained, nofail) = (false, false);
        }
        if !nofail {
            let mut lines = std::mem::take(&mut self.nofail_matches);
            lines.append(&mut self.matches);
            if !gained {
                lines.extend(matched);
            }
            self.matches = lines;
        } else if !forget {
            self.nofail_matches.extend(matched);
        }
    }
}
