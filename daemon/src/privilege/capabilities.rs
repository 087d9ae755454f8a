//! Capabilities, which Linux keeps for each thread.

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use tracing::warn;

/// What threads other than the kernel's keep, if the daemon was given it: files of others. A daemon with its own user
/// has neither.
const KEPT: CapabilitySet = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::DAC_OVERRIDE);

/// Takes from the calling thread, and from those that it starts later, every capability but [`KEPT`].
pub(crate) fn shed() {
    let shed = || {
        let now = capabilities(None)?;
        let new = CapabilitySets {
            effective: now.effective & KEPT,
            permitted: now.permitted & KEPT,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, new)
    };
    if let Err(error) = shed() {
        warn!(%error, "a thread cannot give up its capabilities");
    }
}
