//! What shuts attackers out: nftables, null routes, or nothing at all (dry run).
//!
//! The kernel is a projection of the ledger: an action is told which elements to set and which to remove, can
//! read back what is there, and can take everything of ours away. It runs on its own thread and never decides.
//! To add a kind: one file here and one line in [`KINDS`].

use std::collections::HashMap;

use pillory_core::event::Scope;
use pillory_core::net::Prefix;
use pillory_core::time::{End, Timestamp};

/// One element of the projection: this prefix, shut out in this scope.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// Which traffic.
    pub scope: Scope,
    /// Whose.
    pub prefix: Prefix,
}

/// One change to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The element shall be there until `End`; sets the end anew if it is there already.
    Set(Element, End),
    /// The element shall not be there; it is no error if it is not.
    Remove(Element),
}

/// What the kernel holds of ours: each element with its end, as far as the kernel knows ends.
pub type Installed = HashMap<Element, Option<End>>;

/// A port that a jail limits its bans to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// 6 is TCP, 17 is UDP (IANA protocol numbers).
    pub protocol: u8,
    /// First and last port of the range.
    pub range: (u16, u16),
}

/// A way to shut sources out.
pub trait Action: Send {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Makes the frame: table, sets, chain and rules, or whatever there must be before the first ban.
    ///
    /// `ports`: for each jail whose bans may be limited to ports, which ones. Idempotent: what is there and
    /// right stays untouched, elements included.
    /// # Errors
    /// [`ActionError`].
    fn prepare(&mut self, ports: &[(pillory_core::event::JailName, Vec<Port>)]) -> Result<(), ActionError>;

    /// Applies all changes, in order of prefixes' appearance; all or, on error, an unknown part of them.
    ///
    /// `now`: ends become time-outs relative to it; an end that is over removes.
    /// # Errors
    /// [`ActionError`].
    fn apply(&mut self, changes: &[Change], now: Timestamp) -> Result<(), ActionError>;

    /// Reads back what is there. A complete answer or an error, never a part.
    /// # Errors
    /// [`ActionError`].
    fn installed(&mut self, now: Timestamp) -> Result<Installed, ActionError>;

    /// Takes away everything of ours; it is no error if nothing is there.
    ///
    /// Returns how many elements were there.
    /// # Errors
    /// [`ActionError`].
    fn remove_all(&mut self) -> Result<usize, ActionError>;

    /// True if the kernel itself ends bans in time; otherwise the daemon removes them.
    fn ends_bans_itself(&self) -> bool;
}

/// Why the kernel could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// The kernel refused for want of a privilege.
    #[error("cannot {tried} {target}: operation not permitted; CAP_NET_ADMIN is missing, run it as root")]
    NotPermitted {
        /// What was tried: `add`, `read`.
        tried: &'static str,
        /// On what.
        target: String,
    },
    /// The kernel has no such facility.
    #[error("cannot {tried} {target}: this kernel does not offer it ({cause}); choose another banaction")]
    NotSupported {
        /// What was tried.
        tried: &'static str,
        /// On what.
        target: String,
        /// The kernel's answer.
        #[source]
        cause: std::io::Error,
    },
    /// A route of the same prefix exists that is not ours.
    #[error("cannot add a blackhole route for {prefix}: a route that is not ours is there; remove it, or use nftables")]
    ForeignRoute {
        /// The prefix.
        prefix: Prefix,
    },
    /// Any other answer.
    #[error("cannot {tried} {target}: {cause}")]
    Kernel {
        /// What was tried.
        tried: &'static str,
        /// On what.
        target: String,
        /// The kernel's answer.
        #[source]
        cause: std::io::Error,
    },
}
