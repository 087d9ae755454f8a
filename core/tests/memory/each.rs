//! What each source takes: bytes of the heap, by the difference that a crowd makes.

use pillory_core::event::{Class, Connection, Event, JailName, Outcome};
use pillory_core::jail::names::Names;
use pillory_core::jail::policy::Policy;
use pillory_core::jail::{Jail, Judge};
use pillory_core::machine::{Machine, Phase, ScopeRule};
use pillory_core::net::PrefixSet;
use pillory_core::time::{Span, Timestamp};

use super::{START_MS, address, alone, heap};

/// More than any table of a fixed size holds, so that those are full before the difference is taken.
const BEFORE: u64 = 80_000;

/// Bytes that each of `count` more sources takes which fail once in a class.
fn bytes_of(count: u64, user: &str, class: Class) -> f64 {
    let jail = Jail { name: JailName::new("sshd").unwrap(), policy: Policy::default(), lines: None };
    let judge = Judge::new(vec![jail], Names::default(), PrefixSet::default(), 1_000_000);
    let mut machine = Machine::new(judge, vec![Vec::new()], ScopeRule::Auto);
    let mut out = Vec::new();
    let mut before = 0;
    for number in 0..BEFORE + count {
        if number == BEFORE {
            before = heap::used();
        }
        let event = Event {
            stamp: None,
            addr: address(number),
            user: Some(user.into()),
            outcome: Outcome::Failure { class, kind: 0, attempts: 1 },
            connection: Some(Connection { host: 0, pid: Some(number as u32), port: None }),
            forwarded: Vec::new(),
        };
        let now = Timestamp::from_millis(START_MS) + Span::from_millis(number);
        machine.event(0, &event, Phase::Live, now, &mut out);
        out.clear();
    }
    let bytes = (heap::used() as f64 - before as f64) / count as f64;
    eprintln!(
        "{user}: {bytes:.0} bytes each of {count} more, {:.1} MB for the {BEFORE} before; {} counted, {} banned",
        before as f64 / 1e6,
        machine.judge.tracked(0),
        machine.ledger.len()
    );
    bytes
}

#[test]
fn a_source_that_failed_once_takes_less_than_a_hundred_bytes() {
    let _alone = alone();
    assert!(bytes_of(200_000, "alice", Class::KnownUser) < 64.0);
}

#[test]
fn a_ban_takes_less_than_two_hundred_bytes() {
    let _alone = alone();
    assert!(bytes_of(100_000, "admin", Class::UnknownUser) < 200.0);
}
