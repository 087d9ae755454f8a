//! Reading sets completely, and planning the messages that change them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use pillory_core::net::{Prefix, PrefixSet};
use rustix::io::Errno;

use crate::netlink::decode::{Attribute, Message, addr};
use crate::netlink::socket::{Dump, Socket};
use crate::netlink::{ACK, CREATE, EXCL, NetlinkError};

use super::sets::{SetId, SetKind, end_key, intervals, start_key};
use super::transaction::Transaction;
use super::wire::{self, ElementEntry, attribute, kind};

/// At most so many elements in one message: the length of the attribute around them has 16 bits.
const ELEMENTS_A_MESSAGE: usize = 500;
/// So many are looked up by one message: each answer takes a page of the socket's room.
const FOUND_AT_ONCE: usize = 64;
/// Expired elements are counted until the kernel's clean-up, every second, has met them; so reading goes on
/// for longer than that (the waits below add up to 3.5 s) before a set counts as unreadable.
const READ_TRIES: u32 = 30;
const MAX_WAIT_MS: u64 = 150;
/// Elements whose time-out is less than one tick of the kernel's clock (10 ms at 100 Hz) would never end.
const MIN_TIMEOUT_MS: u64 = 20;
/// A hundred years; the kernel's own limit is above.
const MAX_TIMEOUT_MS: u64 = 100 * 366 * 86_400_000;

/// What a set holds: each prefix, and what is left of its time in milliseconds, if it has an end.
pub(super) type Contents = HashMap<Prefix, Option<u64>>;

/// What elements of one set shall become.
pub(super) type Wanted = HashMap<Prefix, Want>;

/// What one element shall become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Not there.
    Absent,
    /// There, for so many milliseconds or without an end.
    Present(Option<u64>),
}

impl Want {
    /// There for so long, as a time-out that every kernel takes and ends.
    pub(super) fn present(left_ms: Option<u64>) -> Want {
        Want::Present(left_ms.map(|ms| ms.clamp(MIN_TIMEOUT_MS, MAX_TIMEOUT_MS)))
    }
}

/// Reads one set until it is complete: a list taken while the kernel rebuilds its hash table lacks elements,
/// and nothing in it says so.
/// # Errors
/// [`NetlinkError`]; an answer that stays incomplete is [`NetlinkError::Unsteady`].
pub(super) fn read_set(socket: &mut Socket, table: &str, set: &SetId) -> Result<Contents, NetlinkError> {
    if set.kind.is_interval() {
        // A tree under a lock: a list of it is complete, or it is marked as interrupted.
        return dump_intervals(socket, table, (&set.to_string(), set.kind.is_ipv4()));
    }
    let mut all = Contents::new();
    let mut last_total = None;
    for n in 0..READ_TRIES {
        let contents = dump_hashed(socket, table, set)?;
        let count = read_count(socket, table, set)?;
        if count.is_some_and(|count| contents.len() >= count) {
            return Ok(contents);
        }
        all.extend(contents);
        let is_complete = match count {
            Some(count) => all.len() >= count,
            // Kernels that do not count: what two lists in a row add nothing to is complete.
            None => last_total == Some(all.len()),
        };
        if is_complete {
            return Ok(all);
        }
        last_total = Some(all.len());
        std::thread::sleep(Duration::from_millis((1 << n.min(10)).min(MAX_WAIT_MS)));
    }
    Err(NetlinkError::Unsteady { tries: READ_TRIES })
}

/// How many elements the kernel counts in a set; nothing if it does not tell. Source: the kernel's patch that adds
/// NFTA_SET_COUNT is of April 2025, so Linux 6.16 or so has it first.
pub(super) fn read_count(
    socket: &mut Socket,
    table: &str,
    set: &SetId,
) -> Result<Option<usize>, NetlinkError> {
    let mut request = socket.messages();
    request.message(kind::GET_SET, ACK, &wire::fixed(wire::INET), |a| {
        a.text(attribute::TABLE, table);
        a.text(attribute::SET_NAME, &set.to_string());
    });
    let mut count = None;
    socket.ask(&request, &mut |message| {
        for found in message.split(wire::FIXED_BYTES)?.1 {
            let found = found?;
            if found.kind == attribute::SET_COUNT {
                count = Some(found.be32()? as usize);
            }
        }
        Ok(())
    })?;
    Ok(count)
}

