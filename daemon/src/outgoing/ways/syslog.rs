//! Lines of syslog: to the socket of this host as its programs send them, elsewhere as RFC 5424 has them.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use pillory_core::config::outgoing::Syslog;
use pillory_core::outgoing::{Kind, Message};

use crate::clock;

use super::super::Failed;
use super::super::http::{RESOLVE, addresses, connection_words};

const LIMIT: Duration = Duration::from_secs(10);

/// The facility `daemon`. Source: RFC 5424, section 6.2.1.
const DAEMON: u8 = 3;

/// Every receiver takes so much. Source: RFC 5424, section 6.1.
const MOST_BYTES: usize = 2_048;

pub(in super::super) fn tell(place: &Syslog, message: &Message) -> Result<(), Failed> {
    let sent = match place {
        Syslog::Local(path) => local(path, message),
        Syslog::Udp(host, port) => udp(resolved(host, *port)?, message),
        Syslog::Tcp(host, port) => tcp(resolved(host, *port)?, message),
    };
    sent.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            Failed::passing(format!("nobody takes syslog there ({error}); look at server"))
        }
        _ => Failed::passing(format!("syslog: {}", connection_words(&error))),
    })
}

fn resolved(host: &str, port: u16) -> Result<SocketAddr, Failed> {
    let first = addresses(host, RESOLVE).into_iter().next();
    first
        .map(|addr| SocketAddr::new(addr, port))
        .ok_or_else(|| Failed::passing(format!("{host} has no address")))
}

fn priority(kind: Kind) -> u8 {
    let severity = match kind {
        Kind::Alarm => 1,
        Kind::Warning => 4,
        Kind::Widen => 5,
        Kind::Ban | Kind::Unban | Kind::Start | Kind::Stop | Kind::Test => 6,
    };
    DAEMON * 8 + severity
}

fn local(path: &std::path::Path, message: &Message) -> std::io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(LIMIT))?;
    for line in &message.lines {
        let text = format!("<{}>pillory[{}]: {line}", priority(message.kind), std::process::id());
        socket.send(cut(&text))?;
    }
    Ok(())
}

/// `<28>1 2026-11-29T16:00:00Z host pillory 4711 warning - text`
fn formal(message: &Message, line: &str) -> String {
    let (at, pid) = (clock::read().wall, std::process::id());
    let host: String = message.host.chars().filter(char::is_ascii_graphic).take(255).collect();
    let host = if host.is_empty() { "-" } else { &host };
    // Without a mark in front of it text has the encoding of its choice; it is UTF-8 with it.
    format!(
        "<{}>1 {at} {host} pillory {pid} {} - \u{feff}{line}",
        priority(message.kind),
        message.kind.name()
    )
}

fn udp(to: SocketAddr, message: &Message) -> std::io::Result<()> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    for line in &message.lines {
        socket.send(cut(&formal(message, line)))?;
    }
    Ok(())
}

/// Each line behind its length. Source: RFC 6587, section 3.4.1.
fn tcp(to: SocketAddr, message: &Message) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, LIMIT)?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut all = Vec::new();
    for line in &message.lines {
        let text = formal(message, line);
        let text = cut(&text);
        all.extend_from_slice(format!("{} ", text.len()).as_bytes());
        all.extend_from_slice(text);
    }
    stream.write_all(&all)?;
    stream.shutdown(std::net::Shutdown::Write)
}

fn cut(text: &str) -> &[u8] {
    let mut end = text.len().min(MOST_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text.as_bytes()[..end]
}
