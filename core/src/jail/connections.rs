//! Connections: one attempt counts once, however many lines it leaves.
//!
//! What a connection shows is the largest count of any one kind of its lines (`Invalid user`, the PAM line,
//! `Failed password`, the close); a line adds attempts only as far as its kind's count exceeds that maximum.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::event::{Class, Connection, Shown, UserName};
use crate::hash::FastMap;
use crate::time::{Span, Timestamp};

use super::JailIndex;

/// A failure line as far as connections matter.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Which kind of line.
    pub kind: u16,
    /// How many attempts it stands for.
    pub attempts: u32,
    /// Its class by the filter.
    pub class: Class,
    /// The user it names.
    pub user: Option<&'a UserName>,
}

/// What a line adds to its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Attempts that were not known before this line; 0 if it only repeats.
    pub new_attempts: u32,
    /// The connection's gravest class so far: a PAM line does not take back `Invalid user`.
    pub class: Class,
    /// The user of this line, or else of an earlier line of the connection.
    pub user: Option<UserName>,
    /// What the connection has shown now; nothing if the line is tied to none.
    pub shown: Option<Shown>,
}

#[derive(Debug)]
struct State {
    /// The kind of its first line and how often it came; most connections show no other.
    first: (u16, u32),
    others: Vec<(u16, u32)>,
    shown: u32,
    class: Class,
    user: Option<UserName>,
    last: Timestamp,
}

/// The connections seen lately, at most [`MAX_CONNECTIONS`].
#[derive(Debug, Default)]
pub struct Connections {
    states: FastMap<(JailIndex, u64), State>,
}

/// Beyond this many the older half is forgotten; its next line then counts as a new connection.
const MAX_CONNECTIONS: usize = 65_536;

/// A pid may be used again after this long without a line; sshd's LoginGraceTime is 2 minutes by default.
const IDLE: Span = Span::from_secs(600);

/// The connection's identity as a number; never 0. It is kept in the store, so the hash has no seed.
pub fn key(addr: IpAddr, connection: &Connection) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    addr.hash(&mut hasher);
    connection.host.hash(&mut hasher);
    // Lines of one sshd process share the pid, but not all show the port; without a pid the port must do.
    match (connection.pid, connection.port) {
        (Some(pid), _) => (1u8, u64::from(pid)).hash(&mut hasher),
        (None, port) => (2u8, port.map_or(0, u64::from)).hash(&mut hasher),
    }
    hasher.finish().max(1)
}

impl Connections {
    /// Counts a line. Without a connection every line stands for itself.
    pub fn count(
        &mut self,
        jail: JailIndex,
        addr: IpAddr,
        connection: Option<&Connection>,
        line: &Line<'_>,
        now: Timestamp,
    ) -> Counted {
        let tied = connection.filter(|connection| connection.pid.is_some() || connection.port.is_some());
        let Some(connection) = tied else {
            let user = line.user.cloned();
            return Counted { new_attempts: line.attempts, class: line.class, user, shown: None };
        };
        if self.states.len() >= MAX_CONNECTIONS {
            self.forget_older_half();
        }
        let key = (jail, key(addr, connection));
        let new = || State {
            first: (line.kind, 0),
            others: Vec::new(),
            shown: 0,
            class: line.class,
            user: None,
            last: now,
        };
        let state = self.states.entry(key).or_insert_with(new);
        if now.since(state.last) > IDLE {
            *state = new();
        }
        state.last = now;
        state.add(key.1, line)
    }

    /// Puts back what a connection had shown before a restart.
    pub fn remember(
        &mut self,
        jail: JailIndex,
        shown: &Shown,
        class: Class,
        user: Option<UserName>,
        when: Timestamp,
    ) {
        let first = (shown.kind, shown.attempts);
        self.states.insert(
            (jail, shown.connection),
            State { first, others: Vec::new(), shown: shown.attempts, class, user, last: when },
        );
    }

    /// True if a line of this connection was counted lately.
    pub fn knows(&self, jail: JailIndex, addr: IpAddr, connection: &Connection, now: Timestamp) -> bool {
        let state = self.states.get(&(jail, key(addr, connection)));
        state.is_some_and(|state| now.since(state.last) <= IDLE)
    }

    /// Forgets a connection: it ended in a good login.
    pub fn forget(&mut self, jail: JailIndex, addr: IpAddr, connection: &Connection) {
        self.states.remove(&(jail, key(addr, connection)));
    }

