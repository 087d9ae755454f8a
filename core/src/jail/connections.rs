//! Connections: one attempt counts once, however many lines it leaves.
//!
//! What a connection shows is the largest count of any one kind of its lines (`Invalid user`, the PAM line,
//! `Failed password`, the close); a line adds attempts only as far as its kind's count exceeds that maximum.

mod table;

use std::hash::Hasher;
use std::net::IpAddr;

use crate::event::{Class, Connection, Shown, UserName};
use crate::time::{Span, Timestamp};

use super::JailIndex;
use table::Table;

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

/// What a line adds to its connection. The user is borrowed: a copy made right behind the writes to a new state would
/// wait until they have reached memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted<'a> {
    /// Attempts that were not known before this line; 0 if it only repeats.
    pub new_attempts: u32,
    /// The connection's gravest class so far: a PAM line does not take back `Invalid user`.
    pub class: Class,
    /// The user of this line, or else of an earlier line of the connection.
    pub user: Option<&'a UserName>,
    /// What the connection has shown now; nothing if the line is tied to none.
    pub shown: Option<Shown>,
}

/// What a connection has shown.
#[derive(Debug)]
struct State {
    last: Timestamp,
    user: Option<UserName>,
    kinds: Kinds,
    class: Class,
    shown: u32,
}

/// The kinds of a connection's lines and how often they came. Most connections show no more than a few kinds.
#[derive(Debug, Default)]
struct Kinds {
    /// Free where the count is 0.
    few: [(u16, u16); 4],
    /// Other kinds, and those of the few whose count is larger.
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
struct More(Vec<(u16, u32)>);

/// The connections seen lately, at most `MAX_CONNECTIONS`.
#[derive(Debug, Default)]
pub struct Connections {
    states: Table<State>,
}

/// Beyond this many the older half is forgotten; its next line then counts as a new connection.
const MAX_CONNECTIONS: usize = 65_536;

/// Bytes of all connections: a vector that doubles, and an index of eight bytes a place, at most two of three of them
/// taken; while either grows the smaller one is there, too.
pub(crate) const MOST_BYTES: usize = (table::entry_bytes::<State>() * 2 + 8 * 4) * MAX_CONNECTIONS * 3 / 2;

/// A pid may be used again after this long without a line; sshd's LoginGraceTime is 2 minutes by default.
const IDLE: Span = Span::from_secs(600);

/// The connection's identity as a number; never 0. It is kept in the store, so the hash has no seed.
pub fn key(addr: IpAddr, connection: &Connection) -> u64 {
    // Lines of one sshd process share the pid, but not all show the port; without a pid the port must do.
    let (kind, number) = match (connection.pid, connection.port) {
        (Some(pid), _) => (1, pid),
        (None, port) => (2, port.map_or(0, u32::from)),
    };
    // Whole words: bytes that are put together first would have to be waited for.
    let mut hasher = std::hash::DefaultHasher::new();
    let mut add = |word: u64| hasher.write(&word.to_le_bytes());
    add(u64::from(number) << 32 | kind);
    add(connection.host);
    match addr {
        IpAddr::V4(addr) => add(u64::from(addr.to_bits())),
        IpAddr::V6(addr) => {
            let [high, low] = [addr.to_bits() >> 64, addr.to_bits()].map(|bits| bits as u64);
            add(high);
            add(low);
        }
    }
    hasher.finish().max(1)
}

/// The number of the connection that a line is tied to; nothing if it stands for itself.
pub fn tied(addr: IpAddr, connection: Option<&Connection>) -> Option<u64> {
    let tied = connection.filter(|connection| connection.pid.is_some() || connection.port.is_some());
    tied.map(|connection| key(addr, connection))
}

impl Connections {
    /// Counts a line. Without a connection, see [`tied`], every line stands for itself.
    pub fn count<'a>(
        &'a mut self,
        jail: JailIndex,
        connection: Option<u64>,
        line: &Line<'a>,
        now: Timestamp,
    ) -> Counted<'a> {
        let Some(connection) = connection else {
            return Counted { new_attempts: line.attempts, class: line.class, user: line.user, shown: None };
        };
        if self.states.len() >= MAX_CONNECTIONS {
            self.forget_older_half();
        }
        let new = || State { last: now, user: None, kinds: Kinds::default(), class: line.class, shown: 0 };
        let state = self.states.entry((jail, connection), new);
        if now.since(state.last) > IDLE {
            *state = new();
        }
        state.last = now;
        state.add(connection, line)
    }

    /// Brings what is known of a connection near, for what comes next.
    pub fn look_up(&self, jail: JailIndex, connection: u64) {
        self.states.look_up((jail, connection));
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
        let mut kinds = Kinds::default();
        kinds.add(shown.kind, shown.attempts);
        let state = State { last: when, user, kinds, class, shown: shown.attempts };
        let key = (jail, shown.connection);
        self.states.remove(key);
        self.states.entry(key, || state);
    }

    /// True if a line of this connection was counted lately.
    pub fn knows(&self, jail: JailIndex, connection: u64, now: Timestamp) -> bool {
        self.states.get((jail, connection)).is_some_and(|state| now.since(state.last) <= IDLE)
    }

    /// Forgets a connection: it ended in a good login.
    pub fn forget(&mut self, jail: JailIndex, connection: u64) {
        self.states.remove((jail, connection));
    }

    /// Forgets connections that have been silent.
    pub fn sweep(&mut self, now: Timestamp) {
        self.states.retain(|state| now.since(state.last) <= IDLE);
    }

    fn forget_older_half(&mut self) {
        let mut times: Vec<Timestamp> = self.states.states().map(|state| state.last).collect();
        let middle = times.len() / 2;
        let (_, median, _) = times.select_nth_unstable(middle);
        let median = *median;
        self.states.retain(|state| state.last > median);
    }
}

