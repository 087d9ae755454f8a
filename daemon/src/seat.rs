//! Where a command is given from: over which ssh connection, or at which login on this host; by its process and those
//! that led to it, as `/proc` shows them.

use serde::{Deserialize, Serialize};

/// More ancestors than any real process has; one may end meanwhile and its number be given away.
const MAX_ANCESTORS: usize = 64;

/// Programs of which one process serves one connection; the nearest ancestor of these names is that one.
const SERVERS: [&str; 3] = ["sshd", "sshd-session", "dropbear"];

/// See the module. Times are clock ticks since boot, as [`crate::clock::boot_ticks`] has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Seat {
    /// An ssh connection that began then.
    Ssh(u64),
    /// An ssh session once led here and does no more: a terminal multiplexer, or something left in the background.
    Left,
    /// A session of this host, such as a login at the console, that began then.
    Local(u64),
    /// The process cannot be seen: it has ended, or lives in another process namespace.
    #[default]
    Unknown,
}

impl Seat {
    /// Where the process of that number was started from; what it says itself goes for what cannot be seen from here.
    pub(crate) fn of(pid: u32, told: Seat) -> Seat {
        let line: Vec<Process> = lineage(pid).collect();
        let Some(own) = line.first() else { return told };
        if let Some(server) = line.iter().find(|process| SERVERS.contains(&process.name.as_str())) {
            return Seat::Ssh(server.started);
        }
        if told == Seat::Left {
            return told;
        }
        Process::read(own.session).map_or(told, |leader| Seat::Local(leader.started))
    }
}

/// Where this process was started from. Only root sees all of it.
pub(crate) fn own() -> Seat {
    let by_ssh =
        std::env::var_os("SSH_CONNECTION").is_some() || ancestors().any(|pid| ssh_connection(pid).is_some());
    Seat::of(std::process::id(), if by_ssh { Seat::Left } else { Seat::Unknown })
}

/// What `/proc` says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Process {
    pid: u32,
    name: String,
    parent: u32,
    session: u32,
    started: u64,
}

impl Process {
    fn read(pid: u32) -> Option<Process> {
        Process::parse(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Source: proc_pid_stat(5). The name stands in parentheses and may hold anything; the fields after it have numbers
    /// from 3 on: 4 is the parent, 6 the session, 22 the start.
    fn parse(pid: u32, stat: &str) -> Option<Process> {
        let (head, tail) = stat.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Process {
            pid,
            name: name.to_owned(),
            parent: field(4)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            started: field(22)?.parse().ok()?,
        })
    }
}

/// The process, the one that started it, and so on.
fn lineage(pid: u32) -> impl Iterator<Item = Process> {
    let parent = |child: &Process| Process::read(child.parent).filter(|_| child.parent > 0);
    std::iter::successors(Process::read(pid), parent).take(MAX_ANCESTORS)
}

/// The processes that led to this one, the nearest first.
pub(crate) fn ancestors() -> impl Iterator<Item = u32> {
    lineage(std::process::id()).skip(1).map(|process| process.pid)
}

/// What sshd left in a process's environment: the client's address and port, and the server's.
pub(crate) fn ssh_connection(pid: u32) -> Option<String> {
    let all = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let found = all.split(|byte| *byte == 0).find_map(|one| one.strip_prefix(b"SSH_CONNECTION="))?;
    String::from_utf8(found.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_hides_no_field() {
        let stat = "77 (a) b (c)) S 12 77 55 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        let process = Process::parse(77, stat).unwrap();
        assert_eq!((process.parent, process.session, process.started), (12, 55, 987_654));
        assert_eq!(process.name, "a) b (c)");
        for cut in ["", "77", "77 (a", "77 (a) S 12", "77 (a) S x 77 55"] {
            assert_eq!(Process::parse(77, cut), None, "{cut}");
        }
    }

    #[test]
    fn a_process_that_is_not_there_is_unknown() {
        assert_eq!(Seat::of(u32::MAX, Seat::Unknown), Seat::Unknown);
        assert!(ancestors().next().is_some());
    }
}
