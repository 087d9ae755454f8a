//! Logs that grow whether a daemon runs or not, and the sources that read them from where the store says.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use pillory_core::net::Prefix;
use pillory_core::time::Timestamp;

use crate::clock;
use crate::engine::Read;
use crate::sources::{Batch, Feed, FeedId, Phase, Position, Record, Wanted};
use crate::supervisor::SourceOrder;

/// The log file of sshd, and the btmp of a second jail.
pub(super) const LOGS: [&str; 2] = ["/simulated/auth.log", "/simulated/btmp"];

/// What somebody did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// A login of an account that no host has failed.
    Unknown,
    /// One of the superuser failed.
    Root,
    /// Somebody logged in.
    LoggedIn,
    /// Nothing that counts.
    Noise,
}

/// One line: each is a connection of its own, so each counts once.
#[derive(Debug)]
pub(super) struct Written {
    bytes: Vec<u8>,
    pub(super) addr: IpAddr,
    pub(super) deed: Deed,
    /// When, to the second.
    second: i64,
    /// True if a first start may be what reads it.
    is_old: bool,
}

/// Every log, by the name of its stream.
#[derive(Debug, Default)]
pub(super) struct Logs(pub(super) BTreeMap<String, Vec<Written>>);

impl Logs {
    /// Somebody does something at `when`, which the log of that number tells; old is what a first start may read.
    pub(super) fn write(
        &mut self,
        log: usize,
        (addr, deed): (IpAddr, Deed),
        (when, is_old): (Timestamp, bool),
    ) {
        let stream = stream_of(&wanted(log));
        let log_lines = self.0.entry(stream).or_default();
        let pid = pid_of(log_lines.len());
        let bytes =
            if log == 0 { sshd_line(addr, deed, pid, when) } else { login_record(addr, deed, pid, when) };
        log_lines.push(Written { bytes, addr, deed, second: when.secs(), is_old });
    }

    /// How many lines of a stream count before a position. Logins of one account from one place within a second are told
    /// alike, so of what was written before a first start they may count once.
    pub(super) fn counting(&self, stream: &str, position: usize) -> RangeInclusive<usize> {
        let lines = self.0.get(stream).map_or(&[][..], Vec::as_slice);
        let (mut logins, mut once, mut all) = (HashSet::new(), 0, 0);
        for (at, line) in lines.iter().take(position).enumerate() {
            let counts = line.deed != Deed::Noise;
            let may_be_told_twice = line.is_old && line.deed == Deed::LoggedIn;
            let is_new = !may_be_told_twice || logins.insert((line.second, line.addr, owner_of(pid_of(at))));
            once += usize::from(counts && is_new);
            all += usize::from(counts);
        }
        once..=all
    }

    /// How many failures of a prefix stand in a stream before a position.
    pub(super) fn failures(&self, stream: &str, position: usize, prefix: Prefix) -> usize {
        let fails = |line: &&Written| {
            matches!(line.deed, Deed::Unknown | Deed::Root) && prefix.contains_addr(line.addr)
        };
        let lines = self.0.get(stream).map_or(&[][..], Vec::as_slice);
        lines.iter().take(position).filter(fails).count()
    }
}

fn pid_of(at: usize) -> u32 {
    1_000 + at as u32
}

/// The number of the account that logs in.
fn owner_of(pid: u32) -> u32 {
    pid % 3
}

fn wanted(log: usize) -> Wanted {
    if log == 0 { Wanted::Lines(LOGS[0].into()) } else { Wanted::Btmp(LOGS[1].into()) }
}

fn stream_of(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Lines(path) => format!("file:{path}"),
        Wanted::Btmp(path) => format!("btmp:{}", path.display()),
        Wanted::Journal { .. } => "journal:".to_owned(),
    }
}

fn kind_of(wanted: &Wanted) -> &'static str {
    match wanted {
        Wanted::Lines(_) => "file",
        Wanted::Btmp(_) => "btmp",
        Wanted::Journal { .. } => "journal",
    }
}

fn sshd_line(addr: IpAddr, deed: Deed, pid: u32, when: Timestamp) -> Vec<u8> {
    let stamp = when.to_string();
    let port = 1_024 + pid % 60_000;
    let said = match deed {
        Deed::Unknown => {
            format!("Failed password for invalid user nobody{} from {addr} port {port} ssh2", pid % 7)
        }
        Deed::Root => format!("Failed password for root from {addr} port {port} ssh2"),
        Deed::LoggedIn => {
            format!("Accepted password for owner{} from {addr} port {port} ssh2", owner_of(pid))
        }
        Deed::Noise => format!("Server listening on {addr} port 22."),
    };
    format!("{stamp} host sshd[{pid}]: {said}").into_bytes()
}