/// Of these prefixes those that a hash set holds.
/// # Errors
/// [`NetlinkError`].
pub(super) fn find(
    socket: &mut Socket,
    table: &str,
    set: &SetId,
    prefixes: &[Prefix],
) -> Result<Contents, NetlinkError> {
    let name = set.to_string();
    let (mut contents, mut rest) = (Contents::new(), prefixes);
    while !rest.is_empty() {
        let asked = rest.get(..FOUND_AT_ONCE).unwrap_or(rest);
        let entries: Vec<ElementEntry> = asked.iter().map(|prefix| entry(set.kind, *prefix, None)).collect();
        let mut request = socket.messages();
        wire::elements(&mut request, (kind::GET_ELEMENT, ACK), (table, &name), &entries);
        let mut answers = 0;
        let outcome = socket.ask(&request, &mut |message| {
            each_element(message, &mut |found| {
                answers += 1;
                let prefix = set.kind.prefix_of_key(found.key);
                contents.extend(prefix.map(|prefix| (prefix, found.left_ms)));
            })
        });
        let done = match outcome {
            // The kernel answers in order and stops at the first that is not there: on behind that one.
            Err(error) if error.errno() == Some(Errno::NOENT) => answers + 1,
            outcome => outcome.map(|()| asked.len())?,
        };
        rest = rest.get(done..).unwrap_or_default();
    }
    Ok(contents)
}

fn dump_hashed(socket: &mut Socket, table: &str, set: &SetId) -> Result<Contents, NetlinkError> {
    let mut contents = Contents::new();
    dump(socket, table, &set.to_string(), &mut |found| {
        if let Some(element) = found {
            let prefix = set.kind.prefix_of_key(element.key);
            contents.extend(prefix.map(|prefix| (prefix, element.left_ms)));
        } else {
            contents.clear();
        }
    })?;
    Ok(contents)
}

/// Reads an interval set of that name.
/// # Errors
/// [`NetlinkError`].
pub(super) fn dump_intervals(
    socket: &mut Socket,
    table: &str,
    (set, is_ipv4): (&str, bool),
) -> Result<Contents, NetlinkError> {
    let mut keys: Vec<(IpAddr, Option<Option<u64>>)> = Vec::new();
    dump(socket, table, set, &mut |found| {
        if let Some(element) = found {
            let key = addr(element.key).filter(|addr| addr.is_ipv4() == is_ipv4);
            keys.extend(key.map(|addr| (addr, (!element.is_end).then_some(element.left_ms))));
        } else {
            keys.clear();
        }
    })?;
    Ok(intervals(keys).into_iter().collect())
}

/// One element as listed.
struct Listed<'a> {
    key: &'a [u8],
    left_ms: Option<u64>,
    is_end: bool,
}

/// Lists a set; `each` is called with every element, and with nothing when the list begins anew.
fn dump(
    socket: &mut Socket,
    table: &str,
    name: &str,
    each: &mut dyn FnMut(Option<Listed<'_>>),
) -> Result<(), NetlinkError> {
    let request = Dump {
        kind: kind::GET_ELEMENT,
        fixed: &wire::fixed(wire::INET),
        body: &|a| {
            a.text(attribute::TABLE, table);
            a.text(attribute::ELEMENTS_SET, name);
        },
    };
    let each = std::cell::RefCell::new(each);
    socket.dump(
        &request,
        &mut |message| {
            let mut each = each.borrow_mut();
            each_element(message, &mut |element| each(Some(element)))
        },
        &mut || each.borrow_mut()(None),
    )
}

fn each_element(message: &Message<'_>, each: &mut dyn FnMut(Listed<'_>)) -> Result<(), NetlinkError> {
    for found in message.split(wire::FIXED_BYTES)?.1 {
        let found = found?;
        if found.kind == attribute::ELEMENTS {
            for entry in found.nested() {
                each(read_element(&entry?)?);
            }
        }
    }
    Ok(())
}

fn read_element<'a>(entry: &Attribute<'a>) -> Result<Listed<'a>, NetlinkError> {
    let mut element = Listed { key: &[], left_ms: None, is_end: false };
    for found in entry.nested() {
        let found = found?;
        match found.kind {
            attribute::ELEMENT_KEY => {
                for value in found.nested() {
                    element.key = value?.value;
                }
            }
            attribute::ELEMENT_FLAGS => element.is_end = found.be32()? & wire::ELEMENT_INTERVAL_END != 0,
            attribute::ELEMENT_EXPIRATION => element.left_ms = Some(found.be64()?),
            _ => {}
        }
    }
    Ok(element)
}

