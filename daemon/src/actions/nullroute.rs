//! Bans as blackhole routes in the main table: the fallback for kernels without nf_tables.
//!
//! A packet from the banned prefix still comes in, but no reply goes out (with strict reverse path filtering
//! it does not even come in). Ours are the routes with protocol number [`PROTOCOL`]; a route of the same prefix
//! with another number is not ours, is never touched, and is an error for whoever wants to ban that prefix, unless
//! ours goes first: in IPv4 it has the smallest metric that there is, in IPv6 the usual one.
//! Routes have no time-outs, so the daemon ends bans. They know no ports either: a ban that is limited to a
//! jail's ports shuts out everything.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd};

use pillory_core::event::{JailName, Scope};
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;
use rustix::io::Errno;

use crate::netlink::encode::Messages;
use crate::netlink::route::{self, Listed, Route};
use crate::netlink::socket::Socket;
use crate::netlink::{CREATE, EXCL, KernelWatch, NetlinkError, REPLACE, Seen};

use super::{Action, ActionError, Change, Element, Installed, Port, kernel_error};

/// The protocol number of our routes, the mark of ownership; `ip route show proto 199` lists them.
///
/// Numbers from 5 on are free for routing daemons; none of those in iproute2's list has this one.
pub const PROTOCOL: u8 = 199;
/// Routes in one `send` where the socket has all the room it wants; less where it has not.
const ROUTES_A_BATCH: usize = 10_000;
/// What a route may cost there: its message, and a refusal of it with the kernel's own overhead.
const BYTES_A_ROUTE: usize = 2048;
const WHAT: &str = "blackhole routes";

/// See the module.
#[derive(Debug)]
pub struct NullRoute {
    socket: Socket,
    /// For which scopes each prefix is banned: one route serves them all. As told, and as last read back.
    told: HashMap<Prefix, BTreeSet<Scope>>,
}

impl NullRoute {
    /// Opens the way to the kernel; changes nothing.
    /// # Errors
    /// [`ActionError`].
    pub fn open() -> Result<NullRoute, ActionError> {
        let socket = Socket::open(None, 0).map_err(|error| kernel_error("open", "routes", error))?;
        Ok(NullRoute { socket, told: HashMap::new() })
    }

    /// With as little room in the socket as somebody without privileges gets.
    #[cfg(test)]
    pub(super) fn open_small() -> Result<NullRoute, ActionError> {
        let this = NullRoute::open()?;
        this.socket.shrink_buffers();
        Ok(this)
    }

    /// Finds out whether we may change routes, by deleting one from a table that is not there.
    /// # Errors
    /// [`ActionError`].
    pub fn probe() -> Result<(), ActionError> {
        const ABSENT_TABLE: u32 = 0xffff_fff0;
        let mut this = NullRoute::open()?;
        let mut batch = this.socket.messages();
        let fixed = route::route_fixed(route::IPV4, 32, 0, PROTOCOL, route::BLACKHOLE);
        batch.message(route::DELETE_ROUTE, 0, &fixed, |a| {
            a.put(route::ROUTE_DESTINATION, &[192, 0, 2, 1]);
            a.ne32(route::ROUTE_TABLE, ABSENT_TABLE);
        });
        let last = batch.acknowledge_last();
        let refusals = this.socket.exchange(&batch, last);
        for refusal in refusals.map_err(|error| kernel_error("change", "routes", error))? {
            if Errno::from_io_error(&refusal.cause) == Some(Errno::PERM) {
                return Err(ActionError::NotPermitted { tried: "change", target: "routes".to_owned() });
            }
        }
        Ok(())
    }

