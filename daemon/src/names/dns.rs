//! Asks this host's name servers for addresses: questions and answers of RFC 1035 over UDP, over TCP where an
//! answer does not fit. Nobody else is asked, and nothing but A, AAAA and PTR records.
//!
//! All questions of a round leave together, so a round takes as long as its slowest answer. A server that is
//! silent or refuses is followed by the next, and after the last one by the first with more patience.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::rand::GetRandomFlags;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, RCODE, TYPE};

use pillory_core::net::canonical;

use crate::clock;
use crate::privilege::network_cure;

/// Where DNS servers listen.
const PORT: u16 = 53;

/// How long the first server is waited for the first time; each further round doubles it.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often each server is asked at most.
const ROUNDS: usize = 3;

/// The libc asks no more servers than this either. Source: resolv.conf(5), MAXNS.
const MAX_SERVERS: usize = 3;

/// An alias of an alias of an alias .. is followed so far. Source: common resolvers stop at 8 to 17.
const MAX_ALIASES: usize = 16;

/// A name with more addresses than this is no place to come home from; the rest is left out.
pub(super) const MAX_ADDRESSES: usize = 64;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
    /// PTR records: names instead of addresses.
    Name,
}

impl Family {
    fn record(self) -> TYPE {
        match self {
            Family::V4 => TYPE::A,
            Family::V6 => TYPE::AAAA,
            Family::Name => TYPE::PTR,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// A full name, without or with its last dot.
    pub(super) name: String,
    /// Of which family.
    pub(super) family: Family,
}

/// What a server said: the addresses, none if the name has none of that family, and how long that holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    /// Canonical, in the order of the answer.
    pub(super) addrs: Vec<IpAddr>,
    /// What PTR records say, in the order of the answer; hostile text.
    pub(super) names: Vec<String>,
    /// The smallest time to live of the records used; nothing if there are none.
    pub(super) ttl: Option<Duration>,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AskError {
    /// resolv.conf names nobody.
    #[error("/etc/resolv.conf names no name server")]
    NoServer,
    /// Nobody answered in time.
    #[error("no name server answered; the last one asked was {0}")]
    Silent(IpAddr),
    /// A server answered that it cannot or will not say.
    #[error("name server {0} answered {1}")]
    Refused(IpAddr, &'static str),
    /// The network is not there, or nobody listens.
    #[error("cannot ask name server {0}: {1}")]
    Unreachable(IpAddr, String),
    /// It cannot stand in a question.
    #[error("it is no valid DNS name")]
    BadName,
}

/// What `nameserver` and `search` lines say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ResolvConf {
    /// In order.
    pub(super) servers: Vec<SocketAddr>,
    /// Domains to try a name without dots in.
    pub(super) search: Vec<String>,
}

impl ResolvConf {
    /// Reads a resolv.conf. The last `search` or `domain` line holds. Source: resolv.conf(5).
    pub(super) fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().and_then(server)),
                Some("search") => conf.search = words.take(6).map(str::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                _ => {}
            }
        }
        conf.servers.truncate(MAX_SERVERS);
        conf
    }
}

fn server(word: &str) -> Option<SocketAddr> {
    let (addr, zone) = word.split_once('%').map_or((word, None), |(addr, zone)| (addr, Some(zone)));
    match (addr.parse::<IpAddr>().ok()?, zone) {
        (IpAddr::V6(addr), Some(zone)) => {
            let path = format!("/sys/class/net/{zone}/ifindex");
            let by_name = || std::fs::read_to_string(path).ok()?.trim().parse().ok();
            let index = zone.parse().ok().or_else(|| (!zone.contains('/')).then(by_name).flatten())?;
            Some(SocketAddr::V6(SocketAddrV6::new(addr, PORT, 0, index)))
        }
        (addr, _) => Some(SocketAddr::new(canonical(addr), PORT)),
    }
}

/// Asks until every question is answered, `within` is over, or `wake` becomes readable.
///
/// Returns one result a question, in their order.
pub(super) fn ask(
    questions: &[Question],
    servers: &[SocketAddr],
    within: Duration,
    wake: BorrowedFd<'_>,
) -> Vec<Result<Found, AskError>> {
    let mut results = vec![Err(AskError::NoServer); questions.len()];
    let since = clock::Stopwatch::start();
    for (round, server) in servers.iter().cycle().take(servers.len() * ROUNDS).enumerate() {
        let left = within.saturating_sub(since.elapsed());
        let open: Vec<usize> = (0..questions.len()).filter(|at| results[*at].is_err()).collect();
        if open.is_empty() || left.is_zero() || is_readable(wake) {
            break;
        }
        let patience = (PATIENCE * (1 << (round / servers.len()))).min(left);
        let exchange = Exchange { questions, server: *server, patience, wake };
        for at in &open {
            results[*at] = Err(AskError::Silent(server.ip()));
        }
        if let Err(error) = exchange.run(&open, &mut results) {
            let silent = results.iter_mut().filter(|result| **result == Err(AskError::Silent(server.ip())));
            let why = format!("{error}{}", network_cure(&error).unwrap_or_default());
            silent.for_each(|result| *result = Err(AskError::Unreachable(server.ip(), why.clone())));
        }
    }
    results
}

