//! Bans as elements of nftables sets, in a table of our own, spoken to by netlink and never by running `nft`.
//!
//! Table `inet pillory`: hash sets with time-outs `ban4`, `ban6`, `ban6n` (whole /64s), interval sets `net4`,
//! `net6` for all other prefixes, and a chain at prerouting, priority raw, that drops what comes from them.
//! Bans of a jail that are limited to its ports live in five sets of its own, `<set>_<jail>`; its rules may reject
//! instead, or stand in a second chain, which sees packets that are passed on (ports behind a DNAT).
//! The kernel ends bans by itself. Whoever finds the table gone gets [`ActionError::Vanished`], calls
//! [`Action::prepare`] and applies everything again.

mod counters;
mod elements;
mod frame;
mod gather;
mod restrict;
mod rule;
mod sets;
mod transaction;
mod watch;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use pillory_core::config::fail2ban::native::{Block, Way};
use pillory_core::event::JailName;
use pillory_core::net::Prefix;
use pillory_core::time::{End, Span, Timestamp};
use rustix::io::Errno;
use rustix::net::netlink::NETFILTER;

use crate::netlink::socket::Socket;
use crate::netlink::{KernelWatch, NetlinkError};

pub use self::counters::{Dropped, dropped};
use self::elements::{Abilities, Contents, Plan, Want, Wanted};
use self::frame::{Frame, Stale, WantedFrame, is_absent, not_found};
use self::gather::{gather, take_part};
use self::sets::SetId;
use self::transaction::Transaction;
pub use self::watch::NftWatch;
use super::{Action, ActionError, Change, Element, Installed, Port, Restriction, kernel_error};

/// Our table, in family inet.
const TABLE: &str = "pillory";
/// A table that is only ever rehearsed, to see what the kernel can do.
const REHEARSED_TABLE: &str = "pillory_rehearsal";
/// For a moment, a set of ours without a rule: shows whether the kernel updates time-outs.
const TRIAL_SET: &str = "trial";
/// How often a plan is made anew if elements end between reading and writing.
const PLAN_TRIES: u32 = 5;

/// See the module.
#[derive(Debug)]
pub struct Nftables {
    socket: Socket,
    abilities: Option<Abilities>,
    jails: Vec<JailName>,
    sets: BTreeSet<SetId>,
    /// A TCP port that bans leave open.
    exempt: Option<u16>,
}

impl Nftables {
    /// Opens the way to the kernel; changes nothing.
    /// # Errors
    /// [`ActionError::NotSupported`] if the kernel has no netfilter netlink.
    pub fn open() -> Result<Nftables, ActionError> {
        let socket = Socket::open(Some(NETFILTER), 0).map_err(|e| kernel_error("open", "nftables", e))?;
        Ok(Nftables { socket, abilities: None, jails: Vec::new(), sets: BTreeSet::new(), exempt: None })
    }

    /// Finds out whether this kernel can do all that we need, by a transaction that cannot succeed.
    /// # Errors
    /// [`ActionError`] with what the kernel lacks, or the privilege that we lack.
    pub fn probe() -> Result<(), ActionError> {
        let ports = vec![Port::dropped(6, (1, 1)), Port::dropped(17, (2, 3))];
        Nftables::open()?.rehearse(ports).map_err(|e| not_supported(kernel_error("use", "nftables", e)))
    }

    fn rehearse(&mut self, ports: Vec<Port>) -> Result<(), NetlinkError> {
        let jail = JailName::new("rehearsal").ok();
        let wanted = WantedFrame::new(&jail.map(|jail| (jail, ports)).into_iter().collect::<Vec<_>>());
        let mut transaction = Transaction::new(&mut self.socket);
        Frame::default().complete(&mut transaction, REHEARSED_TABLE, &wanted, &Stale::default())?;
        transaction.rehearse(|batch| wire::delete_set(batch, REHEARSED_TABLE, "no-such-set"))
    }

