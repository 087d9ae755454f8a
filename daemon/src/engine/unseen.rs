//! The look at each point that the kernel shall hold, after a start that has counted them only. A few hundred are looked
//! up at a time, so that no ban waits for it; what is found to lack is healed as ever.

use tracing::info;

use pillory_core::ledger::{Element, Installed};
use pillory_core::net::Prefix;

use crate::clock;
use crate::kernel::Job;

use super::Engine;

/// Some 1 ms of the kernel's thread.
const AT_ONCE: usize = 512;

impl Engine {
    /// Notes that a start has not looked at each point.
    pub(crate) fn begin_unseen(&mut self, is_unseen: bool) {
        if is_unseen {
            self.unseen = self.machine.projection().point_prefixes();
        }
    }

    /// Looks up the next points, if some are yet to be.
    pub(super) fn look_up(&mut self) {
        let rest = self.unseen.len().saturating_sub(AT_ONCE);
        let next: Vec<Prefix> = self.unseen.drain(rest..).collect();
        let projection = self.machine.projection();
        let points: Vec<Element> =
            next.into_iter().flat_map(|prefix| projection.elements_of(prefix)).collect();
        if !points.is_empty() {
            self.tell_kernel(Job::Find(points));
        }
    }

    /// Of `points` the kernel holds those that were found. Where that is not all, everything is read.
    pub(super) fn found(&mut self, points: &[Element], found: Option<&Installed>) {
        let now = clock::now();
        let whole = |found| self.machine.projection().reconcile_some(points.iter(), found, now).is_empty();
        if !found.is_some_and(whole) {
            self.unseen = Vec::new();
            self.tell_kernel(Job::Prepare(self.readers.ports.clone()));
        } else if self.unseen.is_empty() {
            // Nothing lacks; whether something is too much is told by their number.
            self.unseen = Vec::new();
            self.tell_kernel(Job::Verify(self.machine.projection().points()));
            info!("each ban was found in the kernel");
        } else {
            self.look_up();
        }
    }
}
