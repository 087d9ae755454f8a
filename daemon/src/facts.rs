//! What this host knows that judging needs: its own addresses, gateways and resolvers, open sessions, accounts.
//!
//! One thread reads it anew when the kernel says that addresses or default routes changed, when the engine has
//! just seen a login, when a file that tells of sessions or accounts changed, and now and then in any case. The
//! engine gets it as an input.
//!
//! An open authenticated session is a connection in the socket table whose far end is known to have logged in:
//! by the very port of an accepted login in the logs, by utmp, or by logind.

mod sessions;

use std::collections::HashSet;
use std::io::{Read, Seek};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::Scope;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tracing::warn;

use pillory_core::event::Event;
use pillory_core::filter::{Verdict, btmp};
use pillory_core::jail::never::Why;
use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::engine::Input;
use crate::engine::jails::Facts;
use crate::kernelfacts::{Connections, FactsWatch, HostFacts, Peer, resolvers};
use crate::names::Follower;
use crate::netlink::KernelWatch;
use crate::netlink::route::OwnAddress;
use crate::netlink::sockdiag::SockDiag;
use crate::sources::{self, past};
use crate::wake::Wake;

use sessions::Logins;

/// Everything is read at least this often. Source: measured idle on a host with 24 GB, whose table of connections
/// has 262,144 places: 1.5 to 3 ms of CPU a reading.
const EVERY: Duration = Duration::from_secs(30);

/// The files that tell of sessions, accounts and resolvers are looked at this often: four calls of stat.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Those files; what changes one of them makes everything be read anew.
const FILES: [&str; 4] = [PASSWD, RESOLV_CONF, UTMP, LOGIND_SESSIONS];
const PASSWD: &str = "/etc/passwd";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const UTMP: &str = "/run/utmp";
const LOGIND_SESSIONS: &str = "/run/systemd/sessions";

/// When each of [`FILES`] was changed; nothing for one that is not there.
fn changes() -> [Option<std::time::SystemTime>; 4] {
    FILES.map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

/// Names of accounts in a passwd file; empty if it cannot be read. A static binary asks no name service.
pub(crate) fn accounts(passwd: &Path) -> HashSet<String> {
    let text = std::fs::read(passwd).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let names = text.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name);
    names.filter(|name| !name.is_empty() && !name.starts_with(['+', '-', '#'])).map(str::to_owned).collect()
}

/// Reads everything once, for a command that runs without the daemon.
/// # Errors
/// The system's, if it has no descriptor left.
pub(crate) fn read_once(names: &[String]) -> std::io::Result<Facts> {
    Reader::new(names).map(|(mut reader, _)| reader.read())
}

/// How the engine asks for new facts.
#[derive(Debug)]
pub(crate) struct Asker {
    bell: OwnedFd,
    logins: Sender<(IpAddr, u16)>,
    names: Sender<Vec<String>>,
}

impl Asker {
    /// These names are to be followed now.
    pub(crate) fn follow(&self, names: Vec<String>) {
        let _ = self.names.send(names);
        self.ring();
    }

    /// A login was seen from this address and port: its connection is a session now.
    pub(crate) fn logged_in(&self, addr: IpAddr, port: Option<u16>) {
        // The reader ends only together with the engine; a bell that is full rings already.
        let _ = self.logins.send((addr, port.unwrap_or(0)));
        self.ring();
    }

    fn ring(&self) {
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
impl Asker {
    /// Asks nobody.
    pub(crate) fn of_nobody() -> std::io::Result<Asker> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Asker { bell, logins: unbounded().0, names: unbounded().0 })
    }
}

/// The last good answer to each question: who is never banned must not hang on a moment's trouble.
#[derive(Debug, Default)]
struct LastGood {
    addresses: Vec<OwnAddress>,
    gateways: Vec<IpAddr>,
    resolvers: Vec<IpAddr>,
    connections: Connections,
}

fn refresh<T, E: std::fmt::Display>(last: &mut T, what: &'static str, answer: Result<T, E>) {
    match answer {
        Ok(new) => *last = new,
        Err(error) => warn!(what, %error, "cannot be read; the last answer stands"),
    }
}

/// Reads the facts; lives on its own thread after the first reading.
#[derive(Debug)]
pub(crate) struct Reader {
    new_names: Receiver<Vec<String>>,
    names: Follower,
    bell: OwnedFd,
    logged_in: Receiver<(IpAddr, u16)>,
    logins: Logins,
    routing: Option<HostFacts>,
    sockets: Option<SockDiag>,
    last: LastGood,
    passwd_changed: Option<std::time::SystemTime>,
}