/// For fuzzing: reads one message as elements of each kind of set.
#[cfg(any(test, fuzzing))]
pub(super) fn whatever(message: &Message<'_>) {
    let mut keys = [Vec::new(), Vec::new()];
    let read = each_element(message, &mut |element| {
        for kind in SetKind::ALL {
            let _: Option<Prefix> = kind.prefix_of_key(element.key);
        }
        if let Some(key) = addr(element.key) {
            keys[usize::from(key.is_ipv4())].push((key, (!element.is_end).then_some(element.left_ms)));
        }
    });
    drop(read);
    for keys in keys {
        let most = keys.len() * 256;
        assert!(intervals(keys).len() <= most, "a range is at most 254 prefixes");
    }
}

/// What the kernel can do with elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// It takes away an element that may be absent (since Linux 6.3).
    pub(super) destroys: bool,
    /// Adding an element that is there sets its time-out anew (since Linux 6.12).
    pub(super) updates: bool,
}

/// How an element is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// It may be absent.
    Destroy,
    /// It must be there.
    Delete,
}

/// The messages for one set: what goes first, then what comes.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    set: String,
    removal: Removal,
    removed: Vec<ElementEntry>,
    /// Adding fails if the element is there already.
    exclusive: bool,
    added: Vec<ElementEntry>,
}

/// Plans for a hash set without knowing what it holds.
///
/// Where the kernel cannot destroy, the plan is a guess (all that shall go is there, nothing that shall come
/// is); the kernel refuses it as a whole if it is wrong, and [`plan_exactly`] follows.
pub(super) fn plan_blindly(set: &SetId, wanted: &Wanted, abilities: Abilities) -> Plan {
    let mut plan = Plan::empty(set);
    plan.removal = if abilities.destroys { Removal::Destroy } else { Removal::Delete };
    plan.exclusive = !abilities.destroys;
    for (prefix, want) in wanted {
        match want {
            Want::Absent => plan.remove(set.kind, *prefix),
            Want::Present(left_ms) => {
                if abilities.destroys && !abilities.updates {
                    plan.remove(set.kind, *prefix);
                }
                plan.add(set.kind, *prefix, *left_ms);
            }
        }
    }
    plan
}

/// Plans for a set of which the contents are known; works on every kernel.
pub(super) fn plan_exactly(set: &SetId, wanted: &Wanted, contents: &Contents, abilities: Abilities) -> Plan {
    let mut plan = Plan::empty(set);
    let coming = PrefixSet::new(wanted.iter().filter(|(_, want)| **want != Want::Absent).map(|(p, _)| *p));
    for prefix in contents.keys() {
        let goes = match wanted.get(prefix) {
            Some(Want::Absent) => true,
            Some(Want::Present(_)) => !abilities.updates,
            // Somebody else's, or a leftover: intervals must not overlap, and the wanted one is right.
            None => set.kind.is_interval() && coming.overlaps(*prefix),
        };
        if goes {
            plan.remove(set.kind, *prefix);
        }
    }
    for (prefix, want) in wanted {
        if let Want::Present(left_ms) = want {
            plan.add(set.kind, *prefix, *left_ms);
        }
    }
    plan
}

impl Plan {
    /// Puts these into a new set of that name and shape.
    pub(super) fn filling<'a>(
        set: &str,
        kind: SetKind,
        prefixes: impl IntoIterator<Item = &'a Prefix>,
    ) -> Plan {
        let mut plan = Plan::empty(&SetId { kind, jail: None });
        set.clone_into(&mut plan.set);
        prefixes.into_iter().for_each(|prefix| plan.add(kind, *prefix, None));
        plan
    }

    fn empty(set: &SetId) -> Plan {
        Plan {
            set: set.to_string(),
            removal: Removal::Delete,
            removed: Vec::new(),
            exclusive: false,
            added: Vec::new(),
        }
    }

    fn remove(&mut self, kind: SetKind, prefix: Prefix) {
        self.removed.push(entry(kind, prefix, None));
    }

    fn add(&mut self, kind: SetKind, prefix: Prefix, left_ms: Option<u64>) {
        self.added.push(entry(kind, prefix, left_ms));
    }
}

fn entry(kind: SetKind, prefix: Prefix, timeout_ms: Option<u64>) -> ElementEntry {
    let end = if kind.is_interval() { end_key(prefix) } else { None };
    ElementEntry { start: start_key(prefix), end, timeout_ms }
}

