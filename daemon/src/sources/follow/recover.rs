//! Finds again what a follower has not read: after a stop, after a rotation that nobody saw, after a
//! truncation.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::place::{self, FileId, Saved};
use super::rotated::{Known, Siblings};
use super::tail::Tail;
use super::{Follower, Others, Places, trouble};

/// A directory that changes while it is looked at is looked at again, at most so often.
///
/// With five, a reader that two busy cores keep interrupting lost a part in 1 of 300 runs of a test that rotates
/// every few milliseconds.
const MAX_LISTINGS: usize = 50;

impl Follower {
    /// Opens what became of the saved files, then what was rotated since, then the log itself.
    pub(super) fn resume(
        &mut self,
        places: &Places,
        here: Option<&File>,
        others: &dyn Others,
        now: Instant,
    ) -> io::Result<()> {
        let newest = places.files.last();
        let mut tails = Vec::new();
        for _ in 0..MAX_LISTINGS {
            let earlier = newest.and_then(|saved| saved.real.as_deref()).map(Path::new);
            let siblings = Siblings::of(&self.path, earlier);
            tails = self.recover(places, here, &siblings, others, now)?;
            if siblings.are_still_so() {
                break;
            }
        }
        let missing = |saved: &&Saved| saved.fp_len > 0 && !tails.iter().any(|tail| tail.head.is_of(saved));
        for saved in places.files.iter().filter(missing) {
            let path = self.path.display();
            tracing::warn!(%path, offset_bytes = saved.offset, "rotated file is gone; its last lines may be missing");
        }
        let current = if here.is_some() { tails.pop() } else { None };
        self.tails = tails;
        if let Some(tail) = current {
            self.push_current(tail);
        }
        self.changed = true;
        Ok(())
    }

    /// The files that [`Follower::resume`] opens, oldest first; the last is `here`, if there is one.
    fn recover(
        &self,
        places: &Places,
        here: Option<&File>,
        siblings: &Siblings,
        others: &dyn Others,
        now: Instant,
    ) -> io::Result<Vec<Tail>> {
        let here_id = here.map(|file| file.metadata().map(|status| FileId::from(&status))).transpose()?;
        let mut tails: Vec<Tail> = Vec::new();
        let (mut current, mut newest) = (None, None);
        for saved in &places.files {
            newest = None;
            match here {
                Some(file) if here_id == Some(saved.id()) && place::holds(file, saved)? => {
                    let mut tail = Tail::resume(file.try_clone()?, self.format, saved, now)?;
                    tail.catchup_end = tail.size()?;
                    current = Some(tail);
                }
                _ => {
                    let found = siblings.find(saved, self.format, now);
                    newest = found.as_ref().map(|tail| tail.id);
                    tails.extend(found.filter(|tail| !others.holds(tail.id)));
                }
            }
        }
        // A file that goes on in place was not rotated, unless it was empty: then there is no telling.
        let rotated = places.files.last().filter(|last| {
            let in_place = current.as_ref().is_some_and(|tail| tail.id == last.id());
            !in_place || last.fp_len == 0
        });
        if let (Some(file), None) = (here, &current) {
            let mut tail = Tail::begin(file.try_clone()?, self.format, now)?;
            tail.catchup_end = tail.size()?;
            tail.skip_hole()?;
            current = Some(tail);
        }
        if let Some(last) = rotated {
            let known = Known {
                id: &|id| tails.iter().chain(&current).any(|tail| tail.id == id) || others.holds(id),
                content: &|head| {
                    let saved = places.files.iter().any(|saved| saved.head().is_alike(head));
                    saved || tails.iter().any(|tail| tail.is_alike(head))
                },
                newest: &|head| current.as_ref().is_some_and(|tail| tail.is_alike(head)),
                before: &places.before,
            };
            let newer = siblings.newer(newest, last, &known, self.format, now);
            tails.extend(newer);
        }
        if let Some(current) = &mut current {
            current.comes_after(&tails);
        }
        tails.extend(current);
        Ok(tails)
    }

    /// What was rotated away unseen between `last` and `new`: the file that goes on where `last` stopped, and the
    /// parts up to `new`, which is what the path names now.
    pub(super) fn missed(
        &self,
        last: &Saved,
        new: Option<&Tail>,
        others: &dyn Others,
        now: Instant,
    ) -> (Option<Tail>, Vec<Tail>) {
        let before = self.before.clone().unwrap_or_default();
        let known = Known {
            id: &|id| new.is_some_and(|new| new.id == id) || self.holds(id) || others.holds(id),
            content: &|head| last.head().is_alike(head) || self.tails.iter().any(|tail| tail.is_alike(head)),
            newest: &|head| new.is_some_and(|new| new.is_alike(head)),
            before: &before,
        };
        let mut missed = (None, Vec::new());
        for _ in 0..MAX_LISTINGS {
            let siblings = Siblings::of(&self.path, last.real.as_deref().map(Path::new));
            let found = siblings.find(last, self.format, now);
            let parts = siblings.newer(found.as_ref().map(|tail| tail.id), last, &known, self.format, now);
            missed = (found, parts);
            if siblings.are_still_so() {
                break;
            }
        }
        // They were rotated while we watched.
        missed.0.iter_mut().chain(&mut missed.1).for_each(|tail| tail.catchup_end = 0);
        missed
    }

    /// A file was truncated or rewritten in place: what was not read of it stands in a copy, if in anything.
    pub(super) fn begin_again(&mut self, at: usize, others: &dyn Others, now: Instant) {
        let Some(tail) = self.tails.get_mut(at) else { return };
        let (saved, catching_up) = (tail.save(), tail.offset < tail.catchup_end);
        if let Err(error) = tail.begin_again(now) {
            self.problem = Some(trouble(&self.path, &error));
        }
        let (copy, parts) = self.missed(&saved, self.tails.get(at), others, now);
        if let Some(tail) = self.tails.get_mut(at) {
            tail.comes_after(copy.iter().chain(&parts));
        }
        // The copy may have been written over a rotated file that is still open here.
        let over = copy.as_ref().and_then(|copy| self.tails.iter().position(|tail| tail.id == copy.id));
        let (copy, at) = match over {
            Some(over) if self.current != copy.as_ref().map(|copy| copy.id) => {
                self.drop_tail(over);
                (copy, if over < at { at - 1 } else { at })
            }
            Some(_) => (None, at),
            None => (copy, at),
        };
        for (number, mut part) in copy.into_iter().chain(parts).enumerate() {
            if catching_up {
                part.catchup_end = part.size().unwrap_or(0);
            }
            self.tails.insert(at + number, part);
            self.changed = true;
        }
    }
}