    /// The ports as this kernel can treat them: where packets arrive it can reject since Linux 5.9.
    fn possible(&mut self, ports: &[(JailName, Vec<Port>)]) -> Vec<(JailName, Vec<Port>)> {
        let mut ports = ports.to_vec();
        let rejecting = |port: &&mut Port| port.block != Block::Drop;
        let mut all = ports.iter_mut().flat_map(|(_, ports)| ports).filter(rejecting);
        let Some(first) = all.next() else { return ports };
        let tried = self.rehearse(vec![Port { way: Way::Arriving, ..*first }]);
        if let Err(error) = tried {
            tracing::warn!(%error, "this kernel cannot reject packets where they arrive; they are dropped");
            first.block = Block::Drop;
            all.for_each(|port| port.block = Block::Drop);
        }
        ports
    }

    fn abilities(&mut self) -> Result<Abilities, NetlinkError> {
        if let Some(known) = self.abilities {
            return Ok(known);
        }
        let destroys = elements::can_destroy(&mut self.socket, REHEARSED_TABLE)?;
        // Updating came after destroying.
        let updates = destroys && elements::can_update(&mut self.socket, TABLE, TRIAL_SET)?;
        let abilities = Abilities { destroys, updates };
        tracing::debug!(destroys, updates, "what nf_tables can do with elements");
        self.abilities = Some(abilities);
        Ok(abilities)
    }

    fn prepare_frame(&mut self, ports: &[(JailName, Vec<Port>)]) -> Result<bool, NetlinkError> {
        let wanted = WantedFrame { exempt: self.exempt, ..WantedFrame::new(ports) };
        let frame = Frame::read(&mut self.socket, TABLE, &self.jails)?;
        let mended = if frame.is_wrong() {
            self.rebuild(&frame, &wanted)?;
            true
        } else {
            let stale = self.stale_sets(&frame, &wanted)?;
            let mut transaction = Transaction::new(&mut self.socket);
            frame.complete(&mut transaction, TABLE, &wanted, &stale)?;
            let mended = !transaction.is_empty();
            transaction.commit()?;
            mended
        };
        self.sets = Frame::read(&mut self.socket, TABLE, &self.jails)?.sets();
        self.abilities().map(|_| mended)
    }

    /// Replaces a table of the wrong shape by the right one in one transaction; elements move over.
    fn rebuild(&mut self, old: &Frame, wanted: &WantedFrame) -> Result<(), NetlinkError> {
        tracing::warn!(table = TABLE, "the table has the wrong shape and is built anew");
        let mut plans = Vec::new();
        for set in &wanted.sets {
            if old.sets().contains(set) {
                let contents = elements::read_set(&mut self.socket, TABLE, set)?;
                plans.push(elements::plan_copy(set, &contents));
            }
        }
        let mut transaction = Transaction::new(&mut self.socket);
        transaction.write(|batch| wire::delete_table(batch, TABLE))?;
        Frame::default().complete(&mut transaction, TABLE, wanted, &Stale::default())?;
        elements::write(&plans, TABLE, &mut transaction)?;
        transaction.commit()
    }

    fn stale_sets(&mut self, frame: &Frame, wanted: &WantedFrame) -> Result<Stale, NetlinkError> {
        let mut stale = Stale::default();
        for set in frame.sets() {
            if !wanted.sets.contains(&set) {
                let is_empty = elements::read_set(&mut self.socket, TABLE, &set)?.is_empty();
                if is_empty { &mut stale.emptied } else { &mut stale.kept }.push(set);
            }
        }
        Ok(stale)
    }

