//! The frame: table, sets, chain and rules. Reads what is there, and plans what is missing or wrong.

mod read;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use pillory_core::event::JailName;
use rustix::io::Errno;

use crate::actions::Port;
use crate::netlink::decode::Message;
use crate::netlink::encode::Attributes;
use crate::netlink::socket::{Dump, Socket};
use crate::netlink::{ACK, NetlinkError};

use super::rule::{self, Rule, delete_rule};
use super::sets::SetId;
use super::transaction::Transaction;
use super::wire::{self, BaseChain, attribute, kind};

pub(super) use read::is_of_table;
#[cfg(any(test, fuzzing))]
pub(super) use read::whatever;

/// What is there under our table's name.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// The table's flags; nothing if there is no table.
    table: Option<u32>,
    /// By its name in [`wire::CHAINS`].
    chains: HashMap<&'static str, Chain>,
    sets: HashMap<String, Set>,
    rules: Vec<InstalledRule>,
}

/// A chain as the kernel has it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    hook: Option<u32>,
    priority: Option<u32>,
    policy: Option<u32>,
    kind: String,
}

#[derive(Debug)]
struct Set {
    id: Option<SetId>,
    flags: u32,
    key_type: u32,
    key_len: u32,
    /// How many elements it takes at most, if somebody has limited that; ours take any number.
    size: Option<u32>,
}

/// A rule as the kernel has it.
#[derive(Debug, Default)]
pub(super) struct InstalledRule {
    handle: u64,
    pub(super) chain: String,
    pub(super) comment: String,
    /// The names of its expressions, in order.
    pub(super) expressions: Vec<String>,
}

impl Frame {
    /// Reads what is there.
    ///
    /// `jails`: to recognise sets by where the kernel keeps no comments.
    /// # Errors
    /// [`NetlinkError`].
    pub(super) fn read(socket: &mut Socket, table: &str, jails: &[JailName]) -> Result<Frame, NetlinkError> {
        let mut frame = Frame { table: read_table(socket, table)?, ..Frame::default() };
        if frame.table.is_some() {
            for chain in wire::CHAINS {
                frame.chains.extend(read_chain(socket, table, chain.name)?.map(|read| (chain.name, read)));
            }
            frame.sets = read_sets(socket, table, jails)?;
            frame.rules = read_rules(socket, table, &wire::CHAINS)?;
        }
        Ok(frame)
    }

    /// True if the table is there.
    pub(super) fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// The sets of ours that are there and have the right shape, in a steady order.
    pub(super) fn sets(&self) -> BTreeSet<SetId> {
        self.sets.values().filter(|set| set.is_right()).filter_map(|set| set.id.clone()).collect()
    }

    /// True if something that is there must go before the right thing can come.
    pub(super) fn is_wrong(&self) -> bool {
        let is_wrong =
            |chain: BaseChain| self.chains.get(chain.name).is_some_and(|found| *found != Chain::right(chain));
        self.table.is_some_and(|flags| flags != 0)
            || wire::CHAINS.into_iter().any(is_wrong)
            || self.sets.values().any(|set| set.id.is_some() && !set.is_right())
    }

    /// Writes what is missing, and takes away rules that do not belong there.
    ///
    /// `stale`: sets that are there and not among `wanted`; the empty ones go, the others keep their rules.
    /// # Errors
    /// [`NetlinkError`] if a transaction had to be sent meanwhile and failed.
    pub(super) fn complete(
        &self,
        transaction: &mut Transaction<'_>,
        table: &str,
        wanted: &WantedFrame,
        stale: &Stale,
    ) -> Result<(), NetlinkError> {
        if !self.exists() {
            transaction.write(|batch| wire::new_table(batch, table))?;
        }
        for (id, set) in (1..).zip(&wanted.sets) {
            if !self.sets.contains_key(&set.to_string()) {
                transaction.write(|batch| wire::new_set(batch, table, set, id))?;
            }
        }
        for chain in wanted.chains().filter(|chain| !self.chains.contains_key(chain.name)) {
            transaction.write(|batch| wire::new_chain(batch, table, chain))?;
        }
        let (missing, surplus) = self.compare_rules(wanted, stale);
        for rule in surplus {
            transaction.write(|batch| delete_rule(batch, table, &rule.chain, rule.handle))?;
        }
        for rule in missing {
            transaction.write(|batch| rule.add(batch, table))?;
        }
        // It comes before all others; one that somebody moved behind them is no use.
        let is_first = self.rules.first().is_some_and(|rule| is_exempting(rule, wanted.exempt));
        if let Some(port) = wanted.exempt.filter(|_| !is_first) {
            transaction.write(|batch| rule::exempt(batch, table, port))?;
        }
        for set in &stale.emptied {
            transaction.write(|batch| wire::delete_set(batch, table, &set.to_string()))?;
        }
        Ok(())
    }

