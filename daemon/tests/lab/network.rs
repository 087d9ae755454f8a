//! Sockets of the lab: made in a host's network namespace, and listed from outside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use super::host::Host;

/// Opens a TCP connection from `from` to `to` inside the current namespace.
/// # Errors
/// As the kernel says; [`std::io::ErrorKind::TimedOut`] after `timeout`.
pub fn connect_from(from: std::net::IpAddr, to: SocketAddr, timeout: Duration) -> std::io::Result<TcpStream> {
    let socket = begin_connect(from, to)?;
    let limit = Timespec::try_from(timeout).map_err(std::io::Error::other)?;
    let mut watched = [PollFd::new(&socket, PollFlags::OUT)];
    if poll(&mut watched, Some(&limit))? == 0 {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    sockopt::socket_error(&socket)??;
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Sends the first packet of a connection and does not wait for the answer.
fn begin_connect(from: IpAddr, to: SocketAddr) -> std::io::Result<OwnedFd> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    match connect(&socket, &to) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Connection attempts, one every [`KNOCK_EVERY`], until [`Knocking::stop`].
#[derive(Debug)]
pub struct Knocking {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Knocks>,
}

/// What became of them.
#[derive(Debug, Clone, Default)]
pub struct Knocks {
    /// How many first packets were sent.
    pub sent: usize,
    /// When connections came to stand, counted from the first knock.
    pub answered: Vec<Duration>,
}

/// Between two knocks.
const KNOCK_EVERY: Duration = Duration::from_millis(10);
/// An answer is not waited for longer; the kernel repeats a first packet after a second only.
const KNOCK_WAITS: Duration = Duration::from_millis(500);

impl Knocking {
    pub(super) fn start(host: Host, from: IpAddr, to: SocketAddr) -> Knocking {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || host.in_network(|| knock(from, to, &stopped)));
        Knocking { stop, thread }
    }

    /// Stops and tells what became of the attempts.
    pub fn stop(self) -> Knocks {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("knocking does not panic")
    }
}

fn knock(from: IpAddr, to: SocketAddr, stop: &AtomicBool) -> Knocks {
    let began = Instant::now();
    let mut knocks = Knocks::default();
    let mut open: Vec<(Instant, OwnedFd)> = Vec::new();
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    while !stop.load(Ordering::Relaxed) {
        open.push((Instant::now(), begin_connect(from, to).expect("a first packet can be sent")));
        knocks.sent += 1;
        std::thread::sleep(KNOCK_EVERY);
        open.retain(|(since, socket)| {
            let mut watched = [PollFd::new(socket, PollFlags::OUT)];
            if poll(&mut watched, Some(&at_once)).is_ok_and(|ready| ready == 0) {
                return since.elapsed() < KNOCK_WAITS;
            }
            if matches!(sockopt::socket_error(socket), Ok(Ok(()))) {
                knocks.answered.push(began.elapsed());
            }
            false
        });
    }
    knocks
}

/// One line of the kernel's TCP tables.
#[derive(Debug, Clone)]
pub(super) struct Socket {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) is_listener: bool,
}

/// The TCP sockets of the network namespace that `pid` is in.
pub(super) fn sockets(pid: u32) -> Vec<Socket> {
    let tables = ["tcp", "tcp6"]
        .map(|table| std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(socket).collect()
}

/// Columns of /proc/net/tcp, see proc(5): slot, local address:port, remote, state (0A is LISTEN).
fn socket(line: &str) -> Option<Socket> {
    let mut columns = line.split_whitespace().skip(1);
    let local = hex_address(columns.next()?)?;
    let remote = hex_address(columns.next()?)?;
    Some(Socket { local, remote, is_listener: columns.next()? == "0A" })
}

/// Addresses stand there as 32-bit numbers in the machine's order, in hexadecimal.
fn hex_address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let bytes: Vec<u8> = (0..words.len() / 8)
        .map(|n| u32::from_str_radix(words.get(n * 8..n * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect::<Option<Vec<_>>>()?
        .concat();
    let addr: IpAddr = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => Ipv4Addr::from(bytes).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?).into(),
    };
    Some(SocketAddr::new(addr.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}