    /// Reads which sets there are, if one of these is not known to be there.
    ///
    /// What shall be removed from a set that is not there is taken off the list.
    fn find_sets(&mut self, wanted: &mut BTreeMap<SetId, Wanted>) -> Result<(), ActionError> {
        if wanted.keys().all(|set| self.sets.contains(set)) {
            return Ok(());
        }
        let frame = Frame::read(&mut self.socket, TABLE, &self.jails).map_err(read_error)?;
        self.sets = frame.sets();
        for (set, elements) in wanted.iter_mut().filter(|(set, _)| !self.sets.contains(*set)) {
            elements.retain(|_, want| *want != Want::Absent);
            let known = set.jail.as_ref().is_none_or(|jail| self.jails.contains(jail));
            match &set.jail {
                _ if elements.is_empty() => {}
                Some(jail) if frame.exists() && !known => {
                    return Err(ActionError::UnknownPorts { jail: jail.clone() });
                }
                _ => return Err(vanished(&format!("set {set}"))),
            }
        }
        wanted.retain(|_, elements| !elements.is_empty());
        Ok(())
    }

    fn change(&mut self, wanted: &BTreeMap<SetId, Wanted>) -> Result<(), NetlinkError> {
        let abilities = self.abilities()?;
        let mut plans = Vec::with_capacity(wanted.len());
        for (set, wanted) in wanted {
            plans.push(if set.kind.is_interval() {
                self.plan_by_contents(set, wanted, abilities)?
            } else {
                elements::plan_blindly(set, wanted, abilities)
            });
        }
        let mut outcome = self.send(&plans);
        if abilities.destroys {
            return outcome;
        }
        for _ in 0..PLAN_TRIES {
            match outcome.as_ref().err().and_then(NetlinkError::errno) {
                Some(Errno::NOENT | Errno::EXIST) => {}
                _ => return outcome,
            }
            plans.clear();
            for (set, wanted) in wanted {
                plans.push(self.plan_by_contents(set, wanted, abilities)?);
            }
            outcome = self.send(&plans);
        }
        outcome
    }

    fn plan_by_contents(
        &mut self,
        set: &SetId,
        wanted: &Wanted,
        abilities: Abilities,
    ) -> Result<Plan, NetlinkError> {
        let contents = elements::read_set(&mut self.socket, TABLE, set)?;
        Ok(elements::plan_exactly(set, wanted, &contents, abilities))
    }

    fn send(&mut self, plans: &[Plan]) -> Result<(), NetlinkError> {
        let mut transaction = Transaction::new(&mut self.socket);
        elements::write(plans, TABLE, &mut transaction)?;
        transaction.commit()
    }

    /// Reads all sets, or those of networks.
    fn read(&mut self, all: bool, now: Timestamp) -> Result<Installed, NetlinkError> {
        self.sets = Frame::read(&mut self.socket, TABLE, &self.jails)?.sets();
        let mut installed = Installed::new();
        for set in self.sets.iter().filter(|set| all || set.kind.is_interval()) {
            let contents = elements::read_set(&mut self.socket, TABLE, set)?;
            installed.extend(in_daemons_words(set, contents, now));
        }
        Ok(installed)
    }
}

/// What a set holds as elements with their ends.
fn in_daemons_words(
    set: &SetId,
    contents: Contents,
    now: Timestamp,
) -> impl Iterator<Item = (Element, Option<End>)> {
    let scope = set.scope();
    contents.into_iter().map(move |(prefix, left_ms)| {
        let end = left_ms.map_or(End::Never, |ms| End::At(now + Span::from_millis(ms)));
        (Element { scope: scope.clone(), prefix }, Some(end))
    })
}