    /// Forgets connections that have been silent.
    pub fn sweep(&mut self, now: Timestamp) {
        self.states.retain(|_, state| now.since(state.last) <= IDLE);
        // Most come back: a table that shrinks at once is built anew until the next time.
        self.states.shrink_to(self.states.len() * 8);
    }

    fn forget_older_half(&mut self) {
        let mut times: Vec<Timestamp> = self.states.values().map(|state| state.last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.states.retain(|_, state| state.last > median);
    }
}

impl State {
    fn add(&mut self, connection: u64, line: &Line<'_>) -> Counted {
        let mut counts = std::iter::once(&mut self.first).chain(&mut self.others);
        let count = match counts.find(|(kind, _)| *kind == line.kind) {
            Some((_, count)) => {
                *count = count.saturating_add(line.attempts);
                *count
            }
            None => {
                self.others.push((line.kind, line.attempts));
                line.attempts
            }
        };
        let new_attempts = count.saturating_sub(self.shown);
        self.shown = self.shown.max(count);
        if let Some(user) = line.user
            && self.user.as_ref() != Some(user)
        {
            self.user = Some(user.clone());
        }
        // "Invalid user" is the only line that tells that the name is unknown; what follows must not forget it.
        if self.class != Class::UnknownUser || line.class == Class::Root {
            self.class = line.class;
        }
        let shown = Shown { connection, kind: line.kind, attempts: self.shown };
        // The line's user is at hand; reading back what was just written to a new state waits for memory.
        let user = line.user.or(self.user.as_ref()).cloned();
        Counted { new_attempts, class: self.class, user, shown: Some(shown) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn tries(lines: &[(u16, u32)]) -> Vec<u32> {
        let mut connections = Connections::default();
        let connection = Connection { host: 0, pid: Some(7), port: None };
        let count = |&(kind, attempts): &(u16, u32)| {
            let line = Line { kind, attempts, class: Class::KnownUser, user: None };
            connections.count(0, ADDR, Some(&connection), &line, Timestamp::from_secs(1)).new_attempts
        };
        lines.iter().map(count).collect()
    }

    #[test]
    fn the_lines_of_one_attempt_count_once() {
        // Invalid user, PAM, Failed password, closed.
        assert_eq!(tries(&[(0, 1), (1, 1), (2, 1), (3, 1)]), [1, 0, 0, 0]);
    }

    #[test]
    fn a_second_password_on_the_connection_is_a_second_attempt() {
        assert_eq!(tries(&[(0, 1), (1, 1), (2, 1), (1, 1), (2, 1), (3, 1)]), [1, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_summary_line_adds_only_what_was_not_seen() {
        assert_eq!(tries(&[(1, 1), (2, 1), (2, 1), (1, 2)]), [1, 0, 1, 1]);
    }

    #[test]
    fn a_pid_that_is_used_again_later_is_another_connection() {
        let mut connections = Connections::default();
        let connection = Connection { host: 0, pid: Some(7), port: None };
        let line = Line { kind: 0, attempts: 1, class: Class::Root, user: None };
        let mut at = |secs| {
            connections.count(0, ADDR, Some(&connection), &line, Timestamp::from_secs(secs)).new_attempts
        };
        assert_eq!((at(0), at(10_000)), (1, 1));
        let knows = |secs| connections.knows(0, ADDR, &connection, Timestamp::from_secs(secs));
        assert_eq!((knows(10_001), knows(20_000)), (true, false));
    }

    #[test]
    fn an_unknown_name_stays_unknown_when_the_pam_line_follows() {
        let mut connections = Connections::default();
        let connection = Connection { host: 0, pid: Some(7), port: None };
        let bob = UserName::from("bob");
        let invalid = Line { kind: 0, attempts: 1, class: Class::UnknownUser, user: Some(&bob) };
        let pam = Line { kind: 1, attempts: 2, class: Class::KnownUser, user: None };
        connections.count(0, ADDR, Some(&connection), &invalid, Timestamp::from_secs(1));
        let counted = connections.count(0, ADDR, Some(&connection), &pam, Timestamp::from_secs(2));
        assert_eq!(
            (counted.new_attempts, counted.class, counted.user.as_deref()),
            (1, Class::UnknownUser, Some("bob"))
        );
    }
}
