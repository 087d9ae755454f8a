//! What shuts attackers out: nftables, null routes, or nothing at all (dry run).
//!
//! The kernel is a projection of the ledger: an action is told which elements to set and which to remove, can
//! read back what is there, and can take everything of ours away. It runs on its own thread and never decides.
//! To add a kind: one file here and one line in [`KINDS`].

pub mod dryrun;
pub mod nftables;
pub mod nullroute;

#[cfg(test)]
mod contract;

use pillory_core::config::fail2ban::native::{Block, Way};
use pillory_core::event::JailName;
use pillory_core::ledger::projection::is_point;
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::netlink::{KernelWatch, NetlinkError};

pub use pillory_core::ledger::{Change, Element, Installed};

/// A port that a jail limits its bans to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// 6 is TCP, 17 is UDP (IANA protocol numbers).
    pub protocol: u8,
    /// First and last port of the range.
    pub range: (u16, u16),
    /// What becomes of packets to it.
    pub block: Block,
    /// Which packets are looked at.
    pub way: Way,
}

impl Port {
    /// Whatever arrives there is dropped.
    pub fn dropped(protocol: u8, range: (u16, u16)) -> Port {
        Port { protocol, range, block: Block::Drop, way: Way::Arriving }
    }
}

/// Ports that only some may connect to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restriction {
    /// Its name.
    pub name: String,
    /// The ports.
    pub ports: Vec<Port>,
    /// Who may connect; disjoint.
    pub allowed: Vec<Prefix>,
}

/// A way to shut sources out.
pub trait Action: Send {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Makes the frame: table, sets, chain and rules, or whatever there must be before the first ban.
    ///
    /// `ports`: for each jail whose bans may be limited to ports, which ones. Idempotent: what is there and
    /// right stays untouched, elements included. Returns true if something had to be made or mended.
    /// # Errors
    /// [`ActionError`].
    fn prepare(&mut self, ports: &[(JailName, Vec<Port>)]) -> Result<bool, ActionError>;

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

    /// Leaves a TCP port open to the banned, within a rate; holds from the next [`Action::prepare`] on.
    fn exempt(&mut self, _port: Option<u16>) {}

    /// Lets only some connect to some ports, and everybody to all others; established connections stay. All of it
    /// changes at once. Returns true if something had to be changed.
    /// # Errors
    /// [`ActionError`]; [`ActionError::NoPorts`] from a kind that cannot.
    fn restrict(&mut self, wanted: &[Restriction]) -> Result<bool, ActionError> {
        match wanted {
            [] => Ok(false),
            _ => Err(ActionError::NoPorts { action: self.name() }),
        }
    }

    /// How many points (single addresses and IPv6 /64s) are there, if that can be told without listing them.
    /// # Errors
    /// [`ActionError`].
    fn count_points(&mut self) -> Result<Option<usize>, ActionError> {
        Ok(None)
    }

    /// Of these points those that are there, if that can be told without listing all.
    /// # Errors
    /// [`ActionError`].
    fn find(&mut self, _points: &[Element], _now: Timestamp) -> Result<Option<Installed>, ActionError> {
        Ok(None)
    }

    /// Reads back what is there and is no point.
    /// # Errors
    /// [`ActionError`].
    fn networks(&mut self, now: Timestamp) -> Result<Installed, ActionError> {
        let mut installed = self.installed(now)?;
        installed.retain(|element, _| !is_point(element.prefix));
        Ok(installed)
    }

    /// A socket that tells when somebody else changes what is ours; nothing if there is nothing to watch.
    ///
    /// Begins now: verify once after opening it.
    /// # Errors
    /// [`ActionError`].
    fn watch(&self) -> Result<Option<Box<dyn KernelWatch>>, ActionError>;
}

/// One kind of action.
pub struct Kind {
    /// Its name in the configuration, `banaction`.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// True if `auto` may choose it; it takes the first that works.
    pub is_automatic: bool,
    /// True if the kernel ends bans by itself when their time is over.
    pub ends_bans: bool,
    /// True if it can let only some connect to a port.
    pub restricts: bool,
    /// Opens it; changes nothing.
    pub open: fn() -> Result<Box<dyn Action>, ActionError>,
    /// Tries whether this kernel, with our privileges, can do it; leaves nothing behind.
    pub probe: fn() -> Result<(), ActionError>,
}

/// Every kind, the best first.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "nftables",
        about: "drops packets by nftables sets in a table of our own",
        is_automatic: true,
        ends_bans: true,
        restricts: true,
        open: || Ok(Box::new(nftables::Nftables::open()?)),
        probe: nftables::Nftables::probe,
    },
    Kind {
        name: "nullroute",
        about: "lets no reply out, by blackhole routes in the main table",
        is_automatic: true,
        ends_bans: false,
        restricts: false,
        open: || Ok(Box::new(nullroute::NullRoute::open()?)),
        probe: nullroute::NullRoute::probe,
    },
    Kind {
        name: dryrun::NAME,
        about: "enforces nothing and remembers what it would have enforced",
        is_automatic: false,
        ends_bans: true,
        restricts: true,
        open: || Ok(Box::new(dryrun::DryRun::default())),
        probe: || Ok(()),
    },
];

/// The kind of that name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// The first kind that works here, and why the better ones do not.
///
/// Nothing works without `CAP_NET_ADMIN`; then there is no kind.
pub fn best_kind() -> (Option<&'static Kind>, Vec<(&'static Kind, ActionError)>) {
    let mut refused = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.is_automatic) {
        match (kind.probe)() {
            Ok(()) => return (Some(kind), refused),
            Err(error) => refused.push((kind, error)),
        }
    }
    (None, refused)
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
    #[error(
        "cannot add a blackhole route for {prefix}: a route that is not ours is there; remove it, or use nftables"
    )]
    ForeignRoute {
        /// The prefix.
        prefix: Prefix,
    },
    /// What [`Action::prepare`] made is gone: call it again and apply everything.
    #[error(
        "cannot change {target}: it is gone; somebody else deleted it, for instance by flushing the ruleset"
    )]
    Vanished {
        /// What is gone.
        target: String,
        /// The kernel's answer.
        #[source]
        cause: std::io::Error,
    },
    /// A ban is limited to the ports of a jail that [`Action::prepare`] was not told of.
    #[error("cannot ban on the ports of jail {jail}: they are not known; is the jail enabled?")]
    UnknownPorts {
        /// The jail.
        jail: JailName,
    },
    /// Ports shall be restricted by what knows no ports.
    #[error(
        "cannot restrict ports: {action} knows none; set banaction = \"nftables\", or take the [restrict] sections out"
    )]
    NoPorts {
        /// The kind of action.
        action: &'static str,
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

/// The kernel's answer in our words.
pub(crate) fn kernel_error(tried: &'static str, target: &str, error: NetlinkError) -> ActionError {
    use rustix::io::Errno;
    let target = target.to_owned();
    match error.errno() {
        Some(Errno::PERM | Errno::ACCESS) => ActionError::NotPermitted { tried, target },
        Some(Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT) => {
            ActionError::NotSupported { tried, target, cause: error.into_io() }
        }
        _ => ActionError::Kernel { tried, target, cause: error.into_io() },
    }
}