impl Action for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn prepare(&mut self, ports: &[(JailName, Vec<Port>)]) -> Result<bool, ActionError> {
        self.jails = ports.iter().map(|(jail, _)| jail.clone()).collect();
        let ports = self.possible(ports);
        let prepared = self.prepare_frame(&ports);
        prepared.map_err(|error| kernel_error("prepare", "nftables table inet pillory", error))
    }

    fn apply(&mut self, changes: &[Change], now: Timestamp) -> Result<(), ActionError> {
        let mut wanted = gather(changes, now);
        self.find_sets(&mut wanted)?;
        if wanted.is_empty() {
            return Ok(());
        }
        let parts = std::iter::from_fn(|| take_part(&mut wanted));
        let outcome = { parts }.try_for_each(|part| self.change(&part));
        let Err(error) = outcome.and_then(|()| self.change(&wanted)) else { return Ok(()) };
        if is_absent(&error) {
            // Not an element, so it is a set, or the whole table.
            self.sets.clear();
            return Err(vanished("table inet pillory"));
        }
        Err(kernel_error("change", "nftables table inet pillory", error))
    }

    fn installed(&mut self, now: Timestamp) -> Result<Installed, ActionError> {
        self.read(true, now).map_err(read_error)
    }

    fn networks(&mut self, now: Timestamp) -> Result<Installed, ActionError> {
        self.read(false, now).map_err(read_error)
    }

    fn find(&mut self, points: &[Element], now: Timestamp) -> Result<Option<Installed>, ActionError> {
        let mut by_set: BTreeMap<SetId, Vec<Prefix>> = BTreeMap::new();
        for point in points {
            by_set.entry(SetId::of(point)).or_default().push(point.prefix);
        }
        let mut found = Installed::new();
        for (set, prefixes) in by_set {
            let contents = elements::find(&mut self.socket, TABLE, &set, &prefixes).map_err(read_error)?;
            found.extend(in_daemons_words(&set, contents, now));
        }
        Ok(Some(found))
    }

    fn exempt(&mut self, port: Option<u16>) {
        self.exempt = port;
    }

    fn restrict(&mut self, wanted: &[Restriction]) -> Result<bool, ActionError> {
        let brought = restrict::bring(&mut self.socket, TABLE, wanted);
        brought.map_err(|error| match is_absent(&error) {
            true => vanished("table inet pillory"),
            false => kernel_error("restrict ports in", "nftables table inet pillory", error),
        })
    }

    fn count_points(&mut self) -> Result<Option<usize>, ActionError> {
        let mut total = 0;
        for set in self.sets.clone().iter().filter(|set| !set.kind.is_interval()) {
            match elements::read_count(&mut self.socket, TABLE, set).map_err(read_error)? {
                Some(count) => total += count,
                None => return Ok(None),
            }
        }
        Ok(Some(total))
    }

    fn remove_all(&mut self) -> Result<usize, ActionError> {
        // Whatever hinders counting does not hinder lifting.
        let count = self.read(true, Timestamp::default()).map_or(0, |all| all.len());
        self.sets.clear();
        let mut transaction = Transaction::new(&mut self.socket);
        let outcome =
            transaction.write(|batch| wire::delete_table(batch, TABLE)).and_then(|()| transaction.commit());
        match outcome {
            Err(error) if is_absent(&error) => Ok(0),
            Err(error) => Err(kernel_error("delete", "nftables table inet pillory", error)),
            Ok(()) => Ok(count),
        }
    }

    fn watch(&self) -> Result<Option<Box<dyn KernelWatch>>, ActionError> {
        let watch = NftWatch::open(TABLE, self.socket.port());
        let watch = watch.map_err(|error| kernel_error("watch", "nftables", error))?;
        Ok(Some(Box::new(watch)))
    }
}

fn read_error(error: NetlinkError) -> ActionError {
    kernel_error("read", "nftables table inet pillory", error)
}

fn vanished(what: &str) -> ActionError {
    ActionError::Vanished { target: format!("nftables {what}"), cause: not_found() }
}

/// Kernels without some part of nf_tables answer in many ways; in a rehearsal all of them mean the same.
fn not_supported(error: ActionError) -> ActionError {
    match error {
        ActionError::Kernel { tried, target, cause } => ActionError::NotSupported { tried, target, cause },
        other => other,
    }
}

/// For fuzzing: reads one message as everything that is asked for.
#[cfg(any(test, fuzzing))]
pub(crate) fn whatever(message: &crate::netlink::decode::Message<'_>) {
    frame::whatever(message);
    elements::whatever(message);
    drop(counters::counted(message));
}