    /// Sends one message for each prefix.
    ///
    /// Returns the prefixes that the kernel refused because of what is there already (or is not).
    fn send(&mut self, operation: Operation, prefixes: &[Prefix]) -> Result<Vec<Prefix>, ActionError> {
        let fail = |error| kernel_error(operation.tried(), WHAT, error);
        let mut refused = Vec::new();
        let room = self.socket.max_send_bytes() / BYTES_A_ROUTE;
        for chunk in prefixes.chunks(room.clamp(1, ROUTES_A_BATCH)) {
            let mut batch = self.socket.messages();
            for prefix in chunk {
                operation.write(&mut batch, *prefix);
            }
            let last = batch.acknowledge_last();
            for refusal in self.socket.exchange(&batch, last).map_err(fail)? {
                let index = refusal.sequence.wrapping_sub(batch.first()) as usize;
                match (Errno::from_io_error(&refusal.cause), chunk.get(index)) {
                    (Some(errno), Some(prefix)) if errno == operation.harmless() => refused.push(*prefix),
                    _ => {
                        let (sequence, cause) = (refusal.sequence, refusal.cause);
                        return Err(fail(NetlinkError::Refused { sequence, cause }));
                    }
                }
            }
        }
        Ok(refused)
    }

    /// Adds routes; those that are there already must be ours, and nobody else's may go first.
    fn add(&mut self, prefixes: &[Prefix]) -> Result<(), ActionError> {
        self.add_ours(prefixes)?;
        if prefixes.iter().all(|prefix| prefix.is_ipv4()) {
            return Ok(());
        }
        let Found { first, .. } = self.read()?;
        match prefixes.iter().find(|prefix| first.contains(prefix)) {
            Some(prefix) => Err(ActionError::ForeignRoute { prefix: *prefix }),
            None => Ok(()),
        }
    }

    fn add_ours(&mut self, prefixes: &[Prefix]) -> Result<(), ActionError> {
        let mut refused = self.send(Operation::Add, prefixes)?;
        if refused.is_empty() {
            return Ok(());
        }
        let ours = self.read()?.ours;
        refused.retain(|prefix| !ours.contains(prefix));
        // One that went away between the two looks is none of ours and nobody else's: once more.
        match self.send(Operation::Add, &refused)?.first() {
            Some(prefix) => Err(ActionError::ForeignRoute { prefix: *prefix }),
            None => Ok(()),
        }
    }

    fn read(&mut self) -> Result<Found, ActionError> {
        let mut there = Found::default();
        let listed =
            route::list_routes(&mut self.socket, &[route::IPV4, route::IPV6], &mut |found| match found {
                Listed::Entry(route) => {
                    let prefix = Prefix::new(route.destination, route.prefix_len).ok();
                    if is_ours(&route) {
                        there.ours.extend(prefix);
                    } else if goes_first(&route) {
                        there.first.extend(prefix);
                    }
                }
                Listed::Restart => there = Found::default(),
            });
        listed.map_err(|error| kernel_error("read", WHAT, error))?;
        Ok(there)
    }
}

/// What the main table holds.
#[derive(Debug, Default)]
struct Found {
    /// Our routes.
    ours: HashSet<Prefix>,
    /// Destinations of others' routes that go before one of ours.
    first: HashSet<Prefix>,
}

/// `IP6_RT_PRIO_USER` of net/ip6_route.h: the metric of a route for which none was asked for, as of ours.
const USUAL_METRIC: u32 = 1024;

/// Whether somebody else's route goes before one of ours of the same prefix.
fn goes_first(route: &Route) -> bool {
    route.table == u32::from(route::MAIN_TABLE) && route.destination.is_ipv6() && route.metric < USUAL_METRIC
}

fn is_ours(route: &Route) -> bool {
    route.protocol == PROTOCOL
        && route.kind == route::BLACKHOLE
        && route.table == u32::from(route::MAIN_TABLE)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    Add,
    Delete,
}

impl Operation {
    fn tried(self) -> &'static str {
        match self {
            Operation::Add => "add",
            Operation::Delete => "delete",
        }
    }

    /// The refusal that says: it is as it shall be, perhaps.
    fn harmless(self) -> Errno {
        match self {
            Operation::Add => Errno::EXIST,
            Operation::Delete => Errno::SRCH,
        }
    }

    fn write(self, batch: &mut Messages, prefix: Prefix) {
        let (kind, flags) = match self {
            Operation::Add => (route::NEW_ROUTE, CREATE | EXCL),
            Operation::Delete => (route::DELETE_ROUTE, 0),
        };
        let family = if prefix.is_ipv4() { route::IPV4 } else { route::IPV6 };
        let fixed =
            route::route_fixed(family, prefix.prefix_len(), route::MAIN_TABLE, PROTOCOL, route::BLACKHOLE);
        batch.message(kind, flags, &fixed, |a| match prefix.addr() {
            std::net::IpAddr::V4(v4) => a.put(route::ROUTE_DESTINATION, &v4.octets()),
            std::net::IpAddr::V6(v6) => a.put(route::ROUTE_DESTINATION, &v6.octets()),
        });
    }
}

