//! The addresses behind the DNS names that the configuration or `pillory allow` lists, kept fresh.
//!
//! /etc/hosts first, then the name servers of /etc/resolv.conf, asked by [`dns`]; both files are read anew each
//! time. A name is asked for again when its time to live is over. While it cannot be resolved its last addresses
//! stay spared, one warning is logged, and `status` shows it until it resolves again.
//!
//! [`Follower`] is driven by the facts thread: [`Follower::new`] waits for the first answers, but not for long;
//! [`Follower::start`] starts the asking thread as soon as there are names, and never if there are none.

pub(crate) mod dns;
mod reverse;

use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use tracing::{info, warn};

use pillory_core::net::canonical;

use crate::clock;
pub(crate) use reverse::{name_of, reversed};

use dns::{AskError, Family, Found, MAX_ADDRESSES, Question, ResolvConf};

/// Answers are believed at least and at most this long, whatever their time to live.
const TTL: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));

/// A name that failed is asked for again after this long, then after twice that, and so on.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// How long the start waits for the first answers.
const FIRST_ANSWERS: Duration = Duration::from_secs(2);

/// How long one round of questions takes at most later on.
const ROUND: Duration = Duration::from_secs(15);

/// Larger files are no /etc/hosts and no resolv.conf.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// The addresses of one name, once, within a time; none if it has none or nobody answers. Nothing is logged: the name may
/// be an attacker's.
pub(crate) fn resolve(name: &str, within: Duration) -> Vec<IpAddr> {
    let places = Places::host();
    let listed = in_hosts(&read(&places.hosts), name);
    let Ok(wake) = eventfd(0, EventfdFlags::CLOEXEC) else { return listed };
    if !listed.is_empty() {
        return listed;
    }
    let conf = places.resolv_conf();
    let questions: Vec<Question> = candidates(name, &conf.search)
        .into_iter()
        .flat_map(|name| [Family::V4, Family::V6].map(|family| Question { name: name.clone(), family }))
        .collect();
    let fresh = choose(&dns::ask(&questions, &conf.servers, within, wake.as_fd())).unwrap_or_default();
    sorted(fresh.v4.into_iter().chain(fresh.v6).flatten().collect())
}

/// What is known of all names, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Known {
    /// Every address behind a name, with its name.
    pub(crate) addresses: Vec<(String, IpAddr)>,
    /// What is wrong with names, in words.
    pub(crate) problems: Vec<String>,
}

/// The facts thread's end: asks for names, hands out what is known of them.
#[derive(Debug)]
pub(crate) struct Follower {
    known: Known,
    orders: Sender<Vec<String>>,
    answers: Receiver<Known>,
    bell: OwnedFd,
    resting: Option<Watcher>,
}

impl Follower {
    /// Resolves `names`, within 2 s or without some of them. `ring`: written to when there are answers.
    /// # Errors
    /// The system's, if it has no descriptor left.
    pub(crate) fn new(names: &[String], ring: OwnedFd) -> io::Result<Follower> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (orders, ordered) = unbounded();
        let (told, answers) = unbounded();
        let mut names = Names::new(names, Places::host());
        names.refresh(FIRST_ANSWERS, &eventfd(0, EventfdFlags::CLOEXEC)?);
        let known = names.known();
        let watcher = Watcher { names, orders: ordered, bell: bell.try_clone()?, told, ring };
        Ok(Follower { known, orders, answers, bell, resting: Some(watcher) })
    }

    /// What is known now.
    pub(crate) fn known(&mut self) -> &Known {
        if let Some(known) = self.answers.try_iter().last() {
            self.known = known;
        }
        &self.known
    }

    /// The configuration names these now; what is known of a name that stays is kept.
    pub(crate) fn configure(&mut self, names: Vec<String>) {
        match &mut self.resting {
            Some(watcher) => watcher.names.configure(&names),
            None => {
                // The watcher ends only together with its scope; a bell that is full rings already.
                let _ = self.orders.send(names);
                let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
            }
        }
    }

    /// Starts the asking thread if it rests and there are names. It ends when `wake` becomes readable.
    pub(crate) fn start<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        wake: &'scope (impl AsFd + Sync),
    ) {
        if let Some(watcher) = self.resting.take_if(|watcher| !watcher.names.entries.is_empty()) {
            scope.spawn(move || watcher.run(wake));
        }
    }
}

/// What the asking thread owns.
#[derive(Debug)]
struct Watcher {
    names: Names,
    orders: Receiver<Vec<String>>,
    bell: OwnedFd,
    told: Sender<Known>,
    ring: OwnedFd,
}