/// One server asked once.
struct Exchange<'a> {
    questions: &'a [Question],
    server: SocketAddr,
    patience: Duration,
    wake: BorrowedFd<'a>,
}

impl Exchange<'_> {
    /// Fills in what the server answers to the questions `open`.
    /// # Errors
    /// The system's; then the server cannot be reached.
    fn run(&self, open: &[usize], results: &mut [Result<Found, AskError>]) -> io::Result<()> {
        let local: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // A socket of its own a round: its random port and the random number of a question are what
        // somebody who forges an answer would have to guess, and only the server's own datagrams come in.
        let socket = UdpSocket::bind((local, 0))?;
        socket.connect(self.server)?;
        socket.set_nonblocking(true)?;
        let mut waiting = HashMap::new();
        for at in open {
            let number = unused_number(&waiting)?;
            match encode(number, &self.questions[*at]) {
                Some(bytes) => {
                    socket.send(&bytes)?;
                    waiting.insert(number, *at);
                }
                None => results[*at] = Err(AskError::BadName),
            }
        }
        let since = clock::Stopwatch::start();
        let mut buffer = [0; 4096];
        while !waiting.is_empty() {
            let left = self.patience.saturating_sub(since.elapsed());
            if left.is_zero() || !self.wait(&socket, left) {
                return Ok(());
            }
            let length = match socket.recv(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            let datagram = &buffer[..length];
            let Some(at) = number_of(datagram).and_then(|number| waiting.get(&number).copied()) else {
                continue;
            };
            // What answers another question was forged, or is late.
            let Some(reply) = decode(datagram, &self.questions[at]) else { continue };
            waiting.retain(|_, other| *other != at);
            results[at] = match reply {
                Reply::Found(found) => Ok(found),
                Reply::Refused(words) => Err(AskError::Refused(self.server.ip(), words)),
                Reply::Truncated => self.ask_tcp(&self.questions[at]),
            };
        }
        Ok(())
    }

    /// True once the socket is readable; false if the time is over or the wake was raised.
    fn wait(&self, socket: &UdpSocket, left: Duration) -> bool {
        let mut fds =
            [PollFd::new(socket, PollFlags::IN), PollFd::from_borrowed_fd(self.wake, PollFlags::IN)];
        let timeout = timespec(left);
        let polled = rustix::event::poll(&mut fds, Some(&timeout));
        let interrupted = polled == Err(rustix::io::Errno::INTR);
        fds[1].revents().is_empty() && (interrupted || !fds[0].revents().is_empty())
    }

    fn ask_tcp(&self, question: &Question) -> Result<Found, AskError> {
        let talk = || -> io::Result<Option<Reply>> {
            let mut stream = TcpStream::connect_timeout(&self.server, self.patience)?;
            stream.set_read_timeout(Some(self.patience))?;
            stream.set_write_timeout(Some(self.patience))?;
            let bytes = encode(unused_number(&HashMap::new())?, question).unwrap_or_default();
            let length = u16::try_from(bytes.len()).unwrap_or_default().to_be_bytes();
            stream.write_all(&[&length, bytes.as_slice()].concat())?;
            let mut length = [0; 2];
            stream.read_exact(&mut length)?;
            let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut answer)?;
            Ok(decode(&answer, question).filter(|_| number_of(&answer) == number_of(&bytes)))
        };
        match talk() {
            Ok(Some(Reply::Found(found))) => Ok(found),
            Ok(Some(Reply::Refused(words))) => Err(AskError::Refused(self.server.ip(), words)),
            Ok(Some(Reply::Truncated) | None) => Err(AskError::Refused(self.server.ip(), "garbage")),
            Err(error) => Err(AskError::Unreachable(self.server.ip(), format!("over TCP: {error}"))),
        }
    }
}