impl Reader {
    /// A reader and the way to ask it.
    /// # Errors
    /// The system's, if it has no descriptor left.
    pub(crate) fn new(names: &[String]) -> std::io::Result<(Reader, Asker)> {
        let bell = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (logins, logged_in) = unbounded();
        let (follow, new_names) = unbounded();
        let asker = Asker { bell: bell.try_clone()?, logins, names: follow };
        let names = Follower::new(names, bell.try_clone()?)?;
        let routing =
            HostFacts::open().inspect_err(|error| warn!(%error, "cannot ask for this host's addresses")).ok();
        let sockets = SockDiag::open()
            .inspect_err(
                |error| warn!(%error, "cannot see who is connected; open sessions are not protected"),
            )
            .ok();
        let reader = Reader {
            new_names,
            names,
            bell,
            logged_in,
            logins: Logins::default(),
            routing,
            sockets,
            last: LastGood::default(),
            passwd_changed: None,
        };
        Ok((reader, asker))
    }

    /// Reads everything now.
    pub(crate) fn read(&mut self) -> Facts {
        if let Some(names) = self.new_names.try_iter().last() {
            self.names.configure(names);
        }
        let known = self.names.known();
        let (named, mut troubles) = (known.addresses.clone(), known.problems.clone());
        let mut never = Vec::new();
        self.ask_kernel();
        let host = |why: Why| move |addr: &IpAddr| (Prefix::host(*addr), why);
        never.extend(self.last.addresses.iter().map(|own| (Prefix::host(own.addr), Why::Own)));
        let networks = self.last.addresses.iter().map(|own| own.network).collect();
        never.extend(self.last.gateways.iter().map(host(Why::Gateway)));
        never.extend(self.last.resolvers.iter().map(host(Why::Resolver)));
        let inbound = self.last.connections.inbound.clone();
        let (sessions, left_out) = self.sessions(&inbound);
        never.extend(sessions.iter().map(host(Why::Session)));
        troubles.extend((left_out > 0).then(|| {
            let most = sessions::MOST;
            format!(
                "more than {most} addresses have open sessions: {left_out} of them, the newest, are not spared for \
                 that; list those that matter in ignoreip"
            )
        }));
        let talks_to = self.last.connections.outbound.iter().map(|peer| peer.addr).collect();
        Facts { never, networks, talks_to, accounts: self.new_accounts(), named, troubles }
    }

    fn ask_kernel(&mut self) {
        let last = &mut self.last;
        if let Some(routing) = &mut self.routing {
            refresh(&mut last.addresses, "addresses of this host", routing.addresses());
            refresh(&mut last.gateways, "default gateways", routing.gateways());
        }
        refresh(&mut last.resolvers, RESOLV_CONF, resolvers(Path::new(RESOLV_CONF)));
        if let Some(sockets) = &mut self.sockets {
            refresh(&mut last.connections, "socket table", Connections::read(sockets));
        }
    }

    /// Far ends of the connections that belong to an authenticated session, and how many are left out.
    fn sessions(&mut self, inbound: &[Peer]) -> (HashSet<IpAddr>, usize) {
        let open: HashSet<(IpAddr, u16)> = inbound.iter().map(|peer| (peer.addr, peer.port)).collect();
        self.logins.update(self.logged_in.try_iter(), &open);
        let connected: HashSet<IpAddr> = inbound.iter().map(|peer| peer.addr).collect();
        let told = utmp_peers(Path::new(UTMP)).into_iter().chain(logind_peers(Path::new(LOGIND_SESSIONS)));
        self.logins.spared(told.filter(|addr| connected.contains(addr)))
    }

    fn new_accounts(&mut self) -> Option<HashSet<String>> {
        let path = Path::new(PASSWD);
        let changed = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        if changed == self.passwd_changed {
            return None;
        }
        self.passwd_changed = changed;
        Some(accounts(path))
    }

    /// Reads anew whenever there may be something new, until `wake` is raised.
    pub(crate) fn watch(self, inputs: &Sender<Input>, wake: &Wake) {
        std::thread::scope(|scope| self.watch_in(scope, inputs, wake));
    }