/// Writes the plans: first everything that goes, then everything that comes.
/// # Errors
/// [`NetlinkError`] if a transaction had to be sent meanwhile and failed.
pub(super) fn write(
    plans: &[Plan],
    table: &str,
    transaction: &mut Transaction<'_>,
) -> Result<(), NetlinkError> {
    for plan in plans {
        let operation = match plan.removal {
            Removal::Destroy => (kind::DESTROY_ELEMENT, 0),
            Removal::Delete => (kind::DELETE_ELEMENT, 0),
        };
        for entries in plan.removed.chunks(ELEMENTS_A_MESSAGE) {
            transaction.write(|batch| wire::elements(batch, operation, (table, &plan.set), entries))?;
        }
    }
    for plan in plans {
        let operation = (kind::NEW_ELEMENT, if plan.exclusive { CREATE | EXCL } else { CREATE });
        for entries in plan.added.chunks(ELEMENTS_A_MESSAGE) {
            transaction.write(|batch| wire::elements(batch, operation, (table, &plan.set), entries))?;
        }
    }
    Ok(())
}

/// Plans for a new, empty set what another one held.
pub(super) fn plan_copy(set: &SetId, contents: &Contents) -> Plan {
    let mut plan = Plan::empty(set);
    for (prefix, left_ms) in contents {
        if let Want::Present(left_ms) = Want::present(*left_ms) {
            plan.add(set.kind, *prefix, left_ms);
        }
    }
    plan
}

/// Finds out whether the kernel knows the message that destroys, by sending it for a table that is not there.
/// # Errors
/// [`NetlinkError`].
pub(super) fn can_destroy(socket: &mut Socket, absent_table: &str) -> Result<bool, NetlinkError> {
    let mut transaction = Transaction::new(socket);
    transaction.write(|batch| {
        let operation = (kind::DESTROY_ELEMENT, 0);
        wire::elements(batch, operation, (absent_table, SetKind::Ban4.name()), &[])
    })?;
    match transaction.commit() {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(true),
        // "Unknown message" in the words of nfnetlink.
        Err(error) if matches!(error.errno(), Some(Errno::INVAL | Errno::OPNOTSUPP)) => Ok(false),
        Err(error) => Err(error),
        Ok(()) => Ok(true),
    }
}

/// Finds out whether adding an element that is there sets its time-out anew, with and from none as well.
///
/// `trial_set`: made in `table` without a rule, so that it touches no packet, and taken away again.
/// # Errors
/// [`NetlinkError`].
pub(super) fn can_update(socket: &mut Socket, table: &str, trial_set: &str) -> Result<bool, NetlinkError> {
    const SHORT_MS: u64 = 60_000;
    const LONG_MS: u64 = 6_000_000;
    let trial = SetId { kind: SetKind::Ban4, jail: None };
    let prefixes: Vec<Prefix> = (1..=3).map(|n| Prefix::host(IpAddr::from([192, 0, 2, n]))).collect();
    let rounds = [[Some(SHORT_MS), Some(SHORT_MS), None], [Some(LONG_MS), None, Some(LONG_MS)]];
    for (n, round) in rounds.iter().enumerate() {
        let mut transaction = Transaction::new(socket);
        if n == 0 {
            transaction.write(|batch| wire::new_named_set(batch, table, (trial_set, 1), trial.kind))?;
        }
        let mut plan = Plan::empty(&trial);
        plan.set = trial_set.to_owned();
        for (prefix, left_ms) in prefixes.iter().zip(round) {
            plan.add(trial.kind, *prefix, *left_ms);
        }
        write(&[plan], table, &mut transaction)?;
        transaction.commit()?;
    }
    let mut contents = Contents::new();
    let listed = dump(socket, table, trial_set, &mut |found| {
        contents.extend(found.and_then(|e| trial.kind.prefix_of_key(e.key).map(|p| (p, e.left_ms))));
    });
    let mut transaction = Transaction::new(socket);
    transaction.write(|batch| wire::delete_set(batch, table, trial_set))?;
    transaction.commit()?;
    listed?;
    let left: Vec<Option<u64>> = prefixes.iter().filter_map(|p| contents.get(p).copied()).collect();
    let is_long = |left: &Option<u64>| left.is_some_and(|ms| ms > SHORT_MS);
    Ok(matches!(&left[..], [first, None, third] if is_long(first) && is_long(third)))
}