    /// Rules that are missing, and those that are too many.
    fn compare_rules<'a>(
        &self,
        wanted: &'a WantedFrame,
        stale: &Stale,
    ) -> (Vec<&'a Rule>, Vec<&InstalledRule>) {
        let mut missing: HashMap<String, &Rule> =
            wanted.rules.iter().map(|rule| (rule.comment(), rule)).collect();
        let mut surplus = Vec::new();
        for installed in self.rules.iter().filter(|rule| !is_exempting(rule, wanted.exempt)) {
            let is_right = missing.get(&installed.comment).is_some_and(|rule| {
                installed.chain == rule.chain().name
                    && installed.expressions.iter().eq(rule.expressions().iter())
            });
            if is_right {
                missing.remove(&installed.comment);
            } else if !stale.keeps(&installed.comment) {
                surplus.push(installed);
            }
        }
        let rules = wanted.rules.iter().filter(|rule| missing.contains_key(&rule.comment())).collect();
        (rules, surplus)
    }
}

/// True for the rule that leaves this port open.
fn is_exempting(rule: &InstalledRule, port: Option<u16>) -> bool {
    port.is_some_and(|port| {
        rule.comment == rule::exempt_comment(port) && rule.expressions == rule::EXEMPT_EXPRESSIONS
    })
}

impl Chain {
    /// A chain as we make it.
    pub(super) fn right(chain: BaseChain) -> Chain {
        Chain {
            hook: Some(chain.hook),
            priority: Some(chain.priority.cast_unsigned()),
            policy: Some(wire::POLICY_ACCEPT),
            kind: "filter".to_owned(),
        }
    }
}

impl Set {
    fn is_right(&self) -> bool {
        self.id.as_ref().is_some_and(|id| {
            self.size.is_none()
                && self.flags == wire::set_flags(id.kind)
                && self.key_type == wire::key_type(id.kind)
                && self.key_len == id.kind.key_bytes() as u32
        })
    }
}

/// The frame as it shall be.
#[derive(Debug)]
pub(super) struct WantedFrame {
    pub(super) sets: Vec<SetId>,
    pub(super) rules: Vec<Rule>,
    /// A TCP port that the banned may reach.
    pub(super) exempt: Option<u16>,
}

impl WantedFrame {
    /// Five sets for all ports and five for each jail, a rule for each set and range of ports. What is limited to a
    /// jail's ports holds for all of them where none is known: better too much than nothing.
    pub(super) fn new(ports: &[(JailName, Vec<Port>)]) -> WantedFrame {
        let mut wanted = WantedFrame { sets: SetId::all(None).collect(), rules: Vec::new(), exempt: None };
        wanted.rules.extend(wanted.sets.iter().map(|set| Rule { set: set.clone(), port: None }));
        let mut seen = HashSet::new();
        for (jail, ports) in ports.iter().filter(|(jail, _)| seen.insert(jail)) {
            let ports: BTreeSet<Option<Port>> = match ports.as_slice() {
                [] => BTreeSet::from([None]),
                known => known.iter().copied().map(Some).collect(),
            };
            for set in SetId::all(Some(jail)) {
                wanted.rules.extend(ports.iter().map(|port| Rule { set: set.clone(), port: *port }));
                wanted.sets.push(set);
            }
        }
        wanted
    }

    /// The chains that its rules need.
    fn chains(&self) -> impl Iterator<Item = BaseChain> {
        wire::CHAINS.into_iter().filter(|chain| self.rules.iter().any(|rule| rule.chain() == *chain))
    }
}

