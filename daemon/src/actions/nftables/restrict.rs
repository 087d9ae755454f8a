//! Ports that only some may connect to: a chain of its own at the hook input, in front of everything else there, drops
//! what would begin a connection from elsewhere. What is established is no matter of it: of TCP only the packet that
//! opens a connection is looked at, so no connection tracking is needed.
//!
//! All of it changes in one transaction, and is read back.

use std::collections::{BTreeMap, BTreeSet};

use pillory_core::net::Prefix;

use crate::actions::{Port, Restriction};
use crate::netlink::NetlinkError;
use crate::netlink::encode::{Attributes, Messages};
use crate::netlink::socket::Socket;

use super::elements::{self, Plan};
use super::frame::{self, Chain};
use super::rule::{self, EachExpression};
use super::sets::SetKind;
use super::transaction::Transaction;
use super::wire::{self, BaseChain, attribute};

/// The chain, at `NF_INET_LOCAL_IN`: what is for this host, and not what it forwards.
const CHAIN: BaseChain = BaseChain { name: "restrict", hook: 1, priority: -300 };
const TCP: u8 = 6;

/// What there is of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct State {
    chain: Option<Chain>,
    /// Comment and expressions of each rule, in order.
    rules: Vec<(String, Vec<String>)>,
    sets: BTreeMap<String, BTreeSet<Prefix>>,
}

/// One rule: drops what opens a connection to this port from outside the set.
struct Rule<'a> {
    name: &'a str,
    port: Port,
    is_ipv4: bool,
}

/// Brings the kernel to `wanted`; true if something was changed.
/// # Errors
/// [`NetlinkError`]; [`NetlinkError::Unsteady`] if what is read back is not what was written.
pub(super) fn bring(socket: &mut Socket, table: &str, wanted: &[Restriction]) -> Result<bool, NetlinkError> {
    let (there, right) = (State::read(socket, table)?, State::of(wanted));
    if there == right {
        return Ok(false);
    }
    let mut transaction = Transaction::new(socket);
    if there.chain.is_some() {
        transaction.write(|batch| wire::delete_rules(batch, table, CHAIN.name))?;
        transaction.write(|batch| wire::delete_chain(batch, table, CHAIN.name))?;
    }
    for set in there.sets.keys() {
        transaction.write(|batch| wire::delete_set(batch, table, set))?;
    }
    if !wanted.is_empty() {
        transaction.write(|batch| wire::new_chain(batch, table, CHAIN))?;
    }
    let mut plans = Vec::new();
    for (id, (set, prefixes)) in (1..).zip(&right.sets) {
        let kind = kind_of(set);
        transaction.write(|batch| wire::new_named_set(batch, table, (set, id), kind))?;
        plans.push(Plan::filling(set, kind, prefixes));
    }
    elements::write(&plans, table, &mut transaction)?;
    for rule in rules(wanted) {
        transaction.write(|batch| rule.add(batch, table))?;
    }
    transaction.commit()?;
    match State::read(socket, table)? == right {
        true => Ok(true),
        false => Err(NetlinkError::Unsteady { tries: 1 }),
    }
}

impl State {
    fn of(wanted: &[Restriction]) -> State {
        let chain = (!wanted.is_empty()).then(|| Chain::right(CHAIN));
        let mut state = State { chain, ..State::default() };
        for restriction in wanted {
            for is_ipv4 in [true, false] {
                let prefixes = restriction.allowed.iter().filter(|prefix| prefix.is_ipv4() == is_ipv4);
                state.sets.insert(set_name(&restriction.name, is_ipv4), prefixes.copied().collect());
            }
        }
        state.rules = rules(wanted).map(|rule| (rule.comment(), rule.expressions())).collect();
        state
    }

    fn read(socket: &mut Socket, table: &str) -> Result<State, NetlinkError> {
        let chain = frame::read_chain(socket, table, CHAIN.name)?;
        let mut state = State { chain, ..State::default() };
        if state.chain.is_some() {
            let rules = frame::read_rules(socket, table, &[CHAIN])?;
            state.rules = rules.into_iter().map(|rule| (rule.comment, rule.expressions)).collect();
        }
        for set in frame::set_names(socket, table)? {
            if set.starts_with(SET4) || set.starts_with(SET6) {
                let prefixes = elements::dump_intervals(socket, table, (&set, set.starts_with(SET4)))?;
                state.sets.insert(set, prefixes.into_keys().collect());
            }
        }
        Ok(state)
    }
}

const SET4: &str = "allow4_";
const SET6: &str = "allow6_";

fn set_name(name: &str, is_ipv4: bool) -> String {
    format!("{}{name}", if is_ipv4 { SET4 } else { SET6 })
}

fn kind_of(set: &str) -> SetKind {
    if set.starts_with(SET4) { SetKind::Net4 } else { SetKind::Net6 }
}

fn rules(wanted: &[Restriction]) -> impl Iterator<Item = Rule<'_>> {
    wanted.iter().flat_map(|restriction| {
        let name = restriction.name.as_str();
        let ports = restriction.ports.iter();
        ports.flat_map(move |port| [true, false].map(|is_ipv4| Rule { name, port: *port, is_ipv4 }))
    })
}

impl Rule<'_> {
    fn comment(&self) -> String {
        let (low, high) = self.port.range;
        let set = set_name(self.name, self.is_ipv4);
        format!("pillory restrict {set} {} {low}-{high}", rule::protocol_name(self.port.protocol))
    }

    fn expressions(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.each_expression(&mut |name, _| names.push(name.to_owned()));
        names
    }

    fn add(&self, batch: &mut Messages, table: &str) -> u32 {
        rule::add(batch, (table, CHAIN.name), &self.comment(), false, &|each| self.each_expression(each))
    }

    fn each_expression(&self, each: EachExpression<'_>) {
        rule::family(self.is_ipv4, each);
        rule::to_port(self.port, each);
        if self.port.protocol == TCP {
            // Of SYN, ACK, RST and FIN the first alone: it opens a connection.
            each("payload", &|a| rule::payload(a, rule::BASE_TRANSPORT, (13, 1)));
            each("bitwise", &|a| rule::masked(a, &[0x17]));
            each("cmp", &|a| rule::equals(a, &[0x02]));
        }
        rule::source(self.is_ipv4, each);
        each("lookup", &|a| self.not_in_set(a));
        each("counter", &|_| {});
        each("immediate", &rule::drop_packet);
    }

    fn not_in_set(&self, a: &mut Attributes<'_>) {
        const INVERTED: u32 = 1;
        a.text(1, &set_name(self.name, self.is_ipv4));
        a.be32(2, rule::REGISTER);
        a.be32(attribute::LOOKUP_FLAGS, INVERTED);
    }
}
