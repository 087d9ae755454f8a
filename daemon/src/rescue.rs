//! The rescue port (`[rescue] port = N`): one line with a code, and with the address to free if that is another one; one
//! line back. It is exempt from bans in the kernel, so whoever is banned can knock here, and off unless configured.
//!
//! Whoever connects has five seconds and 128 bytes; a few are heard at once, the others are turned away.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use tracing::warn;

use pillory_core::net::canonical;

use crate::clock::Stopwatch;
use crate::control::Reply;
use crate::engine::Input;
use crate::wake::{Wake, wait_readable};

/// Somebody's line on its way to the engine.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who sends it.
    pub(crate) from: IpAddr,
    /// The line; hostile text.
    pub(crate) line: String,
    /// The way back.
    pub(crate) reply: Sender<Reply>,
}

/// At most so many are heard at once.
const MOST_CALLERS: usize = 8;
const MOST_BYTES: usize = 128;
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens at `port` on all addresses.
/// # Errors
/// The system's.
pub(crate) fn listen(port: u16) -> std::io::Result<TcpListener> {
    let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    // A host without IPv6 has only the other.
    let listener = TcpListener::bind(any6)
        .or_else(|_| TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Hears callers until `wake` is raised.
pub(crate) fn run(listener: &TcpListener, inputs: &Sender<Input>, wake: &Wake) {
    let inside = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        while !wake.is_raised() {
            if wait_readable(&[listener.as_fd(), wake.as_fd()]).is_err() {
                return;
            }
            let Ok((stream, peer)) = listener.accept() else {
                // Out of descriptors, perhaps: it does not help to ask again at once.
                std::thread::park_timeout(Duration::from_millis(50));
                continue;
            };
            if inside.fetch_add(1, Ordering::SeqCst) >= MOST_CALLERS {
                inside.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let inside = &inside;
            scope.spawn(move || {
                // A caller that went away needs no answer.
                drop(hear(stream, peer.ip(), inputs));
                inside.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
}

fn hear(mut stream: TcpStream, from: IpAddr, inputs: &Sender<Input>) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let since = Stopwatch::start();
    let mut bytes = Vec::new();
    let mut part = [0; MOST_BYTES];
    while !bytes.contains(&b'\n') && bytes.len() < MOST_BYTES {
        let left = PATIENCE.saturating_sub(since.elapsed());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let count = stream.read(&mut part)?;
        if count == 0 || since.elapsed() >= PATIENCE {
            break;
        }
        bytes.extend_from_slice(part.get(..count).unwrap_or_default());
    }
    let line = String::from_utf8_lossy(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let (reply, replies) = bounded(1);
    let call = Call { from: canonical(from), line: line.trim().to_owned(), reply };
    if inputs.send(Input::Rescue(call)).is_err() {
        return Ok(());
    }
    match replies.recv_timeout(PATIENCE * 2) {
        Ok(reply) => stream.write_all(format!("{}\n", reply.message).as_bytes()),
        Err(error) => {
            warn!(%error, "nobody answered at the rescue port");
            Ok(())
        }
    }
}