/// Sets of jails that no longer ask for ports.
#[derive(Debug, Default)]
pub(super) struct Stale {
    /// They hold elements: they stay, with their rules, until whoever put the elements there removes them.
    pub(super) kept: Vec<SetId>,
    /// They hold nothing.
    pub(super) emptied: Vec<SetId>,
}

impl Stale {
    fn keeps(&self, comment: &str) -> bool {
        let is_of = |rest: &str| rest.is_empty() || rest.starts_with(' ');
        self.kept.iter().any(|set| comment.strip_prefix(&format!("pillory {set}")).is_some_and(is_of))
    }
}

/// What `read` got, or nothing if the thing it asked for does not exist.
fn if_there<T>(read: Result<T, NetlinkError>) -> Result<Option<T>, NetlinkError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read_table(socket: &mut Socket, table: &str) -> Result<Option<u32>, NetlinkError> {
    let mut request = socket.messages();
    request.message(kind::GET_TABLE, ACK, &wire::fixed(wire::INET), |a| a.text(attribute::TABLE, table));
    let mut flags = 0;
    let answered = socket.ask(&request, &mut |message| {
        flags = read::table_flags(message)?;
        Ok(())
    });
    Ok(if_there(answered)?.map(|()| flags))
}

/// A chain of a table; nothing if it is not there.
/// # Errors
/// [`NetlinkError`].
pub(super) fn read_chain(
    socket: &mut Socket,
    table: &str,
    name: &str,
) -> Result<Option<Chain>, NetlinkError> {
    let mut request = socket.messages();
    request.message(kind::GET_CHAIN, ACK, &wire::fixed(wire::INET), |a| {
        a.text(attribute::TABLE, table);
        a.text(attribute::CHAIN_NAME, name);
    });
    let mut chain = Chain::default();
    let answered = socket.ask(&request, &mut |message| {
        chain = read::chain(message)?;
        Ok(())
    });
    Ok(if_there(answered)?.map(|()| chain))
}

/// Lists things of our table; old kernels do not filter, so the table's name is looked at again.
pub(super) fn list<T>(
    socket: &mut Socket,
    (kind, table): (u16, &str),
    body: &dyn Fn(&mut Attributes<'_>),
    read: &dyn Fn(&Message<'_>) -> Result<T, NetlinkError>,
) -> Result<Vec<T>, NetlinkError> {
    let found = std::cell::RefCell::new(Vec::new());
    let request = Dump {
        kind,
        fixed: &wire::fixed(wire::INET),
        body: &|a| {
            a.text(attribute::TABLE, table);
            body(a);
        },
    };
    let listed = socket.dump(
        &request,
        &mut |message| {
            if is_of_table(message, table)? {
                found.borrow_mut().push(read(message)?);
            }
            Ok(())
        },
        &mut || found.borrow_mut().clear(),
    );
    if_there(listed)?;
    Ok(found.into_inner())
}

fn read_sets(
    socket: &mut Socket,
    table: &str,
    jails: &[JailName],
) -> Result<HashMap<String, Set>, NetlinkError> {
    let read = |message: &Message<'_>| read::set(message, jails);
    Ok(list(socket, (kind::GET_SET, table), &|_| {}, &read)?.into_iter().collect())
}

/// The names of all sets of a table.
/// # Errors
/// [`NetlinkError`].
pub(super) fn set_names(socket: &mut Socket, table: &str) -> Result<Vec<String>, NetlinkError> {
    list(socket, (kind::GET_SET, table), &|_| {}, &read::set_name)
}

/// The rules of some chains, in order.
/// # Errors
/// [`NetlinkError`].
pub(super) fn read_rules(
    socket: &mut Socket,
    table: &str,
    chains: &[BaseChain],
) -> Result<Vec<InstalledRule>, NetlinkError> {
    let mut rules = list(socket, (kind::GET_RULE, table), &|_| {}, &read::rule)?;
    rules.retain(|rule| chains.iter().any(|chain| chain.name == rule.chain));
    Ok(rules)
}

/// The kernel's error as a question: is something simply not there?
pub(super) fn is_absent(error: &NetlinkError) -> bool {
    error.errno() == Some(Errno::NOENT)
}

/// For messages: an I/O error of that number.
pub(super) fn not_found() -> io::Error {
    Errno::NOENT.into()
}