impl Watcher {
    fn run(self, wake: &impl AsFd) {
        let Watcher { names, orders, bell, told, ring } = self;
        watch(names, &orders, &bell, wake, |known| {
            // The facts thread outlives this one.
            let _ = told.send(known);
            let _ = rustix::io::write(&ring, &1u64.to_ne_bytes());
        });
    }
}

/// Keeps `names` fresh until `wake` becomes readable. `bell` rings when there are `orders`: new lists of names.
fn watch(
    mut names: Names,
    orders: &Receiver<Vec<String>>,
    bell: &OwnedFd,
    wake: &impl AsFd,
    mut on_change: impl FnMut(Known),
) {
    let mut last = names.known();
    while !dns::is_readable(wake.as_fd()) {
        if let Some(list) = orders.try_iter().last() {
            names.configure(&list);
        }
        names.refresh(ROUND, wake);
        let known = names.known();
        if known != last {
            on_change(known.clone());
            last = known;
        }
        let timeout = names.next_due().map(|due| {
            // poll(2) may wake a little early; a moment more saves an empty round.
            dns::timespec(due.saturating_duration_since(clock::instant()) + Duration::from_millis(1))
        });
        let mut fds = [PollFd::new(wake, PollFlags::IN), PollFd::new(bell, PollFlags::IN)];
        // An interrupted wait is an empty round.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        let _ = rustix::io::read(bell, &mut [0; 8]);
    }
}

/// Where names are looked up.
#[derive(Debug, Clone)]
struct Places {
    hosts: PathBuf,
    resolv_conf: PathBuf,
    /// Asked instead of the servers of resolv.conf; for tests, which cannot listen on port 53.
    #[cfg(test)]
    servers: Option<Vec<std::net::SocketAddr>>,
}

impl Places {
    fn host() -> Places {
        Places {
            hosts: "/etc/hosts".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            #[cfg(test)]
            servers: None,
        }
    }

    fn resolv_conf(&self) -> ResolvConf {
        let conf = ResolvConf::parse(&read(&self.resolv_conf));
        #[cfg(test)]
        if let Some(servers) = &self.servers {
            return ResolvConf { servers: servers.clone(), ..conf };
        }
        conf
    }
}

