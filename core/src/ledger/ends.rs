//! Which ban ends first: a heap of the numbers of bans, each of which knows its place in it.
//!
//! Of those that end together the lower prefix is first, so that the same input gives the same order.

use crate::net::Prefix;
use crate::table::slab::Slab;
use crate::time::{End, Timestamp};

use super::kept::{Kept, NONE};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ends {
    heap: Vec<u32>,
}

/// What is compared.
fn rank(bans: &Slab<Kept>, number: u32) -> (End, Prefix) {
    let ban = bans.of(number);
    (ban.until(), ban.prefix)
}

impl Ends {
    /// The ban that ends first.
    pub(super) fn first(&self) -> Option<u32> {
        self.heap.first().copied()
    }

    /// The same with its end.
    pub(super) fn first_end(&self, bans: &Slab<Kept>) -> Option<(Timestamp, Prefix)> {
        let (end, prefix) = rank(bans, self.first()?);
        Some((end.timestamp()?, prefix))
    }

    /// Notes a ban that has an end.
    pub(super) fn add(&mut self, bans: &mut Slab<Kept>, number: u32) {
        self.heap.push(number);
        self.rise(bans, self.heap.len() - 1);
    }

    /// Forgets a ban, if it is noted.
    pub(super) fn remove(&mut self, bans: &mut Slab<Kept>, number: u32) {
        let at = bans.of(number).at;
        if at == NONE {
            return;
        }
        bans.of_mut(number).at = NONE;
        let at = at as usize;
        let last = self.heap.pop();
        if let Some(last) = last.filter(|last| *last != number) {
            self.heap[at] = last;
            self.rise(bans, at);
            self.sink(bans, bans.of(last).at as usize);
        }
    }

    /// Lets the ban at a place rise until none below it ends later.
    fn rise(&mut self, bans: &mut Slab<Kept>, mut at: usize) {
        let number = self.heap[at];
        let ours = rank(bans, number);
        while let Some(above) = at.checked_sub(1).map(|before| before / 2) {
            if rank(bans, self.heap[above]) <= ours {
                break;
            }
            self.put(bans, at, self.heap[above]);
            at = above;
        }
        self.put(bans, at, number);
    }

    /// Lets it sink until none above it ends later.
    fn sink(&mut self, bans: &mut Slab<Kept>, mut at: usize) {
        let number = self.heap[at];
        let ours = rank(bans, number);
        loop {
            let below = [2 * at + 1, 2 * at + 2].into_iter().filter(|below| *below < self.heap.len());
            let Some(least) = below.min_by_key(|below| rank(bans, self.heap[*below])) else { break };
            if ours <= rank(bans, self.heap[least]) {
                break;
            }
            self.put(bans, at, self.heap[least]);
            at = least;
        }
        self.put(bans, at, number);
    }

    fn put(&mut self, bans: &mut Slab<Kept>, at: usize, number: u32) {
        self.heap[at] = number;
        bans.of_mut(number).at = at as u32;
    }
}