/// A record of btmp as glibc lays it out on x86_64; noise is a record of another type.
fn login_record(addr: IpAddr, deed: Deed, pid: u32, when: Timestamp) -> Vec<u8> {
    let layout = pillory_core::filter::btmp::Layout::native();
    let mut record = vec![0; layout.record_bytes()];
    let wide = layout.record_bytes() == 400;
    let kind: i16 = if matches!(deed, Deed::Unknown | Deed::Root) { 6 } else { 2 };
    record[..2].copy_from_slice(&kind.to_ne_bytes());
    record[4..8].copy_from_slice(&pid.to_ne_bytes());
    let user: &[u8] = if deed == Deed::Root { b"root" } else { b"nobody" };
    record[44..44 + user.len()].copy_from_slice(user);
    match wide {
        true => record[344..352].copy_from_slice(&when.secs().to_ne_bytes()),
        false => record[340..344].copy_from_slice(&(when.secs() as u32).to_ne_bytes()),
    }
    let at = if wide { 360 } else { 348 };
    match addr {
        IpAddr::V4(addr) => record[at..at + 4].copy_from_slice(&addr.octets()),
        IpAddr::V6(addr) => record[at..at + 16].copy_from_slice(&addr.octets()),
    }
    record
}

/// The sources of one daemon.
#[derive(Debug, Default)]
pub(super) struct Sources {
    streams: Vec<Stream>,
    /// How far those were read that are not read now.
    left: HashMap<String, usize>,
    /// What is to be sent before anything else.
    said: VecDeque<Read>,
}

#[derive(Debug)]
struct Stream {
    name: String,
    kind: &'static str,
    feed: FeedId,
    at: usize,
    /// Where the log ended when it was opened, and how what stands before that is judged.
    there: (usize, Phase),
    is_watching: bool,
}

impl Sources {
    /// Does what the supervisor would be told.
    pub(super) fn order(&mut self, order: SourceOrder, logs: &Logs) {
        self.left.extend(self.streams.drain(..).map(|stream| (stream.name, stream.at)));
        match order {
            SourceOrder::Stop => self.said.push_back(Read::Stopped),
            SourceOrder::Start(feeds, positions) => {
                self.streams = feeds.iter().map(|feed| open(feed, &positions, logs)).collect();
            }
        }
    }

    /// True if nothing is left to be read.
    pub(super) fn is_idle(&self, logs: &Logs) -> bool {
        let all_read = |stream: &Stream| stream.is_watching && stream.at >= length(logs, &stream.name);
        self.said.is_empty() && self.streams.iter().all(all_read)
    }

    /// How far a stream was read.
    pub(super) fn position(&self, stream: &str) -> usize {
        let read = self.streams.iter().find(|known| known.name == stream).map(|known| known.at);
        read.or_else(|| self.left.get(stream).copied()).unwrap_or(0)
    }

    /// The next thing that a source sends, with at most so many records.
    pub(super) fn read(&mut self, most: usize, logs: &Logs) -> Option<Read> {
        if let Some(said) = self.said.pop_front() {
            return Some(said);
        }
        let turn = usize::from(!self.streams.is_empty());
        self.streams.rotate_left(turn);
        self.streams.iter_mut().find_map(|stream| stream.read(most, logs))
    }
}

fn length(logs: &Logs, stream: &str) -> usize {
    logs.0.get(stream).map_or(0, Vec::len)
}

fn open(feed: &Feed, positions: &HashMap<String, Position>, logs: &Logs) -> Stream {
    let name = stream_of(&feed.what);
    let position = positions.get(&name).and_then(|position| position.0.parse().ok());
    let phase = if position.is_some() { Phase::CatchUp } else { Phase::History };
    let there = (length(logs, &name), phase);
    let kind = kind_of(&feed.what);
    Stream { name, kind, feed: feed.id, at: position.unwrap_or(0), there, is_watching: false }
}

impl Stream {
    fn read(&mut self, most: usize, logs: &Logs) -> Option<Read> {
        let (end, phase) = match self.at < self.there.0 {
            true => self.there,
            false if !self.is_watching => {
                self.is_watching = true;
                return Some(Read::Watching(self.kind));
            }
            false => (length(logs, &self.name), Phase::Live),
        };
        let lines = logs.0.get(&self.name)?.get(self.at..end.min(self.at + most))?;
        if lines.is_empty() {
            return None;
        }
        let (mut bytes, mut records) = (Vec::new(), Vec::new());
        for line in lines {
            let start = bytes.len();
            bytes.extend(&line.bytes);
            records.push(Record { range: start..bytes.len(), stamp: None, feed: self.feed });
        }
        self.at += records.len();
        let (stream, position) = (Arc::from(self.name.as_str()), Position(self.at.to_string()));
        let read_at = clock::instant();
        Some(Read::Batch(Batch { stream, bytes, records, position, phase, read_at }))
    }
}
