//! Which good logins were found already: a journal, a log and wtmp may all tell of one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use pillory_core::event::{Event, UserName};

/// So many logins of one jail are learnt.
const MOST_OF_A_JAIL: usize = 20_000;

/// A log's stamp is that of the message, in whole seconds; the journal's is when it was received.
const LOG_OFF_MS: i64 = 1_500;

/// The session that wtmp knows begins some time after the login.
const WTMP_OFF_MS: i64 = 60_000;

const DAY_MS: i64 = 86_400_000;

/// Who tells of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Journal,
    Log,
    Wtmp,
}

/// From where somebody logged in, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    jail: usize,
    addr: IpAddr,
    forwarded: Vec<IpAddr>,
    user: Option<UserName>,
}

/// See the module. Bounded by [`MOST_OF_A_JAIL`].
#[derive(Debug)]
pub(super) struct Found {
    by_journal: BTreeMap<Who, BTreeSet<i64>>,
    by_log: BTreeMap<Who, BTreeSet<i64>>,
    /// Of logins that name nobody, one a day and place.
    nameless: HashSet<(usize, IpAddr, Vec<IpAddr>, i64)>,
    of_jail: Vec<usize>,
}

impl Found {
    /// Nothing, of so many jails.
    pub(super) fn new(jails: usize) -> Found {
        Found {
            by_journal: BTreeMap::new(),
            by_log: BTreeMap::new(),
            nameless: HashSet::new(),
            of_jail: vec![0; jails],
        }
    }

    /// True if nobody told of this login before. Those of the journals must come first, those of wtmp last.
    pub(super) fn is_new(&mut self, jail: usize, login: &Event, told: Told) -> bool {
        let Some(at) = login.stamp.map(|stamp| stamp.millis()) else { return false };
        let Some(count) = self.of_jail.get(jail).copied().filter(|count| *count < MOST_OF_A_JAIL) else {
            return false;
        };
        // Each could be a forged request.
        if login.user.is_none() {
            let place = (jail, login.addr, login.forwarded.clone(), at.div_euclid(DAY_MS));
            if !self.nameless.insert(place) {
                return false;
            }
        }
        let who = |jail| Who {
            jail,
            addr: login.addr,
            forwarded: login.forwarded.clone(),
            user: login.user.clone(),
        };
        let knows = |map: &BTreeMap<Who, BTreeSet<i64>>, jail, off: i64| {
            map.get(&who(jail)).is_some_and(|times| times.range(at - off..=at + off).next().is_some())
        };
        let is_known = match told {
            Told::Journal => knows(&self.by_journal, jail, 0),
            Told::Log => knows(&self.by_log, jail, 0) || knows(&self.by_journal, jail, LOG_OFF_MS),
            Told::Wtmp => (0..self.of_jail.len()).any(|jail| {
                knows(&self.by_log, jail, WTMP_OFF_MS) || knows(&self.by_journal, jail, WTMP_OFF_MS)
            }),
        };
        if is_known {
            return false;
        }
        match told {
            Told::Journal => drop(self.by_journal.entry(who(jail)).or_default().insert(at)),
            Told::Log => drop(self.by_log.entry(who(jail)).or_default().insert(at)),
            Told::Wtmp => {}
        }
        self.of_jail.iter_mut().skip(jail).take(1).for_each(|of_jail| *of_jail = count + 1);
        true
    }
}