    fn watch_in<'scope>(
        mut self,
        scope: &'scope Scope<'scope, '_>,
        inputs: &Sender<Input>,
        wake: &'scope Wake,
    ) {
        let mut watch =
            FactsWatch::open().inspect_err(|error| warn!(%error, "changes of addresses are seen late")).ok();
        let timeout = Timespec { tv_sec: LOOK_EVERY.as_secs().cast_signed(), tv_nsec: 0 };
        while !wake.is_raised() {
            let (read_at, files) = (clock::Stopwatch::start(), changes());
            if inputs.send(Input::Facts(self.read())).is_err() {
                return;
            }
            self.names.start(scope, wake);
            loop {
                let mut fds = vec![PollFd::new(wake, PollFlags::IN), PollFd::new(&self.bell, PollFlags::IN)];
                fds.extend(
                    watch.as_ref().map(|watch| PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)),
                );
                let ready = rustix::event::poll(&mut fds, Some(&timeout)).unwrap_or(0);
                let is_due = read_at.elapsed() >= EVERY || (ready == 0 && changes() != files);
                let mut count = [0; 8];
                let rung = rustix::io::read(&self.bell, &mut count).is_ok();
                let changed = watch
                    .as_mut()
                    .is_some_and(|watch| !matches!(watch.read(), Ok(crate::netlink::Seen::Nothing)));
                // Anything else was a notice about somebody else's routes.
                if rung || changed || is_due || wake.is_raised() {
                    break;
                }
            }
        }
    }
}

/// Far ends of the logins that utmp lists and whose process is still there.
fn utmp_peers(path: &Path) -> Vec<IpAddr> {
    // Not by /proc, where a unit may hide the processes of others.
    let is_running = |pid: u32| {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| pidfd_open(pid, PidfdFlags::empty()).is_ok())
    };
    let events = login_records(path).into_iter();
    events
        .filter(|event| event.connection.as_ref().and_then(|c| c.pid).is_some_and(is_running))
        .map(|event| event.addr)
        .collect()
}

/// The sessions that a utmp or wtmp file lists, at most the last 64 MiB of it; none if it cannot be read.
fn login_records(path: &Path) -> Vec<Event> {
    let layout = btmp::Layout::native();
    let size = layout.record_bytes();
    let most = MAX_WTMP_BYTES / size as u64 * size as u64;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len() / size as u64 * size as u64;
        file.seek(std::io::SeekFrom::Start(length.saturating_sub(most)))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    sessions_in(&read().unwrap_or_default()).collect()
}

fn sessions_in(records: &[u8]) -> impl Iterator<Item = Event> {
    let layout = btmp::Layout::native();
    let verdicts = records.chunks_exact(layout.record_bytes()).map(move |one| btmp::good_login(layout, one));
    verdicts.filter_map(|verdict| if let Verdict::Event(event) = verdict { Some(event) } else { None })
}

/// The same of a packed part of wtmp, at most the first 64 MiB of it.
fn packed_records(path: &Path) -> Vec<Event> {
    let mut sessions = Vec::new();
    // What cannot be unpacked tells of nobody.
    let Ok(opened) = past::open(path) else { return sessions };
    let mut pieces = opened.into_pieces();
    while pieces.plain_bytes() < MAX_WTMP_BYTES
        && let Some(records) = pieces.records(btmp::Layout::native().record_bytes())
    {
        sessions.extend(sessions_in(records));
    }
    sessions
}

/// A wtmp larger than this is read from its end only: 174,000 sessions.
const MAX_WTMP_BYTES: u64 = 64 * 1024 * 1024;

/// At most so many parts of wtmp are read.
const MAX_WTMP_PARTS: usize = 8;

/// Logins from places outside that wtmp and its rotated parts remember, from `since` up to `now`, the newest part first.
pub(crate) fn good_logins(wtmp: &Path, since: Timestamp, now: Timestamp) -> Vec<Event> {
    let parts = past::recent_parts(wtmp, since).into_iter().take(MAX_WTMP_PARTS);
    let logins = parts.flat_map(|(path, _)| match sources::is_named_packed(&path) {
        true => packed_records(&path),
        false => login_records(&path),
    });
    logins.filter(|login| login.stamp.is_some_and(|at| (since..=now).contains(&at))).collect()
}

/// Far ends of the sessions that logind lists, a file each with `REMOTE_HOST=`.
fn logind_peers(directory: &Path) -> Vec<IpAddr> {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    texts
        .filter_map(|text| {
            let host = text.lines().find_map(|line| line.strip_prefix("REMOTE_HOST="))?;
            host.parse().ok().map(pillory_core::net::canonical)
        })
        .collect()
}

#[cfg(test)]
mod tests;