impl Action for NullRoute {
    fn name(&self) -> &'static str {
        "nullroute"
    }

    fn prepare(&mut self, _ports: &[(JailName, Vec<Port>)]) -> Result<bool, ActionError> {
        Ok(false)
    }

    fn apply(&mut self, changes: &[Change], now: Timestamp) -> Result<(), ActionError> {
        let mut before: HashMap<Prefix, bool> = HashMap::new();
        for change in changes {
            let (element, is_set) = match change {
                Change::Set(element, end) => (element, !end.is_over(now)),
                Change::Remove(element) => (element, false),
            };
            let known = self.told.contains_key(&element.prefix);
            before.entry(element.prefix).or_insert(known);
            let scopes = self.told.entry(element.prefix).or_default();
            if is_set {
                scopes.insert(element.scope.clone());
            } else {
                scopes.remove(&element.scope);
            }
        }
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        for (prefix, was_known) in before {
            let is_banned = self.told.get(&prefix).is_some_and(|scopes| !scopes.is_empty());
            if !is_banned {
                self.told.remove(&prefix);
                gone.push(prefix);
            } else if !was_known {
                new.push(prefix);
            }
        }
        self.send(Operation::Delete, &gone)?;
        let added = self.add(&new);
        if added.is_err() {
            // Which of them are there is seen when they are read back, or wanted again.
            new.iter().for_each(|prefix| drop(self.told.remove(prefix)));
        }
        added
    }

    fn installed(&mut self, _now: Timestamp) -> Result<Installed, ActionError> {
        let Found { ours, first } = self.read()?;
        let works = |prefix: &Prefix| ours.contains(prefix) && !first.contains(prefix);
        self.told.retain(|prefix, _| works(prefix));
        let mut installed = Installed::new();
        for prefix in ours.iter().copied().filter(works) {
            let scopes = self.told.entry(prefix).or_insert_with(|| BTreeSet::from([Scope::All]));
            installed.extend(scopes.iter().map(|scope| (Element { scope: scope.clone(), prefix }, None)));
        }
        Ok(installed)
    }

    fn remove_all(&mut self) -> Result<usize, ActionError> {
        self.told.clear();
        let ours: Vec<Prefix> = self.read()?.ours.into_iter().collect();
        self.send(Operation::Delete, &ours)?;
        Ok(ours.len())
    }

    fn watch(&self) -> Result<Option<Box<dyn KernelWatch>>, ActionError> {
        let watch = RouteWatch::open(self.socket.port());
        Ok(Some(Box::new(watch.map_err(|error| kernel_error("watch", "routes", error))?)))
    }
}

/// Tells when somebody else touches our routes.
#[derive(Debug)]
pub struct RouteWatch {
    socket: Socket,
    own_port: u32,
}

impl RouteWatch {
    /// Begins to listen. `own_port`: changes made by the socket of that port are not told.
    /// # Errors
    /// [`NetlinkError`].
    pub fn open(own_port: u32) -> Result<RouteWatch, NetlinkError> {
        Ok(RouteWatch { socket: Socket::open(None, route::ROUTE_GROUPS)?, own_port })
    }
}

impl KernelWatch for RouteWatch {
    fn read(&mut self) -> Result<Seen, NetlinkError> {
        let own_port = self.own_port;
        let mut seen = Seen::Nothing;
        let is_complete = self.socket.notices(&mut |message| {
            let is_change = matches!(message.kind, route::NEW_ROUTE | route::DELETE_ROUTE);
            if seen == Seen::Nothing
                && is_change
                && message.port != own_port
                // Who replaces a route is told of the new one only, which is not ours.
                && (message.flags & REPLACE != 0 || route::read_route(message)?.is_some_and(|r| is_ours(&r)))
            {
                seen = Seen::Touched;
            }
            Ok(())
        })?;
        Ok(if is_complete { seen } else { Seen::Lost })
    }
}

impl AsFd for RouteWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests;