impl State {
    fn add<'a>(&'a mut self, connection: u64, line: &Line<'a>) -> Counted<'a> {
        let count = self.kinds.add(line.kind, line.attempts);
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
        let user = line.user.or(self.user.as_ref());
        Counted { new_attempts, class: self.class, user, shown: Some(shown) }
    }
}

impl Kinds {
    /// Adds to the count of a kind and returns it.
    fn add(&mut self, kind: u16, attempts: u32) -> u32 {
        let more = self.more.iter_mut().flat_map(|more| more.0.iter_mut());
        if let Some((_, count)) = more.into_iter().find(|(known, _)| *known == kind) {
            *count = count.saturating_add(attempts);
            return *count;
        }
        // Places are taken in order, so a kind that stands further on has no free one before it.
        let place = self.few.iter_mut().find(|(known, count)| *known == kind || *count == 0);
        let count = place.as_ref().map_or(0, |(_, count)| u32::from(*count)).saturating_add(attempts);
        match (place, u16::try_from(count)) {
            (Some(place), Ok(count)) => *place = (kind, count),
            _ => self.more.get_or_insert_default().0.push((kind, count)),
        }
        count
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
            connections.count(0, tied(ADDR, Some(&connection)), &line, Timestamp::from_secs(1)).new_attempts
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
    fn what_a_connection_takes_is_small() {
        assert_eq!(size_of::<State>(), 64);
    }

    #[test]
    fn a_count_may_be_large() {
        let lines = [(0, 65_000), (0, 1_000), (1, 66_000), (1, 1), (0, 1)];
        assert_eq!(tries(&lines), [65_000, 1_000, 0, 1, 0]);
    }

    #[test]
    fn kinds_without_number_are_told_apart() {
        let lines = [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (5, 1), (4, 1), (0, 3)];
        assert_eq!(tries(&lines), [1, 0, 0, 0, 0, 1, 1, 0, 1]);
    }

    #[test]
    fn a_pid_that_is_used_again_later_is_another_connection() {
        let mut connections = Connections::default();
        let connection = Connection { host: 0, pid: Some(7), port: None };
        let line = Line { kind: 0, attempts: 1, class: Class::Root, user: None };
        let mut at = |secs| {
            connections
                .count(0, tied(ADDR, Some(&connection)), &line, Timestamp::from_secs(secs))
                .new_attempts
        };
        assert_eq!((at(0), at(10_000)), (1, 1));
        let knows = |secs| connections.knows(0, key(ADDR, &connection), Timestamp::from_secs(secs));
        assert_eq!((knows(10_001), knows(20_000)), (true, false));
    }

    #[test]
    fn an_unknown_name_stays_unknown_when_the_pam_line_follows() {
        let mut connections = Connections::default();
        let connection = Connection { host: 0, pid: Some(7), port: None };
        let bob = UserName::from("bob");
        let invalid = Line { kind: 0, attempts: 1, class: Class::UnknownUser, user: Some(&bob) };
        let pam = Line { kind: 1, attempts: 2, class: Class::KnownUser, user: None };
        connections.count(0, tied(ADDR, Some(&connection)), &invalid, Timestamp::from_secs(1));
        let counted = connections.count(0, tied(ADDR, Some(&connection)), &pam, Timestamp::from_secs(2));
        assert_eq!(
            (counted.new_attempts, counted.class, counted.user.map(|user| user.as_str())),
            (1, Class::UnknownUser, Some("bob"))
        );
    }
}