/// A span as poll(2) takes it.
pub(super) fn timespec(span: Duration) -> Timespec {
    Timespec { tv_sec: span.as_secs().cast_signed(), tv_nsec: i64::from(span.subsec_nanos()) }
}

/// True if there is something to read, or the descriptor is broken.
pub(super) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&timespec(Duration::ZERO))).is_ok_and(|count| count > 0)
}

fn unused_number(taken: &HashMap<u16, usize>) -> io::Result<u16> {
    loop {
        let mut bytes = [0; 2];
        rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())?;
        let number = u16::from_ne_bytes(bytes);
        // At most a few hundred questions are under way, so this ends at once.
        if !taken.contains_key(&number) {
            return Ok(number);
        }
    }
}

fn number_of(message: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes([*message.first()?, *message.get(1)?]))
}

fn encode(number: u16, question: &Question) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(number);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(question.name.trim_end_matches('.')).ok()?;
    let kind = question.family.record();
    let entry = simple_dns::Question::new(name, QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN), false);
    packet.questions.push(entry);
    packet.build_bytes_vec().ok()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    Found(Found),
    Truncated,
    Refused(&'static str),
}

/// Reads an answer to `question`; nothing if it is none.
fn decode(message: &[u8], question: &Question) -> Option<Reply> {
    // The decoder makes room for as many records as the header claims; one has at least 11 bytes.
    let counts = message.get(6..12)?.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    if counts.map(usize::from).sum::<usize>() * 11 > message.len() {
        return None;
    }
    if message.get(4..6)? != [0, 1] {
        return None;
    }
    let packet = Packet::parse(message).ok()?;
    let name = Name::new(question.name.trim_end_matches('.')).ok()?;
    let kind = question.family.record();
    let asked = packet.questions.first()?;
    if !packet.has_flags(PacketFlag::RESPONSE) || asked.qname != name || asked.qtype != QTYPE::TYPE(kind) {
        return None;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Some(Reply::Truncated);
    }
    match packet.rcode() {
        // A name that does not exist has no addresses; nobody else will say otherwise.
        RCODE::NoError | RCODE::NameError => Some(Reply::Found(addresses(&packet, name))),
        RCODE::ServerFailure => Some(Reply::Refused("that it failed (SERVFAIL)")),
        RCODE::Refused => Some(Reply::Refused("that it refuses (REFUSED)")),
        _ => Some(Reply::Refused("with an error")),
    }
}

/// For fuzzing: an answer to each kind of question, and a resolv.conf.
#[cfg(any(test, fuzzing))]
pub(crate) fn whatever(data: &[u8]) {
    for family in [Family::V4, Family::V6, Family::Name] {
        let question = Question { name: "home.example.net".to_owned(), family };
        if let Some(Reply::Found(found)) = decode(data, &question) {
            assert!(found.addrs.len() <= MAX_ADDRESSES && found.names.len() <= MAX_ADDRESSES);
        }
    }
    // A zone is looked up in /sys.
    let text = String::from_utf8_lossy(data).replace('%', "");
    assert!(ResolvConf::parse(&text).servers.len() <= MAX_SERVERS);
}

/// The addresses of `name` in an answer, through its aliases.
fn addresses<'a>(packet: &'a Packet<'a>, name: Name<'a>) -> Found {
    let mut found = Found::default();
    let mut current = name;
    for _ in 0..MAX_ALIASES {
        let mut alias = None;
        for record in packet.answers.iter().filter(|record| record.name == current) {
            let addr: IpAddr = match &record.rdata {
                RData::A(a) => Ipv4Addr::from_bits(a.address).into(),
                RData::AAAA(aaaa) => Ipv6Addr::from_bits(aaaa.address).into(),
                RData::CNAME(target) => {
                    alias = Some((target.0.clone(), record.ttl));
                    continue;
                }
                RData::PTR(target) if found.names.len() < MAX_ADDRESSES => {
                    found.names.push(target.0.to_string());
                    continue;
                }
                _ => continue,
            };
            found.ttl = Some(at_most(found.ttl, record.ttl));
            if found.addrs.len() < MAX_ADDRESSES {
                found.addrs.push(canonical(addr));
            }
        }
        match alias {
            Some((target, ttl)) if found.addrs.is_empty() && found.names.is_empty() => {
                found.ttl = Some(at_most(found.ttl, ttl));
                current = target;
            }
            _ => break,
        }
    }
    found
}

fn at_most(ttl: Option<Duration>, seconds: u32) -> Duration {
    let seconds = Duration::from_secs(seconds.into());
    ttl.map_or(seconds, |ttl| ttl.min(seconds))
}

#[cfg(test)]
mod tests;