/// The text of a small file; empty if it cannot be read, for then nothing is known from it.
fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let text = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut bytes));
    if text.is_err() {
        bytes.clear();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One name with its last good answers.
#[derive(Debug, Clone, Default)]
struct Entry {
    name: String,
    v4: Vec<IpAddr>,
    v6: Vec<IpAddr>,
    /// When it is asked for again; nothing means now.
    due: Option<Instant>,
    failures: u32,
    problem: Option<String>,
}

/// All names with what is known of them.
#[derive(Debug)]
struct Names {
    entries: Vec<Entry>,
    places: Places,
}

/// New answers for one name: a family that could not be asked for is missing and keeps its last addresses.
#[derive(Debug, Default)]
struct Fresh {
    v4: Option<Vec<IpAddr>>,
    v6: Option<Vec<IpAddr>>,
    ttl: Duration,
}

impl Names {
    fn new(names: &[String], places: Places) -> Names {
        let mut all = Names { entries: Vec::new(), places };
        all.configure(names);
        all
    }

    /// Takes a new list over; all of it is due at once, for who reloads wants what holds now.
    fn configure(&mut self, names: &[String]) {
        let old = std::mem::take(&mut self.entries);
        for name in names {
            if self.entries.iter().any(|entry| same_name(&entry.name, name)) {
                continue;
            }
            let known = old.iter().find(|entry| same_name(&entry.name, name)).cloned();
            self.entries.push(Entry { name: name.clone(), due: None, ..known.unwrap_or_default() });
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let now = clock::instant();
        self.entries.iter().map(|entry| entry.due.unwrap_or(now)).min()
    }

    fn known(&self) -> Known {
        let addresses = |entry: &Entry| {
            let name = entry.name.clone();
            entry.v4.iter().chain(&entry.v6).map(move |addr| (name.clone(), *addr)).collect::<Vec<_>>()
        };
        Known {
            addresses: self.entries.iter().flat_map(addresses).collect(),
            problems: self.entries.iter().filter_map(|entry| entry.problem.clone()).collect(),
        }
    }

    /// Looks up every name that is due, all at once; gives up after `within` or when `wake` becomes readable.
    fn refresh(&mut self, within: Duration, wake: &impl AsFd) {
        let now = clock::instant();
        let due: Vec<usize> = (0..self.entries.len())
            .filter(|at| self.entries.get(*at).is_some_and(|entry| entry.due.is_none_or(|due| due <= now)))
            .collect();
        if due.is_empty() {
            return;
        }
        let hosts = read(&self.places.hosts);
        let conf = self.places.resolv_conf();
        let mut questions = Vec::new();
        let mut asked = Vec::new();
        for at in due {
            let entry = &mut self.entries[at];
            let listed = in_hosts(&hosts, &entry.name);
            if listed.is_empty() {
                let first = questions.len();
                questions.extend(candidates(&entry.name, &conf.search).into_iter().flat_map(|name| {
                    [Family::V4, Family::V6].map(|family| Question { name: name.clone(), family })
                }));
                asked.push((at, first..questions.len()));
            } else {
                let (v4, v6) = listed.into_iter().partition(IpAddr::is_ipv4);
                entry.settle(Ok(Fresh { v4: Some(v4), v6: Some(v6), ttl: TTL.0 }));
            }
        }
        let results = dns::ask(&questions, &conf.servers, within, wake.as_fd());
        for (at, range) in asked {
            self.entries[at].settle(choose(results.get(range).unwrap_or_default()));
        }
    }
}

impl Entry {
    fn settle(&mut self, answer: Result<Fresh, String>) {
        let now = clock::instant();
        match answer {
            Ok(fresh) => {
                let before = (self.v4.clone(), self.v6.clone());
                self.v4 = fresh.v4.map_or_else(|| std::mem::take(&mut self.v4), sorted);
                self.v6 = fresh.v6.map_or_else(|| std::mem::take(&mut self.v6), sorted);
                if (&before.0, &before.1) != (&self.v4, &self.v6) || self.problem.is_some() {
                    info!(name = self.name, addresses = %self.words(), "name resolved");
                }
                self.problem = None;
                self.failures = 0;
                self.due = Some(now + fresh.ttl.clamp(TTL.0, TTL.1));
            }
            Err(reason) => {
                let consequence = match self.words() {
                    none if none.is_empty() => "nobody is spared by it".to_owned(),
                    addresses => format!("its last addresses stay spared: {addresses}"),
                };
                let name = &self.name;
                if self.problem.is_none() {
                    warn!(name, reason, consequence, "name cannot be resolved");
                }
                self.problem = Some(format!("name {name} cannot be resolved ({reason}); {consequence}"));
                let wait = RETRY.0 * 2u32.saturating_pow(self.failures.min(16));
                self.failures = self.failures.saturating_add(1);
                self.due = Some(now + wait.min(RETRY.1));
            }
        }
    }

    fn words(&self) -> String {
        self.v4.iter().chain(&self.v6).map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

/// Servers turn the order from answer to answer; that is no change.
fn sorted(mut addrs: Vec<IpAddr>) -> Vec<IpAddr> {
    addrs.sort_unstable();
    addrs.dedup();
    addrs
}

/// Picks the first candidate with an address; `results` are a candidate's A and AAAA answers in turn.
fn choose(results: &[Result<Found, AskError>]) -> Result<Fresh, String> {
    let mut reason = "it has no address".to_owned();
    for pair in results.chunks(2) {
        let found = |at: usize| pair.get(at).and_then(|result| result.as_ref().ok());
        let (v4, v6) = (found(0), found(1));
        if [v4, v6].into_iter().flatten().any(|found| !found.addrs.is_empty()) {
            let with_addresses = [v4, v6].into_iter().flatten().filter(|found| !found.addrs.is_empty());
            return Ok(Fresh {
                v4: v4.map(|found| found.addrs.clone()),
                v6: v6.map(|found| found.addrs.clone()),
                ttl: with_addresses.filter_map(|found| found.ttl).min().unwrap_or(TTL.0),
            });
        }
        if let Some(error) = pair.iter().find_map(|result| result.as_ref().err()) {
            reason = error.to_string();
        }
    }
    Err(reason)
}

/// A name with a dot stands for itself; one without is tried in the search domains first.
fn candidates(name: &str, search: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    if !name.contains('.') {
        all.extend(search.iter().map(|domain| format!("{name}.{}", domain.trim_matches('.'))));
    }
    all.push(name.to_owned());
    all
}

/// True if both are the same DNS name.
pub(crate) fn same_name(one: &str, other: &str) -> bool {
    one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
}

/// The addresses of `name` in the text of a hosts file. Source: hosts(5).
fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let addr_of = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let addr: IpAddr = words.next()?.parse().ok()?;
        words.any(|word| same_name(word, name)).then(|| canonical(addr))
    };
    text.lines().filter_map(addr_of).take(MAX_ADDRESSES).collect()
}

#[cfg(test)]
mod tests;
